//! The operator that takes the place of DataFusion's own plan gives the same rows, in the memory that it is given.

mod plans;

use crate::cli::Desk;
use crate::rows::{batch, engine, odd, row, runtime, tables, text, trades, write};
use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array};
use arrow::array::{Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, UnboundedMemoryPool};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use parquet::data_type::Int64Type;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tradefold::dataset::Dataset;
use tradefold::dedup::rule::Value;
use tradefold::engine::{Engine, FilesTable};
use tradefold::error::Kind;
use tradefold::kernel::{Ask, ExactKeys, KeepFirstExec, Kernel, Near, Resources, days};
use tradefold::progress::{Progress, Silent};
use tradefold::sql::{Dialect, dedup};

/// DataFusion as it comes.
fn stock() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().sql_parser.enable_ident_normalization = false;
    SessionContext::new_with_config(config)
}

/// A session that has our rule, and all files of a folder as table `t`.
async fn with_files(context: &SessionContext, folder: &Path) {
    let _ = context.deregister_table("t");
    context.register_parquet("t", folder.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
}

async fn explain(context: &SessionContext, sql: &str) -> String {
    let batches = context.sql(&format!("EXPLAIN {sql}")).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The rows of an answer, as text and sorted.
async fn answer(context: &SessionContext, sql: &str) -> Vec<String> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let mut lines: Vec<String> = text.lines().map(|line| line.replace(' ', "")).collect();
    lines.sort_unstable();
    lines
}

fn few_rows(folder: &Path) {
    let a: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some(""), Some("x"), None]));
    let b: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(3), Some(4)]));
    let c: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30, 40, 50]));
    let batch = RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true), ("c", c, true)]).unwrap();
    write(&folder.join("few.parquet"), &[batch], 2);
}

/// One column of each type that a key may have, with NULLs, and values that are close to each other.
fn typed() -> Vec<(&'static str, ArrayRef)> {
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
        Some(vec![Some(1)]),
        Some(vec![Some(1), None]),
        None,
    ]));
    vec![
        ("text", Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some("A"), Some("a"), None]))),
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), Some(b""), None, Some(b"\0"), Some(b"a"), None]))),
        ("whole", Arc::new(Int32Array::from(vec![Some(1), Some(0), None, Some(-1), Some(1), None]))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(1), Some(0), None, Some(-1), Some(1), None])
                    .with_precision_and_scale(38, 2)
                    .unwrap(),
            ),
        ),
        ("date", Arc::new(Date32Array::from(vec![Some(1), Some(0), None, Some(-1), Some(1), None]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(false), Some(true), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(1.5), Some(0.0), None, Some(-1.0), Some(1.5), None]))),
        ("list", list),
    ]
}

#[test]
fn keys_and_orders_of_any_type() {
    let folder = tempfile::tempdir().unwrap();
    // With dictionaries, without any, and with some that hold a part of the values.
    for file in 0..3 {
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(6 * file..6 * file + 6));
        let columns = typed().into_iter().chain([("number", number)]).map(|(name, values)| (name, values, true));
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        write(&folder.path().join(format!("{file}.parquet")), &[rows], 4);
    }
    runtime().block_on(async {
        let (ours, stock) = (engine(2), stock());
        with_files(ours.context(), folder.path()).await;
        with_files(&stock, folder.path()).await;
        for (name, _) in typed() {
            for order in ["ASC NULLS FIRST", "ASC NULLS LAST", "DESC NULLS FIRST", "DESC NULLS LAST"] {
                for sql in [
                    format!("PARTITION BY \"{name}\" ORDER BY number {order}"),
                    format!("PARTITION BY flag ORDER BY \"{name}\" {order}, number ROWS UNBOUNDED PRECEDING"),
                ] {
                    let sql = format!("SELECT * FROM t QUALIFY ROW_NUMBER() OVER ({sql}) = 1");
                    let plan = explain(ours.context(), &sql).await;
                    assert!(plan.contains("KeepFirstExec"), "{sql}\n{plan}");
                    assert_eq!(answer(ours.context(), &sql).await, answer(&stock, &sql).await, "{sql}");
                }
            }
        }
    });
}

