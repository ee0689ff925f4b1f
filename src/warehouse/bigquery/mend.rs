//! A table that is made to take the target's place, and the copies by which it does: a snapshot of what the target
//! was, and one job that replaces its rows and columns by those of the other. That is one atomic update and free, so no
//! reader finds the target gone or half of it, and its name keeps its grants; two renames would have to be two
//! statements, and would give the name to a table that nobody was granted anything of.
//! <https://docs.cloud.google.com/bigquery/docs/managing-tables#copy-table>

use super::client::shown;
use super::history::snapshot;
use super::jobs::{self, Done, Work};
use super::queries::quoted;
use super::{BigQueryWarehouse, KEPT, Options, STAGE, TEMPORARY, table};
use crate::error::{Error, Result};
use crate::sql::{Dialect, Exprs};
use crate::stage::Manifest;
use crate::warehouse::{Journal, Moment, Tables, Warehouse};
use crate::window::Day;
use google_cloud_bigquery_v2::model::job_configuration_table_copy::OperationType;
use google_cloud_bigquery_v2::model::{JobConfiguration, JobConfigurationTableCopy, Table, TableReference};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// The step of the job that replaces the target's rows.
const SWAP: &str = "swap";
/// The step of the job that makes a table of a snapshot.
const RESTORE: &str = "restore";

impl BigQueryWarehouse {
    /// The table that is made to take the target's place. It is named and labelled as a temporary one, which it is.
    fn making(&self) -> TableReference {
        let target = blake3::hash(self.target_name().as_bytes()).to_hex()[..32].to_string();
        self.place.table(&format!("{TEMPORARY}making_{target}"))
    }

    /// The target's state: its version is when it was changed last, in milliseconds.
    pub(super) async fn state_of_target(&self) -> Result<Option<Moment>> {
        let name = self.reference();
        let Some(table) = self.client.table(&name).await? else { return Ok(None) };
        let rows = self.client.rows_of(&name, &table).await?.unwrap_or(0);
        Ok(Some(Moment { version: table.last_modified_time, rows }))
    }

    pub(super) async fn is_to_be_mended(&self) -> Result<bool> {
        let Some(found) = self.find_as(true).await? else { return Ok(false) };
        let is_needed =
            !table::misfits(&self.dataset, &found).missing.is_empty() || self.holds_what_must_not_be().await?;
        let others = table::others(&self.dataset, &found);
        if is_needed && !others.is_empty() {
            return Err(Error::usage("mend a table")
                .with("target", self.target())
                .because(format!(
                    "it has columns that the contract has not, and would be without them: `{}`",
                    others.join("`, `")
                ))
                .hint("give a contract that has them with --dataset, or drop them"));
        }
        Ok(is_needed)
    }

    /// Whether it has keys more than once, or as landing would not write them.
    async fn holds_what_must_not_be(&self) -> Result<bool> {
        let exprs = Exprs { dataset: &self.dataset, dialect: Dialect::GoogleSql };
        if let Some(is_unfolded) = exprs.unfolded()? {
            let rows = self.every_day(&quoted(&self.reference())?)?;
            let sql = format!("SELECT COUNT(*) AS n FROM {rows} WHERE {is_unfolded}");
            if self.client.counts("mend", "", sql).await?.first().is_some_and(|rows| *rows > 0) {
                return Ok(true);
            }
        }
        Ok(self.audited().await?.duplicates.total() > 0)
    }

    /// Opens the table in the making, which is laid out as the target is: a copy can't change that.
    pub(super) async fn table_in_the_making(&self, anew: bool) -> Result<BigQueryWarehouse> {
        let making = self.making();
        if anew {
            self.client.drop(&making).await?;
        }
        let Some(target) = self.client.table(&self.reference()).await? else {
            return Err(Error::usage("mend a table").with("target", self.target()).because("it is gone"));
        };
        let like = table::like(&self.dataset, &target).set_labels(self.temporary_labels());
        self.client.create(&making, Box::new(like)).await?;
        Ok(BigQueryWarehouse {
            dataset: Arc::clone(&self.dataset),
            client: self.client.clone(),
            place: self.place.clone(),
            table: making.table_id,
            options: Options { allows_field_addition: false, ..self.options.clone() },
            created_ms: AtomicI64::new(0),
        })
    }

