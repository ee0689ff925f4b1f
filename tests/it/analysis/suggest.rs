//! Keys that are found where none is given: those that were planted, and what DuckDB counts of all that are told.

use super::{files, oracle, run};
use crate::cli::Desk;
use crate::rows::write;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn floats(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(values.map(|value| value as f64 / 8.0).collect::<Float64Array>())
}

fn times(seconds: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(seconds.map(|at| 1_760_000_000_000_000 + at * 1_000_000)))
}

/// A number that looks random.
fn mixed(number: i64) -> i64 {
    let number = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) as i64
}

/// Writes two files of a table, each with several row groups.
fn table(folder: &Path, columns: &[(&str, ArrayRef)]) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, Arc::clone(c), true)));
    let batch = batch.unwrap();
    let half = batch.num_rows() / 2;
    for (number, part) in [batch.slice(0, half), batch.slice(half, batch.num_rows() - half)].into_iter().enumerate() {
        write(&folder.join(format!("part-{number}.parquet")), &[part], 700);
    }
}

/// What is suggested, whatever the threads; all of its figures are those of DuckDB.
fn suggested(columns: &[(&str, ArrayRef)], flags: &[&str]) -> Json {
    let folder = tempfile::tempdir().unwrap();
    table(folder.path(), columns);
    let all = |threads| [&["--suggest-key", "--threads", threads], flags].concat();
    let report = super::analyze(folder.path(), &all("1"));
    assert_eq!(report, super::analyze(folder.path(), &all("3")));
    let found = &report["suggestion"];
    let candidates = found["candidates"].as_array().unwrap();
    let (mut keys, mut told) = (Vec::new(), Vec::new());
    // A column that numbers copies counts in no other key than itself.
    let numbering: Vec<&str> =
        found["numbering"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let is_itself =
        |own: &&Json| own["key"].as_array().unwrap().iter().any(|part| numbering.contains(&part.as_str().unwrap()));
    for own in candidates.iter().filter(|own| !is_itself(own)) {
        keys.push(own["key"].clone());
        told.push(json!([own["rows_kept"], own["keys_that_differ"]]));
        let merged = found["different_rows"].as_u64().unwrap() - own["rows_kept"].as_u64().unwrap();
        assert_eq!(own["merged_rows_that_differ"], merged, "{own}");
        let differs = !own["differs_in"].as_array().unwrap().is_empty();
        assert_eq!(differs, own["keys_that_differ"] != 0, "{own}");
    }
    let volatile = flags.iter().skip_while(|flag| **flag != "--volatile").nth(1).copied().into_iter();
    let without = volatile.chain(numbering).collect::<Vec<_>>().join(",");
    let mut counting = oracle("keys.py");
    counting.args(files(folder.path())).args(["--keys", &json!(keys).to_string(), "--without", &without]);
    let counted: Json = serde_json::from_str(&run(&mut counting)).unwrap();
    assert_eq!(json!({ "different_rows": found["different_rows"], "keys": told }), counted, "{found:#}");
    // The analysis is by the first of them.
    assert_eq!(report["key"], candidates[0]["key"]);
    assert_eq!(report["keys"], candidates[0]["rows_kept"]);
    assert_eq!(report["advice"]["different_rows"], found["different_rows"]);
    report
}

fn key(report: &Json) -> Vec<&str> {
    report["key"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect()
}

/// What is told of a key.
fn told<'a>(report: &'a Json, key: &[&str]) -> &'a Json {
    let candidates = report["suggestion"]["candidates"].as_array().unwrap();
    candidates.iter().find(|own| own["key"] == json!(key)).unwrap_or_else(|| panic!("{key:?} in {candidates:#?}"))
}

