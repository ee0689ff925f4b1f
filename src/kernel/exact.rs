//! Makes sure that rows of one fingerprint have one key, byte by byte, for who does not want to trust 128 bits.

use super::columns::is_more_than_a_column;
use super::hash::rows_of;
use super::{Kernel, key_prints};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::threads;
use arrow::compute::SortOptions;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What a key takes in memory besides its bytes.
const ENTRY_BYTES: usize = 64;
/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 64;

/// The keys that were seen, by their fingerprints.
#[derive(Debug)]
pub struct ExactKeys {
    shards: Vec<Mutex<HashMap<u128, Box<[u8]>>>>,
}

impl Default for ExactKeys {
    fn default() -> ExactKeys {
        ExactKeys { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl ExactKeys {
    /// How many different keys were seen.
    pub fn count(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len() as u64).sum()
    }

    /// Takes the fingerprint of a key and its bytes.
    ///
    /// # Errors
    /// Transient, when another key has this fingerprint: another process has other ones.
    pub fn see(&self, print: u128, key: &[u8]) -> Result<()> {
        let shard = &self.shards[print as usize % SHARDS];
        let mut known = shard.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&print) {
            Some(other) if other.as_ref() == key => Ok(()),
            Some(_) => Err(Error::new(Kind::Transient, "tell keys apart by their fingerprints")
                .because("two different keys have the same one")
                .hint("run the command again: every run has other fingerprints")),
            None => {
                known.insert(print, key.into());
                Ok(())
            }
        }
    }
}

impl Kernel {
    /// Compares the keys of all rows that have one fingerprint, and counts the different ones. Reads the key columns
    /// once, or as often as it takes to hold a part of the keys at a time in the memory that is given.
    ///
    /// # Errors
    /// As [`ExactKeys::see`], or when a file can't be read or has changed.
    pub fn count_keys(&self, progress: &dyn Progress) -> Result<u64> {
        let columns = self.columns.narrowed(&self.columns.key, &[], &[], is_more_than_a_column)?;
        let units = self.input.units();
        // A look at the first rows says how long keys are.
        let first = match units.iter().find(|unit| unit.rows > 0) {
            Some(unit) => self.input.read(unit, &columns.schema, None)?.next().transpose()?,
            None => None,
        };
        let sample = first.map_or(0, |batch| batch.get_array_memory_size() / batch.num_rows());
        let key_bytes = (sample + ENTRY_BYTES) as u64;
        let memory_bytes = self.budget.keys_bytes() as u64;
        // A map that grows is twice as large for a moment.
        let rounds = (2 * self.input.rows() * key_bytes).div_ceil(memory_bytes).max(1);
        let mut count = 0;
        for round in 0..rounds {
            let keys = ExactKeys::default();
            threads::each(units.len(), self.resources.threads, &|at| {
                for batch in self.input.read(&units[at], &columns.schema, None)? {
                    let batch = batch?;
                    let values = columns.key_values(&batch)?;
                    let prints = key_prints(&values, batch.num_rows())?;
                    let bytes = rows_of(&values, &vec![SortOptions::default(); values.len()])?;
                    for (row, print) in prints.iter().enumerate() {
                        if (print >> 64) as u64 % rounds == round {
                            keys.see(*print, bytes.row(row).as_ref())?;
                        }
                    }
                    progress.advance(batch.num_rows() as u64);
                }
                Ok(())
            })?;
            count += keys.count();
        }
        Ok(count)
    }
}
