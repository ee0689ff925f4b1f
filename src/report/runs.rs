//! Rows by the values of a column that says how they were collected: a run, a batch, a page, a time.

use crate::dedup::Tally;
use serde::{Deserialize, Serialize};

/// Rows by the values of a column. Those that are told and the others add up to all rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The column.
    pub column: String,
    /// Whether times count by their UTC day, since they have more different values than are told.
    pub by_day: bool,
    /// How many different values there are; NULL is one.
    pub values: u64,
    /// Those with the most rows, at most a thousand, the largest first; of equally large ones those that come first in
    /// the input.
    pub told: Vec<RunRows>,
    /// All others together.
    pub others: OtherRuns,
}

/// The rows of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRows {
    /// The value as text, cut where it is very long; `None`: NULL.
    pub value: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// Those of them that did not win.
    pub losers: Tally,
}

/// The rows of values that are not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherRuns {
    /// How many values.
    pub values: u64,
    /// Their rows.
    pub rows: u64,
    /// Those of them that did not win.
    pub losers: Tally,
}

impl OtherRuns {
    /// These and more of them, each with its rows and those of them that did not win.
    pub(super) fn and(mut self, more: impl IntoIterator<Item = (u64, Tally)>) -> OtherRuns {
        for (rows, losers) in more {
            self.values += 1;
            self.rows += rows;
            self.losers += losers;
        }
        self
    }
}
