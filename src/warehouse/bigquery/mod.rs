//! BigQuery as the target: one load job and one MERGE for each batch.
//!
//! Winners are loaded from their objects in Cloud Storage into a temporary table beside the target, looked at there,
//! and brought in by one statement. The ids of the jobs that write come from the work, so that whoever takes a run up,
//! on whatever machine, finds them.

mod access;
mod answers;
mod audit;
mod client;
mod costs;
mod export;
mod history;
mod in_place;
mod jobs;
mod limits;
mod mend;
mod queries;
mod reduced;
mod retire;
mod statements;
mod table;
mod target;
mod temporary;
mod writes;

pub use access::{Access, Place, SCHEME, TableName};
pub use export::{Export, export, export_into};
pub use in_place::{InPlace, InPlaceBytes};
pub use reduced::{Reduced, Sums};
pub use retire::{AsRead, ReadTable, is_there};
pub use table::{Layout, addition, ddl};

use super::usage::{Estimate, Outline, Usage};
use super::{Audit, Comparison, Finding, History, Journal, Merged, Statements, Verification, Warehouse, days};
use crate::dataset::Dataset;
use crate::engine::exact_sum;
use crate::error::{Doing, Error, Kind, Result};
use crate::landing::LandingOptions;
use crate::sql::merge_bigquery;
use crate::stage::Manifest;
use crate::window::Day;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use client::Client;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use google_cloud_bigquery_v2::model::TableReference;
use jobs::Done;
use queries::counts_of;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// How long a temporary table lives if nobody drops it: longer than any run.
const TEMPORARY_MS: i64 = 3 * 24 * 3600 * 1000;
/// How many days a migration can be proven anew and taken back, where nobody says otherwise.
pub const KEEP_DAYS: u32 = 30;
/// How the names of temporary tables begin.
const TEMPORARY: &str = "tradefold_tmp_";
/// How the names of tables begin that are kept for a while.
const KEPT: &str = "tradefold_kept_";
/// The most partitions that one job may change.
const PARTITIONS_MAX: usize = 4_000;
/// The most objects that one load job may take.
const URIS_MAX: usize = 10_000;
/// The label of a target that names the stage of its runs.
const STAGE: &str = "tradefold_stage";

/// How the target is treated.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it is made where there is none.
    pub layout: Layout,
    /// Whether columns of the contract may be added to a table that lacks them.
    pub allows_field_addition: bool,
    /// The URL of the stage, where the ledger is: the target remembers it, since a second ledger would know nothing of
    /// the first.
    pub stage: String,
    /// Whether the target is only compared with: it is neither made nor mended nor labelled.
    pub only_compares: bool,
    /// How many days what a migration keeps of the target is there: what it was, and what was changed.
    pub keep_days: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            layout: Layout::default(),
            allows_field_addition: false,
            stage: String::new(),
            only_compares: false,
            keep_days: KEEP_DAYS,
        }
    }
}

/// A table of BigQuery as the target.
#[derive(Debug)]
pub struct BigQueryWarehouse {
    dataset: Arc<Dataset>,
    client: Client,
    place: Place,
    /// The table's own name: the dataset's, but for one that is made to take that one's place.
    table: String,
    options: Options,
    /// When the target was made, in milliseconds; 0 until it is known.
    created_ms: AtomicI64,
}

impl BigQueryWarehouse {
    /// Connects to the dataset in `place`; the table is named for the contract and need not exist yet.
    ///
    /// # Errors
    /// Usage, when there is no such dataset; refused, when the credentials do not serve.
    pub async fn connect(
        access: Access,
        dataset: Arc<Dataset>,
        place: Place,
        options: Options,
    ) -> Result<BigQueryWarehouse> {
        let client = Client::connect(access, &place).await?;
        let table = dataset.name.clone();
        Ok(BigQueryWarehouse { dataset, client, place, table, options, created_ms: AtomicI64::new(0) })
    }

    fn reference(&self) -> TableReference {
        self.place.table(&self.table)
    }

    /// The full name of the dataset's table, also where this is the one that is made to take its place.
    fn target_name(&self) -> String {
        format!("{}.{}", self.place, self.dataset.name)
    }
}

