//! The ledger: numbered entries, each written once, and what they say of runs.

use std::collections::BTreeMap;
use tradefold::error::Kind;
use tradefold::landing::{InputReport, Landed, LandingCounts};
use tradefold::ledger::{Entry, Inserted, Ledger, Receipt, Swap};
use tradefold::source::Format;
use tradefold::storage::Folder;
use tradefold::warehouse::{Comparison, Merged, Moment};
use tradefold::window::Day;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    async fn open(&self, nonce: &str) -> tradefold::error::Result<Ledger> {
        Ledger::open(Folder::open(&self.folder.path().to_string_lossy(), &[]).unwrap(), nonce.into()).await
    }

    fn entry(&self, number: u64) -> std::path::PathBuf {
        self.folder.path().join(format!("{number:020}.json"))
    }
}

fn finished(run: &str) -> Entry {
    Entry::Finished { run_id: run.into(), parts: Vec::new(), usage: None }
}

#[tokio::test]
async fn entries_are_numbered_and_read_back() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    ledger.append(finished("one"), 1).await.unwrap();
    ledger.append(finished("two"), 2).await.unwrap();
    let again = place.open("b").await.unwrap();
    assert_eq!(again.records(), ledger.records());
    assert_eq!(again.records().iter().map(|record| record.number).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_long_ledger_is_read_from_few_files() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    for number in 0..2_100 {
        ledger.append(finished(&format!("run {number}")), number).await.unwrap();
    }
    let segment = |number: u64| place.folder.path().join(format!("segments/{number:012}.jsonl.zst"));
    assert!(segment(0).exists() && segment(1).exists() && !segment(2).exists());
    // Its entries are what counts: a segment that is damaged or gone is passed over.
    let (first, second) = (std::fs::read(segment(0)).unwrap(), std::fs::read(segment(1)).unwrap());
    for (body, whose) in [(&first[..first.len() / 2], "half"), (&second, "another's"), (b"", "none")] {
        std::fs::write(segment(0), body).unwrap();
        assert_eq!(place.open("b").await.unwrap().records(), ledger.records(), "{whose}");
    }
    // The next entry makes up for it.
    std::fs::remove_file(segment(0)).unwrap();
    let mut again = place.open("c").await.unwrap();
    again.append(finished("one more"), 3_000).await.unwrap();
    assert_eq!((std::fs::read(segment(0)).unwrap(), std::fs::read(segment(1)).unwrap()), (first, second));
    // Entries that stand in segments are not read.
    for number in 0..2_000 {
        std::fs::remove_file(place.entry(number)).unwrap();
    }
    assert_eq!(place.open("d").await.unwrap().records(), again.records());
    std::fs::remove_file(place.entry(2_000)).unwrap();
    let error = place.open("e").await.unwrap_err();
    assert!(error.render().contains("entry 2000 is missing"), "{}", error.render());
}

#[tokio::test]
async fn an_entry_of_another_writer_is_never_overwritten() {
    let place = Place::new();
    let (mut first, mut second) = (place.open("a").await.unwrap(), place.open("b").await.unwrap());
    first.append(finished("one"), 1).await.unwrap();
    let error = second.append(finished("two"), 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert_eq!(place.open("c").await.unwrap().records(), first.records());
}

#[tokio::test]
async fn an_own_entry_whose_answer_was_lost_is_recognised() {
    let place = Place::new();
    let (mut lost, mut retried) = (place.open("a").await.unwrap(), place.open("a").await.unwrap());
    lost.append(finished("one"), 1).await.unwrap();
    retried.append(finished("one"), 1).await.unwrap();
    assert_eq!(place.open("b").await.unwrap().records().len(), 1);
}

#[tokio::test]
async fn a_missing_or_damaged_entry_is_an_error_that_names_it() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    for run in ["one", "two"] {
        ledger.append(finished(run), 1).await.unwrap();
    }
    std::fs::write(place.entry(1), b"{\"number\": 1, ").unwrap();
    let error = place.open("b").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.render().contains("00000000000000000001.json"), "{}", error.render());
    std::fs::remove_file(place.entry(1)).unwrap();
    ledger = place.open("b").await.unwrap();
    ledger.append(finished("two"), 1).await.unwrap();
    std::fs::remove_file(place.entry(0)).unwrap();
    let error = place.open("c").await.unwrap_err();
    assert!(error.render().contains("entry 0 is missing"), "{}", error.render());
}

