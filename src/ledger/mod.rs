//! The append-only record of what was done: numbered JSON files, each written only if there is none of its number. The
//! only memory of a run; it lives with the target.

mod entry;
mod feeds;
mod migrations;
mod segments;

pub use entry::{Cover, Entry, Gap, Holder, Purpose, Receipt, Record, Swap, beside};
pub use feeds::{FeedState, Seen};
pub use migrations::{Inserted, Migration};

use crate::balance::Balance;
use crate::error::{Doing, Error, Kind, Result};
use crate::landing::Landed;
use crate::stage::Manifest;
use crate::storage::Folder;
use crate::warehouse::usage::Usage;
use crate::window::Window;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// A target's ledger, read whole when it is opened.
#[derive(Debug)]
pub struct Ledger {
    folder: Folder,
    nonce: String,
    records: Vec<Record>,
    /// How many segments are written.
    segments: usize,
}

impl Ledger {
    /// Reads the ledger in `folder`; there may be none yet. `nonce` is the writer's own and never used by another.
    ///
    /// # Errors
    /// Data, when an entry is missing or can't be read; or what the store says.
    pub async fn open(folder: Folder, nonce: String) -> Result<Ledger> {
        let is_entry = |name: &str| name.strip_suffix(".json").is_some_and(is_number);
        let mut records = segments::read(&folder).await?;
        let segments = segments::filled(records.len());
        let last = records.last().map(|record| entry_file(record.number));
        let newer = folder.list_after(last.as_deref()).await?.into_iter();
        let names = newer.filter_map(|meta| meta.location.filename().map(str::to_string));
        let names: Vec<String> = names.filter(|name| is_entry(name)).collect();
        let mut read = futures::stream::iter(names.into_iter().map(|name| read_entry(&folder, name))).buffered(READS);
        while let Some(record) = read.try_next().await? {
            let record =
                record.ok_or_else(|| Error::bug("read the ledger").because("an entry was removed meanwhile"))?;
            let expected = records.len() as u64;
            if record.number != expected {
                return Err(Error::data("read the ledger")
                    .with("folder", folder.url())
                    .because(format!("entry {expected} is missing; the next one is {}", record.number)));
            }
            records.push(record);
        }
        drop(read);
        Ok(Ledger { folder, nonce, records, segments })
    }

