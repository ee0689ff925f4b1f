//! R8: real GoogleSQL keeps the same rows as DataFusion, each by its rendering of the same contract.

mod values;

use crate::rows::{self, compared, odd, short, tables, trades};
use arrow::datatypes::DataType;
use datafusion::datasource::MemTable;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::dedup::Class;
use tradefold::dedup::rule::{Fate, Row, Value, fates};
use tradefold::sql::{self, Dialect, Exprs};
use tradefold::warehouse::bigquery::{Layout, Place, addition, ddl};
use tradefold::warehouse::{Finding, Statements};
use tradefold::window::Day;

/// The Python with the oracles: `make test` makes it and names it.
pub fn python() -> PathBuf {
    let named = std::env::var_os("TRADEFOLD_PYTHON").map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python"));
    assert!(path.is_file(), "{} is not there: `make test` makes the Python that this test needs", path.display());
    path
}

/// GoogleSQL in a process of its own. See tests/oracle/googlesql.py.
pub struct Judge {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    pub fn start() -> Judge {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/googlesql.py");
        let mut process = Command::new(python())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut judge = Judge { process, requests, answers };
        assert_eq!(judge.hear(), json!({ "ready": true }));
        judge
    }

    fn hear(&mut self) -> Json {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("GoogleSQL says: {line}"))
    }

    pub fn ask(&mut self, request: &Json) -> Json {
        writeln!(self.requests.as_mut().unwrap(), "{request}").unwrap();
        self.hear()
    }

    fn analyze(&mut self, sql: &str, tables: &[(&str, &Dataset)]) -> Json {
        let tables: serde_json::Map<_, _> =
            tables.iter().map(|(name, dataset)| (name.to_string(), json!({ "columns": columns(dataset) }))).collect();
        self.ask(&json!({ "op": "analyze", "sql": sql, "tables": tables }))
    }

    /// What the rendered query keeps of one table.
    fn kept(&mut self, dataset: &Dataset, sql: &str, table: &[Row]) -> Vec<Row> {
        let kinds = columns(dataset);
        let rows: Vec<Vec<Json>> = table.iter().map(|row| row.iter().zip(&kinds).map(to_json).collect()).collect();
        let tables = json!({ "p.d.t": { "columns": kinds, "rows": rows } });
        let answer = self.ask(&json!({ "op": "query", "sql": sql, "tables": tables }));
        assert!(answer.get("rows").is_some(), "{answer}");
        let row = |cells: &Json| cells.as_array().unwrap().iter().zip(&kinds).map(from_json).collect();
        answer["rows"].as_array().unwrap().iter().map(row).collect()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It ends when its stdin does.
        self.requests = None;
        let _ = self.process.wait();
    }
}

/// A dataset's columns as GoogleSQL calls them.
fn columns(dataset: &Dataset) -> Vec<(String, &'static str)> {
    let kind = |kind: &DataType| match kind {
        DataType::Utf8 => "STRING",
        DataType::Int64 => "INT64",
        DataType::Float64 => "FLOAT64",
        DataType::Boolean => "BOOL",
        DataType::Date32 => "DATE",
        _ => "TIMESTAMP",
    };
    dataset.schema().fields().iter().map(|field| (field.name().clone(), kind(field.data_type()))).collect()
}

fn to_json((value, (_, kind)): (&Value, &(String, &str))) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(int) if *kind == "BOOL" => json!(*int == 1),
        Value::Int(int) if *kind == "DATE" => json!(Day(*int as i32).to_string()),
        Value::Int(int) => json!(int),
        Value::Float(float) => json!(float),
        Value::Text(text) => json!(text),
    }
}

fn from_json((value, (_, kind)): (&Json, &(String, &str))) -> Value {
    match (value, *kind) {
        (Json::Null, _) => Value::Null,
        (value, "STRING") => rows::text(value.as_str().unwrap()),
        (value, "FLOAT64") => Value::Float(value.as_f64().unwrap()),
        (value, "BOOL") => Value::Int(i64::from(value.as_bool().unwrap())),
        (value, "DATE") => Value::Int(i64::from(Day::try_from(value.as_str().unwrap().to_string()).unwrap().0)),
        (value, _) => Value::Int(value.as_i64().unwrap()),
    }
}

