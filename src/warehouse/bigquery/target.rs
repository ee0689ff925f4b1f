//! The care for the target: it is looked up, checked, made where there is none, and counted.

use super::client::shown;
use super::queries::quoted;
use super::{BigQueryWarehouse, STAGE, table};
use crate::error::{Error, Kind, Result};
use crate::warehouse::Warehouse;
use crate::window::Day;
use google_cloud_bigquery_v2::model::Table;
use std::sync::atomic::Ordering;

/// What the label of a table says of the stage, a URL, in which its runs keep their ledger.
pub(super) fn stage_label(stage: &str) -> String {
    blake3::hash(stage.trim_end_matches('/').as_bytes()).to_hex()[..32].to_string()
}

/// The first and the last day that have a partition, 1960-01-01 and 2159-12-31.
/// <https://docs.cloud.google.com/bigquery/docs/partitioned-tables>
pub(super) const PARTITIONS_FROM: Day = Day(-3_653);
pub(super) const PARTITIONS_TO: Day = Day(69_395);

impl BigQueryWarehouse {
    /// The target, checked; `None`: there is none.
    pub(super) async fn find(&self) -> Result<Option<Box<Table>>> {
        self.find_as(self.options.allows_field_addition).await
    }

    /// The same, which may lack columns of the contract or not.
    pub(super) async fn find_as(&self, may_lack: bool) -> Result<Option<Box<Table>>> {
        let Some(table) = self.client.table(&self.reference()).await? else { return Ok(None) };
        let refuse = |why: String, hint: &str| {
            Error::usage("use a table as the target").with("table", self.target()).because(why).hint(hint)
        };
        let mut misfits = table::misfits(&self.dataset, &table);
        if !may_lack {
            misfits.wrong.extend(misfits.missing.iter().map(|name| format!("`{name}` is missing")));
        }
        if !misfits.wrong.is_empty() {
            let hint = match misfits.missing.is_empty() {
                true => "write to a new table, or give a contract that fits with --dataset",
                false => {
                    "write to a new table, give a contract that fits with --dataset, or have missing columns \
                          added with --allow-field-addition"
                }
            };
            return Err(refuse(misfits.wrong.join("; "), hint));
        }
        if let Some(stage) = table.labels.get(STAGE).filter(|stage| **stage != self.stage_label()) {
            return Err(refuse(
                format!("its label `{STAGE}` is {stage}: its runs keep their ledger in another stage"),
                "give the --stage of the earlier runs; if it is lost, remove the label from the table",
            ));
        }
        if table.streaming_buffer.as_ref().is_some_and(|buffer| buffer.estimated_rows > 0) {
            return Err(Error::new(Kind::Busy, "use a table as the target")
                .with("table", self.target())
                .because("rows that were streamed into it are still in its streaming buffer, where no MERGE sees them")
                .hint(
                    "stop what streams into it, wait until the buffer is empty (up to 90 minutes), then run it again",
                ));
        }
        Ok(Some(table))
    }

    /// A label can't hold a URL, so it holds its digest.
    pub(super) fn stage_label(&self) -> String {
        stage_label(&self.options.stage)
    }

    /// The target, made or mended where it has to be. Says when it was made.
    pub(super) async fn prepare(&self) -> Result<i64> {
        let made_ms = table::made_ms(&*self.prepared().await?);
        self.created_ms.store(made_ms, Ordering::Relaxed);
        Ok(made_ms)
    }

    /// Checks that rows of these days can be found by statements that name days, in the target as it is or as it would
    /// be made.
    ///
    /// # Errors
    /// Data, with the first day for which there is no partition.
    pub(super) fn check_days<'a>(&self, found: Option<&Table>, mut days: impl Iterator<Item = &'a Day>) -> Result<()> {
        let is_partitioned = match found {
            Some(table) => table.time_partitioning.is_some(),
            None => self.dataset.partition.is_some() && !self.options.layout.is_unpartitioned,
        };
        let has_partition = |day: &&Day| (PARTITIONS_FROM..=PARTITIONS_TO).contains(*day);
        let Some(day) = days.find(|day| is_partitioned && !has_partition(day)) else { return Ok(()) };
        Err(Error::data("write rows of a day")
            .with("table", self.target())
            .because(format!(
                "there are rows of {day}, and BigQuery has no partition of a day before {PARTITIONS_FROM} or after \
                 {PARTITIONS_TO}: no statement that names days would find them again"
            ))
            .hint(
                "reject such rows by bounds in the contract, leave them out with --from and --to, or write to a table \
                 without partitions (--unpartitioned)",
            ))
    }

    /// Checks that a table has all columns of the contract, for who reads them and adds none.
    ///
    /// # Errors
    /// Usage, with the columns that it lacks.
    pub(super) fn check_columns(&self, table: &Table) -> Result<()> {
        let missing = table::misfits(&self.dataset, table).missing;
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::usage("read a table")
            .with("table", self.target())
            .because(format!("it lacks {} of the contract", missing.join(", ")))
            .hint("a backfill with --allow-field-addition adds them"))
    }

    async fn prepared(&self) -> Result<Box<Table>> {
        let name = self.reference();
        let Some(found) = self.find().await? else {
            let wanted = table::target(&self.dataset, self.options.layout).set_labels([(STAGE, self.stage_label())]);
            self.client.create(&name, Box::new(wanted)).await?;
            // It has what the dataset says of its tables, and may have been made by somebody else.
            return self.find().await?.ok_or_else(|| Error::bug("make a table").with("table", shown(&name)));
        };
        if self.options.only_compares {
            self.check_columns(&found)?;
            return Ok(found);
        }
        let missing = table::misfits(&self.dataset, &found).missing;
        if !missing.is_empty() {
            let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
            let sql = table::addition(&quoted(&name)?, &self.dataset, &missing)?;
            self.client.rows("add", "", sql).await?;
        }
        if found.labels.contains_key(STAGE) {
            return Ok(found);
        }
        let mut labels = found.labels.clone();
        labels.insert(STAGE.into(), self.stage_label());
        self.client.patch(&name, Box::new(Table::new().set_labels(labels))).await?;
        // A run with another stage may have had the same thought.
        let changed = self.find().await?;
        changed.ok_or_else(|| Error::usage("change a table").with("table", shown(&name)).because("it is gone"))
    }

    /// When the target was made; 0 where there is none. It is looked up once: jobs of one run go into one table.
    pub(super) async fn created_ms(&self) -> Result<i64> {
        match self.created_ms.load(Ordering::Relaxed) {
            0 => {
                let found = self.client.table(&self.reference()).await?.map_or(0, |table| table::made_ms(&table));
                self.created_ms.store(found, Ordering::Relaxed);
                Ok(found)
            }
            known => Ok(known),
        }
    }
}
