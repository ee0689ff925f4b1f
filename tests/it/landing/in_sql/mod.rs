//! Landing and deduplication in BigQuery give what they give here: the same rows go both ways.

mod cells;
mod reduced;
mod sides;

use super::Result;
use cells::{Cell, Table, column, nasty, text};
use fastrand::Rng;
use sides::{Emulator, Here, Judged, same};
use std::collections::BTreeMap;
use tradefold::dataset::Dataset;
use tradefold::error::Kind;
use tradefold::landing::{InSql, LandingOptions, SourceColumn, SourceType, in_sql};
use tradefold::window::{Window, parse_us};

const WIDE: &str = r#"
name = "wide"
key = ["k", "COALESCE(o, i, 'none')"]
order = ["ts DESC NULLS LAST", "n ASC NULLS FIRST"]
fixed = ["ts", "n"]
identity = [{ column = "id" }, { column = "seq", when_null = "o" }]
volatile = ["run"]
partition = "ts"
column = [
  { name = "k", type = "string", format = "hex", from = ["user", "owner"] },
  { name = "o", type = "string" },
  { name = "i", type = "string" },
  { name = "ts", type = "timestamp", unit = "s", min = "2020-01-01T00:00:00Z" },
  { name = "n", type = "int64", min = -5, max = 100 },
  { name = "f", type = "float64", min = -1.5, max = 2.5 },
  { name = "b", type = "bool" },
  { name = "d", type = "date", min = "2001-01-01", max = "2030-01-01" },
  { name = "w", type = "timestamp" },
  { name = "z", type = "timestamp", zone = "+02:00", max = "9999-12-31T21:59:59Z" },
  { name = "m", type = "timestamp", unit = "ms" },
  { name = "u", type = "timestamp", unit = "us" },
  { name = "a", type = "string", format = "decimal", from = ["amount"] },
  { name = "j", type = "json" },
  { name = "id", type = "string" },
  { name = "seq", type = "int64" },
  { name = "run", type = "string" },
]
"#;

/// Its key may be NULL, and its days are dates.
const DAILY: &str = r#"
name = "daily"
key = ["COALESCE(day, other_day)", "n", "flag"]
order = ["score ASC NULLS LAST", "day DESC NULLS LAST"]
fixed = ["score", "day"]
identity = [{ column = "flag" }, { column = "score" }, { column = "other_day" }]
partition = "day"
column = [
  { name = "day", type = "date", from = ["date"] },
  { name = "other_day", type = "date" },
  { name = "n", type = "int64", from = ["number"] },
  { name = "flag", type = "bool" },
  { name = "score", type = "float64" },
  { name = "title", type = "string" },
]
"#;
const TS: i64 = 1_760_000_000;

pub fn now_us() -> i64 {
    parse_us("2025-12-01").unwrap()
}

fn wide() -> Dataset {
    Dataset::from_toml(WIDE, "wide.toml").unwrap()
}

fn daily() -> Dataset {
    Dataset::from_toml(DAILY, "daily.toml").unwrap()
}

fn options() -> LandingOptions {
    LandingOptions { threads: 1, ..LandingOptions::new(now_us()) }
}

fn rendered(dataset: &Dataset, options: &LandingOptions, table: &[SourceColumn]) -> InSql {
    in_sql(dataset, options, table).unwrap().unwrap_or_else(|reasons| panic!("{reasons:?}"))
}

use SourceType::{Bool, Date, DateTime, Float, Int, Text, Timestamp};

/// The types from which each column of the contract may come here, the usual one first.
fn kinds(name: &str) -> Vec<SourceType> {
    match name {
        "k" | "user" | "o" | "i" | "id" | "title" => vec![Text, Int],
        "owner" => vec![Bool, Text, Float],
        "ts" => vec![Timestamp, Int, Float],
        "n" | "seq" | "number" => vec![Int, Text, Float],
        "f" | "score" => vec![Float, Int, Text, Date],
        "b" | "flag" => vec![Bool, Text],
        "d" => vec![Date, Timestamp],
        "day" | "other_day" | "date" => vec![Date],
        "w" => vec![Timestamp, Int, Float],
        "z" => vec![DateTime, Timestamp, Int, Date],
        "m" | "u" => vec![Int, Float, Timestamp, Bool],
        "a" | "amount" => vec![Text, Int, Float],
        "j" => vec![Bool, Int, Float],
        _ => vec![Text],
    }
}

