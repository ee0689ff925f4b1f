//! The embedded warehouse on a stand: the whole suite runs against it.

use super::{DAY_S, EDGE_S, Stand, backfill, contract, counts, engine, fill, fills, merged};
use async_trait::async_trait;
use deltalake::DeltaTable;
use deltalake::kernel::transaction::CommitProperties;
use futures::TryStreamExt;
use object_store::ObjectStore;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tradefold::dataset::Dataset;
use tradefold::engine::Engine;
use tradefold::error::Kind;
use tradefold::landing::{LandingOptions, land};
use tradefold::progress::Silent;
use tradefold::run::RunOptions;
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
}

impl LocalStand {
    pub fn new() -> LocalStand {
        LocalStand::of(fills())
    }

    pub fn of(dataset: Arc<Dataset>) -> LocalStand {
        LocalStand::over(dataset, tempfile::tempdir().unwrap(), |store| store)
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
        LocalStand { folder, lake, dataset, engine, warehouse }
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

    fn inputs(&self) -> &Path {
        // One folder for all stands: an input's name is part of what lands, and so of the names of the work.
        static INPUTS: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
        INPUTS.path()
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
        rows
    }

    async fn plant(&self, rows: &[Value]) {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
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
        let partition = self.dataset.partition.as_deref().unwrap();
        let sql = format!("SELECT {columns}, CAST(\"{partition}\" AS DATE) AS _day FROM p");
        let batches = engine.collect(&sql).await.unwrap();
        let path = self.folder.path().join("lake").join(&self.dataset.name);
        std::fs::create_dir_all(&path).unwrap();
        let url = url::Url::from_directory_path(path).unwrap();
        let table = DeltaTable::try_from_url(url).await.unwrap();
        table.write(batches).with_partition_columns(["_day"]).await.unwrap();
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

/// Runs each function of the suite on a fresh stand.
macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            contract::$name(&LocalStand::new()).await;
        })*
    };
}

suite!(
    new_keys_are_inserted,
    r6_only_a_higher_row_updates,
    r6_rows_that_tie_or_are_lower_stay_where_others_change,
    an_update_never_blanks_what_is_known,
    a_replay_changes_nothing,
    batches_out_of_order_give_the_same_table,
    a_key_on_both_sides_of_midnight_and_of_a_batch_edge_is_one,
    a_key_five_days_apart_in_one_run_is_one,
    a_key_five_days_apart_in_two_runs_is_one,
    a_narrower_file_keeps_the_wider_rows,
    null_and_empty_in_a_nullable_key_part_are_one_key,
    duplicates_in_the_target_stop_the_run,
    one_conflict_in_ten_thousand_rows_is_found,
    a_suspect_key_in_the_target_stops_the_run,
    a_suspect_key_in_the_target_can_be_quarantined,
    a_restored_table_gets_its_rows_back,
    a_row_that_moves_to_another_day_leaves_the_old_one,
    r5_no_key_of_the_target_is_lost,
    an_empty_input_changes_nothing,
    r3_a_load_counts_what_the_footers_count,
    every_loaded_winner_is_compared,
    r4_verify_finds_what_is_missing_repeated_or_lower,
    r4_a_merge_counts_its_rows,
);

/// The contract of the suite with something changed in its text.
fn altered(from: &str, to: &str) -> Arc<Dataset> {
    let text = include_str!("fills.toml");
    assert!(text.contains(from), "{from}");
    Arc::new(Dataset::from_toml(&text.replacen(from, to, 1), "fills.toml").unwrap())
}

#[tokio::test]
async fn a_twin_in_mixed_case_on_another_day_stops_the_run() {
    // The contract before somebody thought of case: the same table, keys as they come.
    let before = LocalStand::of(altered("format = \"hex\"\n", ""));
    before.plant(&[fill("0xAb", json!("o"), EDGE_S, 1, 0.1), fill("0xcd", json!("o"), EDGE_S, 1, 0.1)]).await;
    let stand = LocalStand::over(fills(), before.folder, |store| store);
    let table = stand.table().await;
    // Many days away, so that only the key search can find it.
    let row = fill("0xab", json!("o"), EDGE_S + 30 * DAY_S, 1, 0.2);
    let report = backfill(&stand, &[row], RunOptions::default()).await.unwrap();
    assert_eq!(report.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["target_unfolded"]);
    assert_eq!(report.batches[0].comparison.unfolded, 1);
    assert_eq!(stand.table().await, table);
    // A key that has no twin is none of its business.
    let other = fill("0xef", json!("o"), EDGE_S + 30 * DAY_S, 1, 0.2);
    assert_eq!(backfill(&stand, &[other], RunOptions::default()).await.unwrap().stops, []);
}

#[tokio::test]
async fn rows_of_an_immutable_contract_never_change() {
    let stand = LocalStand::of(altered("partition = \"ts\"", "partition = \"ts\"\nimmutable = true"));
    merged(&stand, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.2), fill("0xb", json!("o"), EDGE_S, 1, 0.3)];
    let report = merged(&stand, &rows).await;
    assert_eq!((counts(&report), report.batches[0].comparison.newer), ((1, 0, 1), 1));
    let table = stand.table().await;
    assert!(table[0].contains("\"price\":0.1") && table[1].contains("\"price\":0.3"), "{table:?}");
    let changes = stand.changes().await;
    assert_eq!(counts(&merged(&stand, &rows).await), (0, 0, 2));
    assert_eq!(stand.changes().await, changes, "there was nothing to write");
}

#[tokio::test]
async fn a_table_that_does_not_fit_the_contract_is_refused() {
    let stand = LocalStand::new();
    merged(&stand, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let (table, mut folder) = (stand.table().await, stand.folder);
    let price = "[[column]]\nname = \"price\"\ntype = \"float64\"\n";
    for (contract, says) in [
        (altered(price, &format!("{price}\n[[column]]\nname = \"fee\"\ntype = \"float64\"\n")), "`fee` is missing"),
        (altered(price, ""), "`price` is not in the contract, so a merge would lose it"),
        (altered(price, &price.replace("float64", "int64")), "`price` is Float64 and should be Int64"),
        (altered("partition = \"ts\"\n", ""), "`_day` is not in the contract"),
    ] {
        let other = LocalStand::over(contract, folder, |store| store);
        let error = backfill(&other, &[fill("0xb", json!("o"), EDGE_S, 1, 1.0)], RunOptions::default()).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.render().contains(says), "{says}: {}", error.render());
        folder = other.folder;
    }
    assert_eq!(LocalStand::over(fills(), folder, |store| store).table().await, table);
}
