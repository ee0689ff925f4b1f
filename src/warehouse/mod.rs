//! Where the winners go: a small trait, and what every implementation promises.
//!
//! One batch goes through `load`, `compare`, `key_search`; then, when no batch of the run gave a reason to stop,
//! through `merge`, `verify`, `unload`. Nothing before `merge` changes the target. All of them may be repeated: a merge
//! that is run twice changes nothing the second time.

mod audit;
pub mod bigquery;
mod by_day;
mod history;
pub mod local;
mod merged;
mod orphans;
mod statements;
mod undoing;
pub mod usage;
mod values;

pub use audit::{Audit, DayCount};
pub use history::{History, Kept, Moment, Tables, Undoing, Undone};
pub use merged::{JobReport, Merged, Verification};
pub use orphans::{Orphans, orphans};
pub use statements::Statements;

use crate::engine::number;
use crate::error::{Error, Result};
use crate::landing::LandingOptions;
use crate::stage::Manifest;
use crate::window::Day;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use bigquery::{InPlace, TableName};
use datafusion::physical_plan::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use usage::{Estimate, Outline, Usage};

/// What a merge of a batch would find in the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Winners that were compared; one whose key the target repeats counts once for each of those rows.
    pub staged: u64,
    /// Their key is not in the target.
    pub new: u64,
    /// They are higher than the target's row.
    pub newer: u64,
    /// They are lower than the target's row.
    pub older: u64,
    /// They tie with the target's row and say nothing else.
    pub same: u64,
    /// They tie with the target's row and differ in a value that they know.
    pub conflict: u64,
    /// They number another event than the target's row, whatever else they are.
    pub suspect: u64,
    /// They differ from the target's row in a column that can't change, whatever else they are.
    #[serde(default)]
    pub redated: u64,
    /// Keys that the target holds more than once on the touched days.
    pub repeated: u64,
    /// Rows of the target on the touched days with a key that landing would have folded.
    pub unfolded: u64,
    /// The sum of the numbers of the keys that are not in the target, where the warehouse tells it so early: what a
    /// merge inserts, it has in [`Merged::inserted_key_sum`].
    #[serde(skip)]
    pub new_key_sum: Option<i128>,
}

impl Comparison {
    /// Checks that every one of the `loaded` winners was found to be one thing, and no more than one unless the target
    /// repeats its key: it then stands beside each of the rows.
    ///
    /// # Errors
    /// Data, when the counts do not balance.
    pub fn check(&self, batch_id: &str, loaded: u64) -> Result<()> {
        let sum = self.new + self.newer + self.older + self.same + self.conflict;
        if sum == self.staged && (self.staged == loaded || (self.repeated > 0 && self.staged > loaded)) {
            return Ok(());
        }
        Err(Error::data("balance a comparison with the target").with("batch", batch_id).because(format!(
            "{loaded} winners were loaded and {} compared, of which new {} + newer {} + older {} + same {} + conflict {} \
             = {sum}",
            self.staged, self.new, self.newer, self.older, self.same, self.conflict
        )))
    }
}

impl std::ops::AddAssign for Comparison {
    fn add_assign(&mut self, other: Comparison) {
        self.staged += other.staged;
        self.new += other.new;
        self.newer += other.newer;
        self.older += other.older;
        self.same += other.same;
        self.conflict += other.conflict;
        self.suspect += other.suspect;
        self.redated += other.redated;
        self.repeated += other.repeated;
        self.unfolded += other.unfolded;
        self.new_key_sum = None;
    }
}

/// Writes down which job is begun next.
#[async_trait]
pub trait Journal: Send {
    /// Returns once it stands where every other writer reads it.
    ///
    /// # Errors
    /// Busy, when another writer has taken over: the job must not be begun.
    async fn begins(&mut self, job: &str) -> Result<()>;
}

/// Rows that a person may want to see before deciding about a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Winners that tie with the target's row and differ, with that row.
    Conflict,
    /// Winners that number another event than the target's row, with that row.
    Suspect,
    /// Winners that differ from the target's row in a column that can't change, with that row.
    Redated,
    /// Keys that the target holds more than once.
    Repeated,
    /// Rows of the target with a key that landing would have folded.
    Unfolded,
    /// Winners that a merge would bring in, with the row that each replaces; `_found` where there is one.
    Changed,
}

/// The days that a key search has found.
///
/// # Errors
/// Data, when a row without a day is among them: no merge could find it.
fn days(found: &[RecordBatch]) -> Result<BTreeSet<Day>> {
    let mut days = BTreeSet::new();
    for batch in found {
        for row in 0..batch.num_rows() {
            let Some(day) = number(batch.column(0).as_ref(), row) else {
                return Err(Error::data("search the target for keys")
                    .because("it holds a key of this run in a row that has no day")
                    .hint("give such rows a time, or remove them, then run the same command again"));
            };
            days.insert(Day(day as i32));
        }
    }
    Ok(days)
}

/// The target table, as a batch needs it.
#[async_trait]
pub trait Warehouse: Send + Sync + std::fmt::Debug {
    /// The target's full name.
    fn target(&self) -> String;

    /// The target as what it was, where it knows that.
    fn history(&self) -> Option<&dyn History> {
        None
    }

    /// Whether a merge is done by this process, with its memory.
    fn merges_here(&self) -> bool;

