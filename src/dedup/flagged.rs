//! Keys that need a person: suspect, conflicting and re-dated ones, and those that the target makes suspect.

use super::KeyCount;
use crate::dataset::Dataset;
use crate::engine::{Engine, number};
use crate::error::{Doing, Error, Result};
use crate::kernel::{Flag, key_prints};
use crate::sql::{Dialect, Exprs};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;

/// A list of keys, with how many rows they have together.
#[derive(Clone, Debug, Default)]
pub struct Flagged {
    /// The fingerprints of the keys, which hold within this process. None of them, where keys were only counted.
    pub(super) prints: Vec<u128>,
    /// How many keys.
    pub keys: u64,
    /// How many rows they have.
    pub rows: u64,
}

impl Flagged {
    /// The keys of the rows of a table that the engine knows.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn of_rows(engine: &Engine, dataset: &Dataset, table: &str) -> Result<Flagged> {
        let exprs = Exprs { dataset, dialect: Dialect::DataFusion };
        let sql = format!(
            "SELECT {}, COUNT(*) AS _rows FROM {} GROUP BY {}",
            exprs.named_key("")?,
            exprs.dialect.quote(table)?,
            exprs.key("")?
        );
        Flagged::of_list(engine.stream(&sql).await?).await
    }

    /// The keys of a list with the columns of [`Exprs::named_key`], and `_rows`.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn of_list(mut list: SendableRecordBatchStream) -> Result<Flagged> {
        let mut flagged = Flagged::default();
        while let Some(batch) = list.try_next().await.doing("list keys")? {
            let parts = batch.num_columns().saturating_sub(1);
            let counts = batch.column_by_name("_rows").ok_or_else(|| Error::bug("count the rows of keys"))?;
            flagged.keys += batch.num_rows() as u64;
            let rows = (0..batch.num_rows()).filter_map(|row| number(counts.as_ref(), row));
            flagged.rows += rows.sum::<i64>() as u64;
            flagged.prints.extend(key_prints(&batch.columns()[..parts], batch.num_rows())?);
        }
        Ok(flagged)
    }

    /// Keys by their fingerprints, each with how many rows it has.
    pub(crate) fn listed(keys: &[(u128, u64)]) -> Flagged {
        let prints = keys.iter().map(|(print, _)| *print).collect();
        Flagged { prints, keys: keys.len() as u64, rows: keys.iter().map(|(_, rows)| rows).sum() }
    }

    /// How many keys and rows.
    pub fn count(&self) -> KeyCount {
        KeyCount { keys: self.keys, rows: self.rows }
    }
}

impl From<&Flag> for Flagged {
    fn from(flag: &Flag) -> Flagged {
        Flagged { prints: flag.prints.clone(), keys: flag.keys, rows: flag.rows }
    }
}
