//! `diff` through the real binary: what it tells of planted differences, and how it ends.

use super::memory::measured;
use super::{Desk, number};
use crate::bench::says;
use crate::rows::write;
use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs::File;
use std::sync::Arc;
use tradefold::generate::{Profile, Recipe, generate};

const FLAGS: &str = "--key id --order \"at DESC NULLS LAST\" --volatile seen";
/// What the contract of trades says, for files as they are.
const TRADES: &str = "--key \"wallet_address, tx_hash, COALESCE(order_hash, '')\" \
    --order \"timestamp DESC NULLS LAST, log_index DESC NULLS LAST, id DESC NULLS LAST\" \
    --volatile source_run,fetched_at";
const DAY_US: i64 = 86_400_000_000;

/// A row: its id, its day, a name, a price, and when it was seen.
type Planted = (Option<i64>, i64, Option<&'static str>, Option<f64>, &'static str);

fn planted(rows: &[Planted]) -> RecordBatch {
    let id: Int64Array = rows.iter().map(|row| row.0).collect();
    let at = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1 * DAY_US)).with_timezone("UTC");
    let name: StringArray = rows.iter().map(|row| row.2).collect();
    let price: Float64Array = rows.iter().map(|row| row.3).collect();
    let seen: StringArray = rows.iter().map(|row| Some(row.4)).collect();
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("id", Arc::new(id), true),
        ("at", Arc::new(at), true),
        ("name", Arc::new(name), true),
        ("price", Arc::new(price), true),
        ("seen", Arc::new(seen), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Writes columns as the file of a side.
fn side(desk: &Desk, name: &str, columns: &[(&str, ArrayRef)]) {
    let columns = columns.iter().map(|(name, values)| (*name, Arc::clone(values), true));
    write(&desk.path(name), &[RecordBatch::try_from_iter_with_nullable(columns).unwrap()], 100);
}

fn ids(values: &[i64]) -> (&'static str, ArrayRef) {
    ("id", Arc::new(Int64Array::from(values.to_vec())))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Two sides with a difference of every kind, `a.parquet` and `b.parquet`.
fn plant(desk: &Desk) {
    let a = [
        (Some(1), 1, Some("same"), Some(1.0), "x"),
        (Some(2), 1, Some("price"), Some(1.5), "x"),
        (Some(3), 2, Some("both"), Some(3.0), "x"),
        (Some(4), 1, Some("only"), None, "x"),
        (Some(5), 2, Some("only"), None, "x"),
        // Of these the last is the winner; one is its copy and one lower.
        (Some(7), 1, Some("lower"), Some(7.0), "x"),
        (Some(7), 2, Some("twice"), Some(7.0), "x"),
        (Some(7), 2, Some("twice"), Some(7.0), "y"),
        (Some(8), 1, Some("zero"), Some(-0.0), "x"),
        (Some(9), 1, None, None, "x"),
        (Some(10), 1, None, Some(1.0), "x"),
        (Some(12), 1, Some("moved"), None, "x"),
        (None, 2, Some("nameless"), Some(1.0), "x"),
    ];
    let b = [
        (Some(12), 2, Some("moved"), None, "x"),
        (Some(10), 1, Some("known"), Some(1.0), "x"),
        (Some(9), 1, None, None, "another"),
        (Some(8), 1, Some("zero"), Some(0.0), "x"),
        // The greater name wins where all else ties.
        (Some(7), 2, Some("another"), Some(7.0), "x"),
        (Some(7), 2, Some("twice"), Some(7.0), "x"),
        (Some(6), 3, Some("only"), None, "x"),
        (Some(3), 2, Some("BOTH"), None, "x"),
        (Some(2), 1, Some("price"), Some(2.5), "x"),
        (Some(1), 1, Some("same"), Some(1.0), "x"),
        (None, 2, Some("nameless"), Some(2.0), "x"),
    ];
    write(&desk.path("a.parquet"), &[planted(&a)], 4);
    write(&desk.path("b.parquet"), &[planted(&b)], 3);
}

#[test]
fn planted_differences_are_told() {
    let desk = Desk::new();
    plant(&desk);
    let report = desk.report(65, &format!("diff a.parquet b.parquet {FLAGS}"));
    assert_eq!(report["is_equal"], false);
    assert_eq!(report["compared"], json!(["id", "at", "name", "price"]));
    assert_eq!(report["not_compared"], json!(["seen"]));
    let columns = json!({ "at": 1, "name": 2, "price": 3 });
    assert_eq!(
        report["keys"],
        json!({ "only_a": 2, "only_b": 1, "same": 4, "different": 5, "columns": columns }),
        "{report:#}"
    );
    let days = json!({
        "1970-01-02": {
            "only_a": 1, "only_b": 0, "same": 3, "different": 3, "columns": { "at": 1, "name": 1, "price": 1 },
        },
        "1970-01-03": {
            "only_a": 1, "only_b": 0, "same": 1, "different": 2, "columns": { "name": 1, "price": 2 },
        },
        "1970-01-04": { "only_a": 0, "only_b": 1, "same": 0, "different": 0, "columns": {} },
    });
    assert_eq!(report["days"], days, "{report:#}");
    let duplicates = |side: &str| report[side]["duplicates"].clone();
    assert_eq!(duplicates("a"), json!({ "exact": 1, "superseded": 1, "conflict": 0 }));
    assert_eq!(duplicates("b"), json!({ "exact": 0, "superseded": 0, "conflict": 1 }));
    assert_eq!((number(&report, "/a/keys"), number(&report, "/b/keys")), (11, 10));
    assert_eq!((number(&report, "/a/rows_without_key"), number(&report, "/b/rows_without_key")), (1, 1));
    let examples = &report["examples"];
    assert_eq!(examples["only_a"], json!([["4"], ["5"]]));
    assert_eq!(examples["only_b"], json!([["6"]]));
    assert_eq!(
        examples["different"],
        json!([
            { "key": ["2"], "columns": { "price": { "a": "1.5", "b": "2.5" } } },
            { "key": ["3"], "columns": {
                "name": { "a": "both", "b": "BOTH" }, "price": { "a": "3.0", "b": null },
            } },
            { "key": ["10"], "columns": { "name": { "a": null, "b": "known" } } },
            { "key": ["12"], "columns": {
                "at": { "a": "1970-01-02T00:00:00Z", "b": "1970-01-03T00:00:00Z" },
            } },
            { "key": [null], "columns": { "price": { "a": "1.0", "b": "2.0" } } },
        ]),
        "{examples:#}"
    );

    let ran = desk.run(&format!("diff a.parquet b.parquet {FLAGS}"));
    assert_eq!(ran.code, 65);
    for line in [
        "keys only in A                     2",
        "different                          5",
        "  - in price                         3",
        "  1970-01-03             1           0           1           2  name 1, price 2",
        "    name: NULL in A, `known` in B",
        "  not compared: seen",
        "\nthe two differ\n",
    ] {
        assert!(ran.out.contains(line), "{line} is not in\n{}", ran.out);
    }
    assert!(ran.err.contains("NULL in a key column counts as one value here: 1 row of A with it"), "{}", ran.err);
}

#[test]
fn equal_sets_in_other_files_and_orders_are_equal() {
    let desk = Desk::new();
    let rows = |id: i64| (Some(id % 900), id % 5, Some("x"), Some((id % 900) as f64), "x");
    let all: Vec<Planted> = (0..1_000).map(rows).collect();
    write(&desk.path("a.parquet"), &[planted(&all)], 100);
    std::fs::create_dir(desk.path("b")).unwrap();
    let turned: Vec<Planted> = all.into_iter().rev().collect();
    for (place, part) in turned.chunks(170).enumerate() {
        write(&desk.path(&format!("b/{place}.parquet")), &[planted(part)], 33);
    }
    let report = desk.report(0, &format!("diff a.parquet b {FLAGS} --exact-keys"));
    assert_eq!((report["is_equal"].clone(), number(&report, "/keys/same")), (json!(true), 900));
    assert_eq!((number(&report, "/a/rows"), number(&report, "/b/files")), (1_000, 6));
    let ran = desk.run(&format!("diff b a.parquet {FLAGS} --quiet"));
    assert!(ran.code == 0 && ran.out.ends_with("\nno difference\n"), "{}", ran.out);
}

#[test]
fn no_more_than_twenty_keys_are_examples() {
    let desk = Desk::new();
    side(&desk, "a.parquet", &[ids(&(0..500).collect::<Vec<_>>())]);
    side(&desk, "none.parquet", &[ids(&[])]);
    let report = desk.report(65, "diff a.parquet none.parquet --key id --threads 3");
    assert_eq!((number(&report, "/keys/only_a"), number(&report, "/b/keys")), (500, 0));
    let first: Vec<Value> = (0..20).map(|id: i64| json!([id.to_string()])).collect();
    assert_eq!(report["examples"]["only_a"], json!(first));
    let report = desk.report(65, "diff none.parquet a.parquet --key id");
    assert_eq!((number(&report, "/keys/only_b"), report["days"].clone()), (500, json!({})));
    assert_eq!(desk.report(0, "diff none.parquet none.parquet --key id")["is_equal"], true);
}

#[test]
fn columns_of_one_side_are_told_and_not_compared() {
    let desk = Desk::new();
    // Which of the two rows of 1 wins must not hang on a column that only A has.
    let more = [("more", texts(&["z", "a", "b"])), ("y", texts(&["1", "2", "3"]))];
    side(&desk, "a.parquet", &[&[ids(&[1, 1, 2])], &more[..]].concat());
    let other = [("y", texts(&["1", "2", "3"])), ("other", texts(&["p", "q", "r"]))];
    side(&desk, "b.parquet", &[&[ids(&[1, 1, 2])], &other[..]].concat());
    let report = desk.report(0, "diff a.parquet b.parquet --key id");
    assert_eq!(report["compared"], json!(["id", "y"]));
    assert_eq!(
        (&report["a"]["columns_only_here"], &report["b"]["columns_only_here"]),
        (&json!(["more"]), &json!(["other"]))
    );
    assert!(desk.run("diff a.parquet b.parquet --key id").out.contains("only here, not compared: more"));
    let ran = desk.run("diff a.parquet b.parquet --key more");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("column `more`") && ran.err.contains("only A does"), "{}", ran.err);
    // An order that only one side knows still decides there.
    let report = desk.report(65, "diff a.parquet b.parquet --key id --order \"more DESC NULLS LAST\"");
    assert_eq!(report["keys"]["columns"], json!({ "y": 1 }));
}

#[test]
fn types_that_differ_are_cast_or_refused() {
    let desk = Desk::new();
    let short: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    side(&desk, "a.parquet", &[("id", short), ("x", texts(&["1", "2"]))]);
    side(&desk, "b.parquet", &[ids(&[1, 2]), ("x", texts(&["1", "2"]))]);
    let report = desk.report(0, "diff a.parquet b.parquet --key id");
    assert_eq!((&report["casts"], number(&report, "/keys/same")), (&json!({ "id": "Int64" }), 2));
    side(&desk, "b.parquet", &[ids(&[1, 2]), ("x", Arc::new(Int64Array::from(vec![1, 2])))]);
    let ran = desk.run("diff a.parquet b.parquet --key id --quiet");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("column `x`") && ran.err.contains("it is Utf8 in A and Int64 in B"), "{}", ran.err);
    assert_eq!(desk.report(0, "diff a.parquet b.parquet --key id --volatile x")["compared"], json!(["id"]));
    assert_eq!(desk.run("diff a.parquet b.parquet --key x --volatile id").code, 2);
}

