//! Ways to tell rows apart that are tried at once: each turns a row into a small record, as keys themselves are, so
//! that all of them together obey the same memory. Records that have one fingerprint would be one key.

use super::hash::Seeds;
use super::records::{Partitions, Record, Sink, Taken, lock};
use super::{Budget, Kernel};
use crate::error::{Error, Result};
use crate::threads;
use arrow::array::{Array, ArrayRef, RecordBatch, StringViewArray};
use std::sync::{Arc, Mutex};

/// Of how many keys that become one the places are remembered, and how many places of each.
const EXAMPLES: usize = 10;
const EXAMPLE_KEYS: usize = 4;
/// Records that a thread has pushed last: the same one is not pushed twice.
const RECENT: usize = 1 << 14;
/// Rows that are hashed at a time, and what their sums may take: each set of columns has one for each of them.
const ROWS_AT_ONCE: usize = 4_096;
const SUMS_BYTES: usize = 8 << 20;

/// Keys that become one when something is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merging {
    /// How many there would be of those that become one.
    pub groups: u64,
    /// How many keys they are; where a part is missing, two for each group: with it and without.
    pub keys: u64,
    /// The places of one row of each key, of some of them.
    pub examples: Vec<Vec<u64>>,
}

/// Counts of one try.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    /// How many keys there would be.
    pub(super) keys: u64,
    /// Those of them whose records have several tags.
    pub(super) merging: Merging,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.keys += other.keys;
        self.merging.groups += other.merging.groups;
        self.merging.keys += other.merging.keys;
        self.merging.examples.extend(other.merging.examples);
        self.keep_first();
    }

    /// Of the examples those whose places come first.
    fn keep_first(&mut self) {
        self.merging.examples.sort_unstable();
        self.merging.examples.truncate(EXAMPLES);
    }
}

/// Which tags of a key count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    All,
    /// That of its first row, and that of the first row which has another one.
    Two,
}

impl Tags {
    /// Leaves out records that say nothing more than others of the same key.
    fn thin(self, records: &mut Vec<Record>) {
        match self {
            Tags::All => {
                records.sort_unstable_by_key(|record| (record.digest, record.print(), record.rank, record.place()));
                records.dedup_by_key(|record| (record.digest, record.print(), record.rank));
            }
            Tags::Two => {
                records.sort_unstable_by_key(|record| (record.digest, record.print(), record.place()));
                let mut last: Option<(Record, bool)> = None;
                records.retain(|record| match &mut last {
                    Some((first, has_two)) if (first.digest, first.print()) == (record.digest, record.print()) => {
                        let is_second = !*has_two && first.rank != record.rank;
                        *has_two |= is_second;
                        is_second
                    }
                    _ => {
                        last = Some((*record, false));
                        true
                    }
                });
            }
        }
    }
}

/// Tries that are made in one pass, with their records.
#[derive(Debug)]
pub(super) struct Tries {
    budget: Budget,
    partitions: Partitions,
    /// They have the numbers below this.
    numbers: usize,
    tags: Tags,
}

impl Kernel {
    /// Room for tries with the numbers below this, in which so many records are pushed.
    pub(super) fn tries(&self, numbers: usize, records: u64, tags: Tags) -> Tries {
        let (budget, partitions) = self.room_for(records);
        Tries { budget, partitions, numbers, tags }
    }
}

impl Tries {
    /// A thread's way to the records.
    pub(super) fn pushing(&self) -> Pushing<'_> {
        Pushing { sink: self.partitions.sink(), recent: vec![(0, 0, None); RECENT], tags: self.tags }
    }

    /// Bytes of records that went to disk.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.partitions.spilled_bytes()
    }

    /// Counts what was pushed, for each try. Nothing is left in the partitions.
    ///
    /// # Errors
    /// Usage, when so many keys would be one that they can't be told apart in the memory given; or when the file of
    /// records can't be read.
    pub(super) fn count(&self) -> Result<Vec<Count>> {
        let none = || vec![Count::default(); self.numbers];
        let (all, large) = (Mutex::new(none()), Mutex::new(Vec::new()));
        threads::each_with(
            self.partitions.count(),
            self.budget.settling_threads(self.partitions.used_bytes()),
            &|| (Vec::new(), none()),
            &|(records, counts), part| -> Result<()> {
                let taken = self.partitions.take(part);
                if taken.rows() > self.budget.partition_rows_max() {
                    lock(&large).push(taken);
                    return Ok(());
                }
                taken.read_into(records)?;
                count(records, counts);
                Ok(())
            },
            &|(_, counts)| {
                lock(&all).iter_mut().zip(counts).for_each(|(all, own)| all.add(own));
                Ok(())
            },
        )?;
        let (mut all, large) = (std::mem::take(&mut *lock(&all)), std::mem::take(&mut *lock(&large)));
        // One at a time, when no others are held.
        for taken in large {
            let mut records = self.thinned(&taken)?;
            drop(taken);
            count(&mut records, &mut all);
        }
        all.iter_mut().for_each(Count::keep_first);
        Ok(all)
    }

    /// The records of a partition that is too large to be held at once, without those that say nothing more.
    fn thinned(&self, taken: &Taken<'_>) -> Result<Vec<Record>> {
        let most = self.budget.odd_records_max(self.partitions.used_bytes());
        let mut limit = self.budget.partition_rows_max();
        let mut records = Vec::new();
        taken.pieces(|piece| {
            records.extend_from_slice(piece);
            if records.len() > limit {
                self.tags.thin(&mut records);
                if 2 * records.len() > most {
                    return Err(Error::usage("try other keys")
                        .because(format!("more than {} keys would be one by another key", most / 2))
                        .hint("allow more with --memory"));
                }
                limit = limit.max(2 * records.len());
            }
            Ok(())
        })?;
        Ok(records)
    }
}

