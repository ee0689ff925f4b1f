//! Two random data sets compared in maps, row by row, differ as `diff` says, however their rows lie in files.

use crate::rows::{batch, engine, odd, runtime, tables, trades, write};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tradefold::dataset::{Dataset, StandIn};
use tradefold::dedup::rule::{Row, Value, survivors};
use tradefold::diff::{Differences, KeyDifferences, SideCount, common_schema, common_type, diff};
use tradefold::engine::DataFile;
use tradefold::progress::Silent;
use tradefold::window::Day;

fn cell<'a>(dataset: &Dataset, row: &'a Row, name: &str) -> &'a Value {
    &row[dataset.schema().index_of(name).unwrap()]
}

/// The key of a row with its stand-ins, as text.
fn key_of(dataset: &Dataset, row: &Row) -> String {
    let part = |part: &tradefold::dataset::KeyPart| {
        let stand_ins = part.stand_ins.iter().map(|stand_in| match stand_in {
            StandIn::Column(name) => cell(dataset, row, name).clone(),
            StandIn::Text(text) => Value::Text(text.clone()),
        });
        let own = std::iter::once(cell(dataset, row, &part.column).clone());
        own.chain(stand_ins).find(|value| *value != Value::Null).unwrap_or(Value::Null)
    };
    format!("{:?}", dataset.key.iter().map(part).collect::<Vec<_>>())
}

fn day_of(dataset: &Dataset, row: &Row) -> Option<Day> {
    match cell(dataset, row, dataset.partition.as_ref()?) {
        Value::Int(us) => Some(Day::of_us(*us)),
        _ => None,
    }
}

/// What the two have of each other, by day and in all.
fn naive(dataset: &Dataset, a: &[Row], b: &[Row]) -> (KeyDifferences, BTreeMap<Day, KeyDifferences>) {
    let by_key = |rows: &[Row]| -> HashMap<String, Row> {
        survivors(dataset, rows).into_iter().map(|row| (key_of(dataset, &row), row)).collect()
    };
    let (a, b) = (by_key(a), by_key(b));
    let (mut all, mut days) = (KeyDifferences::default(), BTreeMap::<Day, KeyDifferences>::new());
    let mut count = |row: &Row, add: &dyn Fn(&mut KeyDifferences)| {
        add(&mut all);
        if let Some(day) = day_of(dataset, row) {
            add(days.entry(day).or_default());
        }
    };
    for (key, row) in &a {
        let Some(other) = b.get(key) else {
            count(row, &|keys| keys.only_a += 1);
            continue;
        };
        let differs = |name: &&str| cell(dataset, row, name) != cell(dataset, other, name);
        let columns: Vec<&str> = dataset.compared().filter(differs).collect();
        count(row, &|keys| {
            keys.same += u64::from(columns.is_empty());
            keys.different += u64::from(!columns.is_empty());
            columns.iter().for_each(|name| *keys.columns.entry((*name).to_string()).or_default() += 1);
        });
    }
    for (_, row) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
        count(row, &|keys| keys.only_b += 1);
    }
    (all, days)
}

/// Rows as files of so many, in folders of their own.
fn lay_out(dataset: &Dataset, rows: &[Row], folder: &std::path::Path, per_file: usize) -> Vec<DataFile> {
    std::fs::create_dir_all(folder).unwrap();
    let chunks = rows.chunks(per_file).enumerate();
    chunks.map(|(at, rows)| write(&folder.join(format!("{at}.parquet")), &[batch(dataset, rows)], 3)).collect()
}

