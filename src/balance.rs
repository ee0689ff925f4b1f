//! The counts that account for every row, up to the winners.

use crate::dedup::{KeyCount, Tally};
use crate::error::{Error, Result};
use crate::landing::LandingCounts;
use serde::{Deserialize, Serialize};

/// What became of every row, up to the winners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// R1: read = landed + rejected + outside.
    pub landing: LandingCounts,
    /// One row of each key.
    pub winners: u64,
    /// Every other one.
    pub losers: Tally,
    /// Rows of keys that were set aside as a whole.
    pub quarantined: KeyCount,
    /// Which rows those were, whatever order they came in; empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub quarantined_digest: String,
    /// Keys that are probably too narrow, before any was set aside.
    pub suspect: KeyCount,
    /// Keys whose rows differ in a fixed column.
    pub redated: KeyCount,
    /// Losers that are off their winner by whole hours.
    pub redated_by_hours: u64,
}

impl Balance {
    /// Rows that no table has: they were rejected, or are in quarantine, each in a file with its reason.
    pub fn set_aside(&self) -> u64 {
        self.landing.rejected + self.quarantined.rows
    }

    /// R2: landed = winners + exact + superseded + conflicts + rows of quarantined keys.
    ///
    /// # Errors
    /// Data, when the counts do not balance.
    pub fn check(&self) -> Result<()> {
        let sum = self.winners + self.losers.total() + self.quarantined.rows;
        if sum == self.landing.landed {
            return Ok(());
        }
        Err(Error::data("account for every row (R2)").because(format!(
            "{} rows landed, but {} winners + {} exact + {} superseded + {} conflicts + {} quarantined = {sum}",
            self.landing.landed,
            self.winners,
            self.losers.exact,
            self.losers.superseded,
            self.losers.conflict,
            self.quarantined.rows
        )))
    }
}
