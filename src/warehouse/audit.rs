//! What a target holds: rows, keys, and what the other rows of a key are beside its first.

use crate::dedup::Tally;
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows of a day, and the keys whose first row is one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    /// Rows.
    pub rows: u64,
    /// Keys.
    pub keys: u64,
}

/// What a target holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Rows.
    pub rows: u64,
    /// Different keys.
    pub keys: u64,
    /// Rows that repeat a key, by their class against its first row under the total order.
    pub duplicates: Tally,
    /// Keys with rows that number different events.
    pub suspect_keys: u64,
    /// Rows that lack a part of their key: NULL counts as equal to NULL here, while a merge finds none of them, and
    /// their classes tell nothing.
    pub without_key: u64,
    /// Rows without a day, of a contract that wants one.
    pub without_day: u64,
    /// The latest time of a row, as text.
    pub latest: Option<String>,
    /// When the table was changed last, in microseconds since 1970-01-01 UTC.
    pub last_modified_us: Option<i64>,
    /// Rows and keys by day; empty for a contract without a partition column.
    pub days: BTreeMap<Day, DayCount>,
}

impl Audit {
    /// What is wrong with it, by short names.
    pub fn findings(&self) -> Vec<String> {
        let all = [
            (self.duplicates.total(), "duplicates"),
            (self.suspect_keys, "suspect_keys"),
            (self.without_key, "without_key"),
            (self.without_day, "without_day"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).map(|(_, name)| name.to_string()).collect()
    }
}
