//! Tables that are mended: a new one takes their place.

use super::losses::{Loss, suffer_in};
use super::{asked_by_duckdb, back, kept_of, ledger, migrated, options, proof, run, sources, staging};
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, backfill, engine, fill, fills, input, parquet};
use deltalake::DeltaTable;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::engine::{DataFile, FilesTable};
use tradefold::error::{Kind, Result};
use tradefold::gc::Places;
use tradefold::migrate::{ReadSource, SourceTable, Sources, mend, needs_mending, prove_mend, settle_swap};
use tradefold::progress::Silent;
use tradefold::report::MigrationReport;
use tradefold::run::{RunOptions, Work};
use tradefold::source::discover;
use tradefold::warehouse::local::table_files;
use tradefold::window::Day;

/// A production that nobody has kept clean: copies, versions, keys in upper case, and no column for log indices.
pub(super) fn old_production() -> Vec<Value> {
    let mut poor = fill("0xa2", json!("o"), EDGE_S, 2, 0.0);
    poor["price"] = Value::Null;
    vec![
        fill("0xa1", json!("o"), EDGE_S, 1, 0.1),
        fill("0xa1", json!("o"), EDGE_S, 1, 0.1),
        // The best row of its key knows no price, and another one does.
        fill("0xA2", json!("o"), EDGE_S, 1, 0.2),
        poor,
        fill("0xA3", Value::Null, EDGE_S + DAY_S, 1, 0.3),
        fill("0xa3", json!(""), EDGE_S + 2 * DAY_S, 1, 0.3),
        // Staging has a higher one, without a price.
        fill("0xa4", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.4),
        fill("0xA5", json!("o"), EDGE_S + 40 * DAY_S, 1, 0.5),
    ]
}

pub(super) fn table_path(stand: &LocalStand) -> PathBuf {
    stand.folder.path().join("lake/fills")
}

/// Writes rows into the table as they are, with the columns that old production has.
pub(super) async fn planted(stand: &LocalStand, rows: &[Value]) {
    planted_as(stand, rows, "wallet, order_hash, ts, rev, price, run").await;
}

async fn planted_as(stand: &LocalStand, rows: &[Value], columns: &str) {
    let path = stand.folder.path().join("raw.parquet");
    std::fs::write(&path, parquet(stand.dataset(), rows)).unwrap();
    let file = DataFile {
        url: url::Url::from_file_path(&path).unwrap().to_string(),
        label: "raw".into(),
        size_bytes: path.metadata().unwrap().len(),
    };
    let engine = engine();
    engine.register_files("raw", FilesTable::new(stand.dataset().schema(), &[file]).unwrap()).unwrap();
    let batches = engine.collect(&format!("SELECT {columns}, CAST(ts AS DATE) AS _day FROM raw")).await.unwrap();
    std::fs::create_dir_all(table_path(stand)).unwrap();
    let url = url::Url::from_directory_path(table_path(stand)).unwrap();
    DeltaTable::try_from_url(url).await.unwrap().write(batches).with_partition_columns(["_day"]).await.unwrap();
}

pub(super) async fn old_lake() -> LocalStand {
    let stand = LocalStand::new();
    planted(&stand, &old_production()).await;
    stand
}

/// The target as a source of its own.
async fn own(stand: &LocalStand) -> Sources<'static> {
    let files = table_files(&stand.lake.join("fills")).await.unwrap().files;
    let paths: Vec<String> = files.iter().map(|file| file.path().unwrap().display().to_string()).collect();
    let inputs = discover(&paths, &[]).await.unwrap();
    let places = inputs.iter().map(|input| (input.url.clone(), "lake".to_string())).collect();
    Sources { inputs, places, ..Sources::default() }
}

pub(super) async fn mended_by(stand: &LocalStand, rows: &[Value], options: RunOptions) -> Result<MigrationReport> {
    let staging = sources(input(stand, rows).await);
    Box::pin(mend(&run(stand, options), own(stand).await, staging, &mut ledger(stand).await)).await
}