#[test]
fn a_single_column_is_found_among_copies() {
    let id = |row: i64| mixed(row % 2_000);
    let columns = [
        ("price", floats((0..3_000).map(|row| id(row) % 900))),
        ("quantity", numbers((0..3_000).map(|row| id(row) % 40))),
        ("order_id", texts((0..3_000).map(|row| Some(format!("{:x}", id(row)))))),
        ("user", numbers((0..3_000).map(|row| id(row) % 170))),
        ("at", times((0..3_000).map(|row| id(row) % 5_000))),
    ];
    let report = suggested(&columns, &[]);
    assert_eq!(key(&report), ["order_id"], "{:#}", report["suggestion"]);
    assert_eq!(report["balance"]["losers"], json!({ "exact": 1_000, "superseded": 0, "conflict": 0 }));
    assert_eq!(report["suggestion"]["flags"], "--key \"order_id\"");
    assert_eq!(
        report["suggestion"]["left_out"],
        json!([{ "column": "price", "why": "a float: equal ones are an accident" }])
    );
    assert_eq!(report["suggestion"]["numbering"], json!([]));
}

#[test]
fn three_columns_together_are_found() {
    let rows = 0..4_000;
    let cell = |row: i64| row % 3_000;
    let columns = [
        ("amount", numbers(rows.clone().map(|row| mixed(cell(row)) % 7))),
        ("user", texts(rows.clone().map(|row| Some(format!("u{}", cell(row) % 50))))),
        ("note", texts(rows.clone().map(|row| Some(format!("n{}", mixed(cell(row) + 77) % 5))))),
        ("day", numbers(rows.clone().map(|row| cell(row) / 50 % 20))),
        ("slot", numbers(rows.clone().map(|row| cell(row) / 1_000))),
        ("constant", numbers(rows.clone().map(|_| 7))),
        ("price", floats(rows.clone().map(|row| mixed(cell(row) + 5) % 90))),
    ];
    let report = suggested(&columns, &[]);
    assert_eq!(key(&report), ["user", "day", "slot"], "{:#}", report["suggestion"]);
    assert!(told(&report, &["user", "day"])["verdict"].as_str().unwrap().starts_with("too narrow: merges"));
    assert_eq!(report["suggestion"]["left_out"][1], json!({ "column": "constant", "why": "the same in every row" }));
}

#[test]
fn a_text_stands_in_for_null_and_other_columns_with_null_are_no_part() {
    let rows = 0..3_100;
    let categories = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let side = texts(rows.clone().map(|row| (row % 31 > 0).then(|| format!("s{}", row % 31))));
    let columns = [
        (
            "number",
            Arc::new(rows.clone().map(|row| (row % 9 > 0).then_some(mixed(row))).collect::<Int64Array>()) as ArrayRef,
        ),
        ("side", arrow::compute::cast(&side, &categories).unwrap()),
        ("block", numbers(rows.clone().map(|row| row / 31))),
        ("nothing", texts(rows.clone().map(|_| None))),
    ];
    let report = suggested(&columns, &[]);
    assert_eq!(key(&report), ["COALESCE(side, '')", "block"], "{:#}", report["suggestion"]);
    assert_eq!(report["suggestion"]["flags"], "--key \"COALESCE(side, ''), block\"");
    let why: Vec<&Json> = report["suggestion"]["left_out"].as_array().unwrap().iter().map(|out| &out["why"]).collect();
    assert_eq!(why, ["NULL in some rows, and no text can stand in for it", "NULL in every row"]);
}