/// A landing of so many inputs with a row each.
fn landing(inputs: u64) -> Landed {
    let input = |number: u64| InputReport {
        url: format!("pages/{number:06}.json"),
        format: Some(Format::Json),
        size_bytes: 10,
        digest: number.to_string(),
        counts: LandingCounts { read: 1, landed: 1, ..LandingCounts::default() },
        left_out: BTreeMap::new(),
    };
    Landed {
        files: Vec::new(),
        inputs: (0..inputs).map(input).collect(),
        counts: LandingCounts { read: inputs, landed: inputs, ..LandingCounts::default() },
        rejects: Vec::new(),
        rejects_by_reason: BTreeMap::from([("not JSON".into(), 0)]),
    }
}

fn planned(run_id: &str) -> Entry {
    Entry::Planned { run_id: run_id.into(), batches: Vec::new(), balance: Box::default(), files: BTreeMap::new() }
}

#[tokio::test]
async fn a_landing_of_many_inputs_makes_a_small_entry_and_is_read_back_whole() {
    let place = Place::new();
    let landed = landing(1_000);
    place.open("a").await.unwrap().append_landed("one", None, &landed, 1).await.unwrap();
    let ledger = place.open("b").await.unwrap();
    assert_eq!(ledger.unfinished(), ["one"]);
    let Entry::Landed { inputs, size_bytes, digest, .. } = &ledger.records()[0].entry else { panic!("no landing") };
    assert_eq!((*inputs, *size_bytes), (1_000, 10_000));
    assert!(std::fs::metadata(place.entry(0)).unwrap().len() < 1_000);
    assert_eq!(ledger.landed("one").await.unwrap(), Some(landed));
    assert_eq!(ledger.landed("two").await.unwrap(), None);
    // A file that is not what it was is as good as none: the input is landed again.
    let file = place.folder.path().join(format!("landing-{digest}.json"));
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(ledger.landed("one").await.unwrap(), None);
    std::fs::remove_file(file).unwrap();
    assert_eq!(place.open("c").await.unwrap().landed("one").await.unwrap(), None);
}

#[tokio::test]
async fn a_run_is_unfinished_until_it_finishes_or_stops() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    for run in ["one", "two", "three"] {
        ledger.append(planned(run), 1).await.unwrap();
    }
    ledger.append(finished("one"), 1).await.unwrap();
    ledger
        .append(Entry::Stopped { run_id: "two".into(), reasons: vec!["conflicts".into()], usage: None }, 1)
        .await
        .unwrap();
    assert_eq!(ledger.unfinished(), ["three"]);
}

#[tokio::test]
async fn the_work_of_a_run_that_is_done_is_not_taken_up() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    let stopped = Entry::Stopped { run_id: "one".into(), reasons: vec!["conflicts".into()], usage: None };
    for done in [finished("one"), stopped] {
        ledger.append_landed("one", None, &landing(1), 1).await.unwrap();
        ledger.append(planned("one"), 1).await.unwrap();
        ledger.append(finished("two"), 1).await.unwrap();
        let landed = ledger.landed("one").await.unwrap();
        assert!(landed.is_some() && ledger.planned("one").is_some(), "another run is another matter");
        ledger.append(done, 1).await.unwrap();
        assert_eq!((ledger.landed("one").await.unwrap(), ledger.planned("one")), (None, None));
    }
}

/// The receipt of a merge from so many rows to so many; without a version nothing was written.
fn merge(version: Option<u64>, rows_before: u64, rows_after: u64) -> Entry {
    let receipt = Receipt {
        run_id: "run".into(),
        batch_id: rows_after.to_string(),
        target: "target".into(),
        attempt: 1,
        staged: 0,
        comparison: Comparison::default(),
        merged: Merged { rows_before, rows_after, version, ..Merged::default() },
    };
    Entry::Merged { receipt: Box::new(receipt) }
}

#[tokio::test]
async fn rows_that_are_gone_are_told_from_late_receipts_and_from_tables_made_anew() {
    for (merges, removed, after) in [
        (vec![], 0, None),
        (vec![(Some(7), 0, 100), (Some(9), 90, 150)], 10, Some(150)),
        // Nothing was written, so it says nothing of what was there.
        (vec![(Some(7), 0, 100), (None, 90, 90)], 0, Some(100)),
        // The receipt of the second merge was written after that of the third.
        (vec![(Some(3), 0, 100), (Some(7), 150, 200), (Some(5), 100, 150)], 0, Some(200)),
        // Delta's versions begin again at 0.
        (vec![(Some(0), 0, 100), (Some(1), 100, 200), (Some(0), 0, 250), (Some(1), 240, 260)], 10, Some(260)),
    ] {
        let place = Place::new();
        let mut ledger = place.open("a").await.unwrap();
        for &(version, before, after) in &merges {
            ledger.append(merge(version, before, after), 1).await.unwrap();
        }
        assert_eq!((ledger.removed_between_merges(), ledger.rows_after_last_merge()), (removed, after), "{merges:?}");
    }
}

