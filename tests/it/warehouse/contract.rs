//! What every warehouse promises. Each function is one promise, shown on a fresh stand.

pub use super::steps::*;
use super::{DAY_S, EDGE_S, NOW_US, Stand, backfill, backfill_at, counts, fill, merged, receipts, staged, text_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tradefold::dedup::KeyCount;
use tradefold::error::Kind;
use tradefold::ledger::Ledger;
use tradefold::report::backfill_text;
use tradefold::run::{Choice, RunOptions};
use tradefold::warehouse::Merged;
use tradefold::window::Day;

fn named(hash: &str) -> Value {
    json!(hash)
}

pub async fn new_keys_are_inserted(stand: &impl Stand) {
    let rows = [fill("0xa", named("o1"), EDGE_S, 1, 0.1), fill("0xb", named("o1"), EDGE_S, 1, 0.2)];
    let report = merged(stand, &rows).await;
    assert_eq!(counts(&report), (2, 0, 0));
    assert_eq!(stand.table().await.len(), 2);
    assert_eq!(report.batches[0].merged.as_ref().unwrap().rows_after, 2 + stand.bystanders());
}

pub async fn r6_only_a_higher_row_updates(stand: &impl Stand) {
    let at = |rev, price| fill("0xa", named("o"), EDGE_S, rev, price);
    merged(stand, &[at(5, 0.5)]).await;
    assert_eq!(counts(&merged(stand, &[at(4, 0.4)]).await), (0, 0, 1), "lower");
    let tied = merged(stand, &[at(5, 0.9)]).await;
    assert_eq!((counts(&tied), tied.batches[0].comparison.conflict), ((0, 0, 1), 1), "tied and different");
    assert!(stand.table().await[0].contains("0.5"));
    assert_eq!(counts(&merged(stand, &[at(6, 0.6)]).await), (0, 1, 0), "higher");
    assert!(stand.table().await[0].contains("0.6"));
}

pub async fn r6_rows_that_tie_or_are_lower_stay_where_others_change(stand: &impl Stand) {
    let row = |wallet, rev, price| fill(wallet, named("o"), EDGE_S, rev, price);
    merged(stand, &[row("0xa", 5, 0.1), row("0xb", 5, 0.1), row("0xc", 5, 0.1)]).await;
    // All on one day, which is written anew for the sake of two of them.
    let rows = [row("0xa", 5, 0.2), row("0xb", 4, 0.3), row("0xc", 6, 0.4), row("0xd", 1, 0.5)];
    assert_eq!(counts(&merged(stand, &rows).await), (1, 1, 2));
    let prices = |row: &String| serde_json::from_str::<Value>(row).unwrap()["price"].as_f64().unwrap();
    assert_eq!(stand.table().await.iter().map(prices).collect::<Vec<_>>(), [0.1, 0.1, 0.4, 0.5]);
}

pub async fn an_update_never_blanks_what_is_known(stand: &impl Stand) {
    merged(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.1)]).await;
    let mut poorer = fill("0xa", named("o"), EDGE_S, 2, 0.0);
    poorer["price"] = Value::Null;
    assert_eq!(counts(&merged(stand, &[poorer]).await), (0, 1, 0));
    let table = stand.table().await;
    assert!(table[0].contains("\"rev\":2") && table[0].contains("\"price\":0.1"), "{table:?}");
}

pub async fn a_replay_changes_nothing(stand: &impl Stand) {
    let rows = [fill("0xa", named("o"), EDGE_S, 1, 0.1), fill("0xb", named("o"), EDGE_S + 40 * DAY_S, 1, 0.1)];
    merged(stand, &rows).await;
    let written = receipts(&stand.home()).await;
    let (table, changes) = (stand.table().await, stand.changes().await);
    assert_eq!(counts(&merged(stand, &rows).await), (0, 0, 2));
    assert_eq!((stand.table().await, stand.changes().await), (table, changes), "a replay makes no commit");
    assert_eq!(receipts(&stand.home()).await, written, "and each batch keeps the one receipt that it has");
}

