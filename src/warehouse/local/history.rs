//! What the table was, and the way back to it: a Delta table keeps its versions until somebody removes their files.

use super::files::{files_of, is_whole};
use super::{DeltaWarehouse, REMEMBERED};
use crate::dataset::Dataset;
use crate::engine::{DataFile, FilesTable, KEY_HASH};
use crate::error::{Doing, Error, Result};
use crate::sql::{Dialect, Exprs, KEY_NUMBER, MICROS};
use crate::stage::{Manifest, RowFile};
use crate::storage::Folder;
use crate::warehouse::days;
use crate::warehouse::statements::{Statements, target_prefix};
use crate::warehouse::{
    Comparison, Finding, History, Journal, Kept, Merged, Moment, Tables, Undoing, Undone, Warehouse,
};
use crate::window::Day;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

/// The names under which a proof knows its tables. Those of the whole tables, of which each is a part, end in `_all`.
pub(super) const BEFORE: &str = "before_it";
const AFTER: &str = "after_it";
const WINNERS: &str = "winners";
/// What a row of a key takes in a join, about: the texts of its key twice, and a table of hashes.
const ROW_BYTES: u64 = 800;
/// The name of what is undone.
const CHANGES: &str = "changes";
/// Under which a commit carries the batch whose merge it has taken back.
const UNDONE: &str = "undone";

#[async_trait]
impl History for DeltaWarehouse {
    async fn moment(&self) -> Result<Option<Moment>> {
        let Some(version) = self.open().await?.and_then(|table| table.version()) else { return Ok(None) };
        Ok(Some(Moment { version, rows: self.count("target").await? }))
    }

    async fn tables(&self, before: Option<Moment>, batches: &[Manifest]) -> Result<Tables> {
        let mut set_up = prelude();
        match before {
            Some(moment) => {
                self.open_version(&whole(BEFORE), moment.version).await?;
                let mut table = self.handle()?;
                let opened = table.load_version(moment.version).await;
                opened.map_err(|error| self.failed("open a version of a Delta table", error))?;
                set_up.push_str(&self.view(BEFORE, &files_of(&self.folder, &table)?)?);
            }
            None => {
                let empty =
                    MemTable::try_new(self.table_schema(), vec![vec![]]).doing("stand in for a missing table")?;
                self.engine.register(&whole(BEFORE), Arc::new(empty))?;
                set_up.push_str(&self.view(BEFORE, &[])?);
            }
        }
        self.with_after(set_up, before.map_or(0, |moment| moment.rows), batches).await
    }

    async fn under_another_key(
        &self,
        batch: &Manifest,
        other: &Dataset,
        only_keys: bool,
    ) -> Result<SendableRecordBatchStream> {
        self.open().await?;
        self.register_staged(batch)?;
        self.engine.stream(&self.statements().under_another_key(other, only_keys)?).await
    }

    async fn ask(&self, tables: &Tables, sql: &str) -> Result<Vec<RecordBatch>> {
        let exprs = Exprs { dataset: &self.dataset, dialect: tables.dialect };
        let (engine, mut answers) = (self.engine.in_few_parts(), Vec::new());
        for part in 0..tables.parts {
            let of_part = match tables.parts {
                1 => "TRUE".to_string(),
                parts => format!("{KEY_HASH}({}) % {parts} = {part}", exprs.key_text("")?),
            };
            for name in [BEFORE, AFTER, WINNERS] {
                let rows = format!("SELECT * FROM {} WHERE {of_part}", whole(name));
                self.engine.register_view(name, &rows).await?;
            }
            answers.extend(engine.collect(sql).await?);
        }
        Ok(answers)
    }

    async fn needs_mending(&self) -> Result<bool> {
        self.is_to_be_mended().await
    }

    async fn in_the_making(&self, anew: bool) -> Result<Box<dyn Warehouse>> {
        Ok(Box::new(self.table_in_the_making(anew).await?))
    }

    async fn tables_of_mend(&self, batches: &[Manifest]) -> Result<Tables> {
        self.both_of_mend(batches).await
    }

    fn kept_as(&self, until: Day, label: &str) -> String {
        let target = self.target();
        let own = target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // Names that begin so are read by nobody who reads the folder above.
        format!("_{own}.kept-until-{until}-{label}")
    }

    fn swapped_names(&self, kept: &str) -> Result<Vec<(String, String)>> {
        self.placed_as(&Folder::open(kept, &[])?)
    }

