//! The embedded warehouse on a stand: the whole suite runs against it.

use super::fuel::{Death, Fuel, FuelStore};
use super::{DAY_S, EDGE_S, Stand, ascending, contract, engine, fills, lines};
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
use tradefold::run::{Choice, RunOptions};
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
    async fn crowded(dataset: Arc<Dataset>) -> LocalStand {
        let mut stand = LocalStand::of(dataset);
        let row = |wallet: &str, hash, ts, rev| super::fill(wallet, hash, ts, rev, 7.5);
        let mut unranked = row("0xeee3", json!(""), EDGE_S + DAY_S, 1);
        unranked["rev"] = Value::Null;
        let rows = [row("0xeee1", Value::Null, EDGE_S, 3), row("0xeee2", json!("o"), EDGE_S - 1, 1), unranked];
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

suite!(
    new_keys_are_inserted,
    r6_only_a_higher_row_updates,
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
    a_run_that_set_everything_aside_looks_again,
    what_is_found_of_a_key_goes_when_the_key_is_set_aside,
    a_key_that_the_target_has_at_another_time_is_counted_and_can_stop_the_run,
    a_restored_table_gets_its_rows_back,
    a_row_that_moves_to_another_day_leaves_the_old_one,
    r5_no_key_of_the_target_is_lost,
    r5_verify_finds_a_key_that_is_gone,
    an_empty_input_changes_nothing,
    r3_a_load_counts_what_the_footers_count,
    r4_verify_finds_what_is_missing_repeated_or_lower,
    r4_a_merge_counts_its_rows,
);

/// Rows that a batch does not bring in stay as they are, whatever the order makes of a side that is not there.
#[tokio::test]
async fn r5_a_row_that_no_batch_names_stays_where_null_ranks_first() {
    for partition in [Some("ts"), None] {
        let mut dataset = Dataset::clone(&fills());
        dataset.order = tradefold::dataset::parse_order("ts, rev").unwrap();
        dataset.partition = partition.map(str::to_string);
        let stand = LocalStand::of(Arc::new(dataset));
        let row = |wallet: &str, rev| super::fill(wallet, Value::Null, EDGE_S, rev, 0.1);
        super::merged(&stand, &[row("0xa", 2), row("0xb", 2)]).await;
        let before = stand.table().await;
        super::merged(&stand, &[row("0xc", 2)]).await;
        let after = stand.table().await;
        assert!(after.len() == 3 && before.iter().all(|row| after.contains(row)), "{before:#?}\n{after:#?}");
        let report = super::merged(&stand, &[row("0xa", 1), row("0xb", 3)]).await;
        assert_eq!(super::counts(&report), (0, 1, 1), "the earlier is the better");
    }
}

/// A commit that announced another number of rows than it has, as one would that lost a row, and no receipt of it.
#[tokio::test]
async fn r4_a_wrong_commit_is_refused_on_every_try_until_the_table_is_restored() {
    let stand = LocalStand::new();
    let row = |wallet: &str| super::fill(wallet, Value::Null, EDGE_S, 1, 0.1);
    let (first, second) = ([row("0xa")], [row("0xb")]);
    super::merged(&stand, &first).await;
    let ledger = stand.folder.path().join("lake/_tradefold/fills/ledger");
    let before = std::fs::read_dir(&ledger).unwrap().count();
    super::merged(&stand, &second).await;
    let commit = stand.folder.path().join("lake/fills/_delta_log/00000000000000000001.json");
    let text = std::fs::read_to_string(&commit).unwrap();
    let announced =
        text.replace("\"rows_before\":1", "\"rows_before\":2").replace("\"rows_after\":2", "\"rows_after\":3");
    assert_ne!(text, announced);
    std::fs::write(&commit, announced).unwrap();
    let entries = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut written = entries(&ledger);
    written.sort();
    // Landed and planned are left: the run came to its merge.
    for entry in &written[before + 2..] {
        std::fs::remove_file(entry).unwrap();
    }
    for _ in 0..2 {
        let error = super::backfill(&stand, &second, RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.render().contains("the target had 2 rows and has 2"), "{}", error.render());
        assert!(error.render().contains("restore the target"), "{}", error.render());
    }
    stand.roll_back().await;
    // Another run brings the same rows in: what the wrong commit did is undone and tells nothing.
    super::merged(&stand, &[row("0xb"), row("0xc")]).await;
    assert_eq!(super::counts(&super::merged(&stand, &second).await), (0, 0, 1));
    assert_eq!(stand.table().await.len(), 3);
}

/// Of the two contracts only this one has its time in the order.
#[tokio::test]
async fn a_row_of_the_future_goes_in_once_its_time_has_come() {
    contract::a_row_of_the_future_goes_in_once_its_time_has_come(&LocalStand::crowded(fills()).await).await;
}

#[tokio::test]
async fn an_immutable_table_only_inserts() {
    for dataset in [fills(), ascending()] {
        let mut dataset = Dataset::clone(&dataset);
        dataset.immutable = true;
        contract::an_immutable_table_only_inserts(&LocalStand::crowded(Arc::new(dataset)).await).await;
    }
}

/// Somebody who knows nothing of our lock commits while a merge is under way, and nothing that would be in its way: only
/// that the version is another one than was read.
#[tokio::test]
async fn a_commit_at_another_version_than_was_read_is_refused() {
    let fuel = Fuel::new(i64::MAX, Death::BeforeTheEffect);
    let spent = Arc::clone(&fuel);
    let stand = LocalStand::over(fills(), tempfile::tempdir().unwrap(), |inner| Arc::new(FuelStore { inner, fuel }));
    let row = |wallet: &str| super::fill(wallet, Value::Null, EDGE_S, 1, 0.1);
    super::merged(&stand, &[row("0xa")]).await;
    let (_folder, manifest) = super::staged(&stand, &[row("0xb")]).await;
    let found = stand.warehouse.compare(&manifest, &manifest.batch.touched).await.unwrap();
    let before = stand.table().await;
    let foreign =
        json!({"commitInfo": {"timestamp": super::NOW_US / 1000, "operation": "OPTIMIZE", "operationParameters": {}}});
    let commit = stand.lake.join("fills").path("_delta_log/00000000000000000001.json");
    spent.intrude(commit, foreign.to_string().into());
    let error = stand.warehouse.merge(&manifest, &manifest.batch.touched, &found).await.unwrap_err();
    assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Busy, 73), "{}", error.render());
    assert!(error.render().contains("another writer has changed the table"), "{}", error.render());
    assert_eq!((stand.table().await, stand.changes().await), (before, 2), "theirs stands, ours does not");
    let merged = stand.warehouse.merge(&manifest, &manifest.batch.touched, &found).await.unwrap();
    assert_eq!((merged.inserted, merged.version), (1, Some(2)), "the same again goes through");
}

/// As many rows, but others: what is left is another batch, which must not be taken for the first one.
#[tokio::test]
async fn a_batch_is_named_for_the_rows_that_were_set_aside() {
    let numbered = |wallet: &str, rev, log_index| {
        let mut row = super::fill(wallet, Value::Null, EDGE_S, rev, 0.1);
        row["log_index"] = json!(log_index);
        row
    };
    let rows = [numbered("0xa", 2, 11), numbered("0xb", 2, 11), numbered("0xc", 2, 11)];
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..RunOptions::default() };
    let mut ids = Vec::new();
    for suspect in ["0xa", "0xb", "0xa"] {
        let stand = LocalStand::new();
        super::merged(&stand, &[numbered(suspect, 1, 10)]).await;
        let report = super::backfill(&stand, &rows, quarantine.clone()).await.unwrap();
        assert_eq!((report.balance.quarantined.rows, super::counts(&report)), (1, (2, 0, 0)));
        ids.push(report.batches[0].batch_id.clone());
    }
    assert!(ids[0] != ids[1] && ids[0] == ids[2], "{ids:?}");
}
