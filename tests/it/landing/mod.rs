//! Landing: every format, every reason to set a row aside, every broken file, and an account of every row.

mod answers;
mod clean;
mod files;
mod in_sql;
mod inferred;
mod pages;
mod rows;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{LargeStringArray, TimestampMicrosecondArray, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tradefold::dataset::Dataset;
use tradefold::error::Kind;
use tradefold::landing::{Landed, LandingOptions, land};
use tradefold::progress::Silent;
use tradefold::source::discover;
use tradefold::storage::Folder;
use tradefold::window::{Window, parse_us};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const CONTRACT: &str = r#"
name = "landed"
key = ["k", "COALESCE(o, i)"]
order = ["ts DESC NULLS LAST"]
partition = "ts"
envelope = ["orders", "more"]
column = [
  { name = "k", type = "string", format = "hex", from = ["user"] },
  { name = "o", type = "string" },
  { name = "i", type = "string" },
  { name = "ts", type = "timestamp", unit = "s", min = "2020-01-01T00:00:00Z" },
  { name = "n", type = "int64", min = 0, max = 100 },
  { name = "f", type = "float64" },
  { name = "b", type = "bool" },
  { name = "d", type = "date" },
  { name = "t", type = "timestamp" },
  { name = "z", type = "timestamp", zone = "+02:00" },
  { name = "j", type = "json" },
]
"#;
const TS: i64 = 1_760_000_000;

/// Files, what became of them, and the folder that they landed in.
struct Case {
    dir: TempDir,
    options: LandingOptions,
}

impl Case {
    fn new(files: &[(&str, Vec<u8>)]) -> Result<Case> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("in"))?;
        for (name, bytes) in files {
            std::fs::write(dir.path().join("in").join(name), bytes)?;
        }
        Ok(Case { dir, options: LandingOptions::new(parse_us("2025-12-01")?) })
    }

    async fn land(&self, into: &str) -> tradefold::error::Result<Landed> {
        let dataset = Dataset::from_toml(CONTRACT, "t.toml")?;
        let inputs = discover(&[self.dir.path().join("in").display().to_string()], &[]).await?;
        let into = Folder::open(&self.dir.path().join(into).display().to_string(), &[])?;
        land(&dataset, &inputs, &into, &self.options, &Silent).await
    }

    fn rejects(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.dir.path().join("out/rejects.ndjson"))?;
        Ok(text.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?)
    }
}

/// Lands one file.
async fn land_one(name: &str, bytes: impl Into<Vec<u8>>) -> Result<(Case, Landed)> {
    let case = Case::new(&[(name, bytes.into())])?;
    let landed = case.land("out").await.map_err(|error| error.render())?;
    Ok((case, landed))
}

/// The error that landing one file gives, with nothing left behind.
async fn fail_one(name: &str, bytes: impl Into<Vec<u8>>) -> Result<(Kind, String)> {
    let case = Case::new(&[(name, bytes.into())])?;
    let error = case.land("out").await.err().ok_or("it landed")?;
    let out = case.dir.path().join("out");
    assert!(!out.exists() || std::fs::read_dir(out)?.next().is_none(), "something was left behind");
    Ok((error.kind(), error.render()))
}

/// The landed rows as JSON objects without NULLs, in their order.
fn rows(landed: &Landed) -> Result<Vec<Value>> {
    let mut writer = arrow::json::ArrayWriter::new(Vec::new());
    for file in &landed.files {
        let file = std::fs::File::open(url::Url::parse(&file.url)?.to_file_path().map_err(|()| "no path")?)?;
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            // Arrow writes JSON for offsets only, unless it knows the zones by name.
            let batch = batch?;
            let columns = batch.columns().iter().map(|column| match column.data_type() {
                DataType::Timestamp(unit, _) => cast(column, &DataType::Timestamp(*unit, Some("+00:00".into()))),
                _ => Ok(Arc::clone(column)),
            });
            let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
            let names = batch.schema();
            let names = names.fields().iter().map(|field| field.name());
            writer.write(&RecordBatch::try_from_iter(names.zip(columns))?)?;
        }
    }
    writer.finish()?;
    let bytes = writer.into_inner();
    Ok(if bytes.is_empty() { Vec::new() } else { serde_json::from_slice(&bytes)? })
}

fn line(extra: &str) -> String {
    format!("{{\"k\":\"0xA\",\"o\":\"1\",\"ts\":{TS}{extra}}}\n")
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn times(rows: usize) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from(vec![TS * 1_000_000; rows])
}
