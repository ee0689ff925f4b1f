//! What a run says of itself: a balance in which every row is accounted for.

mod analysis;
mod analysis_text;
mod diff;
mod exposition;
mod follow;
mod gc;
mod html;
mod proof;
mod routes;
mod runs;
mod status;
mod suggestion;
mod text;

pub use crate::kernel::Distances;
pub use analysis::{
    Advice, Analysis, Change, GroupRows, KeyCandidate, KeyPart, NearGroup, NearKeys, Neighbours, RejectedRow,
};
pub use analysis_text::analysis_text;
pub use diff::{DiffReport, SideReport, diff_text};
pub use exposition::exposition;
pub use follow::{FetchReport, SyncReport, TableReport, sync_text};
pub use gc::{GcReport, gc_text};
pub use html::{analysis_html, proof_html};
pub use proof::{
    AgainstDays, AgainstReport, Check, DroppedTable, MendReport, MigrationReport, Proof, Replaced, RollBackReport,
    migration_text, roll_back_text,
};
pub use routes::{RoutePrice, Routes, SourceColumns};
pub use runs::{OtherRuns, RunRows, Runs};
pub use status::{FeedReport, LastTimes, PartReport, StatusReport, status_text};
pub use suggestion::{LeftOut, SuggestedKey, Suggestion};
pub use text::{audit_text, backfill_text, dedup_text, plan_text};

use crate::balance::Balance;
use crate::dedup::OtherKey;
use crate::landing::InputReport;
use crate::ledger::Ledger;
use crate::plan::Batch;
use crate::warehouse::usage::{Estimate, Usage};
use crate::warehouse::{Audit, Comparison, Merged, Orphans};
use crate::window::{Day, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A number with the name of what was counted: `1 key`, `2,000 keys`.
pub fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", text::n(number), if number == 1 { "" } else { "s" })
}

/// A reason not to write anything, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Its short name: `rejects`, `left_out_columns`, `suspect_keys`, `conflicts`, `redated_keys`, `target_repeats`,
    /// `target_unfolded`, `key_differences`.
    pub reason: String,
    /// What was found.
    pub found: String,
    /// The file with the rows.
    pub file: Option<String>,
    /// What to do next.
    pub hint: String,
}

/// What one batch did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReport {
    /// Its name.
    pub batch_id: String,
    /// Its first and last day.
    pub days: Option<(Day, Day)>,
    /// Its winners.
    pub winners: u64,
    /// What was found in the target.
    pub comparison: Comparison,
    /// Winners that a merge would replace a lower row with; none where rows never change.
    pub to_update: u64,
    /// How large its staged objects are together.
    #[serde(default)]
    pub staged_bytes: u64,
    /// What was done; nothing where the run stopped before.
    pub merged: Option<Merged>,
}

impl BatchReport {
    /// Winners that the target had already, or had better.
    pub fn unchanged(&self) -> u64 {
        self.merged.as_ref().map_or(0, |merged| self.winners - merged.inserted - merged.updated)
    }
}

/// What a backfill did, or why it did nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run's name.
    pub run_id: String,
    /// The target's full name.
    pub target: String,
    /// The dataset.
    pub dataset: String,
    /// Which rows were taken.
    pub window: Option<Window>,
    /// What each input brought.
    pub inputs: Vec<InputReport>,
    /// How many rejects there are of each kind.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// What became of every row, up to the winners.
    pub balance: Balance,
    /// How another key would tell the rows apart, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_key: Option<OtherKey>,
    /// What each batch did.
    pub batches: Vec<BatchReport>,
    /// Files with rows to look at, by what they hold.
    pub files: BTreeMap<String, String>,
    /// Reasons why nothing was written. Empty: the run is done.
    pub stops: Vec<Stop>,
    /// What it took of a warehouse that counts jobs and bills bytes.
    pub usage: Option<Usage>,
    /// What it would take of such a warehouse, where it is only a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// The page about the input, where one was wanted.
    #[serde(default)]
    pub page: Option<String>,
}

