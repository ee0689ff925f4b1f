//! What an analysis says of duplicates and of the key, against DuckDB and against what was planted.

mod runs;
mod suggest;

use crate::googlesql::python;
use crate::rows::write;
use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tradefold::generate::{Profile, Recipe, generate};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn oracle(script: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script));
    command
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    files.sort();
    files
}

fn analyze(folder: &Path, flags: &[&str]) -> Json {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradefold"));
    serde_json::from_str(&run(command.arg("analyze").arg(folder).arg("--json").args(flags))).unwrap()
}

/// What the program says, in the form in which the oracle says it.
fn figures(report: &Json, columns: &[&str]) -> Json {
    let of = |near: &Json| json!({ "groups": near["groups"], "keys": near["keys"] });
    let distances = ["same_page", "same_input", "other_input", "other_day"].map(|name| &report["distances"][name]);
    let parts: Vec<&str> = report["key"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
    // The column of a part, as the oracle names it.
    let column = |part: &str| part.trim_start_matches("COALESCE(").split([',', ')']).next().unwrap().to_string();
    let missing: BTreeMap<String, &Json> = report["near"]["by_missing"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(part, near)| (column(part), &near["groups"]))
        .collect();
    let candidates = report["advice"]["candidates"].as_array().unwrap();
    let (mut added, mut dropped) = (BTreeMap::new(), BTreeMap::new());
    // A column that separates nothing is not told: it keeps as many rows as the key.
    columns.iter().for_each(|name| {
        added.insert(name.to_string(), report["keys"].clone());
    });
    for candidate in candidates {
        let (kept, differ) = (&candidate["rows_kept"], &candidate["merged_rows_that_differ"]);
        if let Some(name) = candidate["change"]["added"].as_str() {
            added.insert(name.to_string(), kept.clone());
        }
        if let Some(part) = candidate["change"]["dropped"].as_str() {
            dropped.insert(column(part), json!([kept, differ]));
        }
    }
    assert_eq!(candidates[0]["rows_kept"], report["keys"]);
    let key_part = |part: &Json| json!([part["null_rows"], part["empty_rows"]]);
    let key_parts: Vec<Json> = report["key_parts"].as_array().unwrap().iter().map(key_part).collect();
    json!({
        "rows": report["rows"],
        "keys": report["keys"],
        "different_rows": report["advice"]["different_rows"],
        "sizes": report["sizes"],
        "distances": distances,
        "key_parts": key_parts,
        "by_case": of(&report["near"]["by_case"]),
        "by_hours": of(&report["near"]["by_hours"]),
        "by_missing": missing,
        "added": added,
        "dropped": if parts.len() > 1 { json!(dropped) } else { json!({}) },
    })
}

/// Writes texts of a file as dictionaries of Arrow.
fn as_dictionaries(path: &Path, names: &[&str]) {
    use crate::rows::write;
    use arrow::array::{ArrayRef, RecordBatch};
    use arrow::datatypes::DataType;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let column = |name: &str, column: &ArrayRef| match names.contains(&name) {
        true => arrow::compute::cast(column, &kind).unwrap(),
        false => ArrayRef::clone(column),
    };
    let rows = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = rows
        .map(|batch| {
            let batch = batch.unwrap();
            let schema = batch.schema();
            let columns = schema.fields().iter().zip(batch.columns());
            let columns = columns.map(|(field, own)| (field.name().clone(), column(field.name(), own), true));
            RecordBatch::try_from_iter_with_nullable(columns).unwrap()
        })
        .collect();
    write(path, &batches, 2_048);
}

#[test]
fn duckdb_counts_the_same() {
    const COLUMNS: [&str; 6] = ["a", "b", "ts", "number", "price", "nothing"];
    // A key as the program takes it, its parts as the oracle does, and the order of the first day.
    type Case = (&'static str, &'static [&'static [&'static str]], &'static str);
    let cases: [Case; 4] = [
        ("a, ts, COALESCE(b, '')", &[&["a"], &["ts"], &["b", ""]], "ts DESC"),
        ("COALESCE(a, 'none'), number", &[&["a", "none"], &["number"]], "ts DESC, price DESC NULLS LAST"),
        ("ts", &[&["ts"]], "number DESC"),
        ("nothing, price, a", &[&["nothing"], &["price"], &["a"]], "number DESC NULLS LAST"),
    ];
    for (number, (key, parts, order)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [3_000, 9_000, 40, 3_000][number].to_string();
        run(oracle("analysis.py").arg("--make").arg(folder.path()).args([
            "--seed",
            &number.to_string(),
            "--rows",
            &rows,
        ]));
        // As pandas writes categories, beside a file with plain texts.
        as_dictionaries(&folder.path().join("part-2.parquet"), &["a", "b"]);
        let mut report = Json::Null;
        // However little memory there is, and however many threads.
        for flags in [["--threads", "1"], ["--threads", "3"]] {
            let mut all = vec!["--key", key, "--order", order, "--volatile", "seen"];
            all.extend(flags);
            let again = analyze(folder.path(), &all);
            assert!(report.is_null() || report == again, "{key}");
            report = again;
        }
        let mut counting = oracle("analysis.py");
        counting.args(files(folder.path())).args(["--volatile", "seen"]);
        parts.iter().for_each(|part| {
            counting.arg("--part").args(*part);
        });
        counting.args(["--order", order]);
        if order.starts_with("ts") {
            counting.args(["--day", "ts"]);
        }
        let counted: Json = serde_json::from_str(&run(&mut counting)).unwrap();
        assert_eq!(figures(&report, &COLUMNS), counted, "{key}");
    }
}

#[test]
fn rows_differ_by_their_values_and_not_by_what_is_shown_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let long = |end: char| format!("{}{end}", "x".repeat(3_000));
    let list = |texts: &[&str]| Some(texts.iter().map(|text| Some(text.to_string())).collect::<Vec<_>>());
    let mut lists = ListBuilder::new(StringBuilder::new());
    [list(&["a, b"]), list(&["a", "b"]), list(&["a", "b"])].into_iter().for_each(|list| lists.append_option(list));
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from(vec![1, 1, 1]))),
        ("payload", Arc::new(StringArray::from(vec![long('1'), long('1'), long('2')]))),
        ("tags", Arc::new(lists.finish())),
        ("same", Arc::new(StringArray::from(vec![long('1'), long('1'), long('1')]))),
    ];
    write(&folder.path().join("a.parquet"), &[RecordBatch::try_from_iter(columns).unwrap()], 10);
    let group = &analyze(folder.path(), &["--key", "id"])["groups"][0];
    assert_eq!(group["columns"], json!(["id", "payload", "tags", "same"]));
    assert_eq!(group["differs"], json!([false, true, true, false]), "{group:#}");
    let shown = |row: usize, column: usize| &group["shown"][row][1][column];
    assert_eq!((shown(0, 1), shown(0, 2)), (shown(2, 1), shown(2, 2)), "as they are shown they look alike");
}