/// A value that lands, from so few that keys repeat.
fn good(rng: &mut Rng, name: &str, kind: &SourceType) -> Cell {
    let ints = |ints: &[i64]| ints.iter().map(|int| Cell::Int(*int)).collect::<Vec<_>>();
    let seconds = [TS, TS, TS + 3_600, TS + 5_400, TS + 86_400];
    let values = match (name, kind) {
        ("k" | "user", Text) => ["0xA", "0xa", "0xb"].map(text).to_vec(),
        ("k" | "user", _) => ints(&[1, 2]),
        ("owner", Text) => vec![Cell::Null, text("0xC")],
        ("o", Text) => vec![Cell::Null, text(""), text("x")],
        ("o", _) => vec![Cell::Null, Cell::Int(7)],
        ("i", Text) => vec![Cell::Null, text("none"), text("ß")],
        ("ts", Timestamp) => ints(&seconds.map(|s| s * 1_000_000)),
        ("ts", Int) => ints(&seconds),
        ("ts", _) => seconds.map(|s| Cell::Float(s as f64)).to_vec(),
        ("n" | "number", Int) => vec![Cell::Int(1), Cell::Int(1), Cell::Int(2)],
        ("n" | "number", Text) => vec![text("1"), text("1.0"), text("2")],
        ("n" | "number", _) => vec![Cell::Float(1.0), Cell::Float(2.0)],
        ("f" | "score", Float) => vec![Cell::Null, Cell::Float(0.5), Cell::Float(0.0), Cell::Float(-0.0)],
        ("f" | "score", Int) => ints(&[0, 1]),
        ("f" | "score", Text) => vec![Cell::Null, text("0.5"), text(".50"), text("-0")],
        ("b" | "flag", Bool) => ints(&[0, 1]),
        ("b" | "flag", Text) => vec![text("true"), text("FALSE")],
        ("day" | "date", _) => ints(&[20_370, 20_371]),
        ("other_day", _) => vec![Cell::Null, Cell::Int(20_371)],
        ("a" | "amount", Text) => vec![Cell::Null, text("1"), text("1.0"), text("0.10e1")],
        ("id", Text) => vec![Cell::Null, Cell::Null, Cell::Null, text("e1"), text("e2")],
        ("seq", Int) => vec![Cell::Null, Cell::Null, Cell::Int(1), Cell::Int(2)],
        ("run", _) => vec![text("run-1"), text("run-2")],
        ("title", Text) => vec![Cell::Null, text("Rain?"), text("rain?")],
        _ => vec![Cell::Null],
    };
    values[rng.usize(..values.len())].clone()
}

/// A table whose types, columns and rows are drawn.
fn draw(rng: &mut Rng, dataset: &Dataset, rows: usize) -> Table {
    let mut columns = Vec::new();
    let first_of_key: Vec<&str> = dataset.key.iter().map(|part| part.column.as_str()).collect();
    for own in &dataset.columns {
        for (rank, name) in own.input_names().enumerate() {
            let is_needed = rank == 0 && first_of_key.contains(&name) || own.name == "ts";
            if !is_needed && rng.u8(..100) < if rank == 0 { 10 } else { 60 } {
                continue;
            }
            let kinds = kinds(name);
            let at = if rng.bool() { 0 } else { rng.usize(..kinds.len()) };
            columns.push(column(name, kinds[at].clone()));
        }
    }
    columns.push(column("Unknown", Text));
    rng.shuffle(&mut columns);
    let mut drawn: Vec<Vec<Cell>> = Vec::new();
    for number in 0..rows {
        if number > 0 && rng.u8(..100) < 15 {
            drawn.push(drawn[rng.usize(..number)].clone());
            continue;
        }
        let mut row: Vec<Cell> = columns.iter().map(|column| good(rng, &column.name, &column.kind)).collect();
        while rng.u8(..100) < 45 {
            let at = rng.usize(..row.len());
            let nasty = nasty(&columns[at].kind, now_us());
            row[at] = if rng.u8(..10) == 0 { Cell::Null } else { nasty[rng.usize(..nasty.len())].clone() };
        }
        drawn.push(row);
    }
    Table { columns, rows: drawn }
}

/// Every nasty value in every column, each in a row that would land without it; and no value at all.
fn one_by_one(dataset: &Dataset, columns: Vec<SourceColumn>) -> Table {
    let mut rng = Rng::with_seed(1);
    let mut rows = Vec::new();
    let base: Vec<Cell> = columns.iter().map(|column| good(&mut rng, &column.name, &column.kind)).collect();
    for (at, column) in columns.iter().enumerate() {
        for cell in nasty(&column.kind, now_us()).into_iter().chain([Cell::Null]) {
            let mut row = base.clone();
            row[at] = cell;
            rows.push(row);
        }
    }
    assert!(dataset.columns.iter().all(|own| columns.iter().any(|column| column.name == own.name)));
    Table { columns, rows }
}

