//! What a kernel decides: a bit for every row, and counts.

use super::copies::{Distances, Sizes};
use super::group::{DayCounts, Grouping};
use super::input::Unit;
use arrow::buffer::{BooleanBuffer, Buffer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of the largest keys are remembered.
const LARGEST: usize = 20;

/// What a loser is against its winner: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// All compared columns are equal.
    Exact,
    /// It is lower in the declared order.
    Superseded,
    /// It ties in the declared order and differs.
    Conflict,
}

impl Class {
    /// Its name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Class::Exact => "exact",
            Class::Superseded => "superseded",
            Class::Conflict => "conflict",
        }
    }
}

/// A bit for every row. Threads may set them at once.
#[derive(Debug)]
pub struct Marks {
    words: Vec<AtomicU64>,
}

impl Marks {
    /// No row is marked.
    pub(super) fn new(rows: u64) -> Marks {
        let words = usize::try_from(rows.div_ceil(64)).unwrap_or(usize::MAX);
        Marks { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn set(&self, place: u64) {
        self.words[(place / 64) as usize].fetch_or(1 << (place % 64), Ordering::Relaxed);
    }

    /// The bits of these rows.
    pub fn of(&self, rows: Range<u64>) -> BooleanBuffer {
        let (begin, end) = ((rows.start / 64) as usize, rows.end.div_ceil(64) as usize);
        let words: Vec<u64> = self.words[begin..end].iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let first = (rows.start % 64) as usize;
        BooleanBuffer::new(Buffer::from_vec(words), first, (rows.end - rows.start) as usize)
    }

    /// How many of these rows are marked.
    pub fn count(&self, rows: Range<u64>) -> u64 {
        if rows.is_empty() {
            return 0;
        }
        let (begin, last) = ((rows.start / 64) as usize, ((rows.end - 1) / 64) as usize);
        let count = |(at, word): (usize, &AtomicU64)| {
            let after = if at == begin { u64::MAX << (rows.start % 64) } else { u64::MAX };
            let before = if at == last { u64::MAX >> (63 - (rows.end - 1) % 64) } else { u64::MAX };
            u64::from((word.load(Ordering::Relaxed) & after & before).count_ones())
        };
        self.words.iter().enumerate().take(last + 1).skip(begin).map(count).sum()
    }
}

/// The keys with the most rows, each as its rows, the place of its first one and its fingerprint. Of equally large ones
/// those that begin earlier are kept.
#[derive(Clone, Debug, Default)]
pub struct Largest(Vec<(u64, u64, u128)>);

impl Largest {
    pub(super) fn see(&mut self, rows: u64, place: u64, print: u128) {
        let better = |other: &(u64, u64, u128)| other.0 > rows || (other.0 == rows && other.1 < place);
        if self.0.len() == LARGEST && self.0.last().is_some_and(better) {
            return;
        }
        let at = self.0.partition_point(better);
        self.0.insert(at, (rows, place, print));
        self.0.truncate(LARGEST);
    }

    pub(super) fn merge(&mut self, other: &Largest) {
        other.0.iter().for_each(|(rows, place, print)| self.see(*rows, *place, *print));
    }

    /// Rows, first place and fingerprint of each, the largest first.
    pub fn list(&self) -> &[(u64, u64, u128)] {
        &self.0
    }
}

/// Keys that need a look.
#[derive(Clone, Debug, Default)]
pub struct Flag {
    /// The fingerprint of each key, where they are to be listed.
    pub prints: Vec<u128>,
    /// How many they are.
    pub keys: u64,
    /// How many rows they have together, unless said otherwise.
    pub rows: u64,
}

impl Flag {
    pub(super) fn add(&mut self, print: Option<u128>, rows: u64) {
        self.prints.extend(print);
        self.keys += 1;
        self.rows += rows;
    }
}

/// What a column would do as one more part of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Keys in which it has several values; NULL is one.
    pub keys: u64,
    /// Keys that there would be beyond those that there are.
    pub more: u64,
    /// Suspect keys of which none would be left that is suspect.
    pub separated: u64,
}

/// Consecutive rows that came from the same input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place of the first.
    pub first: u64,
    /// What the rows themselves call their input; `None`: they are in the file that was the input.
    pub source: Option<Arc<str>>,
    /// The file that they are read from.
    pub file: usize,
}

