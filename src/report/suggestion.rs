//! Keys that were found where none was given.

use serde::{Deserialize, Serialize};

/// Keys that were found where none was given. All is counted exactly but for `numbering` and `looks_volatile`,
/// which are guesses, and `differs_in`, which is known from examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// How many different rows there are, volatile columns and those of `numbering` left aside: no key should keep
    /// more.
    pub different_rows: u64,
    /// Columns that look as if they number copies: nearly every row has another value, but without them rows are the
    /// same, and the other columns have a key of their own. They were treated as volatile.
    pub numbering: Vec<String>,
    /// Columns that look volatile, by their names and types, and since the rows of many keys of a narrower key differ
    /// in hardly anything else. They were not treated as such.
    pub looks_volatile: Vec<String>,
    /// Columns that were no part of any key.
    pub left_out: Vec<LeftOut>,
    /// The flags that say the same as the first of the keys; nothing where they can't be written.
    pub flags: Option<String>,
    /// The keys, the best first.
    pub candidates: Vec<SuggestedKey>,
}

/// A column that can't be a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The column.
    pub column: String,
    /// Why it can't.
    pub why: String,
}

/// A key that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuggestedKey {
    /// Its parts, as text.
    pub key: Vec<String>,
    /// How many rows it would keep: one for each of its keys.
    pub rows_kept: u64,
    /// How many rows it would merge into others that differ from them. Equal ones count once.
    pub merged_rows_that_differ: u64,
    /// How many of its keys have rows that differ.
    pub keys_that_differ: u64,
    /// The columns in which rows of a key differ, in some examples.
    pub differs_in: Vec<String>,
    /// What this says, in a sentence.
    pub verdict: String,
}
