//! In which columns two sides can be compared, and as what types.

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The columns of two sides together.
#[derive(Clone, Debug)]
pub struct Common {
    /// All columns, those of the first side first, each in a type that holds the values of both; of those without one
    /// in the first side's.
    pub schema: SchemaRef,
    /// The columns that only the first or only the second side has.
    pub only: [Vec<String>; 2],
    /// Columns whose types differ, with the type in which they are compared.
    pub casts: BTreeMap<String, String>,
    /// Columns for which there is no such type, with what each side has.
    pub apart: BTreeMap<String, [DataType; 2]>,
}

impl Common {
    /// That every column which a dataset looks at has a type that holds the values of both sides.
    ///
    /// # Errors
    /// Usage, naming the column.
    pub fn check(&self, dataset: &Dataset) -> Result<()> {
        match self.apart.iter().find(|(name, _)| dataset.compared().any(|compared| compared == name.as_str())) {
            None => Ok(()),
            Some((name, [first, second])) => Err(Error::usage("compare columns")
                .with("column", name)
                .because(format!("it is {first} in A and {second} in B, and no type holds the values of both"))
                .hint("write one side again with the type of the other, or leave the column out with --volatile")),
        }
    }
}

/// Finds the columns of two sides, and for each a type that loses nothing of either.
pub fn common_schema(first: &Schema, second: &Schema) -> Common {
    let mut fields: Vec<FieldRef> = Vec::new();
    let (mut casts, mut apart) = (BTreeMap::new(), BTreeMap::new());
    for field in first.fields() {
        let (name, own) = (field.name(), field.data_type());
        let other = second.field_with_name(name).map_or(own, Field::data_type);
        let common = common_type(own, other).unwrap_or_else(|| {
            apart.insert(name.clone(), [own.clone(), other.clone()]);
            own.clone()
        });
        if own != other && !apart.contains_key(name) {
            casts.insert(name.clone(), common.to_string());
        }
        fields.push(Arc::new(Field::new(name, common, true)));
    }
    let missing = |of: &Schema, other: &Schema| -> Vec<FieldRef> {
        of.fields().iter().filter(|field| other.field_with_name(field.name()).is_err()).map(Arc::clone).collect()
    };
    let only = [missing(first, second), missing(second, first)];
    fields.extend(only[1].iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    let names = |fields: &Vec<FieldRef>| fields.iter().map(|field| field.name().clone()).collect();
    Common { schema: Arc::new(Schema::new(fields)), only: [names(&only[0]), names(&only[1])], casts, apart }
}

/// A type that holds every value of both; `None`: there is none, or they do not mean the same.
pub fn common_type(first: &DataType, second: &DataType) -> Option<DataType> {
    if first == second {
        return Some(first.clone());
    }
    match (first, second) {
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (DataType::Dictionary(_, values), other) | (other, DataType::Dictionary(_, values)) => {
            common_type(values, other)
        }
        (DataType::Date32, DataType::Date64) | (DataType::Date64, DataType::Date32) => Some(DataType::Date64),
        (DataType::Timestamp(unit, zone), DataType::Timestamp(other, other_zone)) => {
            // A time without a zone is UTC everywhere here; beside another zone it may mean that one. Units are
            // declared from the coarsest to the finest.
            let is_utc = |zone: &Option<Arc<str>>| zone.as_ref().is_none_or(|zone| is_utc(zone));
            let same_meaning = zone.is_some() == other_zone.is_some() || (is_utc(zone) && is_utc(other_zone));
            let zone = zone.as_ref().or(other_zone.as_ref()).map(|_| Arc::from("UTC"));
            same_meaning.then(|| DataType::Timestamp(*unit.max(other), zone))
        }
        (DataType::List(one), DataType::List(other)) => Some(DataType::List(common_field(one, other)?)),
        (
            DataType::List(one) | DataType::LargeList(one) | DataType::FixedSizeList(one, _),
            DataType::List(other) | DataType::LargeList(other) | DataType::FixedSizeList(other, _),
        ) => Some(DataType::LargeList(common_field(one, other)?)),
        (DataType::Struct(one), DataType::Struct(other)) if one.len() == other.len() => {
            let fields = one
                .iter()
                .zip(other)
                .map(|(one, other)| if one.name() == other.name() { common_field(one, other) } else { None });
            Some(DataType::Struct(fields.collect::<Option<Vec<_>>>()?.into()))
        }
        _ if is_text(first) && is_text(second) => Some(DataType::LargeUtf8),
        _ if is_binary(first) && is_binary(second) => Some(DataType::LargeBinary),
        _ => common_number(first, second),
    }
}

fn common_field(first: &FieldRef, second: &FieldRef) -> Option<FieldRef> {
    let common = common_type(first.data_type(), second.data_type())?;
    Some(Arc::new(Field::new(first.name(), common, true)))
}

/// A type for two kinds of numbers: one that is not of floats where neither is.
fn common_number(first: &DataType, second: &DataType) -> Option<DataType> {
    if first.is_floating() || second.is_floating() {
        // How many bits a whole number may have, so that the float holds it.
        let bits = |kind: &DataType| match kind {
            DataType::Int8 | DataType::UInt8 | DataType::Float16 => Some(11),
            DataType::Int16 | DataType::UInt16 | DataType::Float32 => Some(24),
            DataType::Int32 | DataType::UInt32 | DataType::Float64 => Some(53),
            _ => None,
        };
        return match bits(first)?.max(bits(second)?) {
            11 => Some(DataType::Float16),
            24 => Some(DataType::Float32),
            _ => Some(DataType::Float64),
        };
    }
    let (whole, scale) = decimal_digits(first)?;
    let (other_whole, other_scale) = decimal_digits(second)?;
    if first.is_integer() && second.is_integer() && whole.max(other_whole) < 20 {
        return Some(DataType::Int64);
    }
    let (whole, scale) = (whole.max(other_whole), scale.max(other_scale));
    match u8::try_from(i16::from(whole) + i16::from(scale)).ok()? {
        precision @ 0..=38 => Some(DataType::Decimal128(precision, scale)),
        precision @ 39..=76 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// How many digits a number has before and after its point, at most.
fn decimal_digits(kind: &DataType) -> Option<(u8, i8)> {
    match kind {
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::UInt64 => Some((20, 0)),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let whole = i16::from(*precision) - i16::from(*scale);
            Some((u8::try_from(whole.max(0)).ok()?, (*scale).max(0)))
        }
        _ => None,
    }
}

fn is_utc(zone: &str) -> bool {
    ["UTC", "+00:00", "Z", "Etc/UTC"].contains(&zone)
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}
