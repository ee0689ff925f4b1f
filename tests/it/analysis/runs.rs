//! Rows and losers by the values of a column, against DuckDB.

use super::{analyze, files, oracle, run};
use crate::cli::Desk;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

type Counts = BTreeMap<Option<String>, [u64; 4]>;

fn cell(value: &Json) -> u64 {
    value.as_u64().unwrap()
}

/// Rows and losers by class, of each value that is told.
fn told(report: &Json) -> Counts {
    let counts = |run: &Json| {
        let losers = ["exact", "superseded", "conflict"].map(|class| cell(&run["losers"][class]));
        (run["value"].as_str().map(String::from), [cell(&run["rows"]), losers[0], losers[1], losers[2]])
    };
    let told = report["by_run"]["told"].as_array().unwrap();
    let rows: Vec<u64> = told.iter().map(|run| cell(&run["rows"])).collect();
    assert!(rows.is_sorted_by(|a, b| a >= b), "the largest come first: {rows:?}");
    told.iter().map(counts).collect()
}

/// Those that are told and the others are all rows and all losers.
fn must_balance(report: &Json) {
    let (own, others) = (told(report), &report["by_run"]["others"]);
    let sum = |at: usize| own.values().map(|counts| counts[at]).sum::<u64>();
    assert_eq!(sum(0) + cell(&others["rows"]), cell(&report["rows"]));
    for (at, class) in ["exact", "superseded", "conflict"].into_iter().enumerate() {
        let all = cell(&report["balance"]["losers"][class]);
        assert_eq!(sum(at + 1) + cell(&others["losers"][class]), all, "{class}");
    }
    assert_eq!(own.len() as u64 + cell(&others["values"]), cell(&report["by_run"]["values"]));
}

#[test]
fn duckdb_counts_the_same_rows_and_losers_of_each_value() {
    let folder = tempfile::tempdir().unwrap();
    run(oracle("analysis.py").arg("--make").arg(folder.path()).args(["--seed", "3", "--rows", "3000"]));
    for (column, key, order) in [
        ("seen", "a, number", Some("ts DESC NULLS LAST")),
        ("b", "number, price", None),
        ("nothing", "a, b", Some("price DESC NULLS LAST")),
        ("ts", "a", Some("number DESC NULLS LAST")),
        ("price", "ts", None),
    ] {
        let mut flags = vec!["--run-column", column, "--key", key, "--volatile", "seen"];
        order.iter().for_each(|order| flags.extend(["--order", order]));
        let report = analyze(folder.path(), &flags);
        assert_eq!(report, analyze(folder.path(), &[flags.as_slice(), &["--threads", "1"]].concat()));
        must_balance(&report);
        let mut counting = oracle("keys.py");
        counting.args(files(folder.path())).args(["--run", column, "--key", key, "--without", "seen"]);
        order.iter().for_each(|order| {
            counting.args(["--order", order]);
        });
        let counted: Vec<(Option<String>, u64, u64, u64, u64)> = serde_json::from_str(&run(&mut counting)).unwrap();
        let counted: Counts = counted
            .into_iter()
            .map(|(value, rows, e, s, c)| (value.map(|v| v.replace(' ', "T")), [rows, e, s, c]))
            .collect();
        let told: Counts =
            told(&report).into_iter().map(|(value, counts)| (value.map(|v| v.replace(' ', "T")), counts)).collect();
        assert_eq!(told, counted, "{column}");
        assert_eq!(report["by_run"]["others"]["rows"], 0);
    }
}

#[test]
fn a_time_with_many_values_counts_by_its_day_and_of_other_columns_the_rest_is_a_sum() {
    let desk = Desk::new();
    let line = |row: i64| {
        let (day, second) = (1 + row % 9, row / 9);
        format!(
            "{},2025-10-0{day}T{:02}:{:02}:{:02}Z,r{row}\n",
            row % 2_000,
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    };
    desk.write("a.csv", &format!("id,at,run\n{}4000,,r0\n", (0..4_500).map(line).collect::<String>()));
    let report = desk.report(0, "analyze a.csv --key id --run-column at --volatile at,run");
    must_balance(&report);
    let days = told(&report);
    assert_eq!((&report["by_run"]["by_day"], days.len()), (&json!(true), 10));
    assert_eq!(days[&Some("2025-10-09".to_string())], [500, 278, 0, 0]);
    assert_eq!(days[&None], [1, 0, 0, 0]);
    let report = desk.report(0, "analyze a.csv --key id --run-column run --volatile at,run");
    must_balance(&report);
    let runs = &report["by_run"];
    assert_eq!((&runs["values"], runs["told"].as_array().unwrap().len()), (&json!(4_500), 1_000));
    assert_eq!(
        runs["told"][0],
        json!({ "value": "r0", "rows": 2, "losers": { "exact": 0, "superseded": 0, "conflict": 0 } })
    );
    assert_eq!((&runs["others"]["values"], &runs["others"]["rows"]), (&json!(3_500), &json!(3_500)));
    let text = desk.run("analyze a.csv --key id --run-column run --volatile at,run --quiet").out;
    assert!(text.contains("4,480") && text.contains("… and 4,480 more values"), "{text}");
}

#[test]
fn a_dataset_is_counted_by_a_column_of_its_contract_and_a_column_that_is_not_there_is_refused() {
    let desk = Desk::new();
    let report = desk.report(0, "analyze fixtures/demo --run-column side");
    must_balance(&report);
    assert!(told(&report).len() >= 2, "{:#}", report["by_run"]);
    desk.write("a.csv", "id,run\n1,a\n");
    for (arguments, known) in [
        ("fixtures/demo", "wallet_address"),
        ("a.csv --key id", "There are id, run"),
        ("a.csv --suggest-key", "There are id, run"),
    ] {
        let ran = desk.run(&format!("analyze {arguments} --run-column rnu --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("column `rnu`") && ran.err.contains(known), "{}", ran.err);
    }
}
