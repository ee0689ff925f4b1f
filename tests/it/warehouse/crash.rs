//! Die at every point, start again, demand the same table and the same receipts.

use super::fuel::{Death, Fuel, FuelStore};
use super::local::LocalStand;
use super::{DAY_S, EDGE_S, NOW_US, Stand, fill, fills, input, parquet_input, receipts, walk};
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::error::Result;
use tradefold::ledger::{Entry, Ledger};
use tradefold::run::{Choice, RunOptions};

/// More effects than a run has; the loop ends where a run outlives its fuel.
const EFFECTS: i64 = 200;

/// One run: its rows, and whether they come as Parquet that is used where it lies.
struct Work {
    rows: Vec<Value>,
    by_reference: bool,
    on_suspect: Choice,
}

fn work(rows: Vec<Value>) -> Work {
    Work { rows, by_reference: false, on_suspect: Choice::Stop }
}

/// What the target holds, and the runs that may die.
struct Tale {
    before: Vec<Value>,
    mortal: Vec<Work>,
    /// Rows of the table and receipts at its end.
    ends_with: (usize, usize),
}

/// Two batches over a target that has rows: inserts, an update, a row that moves, a reject, duplicates.
fn pages() -> Tale {
    let first = vec![fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", Value::Null, EDGE_S + DAY_S, 1, 0.2)];
    let second = vec![
        fill("0xa", json!("o"), EDGE_S, 2, 0.3),
        fill("0xb", Value::Null, EDGE_S + 2 * DAY_S, 1, 0.4),
        fill("0xc", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.5),
        fill("0xc", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.5),
        json!({"wallet": "0xd", "order_hash": null, "ts": null, "rev": 1}),
    ];
    Tale { before: Vec::new(), mortal: vec![work(first), work(second)], ends_with: (3, 3) }
}

/// Parquet by reference: nothing of the landing is ours to remove.
fn parquet() -> Tale {
    let rows = vec![fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xa", json!("o"), EDGE_S, 2, 0.2)];
    let mortal = Work { by_reference: true, ..work(rows) };
    Tale { before: Vec::new(), mortal: vec![mortal], ends_with: (1, 1) }
}

/// The target makes a key suspect, so the run deduplicates and stages twice.
fn quarantine() -> Tale {
    let numbered = |wallet: &str, rev: i64, log_index: i64| {
        let mut row = fill(wallet, json!("o"), EDGE_S, rev, 0.1);
        row["log_index"] = json!(log_index);
        row
    };
    let before = vec![numbered("0xa", 1, 10), numbered("0xb", 1, 10)];
    let rows = vec![numbered("0xa", 2, 11), numbered("0xb", 2, 10), numbered("0xc", 1, 12)];
    let mortal = Work { on_suspect: Choice::Quarantine, ..work(rows) };
    Tale { before, mortal: vec![mortal], ends_with: (3, 1) }
}

async fn run(stand: &LocalStand, work: &Work) -> Result<()> {
    let inputs = match work.by_reference {
        true => parquet_input(stand, &work.rows).await,
        false => input(stand, &work.rows).await,
    };
    let options = RunOptions { on_suspect: work.on_suspect, ..RunOptions::default() };
    let report = walk(stand, &inputs, options, NOW_US).await?;
    assert_eq!(report.stops, []);
    let ledger = Ledger::open(stand.home().join("ledger"), String::new()).await?;
    for record in ledger.records() {
        if let Entry::Landed { run_id, landed, .. } = &record.entry
            && *run_id == report.run_id
        {
            assert!(landed.files.iter().all(|file| file.by_reference == work.by_reference));
        }
    }
    Ok(())
}

/// Runs that nothing disturbs.
async fn calm(stand: &LocalStand, works: &[Work]) {
    for work in works {
        run(stand, work).await.unwrap_or_else(|error| panic!("{}", error.render()));
    }
}

/// The receipts with paths and versions as they are in every stand: relative to the lake.
async fn receipts_of(stand: &LocalStand) -> Vec<String> {
    let lake = stand.lake.url().to_string();
    receipts(&stand.home()).await.iter().map(|value| value.to_string().replace(&lake, "lake")).collect()
}

async fn stand_of(tale: &Tale) -> LocalStand {
    let stand = LocalStand::new();
    if !tale.before.is_empty() {
        stand.plant(&tale.before).await;
    }
    stand
}

async fn dies_after_every_effect(tale: Tale, death: Death) {
    let reference = stand_of(&tale).await;
    calm(&reference, &tale.mortal).await;
    let (table, expected) = (reference.table().await, receipts_of(&reference).await);
    assert_eq!((table.len(), expected.len()), tale.ends_with);
    for effects in 0..EFFECTS {
        let stand = stand_of(&tale).await;
        let fuel = Fuel::new(effects, death);
        let spent = Arc::clone(&fuel);
        let mortal = LocalStand::over(fills(), stand.folder, |inner| Arc::new(FuelStore { inner, fuel }));
        let mut died = false;
        for work in &tale.mortal {
            died |= run(&mortal, work).await.is_err();
            if died {
                break;
            }
        }
        if !died {
            assert!(!spent.is_spent(), "a run that lost an effect must not report success");
            assert!(effects >= 8, "the run died only {effects} times");
            return;
        }
        let again = LocalStand::over(fills(), mortal.folder, |store| store);
        calm(&again, &tale.mortal).await;
        assert_eq!(again.table().await, table, "died after {effects} effects, {death:?}");
        assert_eq!(receipts_of(&again).await, expected, "died after {effects} effects, {death:?}");
    }
    panic!("the run still dies after {EFFECTS} effects");
}

#[tokio::test]
async fn r7_a_run_that_dies_before_any_effect_goes_on() {
    dies_after_every_effect(pages(), Death::BeforeTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_that_dies_after_any_effect_goes_on() {
    dies_after_every_effect(pages(), Death::AfterTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_of_parquet_by_reference_that_dies_goes_on() {
    dies_after_every_effect(parquet(), Death::AfterTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_with_a_quarantine_that_dies_goes_on() {
    dies_after_every_effect(quarantine(), Death::AfterTheEffect).await;
}
