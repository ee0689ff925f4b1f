//! Makes sure that rows of one fingerprint have one key, byte by byte, for who does not want to trust 128 bits.

use super::hash::rows_of;
use super::{Kernel, each_unit, key_prints};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use arrow::compute::SortOptions;
use datafusion::execution::memory_pool::MemoryLimit;
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
    /// Compares the keys of all rows that have one fingerprint. Reads the key columns as often as their keys need to be
    /// spread over to fit into memory.
    ///
    /// # Errors
    /// As [`ExactKeys::see`], or when a file can't be read or has changed.
    pub fn check_keys(&self, progress: &dyn Progress) -> Result<()> {
        let columns = self.columns.narrowed(&self.columns.key, &[], &[])?;
        let units = self.input.units();
        // A look at the first rows says how long keys are.
        let mut sample = (0, 1);
        if let Some(batch) = units
            .first()
            .map(|unit| self.input.read(unit, &columns.schema, None))
            .transpose()?
            .and_then(|mut batches| batches.next())
        {
            let batch = batch?;
            sample = (batch.get_array_memory_size(), batch.num_rows().max(1));
        }
        let key_bytes = (sample.0 / sample.1 + ENTRY_BYTES) as u64;
        let memory_bytes = match self.resources.pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes as u64,
            _ => u64::MAX,
        };
        let rounds = (self.input.rows() * key_bytes).div_ceil(memory_bytes).max(1);
        for round in 0..rounds {
            let keys = ExactKeys::default();
            each_unit(units.len(), self.resources.threads, &|at| {
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
        }
        Ok(())
    }
}