/// Random tables, the same ones each time. The first column, which is in the key, says which table a row is of, so that
/// one query can dedup them all.
fn random_tables(dataset: &Dataset, count: usize) -> Vec<Vec<Row>> {
    let mut runner = TestRunner::deterministic();
    let strategy = tables(dataset, 12);
    let mut table = |number: usize| {
        let mut rows = strategy.new_tree(&mut runner).unwrap().current();
        for row in &mut rows {
            row[0] = match &row[0] {
                Value::Text(wallet) => Value::Text(format!("{number} {wallet}")),
                _ => Value::Int(number as i64),
            };
        }
        rows
    };
    (0..count).map(&mut table).collect()
}

/// What DataFusion keeps of each table.
fn kept_by_datafusion(dataset: &Dataset, tables: &[Vec<Row>]) -> Vec<Vec<Row>> {
    let batch = rows::batch(dataset, &tables.concat());
    let engine = rows::engine(2);
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    engine.context().register_table("t", Arc::new(table)).unwrap();
    let sql = sql::dedup(dataset, Dialect::DataFusion, "\"t\"").unwrap();
    let kept = rows::runtime().block_on(engine.collect(&sql)).unwrap();
    let mut by_table: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for row in kept.iter().flat_map(|batch| rows::values(dataset, batch)) {
        let number = match &row[0] {
            Value::Text(wallet) => wallet.split_once(' ').unwrap().0.parse().unwrap(),
            Value::Int(number) => *number as usize,
            other => panic!("{other:?} names no table"),
        };
        by_table.entry(number).or_default().push(row);
    }
    by_table.into_values().collect()
}

/// How many of the random tables the two engines dedup differently, and the first of them.
fn differences(here: &Dataset, there: &Dataset, count: usize) -> (usize, String) {
    let tables = random_tables(here, count);
    let kept_here = kept_by_datafusion(here, &tables);
    assert_eq!(kept_here.len(), count);
    let sql = sql::dedup(there, Dialect::GoogleSql, "`p.d.t`").unwrap();
    let mut judge = Judge::start();
    let mut losers = 0;
    let (mut differ, mut first) = (0, String::new());
    for (table, here_kept) in tables.iter().zip(&kept_here) {
        let there_kept = judge.kept(there, &sql, table);
        losers += table.len() - there_kept.len();
        if compared(here, here_kept) != compared(here, &there_kept) {
            differ += 1;
            if differ == 1 {
                first = format!("of {table:#?}\nDataFusion kept {here_kept:#?}\nGoogleSQL kept {there_kept:#?}");
            }
        }
    }
    assert!(losers > count, "tables without duplicates prove nothing");
    (differ, first)
}

#[test]
fn r8_both_engines_keep_the_same_trades() {
    let (differ, first) = differences(&trades(), &trades(), 1_000);
    assert_eq!(differ, 0, "{first}");
}

#[test]
fn r8_both_engines_keep_the_same_rows_of_an_odd_contract() {
    let (differ, first) = differences(&odd(), &odd(), 300);
    assert_eq!(differ, 0, "{first}");
}

/// The check can fail: one NULLS clause the other way, and the engines differ.
#[test]
fn r8_is_a_check_that_sees_a_difference() {
    let mut there = trades();
    there.order[1].nulls_first = true;
    assert_ne!(differences(&trades(), &there, 100).0, 0);
}

