//! `--memory` is a promise: the whole process stays below it and half a gigabyte, whatever has to wait on disk.

use super::{Desk, number};
use crate::bench::says;
use crate::rows::write;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringDictionaryBuilder};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::generate::{Profile, Recipe, generate};
use tradefold::kernel::{Budget, Size};

const MEMORY_BYTES: u64 = 32_000_000;
/// What a process takes beside the memory that it is given.
const BESIDE_BYTES: u64 = 500_000_000;
/// Their records, 40 bytes each, take more than three times the memory that there is.
const ROWS: i64 = 2_500_000;

/// Writes rows with an `id`, of which each stands there twice, and a `side`, of which there are two.
pub(super) fn numbers(desk: &Desk, rows: i64) {
    std::fs::create_dir_all(desk.path("raw")).unwrap();
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row % (rows / 2))));
    let side: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row % 2)));
    let batch = RecordBatch::try_from_iter([("id", id), ("side", side)]).unwrap();
    write(&desk.path("raw/numbers.parquet"), &[batch], 100_000);
}

/// The report of a call, which may end with a finding, and the most that it held in memory.
pub(super) fn measured(desk: &Desk, arguments: &str) -> (Value, u64) {
    let code = "import sys, measure
text, figures = measure.watch(['sh', '-c', '\"$0\" \"$@\" || [ $? = 65 ]'] + sys.argv[1:])
print(figures.peak_bytes)
print(text.decode())";
    let command = desk.command(&format!("{arguments} --json --quiet"));
    let mut call = vec!["-c", code, command.get_program().to_str().unwrap()];
    call.extend(command.get_args().map(|argument| argument.to_str().unwrap()));
    let said = says(&call);
    let (peak, report) = said.split_once('\n').unwrap();
    (serde_json::from_str(report).unwrap(), peak.parse().unwrap())
}

#[test]
fn dedup_and_analyze_stay_in_the_memory_that_they_are_given() {
    let desk = Desk::new();
    numbers(&desk, ROWS);
    let [raw, out] = ["raw", "out"].map(|name| desk.path(name).display().to_string());
    // Of a key with two values all records of a partition can't be held at once either.
    for (arguments, keys) in [
        (format!("dedup {raw} -o {out} --key id"), ROWS as u64 / 2),
        (format!("analyze {raw} --key id"), ROWS as u64 / 2),
        (format!("analyze {raw} --key side --volatile id"), 2),
        // Keys that are tried, and a column with very many values.
        (format!("analyze {raw} --suggest-key --run-column id"), ROWS as u64 / 2),
    ] {
        let (report, peak_bytes) = measured(&desk, &format!("{arguments} --memory {MEMORY_BYTES} --threads 2"));
        println!("{arguments}: {peak_bytes} bytes, {} spilled", number(&report, "/spilled_bytes"));
        assert!(number(&report, "/spilled_bytes") > MEMORY_BYTES, "{report:#}");
        assert!(peak_bytes < MEMORY_BYTES + BESIDE_BYTES, "{arguments}: {peak_bytes} bytes");
        assert_eq!(number(&report, "/balance/winners"), keys, "{report:#}");
    }
}

/// 1,000 columns of small numbers, which take little in a file: 16 bytes for each value of a batch are far too many.
#[test]
fn keys_are_tried_on_wide_rows_in_the_memory_given() {
    const WIDE_ROWS: i64 = 20_000;
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("raw")).unwrap();
    let numbers = |of: fn(i64) -> i64| -> ArrayRef { Arc::new((0..WIDE_ROWS).map(of).collect::<Int64Array>()) };
    let few = numbers(|row| row % 7);
    let mut columns = vec![("a".to_string(), numbers(|row| row / 200)), ("b".into(), numbers(|row| row % 200))];
    columns.extend((0..1_000).map(|at| (format!("c{at}"), Arc::clone(&few))));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write(&desk.path("raw/0.parquet"), &[batch], WIDE_ROWS as usize / 2);
    let raw = desk.path("raw").display().to_string();
    for arguments in [format!("analyze {raw} --key a,b"), format!("analyze {raw} --suggest-key --run-column b")] {
        let (report, peak_bytes) = measured(&desk, &format!("{arguments} --memory {MEMORY_BYTES} --threads 2"));
        println!("{arguments}: {peak_bytes} bytes");
        assert!(peak_bytes < MEMORY_BYTES + BESIDE_BYTES, "{arguments}: {peak_bytes} bytes");
        assert_eq!((&report["key"], number(&report, "/keys")), (&json!(["a", "b"]), WIDE_ROWS as u64));
    }
}

