//! What a column is, from all values that were seen of it.

use super::form::{self, Fractions};
use crate::dataset::is_text;
use crate::landing::convert::{Value, canonical};
use crate::source::{Cell, Reason, json_text};
use arrow::datatypes::{DataType, TimeUnit};
use std::borrow::Cow;

/// What a column of an input without a contract is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Texts, as they are written.
    Text,
    /// Values of JSON, as canonical text: a text has its quotes, so that `5` and `"5"` differ.
    Json,
    /// Whole numbers of 64 bits.
    Int,
    /// Floats.
    Float,
    /// True or false.
    Bool,
    /// Days.
    Day,
    /// Microseconds, in UTC or without a zone.
    Time {
        /// Whether the texts name a zone.
        is_zoned: bool,
    },
}

/// Types that JSON gives its values, as bits.
const BOOL: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 4;
const NESTED: u8 = 8;

/// What was seen of a column: which kinds every value could have until now.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Types of JSON that were met.
    json: u8,
    /// Whether fields of CSV were met: they have no types.
    has_fields: bool,
    all_bools: bool,
    all_ints: bool,
    all_floats: bool,
    all_days: bool,
    all_times: bool,
    fractions: Fractions,
    /// What stands between day and time, and the zone, in all of them.
    time_form: Option<(u8, String)>,
    time_fractions: Fractions,
}

impl Seen {
    pub(super) fn nothing() -> Seen {
        Seen {
            json: 0,
            has_fields: false,
            all_bools: true,
            all_ints: true,
            all_floats: true,
            all_days: true,
            all_times: true,
            fractions: Fractions::default(),
            time_form: None,
            time_fractions: Fractions::default(),
        }
    }

    /// Whether no known value was seen.
    pub(super) fn is_nothing(&self) -> bool {
        self.json == 0 && !self.has_fields
    }

    /// Takes a value in. `is_field`: it is a field of CSV, which may be a text or anything else.
    pub(super) fn add(&mut self, cell: &Cell<'_>, is_field: bool) {
        match cell {
            Cell::Number(text) => {
                self.json |= NUMBER;
                self.not_bool();
                self.not_time();
                self.number(text);
            }
            Cell::Text(text) if is_field => {
                self.has_fields = true;
                self.all_bools &= bool(text).is_some();
                self.number(text);
                self.time(text);
            }
            Cell::Text(text) => {
                self.json |= TEXT;
                self.not_bool();
                self.not_number();
                self.time(text);
            }
            Cell::Bool(_) => {
                self.json |= BOOL;
                self.not_number();
                self.not_time();
            }
            Cell::Nested(_) => {
                self.json |= NESTED;
                self.not_bool();
                self.not_number();
                self.not_time();
            }
            // The others are of Parquet, which says its types.
            Cell::Null | Cell::Int(_) | Cell::Float(_) | Cell::Time(_) | Cell::Day(_) => {}
        }
    }

    /// Takes in what was seen of the column elsewhere.
    pub(super) fn merge(&mut self, other: &Seen) {
        self.json |= other.json;
        self.has_fields |= other.has_fields;
        self.all_bools &= other.all_bools;
        self.all_ints &= other.all_ints;
        self.all_floats &= other.all_floats;
        self.all_days &= other.all_days;
        self.all_times &= other.all_times;
        self.fractions.merge(&other.fractions);
        self.time_fractions.merge(&other.time_fractions);
        match (&self.time_form, &other.time_form) {
            (Some(own), Some(form)) => self.all_times &= own == form,
            (None, form) => self.time_form.clone_from(form),
            (Some(_), None) => {}
        }
    }

    fn not_bool(&mut self) {
        self.all_bools = false;
    }

    fn not_number(&mut self) {
        (self.all_ints, self.all_floats) = (false, false);
    }

    fn not_time(&mut self) {
        (self.all_days, self.all_times) = (false, false);
    }

    fn number(&mut self, text: &str) {
        self.all_ints = self.all_ints && form::int(text).is_some();
        if self.all_floats {
            match form::float(text) {
                Some((_, fraction)) => self.fractions.add(fraction),
                None => self.all_floats = false,
            }
        }
    }

