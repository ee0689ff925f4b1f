//! Migrations: what they bring in, the proof that finds every loss that is planted, and the way back.

use crate::googlesql::python;
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, backfill, fill, fills, input, merged};
use deltalake::DeltaTable;
use deltalake::operations::update::UpdateBuilder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tradefold::dataset::parse_key;
use tradefold::error::{Kind, Result};
use tradefold::ledger::{Entry, Ledger};
use tradefold::migrate::{Sources, migrate, plan, prove, roll_back};
use tradefold::progress::Silent;
use tradefold::report::{MigrationReport, Proof, RollBackReport};
use tradefold::run::{Choice, Run, RunOptions, Work};
use tradefold::source::Input;
use tradefold::window::Day;

fn options() -> RunOptions {
    RunOptions { keeps_changes: true, keep_staged: true, ..RunOptions::default() }
}

async fn ledger(stand: &LocalStand) -> Ledger {
    let nonce = format!("{:?}", std::time::Instant::now());
    Ledger::open(stand.home().join("ledger"), nonce).await.unwrap()
}

fn run<'a>(stand: &'a LocalStand, options: RunOptions) -> Run<'a> {
    Run {
        dataset: stand.dataset(),
        engine: stand.engine(),
        warehouse: stand.warehouse(),
        home: stand.home(),
        work: stand.work(),
        options,
        page: None,
        progress: &Silent,
        now_us: &|| NOW_US,
    }
}

fn sources(inputs: Vec<Input>) -> Sources {
    let places = inputs.iter().map(|input| (input.url.clone(), "staging".to_string())).collect();
    Sources { inputs, places }
}

async fn migrated_by(stand: &LocalStand, rows: &[Value], options: RunOptions) -> Result<MigrationReport> {
    let sources = sources(input(stand, rows).await);
    Box::pin(migrate(&run(stand, options), sources, &mut ledger(stand).await)).await
}

