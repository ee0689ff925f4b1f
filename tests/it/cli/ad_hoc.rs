//! `analyze` and `dedup` of files without a contract: any format, any shape, and a witness that counts beside them.

use super::{Desk, number};
use crate::googlesql::python;
use crate::rows::write;
use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, LargeStringArray, ListArray, NullArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs::File;
use std::process::Command;
use std::sync::Arc;

/// Rows and keys of an analysis that ends well.
fn counts(desk: &Desk, arguments: &str) -> [u64; 2] {
    let report = desk.report(0, &format!("analyze {arguments}"));
    [number(&report, "/rows"), number(&report, "/keys")]
}

/// Rows and keys as DuckDB counts them.
fn witness(desk: &Desk, key: &str, files: &[&str]) -> [u64; 2] {
    let script = super::project("tests/oracle/text_rows.py");
    let mut command = Command::new(python());
    command.arg(script).args(["--key", key]).args(files.iter().map(|file| desk.path(file)));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted: Value = serde_json::from_slice(&output.stdout).unwrap();
    [number(&counted, "/rows"), number(&counted, "/keys")]
}

#[test]
fn duckdb_counts_the_same_rows_and_keys() {
    const FIELDS: [&str; 18] = [
        "1",
        "01",
        "1.0",
        "1.00",
        "+1",
        "1e0",
        "0xAb",
        "0xab",
        "9007199254740992",
        "9007199254740993",
        "x",
        "X",
        "ä",
        "\"a,b\"",
        "\"a\"\"b\"",
        "\"two\nlines\"",
        "true",
        "12345678901234567890123",
    ];
    const VALUES: [&str; 14] = [
        "1",
        "1.0",
        "\"1\"",
        "true",
        "\"true\"",
        "null",
        "\"\"",
        "[1,2]",
        "[2,1]",
        "{\"a\":1}",
        "9007199254740993",
        "9007199254740992",
        "12345678901234567890123",
        "\"\\\"\"",
    ];
    const NUMBERS: [&str; 5] = ["0.5", "1.0", "2.25", "-3.125", "1000000.0"];
    let desk = Desk::new();
    let mut random = fastrand::Rng::with_seed(7);
    for file in 0..3 {
        let mut csv = String::from(if file == 1 { "n,id,more\n" } else { "id,n,other\n" });
        let mut ndjson = String::new();
        for _ in 0..400 {
            let field = FIELDS[random.usize(..FIELDS.len())];
            let small = random.u32(..4);
            let _ = if file == 1 { writeln!(csv, "{small},{field},m") } else { writeln!(csv, "{field},{small},o") };
            let value = VALUES[random.usize(..VALUES.len())];
            let decimal = NUMBERS[random.usize(..NUMBERS.len())];
            writeln!(ndjson, "{{\"id\":{value},\"n\":{small},\"d\":{decimal}}}").unwrap();
        }
        desk.write(&format!("{file}.csv"), &csv);
        desk.write(&format!("{file}.ndjson"), &ndjson);
    }
    for (ending, keys) in [("csv", &["id", "n", "id,n"][..]), ("ndjson", &["id", "n", "d", "id,n,d"])] {
        let files = [0, 1, 2].map(|file| format!("{file}.{ending}"));
        for key in keys {
            let expected = witness(&desk, key, &files.each_ref().map(String::as_str));
            assert_eq!(expected[0], 1_200);
            assert_eq!(counts(&desk, &format!("{} --key \"{key}\"", files.join(" "))), expected, "{ending} {key}");
        }
    }
    assert_eq!(counts(&desk, "0.csv 1.csv 2.csv --key id"), [1_200, FIELDS.len() as u64]);
}