/// A thread's way to the records.
pub(super) struct Pushing<'a> {
    sink: Sink<'a>,
    /// A key, and the tags of it that were pushed.
    recent: Vec<(u128, u64, Option<u64>)>,
    tags: Tags,
}

impl Pushing<'_> {
    /// Adds a row to the try of this number. `tag` tells apart what becomes one.
    ///
    /// What was pushed lately is not pushed again: a key that has very many rows would else fill one partition. A
    /// thread takes rows in the order of their places, so the first row of each tag that counts is always pushed.
    pub(super) fn push(&mut self, number: usize, print: u128, tag: u64, place: u64) -> Result<()> {
        // So that records of one try do not lie where those of another do, and none is that of an empty slot.
        let print = print.wrapping_add(salt(number + 1_000));
        let slot = match self.tags {
            // By both: of two that come in turn each has its own place.
            Tags::All => (print >> 7).wrapping_add(u128::from(tag)),
            Tags::Two => print >> 7,
        };
        let recent = &mut self.recent[slot as usize % RECENT];
        match recent {
            (known, first, second) if *known == print && (*first == tag || second.is_some()) => return Ok(()),
            (known, _, second) if *known == print && self.tags == Tags::Two => *second = Some(tag),
            _ => *recent = (print, tag, None),
        }
        self.sink.push(Record::new(print, tag, number as u64, place, None))
    }

    pub(super) fn finish(self) -> Result<()> {
        self.sink.finish()
    }
}

/// Adds the keys of a partition's records, try by try.
fn count(records: &mut [Record], counts: &mut [Count]) {
    records.sort_unstable_by_key(|record| (record.digest, record.print(), record.rank, record.place()));
    for group in records.chunk_by(|a, b| (a.digest, a.print()) == (b.digest, b.print())) {
        let Some(count) = counts.get_mut(group[0].digest as usize) else { continue };
        count.keys += 1;
        let tags = || group.chunk_by(|a, b| a.rank == b.rank);
        let keys = tags().count() as u64;
        if keys > 1 {
            count.merging.groups += 1;
            count.merging.keys += keys;
            let mut places: Vec<u64> = tags().map(|rows| rows[0].place()).collect();
            // Fingerprints are others in each process, places are not.
            places.sort_unstable();
            places.truncate(EXAMPLE_KEYS);
            count.merging.examples.push(places);
            if count.merging.examples.len() >= 2 * EXAMPLES {
                count.keep_first();
            }
        }
    }
}

/// Fingerprints of some rows in several sets of columns. That of a set is the sum of those of its columns, which are
/// added one after another: all columns of wide rows at once would take more memory than the rows themselves.
pub(super) struct Sums {
    sums: Vec<u128>,
    rows: usize,
}

impl Sums {
    pub(super) fn new(sets: usize, rows: usize) -> Sums {
        Sums { sums: vec![0; sets * rows], rows }
    }

    /// Adds a column, of which the fingerprints of all rows are given, to these sets. Its number tells it from others.
    pub(super) fn add(&mut self, sets: &[usize], column: usize, prints: &[u128]) {
        let salt = salt(column);
        for set in sets {
            let own = self.sums[set * self.rows..(set + 1) * self.rows].iter_mut();
            own.zip(prints).for_each(|(sum, print)| *sum = sum.wrapping_add(print.wrapping_mul(salt)));
        }
    }

    /// Those of a set, row by row.
    pub(super) fn of(&self, set: usize) -> &[u128] {
        &self.sums[set * self.rows..(set + 1) * self.rows]
    }
}

/// A batch as slices of so few rows that the sums of so many sets are small.
pub(super) fn slices(batch: &RecordBatch, sets: usize) -> impl Iterator<Item = RecordBatch> {
    let (all, at_once) = (batch.num_rows(), (SUMS_BYTES / size_of::<u128>() / sets.max(1)).clamp(1, ROWS_AT_ONCE));
    (0..all).step_by(at_once).map(move |first| batch.slice(first, at_once.min(all - first)))
}

/// The fingerprint of each value; with a stand-in, NULL has that of an empty text.
pub(super) fn prints_of(values: &ArrayRef, is_filled: bool) -> Result<Vec<u128>> {
    let seeds = Seeds::of_process();
    let mut prints: Vec<u128> = seeds.tuples(&[Arc::clone(values)], values.len())?;
    if let Some(nulls) = values.logical_nulls().filter(|_| is_filled) {
        let empty: ArrayRef = Arc::new(StringViewArray::from(vec![""]));
        let empty = seeds.tuples(&[empty], 1)?[0];
        (0..values.len()).filter(|row| nulls.is_null(*row)).for_each(|row| prints[row] = empty);
    }
    Ok(prints)
}

/// An odd number for each column: fingerprints of columns are added up by it, so that a sum does not depend on which
/// others there are.
fn salt(column: usize) -> u128 {
    let seed = (column as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (seed ^ seed >> 61) | 1
}
