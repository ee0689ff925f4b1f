//! Whether a Parquet file lands by reference is decided from footers, dictionaries and whole columns. Here the answer
//! is held against the obvious one: every row is judged by itself, and nothing changes.

use super::*;
use crate::rows::runtime;
use arrow::array::{BooleanArray, Date32Array, DictionaryArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Int32Type;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::ops::Range;

const NOW: &str = "2025-12-01";
/// 2025-10-09T00:00:00Z, as days and as microseconds.
const DAY: i32 = 20_370;
const DAY_US: i64 = DAY as i64 * 86_400_000_000;

fn contract(partition: &str) -> Dataset {
    let text = r#"
name = "c"
key = ["k", "COALESCE(o, i)", "COALESCE(m, '')"]
order = ["ts DESC NULLS LAST"]
partition = "PARTITION"
column = [
  { name = "k", type = "string", format = "hex" },
  { name = "o", type = "string" },
  { name = "i", type = "string", format = "hex" },
  { name = "m", type = "string" },
  { name = "ts", type = "timestamp", min = "2020-01-01T00:00:00Z" },
  { name = "n", type = "int64", min = 0, max = 100 },
  { name = "l", type = "int64" },
  { name = "f", type = "float64", min = -1, max = 1.5 },
  { name = "g", type = "float64" },
  { name = "b", type = "bool" },
  { name = "d", type = "date" },
  { name = "t", type = "timestamp" },
  { name = "j", type = "json" },
]
"#;
    Dataset::from_toml(&text.replace("PARTITION", partition), "c.toml").unwrap()
}

/// How many values [`array`] knows for each column: those that are always fine, and all.
const POOL: [(&str, usize, usize); 14] = [
    ("k", 3, 6),
    ("o", 2, 3),
    ("i", 2, 4),
    ("m", 1, 2),
    ("ts", 2, 8),
    ("n", 3, 6),
    ("l", 3, 3),
    ("f", 5, 10),
    ("g", 3, 6),
    ("b", 3, 3),
    ("d", 2, 7),
    ("t", 3, 6),
    ("j", 5, 9),
    ("more", 2, 2),
];

/// A column of these values of the pool, text laid out in one of four ways.
fn array(name: &str, values: &[usize], layout: usize) -> ArrayRef {
    fn pick<T: Clone>(pool: &[T], values: &[usize]) -> Vec<T> {
        values.iter().map(|value| pool[*value].clone()).collect()
    }
    let text = |pool: &[Option<&str>]| -> ArrayRef {
        let plain: ArrayRef = Arc::new(StringArray::from(pick(pool, values)));
        match layout {
            0 => plain,
            1 => cast(&plain, &DataType::LargeUtf8).unwrap(),
            2 => cast(&plain, &DataType::Utf8View).unwrap(),
            // NULL stands among the dictionary's values, not among its keys.
            _ => {
                let keys = Int32Array::from_iter_values(values.iter().map(|value| *value as i32));
                Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(pool.to_vec()))))
            }
        }
    };
    let int = |pool: &[Option<i64>]| Int64Array::from(pick(pool, values));
    let float = |pool: &[Option<f64>]| Arc::new(Float64Array::from(pick(pool, values)));
    let time =
        |pool: &[Option<i64>]| Arc::new(TimestampMicrosecondArray::from(pick(pool, values)).with_timezone("UTC"));
    let (first, last) = (-62_135_596_800_000_000, 253_402_300_799_999_999);
    match name {
        "k" => text(&[Some("0xab"), Some(""), Some("é"), Some("0xAb"), None, Some("Z")]),
        "o" => text(&[Some("A"), Some("b"), None]),
        "i" => text(&[None, Some("b"), Some("B"), Some("É")]),
        "m" => text(&[Some("M"), None]),
        "ts" => time(&[
            Some(DAY_US),
            Some(DAY_US + 86_399_999_999),
            Some(DAY_US - 1),
            Some(DAY_US + 86_400_000_000),
            Some(1_577_836_799_999_999),
            Some(parse_us(NOW).unwrap() + 86_400_000_001),
            None,
            Some(i64::MAX),
        ]),
        "n" => Arc::new(int(&[Some(0), Some(100), None, Some(-1), Some(101), Some(i64::MIN)])),
        "l" => Arc::new(int(&[Some(i64::MIN), Some(i64::MAX), None])),
        "f" => float(&[
            Some(0.0),
            Some(1.5),
            Some(-1.0),
            None,
            Some(5e-324),
            Some(-0.0),
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(1.500_001),
            Some(-1.5),
        ]),
        "g" => float(&[Some(f64::MAX), None, Some(0.0), Some(-0.0), Some(f64::NEG_INFINITY), Some(-f64::NAN)]),
        "b" => Arc::new(BooleanArray::from(pick(&[Some(true), Some(false), None], values))),
        "d" => Arc::new(Date32Array::from(pick(
            &[Some(DAY), Some(DAY), Some(DAY + 1), None, Some(DAY - 1), Some(i32::MAX), Some(i32::MIN)],
            values,
        ))),
        "t" => time(&[Some(first), Some(last), None, Some(last + 1), Some(first - 1), Some(i64::MIN)]),
        "j" => text(&[
            Some("{\"a\":1,\"b\":[]}"),
            Some("1.50"),
            None,
            Some("\"é\""),
            Some("null"),
            Some("{ }"),
            Some("{\"b\":1,\"a\":1}"),
            Some("nope"),
            Some("\"\\u0041\""),
        ]),
        _ => Arc::new(int(&[Some(1), None])),
    }
}

