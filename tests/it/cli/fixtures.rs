//! Every fixture through the binary, against the figures that `fixtures/README.md` promises.

use super::{Desk, number, project};
use serde_json::Value;

/// The columns of the README's tables, as pointers into a report of a backfill.
const FIGURES: [&str; 9] = [
    "/balance/landing/read",
    "/balance/landing/rejected",
    "/balance/landing/landed",
    "/balance/winners",
    "/balance/losers/exact",
    "/balance/losers/superseded",
    "/balance/losers/conflict",
    "/balance/suspect/keys",
    "/balance/redated/keys",
];

/// The rows of the README's tables: files of one run, with its figures.
fn promised() -> Vec<(Vec<String>, [u64; 9])> {
    let readme = std::fs::read_to_string(project("fixtures/README.md")).unwrap();
    let mut promised: Vec<(Vec<String>, [u64; 9])> = Vec::new();
    for row in readme.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let figures: Vec<u64> = cells.iter().skip(2).filter_map(|cell| cell.parse().ok()).collect();
        let (Ok(figures), Some(name)) = (<[u64; 9]>::try_from(figures), cells[0].split('`').nth(1)) else { continue };
        let mut files = vec![name.to_string()];
        if cells[0].starts_with("with ") {
            files.insert(0, promised.last().unwrap().0[0].clone());
        }
        promised.push((files, figures));
    }
    promised
}

fn figures(report: &Value) -> [u64; 9] {
    FIGURES.map(|pointer| number(report, pointer))
}

#[test]
fn every_fixture_gives_the_figures_that_its_readme_promises() {
    let promised = promised();
    assert_eq!(promised.len(), 24, "the README's tables were not found");
    let check = |(files, expected): &(Vec<String>, [u64; 9])| {
        let desk = Desk::new();
        let inputs = files.iter().map(|file| format!("fixtures/{file} ")).collect::<String>();
        let report = desk.report(0, &format!("backfill {inputs} --on-suspect keep"));
        assert_eq!(figures(&report), *expected, "{files:?}");
        let rows: u64 = report["batches"].as_array().unwrap().iter().map(|b| number(b, "/merged/inserted")).sum();
        assert_eq!(rows, expected[3], "{files:?}");
    };
    std::thread::scope(|scope| {
        for half in promised.chunks(12) {
            scope.spawn(move || half.iter().for_each(check));
        }
    });
}

#[test]
fn what_is_left_out_is_counted_and_named() {
    let desk = Desk::new();
    let report = desk.report(0, "backfill fixtures/extra_fields.ndjson");
    assert_eq!(report["inputs"][0]["left_out"], serde_json::json!({ "maker_fee": 2, "user_badge": 1 }));
    let text = desk.run("backfill fixtures/extra_fields.ndjson").out;
    assert!(text.contains("left out: `user_badge`: 1 row of 1 file had it"), "{text}");
}

#[test]
fn a_narrower_file_updates_rows_and_a_row_moves_to_another_day() {
    for (first, second, inserted, updated, rows) in
        [("dome_page.json", "narrower.csv", 1, 2, 7), ("five_days_apart_1.ndjson", "five_days_apart_2.ndjson", 0, 1, 2)]
    {
        let desk = Desk::new();
        desk.report(0, &format!("backfill fixtures/{first}"));
        let report = desk.report(0, &format!("backfill fixtures/{second}"));
        let merged = &report["batches"][0]["merged"];
        let found = ["/inserted", "/updated", "/rows_after"].map(|name| number(merged, name));
        assert_eq!(found, [inserted, updated, rows], "{second}");
    }
}

#[test]
fn rejects_are_fed_back_after_mending() {
    let desk = Desk::new();
    let both = "fixtures/rejects_of_every_kind.ndjson fixtures/rejects_mended.ndjson";
    let report = desk.report(0, &format!("backfill {both} --max-rejects 17"));
    assert_eq!(figures(&report), [21, 17, 4, 4, 0, 0, 0, 0, 0]);
    // What tradefold itself wrote goes in again, after row 13 got a number for its price.
    let rejects = desk.rows(&report["files"]["rejects"]);
    assert_eq!(rejects.len(), 17);
    let mended = rejects[11].to_string().replace("\"NaN\"", "0.62");
    assert!(mended.contains("\"row\":13") && mended.contains("0.62"));
    desk.write("mended.ndjson", &mended);
    let report = desk.report(0, "backfill mended.ndjson");
    assert_eq!(figures(&report)[..4], [1, 0, 1, 1]);
    assert_eq!(number(&report, "/batches/0/comparison/same"), 1);
}

#[test]
fn the_demo_ends_as_its_readme_says() {
    let desk = Desk::new();
    let report = desk.report(0, "backfill fixtures/demo");
    assert_eq!(figures(&report), [27_240, 0, 27_240, 9_685, 17_436, 96, 23, 0, 22]);
    assert_eq!(number(&report, "/batches/1/merged/rows_after"), 9_685);
    assert_eq!(desk.rows(&report["files"]["conflicts"]).len(), 23);
    let table = desk.files("lake/trades");
    let report = desk.report(65, "backfill fixtures/demo-suspects");
    assert_eq!(figures(&report), [600, 0, 600, 214, 380, 6, 0, 3, 0]);
    assert_eq!(desk.rows(&report["stops"][0]["file"]).len(), 9);
    assert_eq!(desk.files("lake/trades"), table);
}
