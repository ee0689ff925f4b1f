//! What a run takes of a warehouse that counts jobs and bills bytes.

use crate::dataset::{ColumnType, Dataset};
use crate::error::Result;
use crate::plan::Batch;
use crate::sql::{Dialect, Exprs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much of a limit is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// What is limited.
    pub what: String,
    /// How much is used.
    pub used: u64,
    /// How much is allowed.
    pub allowed: u64,
    /// Why it is so little, where that is not plain.
    pub note: String,
}

/// What all jobs of one step take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUse {
    /// How many there are.
    pub jobs: u64,
    /// What is billed for them, in bytes.
    pub bytes_billed: u64,
}

/// What a run takes, or would take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The limits.
    pub limits: Vec<LimitUse>,
    /// The steps of batches that are jobs.
    pub steps: BTreeMap<String, StepUse>,
    /// What is staged, in bytes.
    pub staged_bytes: u64,
    /// What the billed bytes cost, in hundredths of the currency of the price.
    pub price_cents: u64,
}

impl Usage {
    /// How many jobs there are.
    pub fn jobs(&self) -> u64 {
        self.steps.values().map(|step| step.jobs).sum()
    }

    /// What is billed for all jobs, in bytes.
    pub fn bytes_billed(&self) -> u64 {
        self.steps.values().map(|step| step.bytes_billed).sum()
    }

    /// The same with its price, at this much for a TiB.
    #[must_use]
    pub fn at(self, price_per_tib: f64) -> Usage {
        Usage { price_cents: cents(self.bytes_billed(), price_per_tib), ..self }
    }
}

/// What bytes cost, in hundredths, at this much for a TiB.
pub fn cents(bytes: u64, price_per_tib: f64) -> u64 {
    (bytes as f64 / (1_u64 << 40) as f64 * price_per_tib * 100.0).round() as u64
}

/// What the same rows take without deduplication before they are loaded: a load job for each page of them into a
/// staging table, then one MERGE of that table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithoutDedup {
    /// Load jobs into the one staging table.
    pub load_jobs: u64,
    /// How many days of the table's quota of load jobs they take.
    pub days_of_quota: u64,
    /// Rows in the staging table.
    pub rows: u64,
    /// What the staging table holds, in bytes.
    pub staging_bytes: u64,
    /// What is billed for the MERGE, in bytes.
    pub bytes_billed: u64,
    /// What that costs, in hundredths of the currency of the price.
    pub price_cents: u64,
}

/// What a plan would take, and what it saves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// What it takes.
    pub usage: Usage,
    /// What it would be without tradefold.
    pub without_dedup: WithoutDedup,
}

/// What a plan is about, in figures.
#[derive(Clone, Debug)]
pub struct Outline<'a> {
    /// The batches, in their order.
    pub batches: &'a [Batch],
    /// How large the values of rows are.
    pub widths: Widths,
    /// Rows that were landed.
    pub landed_rows: u64,
    /// How they come to the warehouse.
    pub arrival: Arrival,
}

/// How rows come to a warehouse.
#[derive(Clone, Copy, Debug)]
pub enum Arrival {
    /// Winners are loaded from objects.
    Loaded {
        /// All landed rows as Parquet, in bytes.
        bytes: u64,
    },
    /// They lie there, and one statement finds the winners.
    InPlace {
        /// What it reads.
        bytes: u64,
    },
}

/// How many bytes the values of a row take, by column, on average: as BigQuery counts them.
/// <https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes>
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Widths(BTreeMap<String, f64>);

impl Widths {
    /// The query whose one row of sums gives [`Widths::of_sums`] what it wants, over the first rows of
    /// `table`, as `dialect` names it.
    ///
    /// # Errors
    /// Usage, for a column that can't be quoted.
    pub fn sums(dataset: &Dataset, dialect: Dialect, table: &str) -> Result<String> {
        let exprs = Exprs { dataset, dialect };
        let sums = dataset.columns.iter().map(|column| {
            let name = exprs.column("", &column.name)?;
            Ok(match column.kind {
                ColumnType::String | ColumnType::Json => format!("COALESCE(SUM(2 + OCTET_LENGTH({name})), 0)"),
                ColumnType::Bool => format!("COUNT({name})"),
                _ => format!("8 * COUNT({name})"),
            })
        });
        let sums = sums.collect::<Result<Vec<_>>>()?.join(", ");
        Ok(format!("SELECT COUNT(*), {sums} FROM (SELECT * FROM {table} LIMIT {SAMPLE_ROWS}) AS _s"))
    }

    /// From the number of rows and the bytes of each column of the contract.
    pub fn of_sums(dataset: &Dataset, sums: &[u64]) -> Widths {
        let rows = sums.first().copied().unwrap_or(0).max(1) as f64;
        let bytes = sums.iter().skip(1).map(|sum| *sum as f64 / rows);
        Widths(dataset.column_names().map(str::to_string).zip(bytes).collect())
    }

    /// What whole rows take.
    pub fn of_rows(&self, rows: u64) -> u64 {
        (self.0.values().sum::<f64>() * rows as f64) as u64
    }

    /// What some columns take of a row, from 0 to 1.
    pub fn share(&self, names: &[&str]) -> f64 {
        let some = self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, bytes)| bytes);
        let all: f64 = self.0.values().sum();
        if all == 0.0 { 0.0 } else { some.sum::<f64>() / all }
    }
}

/// How many rows tell how large values are.
const SAMPLE_ROWS: u64 = 1_000_000;