pub async fn batches_out_of_order_give_the_same_table(stand: &impl Stand) {
    let late = [fill("0xa", named("o"), EDGE_S + 40 * DAY_S, 2, 0.2)];
    let early = [fill("0xb", named("o"), EDGE_S, 1, 0.1), fill("0xa", named("o"), EDGE_S + 40 * DAY_S, 1, 0.1)];
    merged(stand, &late).await;
    let report = merged(stand, &early).await;
    assert_eq!(counts(&report), (1, 0, 1));
    let table = stand.table().await;
    assert_eq!(table.len(), 2);
    assert!(table.iter().any(|row| row.contains("\"rev\":2")), "the higher row stays: {table:?}");
}

pub async fn a_key_on_both_sides_of_midnight_and_of_a_batch_edge_is_one(stand: &impl Stand) {
    merged(stand, &[fill("0xa", named("o"), EDGE_S - 1, 1, 0.1)]).await;
    let report = merged(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.2)]).await;
    assert_eq!(counts(&report), (0, 1, 0));
    assert_eq!(stand.table().await.len(), 1);
}

pub async fn a_key_five_days_apart_in_one_run_is_one(stand: &impl Stand) {
    let rows = [fill("0xa", named("o"), EDGE_S, 1, 0.1), fill("0xa", named("o"), EDGE_S + 5 * DAY_S, 1, 0.2)];
    let report = merged(stand, &rows).await;
    assert_eq!((counts(&report), report.balance.losers.superseded), ((1, 0, 0), 1));
    assert_eq!(report.balance.redated.keys, 1);
    assert_eq!(stand.table().await.len(), 1);
}

pub async fn a_key_five_days_apart_in_two_runs_is_one(stand: &impl Stand) {
    merged(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.1)]).await;
    let report = merged(stand, &[fill("0xa", named("o"), EDGE_S + 5 * DAY_S, 1, 0.2)]).await;
    assert_eq!(counts(&report), (0, 1, 0), "the key search finds it on a day that the batch does not name");
    assert_eq!(stand.table().await.len(), 1);
    let older = merged(stand, &[fill("0xa", named("o"), EDGE_S - 30 * DAY_S, 9, 0.3)]).await;
    assert_eq!(counts(&older), (0, 0, 1));
    assert_eq!(stand.table().await.len(), 1);
}

pub async fn a_narrower_file_keeps_the_wider_rows(stand: &impl Stand) {
    merged(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.1)]).await;
    let narrow = json!({"wallet": "0xa", "order_hash": "o", "ts": EDGE_S, "rev": 1});
    let report = merged(stand, &[narrow]).await;
    assert_eq!(
        (counts(&report), report.batches[0].comparison.same),
        ((0, 0, 1), 1),
        "an unknown value is no difference"
    );
    let narrow_but_higher = json!({"wallet": "0xa", "order_hash": "o", "ts": EDGE_S, "rev": 2});
    assert_eq!(counts(&merged(stand, &[narrow_but_higher]).await), (0, 1, 0));
    assert!(stand.table().await[0].contains("\"price\":0.1"));
}

pub async fn null_and_empty_in_a_nullable_key_part_are_one_key(stand: &impl Stand) {
    let rows = [fill("0xa", Value::Null, EDGE_S, 1, 0.1), fill("0xb", Value::Null, EDGE_S, 1, 0.1)];
    merged(stand, &rows).await;
    assert_eq!(counts(&merged(stand, &rows).await), (0, 0, 2), "a NULL key part matches itself");
    let empty = [fill("0xa", named(""), EDGE_S, 2, 0.2)];
    assert_eq!(counts(&merged(stand, &empty).await), (0, 1, 0), "and the text that stands in for it");
    assert_eq!(stand.table().await.len(), 2);
}

pub async fn duplicates_in_the_target_stop_the_run(stand: &impl Stand) {
    stand.plant(&[fill("0xd", named("o"), EDGE_S, 1, 0.1), fill("0xd", named("o"), EDGE_S, 2, 0.2)]).await;
    let before = stand.table().await;
    let report = backfill(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.1)], RunOptions::default()).await.unwrap();
    assert_eq!(report.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["target_repeats"]);
    assert!(report.stops[0].file.is_some());
    assert_eq!(stand.table().await, before);
}