fn compare(dataset: &Dataset, a: &[DataFile], b: &[DataFile]) -> ([SideCount; 2], Differences) {
    let compared: Vec<&str> = dataset.compared().collect();
    runtime().block_on(diff(&engine(2), dataset, &compared, [a, b], &Silent)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn two_sets_differ_as_maps_say(
        (a, b) in (tables(&trades(), 30), tables(&trades(), 30)),
        (c, d) in (tables(&odd(), 30), tables(&odd(), 30)),
        per_file in 1..12usize,
    ) {
        for (dataset, a, b) in [(trades(), a, b), (odd(), c, d)] {
            let dir = tempfile::tempdir().unwrap();
            let files = [lay_out(&dataset, &a, &dir.path().join("a"), per_file), lay_out(&dataset, &b, &dir.path().join("b"), 7)];
            let (sides, found) = compare(&dataset, &files[0], &files[1]);
            let (all, days) = naive(&dataset, &a, &b);
            prop_assert_eq!(&found.keys, &all);
            prop_assert_eq!(&found.days, &days);
            for (side, rows) in sides.iter().zip([&a, &b]) {
                prop_assert_eq!((side.rows, side.keys), (rows.len() as u64, survivors(&dataset, rows).len() as u64));
                prop_assert_eq!(side.duplicates.total(), side.rows - side.keys);
            }
            prop_assert_eq!(found.examples.only_a.len() as u64, all.only_a.min(20));
            prop_assert_eq!(found.examples.only_b.len() as u64, all.only_b.min(20));
            let shown: u64 = found.examples.different.iter().map(|example| example.columns.len() as u64).sum();
            prop_assert!(all.different > 20 || shown == all.columns.values().sum::<u64>());

            // The same rows turned around and cut elsewhere are the same.
            let turned: Vec<Row> = a.iter().rev().cloned().collect();
            let other = lay_out(&dataset, &turned, &dir.path().join("turned"), 5);
            let (_, found) = compare(&dataset, &files[0], &other);
            prop_assert!(found.keys.is_none() && found.keys.same == sides[0].keys, "{:?}", found);
        }
    }
}

#[test]
fn types_meet_where_nothing_is_lost() {
    use DataType::*;
    let time = |unit, zone: Option<&str>| Timestamp(unit, zone.map(Arc::from));
    let list = |kind| List(Arc::new(Field::new("item", kind, true)));
    let texts = Dictionary(Box::new(Int32), Box::new(Utf8));
    let cases = [
        (Int32, Int64, Some(Int64)),
        (UInt32, Int8, Some(Int64)),
        (UInt64, Int64, Some(Decimal128(20, 0))),
        (Int32, Float64, Some(Float64)),
        (Int32, Float32, Some(Float64)),
        (Int64, Float64, None),
        (Float32, Float64, Some(Float64)),
        (Decimal128(10, 2), Decimal128(12, 6), Some(Decimal128(14, 6))),
        (Decimal128(38, 0), Decimal128(38, 30), Some(Decimal256(68, 30))),
        (Decimal128(10, 2), Int64, Some(Decimal128(21, 2))),
        (Decimal128(10, 2), Float64, None),
        (Utf8, LargeUtf8, Some(LargeUtf8)),
        (texts, Utf8, Some(Utf8)),
        (Utf8, Binary, None),
        (Utf8, Int64, None),
        (Null, Utf8, Some(Utf8)),
        (Date32, time(TimeUnit::Second, None), None),
        (time(TimeUnit::Second, None), time(TimeUnit::Nanosecond, None), Some(time(TimeUnit::Nanosecond, None))),
        (
            time(TimeUnit::Millisecond, None),
            time(TimeUnit::Microsecond, Some("UTC")),
            Some(time(TimeUnit::Microsecond, Some("UTC"))),
        ),
        (time(TimeUnit::Second, None), time(TimeUnit::Second, Some("+02:00")), None),
        (list(Int32), list(Int64), Some(list(Int64))),
        (list(Int32), list(Utf8), None),
    ];
    for (one, other, common) in cases {
        assert_eq!(common_type(&one, &other), common, "{one} and {other}");
        assert_eq!(common_type(&other, &one), common, "{other} and {one}");
    }
}

#[test]
fn columns_of_one_side_are_named() {
    let schema = |fields: &[(&str, DataType)]| {
        Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), false)).collect::<Vec<_>>())
    };
    let a = schema(&[("id", DataType::Int32), ("x", DataType::Utf8), ("left", DataType::Utf8)]);
    let b = schema(&[("right", DataType::Utf8), ("x", DataType::Utf8), ("id", DataType::Int64)]);
    let common = common_schema(&a, &b);
    assert_eq!(common.only, [vec!["left".to_string()], vec!["right".to_string()]]);
    assert_eq!(common.casts, BTreeMap::from([("id".to_string(), "Int64".to_string())]));
    let names: Vec<&str> = common.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "x", "left", "right"]);
}
