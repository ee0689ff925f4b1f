//! Die at every point, start again, demand the same table and the same receipts.

use super::fuel::{Death, Fuel, FuelStore};
use super::local::LocalStand;
use super::{DAY_S, EDGE_S, NOW_US, Stand, copied, fill, fills, input, merged, parquet_input, receipts, walk};
use crate::storage::{Server, settings};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tradefold::error::Result;
use tradefold::landing::Landed;
use tradefold::ledger::{Entry, Ledger};
use tradefold::run::{Choice, RunOptions};
use tradefold::source::{Input, discover};

/// More effects than a run has; the loop ends where a run outlives its fuel.
const EFFECTS: i64 = 200;

/// How the rows of a run come.
enum Form {
    Pages,
    /// Parquet that is used where it lies.
    Parquet,
    /// Parquet in an object store.
    Remote(Server),
}

/// One run: its rows, and how they come.
struct Work {
    rows: Vec<Value>,
    form: Form,
    on_suspect: Choice,
}

fn work(rows: Vec<Value>) -> Work {
    Work { rows, form: Form::Pages, on_suspect: Choice::Stop }
}

/// The bucket and name of the remote input.
const OBJECT: &str = "bucket/fills.parquet";

impl Work {
    async fn inputs(&self, stand: &LocalStand) -> Vec<Input> {
        match &self.form {
            Form::Pages => input(stand, &self.rows).await,
            Form::Parquet => parquet_input(stand, &self.rows).await,
            Form::Remote(server) => discover(&[format!("s3://{OBJECT}")], &settings(server)).await.unwrap(),
        }
    }

    /// How often the remote input was read, if it is one.
    fn reads(&self) -> Option<usize> {
        if let Form::Remote(server) = &self.form { Some(server.reads(OBJECT)) } else { None }
    }
}

/// A lake as it is when it begins, and the run that may die on a copy of it.
struct Tale {
    lake: LocalStand,
    mortal: Work,
    /// Rows of the table and receipts at its end.
    ends_with: (usize, usize),
}

