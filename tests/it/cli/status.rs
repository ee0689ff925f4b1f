//! What a person and a collector of metrics are told of a table, and of trades beside a table of markets.

use super::{Desk, number};
use crate::report::parse;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;
use tradefold::dataset::Dataset;
use tradefold::landing::{Landed, LandedFile, LandingCounts};
use tradefold::ledger::{Cover, Entry, Gap, Ledger, Purpose, Seen};
use tradefold::storage::Folder;
use tradefold::window::{Day, Window};

const FEED: &str = "https://trades.example/orders";

fn now_s() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Trades of these times, each of another transaction, all of one market.
fn trades(times: &[i64]) -> String {
    let line = |(at, timestamp): (usize, &i64)| {
        json!({ "token_id": "1", "side": "BUY", "market_slug": "m", "condition_id": "0xAB", "shares": 1_000_000,
                "shares_normalized": 1, "price": 0.5, "block_number": 1, "log_index": at, "timestamp": timestamp,
                "tx_hash": format!("0x{at:02}"), "order_hash": "0x1", "user": "0x2", "taker": "0x3" })
        .to_string()
    };
    times.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// A part that was fetched for what is new.
fn seen(part: &str, covers: Vec<Cover>, gaps: Vec<Gap>) -> Seen {
    let contract = Dataset::built_in("trades").unwrap().digest();
    Seen { part: part.into(), covers, gaps, purpose: Purpose::New, contract }
}

/// Follows a feed over two days until now, of which the first is a gap; one part waits and one is gone.
async fn follow(desk: &Desk, now_us: i64) {
    const DAY_US: i64 = 86_400_000_000;
    let folder = Folder::open(desk.path("lake/_tradefold/trades/ledger").to_str().unwrap(), &[]).unwrap();
    let mut ledger = Ledger::open(folder, "a".into()).await.unwrap();
    let window = |days: i64| Window::new(now_us - days * DAY_US, now_us - (days - 1) * DAY_US).unwrap();
    let cover = |days| vec![Cover { feed: FEED.into(), spans: vec![window(days)].into() }];
    let gap = vec![Gap { feed: FEED.into(), window: window(2), why: "the API answered nothing".into() }];
    let landed = Landed { counts: LandingCounts { read: 7, landed: 7, ..Default::default() }, ..Default::default() };
    let file = LandedFile {
        url: "file:///nowhere/part.parquet".into(),
        shown: "part.parquet".into(),
        size_bytes: 1,
        digest: String::new(),
        rows: 1,
        by_reference: false,
        last_modified_us: None,
    };
    let lost = Landed { files: vec![file], ..landed.clone() };
    ledger
        .append(Entry::Followed { feed: FEED.into(), from_us: now_us - 2 * DAY_US, to_us: None }, now_us)
        .await
        .unwrap();
    ledger.append_fetched(seen("part-here", cover(1), gap), &landed, now_us).await.unwrap();
    ledger.append_fetched(seen("part-lost", cover(2), Vec::new()), &lost, now_us).await.unwrap();
    ledger.append_wanted(&BTreeSet::from(["0xab".to_string()]), now_us).await.unwrap();
}

#[tokio::test]
async fn a_status_tells_checkpoint_gaps_and_what_waits_and_writes_it_for_a_collector() {
    let desk = Desk::new();
    let now_s = now_s();
    desk.write("in.ndjson", &trades(&[now_s - 3_600, now_s - 86_400, now_s - 86_400, now_s - 20 * 86_400]));
    desk.report(0, "backfill in.ndjson");
    follow(&desk, now_s * 1_000_000).await;
    desk.write("metrics/trades.prom", "from before");
    let before = desk.files("lake");
    let report = desk.report(0, "status --days 4 --prometheus metrics/trades.prom");
    let inserted = report["receipts"].as_array().unwrap().iter().map(|receipt| number(receipt, "/merged/inserted"));
    assert_eq!((number(&report, "/rows"), inserted.sum::<u64>()), (4, 4));
    assert_eq!(desk.files("lake"), before, "it changes nothing");
    let feed = &report["feeds"][0];
    assert_eq!(
        (feed["feed"].as_str(), feed["gaps"][0]["why"].as_str()),
        (Some(FEED), Some("the API answered nothing"))
    );
    let from_us = (now_s - 2 * 86_400) * 1_000_000;
    assert_eq!((feed["checkpoint_us"].as_i64(), feed["seen_us"].as_i64()), (Some(from_us), Some(86_400_000_000)));
    assert_eq!(feed["lag_us"].as_i64().unwrap(), report["at_us"].as_i64().unwrap() - from_us);
    let parts = report["parts"].as_array().unwrap().iter();
    let parts: Vec<_> =
        parts.map(|part| (part["part"].as_str().unwrap(), part["is_here"].as_bool().unwrap())).collect();
    assert_eq!(parts, [("part-here", true), ("part-lost", false)]);
    assert_eq!((number(&report, "/wanted"), &report["left"]), (1, &json!({})));
    let days: BTreeMap<String, u64> = serde_json::from_value(report["rows_by_day"].clone()).unwrap();
    assert_eq!((days.len(), days.values().sum::<u64>()), (4, 3), "{days:?}");
    let yesterday = Day::of_us((now_s - 86_400) * 1_000_000).to_string();
    assert!(days[&yesterday] >= 2, "{days:?}");

    // One file, and nothing beside it.
    assert_eq!(desk.files("metrics"), ["trades.prom"]);
    let file = desk.path("metrics/trades.prom");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "others may read it: {mode:o}");
    let table = format!("file://{}", desk.path("lake/trades").display());
    let samples = parse(&std::fs::read_to_string(&file).unwrap());
    let of = |name: &str, feed: Option<&str>| {
        let labels = [("table", Some(table.as_str())), ("feed", feed)];
        let labels = labels.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.to_string())));
        let key = (format!("tradefold_{name}"), labels.collect::<BTreeMap<_, _>>());
        *samples.get(&key).unwrap_or_else(|| panic!("{key:?} in {samples:#?}"))
    };
    assert_eq!((of("rows", None), of("gaps", Some(FEED)), of("rows_waiting", None)), (4.0, 1.0, 7.0));
    assert_eq!(of("checkpoint_seconds", Some(FEED)), (now_s - 2 * 86_400) as f64);
    let counted = samples.iter().filter(|((name, _), _)| name == "tradefold_rows_of_day").map(|(_, rows)| rows);
    assert_eq!(counted.sum::<f64>(), 3.0);

    // What was not asked for is not told.
    let report = desk.report(0, "status");
    assert_eq!(report["rows_by_day"], json!(null));
    let text = desk.run("status --days 2").out;
    for expected in ["checkpoint  ", "2 d", "gap  ", "its files are not here", "part-here with 7 rows (new)", "wanted"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_file_for_a_collector_that_can_not_be_written_is_an_error_that_names_it() {
    let desk = Desk::new();
    let ran = desk.run("status --prometheus nowhere/trades.prom");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("write a status for Prometheus") && ran.err.contains("nowhere/trades.prom"),
        "{}",
        ran.err
    );
    std::fs::create_dir(desk.path("folder")).unwrap();
    let ran = desk.run("status --prometheus folder");
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(!desk.path("nowhere").exists() && desk.files("folder").is_empty());
    assert!(!desk.files("").iter().any(|name| name.contains("tradefold")), "{:?}", desk.files(""));
    assert_eq!(desk.run("status --days 0").code, 2);
    let text = desk.run("status --dataset markets --days 2").out;
    assert!(text.contains("no rows by day: the dataset has no partition column"), "{text}");
}

