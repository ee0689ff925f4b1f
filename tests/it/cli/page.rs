//! The pages that `analyze`, `dedup`, `backfill` and `audit` write with `--html`.

use super::{Desk, number, project};
use crate::report::browser::check;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// The files in the folder, but for those that every desk has.
fn files(desk: &Desk) -> Vec<String> {
    let found = desk.files("").into_iter();
    found.filter(|file| !file.starts_with("fixtures/")).collect()
}

/// The report that a page holds, and the headline above it.
pub(super) fn embedded(desk: &Desk, page: &str) -> (Value, String) {
    let html = fs::read_to_string(desk.path(page)).unwrap();
    let between = |from: &str, to: &str| {
        let rest = html.split_once(from).unwrap_or_else(|| panic!("no {from} in {html}")).1;
        rest.split_once(to).unwrap().0.to_string()
    };
    let headline = between("<h1>", "</h1>");
    assert_eq!(between("<title>", "</title>"), headline);
    (serde_json::from_str(&between("id=\"report\">", "</script>")).unwrap(), headline)
}

#[test]
fn a_page_about_the_demo_shows_the_numbers_of_the_json_and_leaves_stdout_as_it_is() {
    let desk = Desk::new();
    let report = desk.report(0, "analyze fixtures/demo --html report.html");
    assert_eq!(report, desk.report(0, "analyze fixtures/demo"));
    let seen = check(&desk.path("report.html"), &report);
    let cells = seen["cells"].as_array().unwrap();
    assert!(cells.len() > 120, "{} numbers", cells.len());
    assert_eq!(files(&desk), ["report.html"], "and nothing beside it");
}

