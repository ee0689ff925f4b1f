//! What a target was, and the way back to it: for who has to show that nothing was lost, and to undo what was done.

use super::{Journal, Warehouse};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::sql::Dialect;
use crate::stage::Manifest;
use crate::storage::Folder;
use crate::window::Day;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::physical_plan::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a target was at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Its version; where it counts none, the time in milliseconds since 1970-01-01 UTC, by the warehouse's clock.
    pub version: u64,
    /// Its rows.
    pub rows: u64,
}

/// The tables of a proof, as SQL names them.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The target as it was.
    pub before: String,
    /// The target as it is.
    pub after: String,
    /// The winners that were to be brought in.
    pub winners: String,
    /// Who reads the SQL.
    pub dialect: Dialect,
    /// In how many parts the tables are asked, each with all rows of its keys: as many as it takes to fit into memory.
    pub parts: u64,
    /// Statements by which somebody else makes the same names known, with what is needed to do so.
    pub set_up: String,
}

/// What became of the rows that a merge had changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Rows that the merge had inserted and that are gone again.
    pub removed: u64,
    /// Rows that the merge had raised and that are as before.
    pub restored: u64,
    /// Rows that somebody has changed since, and that stay as they are.
    pub changed_since: u64,
    /// Rows that were as before already.
    pub as_before: u64,
    /// Rows of the target before.
    pub rows_before: u64,
    /// Rows of the target after.
    pub rows_after: u64,
    /// The days that were written anew.
    pub days_changed: BTreeSet<Day>,
    /// The target's version after it; `None` where nothing had to be written.
    pub version: Option<u64>,
}

impl Undone {
    /// What the counts of [`super::Statements`] for an undo say would become of rows, of a target that has so many.
    ///
    /// # Errors
    /// Bug, where they are not four.
    pub(super) fn of(counts: &[u64], rows: u64) -> Result<Undone> {
        let &[removed, restored, changed_since, as_before] = counts else {
            return Err(Error::bug("undo a merge").because("the counts have another number"));
        };
        Ok(Undone {
            removed,
            restored,
            changed_since,
            as_before,
            rows_before: rows,
            rows_after: rows,
            ..Undone::default()
        })
    }

    /// Checks that as many rows are gone as were to be taken out.
    ///
    /// # Errors
    /// Data, when the counts do not balance.
    pub(super) fn check(&self, target: &str) -> Result<()> {
        let Undone { removed, rows_before, rows_after, .. } = self;
        if *rows_before == rows_after + removed {
            return Ok(());
        }
        Err(Error::data("undo a merge")
            .with("table", target)
            .because(format!("of {rows_before} rows {removed} were to be taken out, and {rows_after} are left")))
    }
}

impl std::ops::AddAssign for Undone {
    /// `other` came after `self`.
    fn add_assign(&mut self, other: Undone) {
        self.removed += other.removed;
        self.restored += other.restored;
        self.changed_since += other.changed_since;
        self.as_before += other.as_before;
        self.rows_after = other.rows_after;
        self.days_changed.extend(other.days_changed);
        self.version = other.version.or(self.version);
    }
}

/// A target that knows what it was.
#[async_trait]
pub trait History: Send + Sync {
    /// What it is now; nothing where it is not there.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn moment(&self) -> Result<Option<Moment>>;

    /// The same, and keeps what it is now for [`History::tables`].
    ///
    /// # Errors
    /// What the warehouse says.
    async fn keep(&self) -> Result<Option<Moment>> {
        self.moment().await
    }

