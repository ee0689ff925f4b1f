//! The embedded warehouse: a Delta Lake table on the local disk, partitioned by the day of the partition column.
//!
//! A merge joins the touched days with the staged winners in one query and overwrites only the days that change, in one
//! commit at an expected version. The commit carries what it did, so a run that died after it finds out.

mod audit;
mod files;
mod history;
mod mend;
mod recorded;
mod statements;

pub use files::{TableFiles, is_table, table_files};
pub use statements::DAY;

use super::statements::Statements;
use super::{Audit, Comparison, Finding, History, Journal, Merged, Verification, Warehouse, days};
use crate::dataset::{Dataset, is_text};
use crate::engine::{Engine, FilesTable, exact_sum, number};
use crate::error::{Doing, Error, Kind, Result};
use crate::stage::{Manifest, StagedObject};
use crate::storage::Folder;
use crate::window::Day;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{col, lit};
use datafusion::scalar::ScalarValue;
use deltalake::delta_datafusion::planner::DeltaPlanner;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use object_store::ObjectStore;
use recorded::Recorded;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The name under which a commit carries what a merge did.
const REMEMBERED: &str = "tradefold";

/// A Delta Lake table as the target.
#[derive(Debug)]
pub struct DeltaWarehouse {
    engine: Engine,
    dataset: Arc<Dataset>,
    folder: Folder,
    /// The folder's store, as delta-rs writes through it.
    recorded: Arc<Recorded>,
}

impl DeltaWarehouse {
    /// The table in `folder`, which need not exist yet.
    pub fn new(engine: Engine, dataset: Arc<Dataset>, folder: Folder) -> DeltaWarehouse {
        let recorded = Arc::new(Recorded::new(Arc::clone(folder.store())));
        DeltaWarehouse { engine, dataset, folder, recorded }
    }

    /// Opens the table, or nothing where there is none, and makes it known to the engine as `target`.
    async fn open(&self) -> Result<Option<DeltaTable>> {
        if !is_table(&self.folder).await? {
            self.must_not_be_swapped().await?;
        }
        // A swap may have ended between the two looks.
        if !is_table(&self.folder).await? {
            let empty = MemTable::try_new(self.table_schema(), vec![vec![]]).doing("stand in for a missing table")?;
            self.engine.register("target", Arc::new(empty))?;
            return Ok(None);
        }
        let mut table = self.handle()?;
        table.load().await.map_err(|error| self.failed("open a Delta table", error))?;
        self.register("target", &table).await?;
        Ok(Some(table))
    }

    /// Makes the table as it was at a version known to the engine by a name.
    async fn open_version(&self, name: &str, version: u64) -> Result<()> {
        let mut table = self.handle()?;
        let opened = table.load_version(version).await;
        opened.map_err(|error| self.failed("open a version of a Delta table", error).with("version", version))?;
        self.register(name, &table).await
    }

    async fn register(&self, name: &str, table: &DeltaTable) -> Result<()> {
        let provider = table.table_provider().await.doing("read a Delta table")?;
        table.update_datafusion_session(&self.engine.context().state()).doing("read a Delta table")?;
        self.engine.register(name, provider)
    }

    /// The table before anything of it was read; it may not be there.
    fn handle(&self) -> Result<DeltaTable> {
        DeltaTableBuilder::from_url(self.folder.url().clone())
            .doing("open a Delta table")?
            .with_storage_backend(Arc::clone(&self.recorded) as Arc<dyn ObjectStore>, self.folder.url().clone())
            .build()
            .doing("open a Delta table")
    }

    fn register_staged(&self, batch: &Manifest) -> Result<()> {
        let witnesses: Vec<_> = batch.witnesses.iter().map(StagedObject::file).collect();
        self.engine.register_files("witnesses", FilesTable::new(self.dataset.schema(), &witnesses)?)?;
        self.engine.register_files("staged", FilesTable::new(self.dataset.schema(), &batch.files())?)
    }

    /// The contract's columns, and the day where the table is partitioned.
    fn table_schema(&self) -> Arc<Schema> {
        let mut fields = self.dataset.schema().fields().to_vec();
        if self.dataset.partition.is_some() {
            fields.push(Arc::new(Field::new(DAY, DataType::Date32, true)));
        }
        Arc::new(Schema::new(fields))
    }