#[test]
fn googlesql_accepts_every_statement_for_bigquery() {
    let mut judge = Judge::start();
    let days: BTreeSet<Day> = [Day(20_367), Day(20_368)].into();
    let mut immutable = trades();
    immutable.immutable = true;
    for dataset in [trades(), immutable, odd(), short()] {
        let merge = sql::merge_bigquery(&dataset, "`p.d.t`", "`p.d.staged`", &days).unwrap();
        let dedup = sql::dedup(&dataset, Dialect::GoogleSql, "`p.d.staged`").unwrap();
        let (target, staged, witnesses) = ("`p.d.t`", "`p.d.staged`", "`p.d.staged`");
        let dialect = Dialect::GoogleSql;
        let looks = Statements { dataset: &dataset, dialect, target, staged, witnesses, day: None };
        let mut all = vec![merge.clone(), dedup];
        for look in [
            Statements::compare,
            Statements::suspect_witnesses,
            Statements::verify,
            Statements::key_search,
            Statements::repeated,
        ] {
            all.push(look(&looks, &days).unwrap());
        }
        all.extend(looks.unfolded(&days).unwrap());
        for finding in [Finding::Conflict, Finding::Suspect, Finding::Redated, Finding::Repeated, Finding::Unfolded] {
            all.push(looks.rows_of(&days, finding).unwrap());
        }
        all.extend(
            [
                looks.audit(),
                looks.suspect_keys(),
                looks.whole_rows(&days),
                looks.rows_by_day(Day(20_367)),
                looks.all_of(dataset.column_names().take(2)),
            ]
            .map(Result::unwrap),
        );
        all.extend(dataset.column_names().map(|name| looks.values(name, Some((name, "it's"))).unwrap()));
        all.extend([true, false].map(|has_witnesses| looks.counts_at_once(&days, has_witnesses).unwrap()));
        let place = Place { project: "p".into(), dataset: "d".into() };
        for is_unpartitioned in [true, false] {
            let layout = Layout { is_unpartitioned, requires_partition_filter: true };
            all.push(ddl(&dataset, &place, layout).unwrap());
        }
        let names: Vec<&str> = dataset.column_names().collect();
        all.push(addition("`p.d.t`", &dataset, &names).unwrap());
        // What stands for witnesses where there are none.
        let nobody = "(SELECT * FROM `p.d.staged` WHERE FALSE)";
        all.push(Statements { witnesses: nobody, ..looks }.rows_of(&days, Finding::Suspect).unwrap());
        for sql in &all {
            let answer = judge.analyze(sql, &[("p.d.t", &dataset), ("p.d.staged", &dataset)]);
            assert_eq!(answer, json!({ "ok": true }), "{sql}");
        }
        // A column that the target does not have.
        let answer =
            judge.analyze(&merge.replace("source_run", "nope"), &[("p.d.t", &dataset), ("p.d.staged", &dataset)]);
        assert!(answer["error"].as_str().unwrap().contains("nope"), "{answer}");
        // An alias that is a column's name, too.
        let hasty = merge.replace("_t", "t");
        let answer = judge.analyze(&hasty, &[("p.d.t", &dataset), ("p.d.staged", &dataset)]);
        assert_eq!(answer["error"].is_string(), dataset.column("t").is_some(), "{answer} {hasty}");
    }
}

/// The audit's one statement counts as the rule does.
#[test]
fn an_audit_in_googlesql_counts_keys_and_losers_by_class() {
    for dataset in [trades(), odd()] {
        let looks = Statements {
            dataset: &dataset,
            dialect: Dialect::GoogleSql,
            target: "`p.d.t`",
            staged: "`p.d.t`",
            witnesses: "`p.d.t`",
            day: None,
        };
        let without = |row: &Row| {
            dataset.key.iter().any(|part| {
                let parts = part.columns().map(|name| dataset.column_names().position(|other| other == name).unwrap());
                !part.is_never_null() && parts.into_iter().all(|at| row[at] == Value::Null)
            })
        };
        let rows: Vec<Row> = random_tables(&dataset, 100).concat().into_iter().filter(|row| !without(row)).collect();
        let rows = [&rows[..], &rows[..50]].concat();
        let fates = fates(&dataset, &rows);
        let count = |fate: Fate| fates.iter().filter(|other| **other == fate).count() as i64;
        let losers = [Class::Exact, Class::Superseded, Class::Conflict].map(|class| count(Fate::Loser(class)));
        let expected = [rows.len() as i64, count(Fate::Winner), losers[0], losers[1], losers[2], 0];
        assert!(expected[..5].iter().all(|count| *count > 0), "{expected:?}");
        let kinds = columns(&dataset);
        let cells: Vec<Vec<Json>> = rows.iter().map(|row| row.iter().zip(&kinds).map(to_json).collect()).collect();
        let tables = json!({ "p.d.t": { "columns": kinds, "rows": cells } });
        let sql = looks.audit().unwrap();
        let answer = Judge::start().ask(&json!({ "op": "query", "sql": sql, "tables": tables }));
        let days = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let sums: Vec<i64> = (1..7).map(|at| days.iter().map(|day| day[at].as_i64().unwrap()).sum()).collect();
        assert_eq!(sums, expected, "{sql}");
    }
}

