//! What the ledger has words for.

use crate::balance::Balance;
use crate::landing::LandingCounts;
use crate::spans::Spans;
use crate::stage::Manifest;
use crate::warehouse::usage::Usage;
use crate::warehouse::{Comparison, Merged, Moment, Undone};
use crate::window::{Day, Window};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// A run's input is landed.
    Landed {
        /// The run.
        run_id: String,
        /// Which rows it takes.
        window: Option<Window>,
        /// What became of the rows.
        counts: LandingCounts,
        /// How many inputs it has.
        inputs: u64,
        /// How large they are together, as they are stored.
        size_bytes: u64,
        /// BLAKE3 of the file that holds the landing, in hexadecimal; the file lies beside the entry.
        digest: String,
    },
    /// All winners of a run are staged.
    Planned {
        /// The run.
        run_id: String,
        /// Its batches, in the order in which they are merged.
        batches: Vec<Manifest>,
        /// What the deduplication counted.
        balance: Box<Balance>,
        /// The files of rows that it has put aside, by what they hold.
        files: BTreeMap<String, String>,
    },
    /// A feed is followed: what of this time was not fetched is a gap.
    Followed {
        /// The feed.
        feed: String,
        /// The first moment, in microseconds since 1970-01-01 UTC.
        from_us: i64,
        /// The first moment that is not wanted; none, where it is followed for good.
        to_us: Option<i64>,
    },
    /// A part of what feeds have is landed. Its rows go into the target with the next run.
    Fetched {
        /// The part, which is also the name of the folder that it is in.
        part: String,
        /// What was seen whole.
        covers: Vec<Cover>,
        /// What was not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gaps: Vec<Gap>,
        /// What it was fetched for.
        purpose: Purpose,
        /// The digest of the contract by which its rows have landed: by another one other rows might have.
        contract: String,
        /// What became of the rows.
        counts: LandingCounts,
        /// BLAKE3 of the file that holds the landing, in hexadecimal; the file lies beside the entry.
        digest: String,
    },
    /// All that was to be fetched once more of these feeds was, and is in the target.
    Looked {
        /// What for.
        purpose: Purpose,
        /// The feeds.
        feeds: Vec<String>,
    },
    /// What was seen of feeds counts no more, since its rows are gone from the target or are to be fetched anew; and
    /// the target is right with as many rows as it has, where they are given.
    Unseen {
        /// What.
        covers: Vec<Cover>,
        /// How many rows the target had then; nothing where nobody has found that it is right.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<u64>,
    },
    /// Gaps that somebody has decided to live with: they are passed and not tried again.
    Accepted {
        /// Which.
        gaps: Vec<Cover>,
    },
    /// Values of a column that rows of another table are wanted for. Written before the run that brought them is done.
    Wanted {
        /// How many.
        values: u64,
        /// BLAKE3 of the file that lists them, in hexadecimal; the file lies beside the entry.
        digest: String,
    },
    /// All values that were wanted before this entry have been asked for.
    Struck {
        /// Those for which there is no row yet, each with how often it was asked for.
        left: BTreeMap<String, u32>,
    },
    /// A writer on some machine has taken the target. From here on the entries are its own, and an earlier writer that
    /// was only asleep finds that its next number is taken.
    Leased {
        /// Who.
        holder: Holder,
    },
    /// A job that writes to the target is begun next. Whoever takes over knows by this what may still run.
    Merging {
        /// The batch that it brings in.
        batch_id: String,
        /// The job, as the warehouse calls it.
        job: String,
    },
    /// Jobs that an earlier try was to begin are over, or will never be begun.
    Settled {
        /// The jobs, as in [`Entry::Merging`].
        jobs: Vec<String>,
    },
    /// A batch is in the target.
    Merged {
        /// The evidence.
        receipt: Box<Receipt>,
    },
    /// A migration begins to write to the target, or to write to it once more after it was proven.
    Migrating {
        /// Its run.
        run_id: String,
        /// What the target was before; nothing, where there was none.
        before: Option<Moment>,
        /// The digest of the contract: by another one, other rows have a key.
        contract: String,
    },
    /// A migration is about to merge a batch. A merge that never came has changed nothing, whatever this says.
    Changing {
        /// Its run.
        run_id: String,
        /// The batch.
        batch_id: String,
        /// The file, in the folder of the migration, that has the rows which go in, each beside the one that it
        /// replaces.
        file: String,
        /// How many.
        rows: u64,
    },
    /// What a migration has done was compared with what it should have.
    Proven {
        /// Its run.
        run_id: String,
        /// Where its rows came from, and how many each had.
        sources: BTreeMap<String, u64>,
        /// The short names of what does not hold. None: it is proven.
        findings: Vec<String>,
        /// The URL of the proof.
        file: String,
        /// The last day on which the staged winners are kept, which the proof names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staged_until: Option<Day>,
        /// The run that has staged them, where it is not called as the migration is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        staged_by: Option<String>,
    },
    /// A table of which a migration has brought in all rows is dropped next: moved aside, or after a snapshot of it.
    /// Whether that came to be, the two places tell.
    Dropping {
        /// The migration.
        run_id: String,
        /// The table, as a URL.
        source: String,
        /// The version that the migration has read; of a table of BigQuery when it was changed last, in milliseconds
        /// since 1970-01-01 UTC.
        version: Option<u64>,
        /// Where it is kept, as a URL.
        kept: String,
        /// The last day on which it is.
        until: Day,
        /// Who wanted it.
        by: String,
    },
    /// Another table takes the target's place next. Whoever finds no [`Entry::Swapped`] after it finishes it.
    Swapping {
        /// Which.
        swap: Box<Swap>,
    },
    /// That is done; or it is not, since the target was changed before.
    Swapped {
        /// Which.
        swap: Box<Swap>,
        /// Whether.
        is_done: bool,
    },
    /// What a migration has changed is taken back now.
    RollingBack {
        /// Its run.
        run_id: String,
        /// The rows of the target before.
        rows: u64,
    },
    /// What a migration had changed was taken back.
    RolledBack {
        /// Its run.
        run_id: String,
        /// What became of its rows.
        undone: Undone,
    },
    /// A run ended with reasons not to write anything, or did not end and was forgotten (`forgotten`); nothing of its
    /// work is taken up.
    Stopped {
        /// The run.
        run_id: String,
        /// The short names of the reasons.
        reasons: Vec<String>,
        /// What it took of a warehouse that counts jobs and bills bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// All batches of a run are in the target.
    Finished {
        /// The run.
        run_id: String,
        /// The parts, as in [`Entry::Fetched`], whose rows it has brought in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<String>,
        /// What it took of a warehouse that counts jobs and bills bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
}

impl Entry {
    /// Whether this run can't go on after it: it is over, or what it has found in the target may be taken back or be in
    /// another table by now.
    pub fn ends(&self, run: &str) -> bool {
        match self {
            Entry::Finished { run_id, .. } | Entry::Stopped { run_id, .. } | Entry::Proven { run_id, .. } => {
                run_id == run
            }
            Entry::RollingBack { .. } | Entry::RolledBack { .. } | Entry::Swapping { .. } => true,
            _ => false,
        }
    }
}

/// How another table takes the target's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The migration that has made it.
    pub run_id: String,
    /// Whether it is the table that the target was before that migration.
    pub is_back: bool,
    /// What the target is before.
    pub old: Moment,
    /// What it is after.
    pub new: Moment,
    /// The name beside the target under which the old one is kept.
    pub kept: String,
    /// The last day on which it is.
    pub until: Day,
    /// The name beside the target under which the new one is kept until then, if it was the target before.
    pub from: Option<String>,
}

