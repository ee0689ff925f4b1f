//! Analyses to write pages about: an empty one, a large one, one with everything, and one whose texts are hostile.

use std::collections::BTreeMap;
use tradefold::balance::Balance;
use tradefold::dedup::{Census, Group, KeyCount, Tally};
use tradefold::landing::LandingCounts;
use tradefold::report::{
    self, Advice, Analysis, Change, Distances, GroupRows, KeyCandidate, KeyPart, LeftOut, NearGroup, NearKeys,
    Neighbours, OtherRuns, RejectedRow, RunRows, Runs, SuggestedKey, Suggestion,
};
use tradefold::window::Day;

/// 2024-01-01.
pub(super) const FIRST: i32 = 19_723;

/// The page about an analysis of rows whose name is hostile as well.
pub(super) fn analysis_html(report: &Analysis) -> String {
    report::analysis_html(report, HOSTILE)
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != "NULL").then(|| value.to_string())).collect()
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// An analysis without rows.
pub(super) fn nothing() -> Analysis {
    Analysis {
        key: strings(&["id"]),
        order: Vec::new(),
        rows: 0,
        keys: 0,
        balance: Balance::default(),
        census: Census::default(),
        rows_by_day: BTreeMap::new(),
        rows_by_file: BTreeMap::new(),
        rejects_by_reason: BTreeMap::new(),
        rejects: Vec::new(),
        fails: None,
        sizes: BTreeMap::new(),
        distances: Distances::default(),
        key_parts: Vec::new(),
        near: Neighbours::default(),
        groups: Vec::new(),
        advice: Advice::default(),
        by_run: None,
        suggestion: None,
        spilled_bytes: 0,
    }
}

/// An analysis of so many days and inputs, whose counts fit together.
pub(super) fn counted(days: i32, inputs: u64) -> Analysis {
    let mut report = nothing();
    let mut losers = Tally::default();
    for day in 0..days {
        // Waves, a weekly rhythm, and a week in which everything came twice.
        let wave = 40_000.0 + 12_000.0 * (f64::from(day) / 17.0).sin() + f64::from(day % 7) * 900.0;
        let exact = wave as u64 / if (20..27).contains(&(day % 60)) { 2 } else { 11 };
        let conflict = if day % 19 == 3 { 40 + day as u64 } else { 0 };
        let tally = Tally { exact, superseded: wave as u64 / 45, conflict };
        report.rows_by_day.insert(Day(FIRST + day), wave as u64);
        report.census.by_day.insert(Day(FIRST + day), tally);
        report.rows += wave as u64;
        losers += tally;
    }
    for input in 0..inputs {
        // The first inputs have most; the last one has what is left over.
        let part = |all: u64| if input + 1 == inputs { all - all / (inputs + 1) * input } else { all / (inputs + 1) };
        let own =
            Tally { exact: part(losers.exact), superseded: part(losers.superseded), conflict: part(losers.conflict) };
        let name = format!("file:///data/exports/2024/trades/run-{input:05}/part-00000-of-00017.snappy.parquet");
        report.rows_by_file.insert(name.clone(), part(report.rows));
        report.census.by_file.insert(name, own);
    }
    report.keys = report.rows - losers.total();
    report.census.losers = losers;
    let landing = LandingCounts { read: report.rows + 1_234, landed: report.rows, rejected: 1_234, outside: 0 };
    report.balance = Balance { landing, winners: report.keys, losers, ..Balance::default() };
    report
}

fn candidate(key: &[&str], change: Change, numbers: [u64; 3], verdict: &str) -> KeyCandidate {
    let [rows_kept, merged_rows_that_differ, suspects_separated] = numbers;
    let verdict = verdict.to_string();
    KeyCandidate { key: strings(key), change, rows_kept, merged_rows_that_differ, suspects_separated, verdict }
}