/// Every finding finds what was planted, all of it and nothing else.
#[test]
fn what_was_planted_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe { suspects: 40, odd_share: 0.5, ..Recipe::new(Profile::Spread, 40_000, 5) };
    let planted = generate(&recipe, folder.path()).unwrap();
    let kinds = &planted.classes;
    let report = analyze(folder.path(), &[]);
    assert_eq!((report["keys"].as_u64(), report["rows"].as_u64()), (Some(planted.keys), Some(planted.rows)));
    assert_eq!(report["advice"]["suspect_keys"], planted.suspect_keys);
    let missing = &report["near"]["by_missing"]["COALESCE(order_hash, '')"];
    assert_eq!(missing["groups"], kinds.c_no_order_hash);
    // A landing has folded the wallets; files as they are have not.
    assert_eq!(report["near"]["by_case"]["groups"], 0);
    let key = "wallet_address, tx_hash, COALESCE(order_hash, '')";
    let raw = analyze(folder.path(), &["--key", key, "--order", "timestamp DESC"]);
    assert_eq!(raw["near"]["by_case"]["groups"], kinds.h_wallet_case);
    assert_eq!(raw["keys"].as_u64().unwrap(), planted.keys + kinds.h_wallet_case);
    assert!(kinds.c_no_order_hash > 20 && kinds.h_wallet_case > 20 && planted.suspect_keys >= 40, "{planted:?}");
    // What numbers the fills separates those that share a key.
    let separated = |report: &Json, column: &str| -> u64 {
        let candidates = report["advice"]["candidates"].as_array().unwrap();
        let own = candidates.iter().find(|candidate| candidate["change"]["added"] == column);
        own.map_or(0, |candidate| candidate["suspects_separated"].as_u64().unwrap())
    };
    let numbered = separated(&report, "log_index") + separated(&report, "id");
    assert_eq!(separated(&report, "log_index"), kinds.i_other_log_index, "{:#}", report["advice"]);
    assert_eq!(numbered, planted.suspect_keys, "{kinds:?} {:#}", report["advice"]);
    // The narrow key of the users, which took two fills of one transaction for one.
    let narrow = analyze(folder.path(), &["--dataset", "trades", "--key", "wallet_address, tx_hash"]);
    let wide = narrow["advice"]["candidates"].as_array().unwrap().iter().find(|c| c["change"]["added"] == "order_hash");
    assert!(wide.is_some(), "{:#}", narrow["advice"]);
}

