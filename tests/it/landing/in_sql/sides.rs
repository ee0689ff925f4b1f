//! The sides that are compared: landing and dedup here, an emulator of BigQuery, and GoogleSQL's own evaluator.

use super::super::{Result, parquet};
use super::cells::Table;
use crate::googlesql::Judge;
use crate::rows;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::{Witness, place};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tradefold::dataset::{ColumnType, Dataset};
use tradefold::dedup::rule::{Row, Value};
use tradefold::landing::{InSql, Landed, LandingOptions, OUTSIDE, land};
use tradefold::progress::Silent;
use tradefold::source::discover;
use tradefold::storage::Folder;
use tradefold::warehouse::bigquery::Place;
use tradefold::window::Day;

/// What a landing comes to.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub read: u64,
    pub outside: u64,
    pub reasons: BTreeMap<String, u64>,
    /// The rows that landed, as text and sorted.
    pub landed: Vec<String>,
}

/// Fails with the first difference.
pub fn same(here: &Outcome, there: &Outcome, who: &str, sql: &InSql) {
    if here == there {
        return;
    }
    let only = |one: &[String], other: &[String]| {
        one.iter().filter(|row| !other.contains(row)).take(3).cloned().collect::<Vec<_>>()
    };
    panic!(
        "{who}\nhere {:?} {} {}\nthere {:?} {} {}\nonly here {:#?}\nonly there {:#?}\n{}",
        here.reasons,
        here.outside,
        here.landed.len(),
        there.reasons,
        there.outside,
        there.landed.len(),
        only(&here.landed, &there.landed),
        only(&there.landed, &here.landed),
        sql.judged("`p.d.t`").unwrap()
    );
}

fn lines(rows: &[Row]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    lines.sort_unstable();
    lines
}

/// Landed here.
pub struct Here {
    pub landed: Landed,
    pub outcome: Outcome,
    _dir: TempDir,
}

impl Here {
    pub async fn land(dataset: &Dataset, table: &Table, options: &LandingOptions) -> Result<Here> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("a.parquet");
        std::fs::write(&file, parquet(table.arrays())?)?;
        let inputs = discover(&[file.display().to_string()], &[]).await?;
        let into = Folder::open(&dir.path().join("out").display().to_string(), &[])?;
        let landed = land(dataset, &inputs, &into, options, &Silent).await.map_err(|error| error.render())?;
        let mut rows = Vec::new();
        for file in &landed.files {
            let file = std::fs::File::open(url::Url::parse(&file.url)?.to_file_path().map_err(|()| "no path")?)?;
            for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
                rows.extend(rows_of(dataset, &batch?));
            }
        }
        let outcome = Outcome {
            read: landed.counts.read,
            outside: landed.counts.outside,
            reasons: landed.rejects_by_reason.clone(),
            landed: lines(&rows),
        };
        Ok(Here { landed, outcome, _dir: dir })
    }
}