#[test]
fn a_share_of_duplicates_can_fail_the_call() {
    let desk = Desk::new();
    desk.write("a.csv", &format!("id\n{}1\n", (1..200).map(|id| format!("{id}\n")).collect::<String>()));
    for (limit, code) in [("0.5%", 0), ("0.500000000%", 0), ("0.499999999%", 65), ("0%", 65), ("100%", 0), ("2 %", 0)] {
        let ran = desk.run(&format!("analyze a.csv --key id --json --quiet --fail-over \"{limit}\""));
        assert_eq!(ran.code, code, "{limit}: {}", ran.err);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!([number(&report, "/rows"), number(&report, "/keys")], [200, 199]);
        let says = format!("1 of 200 rows is a duplicate, 0.5000 %: more than --fail-over {limit}");
        match code {
            0 => assert_eq!((ran.err.as_str(), &report["fails"]), ("", &Value::Null)),
            _ => assert_eq!((ran.err, &report["fails"]), (format!("stopped: {says}\n"), &json!(says))),
        }
    }
    let ran = desk.run("analyze fixtures/demo --fail-over 60%");
    assert!(ran.code == 65 && ran.out.contains("unique keys") && ran.err.contains("stopped: 17555 of"), "{}", ran.err);
    desk.write("unique.csv", "id\n1\n2\n");
    desk.write("none.csv", "id\n");
    for file in ["unique.csv", "none.csv"] {
        assert_eq!(desk.report(0, &format!("analyze {file} --key id --fail-over 0%"))["fails"], Value::Null);
    }
    for wrong in ["0.5", "-1%", "101%", "100.1%", "%", ".5%", "1.%", "half", "1e1%", "0.1234567891%"] {
        let ran = desk.run(&format!("analyze a.csv --key id --fail-over={wrong}"));
        assert!(ran.code == 2 && ran.err.contains("write a percentage"), "{wrong}: {}", ran.err);
    }
}

#[test]
fn files_that_are_no_trades_get_an_error_that_lists_their_columns() {
    let desk = Desk::new();
    desk.write("a.csv", "id,price,at\n7,0.5,2025-10-01T00:00:00Z\n");
    insta::assert_snapshot!(desk.run("analyze a.csv").err, @r#"
    error: could not read a file as `trades`, the dataset that is taken where none is named, file `a.csv`
      caused by: it has no wallet_address, tx_hash, order_hash. It has id (int64), price (float64), at (timestamp)

    hint: say which of its columns name a row, as in --key id or --key "a, COALESCE(b, c, '')", and with --order what makes one row of a key better; or give a contract with --dataset
    "#);
    desk.write("b.ndjson", "{\"id\":7,\"tags\":[1]}\n");
    desk.write("c.json", "[{\"id\":7}]");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    write(&desk.path("d.parquet"), &[RecordBatch::try_from_iter([("id", ids)]).unwrap()], 1);
    // Half of a key is a later surprise, which landing finds.
    desk.write("e.ndjson", "{\"wallet_address\":\"0xa\",\"tx_hash\":\"0x1\"}\n");
    for (file, column) in [
        ("b.ndjson", "id (int64), tags (string)"),
        ("c.json", "id (int64)"),
        ("d.parquet", "id (int64)"),
        ("e.ndjson", "wallet_address (string)"),
    ] {
        let ran = desk.run(&format!("analyze {file} --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{file}");
        assert!(ran.err.contains(column) && ran.err.contains("--key "), "{file}: {}", ran.err);
    }
}

#[test]
fn files_of_every_shape_are_analyzed() {
    let desk = Desk::new();
    let ids = || Arc::new(Int64Array::from(vec![1, 1, 2, 2])) as ArrayRef;
    let inner = || Arc::new(Int64Array::from(vec![5, 5, 6, 7])) as ArrayRef;
    let columns: [(&str, ArrayRef); 4] = [
        ("id", ids()),
        ("object", Arc::new(StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int64, true)), inner())]))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                [Some([1, 2]), Some([1, 2]), Some([1, 2]), None].map(|list| list.map(|list| list.map(Some))),
            )),
        ),
        ("nothing", Arc::new(NullArray::new(4))),
    ];
    write(
        &desk.path("nested.parquet"),
        &[RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()],
        2,
    );
    let losers = |arguments: &str| desk.report(0, &format!("analyze {arguments}"))["balance"]["losers"].clone();
    assert_eq!(losers("nested.parquet --key id"), json!({ "exact": 1, "superseded": 0, "conflict": 1 }));
    for (key, keys) in [("object", 3), ("list", 2), ("nothing", 1)] {
        assert_eq!(counts(&desk, &format!("nested.parquet --key {key}")), [4, keys], "{key}");
    }
    desk.write(
        "nested.ndjson",
        "{\"id\":1,\"o\":{\"a\":[1],\"b\":2}}\n{\"id\":1,\"o\":{\"b\":2,\"a\":[1]}}\n{\"id\":1,\"o\":{\"a\":[0]}}\n",
    );
    assert_eq!(losers("nested.ndjson --key id"), json!({ "exact": 1, "superseded": 0, "conflict": 1 }));
    assert_eq!(counts(&desk, "nested.ndjson --key o"), [3, 2]);
    // Three hundred columns, of which one is NULL throughout.
    let names: Vec<String> = (0..300).map(|place| format!("c{place}")).collect();
    let row = |value: usize| {
        (0..300).map(move |place: usize| if place == 7 { String::new() } else { (value * place).to_string() })
    };
    let line = |value: usize| row(value).collect::<Vec<_>>().join(",");
    let wide = (0..3_000).map(|value| line(value / 2)).collect::<Vec<_>>().join("\n");
    desk.write("wide.csv", &format!("{}\n{wide}\n", names.join(",")));
    assert_eq!(counts(&desk, "wide.csv --key c1"), [3_000, 1_500]);
    assert_eq!(losers("wide.csv --key c1"), json!({ "exact": 1_500, "superseded": 0, "conflict": 0 }));
    assert_eq!(counts(&desk, "wide.csv --key c7"), [3_000, 1]);
    let column = |place: usize| (format!("c{place}"), ids());
    let wide = RecordBatch::try_from_iter((0..300).map(column)).unwrap();
    write(&desk.path("wide.parquet"), std::slice::from_ref(&wide), 2);
    assert_eq!(counts(&desk, "wide.parquet --key c299"), [4, 2]);
    // One row, no row, nothing at all.
    let one = RecordBatch::try_from_iter([("id", ids())]).unwrap().slice(0, 1);
    write(&desk.path("one.parquet"), std::slice::from_ref(&one), 1);
    write(&desk.path("none.parquet"), &[RecordBatch::new_empty(one.schema())], 1);
    for (name, text) in [
        ("one.csv", "id\n1\n"),
        ("one.ndjson", "{\"id\":1}"),
        ("one.json", "{\"id\":1}"),
        ("none.csv", "id\n"),
        ("none.ndjson", "\n"),
        ("none.json", "[]"),
        ("empty.csv", ""),
        ("empty.ndjson", ""),
        ("empty.json", ""),
    ] {
        desk.write(name, text);
    }
    for (name, rows) in [("one", 1), ("none", 0), ("empty", 0)] {
        for ending in ["parquet", "csv", "ndjson", "json"].into_iter().skip(usize::from(name == "empty")) {
            let file = format!("{name}.{ending}");
            assert_eq!(counts(&desk, &format!("{file} --key id --order \"id DESC\"")), [rows, rows], "{file}");
        }
    }
    let all = desk.report(0, "analyze one.csv one.ndjson one.json none.csv empty.csv one.parquet --key id");
    assert_eq!([number(&all, "/rows"), number(&all, "/keys")], [4, 1]);
    assert_eq!(all["rows_by_file"]["empty.csv"], 0);
}

