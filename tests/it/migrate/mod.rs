//! Migrations: what they bring in, the proof that finds every loss that is planted, and the way back.

mod back;
mod bigquery;
mod drop;
mod drop_bigquery;
mod in_place;
mod keys;
mod left;
mod losses;
mod mend;
mod mend_bigquery;
mod swap;
mod turns;

use crate::googlesql::python;
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, backfill, fill, fills, input, merged};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tradefold::error::Result;
use tradefold::ledger::Ledger;
use tradefold::migrate::{Sources, migrate, plan, roll_back};
use tradefold::progress::Silent;
use tradefold::report::{MigrationReport, Proof, RollBackReport};
use tradefold::run::{Run, RunOptions, Work};
use tradefold::source::Input;

fn options() -> RunOptions {
    RunOptions { keeps_changes: true, keep_staged: true, ..RunOptions::default() }
}

async fn ledger(stand: &impl Stand) -> Ledger {
    let nonce = format!("{:?}", std::time::Instant::now());
    Ledger::open(stand.home().join("ledger"), nonce).await.unwrap()
}

fn run<'a>(stand: &'a impl Stand, options: RunOptions) -> Run<'a> {
    Run {
        dataset: stand.dataset(),
        engine: stand.engine(),
        warehouse: stand.warehouse(),
        home: stand.home(),
        work: stand.work(),
        options,
        page: None,
        turns: None,
        progress: &Silent,
        now_us: &|| NOW_US,
    }
}

fn sources(inputs: Vec<Input>) -> Sources<'static> {
    let places = inputs.iter().map(|input| (input.url.clone(), "staging".to_string())).collect();
    Sources { inputs, places, ..Sources::default() }
}

async fn migrated_by(stand: &impl Stand, rows: &[Value], options: RunOptions) -> Result<MigrationReport> {
    let sources = sources(input(stand, rows).await);
    Box::pin(migrate(&run(stand, options), sources, &mut ledger(stand).await)).await
}