pub async fn one_conflict_in_ten_thousand_rows_is_found(stand: &impl Stand) {
    let row = |n: i64| fill(&format!("0x{n:x}"), named("o"), EDGE_S + n % 1000, 1, n as f64);
    merged(stand, &(0..10_000).map(row).collect::<Vec<_>>()).await;
    let mut again: Vec<Value> = (0..10_000).map(row).collect();
    again[7_777]["price"] = json!(0.5);
    let table = stand.table().await;
    let stop = RunOptions { on_conflict: Choice::Stop, ..RunOptions::default() };
    let stopped = backfill(stand, &again, stop).await.unwrap();
    assert_eq!(stopped.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["conflicts"]);
    let report = merged(stand, &again).await;
    assert_eq!(counts(&report), (0, 0, 10_000));
    assert_eq!((report.batches[0].comparison.same, report.batches[0].comparison.conflict), (9_999, 1));
    assert_eq!(stand.table().await, table, "the target keeps what it has");
}

fn numbered(rev: i64, log_index: i64) -> Value {
    let mut row = fill("0xa", named("o"), EDGE_S, rev, 0.1);
    row["log_index"] = json!(log_index);
    row
}

pub async fn a_suspect_key_in_the_target_stops_the_run(stand: &impl Stand) {
    merged(stand, &[numbered(1, 10)]).await;
    let before = stand.table().await;
    let report = backfill(stand, &[numbered(2, 11)], RunOptions::default()).await.unwrap();
    assert_eq!(report.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["suspect_keys"]);
    assert_eq!(text_of(stand, report.stops[0].file.as_ref().unwrap()).await.lines().count(), 1);
    assert_eq!(stand.table().await, before);
    let keep = RunOptions { on_suspect: Choice::Keep, ..RunOptions::default() };
    assert_eq!(counts(&backfill(stand, &[numbered(2, 11)], keep).await.unwrap()), (0, 1, 0));
}

/// The winner does not say which event it is; the loser does, and it is another one than the target has.
pub async fn a_suspect_key_whose_number_only_a_loser_knows_stops_the_run(stand: &impl Stand) {
    merged(stand, &[numbered(1, 10)]).await;
    let before = stand.table().await;
    let rows = |number: i64| {
        let mut winner = numbered(3, number);
        winner["log_index"] = Value::Null;
        [winner, numbered(2, number)]
    };
    let report = backfill(stand, &rows(11), RunOptions::default()).await.unwrap();
    assert_eq!(report.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["suspect_keys"]);
    assert_eq!(stand.table().await, before);
    let file = report.stops[0].file.as_ref().unwrap();
    let written = text_of(stand, file).await;
    assert!(written.contains("\"log_index\":11") && written.contains("\"target_log_index\":10"), "{written}");
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..RunOptions::default() };
    let report = backfill(stand, &rows(11), quarantine).await.unwrap();
    assert_eq!((counts(&report), report.balance.quarantined.rows), ((0, 0, 0), 2));
    // The same event as the target's is none.
    assert_eq!(counts(&merged(stand, &rows(10)).await), (0, 1, 0));
}

pub async fn a_suspect_key_in_the_target_can_be_quarantined(stand: &impl Stand) {
    merged(stand, &[numbered(1, 10)]).await;
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..RunOptions::default() };
    let mut redated = numbered(1, 11);
    redated["ts"] = json!(EDGE_S + 1);
    let rows = [numbered(2, 11), redated, fill("0xb", named("o"), EDGE_S, 1, 0.1)];
    let report = backfill(stand, &rows, quarantine).await.unwrap();
    assert_eq!((report.stops.len(), counts(&report)), (0, (1, 0, 0)));
    assert_eq!((report.balance.quarantined.keys, report.balance.quarantined.rows), (1, 2));
    assert_eq!(report.balance.redated.keys, 0, "what was set aside is counted as nothing else");
    let table = stand.table().await;
    assert!(table.iter().any(|row| row.contains("\"log_index\":10")) && table.len() == 2, "{table:?}");
}