    fn time(&mut self, text: &str) {
        self.all_days = self.all_days && form::day(text).is_some();
        if !self.all_times {
            return;
        }
        let Some(time) = form::time(text) else {
            self.all_times = false;
            return;
        };
        let form = self.time_form.get_or_insert_with(|| (time.separator, time.zone.to_string()));
        self.all_times = form.0 == time.separator && form.1 == time.zone;
        self.time_fractions.add(time.fraction);
    }

    /// What the column is. `given` is the type that it has in Parquet files which are read along: texts and floats
    /// there make texts and floats of it, where it can be either.
    pub(super) fn kind(&self, given: Option<&DataType>) -> Kind {
        let is_mixed = self.json.count_ones() > 1;
        if is_mixed || self.json == NESTED && !self.has_fields {
            return Kind::Json;
        }
        let is_float = self.all_floats && self.fractions.is_one_to_one();
        match given {
            _ if self.is_nothing() => Kind::Text,
            Some(given) if is_text(given) => Kind::Text,
            Some(DataType::Float64) if is_float => Kind::Float,
            _ if self.all_bools => Kind::Bool,
            _ if self.all_ints => Kind::Int,
            _ if is_float => Kind::Float,
            _ if self.all_days => Kind::Day,
            _ => match &self.time_form {
                Some((_, zone)) if self.all_times && self.time_fractions.is_one_to_one() => {
                    Kind::Time { is_zoned: !zone.is_empty() }
                }
                _ => Kind::Text,
            },
        }
    }
}

/// Why a value does not become one of its column.
pub(super) enum Misfit {
    /// The row can't be used.
    Row(Reason),
    /// It was not there when the column's kind was found.
    Changed,
}

impl Kind {
    /// The type of such a column.
    pub(super) fn arrow(self) -> DataType {
        match self {
            Kind::Text | Kind::Json => DataType::Utf8,
            Kind::Int => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Bool => DataType::Boolean,
            Kind::Day => DataType::Date32,
            Kind::Time { is_zoned } => DataType::Timestamp(TimeUnit::Microsecond, is_zoned.then(|| "UTC".into())),
        }
    }

    /// A value of such a column. Two cells give the same value only where they hold the same.
    pub(super) fn value<'a>(self, cell: &'a Cell<'_>) -> Result<Option<Value<'a>>, Misfit> {
        let value = match (self, cell) {
            (_, Cell::Null) => return Ok(None),
            (Kind::Json, Cell::Text(text)) => Some(Value::Text(json_text(text).into())),
            (Kind::Text | Kind::Json, cell) => Some(Value::Text(text(cell)?)),
            (Kind::Bool, Cell::Bool(value)) => Some(Value::Bool(*value)),
            (Kind::Bool, Cell::Text(text)) => bool(text).map(Value::Bool),
            (Kind::Int, Cell::Number(text) | Cell::Text(text)) => form::int(text).map(Value::Int),
            (Kind::Float, Cell::Number(text) | Cell::Text(text)) => {
                form::float(text).map(|(value, _)| Value::Float(value))
            }
            (Kind::Day, Cell::Text(text)) => form::day(text).map(Value::Day),
            (Kind::Time { .. }, Cell::Text(text)) => form::time(text).map(|time| Value::Time(time.us)),
            _ => None,
        };
        value.map(Some).ok_or(Misfit::Changed)
    }
}

/// A value as text: a text as it is, anything else as JSON.
fn text<'a>(cell: &'a Cell<'_>) -> Result<Cow<'a, str>, Misfit> {
    match cell {
        Cell::Text(text) | Cell::Number(text) => Ok(Cow::Borrowed(text)),
        Cell::Bool(value) => Ok(if *value { "true" } else { "false" }.into()),
        Cell::Nested(text) => canonical(text).map(Cow::Owned).map_err(|phrase| Misfit::Row(Reason::new(phrase))),
        _ => Err(Misfit::Changed),
    }
}

fn bool(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