/// What the dataset's own query keeps, by our operator and by the stock plan. Volatile columns are left out of both.
async fn check_dataset(dataset: &Dataset, folder: &Path, threads: usize) {
    let columns: Vec<String> = dataset.compared().map(|name| format!("\"{name}\"")).collect();
    let sql = dedup(dataset, Dialect::DataFusion, "\"t\"").unwrap();
    let sql = format!("SELECT {} FROM ({sql})", columns.join(", "));
    let (ours, stock) = (engine(threads), stock());
    with_files(ours.context(), folder).await;
    with_files(&stock, folder).await;
    assert!(explain(ours.context(), &sql).await.contains("KeepFirstExec"));
    assert_eq!(answer(ours.context(), &sql).await, answer(&stock, &sql).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn r8_the_stock_plan_keeps_the_same_rows(
        rows in tables(&trades(), 40),
        odd_rows in tables(&odd(), 30),
        group in 1..9usize,
        threads in prop::sample::select(vec![1, 2, 5]),
    ) {
        for (dataset, rows) in [(trades(), rows), (odd(), odd_rows)] {
            let folder = tempfile::tempdir().unwrap();
            for (number, rows) in rows.chunks(13).enumerate() {
                write(&folder.path().join(format!("{number}.parquet")), &[batch(&dataset, rows)], group);
            }
            runtime().block_on(check_dataset(&dataset, folder.path(), threads));
        }
    }
}

#[test]
fn no_row_one_row_all_rows_equal_and_none() {
    let dataset = trades();
    let trade = |number: usize| {
        let known = [
            ("wallet_address", text(&format!("0x{number}"))),
            ("tx_hash", text("0x1")),
            ("timestamp", Value::Int(number as i64)),
        ];
        row(&dataset, &known)
    };
    let tables = [vec![], vec![trade(1)], vec![trade(1); 40], (0..40).map(trade).collect()];
    for rows in tables {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.parquet"), &[batch(&dataset, &rows)], 7);
        runtime().block_on(check_dataset(&dataset, folder.path(), 2));
    }
}

/// `copies` rows of each of `keys` keys, in files of several row groups. Rows of every third key differ.
fn many(folder: &Path, keys: i64, copies: i64) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for copy in 0..copies {
        let key: ArrayRef = Arc::new(StringArray::from_iter_values((0..keys).map(|key| format!("0x{key:064x}"))));
        let at: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys));
        let rest = (0..keys).map(|key| if key % 3 == 0 { copy } else { 0 });
        let rest: ArrayRef = Arc::new(Int64Array::from_iter_values(rest));
        let path = folder.join(format!("{copy}.parquet"));
        write(&path, &[RecordBatch::try_from_iter([("key", key), ("at", at), ("rest", rest)]).unwrap()], 10_000);
        paths.push(path);
    }
    paths
}

/// Keeps one of the rows of [`many`] for each key.
const FIRST_OF_MANY: &str = "SELECT * FROM t QUALIFY ROW_NUMBER() OVER \
                             (PARTITION BY key ORDER BY at DESC NULLS LAST, rest DESC NULLS LAST) = 1";

async fn kernel(engine: &Engine, paths: &[PathBuf], pool: Arc<dyn MemoryPool>, threads: usize) -> Kernel {
    with_files(engine.context(), paths[0].parent().unwrap()).await;
    let plan = engine.frame(FIRST_OF_MANY).await.unwrap().create_physical_plan().await.unwrap();
    let folder = std::env::temp_dir();
    plan.downcast_ref::<KeepFirstExec>().unwrap().open(Resources { threads, pool, folder }).unwrap()
}