/// The rows of a batch that has the contract's columns in any order, or lacks some.
pub fn rows_of(dataset: &Dataset, batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| match batch.column_by_name(name) {
        Some(column) => rows::cells(column),
        None => vec![Value::Null; batch.num_rows()],
    };
    let columns: Vec<Vec<Value>> = dataset.column_names().map(column).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// A value of either engine.
fn value_of(kind: ColumnType, json: Option<&Json>) -> Value {
    let Some(json) = json.filter(|json| !json.is_null()) else { return Value::Null };
    let as_text = json.as_str().map_or_else(|| json.to_string(), str::to_string);
    match kind {
        ColumnType::String | ColumnType::Json => Value::Text(json.as_str().unwrap().into()),
        ColumnType::Float64 => Value::Float(as_text.parse().unwrap()),
        ColumnType::Bool => Value::Int(i64::from(as_text.parse::<bool>().unwrap())),
        ColumnType::Date => Value::Int(i64::from(Day::try_from(as_text).unwrap().0)),
        ColumnType::Int64 | ColumnType::Timestamp => Value::Int(as_text.parse().unwrap()),
    }
}

fn outcome(counts: &[(Option<String>, u64)], landed: &[Row]) -> Outcome {
    let mut outcome = Outcome { landed: lines(landed), ..Outcome::default() };
    for (reason, rows) in counts {
        outcome.read += rows;
        match reason.as_deref() {
            None => assert_eq!(*rows, landed.len() as u64, "rows that land"),
            Some(OUTSIDE) => outcome.outside += rows,
            Some(reason) => drop(outcome.reasons.insert(reason.to_string(), *rows)),
        }
    }
    outcome
}

/// GoogleSQL's evaluator.
pub struct Judged {
    judge: Judge,
}

impl Judged {
    pub fn new() -> Judged {
        Judged { judge: Judge::start() }
    }

    /// Runs a statement over a table. Gives its rows as objects.
    pub fn run(&mut self, sql: &str, tables: &Json) -> Vec<Json> {
        let answer = self.judge.ask(&json!({ "op": "query", "sql": sql, "tables": tables }));
        let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}\n{sql}"));
        let names: Vec<&str> =
            answer["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let object = |row: &Json| {
            let cells = row.as_array().unwrap().iter().cloned();
            names.iter().map(|name| name.to_string()).zip(cells).filter(|(_, cell)| !cell.is_null()).collect()
        };
        rows.iter().map(|row| Json::Object(object(row))).collect()
    }

    pub fn land(&mut self, dataset: &Dataset, sql: &InSql, table: &Table) -> Outcome {
        let (tables, source) = table.for_judge();
        // Each statement takes long to plan.
        let (mut counts, mut landed) = (BTreeMap::new(), Vec::new());
        for row in self.run(&sql.judged(&source).unwrap(), &tables) {
            let reason = row["_reason"].as_str().map(str::to_string);
            *counts.entry(reason).or_default() += 1;
            landed.extend(row["_reason"].is_null().then_some(row));
        }
        let counts: Vec<_> = counts.into_iter().collect();
        outcome(&counts, &typed(dataset, &landed))
    }
}

fn counted(rows: &[Json]) -> Vec<(Option<String>, u64)> {
    let count = |row: &Json| (row["_reason"].as_str().map(str::to_string), row["_rows"].as_u64().unwrap());
    rows.iter().map(count).collect()
}

/// Rows with the contract's types.
pub fn typed(dataset: &Dataset, rows: &[Json]) -> Vec<Row> {
    let row = |row: &Json| dataset.columns.iter().map(|column| value_of(column.kind, row.get(&column.name))).collect();
    rows.iter().map(row).collect()
}

/// The emulator.
pub struct Emulator {
    pub witness: Witness,
    place: Place,
}

impl Emulator {
    pub async fn new() -> Emulator {
        Emulator { witness: Witness::new(servers()).await, place: place(servers()).await }
    }

    /// A name that no table has yet, quoted.
    pub fn name(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        format!("`{}`.`{}`.`t{number}`", self.place.project, self.place.dataset)
    }

    pub async fn make(&self, table: &Table) -> String {
        let name = self.name();
        for sql in table.statements(&name) {
            self.witness.run(&sql).await;
        }
        name
    }

    /// Lands a table there and here.
    pub async fn compare(&self, dataset: &Dataset, table: &Table, options: &LandingOptions, sql: &InSql) -> Result {
        let table = table.clone().coarse();
        let here = Here::land(dataset, &table, options).await?;
        let source = self.make(&table).await;
        same(&here.outcome, &self.land(dataset, sql, &source).await, "the emulator", sql);
        Ok(())
    }

    async fn land(&self, dataset: &Dataset, sql: &InSql, source: &str) -> Outcome {
        let counts = self.witness.run(&sql.counts(source).unwrap()).await;
        let landed = self.witness.run(&sql.landed(source).unwrap()).await;
        outcome(&counted(&counts), &typed(dataset, &landed))
    }
}
