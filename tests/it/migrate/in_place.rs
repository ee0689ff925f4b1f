//! Migrations from a table of BigQuery whose rows land where they lie.

use super::{back, ledger, migrated_by, of, options, production, proof, run, staging};
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::script::Fault;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::{BigQueryStand, access, place};
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, ascending, fill, fills, merged};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::error::Result;
use tradefold::ledger::Ledger;
use tradefold::migrate::{Sources, migrate, plan};
use tradefold::report::MigrationReport;
use tradefold::run::{Choice, Run, RunOptions};
use tradefold::sql::Losers;
use tradefold::warehouse::Warehouse;
use tradefold::warehouse::bigquery::{BigQueryWarehouse, InPlace, Options, TableName};
use tradefold::warehouse::usage::Usage;

/// A table of this name that holds rows as somebody has written them.
pub(super) async fn source(dataset: &Dataset, rows: &[Value]) -> BigQueryStand {
    let stand = BigQueryStand::new(Arc::new(dataset.clone())).await;
    stand.plant(rows).await;
    stand
}

async fn found<'a>(from: &BigQueryStand, to: &'a dyn Warehouse, options: &RunOptions) -> InPlace<'a> {
    let table = TableName { place: from.place.clone(), table: from.dataset().name.clone() };
    to.in_place(&table, &options.landing_options(NOW_US)).await.unwrap().unwrap()
}

