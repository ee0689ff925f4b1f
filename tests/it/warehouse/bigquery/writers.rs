//! Two writers on two machines, one of them asleep while the other takes over.

use super::faults::{again, refused, rows, world};
use super::front::Front;
use super::script::{Fault, refusal};
use super::servers::servers;
use super::stand::{BigQueryStand, access, place};
use crate::warehouse::{EDGE_S, NOW_US, Stand, counts, fill, fills, input, merged, receipts, walk_with};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tradefold::error::{Kind, Result};
use tradefold::ledger::{Entry, Holder, Ledger};
use tradefold::progress::Silent;
use tradefold::report::RunReport;
use tradefold::run::RunOptions;
use tradefold::warehouse::bigquery::Place;
use tradefold::writer::{Lease, Terms};

/// It gives one sign of life and no other, as if its machine slept.
const TERMS: Terms = Terms {
    term: Duration::from_millis(300),
    renewal: Duration::from_secs(3600),
    look: Duration::from_millis(10),
    wait: Duration::from_secs(60),
};

fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// What the two bring: the same key, and one each.
fn rows_of(name: &str) -> Vec<Value> {
    let rev = if name == "first" { 1 } else { 2 };
    vec![fill("0xa", json!("o"), EDGE_S, rev, 0.1), fill(name, Value::Null, EDGE_S, 1, 0.2)]
}

/// A machine that brings rows: all of it, from taking the target to giving it back.
async fn bring(url: String, place: Place, name: &'static str, rows: Vec<Value>) -> Result<RunReport> {
    let stand = BigQueryStand::at(fills(), place, access(&url, false)).await;
    let mut ledger = Ledger::open(stand.home().join("ledger"), name.into()).await?;
    let holder = Holder { name: name.into(), work_id: name.into() };
    let lease = Lease::take(&mut ledger, holder, TERMS, now_us, &Silent).await?;
    let inputs = input(&stand, &rows).await;
    let report = walk_with(&mut ledger, stand.warehouse(), &stand, &inputs, RunOptions::default(), NOW_US).await;
    lease.release().await?;
    report
}

/// One that does so beside us.
fn begin(front: &Front, place: &Place, name: &'static str) -> JoinHandle<Result<RunReport>> {
    tokio::spawn(Box::pin(bring(front.url.clone(), place.clone(), name, rows_of(name))))
}

