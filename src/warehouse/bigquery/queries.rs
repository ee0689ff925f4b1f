//! How a statement is made and run, and how its rows are read.

use super::client::Client;
use super::{BigQueryWarehouse, Statements, answers, jobs};
use crate::engine::number;
use crate::error::{Doing, Error, Result};
use crate::sql::{Dialect, Which};
use crate::stage::Manifest;
use crate::warehouse::Warehouse;
use arrow::array::{ArrayRef, RecordBatch};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use google_cloud_bigquery_v2::model::{
    ConnectionProperty, JobConfiguration, JobConfigurationQuery, Table, TableReference,
};
use std::collections::HashMap;

/// The names of the tables of a batch, quoted.
pub(super) struct Names {
    pub(super) target: String,
    pub(super) staged: String,
    pub(super) witnesses: String,
}

impl BigQueryWarehouse {
    pub(super) async fn names(&self, batch: &Manifest) -> Result<Names> {
        if let Some(part) = &batch.part {
            let is_of_days = self.dataset.partition.is_some();
            let days = is_of_days.then(|| batch.batch.days.keys().copied().collect());
            return Ok(Names {
                target: quoted(&self.reference())?,
                staged: self.part_rows(part, Which::Winners, days.as_ref())?,
                // A loser's day is one of those that its key's batch looks at.
                witnesses: self.part_rows(part, Which::Witnesses, is_of_days.then_some(&batch.batch.touched))?,
            });
        }
        self.names_of(&batch.batch_id, batch.witnesses.as_ref().map(|object| object.digest.as_str())).await
    }

    /// Whether there may be witnesses of a batch.
    pub(super) fn has_witnesses(&self, batch: &Manifest) -> bool {
        match batch.part {
            Some(_) => !self.dataset.identity.is_empty(),
            None => batch.witnesses.is_some(),
        }
    }

    pub(super) async fn names_of(&self, batch_id: &str, witnesses: Option<&str>) -> Result<Names> {
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let staged = quoted(&self.temporary_table(&self.work(&target, created_ms, batch_id)))?;
        let witnesses = match witnesses {
            Some(digest) => quoted(&self.temporary_table(&self.work(&target, created_ms, digest)))?,
            None => format!("(SELECT * FROM {staged} WHERE FALSE)"),
        };
        Ok(Names { target: quoted(&self.reference())?, staged, witnesses })
    }

    pub(super) fn statements<'a>(&'a self, names: &'a Names) -> Statements<'a> {
        Statements {
            dataset: &self.dataset,
            dialect: Dialect::GoogleSql,
            target: &names.target,
            staged: &names.staged,
            witnesses: &names.witnesses,
            day: None,
        }
    }
}

impl Client {
    /// A query as a job, within what one query may bill.
    pub(super) fn query(&self, sql: String, labels: HashMap<String, String>) -> Box<JobConfiguration> {
        // A project may have another time zone than that of its partitions.
        let zone = ConnectionProperty::new().set_key("time_zone").set_value("UTC");
        let mut query = JobConfigurationQuery::new().set_query(sql).set_use_legacy_sql(false);
        query = query.set_connection_properties([zone]);
        if let Some(most) = self.access().max_billed_bytes {
            query = query.set_maximum_bytes_billed(i64::try_from(most).unwrap_or(i64::MAX));
        }
        Box::new(JobConfiguration::new().set_query(query).set_labels(labels))
    }

    /// Runs a query that changes nothing, or nothing the second time.
    pub(super) async fn rows(&self, step: &str, batch_id: &str, sql: String) -> Result<SendableRecordBatchStream> {
        // An answer that was kept is that of the tables as they are: BigQuery forgets it when they change.
        let configuration = self.query(sql, jobs::labels(self, batch_id, step));
        let id = format!("{step}_{}", self.once());
        let reference = jobs::read(self, &id, &configuration).await?;
        answers::stream(self, reference).await
    }

    /// Runs a query that answers with one row of counts.
    pub(super) async fn counts(&self, step: &str, batch_id: &str, sql: String) -> Result<Vec<u64>> {
        let row = self.one_row(step, batch_id, sql).await?;
        counts_of(row.columns())
    }

    /// Runs a query that answers with one row.
    pub(super) async fn one_row(&self, step: &str, batch_id: &str, sql: String) -> Result<RecordBatch> {
        let rows: Vec<RecordBatch> = self.rows(step, batch_id, sql).await?.try_collect().await.doing("count rows")?;
        let row = rows.into_iter().find(|batch| batch.num_rows() > 0);
        row.ok_or_else(|| Error::bug("count rows").because("the answer has no row"))
    }

    /// The time by BigQuery's clock, in microseconds since 1970-01-01 UTC.
    pub(super) async fn now_us(&self) -> Result<i64> {
        let now = self.counts("clock", "", "SELECT UNIX_MICROS(CURRENT_TIMESTAMP()) AS now_us".into()).await?;
        let now = now.first().and_then(|now_us| i64::try_from(*now_us).ok());
        now.ok_or_else(|| Error::bug("ask BigQuery for the time").because("the answer is no time"))
    }

    /// How many rows a table has. An emulator does not keep count, BigQuery does.
    pub(super) async fn row_count(&self, name: &TableReference) -> Result<Option<u64>> {
        let Some(table) = self.table(name).await? else { return Ok(None) };
        self.rows_of(name, &table).await
    }

    /// The same of a table that was looked up just now.
    pub(super) async fn rows_of(&self, name: &TableReference, table: &Table) -> Result<Option<u64>> {
        if !self.access().is_emulator {
            return Ok(table.num_rows);
        }
        let sql = format!("SELECT COUNT(*) AS n FROM {}", quoted(name)?);
        Ok(self.counts("count", "", sql).await?.first().copied())
    }
}

/// The counts in the first row of columns.
pub(super) fn counts_of(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let count = |column: &ArrayRef| u64::try_from(number(column.as_ref(), 0)?).ok();
    let counts = columns.iter().map(count).collect::<Option<Vec<u64>>>();
    counts.ok_or_else(|| Error::bug("count rows").because("the answer is no row of whole numbers"))
}

/// A table's name for statements.
pub(super) fn quoted(name: &TableReference) -> Result<String> {
    Dialect::GoogleSql.quote_path([name.project_id.as_str(), &name.dataset_id, &name.table_id])
}
