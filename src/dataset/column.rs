//! Columns of a dataset: types, units and bounds.

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};

/// A column's type, the same in Arrow, Parquet, DataFusion and GoogleSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// UTF-8 text.
    String,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE 754 double; NaN and infinities are rejected, −0 becomes 0.
    Float64,
    /// True or false.
    Bool,
    /// A day, without a time.
    Date,
    /// Microseconds since 1970-01-01, UTC.
    Timestamp,
    /// Nested JSON, kept as canonical text: no blanks, keys sorted.
    Json,
}

impl ColumnType {
    /// The Arrow type that a landed column has.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::String | ColumnType::Json => DataType::Utf8,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Date => DataType::Date32,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The name of the type in GoogleSQL.
    pub fn googlesql(self) -> &'static str {
        match self {
            ColumnType::String | ColumnType::Json => "STRING",
            ColumnType::Int64 => "INT64",
            ColumnType::Float64 => "FLOAT64",
            ColumnType::Bool => "BOOL",
            ColumnType::Date => "DATE",
            ColumnType::Timestamp => "TIMESTAMP",
        }
    }

    /// The name of the type in a contract.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::String => "string",
            ColumnType::Int64 => "int64",
            ColumnType::Float64 => "float64",
            ColumnType::Bool => "bool",
            ColumnType::Date => "date",
            ColumnType::Timestamp => "timestamp",
            ColumnType::Json => "json",
        }
    }
}

/// What a bare number means in a column of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Seconds since 1970-01-01 UTC.
    #[serde(rename = "s")]
    Second,
    /// Milliseconds since 1970-01-01 UTC.
    #[serde(rename = "ms")]
    Millisecond,
    /// Microseconds since 1970-01-01 UTC.
    #[serde(rename = "us")]
    Microsecond,
}

impl Unit {
    /// How many microseconds one of it has.
    pub fn in_us(self) -> i64 {
        match self {
            Unit::Second => 1_000_000,
            Unit::Millisecond => 1_000,
            Unit::Microsecond => 1,
        }
    }
}

/// A limit of a column's values. Times are in microseconds, dates in days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// A limit of integers, times or dates.
    Int(i64),
    /// A limit of floats.
    Float(f64),
}

/// One column of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name in the landing, the stage and the target.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Other names that inputs have for it, tried in this order after its own.
    pub from: Vec<String>,
    /// Whether it is hexadecimal text, which is folded to lower case.
    pub hex: bool,
    /// Whether it is a decimal number as text, which is written in one way only: `0.9`, never `.90` or `9e-1`.
    pub decimal: bool,
    /// What a bare number means, for times.
    pub unit: Option<Unit>,
    /// Offset from UTC in seconds that a time without a zone has; without it such a time is rejected.
    pub zone_s: Option<i32>,
    /// The least value that is accepted.
    pub min: Option<Bound>,
    /// The greatest value that is accepted.
    pub max: Option<Bound>,
    /// What it means.
    pub description: String,
}

impl Column {
    /// The Arrow field that a landed column has; every one is nullable, since inputs may be narrower.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.kind.arrow(), true)
    }

    /// Its own name and then the other names that inputs may have for it.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.from.iter().map(String::as_str))
    }
}

/// Whether an Arrow type is text, however it is laid out.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
