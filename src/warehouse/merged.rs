//! What a merge of a batch did, and what is wrong with the target after it.

use crate::error::{Error, Result};
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Winners whose key was not there.
    pub inserted: u64,
    /// The sum of the numbers of their keys, as [`crate::sql::Exprs::key_number`] draws them, in decimal; nothing where
    /// the warehouse does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inserted_key_sum: Option<String>,
    /// Winners that replaced a lower row.
    pub updated: u64,
    /// Rows of the target before.
    pub rows_before: u64,
    /// Rows of the target after.
    pub rows_after: u64,
    /// The days that were written anew, or may have been.
    pub days_changed: BTreeSet<Day>,
    /// The target's version after it; `None` where nothing had to be written.
    pub version: Option<u64>,
    /// The job that did it, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobReport>,
}

/// A job that the warehouse has run for us, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// How the warehouse calls it.
    pub job: String,
    /// What it read, in bytes.
    pub bytes_processed: u64,
    /// What is billed for it, in bytes.
    pub bytes_billed: u64,
    /// How many partitions it read or wrote.
    pub partitions: u64,
}

impl Merged {
    /// Checks the counting half of R4: inserted + updated ≤ winners, rows after = rows before + inserted.
    ///
    /// # Errors
    /// Data, when the counts do not balance.
    pub fn check(&self, batch_id: &str, winners: u64) -> Result<()> {
        if self.inserted + self.updated <= winners && self.rows_after == self.rows_before + self.inserted {
            return Ok(());
        }
        Err(Error::data("balance a merge (R4)").with("batch", batch_id).hint(RESTORE).because(format!(
            "{winners} winners, {} inserted, {} updated; the target had {} rows and has {}",
            self.inserted, self.updated, self.rows_before, self.rows_after
        )))
    }
}

/// What is wrong with the target after the merge of a batch. All zero: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Winners whose key is not there.
    pub missing: u64,
    /// Winners whose key is there more than once.
    pub repeated: u64,
    /// Winners whose key's row is lower than they are.
    pub lower: u64,
    /// Keys that the merge took out of the target.
    pub lost: u64,
}

/// What is left to do where a commit stands and is wrong.
const RESTORE: &str = "restore the target to the version before this merge, and report this as a bug with its counts";

impl Verification {
    /// Checks the other half of R4, and R5.
    ///
    /// # Errors
    /// Data, when something is wrong.
    pub fn check(&self, batch_id: &str) -> Result<()> {
        if *self == Verification::default() {
            return Ok(());
        }
        Err(Error::data("verify a merge (R4, R5)").with("batch", batch_id).hint(RESTORE).because(format!(
            "of its winners {} are missing in the target, {} are there more than once, {} are there lower than they \
             should be; of the keys that the target had before {} are gone",
            self.missing, self.repeated, self.lower, self.lost
        )))
    }
}
