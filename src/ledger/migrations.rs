//! What the ledger knows of migrations: what the target was before one, what each merge was about to change, what was
//! proven, and what was taken back.

use super::entry::{Cover, Entry};
use super::{Ledger, Record};
use crate::stage::Manifest;
use crate::warehouse::Moment;
use std::collections::BTreeMap;

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
    /// The files of what its merges were about to change, the oldest first.
    pub changes: Vec<String>,
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
            match &record.entry {
                Entry::Migrating { run_id, before } if run_id == name => {
                    let known =
                        found.get_or_insert_with(|| Migration { number: record.number, ..Migration::default() });
                    (known.since, known.before, known.is_proven) = (record.number, *before, false);
                }
                Entry::Changing { run_id, file, .. } if run_id == name => {
                    found.iter_mut().for_each(|known| known.changes.push(file.clone()));
                }
                Entry::Proven { run_id, .. } if run_id == name => {
                    found.iter_mut().for_each(|known| known.is_proven = true);
                }
                Entry::RolledBack { run_id, .. } if run_id == name => found = None,
                _ => {}
            }
        }
        found
    }

    /// The names of all migrations that are not undone, the oldest first.
    pub fn migrations(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for record in self.records() {
            match &record.entry {
                Entry::Migrating { run_id, .. } if !names.contains(&run_id.as_str()) => names.push(run_id),
                Entry::RolledBack { run_id, .. } => names.retain(|name| name != run_id),
                _ => {}
            }
        }
        names
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

    /// What those runs whose names `is_meant` picks have inserted after the entry of this number.
    pub fn inserted_after(&self, number: u64, is_meant: impl Fn(&str) -> bool) -> Inserted {
        let mut all = Inserted { keys: 0, sum: Some(0) };
        for record in self.records().iter().filter(|record| record.number > number) {
            if let Entry::Merged { receipt } = &record.entry
                && is_meant(&receipt.run_id)
                && receipt.merged.inserted > 0
            {
                let sum = receipt.merged.inserted_key_sum.as_ref().and_then(|sum| sum.parse::<i128>().ok());
                all = all.and(Inserted { keys: receipt.merged.inserted, sum });
            }
        }
        all
    }
}
