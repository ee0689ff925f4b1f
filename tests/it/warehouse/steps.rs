//! What every warehouse promises of the steps of one batch, taken one by one.

use super::{DAY_S, EDGE_S, NOW_US, Stand, Unwritten, fill, merged, staged};
use serde_json::{Value, json};
use tradefold::dedup::Tally;
use tradefold::warehouse::Merged;
use tradefold::window::Day;

pub async fn r3_a_load_counts_what_the_footers_count(stand: &impl Stand) {
    let rows = [fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", json!("o"), EDGE_S, 1, 0.1)];
    let (folder, manifest) = staged(stand, &rows).await;
    manifest.check_footers(&folder).await.unwrap();
    assert_eq!(stand.warehouse().load(&manifest).await.unwrap(), 2);
    let mut leaking = manifest.clone();
    leaking.batch.rows = 3;
    let error = leaking.check_footers(&folder).await.unwrap_err();
    assert!(error.render().contains("3 winners, 2 rows in the manifest, 2 rows in the Parquet footers"));
    leaking.objects[0].rows = 3;
    assert!(leaking.check_footers(&folder).await.unwrap_err().render().contains("3 rows in the manifest, 2 rows in"));
}

pub async fn every_loaded_winner_is_compared(stand: &impl Stand) {
    let rows = [fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", json!("o"), EDGE_S, 1, 0.1)];
    let (_folder, manifest) = staged(stand, &rows).await;
    let (warehouse, touched) = (stand.warehouse(), &manifest.batch.touched);
    let loaded = warehouse.load(&manifest).await.unwrap();
    let found = warehouse.compare(&manifest, touched).await.unwrap();
    found.check("b", loaded).unwrap();
    let leak = found.check("b", 3).unwrap_err().render();
    assert!(leak.contains("3 winners were loaded and 2 compared, of which new 2"), "{leak}");
    let mut leaking = found;
    leaking.new = 1;
    assert!(leaking.check("b", 2).is_err());
    // A repeated key has its winner beside each of its rows; that is for the run to stop for.
    stand.plant(&[fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xa", json!("o"), EDGE_S, 2, 0.1)]).await;
    let found = warehouse.compare(&manifest, touched).await.unwrap();
    assert_eq!((found.staged, found.repeated), (3, 1));
    found.check("b", 2).unwrap();
    assert!(found.check("b", 4).is_err());
}

pub async fn r4_verify_finds_what_is_missing_repeated_or_lower(stand: &impl Stand) {
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.1), fill("0xb", json!("o"), EDGE_S, 2, 0.1)];
    let (_folder, manifest) = staged(stand, &rows).await;
    let touched = &manifest.batch.touched;
    stand.warehouse().load(&manifest).await.unwrap();
    let nothing = Merged::default();
    let missing = stand.warehouse().verify(&manifest, touched, &nothing).await.unwrap();
    assert_eq!((missing.missing, missing.repeated, missing.lower), (2, 0, 0));
    assert!(missing.check("b").unwrap_err().render().contains("2 are missing"));
    stand.plant(&[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    stand.plant(&[fill("0xb", json!("o"), EDGE_S, 2, 0.1), fill("0xb", json!("o"), EDGE_S, 3, 0.1)]).await;
    let wrong = stand.warehouse().verify(&manifest, touched, &nothing).await.unwrap();
    assert_eq!((wrong.missing, wrong.repeated, wrong.lower), (0, 1, 1));
}

pub async fn r4_a_merge_counts_its_rows(stand: &impl Stand) {
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.1), fill("0xb", json!("o"), EDGE_S, 2, 0.1)];
    let (_folder, manifest) = staged(stand, &rows).await;
    let (warehouse, touched) = (stand.warehouse(), &manifest.batch.touched);
    warehouse.load(&manifest).await.unwrap();
    let found = warehouse.compare(&manifest, touched).await.unwrap();
    let merged = warehouse.merge(&manifest, touched, &found, &mut Unwritten).await.unwrap();
    merged.check("b", 2).unwrap();
    let before = stand.bystanders();
    assert_eq!((merged.inserted, merged.rows_before, merged.rows_after), (2, before, before + 2));
    let mut leaking = merged;
    leaking.rows_after = before + 1;
    let said = leaking.check("b", 2).unwrap_err().render();
    assert!(said.contains(&format!("the target had {before} rows and has {}", before + 1)), "{said}");
}

pub async fn an_audit_tells_duplicates_by_class(stand: &impl Stand) {
    let row = |wallet: &str, rev, price| fill(wallet, json!("o"), EDGE_S, rev, price);
    let numbered = |rev: i64, log_index: i64| {
        let mut row = row("0xe", rev, 0.1);
        row["log_index"] = json!(log_index);
        row
    };
    let alone = fill("0xd", Value::Null, EDGE_S + DAY_S, 1, 0.1);
    stand.plant(&[row("0xa", 1, 0.1), row("0xb", 2, 0.1), row("0xc", 1, 0.1), numbered(1, 10), alone]).await;
    stand.plant(&[row("0xa", 1, 0.1), row("0xb", 1, 0.2), row("0xc", 1, 0.3), numbered(2, 11)]).await;
    let found = stand.warehouse().audit().await.unwrap();
    let (bystanders, partitioned) = (stand.bystanders(), stand.dataset().partition.is_some());
    assert_eq!((found.rows, found.keys), (bystanders + 9, bystanders + 5));
    assert_eq!(found.duplicates, Tally { exact: 1, superseded: 2, conflict: 1 });
    assert_eq!((found.suspect_keys, found.without_key, found.without_day), (1, 0, 0));
    assert_eq!(found.findings(), ["duplicates", "suspect_keys"]);
    let latest = found.latest.as_deref().map(|latest| &latest[..10]);
    assert_eq!(latest, partitioned.then_some("2025-10-08"));
    assert!(found.last_modified_us.unwrap() > NOW_US);
    let sum = found.days.values().fold((0, 0), |sum, day| (sum.0 + day.rows, sum.1 + day.keys));
    assert_eq!(sum, if partitioned { (found.rows, found.keys) } else { (0, 0) });
    if partitioned {
        let day = found.days[&Day::of_us((EDGE_S + DAY_S) * 1_000_000)];
        assert!(day.rows == day.keys && day.rows >= 1, "{day:?}");
    }
}

pub async fn an_audit_of_what_a_run_has_merged_finds_nothing(stand: &impl Stand) {
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.1), fill("0xa", json!("o"), EDGE_S, 1, 0.1)];
    merged(stand, &rows).await;
    let found = stand.warehouse().audit().await.unwrap();
    assert_eq!((found.rows, found.keys), (stand.bystanders() + 1, stand.bystanders() + 1));
    assert_eq!(found.findings(), Vec::<String>::new());
}

/// For a stand that keeps the labels of jobs, if it has any.
pub async fn what_a_merge_did_is_remembered(stand: &impl Stand) {
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.1), fill("0xb", json!("o"), EDGE_S, 2, 0.1)];
    let (_folder, manifest) = staged(stand, &rows).await;
    let (warehouse, touched) = (stand.warehouse(), &manifest.batch.touched);
    warehouse.load(&manifest).await.unwrap();
    assert_eq!(warehouse.remembered(&manifest).await.unwrap(), None);
    let found = warehouse.compare(&manifest, touched).await.unwrap();
    let merged = warehouse.merge(&manifest, touched, &found, &mut Unwritten).await.unwrap();
    assert_eq!(warehouse.remembered(&manifest).await.unwrap(), Some((found, merged)));
}
