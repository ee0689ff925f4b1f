//! Keys that need a person: suspect and re-dated ones. Asked for only where the census saw a sign of them.

use super::Dedup;
use crate::dataset::Dataset;
use crate::engine::{Engine, FILE, ROW, number};
use crate::error::{Doing, Error, Result};
use crate::landing::{SOURCE, SOURCE_ROW};
use crate::sql::{Dialect, Exprs, render};
use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::SendableRecordBatchStream;
use std::sync::Arc;

/// A list of keys, with how many rows they have together.
#[derive(Clone, Debug, Default)]
pub struct Flagged {
    batches: Vec<RecordBatch>,
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
        Flagged::collect(engine, &sql).await
    }

    async fn collect(engine: &Engine, sql: &str) -> Result<Flagged> {
        let batches = engine.collect(sql).await?;
        let mut flagged = Flagged::default();
        for batch in batches.into_iter().filter(|batch| batch.num_rows() > 0) {
            let counts = batch.column_by_name("_rows").ok_or_else(|| Error::bug("count the rows of keys"))?;
            flagged.keys += batch.num_rows() as u64;
            let rows = (0..batch.num_rows()).filter_map(|row| number(counts.as_ref(), row));
            flagged.rows += rows.sum::<i64>() as u64;
            flagged.batches.push(batch);
        }
        Ok(flagged)
    }
}

impl Dedup<'_> {
    /// The keys whose rows number different events.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn suspect_keys(&self) -> Result<Flagged> {
        self.flagged(&self.exprs().group_is_suspect()?).await
    }

    /// The keys whose rows differ in a fixed column.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn redated_keys(&self) -> Result<Flagged> {
        self.flagged(&self.exprs().group_is_redated()?).await
    }

    /// The keys that have a loser which ties with its winner and differs.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn conflicting_keys(&self) -> Result<Flagged> {
        let exprs = self.exprs();
        let losers = self.losers_sql()?;
        let sql = format!(
            "SELECT {}, COUNT(*) AS _rows FROM ({losers}) AS l WHERE _total_rank > 1 AND _declared_rank = 1 GROUP BY {}",
            exprs.named_key("")?,
            exprs.key("")?
        );
        Flagged::collect(self.engine, &sql).await
    }

    /// The rows of these keys, with where each came from.
    ///
    /// # Errors
    /// When the query can't be started.
    pub async fn rows_of(&self, keys: &Flagged) -> Result<SendableRecordBatchStream> {
        let sql = self.rows_of_keys(keys, "SEMI", "listed", &self.origin_columns("r")?)?;
        self.engine.stream(&sql).await
    }

    /// Sets the rows of these keys aside: from here on they take no part.
    ///
    /// # Errors
    /// When the view can't be made.
    pub async fn set_aside(&mut self, keys: &Flagged) -> Result<()> {
        // Views are named one after another: a later one reads the earlier one.
        let name = format!("kept_{}", self.set_aside);
        let list = format!("aside_{}", self.set_aside);
        let origin = self.exprs().columns("r", [SOURCE, SOURCE_ROW, FILE, ROW])?;
        let sql = self.rows_of_keys(keys, "ANTI", &list, &origin)?;
        let view = self.engine.frame(&sql).await?.into_view();
        self.engine.register(&name, view)?;
        self.rows = Dialect::DataFusion.quote(&name)?;
        self.set_aside += 1;
        Ok(())
    }

    async fn flagged(&self, condition: &str) -> Result<Flagged> {
        let exprs = self.exprs();
        let sql = render(
            include_str!("../../sql/flagged.sql"),
            &[
                ("key_columns", &exprs.named_key("")?),
                ("rows", &self.rows),
                ("key", &exprs.key("")?),
                ("condition", condition),
            ],
        )?;
        Flagged::collect(self.engine, &sql).await
    }

    fn rows_of_keys(&self, keys: &Flagged, kind: &str, list: &str, origin: &str) -> Result<String> {
        let exprs = self.exprs();
        let Some(first) = keys.batches.first() else {
            return Err(Error::bug("look up the rows of keys").because("there are no keys"));
        };
        let table = MemTable::try_new(first.schema(), vec![keys.batches.clone()]).doing("make a list of keys")?;
        self.engine.register(list, Arc::new(table))?;
        let columns = format!("{}, {origin}", exprs.columns("r", self.dataset.column_names())?);
        render(
            include_str!("../../sql/rows_of_keys.sql"),
            &[
                ("columns", &columns),
                ("rows", &self.rows),
                ("kind", kind),
                ("keys", &Dialect::DataFusion.quote(list)?),
                ("same_key", &exprs.key_in_list("r", "k")?),
            ],
        )
    }
}
