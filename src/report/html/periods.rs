//! Days put together to weeks, months or years, where there are too many for a chart.

use crate::window::Day;
use chrono::{Datelike, NaiveDate};

/// The most bars of a chart over time.
const MOST_BARS: i64 = 120;

/// What a bar over time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month.
    Month,
    /// So many years.
    Years(i64),
}

impl Period {
    /// The shortest period of which not too many span these days.
    pub(super) fn of(first: Day, last: Day) -> Period {
        let fits = |period: &Period| period.number(last) - period.number(first) < MOST_BARS;
        let usual = [Period::Day, Period::Week, Period::Month].into_iter().find(fits);
        usual.unwrap_or_else(|| {
            let years = i64::from(date(last).year()) - i64::from(date(first).year()) + 1;
            // Cut on a fixed grid, the first and the last period may both be begun ones.
            Period::Years(years.div_euclid(MOST_BARS - 1) + 1)
        })
    }

    /// The number of the period that holds a day. Those beside each other are numbered one after the other.
    pub(super) fn number(self, day: Day) -> i64 {
        match self {
            Period::Day => i64::from(day.0),
            // 1970-01-01 was a Thursday.
            Period::Week => (i64::from(day.0) + 3).div_euclid(7),
            Period::Month => i64::from(date(day).year()) * 12 + i64::from(date(day).month0()),
            Period::Years(years) => i64::from(date(day).year()).div_euclid(years),
        }
    }

    /// How the period of this number is called.
    pub(super) fn label(self, number: i64) -> String {
        match self {
            Period::Day => Day(number as i32).to_string(),
            Period::Week => Day((number * 7 - 3) as i32).to_string(),
            Period::Month => format!("{}-{:02}", number.div_euclid(12), number.rem_euclid(12) + 1),
            Period::Years(1) => number.to_string(),
            Period::Years(years) => format!("{}–{}", number * years, (number + 1) * years - 1),
        }
    }

    /// What it is called in a heading of a table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week from",
            Period::Month => "month",
            Period::Years(1) => "year",
            Period::Years(_) => "years",
        }
    }

    /// What a reader is told where days are put together.
    pub(super) fn note(self) -> Option<&'static str> {
        match self {
            Period::Day => None,
            Period::Week => Some("There are many days, so each bar is a week, named for its Monday."),
            Period::Month => Some("There are many days, so each bar is a month."),
            Period::Years(1) => Some("There are many days, so each bar is a year."),
            Period::Years(_) => Some("There are very many days, so each bar is several years."),
        }
    }
}

/// The date of a day; a day that has none is at the end of time.
fn date(day: Day) -> NaiveDate {
    let end = if day.0 < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
    NaiveDate::from_epoch_days(day.0).unwrap_or(end)
}
