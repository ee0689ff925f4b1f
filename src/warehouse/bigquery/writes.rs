//! The two jobs of a batch that write: the load into a table of its own, and the MERGE.

use super::client::shown;
use super::jobs::{self, Done, Work};
use super::{BigQueryWarehouse, TEMPORARY_MS, URIS_MAX, table};
use crate::error::{Error, Kind, Result};
use crate::stage::{Manifest, StagedObject};
use crate::warehouse::{Comparison, Merged};
use crate::window::Day;
use google_cloud_bigquery_v2::model::{Job, JobConfiguration, JobConfigurationLoad, Table, TableReference};
use std::collections::BTreeSet;

/// A table that is made for rows and expires.
pub(super) struct Made {
    pub(super) name: TableReference,
    /// Its columns, and how it is laid out.
    pub(super) table: Table,
    /// When it ends, in milliseconds since 1970-01-01 UTC.
    pub(super) ends_ms: i64,
    pub(super) labels: Vec<(String, String)>,
}

/// The label of a MERGE that has the sum of the numbers of the keys which it inserts.
pub(super) const NEW_KEY_SUM: &str = "tradefold_new_key_sum";

impl BigQueryWarehouse {
    /// Loads objects into a temporary table of their own. Gives the rows that it then has.
    pub(super) async fn load_into(&self, work: &Work<'_>, objects: &[StagedObject]) -> Result<u64> {
        let into = self.short_lived(self.temporary_table(work), table::bare(&self.dataset));
        let (loaded, is_adopted) = self.load_objects(work, &into, objects).await?;
        if !is_adopted {
            self.client.used().staged(objects.iter().map(|object| object.size_bytes).sum());
        }
        Ok(loaded)
    }

    /// Loads objects into a table that is made for them. Gives the rows that it then has, and whether an earlier job
    /// has done so.
    pub(super) async fn load_objects(
        &self,
        work: &Work<'_>,
        into: &Made,
        objects: &[StagedObject],
    ) -> Result<(u64, bool)> {
        if objects.len() > URIS_MAX {
            return Err(Error::new(Kind::Refused, "load a batch")
                .with("batch", work.batch_id)
                .because(format!("it has {} objects, and a load job takes {URIS_MAX}", objects.len()))
                .hint("bring fewer days together with --batch-days"));
        }
        let name = &into.name;
        let rows: u64 = objects.iter().map(|object| object.rows).sum();
        let load = JobConfigurationLoad::new()
            .set_source_uris(objects.iter().map(|object| object.url.clone()))
            .set_source_format("PARQUET")
            .set_schema(table::schema(&self.dataset))
            .set_destination_table(name.clone())
            .set_create_disposition("CREATE_NEVER")
            .set_write_disposition("WRITE_TRUNCATE");
        let labels = jobs::labels(&self.client, work.batch_id, "load");
        let configuration = Box::new(JobConfiguration::new().set_load(load).set_labels(labels));
        // The table is made anew by each run, and a job that filled another one of its name is none of its own.
        let step = format!("load{}", self.make(into).await?);
        let effect = |done: Done| async move {
            Ok(self.client.row_count(name).await?.filter(|found| *found == rows).map(|_| done))
        };
        let Done { job, is_adopted, .. } =
            jobs::run(&self.client, work, &step, |_| configuration.clone(), None, effect).await?;
        // Whether a load keeps the time that a table ends at is not documented.
        self.keep_longer(name, into.ends_ms).await?;
        // The job's own count is the evidence; an emulator may not give it.
        let said = job.statistics.and_then(|statistics| statistics.load?.output_rows);
        let loaded = match said {
            Some(loaded) => u64::try_from(loaded).ok(),
            None if self.client.access().is_emulator => self.client.row_count(name).await?,
            None => None,
        };
        loaded.map(|loaded| (loaded, is_adopted)).ok_or_else(|| {
            Error::data("balance a load (R3)")
                .with("batch", work.batch_id)
                .because("the load job does not say how many rows it has loaded")
        })
    }

    /// Makes a temporary table as `table` says, or gives the one that is there more time. Says when it was made, in
    /// milliseconds.
    pub(super) async fn make_temporary(&self, name: &TableReference, table: Table) -> Result<i64> {
        self.make(&self.short_lived(name.clone(), table)).await
    }

    /// A temporary table of this target.
    fn short_lived(&self, name: TableReference, table: Table) -> Made {
        let ends_ms = (self.client.access().now_us)() / 1000 + TEMPORARY_MS;
        Made { name, table, ends_ms, labels: self.temporary_labels().into() }
    }