#[test]
fn records_that_do_not_fit_into_memory_wait_on_disk_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let paths = many(folder.path(), 120_000, 3);
    runtime().block_on(async {
        let engine = engine(2);
        let (mut winners, mut tried) = (Vec::new(), Vec::new());
        for (bytes, threads) in [(usize::MAX, 1), (usize::MAX, 5), (9 << 20, 2), (5 << 20, 1)] {
            let pool: Arc<dyn MemoryPool> = match bytes {
                usize::MAX => Arc::new(UnboundedMemoryPool::default()),
                _ => Arc::new(FairSpillPool::new(bytes)),
            };
            let kernel = kernel(&engine, &paths, Arc::clone(&pool), threads).await;
            let ask = Ask { declared: Some(1), analyses: true, ..Ask::default() };
            let verdict = kernel.decide(&ask, &Silent).unwrap();
            let near = kernel.try_near(&verdict, &Silent).unwrap();
            assert!(near.spilled_bytes > 0 || bytes > 5 << 20, "{bytes} bytes: {}", near.spilled_bytes);
            let near = Near { spilled_bytes: 0, ..near };
            tried.push((near, verdict.added.clone(), verdict.sizes.clone(), verdict.distances));
            assert_eq!(verdict.spilled_bytes > 0, bytes != usize::MAX, "{bytes} bytes: {}", verdict.spilled_bytes);
            assert_eq!((verdict.keys, verdict.exact_losers), (120_000, 2 * 80_000));
            // 120,000 rows of odd keys: more than are looked at together where memory is short.
            assert_eq!(verdict.conflicts.count(0..verdict.rows), 2 * 40_000);
            assert_eq!(verdict.superseded.count(0..verdict.rows), 0);
            let parts = (0..verdict.rows).step_by(999).map(|at| at..(at + 999).min(verdict.rows));
            assert_eq!(parts.map(|part| verdict.winners.count(part)).sum::<u64>(), 120_000);
            // Who does not ask for a list gets none, and the count all the same.
            assert_eq!((verdict.conflicting.keys, verdict.conflicting.prints.len()), (40_000, 0));
            assert_eq!(pool.reserved(), 0, "all memory is given back");
            let marked = verdict.winners.of(0..verdict.rows);
            winners.push(marked.set_indices().collect::<Vec<_>>());
        }
        assert!(winners.windows(2).all(|pair| pair[0] == pair[1]), "the same rows win");
        assert!(tried.windows(2).all(|pair| pair[0] == pair[1]), "{tried:?}");
    });
}

#[test]
fn days_are_those_of_utc_whatever_the_unit_and_the_zone() {
    let seconds = [-1, 0, 86_399, 86_400, 1_759_793_400];
    let known = [-1, 0, 0, 1, 20_367];
    let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
    for (unit, factor) in units.into_iter().zip([1, 1_000, 1_000_000, 1_000_000_000]) {
        for zone in [None, Some("America/New_York".into())] {
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(seconds.map(|second| second * factor)));
            let times = arrow::compute::cast(&numbers, &DataType::Timestamp(unit, zone)).unwrap();
            assert_eq!(days(&times).unwrap().values(), &known, "{unit:?}");
        }
    }
    // Past the end of every calendar.
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MIN)]));
    let times = arrow::compute::cast(&numbers, &DataType::Timestamp(TimeUnit::Second, None)).unwrap();
    let found = days(&times).unwrap();
    assert_eq!(found.iter().collect::<Vec<_>>(), [Some(i32::MAX), None, Some(i32::MIN)]);
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let desk = Desk::new();
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let field = |name: &str| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("id"), field("a"), field("a")]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(&number), Arc::clone(&number), number]).unwrap();
    write(&desk.path("twice.parquet"), &[batch], 2);
    let ran = desk.run("dedup twice.parquet -o out --key id");
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("two columns of this name") && ran.err.contains("column `a`"), "{}", ran.err);
}

#[test]
fn input_that_changes_underneath_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let paths = many(folder.path(), 1_000, 2);
    runtime().block_on(async {
        let engine = engine(1);
        let kernel = kernel(&engine, &paths, Arc::new(UnboundedMemoryPool::default()), 1).await;
        many(folder.path(), 1_001, 2);
        let error = kernel.decide(&Ask::default(), &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.render().contains("its size or time is not what it was"), "{}", error.render());
        assert!(error.render().contains("0.parquet"), "{}", error.render());
    });
}

#[test]
fn a_table_of_several_files_is_one_operator() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = trades();
    let files: Vec<_> = (0..3)
        .map(|number| write(&folder.path().join(format!("{number}.parquet")), &[batch(&dataset, &[])], 7))
        .collect();
    runtime().block_on(async {
        let engine = engine(2);
        engine.register_files("t", FilesTable::new(dataset.schema(), &files).unwrap()).unwrap();
        let plan = explain(engine.context(), &dedup(&dataset, Dialect::DataFusion, "\"t\"").unwrap()).await;
        assert!(plan.contains("files=3"), "{plan}");
    });
}

