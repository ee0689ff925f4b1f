//! The embedded warehouse on a stand: the whole suite runs against it.

use super::{EDGE_S, Stand, ascending, bystanders, contract, engine, fill, fills, lines};
use async_trait::async_trait;
use deltalake::DeltaTable;
use deltalake::kernel::transaction::CommitProperties;
use futures::TryStreamExt;
use object_store::ObjectStore;
use serde_json::Value;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::engine::{Engine, EngineOptions};
use tradefold::landing::{LandingOptions, land};
use tradefold::progress::Silent;
use tradefold::source::discover;
use tradefold::storage::Folder;
use tradefold::warehouse::Warehouse;
use tradefold::warehouse::local::DeltaWarehouse;

/// A lake in a temporary folder.
pub struct LocalStand {
    pub folder: tempfile::TempDir,
    pub lake: Folder,
    dataset: Arc<Dataset>,
    engine: Engine,
    warehouse: DeltaWarehouse,
    bystanders: Vec<String>,
}

impl LocalStand {
    pub fn new() -> LocalStand {
        LocalStand::of(fills())
    }

    pub fn of(dataset: Arc<Dataset>) -> LocalStand {
        LocalStand::over(dataset, tempfile::tempdir().unwrap(), |store| store)
    }

    /// A lake whose table has rows that no test names, on the days that tests write.
    pub async fn crowded(dataset: Arc<Dataset>) -> LocalStand {
        let mut stand = LocalStand::of(dataset);
        let rows = bystanders();
        stand.plant(&rows).await;
        stand.bystanders = stand.table().await;
        assert_eq!(stand.bystanders.len(), rows.len());
        stand
    }

    /// A lake in a folder that may hold one already, over a store that may fail.
    pub fn over(
        dataset: Arc<Dataset>,
        folder: tempfile::TempDir,
        wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
    ) -> LocalStand {
        let real = Folder::open(&folder.path().join("lake").to_string_lossy(), &[]).unwrap();
        let lake = Folder::of_store(wrap(Arc::clone(real.store())), real.url().clone(), real.path(""));
        let engine = engine();
        let warehouse = DeltaWarehouse::new(engine.clone(), Arc::clone(&dataset), lake.join(&dataset.name));
        LocalStand { folder, lake, dataset, engine, warehouse, bystanders: Vec::new() }
    }

    /// The same with an engine of so many threads.
    pub fn with_threads(self, threads: usize) -> LocalStand {
        let options = EngineOptions { memory_bytes: 1 << 30, threads, exact_keys: false };
        let engine = Engine::new(options).unwrap();
        let folder = self.lake.join(&self.dataset.name);
        let warehouse = DeltaWarehouse::new(engine.clone(), Arc::clone(&self.dataset), folder);
        LocalStand { engine, warehouse, ..self }
    }

    async fn delta(&self) -> Option<DeltaTable> {
        let path = self.folder.path().join("lake").join(&self.dataset.name);
        if !path.join("_delta_log").exists() {
            return None;
        }
        Some(deltalake::open_table(url::Url::from_directory_path(path).unwrap()).await.unwrap())
    }
}

#[async_trait]
impl Stand for LocalStand {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn warehouse(&self) -> &dyn Warehouse {
        &self.warehouse
    }

    fn home(&self) -> Folder {
        self.lake.join("_tradefold").join(&self.dataset.name)
    }

    fn work(&self) -> Folder {
        self.home()
    }

    fn bystanders(&self) -> u64 {
        self.bystanders.len() as u64
    }

    async fn table(&self) -> Vec<String> {
        let Some(table) = self.delta().await else { return Vec::new() };
        let context = engine();
        context.context().register_table("t", table.table_provider().await.unwrap()).unwrap();
        let columns = self.dataset.compared().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let mut rows = Vec::new();
        for batch in context.collect(&format!("SELECT {columns} FROM t")).await.unwrap() {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
            rows.extend(String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_string));
        }
        rows.sort();
        let (bystanders, rows) = rows.into_iter().partition::<Vec<_>, _>(|row| self.bystanders.contains(row));
        assert_eq!(bystanders, self.bystanders, "nobody has named these rows");
        rows
    }

    async fn plant(&self, rows: &[Value]) {
        let text = lines(&self.dataset, rows);
        let path = self.folder.path().join("planted.ndjson");
        std::fs::write(&path, text).unwrap();
        let inputs = discover(&[path.to_string_lossy().into_owned()], &[]).await.unwrap();
        let into = Folder::open(&self.folder.path().join("planted").to_string_lossy(), &[]).unwrap();
        let landed = land(&self.dataset, &inputs, &into, &LandingOptions::new(super::NOW_US), &Silent).await.unwrap();
        let files: Vec<_> = tradefold::run::landed_files(&landed);
        let engine = engine();
        let table = tradefold::engine::FilesTable::new(self.dataset.schema(), &files).unwrap();
        engine.register_files("p", table).unwrap();
        let columns = self.dataset.column_names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let day = self.dataset.partition.as_deref().map(|name| format!(", CAST(\"{name}\" AS DATE) AS _day"));
        let sql = format!("SELECT {columns}{} FROM p", day.clone().unwrap_or_default());
        let batches = engine.collect(&sql).await.unwrap();
        let path = self.folder.path().join("lake").join(&self.dataset.name);
        std::fs::create_dir_all(&path).unwrap();
        let url = url::Url::from_directory_path(path).unwrap();
        let table = DeltaTable::try_from_url(url).await.unwrap();
        table.write(batches).with_partition_columns(day.map(|_| "_day")).await.unwrap();
    }

    async fn roll_back(&self) {
        let table = self.delta().await.unwrap();
        let version = table.version().unwrap() - 1;
        table
            .restore()
            .with_version_to_restore(version)
            .with_commit_properties(CommitProperties::default())
            .await
            .unwrap();
    }

    async fn changes(&self) -> u64 {
        match self.delta().await {
            Some(table) => table.history(None).try_collect::<Vec<_>>().await.unwrap().len() as u64,
            None => 0,
        }
    }
}

/// Runs each function of the suite on fresh stands, one for each contract.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod descending_by_day {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                contract::$name(&LocalStand::crowded(fills()).await).await;
            })*
        }

        mod ascending_in_one_part {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                contract::$name(&LocalStand::crowded(ascending()).await).await;
            })*
        }
    };
}

promises!(suite);

#[tokio::test]
async fn what_a_merge_did_is_remembered() {
    contract::what_a_merge_did_is_remembered(&LocalStand::crowded(fills()).await).await;
}

#[tokio::test]
async fn a_target_without_rows_has_no_values() {
    let stand = LocalStand::new();
    contract::there_are_no_values(&stand).await;
    stand.plant(&[fill("0xa", Value::Null, EDGE_S, 1, 0.1)]).await;
    assert_eq!(stand.warehouse().values("wallet", None).await.unwrap().len(), 1);
    stand.delta().await.unwrap().delete().await.unwrap();
    contract::there_are_no_values(&stand).await;
}