fn sources(table: InPlace<'_>) -> Sources<'_> {
    let places = [(table.source().to_string(), "staging".to_string())].into();
    Sources { places, in_place: Some(table), ..Sources::default() }
}

pub(super) async fn in_place_by(
    from: &BigQueryStand,
    to: &BigQueryStand,
    options: RunOptions,
) -> Result<MigrationReport> {
    let table = found(from, to.warehouse(), &options).await;
    Box::pin(migrate(&run(to, options), sources(table), &mut ledger(to).await)).await
}

async fn in_place(from: &BigQueryStand, to: &BigQueryStand) -> MigrationReport {
    let report = in_place_by(from, to, options()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(report.run.stops, []);
    report
}

/// The tables of a dataset that belong to nobody's warehouse.
pub(super) async fn own_tables(stand: &BigQueryStand) -> BTreeSet<String> {
    let place = &stand.place;
    let tables =
        format!("SELECT table_name AS t FROM `{}`.`{}`.INFORMATION_SCHEMA.TABLES", place.project, place.dataset);
    let rows = stand.witness.run(&tables).await;
    let names = rows.iter().map(|row| row["t"].as_str().unwrap().to_string());
    names.filter(|name| name.starts_with("tradefold_")).collect()
}

async fn both_ways_give_the_same_table(dataset: Arc<Dataset>) {
    let mut rows = staging();
    // Not in lower case, and not to be landed at all.
    rows.push(fill("0xA1", json!("o"), EDGE_S + DAY_S, 1, 1.1));
    rows.push(fill("0xc9", json!("o"), NOW_US / 1_000_000 + 20 * DAY_S, 1, 1.1));
    let from = source(&dataset, &rows).await;
    let (by_files, to) =
        (BigQueryStand::crowded(Arc::clone(&dataset)).await, BigQueryStand::crowded(Arc::clone(&dataset)).await);
    merged(&by_files, &production()).await;
    merged(&to, &production()).await;
    let before = to.table().await;
    let wanting = || RunOptions { wants: Some("wallet".into()), ..options() };
    let expected = migrated_by(&by_files, &rows, wanting()).await.unwrap();
    let report = in_place_by(&from, &to, wanting()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    let wanted = ledger(&to).await.wanted().await.unwrap();
    assert_eq!(
        (wanted.len(), &wanted),
        (report.run.totals().0 as usize, &ledger(&by_files).await.wanted().await.unwrap())
    );
    assert_eq!(
        (report.run.balance.clone(), report.run.totals()),
        (expected.run.balance.clone(), expected.run.totals())
    );
    assert_eq!(report.run.rejects_by_reason, expected.run.rejects_by_reason);
    assert_eq!(report.sources, [("staging".to_string(), 11)].into());
    let table = to.table().await;
    assert_eq!(table, by_files.table().await);
    let compared = |report: &MigrationReport| -> Vec<_> {
        report.run.batches.iter().map(|batch| (batch.days, batch.winners, batch.comparison)).collect()
    };
    assert_eq!(compared(&report), compared(&expected));
    let found = proof(&report);
    assert_eq!(found.findings, Vec::<String>::new(), "{found:#?}");
    let new = report.run.totals().1;
    assert_eq!((found.inserted, found.before.unwrap().rows), (new, 5 + to.bystanders()));
    // The winners are still there for whoever runs the statements.
    let winners = &found.checks.iter().find(|check| check.name == "missing_winners").unwrap().sql[0];
    assert!(winners.contains(&format!("tradefold_kept_{}_reduced_", dataset.name)), "{winners}");
    to.witness.run(winners).await;
    let again = in_place(&from, &to).await;
    assert_eq!((again.run.totals().1, again.run.totals().2), (0, 0));
    assert_eq!((&proof(&again).findings, to.table().await), (&Vec::new(), table));
    let undone = back(&to, &report.run.run_id, false).await.unwrap().undone;
    assert_eq!((undone.removed, undone.restored, to.table().await), (new, 2, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_days_comes_in_where_it_lies_as_by_its_files() {
    Box::pin(both_ways_give_the_same_table(fills())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_one_part_comes_in_where_it_lies_as_by_its_files() {
    Box::pin(both_ways_give_the_same_table(ascending())).await;
}

/// Rows of two events under one key, rows that conflict, and plain ones.
fn doubtful() -> Vec<Value> {
    let event = |wallet: &str, log_index: u64, rev: i64| {
        let mut row = fill(wallet, json!("o"), EDGE_S, rev, 0.1);
        row["log_index"] = json!(log_index);
        row
    };
    vec![
        event("0xe1", 1, 1),
        event("0xe1", 2, 2),
        fill("0xe2", json!("o"), EDGE_S, 1, 0.1),
        fill("0xe2", json!("o"), EDGE_S, 1, 0.2),
        event("0xe3", 3, 1),
        fill("0xe4", json!("o"), EDGE_S, 1, 0.1),
        fill("0xe4", json!("o"), EDGE_S + 3_600, 1, 0.1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_decided_is_told_as_of_files() {
    let from = source(&fills(), &doubtful()).await;
    let (by_files, to) = (BigQueryStand::new(fills()).await, BigQueryStand::new(fills()).await);
    for changed in [
        RunOptions { keep_losers: true, ..options() },
        RunOptions { on_conflict: Choice::Stop, on_redated: Choice::Stop, on_suspect: Choice::Keep, ..options() },
        RunOptions { on_suspect: Choice::Quarantine, on_conflict: Choice::Quarantine, keep_losers: true, ..options() },
    ] {
        let expected = migrated_by(&by_files, &doubtful(), changed.clone()).await.unwrap().run;
        let report = in_place_by(&from, &to, changed).await.unwrap().run;
        let mut balance = expected.balance.clone();
        balance.quarantined_digest.clear();
        assert_eq!(report.balance, balance);
        let stops = |stops: &[tradefold::report::Stop]| -> Vec<_> {
            stops.iter().map(|stop| (stop.reason.clone(), stop.found.clone(), stop.file.is_some())).collect()
        };
        assert_eq!(stops(&report.stops), stops(&expected.stops));
        let names: BTreeSet<&String> = report.files.keys().collect();
        let by_files_names = expected.files.keys().filter(|name| !name.starts_with("quarantined")).collect();
        assert_eq!(names, by_files_names);
    }
    let table = to.table().await;
    assert_eq!(table, by_files.table().await);
    assert_eq!((of(&table, "0xe1").len(), of(&table, "0xe2").len(), table.len()), (0, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_the_target_makes_suspect_needs_another_way() {
    let to = BigQueryStand::new(fills()).await;
    let mut other = doubtful()[4].clone();
    other["log_index"] = json!(4);
    merged(&to, &[other]).await;
    let from = source(&fills(), &doubtful()).await;
    let table = to.table().await;
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..options() };
    let report = in_place_by(&from, &to, quarantine).await.unwrap();
    let stop = &report.run.stops[0];
    assert!(stop.reason == "suspect_keys" && stop.hint.contains("--route export"), "{stop:?}");
    assert_eq!((to.table().await, report.proof), (table, None));
    // Witnesses of losers are asked as well: the winner does not know a number, its loser does.
    let mut witness = doubtful()[4].clone();
    witness["rev"] = json!(0);
    let from = source(&fills(), &[witness, fill("0xe3", json!("o"), EDGE_S, 2, 0.1)]).await;
    let report = in_place_by(&from, &to, options()).await.unwrap();
    assert_eq!(report.run.stops[0].reason, "suspect_keys", "{:?}", report.run.stops);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rejects_stop_it_and_are_kept() {
    let late = |number: i64| fill(&format!("0x{number}"), json!("o"), NOW_US / 1_000_000 + 20 * DAY_S, 1, 0.1);
    let rows: Vec<Value> = (0..12).map(late).chain(staging()).collect();
    let (from, to) = (source(&fills(), &rows).await, BigQueryStand::new(fills()).await);
    let report = in_place_by(&from, &to, options()).await.unwrap().run;
    assert_eq!((report.stops.len(), report.stops[0].reason.as_str()), (1, "rejects"));
    let file = report.files["rejects"].rsplit('/').next().unwrap().to_string();
    let kept = to.home().join(&format!("runs/{}/rows", report.run_id));
    let text = kept.get(&file).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(text.to_vec()).unwrap().lines().count(), 12);
    let most = RunOptions { max_rejects: Some(12), ..options() };
    assert_eq!(in_place_by(&from, &to, most).await.unwrap().run.totals().1, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_rows_brings_nothing_in() {
    let (from, to) = (source(&fills(), &staging()).await, BigQueryStand::crowded(fills()).await);
    from.change("DELETE FROM", "WHERE TRUE").await;
    let table = to.table().await;
    let report = in_place(&from, &to).await;
    assert_eq!((report.run.balance.landing.read, report.run.batches.len(), to.table().await), (0, 0, table));
    let proof = proof(&report);
    assert_eq!((&proof.findings, proof.inserted, proof.after.rows), (&Vec::new(), 0, to.bystanders()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_it_leaves_nothing() {
    let from = source(&fills(), &staging()).await;
    let to = BigQueryStand::crowded(fills()).await;
    merged(&to, &production()).await;
    let stage = to.home().url().to_string();
    let only = Options { stage, only_compares: true, ..Options::default() };
    let access = access(&servers().bigquery, true);
    let only = BigQueryWarehouse::connect(access, fills(), to.place.clone(), only).await.unwrap();
    let (table, known) = (to.table().await, own_tables(&to).await);
    let scratch = tempfile::tempdir().unwrap();
    let folder = tradefold::storage::Folder::open(&scratch.path().to_string_lossy(), &[]).unwrap();
    let mut own = Ledger::open(folder.join("ledger"), String::new()).await.unwrap();
    let own_folder = folder.clone();
    let planning = Run { home: folder.clone(), work: folder, warehouse: &only, ..run(&to, options()) };
    let lies = sources(found(&from, &only, &options()).await);
    let planned = Box::pin(plan(planning, lies, &mut own)).await.unwrap();
    assert_eq!((to.table().await, own_tables(&to).await), (table, known.clone()));
    assert!(planned.is_plan);
    let foretold = planned.run.estimate.unwrap().usage;
    let odd = source(&fills(), &doubtful()).await;
    let lies = sources(found(&odd, &only, &options()).await);
    let planning = Run { home: own_folder.clone(), work: own_folder, warehouse: &only, ..run(&to, options()) };
    let stopped = Box::pin(plan(planning, lies, &mut own)).await.unwrap();
    assert_eq!((stopped.run.stops.len(), own_tables(&to).await), (1, known));
    // What another process takes.
    let to = BigQueryStand::at(fills(), to.place.clone(), self::access(&servers().bigquery, true)).await;
    let report = in_place(&from, &to).await;
    assert_eq!((planned.run.balance, planned.run.batches.len()), (report.run.balance, report.run.batches.len()));
    // Besides, the run counts the rows that do not land, and looks at what it has changed.
    let taken = report.run.usage.unwrap();
    let jobs = |usage: &Usage, step: &str| usage.steps.get(step).map(|sum| sum.jobs);
    for step in ["load", "reduce", "compare", "search", "merge"] {
        assert_eq!(jobs(&foretold, step), jobs(&taken, step), "{step}: {taken:#?}");
    }
    let used = |usage: &Usage| usage.limits.iter().map(|limit| (limit.what.clone(), limit.used)).collect::<Vec<_>>();
    assert_eq!(used(&foretold)[..3], used(&taken)[..3]);
}

/// BigQuery refuses a statement that writes to more days than one job may, or whose rows do not fit into its memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_statement_is_told_with_the_other_way() {
    let from = source(&fills(), &staging()).await;
    let to = BigQueryStand::crowded(fills()).await;
    let known = own_tables(&to).await;
    let front = Front::start(&servers().bigquery).await;
    let stage = to.home().url().to_string();
    for (reason, only_compares) in [("resourcesExceeded", true), ("invalidQuery", false)] {
        let options = Options { stage: stage.clone(), only_compares, ..Options::default() };
        let access = access(&front.url, false);
        let warehouse = BigQueryWarehouse::connect(access, fills(), to.place.clone(), options).await.unwrap();
        front.fail("POST job reduce", 1, Fault::FailJob(reason));
        let error = found(&from, &warehouse, &self::options()).await.reduce(Losers::default()).await.unwrap_err();
        let said = error.render();
        assert!(said.contains(reason) && said.contains("hint: give --route export"), "{said}");
        assert_eq!(own_tables(&to).await == known, only_compares, "a plan leaves nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_in_place_that_dies_after_any_effect_goes_on() {
    let known = [fill("0xa1", json!("o"), EDGE_S, 1, 0.1), fill("0xa2", json!("o"), EDGE_S, 2, 0.2)];
    let rows = [fill("0xa1", json!("o"), EDGE_S, 3, 1.1), fill("0xb1", json!("o"), EDGE_S, 1, 2.1)];
    let from = source(&fills(), &rows).await;
    let mut deaths = 0;
    for effects in 0.. {
        let front = Front::start(&servers().bigquery).await;
        let at = |place| BigQueryStand::at(fills(), place, access(&front.url, false));
        let first = at(place(servers()).await).await;
        first.plant(&known).await;
        front.die_after_effects(effects, true);
        let died = in_place_by(&from, &first, options()).await;
        let is_dead = front.is_dead();
        assert_eq!(died.is_err(), is_dead, "after {effects}: {died:?}");
        front.revive();
        let second = at(first.place.clone()).await;
        let report = in_place(&from, &second).await;
        let said = format!("after {effects}: {:#?}", front.log());
        assert_eq!(proof(&report).findings, Vec::<String>::new(), "{said}");
        let table = second.table().await;
        assert_eq!((table.len(), of(&table, "0xa1")[0]["price"].clone()), (3, json!(1.1)), "{said}");
        assert_eq!((front.ran("merge"), front.ran("reduce")), (1, 1), "{said}");
        let days: Vec<i64> =
            front.ends_ms("_reduced_").iter().map(|ends_ms| (ends_ms - NOW_US / 1_000) / 86_400_000).collect();
        assert_eq!(days, [30], "its winners are there as long as the proof promises: {said}");
        if !is_dead {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 5, "{deaths}");
}
