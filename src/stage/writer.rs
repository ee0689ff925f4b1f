//! Encodes winners: one Parquet file per batch and stream, row groups of 16 MiB and more.

use crate::dataset::Dataset;
use crate::engine::number;
use crate::error::{Doing, Result};
use crate::plan::Limits;
use crate::window::Day;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// When a row group is closed. BigQuery advises 16 MiB and more; past this much a writer takes memory and gains nothing.
const ROW_GROUP_BYTES: usize = 24 << 20;
const ROW_GROUP_ROWS: usize = 1 << 20;
/// How many encoders run at once. Each has an open file for every batch, and an operating system allows 1,024 of them.
const ROUTERS_MAX: usize = 4;
/// What the open row groups of one encoder may hold; past it the largest is written, however small it is.
const OPEN_BYTES: usize = 512 << 20;

/// A file that is written, before it has a place.
#[derive(Clone, Debug)]
pub struct StagedFile {
    /// The batch that it belongs to.
    pub number: i32,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// The BLAKE3 digest of its bytes, in hexadecimal.
    pub digest: String,
    /// Its rows.
    pub rows: u64,
}

/// The files that were written, and the rows of each day; `None`: no day.
pub type Written = (Vec<StagedFile>, BTreeMap<Option<Day>, u64>);

/// What every Parquet file of ours is written with: zstd, and values that BigQuery reads as they are meant.
pub(super) fn writer_properties() -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(1).doing("choose a compression level")?;
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}

/// Takes winners in any order and writes each into the file of its batch. One for each stream.
#[derive(Debug)]
pub struct Router {
    schema: SchemaRef,
    partition: Option<usize>,
    limits: Limits,
    folder: PathBuf,
    stream: usize,
    open_bytes_max: usize,
    writers: BTreeMap<i32, Writer>,
    /// Rows by day.
    days: BTreeMap<Option<Day>, u64>,
}

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    inner: ArrowWriter<File>,
    rows: u64,
}

impl Writer {
    fn create(path: PathBuf, schema: &SchemaRef) -> Result<Writer> {
        let file = File::create(&path).doing("create a file of winners")?;
        let inner = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(writer_properties()?))
            .doing("begin a file of winners")?;
        Ok(Writer { path, inner, rows: 0 })
    }

    fn close(self, number: i32) -> Result<StagedFile> {
        self.inner.close().doing("close a file of winners")?;
        let mut hasher = blake3::Hasher::new();
        let file = File::open(&self.path).doing("read back a file of winners")?;
        let size_bytes = file.metadata().doing("read back a file of winners")?.len();
        hasher.update_reader(file).doing("read back a file of winners")?;
        let digest = hasher.finalize().to_hex().to_string();
        Ok(StagedFile { number, path: self.path, size_bytes, digest, rows: self.rows })
    }
}

/// Writes a file with the columns of the dataset and no row.
///
/// # Errors
/// When the file can't be written or read back.
pub fn write_empty(dataset: &Dataset, folder: &Path) -> Result<StagedFile> {
    Writer::create(folder.join("empty.parquet"), dataset.schema())?.close(0)
}

impl Router {
    /// Writes into `folder` of the local disk; `stream` tells the files of several routers apart.
    pub fn new(dataset: &Dataset, limits: Limits, folder: &Path, stream: usize) -> Router {
        let schema = dataset.schema();
        let partition = dataset.partition.as_ref().and_then(|name| schema.index_of(name).ok());
        Router {
            schema: SchemaRef::clone(schema),
            partition,
            limits,
            folder: folder.to_path_buf(),
            stream,
            open_bytes_max: OPEN_BYTES,
            writers: BTreeMap::new(),
            days: BTreeMap::new(),
        }
    }

    /// The same router, with another limit to what its open row groups may hold.
    #[must_use]
    pub fn with_open_bytes(mut self, most: usize) -> Router {
        self.open_bytes_max = most;
        self
    }

    /// What the open row groups hold, as their encoders estimate it.
    pub fn open_bytes(&self) -> usize {
        self.writers.values().map(|writer| writer.inner.in_progress_size()).sum()
    }

    /// Takes winners with the columns of the dataset.
    ///
    /// # Errors
    /// When they can't be encoded or written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), batch.columns().to_vec())
            .doing("take winners with the columns of the dataset")?;
        let Some(partition) = self.partition else {
            *self.days.entry(None).or_default() += batch.num_rows() as u64;
            return self.write(0, &batch);
        };
        let days = cast(batch.column(partition), &DataType::Date32).doing("find the days of winners")?;
        let mut rows: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let day = number(days.as_ref(), row).map(|day| Day(day as i32));
            *self.days.entry(day).or_default() += 1;
            rows.entry(day.map_or(0, |day| self.limits.batch_of(day))).or_default().push(row as u32);
        }
        if rows.len() == 1 {
            return rows.keys().try_for_each(|&number| self.write(number, &batch));
        }
        rows.into_iter().try_for_each(|(number, rows)| {
            let part = take_record_batch(&batch, &UInt32Array::from(rows)).doing("split winners by batch")?;
            self.write(number, &part)
        })
    }

    fn write(&mut self, number: i32, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let writer = match self.writers.entry(number) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let path = self.folder.join(format!("{number}-{}.parquet", self.stream));
                entry.insert(Writer::create(path, &self.schema)?)
            }
        };
        writer.inner.write(batch).doing("encode winners")?;
        writer.rows += batch.num_rows() as u64;
        if writer.inner.in_progress_size() >= ROW_GROUP_BYTES {
            return writer.inner.flush().doing("write a row group of winners");
        }
        let open_bytes = self.open_bytes();
        let largest = self.writers.values_mut().max_by_key(|writer| writer.inner.in_progress_size());
        match largest {
            Some(largest) if open_bytes > self.open_bytes_max => {
                largest.inner.flush().doing("write a row group of winners")
            }
            _ => Ok(()),
        }
    }

    /// Closes the files. Gives them, and the rows by day.
    ///
    /// # Errors
    /// When a file can't be written or read back.
    pub fn finish(self) -> Result<Written> {
        let files = self.writers.into_iter().map(|(number, writer)| writer.close(number));
        Ok((files.collect::<Result<Vec<_>>>()?, self.days))
    }
}

/// Encodes winners, all streams at once, by a few encoders with files of their own. Gives the files, and the rows by day.
///
/// # Errors
/// When a stream fails or a file can't be written.
pub async fn write_winners(
    streams: Vec<SendableRecordBatchStream>,
    dataset: &Dataset,
    limits: Limits,
    folder: &Path,
) -> Result<Written> {
    let mut groups: Vec<Vec<SendableRecordBatchStream>> = Vec::new();
    for (number, stream) in streams.into_iter().enumerate() {
        match groups.get_mut(number % ROUTERS_MAX) {
            Some(group) => group.push(stream),
            None => groups.push(vec![stream]),
        }
    }
    let mut tasks = Vec::new();
    for (number, group) in groups.into_iter().enumerate() {
        let mut router = Router::new(dataset, limits, folder, number);
        let mut stream = futures::stream::select_all(group);
        tasks.push(tokio::spawn(async move {
            while let Some(batch) = stream.try_next().await.doing("keep one row of each key")? {
                router.push(&batch)?;
            }
            router.finish()
        }));
    }
    let (mut files, mut days) = (Vec::new(), BTreeMap::new());
    for task in tasks {
        let (own, rows) = task.await.doing("keep one row of each key")??;
        files.extend(own);
        for (day, rows) in rows {
            *days.entry(day).or_default() += rows;
        }
    }
    Ok((files, days))
}