/// How a table is written and landed.
#[derive(Clone, Debug)]
struct Way {
    layout: usize,
    statistics: EnabledStatistics,
    dictionary: bool,
    dictionary_bytes: usize,
    group: usize,
    partition: &'static str,
    has_window: bool,
    threads: usize,
}

fn ways() -> impl Strategy<Value = Way> {
    let statistics =
        prop::sample::select(vec![EnabledStatistics::None, EnabledStatistics::Chunk, EnabledStatistics::Page]);
    let dictionary = (any::<bool>(), prop::sample::select(vec![8, 1 << 20]));
    let window = (prop::sample::select(vec!["ts", "d"]), any::<bool>());
    (0..4usize, statistics, dictionary, 1..9usize, window, 1..4usize).prop_map(
        |(layout, statistics, (dictionary, dictionary_bytes), group, (partition, has_window), threads)| Way {
            layout,
            statistics,
            dictionary,
            dictionary_bytes,
            group,
            partition,
            has_window,
            threads,
        },
    )
}

/// Values of the pool for each column, most columns without any that is wrong; a few columns are left out.
fn columns() -> impl Strategy<Value = Vec<Option<Vec<usize>>>> {
    (1..20usize).prop_flat_map(|rows| {
        let column = move |(name, fine, all): (&str, usize, usize)| {
            let values = |range: Range<usize>| prop::collection::vec(range, rows).prop_map(Some);
            let left_out = u32::from(!["k", "o", "m"].contains(&name));
            prop_oneof![30 => values(0..fine), 3 => values(0..all), left_out => Just(None)]
        };
        POOL.into_iter().map(column).collect::<Vec<_>>()
    })
}

fn write(path: &Path, columns: &[(&str, ArrayRef)], way: &Way) {
    // What has no NULL is written as a column that can't have one.
    let fields = columns.iter().map(|(name, array)| (*name, Arc::clone(array), array.logical_null_count() > 0));
    let batch = RecordBatch::try_from_iter_with_nullable(fields).unwrap();
    let properties = WriterProperties::builder()
        .set_statistics_enabled(way.statistics)
        .set_dictionary_enabled(way.dictionary)
        .set_dictionary_page_size_limit(way.dictionary_bytes)
        .set_write_batch_size(3)
        .set_max_row_group_row_count(Some(way.group))
        .build();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn landed(folder: &Path, way: &Way) -> Landed {
    let mut options = LandingOptions::new(parse_us(NOW).unwrap());
    options.window = Window::new(DAY_US, DAY_US + 86_400_000_000).filter(|_| way.has_window);
    options.threads = way.threads;
    runtime().block_on(async {
        let inputs = discover(&[folder.join("in").display().to_string()], &[]).await.unwrap();
        let into = Folder::open(&folder.join("out").display().to_string(), &[]).unwrap();
        land(&contract(way.partition), &inputs, &into, &options, &Silent).await.unwrap()
    })
}

/// Whether the rows that landed are those of these columns, bit for bit.
fn is_unchanged(landed: &Landed, columns: &[(&str, ArrayRef)]) -> bool {
    if landed.counts.landed != columns[0].1.len() as u64 {
        return false;
    }
    let path = url::Url::parse(&landed.files[0].url).unwrap().to_file_path().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    columns.iter().all(|(name, array)| match all.column_by_name(name) {
        Some(landed) => *landed == cast(array, landed.data_type()).unwrap(),
        None => *name == "more",
    })
}

#[test]
fn a_file_lands_by_reference_if_and_only_if_no_row_would_change() {
    let clean = Cell::new(0);
    let config = ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(columns(), ways()), |(values, way)| {
            let arrays = POOL.iter().zip(&values).filter_map(|((name, ..), values)| {
                values.as_ref().map(|values| (*name, array(name, values, way.layout)))
            });
            let mut columns: Vec<_> = arrays.collect();
            let (fast, slow) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            std::fs::create_dir(fast.path().join("in")).unwrap();
            std::fs::create_dir(slow.path().join("in")).unwrap();
            write(&fast.path().join("in/a.parquet"), &columns, &way);
            // A file with a column of this name is always read row by row.
            columns.push(("_source", Arc::new(StringArray::from(vec![None::<&str>; columns[0].1.len()]))));
            write(&slow.path().join("in/a.parquet"), &columns, &way);
            columns.pop();
            let (fast, slow) = (landed(fast.path(), &way), landed(slow.path(), &way));
            let by_reference = fast.files.first().is_some_and(|file| file.by_reference);
            prop_assert_eq!(by_reference, is_unchanged(&slow, &columns));
            prop_assert_eq!(&fast.counts, &slow.counts);
            prop_assert_eq!(&fast.inputs[0].left_out, &slow.inputs[0].left_out);
            clean.set(clean.get() + u32::from(by_reference));
            Ok(())
        })
        .unwrap();
    assert!((20..172).contains(&clean.get()), "{} of 192 files were clean", clean.get());
}