    /// Makes a table, or gives the one that is there more time. Says when it was made, in milliseconds.
    async fn make(&self, made: &Made) -> Result<i64> {
        let table = made.table.clone().set_expiration_time(made.ends_ms).set_labels(made.labels.clone());
        if let Some(made) = self.client.create(&made.name, Box::new(table)).await? {
            return Ok(made.creation_time);
        }
        self.keep_longer(&made.name, made.ends_ms).await
    }

    /// Gives a table time until then, if it ends earlier. Says when it was made, in milliseconds.
    pub(super) async fn keep_longer(&self, name: &TableReference, ends_ms: i64) -> Result<i64> {
        let found = match self.client.table(name).await? {
            Some(table) if table.expiration_time.is_none_or(|known_ms| known_ms < ends_ms) => {
                let longer = Table::new().set_expiration_time(ends_ms);
                self.client.patch(name, Box::new(longer)).await?
            }
            found => found,
        };
        found.map(|table| table.creation_time).ok_or_else(|| {
            Error::new(Kind::Busy, "keep a table for longer")
                .with("table", shown(name))
                .because("it was there, and was dropped a moment later")
                .hint("wait until the other run is done, then run the same command again")
        })
    }

    /// What a MERGE did, as its job tells.
    pub(super) fn told(
        &self,
        done: &Done,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        rows_after: Option<u64>,
    ) -> Result<Merged> {
        let doing = "read what a MERGE did";
        let labels = done.job.configuration.as_ref().map(|configuration| &configuration.labels);
        let rows_before = labels.and_then(|labels| labels.get("tradefold_rows_before")?.parse().ok());
        let Some(rows_before) = rows_before else {
            return Err(Error::bug(doing).with("batch", &batch.batch_id).because("the job has lost its labels"));
        };
        let query = done.job.statistics.as_ref().and_then(|statistics| statistics.query.as_ref());
        let stats = query.and_then(|query| query.dml_stats.as_ref());
        let count = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
        let (inserted, updated) = match (stats, query.and_then(|query| query.num_dml_affected_rows)) {
            (Some(stats), _) => (count(stats.inserted_row_count), count(stats.updated_row_count)),
            (None, Some(affected)) if self.client.access().is_emulator => {
                let inserted = rows_after.unwrap_or(0).saturating_sub(rows_before);
                (inserted, count(Some(affected)).saturating_sub(inserted))
            }
            _ => {
                return Err(Error::data(doing)
                    .with("batch", &batch.batch_id)
                    .because("the job does not say what it inserted and updated (dmlStats)")
                    .hint("an emulator has to be named as one: see --emulator"));
            }
        };
        let days_changed = if inserted + updated == 0 { BTreeSet::new() } else { touched.clone() };
        let rows_after = rows_after.unwrap_or(rows_before + inserted);
        // Its time tells it from all before it, of an earlier table of this name too.
        let version = done.job.statistics.as_ref().and_then(|statistics| u64::try_from(statistics.end_time).ok());
        let (version, job) = (Some(version.unwrap_or(0)), Some(jobs::report(&done.job)));
        let inserted_key_sum = labels.and_then(|labels| labels.get(NEW_KEY_SUM).cloned());
        Ok(Merged { inserted, inserted_key_sum, updated, rows_before, rows_after, days_changed, version, job })
    }

    /// Checks that a MERGE which was begun just now did what the comparison before it had found.
    ///
    /// # Errors
    /// Data, when it did not: somebody else has changed the target in between, or equal means something else there.
    pub(super) fn check_expected(&self, batch: &Manifest, found: &Comparison, merged: &Merged) -> Result<()> {
        let updates = if self.dataset.immutable { 0 } else { found.newer };
        if (merged.inserted, merged.updated) == (found.new, updates) {
            return Ok(());
        }
        Err(Error::data("balance a merge (R4)")
            .with("batch", &batch.batch_id)
            .because(format!(
                "{} winners were to be inserted and {updates} to update rows; {} and {} did",
                found.new, merged.inserted, merged.updated
            ))
            .hint("make sure that nobody else writes to the table, and look at the rows of these days"))
    }
}

/// Of a job's labels, what a comparison had found.
pub(super) fn found(job: &Job) -> Option<Comparison> {
    let labels = &job.configuration.as_ref()?.labels;
    let count = |name: &str| labels.get(&format!("tradefold_{name}"))?.parse().ok();
    Some(Comparison {
        staged: count("staged")?,
        new: count("new")?,
        newer: count("newer")?,
        older: count("older")?,
        same: count("same")?,
        conflict: count("conflict")?,
        suspect: count("suspect")?,
        redated: count("redated")?,
        new_key_sum: labels.get(NEW_KEY_SUM).and_then(|sum| sum.parse().ok()),
        ..Comparison::default()
    })
}
