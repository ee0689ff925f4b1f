//! Rows as plain values: random ones to test with, and their way into Arrow and Parquet and back.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::dedup::rule::{Row, Value};
use tradefold::engine::{DataFile, Engine, EngineOptions};
use tradefold::plan::{Cuts, Limits};
use tradefold::window::Day;

pub const HOUR_US: i64 = 3_600_000_000;
/// 2025-10-06T23:30:00Z: half an hour more is another day, and another batch.
pub const LATE_US: i64 = 1_759_793_400_000_000;

/// A contract that does everything another way than `trades`: stand-ins that are columns, NULL first, ascending, texts
/// that need quoting, no time zone trouble, no partition.
pub const ODD: &str = r#"
name = "odd"
key = ["number", '''COALESCE(first, second, 'it\'s \\ "no" `one`')''']
order = ["day ASC NULLS FIRST", "rank DESC NULLS FIRST", "score ASC NULLS LAST", "open DESC NULLS LAST"]
fixed = ["day"]
identity = [{ column = "seen_at" }]
volatile = ["source_run"]
column = [
  { name = "number", type = "int64" },
  { name = "first", type = "string" },
  { name = "second", type = "string" },
  { name = "day", type = "date" },
  { name = "rank", type = "int64" },
  { name = "score", type = "float64" },
  { name = "open", type = "bool" },
  { name = "seen_at", type = "timestamp", unit = "s" },
  { name = "source_run", type = "string" },
]
"#;

pub fn trades() -> Dataset {
    Dataset::built_in("trades").unwrap()
}

pub fn odd() -> Dataset {
    Dataset::from_toml(ODD, "odd.toml").unwrap()
}

/// The same, with columns that are called as one calls tables in a hurry.
pub fn short() -> Dataset {
    let names = ["number t", "first s", "second c", "day r", "rank a", "score k", "open j", "seen_at w"];
    let renamed = |toml: String, names: &str| {
        let (from, to) = names.split_once(' ').unwrap();
        toml.replace(from, to)
    };
    Dataset::from_toml(&names.into_iter().fold(ODD.to_string(), renamed), "short.toml").unwrap()
}