    fn statements(&self) -> Statements<'_> {
        Statements::local(&self.dataset)
    }

    async fn count(&self, table: &str) -> Result<u64> {
        self.engine.count(&format!("SELECT COUNT(*) FROM {table}")).await
    }

    /// How many keys a merge took out of the target: those of the version before it that its own has not.
    async fn lost(&self, merged: &Merged) -> Result<u64> {
        let Some(version) = merged.version else { return Ok(0) };
        let Some(before) = version.checked_sub(1) else { return Ok(0) };
        self.open_version("target_before", before).await?;
        self.open_version("target_after", version).await?;
        let lost =
            self.engine.count(&self.statements().lost("target_before", "target_after", &merged.days_changed)?).await?;
        self.engine.forget("target_before")?;
        self.engine.forget("target_after")?;
        Ok(lost)
    }

    fn failed(&self, doing: &str, error: DeltaTableError) -> Error {
        failed(&self.folder, doing, error)
    }

    /// Writes the changed days in one commit, as a query has them, or the first rows of a new table.
    async fn commit(
        &self,
        table: Option<DeltaTable>,
        sql: &str,
        changed: &BTreeSet<Day>,
        remembered: serde_json::Value,
    ) -> Result<u64> {
        let plan = self.engine.frame(sql).await?.logical_plan().clone();
        let session = SessionStateBuilder::new_from_existing(self.engine.context().state())
            .with_query_planner(DeltaPlanner::new())
            .build();
        // No retry: a commit at another version than the one that was read would undo another writer's work.
        let properties =
            CommitProperties::default().with_max_retries(0).with_metadata([(REMEMBERED.to_string(), remembered)]);
        let fresh = table.is_none();
        let table = match table {
            Some(table) => table,
            None => {
                // A Delta table on the local disk wants its folder to be there.
                if let Some(path) = self.folder.local_path() {
                    std::fs::create_dir_all(path).doing("make the table's folder")?;
                }
                self.handle()?
            }
        };
        let mut write = table
            .write(Vec::<RecordBatch>::new())
            .with_input_plan(plan)
            .with_session_state(Arc::new(session))
            .with_commit_properties(properties)
            .with_save_mode(if fresh { SaveMode::ErrorIfExists } else { SaveMode::Overwrite });
        if self.dataset.partition.is_some() {
            write = write.with_partition_columns([DAY]);
            if !fresh {
                let days = changed.iter().map(|day| lit(ScalarValue::Date32(Some(day.0)))).collect();
                write = write.with_replace_where(col(DAY).in_list(days, false));
            }
        }
        self.recorded.take();
        let table = match write.await {
            Ok(table) => table,
            Err(error) => {
                self.take_back().await;
                return Err(self.failed("merge a batch into a Delta table", error));
            }
        };
        table.version().ok_or_else(|| Error::bug("merge a batch").because("the table has no version after a commit"))
    }
}

