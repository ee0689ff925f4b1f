//! What is told of a table that is kept up to date: as text, as JSON, and for a collector of metrics.

pub(crate) mod browser;
mod examples;
mod html;

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tradefold::landing::{Landed, LandingCounts};
use tradefold::ledger::{Cover, Entry, Gap, Ledger, Purpose, Seen};
use tradefold::report::{OrphanId, OrphansReport, StatusReport, exposition, status_text};
use tradefold::storage::Folder;
use tradefold::warehouse::Orphans;
use tradefold::window::{DAY_US, Day, Window, text_of_length_us};

/// 2025-10-01T00:00:00Z.
const FIRST_US: i64 = 1_759_276_800_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// A name with everything that a label escapes.
const FEED: &str = "https://trades.example/orders note=\"a\\b\nc\"";

fn window(from_day: i64, to_day: i64) -> Window {
    Window::new(FIRST_US + from_day * DAY_US, FIRST_US + to_day * DAY_US).unwrap()
}

fn strings(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

/// What a part has seen, by whatever contract.
fn seen(part: &str, covers: Vec<Cover>, gaps: Vec<Gap>, purpose: Purpose) -> Seen {
    Seen { part: part.into(), covers, gaps, purpose, contract: String::new() }
}

/// A ledger in a folder, and the table that it tells of, as it is two hours and five minutes after five days.
async fn followed(folder: &tempfile::TempDir) -> (Ledger, StatusReport) {
    let folder = Folder::open(&folder.path().to_string_lossy(), &[]).unwrap();
    let mut ledger = Ledger::open(folder, "a".into()).await.unwrap();
    let now_us = FIRST_US + 5 * DAY_US + 2 * HOUR_US + 5 * 60_000_000;
    let landed = |rows| Landed {
        counts: LandingCounts { read: rows, landed: rows, ..Default::default() },
        ..Default::default()
    };
    let cover = |windows: &[(i64, i64)]| {
        let spans: Vec<Window> = windows.iter().map(|(from, to)| window(*from, *to)).collect();
        vec![Cover { feed: FEED.into(), spans: spans.into() }]
    };
    ledger.append(Entry::Followed { feed: FEED.into(), from_us: FIRST_US, to_us: None }, FIRST_US).await.unwrap();
    let gap = |from, to| Gap { feed: FEED.into(), window: window(from, to), why: "a page came twice".into() };
    for (part, covers, gaps, purpose, rows, hour) in [
        ("part-00000001", cover(&[(0, 1)]), vec![], Purpose::New, 1_000, 1),
        ("part-00000002", cover(&[(2, 3), (4, 5)]), vec![gap(1, 2), gap(3, 4)], Purpose::New, 1_234, 2),
        ("part-00000003", cover(&[(2, 3)]), vec![], Purpose::Recheck, 1, 3),
    ] {
        let at_us = FIRST_US + hour * HOUR_US;
        ledger.append_fetched(seen(part, covers, gaps, purpose), &landed(rows), at_us).await.unwrap();
        if hour == 1 {
            ledger.append_wanted(&strings(&["0xa", "0xb", "0xc"]), at_us).await.unwrap();
            let parts = vec![part.to_string()];
            ledger.append(Entry::Finished { run_id: "r".into(), parts, usage: None }, at_us + 1_500_000).await.unwrap();
            ledger.append(Entry::Struck { left: BTreeMap::from([("0xc".into(), 2)]) }, at_us).await.unwrap();
        }
    }
    ledger.append_wanted(&strings(&["0xc", "0xd", "0xe"]), now_us).await.unwrap();
    ledger.append(Entry::Accepted { gaps: cover(&[(1, 2)]) }, now_us).await.unwrap();
    let gone = strings(&["part-00000003"]);
    let report = StatusReport::of("memory://lake/trades".into(), 3_000, &ledger, &gone, now_us).await.unwrap();
    (ledger, report)
}

#[tokio::test]
async fn a_status_tells_how_far_a_table_is_what_is_missing_and_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, mut report) = followed(&folder).await;
    report.rows_by_day = Some(BTreeMap::from([(Day(20_362), 1_500), (Day(20_363), 0)]));
    let text = status_text(&report, &ledger);
    let (told, entries) = text.split_once("\n  when ").unwrap();
    insta::assert_snapshot!(told, @r#"
    memory://lake/trades

      rows                           3,000
      ledger entries                     9

      day                   rows
      2025-10-01           1,500
      2025-10-02               0

      feed https://trades.example/orders note="a\b
    c"
        checkpoint  2025-10-04T00:00:00Z, 2 d 2 h behind now
        followed    since 2025-10-01T00:00:00Z, 3.0 days seen
        gap         [2025-10-04T00:00:00Z, 2025-10-05T00:00:00Z): a page came twice
        passed      [2025-10-02T00:00:00Z, 2025-10-03T00:00:00Z)

      landed, and in the table once the same command is run again
        part        part-00000002 with 1,234 rows (new), fetched 2025-10-01T02:00:00Z
                    part-00000003 with 1 row (a second look), fetched 2025-10-01T03:00:00Z; its files are not here, so it is fetched again

      rows of another table
      wanted                             2
      asked for, not there               1
                    0xc

      last fetched          2025-10-01T02:00:00Z
      last rechecked        2025-10-01T03:00:00Z
      last run finished     2025-10-01T01:00:01Z
    "#);
    assert_eq!(entries.matches("\n  2025-10-0").count(), ledger.records().len(), "{entries}");
}

