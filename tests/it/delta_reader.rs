//! DuckDB and Polars open the table that a backfill made and count what the backfill says it wrote.

use crate::googlesql::python;
use crate::rows::write;
use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo")
}

/// Runs a command that prints JSON.
fn json(command: &mut Command) -> Json {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Backfills a folder into a new lake. Gives the report, and what the independent readers count in the table.
fn backfill(input: &Path, lake: &Path, flags: &[&str]) -> (Json, Json) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradefold"));
    let report = json(command.arg("backfill").arg(input).arg("--warehouse").arg(lake).arg("--json").args(flags));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/delta_reader.py");
    let counted = json(
        Command::new(python())
            .arg(script)
            .arg(lake.join("trades"))
            .args(["--key", "wallet_address, tx_hash, COALESCE(order_hash, '')"])
            .args(["--volatile", "source_run,fetched_at"]),
    );
    (report, counted)
}

/// The demo's Parquet files as other files: rows in another order, other cuts, other row groups; the pages as they are.
fn shuffled(into: &Path) {
    let mut batches: Vec<RecordBatch> = Vec::new();
    for run in ["run-1-000.parquet", "run-2-000.parquet", "run-3-000.parquet"] {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(demo().join(run)).unwrap()).unwrap();
        batches.extend(reader.build().unwrap().map(Result::unwrap));
    }
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    // 7,919 is prime and does not divide the number of rows, so every row comes once.
    let count = rows.num_rows() as u64;
    let order: UInt64Array = (0..count).map(|place| place * 7_919 % count).collect();
    let rows = take_record_batch(&rows, &order).unwrap();
    for (number, start) in (0..rows.num_rows()).step_by(6_000).enumerate() {
        let part = rows.slice(start, 6_000.min(rows.num_rows() - start));
        write(&into.join(format!("part-{}.parquet", 9 - number)), &[part], 1_000);
    }
    for page in fs::read_dir(demo().join("pages")).unwrap() {
        let page = page.unwrap();
        fs::copy(page.path(), into.join(page.file_name())).unwrap();
    }
}

#[test]
fn r7_independent_readers_find_the_same_table_whatever_the_files_and_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (report, counted) = backfill(&demo(), &dir.path().join("lake"), &[]);
    assert_eq!(counted["rows"], 9_685, "fixtures/README.md counts the keys");
    assert_eq!(counted["rows"], report["balance"]["winners"]);
    assert_eq!(counted["keys"], report["balance"]["winners"]);
    let days: Vec<&str> = counted["days"].as_object().unwrap().keys().map(String::as_str).collect();
    let batches = report["batches"].as_array().unwrap();
    let changed = batches.iter().flat_map(|batch| batch["merged"]["days_changed"].as_array().unwrap());
    assert_eq!(days, changed.map(|day| day.as_str().unwrap()).collect::<Vec<_>>());
    for batch in batches {
        // Days as text sort as days do.
        let (first, last) = (batch["days"][0].as_str().unwrap(), batch["days"][1].as_str().unwrap());
        let inside =
            counted["days"].as_object().unwrap().iter().filter(|(day, _)| (first..=last).contains(&day.as_str()));
        assert_eq!(inside.map(|(_, rows)| rows.as_u64().unwrap()).sum::<u64>(), batch["winners"].as_u64().unwrap());
    }

    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    shuffled(&other);
    let flags = ["--batch-days", "5", "--threads", "1", "--memory", "200MB"];
    let (other_report, other_counted) = backfill(&other, &dir.path().join("other-lake"), &flags);
    assert_eq!(other_report["batches"].as_array().unwrap().len(), 5);
    assert_eq!(other_report["balance"], report["balance"]);
    assert_eq!(other_counted["checksum"], counted["checksum"]);
    assert_eq!(other_counted["days"], counted["days"]);
}