#[test]
fn ten_thousand_small_files_are_one_input() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("many")).unwrap();
    for place in 0..10_000 {
        std::fs::write(desk.path(&format!("many/{place:05}.ndjson")), format!("{{\"id\":{}}}\n", place / 2)).unwrap();
    }
    let report = desk.report(0, "analyze many --key id --memory 64MB");
    assert_eq!([number(&report, "/rows"), number(&report, "/keys")], [10_000, 5_000]);
    assert_eq!(report["rows_by_file"].as_object().unwrap().len(), 10_000);
    assert_eq!(report["census"]["by_file"].as_object().unwrap().len(), 5_000);
}

#[test]
fn of_many_files_the_text_names_those_with_most_duplicates_and_sums_up_the_others() {
    let desk = Desk::new();
    for place in 0..23 {
        let again = if place < 21 { "" } else { "0\n0\n" };
        desk.write(&format!("many/{place:02}.csv"), &format!("id\n{place}\n{again}"));
    }
    let text = desk.run("analyze many --key id --quiet").out;
    let (_, rest) = text.split_once("  file\n").unwrap();
    let lines: Vec<Vec<&str>> =
        rest.split_once("\n\n").unwrap().0.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 21, "{text}");
    assert!(lines[0].join(" ").starts_with("3 2 0 0 ") && lines[0][4].ends_with("many/21.csv"), "{text}");
    assert_eq!(lines[20].join(" "), "3 0 0 0 … and 3 more files");
    std::fs::remove_file(desk.path("many/00.csv")).unwrap();
    std::fs::remove_file(desk.path("many/21.csv")).unwrap();
    std::fs::remove_file(desk.path("many/22.csv")).unwrap();
    let text = desk.run("analyze many --key id --quiet").out;
    assert!(!text.contains("more file") && text.contains("many/20.csv"), "{text}");
}

