//! One row of each key, and what became of every other.
//!
//! The SQL is the truth: [`crate::sql::dedup`] keeps the winners, `sql/losers.sql` classes the rest. Two queries count the
//! same rows from two sides, so that R2 (landed = winners + losers + quarantined) is a check and not a tautology.

mod census;
mod flagged;
pub mod rule;

pub use census::{Census, Group, LoserBatch, Tally};
pub use flagged::Flagged;

use crate::dataset::Dataset;
use crate::engine::{DataFile, Engine, FILE, FilesTable, ROW, number};
use crate::error::Result;
use crate::landing::{SOURCE, SOURCE_ROW};
use crate::progress::Progress;
use crate::sql::{self, Dialect, Exprs, render};
use crate::window::Day;
use datafusion::physical_plan::SendableRecordBatchStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a loser is against its winner: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// All compared columns are equal.
    Exact,
    /// It is lower in the declared order.
    Superseded,
    /// It ties in the declared order and differs.
    Conflict,
}

impl Class {
    /// Its name in reports and files.
    pub fn name(self) -> &'static str {
        match self {
            Class::Exact => "exact",
            Class::Superseded => "superseded",
            Class::Conflict => "conflict",
        }
    }
}

/// Landed rows, ready to be deduplicated. Keys may be set aside before.
#[derive(Debug)]
pub struct Dedup<'a> {
    engine: &'a Engine,
    dataset: &'a Dataset,
    /// The table or view that holds the rows that take part, quoted.
    rows: String,
    /// How many times keys were set aside.
    set_aside: usize,
}

impl<'a> Dedup<'a> {
    /// Takes landed files as the rows to deduplicate.
    ///
    /// # Errors
    /// When the files can't be made a table.
    pub fn new(engine: &'a Engine, dataset: &'a Dataset, files: &[DataFile]) -> Result<Dedup<'a>> {
        engine.register_files("landed", FilesTable::new(dataset.schema(), files)?)?;
        Ok(Dedup { engine, dataset, rows: Dialect::DataFusion.quote("landed")?, set_aside: 0 })
    }

    /// One row of each key, one stream per partition, with the columns of the dataset.
    ///
    /// # Errors
    /// When the query can't be planned or started.
    pub async fn winners(&self) -> Result<Vec<SendableRecordBatchStream>> {
        self.engine.partitions(&sql::dedup(self.dataset, Dialect::DataFusion, &self.rows)?).await
    }

    /// How many rows have no value for a part of the key. They would all count as one.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn rows_without_key(&self) -> Result<u64> {
        let exprs = self.exprs();
        let parts = self.dataset.key.iter().filter(|part| !part.is_never_null());
        let missing = parts.map(|part| Ok(format!("{} IS NULL", exprs.key_part("", part)?)));
        let missing = missing.collect::<Result<Vec<_>>>()?;
        if missing.is_empty() {
            return Ok(0);
        }
        self.engine.count(&format!("SELECT COUNT(*) FROM {} WHERE {}", self.rows, missing.join(" OR "))).await
    }

    /// How many winners each day has, counted by the query that keeps them. `None`: no day.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn winners_by_day(&self) -> Result<BTreeMap<Option<Day>, u64>> {
        let kept = sql::dedup(self.dataset, Dialect::DataFusion, &self.rows)?;
        self.count_by_day(&format!("({kept}) AS w")).await
    }

    /// How many rows each day has that take part.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn rows_by_day(&self) -> Result<BTreeMap<Option<Day>, u64>> {
        self.count_by_day(&self.rows).await
    }

    async fn count_by_day(&self, rows: &str) -> Result<BTreeMap<Option<Day>, u64>> {
        let day = self.exprs().day("")?;
        let batches = self.engine.collect(&format!("SELECT {day} AS d, COUNT(*) FROM {rows} GROUP BY {day}")).await?;
        let mut days = BTreeMap::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let day = number(batch.column(0).as_ref(), row).map(|day| Day(day as i32));
                let count = number(batch.column(1).as_ref(), row).unwrap_or(0) as u64;
                *days.entry(day).or_default() += count;
            }
        }
        Ok(days)
    }

    /// Classes every loser and counts. Each batch of losers is shown to `each`, which may write it somewhere.
    ///
    /// # Errors
    /// When the query fails, or `each` does.
    pub async fn census(
        &self,
        progress: &dyn Progress,
        each: &mut (dyn FnMut(&LoserBatch) -> Result<()> + Send),
    ) -> Result<Census> {
        let sql = self.losers_sql()?;
        census::take(self.engine, self.dataset, &sql, progress, each).await
    }

    fn exprs(&self) -> Exprs<'_> {
        Exprs { dataset: self.dataset, dialect: Dialect::DataFusion }
    }

    /// Where a row came from: the input's name and the row's number in it.
    fn origin_columns(&self, alias: &str) -> Result<String> {
        let exprs = self.exprs();
        let (source, file) = (exprs.column(alias, SOURCE)?, exprs.column(alias, FILE)?);
        let (source_row, row) = (exprs.column(alias, SOURCE_ROW)?, exprs.column(alias, ROW)?);
        Ok(format!("COALESCE({source}, {file}) AS {SOURCE}, COALESCE({source_row}, {row} + 1) AS {SOURCE_ROW}"))
    }

    fn losers_sql(&self) -> Result<String> {
        let exprs = self.exprs();
        let (key, total) = (exprs.key("")?, exprs.order_by(&self.dataset.total_order())?);
        let declared = match self.dataset.order.is_empty() {
            // Without a declared order all rows of a key tie in it.
            true => key.clone(),
            false => exprs.order_by(&self.dataset.order)?,
        };
        let window =
            format!("OVER (PARTITION BY {key} ORDER BY {total} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)");
        let mut winner_values = format!(",\n    FIRST_VALUE(_day) {window} AS _winner_day");
        for (place, name) in self.dataset.fixed.iter().enumerate() {
            let column = exprs.column("", name)?;
            winner_values.push_str(&format!(",\n    FIRST_VALUE({column}) {window} AS _winner_fixed_{place}"));
        }
        let mut identity_ranges = String::new();
        for (place, identity) in self.dataset.identity.iter().enumerate() {
            let value = exprs.identity("", identity)?;
            identity_ranges
                .push_str(&format!(",\n    MIN({value}) {window} <> MAX({value}) {window} AS _suspect_{place}"));
        }
        let columns =
            format!("{}, {}, _day", exprs.columns("", self.dataset.column_names())?, self.origin_columns("")?);
        render(
            include_str!("../../sql/losers.sql"),
            &[
                ("columns", &columns),
                ("key", &key),
                ("total_order", &total),
                ("declared_order", &declared),
                ("winner_values", &winner_values),
                ("identity_ranges", &identity_ranges),
                ("rows", &self.rows),
                ("day", &exprs.day("")?),
            ],
        )
    }
}