#[test]
fn a_key_of_very_many_different_rows_is_refused_before_memory_runs_out() {
    let desk = Desk::new();
    numbers(&desk, 3_000_000);
    // Of a key all rows tie in the declared order, so that all of them have to be read.
    let ran = desk.run("analyze raw --key side --order side --memory 32MB --threads 8 --quiet");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("1500000 rows that are not all the same") && ran.err.contains("--key"), "{}", ran.err);
    // Where the first of the order decides, none has to.
    let report = desk.report(0, "analyze raw --key side --order id --memory 32MB");
    assert_eq!(number(&report, "/balance/losers/superseded"), 3_000_000 - 4);
}

#[test]
fn a_key_of_very_many_different_rows_is_decided_where_they_fit() {
    let desk = Desk::new();
    // Two keys, whose records come piece by piece: of each, 200,000 rows with 100,000 different numbers.
    numbers(&desk, 400_000);
    let balance = desk.report(0, "analyze raw --key side --memory 32MB")["balance"].clone();
    let found = ["/winners", "/losers/exact", "/losers/superseded", "/losers/conflict"];
    assert_eq!(found.map(|name| number(&balance, name)), [2, 2, 0, 399_996], "{balance:#}");
    let balance = desk.report(0, "analyze raw --key side --order id --memory 32MB --threads 8")["balance"].clone();
    assert_eq!(found.map(|name| number(&balance, name)), [2, 2, 399_996, 0], "{balance:#}");
    // All rows tie in this order: each is read, and what wins is the greatest number.
    let balance = desk.report(0, "analyze raw --key side --order side --memory 32MB --threads 8")["balance"].clone();
    assert_eq!(found.map(|name| number(&balance, name)), [2, 2, 0, 399_996], "{balance:#}");
}

#[test]
fn shares_of_memory_fit_into_it() {
    // What a record takes; what a row takes while its partition is decided; and while it is looked at.
    let (record, settled, odd) = (40, 208, |width: usize| 128 + (48 * 20).max(2 * width));
    for memory_bytes in [32_000_000, 64_000_000, 512_000_000, 2_000_000_000, 64_000_000_000] {
        let most = memory_bytes + BESIDE_BYTES as usize;
        for threads in [1, 2, 16, 128] {
            for (rows, order_bytes) in [(0, 0), (1_000_000, 100), (30_000_000, 20_000), (500_000_000, 1_000)] {
                let partitions = (rows as usize / 65_536).clamp(1, 4_096).next_power_of_two();
                let size = Size { rows, records: rows, footers_bytes: 1_000_000, order_columns: 20, order_bytes };
                let budget = Budget::new(memory_bytes, threads, size);
                if !budget.is_enough() {
                    assert!(rows / 8 * 5 > memory_bytes as u64, "{budget:?}");
                    continue;
                }
                assert!((1..=threads).contains(&budget.threads), "{budget:?}");
                let chunks = budget.threads * partitions * budget.chunk_rows() * record;
                assert!(budget.fixed_bytes + budget.records_bytes() + chunks <= most, "{budget:?}");
                assert!(budget.fixed_bytes + budget.encoders() * budget.open_bytes() <= most, "{budget:?}");
                for records_bytes in [0, budget.records_bytes()] {
                    let held = budget.fixed_bytes + records_bytes;
                    let gathered = record * budget.odd_records(records_bytes);
                    let looked = odd(order_bytes) * budget.odd_rows(records_bytes + gathered);
                    assert!(held + 3 * gathered <= most && held + gathered + looked <= most, "{budget:?}");
                    assert!(held + odd(order_bytes) * budget.odd_rows_max(records_bytes) <= most, "{budget:?}");
                    let gathered = 2 * record * budget.odd_records_max(records_bytes);
                    assert!(held + gathered <= most, "{budget:?}");
                }
                let settling = budget.settling_threads(budget.records_bytes());
                assert!((1..=budget.threads).contains(&settling), "{budget:?}");
                if settling > 1 {
                    let partition = (rows as usize / partitions).max(65_536);
                    let held = budget.fixed_bytes + budget.records_bytes();
                    assert!(held + settling * partition * settled <= most, "{budget:?}");
                }
            }
        }
    }
    let size =
        Size { rows: 165_000_000, records: 165_000_000, footers_bytes: 1_000_000, order_columns: 20, order_bytes: 0 };
    let plenty = Budget::new(16_000_000_000, 8, size);
    assert_eq!((plenty.threads, plenty.settling_threads(0), plenty.encoders(), plenty.chunk_rows()), (8, 8, 4, 256));
    assert!(plenty.records_bytes() > 165_000_000 * 40, "nothing waits on disk where there is room");
    // Where keys are tried each row makes several records, and partitions are as large as those are many.
    let trying = Budget::new(1_000_000_000, 8, Size { records: 25 * size.rows, ..size });
    assert!(trying.partition_rows_max() > 25 * 165_000_000 / 4_096, "{trying:?}");
    assert_eq!((trying.settling_threads(trying.records_bytes()), trying.fixed_bytes), (1, plenty.fixed_bytes));
}