#[async_trait]
impl Warehouse for BigQueryWarehouse {
    fn target(&self) -> String {
        format!("{}.{}", self.place, self.table)
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn merges_here(&self) -> bool {
        false
    }

    fn days_per_merge(&self) -> usize {
        PARTITIONS_MAX
    }

    async fn check_target(&self) -> Result<u64> {
        match self.find().await? {
            Some(_) => Ok(self.client.row_count(&self.reference()).await?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    async fn check_batches(&self, batches: &[Manifest]) -> Result<()> {
        let found = self.find().await?;
        self.check_days(found.as_deref(), batches.iter().flat_map(|manifest| manifest.batch.days.keys()))
    }

    async fn in_place(
        &self,
        source: &TableName,
        options: &LandingOptions,
    ) -> Result<std::result::Result<InPlace<'_>, Vec<String>>> {
        self.lands(source, options).await
    }

    async fn size_of(&self, source: &TableName) -> Result<u64> {
        let client = export::connect(self.client.access().clone(), source).await?;
        let (table, _) = export::look(&client, source).await?;
        Ok(in_place::size_bytes(&table))
    }

    async fn load(&self, batch: &Manifest) -> Result<u64> {
        let (target, created_ms) = (self.target(), self.prepare().await?);
        if batch.part.is_some() {
            let staged = self.names(batch).await?.staged;
            let rows = self.client.counts("count", &batch.batch_id, format!("SELECT COUNT(*) AS n FROM {staged}"));
            return Ok(rows.await?.first().copied().unwrap_or(0));
        }
        if let Some(object) = &batch.witnesses {
            let work = self.work(&target, created_ms, &object.digest);
            let loaded = self.load_into(&work, std::slice::from_ref(object)).await?;
            if loaded != object.rows {
                return Err(Error::data("balance a load (R3)")
                    .with("object", &object.url)
                    .because(format!("{} rows were staged, {loaded} were loaded", object.rows)));
            }
        }
        self.load_into(&self.work(&target, created_ms, &batch.batch_id), &batch.objects).await
    }

    async fn compare(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<Comparison> {
        if touched.len() > PARTITIONS_MAX {
            return Err(Error::new(Kind::Refused, "compare a batch with the target")
                .with("batch", &batch.batch_id)
                .because(format!("it touches {} days, and a job may change {PARTITIONS_MAX}", touched.len()))
                .hint("bring fewer days together with --batch-days"));
        }
        let names = self.names(batch).await?;
        let sql = self.statements(&names).counts_at_once(touched, self.has_witnesses(batch))?;
        let wrong = || Error::bug("compare a batch with the target").because("the counts have another number");
        let row = self.client.one_row("compare", &batch.batch_id, sql).await?;
        let (sum, counts) = row.columns().split_last().ok_or_else(wrong)?;
        let [staged, new, newer, older, same, conflict, suspect, redated, repeated, unfolded, witnesses] =
            counts_of(counts)?[..]
        else {
            return Err(wrong());
        };
        let (suspect, new_key_sum) = (suspect + witnesses, Some(exact_sum(sum.as_ref())?));
        Ok(Comparison { staged, new, newer, older, same, conflict, suspect, redated, repeated, unfolded, new_key_sum })
    }

    async fn key_search(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<BTreeSet<Day>> {
        if self.dataset.partition.is_none() {
            return Ok(BTreeSet::new());
        }
        let names = self.names(batch).await?;
        let sql = self.statements(&names).key_search(touched)?;
        let rows = self.client.rows("search", &batch.batch_id, sql).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await.doing("search the target for keys")?;
        days(&rows).map_err(|error| error.with("table", self.target()))
    }

    async fn rows_of(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        finding: Finding,
    ) -> Result<SendableRecordBatchStream> {
        let names = self.names(batch).await?;
        let sql = self.statements(&names).rows_of(touched, finding)?;
        self.client.rows("rows", &batch.batch_id, sql).await
    }

    async fn merge(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        found: &Comparison,
        journal: &mut dyn Journal,
    ) -> Result<Merged> {
        // Its label may name another stage by now.
        self.find().await?;
        let rows_before = self.client.row_count(&self.reference()).await?.unwrap_or(0);
        if found.new == 0 && (found.newer == 0 || self.dataset.immutable) {
            return Ok(Merged { rows_before, rows_after: rows_before, ..Merged::default() });
        }
        let names = self.names(batch).await?;
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let work = self.work(&target, created_ms, &batch.batch_id);
        let sql = merge_bigquery(&self.dataset, &names.target, &names.staged, touched)?;
        self.client.used().named(touched.len());
        self.check_budget(&work, &sql).await?;
        let mut labels = jobs::labels(&self.client, &batch.batch_id, "merge");
        for (name, count) in [
            ("rows_before", rows_before),
            ("staged", found.staged),
            ("new", found.new),
            ("newer", found.newer),
            ("older", found.older),
            ("same", found.same),
            ("conflict", found.conflict),
            ("suspect", found.suspect),
            ("redated", found.redated),
        ] {
            labels.insert(format!("tradefold_{name}"), count.to_string());
        }
        if let Some(sum) = found.new_key_sum {
            labels.insert(writes::NEW_KEY_SUM.into(), sum.to_string());
        }
        let configuration = self.client.query(sql, labels);
        let effect = |done: Done| async move {
            let nothing = Merged::default();
            let verified = self.verify(batch, touched, &nothing).await?;
            Ok((verified == Verification::default()).then_some(done))
        };
        let done = jobs::run(&self.client, &work, "merge", |_| configuration.clone(), Some(journal), effect).await?;
        let rows_after = self.client.row_count(&self.reference()).await?;
        let merged = self.told(&done, batch, touched, Some(rows_after.unwrap_or(0)))?;
        if !done.is_adopted {
            self.check_expected(batch, found, &merged)?;
        }
        Ok(merged)
    }

    async fn audit(&self) -> Result<Audit> {
        self.audited().await
    }

    async fn values(&self, column: &str, equals: Option<(&str, &str)>) -> Result<BTreeMap<String, u64>> {
        self.valued(column, equals).await
    }

    async fn rows_by_day(&self, from: Day) -> Result<BTreeMap<Day, u64>> {
        self.counted_by_day(from).await
    }

    async fn estimate(&self, outline: &Outline<'_>) -> Result<Option<Estimate>> {
        self.estimated(outline).await.map(Some)
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.client.used().usage(self.client.access().price_per_tib))
    }

    async fn settle(&self, job: &str) -> Result<()> {
        jobs::settle(&self.client, job, &self.client.query("SELECT 1".into(), HashMap::new())).await
    }

    /// A MERGE that deletes nothing loses no key: its statement has no DELETE, an update keeps the key that it was
    /// found by, and the counts of rows say so (R4).
    async fn verify(&self, batch: &Manifest, touched: &BTreeSet<Day>, merged: &Merged) -> Result<Verification> {
        let names = self.names(batch).await?;
        let sql = self.statements(&names).verify(touched)?;
        let counts = self.client.counts("verify", &batch.batch_id, sql).await?;
        let [missing, repeated, lower] = counts[..] else {
            return Err(Error::bug("verify a merge").because("the counts have another number"));
        };
        let rows = self.client.row_count(&self.reference()).await?.unwrap_or(0);
        let lost = (merged.rows_before + merged.inserted).saturating_sub(rows);
        Ok(Verification { missing, repeated, lower, lost })
    }

    /// The rows are counted where nobody has changed the table since; else they can't be told any more. Where it has
    /// fewer than the MERGE left, somebody has removed some, and the MERGE tells nothing any more either.
    async fn remembered(&self, batch: &Manifest) -> Result<Option<(Comparison, Merged)>> {
        let Some(table) = self.client.table(&self.reference()).await? else { return Ok(None) };
        let target = self.target();
        let work = self.work(&target, table::made_ms(&table), &batch.batch_id);
        let made = jobs::attempts(&self.client, &work, "merge").await?;
        let Some(done) = made.into_iter().find(|done| jobs::error_of(&done.job).is_none()) else { return Ok(None) };
        let Some(found) = writes::found(&done.job) else { return Ok(None) };
        let ended_ms = done.job.statistics.as_ref().map_or(0, |statistics| statistics.end_time);
        let is_last = u64::try_from(ended_ms).is_ok_and(|ended_ms| table.last_modified_time <= ended_ms);
        let is_last = is_last || self.client.access().is_emulator;
        let rows = self.client.row_count(&self.reference()).await?.unwrap_or(0);
        let merged = self.told(&done, batch, &batch.batch.touched, is_last.then_some(rows))?;
        Ok((is_last || rows >= merged.rows_after).then_some((found, merged)))
    }

    async fn temporary(&self) -> Result<Vec<String>> {
        let labels = self.temporary_labels();
        let mut names = Vec::new();
        for name in self.client.tables(&self.place).await?.into_iter().filter(|name| name.starts_with(TEMPORARY)) {
            // The list may leave labels out.
            let Some(table) = self.client.table(&self.place.table(&name)).await? else { continue };
            if labels.iter().all(|(key, value)| table.labels.get(key) == Some(value)) {
                names.push(name);
            }
        }
        Ok(names)
    }

    async fn temporary_of(&self, batches: &[Manifest]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for batch in batches {
            names.extend(self.temporaries(batch).await?.into_iter().map(|table| table.table_id));
        }
        Ok(names)
    }

    async fn drop_temporary(&self, name: &str) -> Result<()> {
        self.client.drop(&self.place.table(name)).await
    }

    async fn expiring(&self, promised: BTreeMap<String, Day>) -> Result<BTreeMap<String, Option<Day>>> {
        self.kept_tables(promised).await
    }

    async fn unload(&self, batch: &Manifest) -> Result<()> {
        for table in self.temporaries(batch).await? {
            self.client.drop(&table).await?;
        }
        Ok(())
    }
}