impl RunReport {
    /// All batches together: winners, inserted, updated, unchanged.
    pub fn totals(&self) -> (u64, u64, u64, u64) {
        let mut totals = (0, 0, 0, 0);
        for batch in &self.batches {
            let merged = batch.merged.clone().unwrap_or_default();
            totals.0 += batch.winners;
            totals.1 += merged.inserted;
            totals.2 += merged.updated;
            totals.3 += batch.unchanged();
        }
        totals
    }
}

/// What `plan` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The target's full name.
    pub target: String,
    /// Rows that the target has.
    pub target_rows: u64,
    /// What became of every row, up to the winners.
    pub balance: Balance,
    /// The batches, in the order in which they would be merged.
    pub batches: Vec<Batch>,
    /// Reasons that the input itself gives to stop, by their short names.
    pub would_stop: Vec<String>,
    /// What it would take of a warehouse that counts jobs and bills bytes.
    pub estimate: Option<Estimate>,
}

/// What `audit` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// The target's full name.
    pub target: String,
    /// What it holds.
    pub audit: Audit,
    /// Rows that it had after the last merge that the ledger knows.
    pub rows_after_last_merge: Option<u64>,
    /// How many of them it has no more: somebody has removed them.
    pub lost_rows: u64,
    /// Rows that were removed before, between merges.
    pub removed_between_merges: u64,
    /// Trades of markets that are missing; nothing where nobody has looked, or there are no markets.
    #[serde(default)]
    pub orphans: Option<OrphansReport>,
    /// What it lacks of the rows of other places; nothing where none was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstReport>,
    /// What jobs of all runs that ended took; nothing where the warehouse has none.
    pub jobs: JobsReport,
    /// What is wrong: `duplicates`, `suspect_keys`, `without_key`, `without_day`, `lost_rows`, `missing_rows`.
    pub findings: Vec<String>,
}

/// Rows of trades whose market is not in the table of markets. NULL names none and is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphansReport {
    /// How many ids of markets they have.
    pub ids: u64,
    /// How many they are.
    pub rows: u64,
    /// Rows with an empty id, which are not among them.
    pub empty_rows: u64,
    /// The ids with the most rows.
    pub largest: Vec<OrphanId>,
}

/// The id of a market that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanId {
    /// The id.
    pub id: String,
    /// Rows of trades that have it.
    pub rows: u64,
}

impl OrphansReport {
    /// How many ids are told.
    const LARGEST: usize = 10;
}

impl From<Orphans> for OrphansReport {
    fn from(found: Orphans) -> OrphansReport {
        let (ids, rows) = (found.by_value.len() as u64, found.by_value.values().sum());
        let mut largest: Vec<_> = found.by_value.into_iter().map(|(id, rows)| OrphanId { id, rows }).collect();
        largest.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.id.cmp(&b.id)));
        largest.truncate(Self::LARGEST);
        OrphansReport { ids, rows, empty_rows: found.empty_rows, largest }
    }
}

/// What jobs took, by their own records: those of the last try of each run. Queries of a try that died are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsReport {
    /// How many there were.
    pub jobs: u64,
    /// What is billed for them, in bytes.
    pub bytes_billed: u64,
    /// How many partitions the merges among them processed.
    pub partitions: u64,
}

impl JobsReport {
    /// What a ledger has of them.
    pub fn of(ledger: &Ledger) -> JobsReport {
        let merges = ledger.receipts().filter_map(|receipt| receipt.merged.job.as_ref());
        JobsReport {
            jobs: ledger.usages().map(Usage::jobs).sum(),
            bytes_billed: ledger.usages().map(Usage::bytes_billed).sum(),
            partitions: merges.map(|job| job.partitions).sum(),
        }
    }
}

/// What `dedup` wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupReport {
    /// The folder.
    pub output: String,
    /// How many files are in it.
    pub files: u64,
    /// How large they are together.
    pub size_bytes: u64,
    /// How many winners were copied with their whole row group, without being encoded anew.
    pub copied_rows: u64,
    /// How many bytes of records waited on disk, since they did not fit into the memory that was given.
    pub spilled_bytes: u64,
    /// What became of every row.
    pub balance: Balance,
}