#[test]
fn batches_are_cut_smaller_until_a_merge_fits() {
    let desk = Desk::new();
    let backfill = |rows: u64, days: u32, memory: &str| {
        let mut recipe = Recipe::new(Profile::Rerun, rows, 3);
        (recipe.days, recipe.odd_share) = (days, 0.0);
        let planted = generate(&recipe, &desk.path(&format!("raw-{days}"))).unwrap();
        (planted, desk.run(&format!("backfill raw-{days} --warehouse lake-{days} --memory {memory} --json --quiet")))
    };
    let (planted, ran) = backfill(60_000, 8, "32MB");
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
    let batches = report["batches"].as_array().unwrap();
    let inserted: u64 = batches.iter().map(|batch| number(batch, "/merged/inserted")).sum();
    assert_eq!(inserted, planted.keys);
    assert!(batches.len() > 2, "{} batches of 8 days that fit into one by the grid", batches.len());
    // A day is not cut.
    let (planted, ran) = backfill(150_000, 1, "32MB");
    assert_eq!((ran.code, ran.out.as_str()), (77, ""), "{}", ran.err);
    assert!(
        ran.err.contains("Resources exhausted") && ran.err.contains("hint: allow more with --memory"),
        "{}",
        ran.err
    );
    let report = desk.report(0, "backfill raw-1 --warehouse lake-1");
    assert_eq!(number(&report, "/batches/0/merged/rows_after"), planted.keys, "it goes on with more");
}

/// Three versions of each of `keys` keys, with notes of `note_bytes` that differ.
fn wide(desk: &Desk, keys: i64, note_bytes: usize) {
    std::fs::create_dir_all(desk.path("raw")).unwrap();
    for version in 0..3 {
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys));
        let note = |key: i64| format!("{version}-{key:05}-").repeat(note_bytes / 8);
        let note: ArrayRef = Arc::new(StringArray::from_iter_values((0..keys).map(note)));
        let batch = RecordBatch::try_from_iter([("id", id), ("note", note)]).unwrap();
        // One row group: the memory must not rest on how small others made them.
        write(&desk.path(&format!("raw/{version}.parquet")), &[batch], keys as usize);
    }
}

