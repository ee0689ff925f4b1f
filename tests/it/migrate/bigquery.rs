//! Migrations into a table of BigQuery, as the emulator has it.

use super::losses::{Loss, Suffers, cases, every_loss_is_found};
use super::{back, ledger, migrated, migrated_by, of, options, production, proof, run, sources, staging};
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::{BigQueryStand, access, place};
use crate::warehouse::{DAY_S, EDGE_S, Stand, ascending, fill, fills, input, merged};
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::error::Kind;
use tradefold::ledger::Ledger;
use tradefold::migrate::plan;
use tradefold::run::{Run, Work};
use tradefold::storage::Folder;
use tradefold::warehouse::bigquery::{BigQueryWarehouse, Options};

impl Suffers for BigQueryStand {
    async fn suffer(&self, loss: Loss) {
        match loss {
            Loss::Delete(which) => self.change("DELETE FROM", &format!("WHERE {which}")).await,
            Loss::Set(which, column, value) => {
                self.change("UPDATE", &format!("SET {column} = {value} WHERE {which}")).await;
            }
            Loss::Add(row) => self.plant(&[row]).await,
        }
    }
}

async fn crowded(dataset: Arc<Dataset>) -> BigQueryStand {
    Box::pin(BigQueryStand::crowded(dataset)).await
}