pub fn engine(threads: usize) -> Engine {
    Engine::new(EngineOptions { memory_bytes: 256 << 20, threads, exact_keys: false }).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A row of a dataset: NULL but for the columns that are named.
pub fn row(dataset: &Dataset, known: &[(&str, Value)]) -> Row {
    let mut row = vec![Value::Null; dataset.schema().fields().len()];
    for (name, value) in known {
        row[dataset.schema().index_of(name).unwrap()] = value.clone();
    }
    row
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Up to `most` rows with so few different values that ties, NULLs, empty texts and equal rows are common.
pub fn tables(dataset: &Dataset, most: usize) -> impl Strategy<Value = Vec<Row>> + use<> {
    let row = if dataset.name == "trades" { a_trade(dataset).boxed() } else { an_odd_row().boxed() };
    vec(row, 1..=most)
}

fn one_of(values: &[Value]) -> impl Strategy<Value = Value> + use<> {
    prop::sample::select(values.to_vec())
}

fn texts(values: &[&str]) -> impl Strategy<Value = Value> + use<> {
    one_of(&std::iter::once(Value::Null).chain(values.iter().map(|v| text(v))).collect::<Vec<_>>())
}

fn ints(values: &[i64]) -> impl Strategy<Value = Value> + use<> {
    one_of(&std::iter::once(Value::Null).chain(values.iter().map(|v| Value::Int(*v))).collect::<Vec<_>>())
}

fn a_trade(dataset: &Dataset) -> impl Strategy<Value = Row> + use<> {
    let dataset = dataset.clone();
    let key = (one_of(&[text("0xa"), text("0xb")]), one_of(&[text("0x1"), text("0x2")]), texts(&["", "0x9"]));
    let order = (
        one_of(&[0, HOUR_US, 8 * HOUR_US, 8 * HOUR_US + 90_000_000].map(|us| Value::Int(LATE_US + us))),
        ints(&[1, 2]),
        texts(&["", "a", "ß"]),
    );
    let rest = (texts(&["", "Rain?"]), ints(&[0, 7]), one_of(&[Value::Null, Value::Float(0.1), Value::Float(0.25)]));
    (key, order, rest, texts(&["run-1", "run-2"])).prop_map(move |(key, order, rest, run)| {
        let cells = [
            ("wallet_address", key.0),
            ("tx_hash", key.1),
            ("order_hash", key.2),
            ("timestamp", order.0),
            ("log_index", order.1),
            ("id", order.2),
            ("title", rest.0),
            ("shares", rest.1),
            ("price", rest.2),
            ("source_run", run),
        ];
        row(&dataset, &cells)
    })
}

fn an_odd_row() -> impl Strategy<Value = Row> + use<> {
    let floats = [Value::Null, Value::Float(-1.5), Value::Float(0.0), Value::Float(1e300)];
    let odd_text = "it's \\ \"no\" `one`";
    (
        one_of(&[Value::Int(1)]),
        texts(&["", "a"]),
        texts(&["", "a", odd_text]),
        ints(&[20_000, 20_001]),
        ints(&[-1, 0]),
        one_of(&floats),
        ints(&[0, 1]),
        ints(&[LATE_US, LATE_US + 1]),
        texts(&["run-1", "run-2"]),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i)| vec![a, b, c, d, e, f, g, h, i])
}

/// Rows as Arrow, with the types of the contract.
pub fn batch(dataset: &Dataset, rows: &[Row]) -> RecordBatch {
    let schema = dataset.schema();
    let columns = schema.fields().iter().enumerate().map(|(place, field)| -> ArrayRef {
        let cells = rows.iter().map(|row| &row[place]);
        let ints = || cells.clone().map(|cell| if let Value::Int(int) = cell { Some(*int) } else { None });
        match field.data_type() {
            DataType::Utf8 => {
                let texts = cells.map(|cell| if let Value::Text(text) = cell { Some(text.as_str()) } else { None });
                Arc::new(texts.collect::<StringArray>())
            }
            DataType::Float64 => {
                let floats = cells.map(|cell| if let Value::Float(float) = cell { Some(*float) } else { None });
                Arc::new(floats.collect::<Float64Array>())
            }
            DataType::Int64 => Arc::new(ints().collect::<Int64Array>()),
            DataType::Boolean => Arc::new(ints().map(|int| int.map(|int| int == 1)).collect::<BooleanArray>()),
            DataType::Date32 => Arc::new(ints().map(|int| int.map(|int| int as i32)).collect::<Date32Array>()),
            DataType::Timestamp(..) => Arc::new(ints().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            other => panic!("no contract has a column of type {other}"),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

/// The rows of a batch, its first columns being those of the dataset.
pub fn values(dataset: &Dataset, batch: &RecordBatch) -> Vec<Row> {
    let width = dataset.schema().fields().len();
    let columns: Vec<Vec<Value>> = batch.columns()[..width].iter().map(cells).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// The values of a column.
pub fn cells(column: &ArrayRef) -> Vec<Value> {
    let cell = |row: usize| {
        if column.is_null(row) {
            return Value::Null;
        }
        match column.data_type() {
            DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).into()),
            DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(row)),
            DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
            DataType::Boolean => Value::Int(i64::from(column.as_boolean().value(row))),
            DataType::Date32 => Value::Int(i64::from(column.as_primitive::<Date32Type>().value(row))),
            DataType::Timestamp(..) => Value::Int(column.as_primitive::<TimestampMicrosecondType>().value(row)),
            other => panic!("no contract has a column of type {other}"),
        }
    };
    (0..column.len()).map(cell).collect()
}

/// What counts of rows, as text and sorted: tables that agree here agree wherever agreement is promised.
pub fn compared(dataset: &Dataset, rows: &[Row]) -> Vec<String> {
    let places: Vec<usize> = dataset.compared().map(|name| dataset.schema().index_of(name).unwrap()).collect();
    let line = |row: &Row| format!("{:?}", places.iter().map(|place| &row[*place]).collect::<Vec<_>>());
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

/// Writes a Parquet file with row groups of `group` rows. Reports call it by its name, whose number says how values are
/// encoded: in dictionaries, plain, or in dictionaries that are full after a few values.
pub fn write(path: &Path, batches: &[RecordBatch], group: usize) -> DataFile {
    let number = path.file_stem().unwrap().to_string_lossy().parse::<usize>().unwrap_or_default();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_dictionary_enabled(number % 3 != 1)
        .set_dictionary_page_size_limit(if number % 3 == 2 { 8 } else { 1 << 20 })
        .set_write_batch_size(if number % 3 == 2 { 2 } else { 1_024 })
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
    DataFile {
        url: url::Url::from_file_path(path).unwrap().to_string(),
        label: path.file_name().unwrap().to_string_lossy().into_owned(),
        size_bytes: std::fs::metadata(path).unwrap().len(),
    }
}

/// Overwrites the values of a column in one row group of a file.
pub fn damage(path: &Path, group: usize, column: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let footer = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap().metadata().clone();
    let chunks = footer.row_group(group).columns();
    let chunk = chunks.iter().find(|chunk| chunk.column_path().string() == column).unwrap();
    let (start, length) = chunk.byte_range();
    bytes[chunk.data_page_offset() as usize..(start + length) as usize].fill(0xFF);
    std::fs::write(path, bytes).unwrap();
}

/// Batches of at most so many days, with any number of winners.
pub fn of_days(days_per_batch: u32) -> Limits {
    Limits { days_per_batch, rows_per_batch: u64::MAX, touched_per_batch: usize::MAX }
}

/// Cuts winners of trades, whose losers are all of the same days.
pub fn cut(winners: &BTreeMap<Option<Day>, u64>, limits: Limits) -> Cuts {
    Cuts::new(&trades(), winners, &BTreeMap::new(), limits)
}
