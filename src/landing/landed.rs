//! What a landing has brought, as a value that the ledger keeps.

use crate::error::{Error, Result};
use crate::source::Format;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// What became of the rows that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandingCounts {
    /// Rows in the input.
    pub read: u64,
    /// Rows that landed.
    pub landed: u64,
    /// Rows that were set aside with a reason.
    pub rejected: u64,
    /// Rows outside of the window.
    pub outside: u64,
}

impl AddAssign for LandingCounts {
    fn add_assign(&mut self, other: LandingCounts) {
        self.read += other.read;
        self.landed += other.landed;
        self.rejected += other.rejected;
        self.outside += other.outside;
    }
}

impl LandingCounts {
    /// Whether read = landed + rejected + outside.
    pub fn is_balanced(&self) -> bool {
        self.read == self.landed + self.rejected + self.outside
    }
}

/// One Parquet file of landed rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandedFile {
    /// Its full URL, `file:///…` on the local disk.
    pub url: String,
    /// What it is called in reports: as the input is shown, for one that landed as it is.
    pub shown: String,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub digest: String,
    /// Its rows.
    pub rows: u64,
    /// Whether it is an input, used where it lies, and not a file of ours.
    pub by_reference: bool,
    /// For a file by reference, when it was last written, in microseconds since 1970-01-01 UTC: a later time or another
    /// size means that it is not the file that was checked.
    pub last_modified_us: Option<i64>,
}

/// Known values of columns that the contract does not have, by the columns' names.
pub type LeftOut = BTreeMap<String, u64>;

/// What one input brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReport {
    /// Where it is, as shown to a person.
    pub url: String,
    /// How its rows were written down; nothing for a table that landed where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Its size, as it is stored.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes as they are stored, in hexadecimal.
    pub digest: String,
    /// What became of its rows.
    #[serde(flatten)]
    pub counts: LandingCounts,
    /// Fields that the contract does not have, each with the number of rows that had a value for it.
    pub left_out: LeftOut,
}

/// What a landing has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// The files that hold the rows: those we wrote row by row, in their order, then inputs that landed as they are, in
    /// theirs.
    pub files: Vec<LandedFile>,
    /// What each input brought, in the order of the inputs.
    pub inputs: Vec<InputReport>,
    /// What became of all rows.
    pub counts: LandingCounts,
    /// The URLs of the rows that were set aside, where there are any: one for each landing that this one is made of.
    pub rejects: Vec<String>,
    /// How many rows were set aside for what, as `column: reason` without the value.
    pub rejects_by_reason: BTreeMap<String, u64>,
}

impl Landed {
    /// Adds what another landing has brought.
    pub fn append(&mut self, other: Landed) {
        self.files.extend(other.files);
        self.inputs.extend(other.inputs);
        self.counts += other.counts;
        self.rejects.extend(other.rejects);
        for (reason, rows) in other.rejects_by_reason {
            *self.rejects_by_reason.entry(reason).or_default() += rows;
        }
    }

    /// Rule R1: read = landed + rejected + outside, for each input and in total, and the files hold what landed.
    ///
    /// # Errors
    /// Data, naming the input that leaks.
    pub fn check(&self) -> Result<()> {
        let leak = |what: &str, counts: &LandingCounts| {
            Error::data("account for every row").with("input", what).because(format!(
                "rule R1: {} rows read, but {} landed + {} rejected + {} outside of the window",
                counts.read, counts.landed, counts.rejected, counts.outside
            ))
        };
        let mut total = LandingCounts::default();
        for input in &self.inputs {
            if !input.counts.is_balanced() {
                return Err(leak(&input.url, &input.counts));
            }
            total += input.counts;
        }
        if total != self.counts {
            return Err(leak("all inputs together", &self.counts));
        }
        let in_files: u64 = self.files.iter().map(|file| file.rows).sum();
        if in_files != self.counts.landed {
            let why = format!("rule R1: {} rows landed, but the landed files hold {in_files}", self.counts.landed);
            return Err(Error::data("account for every row").because(why));
        }
        Ok(())
    }
}
