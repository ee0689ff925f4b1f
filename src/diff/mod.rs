//! Two data sets side by side, key by key: what only one of them has, and where their rows of a key differ.
//!
//! Each side is decided first, as any input is: of a key with several rows the winner is compared. Everything is in the
//! words of one dataset, which both sides share.

mod types;

pub use types::{Common, common_schema, common_type};

use crate::balance::Balance;
use crate::dataset::Dataset;
use crate::dedup::{Dedup, Tally};
use crate::engine::{DataFile, Engine, EngineOptions};
use crate::error::{Doing, Result};
use crate::kernel::{Comparison, Decided, Found, Pair, Resources};
use crate::landing::LandingCounts;
use crate::progress::{Progress, off_thread};
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows and keys of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideCount {
    /// Rows that took part.
    pub rows: u64,
    /// Different keys.
    pub keys: u64,
    /// The other rows of these keys, against the one that was compared.
    pub duplicates: Tally,
    /// Rows that are NULL in a part of the key. There NULL is a value like any other.
    pub rows_without_key: u64,
}

/// Keys by what was found of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDifferences {
    /// Keys that only A has.
    pub only_a: u64,
    /// Keys that only B has.
    pub only_b: u64,
    /// Keys that both have, and all compared columns are equal.
    pub same: u64,
    /// Keys that both have, and a compared column differs.
    pub different: u64,
    /// Of these, how many differ in each column; columns in which none does are left out.
    pub columns: BTreeMap<String, u64>,
}

/// Some keys of each finding, at most twenty: those that come first in A, or in B where only that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examples {
    /// Keys that only A has, each as the values of its parts, stand-ins included.
    pub only_a: Vec<Vec<Option<String>>>,
    /// Keys that only B has.
    pub only_b: Vec<Vec<Option<String>>>,
    /// Keys whose rows differ.
    pub different: Vec<KeyValues>,
}

/// A key with the columns in which its rows differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValues {
    /// The values of the key's parts, stand-ins included.
    pub key: Vec<Option<String>>,
    /// The values of each column that differs.
    pub columns: BTreeMap<String, BothValues>,
}

/// A value on both sides, as text; `None` for NULL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BothValues {
    /// What A has.
    pub a: Option<String>,
    /// What B has.
    pub b: Option<String>,
}

/// What two sides have of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// All keys.
    pub keys: KeyDifferences,
    /// Keys by day: that of A's row, or of B's where only B has the key. Empty without a partition column.
    pub days: BTreeMap<Day, KeyDifferences>,
    /// Keys whose row has no day.
    pub without_day: KeyDifferences,
    /// Some keys of each finding.
    pub examples: Examples,
    /// Bytes of records that waited on disk, since they did not fit into the memory that was given.
    pub spilled_bytes: u64,
}

impl KeyDifferences {
    /// Whether both sides have the same keys with the same content.
    pub fn is_none(&self) -> bool {
        self.only_a + self.only_b + self.different == 0
    }

    fn add(&mut self, found: &Found, columns: &[&str]) {
        self.only_a += found.only[0];
        self.only_b += found.only[1];
        self.same += found.same;
        self.different += found.different;
        for (name, keys) in columns.iter().zip(&found.by_column).filter(|(_, keys)| **keys > 0) {
            *self.columns.entry((*name).to_string()).or_default() += keys;
        }
    }
}

/// Compares two sides, which are Parquet files on the local disk: their winners under the dataset's key and order, in
/// the columns `compared`. Memory stays in what the engine has, whatever the sides hold.
///
/// # Errors
/// When a file can't be read or has changed, a value does not fit the type in which its column is compared, or the disk
/// is full.
pub async fn diff(
    engine: &Engine,
    dataset: &Dataset,
    compared: &[&str],
    sides: [&[DataFile]; 2],
    progress: &dyn Progress,
) -> Result<([SideCount; 2], Differences)> {
    let (first, first_count) = Box::pin(decide(engine, dataset, sides[0], "A", progress)).await?;
    // What says which rows of A won is held until the end.
    let held_bytes = first.kernel.budget().fixed_bytes;
    let beside = Engine::new(EngineOptions {
        memory_bytes: engine.memory_bytes().saturating_sub(held_bytes),
        threads: engine.threads(),
        exact_keys: engine.exact_keys(),
    })?;
    let (second, second_count) = Box::pin(decide(&beside, dataset, sides[1], "B", progress)).await?;
    let place = |name: &str| dataset.schema().index_of(name).doing("find a column to compare");
    let columns = compared.iter().map(|name| place(name)).collect::<Result<Vec<_>>>()?;
    let day = dataset.partition.as_deref().map(place).transpose()?;
    let resources = Resources { threads: engine.threads(), pool: engine.memory_pool(), folder: std::env::temp_dir() };
    let spilled_bytes = first.verdict.spilled_bytes + second.verdict.spilled_bytes;
    let pair = Pair::new([first, second], columns, day, resources)?;
    progress.begin("compare", Some(first_count.keys + second_count.keys));
    let (comparison, examples) = off_thread(progress, move |progress| {
        let comparison = pair.compare(progress)?;
        let examples = examples(&pair, &comparison)?;
        Ok((comparison, examples))
    })
    .await?;
    let mut found = Differences { examples, spilled_bytes, ..Differences::default() };
    found.spilled_bytes += comparison.spilled_bytes;
    for (day, keys) in &comparison.by_day {
        found.keys.add(keys, compared);
        match day {
            Some(day) => found.days.entry(Day(*day)).or_default().add(keys, compared),
            None if dataset.partition.is_some() => found.without_day.add(keys, compared),
            None => {}
        }
    }
    Ok(([first_count, second_count], found))
}

/// Decides which rows of a side are compared.
async fn decide(
    engine: &Engine,
    dataset: &Dataset,
    files: &[DataFile],
    name: &str,
    progress: &dyn Progress,
) -> Result<(Decided, SideCount)> {
    let dedup = Dedup::new(engine, dataset, files).await?.counting_only();
    let rows_without_key = dedup.rows_without_key().await?;
    progress.begin(&format!("find duplicates in {name}"), None);
    let decision = dedup.decide(progress).await?;
    let (keys, duplicates) = (decision.winners_count(), decision.losers_count());
    let decided = decision.decided().clone();
    let rows = decided.verdict.rows;
    let landing = LandingCounts { read: rows, landed: rows, ..LandingCounts::default() };
    Balance { landing, winners: keys, losers: duplicates, ..Balance::default() }.check()?;
    Ok((decided, SideCount { rows, keys, duplicates, rows_without_key }))
}

fn examples(pair: &Pair, comparison: &Comparison) -> Result<Examples> {
    let keys = |side: usize| {
        let places = comparison.only[side].iter();
        places.map(|place| pair.key_of(side, *place)).collect::<Result<Vec<_>>>()
    };
    let mut examples = Examples { only_a: keys(0)?, only_b: keys(1)?, different: Vec::new() };
    for places in &comparison.different {
        let values = pair.values_of(*places)?.into_iter();
        let columns = values.map(|(name, [a, b])| (name, BothValues { a, b })).collect();
        examples.different.push(KeyValues { key: pair.key_of(0, places.0)?, columns });
    }
    Ok(examples)
}