#[async_trait]
impl Warehouse for DeltaWarehouse {
    fn target(&self) -> String {
        self.folder.url().to_string()
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn merges_here(&self) -> bool {
        true
    }

    async fn check_target(&self) -> Result<u64> {
        if self.open().await?.is_none() {
            return Ok(0);
        }
        let provider = self.engine.context().table_provider("target").await.doing("read a Delta table's schema")?;
        let found = provider.schema();
        let wanted = self.table_schema();
        let mut wrong = Vec::new();
        for field in wanted.fields() {
            match found.field_with_name(field.name()) {
                Ok(other) if same_type(other.data_type(), field.data_type()) => {}
                Ok(other) => {
                    wrong.push(format!(
                        "`{}` is {} and should be {}",
                        field.name(),
                        other.data_type(),
                        field.data_type()
                    ));
                }
                Err(_) => wrong.push(format!("`{}` is missing", field.name())),
            }
        }
        for field in found.fields().iter().filter(|field| wanted.field_with_name(field.name()).is_err()) {
            wrong.push(format!("`{}` is not in the contract, so a merge would lose it", field.name()));
        }
        if !wrong.is_empty() {
            return Err(Error::usage("use a table as the target")
                .with("table", self.folder.url())
                .because(wrong.join("; "))
                .hint("write to a new table, or give a contract that fits with --dataset"));
        }
        self.count("target").await
    }

    async fn load(&self, batch: &Manifest) -> Result<u64> {
        self.register_staged(batch)?;
        self.count("staged").await
    }

    async fn compare(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<Comparison> {
        self.open().await?;
        self.register_staged(batch)?;
        let statements = self.statements();
        let counts = self.engine.counts(&statements.compare(touched)?).await?;
        let [staged, new, newer, older, same, conflict, suspect, redated] = counts[..] else {
            return Err(Error::bug("compare a batch with the target").because("the counts have another number"));
        };
        let suspect = match batch.witnesses {
            Some(_) => suspect + self.engine.count(&statements.suspect_witnesses(touched)?).await?,
            None => suspect,
        };
        let repeated = format!("SELECT COUNT(*) FROM ({}) AS _r", statements.repeated(touched)?);
        let repeated = self.engine.count(&repeated).await?;
        let unfolded = match statements.unfolded(touched)? {
            Some(sql) => {
                let sql = format!("SELECT COUNT(*) FROM ({sql}) AS _u");
                self.engine.count(&sql).await?
            }
            None => 0,
        };
        let new_key_sum = None;
        Ok(Comparison { staged, new, newer, older, same, conflict, suspect, redated, repeated, unfolded, new_key_sum })
    }

    async fn key_search(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<BTreeSet<Day>> {
        if self.dataset.partition.is_none() || self.open().await?.is_none() {
            return Ok(BTreeSet::new());
        }
        self.register_staged(batch)?;
        let batches = self.engine.collect(&self.statements().key_search(touched)?).await?;
        days(&batches).map_err(|error| error.with("table", self.folder.url()))
    }

    async fn rows_of(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        finding: Finding,
    ) -> Result<SendableRecordBatchStream> {
        self.open().await?;
        self.register_staged(batch)?;
        self.engine.stream(&self.statements().rows_of(touched, finding)?).await
    }

    /// A merge is done by this process and dies with it, so no job is written down.
    async fn merge(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        found: &Comparison,
        _journal: &mut dyn Journal,
    ) -> Result<Merged> {
        let table = self.open().await?;
        self.register_staged(batch)?;
        let rows_before = self.count("target").await?;
        let mut merged = Merged { rows_before, rows_after: rows_before, ..Merged::default() };
        let mut key_sum = 0;
        for changes in self.engine.collect(&self.statements().changes(touched)?).await? {
            key_sum += exact_sum(changes.column(4).as_ref())?;
            let value = |column: usize, row| number(changes.column(column).as_ref(), row);
            for row in 0..changes.num_rows() {
                let rows = value(3, row).unwrap_or(0) as u64;
                match value(0, row) {
                    Some(1) => merged.updated += rows,
                    _ => merged.inserted += rows,
                }
                merged.days_changed.extend([value(1, row), value(2, row)].into_iter().flatten().map(|d| Day(d as i32)));
            }
        }
        if merged.inserted + merged.updated == 0 {
            return Ok(merged);
        }
        merged.rows_after += merged.inserted;
        merged.inserted_key_sum = Some(key_sum.to_string());
        merged.version = Some(match table.as_ref().and_then(DeltaTable::version) {
            Some(version) => version + 1,
            None => 0,
        });
        let remembered = serde_json::json!({ "batch_id": batch.batch_id, "found": found, "merged": merged });
        let sql = self.statements().merged(touched, &merged.days_changed)?;
        let version = self.commit(table, &sql, &merged.days_changed, remembered).await?;
        if merged.version != Some(version) {
            return Err(Error::bug("merge a batch").with("version", version).because("the commit has another version"));
        }
        // What was announced is one thing, what is there another.
        self.open().await?;
        merged.rows_after = self.count("target").await?;
        Ok(merged)
    }

    async fn verify(&self, batch: &Manifest, touched: &BTreeSet<Day>, merged: &Merged) -> Result<Verification> {
        self.open().await?;
        self.register_staged(batch)?;
        let counts = self.engine.counts(&self.statements().verify(touched)?).await?;
        let [missing, repeated, lower] = counts[..] else {
            return Err(Error::bug("verify a merge").because("the counts have another number"));
        };
        Ok(Verification { missing, repeated, lower, lost: self.lost(merged).await? })
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

    async fn remembered(&self, batch: &Manifest) -> Result<Option<(Comparison, Merged)>> {
        self.remembers(batch).await
    }

    async fn unload(&self, _batch: &Manifest) -> Result<()> {
        self.engine.forget("staged")
    }
}

/// Text is text, however Arrow keeps it.
fn same_type(a: &DataType, b: &DataType) -> bool {
    a == b || (is_text(a) && is_text(b))
}

/// What an error of delta-rs means for the table in a folder.
fn failed(folder: &Folder, doing: &str, error: DeltaTableError) -> Error {
    let text = error.to_string();
    if matches!(error, DeltaTableError::Transaction { .. }) || text.contains("commit attempts") {
        return Error::new(Kind::Busy, doing)
            .with("table", folder.url())
            .because(error)
            .hint("another writer has changed the table meanwhile: run the same command again");
    }
    let error = Err::<(), _>(error).doing(doing).err().unwrap_or_else(|| Error::bug(doing));
    error.with("table", folder.url()).in_folder(folder.url().path())
}