#[test]
fn a_page_replaces_one_that_is_there_and_is_written_whole_or_not_at_all() {
    let desk = Desk::new();
    desk.write("report.html", "from before");
    let ran = desk.run("analyze fixtures/midnight.ndjson --html report.html");
    assert_eq!((ran.code, ran.out.as_str()), (0, desk.run("analyze fixtures/midnight.ndjson").out.as_str()));
    assert!(ran.err.contains("the page is report.html\n"), "{}", ran.err);
    let page = fs::read_to_string(desk.path("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");

    // A run that fails later leaves the page of before, and nothing half written.
    desk.write("broken.ndjson.gz", "this is no gzip");
    assert_ne!(desk.run("analyze broken.ndjson.gz --html report.html").code, 0);
    assert_eq!(fs::read_to_string(desk.path("report.html")).unwrap(), page);
    assert_eq!(files(&desk), ["broken.ndjson.gz", "report.html"]);
}

#[test]
fn a_page_never_takes_the_place_of_an_input() {
    let desk = Desk::new();
    desk.write("rows.csv", "id\n1\n1\n");
    std::os::unix::fs::symlink(desk.path("rows.csv"), desk.path("link.html")).unwrap();
    for page in ["rows.csv", "./rows.csv", "link.html"] {
        let ran = desk.run(&format!("analyze rows.csv --key id --html {page}"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("it is the input rows.csv, which would be lost"), "{}", ran.err);
    }
    assert_eq!(fs::read_to_string(desk.path("rows.csv")).unwrap(), "id\n1\n1\n");
}

#[test]
fn a_page_that_can_not_be_written_is_an_error_that_names_it_before_anything_is_read() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).unwrap();
    for place in ["nowhere/report.html", "folder"] {
        let ran = desk.run(&format!("analyze fixtures/demo --html {place}"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("write an analysis as a page") && ran.err.contains(place), "{}", ran.err);
        assert!(!ran.err.contains("read inputs"), "{}", ran.err);
    }
    assert_eq!(files(&desk), Vec::<String>::new());
}

#[test]
fn dedup_writes_the_page_of_its_input() {
    let desk = Desk::new();
    let key = "fixtures/demo-suspects --key tx_hash";
    let report = desk.report(0, &format!("dedup {key} -o clean --html report.html"));
    let (page, headline) = embedded(&desk, "report.html");
    assert_eq!(page, desk.report(0, &format!("analyze {key}")));
    assert!(headline.starts_with("Duplicates in fixtures/demo-suspects: "), "{headline}");
    let same = |page: &str, own: &str| assert_eq!(page_number(&desk, page), number(&report, own), "{own}");
    same("/keys", "/balance/winners");
    same("/balance/losers/conflict", "/balance/losers/conflict");
    let mut plain = desk.report(0, &format!("dedup {key} -o plain"));
    plain["output"] = json!("clean");
    assert_eq!(report, plain, "the flag changes nothing else");
}

#[test]
fn a_page_that_fails_at_the_end_takes_no_report_with_it() {
    let desk = Desk::new();
    // There is a folder of this name by then.
    let call = "dedup fixtures/demo-suspects --key tx_hash";
    let ran = desk.run(&format!("{call} -o clean --html clean"));
    let plain = desk.run(&format!("{call} -o plain")).out.replace("plain", "clean");
    assert_eq!((ran.code, ran.out), (2, plain));
    assert!(ran.err.contains("write an analysis as a page") && ran.err.contains("it is a folder"), "{}", ran.err);
    assert!(desk.path("clean/part-00000.parquet").is_file());
}

fn page_number(desk: &Desk, path: &str) -> u64 {
    number(&embedded(desk, "report.html").0, path)
}

#[test]
fn backfill_writes_the_page_of_its_input() {
    let desk = Desk::new();
    let analysis = desk.report(0, "analyze fixtures/demo");
    let report = desk.report(0, "backfill fixtures/demo --html report.html");
    let (page, headline) = embedded(&desk, "report.html");
    assert_eq!(page, analysis);
    assert!(
        headline.starts_with("Duplicates in fixtures/demo, on the way into the table trades of lake: "),
        "{headline}"
    );
    let plain = desk.report(0, "backfill fixtures/demo --warehouse plain");
    assert_eq!((&report["page"], &plain["page"]), (&json!("report.html"), &Value::Null));
    assert_eq!((&report["run_id"], &report["balance"]), (&plain["run_id"], &plain["balance"]));
    // Once more, with a window: only what landed is on the page.
    let window = "--from 2025-10-01 --to 2025-10-03";
    let report = desk.report(0, &format!("backfill fixtures/demo {window} --html report.html --warehouse other"));
    assert_eq!(embedded(&desk, "report.html").0["balance"]["landing"], report["balance"]["landing"]);
    assert!(number(&report, "/balance/landing/outside") > 0, "{report:#}");
}

#[test]
fn a_run_that_stops_names_a_page_about_all_rows() {
    let desk = Desk::new();
    let text = fs::read_to_string(project("fixtures/suspect_two_log_indexes.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    desk.write("1.ndjson", &format!("{}\n", lines[0]));
    desk.write("2.ndjson", &format!("{}\n{}\n", lines[1], lines[3]));
    desk.report(0, "backfill 1.ndjson");
    for (file, flags) in [
        ("fixtures/demo-suspects", ""),
        ("fixtures/rejects_of_every_kind.ndjson", ""),
        ("fixtures/price_precision.ndjson", " --on-conflict fail"),
        // Only the table shows what is wrong with it.
        ("2.ndjson", ""),
    ] {
        let ran = desk.run(&format!("backfill {file}{flags} --html report.html"));
        assert_eq!(ran.code, 65, "{file}: {}", ran.err);
        assert!(ran.out.contains("look at the page about these rows: report.html\n"), "{}", ran.out);
        assert_eq!(embedded(&desk, "report.html").0, desk.report(0, &format!("analyze {file}")), "{file}");
        fs::remove_file(desk.path("report.html")).unwrap();
    }
    // What is set aside, since the input says so or the table, is on the page.
    for (file, page) in [("fixtures/demo-suspects", "suspects.html"), ("2.ndjson", "late.html")] {
        let report = desk.report(0, &format!("backfill {file} --on-suspect quarantine --html {page}"));
        assert!(number(&report, "/balance/quarantined/rows") > 0, "{report:#}");
        assert_eq!(embedded(&desk, page).0, desk.report(0, &format!("analyze {file}")), "{file}");
    }
}

#[test]
fn a_run_that_is_taken_up_after_its_winners_were_staged_writes_the_page() {
    let desk = Desk::new();
    let mut child = desk.command("backfill fixtures/demo --quiet").spawn().unwrap();
    let is_planned = || {
        let entries = desk.files("lake/_tradefold/trades/ledger").into_iter();
        entries.map(|name| desk.path(&format!("lake/_tradefold/trades/ledger/{name}"))).any(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.contains("\"planned\"")
        })
    };
    let begun = Instant::now();
    while !is_planned() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = desk.run("backfill fixtures/demo --html report.html");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("the winners are staged already"), "{}", ran.err);
    assert_eq!(embedded(&desk, "report.html").0, desk.report(0, "analyze fixtures/demo"));
    assert_eq!(number(&desk.report(0, "audit"), "/audit/rows"), 9_685);
}

#[test]
fn audit_writes_the_page_of_the_table() {
    let desk = Desk::new();
    // With the id in the key four rows go in, where there are two keys.
    let wide = "wallet_address,tx_hash,COALESCE(order_hash,''),COALESCE(id,'')";
    desk.report(0, &format!("backfill fixtures/new_id.ndjson --on-suspect keep --key {wide}"));
    let report = desk.report(65, "audit --html report.html");
    assert_eq!(report, desk.report(65, "audit"));
    let (page, headline) = embedded(&desk, "report.html");
    assert!(headline.starts_with("Duplicates in the table trades of lake: "), "{headline}");
    assert_eq!([number(&page, "/rows"), number(&page, "/keys")], [4, 2]);
    // The same files under names that are no hidden ones.
    for name in desk.files("lake/trades").into_iter().filter(|name| name.ends_with(".parquet")) {
        let copy = desk.path(&format!("copy/{}", name.trim_start_matches('_')));
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(desk.path(&format!("lake/trades/{name}")), copy).unwrap();
    }
    let files = desk.report(0, "analyze copy").to_string().replace("copy/day=", "_day=");
    assert_eq!(page, serde_json::from_str::<Value>(&files).unwrap());

    let none = desk.report(0, "audit --warehouse nowhere --html report.html");
    assert_eq!((number(&none, "/audit/rows"), page_number(&desk, "/rows")), (0, 0));
    let cloud = "audit --warehouse bigquery://project.dataset --stage gs://bucket/prefix --html cloud.html";
    let ran = desk.run(cloud);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("export them as Parquet") && ran.err.contains("tradefold analyze gs://"), "{}", ran.err);
    assert!(!desk.path("cloud.html").exists());
}