/// A column in which the rows of a suspect key differ separates it only where no two events are left in one value.
#[test]
fn a_column_that_leaves_two_events_together_separates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let row = std::fs::read_to_string("fixtures/suspect_two_log_indexes.ndjson").unwrap();
    let row: Json = serde_json::from_str(row.lines().next().unwrap()).unwrap();
    let fills = [(1, "BUY", 10), (2, "BUY", 20), (3, "SELL", 30)];
    let line = |(log_index, side, shares): &(i64, &str, i64)| {
        let mut row = row.clone();
        (row["log_index"], row["side"], row["shares"]) = (json!(log_index), json!(side), json!(shares));
        (row["shares_normalized"], row["token_label"]) = (Json::Null, json!("same"));
        row.to_string()
    };
    let lines: Vec<String> = fills.iter().map(line).collect();
    std::fs::write(folder.path().join("fills.ndjson"), lines.join("\n")).unwrap();
    let report = analyze(folder.path(), &[]);
    let candidates = report["advice"]["candidates"].as_array().unwrap();
    let told = |column: &str| {
        let own = candidates.iter().find(|candidate| candidate["change"]["added"] == column);
        own.map(|own| (own["rows_kept"].clone(), own["suspects_separated"].clone()))
    };
    assert_eq!(report["advice"]["suspect_keys"], 1);
    assert_eq!(told("log_index"), Some((json!(3), json!(1))), "{:#}", report["advice"]);
    assert_eq!(told("shares"), Some((json!(3), json!(1))));
    assert_eq!(told("side"), Some((json!(2), json!(0))), "two fills are left that were bought");
    assert_eq!(told("token_label"), None, "it does not differ");
}

/// A key that is too wide is told, and a part that adds nothing.
#[test]
fn a_part_that_only_numbers_copies_is_told() {
    let folder = tempfile::tempdir().unwrap();
    run(oracle("analysis.py").arg("--make").arg(folder.path()).args(["--seed", "9", "--rows", "3000"]));
    let verdicts = |key: &str| -> BTreeMap<String, String> {
        let report = analyze(folder.path(), &["--key", key]);
        let candidates = report["advice"]["candidates"].as_array().unwrap().clone();
        let dropped =
            candidates.iter().filter_map(|c| Some((c["change"]["dropped"].as_str()?, c["verdict"].as_str()?)));
        dropped.map(|(part, verdict)| (part.to_string(), verdict.to_string())).collect()
    };
    // All columns that count, and one that every copy has anew.
    let all = verdicts("a, b, ts, number, price, nothing, seen");
    assert!(all["nothing"].contains("adds nothing"), "{all:?}");
    // It differs in every copy, and rows that are the same without it differ in nothing.
    assert!(all["seen"].contains("only numbers copies"), "{all:?}");
    let narrow = verdicts("a, b");
    assert!(narrow["a"].contains("too narrow") && narrow["b"].contains("too narrow"), "{narrow:?}");
}