    async fn has_kept(&self, kept: &str, version: u64) -> Result<bool> {
        is_whole(&Folder::open(kept, &[])?, version).await
    }

    async fn swap(&self, kept: &str, _until: Day, version: u64, _journal: &mut dyn Journal) -> Result<bool> {
        self.swapped(&Folder::open(kept, &[])?, version).await
    }

    async fn stand_by(&self, kept: &str, is_back: bool) -> Result<()> {
        self.stood_by(&Folder::open(kept, &[])?, is_back).await
    }

    /// As a file. What it does dies with this process, so no job is written down.
    async fn keep_changes(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        kept: &Kept,
        _journal: &mut dyn Journal,
    ) -> Result<u64> {
        let mut file = RowFile::new(&kept.name)?;
        let mut changes = self.rows_of(batch, touched, Finding::Changed).await?;
        while let Some(some) = changes.try_next().await.doing("look up what a merge changes")? {
            file.push(&some)?;
        }
        let rows = file.rows();
        file.finish(&kept.folder).await?;
        Ok(rows)
    }

    async fn has_changes(&self, kept: &Kept) -> Result<bool> {
        Ok(kept.folder.head(&kept.name).await?.is_some())
    }

    async fn undo(&self, batch_id: &str, kept: &Kept, how: Undoing<'_>) -> Result<Undone> {
        let doing = "undo a merge";
        let Some(meta) = kept.folder.head(&kept.name).await? else { return Err(kept.is_gone()) };
        let (url, label) = (kept.folder.url_of(&kept.name), kept.name.clone());
        let changes = DataFile { url, label, size_bytes: meta.size };
        let Some(table) = self.open().await? else {
            return Err(Error::usage(doing)
                .with("table", self.folder.url())
                .because("there is no table")
                .hint("name the warehouse that the rows were brought into"));
        };
        self.engine.register_files(CHANGES, FilesTable::new(&self.changes_schema(), &[changes])?)?;
        let statements = Statements { staged: CHANGES, ..self.statements() };
        let mut touched = days(&self.engine.collect(&statements.days_of_changes(CHANGES)).await?)?;
        if self.dataset.partition.is_some() {
            // Somebody may have moved a row to another day since.
            touched.extend(days(&self.engine.collect(&statements.key_search(&touched)?).await?)?);
        }
        let counts = self.engine.counts(&statements.undo_counts(CHANGES, &touched)?).await?;
        let mut undone = Undone::of(&counts, self.count("target").await?)?;
        let is_dry = matches!(how, Undoing::Dry);
        if is_dry || undone.removed + undone.restored == 0 {
            undone.rows_after -= if is_dry { undone.removed } else { 0 };
            return Ok(undone);
        }
        let sql = statements.undone(CHANGES, &touched)?;
        let remembered = serde_json::json!({ UNDONE: batch_id });
        undone.version = Some(self.commit(Some(table), &sql, &touched, remembered).await?);
        self.open().await?;
        undone.rows_after = self.count("target").await?;
        undone.days_changed = touched;
        undone.check(&self.target())?;
        Ok(undone)
    }
}

impl DeltaWarehouse {
    /// The tables of a proof, of which the one as it was is known and has so many rows.
    pub(super) async fn with_after(&self, mut set_up: String, mut rows: u64, batches: &[Manifest]) -> Result<Tables> {
        let mut files = Vec::new();
        if let Some(table) = self.open().await? {
            files = files_of(&self.folder, &table)?;
            self.register(&whole(AFTER), &table).await?;
            rows = rows.max(self.count("target").await?);
        }
        set_up.push_str(&self.view(AFTER, &files)?);
        let staged: Vec<DataFile> = batches.iter().flat_map(Manifest::files).collect();
        set_up.push_str(&self.view(WINNERS, &staged)?);
        self.engine.register_files(&whole(WINNERS), FilesTable::new(self.dataset.schema(), &staged)?)?;
        let [before, after, winners] = [BEFORE, AFTER, WINNERS].map(str::to_string);
        rows = rows.max(batches.iter().map(|batch| batch.batch.rows).sum());
        let parts = (rows * ROW_BYTES).div_ceil(self.engine.memory_bytes() as u64 / 2).max(1);
        Ok(Tables { before, after, winners, dialect: Dialect::DataFusion, parts, set_up })
    }