/// What became of every row.
#[derive(Debug)]
pub struct Verdict {
    /// Rows that took part or were set aside.
    pub rows: u64,
    /// Rows of keys that were set aside: they took no part.
    pub aside_rows: u64,
    /// Keys, as they were counted while grouping: each has one winner.
    pub keys: u64,
    /// Losers that equal their winner, as they were counted while keys were decided.
    pub exact_losers: u64,
    /// The first row of each key.
    pub winners: Marks,
    /// Losers that are lower in the declared order.
    pub superseded: Marks,
    /// Losers that tie in the declared order and differ.
    pub conflicts: Marks,
    /// Rows of keys that were set aside.
    pub aside: Marks,
    /// Losers that know what their winner does not: the number of a real event.
    pub witnesses: Marks,
    /// All rows that took part, by day.
    pub rows_by_day: DayCounts,
    /// The rows of each unit that took part, by day, where the days are few.
    pub unit_days: Vec<Option<DayCounts>>,
    /// The winners.
    pub winners_by_day: DayCounts,
    /// The superseded.
    pub superseded_by_day: DayCounts,
    /// The conflicts.
    pub conflicts_by_day: DayCounts,
    /// Days of losers that are not the day of their winner, by the winner's day.
    pub other_days: BTreeMap<i32, BTreeSet<i32>>,
    /// The keys with the most rows.
    pub largest: Largest,
    /// Of the keys whose rows differ, those with the most rows.
    pub largest_odd: Largest,
    /// Of the suspect keys, those with the most rows.
    pub largest_suspect: Largest,
    /// How many keys have how many rows.
    pub sizes: Sizes,
    /// How far rows that repeat a key lie from its first one; nothing where that was not asked.
    pub distances: Distances,
    /// How many different rows there are: keys, and contents of a key beyond the first.
    pub different_rows: u64,
    /// What each column in which rows of a key may differ would add to the key, in the order of the columns'
    /// [`Kernel::content_names`](super::Kernel::content_names); nothing where that was not asked.
    pub added: Vec<Added>,
    /// Keys that have too many rows to look at each column of all of them: what a column would do there is not known.
    pub untried_keys: u64,
    /// Keys whose rows number different events.
    pub suspect: Flag,
    /// Keys whose rows differ in a fixed column.
    pub redated: Flag,
    /// Keys that have a conflict, with the number of losers that are one.
    pub conflicting: Flag,
    /// Losers that differ from their winner in a fixed column, or know it where the winner does not.
    pub redated_losers: u64,
    /// Those of them that are off by whole hours.
    pub redated_by_hours: u64,
    /// Where rows came from, in the order of their places.
    pub runs: Vec<Run>,
    /// Bytes of records that went to disk.
    pub spilled_bytes: u64,
}

impl Verdict {
    /// Nothing is known yet.
    pub(super) fn new(rows: u64) -> Verdict {
        Verdict {
            rows,
            aside_rows: 0,
            keys: 0,
            exact_losers: 0,
            winners: Marks::new(rows),
            superseded: Marks::new(rows),
            conflicts: Marks::new(rows),
            aside: Marks::new(rows),
            witnesses: Marks::new(rows),
            rows_by_day: DayCounts::default(),
            unit_days: Vec::new(),
            winners_by_day: DayCounts::default(),
            superseded_by_day: DayCounts::default(),
            conflicts_by_day: DayCounts::default(),
            other_days: BTreeMap::new(),
            largest: Largest::default(),
            largest_odd: Largest::default(),
            largest_suspect: Largest::default(),
            sizes: Sizes::default(),
            distances: Distances::default(),
            different_rows: 0,
            added: Vec::new(),
            untried_keys: 0,
            suspect: Flag::default(),
            redated: Flag::default(),
            conflicting: Flag::default(),
            redated_losers: 0,
            redated_by_hours: 0,
            runs: Vec::new(),
            spilled_bytes: 0,
        }
    }

    /// Adds what was counted while keys were grouped.
    pub(super) fn add(&mut self, grouping: &Grouping) {
        self.keys += grouping.keys;
        self.exact_losers += grouping.exact_losers;
        self.winners_by_day.merge(&grouping.winners_by_day);
        self.largest.merge(&grouping.largest);
        self.sizes.merge(&grouping.sizes);
        self.distances.merge(&grouping.distances);
        self.different_rows += grouping.keys;
    }

    /// The rows of a unit that did not win and were not set aside.
    pub fn losers_of(&self, unit: &Unit) -> BooleanBuffer {
        !&(&self.winners.of(unit.places()) | &self.aside.of(unit.places()))
    }

    /// The class of a loser.
    pub fn class(&self, place: u64) -> Class {
        let marked =
            |marks: &Marks| marks.words[(place / 64) as usize].load(Ordering::Relaxed) >> (place % 64) & 1 == 1;
        if marked(&self.superseded) {
            Class::Superseded
        } else if marked(&self.conflicts) {
            Class::Conflict
        } else {
            Class::Exact
        }
    }
}
