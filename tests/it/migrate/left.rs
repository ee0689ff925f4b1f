//! What a migration that was killed leaves: tables that expire, and a run that is unfinished until it is forgotten.

use super::back::stand_over;
use super::in_place::{in_place_by, own_tables, source};
use super::{back, ledger, migrated, migrated_by, options, production, proof, run, staging};
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::script::{Fault, refusal};
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::{BigQueryStand, access, place};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{EDGE_S, NOW_US, Stand, copied, fill, fills, input, merged};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tradefold::gc::{Leftover, Places, forget};
use tradefold::ledger::{Entry, Ledger};
use tradefold::report::{StatusReport, status_text};
use tradefold::run::Work;
use tradefold::window::{DAY_US, Day};

/// What comes to the source after the kill, in the place of what was there.
fn more() -> Vec<Value> {
    let mut rows = staging();
    rows.push(fill("0xc1", json!("o"), EDGE_S, 1, 9.3));
    rows
}

async fn leftovers(stand: &impl Stand, today: Day) -> Vec<Leftover> {
    let (home, work) = (stand.home(), stand.work());
    let places = Places { warehouse: stand.warehouse(), home: &home, work: &work };
    places.leftovers(&ledger(stand).await, today).await.unwrap()
}

async fn told(stand: &impl Stand) -> String {
    let ledger = ledger(stand).await;
    let report = StatusReport::of(stand.warehouse().target(), 0, &ledger, &BTreeSet::new(), NOW_US).await.unwrap();
    status_text(&report, &ledger)
}

/// The batches that a run has merged, by its receipts.
fn batches(ledger: &Ledger, run: &str) -> Vec<String> {
    let own = ledger.receipts().filter(|receipt| receipt.run_id == run);
    own.map(|receipt| receipt.batch_id.clone()).collect()
}

/// After a first migration, which was killed in mid-merge, another one of a source that has changed since is done: the
/// first one can be forgotten, and both can be taken back to what the table was before.
async fn the_first_is_forgotten(stand: &impl Stand, first: &str, second: &str, before: &[String]) {
    let own = ledger(stand).await;
    let receipts = batches(&own, first);
    assert!(first != second && !receipts.is_empty());
    assert_eq!(own.unfinished(), [first], "another run's end is not its own");
    let text = told(stand).await;
    let line = format!("  unfinished run {first}: run the same command again\n");
    let ways = ["`gc --remove --unfinished`", &format!("`migrate --roll-back {first}`")];
    assert!(text.contains(&line) && ways.iter().all(|way| text.contains(way)), "{text}");
    let table = stand.table().await;
    assert_eq!(forget(&mut ledger(stand).await, NOW_US).await.unwrap(), [first]);
    let own = ledger(stand).await;
    assert_eq!((own.unfinished(), batches(&own, first)), (Vec::new(), receipts));
    assert!(!told(stand).await.contains("unfinished run"));
    assert!(leftovers(stand, Day::of_us(NOW_US)).await.iter().all(|left| left.needed_by.is_none()));
    assert_eq!((stand.table().await, forget(&mut ledger(stand).await, NOW_US).await.unwrap().len()), (table, 0));
    for name in [second, first] {
        back(stand, name, false).await.unwrap_or_else(|error| panic!("{}", error.render()));
    }
    assert_eq!(stand.table().await, before);
}

#[tokio::test]
async fn a_killed_migration_whose_files_have_changed_is_forgotten() {
    let stand = LocalStand::new();
    merged(&stand, &production()).await;
    let before = stand.table().await;
    // It dies after its first merge.
    let mut effects = 0;
    let (again, first) = loop {
        let mortal = stand_over(copied(stand.folder.path()), Some(effects));
        assert!(migrated_by(&mortal, &staging(), options()).await.is_err(), "it never came to a merge");
        let again = stand_over(mortal.folder, None);
        let own = ledger(&again).await;
        match own.migrations().first().filter(|name| !batches(&own, name).is_empty()) {
            Some(name) => break (again, name.to_string()),
            None => effects += 1,
        }
    };
    let second = migrated(&again, &more()).await;
    assert_eq!(proof(&second).findings, Vec::<String>::new());
    the_first_is_forgotten(&again, &first, &second.run.run_id, &before).await;
}

/// A lake with a migration that has merged all and proven nothing, and what the lake was before.
async fn unproven() -> (LocalStand, Vec<String>, String) {
    let stand = LocalStand::new();
    merged(&stand, &production()).await;
    let before = stand.table().await;
    let inputs = input(&stand, &staging()).await;
    let report = Box::pin(run(&stand, options()).bring_in(Work::Files(&inputs), &mut ledger(&stand).await)).await;
    let name = report.unwrap().run_id;
    assert_eq!(ledger(&stand).await.unfinished(), [name.as_str()]);
    (stand, before, name)
}

