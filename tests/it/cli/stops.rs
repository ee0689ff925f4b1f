//! Every reason to stop: exit 65, a report with the file of rows and the flag, and a target that is as it was.

use super::{Desk, Ran, number, project};
use serde_json::Value;

/// The rules of a run that stops: one reason, a file with so many rows, nothing of the run's work left.
fn stops_with(desk: &Desk, arguments: &str, reason: &str, rows: usize) -> Value {
    let before = desk.files("lake/trades");
    let report = desk.report(65, arguments);
    let stops = report["stops"].as_array().unwrap();
    assert_eq!(stops.len(), 1, "{report:#}");
    assert_eq!(stops[0]["reason"], reason);
    assert_eq!(desk.rows(&stops[0]["file"]).len(), rows, "{report:#}");
    assert_eq!(desk.files("lake/trades"), before, "{arguments}");
    for run in std::fs::read_dir(desk.path("lake/_tradefold/trades/runs")).unwrap() {
        let left = std::fs::read_dir(run.unwrap().path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["rows"], "{arguments}");
    }
    let status = desk.report(0, "status");
    assert_eq!(status["unfinished"], serde_json::json!([]));
    report
}

/// The first and the second half of a fixture's lines as two files, `1.ndjson` and `2.ndjson`.
fn halves(desk: &Desk, fixture: &str, first: &[usize], second: &[usize]) {
    let text = std::fs::read_to_string(project("fixtures").join(fixture)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (name, chosen) in [("1.ndjson", first), ("2.ndjson", second)] {
        desk.write(name, &chosen.iter().map(|line| format!("{}\n", lines[*line])).collect::<String>());
    }
}

/// What a run did: exit code, winners, rows of quarantined keys, rows in the target after it.
fn outcome(desk: &Desk, arguments: &str) -> [u64; 3] {
    let report = desk.report(0, arguments);
    let rows = report["batches"].as_array().unwrap().last().map_or(0, |batch| number(batch, "/merged/rows_after"));
    [number(&report, "/balance/winners"), number(&report, "/balance/quarantined/rows"), rows]
}

#[test]
fn too_many_rejects() {
    let desk = Desk::new();
    let file = "backfill fixtures/rejects_of_every_kind.ndjson";
    stops_with(&desk, file, "rejects", 17);
    stops_with(&desk, &format!("{file} --max-rejects 16"), "rejects", 17);
    assert_eq!(outcome(&desk, &format!("{file} --max-rejects 17")), [2, 0, 2]);
    // Ten are let through, whatever share they are.
    let text = std::fs::read_to_string(project("fixtures/rejects_of_every_kind.ndjson")).unwrap();
    let some = text.lines().take(11).map(|line| format!("{line}\n")).collect::<String>();
    desk.write("ten.ndjson", &some);
    assert_eq!(outcome(&desk, "backfill ten.ndjson --warehouse other"), [1, 0, 1]);
}

#[test]
fn suspect_keys_in_the_input() {
    for (file, rows, kept, quarantined) in [
        ("suspect_two_log_indexes.ndjson", 3, [2, 0, 2], [1, 3, 1]),
        ("suspect_separate_fills.ndjson", 4, [2, 0, 2], [1, 4, 1]),
    ] {
        let desk = Desk::new();
        let run = format!("backfill fixtures/{file}");
        let report = stops_with(&desk, &run, "suspect_keys", rows);
        assert_eq!(number(&report, "/balance/winners"), 2);
        stops_with(&desk, &format!("{run} --on-suspect stop"), "suspect_keys", rows);
        assert_eq!(outcome(&desk, &format!("{run} --on-suspect keep --warehouse kept")), kept);
        assert_eq!(outcome(&desk, &format!("{run} --on-suspect quarantine --warehouse without")), quarantined);
    }
}

#[test]
fn conflicts_in_the_input() {
    let desk = Desk::new();
    let run = "backfill fixtures/price_precision.ndjson";
    stops_with(&desk, &format!("{run} --on-conflict fail"), "conflicts", 6);
    assert_eq!(outcome(&desk, &format!("{run} --on-conflict quarantine --warehouse without")), [0, 6, 0]);
    assert_eq!(outcome(&desk, run), [2, 0, 2]);
    let losers = desk.report(0, &format!("{run} --on-conflict keep"));
    assert_eq!(desk.rows(&losers["files"]["conflicts"]).len(), 2);
}

#[test]
fn redated_keys_in_the_input() {
    let desk = Desk::new();
    let run = "backfill fixtures/redated_whole_hours.ndjson";
    let report = stops_with(&desk, &format!("{run} --on-redated stop"), "redated_keys", 5);
    assert_eq!(number(&report, "/balance/redated_by_hours"), 3);
    assert_eq!(outcome(&desk, run), [2, 0, 2]);
}

#[test]
fn several_reasons_are_told_at_once() {
    let desk = Desk::new();
    let files = ["suspect_two_log_indexes", "price_precision", "redated_odd_seconds"]
        .map(|name| format!("fixtures/{name}.ndjson"))
        .join(" ");
    let report = desk.report(65, &format!("backfill {files} --on-conflict fail --on-redated stop"));
    let reasons: Vec<_> = report["stops"].as_array().unwrap().iter().map(|stop| stop["reason"].clone()).collect();
    assert_eq!(reasons, ["suspect_keys", "conflicts", "redated_keys"]);
}

#[test]
fn a_plan_foresees_what_the_input_leads_to() {
    let desk = Desk::new();
    for (arguments, reasons, winners, quarantined) in [
        ("rejects_of_every_kind.ndjson", &["rejects"][..], 2, 0),
        ("suspect_separate_fills.ndjson", &["suspect_keys"], 2, 0),
        ("suspect_separate_fills.ndjson --on-suspect keep", &[], 2, 0),
        ("suspect_separate_fills.ndjson --on-suspect quarantine", &[], 1, 4),
        ("price_precision.ndjson --on-conflict fail", &["conflicts"], 2, 0),
        ("price_precision.ndjson --on-conflict quarantine", &[], 0, 6),
        ("redated_odd_seconds.ndjson --on-redated stop", &["redated_keys"], 1, 0),
    ] {
        let plan = desk.report(0, &format!("plan fixtures/{arguments}"));
        assert_eq!(plan["would_stop"], serde_json::json!(reasons), "{arguments}");
        let counts = ["/balance/winners", "/balance/quarantined/rows"].map(|name| number(&plan, name));
        assert_eq!(counts, [winners, quarantined], "{arguments}");
    }
}

#[test]
fn suspect_keys_against_the_target() {
    let desk = Desk::new();
    halves(&desk, "suspect_two_log_indexes.ndjson", &[0], &[1, 3]);
    desk.report(0, "backfill 1.ndjson");
    let report = stops_with(&desk, "backfill 2.ndjson", "suspect_keys", 1);
    // The winner and the target's row of its key stand side by side.
    let both = &desk.rows(&report["stops"][0]["file"])[0];
    assert_eq!([number(both, "/log_index"), number(both, "/target_log_index")], [205, 200]);
    assert_eq!(number(&report, "/batches/0/comparison/suspect"), 1);
    assert_eq!(outcome(&desk, "backfill 2.ndjson --on-suspect quarantine"), [1, 1, 2]);
    assert_eq!(outcome(&desk, "backfill 2.ndjson --on-suspect keep"), [2, 0, 2]);
}

#[test]
fn conflicts_with_the_target() {
    let desk = Desk::new();
    halves(&desk, "price_precision.ndjson", &[0, 3], &[1, 2]);
    desk.report(0, "backfill 1.ndjson");
    let report = stops_with(&desk, "backfill 2.ndjson --on-conflict fail", "conflicts", 1);
    assert_eq!(number(&report, "/batches/0/comparison/conflict"), 1);
    for choice in ["keep", "quarantine"] {
        let report = desk.report(0, &format!("backfill 2.ndjson --on-conflict {choice}"));
        assert_eq!(number(&report, "/batches/0/merged/updated"), 0, "{choice}");
        assert_eq!(desk.rows(&report["files"]["target_conflicts 1"]).len(), 1, "{choice}");
    }
}

#[test]
fn conflicts_with_a_target_whose_columns_are_called_like_the_other_side() {
    let desk = Desk::new();
    let columns =
        ["id", "price", "target_price"].map(|name| format!("[[column]]\nname = \"{name}\"\ntype = \"string\""));
    let head = "name = \"quotes\"\nkey = [\"id\"]\norder = [\"id DESC NULLS LAST\"]";
    desk.write("quotes.toml", &format!("{head}\n{}\n", columns.join("\n")));
    for price in [1, 2] {
        desk.write(&format!("{price}.ndjson"), &format!("{{\"id\":\"a\",\"price\":{price},\"target_price\":\"9\"}}\n"));
    }
    desk.report(0, "backfill 1.ndjson --dataset quotes.toml");
    let report = desk.report(65, "backfill 2.ndjson --dataset quotes.toml --on-conflict fail");
    let expected = serde_json::json!({
        "id": "a", "target__id": "a",
        "price": "2", "target__price": "1",
        "target_price": "9", "target__target_price": "9",
    });
    let mut row = desk.rows(&report["stops"][0]["file"]).remove(0);
    // What the comparison itself found is told, too.
    row.as_object_mut().unwrap().retain(|name, _| !name.starts_with('_'));
    assert_eq!(row, expected);
}

#[test]
fn a_target_with_duplicates() {
    let desk = Desk::new();
    // With the id in the key four rows go in, where there are two keys.
    let wide = "wallet_address,tx_hash,COALESCE(order_hash,''),COALESCE(id,'')";
    assert_eq!(outcome(&desk, &format!("backfill fixtures/new_id.ndjson --on-suspect keep --key {wide}")), [4, 0, 4]);
    let report = stops_with(&desk, "backfill fixtures/new_id.ndjson", "target_repeats", 4);
    assert_eq!(number(&report, "/batches/0/comparison/repeated"), 2);
}

#[test]
fn a_target_with_keys_in_mixed_case() {
    let desk = Desk::new();
    let contract = std::fs::read_to_string(project("src/dataset/trades.toml")).unwrap();
    desk.write("unfolded.toml", &contract.replace("format = \"hex\"\n", ""));
    let rows = outcome(&desk, "backfill fixtures/wallet_mixed_case.ndjson --dataset unfolded.toml");
    assert_eq!(rows, [3, 0, 3]);
    let report = stops_with(&desk, "backfill fixtures/wallet_mixed_case.ndjson", "target_unfolded", 2);
    assert_eq!(number(&report, "/batches/0/comparison/unfolded"), 2);
}

#[test]
fn a_stop_reads_like_this() {
    let desk = Desk::new();
    halves(&desk, "suspect_two_log_indexes.ndjson", &[0], &[1, 3]);
    let mut texts = String::new();
    for arguments in [
        "backfill fixtures/rejects_of_every_kind.ndjson",
        "backfill fixtures/suspect_separate_fills.ndjson",
        "backfill fixtures/price_precision.ndjson --on-conflict fail",
        "backfill fixtures/redated_odd_seconds.ndjson --on-redated stop",
        "backfill 1.ndjson",
        "backfill 2.ndjson",
    ] {
        let Ran { code, out, .. } = desk.run(arguments);
        texts.push_str(&format!("$ tradefold {arguments}\n{}[{code}]\n\n", unnamed(&out)));
    }
    insta::assert_snapshot!(texts);
}

/// A text without the names of runs and batches, which are hashes of the folder's path too.
fn unnamed(text: &str) -> String {
    let hashed = |part: &str| part.len() >= 16 && part.chars().all(|c| c.is_ascii_hexdigit());
    text.split_inclusive(['/', '-', '.', '\n', ' '])
        .map(|part| match hashed(part.trim_end_matches(['/', '-', '.', '\n', ' '])) {
            true => format!("HASH{}", &part[part.len() - 1..]),
            false => part.to_string(),
        })
        .collect()
}