/// The URL of what lies beside a target under a name. Older entries have a URL there, which is that of another place
/// where the target was copied or moved since.
pub fn beside(target: &str, name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    target.trim_end_matches('/').rsplit_once('/').map_or_else(|| name.into(), |(above, _)| format!("{above}/{name}"))
}

/// Windows of a feed of which everything was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The feed.
    pub feed: String,
    /// The windows.
    pub spans: Spans,
}

/// A window of a feed of which it can't be shown that everything was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The feed.
    pub feed: String,
    /// The window.
    pub window: Window,
    /// Why.
    pub why: String,
}

/// What a part was fetched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// What was not seen yet.
    New,
    /// Windows that were seen whole before: whether rows have come late.
    Recheck,
    /// Rows that other tables mention.
    Wanted,
    /// Rows that may say something else by now.
    Refresh,
}

/// Who has taken a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The writer, as a person finds it.
    pub name: String,
    /// The folder that it works in, whose lock it holds as long as it lives: a name that no other folder has.
    pub work_id: String,
}

/// Says for one batch what went in and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The run that merged it.
    pub run_id: String,
    /// The batch.
    pub batch_id: String,
    /// The target's full name.
    pub target: String,
    /// Which attempt this was, from 1. A batch is merged again where the target lost its rows.
    pub attempt: u32,
    /// Winners that were staged and loaded.
    pub staged: u64,
    /// What was found before the merge.
    pub comparison: Comparison,
    /// What the merge did.
    pub merged: Merged,
}

/// An entry with its number and writer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place, from 0, without gaps.
    pub number: u64,
    /// When it was written, in microseconds since 1970-01-01 UTC.
    pub at_us: i64,
    /// Tells writers apart: who finds an entry of its own nonce wrote it.
    pub nonce: String,
    /// What was done.
    pub entry: Entry,
}