#[tokio::test]
async fn a_migration_that_was_forgotten_begins_anew_by_the_same_command() {
    let (stand, before, name) = unproven().await;
    forget(&mut ledger(&stand).await, NOW_US).await.unwrap();
    let left = leftovers(&stand, Day::of_us(NOW_US)).await;
    assert!(left.iter().any(|left| left.what == "staged objects"), "{left:?}");
    let home = stand.home();
    Places { warehouse: stand.warehouse(), home: &home, work: &home }.remove(&left).await.unwrap();
    let report = migrated(&stand, &staging()).await;
    // Also what it had merged before is proven, against what the table was then.
    assert_eq!((&report.run.run_id, proof(&report).findings.len(), proof(&report).inserted), (&name, 0, 2));
    assert_eq!(ledger(&stand).await.unfinished().len(), 0);
    back(&stand, &name, false).await.unwrap();
    assert_eq!(stand.table().await, before);
}

#[tokio::test]
async fn a_migration_that_is_being_taken_back_is_not_forgotten() {
    let (stand, _, name) = unproven().await;
    let begun = Entry::RollingBack { run_id: name.clone(), rows: 7 };
    ledger(&stand).await.append(begun, NOW_US).await.unwrap();
    let text = told(&stand).await;
    assert!(text.contains(&format!("it is being taken back; go on with --roll-back {name} --yes")), "{text}");
    assert!(!text.contains("run the same command again"), "{text}");
    assert_eq!(forget(&mut ledger(&stand).await, NOW_US).await.unwrap(), Vec::<String>::new());
    assert_eq!(ledger(&stand).await.unfinished(), [name]);
}

/// Tables that are kept, each as what it is kept for with its last day.
async fn kept(stand: &BigQueryStand, today: Day) -> BTreeMap<String, Option<Day>> {
    let found = leftovers(stand, today).await.into_iter().filter(|left| left.what == "kept table");
    let found = found.map(|left| {
        assert!(left.expires && left.place.starts_with(&format!("{}.tradefold_kept_fills_", stand.place)), "{left:?}");
        let own = left.place.rsplit("tradefold_kept_fills_").next().unwrap().to_string();
        let what = own.split_once('_').map_or("snapshot", |(what, _)| what);
        (if own.contains('-') { "mend".to_string() } else { what.to_string() }, left.kept_until)
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_a_killed_migration_in_place_has_left_are_told_with_their_day() {
    let front = Front::start(&servers().bigquery).await;
    let from = source(&fills(), &staging()).await;
    let to = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
    to.plant(&production()).await;
    let (before, today) = (to.table().await, Day::of_us(NOW_US));
    assert_eq!(kept(&to, today).await, BTreeMap::new());
    // Those of other targets, and one of a mend that nobody has told when to end.
    let digest = "0".repeat(32);
    for name in
        ["fills_more_17".into(), format!("fills_more_reduced_{digest}"), "fill_17".into(), "fills_01ab-7".into()]
    {
        let table = format!("`{}`.`{}`.`tradefold_kept_{name}`", to.place.project, to.place.dataset);
        to.witness.run(&format!("CREATE TABLE {table} (k STRING)")).await;
    }
    front.fail("POST job merge", 1, Fault::Pass);
    front.fail("POST job merge", 1, refusal(403, "quotaExceeded"));
    assert!(in_place_by(&from, &to, options()).await.is_err() && front.is_through());
    let first = ledger(&to).await.migrations()[0].to_string();
    let last = |days: i64| Some(Day::of_us(NOW_US + days * DAY_US - 1));
    let expected = |all: &[(&str, Option<Day>)]| -> BTreeMap<String, Option<Day>> {
        all.iter().map(|(what, until)| (what.to_string(), *until)).collect()
    };
    // The emulator does not say when a table ends that a statement has made.
    let all = [("changes", None), ("mend", None), ("reduced", last(3)), ("snapshot", last(30))];
    assert_eq!(kept(&to, today).await, expected(&all));
    let tables = own_tables(&to).await;
    let (home, work) = (to.home(), to.work());
    let left = leftovers(&to, today).await;
    Places { warehouse: to.warehouse(), home: &home, work: &work }.remove(&left).await.unwrap();
    assert_eq!(own_tables(&to).await, tables, "they expire");
    assert_eq!(kept(&to, today.plus(4)).await, expected(&[all[0], all[1], all[3]]), "as the first one has");
    from.plant(&[fill("0xc1", json!("o"), EDGE_S, 1, 9.3)]).await;
    let second = in_place_by(&from, &to, options()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(proof(&second).findings, Vec::<String>::new());
    Box::pin(the_first_is_forgotten(&to, &first, &second.run.run_id, &before)).await;
}
