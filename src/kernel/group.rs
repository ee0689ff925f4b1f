//! The records of one partition by key: most keys are decided by records alone, the odd ones have to be looked at.

use super::copies::{Distances, Origins, Sizes};
use super::records::{Record, Taken};
use super::verdict::{Largest, Marks};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// An empty slot of the table.
const EMPTY: u32 = u32::MAX;

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
struct Group {
    print: u128,
    digest: u64,
    /// The place and the day of the first of its rows.
    place: u64,
    day: Option<i32>,
    rows: u64,
    /// Whether its rows differ in content.
    odd: bool,
}

/// Counts of one thread, and the room that it works in.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    slots: Vec<u32>,
    groups: Vec<Group>,
    group_of: Vec<u32>,
    /// Keys.
    pub(super) keys: u64,
    /// Rows of keys that are not odd, without the winners.
    pub(super) exact_losers: u64,
    /// Winners of keys that are not odd, by day.
    pub(super) winners_by_day: DayCounts,
    /// The keys with the most rows.
    pub(super) largest: Largest,
    /// How many keys have how many rows.
    pub(super) sizes: Sizes,
    /// How far rows that repeat a key lie from its first one.
    pub(super) distances: Distances,
}

impl Grouping {
    /// Decides the keys of a partition. Of equal rows the first wins: files that repeat an earlier one then have no
    /// winner at all, and need not be decoded again, while all rows of the earlier one win and need not be encoded.
    ///
    /// Rows of odd keys are added to `odd`.
    pub(super) fn settle(
        &mut self,
        records: &[Record],
        winners: &Marks,
        origins: Option<&Origins>,
        odd: &mut Vec<Record>,
    ) {
        self.begin(records.len());
        self.add(records);
        let any_odd = self.finish(winners);
        if let Some(origins) = origins {
            for (record, group) in records.iter().zip(&self.group_of) {
                see(&mut self.distances, origins, record, &self.groups[*group as usize]);
            }
        }
        if any_odd {
            let is_odd = |group: &u32| self.groups[*group as usize].odd;
            odd.extend(
                records.iter().zip(&self.group_of).filter(|(_, group)| is_odd(group)).map(|(record, _)| *record),
            );
        }
    }

    /// The same for a partition that is not held at once: keys take memory, and records of odd keys, of which there may
    /// be `most`, and no other row.
    ///
    /// # Errors
    /// Usage, when there are more; or when the file of records can't be read.
    pub(super) fn settle_piecewise(
        &mut self,
        partition: &Taken<'_>,
        winners: &Marks,
        origins: Option<&Origins>,
        odd: &mut Vec<Record>,
        most: usize,
    ) -> Result<()> {
        self.begin(0);
        partition.pieces(|piece| {
            self.group_of.clear();
            self.add(piece);
            Ok(())
        })?;
        let any_odd = self.finish(winners);
        if let Some(origins) = origins {
            partition.pieces(|piece| {
                for record in piece {
                    let known = self.slots[self.slot_of(record.print())];
                    let group = self.groups.get(known as usize);
                    group.into_iter().for_each(|group| see(&mut self.distances, origins, record, group));
                }
                Ok(())
            })?;
        }
        if !any_odd {
            return Ok(());
        }
        let rows: u64 = self.groups.iter().filter(|group| group.odd).map(|group| group.rows).sum();
        if rows > most as u64 {
            return Err(too_many(format!("{rows} rows have keys whose rows are")));
        }
        partition.pieces(|piece| {
            let is_odd = |record: &&Record| {
                let known = self.slots[self.slot_of(record.print())];
                known != EMPTY && self.groups[known as usize].odd
            };
            odd.extend(piece.iter().filter(is_odd));
            Ok(())
        })
    }

    fn begin(&mut self, rows: usize) {
        self.slots.clear();
        self.slots.resize((2 * rows.max(8)).next_power_of_two(), EMPTY);
        self.groups.clear();
        self.group_of.clear();
    }