#[test]
fn nested_columns_are_compared() {
    let desk = Desk::new();
    let nested = |numbers: [f64; 3], last: Option<f64>| -> Vec<(&str, ArrayRef)> {
        let lists = [Some(vec![Some(numbers[0]), None]), None, Some(vec![]), Some(vec![last])];
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
        let inner: ArrayRef = Arc::new(Float64Array::from(vec![numbers[1], 1.0, numbers[2], 2.0]));
        let field = Arc::new(Field::new("inner", DataType::Float64, true));
        let object = StructArray::new(vec![Arc::clone(&field)].into(), vec![inner], None);
        let offsets = OffsetBuffer::from_lengths([1, 0, 2, 1]);
        let objects = ListArray::new(
            Arc::new(Field::new("item", object.data_type().clone(), true)),
            offsets,
            Arc::new(object),
            None,
        );
        vec![ids(&[1, 2, 3, 4]), ("list", list), ("objects", Arc::new(objects))]
    };
    side(&desk, "a.parquet", &nested([-0.0, 0.0, 5.0], None));
    side(&desk, "b.parquet", &nested([0.0, -0.0, 5.0], None));
    assert_eq!(number(&desk.report(0, "diff a.parquet b.parquet --key id"), "/keys/same"), 4);
    side(&desk, "b.parquet", &nested([0.0, 0.0, 6.0], Some(0.0)));
    let report = desk.report(65, "diff a.parquet b.parquet --key id");
    assert_eq!(report["keys"]["columns"], json!({ "list": 1, "objects": 1 }), "{report:#}");
    assert_eq!(number(&report, "/keys/same"), 2);
}