    /// How many days one merge may change.
    fn days_per_merge(&self) -> usize {
        usize::MAX
    }

    /// Checks that the target fits the contract, and counts its rows. A missing target fits and has none.
    ///
    /// # Errors
    /// Usage, with the columns that differ.
    async fn check_target(&self) -> Result<u64>;

    /// Checks that the target can take these batches, before anything of them is loaded.
    ///
    /// # Errors
    /// Data, with what it can't take.
    async fn check_batches(&self, _batches: &[Manifest]) -> Result<()> {
        Ok(())
    }

    /// Looks at a table whose rows this warehouse might land and deduplicate where they lie; or says why it can't, a
    /// clause for each reason.
    ///
    /// # Errors
    /// What the warehouse says; usage, where there is no such table.
    async fn in_place(
        &self,
        _source: &TableName,
        _options: &LandingOptions,
    ) -> Result<std::result::Result<InPlace<'_>, Vec<String>>> {
        Ok(Err(vec!["the target is not in BigQuery".into()]))
    }

    /// What the rows of such a table take where they lie, in bytes; 0 where nobody says so.
    ///
    /// # Errors
    /// As [`Warehouse::in_place`].
    async fn size_of(&self, _source: &TableName) -> Result<u64> {
        Ok(0)
    }

    /// Makes the staged objects readable beside the target, or finds the winners that are there. Gives the rows that
    /// were loaded, for R3.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn load(&self, batch: &Manifest) -> Result<u64>;

    /// Compares loaded winners with the target's rows on the touched days.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn compare(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<Comparison>;

    /// The days, other than the touched ones, on which the target holds one of the winners' keys.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn key_search(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<BTreeSet<Day>>;

    /// The rows behind a count of the comparison.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn rows_of(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        finding: Finding,
    ) -> Result<SendableRecordBatchStream>;

    /// Inserts winners whose key is not there, and updates rows that are lower. Atomic; writes nothing where there is
    /// nothing to change. The target remembers what was found before and what was done. A job that may outlive this
    /// process is written down before it is begun.
    ///
    /// # Errors
    /// Busy, when another writer was faster; otherwise what the warehouse says.
    async fn merge(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        found: &Comparison,
        journal: &mut dyn Journal,
    ) -> Result<Merged>;

    /// Looks at every row of the target, and changes nothing.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn audit(&self) -> Result<Audit>;

    /// The known values of a column as text, each with how many rows have it; where given, only of rows in which
    /// another column, as text, equals a text. A target that is not there has none. Texts, whole numbers, days and
    /// `true` and `false` read the same in every warehouse, other numbers and times as each writes them.
    ///
    /// # Errors
    /// Bug, for a column that the contract does not have; otherwise what the warehouse says.
    async fn values(&self, column: &str, equals: Option<(&str, &str)>) -> Result<BTreeMap<String, u64>>;

    /// The UTC days of event time that have rows, from this one on, each with how many; earlier days are not read. None
    /// for a dataset without a partition column, or where the target is not there.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn rows_by_day(&self, from: Day) -> Result<BTreeMap<Day, u64>>;

    /// What a plan would take of a warehouse that counts jobs and bills bytes.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn estimate(&self, _outline: &Outline<'_>) -> Result<Option<Estimate>> {
        Ok(None)
    }

    /// What this process has taken of such a warehouse so far.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Waits until a job that was written down is over, and where it was not begun yet sees to it that it never is:
    /// its writer may only be asleep.
    ///
    /// # Errors
    /// What the warehouse says; usage, where it has no jobs.
    async fn settle(&self, job: &str) -> Result<()> {
        Err(Error::usage("look up a job")
            .with("job", job)
            .because("this warehouse has none")
            .hint("the ledger was written for another warehouse: restore the target's own, or write to a new table"))
    }

    /// Looks for each winner in the target, and for each key that the target had before a merge of the batch.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn verify(&self, batch: &Manifest, touched: &BTreeSet<Day>, merged: &Merged) -> Result<Verification>;

    /// What the last merge of this batch found and did, as the target itself or its jobs remember it, with the rows
    /// that it had afterwards counted anew. Nothing, where the target was restored since.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn remembered(&self, batch: &Manifest) -> Result<Option<(Comparison, Merged)>>;

    /// The names of all tables that `load` has made and nobody has dropped.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn temporary(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The names of the tables that `load` makes of these batches.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn temporary_of(&self, _batches: &[Manifest]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Drops a table that [`Warehouse::temporary`] has named.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn drop_temporary(&self, name: &str) -> Result<()> {
        Err(Error::bug("drop a temporary table").with("table", name).because("this warehouse makes none"))
    }

    /// The tables that are kept for this target for a while and expire by themselves, by their URLs, each with the last
    /// day on which it is there; nothing instead of a day where it does not expire. Of what was `promised`, each with
    /// its day, what is gone is none of them, and what can't be looked at is there until the day that it was promised
    /// for.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn expiring(&self, promised: BTreeMap<String, Day>) -> Result<BTreeMap<String, Option<Day>>> {
        Ok(promised.into_iter().map(|(place, until)| (place, Some(until))).collect())
    }

    /// Drops what `load` made.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn unload(&self, batch: &Manifest) -> Result<()>;
}
