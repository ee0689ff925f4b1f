//! What the columns of a table make of one column of the contract: [`super::super::convert`] as expressions.

use super::{SourceColumn, SourceType, decimal};
use crate::dataset::{Column, ColumnType, Unit};
use crate::error::Result;
use crate::sql::Dialect;

/// A decimal number with or without an exponent: what both `decimal` and Rust's floats take.
const NUMBER: &str = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$";
/// What Rust's floats take beside it, and no column does.
const NOT_FINITE: &str = "^[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])$";
const WHOLE: &str = "^-?[0-9]+$";
/// A whole number up to here is the same as a float.
const EXACT_FLOAT: i64 = 9_007_199_254_740_992;
/// Microseconds past every bound, and past all that a float may be cast to.
const FAR_US: f64 = 9e18;

/// What a row of the table is called. A column of the table of that name would be confused with it, and nobody calls a
/// column so.
pub(super) const SOURCE: &str = "_tradefold_row";

/// The column that has the value of a column of the contract; of a time its microseconds since 1970-01-01 UTC. NULL
/// where it is not known, and where it is wrong.
pub(super) fn value_name(place: usize) -> String {
    format!("_value_{place}")
}

/// The column that says what is wrong with it.
pub(super) fn wrong_name(place: usize) -> String {
    format!("_wrong_{place}")
}

/// A column of the contract as the rows of a table have it.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The columns that are made for it; none where the table has nothing for it.
    pub(super) exprs: Vec<String>,
    /// Whether a value may be wrong, so that it has a column that says so.
    pub(super) may_be_wrong: bool,
}

/// A known value of one column of a table.
struct Value {
    /// What it is for the contract; where it is wrong, NULL.
    expr: String,
    /// What is wrong with it, where something may be: NULL or the phrase.
    wrong: Option<String>,
}

impl Given {
    /// Reads a column of the contract from those of a table, the first that is known. The reasons why not, where that
    /// can't be said in SQL.
    pub(super) fn of<'a>(
        place: usize,
        column: &Column,
        sources: impl Iterator<Item = &'a SourceColumn>,
    ) -> Result<std::result::Result<Given, Vec<String>>> {
        let (mut values, mut wrongs, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for source in sources {
            let name = format!("{SOURCE}.{}", Dialect::GoogleSql.quote(&source.name)?);
            match value(&name, &source.kind, column) {
                Ok(Value { expr, wrong }) => {
                    let wrong = wrong.unwrap_or_else(|| "NULL".into());
                    values.push(format!("WHEN {name} IS NOT NULL THEN {expr}"));
                    wrongs.push(format!("WHEN {name} IS NOT NULL THEN {wrong}"));
                }
                Err(reason) => reasons.push(format!("`{}` {reason}", source.name)),
            }
        }
        if !reasons.is_empty() {
            return Ok(Err(reasons));
        }
        let mut given = Given::default();
        if !values.is_empty() {
            given.exprs.push(format!("CASE {} END AS {}", values.join(" "), value_name(place)));
        }
        given.may_be_wrong = wrongs.iter().any(|wrong| !wrong.ends_with("THEN NULL"));
        if given.may_be_wrong {
            given.exprs.push(format!("CASE {} END AS {}", wrongs.join(" "), wrong_name(place)));
        }
        Ok(Ok(given))
    }

    /// Whether the table has anything for it.
    pub(super) fn is_there(&self) -> bool {
        !self.exprs.is_empty()
    }
}

