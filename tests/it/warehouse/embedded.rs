//! What only the embedded warehouse can show, or what takes a contract of its own.

use super::local::LocalStand;
use super::{DAY_S, EDGE_S, Stand, ascending, backfill, contract, counts, fill, fills, merged};
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::error::Kind;
use tradefold::run::{Choice, RunOptions};

/// The contract of the suite with something changed in its text.
fn altered(from: &str, to: &str) -> Arc<Dataset> {
    let text = include_str!("fills.toml");
    assert!(text.contains(from), "{from}");
    Arc::new(Dataset::from_toml(&text.replacen(from, to, 1), "fills.toml").unwrap())
}

/// Rows that a batch does not bring in stay as they are, whatever the order makes of a side that is not there.
#[tokio::test]
async fn r5_a_row_that_no_batch_names_stays_where_null_ranks_first() {
    for partition in [Some("ts"), None] {
        let mut dataset = Dataset::clone(&fills());
        dataset.order = tradefold::dataset::parse_order("ts, rev").unwrap();
        dataset.partition = partition.map(str::to_string);
        let stand = LocalStand::of(Arc::new(dataset));
        let row = |wallet: &str, rev| fill(wallet, Value::Null, EDGE_S, rev, 0.1);
        merged(&stand, &[row("0xa", 2), row("0xb", 2)]).await;
        let before = stand.table().await;
        merged(&stand, &[row("0xc", 2)]).await;
        let after = stand.table().await;
        assert!(after.len() == 3 && before.iter().all(|row| after.contains(row)), "{before:#?}\n{after:#?}");
        let report = merged(&stand, &[row("0xa", 1), row("0xb", 3)]).await;
        assert_eq!(counts(&report), (0, 1, 1), "the earlier is the better");
    }
}

/// A commit that announced another number of rows than it has, as one would that lost a row, and no receipt of it.
#[tokio::test]
async fn r4_a_wrong_commit_is_refused_on_every_try_until_the_table_is_restored() {
    let stand = LocalStand::new();
    let row = |wallet: &str| fill(wallet, Value::Null, EDGE_S, 1, 0.1);
    let (first, second) = ([row("0xa")], [row("0xb")]);
    merged(&stand, &first).await;
    let ledger = stand.folder.path().join("lake/_tradefold/fills/ledger");
    let entries = || {
        let paths = std::fs::read_dir(&ledger).unwrap().map(|entry| entry.unwrap().path());
        let mut entries: Vec<_> = paths.filter(|path| !path.to_string_lossy().contains("/landing-")).collect();
        entries.sort();
        entries
    };
    let before = entries().len();
    merged(&stand, &second).await;
    let commit = stand.folder.path().join("lake/fills/_delta_log/00000000000000000001.json");
    let text = std::fs::read_to_string(&commit).unwrap();
    let announced =
        text.replace("\"rows_before\":1", "\"rows_before\":2").replace("\"rows_after\":2", "\"rows_after\":3");
    assert_ne!(text, announced);
    std::fs::write(&commit, announced).unwrap();
    // Landed and planned are left: the run came to its merge.
    for entry in &entries()[before + 2..] {
        std::fs::remove_file(entry).unwrap();
    }
    for _ in 0..2 {
        let error = backfill(&stand, &second, RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.render().contains("the target had 2 rows and has 2"), "{}", error.render());
        assert!(error.render().contains("restore the target"), "{}", error.render());
    }
    stand.roll_back().await;
    // Another run brings the same rows in: what the wrong commit did is undone and tells nothing.
    merged(&stand, &[row("0xb"), row("0xc")]).await;
    assert_eq!(counts(&merged(&stand, &second).await), (0, 0, 1));
    assert_eq!(stand.table().await.len(), 3);
}

/// Of the two contracts only this one has its time in the order.
#[tokio::test]
async fn a_row_of_the_future_goes_in_once_its_time_has_come() {
    contract::a_row_of_the_future_goes_in_once_its_time_has_come(&LocalStand::crowded(fills()).await).await;
}