/// Nothing is left of a run whose only row was set aside: not a file that could be missing.
pub async fn a_run_that_set_everything_aside_looks_again(stand: &impl Stand) {
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..RunOptions::default() };
    merged(stand, &[fill("0xb", named("o"), EDGE_S, 1, 0.1)]).await;
    merged(stand, &[numbered(1, 10)]).await;
    let report = backfill(stand, &[numbered(2, 11)], quarantine.clone()).await.unwrap();
    assert_eq!((counts(&report), report.balance.quarantined.rows), ((0, 0, 0), 1));
    stand.roll_back().await;
    let report = backfill(stand, &[numbered(2, 11)], quarantine).await.unwrap();
    assert_eq!((counts(&report), report.balance.quarantined.rows), ((1, 0, 0), 0), "the target's row is gone");
}

/// As for a run whose only row was rejected.
pub async fn a_row_of_the_future_goes_in_once_its_time_has_come(stand: &impl Stand) {
    let at = NOW_US / 1_000_000 + 3 * DAY_S;
    let rows = [fill("0xa", named("o"), at, 1, 0.1)];
    let early = merged(stand, &rows).await;
    assert_eq!((early.balance.landing.rejected, counts(&early)), (1, (0, 0, 0)));
    let late = backfill_at(stand, &rows, RunOptions::default(), NOW_US + 3 * DAY_S * 1_000_000).await.unwrap();
    assert_eq!((late.balance.landing.rejected, counts(&late)), (0, (1, 0, 0)));
}

/// The key is re-dated and has a conflict until the target makes it suspect; then it is none of the run's any more.
pub async fn what_is_found_of_a_key_goes_when_the_key_is_set_aside(stand: &impl Stand) {
    merged(stand, &[numbered(1, 10)]).await;
    let mut late = numbered(2, 11);
    late["ts"] = json!(EDGE_S + 3600);
    let mut other = late.clone();
    other["price"] = json!(0.9);
    let quarantine = RunOptions { on_suspect: Choice::Quarantine, ..RunOptions::default() };
    let rows = [numbered(2, 11), late, other, fill("0xb", named("o"), EDGE_S, 1, 0.1)];
    let report = backfill(stand, &rows, quarantine).await.unwrap();
    assert_eq!((counts(&report), report.balance.quarantined), ((1, 0, 0), KeyCount { keys: 1, rows: 3 }));
    assert_eq!((report.balance.redated, report.balance.redated_by_hours), (KeyCount::default(), 0));
    assert_eq!(report.files.keys().collect::<Vec<_>>(), ["quarantined-1"]);
}

pub async fn a_key_that_the_target_has_at_another_time_is_counted_and_can_stop_the_run(stand: &impl Stand) {
    merged(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.1), fill("0xb", named("o"), EDGE_S, 1, 0.1)]).await;
    let before = stand.table().await;
    let rows = [fill("0xa", named("o"), EDGE_S + 3600, 1, 0.1), fill("0xb", named("o"), EDGE_S, 2, 0.1)];
    let stop = RunOptions { on_redated: Choice::Stop, ..RunOptions::default() };
    let report = backfill(stand, &rows, stop).await.unwrap();
    assert_eq!(report.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["redated_keys"]);
    assert_eq!(text_of(stand, report.stops[0].file.as_ref().unwrap()).await.lines().count(), 1);
    assert_eq!(stand.table().await, before);
    let report = merged(stand, &rows).await;
    assert_eq!((counts(&report), report.batches[0].comparison.redated), ((0, 2, 0), 1));
    assert!(backfill_text(&report).contains("of another time than the target's row of their key: 1 winner"));
}

pub async fn a_restored_table_gets_its_rows_back(stand: &impl Stand) {
    let first = [fill("0xa", named("o"), EDGE_S, 1, 0.1)];
    let second = [fill("0xb", named("o"), EDGE_S, 1, 0.2), fill("0xa", named("o"), EDGE_S, 2, 0.3)];
    merged(stand, &first).await;
    merged(stand, &second).await;
    let table = stand.table().await;
    let home = stand.home();
    for attempt in 2..=3 {
        stand.roll_back().await;
        assert_ne!(stand.table().await, table);
        let report = merged(stand, &second).await;
        assert_eq!(counts(&report), (1, 1, 0));
        assert_eq!(stand.table().await, table);
        let ledger = Ledger::open(home.join("ledger"), String::new()).await.unwrap();
        assert_eq!(ledger.receipt(&report.batches[0].batch_id).unwrap().attempt, attempt, "each merge is told apart");
    }
}