#[test]
fn no_command_writes_a_page_over_an_input_or_where_it_can_not() {
    let desk = Desk::new();
    let text = fs::read_to_string(project("fixtures/midnight.ndjson")).unwrap();
    desk.write("rows.ndjson", &text);
    desk.report(0, "backfill rows.ndjson");
    let files =
        |desk: &Desk| -> Vec<String> { files(desk).into_iter().filter(|file| !file.ends_with("/lock")).collect() };
    let before = files(&desk);
    let log = "lake/trades/_delta_log/00000000000000000000.json";
    for (command, input) in [
        ("dedup rows.ndjson --key tx_hash -o out", "rows.ndjson"),
        ("backfill rows.ndjson --key tx_hash", "./rows.ndjson"),
        ("audit", log),
    ] {
        for (page, says) in
            [(input, "which would be lost"), ("nowhere/report.html", "nowhere"), ("lake", "is a folder")]
        {
            let ran = desk.run(&format!("{command} --html {page}"));
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{command} {page}: {}", ran.err);
            assert!(ran.err.contains("write an analysis as a page") && ran.err.contains(says), "{}", ran.err);
        }
    }
    assert_eq!(files(&desk), before);
    assert_eq!(fs::read_to_string(desk.path("rows.ndjson")).unwrap(), text);

    // A run that fails later leaves the page of before.
    desk.write("report.html", "from before");
    desk.write("broken.ndjson.gz", "this is no gzip");
    for command in ["backfill broken.ndjson.gz", "dedup broken.ndjson.gz --key id -o out"] {
        assert_ne!(desk.run(&format!("{command} --html report.html")).code, 0);
        assert_eq!(fs::read_to_string(desk.path("report.html")).unwrap(), "from before");
    }
}