/// The rows of all Parquet files in a folder.
fn rows_in(desk: &Desk, folder: &str) -> RecordBatch {
    let mut batches = Vec::new();
    for name in desk.files(folder) {
        let file = File::open(desk.path(folder).join(name)).unwrap();
        batches.extend(ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap));
    }
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[test]
fn a_lake_is_compared_with_the_files_it_was_made_of() {
    let desk = Desk::new();
    desk.report(0, "backfill fixtures/demo --warehouse lake");
    let report = desk.report(0, "diff fixtures/demo lake");
    assert_eq!((number(&report, "/keys/same"), number(&report, "/a/duplicates/exact")), (9_685, 17_436));
    assert_eq!((number(&report, "/a/read"), number(&report, "/b/read")), (27_240, 9_685));
    assert_eq!(report["days"].as_object().unwrap().len(), 21);
    // The table by itself, and both sides a table.
    assert_eq!(number(&desk.report(0, "diff lake/trades lake"), "/b/version"), 1);
    // The same without a contract.
    desk.report(0, "dedup \"fixtures/demo/*.parquet\" -o clean");
    desk.report(0, "backfill clean --warehouse other");
    let plain = format!("diff other/trades other {TRADES}");
    assert_eq!(desk.report(0, &plain)["not_compared"], json!(["source_run", "fetched_at"]));
    let keys = number(&desk.report(0, "diff clean other"), "/keys/same");
    assert_eq!(desk.report(0, &plain)["keys"]["same"], keys);

    let rows = rows_in(&desk, "clean");
    let all_but = UInt64Array::from_iter_values((0..rows.num_rows() as u64).filter(|row| *row != 1_234));
    std::fs::create_dir(desk.path("less")).unwrap();
    write(&desk.path("less/rows.parquet"), &[take_record_batch(&rows, &all_but).unwrap()], 1_000);
    let cell = |name: &str| rows.column_by_name(name).unwrap().slice(1_234, 1);
    let report = desk.report(65, "diff less other");
    assert_eq!(report["keys"], json!({ "only_a": 0, "only_b": 1, "same": keys - 1, "different": 0, "columns": {} }));
    let text = |name: &str| arrow::util::display::array_value_to_string(&cell(name), 0).unwrap().to_lowercase();
    let gone = json!([[text("wallet_address"), text("tx_hash"), text("order_hash")]]);
    assert_eq!(report["examples"]["only_b"], gone);
}

