//! Cuts winners into partition batches. A plan is a value, made without I/O: `plan` prints what `backfill` executes.

use crate::dataset::Dataset;
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How batches are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many UTC days a batch has at most; its edges lie on a grid that starts at 1970-01-01.
    pub days_per_batch: u32,
    /// How many winners a batch has at most, unless they are of one day.
    pub rows_per_batch: u64,
    /// How many days of the target a batch looks at, at most, unless they are those of one day's winners.
    pub touched_per_batch: usize,
}

/// The days on which batches begin, in their order. A dataset without a partition column has one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts(Vec<Day>);

impl Cuts {
    /// Cuts the days of winners, which are counted by day: at the grid, and where a batch would have too many of them
    /// or look at too many days.
    pub fn new(
        dataset: &Dataset,
        winners: &BTreeMap<Option<Day>, u64>,
        loser_days: &BTreeMap<Day, BTreeSet<Day>>,
        limits: Limits,
    ) -> Cuts {
        let mut begins = Vec::new();
        let (mut cell, mut rows, mut touched) = (None, 0_u64, BTreeSet::new());
        for (day, &more) in winners.iter().filter_map(|(day, more)| day.map(|day| (day, more))) {
            let own = Some(day.0.div_euclid(limits.days_per_batch.max(1) as i32));
            let days = touched_by(dataset, day, loser_days);
            let looks_at = touched.union(&days).count();
            if cell != own || rows.saturating_add(more) > limits.rows_per_batch || looks_at > limits.touched_per_batch {
                begins.push(day);
                (cell, rows) = (own, 0);
                touched.clear();
            }
            rows = rows.saturating_add(more);
            touched.extend(days);
        }
        Cuts(begins)
    }

    /// The number of the batch that a day falls into, from 0. Rows without a day are in the first.
    pub fn batch_of(&self, day: Option<Day>) -> usize {
        day.map_or(0, |day| self.0.partition_point(|begin| *begin <= day).saturating_sub(1))
    }
}

/// The days that one load job and one MERGE bring in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its place among the batches of the run, from 0.
    pub number: usize,
    /// How many winners it brings in.
    pub rows: u64,
    /// How many each day has; empty for a dataset without a partition column.
    pub days: BTreeMap<Day, u64>,
    /// The days of the target that the merge looks at: those of the winners and of all their losers, widened by the
    /// drift. A row of one of its keys may stand on any of them.
    pub touched: BTreeSet<Day>,
}

/// The batches of winners, in the order of their days.
///
/// `winners` counts them by day (`None`: the dataset has no partition column), `loser_days` names the days of the
/// losers of each day's winners.
pub fn plan(
    dataset: &Dataset,
    winners: &BTreeMap<Option<Day>, u64>,
    loser_days: &BTreeMap<Day, BTreeSet<Day>>,
    cuts: &Cuts,
) -> Vec<Batch> {
    let mut batches: BTreeMap<usize, Batch> = BTreeMap::new();
    for (&day, &rows) in winners {
        let number = cuts.batch_of(day);
        let batch = batches.entry(number).or_insert_with(|| Batch {
            number,
            rows: 0,
            days: BTreeMap::new(),
            touched: BTreeSet::new(),
        });
        batch.rows += rows;
        let Some(day) = day else { continue };
        *batch.days.entry(day).or_default() += rows;
        batch.touched.extend(touched_by(dataset, day, loser_days));
    }
    batches.into_values().collect()
}

/// The days on which a row with the key of a winner of this day may stand: those of the winner and its losers, widened
/// by the drift.
fn touched_by(dataset: &Dataset, day: Day, loser_days: &BTreeMap<Day, BTreeSet<Day>>) -> BTreeSet<Day> {
    let drift = dataset.drift_days as i32;
    let losers = loser_days.get(&day).into_iter().flatten().copied();
    let days = std::iter::once(day).chain(losers);
    days.flat_map(|day| (-drift..=drift).map(move |days| day.plus(days))).collect()
}

/// The name of a batch: a function of the work alone, so that a rerun finds its own.
///
/// `flags` are the settings that decide an outcome, `landed` the digests of the landed files.
pub fn batch_id(dataset: &Dataset, flags: &str, batch: &Batch, landed: &[&str]) -> String {
    let mut landed = landed.to_vec();
    landed.sort_unstable();
    let mut hash = blake3::Hasher::new();
    for part in [dataset.digest().as_str(), flags, &batch.number.to_string()] {
        hash.update(part.as_bytes()).update(b"\n");
    }
    for day in batch.days.keys() {
        hash.update(day.to_string().as_bytes()).update(b"\n");
    }
    for digest in landed {
        hash.update(digest.as_bytes()).update(b"\n");
    }
    hash.finalize().to_hex()[..32].to_string()
}
