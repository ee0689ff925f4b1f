//! Die after every request to BigQuery, start again, demand the same end, and no job that ran twice.

use super::front::Front;
use super::servers::servers;
use super::stand::{BigQueryStand, access, place};
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use crate::warehouse::{EDGE_S, Stand, backfill, counts, fill, fills, merged, receipts};
use object_store::ObjectStore;
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::run::RunOptions;

/// More requests than a run makes; the loop ends where a run outlives them.
const REQUESTS: i64 = 200;

/// An insert and an update.
fn rows() -> Vec<Value> {
    vec![fill("0xa", json!("o"), EDGE_S, 2, 0.2), fill("0xb", Value::Null, EDGE_S, 1, 0.3)]
}

async fn stand_at(front: &Front, place: tradefold::warehouse::bigquery::Place) -> BigQueryStand {
    BigQueryStand::at(fills(), place, access(&front.url, false)).await
}

/// Gives whether the first try died.
async fn die_and_go_on(after: i64, is_carried_out: bool) -> bool {
    let front = Front::start(&servers().bigquery).await;
    let first = stand_at(&front, place(servers()).await).await;
    first.plant(&[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    front.die_after(after, is_carried_out);
    let died = backfill(&first, &rows(), RunOptions::default()).await;
    let is_dead = front.is_dead();
    assert_eq!(died.is_err(), is_dead, "after {after}: {died:?}");
    front.revive();
    let second = stand_at(&front, first.place.clone()).await;
    let report = merged(&second, &rows()).await;
    let said = format!("after {after}, {is_carried_out}: {:#?}", front.log());
    let table = second.table().await;
    assert_eq!(table.len(), 2, "{said}");
    assert!(table[0].contains("\"rev\":2"), "{table:?}");
    let receipts = receipts(&second.home()).await;
    assert_eq!(receipts.len(), 1, "{said}");
    let changed: Vec<_> = receipts.iter().map(|receipt| receipt["merged"]["inserted"].as_u64().unwrap()).collect();
    assert_eq!(changed, [1], "{said}");
    assert_eq!(front.ran("merge"), 1, "{said}");
    // Once all is done and the temporary tables begin to go, another run is another run.
    let ended = counts(&report) == (0, 0, 2);
    assert!(front.ran("load") == 1 || ended, "{said}");
    is_dead
}

/// What the death before a request leaves there is what the lost answer of the one before it leaves, so each of the two
/// takes every other request.
async fn die_after_each_request(is_carried_out: bool) {
    let mut after = i64::from(is_carried_out);
    while die_and_go_on(after, is_carried_out).await {
        after += 2;
        assert!(after < REQUESTS, "no run outlives its requests");
    }
    assert!(after > 20, "only {after} requests");
}

/// The same for what is written to the bucket and removed from it.
async fn die_after_each_object(death: Death) {
    for after in 0.. {
        let front = Front::start(&servers().bigquery).await;
        let fuel = Fuel::new(after, death);
        let store = |inner| Arc::new(FuelStore { inner, fuel: Arc::clone(&fuel) }) as Arc<dyn ObjectStore>;
        let first = stand_at(&front, place(servers()).await).await.over(store);
        first.plant(&[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
        let died = backfill(&first, &rows(), RunOptions::default()).await;
        assert_eq!(died.is_err(), fuel.is_spent(), "after {after}: {died:?}");
        let second = stand_at(&front, first.place.clone()).await;
        merged(&second, &rows()).await;
        let table = second.table().await;
        assert!(table.len() == 2 && table[0].contains("\"rev\":2"), "after {after}: {table:?}");
        assert_eq!((receipts(&second.home()).await.len(), front.ran("merge")), (1, 1), "after {after}");
        if !fuel.is_spent() {
            assert!(after > 6, "only {after} objects");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_before_any_object_is_written_leads_to_the_same_end() {
    die_after_each_object(Death::BeforeTheEffect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_before_it_is_known_that_an_object_is_written_leads_to_the_same_end() {
    die_after_each_object(Death::AfterTheEffect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_before_any_request_is_carried_out_leads_to_the_same_end() {
    die_after_each_request(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_before_any_answer_is_heard_leads_to_the_same_end() {
    die_after_each_request(true).await;
}