#[test]
fn what_numbers_copies_is_told_and_in_no_key_unless_there_is_nothing_else() {
    // Every third row comes again; in the second table only three of them do.
    for (rows, copies) in [(3_000, 1_000), (3_000, 3)] {
        let id = |row: i64| mixed(row % (rows - copies));
        let columns = [
            ("row_no", numbers(0..rows)),
            ("fetched", times((0..rows).map(|row| row * 2))),
            ("id", texts((0..rows).map(|row| Some(format!("{:x}", id(row)))))),
            ("user", numbers((0..rows).map(|row| id(row) % 170))),
            ("price", floats((0..rows).map(|row| id(row) % 900))),
        ];
        let report = suggested(&columns, &[]);
        assert_eq!(key(&report), ["id"], "{:#}", report["suggestion"]);
        assert_eq!(report["suggestion"]["numbering"], json!(["row_no", "fetched"]));
        assert_eq!(report["suggestion"]["flags"], "--key \"id\" --volatile row_no,fetched");
        assert_eq!(report["balance"]["losers"], json!({ "exact": copies, "superseded": 0, "conflict": 0 }));
        let own = told(&report, &["row_no"]);
        assert_eq!((&own["rows_kept"], &own["merged_rows_that_differ"]), (&json!(rows), &json!(0)));
        assert!(own["verdict"].as_str().unwrap().starts_with("too wide if it only numbers copies"), "{own}");
        // The same where they are given.
        let given = suggested(&columns, &["--volatile", "row_no,fetched"]);
        assert_eq!((key(&given), &given["suggestion"]["numbering"]), (vec!["id"], &json!([])));
        assert_eq!(given["balance"], report["balance"]);
        assert_eq!(given["suggestion"]["flags"], report["suggestion"]["flags"]);
    }
    let columns = [
        ("row_no", numbers(0..500)),
        ("price", floats((0..500).map(|row| row % 3))),
        ("ok", numbers((0..500).map(|row| row % 2))),
    ];
    assert_eq!(key(&suggested(&columns, &[])), ["row_no"]);
}

/// What is called a hash is not taken for a number of copies since a few rows agree in all else.
#[test]
fn a_hash_without_which_some_rows_repeat_is_a_key() {
    let cell = |row: i64| if row % 20 == 0 { row - 1 } else { row };
    let columns = [
        ("tx_hash", texts((0..2_000).map(|row| Some(format!("{:x}", mixed(row)))))),
        ("shares", numbers((0..2_000).map(|row| cell(row) % 50))),
        ("block", numbers((0..2_000).map(|row| cell(row) / 50))),
        ("side", texts((0..2_000).map(|row| Some(format!("s{}", mixed(cell(row)) % 2))))),
    ];
    let report = suggested(&columns, &[]);
    assert_eq!((key(&report), &report["suggestion"]["numbering"]), (vec!["tx_hash"], &json!([])));
    // Nor are columns that are unique without any copy, beside a time that is nearly unique.
    let created = |row: i64| if row % 100 == 1 { row - 1 } else { row };
    let markets = [
        ("market_id", texts((0..1_000).map(|row| Some(format!("m{row}"))))),
        ("title", texts((0..1_000).map(|row| Some(format!("will {row}?"))))),
        ("created", times((0..1_000).map(created))),
        ("category", texts((0..1_000).map(|row| Some(format!("c{}", created(row) % 7))))),
    ];
    let report = suggested(&markets, &[]);
    assert_eq!((key(&report), &report["suggestion"]["numbering"]), (vec!["market_id"], &json!([])));
    let renamed = columns.map(|(name, column)| (if name == "tx_hash" { "nonce" } else { name }, column));
    let report = suggested(&renamed, &[]);
    assert_eq!(key(&report), ["shares", "block"], "{:#}", report["suggestion"]);
    assert_eq!(report["suggestion"]["numbering"], json!(["nonce"]));
}

#[test]
fn a_narrower_key_whose_rows_are_versions_is_told() {
    // Of 40 orders in a thousand there is a second version.
    let order = |row: i64| row % 2_000;
    let columns = [
        ("order_id", numbers((0..2_080).map(order))),
        ("user", numbers((0..2_080).map(|row| mixed(order(row)) % 90))),
        ("status", texts((0..2_080).map(|row| Some(if row < 2_000 { "open" } else { "done" }.into())))),
        ("updated_at", times((0..2_080).map(|row| mixed(row) % 100_000))),
    ];
    let report = suggested(&columns, &[]);
    assert_eq!(key(&report), ["order_id", "updated_at"], "{:#}", report["suggestion"]);
    let own = told(&report, &["order_id"]);
    assert_eq!((&own["rows_kept"], &own["keys_that_differ"]), (&json!(2_000), &json!(80)));
    assert_eq!(own["differs_in"], json!(["status", "updated_at"]));
    assert_eq!(own["verdict"], "one row per order_id, versions of 80 keys, which differ in status, updated_at");
    let report = suggested(&columns, &["--order", "updated_at DESC", "--volatile", "status"]);
    let flags = "--key \"order_id, updated_at\" --order \"updated_at DESC NULLS LAST\" --volatile status";
    assert_eq!(report["suggestion"]["flags"], flags, "{:#}", report["suggestion"]);
}