#[tokio::test]
async fn a_table_that_was_written_to_while_it_was_read_is_not_mended() {
    let stand = old_lake().await;
    let mut own = own(&stand).await;
    let (folder, version) = (stand.lake.join("fills"), table_files(&stand.lake.join("fills")).await.unwrap().version);
    let read = |version| {
        vec![SourceTable { place: "lake".into(), read: ReadSource::Delta { folder: folder.clone(), version } }]
    };
    own.tables = read(version.map(|version| version + 1));
    let (inputs, places) = (own.inputs.clone(), own.places.clone());
    let error = Box::pin(mend(&run(&stand, options()), own, sources(Vec::new()), &mut ledger(&stand).await)).await;
    let error = error.unwrap_err();
    assert!(error.kind() == Kind::Busy && error.render().contains("while it was read"), "{}", error.render());
    let own = Sources { inputs, places, tables: read(version), ..Sources::default() };
    Box::pin(mend(&run(&stand, options()), own, sources(Vec::new()), &mut ledger(&stand).await)).await.unwrap();
}

pub(super) async fn mended(stand: &LocalStand, rows: &[Value]) -> MigrationReport {
    let report = mended_by(stand, rows, options()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!((&report.run.stops[..], &proof(&report).findings[..]), (&[][..], &[][..]), "{report:#?}");
    report
}

/// What every writer does first.
pub(super) async fn settled(stand: &LocalStand) -> Result<()> {
    settle_swap(stand.warehouse(), &mut ledger(stand).await, &Silent, NOW_US).await
}

/// Wallet, rev and price of every row.
pub(super) async fn rows(stand: &LocalStand) -> Vec<String> {
    shown(&stand.table().await)
}

pub(super) fn shown(table: &[String]) -> Vec<String> {
    let shown = table.iter().map(|row| {
        let row: Value = serde_json::from_str(row).unwrap();
        let text = |name: &str| row.get(name).map_or("null".into(), Value::to_string);
        format!("{} {} {}", row["wallet"].as_str().unwrap(), text("rev"), text("price"))
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    shown
}

pub(super) const MENDED: [&str; 7] =
    ["0xa1 1 1.1", "0xa2 2 null", "0xa3 1 0.3", "0xa4 2 0.4", "0xa5 1 0.5", "0xb1 1 2.2", "0xb2 1 2.4"];

/// What must be true of a lake that was mended, whatever happened on the way.
pub(super) async fn must_be_mended(stand: &LocalStand) {
    assert_eq!(rows(stand).await, MENDED);
    let own = ledger(stand).await;
    let count = MENDED.len() as u64;
    assert_eq!((own.lost_rows(count), own.removed_between_merges(), own.unfinished().len()), (0, 0, 0));
    assert_eq!((own.rows_after_last_merge(), own.pending_swap()), (Some(count), None));
    assert_eq!(stand.warehouse().audit().await.unwrap().findings(), Vec::<String>::new());
    assert!(!stand.home().local_path().unwrap().join("mending").exists());
    assert!(!needs_mending(&run(stand, options())).await.unwrap());
}

#[tokio::test]
async fn a_table_with_duplicates_is_replaced_by_one_without_and_can_be_had_back() {
    let stand = old_lake().await;
    let before = rows_of_files(&stand).await;
    assert!(needs_mending(&run(&stand, options())).await.unwrap());
    let report = mended(&stand, &staging()).await;
    must_be_mended(&stand).await;
    let proof = proof(&report);
    assert_eq!(report.sources, BTreeMap::from([("lake".to_string(), 8), ("staging".to_string(), 9)]));
    assert_eq!((proof.before.unwrap().rows, proof.inserted, proof.after.rows), (8, 2, 7));
    let names: Vec<&str> = proof.checks.iter().map(|check| check.name.as_str()).collect();
    let all = "lost_keys missing_winners lowered_rows lower_than_winners blanked_columns duplicates keys rows";
    assert_eq!(names.join(" "), all);
    let mend = report.mended.as_ref().unwrap();
    let own = &mend.run.as_ref().unwrap().balance;
    assert_eq!((own.winners, own.losers.total()), (5, 3));
    let replaced = mend.replaced.clone().unwrap();
    assert_eq!((replaced.rows_before, replaced.rows_after), (8, 7));
    assert_eq!(replaced.until, Day::of_us(NOW_US).plus(30));
    // The statements name the files where they are by now.
    asked_by_duckdb(&stand, &proof.migration);
    // What it was is kept until its day, and the winners with it.
    let home = stand.home();
    let places = Places { warehouse: stand.warehouse(), home: &home, work: &home };
    let left = places.leftovers(&ledger(&stand).await, replaced.until).await.unwrap();
    let kept: Vec<_> = left.iter().filter(|left| left.kept_until.is_some()).collect();
    let whats: Vec<&str> = kept.iter().map(|left| left.what.as_str()).collect();
    assert_eq!((whats, kept[1].place.as_str()), (vec!["staged objects", "dropped table"], replaced.kept.as_str()));
    // From here on it is a table like any other.
    let again = migrated(&stand, &staging()).await;
    assert_eq!((again.run.totals().1, again.run.totals().2, self::proof(&again).findings.len()), (0, 0, 0));
    assert_ne!(again.run.run_id, report.run.run_id);
    let more = [fill("0xc1", json!("o"), EDGE_S, 1, 9.3), fill("0xa5", json!("o"), EDGE_S + 40 * DAY_S, 2, 9.5)];
    let other = backfill(&stand, &more, RunOptions::default()).await.unwrap();
    assert_eq!((other.totals().1, other.totals().2), (1, 1));
    assert_eq!(ledger(&stand).await.rows_after_last_merge(), Some(8));
    // The way back says first what it would do.
    let name = proof.migration.clone();
    let planned = back(&stand, &name, true).await.unwrap();
    let would = planned.replaced.unwrap();
    assert_eq!((would.rows_before, would.rows_after, planned.run_again.len()), (8, 8, 2));
    assert!(planned.run_again.contains(&other.run_id));
    assert_eq!(rows_of_files(&stand).await.len(), 8);
    let done = back(&stand, &name, false).await.unwrap();
    assert_eq!(rows_of_files(&stand).await, before);
    let own = ledger(&stand).await;
    assert_eq!((own.lost_rows(8), own.rows_after_last_merge(), own.mended(&name)), (0, Some(8), None));
    assert_eq!(back(&stand, &name, false).await.unwrap_err().kind(), Kind::Usage);
    // What it had become is kept, too; and it can be mended again.
    let kept = url::Url::parse(&done.replaced.unwrap().kept).unwrap().to_file_path().unwrap();
    assert!(kept.join("_delta_log").is_dir());
    mended(&stand, &staging()).await;
    must_be_mended(&stand).await;
    back(&stand, &name, false).await.unwrap();
    assert_eq!(rows_of_files(&stand).await, before);
}

/// The rows of the table as its files have them, whatever its columns.
pub(super) async fn rows_of_files(stand: &LocalStand) -> Vec<String> {
    let files = table_files(&stand.lake.join("fills")).await.unwrap().files;
    let engine = engine();
    engine.register_files("t", FilesTable::new(stand.dataset().schema(), &files).unwrap()).unwrap();
    let sql = "SELECT CONCAT(wallet, ' ', CAST(rev AS VARCHAR), ' ', CAST(price AS VARCHAR)) FROM t ORDER BY 1";
    let mut rows = Vec::new();
    for batch in engine.collect(sql).await.unwrap() {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        let texts = arrow::array::AsArray::as_string::<i32>(&column).clone();
        rows.extend(texts.iter().flatten().map(str::to_string));
    }
    rows
}

#[tokio::test]
async fn columns_under_other_names_are_read_and_proven_as_landing_takes_them() {
    let contract = include_str!("../warehouse/fills.toml");
    let contract = contract.replace("format = \"hex\"", "format = \"hex\"\nfrom = [\"owner\"]");
    let contract = contract.replace("type = \"float64\"", "type = \"float64\"\nfrom = [\"usd\", \"eur\"]");
    let stand = LocalStand::of(Arc::new(Dataset::from_toml(&contract, "fills.toml").unwrap()));
    let columns =
        "wallet AS owner, order_hash, ts, rev, run, CASE WHEN rev = 1 THEN price END AS usd, price + 1 AS eur";
    planted_as(&stand, &old_production(), columns).await;
    let report = mended(&stand, &[]).await;
    assert_eq!(rows(&stand).await, ["0xa1 1 0.1", "0xa2 2 null", "0xa3 1 0.3", "0xa4 1 0.4", "0xa5 1 0.5"]);
    asked_by_duckdb(&stand, &proof(&report).migration);
    // Eur where usd is not known: a proof that read neither would not miss it.
    assert!(proof(&report).set_up.contains("COALESCE(\"usd\", \"eur\")"), "{}", proof(&report).set_up);
}

#[tokio::test]
async fn a_table_is_mended_without_any_source_and_a_clean_one_is_not() {
    let stand = old_lake().await;
    let report = mended(&stand, &[]).await;
    assert_eq!(rows(&stand).await.len(), 5);
    assert_eq!((proof(&report).inserted, proof(&report).after.rows), (0, 5));
    asked_by_duckdb(&stand, &proof(&report).migration);
    assert!(!needs_mending(&run(&stand, options())).await.unwrap());
    let empty = LocalStand::new();
    assert!(!needs_mending(&run(&empty, options())).await.unwrap());
}

#[tokio::test]
async fn rows_that_would_be_lost_with_the_old_table_are_a_reason_to_leave_it() {
    let stand = old_lake().await;
    let mut future = fill("0xa9", json!("o"), EDGE_S, 1, 0.9);
    future["ts"] = json!(9_000_000_000_i64);
    planted(&stand, &[future]).await;
    let before = rows_of_files(&stand).await;
    let report = mended_by(&stand, &staging(), options()).await.unwrap();
    assert_eq!(report.run.stops[0].reason, "rejects");
    let hint = &report.run.stops[0].hint;
    assert!(hint.contains("gone with the old table") && !hint.contains("--max-rejects"), "{hint}");
    // Who lets rows of the other sources go lets none of its own go.
    let report = mended_by(&stand, &staging(), RunOptions { max_rejects: Some(1), ..options() }).await.unwrap();
    assert_eq!((report.run.stops[0].reason.as_str(), report.proof.is_none()), ("rejects", true));
    assert_eq!(report.mended.unwrap().replaced, None);
    assert_eq!(rows_of_files(&stand).await, before);
}

/// As a mend does it, up to its proof.
#[tokio::test]
async fn every_loss_in_the_new_table_is_found() {
    let stand = old_lake().await;
    let target = run(&stand, options());
    let history = target.history().unwrap();
    let before = history.moment().await.unwrap().unwrap();
    let table = history.in_the_making(true).await.unwrap();
    let mut making = ledger_in(&stand).await;
    let part = tradefold::run::Run { warehouse: table.as_ref(), ..run(&stand, RunOptions::default()) };
    Box::pin(part.bring_in(Work::Files(&own(&stand).await.inputs), &mut making)).await.unwrap();
    let kept = RunOptions { keep_staged: true, ..RunOptions::default() };
    let part = tradefold::run::Run { warehouse: table.as_ref(), ..run(&stand, kept) };
    let inputs = input(&stand, &staging()).await;
    let report = Box::pin(part.bring_in(Work::Files(&inputs), &mut making)).await.unwrap();
    // Whoever cleans up meanwhile leaves them for it.
    let home = stand.home();
    let places = Places { warehouse: stand.warehouse(), home: &home, work: &home };
    let left = places.leftovers(&ledger(&stand).await, Day::of_us(NOW_US)).await.unwrap();
    let staged: Vec<_> = left.iter().filter(|left| left.what == "staged objects").collect();
    assert_eq!((staged.len(), staged[0].needed_by.as_ref()), (1, Some(&report.run_id)));
    let winners = making.last_planned(&report.run_id);
    let path = stand.folder.path().join("lake/_tradefold/fills/mending/table");
    for (loss, findings) in [
        (None, ""),
        (Some(Loss::Delete("wallet = '0xa5'")), "lost_keys 0xa5; keys; rows"),
        (Some(Loss::Delete("wallet = '0xb1'")), "missing_winners 0xb1; keys; rows"),
        (Some(Loss::Set("wallet = '0xa2'", "rev", "1")), "lowered_rows 0xa2"),
        (Some(Loss::Set("wallet = '0xa4'", "price", "NULL")), "blanked_columns 0xa4"),
        (Some(Loss::Set("wallet = '0xb1'", "rev", "0")), "lower_than_winners 0xb1"),
        (
            Some(Loss::Set("wallet = '0xa1'", "wallet", "'0xa5'")),
            "lost_keys 0xa1; missing_winners 0xa1; duplicates 0xa5; keys",
        ),
    ] {
        let is_calm = loss.is_none();
        if let Some(loss) = loss {
            suffer_in(&path, loss).await;
        }
        let after = table.history().unwrap().moment().await.unwrap().unwrap();
        let places = BTreeMap::new();
        let proof = prove_mend(&target, "mend", (&places, 0), [before, after], 2, winners).await.unwrap();
        let told = proof.checks.iter().filter(|check| check.found > 0).map(|check| {
            let wallets = check.examples.iter().map(|key| format!(" {}", key[0].as_ref().unwrap()));
            check.name.clone() + &wallets.collect::<String>()
        });
        let mut told = told.collect::<Vec<_>>();
        told.retain(|check| !check.starts_with("lowered_rows 0xa5"));
        assert_eq!(told.join("; "), findings);
        let folder = kept_of(&stand, "mend");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("proof.sql"), proof.sql()).unwrap();
        std::fs::write(folder.join("proof.json"), serde_json::to_string(&proof).unwrap()).unwrap();
        asked_by_duckdb(&stand, "mend");
        if !is_calm {
            restored(&path).await;
        }
    }
}

async fn ledger_in(stand: &LocalStand) -> tradefold::ledger::Ledger {
    tradefold::ledger::Ledger::open(stand.home().join("mending/ledger"), "own".into()).await.unwrap()
}

/// Takes a table back by one version.
async fn restored(path: &std::path::Path) {
    let table = deltalake::open_table(url::Url::from_directory_path(path).unwrap()).await.unwrap();
    let version = table.version().unwrap() - 1;
    table.restore().with_version_to_restore(version).await.unwrap();
}

pub(super) fn over(folder: tempfile::TempDir, effects: Option<i64>) -> LocalStand {
    LocalStand::over(fills(), folder, |inner| match effects {
        Some(effects) => Arc::new(FuelStore { inner, fuel: Fuel::new(effects, Death::AfterTheEffect) }),
        None => inner,
    })
}

#[tokio::test]
async fn a_mend_that_dies_after_any_effect_goes_on() {
    let lake = old_lake().await;
    let mut deaths = 0;
    for effects in (0..).step_by(7) {
        let mortal = over(crate::warehouse::copied(lake.folder.path()), Some(effects));
        let died = mended_by(&mortal, &staging(), options()).await.is_err();
        let again = over(mortal.folder, None);
        if died {
            deaths += 1;
            settled(&again).await.unwrap();
            if needs_mending(&run(&again, options())).await.unwrap() {
                mended(&again, &staging()).await;
            } else {
                // All that is left to do is to clear away.
                again.home().join("mending").clear().await.unwrap();
                again.home().join("mending").drop_empty();
            }
        }
        must_be_mended(&again).await;
        if !died {
            break;
        }
    }
    assert!(deaths >= 6, "it died only {deaths} times");
}
