//! One value of an input to one value of a contract's type. Every rule about values is here, and only here.

use super::decimal::decimal;
use crate::dataset::{Bound, Column, ColumnType, Unit};
use crate::source::{Cell, Reason};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value of a contract's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Days since 1970-01-01.
    Day(i32),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
}

type Converted<'a> = Result<Value<'a>, &'static str>;

/// A whole number up to here is the same as a float.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;
/// How deep JSON may be nested.
const MAX_DEPTH: usize = 128;

/// Gives a cell the column's type and checks its bounds. NULL stays NULL.
pub(crate) fn convert<'a>(cell: &'a Cell<'_>, column: &Column) -> Result<Option<Value<'a>>, Reason> {
    if *cell == Cell::Null {
        return Ok(None);
    }
    let converted = match column.kind {
        ColumnType::String if column.decimal => decimal_of(cell).map(Value::Text),
        ColumnType::String => text(cell).map(|text| Value::Text(if column.hex { folded(text) } else { text })),
        ColumnType::Int64 => int(cell).map(Value::Int),
        ColumnType::Float64 => float(cell).map(Value::Float),
        ColumnType::Bool => bool(cell).map(Value::Bool),
        ColumnType::Date => day(cell).map(Value::Day),
        ColumnType::Timestamp => time(cell, column.unit, column.zone_s).map(Value::Time),
        ColumnType::Json => json(cell).map(Value::Text),
    };
    match converted.and_then(|value| in_bounds(value, column)) {
        Ok(value) => Ok(Some(value)),
        Err(phrase) => Err(Reason::of(phrase, shown(cell))),
    }
}

fn in_bounds<'a>(value: Value<'a>, column: &Column) -> Converted<'a> {
    let compare = |bound: &Bound| match (&value, bound) {
        (Value::Int(v) | Value::Time(v), Bound::Int(b)) => Some(v.cmp(b)),
        (Value::Day(v), Bound::Int(b)) => Some(i64::from(*v).cmp(b)),
        (Value::Float(v), Bound::Float(b)) => v.partial_cmp(b),
        (Value::Float(v), Bound::Int(b)) => v.partial_cmp(&(*b as f64)),
        _ => None,
    };
    if column.min.as_ref().and_then(compare).is_some_and(|order| order.is_lt()) {
        return Err("below the minimum");
    }
    if column.max.as_ref().and_then(compare).is_some_and(|order| order.is_gt()) {
        return Err("above the maximum");
    }
    Ok(value)
}

fn text<'a>(cell: &'a Cell<'_>) -> Result<Cow<'a, str>, &'static str> {
    match cell {
        Cell::Text(text) => Ok(Cow::Borrowed(text)),
        // A float of an id has lost digits somewhere: only whole numbers are taken for text.
        Cell::Number(text) if is_whole(text) => Ok(Cow::Borrowed(text)),
        Cell::Int(number) => Ok(Cow::Owned(number.to_string())),
        _ => Err("not text"),
    }
}

fn decimal_of<'a>(cell: &'a Cell<'_>) -> Result<Cow<'a, str>, &'static str> {
    match cell {
        Cell::Number(text) | Cell::Text(text) => decimal(text).ok_or("not a decimal number"),
        Cell::Int(number) => Ok(Cow::Owned(number.to_string())),
        _ => Err("not a decimal number"),
    }
}

fn folded(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { text }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn int(cell: &Cell<'_>) -> Result<i64, &'static str> {
    match cell {
        Cell::Int(number) => Ok(*number),
        Cell::Number(text) | Cell::Text(text) if is_whole(text) => {
            text.parse().map_err(|_| "too large for a 64-bit integer")
        }
        Cell::Number(text) | Cell::Text(text) => number(text).and_then(whole),
        Cell::Float(number) => whole(*number),
        _ => Err("not a whole number"),
    }
}

fn whole(number: f64) -> Result<i64, &'static str> {
    let is_exact = number.fract() == 0.0 && number.abs() <= EXACT_FLOAT;
    if is_exact { Ok(number as i64) } else { Err("not a whole number") }
}

fn float(cell: &Cell<'_>) -> Result<f64, &'static str> {
    let number = match cell {
        Cell::Number(text) | Cell::Text(text) => number(text)?,
        Cell::Int(number) => *number as f64,
        Cell::Float(number) => *number,
        _ => return Err("not a number"),
    };
    // Adding zero makes −0 to 0 and leaves every other number as it is.
    if number.is_finite() { Ok(number + 0.0) } else { Err("not a finite number") }
}

/// A number as people and programs write it; `inf` and `NaN` are read so that they can be named as such.
fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "not a number")
}

