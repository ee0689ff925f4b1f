//! What every warehouse promises of the steps of one batch, taken one by one.

use super::{EDGE_S, Stand, Unwritten, fill, staged};
use serde_json::json;
use tradefold::warehouse::Merged;

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