    /// Reads what others have written since.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub async fn catch_up(&mut self) -> Result<()> {
        while let Some(record) = read_entry(&self.folder, entry_file(self.records.len() as u64)).await? {
            self.records.push(record);
        }
        Ok(())
    }

    /// Whether nobody else has written to it since this writer read it.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub async fn is_ours(&mut self) -> Result<bool> {
        let known = self.records.len();
        self.catch_up().await?;
        Ok(self.records.len() == known)
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// Busy, when another writer has written the entry of this number; or what the store says.
    pub async fn append(&mut self, entry: Entry, at_us: i64) -> Result<()> {
        let record = Record { number: self.records.len() as u64, at_us, nonce: self.nonce.clone(), entry };
        let name = entry_file(record.number);
        let text = serde_json::to_vec_pretty(&record).doing("write a ledger entry")?;
        if !self.folder.create(&name, text.into()).await? {
            // A retried request may have found its own first try.
            let found = self.folder.get(&name).await?.unwrap_or_default();
            let own = serde_json::from_slice::<Record>(&found).is_ok_and(|found| found == record);
            if !own {
                return Err(Error::new(Kind::Busy, "write a ledger entry")
                    .with("entry", self.folder.url_of(&name))
                    .because("another writer has written it")
                    .hint("wait until the other run is done, then run the same command again"));
            }
        }
        self.records.push(record);
        if segments::filled(self.records.len()) > self.segments {
            // The entry is written, whatever becomes of this: the next one tries again.
            let written = segments::write(&self.folder, &self.records, self.segments).await;
            self.segments = written.map_or(self.segments, |()| segments::filled(self.records.len()));
        }
        Ok(())
    }

    /// All records, the oldest first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Writes the entry of a landing. The landing itself goes into a file beside it: it may have a million inputs, and
    /// whoever opens the ledger reads every entry.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn append_landed(
        &mut self,
        run_id: &str,
        window: Option<Window>,
        landed: &Landed,
        at_us: i64,
    ) -> Result<()> {
        let digest = self.attach(LANDING, landed).await?;
        let entry = Entry::Landed {
            run_id: run_id.to_string(),
            window,
            counts: landed.counts,
            inputs: landed.inputs.len() as u64,
            size_bytes: landed.inputs.iter().map(|input| input.size_bytes).sum(),
            digest,
        };
        self.append(entry, at_us).await
    }

    /// The landing of a run that is not done, if it got that far and its file is what it was.
    ///
    /// # Errors
    /// What the store says.
    pub async fn landed(&self, run_id: &str) -> Result<Option<Landed>> {
        let digest = self.open_entries(run_id).find_map(|entry| match entry {
            Entry::Landed { run_id: id, digest, .. } if id == run_id => Some(digest),
            _ => None,
        });
        match digest {
            Some(digest) => self.attached(LANDING, digest).await,
            None => Ok(None),
        }
    }

    /// Writes a value that is too large for an entry into a file beside it. Gives its digest, which is its name.
    async fn attach(&self, kind: &str, value: &impl Serialize) -> Result<String> {
        let text = serde_json::to_vec(value).doing("write a ledger entry")?;
        let digest = blake3::hash(&text).to_hex().to_string();
        self.folder.put(&attached_file(kind, &digest), text.into()).await?;
        Ok(digest)
    }

    /// The value of this digest, if its file is what it was.
    async fn attached<T: DeserializeOwned>(&self, kind: &str, digest: &str) -> Result<Option<T>> {
        let text = self.folder.get(&attached_file(kind, digest)).await?.unwrap_or_default();
        if blake3::hash(&text).to_hex().as_str() != digest {
            return Ok(None);
        }
        serde_json::from_slice(&text).doing("read a file of the ledger").map(Some)
    }

    /// The batches of a run that is not done, its balance and the files that it has put aside, if it got that far.
    pub fn planned(&self, run_id: &str) -> Option<(&[Manifest], &Balance, &BTreeMap<String, String>)> {
        self.open_entries(run_id).find_map(|entry| match entry {
            Entry::Planned { run_id: id, batches, balance, files } if id == run_id => {
                Some((batches.as_slice(), balance.as_ref(), files))
            }
            _ => None,
        })
    }

    /// The newest entries, back to where the run was last done. What it had found until then may have changed since:
    /// the target, and the time by which a row is in the future.
    fn open_entries(&self, run_id: &str) -> impl Iterator<Item = &Entry> {
        let done = move |entry: &&Entry| match entry {
            Entry::Finished { run_id: id, .. } | Entry::Stopped { run_id: id, .. } => id == run_id,
            Entry::RolledBack { run_id: id, .. } => id == run_id,
            _ => false,
        };
        self.records.iter().rev().map(|record| &record.entry).take_while(move |entry| !done(entry))
    }

    /// The last receipt of a batch, of those that tell of the table which is the target now.
    pub fn receipt(&self, batch_id: &str) -> Option<&Receipt> {
        let own = self.of_this_table().into_iter().rev().flat_map(|place| self.records[place].iter().rev());
        own.filter_map(|record| match &record.entry {
            Entry::Merged { receipt } => Some(receipt.as_ref()),
            _ => None,
        })
        .find(|receipt| receipt.batch_id == batch_id)
    }

    /// All receipts, the oldest first.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.records.iter().filter_map(|record| match &record.entry {
            Entry::Merged { receipt } => Some(receipt.as_ref()),
            _ => None,
        })
    }

    /// What was done to the target as it is now, in order: of each commit its version, the rows before and after.
    fn commits(&self) -> Vec<(u64, u64, u64)> {
        let mut commits: Vec<(u64, u64, u64)> = Vec::new();
        for record in &self.records {
            let (version, before, after) = match &record.entry {
                Entry::Merged { receipt } => {
                    (receipt.merged.version, receipt.merged.rows_before, receipt.merged.rows_after)
                }
                Entry::RolledBack { undone, .. } => (undone.version, undone.rows_before, undone.rows_after),
                Entry::Swapped { swap, is_done: true } => {
                    // Another table, with versions of its own.
                    commits.clear();
                    (Some(swap.new.version), swap.new.rows, swap.new.rows)
                }
                _ => continue,
            };
            let Some(version) = version else { continue };
            match commits.last() {
                // Made anew, with versions of its own.
                Some((last, ..)) if version <= *last && before == 0 => commits.clear(),
                // A receipt that was written long after its merge.
                Some((last, ..)) if version <= *last => continue,
                _ => {}
            }
            commits.push((version, before, after));
        }
        commits
    }

    /// How many rows the target had after the last commit that is told of.
    pub fn rows_after_last_merge(&self) -> Option<u64> {
        // While a migration is taken back, nobody knows.
        if self.migrations().into_iter().any(|name| self.migration(name).is_some_and(|m| m.rolling_back.is_some())) {
            return None;
        }
        if self.pending_swap().is_some() {
            return None;
        }
        self.commits().last().map(|(_, _, after)| *after)
    }

    /// How many rows the target has too few, which had so many when somebody has counted them after this was read.
    /// Rows are not missing where what others have done to it meanwhile explains it.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub async fn missing_rows(&mut self, counted: u64) -> Result<u64> {
        let missing = |own: &Ledger| own.rows_after_last_merge().map_or(0, |rows| rows.saturating_sub(counted));
        let before = missing(self);
        if before > 0 {
            self.catch_up().await?;
        }
        Ok(before.min(missing(self)))
    }

    /// How many rows were gone from the target each time that a commit began, together: somebody else has removed them
    /// between commits, or has restored the target.
    pub fn removed_between_merges(&self) -> u64 {
        self.commits().windows(2).map(|pair| pair[0].2.saturating_sub(pair[1].1)).sum()
    }

    /// What every run that ended took of a warehouse that counts jobs and bills bytes, the oldest first.
    pub fn usages(&self) -> impl Iterator<Item = &Usage> {
        self.records.iter().filter_map(|record| match &record.entry {
            Entry::Finished { usage, .. } | Entry::Stopped { usage, .. } => usage.as_ref(),
            _ => None,
        })
    }

    /// The writer that took the target last, with the number of its entry and the time of it.
    pub fn leased(&self) -> Option<(u64, &Holder, i64)> {
        self.records.iter().rev().find_map(|record| match &record.entry {
            Entry::Leased { holder } => Some((record.number, holder, record.at_us)),
            _ => None,
        })
    }

    /// Jobs that were to be begun and of which nobody has written down how they ended, the oldest first.
    pub fn unsettled(&self) -> Vec<&str> {
        let mut open: Vec<(&str, &str)> = Vec::new();
        for record in &self.records {
            match &record.entry {
                Entry::Merging { batch_id, job } => open.push((batch_id, job)),
                Entry::Merged { receipt } => open.retain(|(batch_id, _)| *batch_id != receipt.batch_id),
                Entry::Settled { jobs } => open.retain(|(_, job)| !jobs.iter().any(|settled| settled == job)),
                _ => {}
            }
        }
        open.into_iter().map(|(_, job)| job).collect()
    }

    /// When a run was finished last, in microseconds since 1970-01-01 UTC.
    pub fn last_finished(&self) -> Option<i64> {
        let is_finished = |record: &&Record| matches!(record.entry, Entry::Finished { .. });
        self.records.iter().rev().find(is_finished).map(|record| record.at_us)
    }

    /// Runs that began and neither finished nor stopped for a decision, and migrations that are not proven, the oldest
    /// first.
    pub fn unfinished(&self) -> Vec<&str> {
        // Looked up once: a ledger may have a hundred thousand entries, and few migrations.
        let is_unproven = |name: &&str| self.migration(name).is_some_and(|known| !known.is_proven);
        let unproven: Vec<&str> = self.migrations().into_iter().filter(is_unproven).collect();
        let mut open: Vec<&str> = Vec::new();
        for record in &self.records {
            match &record.entry {
                Entry::Landed { run_id, .. } | Entry::Planned { run_id, .. } if !open.contains(&run_id.as_str()) => {
                    open.push(run_id);
                }
                Entry::Finished { run_id, .. } if unproven.contains(&run_id.as_str()) => {}
                Entry::Stopped { run_id, .. } | Entry::Finished { run_id, .. } | Entry::RolledBack { run_id, .. } => {
                    open.retain(|id| id != run_id);
                }
                _ => {}
            }
        }
        open
    }
}

/// How many entries are read at once: a store answers each of them after a while.
const READS: usize = 32;

/// The name of the file of an entry.
fn entry_file(number: u64) -> String {
    format!("{number:020}.json")
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

async fn read_entry(folder: &Folder, name: String) -> Result<Option<Record>> {
    let Some(bytes) = folder.get(&name).await? else { return Ok(None) };
    let record = serde_json::from_slice(&bytes).map_err(|error| {
        Error::data("read the ledger")
            .with("entry", folder.url_of(&name))
            .because(error)
            .hint("the file was changed or cut short: restore it, or remove it and all later ones to redo their work")
    });
    record.map(Some)
}

/// What files beside entries hold: a landing, a list of values.
const LANDING: &str = "landing";
const WANTED: &str = "wanted";

/// The name of the file that holds the value of this digest.
fn attached_file(kind: &str, digest: &str) -> String {
    format!("{kind}-{digest}.json")
}
