//! What was decided, in the words of the dataset: counts for reports, keys to look at, winners and losers to read.

use super::rows;
use super::{Class, Flagged};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::kernel::{Added, DayCounts, Decided, Distances, Kernel, Marks, Near, Unit, Verdict};
use crate::progress::{Progress, off_thread};
use crate::window::Day;
use arrow::buffer::BooleanBuffer;
use datafusion::physical_plan::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Losers by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Equal to their winner.
    pub exact: u64,
    /// Lower than their winner.
    pub superseded: u64,
    /// Tied with their winner, and different.
    pub conflict: u64,
}

impl Tally {
    /// All losers.
    pub fn total(&self) -> u64 {
        self.exact + self.superseded + self.conflict
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.exact += other.exact;
        self.superseded += other.superseded;
        self.conflict += other.conflict;
    }
}

/// Keys and their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCount {
    /// How many keys.
    pub keys: u64,
    /// How many rows they have.
    pub rows: u64,
}

/// A key and how many rows it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The values of the key's parts, stand-ins included.
    pub key: Vec<Option<String>>,
    /// How many rows have it.
    pub rows: u64,
}

/// What became of the rows that did not win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// All losers.
    pub losers: Tally,
    /// Losers by their own day; empty for a dataset without a partition column.
    pub by_day: BTreeMap<Day, Tally>,
    /// Losers by the input that they came from.
    pub by_file: BTreeMap<String, Tally>,
    /// Keys with the most rows, the largest first, then by key. Of more keys of one size than are named, those that
    /// come first in the input.
    pub largest: Vec<Group>,
    /// Losers that differ from their winner in a fixed column, or know it where the winner does not.
    pub redated_losers: u64,
    /// Those of them that are off by whole hours.
    pub redated_by_hours: u64,
}