/// An analysis of so many days in which every section has something to say.
pub(super) fn full(days: i32) -> Analysis {
    let mut report = counted(days, 14);
    let (wallet, tx) =
        ("0x1a9c5be2f0d6e03a5f1b9f6c6f2f6b8d12345678", "0x5f1b9f6c6f2f6b8d1234567890abcdef5f1b9f6c6f2f6b8d");
    report.key = strings(&["wallet_address", "tx_hash", "COALESCE(order_hash, '')"]);
    report.order = strings(&["timestamp DESC NULLS LAST", "log_index DESC NULLS LAST"]);
    report.rejects_by_reason =
        [("price is not a number".into(), 1_200), ("no key: `tx_hash` is NULL".into(), 34)].into();
    report.balance.suspect = KeyCount { keys: 321, rows: 987 };
    report.balance.redated = KeyCount { keys: 22, rows: 62 };
    report.balance.redated_by_hours = 30;
    (report.census.redated_losers, report.census.redated_by_hours) = (33, 30);
    report.sizes = [(1, 1_800_000), (2, 210_000), (3, 48_000), (4, 9_100), (5, 800), (6, 61), (12, 4), (480, 1)].into();
    let group = |rows| Group { key: some(&[wallet, tx, ""]), rows };
    report.census.largest = [480, 12, 12, 11, 9].map(group).into();
    let losers = report.census.losers.total();
    report.distances =
        Distances { same_page: losers / 50, same_input: losers / 9, other_input: losers / 2, other_day: 77 };
    let part = |part: &str, null_rows, empty_rows| KeyPart { part: part.into(), null_rows, empty_rows };
    report.key_parts = vec![part("wallet_address", 0, 0), part("tx_hash", 0, 0), part("order_hash", 41_000, 1_377)];
    let near = |groups, keys, examples: &[[&str; 3]]| {
        let keys_of = examples.iter().map(|key| some(key)).collect();
        NearKeys { groups, keys, examples: if groups > 0 { vec![NearGroup { keys: keys_of }] } else { Vec::new() } }
    };
    report.near = Neighbours {
        by_case: near(118, 236, &[[wallet, tx, "0xab"], [&wallet.to_uppercase(), tx, "0xab"]]),
        by_hours: NearKeys::default(),
        by_missing: [("order_hash".to_string(), near(9, 18, &[[wallet, tx, "NULL"], [wallet, tx, "0xab"]]))].into(),
    };
    let columns =
        strings(&["wallet_address", "tx_hash", "order_hash", "side", "price", "shares", "timestamp", "title"]);
    let row = |input: &str, price: &str, at: &str, title: &str| {
        (format!("file:///data/{input}"), some(&[wallet, tx, "NULL", "BUY", price, "1200000", at, title]))
    };
    let first = row("run-1.parquet", "0.53", "2024-02-01T10:15:02Z", "Will it rain?");
    let other = row("run-2.parquet", "0.53000000000001", "2024-02-01T10:15:02Z", "");
    let third = row("pages/0007.json", "0.53", "2024-02-01T15:15:02Z", "NULL");
    let differs = |names: &[&str]| columns.iter().map(|column| names.contains(&column.as_str())).collect();
    report.groups = vec![
        GroupRows {
            key: some(&[wallet, tx, ""]),
            rows: 480,
            columns: columns.clone(),
            differs: differs(&["price", "timestamp", "title"]),
            shown: vec![first.clone(), other, third],
        },
        GroupRows {
            key: some(&[wallet, tx, "0xab"]),
            rows: 2,
            columns: columns.clone(),
            differs: differs(&[]),
            shown: vec![first.clone(), first],
        },
    ];
    let given = ["wallet_address", "tx_hash", "COALESCE(order_hash, '')"];
    let wider = ["wallet_address", "tx_hash", "COALESCE(order_hash, '')", "log_index"];
    report.advice = Advice {
        different_rows: report.keys + 5_000,
        suspect_keys: 321,
        untried_keys: 7,
        candidates: vec![
            candidate(&given, Change::Given, [report.keys, 4_812, 0], "It merges 4,812 rows that differ."),
            candidate(
                &wider,
                Change::Added("log_index".into()),
                [report.keys + 640, 4_100, 321],
                "It separates every suspect key; consider it.",
            ),
            candidate(
                &given[..2],
                Change::Dropped("order_hash".into()),
                [report.keys - 99_000, 99_812, 0],
                "Too narrow.",
            ),
        ],
    };
    add_asked_for(&mut report, &given);
    report.spilled_bytes = 662_400_000;
    report
}

