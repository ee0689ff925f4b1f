//! Columns of Parquet files as cells, whatever Arrow type they have, and rows of them as JSON.

use crate::dataset::{Column, ColumnType, is_text};
use crate::error::{Doing, Error, Result};
use crate::source::{Cell, json_text};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, FieldRef, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::json::writer::{EncoderOptions, make_encoder};
use std::borrow::Cow;

/// What stands in a reject for a value that JSON has no form for.
const UNWRITABLE: &str = "\"not to be written as JSON\"";

/// A column of a batch, ready to hand out cells.
pub(crate) enum Values {
    /// NULL throughout.
    Unknown,
    Text(StringArray),
    /// Numbers that only text holds: decimals, and unsigned integers of 64 bits.
    Written(StringArray),
    Nested(StringArray),
    Int(Int64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    Day(Date32Array),
    /// Microseconds since 1970-01-01 UTC.
    Time(Int64Array),
}

/// Whether an Arrow type is the one that a landed column has, text being text however it is laid out.
pub(crate) fn is_exact(data_type: &DataType, kind: ColumnType) -> bool {
    is_text(data_type) && kind.arrow() == DataType::Utf8 || *data_type == kind.arrow()
}

/// Why a column of this type can't be read for a column of the contract; nothing where it can.
pub(crate) fn unreadable(data_type: &DataType, column: &Column) -> Option<&'static str> {
    match data_type {
        DataType::Timestamp(_, None) if column.zone_s.is_none() => Some("its times have no zone"),
        data_type if data_type.is_nested() && column.kind != ColumnType::Json => Some("it is nested"),
        data_type if data_type.is_nested() || data_type.is_numeric() || is_text(data_type) => None,
        DataType::Null | DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => None,
        _ => Some("its type has no meaning for the contract"),
    }
}

impl Values {
    /// Makes a column ready that [`unreadable`] has nothing against.
    pub(crate) fn of(array: &ArrayRef, field: &FieldRef, column: &Column) -> Result<Values> {
        let to = |data_type: DataType| cast(array, &data_type).doing("read a column");
        Ok(match array.data_type() {
            DataType::Null => Values::Unknown,
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::Date32 | DataType::Date64 => Values::Day(to(DataType::Date32)?.as_primitive().clone()),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Values::Float(to(DataType::Float64)?.as_primitive().clone())
            }
            DataType::Timestamp(unit, zone) => {
                let offset_us = if zone.is_none() { i64::from(column.zone_s.unwrap_or(0)) * 1_000_000 } else { 0 };
                Values::Time(micros(array, *unit, offset_us))
            }
            data_type if is_text(data_type) => Values::Text(to(DataType::Utf8)?.as_string::<i32>().clone()),
            data_type if data_type.is_nested() => Values::Nested(nested(array, field)?),
            DataType::UInt64 => Values::Written(to(DataType::Utf8)?.as_string::<i32>().clone()),
            data_type if data_type.is_integer() => Values::Int(to(DataType::Int64)?.as_primitive().clone()),
            _ => Values::Written(to(DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    pub(crate) fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Values::Text(array) if array.is_valid(row) => Cell::Text(Cow::Borrowed(array.value(row))),
            Values::Written(array) if array.is_valid(row) => Cell::Number(Cow::Borrowed(array.value(row))),
            Values::Nested(array) if array.is_valid(row) => Cell::Nested(Cow::Borrowed(array.value(row))),
            Values::Int(array) if array.is_valid(row) => Cell::Int(array.value(row)),
            Values::Float(array) if array.is_valid(row) => Cell::Float(array.value(row)),
            Values::Bool(array) if array.is_valid(row) => Cell::Bool(array.value(row)),
            Values::Day(array) if array.is_valid(row) => Cell::Day(array.value(row)),
            Values::Time(array) if array.is_valid(row) => Cell::Time(array.value(row)),
            _ => Cell::Null,
        }
    }
}

/// Times in microseconds; parts of one are cut off towards the past, and what does not fit saturates, which is out of
/// every bound.
fn micros(array: &ArrayRef, unit: TimeUnit, offset_us: i64) -> Int64Array {
    let shift = |us: i64| us.saturating_sub(offset_us);
    match unit {
        TimeUnit::Second => {
            array.as_primitive::<TimestampSecondType>().unary::<_, Int64Type>(|t| shift(t.saturating_mul(1_000_000)))
        }
        TimeUnit::Millisecond => {
            array.as_primitive::<TimestampMillisecondType>().unary::<_, Int64Type>(|t| shift(t.saturating_mul(1_000)))
        }
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().unary::<_, Int64Type>(shift),
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().unary::<_, Int64Type>(|t| shift(t.div_euclid(1_000)))
        }
    }
}

fn nested(array: &ArrayRef, field: &FieldRef) -> Result<StringArray> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, array, &options).map_err(|error| {
        Error::usage("read a nested column as JSON").because(error).hint("write the file anew with the column as text")
    })?;
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        let mut text = Vec::new();
        if array.is_valid(row) {
            encoder.encode(row, &mut text);
        }
        texts.push(array.is_valid(row).then(|| String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(StringArray::from(texts))
}

/// A row of a batch as a JSON object; NaN and infinities, which JSON lacks, as text.
pub(crate) fn row_json(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let member = |(field, array): (&FieldRef, &ArrayRef)| {
        let value = match field.data_type() {
            _ if array.is_null(row) => "null".into(),
            DataType::Float64 => float_json(array.as_primitive::<Float64Type>().value(row)),
            DataType::Float32 => float_json(array.as_primitive::<Float32Type>().value(row)),
            // Arrow knows no zones by name here; the instant is the same in every zone.
            DataType::Timestamp(unit, Some(_)) => {
                let utc = DataType::Timestamp(*unit, Some("+00:00".into()));
                cast(array, &utc).map_or(UNWRITABLE.into(), |array| value_json(field, &array, row))
            }
            _ => value_json(field, array, row),
        };
        format!("{}:{value}", json_text(field.name()))
    };
    let members: Vec<String> = schema.fields().iter().zip(batch.columns()).map(member).collect();
    format!("{{{}}}", members.join(","))
}

fn value_json(field: &FieldRef, array: &ArrayRef, row: usize) -> String {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut text = Vec::new();
    match make_encoder(field, array, &options) {
        Ok(mut encoder) => encoder.encode(row, &mut text),
        Err(_) => return UNWRITABLE.into(),
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn float_json<T: Into<f64> + std::fmt::Display + Copy>(number: T) -> String {
    if number.into().is_finite() { number.to_string() } else { format!("\"{number}\"") }
}
