//! Spans of event time and days, all UTC.

use crate::error::{Error, Result};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// Microseconds of a second.
pub const SECOND_US: i64 = 1_000_000;

/// The beginning of the second that holds a time in microseconds since 1970-01-01 UTC.
pub fn start_of_second_us(us: i64) -> i64 {
    us.div_euclid(SECOND_US) * SECOND_US
}

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(pub i32);

impl Day {
    /// The day that holds a time in microseconds since 1970-01-01 UTC.
    pub fn of_us(us: i64) -> Day {
        // An i64 of microseconds spans 106 million days either way, so the quotient fits.
        Day(us.div_euclid(DAY_US) as i32)
    }

    /// Its first microsecond, or the nearest that an i64 has.
    pub fn start_us(self) -> i64 {
        i64::from(self.0).saturating_mul(DAY_US)
    }

    /// The day `days` later, or earlier for a negative number.
    #[must_use]
    pub fn plus(self, days: i32) -> Day {
        Day(self.0 + days)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl From<Day> for String {
    fn from(day: Day) -> String {
        day.to_string()
    }
}

impl TryFrom<String> for Day {
    type Error = chrono::ParseError;

    fn try_from(text: String) -> std::result::Result<Day, chrono::ParseError> {
        text.parse::<NaiveDate>().map(|date| Day(date.to_epoch_days()))
    }
}

/// A half-open span of event time, `[from_us, to_us)`, in microseconds since 1970-01-01 UTC. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first microsecond inside.
    pub from_us: i64,
    /// The first microsecond after.
    pub to_us: i64,
}

impl Window {
    /// The span, or nothing where it would be empty.
    pub fn new(from_us: i64, to_us: i64) -> Option<Window> {
        (from_us < to_us).then_some(Window { from_us, to_us })
    }

    /// Whether a time is inside.
    pub fn contains(&self, us: i64) -> bool {
        self.from_us <= us && us < self.to_us
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", text_of_us(self.from_us), text_of_us(self.to_us))
    }
}

/// A time as a person reads it: `2025-10-01T00:00:00Z`.
pub fn text_of_us(us: i64) -> String {
    match DateTime::<Utc>::from_timestamp_micros(us) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => format!("{us} µs"),
    }
}

/// A length of time as a person reads it, by its largest unit and the next one: `2 h 5 min`. Less than a second is
/// `0 s`.
pub fn text_of_length_us(us: i64) -> String {
    let seconds = us.max(0) / SECOND_US;
    let numbers =
        [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("min", seconds / 60 % 60), ("s", seconds % 60)];
    let first = numbers.iter().position(|(_, number)| *number > 0).unwrap_or(numbers.len() - 1);
    let shown = numbers.iter().enumerate().skip(first).take(2);
    let shown = shown.filter(|(at, (_, number))| *at == first || *number > 0);
    shown.map(|(_, (unit, number))| format!("{number} {unit}")).collect::<Vec<_>>().join(" ")
}

/// Reads `2025-10-01` (its first microsecond) or a time with its zone, as microseconds since 1970-01-01 UTC.
///
/// # Errors
/// Usage, when the text is neither.
pub fn parse_us(text: &str) -> Result<i64> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(Day(date.to_epoch_days()).start_us());
    }
    DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros()).map_err(|error| {
        Error::usage("read a time")
            .with("text", text)
            .because(error)
            .hint("write a day as 2025-10-01 or a time as 2025-10-01T12:00:00Z")
    })
}