    /// The tables of a mend's proof: the target as landing reads it, and the table in the making.
    pub(super) async fn both_of_mend(&self, batches: &[Manifest]) -> Result<Tables> {
        let (target, making) = (quoted(&self.reference())?, quoted(&self.making())?);
        let Some(found) = self.find_as(true).await? else {
            return Err(Error::usage("prove a mend").with("target", self.target()).because("it is gone"));
        };
        let missing = table::misfits(&self.dataset, &found).missing;
        let exprs = Exprs { dataset: &self.dataset, dialect: Dialect::GoogleSql };
        let columns = self.dataset.columns.iter().map(|own| {
            let column = exprs.column("", &own.name)?;
            Ok(match (missing.contains(&own.name), own.hex) {
                (true, _) => format!("CAST(NULL AS {}) AS {column}", own.kind.googlesql()),
                // As landing folds it.
                (_, true) => format!("LOWER({column}) AS {column}"),
                _ => column,
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?.join(", ");
        // Rows without a key are of none; landing rejects them.
        let before = format!(
            "(SELECT * FROM (SELECT {columns} FROM {target} WHERE {}) AS _r WHERE NOT {})",
            self.any_day(&target)?,
            exprs.without_key("_r")?
        );
        let mut set_up = String::from("-- For BigQuery, in the time zone UTC.\n");
        let none = format!("(SELECT * FROM {making} WHERE {} AND FALSE)", self.any_day(&making)?);
        let winners = self.winners_of(batches, none, &mut set_up).await?;
        let after = self.every_day(&making)?;
        Ok(Tables { before, after, winners, dialect: Dialect::GoogleSql, parts: 1, set_up })
    }

    /// How a table is called, beside the target, that is kept.
    pub(super) fn kept_name(&self, label: &str) -> String {
        let (project, dataset) = (&self.place.project, &self.place.dataset);
        format!("{project}.{dataset}.{KEPT}{}_{label}", self.dataset.name)
    }

    /// The table of such a name.
    pub(super) fn kept_table(&self, kept: &str) -> TableReference {
        self.place.table(kept.rsplit('.').next().unwrap_or(kept))
    }

    /// Where the tables of a mend's statements are once it is in place: as they name them, and as they are called then.
    pub(super) fn placed_as(&self, kept: &TableReference) -> Result<Vec<(String, String)>> {
        let target = quoted(&self.reference())?;
        Ok(vec![(target.clone(), quoted(kept)?), (quoted(&self.making())?, target)])
    }

    /// Puts the rows and columns of the table in the making into the target, of which a snapshot is kept. Goes on where
    /// an earlier try has ended. A job of an earlier try is over, or never will be begun: whoever calls has seen to it.
    pub(super) async fn swapped(
        &self,
        kept: &TableReference,
        until: Day,
        version: u64,
        journal: &mut dyn Journal,
    ) -> Result<bool> {
        let (making, target, own) = (self.making(), self.target(), self.reference());
        // Each swap has a name of its own, whatever a copy does to the time at which the target was made.
        let id = format!("{} {version}", kept.table_id);
        let work = Work { batch_id: &id, target: &target, target_created_ms: 0 };
        let made = jobs::attempts(&self.client, &work, SWAP).await?;
        let done = match made.into_iter().find(|done| jobs::error_of(&done.job).is_none()) {
            Some(done) => done,
            None => {
                let is_there = self.client.table(&making).await?.is_some();
                if !is_there || !self.has_version(version).await? {
                    return Ok(false);
                }
                snapshot(&self.client, &work, own.clone(), kept, until.plus(1).start_us() / 1_000).await?;
                let rows = self.client.row_count(kept).await?;
                if rows != self.client.row_count(&own).await? || !self.has_version(version).await? {
                    return Ok(false);
                }
                let done = self.copied(&work, (SWAP, OperationType::Copy), [&making, &own], Some(journal)).await?;
                self.must_have_as_many([&making, &own]).await?;
                done
            }
        };
        let ended_ms = done.job.statistics.as_ref().map_or(0, |statistics| statistics.end_time);
        let Some(found) = self.client.table(&own).await? else {
            return Err(Error::data("mend a table").with("target", target).because("it is gone"));
        };
        let mut labels = found.labels.clone();
        labels.insert(STAGE.into(), self.stage_label());
        labels.insert(table::MADE.into(), ended_ms.to_string());
        self.client.patch(&own, Box::new(Table::new().set_labels(labels))).await?;
        self.client.drop(&making).await?;
        Ok(true)
    }

    /// Whether the target was changed last at this time, in milliseconds, and nothing is on its way into it.
    async fn has_version(&self, version: u64) -> Result<bool> {
        let found = self.client.table(&self.reference()).await?;
        Ok(found.is_some_and(|table| table.last_modified_time == version && table.streaming_buffer.is_none()))
    }

    /// Makes a table of a snapshot the one in the making; the other way round there is nothing to do but to drop that.
    pub(super) async fn stood_by(&self, kept: &TableReference, is_back: bool) -> Result<()> {
        let making = self.making();
        if is_back {
            return self.client.drop(&making).await;
        }
        let target = self.target();
        let work = Work { batch_id: &kept.table_id, target: &target, target_created_ms: 0 };
        self.copied(&work, (RESTORE, OperationType::Restore), [kept, &making], None).await?;
        self.must_have_as_many([kept, &making]).await?;
        // What expires would hand that on to the target.
        if self.client.table(&making).await?.is_some_and(|table| table.expiration_time.is_some()) {
            let sql = format!("ALTER TABLE {} SET OPTIONS (expiration_timestamp = NULL)", quoted(&making)?);
            self.client.rows("forget", "", sql).await?;
        }
        Ok(())
    }

    /// Replaces the rows and columns of a table, which need not be there, by those of another, in one atomic update.
    async fn copied(
        &self,
        work: &Work<'_>,
        (step, operation): (&str, OperationType),
        [from, into]: [&TableReference; 2],
        journal: Option<&mut dyn Journal>,
    ) -> Result<Done> {
        let mut copy = JobConfigurationTableCopy::new()
            .set_source_table(from.clone())
            .set_destination_table(into.clone())
            .set_operation_type(operation)
            .set_write_disposition("WRITE_TRUNCATE");
        // Else it would be encrypted as the project does it.
        let key = self.client.table(&self.reference()).await?.and_then(|table| table.encryption_configuration);
        copy.destination_encryption_configuration = key;
        let labels = jobs::labels(&self.client, "", step);
        let configuration = Box::new(JobConfiguration::new().set_copy(copy).set_labels(labels));
        let effect = |done: Done| async move {
            Ok((self.client.row_count(into).await? == self.client.row_count(from).await?).then_some(done))
        };
        jobs::run(&self.client, work, step, |_| configuration.clone(), journal, effect).await
    }

    async fn must_have_as_many(&self, [from, into]: [&TableReference; 2]) -> Result<()> {
        let (wanted, found) = (self.client.row_count(from).await?, self.client.row_count(into).await?);
        if wanted == found {
            return Ok(());
        }
        let told = |rows: Option<u64>| rows.map_or("none".to_string(), |rows| rows.to_string());
        Err(Error::data("balance a copy")
            .with("table", shown(into))
            .because(format!("{} has {} rows, and {} were copied", shown(from), told(wanted), told(found)))
            .hint("make sure that nobody else writes to the table, and run the same command again"))
    }
}