async fn it_is_brought_in_proven_and_taken_back(dataset: Arc<Dataset>) {
    let stand = crowded(dataset).await;
    merged(&stand, &production()).await;
    let before = stand.table().await;
    let report = migrated(&stand, &staging()).await;
    assert_eq!(report.run.totals(), (6, 2, 2, 2));
    let found = proof(&report);
    assert_eq!(found.findings, Vec::<String>::new(), "{found:#?}");
    let rows = 5 + stand.bystanders();
    assert_eq!((found.before.unwrap().rows, found.inserted, found.after.rows), (rows, 2, rows + 2));
    // The keys' sum is known of both sides, not only their number.
    let keys = found.checks.iter().find(|check| check.name == "keys").unwrap();
    assert_eq!(keys.counted.matches("with the sum").count(), 2, "{}", keys.counted);
    let table = stand.table().await;
    assert_eq!(of(&table, "0xa4")[0]["price"], json!(0.4), "what was known stays");
    assert_eq!(of(&table, "0xa1")[0]["price"], json!(1.1));
    // A second one finds nothing to do, and proves that.
    let again = migrated(&stand, &staging()).await;
    assert_eq!((again.run.totals().1, again.run.totals().2), (0, 0));
    assert_eq!((&proof(&again).findings, proof(&again).before.unwrap().rows), (&Vec::new(), rows + 2));
    assert_eq!(stand.table().await, table);
    let name = report.run.run_id;
    let planned = back(&stand, &name, true).await.unwrap().undone;
    assert_eq!(stand.table().await, table);
    let done = back(&stand, &name, false).await.unwrap().undone;
    assert_eq!((planned.removed, planned.restored, planned.rows_after), (2, 2, done.rows_after));
    assert_eq!((done.removed, done.restored, done.changed_since, done.rows_after), (2, 2, 0, rows));
    assert_eq!(stand.table().await, before);
    let own = ledger(&stand).await;
    assert_eq!((own.rows_after_last_merge(), own.lost_rows(rows), own.unsettled()), (Some(rows), 0, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_is_migrated_into_and_taken_back() {
    Box::pin(it_is_brought_in_proven_and_taken_back(fills())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_one_part_is_migrated_into_and_taken_back() {
    Box::pin(it_is_brought_in_proven_and_taken_back(ascending())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_loss_in_bigquery_is_found_and_named() {
    let stand = crowded(fills()).await;
    Box::pin(every_loss_is_found(&stand, cases(&stand))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_have_changed_since_stay_in_bigquery() {
    let stand = crowded(fills()).await;
    merged(&stand, &production()).await;
    let name = migrated(&stand, &staging()).await.run.run_id;
    // One of those that came in, one of those that were raised.
    let since =
        [fill("0xb2", Value::Null, EDGE_S + 22 * DAY_S, 1, 9.1), fill("0xa1", json!("o"), EDGE_S + DAY_S, 5, 9.2)];
    merged(&stand, &since).await;
    let raised = stand.table().await;
    let undone = back(&stand, &name, false).await.unwrap().undone;
    assert_eq!((undone.removed, undone.restored, undone.changed_since), (1, 1, 2));
    let table = stand.table().await;
    for wallet in ["0xb2", "0xa1"] {
        assert_eq!(of(&table, wallet), of(&raised, wallet));
    }
    assert!(of(&table, "0xb1").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_and_gone_is_named() {
    let stand = crowded(fills()).await;
    merged(&stand, &production()).await;
    let name = migrated(&stand, &staging()).await.run.run_id;
    let tables = format!("SELECT table_name AS t FROM `p`.`{}`.INFORMATION_SCHEMA.TABLES", stand.place.dataset);
    for row in stand.witness.run(&tables.replace("`p`", &format!("`{}`", stand.place.project))).await {
        let table = row["t"].as_str().unwrap();
        if table.starts_with("tradefold_kept_fills_changes") {
            stand
                .witness
                .run(&format!("DROP TABLE `{}`.`{}`.`{table}`", stand.place.project, stand.place.dataset))
                .await;
        }
    }
    let error = back(&stand, &name, true).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.render().contains("what the merge has changed was kept under this name"), "{}", error.render());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_snapshot_has_expired_before_its_proof_begins_anew() {
    let stand = crowded(fills()).await;
    merged(&stand, &production()).await;
    let inputs = input(&stand, &staging()).await;
    let bringing = run(&stand, options());
    Box::pin(bringing.bring_in(Work::Files(&inputs), &mut ledger(&stand).await)).await.unwrap();
    let name = bringing.run_id(Work::Files(&inputs));
    let known = ledger(&stand).await.migration(&name).unwrap();
    let dataset = format!("`{}`.`{}`", stand.place.project, stand.place.dataset);
    let snapshot = format!("tradefold_kept_fills_{}", known.before.unwrap().version);
    stand.witness.run(&format!("DROP TABLE {dataset}.`{snapshot}`")).await;
    let report = migrated(&stand, &staging()).await;
    // Only what came from there on is proven: nothing did.
    let rows = 7 + stand.bystanders();
    let found = proof(&report);
    assert_eq!((&found.findings, found.before.unwrap().rows, found.inserted), (&Vec::new(), rows, 0));
    assert_eq!((known.before.unwrap().rows, known.changes.len()), (rows - 2, 3));
    // What was merged before is taken back all the same.
    assert_eq!(back(&stand, &name, false).await.unwrap().undone.rows_after, rows - 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_beside_an_unfinished_migration_has_tables_of_its_own_and_leaves_none() {
    let front = Front::start(&servers().bigquery).await;
    let stand = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
    stand.plant(&production()).await;
    front.die_after_effects(5, true);
    assert!(migrated_by(&stand, &staging(), options()).await.is_err());
    front.revive();
    let loaded = stand.warehouse().temporary().await.unwrap();
    assert!(!loaded.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let work = Folder::open(&folder.path().to_string_lossy(), &[]).unwrap();
    let only = Options { only_compares: true, stage: stand.home().url().to_string(), ..Options::default() };
    let warehouse = BigQueryWarehouse::connect(access(&front.url, false), fills(), stand.place.clone(), only);
    let warehouse = warehouse.await.unwrap();
    let home = stand.home().join("plans/one");
    let planning = Run { warehouse: &warehouse, home: home.clone(), work: work.clone(), ..run(&stand, options()) };
    let mut own = Ledger::open(work.join("ledger"), String::new()).await.unwrap();
    let inputs = sources(input(&stand, &staging()).await);
    let report = Box::pin(plan(planning, inputs, &mut own)).await.unwrap();
    assert_eq!(report.run.batches.iter().map(|batch| batch.comparison.new).sum::<u64>(), 2);
    assert_eq!(stand.warehouse().temporary().await.unwrap(), loaded);
    assert!(migrated(&stand, &staging()).await.proof.unwrap().findings.is_empty());
}

/// It dies after each effect, whose answer is lost, of a migration and of its roll back, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_into_bigquery_that_dies_after_any_effect_goes_on() {
    let known = [fill("0xa1", json!("o"), EDGE_S, 1, 0.1), fill("0xa2", json!("o"), EDGE_S, 2, 0.2)];
    let rows = [fill("0xa1", json!("o"), EDGE_S, 3, 1.1), fill("0xb1", json!("o"), EDGE_S, 1, 2.1)];
    let mut deaths = [0, 0];
    for effects in 0.. {
        let front = Front::start(&servers().bigquery).await;
        let at = |place| BigQueryStand::at(fills(), place, access(&front.url, false));
        let first = at(place(servers()).await).await;
        first.plant(&known).await;
        let before = first.table().await;
        front.die_after_effects(effects, true);
        let died = migrated_by(&first, &rows, options()).await;
        let is_dead = front.is_dead();
        assert_eq!(died.is_err(), is_dead, "after {effects}: {died:?}");
        front.revive();
        let second = at(first.place.clone()).await;
        let report = migrated(&second, &rows).await;
        let said = format!("after {effects}: {:#?}", front.log());
        assert_eq!(proof(&report).findings, Vec::<String>::new(), "{said}");
        let table = second.table().await;
        assert_eq!((table.len(), of(&table, "0xa1")[0]["price"].clone()), (3, json!(1.1)), "{said}");
        assert_eq!(front.ran("merge"), 1, "{said}");
        // A roll back has one effect: what comes of more of them is the same each time.
        if (2..).contains(&effects) && is_dead {
            deaths[0] += 1;
            continue;
        }
        let name = report.run.run_id;
        front.die_after_effects(effects, true);
        let died = back(&second, &name, false).await;
        let undo_is_dead = front.is_dead();
        front.revive();
        let third = at(first.place.clone()).await;
        if undo_is_dead {
            assert!(died.is_err(), "{said}");
            back(&third, &name, false).await.unwrap();
        }
        deaths = [deaths[0] + u32::from(is_dead), deaths[1] + u32::from(undo_is_dead)];
        assert_eq!((third.table().await, front.ran("undo")), (before, 1), "{said}");
        let own = ledger(&third).await;
        assert_eq!(
            (own.rows_after_last_merge(), own.lost_rows(2), own.unsettled()),
            (Some(2), 0, Vec::new()),
            "{said}"
        );
        if !is_dead {
            break;
        }
    }
    assert!(deaths[0] > 9 && deaths[1] == 1, "{deaths:?}");
}