pub async fn a_row_that_moves_to_another_day_leaves_the_old_one(stand: &impl Stand) {
    let stays = fill("0xb", named("o"), EDGE_S, 1, 0.7);
    merged(stand, &[fill("0xa", named("o"), EDGE_S, 1, 0.1), stays]).await;
    let report = merged(stand, &[fill("0xa", named("o"), EDGE_S + DAY_S, 1, 0.2)]).await;
    assert_eq!(counts(&report), (0, 1, 0));
    if stand.dataset().partition.is_some() {
        let changed = &report.batches[0].merged.as_ref().unwrap().days_changed;
        let days = [EDGE_S, EDGE_S + DAY_S].map(|seconds| Day::of_us(seconds * 1_000_000));
        assert!(days.iter().all(|day| changed.contains(day)), "both days are written anew: {changed:?}");
    }
    let table = stand.table().await;
    assert_eq!(table.len(), 2);
    assert!(table.iter().any(|row| row.contains("0.7")), "the other row of the old day stays: {table:?}");
}

pub async fn r5_no_key_of_the_target_is_lost(stand: &impl Stand) {
    let row = |n: i64, rev: i64| fill(&format!("0x{n:x}"), named("o"), EDGE_S + n * DAY_S / 7, rev, rev as f64);
    merged(stand, &(0..60).map(|n| row(n, 1)).collect::<Vec<_>>()).await;
    let report = merged(stand, &(30..90).map(|n| row(n, 2)).collect::<Vec<_>>()).await;
    assert_eq!(counts(&report), (30, 30, 0));
    let table = stand.table().await;
    let wallets: std::collections::BTreeSet<_> = table.iter().map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!((table.len(), wallets.len()), (90, 90), "every key is there, once");
}

/// A change that takes a key away, as a merge that loses one would.
pub async fn r5_verify_finds_a_key_that_is_gone(stand: &impl Stand) {
    let rows = [fill("0xa", named("o"), EDGE_S, 1, 0.1), fill("0xb", named("o"), EDGE_S, 1, 0.2)];
    merged(stand, &rows[..1]).await;
    let report = merged(stand, &rows[1..]).await;
    let added = report.batches[0].merged.clone().unwrap();
    let (_folder, manifest) = staged(stand, &rows[..1]).await;
    stand.warehouse().load(&manifest).await.unwrap();
    let verify = async |merged| stand.warehouse().verify(&manifest, &manifest.batch.touched, merged).await.unwrap();
    assert_eq!(verify(&added).await.lost, 0);
    stand.roll_back().await;
    let removed = Merged { version: added.version.map(|version| version + 1), ..added.clone() };
    let found = verify(&removed).await;
    assert_eq!((found.missing, found.lost), (0, 1));
    let said = found.check("b").unwrap_err().render();
    assert!(said.contains("of the keys that the target had before 1 are gone") && said.contains("restore"), "{said}");
}

pub async fn an_empty_input_changes_nothing(stand: &impl Stand) {
    let report = merged(stand, &[]).await;
    assert_eq!((counts(&report), report.batches.len()), ((0, 0, 0), 0));
    assert_eq!(stand.table().await, Vec::<String>::new());
}

