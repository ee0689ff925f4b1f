//! What the ledger knows of migrations: what the target was before one, what each merge was about to change, what was
//! proven, and what was taken back.

use super::entry::{Cover, Entry, Swap, beside};
use super::{Ledger, Record};
use crate::stage::Manifest;
use crate::warehouse::Moment;
use crate::window::Day;
use std::collections::BTreeMap;
use std::ops::Range;

/// A migration, since it was last undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// The number of the entry with which it began.
    pub number: u64,
    /// The number of the entry with which its newest run began.
    pub since: u64,
    /// What the target was before the newest run of it that is not proven; nothing, where there was none.
    pub before: Option<Moment>,
    /// Whether that run is proven.
    pub is_proven: bool,
    /// The digest of the contract by which it was begun.
    pub contract: String,
    /// What its merges were about to change, the oldest first: the batch, the file, and the number of the entry.
    pub changes: Vec<(String, String, u64)>,
    /// The rows of the target when it was begun to be taken back, where that is not done yet.
    pub rolling_back: Option<u64>,
}

/// Keys that are in a table or came into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// How many.
    pub keys: u64,
    /// The sum of their numbers, as [`crate::sql::Exprs::key_number`] draws them; nothing where somebody has not told.
    pub sum: Option<i128>,
}

impl Inserted {
    /// None at all.
    pub const NONE: Inserted = Inserted { keys: 0, sum: Some(0) };

    /// Both together, none of which is in the other.
    #[must_use]
    pub fn and(self, other: Inserted) -> Inserted {
        let sum = self.sum.and_then(|sum| sum.checked_add(other.sum?));
        Inserted { keys: self.keys + other.keys, sum }
    }
}

impl Ledger {
    /// What is known of a migration by this name; nothing where there was none since it was last undone.
    pub fn migration(&self, name: &str) -> Option<Migration> {
        let mut found: Option<Migration> = None;
        for record in self.records() {
            let number = record.number;
            match &record.entry {
                Entry::Migrating { run_id, before, contract } if run_id == name => {
                    let known = found.get_or_insert_with(|| Migration { number, ..Migration::default() });
                    (known.since, known.before, known.is_proven) = (number, *before, false);
                    known.contract.clone_from(contract);
                }
                Entry::RolledBack { run_id, .. } if run_id == name => found = None,
                // What the target was before is a version of another table: it is asked anew.
                Entry::Swapped { is_done: true, .. } => {
                    found.iter_mut().for_each(|known| known.is_proven = true);
                }
                entry => {
                    let Some(known) = &mut found else { continue };
                    match entry {
                        Entry::Changing { run_id, batch_id, file, .. } if run_id == name => {
                            known.changes.push((batch_id.clone(), file.clone(), number));
                        }
                        // One that does not hold is asked again, until it does.
                        Entry::Proven { run_id, findings, .. } if run_id == name => {
                            known.is_proven = findings.is_empty();
                        }
                        Entry::RollingBack { run_id, rows } if run_id == name => {
                            known.rolling_back.get_or_insert(*rows);
                        }
                        _ => {}
                    }
                }
            }
        }
        found
    }

    /// The file that says what the merge of a batch was about to change, where nothing says that the merge came
    /// or was begun.
    pub fn unmerged_changes(&self, name: &str, batch: &str) -> Option<&str> {
        let mut found = None;
        for record in self.records() {
            match &record.entry {
                Entry::Changing { run_id, batch_id, file, .. } if run_id == name && batch_id == batch => {
                    found = Some(file.as_str());
                }
                // Its effect may be there, and no more the rows by which that could be seen.
                Entry::Merging { batch_id, .. } if batch_id == batch => found = None,
                Entry::Merged { receipt } if receipt.batch_id == batch => found = None,
                Entry::RolledBack { run_id, .. } if run_id == name => found = None,
                Entry::Swapped { is_done: true, .. } => found = None,
                _ => {}
            }
        }
        found
    }

    /// Which entries tell of the table that is the target now: since it has taken the place of another one and, where
    /// it was put aside and has come back, from before that.
    pub(super) fn of_this_table(&self) -> Vec<Range<usize>> {
        let (mut now, mut aside, mut since) = (Vec::new(), Vec::new(), 0);
        for (at, record) in self.records().iter().enumerate() {
            let Entry::Swapped { swap, is_done: true } = &record.entry else { continue };
            now.push(since..at);
            since = at;
            match swap.is_back {
                true => now = aside.pop().unwrap_or_default(),
                false => aside.push(std::mem::take(&mut now)),
            }
        }
        now.push(since..self.records().len());
        now
    }