/// All kinds that columns may have, in as many tables as that takes.
fn all_kinds(dataset: &Dataset) -> Vec<Table> {
    let widest = dataset.columns.iter().map(|column| kinds(&column.name).len()).max().unwrap();
    let table = |number: usize| {
        let columns = dataset.columns.iter().map(|own| {
            let kinds = kinds(&own.name);
            // The key and the time stay such that rows land.
            let at = if ["k", "ts"].contains(&own.name.as_str()) { number.min(1) } else { number };
            column(&own.name, kinds[at % kinds.len()].clone())
        });
        one_by_one(dataset, columns.collect())
    };
    (0..widest).map(table).collect()
}

fn windows() -> [Option<Window>; 3] {
    let us = |seconds: i64| seconds * 1_000_000;
    [None, Window::new(us(TS), us(TS + 3_600)), Window::new(us(TS) + 1, us(TS + 86_400) + 1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_every_type_lands_in_bigquery_as_here() -> Result {
    let (emulator, mut judge) = (Emulator::new().await, Judged::new());
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for dataset in [wide(), daily()] {
        for (number, table) in all_kinds(&dataset).into_iter().enumerate() {
            let here = Here::land(&dataset, &table, &options()).await?;
            let sql = rendered(&dataset, &options(), &table.columns);
            same(&here.outcome, &judge.land(&dataset, &sql, &table), "GoogleSQL", &sql);
            if number == 0 {
                emulator.compare(&dataset, &table, &options(), &sql).await?;
            }
            for (reason, rows) in here.outcome.reasons {
                *seen.entry(reason.rsplit(": ").next().unwrap().to_string()).or_default() += rows;
            }
        }
    }
    let phrases = [
        "NULL in a key column",
        "NULL in the partition column",
        "a bare number for a time without a unit",
        "a time in the future",
        "a time out of range",
        "above the maximum",
        "below the minimum",
        "no order value",
        "not JSON",
        "not a date",
        "not a decimal number",
        "not a finite number",
        "not a number",
        "not a time",
        "not a whole number",
        "not true or false",
        "too large for a 64-bit integer",
    ];
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), phrases);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drawn_tables_land_in_bigquery_as_here() -> Result {
    let (emulator, mut judge) = (Emulator::new().await, Judged::new());
    let mut rng = Rng::with_seed(42);
    let mut landed = 0;
    // Each statement takes long to plan, whatever its rows.
    for round in 0..9 {
        let dataset = if round % 3 == 2 { daily() } else { wide() };
        let table = draw(&mut rng, &dataset, 300);
        let options = LandingOptions { window: windows()[round / 3 % 3], ..options() };
        let here = Here::land(&dataset, &table, &options).await?;
        let sql = rendered(&dataset, &options, &table.columns);
        same(&here.outcome, &judge.land(&dataset, &sql, &table), "GoogleSQL", &sql);
        if round % 4 == 0 {
            emulator.compare(&dataset, &table, &options, &sql).await?;
        }
        landed += here.outcome.landed.len();
    }
    assert!(landed > 500, "{landed}");
    Ok(())
}

#[test]
fn what_sql_can_not_say_is_refused_column_by_column() {
    let other = |name: &str| SourceType::Other(name.into());
    let refused = |columns: &[SourceColumn]| in_sql(&wide(), &options(), columns).unwrap().unwrap_err();
    let columns = [
        column("k", other("REPEATED STRING")),
        column("ts", Text),
        column("d", Text),
        column("z", DateTime),
        column("w", DateTime),
        column("j", Text),
        column("amount", other("NUMERIC")),
        column("price", other("BIGNUMERIC")),
    ];
    let expected = [
        "`k` is REPEATED STRING",
        "`ts` is STRING, and its texts would have to be read as timestamp",
        "`d` is STRING, and its texts would have to be read as date",
        "`w` is DATETIME: its times have no zone",
        "`amount` is NUMERIC",
        "`j` is STRING, and its texts would have to be read as json",
        "no column of it is `o`, which is in the key",
    ];
    assert_eq!(refused(&columns), expected);
    // Names are told apart by case, as they are in the files of an export.
    let reasons = refused(&[column("K", Text), column("o", Text)]);
    assert_eq!(reasons, ["no column of it is `k`, which is in the key"]);
    let chosen = LandingOptions { key_chosen: true, ..options() };
    let sql = in_sql(&wide(), &chosen, &[column("K", Text), column("ts", Int)]).unwrap().unwrap();
    assert_eq!(sql.columns.left_out, ["K"]);
    let error = in_sql(&wide(), &options(), &[column("k", Text), column("o`", Text), column("o", Int)]).unwrap();
    assert!(error.is_ok(), "a column that nobody wants is not named");
    let window = LandingOptions { window: windows()[1], ..options() };
    let timeless = Dataset::from_toml(
        "name = \"t\"\nkey = [\"k\"]\norder = [\"k\"]\ncolumn = [{ name = \"k\", type = \"string\" }]",
        "t.toml",
    );
    assert_eq!(in_sql(&timeless.unwrap(), &window, &[column("k", Text)]).unwrap_err().kind(), Kind::Usage);
}
