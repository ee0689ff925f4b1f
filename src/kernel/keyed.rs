//! Rows that are read again by their place, each with the fingerprint of its key and digests of some columns.

use super::columns::is_more_than_a_column;
use super::hash::Seeds;
use super::{Columns, Kernel, Unit, key_prints};
use crate::error::{Doing, Result};
use arrow::array::{Array, ArrayData, ArrayRef, ArrowPrimitiveType, AsArray, make_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;

/// What reads the key and some columns of rows.
#[derive(Debug)]
pub(super) struct Keyed<'a> {
    kernel: &'a Kernel,
    narrow: Columns,
    columns: &'a [usize],
    day: Option<usize>,
}

/// Some rows.
#[derive(Debug)]
pub(super) struct KeyedRows {
    /// The fingerprint of each row's key.
    pub(super) prints: Vec<u128>,
    /// The columns that were asked for.
    pub(super) columns: Vec<ArrayRef>,
    /// The column that says the day.
    pub(super) day: Option<ArrayRef>,
}

impl<'a> Keyed<'a> {
    /// Reads these columns and the day, which are places in the kernel's schema.
    pub(super) fn new(kernel: &'a Kernel, columns: &'a [usize], day: Option<usize>) -> Result<Keyed<'a>> {
        let places: Vec<usize> = columns.iter().copied().chain(day).collect();
        let narrow = kernel.columns.narrowed(&kernel.columns.key, &[], &places, is_more_than_a_column)?;
        Ok(Keyed { kernel, narrow, columns, day })
    }

    /// The chosen rows of a unit, in their order.
    pub(super) fn read(
        &self,
        unit: &Unit,
        chosen: BooleanBuffer,
    ) -> Result<impl Iterator<Item = Result<KeyedRows>> + '_> {
        let batches = self.kernel.input.read(unit, &self.narrow.schema, Some(chosen))?;
        Ok(batches.map(|batch| {
            let batch = batch?;
            let column = |place: &usize| self.narrow.named(&batch, &self.kernel.columns.schema, *place);
            let columns = self.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
            let prints = key_prints(&self.narrow.key_values(&batch)?, batch.num_rows())?;
            Ok(KeyedRows { prints, columns, day: self.day.as_ref().map(column).transpose()? })
        }))
    }

    /// The row at a place: of each column its digest and its value as text.
    pub(super) fn row(&self, place: u64) -> Result<Vec<(u64, Option<String>)>> {
        let unit = &self.kernel.input.units()[self.kernel.input.unit_of(place)];
        let mut row = Vec::new();
        for rows in self.read(unit, unit.bits_of(&[place]))? {
            let rows = rows?;
            for (column, digests) in rows.columns.iter().zip(rows.by_column()?) {
                row.push((digests[0], as_text(column)?));
            }
        }
        Ok(row)
    }
}

impl KeyedRows {
    /// A digest of each row: of all its columns together. 0 and -0 are equal.
    pub(super) fn whole(&self) -> Result<Vec<u128>> {
        let columns = self.columns.iter().map(without_negative_zero).collect::<Result<Vec<_>>>()?;
        Seeds::of_process().tuples(&columns, self.prints.len())
    }

    /// For each column a digest of each row. 0 and -0 are equal.
    pub(super) fn by_column(&self) -> Result<Vec<Vec<u64>>> {
        let digests = |column: &ArrayRef| {
            let wide: Vec<u128> = Seeds::of_process().tuples(&[without_negative_zero(column)?], self.prints.len())?;
            Ok(wide.into_iter().map(|digest| digest as u64).collect())
        };
        self.columns.iter().map(digests).collect()
    }
}

/// The first value of a column as text; `None` for NULL.
pub(super) fn as_text(column: &ArrayRef) -> Result<Option<String>> {
    let text = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::new()).doing("show a value")?;
    Ok(column.is_valid(0).then(|| text.value(0).to_string()))
}

/// The same values with 0 in the place of -0, however deep in lists and structs it is.
fn without_negative_zero(array: &ArrayRef) -> Result<ArrayRef> {
    if !has_floats(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    Ok(match array.data_type() {
        DataType::Float16 => positive::<Float16Type>(array, |value| value.to_bits() << 1 == 0),
        DataType::Float32 => positive::<Float32Type>(array, |value| value == 0.0),
        DataType::Float64 => positive::<Float64Type>(array, |value| value == 0.0),
        _ => {
            let data = array.to_data();
            let child = |child: &ArrayData| Ok(without_negative_zero(&make_array(child.clone()))?.to_data());
            let children = data.child_data().iter().map(child).collect::<Result<Vec<_>>>()?;
            make_array(data.into_builder().child_data(children).build().doing("compare floats")?)
        }
    })
}

fn positive<T: ArrowPrimitiveType>(array: &ArrayRef, is_zero: impl Fn(T::Native) -> bool) -> ArrayRef {
    let values = array.as_primitive::<T>();
    Arc::new(values.unary::<_, T>(|value| if is_zero(value) { T::Native::default() } else { value }))
}

fn has_floats(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => has_floats(values),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => has_floats(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        other => other.is_floating(),
    }
}