    /// The swap that was begun last, if nothing says how it ended.
    pub fn pending_swap(&self) -> Option<&Swap> {
        let last = self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Swapping { swap } => Some(Some(swap.as_ref())),
            Entry::Swapped { .. } => Some(None),
            _ => None,
        });
        last.flatten()
    }

    /// The swap by which a mend of this name has put its table into the target's place, with the number of its entry,
    /// unless it was taken back.
    pub fn mended(&self, name: &str) -> Option<(u64, &Swap)> {
        let last = self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Swapped { swap, is_done: true } if swap.run_id == name => Some((record.number, swap.as_ref())),
            _ => None,
        });
        last.filter(|(_, swap)| !swap.is_back)
    }

    /// The names of all migrations that are not undone, the oldest first.
    pub fn migrations(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for record in self.records() {
            match &record.entry {
                Entry::Migrating { run_id, .. } if !names.contains(&run_id.as_str()) => names.push(run_id),
                Entry::Swapped { swap, is_done: true } if !swap.is_back => names.push(&swap.run_id),
                Entry::Swapped { swap, is_done: true } => names.retain(|name| *name != swap.run_id),
                Entry::RolledBack { run_id, .. } => names.retain(|name| name != run_id),
                _ => {}
            }
        }
        names
    }

    /// Until when the staged winners of runs are kept, since proofs name them.
    pub fn staged_until(&self) -> BTreeMap<&str, Day> {
        let mut kept: BTreeMap<&str, Day> = BTreeMap::new();
        for record in self.records() {
            if let Entry::Proven { run_id, staged_until: Some(until), staged_by, .. } = &record.entry {
                // What an earlier proof has promised stands.
                let known = kept.entry(staged_by.as_ref().unwrap_or(run_id)).or_insert(*until);
                *known = (*known).max(*until);
            }
        }
        kept
    }

    /// The URLs of tables that were moved aside for this target, or were to be, each with the last day on which it is
    /// kept.
    pub fn kept_tables(&self, target: &str) -> BTreeMap<String, Day> {
        let mut tables = BTreeMap::new();
        for record in self.records() {
            match &record.entry {
                Entry::Dropping { kept, until, .. } => drop(tables.insert(kept.clone(), *until)),
                Entry::Swapping { swap } => drop(tables.insert(beside(target, &swap.kept), swap.until)),
                _ => {}
            }
        }
        tables
    }

    /// The newest entry that tells of a table, by its URL, that it was to be dropped.
    pub fn dropped(&self, table: &str) -> Option<&Record> {
        let is_it = |record: &&Record| matches!(&record.entry, Entry::Dropping { source, .. } if source == table);
        self.records().iter().rev().find(is_it)
    }

    /// The name of a migration or a mend that was taken back, or begun to be, after the entry of this number.
    pub fn taken_back_after(&self, number: u64) -> Option<&str> {
        self.records().iter().filter(|record| record.number > number).find_map(|record| match &record.entry {
            Entry::RollingBack { run_id, .. } | Entry::RolledBack { run_id, .. } => Some(run_id.as_str()),
            Entry::Swapped { swap, is_done: true } if swap.is_back => Some(&swap.run_id),
            _ => None,
        })
    }

    /// A migration that is not undone and has changed the target after the entry of this number, and is another one.
    pub fn changed_after(&self, number: u64, name: &str) -> Option<&str> {
        let is_later = |other: &&str| {
            let changed = self.migration(other).and_then(|known| known.changes.last().map(|(_, _, at)| *at));
            let last = changed.max(self.mended(other).map(|(at, _)| at));
            *other != name && last.is_some_and(|at| at > number)
        };
        self.migrations().into_iter().find(is_later)
    }

    /// The batches that a run has staged last, whether it is done or not.
    pub fn last_planned(&self, name: &str) -> &[Manifest] {
        let planned = self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Planned { run_id, batches, .. } if run_id == name => Some(batches.as_slice()),
            _ => None,
        });
        planned.unwrap_or_default()
    }

    /// Runs other than this one that were finished after the entry of this number, each with the parts of feeds that it
    /// has brought in.
    pub fn finished_after<'a>(&'a self, number: u64, name: &str) -> BTreeMap<&'a str, Vec<&'a str>> {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for record in self.records().iter().filter(|record| record.number > number) {
            if let Entry::Finished { run_id, parts, .. } = &record.entry
                && run_id != name
            {
                found.entry(run_id).or_default().extend(parts.iter().map(String::as_str));
            }
        }
        found
    }

    /// What these parts have seen of feeds.
    pub fn covers_of(&self, parts: &[&str]) -> Vec<Cover> {
        let covers = |record: &Record| match &record.entry {
            Entry::Fetched { part, covers, .. } if parts.contains(&part.as_str()) => covers.clone(),
            _ => Vec::new(),
        };
        self.records().iter().flat_map(covers).collect()
    }

    /// What this run, and what all others have inserted after the entry of this number, as far as it is still there:
    /// what was taken back is not, and neither is what was before somebody has taken the target back by himself.
    pub fn inserted_after(&self, number: u64, name: &str) -> [Inserted; 2] {
        let mut by_run: BTreeMap<&str, Inserted> = BTreeMap::new();
        let (mut rows, mut version) = (0, None);
        for record in self.records().iter().filter(|record| record.number > number) {
            match &record.entry {
                Entry::Merged { receipt } if receipt.merged.inserted > 0 => {
                    let merged = &receipt.merged;
                    // Of a merge whose writer died the receipt may come after those of later ones.
                    let is_late = merged.version < version;
                    if merged.rows_before < rows && !is_late {
                        by_run.clear();
                    }
                    let sum = merged.inserted_key_sum.as_ref().and_then(|sum| sum.parse::<i128>().ok());
                    let all = by_run.entry(&receipt.run_id).or_insert(Inserted::NONE);
                    *all = all.and(Inserted { keys: merged.inserted, sum });
                    if !is_late {
                        (rows, version) = (merged.rows_after, merged.version);
                    }
                }
                Entry::RolledBack { run_id, undone } => {
                    by_run.remove(run_id.as_str());
                    rows = undone.rows_after;
                }
                _ => {}
            }
        }
        let own = by_run.remove(name).unwrap_or(Inserted::NONE);
        [own, by_run.into_values().fold(Inserted::NONE, Inserted::and)]
    }
}
