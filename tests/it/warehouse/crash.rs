//! Die at every point, start again, demand the same table and the same receipts.

use super::fuel::{Death, Fuel, FuelStore};
use super::local::LocalStand;
use super::{DAY_S, EDGE_S, Stand, backfill, fill, fills, receipts};
use serde_json::{Value, json};
use std::sync::Arc;
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

async fn calm(stand: &LocalStand) {
    for rows in rows() {
        let report = backfill(stand, &rows, RunOptions::default()).await.unwrap();
        assert_eq!(report.stops, []);
    }
}

/// The receipts with paths and versions as they are in every stand: relative to the lake.
async fn receipts_of(stand: &LocalStand) -> Vec<String> {
    let lake = stand.lake.url().to_string();
    receipts(&stand.home()).await.values().map(|value| value.to_string().replace(&lake, "lake")).collect()
}

async fn dies_after_every_effect(death: Death) {
    let reference = LocalStand::new();
    calm(&reference).await;
    let (table, expected) = (reference.table().await, receipts_of(&reference).await);
    assert_eq!((table.len(), expected.len()), (3, 3));
    let mut deaths = 0;
    for effects in 0..EFFECTS {
        let fuel = Fuel::new(effects, death);
        let spent = Arc::clone(&fuel);
        let mortal =
            LocalStand::over(fills(), tempfile::tempdir().unwrap(), |inner| Arc::new(FuelStore { inner, fuel }));
        let mut died = false;
        for rows in rows() {
            died |= backfill(&mortal, &rows, RunOptions::default()).await.is_err();
            if died {
                break;
            }
        }
        if !died {
            assert!(!spent.is_spent(), "a run that lost an effect must not report success");
            assert!(deaths >= 10, "the run died only {deaths} times");
            return;
        }
        deaths += 1;
        let again = LocalStand::over(fills(), mortal.folder, |store| store);
        calm(&again).await;
        assert_eq!(again.table().await, table, "died after {effects} effects, {death:?}");
        assert_eq!(receipts_of(&again).await, expected, "died after {effects} effects, {death:?}");
    }
    panic!("the run still dies after {EFFECTS} effects");
}

#[tokio::test]
async fn r7_a_run_that_dies_before_any_effect_goes_on() {
    dies_after_every_effect(Death::BeforeTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_that_dies_after_any_effect_goes_on() {
    dies_after_every_effect(Death::AfterTheEffect).await;
}
