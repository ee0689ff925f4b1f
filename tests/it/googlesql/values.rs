//! The values of a column are the same texts in both engines, and rows are of the same days.

use super::{Judge, columns, random_tables, to_json};
use crate::rows::{self, odd, trades};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::datasource::MemTable;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::dedup::rule::{Row, Value};
use tradefold::engine::Engine;
use tradefold::sql::Dialect;
use tradefold::warehouse::Statements;
use tradefold::window::Day;

/// What a value reads as.
fn as_text(value: &Value, kind: &str) -> Option<String> {
    match (value, kind) {
        (Value::Null, _) => None,
        (Value::Int(int), "BOOL") => Some((*int == 1).to_string()),
        (Value::Int(int), "DATE") => Some(Day(*int as i32).to_string()),
        (Value::Int(int), _) => Some(int.to_string()),
        (Value::Text(text), _) => Some(text.clone()),
        (Value::Float(_), _) => panic!("engines write floats each in their way"),
    }
}

/// The same rows for GoogleSQL's evaluator, as the table `p.d.t`, and for DataFusion, as `t`.
fn tables(dataset: &Dataset, rows: &[Row]) -> (Json, Engine) {
    let kinds = columns(dataset);
    let cells: Vec<Vec<Json>> = rows.iter().map(|row| row.iter().zip(&kinds).map(to_json).collect()).collect();
    let there = json!({ "p.d.t": { "columns": kinds, "rows": cells } });
    let engine = rows::engine(1);
    let batch = rows::batch(dataset, rows);
    let here = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    engine.context().register_table("t", Arc::new(here)).unwrap();
    (there, engine)
}

#[test]
fn both_engines_count_the_same_rows_by_day() {
    let (mut judge, dataset) = (Judge::start(), trades());
    let rows: Vec<Row> = random_tables(&dataset, 50).concat();
    let (there, engine) = tables(&dataset, &rows);
    let at = columns(&dataset).iter().position(|(name, _)| dataset.partition.as_deref() == Some(name)).unwrap();
    let days = rows.iter().filter_map(|row| match row[at] {
        Value::Int(us) => Some(Day::of_us(us)),
        _ => None,
    });
    let mut all: BTreeMap<Day, i64> = BTreeMap::new();
    days.for_each(|day| *all.entry(day).or_default() += 1);
    assert!(all.len() > 1, "{all:?}");
    // From the first day, and from the last.
    for from in [all.first_key_value(), all.last_key_value()].map(|entry| *entry.unwrap().0) {
        let expected: BTreeMap<Day, i64> = all.range(from..).map(|(day, rows)| (*day, *rows)).collect();
        let sql = |dialect, target| {
            let (dataset, staged, witnesses, day) = (&dataset, target, target, None);
            Statements { dataset, dialect, target, staged, witnesses, day }.rows_by_day(from).unwrap()
        };
        let sent = sql(Dialect::GoogleSql, "`p.d.t`");
        let answer = judge.ask(&json!({ "op": "query", "sql": sent, "tables": there }));
        let said = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let said = said.iter().map(|row| (row[0].as_str().unwrap().to_string(), row[1].as_i64().unwrap()));
        let said: BTreeMap<Day, i64> = said.map(|(day, rows)| (Day::try_from(day).unwrap(), rows)).collect();
        assert_eq!(said, expected, "GoogleSQL: {sent}");

        let sent = sql(Dialect::DataFusion, "\"t\"");
        let mut said = BTreeMap::new();
        for batch in rows::runtime().block_on(engine.collect(&sent)).unwrap() {
            for pair in rows::cells(batch.column(0)).into_iter().zip(rows::cells(batch.column(1))) {
                let (Value::Int(day), Value::Int(count)) = pair else { panic!("{pair:?}") };
                said.insert(Day(day as i32), count);
            }
        }
        assert_eq!(said, expected, "DataFusion: {sent}");
    }
}

#[test]
fn both_engines_list_the_same_values_with_the_same_rows() {
    let mut judge = Judge::start();
    for (dataset, cases) in [
        (
            odd(),
            vec![
                ("second", None),
                ("second", Some(("open", "true"))),
                ("open", None),
                ("open", Some(("rank", "-1"))),
                ("rank", Some(("second", "it's \\ \"no\" `one`"))),
                ("day", Some(("open", "false"))),
                ("rank", Some(("day", "2024-10-04"))),
            ],
        ),
        (trades(), vec![("title", None), ("order_hash", Some(("shares", "7"))), ("id", Some(("title", "")))]),
    ] {
        let (rows, kinds) = (random_tables(&dataset, 50).concat(), columns(&dataset));
        let (there, engine) = tables(&dataset, &rows);
        for (column, equals) in cases {
            let at = |name: &str| kinds.iter().position(|(other, _)| other == name).unwrap();
            let text = |row: &Row, name: &str| as_text(&row[at(name)], kinds[at(name)].1);
            let mut expected: BTreeMap<String, i64> = BTreeMap::new();
            for row in rows.iter().filter(|row| equals.is_none_or(|(name, is)| text(row, name).as_deref() == Some(is)))
            {
                text(row, column).into_iter().for_each(|value| *expected.entry(value).or_default() += 1);
            }
            assert!(expected.len() > 1, "{column} {equals:?}: {expected:?}");

            let sql = |dialect, target| {
                let (staged, witnesses, day) = (target, target, None);
                let looks = Statements { dataset: &dataset, dialect, target, staged, witnesses, day };
                looks.values(column, equals).unwrap()
            };
            let sent = sql(Dialect::GoogleSql, "`p.d.t`");
            let answer = judge.ask(&json!({ "op": "query", "sql": sent, "tables": there }));
            let said = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
            let said = said.iter().map(|row| (row[0].as_str().unwrap().to_string(), row[1].as_i64().unwrap()));
            assert_eq!(said.collect::<BTreeMap<_, _>>(), expected, "GoogleSQL: {sent}");

            let sent = sql(Dialect::DataFusion, "\"t\"");
            let mut said = BTreeMap::new();
            for batch in rows::runtime().block_on(engine.collect(&sent)).unwrap() {
                let texts = rows::cells(&cast(batch.column(0), &DataType::Utf8).unwrap());
                for pair in texts.into_iter().zip(rows::cells(batch.column(1))) {
                    let (Value::Text(text), Value::Int(count)) = pair else { panic!("{pair:?}") };
                    said.insert(text, count);
                }
            }
            assert_eq!(said, expected, "DataFusion: {sent}");
        }
    }
}