    /// The slot of a key: its own, or the empty one that it would get.
    fn slot_of(&self, print: u128) -> usize {
        let mask = self.slots.len() - 1;
        // The upper bits chose the partition.
        let mut slot = print as usize & mask;
        while self.slots[slot] != EMPTY && self.groups[self.slots[slot] as usize].print != print {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn add(&mut self, records: &[Record]) {
        for record in records {
            let mut slot = self.slot_of(record.print());
            let known = match self.slots[slot] {
                EMPTY => {
                    if 2 * (self.groups.len() + 1) > self.slots.len() {
                        self.grow();
                        slot = self.slot_of(record.print());
                    }
                    let new = self.groups.len() as u32;
                    self.slots[slot] = new;
                    self.groups.push(Group {
                        print: record.print(),
                        digest: record.digest,
                        place: record.place(),
                        day: record.day(),
                        rows: 1,
                        odd: false,
                    });
                    new
                }
                known => {
                    let group = &mut self.groups[known as usize];
                    group.rows += 1;
                    group.odd |= group.digest != record.digest;
                    if record.place() < group.place {
                        group.place = record.place();
                        group.day = record.day();
                    }
                    known
                }
            };
            self.group_of.push(known);
        }
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; 2 * self.slots.len()];
        for at in 0..self.groups.len() {
            let slot = self.slot_of(self.groups[at].print);
            self.slots[slot] = at as u32;
        }
    }

    /// Counts the keys and marks the winners of those that are not odd. Says whether any is odd.
    fn finish(&mut self, winners: &Marks) -> bool {
        let mut any_odd = false;
        self.keys += self.groups.len() as u64;
        for group in &self.groups {
            self.sizes.see(group.rows);
            if group.rows > 1 {
                self.largest.see(group.rows, group.place, group.print);
            }
            if group.odd {
                any_odd = true;
            } else {
                winners.set(group.place);
                self.exact_losers += group.rows - 1;
                self.winners_by_day.add(group.day, 1);
            }
        }
        any_odd
    }
}

/// Counts a row of a key that is not the first one.
fn see(distances: &mut Distances, origins: &Origins, record: &Record, group: &Group) {
    if record.place() != group.place {
        distances.see(origins, (record.place(), record.day()), (group.place, group.day));
    }
}

/// The error for keys with so many rows that they can't be looked at in the memory given.
pub(super) fn too_many(found: String) -> Error {
    Error::usage("compare the rows of a key")
        .because(format!("{found} not all the same: too many to compare in this memory"))
        .hint("the key is probably too narrow: give another one with --key, or allow more with --memory")
}

/// Rows by day. Most days of real data lie close together, so they are counted in a row of numbers.
#[derive(Clone, Debug, Default)]
pub struct DayCounts {
    none: u64,
    first: i32,
    near: Vec<u64>,
    far: BTreeMap<i32, u64>,
}

/// How many days the row of numbers may span: 180 years.
const NEAR: i64 = 1 << 16;

impl DayCounts {
    /// Counts rows of a day.
    pub fn add(&mut self, day: Option<i32>, rows: u64) {
        let Some(day) = day else {
            self.none += rows;
            return;
        };
        if rows == 0 {
            return;
        }
        if self.near.is_empty() {
            self.first = day;
        }
        let end = i64::from(self.first) + self.near.len() as i64;
        let first = i64::from(self.first.min(day));
        if end.max(i64::from(day) + 1) - first > NEAR {
            *self.far.entry(day).or_default() += rows;
            return;
        }
        if day < self.first {
            let more = (self.first - day) as usize;
            self.near.splice(0..0, std::iter::repeat_n(0, more));
            self.first = day;
        }
        let place = (day - self.first) as usize;
        if place >= self.near.len() {
            self.near.resize(place + 1, 0);
        }
        self.near[place] += rows;
    }

    /// From how early a day to how late a one they reach, in days; far ones count as very many.
    pub fn span(&self) -> usize {
        if self.far.is_empty() { self.near.len() } else { usize::MAX }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &DayCounts) {
        other.iter().for_each(|(day, rows)| self.add(day, rows));
    }

    /// Each day with its rows, in no order; a day may come twice.
    pub fn iter(&self) -> impl Iterator<Item = (Option<i32>, u64)> + '_ {
        let near = self.near.iter().enumerate().map(|(place, rows)| (Some(self.first + place as i32), *rows));
        let far = self.far.iter().map(|(day, rows)| (Some(*day), *rows));
        std::iter::once((None, self.none)).chain(near).chain(far).filter(|(_, rows)| *rows > 0)
    }
}
