//! How far copies lie from the first row of their key, and how many rows keys have.

use super::verdict::Run;
use crate::source::piece_of;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Rows that are fewer than so many apart are about on one page of an API.
const PAGE_ROWS: u64 = 1_000;

/// Which input each row came from, by its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    /// The place of the first row of a run, and the number of its input.
    runs: Vec<(u64, usize)>,
}

impl Origins {
    /// From runs in the order of their places. Rows that name their input are of that, and those of the pages of a
    /// piece of that piece; others are of their file.
    pub(super) fn of(runs: &[Run]) -> Origins {
        let mut numbers: HashMap<(Option<&str>, usize), usize> = HashMap::new();
        let mut origins = Origins::default();
        for run in runs {
            let name = match &run.source {
                Some(source) => (Some(piece_of(source)), 0),
                None => (None, run.file),
            };
            let next = numbers.len();
            let number = *numbers.entry(name).or_insert(next);
            if origins.runs.last().is_none_or(|(_, last)| *last != number) {
                origins.runs.push((run.first, number));
            }
        }
        origins
    }

    fn input_of(&self, place: u64) -> Option<usize> {
        let at = self.runs.partition_point(|(first, _)| *first <= place).checked_sub(1)?;
        self.runs.get(at).map(|(_, input)| *input)
    }
}

/// Rows that repeat a key, by how far they lie from the first one that has it. Each is counted once, by the first that
/// holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distances {
    /// In the same input, and fewer than a thousand rows apart.
    pub same_page: u64,
    /// In the same input.
    pub same_input: u64,
    /// In another input, and not on another day.
    pub other_input: u64,
    /// In another input and on another day.
    pub other_day: u64,
}

impl Distances {
    /// Counts a row: its place and day, and those of the first row of its key.
    pub(super) fn see(&mut self, origins: &Origins, own: (u64, Option<i32>), first: (u64, Option<i32>)) {
        let same_input = origins.input_of(own.0) == origins.input_of(first.0);
        let count = match same_input {
            true if own.0.abs_diff(first.0) < PAGE_ROWS => &mut self.same_page,
            true => &mut self.same_input,
            false if own.1 == first.1 => &mut self.other_input,
            false => &mut self.other_day,
        };
        *count += 1;
    }

    pub(super) fn merge(&mut self, other: &Distances) {
        self.same_page += other.same_page;
        self.same_input += other.same_input;
        self.other_input += other.other_input;
        self.other_day += other.other_day;
    }
}

/// How many keys have how many rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Keys of 0, 1, 2 … rows: nearly all of them are here.
    few: [u64; Sizes::FEW],
    many: BTreeMap<u64, u64>,
}

impl Sizes {
    const FEW: usize = 32;

    pub(super) fn see(&mut self, rows: u64) {
        match self.few.get_mut(rows as usize) {
            Some(keys) => *keys += 1,
            None => *self.many.entry(rows).or_default() += 1,
        }
    }

    pub(super) fn merge(&mut self, other: &Sizes) {
        self.few.iter_mut().zip(other.few).for_each(|(own, more)| *own += more);
        other.many.iter().for_each(|(rows, keys)| *self.many.entry(*rows).or_default() += keys);
    }

    /// How many keys there are of each number of rows.
    pub fn by_rows(&self) -> BTreeMap<u64, u64> {
        let few = self.few.iter().enumerate().filter(|(_, keys)| **keys > 0);
        few.map(|(rows, keys)| (rows as u64, *keys))
            .chain(self.many.iter().map(|(rows, keys)| (*rows, *keys)))
            .collect()
    }
}