/// Counts the rows that were read.
#[derive(Default)]
struct Read(AtomicU64);

impl Progress for Read {
    fn begin(&self, _step: &str, _total: Option<u64>) {}

    fn advance(&self, done: u64) {
        self.0.fetch_add(done, Ordering::Relaxed);
    }

    fn note(&self, _line: &str) {}
}

#[test]
fn exact_keys_are_compared_byte_by_byte() {
    let folder = tempfile::tempdir().unwrap();
    let paths = many(folder.path(), 200_000, 2);
    runtime().block_on(async {
        let engine = engine(2);
        for (bytes, is_once) in [(1 << 30, true), (1 << 20, false)] {
            let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(bytes));
            let read = Read::default();
            assert_eq!(kernel(&engine, &paths, pool, 2).await.count_keys(&read).unwrap(), 200_000);
            let rows = read.0.load(Ordering::Relaxed);
            // What does not fit at once is gone through again, a part of the keys each time.
            assert_eq!(rows == 400_000, is_once, "{rows} rows were read in {bytes} bytes");
            assert!(rows.is_multiple_of(400_000) && rows < 8 * 400_000, "{rows} rows were read in {bytes} bytes");
        }
    });
    let keys = ExactKeys::default();
    keys.see(1, b"a").unwrap();
    keys.see(2, b"b").unwrap();
    keys.see(1, b"a").unwrap();
    assert_eq!(keys.count(), 2);
    let error = keys.see(1, b"b").unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.render().contains("two different keys"), "{}", error.render());
}

#[test]
fn a_folder_that_records_cannot_wait_in_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = many(folder.path(), 60_000, 2);
    runtime().block_on(async {
        let engine = engine(1);
        with_files(engine.context(), folder.path()).await;
        let plan = engine.frame(FIRST_OF_MANY).await.unwrap().create_physical_plan().await.unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(1 << 20));
        let missing = folder.path().join("missing");
        let resources = Resources { threads: 1, pool, folder: missing.clone() };
        let kernel = plan.downcast_ref::<KeepFirstExec>().unwrap().open(resources).unwrap();
        let error = kernel.decide(&Ask::default(), &Silent).unwrap_err().render();
        assert!(error.contains(missing.to_str().unwrap()) && error.contains("--memory"), "{error}");
        assert_eq!(paths.len(), 2);
    });
}

/// Row groups of 2, 0, 1 and 0 rows.
fn with_empty_row_groups(path: &Path) {
    let schema = Arc::new(parse_message_type("message t { required int64 key; required int64 at; }").unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
    for rows in [vec![1, 2], vec![], vec![1], vec![]] {
        let mut group = writer.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            column.typed::<Int64Type>().write_batch(&rows, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn row_groups_without_rows_are_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    with_empty_row_groups(&folder.path().join("a.parquet"));
    let sql = "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY key ORDER BY at DESC NULLS LAST) = 1";
    runtime().block_on(async {
        let ours = engine(2);
        with_files(ours.context(), folder.path()).await;
        assert_eq!(answer(ours.context(), sql).await, {
            let stock = stock();
            with_files(&stock, folder.path()).await;
            answer(&stock, sql).await
        });
        let plan = ours.frame(sql).await.unwrap().create_physical_plan().await.unwrap();
        let resources = Resources { threads: 2, pool: ours.memory_pool(), folder: std::env::temp_dir() };
        let kernel = plan.downcast_ref::<KeepFirstExec>().unwrap().open(resources).unwrap();
        assert_eq!((0..3).map(|place| kernel.input().unit_of(place)).collect::<Vec<_>>(), [0, 0, 2]);
        let verdict = kernel.decide(&Ask::default(), &Silent).unwrap();
        let [(rows, place, _)] = verdict.largest.list() else { panic!("{:?}", verdict.largest) };
        assert_eq!((*rows, kernel.key_of(*place).unwrap()), (2, vec![Some("1".to_string())]));
    });
}