#[test]
fn odd_inputs_are_analysed() {
    use crate::rows::write;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray, new_null_array};
    use arrow::datatypes::{DataType, Field, Fields, Schema};
    use std::sync::Arc;
    let folder = tempfile::tempdir().unwrap();
    let nested = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
    let mut fields =
        vec![Field::new("id", DataType::Utf8, true), Field::new("inner", DataType::Struct(nested.clone()), true)];
    fields.extend((0..300).map(|number| Field::new(format!("c{number:03}"), DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(fields));
    let rows = |ids: &[Option<&str>]| {
        let many = ids.len();
        let inner: ArrayRef = Arc::new((0..many as i64).collect::<Int64Array>());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(ids.iter().copied().collect::<StringArray>()),
            Arc::new(StructArray::new(nested.clone(), vec![inner], None)),
        ];
        columns.extend((0..300).map(|_| new_null_array(&DataType::Utf8, many)));
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let case = |name: &str, ids: &[Option<&str>]| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        write(&path.join("rows.parquet"), &[rows(ids)], 100);
        analyze(&path, &["--key", "id"])
    };
    let none = case("none", &[]);
    assert_eq!((&none["rows"], &none["keys"], &none["sizes"]), (&json!(0), &json!(0), &json!({})));
    assert_eq!(none["groups"], json!([]));
    let one = case("one", &[Some("a")]);
    assert_eq!((&one["keys"], &one["sizes"]), (&json!(1), &json!({ "1": 1 })));
    // Nested values differ, and 300 columns of NULL do not.
    let wide = case("wide", &[Some("a"), Some("a"), Some("b"), None, None, Some("A")]);
    assert_eq!(wide["keys"], 4);
    let added: Vec<&Json> =
        wide["advice"]["candidates"].as_array().unwrap().iter().map(|c| &c["change"]["added"]).collect();
    assert_eq!(added, [&Json::Null, &json!("inner")]);
    assert_eq!(wide["near"]["by_case"], json!({ "groups": 1, "keys": 2, "examples": [{ "keys": [["a"], ["A"]] }] }));
    let shown = &wide["groups"][0];
    assert_eq!(
        (&shown["rows"], &shown["columns"][1], &shown["differs"][1]),
        (&json!(2), &json!("inner"), &json!(true))
    );
    assert_eq!(shown["shown"][1][1][1], "{x: 1}");
}

/// A key with a regular time has many that are whole hours apart: only what is the same in all else is told.
#[test]
fn candles_of_several_hours_are_not_one_and_an_event_in_two_zones_is() {
    let desk = crate::cli::Desk::new();
    let line = |minute: i64, symbol: i64, hours: i64| {
        let at = |minute: i64| {
            let minute = minute + hours * 60;
            format!("2025-10-01T{:02}:{:02}:00Z", minute / 60, minute % 60)
        };
        format!("S{symbol},{},{},{}.5\n", at(minute), at(minute + 1), minute * 7 + symbol * 3)
    };
    let mut text = String::from("symbol,open_time,close_time,price\n");
    (0..600).flat_map(|minute| [line(minute, 0, 0), line(minute, 1, 0)]).for_each(|line| text.push_str(&line));
    desk.write("candles.csv", &text);
    let near = |file: &str, flags: &str| {
        let report = desk.report(0, &format!("analyze {file} --key \"symbol, open_time\" {flags}"));
        (report["keys"].clone(), report["near"]["by_hours"].clone())
    };
    assert_eq!(near("candles.csv", ""), (json!(1_200), json!({ "groups": 0, "keys": 0, "examples": [] })));
    // Three candles once more, as of another zone.
    [17, 18, 340].into_iter().for_each(|minute| text.push_str(&line(minute, 1, 12)));
    desk.write("zones.csv", &text);
    let (keys, found) = near("zones.csv", "");
    assert_eq!((keys, &found["groups"], &found["keys"]), (json!(1_203), &json!(3), &json!(6)));
    assert_eq!(
        found["examples"][0]["keys"],
        json!([["S1", "2025-10-01T00:17:00Z"], ["S1", "2025-10-01T12:17:00Z"]]),
        "{found:#}"
    );
}

/// So many keys would be one that their records are no longer held at once.
#[test]
fn a_partition_of_very_many_keys_that_would_be_one_is_counted_piece_by_piece() {
    use crate::rows::write;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampSecondArray};
    use std::sync::Arc;
    const HOURS: i64 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let at: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values((0..HOURS).map(|hour| hour * 3_600)));
    let same: ArrayRef = Arc::new(Int64Array::from_iter_values((0..HOURS).map(|_| 1)));
    let batch = RecordBatch::try_from_iter([("at", at), ("same", same)]).unwrap();
    write(&folder.path().join("0.parquet"), &[batch], HOURS as usize);
    let report = analyze(folder.path(), &["--key", "at"]);
    assert_eq!(
        (&report["near"]["by_hours"]["groups"], &report["near"]["by_hours"]["keys"]),
        (&json!(1), &json!(HOURS))
    );
}