#[test]
fn long_values_take_no_more_than_the_memory_given() {
    let desk = Desk::new();
    wide(&desk, 12_000, 20_000);
    // All 36,000 rows are of odd keys, and together they have 720 MB.
    let arguments = format!("analyze {} --key id --order \"note DESC\"", desk.path("raw").display());
    let (report, peak_bytes) = measured(&desk, &format!("{arguments} --memory {MEMORY_BYTES} --threads 2"));
    println!("{arguments}: {peak_bytes} bytes");
    assert!(peak_bytes < MEMORY_BYTES + BESIDE_BYTES, "{arguments}: {peak_bytes} bytes");
    assert_eq!((number(&report, "/balance/winners"), number(&report, "/rows")), (12_000, 36_000));
    // Without an order, and with short ones beside them, which do not make them shorter.
    let ids = 12_000..1_512_000;
    let note: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(|_| "short")));
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let batch = RecordBatch::try_from_iter([("id", id), ("note", note)]).unwrap();
    write(&desk.path("raw/3.parquet"), &[batch], 100_000);
    let arguments = format!("analyze {} --key id --memory {MEMORY_BYTES} --threads 2", desk.path("raw").display());
    let (report, peak_bytes) = measured(&desk, &arguments);
    assert!(peak_bytes < MEMORY_BYTES + BESIDE_BYTES, "{peak_bytes} bytes");
    assert_eq!((number(&report, "/balance/winners"), number(&report, "/rows")), (1_512_000, 1_536_000));
}

#[test]
fn columns_that_are_not_tried_on_every_key_say_at_least() {
    let desk = Desk::new();
    wide(&desk, 40, 20_000);
    // A key with more rows than may be compared column by column in this memory.
    let rows = 0..1_000;
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.clone().map(|_| 1_000)));
    let note: ArrayRef = Arc::new(StringArray::from_iter_values(rows.map(|row| format!("{row:08}").repeat(2_500))));
    let batch = RecordBatch::try_from_iter([("id", id), ("note", note)]).unwrap();
    write(&desk.path("raw/3.parquet"), &[batch], 1_000);
    let added = |memory: &str| {
        let report = desk.report(0, &format!("analyze raw --key id --memory {memory}"));
        let own = report["advice"]["candidates"][1].clone();
        assert_eq!(own["key"], json!(["id", "note"]), "{:#}", report["advice"]);
        (number(&report, "/advice/untried_keys"), number(&own, "/rows_kept"), own["verdict"].to_string())
    };
    let (untried, kept, verdict) = added("32MB");
    assert_eq!((untried, kept), (1, 40 * 3 + 1), "the large key counts as one row");
    assert!(verdict.contains("at least 40 keys") && verdict.contains("at least so many rows"), "{verdict}");
    let (untried, kept, verdict) = added("2GB");
    assert_eq!((untried, kept), (0, 40 * 3 + 1_000));
    assert!(verdict.contains("41 keys") && !verdict.contains("at least"), "{verdict}");
}

#[test]
fn long_values_that_repeat_are_ranked_without_a_copy() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("raw")).unwrap();
    // 20,000 rows have eight texts of 100,000 characters: 2 GB, were each row to have its own.
    let texts: Vec<String> = (0..8).map(|number| format!("{number}").repeat(100_000)).collect();
    let mut note = StringDictionaryBuilder::<Int32Type>::new();
    (0..20_000).for_each(|row| note.append_value(&texts[row % 8]));
    let note: ArrayRef = Arc::new(note.finish());
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values((0..20_000).map(|row| row / 2)));
    let batch = RecordBatch::try_from_iter([("id", id), ("note", note)]).unwrap();
    // In the schema of the file a text is a text, and no dictionary.
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let file = std::fs::File::create(desk.path("raw/0.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let raw = desk.path("raw").display().to_string();
    let arguments = format!("analyze {raw} --key id --order note --memory {MEMORY_BYTES} --threads 2");
    let (report, peak_bytes) = measured(&desk, &arguments);
    println!("{peak_bytes} bytes");
    assert!(peak_bytes < MEMORY_BYTES + BESIDE_BYTES, "{peak_bytes} bytes");
    assert_eq!((number(&report, "/balance/winners"), number(&report, "/rows")), (10_000, 20_000));
}
