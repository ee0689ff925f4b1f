//! Deduplication where the rows are: what [`crate::dedup`] decides of landed rows, as statements of BigQuery.

use super::{Dialect, Exprs, render};
use crate::dataset::{ColumnType, Dataset};
use crate::error::Result;
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const HOUR_US: i64 = 3_600_000_000;

/// Columns that a reduced table has beside those of the contract, with their types.
pub const REDUCED: [(&str, &str); 11] = [
    ("_place", "INT64"),
    ("_class", "STRING"),
    ("_rows", "INT64"),
    ("_exact", "INT64"),
    ("_superseded", "INT64"),
    ("_conflict", "INT64"),
    ("_suspect", "BOOL"),
    ("_redated", "BOOL"),
    ("_redated_by_hours", "INT64"),
    ("_witness", "BOOL"),
    ("_loser_days", "STRING"),
];

/// Which losers a reduced table has, beside those that anybody may have to look at: rows of suspect keys and of keys
/// with a conflict, and losers that know a number which their winner does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losers {
    /// All rows of re-dated keys, too.
    pub redated: bool,
    /// All.
    pub all: bool,
}

/// Which rows of a reduced table are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The winner of each key.
    Winners,
    /// Losers that know a number which their winner does not.
    Witnesses,
    /// All rows of suspect keys.
    Suspects,
    /// All rows of keys that have a conflict.
    Conflicts,
    /// The losers that conflict with their winner.
    ConflictLosers,
    /// All rows of re-dated keys, where they were kept.
    Redated,
    /// All losers, where they were kept.
    Losers,
}

/// Which keys of a reduced table are left out as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Those whose rows number different events.
    pub suspects: bool,
    /// Those that have a conflict.
    pub conflicts: bool,
}

impl Quarantine {
    fn conditions(self) -> impl Iterator<Item = String> {
        let all = [(self.suspects, "_suspect"), (self.conflicts, "_conflict > 0")];
        all.into_iter().filter(|(is_on, _)| *is_on).map(|(_, condition)| format!("NOT ({condition})"))
    }
}

/// Renders the statements of one dataset.
#[derive(Clone, Copy, Debug)]
pub struct Reduction<'a> {
    /// Whose contract.
    pub dataset: &'a Dataset,
}