#[tokio::test]
async fn what_is_told_of_many_gaps_and_values_is_short_and_the_json_has_all() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ledger, report) = followed(&folder).await;
    let left: BTreeMap<String, u32> = (0..25).map(|id| (format!("0x{id:02}"), 1)).collect();
    ledger.append(Entry::Struck { left: left.clone() }, report.at_us).await.unwrap();
    let gaps = (10..22).map(|at| Gap { feed: FEED.into(), window: window(at, at + 1), why: "lost".into() });
    let covers = (10..24).map(|at| Window::new(window(at, at + 1).to_us - 1, window(at, at + 1).to_us).unwrap());
    let covers = vec![Cover { feed: FEED.into(), spans: covers.collect::<Vec<_>>().into() }];
    let landed = Landed::default();
    ledger
        .append_fetched(seen("part-x", covers, gaps.collect(), Purpose::Wanted), &landed, report.at_us + 1)
        .await
        .unwrap();
    let report = StatusReport::of(report.target, 3_000, &ledger, &BTreeSet::new(), report.at_us + 2).await.unwrap();
    assert_eq!((report.wanted, &report.left, report.last.fetched_us), (0, &left, Some(report.at_us - 1)));
    let json = serde_json::to_value(&report).unwrap();
    // The fourth day, the days up to the tenth and most of it, and most of 13 others.
    assert_eq!(json["feeds"][0]["gaps"].as_array().unwrap().len(), 15);
    let text = status_text(&report, &ledger);
    assert_eq!(text.matches(": lost").count(), 9, "{text}");
    assert_eq!(text.lines().filter(|line| line.trim() == "and 5 more").count(), 1, "{text}");
    assert!(text.contains("0x09\n                and 15 more\n") && !text.contains("0x10"), "{text}");
}

#[tokio::test]
async fn the_json_of_a_status_has_fields_that_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (_, report) = followed(&folder).await;
    let json = serde_json::to_value(&report).unwrap();
    let names: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "at_us feeds last left parts receipts rows rows_by_day target unfinished wanted";
    assert_eq!(names, expected.split(' ').collect());
    let spans = |from, to| json!({ "from_us": window(from, to).from_us, "to_us": window(from, to).to_us });
    assert_eq!(
        json["feeds"],
        json!([{
            "feed": FEED, "from_us": FIRST_US, "is_followed": true, "checkpoint_us": FIRST_US + 3 * DAY_US,
            "wanted": [{ "from_us": FIRST_US, "to_us": i64::MAX }],
            "seen": [spans(0, 1), spans(2, 3), spans(4, 5)], "accepted": [spans(1, 2)],
            "gaps": [{ "feed": FEED, "window": spans(3, 4), "why": "a page came twice" }],
            "lag_us": 2 * DAY_US + 2 * HOUR_US + 300_000_000, "seen_us": 3 * DAY_US,
        }])
    );
    let part = |part: &str, purpose: &str, rows, hour: i64, is_here| {
        json!({ "part": part, "purpose": purpose, "rows": rows, "fetched_us": FIRST_US + hour * HOUR_US,
                "is_here": is_here })
    };
    let waiting = [part("part-00000002", "new", 1_234, 2, true), part("part-00000003", "recheck", 1, 3, false)];
    assert_eq!(json["parts"], json!(waiting));
    assert_eq!((&json["wanted"], &json["left"]), (&json!(2), &json!({ "0xc": 2 })));
    let last = json!({ "fetched_us": FIRST_US + 2 * HOUR_US, "rechecked_us": FIRST_US + 3 * HOUR_US,
                       "refreshed_us": null, "finished_us": FIRST_US + HOUR_US + 1_500_000 });
    assert_eq!((&json["last"], &json["rows_by_day"]), (&last, &json!(null)));
}

