//! What `analyze` found.

use super::{Runs, Suggestion};
use crate::balance::Balance;
use crate::dedup::Census;
use crate::kernel::Distances;
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `analyze` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// The key, as text.
    pub key: Vec<String>,
    /// The declared order, as text.
    pub order: Vec<String>,
    /// Rows.
    pub rows: u64,
    /// Different keys.
    pub keys: u64,
    /// What became of every row.
    pub balance: Balance,
    /// The losers, class by class, by day and by file, and the largest groups.
    pub census: Census,
    /// Rows by day.
    pub rows_by_day: BTreeMap<Day, u64>,
    /// Rows by file.
    pub rows_by_file: BTreeMap<String, u64>,
    /// How many rejects there are of each kind.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// The first rows that were set aside, at most twenty.
    pub rejects: Vec<RejectedRow>,
    /// Why it fails, where there are more duplicates than the caller allows.
    pub fails: Option<String>,
    /// How many keys have so many rows: rows of a key, and the keys. Keys of one row included.
    pub sizes: BTreeMap<u64, u64>,
    /// How far rows that repeat a key lie from its first row in the input.
    pub distances: Distances,
    /// The parts of the key, and what is missing in them.
    pub key_parts: Vec<KeyPart>,
    /// Different keys that are nearly the same.
    pub near: Neighbours,
    /// Some keys with their rows side by side: of the suspect ones, of others whose rows differ and of all others the
    /// largest five.
    pub groups: Vec<GroupRows>,
    /// Other keys that were tried.
    pub advice: Advice,
    /// Rows by the values of a column, where that was asked for.
    #[serde(default)]
    pub by_run: Option<Runs>,
    /// The keys that were found, where none was given: this is an analysis by the first of them.
    #[serde(default)]
    pub suggestion: Option<Suggestion>,
    /// How many bytes of records waited on disk, since they did not fit into the memory that was given.
    pub spilled_bytes: u64,
}

/// A row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// The input, as it is called in reports.
    pub file: String,
    /// Its place in the input, from 1.
    pub row: u64,
    /// The column that it was set aside for; `None`: it is no row at all.
    pub column: Option<String>,
    /// Why it was, with the value that was found.
    pub reason: String,
}

/// A part of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// The part, as text.
    pub part: String,
    /// Rows in which it is NULL, before its stand-in.
    pub null_rows: u64,
    /// Rows in which it is an empty text, before its stand-in.
    pub empty_rows: u64,
}

/// Keys that are nearly the same: often one thing that was written in two ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Keys that are the same but for upper and lower case.
    pub by_case: NearKeys,
    /// Keys that are the same but for times that are whole hours apart; only where the key has a time.
    pub by_hours: NearKeys,
    /// For each part of the key that may be missing: keys that are the same but for this part, which one of them has
    /// and another has not. By the part's text.
    pub by_missing: BTreeMap<String, NearKeys>,
}

/// Keys that become one when something is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearKeys {
    /// How many there would be of those that become one.
    pub groups: u64,
    /// How many keys they are now. Where a part is missing, at least: of each group those that have it count as one,
    /// and those that have not as another.
    pub keys: u64,
    /// Some of them.
    pub examples: Vec<NearGroup>,
}

/// Different keys that would be one, each as its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearGroup {
    /// At most four of them.
    pub keys: Vec<Vec<Option<String>>>,
}

/// A key with some of its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRows {
    /// The values of the key's parts, stand-ins included.
    pub key: Vec<Option<String>>,
    /// How many rows have it.
    pub rows: u64,
    /// The columns, in the order of the files.
    pub columns: Vec<String>,
    /// For each column whether the rows that are shown differ in it, be it only in what is cut of their values.
    pub differs: Vec<bool>,
    /// The rows that are shown: the first of them in the order of the input, each with the input that it came from and
    /// its values, `None` for NULL.
    pub shown: Vec<(String, Vec<Option<String>>)>,
}

/// Keys that were tried beside the one that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// How many different rows there are, volatile columns left aside: no key should keep more.
    pub different_rows: u64,
    /// How many keys are suspect: their rows number different events.
    pub suspect_keys: u64,
    /// Keys with too many different rows to look at all of their columns in the memory that was given: what a column
    /// that is added would do there is not counted.
    #[serde(default)]
    pub untried_keys: u64,
    /// The keys, the given one first.
    pub candidates: Vec<KeyCandidate>,
}

/// What is changed about the given key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Nothing: it is the given one.
    Given,
    /// This column is added.
    Added(String),
    /// This part is left out.
    Dropped(String),
}

/// A key that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCandidate {
    /// Its parts, as text.
    pub key: Vec<String>,
    /// What is changed about the given key.
    pub change: Change,
    /// How many rows it would keep: one for each of its keys.
    pub rows_kept: u64,
    /// How many rows it would merge into others that differ from them in other columns than those that are volatile or
    /// left out of the key: each may be an event that is lost. Equal ones count once.
    pub merged_rows_that_differ: u64,
    /// Suspect keys of the given key that it would separate.
    pub suspects_separated: u64,
    /// What this says, in a sentence.
    pub verdict: String,
}

impl Analysis {
    /// Rows that repeat a key, as a share of all rows, from 0 to 1.
    pub fn duplicate_share(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { (self.rows - self.keys) as f64 / self.rows as f64 }
    }
}
