//! What can go wrong between here and BigQuery, one at a time: the same end, and no job that ran twice.

use super::front::Front;
use super::script::{Fault, refusal};
use super::servers::servers;
use super::stand::{BigQueryStand, access, place};
use crate::warehouse::{EDGE_S, Stand, backfill, backfill_at, counts, fill, fills, merged, receipts};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tradefold::error::{Error, Kind};
use tradefold::progress::Progress;
use tradefold::run::RunOptions;
use tradefold::warehouse::bigquery::Access;

pub(super) async fn world() -> (Front, BigQueryStand) {
    let front = Front::start(&servers().bigquery).await;
    let stand = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
    (front, stand)
}

/// Another process over the same dataset.
pub(super) async fn again(front: &Front, stand: &BigQueryStand, change: impl FnOnce(&mut Access)) -> BigQueryStand {
    let mut access = access(&front.url, false);
    change(&mut access);
    BigQueryStand::at(fills(), stand.place.clone(), access).await
}

pub(super) fn rows() -> Vec<Value> {
    vec![fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", Value::Null, EDGE_S, 1, 0.2)]
}

pub(super) async fn refused(stand: &BigQueryStand) -> Error {
    backfill(stand, &rows(), RunOptions::default()).await.unwrap_err()
}

/// Runs once with these faults: nobody sees anything of them.
async fn unharmed(faults: &[(&str, u32, Fault)]) -> Front {
    let (front, stand) = world().await;
    for (line, times, fault) in faults {
        front.fail(line, *times, fault.clone());
    }
    let report = merged(&stand, &rows()).await;
    assert_eq!(counts(&report), (2, 0, 0));
    assert!(front.is_through(), "{faults:?}");
    assert_eq!((stand.table().await.len(), front.ran("load"), front.ran("merge")), (2, 1, 1), "{:#?}", front.log());
    front
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_takes_one_load_job_and_one_merge_for_a_batch() {
    let (front, stand) = world().await;
    assert_eq!(counts(&merged(&stand, &rows()).await), (2, 0, 0));
    assert_eq!((front.ran("load"), front.ran("merge")), (1, 1));
    let second = again(&front, &stand, |_| {}).await;
    assert_eq!(counts(&merged(&second, &rows()).await), (0, 0, 2));
    assert_eq!(front.ran("merge"), 1, "nothing to change, no MERGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_job() {
    for step in ["load", "compare", "merge"] {
        let line = format!("POST job {step}");
        unharmed(&[(&line, 1, Fault::CutAfter)]).await;
        unharmed(&[(&line, 1, Fault::Cut)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_id_is_taken_may_be_unknown_for_a_while() {
    for step in ["load", "merge"] {
        let line = format!("POST job {step}");
        unharmed(&[(&line, 1, Fault::CutAfter), (&line, 1, Fault::Unknown(3))]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for() {
    let html = Fault::Answer(503, None, "<html>come back later</html>".into());
    let empty = Fault::Answer(502, None, String::new());
    let limit = |status| match refusal(status, "rateLimitExceeded") {
        Fault::Answer(status, _, body) => Fault::Answer(status, Some(("retry-after", "0")), body),
        other => other,
    };
    for fault in [html, empty, limit(403), limit(429), refusal(500, "backendError"), Fault::Cut] {
        unharmed(&[("POST job load", 2, fault.clone()), ("GET job", 1, fault.clone()), ("GET table", 1, fault)]).await;
    }
}

/// Waits of its own are at most 20 ms here, and what it is asked for is bounded by four times that.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_as_long_as_it_is_asked_to() {
    let front = unharmed(&[("POST job merge", 2, Fault::Answer(429, Some(("retry-after", "1")), String::new()))]).await;
    let gaps = front.gaps("POST job merge");
    assert!(gaps.len() == 2 && gaps.iter().all(|gap| gap.as_millis() >= 80), "{gaps:?}");
}

/// Keeps what is said.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

/// As Ctrl-C does it: nobody asks any more.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_says_where_the_job_is() {
    let (front, stand) = world().await;
    let heard = Arc::new(Heard::default());
    let patient = again(&front, &stand, |access| {
        access.progress = Arc::<Heard>::clone(&heard);
        access.waits.tries = 10_000;
    });
    // Before it is begun it is looked up.
    front.fail("GET job merge", 1, Fault::Pass);
    front.fail("GET job merge", 10_000, refusal(503, "backendError"));
    let waited = tokio::time::timeout(Duration::from_secs(8), merged(&patient.await, &rows())).await;
    assert!(waited.is_err() && front.ran("merge") == 1);
    let heard = heard.0.lock().unwrap();
    let last = heard.last().unwrap();
    assert!(last.contains("_merge_1 may be running still") && last.contains("j=bq:europe-west1:tradefold_"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_not_tried_again() {
    for (line, fault) in [
        ("POST job load", refusal(403, "quotaExceeded")),
        ("POST job merge", refusal(403, "accessDenied")),
        ("POST table tradefold", refusal(403, "quotaExceeded")),
    ] {
        let (front, stand) = world().await;
        front.fail(line, 1, fault);
        let error = refused(&stand).await;
        assert_eq!(error.kind(), Kind::Refused, "{}", error.render());
        assert!(error.render().contains("reason `"), "{}", error.render());
        // The user has mended it; the same command.
        assert_eq!(counts(&merged(&stand, &rows()).await), (2, 0, 0));
        assert_eq!((front.ran("load"), front.ran("merge")), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_reason_is_not_tried_again() {
    for status in [401, 403] {
        let (front, stand) = world().await;
        front.fail("POST job load", 1, Fault::Answer(status, None, "<html>no</html>".into()));
        assert_eq!(refused(&stand).await.kind(), Kind::Refused);
        assert_eq!(front.ran("load"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_for_now_is_begun_anew_under_another_id() {
    for step in ["load", "merge"] {
        let (front, stand) = world().await;
        front.fail(&format!("POST job {step}"), 2, Fault::FailJob("backendError"));
        assert_eq!(counts(&merged(&stand, &rows()).await), (2, 0, 0));
        assert_eq!(front.ran(step), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_for_good_is_named_with_its_reason() {
    for (reason, kind) in [
        ("invalidQuery", Kind::Bug),
        ("notFound", Kind::Usage),
        ("accessDenied", Kind::Refused),
        ("quotaExceeded", Kind::Refused),
        ("stopped", Kind::Transient),
    ] {
        let (front, stand) = world().await;
        front.fail("POST job merge", 1, Fault::FailJob(reason));
        let error = refused(&stand).await;
        let said = error.render();
        assert_eq!(error.kind(), kind, "{said}");
        assert!(said.contains(&format!("reason `{reason}`")) && said.contains(&format!("the job said {reason}")));
        assert!(said.contains("https://console.cloud.google.com/bigquery?project=tests&j=bq:europe-west1:tradefold_"));
        assert_eq!(front.ran("merge"), 1);
        // What failed before this command does not count against it.
        assert_eq!(counts(&merged(&stand, &rows()).await), (2, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_load_of_fewer_rows_than_were_sent_stops_the_run() {
    for more in [-1, 1] {
        let (front, stand) = world().await;
        front.fail("POST job load", 1, Fault::Miscount(more));
        let error = refused(&stand).await;
        assert_eq!(error.kind(), Kind::Data);
        let said = error.render();
        assert!(said.contains("(R3)") && said.contains("2 rows were staged"), "{said}");
        assert_eq!(front.ran("merge"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_merge_that_does_not_do_what_was_compared_is_an_error() {
    for more in [-1, 1] {
        let (front, stand) = world().await;
        front.fail("POST job merge", 1, Fault::Miscount(more));
        let error = refused(&stand).await;
        assert_eq!(error.kind(), Kind::Data);
        let said = error.render();
        assert!(said.contains(&format!("2 winners were to be inserted and 0 to update rows; {} and 0 did", 2 + more)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_that_has_expired_or_lost_its_rows_is_loaded_again() {
    for statement in ["DROP TABLE {t}", "DELETE FROM {t} WHERE TRUE"] {
        let (front, stand) = world().await;
        front.fail("POST job compare", 1, refusal(403, "quotaExceeded"));
        refused(&stand).await;
        assert_eq!(front.endless(), Vec::<String>::new());
        let tables = format!("SELECT table_name FROM `tests`.`{0}`.INFORMATION_SCHEMA.TABLES", stand.place.dataset);
        let tables = stand.witness.run(&tables).await;
        let temporary = tables.iter().find_map(|row| row["table_name"].as_str().filter(|name| name.contains("_tmp_")));
        let table = format!("`tests`.`{}`.`{}`", stand.place.dataset, temporary.unwrap());
        stand.witness.run(&statement.replace("{t}", &table)).await;
        let second = again(&front, &stand, |_| {}).await;
        assert_eq!(counts(&merged(&second, &rows()).await), (2, 0, 0));
        assert_eq!((front.ran("load"), front.ran("merge")), (2, 1), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_is_found_by_the_next_try() {
    let (front, stand) = world().await;
    front.fail("POST job compare", 1, refusal(403, "quotaExceeded"));
    refused(&stand).await;
    let second = again(&front, &stand, |_| {}).await;
    assert_eq!(counts(&merged(&second, &rows()).await), (2, 0, 0));
    assert_eq!((front.ran("load"), front.ran("merge")), (1, 1));
}

/// Each loads, to compare: under an id of its own, however many there were before.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_repeated_asks_for_no_job_of_the_runs_before() {
    let (front, stand) = world().await;
    let mut requests = Vec::new();
    for runs in 1..=4 {
        let before = front.log().len();
        merged(&again(&front, &stand, |_| {}).await, &rows()).await;
        assert_eq!((front.ran("load"), front.ran("merge")), (runs, 1));
        requests.push(front.log().len() - before);
    }
    assert!(requests[1] == requests[2] && requests[2] == requests[3], "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_a_day_that_has_a_key_of_the_run_is_refused() {
    let (front, stand) = world().await;
    let mut dateless = fill("0xa", json!("o"), EDGE_S, 1, 0.1);
    dateless["ts"] = Value::Null;
    stand.plant(&[dateless]).await;
    let error = refused(&stand).await;
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.render().contains("in a row that has no day"), "{}", error.render());
    assert_eq!(front.ran("merge"), 0);
}

/// They would be found by no statement that names days, and inserted again by every run.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_days_that_have_no_partition_are_refused() {
    for (outside, shown) in [(-315_619_201, "1959-12-31"), (5_995_814_400, "2160-01-01")] {
        let (front, stand) = world().await;
        // Another batch comes before it.
        let rows = [fill("0xa", json!("o"), outside, 1, 0.1), fill("0xb", json!("o"), EDGE_S, 1, 0.1)];
        let error = backfill_at(&stand, &rows, RunOptions::default(), i64::MAX / 2).await.unwrap_err();
        let said = error.render();
        assert!(error.kind() == Kind::Data && said.contains(&format!("there are rows of {shown}")), "{said}");
        assert!(!front.log().iter().any(|line| line.starts_with("POST")), "nothing is made: {:?}", front.log());
        let inside = if outside < 0 { outside + 1 } else { outside - 1 };
        let rows = [fill("0xa", json!("o"), inside, 1, 0.1)];
        backfill_at(&stand, &rows, RunOptions::default(), i64::MAX / 2).await.unwrap();
        assert_eq!(stand.table().await.len(), 1);
    }
}

/// Landing lets none of them through, so somebody else has written them.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_counts_rows_without_a_key_or_a_day() {
    let (_front, stand) = world().await;
    let (mut keyless, mut dateless) =
        (fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", json!("o"), EDGE_S, 1, 0.1));
    (keyless["wallet"], dateless["ts"]) = (Value::Null, Value::Null);
    stand.plant(&[keyless, dateless]).await;
    let found = stand.warehouse().audit().await.unwrap();
    assert_eq!((found.rows, found.keys, found.without_key, found.without_day), (2, 2, 1, 1));
    assert_eq!(found.findings(), ["without_key", "without_day"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_changed_after_a_merge_whose_receipt_is_missing_does_not_end_the_run() {
    for (change, left) in
        [("INSERT INTO {t} (wallet, ts) VALUES ('0xf', TIMESTAMP_SECONDS(0))", 4), ("DELETE FROM {t} WHERE rev = 7", 2)]
    {
        let (front, stand) = world().await;
        stand.plant(&[fill("0xe", json!("o"), EDGE_S, 7, 0.1)]).await;
        front.fail("POST job verify", 1, refusal(403, "quotaExceeded"));
        refused(&stand).await;
        assert_eq!(front.ran("merge"), 1);
        let table = format!("`tests`.`{}`.`fills`", stand.place.dataset);
        stand.witness.run(&change.replace("{t}", &table)).await;
        let second = again(&front, &stand, |_| {}).await;
        assert_eq!(counts(&merged(&second, &rows()).await), (0, 0, 2), "{change}");
        assert_eq!((front.ran("merge"), second.table().await.len()), (1, left));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_into_a_table_that_was_made_anew_has_a_receipt_of_its_own() {
    let (front, stand) = world().await;
    merged(&stand, &rows()).await;
    stand.witness.run(&format!("DROP TABLE `tests`.`{}`.`fills`", stand.place.dataset)).await;
    front.fail("POST job verify", 1, refusal(403, "quotaExceeded"));
    refused(&again(&front, &stand, |_| {}).await).await;
    assert_eq!((front.ran("merge"), receipts(&stand.home()).await.len()), (2, 1), "it died before its receipt");
    assert_eq!(counts(&merged(&again(&front, &stand, |_| {}).await, &rows()).await), (0, 0, 2));
    assert_eq!(receipts(&stand.home()).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_goes_into_a_second_target() {
    let front = Front::start(&servers().bigquery).await;
    for _ in 0..2 {
        let stand = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
        assert_eq!(counts(&merged(&stand, &rows()).await), (2, 0, 0));
    }
    assert_eq!((front.ran("load"), front.ran("merge")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_made_anew_or_restored_gets_its_rows_again() {
    for is_made_anew in [true, false] {
        let (front, stand) = world().await;
        merged(&stand, &rows()).await;
        match is_made_anew {
            true => {
                stand.witness.run(&format!("DROP TABLE `tests`.`{}`.`fills`", stand.place.dataset)).await;
            }
            false => stand.roll_back().await,
        }
        assert_eq!(stand_rows(&stand, is_made_anew).await, 0);
        let second = again(&front, &stand, |_| {}).await;
        assert_eq!(counts(&merged(&second, &rows()).await), (2, 0, 0));
        assert_eq!(second.table().await.len(), 2);
        assert_eq!(front.ran("merge"), 2);
    }
}

async fn stand_rows(stand: &BigQueryStand, is_gone: bool) -> usize {
    if is_gone { 0 } else { stand.table().await.len() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_would_bill_more_than_is_allowed_is_refused_before_it_runs() {
    let (front, stand) = world().await;
    let thrifty = again(&front, &stand, |access| access.max_billed_bytes = Some(1000)).await;
    front.set_dry_bytes(1001);
    let error = refused(&thrifty).await;
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.render().contains("would read 1001 bytes, and --max-bytes-billed allows 1000"), "{}", error.render());
    assert_eq!((front.ran("load"), front.ran("merge"), thrifty.table().await.len()), (1, 0, 0));
    let silent = r#"{"jobReference": {"projectId": "tests", "jobId": "dry"}, "status": {"state": "DONE"}}"#;
    front.fail("POST dry run", 1, Fault::Answer(200, None, silent.into()));
    assert!(refused(&thrifty).await.render().contains("nobody says what its statement would read"));
    assert_eq!(front.ran("merge"), 0);
    front.set_dry_bytes(1000);
    assert_eq!(counts(&merged(&thrifty, &rows()).await), (2, 0, 0));
    let most = front.most_billed();
    assert!(most.len() > 4 && most.iter().all(|most| *most == json!("1000")), "{most:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tells_too_little_has_to_be_named_as_an_emulator() {
    let stand = BigQueryStand::at(fills(), place(servers()).await, access(&servers().bigquery, false)).await;
    let error = refused(&stand).await;
    assert!(error.render().contains("dmlStats") || error.render().contains("how many rows"), "{}", error.render());
    assert_eq!(error.kind(), Kind::Data);
}
