//! The source's own key beside the table's.

use super::{crowded, migrated_by, options, proof};
use crate::warehouse::{DAY_S, EDGE_S, Stand, fill, merged};
use serde_json::{Value, json};
use tradefold::dataset::parse_key;
use tradefold::run::{Choice, RunOptions};

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
        fill("0xe6", Value::Null, EDGE_S, 6, 0.6),
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
        // The other way round, and on a day that no merge would touch.
        fill("0xe6", json!("o"), EDGE_S + 9 * DAY_S, 6, 0.6),
    ];
    let by = |on_other_key| RunOptions {
        other_key: Some(parse_key("wallet, log_index").unwrap()),
        on_other_key,
        ..options()
    };
    let stopped = migrated_by(&stand, &rows, by(Choice::Stop)).await.unwrap();
    assert_eq!(stopped.run.stops.len(), 1, "{:?}", stopped.run.stops);
    let listed = crate::warehouse::text_of(&stand, stopped.run.stops[0].file.as_ref().unwrap()).await;
    let mut wallets: Vec<String> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["wallet"].as_str().unwrap().to_string())
        .collect();
    wallets.sort();
    assert_eq!(wallets, ["0xe1", "0xe3", "0xe6"]);
    let quarantined = migrated_by(&stand, &rows, by(Choice::Quarantine)).await.unwrap();
    assert_eq!(quarantined.run.stops, []);
    assert_eq!(quarantined.run.balance.quarantined.keys, 3);
    assert_eq!(stand.table().await.len(), 6);
    let kept = migrated_by(&stand, &rows, by(Choice::Keep)).await.unwrap();
    assert_eq!((kept.run.stops.len(), stand.table().await.len()), (0, 9));
}