/// For a stand whose contract says so.
pub async fn an_immutable_table_only_inserts(stand: &impl Stand) {
    let at = |wallet: &str, rev| fill(wallet, named("o"), EDGE_S, rev, rev as f64);
    merged(stand, &[at("0xb", 1), numbered(1, 10)]).await;
    let before = stand.table().await;
    let stopped = backfill(stand, &[at("0xb", 2), numbered(2, 11)], RunOptions::default()).await.unwrap();
    assert_eq!(stopped.stops.len(), 1);
    let text = backfill_text(&stopped);
    let total = text.lines().find(|line| line.trim_start().starts_with("total")).unwrap();
    assert_eq!(total.split_whitespace().collect::<Vec<_>>(), ["total", "2", "0", "0", "2"], "{text}");
    let report = merged(stand, &[at("0xb", 2), at("0xc", 1)]).await;
    assert_eq!((counts(&report), report.batches[0].comparison.newer), ((1, 0, 1), 1));
    let after = stand.table().await;
    assert!(after.len() == before.len() + 1 && before.iter().all(|row| after.contains(row)), "{after:#?}");
    let changes = stand.changes().await;
    assert_eq!(counts(&merged(stand, &[at("0xb", 3)]).await), (0, 0, 1));
    assert_eq!(stand.changes().await, changes, "nothing to insert, no commit");
}

/// For a crowded stand: three rows that nobody names have no order hash, an empty one and `o`.
pub async fn the_values_of_a_column_are_listed_with_their_rows(stand: &impl Stand) {
    let odd = "it's `\\\"ß";
    let row = |wallet: &str, hash, day, rev| fill(wallet, hash, EDGE_S + day * DAY_S, rev, 0.1);
    let rows = [
        row("0xa", named("p"), 0, 1),
        row("0xb", named("p"), 40, 2),
        row("0xc", named(odd), 0, 1),
        row("0xd", Value::Null, 1, 1),
    ];
    stand.plant(&rows).await;
    let list = async |column: &str, equals| stand.warehouse().values(column, equals).await.unwrap();
    let listed = |rows: &[(&str, u64)]| rows.iter().map(|(text, rows)| (text.to_string(), *rows)).collect();
    let all: BTreeMap<String, u64> = listed(&[("", 1), ("o", 1), ("p", 2), (odd, 1)]);
    assert_eq!(list("order_hash", None).await, all, "NULL is no value");
    let of_one: BTreeMap<String, u64> = listed(&[("o", 1), ("p", 1), (odd, 1)]);
    assert_eq!(list("order_hash", Some(("rev", "1"))).await, of_one);
    assert_eq!(list("rev", Some(("order_hash", "p"))).await, listed(&[("1", 1), ("2", 1)]));
    assert_eq!(list("wallet", Some(("order_hash", odd))).await, listed(&[("0xc", 1)]));
    assert_eq!(list("order_hash", Some(("order_hash", "q"))).await, BTreeMap::new());
    assert_eq!(list("log_index", None).await, BTreeMap::new(), "a column without a known value");
    for (column, equals) in [("nope", None), ("rev", Some(("nope", "1")))] {
        let error = stand.warehouse().values(column, equals).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Bug);
        assert!(error.render().contains("`nope`"), "{}", error.render());
    }
}

/// For a crowded stand: rows that nobody names are on three days.
pub async fn rows_are_counted_by_day_from_a_day_on(stand: &impl Stand) {
    let row = |wallet: &str, day| fill(wallet, named("p"), EDGE_S + day * DAY_S, 1, 0.1);
    stand.plant(&[row("0xa", 0), row("0xb", 0), row("0xc", 40), row("0xd", -30)]).await;
    let edge = Day::of_us(EDGE_S * 1_000_000);
    for (from, rows) in [(-2, &[(-1, 1), (0, 3), (1, 1), (40, 1)][..]), (1, &[(1, 1), (40, 1)]), (41, &[])] {
        let expected: BTreeMap<Day, u64> = match stand.dataset().partition {
            Some(_) => rows.iter().map(|(day, rows)| (edge.plus(*day), *rows)).collect(),
            None => BTreeMap::new(),
        };
        assert_eq!(stand.warehouse().rows_by_day(edge.plus(from)).await.unwrap(), expected, "from {from}");
    }
}

/// For a stand whose table is not there, or has no rows.
pub async fn there_are_no_values(stand: &impl Stand) {
    for equals in [None, Some(("rev", "1"))] {
        assert_eq!(stand.warehouse().values("wallet", equals).await.unwrap(), BTreeMap::new());
    }
    assert_eq!(stand.warehouse().rows_by_day(Day(0)).await.unwrap(), BTreeMap::new());
    assert_eq!(stand.warehouse().values("nope", None).await.unwrap_err().kind(), Kind::Bug);
}
