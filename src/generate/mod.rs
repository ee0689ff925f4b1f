//! Trades of any size that look like real ones, with a known number of duplicates of each kind: what tests, benchmarks
//! and the demo run on.
//!
//! Every row is a pure function of the seed, its key's number and its copy's, so that nothing is held in memory and the
//! same recipe gives the same rows on every machine.

mod chance;
mod market;
mod odd;
mod pages;
mod parquet;
mod shape;
mod timeline;

pub use pages::write_pages;
pub use parquet::generate;

use crate::window::Day;
use serde::{Deserialize, Serialize};

/// How the copies of a key lie in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Three backfill runs over one time line, each in the order of time.
    Rerun,
    /// The same rows at random places over all files.
    Spread,
}

/// What to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// How the copies lie.
    pub profile: Profile,
    /// How many rows.
    pub rows: u64,
    /// Another seed gives other keys.
    pub seed: u64,
    /// The share of row groups, rounded up, in which keys are odd: one of 8 there. Suspects are apart from it.
    pub odd_share: f64,
    /// How many keys are suspect, evenly over the time line.
    pub suspects: u64,
    /// The most rows of a row group. In `rerun` each holds one run's rows of one stretch of this many keys.
    pub row_group_rows: usize,
    /// How many days the time line has.
    pub days: u32,
    /// Its first day. Re-dated rows may lie up to eight hours before it, or after the last.
    pub first_day: Day,
    /// Files of each run; `spread` has as many files in all.
    pub files: u32,
}

impl Recipe {
    /// A recipe with the usual rest: odd keys in a tenth of the row groups, no suspects, 90 days from 2025-10-01,
    /// one file for each run.
    pub fn new(profile: Profile, rows: u64, seed: u64) -> Recipe {
        Recipe {
            profile,
            rows,
            seed,
            odd_share: 0.1,
            suspects: 0,
            // Small data get small row groups, so that a tenth of them is still some.
            row_group_rows: rows.div_ceil(28).clamp(500, 131_072) as usize,
            days: 90,
            // 2025-10-01
            first_day: Day(20_362),
            files: 1,
        }
    }
}

/// What was planted: the figures that a dedup under the contract of `trades` must find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted {
    /// All rows.
    pub rows: u64,
    /// Different keys, once wallets are folded to lower case.
    pub keys: u64,
    /// Losers that equal their winner in all compared columns.
    pub exact: u64,
    /// Losers that stand below their winner in the declared order.
    pub superseded: u64,
    /// Losers that tie with their winner in the declared order and differ.
    pub conflict: u64,
    /// Keys of which an identity has two values.
    pub suspect_keys: u64,
    /// Their rows; the losers among them count by class as well.
    pub suspect_rows: u64,
    /// Keys whose rows differ in their timestamp.
    pub redated_keys: u64,
    /// What was done to make them.
    pub classes: Classes,
}

/// How many of each kind of duplicate, and of what only looks like one. Kind j, copies of markets and events, is not
/// planted: these are trades.
///
/// A kind says what was done to a row, not how it comes out: one whose copy got a new id wins or loses by that id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classes {
    /// Rows that repeat another row of their key, volatile columns aside.
    pub a_exact_copy: u64,
    /// Copies with another id.
    pub b_new_id: u64,
    /// Copies without their order hash: true duplicates, which the key takes for keys of their own.
    pub c_no_order_hash: u64,
    /// Rows of real, separate fills that share a key since nobody wrote their order hashes down.
    pub d_separate_fills: u64,
    /// Keys whose order was filled before, in another transaction: a dedup by order hash alone would lose them.
    pub e_order_in_other_tx: u64,
    /// Copies whose timestamp is off by whole hours.
    pub f_redated: u64,
    /// Copies whose price has eight decimals where the others have more.
    pub g_price_precision: u64,
    /// Copies whose wallet is in upper case.
    pub h_wallet_case: u64,
    /// Copies with another log index.
    pub i_other_log_index: u64,
    /// Keys whose rows have a condition id that is empty or NULL.
    pub k_orphan: u64,
}
