//! Die at every point, start again, demand the same table and the same receipts.

use super::fuel::{Death, Fuel, FuelStore};
use super::local::LocalStand;
use super::{DAY_S, EDGE_S, Stand, backfill, fill, fills, receipts};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tradefold::error::Result;
use tradefold::ledger::Ledger;
use tradefold::run::RunOptions;

/// More effects than a run has; the loop ends where a run outlives its fuel.
const EFFECTS: i64 = 200;

/// Two batches over a target that has rows: inserts, an update, a row that moves, a reject, duplicates.
fn rows() -> [Vec<Value>; 2] {
    let first = vec![fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", Value::Null, EDGE_S + DAY_S, 1, 0.2)];
    let second = vec![
        fill("0xa", json!("o"), EDGE_S, 2, 0.3),
        fill("0xb", Value::Null, EDGE_S + 2 * DAY_S, 1, 0.4),
        fill("0xc", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.5),
        fill("0xc", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.5),
        json!({"wallet": "0xd", "order_hash": null, "ts": null, "rev": 1}),
    ];
    [first, second]
}

/// The receipts with paths as they are in every stand: relative to the lake.
async fn receipts_of(stand: &LocalStand) -> Vec<String> {
    let mut receipts = receipts(&stand.home()).await;
    for receipt in receipts.values_mut() {
        let target = receipt["target"].as_str().unwrap();
        receipt["target"] = json!(target.rsplit_once("/lake").unwrap().1);
    }
    receipts.values().map(Value::to_string).collect()
}

/// A folder with what is in another one.
fn copied(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let mut folders = vec![from.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let place = to.path().join(path.strip_prefix(from).unwrap());
            if path.is_dir() {
                std::fs::create_dir(&place).unwrap();
                folders.push(path);
            } else {
                std::fs::copy(&path, &place).unwrap();
            }
        }
    }
    to
}

/// Runs `play` over copies of a lake, dying after every number of effects in turn; then calmly, on the same copy.
/// Demands the table and the receipts of a copy on which nobody died.
async fn dies_after_every_effect(death: Death, lake: &LocalStand, play: impl AsyncFn(&LocalStand) -> Result<()>) {
    let copy = || copied(lake.folder.path());
    let reference = LocalStand::over(fills(), copy(), |store| store);
    play(&reference).await.unwrap();
    let (table, expected) = (reference.table().await, receipts_of(&reference).await);
    assert_eq!((table.len(), expected.len()), (3, 3));
    for effects in 0..EFFECTS {
        let fuel = Fuel::new(effects, death);
        let spent = Arc::clone(&fuel);
        let mortal = LocalStand::over(fills(), copy(), |inner| Arc::new(FuelStore { inner, fuel }));
        if play(&mortal).await.is_ok() {
            assert!(!spent.is_spent(), "a run that lost an effect must not report success");
            assert!(effects >= 10, "the run died only {effects} times");
            return;
        }
        let again = LocalStand::over(fills(), mortal.folder, |store| store);
        play(&again).await.unwrap();
        assert_eq!(again.table().await, table, "died after {effects} effects, {death:?}");
        assert_eq!(receipts_of(&again).await, expected, "died after {effects} effects, {death:?}");
    }
    panic!("the run still dies after {EFFECTS} effects");
}

/// Both files, one after the other.
async fn both(stand: &LocalStand) -> Result<()> {
    for rows in rows() {
        assert_eq!(backfill(stand, &rows, RunOptions::default()).await?.stops, []);
    }
    Ok(())
}

/// The second file alone.
async fn second(stand: &LocalStand) -> Result<()> {
    let [_, second] = rows();
    assert_eq!(backfill(stand, &second, RunOptions::default()).await?.stops, []);
    Ok(())
}

#[tokio::test]
async fn r7_a_run_that_dies_before_any_effect_goes_on() {
    dies_after_every_effect(Death::BeforeTheEffect, &LocalStand::new(), both).await;
}

#[tokio::test]
async fn r7_a_run_that_dies_after_any_effect_goes_on() {
    dies_after_every_effect(Death::AfterTheEffect, &LocalStand::new(), both).await;
}

#[tokio::test]
async fn receipts_are_true_after_a_table_was_restored_and_the_next_run_died() {
    // Somebody took the table back to what it was before its last change.
    let restored = LocalStand::new();
    both(&restored).await.unwrap();
    restored.roll_back().await;
    // The effect after which the run dies may be the very commit that its receipt is to tell of.
    dies_after_every_effect(Death::AfterTheEffect, &restored, second).await;
    second(&restored).await.unwrap();
    let ledger = Ledger::open(restored.home().join("ledger"), String::new()).await.unwrap();
    let last = ledger.receipts().last().unwrap();
    // Of the three batches one was undone. It is merged once more, in the commit after the one that restored.
    assert_eq!((last.attempt, last.merged.version), (2, Some(4)));
    assert_eq!((last.comparison.new, last.merged.inserted, last.merged.rows_after), (1, 1, 3));
}
