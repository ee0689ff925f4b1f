//! Rows by the values of a column: what became of those that have each.

use super::Kernel;
use super::gather::days;
use super::hash::Seeds;
use super::keyed::as_text;
use super::records::{Record, Sink};
use super::verdict::{Class, Verdict};
use crate::error::Result;
use crate::progress::Progress;
use crate::threads;
use crate::window::Day;
use arrow::array::{Array, ArrayRef};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// Values that a thread counts by itself before it hands on what it has: nearly all columns have fewer.
const COUNTED: usize = 1 << 14;
/// What became of a row: the classes of losers, then winners.
const FATES: usize = 4;

/// The rows that have one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRows {
    /// The place of the first of them.
    pub place: u64,
    /// Exact, superseded and conflicting losers, and winners.
    counts: [u64; FATES],
}

impl ValueRows {
    fn none() -> ValueRows {
        ValueRows { place: u64::MAX, counts: [0; FATES] }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many losers of a class.
    pub fn losers(&self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    fn add(&mut self, other: &ValueRows) {
        self.place = self.place.min(other.place);
        self.counts.iter_mut().zip(other.counts).for_each(|(own, other)| *own += other);
    }
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// How many different ones there are; NULL is one.
    pub values: u64,
    /// All of them together.
    pub all: ValueRows,
    /// Those with the most rows, the largest first; of equally large ones those that come first in the input.
    pub most: Vec<ValueRows>,
    /// Bytes of records that went to disk.
    pub spilled_bytes: u64,
}

/// A thread's counts, on their way to the records.
struct Counting<'a> {
    known: HashMap<u128, ValueRows>,
    sink: Sink<'a>,
}

impl Kernel {
    /// Counts rows by the values of a column, a place in the kernel's schema; of a time or date, where asked, by its
    /// UTC day. Tells the `most` that have the most rows.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub fn by_value(
        &self,
        verdict: &Verdict,
        column: usize,
        by_day: bool,
        most: usize,
        progress: &dyn Progress,
    ) -> Result<Values> {
        let schema = self.viewed(&[column]);
        let (budget, partitions) = self.room_for(self.input.rows());
        threads::each_with(
            self.input.units().len(),
            self.resources.threads,
            &|| Counting { known: HashMap::new(), sink: partitions.sink() },
            &|counting, at| -> Result<()> {
                let unit = &self.input.units()[at];
                let mut place = unit.first;
                for batch in self.input.read(unit, &schema, None)? {
                    let batch = batch?;
                    let values = in_form(batch.column(0), by_day)?;
                    let prints: Vec<u128> = Seeds::of_process().tuples(&[values], batch.num_rows())?;
                    counting.add(&prints, place, verdict)?;
                    place += batch.num_rows() as u64;
                    progress.advance(batch.num_rows() as u64);
                }
                Ok(())
            },
            &|mut counting| {
                counting.hand_over()?;
                counting.sink.finish()
            },
        )?;
        let found = threads::each(partitions.count(), budget.settling_threads(partitions.used_bytes()), &|part| {
            // Its values are held and not its records: of a value that has very many rows there are many.
            let mut known: HashMap<u128, ValueRows> = HashMap::new();
            partitions.take(part).pieces(|piece| {
                for record in piece {
                    let rows = known.entry(record.print()).or_insert_with(ValueRows::none);
                    rows.place = rows.place.min(record.place());
                    rows.counts[record.digest as usize % FATES] += record.rank;
                }
                Ok(())
            })?;
            let (values, mut sum, mut largest) = (known.len() as u64, ValueRows::none(), Vec::new());
            for rows in known.into_values() {
                sum.add(&rows);
                largest.push(rows);
                if largest.len() >= 2 * most.max(1) {
                    keep_largest(&mut largest, most);
                }
            }
            keep_largest(&mut largest, most);
            Ok((values, sum, largest))
        })?;
        let spilled_bytes = partitions.spilled_bytes();
        let mut all = Values { values: 0, all: ValueRows::none(), most: Vec::new(), spilled_bytes };
        for (values, sum, largest) in found {
            all.values += values;
            all.all.add(&sum);
            all.most.extend(largest);
            keep_largest(&mut all.most, most);
        }
        Ok(all)
    }

    /// The values of a column at these places, as text and in the order of the places; `None` for NULL. Each is cut by
    /// `short` as it comes, since all of them may take more memory than there is.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub fn texts_at(
        &self,
        column: usize,
        by_day: bool,
        places: &[u64],
        short: fn(String) -> String,
    ) -> Result<Vec<Option<String>>> {
        let schema = self.viewed(&[column]);
        let mut sorted: Vec<u64> = places.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut texts: HashMap<u64, Option<String>> = HashMap::new();
        for (unit, part) in self.input.by_unit(&sorted) {
            let mut at = part.iter();
            for batch in self.input.read(unit, &schema, Some(unit.bits_of(part)))? {
                let batch = batch?;
                for (row, place) in (0..batch.num_rows()).zip(at.by_ref()) {
                    let value = batch.column(0).slice(row, 1);
                    let text = match by_day {
                        true => Some(days(&value)?)
                            .filter(|days| days.is_valid(0))
                            .map(|days| Day(days.value(0)).to_string()),
                        false => as_text(&value)?.map(short),
                    };
                    texts.insert(*place, text);
                }
            }
        }
        Ok(places.iter().map(|place| texts.remove(place).flatten()).collect())
    }
}

fn in_form(values: &ArrayRef, by_day: bool) -> Result<ArrayRef> {
    Ok(if by_day { Arc::new(days(values)?) } else { Arc::clone(values) })
}

impl Counting<'_> {
    fn add(&mut self, prints: &[u128], first: u64, verdict: &Verdict) -> Result<()> {
        let places = first..first + prints.len() as u64;
        let winners = verdict.winners.of(places.clone());
        for ((row, print), place) in prints.iter().enumerate().zip(places) {
            let fate = if winners.value(row) { FATES - 1 } else { verdict.class(place) as usize };
            let rows = self.known.entry(*print).or_insert_with(ValueRows::none);
            rows.counts[fate] += 1;
            rows.place = rows.place.min(place);
        }
        if self.known.len() >= COUNTED { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<()> {
        for (print, rows) in self.known.drain() {
            for (fate, count) in rows.counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                self.sink.push(Record::new(print, count, fate as u64, rows.place, None))?;
            }
        }
        Ok(())
    }
}

fn keep_largest(values: &mut Vec<ValueRows>, most: usize) {
    values.sort_unstable_by_key(|value| (Reverse(value.rows()), value.place));
    values.truncate(most);
}