#[test]
fn a_parquet_file_of_no_bytes_is_an_error_that_says_so() {
    let desk = Desk::new();
    desk.write("raw/nothing.parquet", "");
    for command in ["analyze raw --key id", "analyze raw --suggest-key", "dedup raw -o out --key id", "analyze raw"] {
        let ran = desk.run(&format!("{command} --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (65, ""), "{command}: {}", ran.err);
        let says =
            "raw/nothing.parquet`\n  caused by: it is empty: no Parquet file has 0 bytes, even one without rows\n";
        assert!(ran.err.contains(says), "{command}: {}", ran.err);
    }
}

#[test]
fn rows_that_cannot_be_read_are_told_by_analyze_and_refused_by_dedup() {
    let desk = Desk::new();
    desk.write("a.csv", "id,v\n1,x\n1\n2,y,z\n1,x\n");
    let report = desk.report(0, "analyze a.csv --key id");
    assert_eq!(report["balance"]["landing"], json!({ "read": 4, "landed": 2, "rejected": 2, "outside": 0 }));
    assert_eq!(
        report["rejects"][0],
        json!({ "file": "a.csv", "row": 2, "column": null, "reason": "wrong number of fields: 1 instead of 2" })
    );
    assert_eq!(report["rejects"].as_array().unwrap().len(), 2);
    let text = desk.run("analyze a.csv --key id").out;
    assert!(text.contains("a.csv row 3: wrong number of fields: 3 instead of 2"), "{text}");
    let ran = desk.run("dedup a.csv -o out --key id --quiet");
    assert_eq!(ran.code, 65);
    assert!(ran.err.contains("row `2`") && ran.err.contains("2 rows can't be read"), "{}", ran.err);
    assert!(!desk.path("out").exists());
}

#[test]
fn dedup_writes_what_csv_says_with_every_character() {
    let desk = Desk::new();
    desk.write("a.csv", "id,price,at\n007,0.50,2025-10-01\n007,0.75,2025-10-02\n7,0.25,2025-10-03\n");
    let report = desk.report(0, "dedup a.csv -o out --key id --order \"price DESC\"");
    assert_eq!(number(&report, "/balance/winners"), 2);
    assert_eq!(number(&report, "/balance/losers/superseded"), 1);
    let file = File::open(desk.path("out/part-00000.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let types: Vec<DataType> = reader.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Utf8, DataType::Float64, DataType::Date32]);
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let ids = batch.column(0).as_string::<i32>();
    assert_eq!([ids.value(0), ids.value(1)], ["007", "7"]);
}

#[test]
fn parquet_and_csv_are_one_input_where_their_columns_agree() {
    let desk = Desk::new();
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(LargeStringArray::from(vec!["7", "007"]))),
        ("n", Arc::new(Float64Array::from(vec![1.0, 2.5]))),
        ("note", Arc::new(StringArray::from(vec!["a", "b"]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap();
    write(&desk.path("a.parquet"), &[batch], 2);
    // Alone these would be integers.
    desk.write("b.csv", "id,n,note,more\n7,1,a,\n8,3,,m\n");
    let report = desk.report(0, "analyze a.parquet b.csv --key id --volatile more");
    assert_eq!([number(&report, "/rows"), number(&report, "/keys")], [4, 3]);
    assert_eq!(report["balance"]["losers"], json!({ "exact": 1, "superseded": 0, "conflict": 0 }));
    desk.write("c.csv", "id,n\n7,x\n");
    let ran = desk.run("analyze a.parquet c.csv --key id");
    assert!(ran.code == 2 && ran.err.contains("column `n`") && ran.err.contains("read them apart"), "{}", ran.err);
}

#[test]
fn rows_that_say_where_they_come_from_are_counted_under_their_own_file() {
    let desk = Desk::new();
    for file in ["a", "b"] {
        desk.write(&format!("{file}.ndjson"), "{\"id\":1,\"_source\":\"x\",\"_source_row\":1}\n");
    }
    let report = desk.report(0, "analyze a.ndjson b.ndjson --key id");
    assert_eq!(report["census"]["by_file"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b.ndjson"]);
    assert_eq!(number(&report, "/balance/losers/exact"), 1);
}

#[test]
fn pages_are_known_by_the_key() {
    let desk = Desk::new();
    // One key of the 87 is there in both cases, which only the contract folds.
    assert_eq!(counts(&desk, "fixtures/demo/pages --key tx_hash,order_hash,user"), [240, 88]);
    // A contract that is named with another key is still checked by the contract.
    let report = desk.report(0, "analyze fixtures/demo/pages --dataset trades --key tx_hash");
    assert_eq!(number(&report, "/rows"), 240);
}
