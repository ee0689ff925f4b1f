//! Ways to tell rows apart that are tried at once: each turns a row into a small record, as keys themselves are, so
//! that all of them together obey the same memory. Records that have one fingerprint would be one key.

use super::Budget;
use super::key_prints;
use super::records::{Partitions, Record, Sink};
use crate::error::Result;
use crate::threads;
use arrow::array::ArrayRef;
use std::sync::Arc;

/// Of how many keys that become one the places are remembered, and how many places of each.
const EXAMPLES: usize = 10;
const EXAMPLE_KEYS: usize = 4;
/// Records that a thread has pushed last: the same one is not pushed twice.
const RECENT: usize = 1 << 14;

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

/// A thread's way to the records.
pub(super) struct Pushing<'a> {
    sink: Sink<'a>,
    recent: Vec<(u128, u64)>,
}

impl Pushing<'_> {
    pub(super) fn begin(partitions: &Partitions) -> Pushing<'_> {
        Pushing { sink: partitions.sink(), recent: vec![(0, 0); RECENT] }
    }

    /// Adds a row to the try of this number. `tag` tells apart what becomes one.
    pub(super) fn push(&mut self, number: u64, print: u128, tag: u64, place: u64) -> Result<()> {
        // So that records of one try do not lie where those of another do, and none is that of an empty slot.
        let print = print.wrapping_add(salt(number as usize + 1_000));
        // By both: of two that come in turn each has its own place.
        let recent = &mut self.recent[(print >> 7).wrapping_add(u128::from(tag)) as usize % RECENT];
        if *recent == (print, tag) {
            // A part that names few things would else fill one partition.
            return Ok(());
        }
        *recent = (print, tag);
        self.sink.push(Record::new(print, tag, number, place, None))
    }

    pub(super) fn finish(self) -> Result<()> {
        self.sink.finish()
    }
}

/// The same for who only asks whether a key has several tags: of a key that has very many no more than two are pushed
/// while it is remembered, so that its records do not fill one partition.
pub(super) struct Pairing<'a> {
    sink: Sink<'a>,
    /// A key, and the tags of it that were pushed.
    recent: Vec<(u128, u64, Option<u64>)>,
}

impl Pairing<'_> {
    pub(super) fn begin(partitions: &Partitions) -> Pairing<'_> {
        Pairing { sink: partitions.sink(), recent: vec![(0, 0, None); RECENT] }
    }

    /// Adds a row to the try of this number. A thread takes rows in the order of their places, so the first row of a
    /// key and the first one with another tag are always pushed.
    pub(super) fn push(&mut self, number: u64, print: u128, tag: u64, place: u64) -> Result<()> {
        let print = print.wrapping_add(salt(number as usize + 1_000));
        let recent = &mut self.recent[(print >> 7) as usize % RECENT];
        match recent {
            (known, first, second) if *known == print => {
                if *first == tag || second.is_some() {
                    return Ok(());
                }
                *second = Some(tag);
            }
            _ => *recent = (print, tag, None),
        }
        self.sink.push(Record::new(print, tag, number, place, None))
    }

    pub(super) fn finish(self) -> Result<()> {
        self.sink.finish()
    }
}

/// Counts what was pushed, for each of so many tries. Nothing is left in the partitions.
pub(super) fn count_all(partitions: &Partitions, budget: &Budget, tries: usize) -> Result<Vec<Count>> {
    let counted = threads::each(partitions.count(), budget.settling_threads(partitions.used_bytes()), &|part| {
        let mut records = Vec::new();
        partitions.take(part).read_into(&mut records)?;
        Ok(count(records, tries))
    })?;
    let mut all = vec![Count::default(); tries];
    for part in counted {
        for (all, own) in all.iter_mut().zip(part) {
            all.keys += own.keys;
            all.merging.groups += own.merging.groups;
            all.merging.keys += own.merging.keys;
            all.merging.examples.extend(own.merging.examples);
        }
    }
    for count in &mut all {
        count.merging.examples.sort_unstable();
        count.merging.examples.truncate(EXAMPLES);
    }
    Ok(all)
}

/// Counts the keys of a partition's records, try by try.
fn count(mut records: Vec<Record>, tries: usize) -> Vec<Count> {
    records.sort_unstable_by_key(|record| (record.digest, record.print(), record.rank, record.place()));
    let mut counts = vec![Count::default(); tries];
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
                count.merging.examples.sort_unstable();
                count.merging.examples.truncate(EXAMPLES);
            }
        }
    }
    counts
}

/// For each column the fingerprint of each row's value.
pub(super) fn prints(values: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u128>>> {
    values.iter().map(|column| key_prints(&[Arc::clone(column)], rows)).collect()
}

/// An odd number for each column: fingerprints of columns are added up by it, so that a sum does not depend on which
/// others there are.
pub(super) fn salt(column: usize) -> u128 {
    let seed = (column as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (seed ^ seed >> 61) | 1
}