#[test]
fn what_can_not_be_compared_is_refused() {
    let desk = Desk::new();
    side(&desk, "a.parquet", &[ids(&[1])]);
    // What is no Parquet is compared as it is, too.
    desk.write("a.csv", "id\n1\n");
    desk.write("b.ndjson", "{\"id\":1}\n{\"id\":2}\n");
    desk.report(0, "diff a.parquet a.csv --key id");
    assert_eq!(desk.report(65, "diff a.csv b.ndjson --key id")["keys"]["only_b"], 1);
    desk.report(0, "backfill fixtures/dome_page.json --warehouse lake");
    for (arguments, why) in [
        ("diff a.parquet missing --key id", "there is no such file or folder"),
        ("diff lake lake --dataset markets", "it has no table `markets`"),
        ("diff a.parquet fixtures/dome_page.json --key id --volatile x", "column `x`"),
        ("diff a.parquet a.parquet --key nothing", "column `nothing`"),
    ] {
        let ran = desk.run(&format!("{arguments} --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.contains(why) && ran.err.contains("hint:"), "{arguments}: {}", ran.err);
    }
}

#[test]
fn duckdb_counts_the_same() {
    let desk = Desk::new();
    let recipe = Recipe { odd_share: 0.5, ..Recipe::new(Profile::Rerun, 30_000, 3) };
    generate(&recipe, &desk.path("a")).unwrap();
    std::fs::create_dir(desk.path("b")).unwrap();
    let script = super::project("tests/oracle/diff.py").display().to_string();
    let [a, b] = ["a/*.parquet", "b/rows.parquet"].map(|name| desk.path(name).display().to_string());
    says(&[&script, "change", &a, &b]);
    let counted: Value = serde_json::from_str(&says(&[&script, "count", &a, &b])).unwrap();
    // As they are: to fold keys is the landing's business.
    let report = desk.report(65, &format!("diff a b {TRADES}"));
    let mut told = report["keys"].clone();
    told["days"] = report["days"].clone();
    assert_eq!(told, counted, "{report:#}");
    for name in ["/only_a", "/only_b", "/same", "/different", "/columns/price", "/columns/title", "/columns/timestamp"]
    {
        assert!(number(&counted, name) > 0, "{name} in {counted:#}");
    }
    assert!(number(&report, "/a/duplicates/conflict") > 0 && number(&report, "/b/duplicates/superseded") > 0);
}

#[test]
fn memory_is_bounded() {
    let desk = Desk::new();
    // Records of both sides take more than the memory; half of all keys are on both sides and differ in a column.
    let numbers = |ids: std::ops::Range<i64>, x: i64| -> Vec<(&str, ArrayRef)> {
        let other: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id * x)));
        vec![("id", Arc::new(Int64Array::from_iter_values(ids))), ("x", other)]
    };
    for (name, columns) in [("a", numbers(1..1_000_001, 3)), ("b", numbers(500_001..1_500_001, 4))] {
        let columns = RecordBatch::try_from_iter(columns).unwrap();
        write(&desk.path(&format!("{name}.parquet")), &[columns], 100_000);
    }
    let memory_bytes = 32_000_000;
    let [a, b] = ["a.parquet", "b.parquet"].map(|name| desk.path(name).display().to_string());
    let (report, peak_bytes) = measured(&desk, &format!("diff {a} {b} --key id --memory {memory_bytes} --threads 2"));
    println!("{peak_bytes} bytes, {} spilled", number(&report, "/spilled_bytes"));
    assert!(number(&report, "/spilled_bytes") > memory_bytes, "{report:#}");
    assert!(peak_bytes < memory_bytes + 500_000_000, "{peak_bytes} bytes");
    let half = 500_000;
    let columns = json!({ "x": half });
    assert_eq!(
        report["keys"],
        json!({ "only_a": half, "only_b": half, "same": 0, "different": half, "columns": columns })
    );
}