#[tokio::test]
async fn a_ledger_is_ours_until_another_writes_to_it() {
    let place = Place::new();
    let (mut first, mut second) = (place.open("a").await.unwrap(), place.open("b").await.unwrap());
    first.append(finished("one"), 1).await.unwrap();
    assert!(first.is_ours().await.unwrap());
    second.catch_up().await.unwrap();
    second.append(finished("two"), 1).await.unwrap();
    assert!(!first.is_ours().await.unwrap());
    assert_eq!(first.records(), second.records());
}

#[tokio::test]
async fn a_job_is_unsettled_until_its_batch_has_a_receipt_or_it_is_settled() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    for (batch_id, job) in [("1", "a"), ("2", "b"), ("2", "c"), ("3", "d")] {
        ledger.append(Entry::Merging { batch_id: batch_id.into(), job: job.into() }, 1).await.unwrap();
    }
    assert_eq!(ledger.unsettled(), ["a", "b", "c", "d"]);
    ledger.append(merge(Some(1), 0, 2), 1).await.unwrap();
    ledger.append(Entry::Settled { jobs: vec!["a".into()] }, 1).await.unwrap();
    assert_eq!(ledger.unsettled(), ["d"]);
    ledger.append(Entry::Merging { batch_id: "2".into(), job: "e".into() }, 1).await.unwrap();
    assert_eq!(ledger.unsettled(), ["d", "e"], "one that is begun after the receipt is another");
}

/// A table that takes the place of another, or gives it back.
fn swapped(old: u64, new: u64, is_back: bool) -> [Entry; 2] {
    let moment = |rows: u64| Moment { version: rows, rows };
    let swap = Box::new(Swap {
        run_id: "mend".into(),
        is_back,
        old: moment(old),
        new: moment(new),
        kept: "_t.kept".into(),
        until: Day(7),
        from: None,
    });
    [Entry::Swapping { swap: swap.clone() }, Entry::Swapped { swap, is_done: true }]
}

#[tokio::test]
async fn receipts_are_those_of_the_table_that_is_in_place() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    let known = |ledger: &Ledger| {
        let is = |batch: &str| if ledger.receipt(batch).is_some() { "yes" } else { "no" };
        format!("{} {}", is("90"), is("75"))
    };
    ledger.append(merge(Some(90), 0, 90), 0).await.unwrap();
    assert_eq!((known(&ledger), ledger.lost_rows(90)), ("yes no".into(), 0));
    let [begins, done] = swapped(90, 70, false);
    ledger.append(begins, 0).await.unwrap();
    // Nobody knows which of the two it is.
    assert_eq!((ledger.rows_after_last_merge(), ledger.lost_rows(70), ledger.lost_rows(90)), (None, 0, 0));
    assert!(ledger.pending_swap().is_some());
    ledger.append(done, 0).await.unwrap();
    assert_eq!((known(&ledger), ledger.lost_rows(70), ledger.lost_rows(69)), ("no no".into(), 0, 1));
    assert_eq!((ledger.rows_after_last_merge(), ledger.mended("mend").is_some()), (Some(70), true));
    ledger.append(merge(Some(71), 70, 75), 0).await.unwrap();
    assert_eq!((known(&ledger), ledger.lost_rows(75)), ("no yes".into(), 0));
    for entry in swapped(75, 90, true) {
        ledger.append(entry, 0).await.unwrap();
    }
    assert_eq!((known(&ledger), ledger.lost_rows(90), ledger.lost_rows(80)), ("yes no".into(), 0, 10));
    assert_eq!((ledger.rows_after_last_merge(), ledger.removed_between_merges()), (Some(90), 0));
    assert_eq!((ledger.mended("mend"), ledger.pending_swap()), (None, None));
}