/// A known value `x` of this type for a column; or why SQL can't say it.
fn value(x: &str, from: &SourceType, column: &Column) -> std::result::Result<Value, String> {
    if let SourceType::Other(name) = from {
        return Err(format!("is {name}"));
    }
    if *from == SourceType::DateTime && column.zone_s.is_none() {
        return Err("is DATETIME: its times have no zone".into());
    }
    match column.kind {
        ColumnType::String if column.decimal => Ok(decimal(x, from)),
        ColumnType::String => Ok(text(x, from, column.hex)),
        ColumnType::Int64 => Ok(int(x, from)),
        ColumnType::Float64 => Ok(float(x, from)),
        ColumnType::Bool => Ok(bool(x, from)),
        ColumnType::Date if *from != SourceType::Text => Ok(match from {
            SourceType::Date => plain(x),
            _ => never(ColumnType::Date, "not a date"),
        }),
        ColumnType::Timestamp if *from != SourceType::Text => Ok(time(x, from, column)),
        ColumnType::Json if *from != SourceType::Text => Ok(match from {
            SourceType::Bool => plain_of(format!("CASE WHEN {x} THEN 'true' ELSE 'false' END")),
            _ => never(ColumnType::String, "not JSON"),
        }),
        other => Err(format!("is STRING, and its texts would have to be read as {}", other.name())),
    }
}

fn plain(x: &str) -> Value {
    plain_of(x.to_string())
}

fn plain_of(expr: String) -> Value {
    Value { expr, wrong: None }
}

/// No value of this type will do.
fn never(kind: ColumnType, phrase: &str) -> Value {
    Value { expr: format!("CAST(NULL AS {})", kind.googlesql()), wrong: Some(format!("'{phrase}'")) }
}

fn is_like(x: &str, pattern: &str) -> String {
    format!("REGEXP_CONTAINS({x}, r'{pattern}')")
}

/// NaN and what is not known are not.
fn is_finite(x: &str) -> String {
    format!("COALESCE(ABS({x}) <= CAST('{:?}' AS FLOAT64), FALSE)", f64::MAX)
}

fn text(x: &str, from: &SourceType, is_hex: bool) -> Value {
    match from {
        // LOWER would fold more than ASCII.
        SourceType::Text if is_hex => {
            plain_of(format!("TRANSLATE({x}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')"))
        }
        SourceType::Text => plain(x),
        SourceType::Int => plain_of(format!("CAST({x} AS STRING)")),
        _ => never(ColumnType::String, "not text"),
    }
}

/// Not yet as it will be written.
fn decimal(x: &str, from: &SourceType) -> Value {
    match from {
        SourceType::Text => {
            let is_number = is_like(x, NUMBER);
            Value {
                expr: format!("CASE WHEN {is_number} THEN {x} END"),
                wrong: Some(format!("CASE WHEN NOT {is_number} THEN '{}' END", decimal::PHRASE)),
            }
        }
        SourceType::Int => plain_of(format!("CAST({x} AS STRING)")),
        _ => never(ColumnType::String, decimal::PHRASE),
    }
}

fn int(x: &str, from: &SourceType) -> Value {
    let is_exact = |x: &str| format!("COALESCE(TRUNC({x}) = {x} AND ABS({x}) <= {EXACT_FLOAT}, FALSE)");
    let phrase = "not a whole number";
    match from {
        SourceType::Int => plain(x),
        SourceType::Float => Value {
            expr: format!("CASE WHEN {} THEN CAST({x} AS INT64) END", is_exact(x)),
            wrong: Some(format!("CASE WHEN NOT {} THEN '{phrase}' END", is_exact(x))),
        },
        SourceType::Text => {
            let (whole, number) = (format!("SAFE_CAST({x} AS INT64)"), format!("SAFE_CAST({x} AS FLOAT64)"));
            let (is_whole, is_number) = (is_like(x, WHOLE), is_like(x, NUMBER));
            Value {
                expr: format!(
                    "CASE WHEN {is_whole} THEN {whole} WHEN {is_number} AND {} THEN CAST({number} AS INT64) END",
                    is_exact(&number)
                ),
                wrong: Some(format!(
                    "CASE WHEN {is_whole} AND {whole} IS NULL THEN 'too large for a 64-bit integer' \
                     WHEN {is_whole} THEN NULL WHEN {} THEN '{phrase}' WHEN NOT {is_number} THEN 'not a number' \
                     WHEN NOT {} THEN '{phrase}' END",
                    is_like(x, NOT_FINITE),
                    is_exact(&number)
                )),
            }
        }
        _ => never(ColumnType::Int64, phrase),
    }
}