    /// Whether it still knows what it was then.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn knows(&self, _moment: Moment) -> Result<bool> {
        Ok(true)
    }

    /// Makes the target as it was and as it is, and the staged winners of batches, known side by side. `before` is
    /// nothing where there was no target.
    ///
    /// # Errors
    /// What the warehouse says, as where the old version is not there any more.
    async fn tables(&self, before: Option<Moment>, batches: &[Manifest]) -> Result<Tables>;

    /// The staged winners of a batch that the target seems to have under another key, on whatever day: they are the
    /// same by the key of `other`, or one has a part of the key that the other lacks. All of their columns, or only a
    /// list of their keys for [`crate::dedup::Flagged::of_list`].
    ///
    /// # Errors
    /// What the warehouse says.
    async fn under_another_key(
        &self,
        batch: &Manifest,
        other: &Dataset,
        only_keys: bool,
    ) -> Result<SendableRecordBatchStream>;

    /// Asks something about these tables, part by part: the answers of all parts, one after the other.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn ask(&self, tables: &Tables, sql: &str) -> Result<Vec<RecordBatch>>;

    /// What it is now, by a version that is another one whenever somebody has written to it since, and only then.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn state(&self) -> Result<Option<Moment>> {
        self.moment().await
    }

    /// Whether nothing can be merged into the target as it is: it holds keys more than once or as landing would not
    /// write them, or its columns are not the contract's.
    ///
    /// # Errors
    /// What the warehouse says; usage, where a mend would not do.
    async fn needs_mending(&self) -> Result<bool>;

    /// The table that is made to take the target's place; it need not be there yet. `anew`: what there is of it goes.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn in_the_making(&self, anew: bool) -> Result<Box<dyn Warehouse>>;

    /// As [`History::tables`], but before is the target as landing reads it, with all its rows, and after is the table
    /// in the making.
    ///
    /// # Errors
    /// As [`History::in_the_making`].
    async fn tables_of_mend(&self, batches: &[Manifest]) -> Result<Tables>;

    /// The name beside the target under which it is kept until a day once another table is in its place. `label` is
    /// what no other swap has.
    fn kept_as(&self, until: Day, label: &str) -> String;

    /// What statements of [`History::tables_of_mend`] call the tables, each with what it is called once they are
    /// swapped and the target is `kept`. In this order none is taken for another one.
    ///
    /// # Errors
    /// As [`History::in_the_making`].
    fn swapped_names(&self, kept: &str) -> Result<Vec<(String, String)>>;

    /// Whether a table that was put aside is there, with all of its files, and has the version that it had then.
    ///
    /// # Errors
    /// As [`History::in_the_making`].
    async fn has_kept(&self, kept: &str, version: u64) -> Result<bool>;

    /// Puts the table in the making into the place of the target, which is `kept` until a day from then on; goes on
    /// where an earlier try has ended. `false`: nothing was done, since the target has another version than this, or
    /// there is nothing to put there. Where it fails after a part of it, that part is undone if it can be. A job that
    /// may outlive this process is written down before it is begun, and those of earlier tries are over.
    ///
    /// # Errors
    /// As [`History::in_the_making`].
    async fn swap(&self, kept: &str, until: Day, version: u64, journal: &mut dyn Journal) -> Result<bool>;

    /// Makes the table that is `kept` the one in the making, or the other way round; nothing, where that is done.
    ///
    /// # Errors
    /// As [`History::in_the_making`].
    async fn stand_by(&self, kept: &str, is_back: bool) -> Result<()>;

    /// Keeps the rows that the merge of a batch is about to bring in, each beside the one that it replaces. Gives how
    /// many. What was kept in the same place before goes.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn keep_changes(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        kept: &Kept,
        journal: &mut dyn Journal,
    ) -> Result<u64>;

    /// Whether what was kept is still there.
    ///
    /// # Errors
    /// What the warehouse says.
    async fn has_changes(&self, kept: &Kept) -> Result<bool>;

    /// Takes back what the merge of a batch has changed, as it was kept, in one commit. Rows that are not as the merge
    /// has left them stay.
    ///
    /// # Errors
    /// Data, when what was kept is gone; busy, when another writer was faster; otherwise what the warehouse says.
    async fn undo(&self, batch_id: &str, kept: &Kept, how: Undoing<'_>) -> Result<Undone>;
}

/// Where the changes of a merge are kept.
#[derive(Debug)]
pub struct Kept {
    /// The folder of the migration.
    pub folder: Folder,
    /// What they are called: a file there, or what the name of a table comes from.
    pub name: String,
}

/// Whether something is undone.
pub enum Undoing<'a> {
    /// It is only said what that would do.
    Dry,
    /// It is. A job that may outlive this process is written down before it is begun.
    Real(&'a mut dyn Journal),
}

impl Kept {
    /// The error for changes that are not there any more.
    pub fn is_gone(&self) -> Error {
        Error::data("undo a merge")
            .with("changes", self.folder.url_of(&self.name))
            .because("what the merge has changed was kept under this name, and it is gone")
            .hint("restore it, or the table to the version before the migration")
    }
}

impl std::fmt::Debug for Undoing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Undoing::Dry) { "Dry" } else { "Real" })
    }
}
