//! `diff` of CSV and JSON without a contract: what a column is, both sides say together.

use super::{Desk, number};
use crate::rows::write;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use serde_json::{Value, json};
use std::sync::Arc;

/// What is said of two files with these texts by `id`.
fn compared(a: (&str, &str), b: (&str, &str)) -> Value {
    let desk = Desk::new();
    let [a, b] = [("a", a), ("b", b)].map(|(side, (ending, text))| {
        let name = format!("{side}.{ending}");
        desk.write(&name, text);
        name
    });
    let ran = desk.run(&format!("diff {a} {b} --key id --json"));
    assert!([0, 65].contains(&ran.code), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// Keys only in A, only in B, the same, different.
fn keys(report: &Value) -> [u64; 4] {
    ["only_a", "only_b", "same", "different"].map(|name| number(report, &format!("/keys/{name}")))
}

#[test]
fn a_side_without_a_value_of_a_column_can_have_it_of_any_type() {
    let rows = ("csv", "id,v,at\n1,2,2025-10-01\n2,3,2025-10-02\n");
    for nothing in [("csv", "id,v,at\n"), ("csv", ""), ("ndjson", ""), ("ndjson", "\n")] {
        assert_eq!(keys(&compared(nothing, rows)), [0, 2, 0, 0], "{nothing:?}");
        assert_eq!(keys(&compared(rows, nothing)), [2, 0, 0, 0], "{nothing:?}");
    }
    let report = compared(("csv", "id,v\n1,\n2,\n"), ("csv", "id,v\n1,5\n2,\n"));
    assert_eq!((keys(&report), &report["keys"]["columns"]), ([0, 0, 1, 1], &json!({ "v": 1 })));
    let report = compared(("ndjson", "{\"id\":1,\"v\":null}\n"), ("ndjson", "{\"id\":1,\"v\":3}\n"));
    let example = json!([{ "key": ["1"], "columns": { "v": { "a": null, "b": "3" } } }]);
    assert_eq!((keys(&report), &report["examples"]["different"]), ([0, 0, 0, 1], &example));
}

#[test]
fn values_are_compared_as_they_were_written_where_both_sides_have_no_other_type() {
    let report = compared(("csv", "id,v\n1,0.5\n2,0.5\n"), ("csv", "id,v\n1,0.5\n2,0.50\n"));
    let example = json!([{ "key": ["2"], "columns": { "v": { "a": "0.5", "b": "0.50" } } }]);
    assert_eq!((keys(&report), &report["examples"]["different"]), ([0, 0, 1, 1], &example));
    // A type is one of both: whole numbers here and others there, times in two forms, days and something else.
    for (a, b, expected) in [
        ("1\n2", "1\n2.5", [0, 0, 1, 1]),
        ("2025-10-01 00:00:00\n2025-10-01 00:00:01", "2025-10-01T00:00:00Z\n2025-10-01 00:00:01", [0, 0, 1, 1]),
        ("2025-10-01\n2025-10-02", "2025-10-01\nnever", [0, 0, 1, 1]),
        ("true\nfalse", "true\n0", [0, 0, 1, 1]),
        ("0.1\n0.2", "0.1\n0.2", [0, 0, 2, 0]),
    ] {
        let side = |values: &str| {
            let rows = values.lines().enumerate().map(|(id, value)| format!("{id},{value}\n"));
            format!("id,v\n{}", rows.collect::<String>())
        };
        let report = compared(("csv", &side(a)), ("csv", &side(b)));
        assert_eq!(keys(&report), expected, "{a} {b}: {report:#}");
        assert_eq!(report["casts"], json!({}));
    }
    // Of JSON a number is no text that looks like it, and a text stays itself beside one.
    let report = compared(
        ("ndjson", "{\"id\":1,\"v\":5}\n{\"id\":2,\"v\":\"x\"}\n"),
        ("ndjson", "{\"id\":1,\"v\":\"5\"}\n{\"id\":2,\"v\":\"x\"}\n"),
    );
    assert_eq!(keys(&report), [0, 0, 1, 1], "{report:#}");
    // Each side has the columns that it has.
    let report = compared(("csv", "id,v,mine\n1,2,3\n"), ("csv", "v,id\n2,1\n"));
    assert_eq!((keys(&report), &report["a"]["columns_only_here"]), ([0, 0, 1, 0], &json!(["mine"])));
}

#[test]
fn beside_parquet_a_column_has_the_type_that_it_has_there_if_it_can() {
    let desk = Desk::new();
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("v", Arc::new(Float64Array::from(vec![1.0, 2.0]))),
        ("w", Arc::new(Int64Array::from(vec![7, 8]))),
    ];
    write(&desk.path("a.parquet"), &[RecordBatch::try_from_iter(columns).unwrap()], 10);
    desk.write("b.csv", "id,v,w\n1,1,\n2,2,\n");
    let report = desk.report(65, "diff a.parquet b.csv --key id");
    assert_eq!(report["keys"]["columns"], json!({ "w": 2 }), "{report:#}");
    desk.write("b.csv", "id,v,w\n1,1,7\n2,two,8\n");
    let ran = desk.run("diff a.parquet b.csv --key id");
    assert!(ran.code == 2 && ran.err.contains("it is Float64 in A and Utf8 in B"), "{}", ran.err);
}
