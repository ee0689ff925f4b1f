//! The floor under any dedup that reads and writes Parquet: decode every row once, encode the winners, nothing else.
//!
//! usage: floor DATA OUT THREADS LEVEL
//!
//! Which rows win is decided before the clock starts. Then each thread takes row group after row group, decodes it
//! completely, filters it and encodes what is left into a file of its own. Prints what that took as JSON.
#![allow(clippy::print_stdout)]

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tradefold::dataset::Dataset;
use tradefold::dedup::Dedup;
use tradefold::engine::{DataFile, Engine, EngineOptions};
use tradefold::kernel::Decided;
use tradefold::progress::Silent;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the timed part took and wrote.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figures {
    pub(crate) wall_s: f64,
    /// `None` where the operating system has no /proc.
    pub(crate) cpu_s: Option<f64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, out, threads, level] = arguments.as_slice() else {
        // `cargo bench` adds an argument of its own.
        println!("usage: floor DATA OUT THREADS LEVEL");
        return Ok(());
    };
    let figures = floor(Path::new(data), Path::new(out), threads.parse()?, level.parse()?).await?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// Decides the trades in a folder, and then times the rest.
pub(crate) async fn floor(data: &Path, out: &Path, threads: usize, level: i32) -> Outcome<Figures> {
    let engine = Engine::new(EngineOptions { memory_bytes: usize::MAX, threads, exact_keys: false })?;
    let dataset = Dataset::built_in("trades")?;
    let dedup = Dedup::new(&engine, &dataset, &files(data)?).await?;
    let decision = dedup.decide(&Silent).await?;
    let decided = decision.decided();
    std::fs::create_dir_all(out)?;
    let (begun, cpu_before_s) = (Instant::now(), cpu_s());
    let next = AtomicUsize::new(0);
    let (next, properties) = (&next, &properties(level)?);
    let written = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let path = out.join(format!("part-{thread:05}.parquet"));
            move || encode(decided, next, &path, properties)
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        let ended = running.into_iter().map(|thread| thread.join().map_err(|_| "a thread failed")?);
        ended.collect::<Outcome<Vec<(u64, u64)>>>()
    })?;
    let cpu_s = cpu_before_s.zip(self::cpu_s()).map(|(before, after)| after - before);
    let wall_s = begun.elapsed().as_secs_f64();
    let (rows, bytes) = written.iter().fold((0, 0), |sum, file| (sum.0 + file.0, sum.1 + file.1));
    Ok(Figures { wall_s, cpu_s, rows, bytes })
}

/// The Parquet files of a folder.
fn files(folder: &Path) -> Outcome<Vec<DataFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = std::path::absolute(entry?.path())?;
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let url = url::Url::from_file_path(&path).map_err(|()| "the path is no URL")?;
            let size_bytes = path.metadata()?.len();
            files.push(DataFile { url: url.into(), label: path.display().to_string(), size_bytes });
        }
    }
    files.sort_by(|a, b| a.url.cmp(&b.url));
    Ok(files)
}

/// As tradefold's own files are written, but for dictionaries: the library's own choice.
fn properties(level: i32) -> Outcome<WriterProperties> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build())
}

/// Takes row groups until none is left. Gives the rows and bytes of the file.
fn encode(decided: &Decided, next: &AtomicUsize, path: &Path, properties: &WriterProperties) -> Outcome<(u64, u64)> {
    let (input, schema) = (decided.kernel.input(), Arc::clone(decided.kernel.schema()));
    let mut writer = ArrowWriter::try_new(File::create(path)?, schema, Some(properties.clone()))?;
    let mut rows = 0;
    while let Some(unit) = input.units().get(next.fetch_add(1, Ordering::Relaxed)) {
        let winners = decided.verdict.winners.of(unit.places());
        let mut begin = 0;
        for batch in input.read(unit, &decided.kernel.schema_of(unit), None)? {
            let batch = batch?;
            let chosen = BooleanArray::from(winners.slice(begin, batch.num_rows()));
            begin += batch.num_rows();
            let kept = filter_record_batch(&batch, &chosen)?;
            rows += kept.num_rows() as u64;
            writer.write(&kept)?;
        }
    }
    writer.close()?;
    Ok((rows, path.metadata()?.len()))
}

/// CPU seconds of this process so far, of threads that have ended as well.
fn cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything; user and system time are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    // Linux tells other programs 100 ticks a second, whatever it does itself.
    Some((ticks()? + ticks()?) as f64 / 100.0)
}
