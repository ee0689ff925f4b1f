//! Another writer that pays no heed to the lock: Delta's commit at an expected version is the fence.

use super::fuel::{Death, Fuel, FuelStore};
use super::local::LocalStand;
use super::{EDGE_S, NOW_US, Stand, Unwritten, backfill, counts, fill, fills, merged, staged};
use object_store::ObjectStore;
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::error::Kind;
use tradefold::run::RunOptions;

/// Lets the other writer make the table's second commit, which is nothing that would be in our way, only that it is
/// one.
fn intrude(stand: &LocalStand, fuel: &Fuel) {
    let info = json!({"timestamp": NOW_US / 1000, "operation": "OPTIMIZE", "operationParameters": {}});
    let commit = stand.lake.join("fills").path("_delta_log/00000000000000000001.json");
    fuel.intrude(commit, json!({"commitInfo": info}).to_string().into());
}

fn stand() -> (LocalStand, Arc<Fuel>) {
    let fuel = Fuel::new(i64::MAX, Death::BeforeTheEffect);
    let store = |inner| Arc::new(FuelStore { inner, fuel: Arc::clone(&fuel) }) as Arc<dyn ObjectStore>;
    (LocalStand::over(fills(), tempfile::tempdir().unwrap(), store), fuel)
}

#[tokio::test]
async fn a_commit_at_another_version_than_was_read_is_refused() {
    let (stand, fuel) = stand();
    let row = |wallet: &str| fill(wallet, Value::Null, EDGE_S, 1, 0.1);
    merged(&stand, &[row("0xa")]).await;
    let (_folder, manifest) = staged(&stand, &[row("0xb")]).await;
    let found = stand.warehouse().compare(&manifest, &manifest.batch.touched).await.unwrap();
    let before = stand.table().await;
    intrude(&stand, &fuel);
    let error = stand.warehouse().merge(&manifest, &manifest.batch.touched, &found, &mut Unwritten).await.unwrap_err();
    assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Busy, 73), "{}", error.render());
    assert!(error.render().contains("another writer has changed the table"), "{}", error.render());
    assert_eq!((stand.table().await, stand.changes().await), (before, 2), "theirs stands, ours does not");
    let merged = stand.warehouse().merge(&manifest, &manifest.batch.touched, &found, &mut Unwritten).await.unwrap();
    assert_eq!((merged.inserted, merged.version), (1, Some(2)), "the same again goes through");
}

#[tokio::test]
async fn a_commit_of_another_writer_in_between_is_never_overwritten() {
    let (stand, fuel) = stand();
    merged(&stand, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let table = stand.table().await;
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.2), fill("0xb", json!("o"), EDGE_S, 1, 0.3)];
    intrude(&stand, &fuel);
    let error = backfill(&stand, &rows, RunOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
    assert!(error.render().contains("run the same command again"), "{}", error.render());
    assert_eq!((stand.table().await, stand.changes().await), (table, 2));
    // The other one is done.
    assert_eq!(counts(&merged(&stand, &rows).await), (1, 1, 0));
}