/// What becomes of every row.
#[derive(Debug)]
pub struct Decision<'a> {
    dataset: &'a Dataset,
    decided: Decided,
    labels: Arc<[String]>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(
        dataset: &'a Dataset,
        kernel: Arc<Kernel>,
        labels: Arc<[String]>,
        verdict: Verdict,
    ) -> Decision<'a> {
        Decision { dataset, decided: Decided { kernel, verdict: Arc::new(verdict) }, labels }
    }

    /// How many rows won: one for each key.
    pub fn winners_count(&self) -> u64 {
        self.verdict().winners.count(0..self.verdict().rows)
    }

    /// How many winners each day has. `None`: no day.
    pub fn winners_by_day(&self) -> BTreeMap<Option<Day>, u64> {
        by_day(&self.verdict().winners_by_day)
    }

    /// What the dataset's columns take for a row, in bytes: about, and on average over all rows that were decided.
    pub fn row_bytes(&self) -> usize {
        let names = self.dataset.column_names().map(String::from).collect();
        self.decided.kernel.input().width_bytes(&names)
    }

    /// How many rows each day has that took part.
    pub fn rows_by_day(&self) -> BTreeMap<Option<Day>, u64> {
        by_day(&self.verdict().rows_by_day)
    }

    /// How many rows came from each input, by the names that the rows themselves have for it.
    pub fn rows_by_file(&self) -> BTreeMap<String, u64> {
        let mut files = BTreeMap::new();
        for (label, places) in self.by_input() {
            *files.entry(label.to_string()).or_default() += places.end - places.start;
        }
        files
    }

    /// The days of the losers of each day's winners.
    pub fn loser_days(&self) -> BTreeMap<Day, BTreeSet<Day>> {
        let verdict = self.verdict();
        let days = |days: &BTreeSet<i32>| days.iter().map(|day| Day(*day)).collect();
        verdict.other_days.iter().map(|(winner, losers)| (Day(*winner), days(losers))).collect()
    }

    /// Losers by class.
    pub fn losers_count(&self) -> Tally {
        // Counted while keys were decided, and not as what is left when winners are taken away: R2 is to be a check.
        Tally { exact: self.verdict().exact_losers, ..self.tally(0..self.verdict().rows) }
    }

    /// The keys whose rows number different events.
    pub fn suspect_keys(&self) -> Flagged {
        Flagged::from(&self.verdict().suspect)
    }

    /// The keys whose rows differ in a fixed column.
    pub fn redated_keys(&self) -> Flagged {
        Flagged::from(&self.verdict().redated)
    }

    /// Losers that are off their winner's fixed time by whole hours.
    pub fn redated_by_hours(&self) -> u64 {
        self.verdict().redated_by_hours
    }

    /// The keys that have a loser which ties with its winner and differs, with the number of such losers.
    pub fn conflicting_keys(&self) -> Flagged {
        Flagged::from(&self.verdict().conflicting)
    }

    /// Counts the losers. Reads the keys of the largest groups.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub fn census(&self) -> Result<Census> {
        let verdict = self.verdict();
        let mut largest = Vec::new();
        for (rows, place, _) in verdict.largest.list() {
            largest.push(Group { key: self.decided.kernel.key_of(*place)?, rows: *rows });
        }
        largest.sort_by(|a: &Group, b: &Group| b.rows.cmp(&a.rows).then_with(|| a.key.cmp(&b.key)));
        Ok(Census {
            losers: self.losers_count(),
            by_day: self.losers_by_day(),
            by_file: self.losers_by_file(),
            largest,
            redated_losers: verdict.redated_losers,
            redated_by_hours: verdict.redated_by_hours,
        })
    }

    /// How many keys have how many rows.
    pub fn sizes(&self) -> BTreeMap<u64, u64> {
        self.verdict().sizes.by_rows()
    }

    /// How far rows that repeat a key lie from its first row; nothing but where it was to be analysed.
    pub fn distances(&self) -> Distances {
        self.verdict().distances
    }

    /// How many different rows there are, volatile columns left aside.
    pub fn different_rows(&self) -> u64 {
        self.verdict().different_rows
    }

    /// What each column that may differ within a key would add to the key; nothing but where it was to be analysed.
    pub fn added(&self) -> Vec<(String, Added)> {
        self.decided.kernel.content_names().into_iter().zip(self.verdict().added.iter().copied()).collect()
    }

    /// Keys that have too many rows for [`Decision::added`] to know of them.
    pub fn untried_keys(&self) -> u64 {
        self.verdict().untried_keys
    }

    /// Tries keys that are nearly the same, and the key without each of its parts.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub async fn near(&self, progress: &dyn Progress) -> Result<Near> {
        let (kernel, verdict) = (Arc::clone(&self.decided.kernel), Arc::clone(&self.decided.verdict));
        off_thread(progress, move |progress| kernel.try_near(&verdict, progress)).await
    }

    /// The fingerprints of keys that are worth a look, each with how many rows it has: of the suspect ones, of those
    /// whose rows differ and of all, so many of the largest.
    pub fn remarkable(&self, of_each: usize) -> Vec<(u128, u64)> {
        let verdict = self.verdict();
        let mut found: Vec<(u128, u64)> = Vec::new();
        for largest in [&verdict.largest_suspect, &verdict.largest_odd, &verdict.largest] {
            let new = largest.list().iter().filter(|(_, _, print)| found.iter().all(|(known, _)| known != print));
            let new: Vec<_> = new.take(of_each).map(|(rows, _, print)| (*print, *rows)).collect();
            found.extend(new);
        }
        found
    }

    /// How many bytes of records waited on disk, since they did not fit into the memory that was given.
    pub fn spilled_bytes(&self) -> u64 {
        self.verdict().spilled_bytes
    }

    /// The kernel and its verdict, which say which rows won.
    pub fn decided(&self) -> &Decided {
        &self.decided
    }

    /// The losers of these classes, with where each came from and its class.
    pub fn losers(&self, classes: &[Class]) -> SendableRecordBatchStream {
        let verdict = Arc::clone(&self.decided.verdict);
        let classes = classes.to_vec();
        let chosen = move |unit: &Unit| {
            let of = |marks: &Marks| marks.of(unit.places());
            let mut chosen = BooleanBuffer::new_unset(unit.rows);
            for class in &classes {
                let own = match class {
                    Class::Superseded => of(&verdict.superseded),
                    Class::Conflict => of(&verdict.conflicts),
                    Class::Exact => &verdict.losers_of(unit) & &!&(&of(&verdict.superseded) | &of(&verdict.conflicts)),
                };
                chosen = &chosen | &own;
            }
            chosen
        };
        let verdict = Some(Arc::clone(&self.decided.verdict));
        rows::stream(&self.decided.kernel, &self.labels, verdict, Box::new(chosen))
    }

    /// Losers that know an identity which their winner does not. What the winners bring in does not show these events,
    /// so a target has to be compared with them too.
    pub fn witnesses(&self) -> SendableRecordBatchStream {
        let verdict = Arc::clone(&self.decided.verdict);
        let chosen = move |unit: &Unit| verdict.witnesses.of(unit.places());
        rows::stream(&self.decided.kernel, &self.labels, None, Box::new(chosen))
    }

    fn verdict(&self) -> &Verdict {
        &self.decided.verdict
    }

    /// The losers among these rows.
    fn tally(&self, places: Range<u64>) -> Tally {
        let verdict = self.verdict();
        let count = |marks: &Marks| marks.count(places.clone());
        let (superseded, conflict) = (count(&verdict.superseded), count(&verdict.conflicts));
        let others = count(&verdict.winners) + count(&verdict.aside) + superseded + conflict;
        Tally { exact: places.end - places.start - others, superseded, conflict }
    }

    fn losers_by_file(&self) -> BTreeMap<String, Tally> {
        let mut files: BTreeMap<String, Tally> = BTreeMap::new();
        for (label, places) in self.by_input() {
            let tally = self.tally(places);
            if tally.total() > 0 {
                *files.entry(label.to_string()).or_default() += tally;
            }
        }
        files
    }

    /// The rows one after the other, as far as they came from the same input, each time with what it is called.
    fn by_input(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        let verdict = self.verdict();
        verdict.runs.iter().enumerate().map(|(place, run)| {
            let end = verdict.runs.get(place + 1).map_or(verdict.rows, |next| next.first);
            (run.source.as_deref().unwrap_or(&self.labels[run.file]), run.first..end)
        })
    }

    fn losers_by_day(&self) -> BTreeMap<Day, Tally> {
        if self.dataset.partition.is_none() {
            return BTreeMap::new();
        }
        let verdict = self.verdict();
        let (winners, superseded) = (by_day(&verdict.winners_by_day), by_day(&verdict.superseded_by_day));
        let conflicts = by_day(&verdict.conflicts_by_day);
        let mut days = BTreeMap::new();
        for (day, rows) in by_day(&verdict.rows_by_day) {
            let count = |counts: &BTreeMap<Option<Day>, u64>| counts.get(&day).copied().unwrap_or_default();
            let (superseded, conflict) = (count(&superseded), count(&conflicts));
            let exact = rows.saturating_sub(count(&winners) + superseded + conflict);
            let tally = Tally { exact, superseded, conflict };
            if let Some(day) = day.filter(|_| tally.total() > 0) {
                days.insert(day, tally);
            }
        }
        days
    }
}

fn by_day(counts: &DayCounts) -> BTreeMap<Option<Day>, u64> {
    let mut days = BTreeMap::new();
    for (day, rows) in counts.iter() {
        *days.entry(day.map(Day)).or_default() += rows;
    }
    days
}