async fn until_it_came(front: &Front, line: &str) {
    while !front.came().iter().any(|came| came == line) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Both keys of the two, the row of the second where they have one in common.
async fn both_are_in(front: &Front, place: &Place) {
    let stand = BigQueryStand::at(fills(), place.clone(), access(&front.url, false)).await;
    let table = stand.table().await;
    assert_eq!(table.len(), 3, "{table:?}");
    assert!(table.iter().any(|row| row.contains("0xa") && row.contains("\"rev\":2")), "{table:?}");
    assert_eq!(receipts(&stand.home()).await.len(), 2);
}

/// The first falls asleep as it is about to send this request, and wakes up when the second is done.
async fn asleep_before(line: &str) -> Front {
    let front = Front::start(&servers().bigquery).await;
    let place = place(servers()).await;
    let wake = Arc::new(Notify::new());
    front.fail(line, 1, Fault::Hold(Arc::clone(&wake)));
    let first = begin(&front, &place, "first");
    until_it_came(&front, line).await;
    let second = begin(&front, &place, "second").await.unwrap().unwrap();
    assert_eq!(counts(&second), (2, 0, 0));
    wake.notify_one();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
    assert_eq!(front.ran("merge"), 1, "the one that slept has written nothing");
    // The same command again.
    let again = begin(&front, &place, "first").await.unwrap().unwrap();
    assert_eq!(counts(&again), (1, 0, 1));
    both_are_in(&front, &place).await;
    front
}

#[tokio::test(flavor = "multi_thread")]
async fn who_slept_before_its_merge_was_written_down_begins_none() {
    let front = asleep_before("POST job search").await;
    assert_eq!(front.ran("burn"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_slept_between_writing_its_merge_down_and_sending_it_finds_the_id_taken() {
    let front = asleep_before("POST job merge").await;
    assert_eq!(front.ran("burn"), 1);
}

/// What it wanted to do is there, and the temporary table that it had loaded is gone.
#[tokio::test(flavor = "multi_thread")]
async fn who_slept_while_another_did_the_same_work_ends_as_one_that_was_overtaken() {
    let front = Front::start(&servers().bigquery).await;
    let place = place(servers()).await;
    let wake = Arc::new(Notify::new());
    front.fail("POST job merge", 1, Fault::Hold(Arc::clone(&wake)));
    let first = begin(&front, &place, "first");
    until_it_came(&front, "POST job merge").await;
    let same = bring(front.url.clone(), place.clone(), "second", rows_of("first")).await.unwrap();
    assert_eq!(counts(&same), (2, 0, 0));
    wake.notify_one();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
    assert_eq!((front.ran("burn"), front.ran("merge")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_still_runs_is_waited_for_by_who_takes_over() {
    let front = Front::start(&servers().bigquery).await;
    let place = place(servers()).await;
    // The first dies as soon as its MERGE is begun.
    front.fail("POST job merge", 1, Fault::CutAfter);
    front.fail("GET job merge", 1, Fault::Pass);
    front.fail("GET job merge", 4, refusal(503, "backendError"));
    begin(&front, &place, "first").await.unwrap().unwrap_err();
    let running = json!({ "jobReference": {}, "status": { "state": "RUNNING" } }).to_string();
    front.fail("GET job merge", 3, Fault::Answer(200, None, running));
    let before = front.came().len();
    let second = begin(&front, &place, "second").await.unwrap().unwrap();
    assert_eq!(counts(&second), (1, 1, 0), "what the first has brought is there");
    let came = front.came();
    let compared = came[before..].iter().position(|line| line == "POST job compare").unwrap();
    let looks = came[before..before + compared].iter().filter(|line| *line == "GET job merge").count();
    assert_eq!(looks, 4, "{came:#?}");
    assert_eq!((front.ran("burn"), front.ran("merge")), (0, 2));
    // It is settled once.
    let stand = BigQueryStand::at(fills(), place.clone(), access(&front.url, false)).await;
    let ledger = Ledger::open(stand.home().join("ledger"), String::new()).await.unwrap();
    let settled = ledger.records().iter().filter(|record| matches!(record.entry, Entry::Settled { .. }));
    assert_eq!((settled.count(), ledger.unsettled()), (1, Vec::<&str>::new()));
    // The first finds what it had done, and writes its receipt.
    assert_eq!(counts(&begin(&front, &place, "first").await.unwrap().unwrap()), (0, 0, 2));
    both_are_in(&front, &place).await;
}

/// The next try can't know that nothing runs, so it takes the id; what it begins has the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_was_refused_has_a_new_id_the_next_time() {
    let (front, stand) = world().await;
    for _ in 0..3 {
        front.fail("POST job merge", 1, refusal(403, "accessDenied"));
        assert_eq!(refused(&stand).await.kind(), Kind::Refused);
    }
    let report = merged(&stand, &rows()).await;
    let job = report.batches[0].merged.as_ref().unwrap().job.as_ref().unwrap();
    assert!(job.job.ends_with("_merge_4"), "{}", job.job);
    assert_eq!((front.ran("burn"), front.ran("merge")), (3, 1));
    assert_eq!(front.ran("verify"), 1, "nobody looks for what a job has done that did nothing");
}

/// It runs, its answer is lost, and the request after it is refused: nobody may take it for one that does not run.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_runs_is_not_taken_for_one_that_was_refused() {
    let (front, stand) = world().await;
    front.fail("POST job merge", 1, Fault::CutAfter);
    front.fail("POST job merge", 1, refusal(403, "accessDenied"));
    assert_eq!(refused(&stand).await.kind(), Kind::Refused);
    let other = [fill("0xc", Value::Null, EDGE_S, 1, 0.3)];
    assert_eq!(counts(&merged(&again(&front, &stand, |_| {}).await, &other).await), (1, 0, 0));
    assert_eq!(counts(&merged(&stand, &rows()).await), (0, 0, 2));
    assert_eq!((front.ran("burn"), front.ran("merge"), receipts(&stand.home()).await.len()), (0, 2, 2));
}