/// A migration that goes through.
async fn migrated(stand: &impl Stand, rows: &[Value]) -> MigrationReport {
    let report = migrated_by(stand, rows, options()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(report.run.stops, []);
    report
}

async fn back(stand: &impl Stand, name: &str, is_plan: bool) -> Result<RollBackReport> {
    Box::pin(roll_back(&run(stand, options()), name, &mut ledger(stand).await, is_plan)).await
}

fn proof(report: &MigrationReport) -> &Proof {
    report.proof.as_ref().unwrap()
}

/// Rows of production, and of staging: older, newer, equal, of other days, poorer, new, and copies.
fn production() -> Vec<Value> {
    vec![
        fill("0xa1", json!("o"), EDGE_S, 1, 0.1),
        fill("0xa2", json!("o"), EDGE_S, 2, 0.2),
        fill("0xa3", Value::Null, EDGE_S + DAY_S, 1, 0.3),
        fill("0xa4", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.4),
        fill("0xa5", json!("o"), EDGE_S + 40 * DAY_S, 1, 0.5),
    ]
}

fn staging() -> Vec<Value> {
    let mut poorer = fill("0xa4", json!("o"), EDGE_S + 20 * DAY_S, 2, 0.0);
    poorer["price"] = Value::Null;
    vec![
        // Higher, on another day, and a copy of it.
        fill("0xa1", json!("o"), EDGE_S + DAY_S, 1, 1.1),
        fill("0xa1", json!("o"), EDGE_S + DAY_S, 1, 1.1),
        // Lower.
        fill("0xa2", json!("o"), EDGE_S, 1, 0.2),
        // The same, its missing part written otherwise.
        fill("0xa3", json!(""), EDGE_S + DAY_S, 1, 0.3),
        // Higher and without a price.
        poorer,
        // New, in three versions, one of them an hour off.
        fill("0xb1", json!("o"), EDGE_S - DAY_S, 1, 2.1),
        fill("0xb1", json!("o"), EDGE_S - DAY_S, 3, 2.3),
        fill("0xb1", json!("o"), EDGE_S - DAY_S + 3_600, 1, 2.2),
        fill("0xb2", Value::Null, EDGE_S + 21 * DAY_S, 1, 2.4),
    ]
}

/// The rows of the table whose wallet begins so.
fn of(table: &[String], wallet: &str) -> Vec<Value> {
    let rows = table.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
    rows.filter(|row| row["wallet"].as_str().unwrap().starts_with(wallet)).collect()
}

async fn crowded() -> LocalStand {
    LocalStand::crowded(fills()).await
}

/// The folder of what a migration keeps.
fn kept_of(stand: &LocalStand, name: &str) -> PathBuf {
    stand.home().local_path().unwrap().join("runs").join(name).join("migration")
}

/// Lets DuckDB ask what the proof has asked.
fn asked_by_duckdb(stand: &LocalStand, name: &str) {
    let folder = kept_of(stand, name);
    let names = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let newest = names.filter(|name| name.ends_with(".sql")).max().unwrap();
    let sql = folder.join(newest);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/proof.py");
    let ran = Command::new(python()).arg(script).args([&sql, &sql.with_extension("json")]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn a_migration_brings_in_what_is_missing_or_higher_and_proves_it() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let report = migrated(&stand, &staging()).await;
    assert_eq!(report.sources, BTreeMap::from([("staging".to_string(), 9)]));
    assert_eq!(report.run.totals(), (6, 2, 2, 2));
    let proof = proof(&report);
    assert_eq!(proof.findings, Vec::<String>::new());
    let rows = 5 + stand.bystanders();
    assert_eq!((proof.before.unwrap().rows, proof.inserted, proof.after.rows), (rows, 2, rows + 2));
    let names: Vec<&str> = proof.checks.iter().map(|check| check.name.as_str()).collect();
    let all = "lost_keys missing_winners lowered_rows lower_than_winners blanked_columns duplicates keys rows";
    assert_eq!(names.join(" "), all);
    let table = stand.table().await;
    assert_eq!(of(&table, "0xa4")[0]["price"], json!(0.4), "what was known stays");
    assert_eq!(of(&table, "0xa1")[0]["price"], json!(1.1));
    asked_by_duckdb(&stand, &report.run.run_id);
    // A second one finds nothing to do, and proves that.
    let again = migrated(&stand, &staging()).await;
    assert_eq!((again.run.totals().1, again.run.totals().2), (0, 0));
    assert_eq!(self::proof(&again).findings, Vec::<String>::new());
    assert_eq!(self::proof(&again).before.unwrap().rows, rows + 2);
    assert_eq!(stand.table().await, table);
}

#[tokio::test]
async fn a_migration_into_a_table_that_is_not_there_makes_it() {
    let stand = LocalStand::new();
    let report = migrated(&stand, &staging()).await;
    assert_eq!((proof(&report).before, proof(&report).after.rows), (None, 6));
    assert_eq!(proof(&report).findings, Vec::<String>::new());
    asked_by_duckdb(&stand, &report.run.run_id);
    // Taken back, it is a table without rows.
    let undone = back(&stand, &report.run.run_id, false).await.unwrap().undone;
    assert_eq!((undone.removed, undone.rows_after), (6, 0));
    assert_eq!(stand.table().await, Vec::<String>::new());
}

#[tokio::test]
async fn rows_of_nothing_make_no_table_and_no_proof() {
    let stand = LocalStand::new();
    let report = migrated(&stand, &[]).await;
    assert_eq!((report.proof, stand.changes().await), (None, 0));
}

#[tokio::test]
async fn a_plan_counts_what_the_migration_does_and_writes_nothing() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let (table, entries) = (stand.table().await, ledger(&stand).await.records().len());
    let scratch = tempfile::tempdir().unwrap();
    let folder = tradefold::storage::Folder::open(&scratch.path().to_string_lossy(), &[]).unwrap();
    let mut own = Ledger::open(folder.join("ledger"), String::new()).await.unwrap();
    let planning = Run { home: folder.clone(), work: folder, ..run(&stand, options()) };
    let found = Box::pin(plan(planning, sources(input(&stand, &staging()).await), &mut own)).await.unwrap();
    assert_eq!((stand.table().await, ledger(&stand).await.records().len()), (table, entries));
    let report = migrated(&stand, &staging()).await;
    assert_eq!(found.run.balance, report.run.balance);
    let compared = |report: &MigrationReport| -> Vec<_> {
        report.run.batches.iter().map(|batch| (batch.days, batch.winners, batch.comparison)).collect()
    };
    assert_eq!(compared(&found), compared(&report));
    assert!(found.is_plan && found.proof.is_none() && found.run.batches.iter().all(|batch| batch.merged.is_none()));
}

#[tokio::test]
async fn what_a_sync_brings_in_between_a_death_and_the_proof_is_reckoned_with() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let inputs = input(&stand, &staging()).await;
    let bringing = run(&stand, options());
    Box::pin(bringing.bring_in(Work::Files(&inputs), &mut ledger(&stand).await)).await.unwrap();
    let report = backfill(&stand, &[fill("0xc1", json!("o"), EDGE_S, 1, 9.3)], RunOptions::default()).await.unwrap();
    assert_eq!(report.totals().1, 1);
    let proven = migrated(&stand, &staging()).await;
    let proof = proof(&proven);
    assert_eq!((proof.findings.len(), proof.inserted, proof.inserted_by_others), (0, 2, 1));
    assert_eq!(proof.before.unwrap().rows + 3, proof.after.rows);
    asked_by_duckdb(&stand, &proven.run.run_id);
}