/// A migration that goes through.
async fn migrated(stand: &LocalStand, rows: &[Value]) -> MigrationReport {
    let report = migrated_by(stand, rows, options()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(report.run.stops, []);
    report
}

async fn back(stand: &LocalStand, name: &str, is_plan: bool) -> Result<RollBackReport> {
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

/// Lets DuckDB ask what the proof has asked.
fn asked_by_duckdb(stand: &LocalStand, name: &str) {
    let rows = stand.folder.path().join("lake/_tradefold/fills/runs").join(name).join("migration");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/proof.py");
    let ran =
        Command::new(python()).arg(script).args([rows.join("proof.sql"), rows.join("proof.json")]).output().unwrap();
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

/// What somebody does to the table behind a migration's back.
enum Loss {
    Delete(&'static str),
    Set(&'static str, &'static str, &'static str),
    Add(Value),
}

async fn table_of(stand: &LocalStand) -> DeltaTable {
    let path: PathBuf = stand.folder.path().join("lake/fills");
    deltalake::open_table(url::Url::from_directory_path(path).unwrap()).await.unwrap()
}

async fn suffer(stand: &LocalStand, loss: Loss) {
    let table = table_of(stand).await;
    match loss {
        Loss::Delete(which) => drop(table.delete().with_predicate(which).await.unwrap()),
        Loss::Set(which, column, value) => {
            let update: UpdateBuilder = table.update();
            drop(update.with_predicate(which).with_update(column, value).await.unwrap());
        }
        Loss::Add(row) => stand.plant(&[row]).await,
    }
}

#[tokio::test]
async fn every_loss_that_is_planted_is_found_and_named() {
    let day = |s: i64| Day::of_us(s * 1_000_000).to_string();
    let (edge, early) = (day(EDGE_S), day(EDGE_S - DAY_S));
    // What is done, and for each finding what it tells, by day or column, and of which wallets.
    type Told = (&'static str, Vec<(String, u64)>, Vec<&'static str>);
    let cases: Vec<(Loss, Vec<Told>)> = vec![
        (
            Loss::Delete("wallet = '0xa2'"),
            vec![
                ("lost_keys", vec![(edge.clone(), 1)], vec!["0xa2"]),
                // Staging has it, too.
                ("missing_winners", vec![(edge.clone(), 1)], vec!["0xa2"]),
                ("keys", vec![], vec![]),
                ("rows", vec![], vec![]),
            ],
        ),
        (
            Loss::Delete("wallet = '0xa5'"),
            vec![
                ("lost_keys", vec![(day(EDGE_S + 40 * DAY_S), 1)], vec!["0xa5"]),
                ("keys", vec![], vec![]),
                ("rows", vec![], vec![]),
            ],
        ),
        (
            Loss::Delete("wallet = '0xb1'"),
            vec![
                ("missing_winners", vec![(early.clone(), 1)], vec!["0xb1"]),
                ("keys", vec![], vec![]),
                ("rows", vec![], vec![]),
            ],
        ),
        (
            Loss::Set("wallet = '0xa2'", "rev", "0"),
            vec![
                ("lowered_rows", vec![(edge.clone(), 1)], vec!["0xa2"]),
                ("lower_than_winners", vec![(edge.clone(), 1)], vec!["0xa2"]),
            ],
        ),
        (
            Loss::Set("wallet = '0xb1'", "rev", "0"),
            vec![("lower_than_winners", vec![(early.clone(), 1)], vec!["0xb1"])],
        ),
        (
            Loss::Set("wallet = '0xa5'", "price", "NULL"),
            vec![("blanked_columns", vec![("price".into(), 1)], vec!["0xa5"])],
        ),
        (
            Loss::Add(fill("0xa2", json!("o"), EDGE_S, 2, 0.2)),
            vec![("duplicates", vec![(edge.clone(), 1)], vec!["0xa2"]), ("rows", vec![], vec![])],
        ),
        // A key that nobody has brought, in the place of one that somebody has: their number is right.
        (
            Loss::Set("wallet = '0xa5'", "wallet", "'0xa6'"),
            vec![("lost_keys", vec![(day(EDGE_S + 40 * DAY_S), 1)], vec!["0xa5"]), ("keys", vec![], vec![])],
        ),
    ];
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let inputs = input(&stand, &staging()).await;
    let work = Work::Files(&inputs);
    let name = run(&stand, options()).run_id(work);
    let report = Box::pin(run(&stand, options()).bring_in(work, &mut ledger(&stand).await)).await.unwrap();
    assert_eq!(report.stops, []);
    let places = BTreeMap::new();
    for (at, (loss, expected)) in cases.into_iter().enumerate() {
        suffer(&stand, loss).await;
        let proof = prove(&run(&stand, options()), &name, &places, &ledger(&stand).await).await.unwrap();
        let told: Vec<(String, Vec<(String, u64)>, Vec<String>)> = proof
            .checks
            .iter()
            .filter(|check| check.found > 0)
            .map(|check| {
                let wallets = check.examples.iter().map(|key| key[0].clone().unwrap()).collect();
                (check.name.clone(), check.by.clone().into_iter().collect(), wallets)
            })
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, by, wallets)| {
                (name.to_string(), by, wallets.into_iter().map(str::to_string).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(told, expected, "case {at}");
        assert_eq!(proof.findings, told.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>(), "case {at}");
        let rows = stand.folder.path().join("lake/_tradefold/fills/runs").join(&name).join("migration");
        std::fs::write(rows.join("proof.sql"), proof.sql()).unwrap();
        std::fs::write(rows.join("proof.json"), serde_json::to_string(&proof).unwrap()).unwrap();
        asked_by_duckdb(&stand, &name);
        // As it was before the loss.
        Stand::roll_back(&stand).await;
    }
    let proof = prove(&run(&stand, options()), &name, &places, &ledger(&stand).await).await.unwrap();
    assert_eq!(proof.findings, Vec::<String>::new());
}

#[tokio::test]
async fn a_roll_back_takes_out_what_came_in_and_puts_back_what_was_there() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let table = stand.table().await;
    let report = migrated(&stand, &staging()).await;
    let name = report.run.run_id.clone();
    assert_ne!(stand.table().await, table);
    let planned = back(&stand, &name, true).await.unwrap();
    assert!(planned.is_plan);
    let changes = stand.changes().await;
    let done = back(&stand, &name, false).await.unwrap();
    let undone = &done.undone;
    assert_eq!((undone.removed, undone.restored, undone.changed_since, undone.as_before), (2, 2, 0, 0));
    assert_eq!(undone.rows_after, undone.rows_before - 2);
    assert_eq!((planned.undone.removed, planned.undone.restored), (2, 2));
    assert_eq!(planned.undone.rows_after, undone.rows_after);
    assert_eq!(stand.table().await, table);
    assert!(stand.changes().await > changes);
    // Nobody has lost rows: they were taken out.
    let ledger = ledger(&stand).await;
    assert_eq!(ledger.rows_after_last_merge(), Some(undone.rows_after));
    assert_eq!((ledger.removed_between_merges(), ledger.lost_rows(undone.rows_after)), (0, 0));
    // It is gone by now, and can be done again.
    let error = back(&stand, &name, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{}", error.render());
    let again = migrated(&stand, &staging()).await;
    assert_eq!((again.run.run_id.as_str(), again.run.totals()), (name.as_str(), (6, 2, 2, 2)));
    assert_eq!(proof(&again).findings, Vec::<String>::new());
    assert_eq!(back(&stand, &name, false).await.unwrap().undone.removed, 2);
    assert_eq!(stand.table().await, table);
}

#[tokio::test]
async fn rows_that_others_have_changed_since_stay_and_their_runs_are_named() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let report = migrated(&stand, &staging()).await;
    // One of those that came in, one of those that were raised, one that is of no concern.
    let since = [
        fill("0xb2", Value::Null, EDGE_S + 22 * DAY_S, 1, 9.1),
        fill("0xa1", json!("o"), EDGE_S + DAY_S, 5, 9.2),
        fill("0xc1", json!("o"), EDGE_S, 1, 9.3),
    ];
    let other = merged(&stand, &since).await;
    let raised = stand.table().await;
    let done = back(&stand, &report.run.run_id, false).await.unwrap();
    let undone = &done.undone;
    assert_eq!((undone.removed, undone.restored, undone.changed_since, undone.as_before), (1, 1, 2, 0));
    assert_eq!(done.run_again, [other.run_id]);
    let table = stand.table().await;
    for wallet in ["0xb2", "0xa1", "0xc1"] {
        assert_eq!(of(&table, wallet), of(&raised, wallet), "{wallet} was changed by somebody else");
    }
    assert_eq!(of(&table, "0xb1"), Vec::<Value>::new());
    assert_eq!(of(&table, "0xa4")[0]["rev"], json!(1));
    assert_eq!(table.len(), 5 + 2);
}

/// What a run of feeds has seen since is a gap again.
#[tokio::test]
async fn windows_that_were_brought_in_since_are_gaps_again() {
    use tradefold::landing::Landed;
    use tradefold::ledger::{Cover, Purpose, Seen};
    use tradefold::spans::Spans;
    use tradefold::window::Window;
    let stand = crowded().await;
    let part = |name: &str, from_us: i64| Seen {
        part: name.into(),
        covers: vec![Cover {
            feed: "dome".into(),
            spans: Spans::from(vec![Window::new(from_us, from_us + 10).unwrap()]),
        }],
        gaps: Vec::new(),
        purpose: Purpose::New,
        contract: String::new(),
    };
    let finished =
        |run_id: &str, part: &str| Entry::Finished { run_id: run_id.into(), parts: vec![part.into()], usage: None };
    let mut own = ledger(&stand).await;
    own.append(Entry::Followed { feed: "dome".into(), from_us: 0, to_us: None }, 0).await.unwrap();
    own.append_fetched(part("early", 0), &Landed::default(), 0).await.unwrap();
    own.append(finished("r1", "early"), 0).await.unwrap();
    let report = migrated(&stand, &staging()).await;
    let mut own = ledger(&stand).await;
    own.append_fetched(part("late", 10), &Landed::default(), 0).await.unwrap();
    own.append(finished("r2", "late"), 0).await.unwrap();
    assert_eq!(own.feeds(&Default::default())["dome"].checkpoint_us, 20);
    let planned = back(&stand, &report.run.run_id, true).await.unwrap();
    assert_eq!((planned.unseen_feeds.as_slice(), planned.run_again.len()), (&["dome".to_string()][..], 0));
    assert_eq!(ledger(&stand).await.feeds(&Default::default())["dome"].checkpoint_us, 20, "it was a plan");
    back(&stand, &report.run.run_id, false).await.unwrap();
    assert_eq!(ledger(&stand).await.feeds(&Default::default())["dome"].checkpoint_us, 10);
}

#[tokio::test]
async fn keys_on_which_two_keys_disagree_stop_the_migration_until_somebody_chooses() {
    // By wallet and rev: 0xd1 is told apart, 0xd2 and 0xd3 agree, the two of 0xd4 are put together.
    let mut rows = vec![
        fill("0xd1", json!("o"), EDGE_S, 1, 0.1),
        fill("0xd1", json!("o"), EDGE_S, 2, 0.2),
        fill("0xd2", json!("o"), EDGE_S, 1, 0.3),
        fill("0xd2", json!("o"), EDGE_S, 1, 0.3),
        fill("0xd3", Value::Null, EDGE_S, 1, 0.4),
        fill("0xd4", json!("o"), EDGE_S, 7, 0.5),
        fill("0xd4", json!("p"), EDGE_S, 7, 0.6),
    ];
    let by =
        |on_other_key| RunOptions { other_key: Some(parse_key("wallet, rev").unwrap()), on_other_key, ..options() };
    let stand = crowded().await;
    let stopped = migrated_by(&stand, &rows, by(Choice::Stop)).await.unwrap();
    let reasons: Vec<&str> = stopped.run.stops.iter().map(|stop| stop.reason.as_str()).collect();
    assert_eq!((reasons, stopped.proof.is_none()), (vec!["key_differences"], true));
    let other = stopped.run.other_key.unwrap();
    assert_eq!((other.keys, other.told_apart, other.put_together), (5, 1, 1));
    let listed = crate::warehouse::text_of(&stand, stopped.run.stops[0].file.as_ref().unwrap()).await;
    let mut wallets: Vec<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["wallet"].as_str().unwrap().to_string())
        .collect();
    wallets.sort();
    assert_eq!(wallets, ["0xd1", "0xd1", "0xd4", "0xd4"]);
    assert_eq!(stand.table().await.len(), 0);
    let quarantined = migrated_by(&stand, &rows, by(Choice::Quarantine)).await.unwrap();
    assert_eq!((quarantined.run.stops.len(), quarantined.run.balance.quarantined.rows), (0, 4));
    assert_eq!(stand.table().await.len(), 2);
    let kept = migrated_by(&stand, &rows, by(Choice::Keep)).await.unwrap();
    assert_eq!((kept.run.stops.len(), stand.table().await.len()), (0, 5));
    assert_eq!(proof(&kept).findings, Vec::<String>::new());
    // Where they agree there is nothing to choose.
    rows.retain(|row| ["0xd2", "0xd3"].contains(&row["wallet"].as_str().unwrap()));
    assert_eq!(migrated_by(&stand, &rows, by(Choice::Stop)).await.unwrap().run.stops, []);
}

#[tokio::test]
async fn an_event_that_the_target_has_under_another_key_is_found() {
    let stand = crowded().await;
    let mut elsewhere = fill("0xe3", json!("o"), EDGE_S, 3, 0.3);
    elsewhere["log_index"] = json!(33);
    let known = [
        fill("0xe1", json!("o"), EDGE_S, 1, 0.1),
        fill("0xe2", Value::Null, EDGE_S, 2, 0.2),
        elsewhere.clone(),
        fill("0xe4", json!("o"), EDGE_S, 4, 0.4),
    ];
    merged(&stand, &known).await;
    elsewhere["order_hash"] = json!("another");
    let rows = [
        // The same fill, once with and once without an order hash.
        fill("0xe1", Value::Null, EDGE_S, 9, 0.1),
        fill("0xe2", Value::Null, EDGE_S, 2, 0.2),
        // By wallet and log index it is the one that is there.
        elsewhere,
        fill("0xe5", Value::Null, EDGE_S, 5, 0.5),
    ];
    let by = |on_other_key| RunOptions {
        other_key: Some(parse_key("wallet, log_index").unwrap()),
        on_other_key,
        ..options()
    };
    let stopped = migrated_by(&stand, &rows, by(Choice::Stop)).await.unwrap();
    assert_eq!(stopped.run.stops.len(), 1, "{:?}", stopped.run.stops);
    let listed = crate::warehouse::text_of(&stand, stopped.run.stops[0].file.as_ref().unwrap()).await;
    let mut pairs: Vec<(Value, Value)> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| (row["wallet"].clone(), row["target_order_hash"].clone()))
        .collect();
    pairs.sort_by_key(|pair| pair.0.to_string());
    assert_eq!(pairs, [(json!("0xe1"), json!("o")), (json!("0xe3"), json!("o"))]);
    let quarantined = migrated_by(&stand, &rows, by(Choice::Quarantine)).await.unwrap();
    assert_eq!(quarantined.run.stops, []);
    assert_eq!(quarantined.run.balance.quarantined.keys, 2);
    assert_eq!(stand.table().await.len(), 5);
    let kept = migrated_by(&stand, &rows, by(Choice::Keep)).await.unwrap();
    assert_eq!((kept.run.stops.len(), stand.table().await.len()), (0, 7));
}

/// A stand in a folder that may hold a lake already; one with a number dies after so many effects.
fn stand_over(folder: tempfile::TempDir, effects: Option<i64>) -> LocalStand {
    LocalStand::over(fills(), folder, |inner| match effects {
        Some(effects) => Arc::new(FuelStore { inner, fuel: Fuel::new(effects, Death::AfterTheEffect) }),
        None => inner,
    })
}

/// What a migration and the way back leave, without what differs from lake to lake.
async fn outcome(stand: &LocalStand, report: &MigrationReport) -> (Vec<String>, Vec<String>, u64, u64) {
    let proof = proof(report);
    (stand.table().await, proof.findings.clone(), proof.before.unwrap().rows, proof.after.rows)
}

#[tokio::test]
async fn a_migration_and_a_roll_back_that_die_after_any_effect_go_on() {
    let stand = LocalStand::new();
    merged(&stand, &production()).await;
    let before = stand.table().await;
    let copy = || crate::warehouse::copied(stand.folder.path());
    let calm = stand_over(copy(), None);
    let report = migrated(&calm, &staging()).await;
    let expected = outcome(&calm, &report).await;
    assert_eq!(expected.1, Vec::<String>::new());
    let name = report.run.run_id;
    let mut deaths = 0;
    // A migration is three times as long as a run, and what it shares with one dies elsewhere after every effect.
    for effects in (0..).step_by(4) {
        let mortal = stand_over(copy(), Some(effects));
        let died = migrated_by(&mortal, &staging(), options()).await.is_err();
        let again = stand_over(mortal.folder, None);
        if died {
            deaths += 1;
            let is_proven = ledger(&again).await.migration(&name).is_some_and(|known| known.is_proven);
            let report = migrated(&again, &staging()).await;
            let mut found = outcome(&again, &report).await;
            if is_proven {
                // The last effect was the proof, so this is a migration of its own.
                assert_eq!(found.2, expected.3);
                found.2 = expected.2;
            }
            assert_eq!(found, expected, "died after {effects} effects");
        }
        // All of it can be taken back, whatever was tried how often.
        let done = back(&again, &name, false).await.unwrap();
        assert_eq!(again.table().await, before, "died after {effects} effects: {done:?}");
        if !died {
            break;
        }
    }
    assert!(deaths >= 7, "it died only {deaths} times");
    let mut deaths = 0;
    for effects in 0.. {
        let folder = crate::warehouse::copied(calm.folder.path());
        let mortal = stand_over(folder, Some(effects));
        let died = back(&mortal, &name, false).await.is_err();
        let again = stand_over(mortal.folder, None);
        if died {
            deaths += 1;
            // The last effect may have been the entry that says that it is done.
            let is_done = ledger(&again).await.migration(&name).is_none();
            assert_eq!(back(&again, &name, false).await.is_err(), is_done);
        }
        assert_eq!(again.table().await, before, "died after {effects} effects");
        if !died {
            break;
        }
    }
    assert!(deaths >= 3, "it died only {deaths} times");
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
