//! The warehouse suite: what every target must do, and the embedded one doing it; runs that die and go on.

/// Hands the promises of every warehouse to a macro that shows them on its own stand.
macro_rules! promises {
    ($suite:ident) => {
        $suite!(
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
            a_suspect_key_whose_number_only_a_loser_knows_stops_the_run,
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
            every_loaded_winner_is_compared,
            r4_verify_finds_what_is_missing_repeated_or_lower,
            r4_a_merge_counts_its_rows,
            an_audit_tells_duplicates_by_class,
            an_audit_of_what_a_run_has_merged_finds_nothing,
            the_values_of_a_column_are_listed_with_their_rows,
            rows_are_counted_by_day_from_a_day_on,
        );
    };
}

pub(crate) mod bigquery;
mod contract;
mod crash;
mod embedded;
pub(crate) mod fuel;
mod lies;
pub(crate) mod local;
mod orphans;
mod race;
mod steps;

use crate::rows::{cut, of_days};
use object_store::ObjectStoreExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tradefold::dataset::Dataset;
use tradefold::dedup::Dedup;
use tradefold::engine::{Engine, EngineOptions};
use tradefold::error::Result;
use tradefold::landing::{LandingOptions, land};
use tradefold::ledger::Ledger;
use tradefold::plan::plan;
use tradefold::progress::Silent;
use tradefold::report::RunReport;
use tradefold::run::{Run, RunOptions, Work, landed_files};
use tradefold::source::{Input, discover};
use tradefold::stage::{Manifest, WriteOptions, upload, write_winners};
use tradefold::storage::Folder;
use tradefold::warehouse::{Journal, Warehouse};

/// 2026-01-01T00:00:00Z, the tests' present.
pub const NOW_US: i64 = 1_767_225_600_000_000;
/// 2025-10-07T00:00:00Z: the first second of a day, and of a batch of the grid of 16 days.
pub const EDGE_S: i64 = 1_759_795_200;
pub const DAY_S: i64 = 86_400;

pub fn fills() -> Arc<Dataset> {
    Arc::new(Dataset::from_toml(include_str!("fills.toml"), "fills.toml").unwrap())
}

/// As [`fills`] the other way round, in one part.
pub fn ascending() -> Arc<Dataset> {
    Arc::new(Dataset::from_toml(include_str!("ascending.toml"), "ascending.toml").unwrap())
}

pub fn engine() -> Engine {
    Engine::new(EngineOptions { memory_bytes: 1 << 30, threads: 1, exact_keys: false }).unwrap()
}

/// A row as it comes in. `price` is its content.
pub fn fill(wallet: &str, order_hash: Value, ts: i64, rev: i64, price: f64) -> Value {
    json!({"wallet": wallet, "order_hash": order_hash, "ts": ts, "rev": rev, "log_index": null, "price": price,
           "run": "r"})
}

/// Rows that no test names, on the days that tests write.
pub fn bystanders() -> [Value; 3] {
    let row = |wallet: &str, hash, ts, rev| fill(wallet, hash, ts, rev, 7.5);
    let mut unranked = row("0xeee3", json!(""), EDGE_S + DAY_S, 1);
    unranked["rev"] = Value::Null;
    [row("0xeee1", Value::Null, EDGE_S, 3), row("0xeee2", json!("o"), EDGE_S - 1, 1), unranked]
}

/// Rows as NDJSON, with the columns that a contract has backwards.
pub fn lines(dataset: &Dataset, rows: &[Value]) -> String {
    let line = |row: &Value| {
        let mut row = row.clone();
        for name in dataset.column_names() {
            if let Some(value) = name.strip_suffix("_back").and_then(|forth| row[forth].as_i64()) {
                row[name] = json!(-value);
            }
        }
        format!("{row}\n")
    };
    rows.iter().map(line).collect()
}

/// Somewhere to merge into, as the suite needs it. Each live warehouse has one.
#[async_trait::async_trait]
pub trait Stand: Sync {
    fn dataset(&self) -> &Dataset;
    fn engine(&self) -> &Engine;
    fn warehouse(&self) -> &dyn Warehouse;
    /// The folder of the ledger and of what runs keep.
    fn home(&self) -> Folder;
    /// The local folder of landed rows.
    fn work(&self) -> Folder;
    /// How many rows the target had before anything was done to it.
    fn bystanders(&self) -> u64;
    /// Every other row of the target, without its volatile columns, sorted. Makes sure that bystanders are as they
    /// were.
    async fn table(&self) -> Vec<String>;
    /// Puts rows into the target past all checks.
    async fn plant(&self, rows: &[Value]);
    /// Takes the target back to what it was before the last change.
    async fn roll_back(&self);
    /// How often the target was changed.
    async fn changes(&self) -> u64;
}

/// The folder of inputs, one for all stands: an input's name is part of what lands, and so of the names of the work.
pub fn inputs() -> &'static Path {
    static INPUTS: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    INPUTS.path()
}

/// Writes rows as one NDJSON file and finds it as an input.
pub async fn input(stand: &impl Stand, rows: &[Value]) -> Vec<Input> {
    put(lines(stand.dataset(), rows).as_bytes(), "ndjson").await
}

/// Writes rows as one Parquet file, which lands by reference, and finds it as an input.
pub async fn parquet_input(stand: &impl Stand, rows: &[Value]) -> Vec<Input> {
    put(&parquet(stand.dataset(), rows), "parquet").await
}