impl Reduction<'_> {
    fn exprs(&self) -> Exprs<'_> {
        Exprs { dataset: self.dataset, dialect: Dialect::GoogleSql }
    }

    /// The rows of a reduced table: of each key of the rows that `landed` selects the winner, with what became of the
    /// others, and losers to look at.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn reduced(&self, landed: &str, losers: Losers) -> Result<String> {
        let exprs = self.exprs();
        let by_key = format!("PARTITION BY {}", exprs.key("")?);
        let total_order = exprs.order_by(&self.dataset.total_order())?;
        let mut kept = vec!["_place = 1", "_conflict > 0", "_suspect", "_witness"];
        match losers {
            Losers { all: true, .. } => kept = vec!["TRUE"],
            Losers { redated: true, .. } => kept.push("_redated"),
            _ => {}
        }
        let first = |value: &str, name: &str| {
            format!(",\n      FIRST_VALUE({value}) OVER ({by_key} ORDER BY {total_order}) AS {name}")
        };
        let mut of_winner = String::new();
        for (place, name) in self.dataset.fixed.iter().enumerate() {
            of_winner.push_str(&first(&exprs.column("", name)?, &winner_name(place)));
        }
        let mut loser_days = "CAST(NULL AS STRING)".to_string();
        if self.dataset.partition.is_some() {
            let day = exprs.day("")?;
            of_winner.push_str(&first(&day, "_winner_day"));
            loser_days = format!(
                "STRING_AGG(DISTINCT CASE WHEN {day} <> _winner_day THEN CAST({day} AS STRING) END) OVER ({by_key})"
            );
        }
        render(
            include_str!("../../sql/reduced.sql"),
            &[
                ("columns", &exprs.columns("", self.dataset.column_names())?),
                ("by_key", &by_key),
                ("total_order", &total_order),
                ("order", &exprs.order_by(&self.dataset.order)?),
                ("of_winner", &of_winner),
                ("suspect", &self.suspect(&by_key)?),
                ("redated", &self.redated(&by_key)?),
                ("by_hours", &self.by_hours()?),
                ("witness", &self.witness(&by_key)?),
                ("loser_days", &loser_days),
                ("landed", landed),
                ("kept", &kept.join(" OR ")),
            ],
        )
    }

    /// Writes them into a table that is there, with all of its columns.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn insert(&self, table: &str, landed: &str, losers: Losers) -> Result<String> {
        let own = REDUCED.map(|(name, _)| name);
        let columns = self.exprs().columns("", self.dataset.column_names().chain(own))?;
        Ok(format!("INSERT INTO {table} ({columns})\n{}", self.reduced(landed, losers)?))
    }

    /// What became of all rows, from a reduced table: `_day`, `_suspect`, `_conflicting`, then counts of keys, of
    /// rows, of losers by class, of re-dated keys, their rows, and losers off by whole hours.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn counts(&self, table: &str) -> Result<String> {
        let day = self.exprs().day("")?;
        render(include_str!("../../sql/reduced_counts.sql"), &[("day", day.as_str()), ("reduced", table)])
    }

    /// The days of losers that are not those of their winners, a text of days with commas between for each day of
    /// winners.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn loser_days(&self, table: &str) -> Result<String> {
        let day = self.exprs().day("")?;
        Ok(format!(
            "SELECT DISTINCT {day} AS _day, _loser_days\nFROM {table}\nWHERE _place = 1 AND _loser_days IS NOT NULL"
        ))
    }

    /// Rows of a reduced table, with the contract's columns: a query in brackets, to stand where a table does. `days`
    /// are those of the rows, of all days where it is `None`.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn rows(&self, table: &str, which: Which, days: Option<&BTreeSet<Day>>, without: Quarantine) -> Result<String> {
        let exprs = self.exprs();
        let mut conditions = vec![
            match which {
                Which::Winners => "_place = 1",
                Which::Witnesses => "_witness",
                Which::Suspects => "_suspect",
                Which::Conflicts => "_conflict > 0",
                Which::ConflictLosers => "_class = 'conflict'",
                Which::Redated => "_redated",
                Which::Losers => "_place > 1",
            }
            .to_string(),
        ];
        conditions.extend(without.conditions());
        if let Some(days) = days {
            conditions.push(exprs.day_in(&exprs.day("")?, days));
        }
        let class = if which == Which::Losers { ", _class" } else { "" };
        let columns = exprs.columns("", self.dataset.column_names())?;
        Ok(format!("(SELECT {columns}{class} FROM {table} WHERE {})", conditions.join(" AND ")))
    }

    /// That rows of a key number different events.
    fn suspect(&self, by_key: &str) -> Result<String> {
        let cases = self.dataset.identity.iter().map(|identity| differ(&self.exprs().identity("", identity)?, by_key));
        any(cases)
    }

    /// That rows of a key differ in a column that can't change.
    fn redated(&self, by_key: &str) -> Result<String> {
        any(self.dataset.fixed.iter().map(|name| differ(&self.exprs().column("", name)?, by_key)))
    }

    /// That a row is off its winner by whole hours, in the first fixed column in which it is off at all.
    fn by_hours(&self) -> Result<String> {
        let cases = self.dataset.fixed.iter().enumerate().map(|(place, name)| {
            let (own, winner) = (self.exprs().column("", name)?, winner_name(place));
            let is_time = self.dataset.column(name).is_some_and(|column| column.kind == ColumnType::Timestamp);
            let hours = match is_time {
                true => format!("MOD(UNIX_MICROS({winner}) - UNIX_MICROS({own}), {HOUR_US}) = 0"),
                false => "FALSE".into(),
            };
            Ok(format!("WHEN {own} IS NOT NULL AND ({own} IS DISTINCT FROM {winner}) THEN {hours}"))
        });
        let cases = cases.collect::<Result<Vec<_>>>()?;
        Ok(if cases.is_empty() { "FALSE".into() } else { format!("CASE {} ELSE FALSE END", cases.join(" ")) })
    }

    /// That a row is the first of its key that knows a number, and not the winner.
    fn witness(&self, by_key: &str) -> Result<String> {
        any(self.dataset.identity.iter().map(|identity| {
            let number = self.exprs().identity("", identity)?;
            let first = format!("MIN(CASE WHEN {number} IS NOT NULL THEN _place END) OVER ({by_key})");
            Ok(format!("_place > 1 AND {number} IS NOT NULL AND _place = {first}"))
        }))
    }
}

/// The column that has the winner's value of a fixed column.
fn winner_name(place: usize) -> String {
    format!("_winner_{place}")
}

/// That there are two different known values in a key.
fn differ(value: &str, by_key: &str) -> Result<String> {
    Ok(format!("COALESCE(MIN({value}) OVER ({by_key}) <> MAX({value}) OVER ({by_key}), FALSE)"))
}

fn any(cases: impl Iterator<Item = Result<String>>) -> Result<String> {
    Ok(super::exprs::any(cases.collect::<Result<Vec<_>>>()?))
}