fn float(x: &str, from: &SourceType) -> Value {
    // −0 becomes 0, whatever adding zero may be optimized to.
    let unsigned = |x: &str| format!("CASE WHEN {x} = 0 THEN CAST(0 AS FLOAT64) ELSE {x} END");
    let phrase = "not a finite number";
    match from {
        SourceType::Int => plain_of(format!("CAST({x} AS FLOAT64)")),
        SourceType::Float => Value {
            expr: format!("CASE WHEN {} THEN {} END", is_finite(x), unsigned(x)),
            wrong: Some(format!("CASE WHEN NOT {} THEN '{phrase}' END", is_finite(x))),
        },
        SourceType::Text => {
            let (is_number, number) = (is_like(x, NUMBER), format!("SAFE_CAST({x} AS FLOAT64)"));
            Value {
                expr: format!("CASE WHEN {is_number} AND {} THEN {} END", is_finite(&number), unsigned(&number)),
                wrong: Some(format!(
                    "CASE WHEN {} THEN '{phrase}' WHEN NOT {is_number} THEN 'not a number' \
                     WHEN NOT {} THEN '{phrase}' END",
                    is_like(x, NOT_FINITE),
                    is_finite(&number)
                )),
            }
        }
        _ => never(ColumnType::Float64, "not a number"),
    }
}

fn bool(x: &str, from: &SourceType) -> Value {
    match from {
        SourceType::Bool => plain(x),
        SourceType::Text => {
            let (yes, no) = (is_like(x, "^[tT][rR][uU][eE]$"), is_like(x, "^[fF][aA][lL][sS][eE]$"));
            Value {
                expr: format!("CASE WHEN {yes} THEN TRUE WHEN {no} THEN FALSE END"),
                wrong: Some(format!("CASE WHEN NOT ({yes} OR {no}) THEN 'not true or false' END")),
            }
        }
        _ => never(ColumnType::Bool, "not true or false"),
    }
}

fn time(x: &str, from: &SourceType, column: &Column) -> Value {
    let unit = column.unit.map(Unit::in_us);
    let no_unit = || never(ColumnType::Int64, "a bare number for a time without a unit");
    let most = i64::MAX;
    match (from, unit) {
        (SourceType::Timestamp, _) => plain_of(format!("UNIX_MICROS({x})")),
        (SourceType::DateTime, _) => {
            let offset_us = i64::from(column.zone_s.unwrap_or(0)) * 1_000_000;
            plain_of(format!("DATETIME_DIFF({x}, DATETIME '1970-01-01 00:00:00', MICROSECOND) - ({offset_us})"))
        }
        (SourceType::Int | SourceType::Float, None) => no_unit(),
        (SourceType::Int, Some(1)) => plain(x),
        (SourceType::Int, Some(unit)) => {
            let far = most / unit;
            plain_of(format!("CASE WHEN {x} > {far} THEN {most} WHEN {x} < -{far} THEN -{most} ELSE {x} * {unit} END"))
        }
        (SourceType::Float, Some(unit)) => {
            let far = format!("CAST('{:?}' AS FLOAT64)", FAR_US / unit as f64);
            Value {
                expr: format!(
                    "CASE WHEN NOT {finite} THEN NULL WHEN {x} > {far} THEN {most} WHEN {x} < -{far} THEN -{most} \
                     ELSE CAST(ROUND({x} * {unit}) AS INT64) END",
                    finite = is_finite(x)
                ),
                wrong: Some(format!("CASE WHEN NOT {} THEN 'not a time' END", is_finite(x))),
            }
        }
        _ => never(ColumnType::Int64, "not a time"),
    }
}