#[tokio::test]
async fn an_immutable_table_only_inserts() {
    let mut in_one_part = Dataset::clone(&ascending());
    in_one_part.immutable = true;
    let by_day = altered("partition = \"ts\"", "partition = \"ts\"\nimmutable = true");
    for dataset in [by_day, Arc::new(in_one_part)] {
        contract::an_immutable_table_only_inserts(&LocalStand::crowded(dataset).await).await;
    }
}

/// As many rows, but others: what is left is another batch, which must not be taken for the first one.
#[tokio::test]
async fn a_batch_is_named_for_the_rows_that_were_set_aside() {
    let numbered = |wallet: &str, rev, log_index| {
        let mut row = fill(wallet, Value::Null, EDGE_S, rev, 0.1);
        row["log_index"] = json!(log_index);
        row
    };
    let rows = [numbered("0xa", 2, 11), numbered("0xb", 2, 11), numbered("0xc", 2, 11)];
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..RunOptions::default() };
    let mut ids = Vec::new();
    for suspect in ["0xa", "0xb", "0xa"] {
        let stand = LocalStand::new();
        merged(&stand, &[numbered(suspect, 1, 10)]).await;
        let report = backfill(&stand, &rows, quarantine.clone()).await.unwrap();
        assert_eq!((report.balance.quarantined.rows, counts(&report)), (1, (2, 0, 0)));
        ids.push(report.batches[0].batch_id.clone());
    }
    assert!(ids[0] != ids[1] && ids[0] == ids[2], "{ids:?}");
}

#[tokio::test]
async fn a_twin_in_mixed_case_on_another_day_stops_the_run() {
    // The contract before somebody thought of case: the same table, keys as they come.
    let before = LocalStand::of(altered("format = \"hex\"\n", ""));
    before.plant(&[fill("0xAb", json!("o"), EDGE_S, 1, 0.1), fill("0xcd", json!("o"), EDGE_S, 1, 0.1)]).await;
    let stand = LocalStand::over(fills(), before.folder, |store| store);
    let table = stand.table().await;
    // Many days away, so that only the key search can find it.
    let row = fill("0xab", json!("o"), EDGE_S + 30 * DAY_S, 1, 0.2);
    let report = backfill(&stand, &[row], RunOptions::default()).await.unwrap();
    assert_eq!(report.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["target_unfolded"]);
    assert_eq!(report.batches[0].comparison.unfolded, 1);
    assert_eq!(stand.table().await, table);
    // A key that has no twin is none of its business.
    let other = fill("0xef", json!("o"), EDGE_S + 30 * DAY_S, 1, 0.2);
    assert_eq!(backfill(&stand, &[other], RunOptions::default()).await.unwrap().stops, []);
}

#[tokio::test]
async fn a_table_that_does_not_fit_the_contract_is_refused() {
    let stand = LocalStand::new();
    merged(&stand, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let (table, mut folder) = (stand.table().await, stand.folder);
    let price = "[[column]]\nname = \"price\"\ntype = \"float64\"\n";
    for (contract, says) in [
        (altered(price, &format!("{price}\n[[column]]\nname = \"fee\"\ntype = \"float64\"\n")), "`fee` is missing"),
        (altered(price, ""), "`price` is not in the contract, so a merge would lose it"),
        (altered(price, &price.replace("float64", "int64")), "`price` is Float64 and should be Int64"),
        (altered("partition = \"ts\"\n", ""), "`_day` is not in the contract"),
    ] {
        let other = LocalStand::over(contract, folder, |store| store);
        let error = backfill(&other, &[fill("0xb", json!("o"), EDGE_S, 1, 1.0)], RunOptions::default()).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.render().contains(says), "{says}: {}", error.render());
        folder = other.folder;
    }
    assert_eq!(LocalStand::over(fills(), folder, |store| store).table().await, table);
}