/// Two batches over a target that has rows: inserts, an update, a row that moves, a reject, duplicates.
async fn pages() -> Tale {
    let first = vec![fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", Value::Null, EDGE_S + DAY_S, 1, 0.2)];
    let second = vec![
        fill("0xa", json!("o"), EDGE_S, 2, 0.3),
        fill("0xb", Value::Null, EDGE_S + 2 * DAY_S, 1, 0.4),
        fill("0xc", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.5),
        fill("0xc", json!("o"), EDGE_S + 20 * DAY_S, 1, 0.5),
        json!({"wallet": "0xd", "order_hash": null, "ts": null, "rev": 1}),
    ];
    let lake = LocalStand::new();
    merged(&lake, &first).await;
    Tale { lake, mortal: work(second), ends_with: (3, 3) }
}

/// Parquet by reference: nothing of the landing is ours to remove.
fn parquet() -> Tale {
    Tale { lake: LocalStand::new(), mortal: Work { form: Form::Parquet, ..work(two_of_a_key()) }, ends_with: (1, 1) }
}

/// The same Parquet from an object store, whose bucket is in `folder`: the landing has a copy.
fn remote(folder: &TempDir) -> Tale {
    let path = folder.path().join(OBJECT);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(path, super::parquet(&fills(), &two_of_a_key())).unwrap();
    let form = Form::Remote(Server::start(folder.path()));
    Tale { lake: LocalStand::new(), mortal: Work { form, ..work(two_of_a_key()) }, ends_with: (1, 1) }
}

fn two_of_a_key() -> Vec<Value> {
    vec![fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xa", json!("o"), EDGE_S, 2, 0.2)]
}

/// The target makes a key suspect, so the run deduplicates and stages twice.
async fn quarantine() -> Tale {
    let numbered = |wallet: &str, rev: i64, log_index: i64| {
        let mut row = fill(wallet, json!("o"), EDGE_S, rev, 0.1);
        row["log_index"] = json!(log_index);
        row
    };
    let lake = LocalStand::new();
    lake.plant(&[numbered("0xa", 1, 10), numbered("0xb", 1, 10)]).await;
    let rows = vec![numbered("0xa", 2, 11), numbered("0xb", 2, 10), numbered("0xc", 1, 12)];
    Tale { lake, mortal: Work { on_suspect: Choice::Quarantine, ..work(rows) }, ends_with: (3, 1) }
}

/// Somebody took the table back to what it was before its last change.
async fn restored() -> Tale {
    let Tale { lake, mortal, .. } = pages().await;
    calm(&lake, &mortal).await;
    lake.roll_back().await;
    Tale { lake, mortal, ends_with: (3, 4) }
}

async fn run(stand: &LocalStand, work: &Work) -> Result<()> {
    let inputs = work.inputs(stand).await;
    let options = RunOptions { on_suspect: work.on_suspect, ..RunOptions::default() };
    let report = walk(stand.warehouse(), stand, &inputs, options, NOW_US).await?;
    assert_eq!(report.stops, []);
    let folder = stand.home().join("ledger");
    for record in Ledger::open(folder.clone(), String::new()).await?.records() {
        if let Entry::Landed { run_id, digest, .. } = &record.entry
            && *run_id == report.run_id
        {
            let landed = folder.get(&format!("landing-{digest}.json")).await?.unwrap();
            let landed: Landed = serde_json::from_slice(&landed).unwrap();
            let by_reference = matches!(work.form, Form::Parquet);
            assert!(landed.files.iter().all(|file| file.by_reference == by_reference));
            let shown = landed.files.iter().all(|file| file.shown == format!("s3://{OBJECT}"));
            assert_eq!(shown, matches!(work.form, Form::Remote(_)));
        }
    }
    Ok(())
}

async fn ledger(stand: &LocalStand) -> Ledger {
    Ledger::open(stand.home().join("ledger"), String::new()).await.unwrap()
}

/// A run that nothing disturbs.
async fn calm(stand: &LocalStand, work: &Work) {
    run(stand, work).await.unwrap_or_else(|error| panic!("{}", error.render()));
}

/// The receipts with paths as they are in every stand: relative to the lake.
async fn receipts_of(stand: &LocalStand) -> Vec<String> {
    let mut receipts = receipts(&stand.home()).await;
    for receipt in &mut receipts {
        let target = receipt["target"].as_str().unwrap();
        receipt["target"] = json!(target.rsplit_once("/lake").unwrap().1);
    }
    receipts.iter().map(Value::to_string).collect()
}

/// Plays a tale on copies of its lake, dying after every number of effects in turn; then calmly, on the same copy.
/// Demands the table and the receipts of a copy on which nobody died.
async fn dies_after_every_effect(tale: &Tale, death: Death) {
    let copy = || copied(tale.lake.folder.path());
    let reference = LocalStand::over(fills(), copy(), |store| store);
    calm(&reference, &tale.mortal).await;
    let (table, expected) = (reference.table().await, receipts_of(&reference).await);
    assert_eq!((table.len(), expected.len()), tale.ends_with);
    for effects in 0..EFFECTS {
        let fuel = Fuel::new(effects, death);
        let spent = Arc::clone(&fuel);
        let mortal = LocalStand::over(fills(), copy(), |inner| Arc::new(FuelStore { inner, fuel }));
        if run(&mortal, &tale.mortal).await.is_ok() {
            assert!(!spent.is_spent(), "a run that lost an effect must not report success");
            assert!(effects >= 8, "the run died only {effects} times");
            return;
        }
        let again = LocalStand::over(fills(), mortal.folder, |store| store);
        let is_landed = !ledger(&again).await.unfinished().is_empty();
        let before = tale.mortal.reads();
        calm(&again, &tale.mortal).await;
        let expected_reads = before.map(|reads| reads + usize::from(!is_landed));
        assert_eq!(tale.mortal.reads(), expected_reads, "died after {effects} effects, {death:?}");
        assert_eq!(again.table().await, table, "died after {effects} effects, {death:?}");
        assert_eq!(receipts_of(&again).await, expected, "died after {effects} effects, {death:?}");
    }
    panic!("the run still dies after {EFFECTS} effects");
}

/// What dying before an effect leaves is what dying after the one before it does, so the smallest tale will do.
#[tokio::test]
async fn r7_a_run_that_dies_before_any_effect_goes_on() {
    dies_after_every_effect(&parquet(), Death::BeforeTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_that_dies_after_any_effect_goes_on() {
    dies_after_every_effect(&pages().await, Death::AfterTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_of_parquet_by_reference_that_dies_goes_on() {
    dies_after_every_effect(&parquet(), Death::AfterTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_of_remote_parquet_that_dies_goes_on_and_fetches_nothing_again_that_has_landed() {
    let folder = tempfile::tempdir().unwrap();
    dies_after_every_effect(&remote(&folder), Death::AfterTheEffect).await;
}

#[tokio::test]
async fn r7_a_run_with_a_quarantine_that_dies_goes_on() {
    dies_after_every_effect(&quarantine().await, Death::AfterTheEffect).await;
}

#[tokio::test]
async fn receipts_are_true_after_a_table_was_restored_and_the_next_run_died() {
    let tale = restored().await;
    // The effect after which the run dies may be the very commit that its receipt is to tell of.
    dies_after_every_effect(&tale, Death::AfterTheEffect).await;
    calm(&tale.lake, &tale.mortal).await;
    let ledger = ledger(&tale.lake).await;
    let last = ledger.receipts().last().unwrap();
    // Of the three batches one was undone. It is merged once more, in the commit after the one that restored.
    assert_eq!((last.attempt, last.merged.version), (2, Some(4)));
    assert_eq!((last.comparison.new, last.merged.inserted, last.merged.rows_after), (1, 1, 3));
}