#[test]
fn columns_that_say_how_rows_were_collected_are_told_and_not_taken_for_volatile() {
    // Two runs over the same orders.
    let order = |row: i64| row % 1_500;
    let columns = [
        ("order_id", numbers((0..3_000).map(order))),
        ("user", numbers((0..3_000).map(|row| mixed(order(row)) % 90))),
        ("side", texts((0..3_000).map(|row| Some(format!("s{}", mixed(order(row)) % 2))))),
        ("price", floats((0..3_000).map(|row| mixed(order(row)) % 700))),
        ("fetched_at", times((0..3_000).map(|row| row / 1_500))),
    ];
    let report = suggested(&columns, &[]);
    assert_eq!(key(&report), ["order_id", "fetched_at"], "{:#}", report["suggestion"]);
    assert_eq!(report["suggestion"]["looks_volatile"], json!(["fetched_at"]));
    let verdict = told(&report, &["order_id"])["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("rows of 1,500 keys differ in fetched_at, in the examples: the key if"), "{verdict}");
    let report = suggested(&columns, &["--volatile", "fetched_at"]);
    assert_eq!((key(&report), &report["suggestion"]["looks_volatile"]), (vec!["order_id"], &json!([])));
}

#[test]
fn a_table_without_a_key_has_all_of_its_columns_as_one() {
    let digit = |row: i64, at: u32| row % 243 / 3i64.pow(at) % 3;
    let columns: Vec<(&str, ArrayRef)> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .zip(0..)
        .map(|(name, at)| (name, numbers((0..1_000).map(|row| digit(row, at)))))
        .collect();
    let report = suggested(&columns, &[]);
    assert_eq!(key(&report), ["a", "b", "c", "d", "e"]);
    assert_eq!(report["keys"], 243);
    let verdict = report["suggestion"]["candidates"][0]["verdict"].as_str().unwrap();
    assert!(verdict.contains("all columns that can be in a key"), "{verdict}");
    // Floats that differ can be told apart by no key.
    let mut more = columns.clone();
    more.push(("price", floats((0..1_000).map(|row| row % 7))));
    let report = suggested(&more, &[]);
    let best = &report["suggestion"]["candidates"][0];
    assert_eq!((&best["rows_kept"], &best["differs_in"]), (&json!(243), &json!(["price"])));
    assert!(best["verdict"].as_str().unwrap().ends_with("in price, which no key can tell apart"), "{best}");
}

#[test]
fn two_of_three_hundred_columns_are_found() {
    let names: Vec<String> = (0..300).map(|at| format!("c{at:03}")).collect();
    let column = |at: i64| -> ArrayRef {
        match at {
            117 => numbers((0..4_000).map(|row| row % 80)),
            242 => texts((0..4_000).map(|row| Some(format!("t{}", row / 80)))),
            at if at % 3 == 0 => floats((0..4_000).map(|row| mixed(row * 300 + at))),
            at => numbers((0..4_000).map(|row| mixed(row * 300 + at) % (2 + at % 4))),
        }
    };
    let columns: Vec<(&str, ArrayRef)> =
        names.iter().map(String::as_str).zip(0..).map(|(n, at)| (n, column(at))).collect();
    let report = suggested(&columns, &["--memory", "32MB"]);
    assert_eq!(key(&report), ["c117", "c242"], "{:#}", report["suggestion"]["candidates"]);
    assert_eq!(report["suggestion"]["left_out"].as_array().unwrap().len(), 99);
}

#[test]
fn few_rows_and_none_are_no_problem() {
    let columns = |rows: i64| [("id", numbers(0..rows)), ("name", texts((0..rows).map(|_| Some("x".into()))))];
    let one = suggested(&columns(1), &[]);
    assert_eq!((key(&one), &one["rows"]), (vec!["id"], &json!(1)));
    assert!(one["suggestion"]["candidates"][0]["verdict"].as_str().unwrap().contains("one row, which says little"));
    let none = suggested(&columns(0), &[]);
    assert_eq!((key(&none), &none["keys"]), (vec!["id"], &json!(0)));
    let same = [("name", texts((0..50).map(|_| Some("x".into()))))];
    assert_eq!((key(&suggested(&same, &[])), &suggested(&same, &[])["keys"]), (vec!["name"], &json!(1)));
}

#[test]
fn little_memory_changes_nothing_but_what_waits_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 0..400_000;
    table(
        folder.path(),
        &[
            ("user", numbers(rows.clone().map(|row| row % 1_000))),
            ("number", numbers(rows.clone().map(|row| row / 1_000))),
            ("amount", numbers(rows.map(|row| mixed(row) % 50_000))),
        ],
    );
    let [mut small, mut large] =
        ["32MB", "2GB"].map(|memory| super::analyze(folder.path(), &["--suggest-key", "--memory", memory]));
    let spilled = [&mut small, &mut large].map(|report| report["spilled_bytes"].take().as_u64().unwrap());
    assert!(spilled[0] > 32_000_000 && spilled[1] == 0, "{spilled:?}");
    assert_eq!(small, large);
    assert_eq!(key(&small), ["user", "number"]);
}