/// What a collector makes of a text: samples by name and labels. It refuses what the format does not allow.
pub fn parse(text: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    assert!(text.ends_with('\n'));
    let mut samples = BTreeMap::new();
    let mut described = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            match words[0] {
                "HELP" => {
                    assert!(!described.contains(&words[1]) && words[2].len() > 5, "{line}");
                    described.push(words[1]);
                }
                "TYPE" => assert_eq!((described.last(), words[2]), (Some(&words[1]), "gauge"), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, rest) = line.split_once('{').unwrap();
        assert_eq!(described.last(), Some(&name), "samples of a metric stand together: {line}");
        let (mut labels, mut rest) = (BTreeMap::new(), rest);
        loop {
            let (label, value) = rest.split_once("=\"").unwrap();
            let (mut read, mut chars) = (String::new(), value.chars());
            loop {
                match chars.next().unwrap() {
                    '"' => break,
                    '\\' => read.push(match chars.next().unwrap() {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        other => panic!("\\{other} in {line}"),
                    }),
                    plain => read.push(plain),
                }
            }
            assert_eq!(labels.insert(label.to_string(), read), None, "{line}");
            rest = chars.as_str();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        let value = rest.strip_prefix("} ").unwrap().parse().unwrap();
        assert_eq!(samples.insert((name.to_string(), labels), value), None, "{line}");
    }
    samples
}

#[tokio::test]
async fn a_collector_reads_what_the_status_says() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut report) = followed(&folder).await;
    report.rows_by_day = Some(BTreeMap::from([(Day(20_362), 1_500), (Day(20_363), 0)]));
    let samples = parse(&exposition(&report));
    let first_s = FIRST_US as f64 / 1e6;
    let (day_s, hour_s) = (86_400.0, 3_600.0);
    let none = ("", "");
    let feed = ("feed", FEED);
    let mut expected = BTreeMap::new();
    for (name, (label, text), value) in [
        ("rows", none, 3_000.0),
        ("rows_of_day", ("day", "2025-10-01"), 1_500.0),
        ("rows_of_day", ("day", "2025-10-02"), 0.0),
        ("unfinished_runs", none, 0.0),
        ("checkpoint_seconds", feed, first_s + 3.0 * day_s),
        ("lag_seconds", feed, 2.0 * day_s + 2.0 * hour_s + 300.0),
        ("seen_seconds", feed, 3.0 * day_s),
        ("gaps", feed, 1.0),
        ("accepted_seconds", feed, day_s),
        ("parts_waiting", none, 1.0),
        ("rows_waiting", none, 1_234.0),
        ("parts_gone", none, 1.0),
        ("wanted", none, 2.0),
        ("left", none, 1.0),
        ("last_fetched_seconds", none, first_s + 2.0 * hour_s),
        ("last_rechecked_seconds", none, first_s + 3.0 * hour_s),
        ("last_finished_seconds", none, first_s + hour_s + 1.5),
        ("status_seconds", none, first_s + 5.0 * day_s + 2.0 * hour_s + 300.0),
    ] {
        let mut labels = BTreeMap::from([("table".to_string(), "memory://lake/trades".to_string())]);
        if !label.is_empty() {
            labels.insert(label.into(), text.into());
        }
        expected.insert((format!("tradefold_{name}"), labels), value);
    }
    assert_eq!(samples, expected);
}

#[test]
fn a_length_of_time_is_told_by_its_two_largest_units() {
    for (seconds, text) in [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (2 * 3_600 + 5 * 60 + 59, "2 h 5 min"),
        (3_600 + 59, "1 h"),
        (86_400 + 3_599, "1 d"),
        (86_399, "23 h 59 min"),
        (400 * 86_400 + 3_600, "400 d 1 h"),
    ] {
        assert_eq!(text_of_length_us(seconds * 1_000_000 + 999), text, "{seconds}");
    }
}

#[test]
fn the_ids_with_most_rows_are_told_of_trades_without_a_market() {
    let by_value = (0..12).map(|id| (format!("0x{id:02}"), if id == 11 { 9 } else { 1 + id / 6 })).collect();
    let report = OrphansReport::from(Orphans { by_value, empty_rows: 4 });
    assert_eq!((report.ids, report.rows, report.empty_rows), (12, 25, 4));
    let ids: Vec<(&str, u64)> = report.largest.iter().map(|OrphanId { id, rows }| (id.as_str(), *rows)).collect();
    assert_eq!((ids.len(), &ids[..3]), (10, &[("0x11", 9), ("0x06", 2), ("0x07", 2)][..]));
}
