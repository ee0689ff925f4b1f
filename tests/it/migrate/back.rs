//! The way back, and migrations that die.

use super::{back, crowded, ledger, migrated, migrated_by, of, options, production, proof, staging};
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, Stand, fill, fills, merged};
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::error::Kind;
use tradefold::ledger::Entry;
use tradefold::report::MigrationReport;

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

/// A stand in a folder that may hold a lake already; one with a number dies after so many effects.
pub(super) fn stand_over(folder: tempfile::TempDir, effects: Option<i64>) -> LocalStand {
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
    assert!(deaths >= 6, "it died only {deaths} times");
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
        let (own, rows) = (ledger(&again).await, before.len() as u64);
        assert_eq!((own.lost_rows(rows), own.removed_between_merges()), (0, 0), "died after {effects} effects");
        assert_eq!((own.rows_after_last_merge(), own.unfinished().len()), (Some(rows), 0));
        assert_eq!(again.table().await, before, "died after {effects} effects");
        if !died {
            break;
        }
    }
    assert!(deaths >= 3, "it died only {deaths} times");
}

#[tokio::test]
async fn what_came_later_is_taken_back_first_and_by_the_same_contract() {
    let stand = crowded().await;
    let first = migrated(&stand, &staging()).await.run.run_id;
    let raised = [fill("0xb1", json!("o"), EDGE_S - DAY_S + 7_200, 9, 9.9)];
    let second = migrated(&stand, &raised).await.run.run_id;
    let error = back(&stand, &first, false).await.unwrap_err();
    assert!(error.render().contains(&format!("--roll-back {second}")), "{}", error.render());
    assert_eq!(back(&stand, &second, false).await.unwrap().undone.restored, 1);
    // By another key several rows would be of one.
    let other = stand.dataset().clone().with_key(tradefold::dataset::parse_key("wallet").unwrap()).unwrap();
    let run = tradefold::run::Run { dataset: &other, ..super::run(&stand, options()) };
    let error = tradefold::migrate::roll_back(&run, &first, &mut ledger(&stand).await, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{}", error.render());
    back(&stand, &first, false).await.unwrap();
    assert_eq!(stand.table().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_merge_that_never_came_is_taken_back_once() {
    let stand = LocalStand::new();
    merged(&stand, &production()).await;
    let before = stand.table().await;
    // It dies right after it has written down what its first merge is about to change.
    let mut effects = 0;
    let (again, name) = loop {
        let mortal = stand_over(crate::warehouse::copied(stand.folder.path()), Some(effects));
        let _ = migrated_by(&mortal, &staging(), options()).await;
        let again = stand_over(mortal.folder, None);
        let own = ledger(&again).await;
        match own.records().last().map(|record| record.entry.clone()) {
            Some(Entry::Changing { run_id, .. }) => break (again, run_id),
            _ => effects += 1,
        }
    };
    migrated(&again, &staging()).await;
    assert_eq!(ledger(&again).await.migration(&name).unwrap().changes.len(), 3, "one for each batch that changes");
    let planned = back(&again, &name, true).await.unwrap().undone;
    let done = back(&again, &name, false).await.unwrap().undone;
    assert_eq!((planned.removed, planned.restored, planned.as_before), (2, 2, 0));
    assert_eq!((done.removed, done.restored, done.as_before), (2, 2, 0));
    assert_eq!(again.table().await, before);
}

#[tokio::test]
async fn a_migration_over_another_is_proven_and_both_are_taken_back_in_order() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let before = stand.table().await;
    let first = migrated(&stand, &staging()).await;
    let between = stand.table().await;
    // It raises rows of both, one of them for the second time, and has a row of its own.
    let rows = [
        fill("0xa5", json!("o"), EDGE_S + 41 * DAY_S, 1, 5.5),
        fill("0xa1", json!("o"), EDGE_S + 2 * DAY_S, 1, 5.1),
        fill("0xb2", Value::Null, EDGE_S + 21 * DAY_S, 7, 5.2),
        fill("0xd1", Value::Null, EDGE_S, 1, 5.3),
        fill("0xa2", json!("o"), EDGE_S, 2, 0.2),
    ];
    let second = migrated(&stand, &rows).await;
    assert_eq!(second.run.totals(), (5, 1, 3, 1));
    assert_eq!((proof(&second).findings.len(), proof(&second).inserted, proof(&second).inserted_by_others), (0, 1, 0));
    let undone = back(&stand, &second.run.run_id, false).await.unwrap().undone;
    assert_eq!((undone.removed, undone.restored, undone.changed_since), (1, 3, 0));
    assert_eq!(stand.table().await, between);
    let undone = back(&stand, &first.run.run_id, false).await.unwrap().undone;
    assert_eq!((undone.removed, undone.restored, undone.changed_since), (2, 2, 0));
    assert_eq!(stand.table().await, before);
    let own = ledger(&stand).await;
    let rows = before.len() as u64 + stand.bystanders();
    assert_eq!((own.lost_rows(rows), own.migrations().len(), own.unfinished().len()), (0, 0, 0));
}