#[test]
fn files_of_every_format_are_looked_at_and_flags_that_do_not_fit_are_refused() {
    let desk = Desk::new();
    let rows: Vec<(u32, u32)> = (0..60).map(|row| (row / 5, row % 5)).collect();
    let csv: String = rows.iter().map(|(a, b)| format!("{a},{b},{}\n", a % 2)).collect();
    desk.write("a.csv", &format!("block,place,kind\n{csv}"));
    let lines: Vec<String> =
        rows.iter().map(|(a, b)| format!("{{\"block\":{a},\"place\":{b},\"kind\":{}}}", a % 2)).collect();
    desk.write("a.ndjson", &lines.join("\n"));
    desk.write("a.json", &format!("[{}]", lines.join(",")));
    desk.write("page.json", &format!("{{\"next\":null,\"rows\":[{}]}}", lines.join(",")));
    for file in ["a.csv", "a.ndjson", "a.json", "page.json"] {
        let report = desk.report(0, &format!("analyze {file} --suggest-key"));
        assert_eq!((key(&report), &report["rows"]), (vec!["block", "place"], &json!(60)), "{file}");
    }
    let text = desk.run("analyze a.csv --suggest-key --quiet").out;
    assert!(text.starts_with("suggested keys, the best first\n"), "{text}");
    assert!(text.contains("analyzed by the first of them, as with --key \"block, place\"\n"), "{text}");
    let by_hand = desk.report(0, "analyze a.csv --key \"block, place\"");
    let mut report = desk.report(0, "analyze a.csv --suggest-key");
    report["suggestion"] = Json::Null;
    assert_eq!(report, by_hand);
    desk.write("floats.csv", "price\n0.5\n1.25\n");
    desk.write("empty.csv", "");
    for (arguments, why) in [
        ("a.csv --suggest-key --key block", "cannot be used with"),
        ("a.csv --suggest-key --dataset trades", "cannot be used with"),
        ("a.csv --volatile kind", "--key"),
        ("a.csv --suggest-key --volatile knid", "the files have block, place, kind"),
        ("a.csv --suggest-key --volatile block,place,kind", "no columns that count"),
        ("floats.csv --suggest-key", "price: a float"),
        ("empty.csv --suggest-key", "no columns that count"),
    ] {
        let ran = desk.run(&format!("analyze {arguments} --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.contains(why), "{arguments}: {}", ran.err);
    }
}