#[test]
fn trades_without_a_market_are_told_and_are_nothing_wrong() {
    let desk = Desk::new();
    desk.report(0, "backfill fixtures/midnight.ndjson");
    desk.report(0, "backfill fixtures/orphans.ndjson");
    assert_eq!(desk.report(0, "audit")["orphans"], json!(null), "there is no table of markets");
    let id = "0x8c57eeafaab9c28cc47a0457cfdb43b41a0d437edf6f9df97b6c58e8cbb00d1d";
    let market = |id: &str| {
        let row = json!({ "condition_id": id, "title": "?", "fetched_at": "2026-01-01T00:00:00Z" });
        desk.write("market.ndjson", &row.to_string());
        desk.report(0, "backfill market.ndjson --dataset markets");
    };
    market("0xother");
    let expected = json!({ "ids": 1, "rows": 2, "empty_rows": 1, "largest": [{ "id": id, "rows": 2 }] });
    let report = desk.report(0, "audit");
    assert_eq!((&report["orphans"], number(&report, "/audit/rows")), (&expected, 4));
    let text = desk.run("audit").out;
    let expected = ["without a market 2 of 1 id", "with an empty id 1", &format!("2 {id}")];
    let told: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(expected.iter().all(|line| told.iter().any(|found| found == line)), "{text}");
    assert!(!text.contains("found:"), "{text}");
    assert_eq!(desk.report(0, "audit --no-orphans")["orphans"], json!(null));
    assert_eq!(desk.report(0, "audit --dataset markets")["orphans"], json!(null), "markets name no market");
    market(id);
    let expected = json!({ "ids": 0, "rows": 0, "empty_rows": 1, "largest": [] });
    assert_eq!(desk.report(0, "audit")["orphans"], expected);
}