/// GoogleSQL can't execute a MERGE here, but it can say which rows one would update.
#[test]
fn r6_a_row_is_higher_in_both_engines_where_the_rule_says_so() {
    for dataset in [trades(), odd()] {
        // Both rows of a pair get the key of the first, as rows have that meet in a MERGE.
        let in_key = |name: &str| dataset.key.iter().any(|part| part.columns().any(|column| column == name));
        let keys: Vec<bool> = dataset.column_names().map(in_key).collect();
        let pair = |table: Vec<Row>| -> [Row; 2] {
            let (one, other) = (&table[0], &table[table.len() - 1]);
            let mixed = keys.iter().enumerate().map(|(i, key)| if *key { one[i].clone() } else { other[i].clone() });
            [one.clone(), mixed.collect()]
        };
        let pairs: Vec<[Row; 2]> = random_tables(&dataset, 300).into_iter().map(pair).collect();
        let lower = |pair: &&[Row; 2]| fates(&dataset, *pair)[1] == Fate::Loser(Class::Superseded);
        // The first column has a value of its own for each pair.
        let mut expected: Vec<Value> = pairs.iter().filter(lower).map(|pair| pair[0][0].clone()).collect();
        expected.sort_by_key(|value| format!("{value:?}"));
        assert!((50..250).contains(&expected.len()), "{} of 300 are higher", expected.len());

        let sql = |dialect: Dialect, s: &str, t: &str| {
            let exprs = Exprs { dataset: &dataset, dialect };
            let name = dataset.column_names().next().unwrap();
            let (one, other) = (exprs.column("s", name).unwrap(), exprs.column("t", name).unwrap());
            let higher = exprs.higher("s", "t").unwrap();
            format!("SELECT {one} AS one FROM {s} AS s JOIN {t} AS t ON {one} = {other} WHERE {higher}")
        };
        let sides = [0, 1].map(|side| pairs.iter().map(|pair| pair[side].clone()).collect::<Vec<Row>>());
        let (kinds, mut judge) = (columns(&dataset), Judge::start());
        let there = sides.each_ref().map(|rows| {
            let rows: Vec<Vec<Json>> = rows.iter().map(|row| row.iter().zip(&kinds).map(to_json).collect()).collect();
            json!({ "columns": kinds, "rows": rows })
        });
        let query = sql(Dialect::GoogleSql, "`p.d.s`", "`p.d.t`");
        let answer =
            judge.ask(&json!({ "op": "query", "sql": query, "tables": { "p.d.s": there[0], "p.d.t": there[1] } }));
        let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let mut said: Vec<Value> = rows.iter().map(|row| from_json((&row[0], &kinds[0]))).collect();
        said.sort_by_key(|value| format!("{value:?}"));
        assert_eq!(said, expected, "GoogleSQL");

        let engine = rows::engine(1);
        for (name, rows) in ["s", "t"].iter().zip(&sides) {
            let batch = rows::batch(&dataset, rows);
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            engine.context().register_table(*name, Arc::new(table)).unwrap();
        }
        let answer = rows::runtime().block_on(engine.collect(&sql(Dialect::DataFusion, "\"s\"", "\"t\""))).unwrap();
        let mut said: Vec<Value> = answer.iter().flat_map(|batch| rows::cells(batch.column(0))).collect();
        said.sort_by_key(|value| format!("{value:?}"));
        assert_eq!(said, expected, "DataFusion");
    }
}