fn bool(cell: &Cell<'_>) -> Result<bool, &'static str> {
    match cell {
        Cell::Bool(value) => Ok(*value),
        Cell::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Cell::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("not true or false"),
    }
}

fn day(cell: &Cell<'_>) -> Result<i32, &'static str> {
    match cell {
        Cell::Day(day) => Ok(*day),
        Cell::Text(text) if text.len() == 10 => {
            text.parse::<NaiveDate>().map(|date| date.to_epoch_days()).map_err(|_| "not a date")
        }
        _ => Err("not a date"),
    }
}

fn time(cell: &Cell<'_>, unit: Option<Unit>, zone_s: Option<i32>) -> Result<i64, &'static str> {
    let in_us = || unit.map(Unit::in_us).ok_or("a bare number for a time without a unit");
    let scaled = |number: i64| Ok(number.saturating_mul(in_us()?));
    match cell {
        Cell::Time(us) => Ok(*us),
        Cell::Int(number) => scaled(*number),
        Cell::Float(number) => scaled_float(*number, in_us()?),
        Cell::Number(text) | Cell::Text(text) if is_whole(text) => {
            scaled(text.parse().map_err(|_| "a time out of range")?)
        }
        Cell::Number(text) => scaled_float(number(text)?, in_us()?),
        Cell::Text(text) => match number(text) {
            Ok(number) => scaled_float(number, in_us()?),
            Err(_) => time_of_text(text, zone_s),
        },
        _ => Err("not a time"),
    }
}

fn scaled_float(number: f64, in_us: i64) -> Result<i64, &'static str> {
    // The cast saturates, and the ends are out of range.
    if number.is_finite() { Ok((number * in_us as f64).round() as i64) } else { Err("not a time") }
}

/// The microseconds since 1970-01-01 UTC of a text; `zone_s` is the offset of one without a zone. Parts of a
/// microsecond are cut off, towards the past.
pub(crate) fn time_of_text(text: &str, zone_s: Option<i32>) -> Result<i64, &'static str> {
    let zoned = match text.strip_suffix(" UTC") {
        Some(plain) => DateTime::parse_from_rfc3339(&format!("{plain}Z")),
        None => DateTime::parse_from_rfc3339(text),
    };
    // PostgreSQL and DuckDB write the zone as `+00`.
    let zoned = zoned
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"));
    if let Ok(time) = zoned {
        return Ok(time.timestamp_micros());
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
        .map_err(|_| "not a time")?;
    let offset = zone_s.ok_or("a time without a zone")?;
    Ok(local.and_utc().timestamp_micros() - i64::from(offset) * 1_000_000)
}

fn json<'a>(cell: &'a Cell<'_>) -> Result<Cow<'a, str>, &'static str> {
    let text = match cell {
        Cell::Nested(text) | Cell::Number(text) | Cell::Text(text) => text.as_ref(),
        Cell::Bool(true) => return Ok("true".into()),
        Cell::Bool(false) => return Ok("false".into()),
        _ => return Err("not JSON"),
    };
    let canonical = canonical(text)?;
    Ok(if canonical == text { Cow::Borrowed(text) } else { Cow::Owned(canonical) })
}

/// Whether a text is JSON just as it would land.
pub(crate) fn is_canonical(text: &str) -> bool {
    canonical(text).is_ok_and(|canonical| canonical == text)
}

/// JSON without blanks and with sorted members; numbers stay as they are written.
pub(crate) fn canonical(text: &str) -> Result<String, &'static str> {
    let value: &RawValue = serde_json::from_str(text).map_err(|_| "not JSON")?;
    let mut out = String::with_capacity(text.len());
    write_canonical(value.get(), 0, &mut out)?;
    Ok(out)
}

fn write_canonical(text: &str, depth: usize, out: &mut String) -> Result<(), &'static str> {
    if depth > MAX_DEPTH {
        return Err("JSON nested more than 128 deep");
    }
    let separate = |out: &mut String, index: usize| {
        if index > 0 {
            out.push(',')
        }
    };
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| "not JSON")?;
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                separate(out, index);
                out.push_str(&crate::source::json_text(&name));
                out.push(':');
                write_canonical(value.get(), depth + 1, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| "not JSON")?;
            out.push('[');
            for (index, value) in items.into_iter().enumerate() {
                separate(out, index);
                write_canonical(value.get(), depth + 1, out)?;
            }
            out.push(']');
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(|_| "not JSON")?;
            out.push_str(&crate::source::json_text(&text));
        }
        _ => out.push_str(text),
    }
    Ok(())
}

/// A cell as a person reads it.
fn shown(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "NULL".into(),
        Cell::Bool(value) => value.to_string(),
        Cell::Number(text) | Cell::Nested(text) => text.to_string(),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Int(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Time(us) => crate::window::text_of_us(*us),
        Cell::Day(day) => crate::window::Day(*day).to_string(),
    }
}