    pub(super) async fn remembers(&self, batch: &Manifest) -> Result<Option<(Comparison, Merged)>> {
        let Some(table) = self.open().await? else { return Ok(None) };
        let commits: Vec<_> =
            table.history(None).try_collect().await.map_err(|error| self.failed("read a table's history", error))?;
        for commit in commits {
            // Each line of the history is a commit that stood; the newest of the batch is what counts. What stood
            // before a restore may be undone by it, and what was undone is.
            let remembered = commit.info.get(REMEMBERED);
            let undone = remembered.and_then(|commit| commit.get(UNDONE)).and_then(|id| id.as_str());
            if commit.operation.as_deref() == Some("RESTORE") || undone == Some(&batch.batch_id) {
                break;
            }
            let Some(remembered) = remembered else { continue };
            if remembered.get("batch_id").and_then(|id| id.as_str()) != Some(&batch.batch_id) {
                continue;
            }
            let part = |name: &str| remembered.get(name).cloned().unwrap_or_default();
            let found = serde_json::from_value(part("found")).doing("read what a commit remembers")?;
            let mut merged: Merged = serde_json::from_value(part("merged")).doing("read what a commit remembers")?;
            // The commit carries the rows that were announced before it.
            if let Some(version) = merged.version {
                self.open_version("target_after", version).await?;
                merged.rows_after = self.count("target_after").await?;
                self.engine.forget("target_after")?;
            }
            return Ok(Some((found, merged)));
        }
        Ok(None)
    }

    /// A statement for DuckDB that makes files known by a name.
    pub(super) fn view(&self, name: &str, files: &[DataFile]) -> Result<String> {
        let dialect = Dialect::DataFusion;
        let paths = files.iter().map(|file| {
            let path = url::Url::parse(&file.url).ok().and_then(|url| url.to_file_path().ok());
            dialect.text(&path.map_or_else(|| file.url.clone(), |path| path.display().to_string()))
        });
        let paths = paths.collect::<Vec<_>>().join(",\n  ");
        if files.is_empty() {
            let columns = self.dataset.schema().fields().iter().map(|field| {
                let kind = duckdb_type(field.data_type());
                Ok(format!("CAST(NULL AS {kind}) AS {}", dialect.quote(field.name())?))
            });
            let columns = columns.collect::<Result<Vec<_>>>()?.join(", ");
            return Ok(format!("CREATE VIEW {name} AS SELECT {columns} WHERE FALSE;\n"));
        }
        Ok(format!("CREATE VIEW {name} AS SELECT * FROM read_parquet([\n  {paths}\n], union_by_name = true);\n"))
    }

    /// The columns of a file of changes, as far as they are read.
    fn changes_schema(&self) -> Arc<Schema> {
        let prefix = target_prefix(&self.dataset);
        let mut fields = Vec::new();
        for field in self.dataset.schema().fields() {
            let kind = field.data_type();
            fields.push(Field::new(field.name(), kind.clone(), true));
            fields.push(Field::new(format!("{prefix}{}", field.name()), kind.clone(), true));
        }
        fields.push(Field::new("_found", DataType::Boolean, true));
        fields.push(Field::new("_day_before", DataType::Date32, true));
        fields.push(Field::new("_day_after", DataType::Date32, true));
        Arc::new(Schema::new(fields))
    }
}

/// What DuckDB has to be told before the tables of a proof.
pub(super) fn prelude() -> String {
    let mut set_up = String::from("-- For DuckDB, where the files of these versions still are.\n");
    set_up.push_str("SET TimeZone = 'UTC';\n");
    let digits = "CAST('0x' || substr(digits, 1, 13) AS BIGINT)";
    let _ = writeln!(set_up, "CREATE MACRO {KEY_NUMBER}(digits) AS {digits};");
    let _ = writeln!(set_up, "CREATE MACRO {MICROS}(moment) AS epoch_us(moment);");
    set_up
}

/// How DuckDB calls a type.
pub(super) fn duckdb_type(kind: &DataType) -> &'static str {
    match kind {
        DataType::Int64 => "BIGINT",
        DataType::Float64 => "DOUBLE",
        DataType::Boolean => "BOOLEAN",
        DataType::Date32 => "DATE",
        DataType::Timestamp(..) => "TIMESTAMPTZ",
        _ => "VARCHAR",
    }
}

/// The name of a whole table of a proof.
pub(super) fn whole(name: &str) -> String {
    format!("{name}_all")
}