/// Adds what has a section only where it was asked for.
fn add_asked_for(report: &mut Analysis, given: &[&str]) {
    let run = |value: Option<&str>, rows: u64| RunRows {
        value: value.map(String::from),
        rows,
        losers: Tally { exact: rows / 3, superseded: rows / 40, conflict: rows / 900 },
    };
    report.by_run = Some(Runs {
        column: "fetched_at".into(),
        by_day: false,
        values: 5_003,
        told: vec![run(Some("2024-01-02T03:04:05Z"), 900_000), run(None, 70_001), run(Some(""), 1_234)],
        others: OtherRuns { values: 5_000, rows: 61_000, losers: Tally { exact: 3_000, superseded: 21, conflict: 4 } },
    });
    let key = |key: &[&str], numbers: [u64; 3], differs_in: &[&str], verdict: &str| SuggestedKey {
        key: strings(key),
        rows_kept: numbers[0],
        merged_rows_that_differ: numbers[1],
        keys_that_differ: numbers[2],
        differs_in: strings(differs_in),
        verdict: verdict.into(),
    };
    report.suggestion = Some(Suggestion {
        different_rows: report.keys + 1,
        numbering: strings(&["row_no"]),
        looks_volatile: strings(&["fetched_at"]),
        left_out: vec![LeftOut { column: "price".into(), why: "a float".into() }],
        flags: Some("--key \"wallet_address, tx_hash\" --volatile row_no".into()),
        candidates: vec![
            key(given, [report.keys + 1, 0, 0], &[], "no row that differs is merged"),
            key(&given[..1], [report.keys - 7, 8, 5], &["title"], "too narrow: merges 8 rows that differ, in title"),
        ],
    });
}

/// Everything that may not get into a page as it is.
pub(super) const HOSTILE: &str =
    "<script>alert('1')</script> & \"quotes\" </title><!-- \u{202e}txt.exe\u{2066} a\u{200b}b \0\n\u{feff}";

/// A full analysis whose texts are hostile, right to left, or very long.
pub(super) fn messy() -> Analysis {
    let mut report = full(3);
    let long = format!("{}{HOSTILE}", "long ".repeat(2_000));
    report.key = strings(&[HOSTILE, "مفتاح", &long]);
    report.order = strings(&[HOSTILE]);
    report.rows_by_file =
        [(format!("file:///a/{HOSTILE}"), 5), (format!("file:///a/{long}"), 6), ("~a/b".into(), 7)].into();
    report.census.by_file = [("~a/b".to_string(), Tally { exact: 1, superseded: 2, conflict: 3 })].into();
    report.rejects_by_reason = [(HOSTILE.to_string(), 1), (long.clone(), 2)].into();
    let (file, reason) = (HOSTILE.to_string(), long.clone());
    report.rejects = vec![RejectedRow { file, row: 731, column: Some(HOSTILE.to_string()), reason }];
    report.fails = Some(HOSTILE.to_string());
    let key = || vec![Some(HOSTILE.to_string()), None, Some(long.clone())];
    report.census.largest = vec![Group { key: key(), rows: 3 }];
    report.key_parts[0].part = long.clone();
    let near =
        || NearKeys { groups: 1, keys: 2, examples: vec![NearGroup { keys: vec![key(), some(&["a", "", "c"])] }] };
    report.near = Neighbours {
        by_case: near(),
        by_hours: near(),
        by_missing: [(HOSTILE.into(), near()), (long.clone(), near())].into(),
    };
    let ends = |end: &str| (HOSTILE.to_string(), vec![Some(format!("{long}{end}")), Some("مرحبا".into()), None]);
    report.groups = vec![GroupRows {
        key: key(),
        rows: 2,
        columns: vec![HOSTILE.into(), "\u{200f}rtl".into(), long.clone()],
        differs: vec![true, false, false],
        shown: vec![ends("1"), ends("2")],
    }];
    let given = candidate(&[HOSTILE, &long], Change::Added(HOSTILE.into()), [1, 2, 3], &long);
    report.advice.candidates = vec![given];
    report.advice.untried_keys = 0;
    if let Some(runs) = &mut report.by_run {
        runs.column = HOSTILE.into();
        runs.told[0].value = Some(HOSTILE.into());
        runs.told[1].value = Some(long.clone());
    }
    if let Some(found) = &mut report.suggestion {
        (found.numbering, found.flags) = (strings(&[HOSTILE, &long]), Some(HOSTILE.into()));
        found.looks_volatile = strings(&[HOSTILE, &long]);
        found.left_out = vec![LeftOut { column: HOSTILE.into(), why: long.clone() }];
        (found.candidates[0].key, found.candidates[0].verdict) = (strings(&[HOSTILE, &long]), long);
    }
    report
}