#[tokio::test]
async fn a_table_that_is_kept_is_known_where_the_target_is() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    let [Entry::Swapping { swap }, _] = swapped(90, 70, false) else { unreachable!() };
    // A ledger of before has URLs.
    for kept in ["_t.kept", "file:///where/it/was/_t.other"] {
        let swap = Box::new(Swap { kept: kept.into(), ..swap.as_ref().clone() });
        ledger.append(Entry::Swapping { swap }, 0).await.unwrap();
    }
    let kept = ledger.kept_tables("file:///lake/t").into_keys().collect::<Vec<_>>();
    assert_eq!(kept, ["file:///lake/_t.kept", "file:///lake/_t.other"]);
}

#[tokio::test]
async fn what_others_have_done_since_is_no_reason_to_miss_rows() {
    let place = Place::new();
    let mut writer = place.open("a").await.unwrap();
    writer.append(merge(Some(90), 0, 90), 0).await.unwrap();
    let mut reader = place.open("b").await.unwrap();
    for entry in swapped(90, 70, false) {
        writer.append(entry, 0).await.unwrap();
    }
    // It has counted those of the new table; and of the one before it.
    assert_eq!((reader.missing_rows(70).await.unwrap(), reader.missing_rows(90).await.unwrap()), (0, 0));
    assert_eq!(reader.missing_rows(60).await.unwrap(), 10);
    writer.append(merge(Some(99), 70, 99), 0).await.unwrap();
    assert_eq!(reader.missing_rows(70).await.unwrap(), 0);
    assert_eq!(place.open("c").await.unwrap().missing_rows(70).await.unwrap(), 29);
}

#[tokio::test]
async fn staged_winners_are_kept_as_long_as_the_longest_promise() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    for (staged_by, until) in [(None, 30), (None, 7), (Some("part".to_string()), 9)] {
        let (run_id, file, staged_until) = ("run".to_string(), String::new(), Some(Day(until)));
        let (sources, findings) = (BTreeMap::new(), Vec::new());
        let entry = Entry::Proven { run_id, sources, findings, file, staged_until, staged_by };
        ledger.append(entry, 0).await.unwrap();
    }
    assert_eq!(ledger.staged_until(), BTreeMap::from([("run", Day(30)), ("part", Day(9))]));
}

#[tokio::test]
async fn what_a_merge_that_may_have_come_was_to_change_is_not_written_over() {
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    let (run_id, batch_id) = ("run".to_string(), "70".to_string());
    let merging = Entry::Merging { batch_id: batch_id.clone(), job: "keep".into() };
    ledger.append(merging.clone(), 0).await.unwrap();
    let entry = Entry::Changing { run_id: run_id.clone(), batch_id: batch_id.clone(), file: "changes".into(), rows: 1 };
    ledger.append(entry, 0).await.unwrap();
    assert_eq!(ledger.unmerged_changes("run", "70"), Some("changes"));
    ledger.append(merging, 0).await.unwrap();
    assert_eq!(ledger.unmerged_changes("run", "70"), None);
}

#[tokio::test]
async fn what_came_in_is_summed_though_a_receipt_comes_late() {
    let inserting = |run: &str, version, before, inserted| {
        let Entry::Merged { mut receipt } = merge(Some(version), before, before + inserted) else { unreachable!() };
        receipt.run_id = run.to_string();
        receipt.merged.inserted = inserted;
        receipt.merged.inserted_key_sum = Some((10 * inserted).to_string());
        Entry::Merged { receipt }
    };
    let sums = |[own, others]: [Inserted; 2]| [(own.keys, own.sum), (others.keys, others.sum)];
    let place = Place::new();
    let mut ledger = place.open("a").await.unwrap();
    ledger.append(inserting("other", 3, 0, 100), 0).await.unwrap();
    // The receipt of version 4 was lost with its writer, and is written after that of version 5.
    ledger.append(inserting("other", 5, 107, 20), 0).await.unwrap();
    ledger.append(inserting("own", 4, 100, 7), 0).await.unwrap();
    assert_eq!(sums(ledger.inserted_after(0, "own")), [(7, Some(70)), (20, Some(200))]);
    // It tells nothing of what there is now.
    ledger.append(inserting("other", 6, 127, 3), 0).await.unwrap();
    assert_eq!(sums(ledger.inserted_after(0, "own")), [(7, Some(70)), (23, Some(230))]);
    // Somebody has taken the target back to what it was.
    ledger.append(inserting("other", 8, 100, 1), 0).await.unwrap();
    assert_eq!(sums(ledger.inserted_after(0, "own")), [(0, Some(0)), (1, Some(10))]);
}
