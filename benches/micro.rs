//! Micro-benchmarks of what the kernel does to each row: hashing, partitioning and grouping, selection.
//!
//! usage: micro [ROWS]
//!
//! Prints nanoseconds a row, the best of five runs in one thread, and checks what each gives.
#![allow(clippy::print_stdout)]

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use datafusion::execution::memory_pool::UnboundedMemoryPool;
use datafusion::physical_expr::expressions::Column;
use parquet::arrow::ArrowWriter;
use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tradefold::kernel::{Ask, Columns, Input, Kernel, Resources, key_prints};
use tradefold::progress::Silent;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a row cost.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) row_ns: f64,
}

fn main() -> Outcome<()> {
    // `cargo bench` adds an argument of its own.
    let rows = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000);
    for Figure { name, row_ns } in micro(rows)? {
        println!("{name:<44}{row_ns:>8.1} ns a row");
    }
    Ok(())
}

/// Runs all of them on about so many rows.
pub(crate) fn micro(rows: usize) -> Outcome<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let mut figures = hashing(rows)?;
    figures.extend(grouping(rows, folder.path())?);
    figures.extend(selection(rows, folder.path())?);
    Ok(figures)
}

fn best(name: impl Into<String>, rows: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Figure> {
    let mut best_s = f64::INFINITY;
    for _ in 0..5 {
        let begun = Instant::now();
        work()?;
        best_s = best_s.min(begun.elapsed().as_secs_f64());
    }
    Ok(Figure { name: name.into(), row_ns: best_s * 1e9 / rows as f64 })
}

/// Different numbers in no order.
fn scattered(number: usize) -> i64 {
    (number as i64).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)
}

fn hex(number: usize) -> String {
    format!("0x{:016x}{:016x}{:032x}", scattered(number), scattered(number + 1), number)
}

fn hashing(rows: usize) -> Outcome<Vec<Figure>> {
    const BATCH: usize = 8_192;
    let (few, batches) = (1_000.min(BATCH), rows.div_ceil(BATCH));
    let values: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..few).map(hex)));
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..BATCH).map(hex)));
    let plain = arrow::compute::cast(&values, &arrow::datatypes::DataType::Utf8)?;
    let keys = arrow::array::Int32Array::from_iter_values((0..BATCH).map(|row| (row % few) as i32));
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::try_new(keys, plain)?);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..BATCH).map(scattered)));
    let mut figures = Vec::new();
    for (name, column, different) in [
        ("texts of 66 characters", texts, BATCH),
        ("a dictionary of 1,000 of them, made anew", dictionary, few),
        ("integers", numbers, BATCH),
    ] {
        figures.push(best(format!("hash {name}"), batches * BATCH, || {
            for _ in 0..batches {
                std::hint::black_box(key_prints(std::slice::from_ref(&column), BATCH)?);
            }
            Ok(())
        })?);
        let found = key_prints(&[column], BATCH)?.into_iter().collect::<HashSet<u128>>().len();
        require(found == different, "as many fingerprints as values")?;
    }
    Ok(figures)
}

fn require(holds: bool, what: &str) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("not {what}").into()) }
}

/// One column of integers, each of them `copies` times, in an order as if shuffled.
fn write(path: &Path, rows: usize, copies: usize) -> Outcome<()> {
    let keys = rows / copies;
    let column: ArrayRef =
        Arc::new(Int64Array::from_iter_values((0..keys * copies).map(|row| scattered(row.wrapping_mul(7_919) % keys))));
    let batch = RecordBatch::try_from_iter([("key", column)])?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

fn kernel(path: PathBuf) -> Outcome<Kernel> {
    let schema = Input::open(std::slice::from_ref(&path))?.schema(0);
    let columns = Columns { key: vec![Arc::new(Column::new("key", 0))], order: Vec::new(), schema };
    let resources =
        Resources { threads: 1, pool: Arc::new(UnboundedMemoryPool::default()), folder: std::env::temp_dir() };
    Ok(Kernel::open(&[path], columns, resources)?)
}

/// Of a row there is next to nothing to decode or to hash: what is left is partitioning and grouping.
fn grouping(rows: usize, folder: &Path) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for copies in [1, 3, 100] {
        let path = folder.join(format!("{copies}.parquet"));
        write(&path, rows, copies)?;
        let kernel = kernel(path)?;
        figures.push(best(format!("partition and group, {copies} rows a key"), rows, || {
            let verdict = kernel.decide(&Ask::default(), &Silent)?;
            require(verdict.keys as usize == rows / copies, "as many keys as were written")
        })?);
    }
    Ok(figures)
}

/// Reads a share of the rows, scattered over all.
fn selection(rows: usize, folder: &Path) -> Outcome<Vec<Figure>> {
    let path = folder.join("selection.parquet");
    write(&path, rows, 1)?;
    let input = Input::open(&[path])?;
    let mut figures = Vec::new();
    for percent in [0, 1, 10, 36, 90, 100] {
        figures.push(best(format!("select {percent} % of the rows"), rows, || {
            for unit in input.units() {
                let is_chosen = |row: usize| scattered(row).rem_euclid(100) < percent;
                let chosen = BooleanBuffer::collect_bool(unit.rows, is_chosen);
                let expected = chosen.count_set_bits();
                let mut found = 0;
                for batch in input.read(unit, &input.schema(unit.file), Some(chosen))? {
                    found += batch?.num_rows();
                }
                require(found == expected, "as many rows as were chosen")?;
            }
            Ok(())
        })?);
    }
    Ok(figures)
}