/// Rows as a Parquet file with the contract's types.
pub fn parquet(dataset: &Dataset, rows: &[Value]) -> Vec<u8> {
    let typed = rows.iter().map(|row| {
        let mut row = row.clone();
        row["ts"] = json!(row["ts"].as_i64().unwrap() * 1_000_000);
        format!("{row}\n")
    });
    let text: String = typed.collect();
    let schema = Arc::clone(dataset.schema());
    let mut reader = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(text.as_bytes()).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&reader.next().unwrap().unwrap()).unwrap();
    writer.into_inner().unwrap()
}

/// Puts a file where inputs are and finds it.
async fn put(bytes: &[u8], extension: &str) -> Vec<Input> {
    let path = inputs().join(format!("{}.{extension}", blake3::hash(bytes).to_hex()));
    // Tests run at once, and a file that is written again is another input: in one step, and only once.
    let draft = tempfile::NamedTempFile::new_in(inputs()).unwrap();
    std::fs::write(draft.path(), bytes).unwrap();
    let _ = draft.persist_noclobber(&path);
    discover(&[path.to_string_lossy().into_owned()], &[]).await.unwrap()
}

/// Runs a backfill of these rows.
pub async fn backfill(stand: &impl Stand, rows: &[Value], options: RunOptions) -> Result<RunReport> {
    backfill_at(stand, rows, options, NOW_US).await
}

/// Runs a backfill of these rows at another time.
pub async fn backfill_at(stand: &impl Stand, rows: &[Value], options: RunOptions, now_us: i64) -> Result<RunReport> {
    walk(stand.warehouse(), stand, &input(stand, rows).await, options, now_us).await
}

/// Runs a backfill of these inputs, into the stand's own warehouse or another one.
pub async fn walk(
    warehouse: &dyn Warehouse,
    stand: &impl Stand,
    inputs: &[Input],
    options: RunOptions,
    now_us: i64,
) -> Result<RunReport> {
    let mut ledger = Ledger::open(stand.home().join("ledger"), format!("{:?}", std::time::Instant::now())).await?;
    walk_with(&mut ledger, warehouse, stand, inputs, options, now_us).await
}

/// The same with a ledger that is open already.
pub async fn walk_with(
    ledger: &mut Ledger,
    warehouse: &dyn Warehouse,
    stand: &impl Stand,
    inputs: &[Input],
    options: RunOptions,
    now_us: i64,
) -> Result<RunReport> {
    let run = Run {
        dataset: stand.dataset(),
        engine: stand.engine(),
        warehouse,
        home: stand.home(),
        work: stand.work(),
        options,
        page: None,
        turns: None,
        progress: &Silent,
        now_us: &|| now_us,
    };
    Box::pin(run.bring_in(Work::Files(inputs), ledger)).await
}

/// Stages rows that fall into one batch, and nothing more. Gives the folder of the stage.
pub async fn staged(stand: &impl Stand, rows: &[Value]) -> (Folder, Manifest) {
    let dataset = stand.dataset();
    let inputs = input(stand, rows).await;
    let landing = stand.work().join("landing");
    let landed = land(dataset, &inputs, &landing, &LandingOptions::new(NOW_US), &Silent).await.unwrap();
    let dedup = Dedup::new(stand.engine(), dataset, &landed_files(&landed)).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let decision = dedup.decide(&Silent).await.unwrap();
    let cuts = cut(&decision.winners_by_day(), of_days(16));
    let options = WriteOptions::new(cuts.clone());
    let written = write_winners(&decision, dataset, options, scratch.path(), &Silent).await.unwrap();
    let batches = plan(dataset, &written.days, &BTreeMap::new(), &cuts);
    assert_eq!(batches.len(), 1, "rows of one batch");
    let folder = stand.home().join("stage");
    let manifest = upload(&folder, "batch", &batches[0], &written.files, None).await.unwrap();
    (folder, manifest)
}

/// A backfill that goes through: nothing stops it.
pub async fn merged(stand: &impl Stand, rows: &[Value]) -> RunReport {
    let report =
        backfill(stand, rows, RunOptions::default()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(report.stops, [], "nothing should stop this run");
    report
}

/// What is in a file that a report names.
pub async fn text_of(stand: &impl Stand, file: &str) -> String {
    let path = object_store::path::Path::from_url_path(url::Url::parse(file).unwrap().path()).unwrap();
    let found = stand.home().store().get(&path).await.unwrap().bytes().await.unwrap();
    String::from_utf8(found.to_vec()).unwrap()
}

/// Inserted, updated, unchanged.
pub fn counts(report: &RunReport) -> (u64, u64, u64) {
    let (_, inserted, updated, unchanged) = report.totals();
    (inserted, updated, unchanged)
}

/// Lets jobs begin that nobody writes down.
pub struct Unwritten;

#[async_trait::async_trait]
impl Journal for Unwritten {
    async fn begins(&mut self, _job: &str) -> Result<()> {
        Ok(())
    }
}

/// The receipts, the oldest first, without what may differ between two ways to the same end.
pub async fn receipts(home: &Folder) -> Vec<Value> {
    let ledger = Ledger::open(home.join("ledger"), String::new()).await.unwrap();
    ledger
        .receipts()
        .map(|receipt| {
            let mut value = serde_json::to_value(receipt).unwrap();
            value.as_object_mut().unwrap().remove("attempt");
            value
        })
        .collect()
}

/// A folder with what is in another one.
pub fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_all(from, to.path());
    to
}

/// Copies all that is in a folder.
pub fn copy_all(from: &Path, to: &Path) {
    let mut folders = vec![from.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let place = to.join(path.strip_prefix(from).unwrap());
            if path.is_dir() {
                std::fs::create_dir(&place).unwrap();
                folders.push(path);
            } else {
                std::fs::copy(&path, &place).unwrap();
            }
        }
    }
}
