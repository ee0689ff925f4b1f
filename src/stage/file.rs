//! A Parquet file in the making, into which rows are encoded and whole row groups of other files copied as they are.

use crate::error::{Doing, Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A row group is closed when it has this many rows.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// The format counts row groups with 15 bits: from here on they are not copied one by one any more.
const ROW_GROUPS_MAX: usize = 16_384;

/// The level of zstd that is fastest, and no worse on hex digests than the next ones.
pub(super) const LEVEL: i32 = 1;

/// What every Parquet file of ours is written with: zstd, and values that BigQuery reads as they are meant.
pub(super) fn writer_properties(level: i32) -> Result<WriterPropertiesBuilder> {
    let level = ZstdLevel::try_new(level).doing("choose a compression level")?;
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // Footers have no index of pages: row groups that are copied bring none along, and a file has one for all or
        // none.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true))
}

/// A file that is open only while something is written to it: there may be one for each batch, and an operating system
/// allows a process few open files, on some machines 256.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: Option<File>,
}

impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::options().append(true).open(&self.path)?,
        };
        self.file.insert(file).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file = None;
        Ok(())
    }
}

/// A file that is written row group by row group.
pub(super) struct ParquetFile {
    path: PathBuf,
    schema: SchemaRef,
    writer: SerializedFileWriter<Appended>,
    factory: ArrowRowGroupWriterFactory,
    /// The row group that rows are encoded into, one writer for each column of the format.
    open: Vec<ArrowColumnWriter>,
    open_rows: usize,
    rows: u64,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// Begins a file for rows of this schema.
    pub(super) fn create(path: PathBuf, schema: &SchemaRef, properties: WriterProperties) -> Result<ParquetFile> {
        let file = Some(File::create(&path).doing("create a file of winners")?);
        let file = Appended { path: path.clone(), file };
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties));
        let writer = writer.and_then(ArrowWriter::into_serialized_writer);
        let (mut writer, factory) = writer.doing("begin a file of winners")?;
        writer.flush().doing("begin a file of winners")?;
        Ok(ParquetFile {
            path,
            schema: SchemaRef::clone(schema),
            writer,
            factory,
            open: Vec::new(),
            open_rows: 0,
            rows: 0,
        })
    }

    /// What the row group that is open would take in the file, about.
    pub(super) fn open_bytes(&self) -> usize {
        self.open.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    /// What the row group that is open takes in memory, about: more, since places in dictionaries are not packed yet.
    pub(super) fn held_bytes(&self) -> usize {
        self.open.iter().map(ArrowColumnWriter::memory_size).sum()
    }

    /// Encodes rows. Texts may be views or dictionaries.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let doing = "encode winners";
        if self.open.is_empty() {
            self.open = self.factory.create_column_writers(self.writer.flushed_row_groups().len()).doing(doing)?;
        }
        let mut writers = self.open.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, column).doing(doing)? {
                let writer = writers.next().ok_or_else(|| Error::bug(doing).because("a column has no writer"))?;
                writer.write(&leaf).doing(doing)?;
            }
        }
        self.open_rows += batch.num_rows();
        self.rows += batch.num_rows() as u64;
        if self.open_rows >= ROW_GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    /// Closes the row group that is open.
    pub(super) fn flush(&mut self) -> Result<()> {
        let doing = "write a row group of winners";
        if self.open_rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().doing(doing)?;
        for column in std::mem::take(&mut self.open) {
            column.close().and_then(|chunk| chunk.append_to_row_group(&mut group)).doing(doing)?;
        }
        group.close().doing(doing)?;
        self.open_rows = 0;
        self.writer.flush().doing(doing)
    }

    /// The columns of a row group of another file that are those of this one, where every one is there in the same
    /// form.
    pub(super) fn fitting<'g>(&self, group: &'g RowGroupMetaData) -> Option<Vec<&'g ColumnChunkMetaData>> {
        if self.writer.flushed_row_groups().len() >= ROW_GROUPS_MAX {
            return None;
        }
        let columns = self
            .writer
            .schema_descr()
            .columns()
            .iter()
            .map(|own| group.columns().iter().find(|column| column.column_descr() == own.as_ref()));
        columns.collect()
    }

    /// Copies a row group of another file without decoding it.
    pub(super) fn copy(&mut self, from: &File, rows: u64, columns: &[&ColumnChunkMetaData]) -> Result<()> {
        let doing = "copy a row group of winners";
        self.flush()?;
        let mut group = self.writer.next_row_group().doing(doing)?;
        for column in columns {
            let closed = ColumnCloseResult {
                bytes_written: column.compressed_size().max(0) as u64,
                rows_written: rows,
                metadata: (*column).clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            group.append_column(from, closed).doing(doing)?;
        }
        group.close().doing(doing)?;
        self.rows += rows;
        self.writer.flush().doing(doing)
    }

    /// Closes the file. Gives its path and rows.
    pub(super) fn finish(mut self) -> Result<(PathBuf, u64)> {
        self.flush()?;
        self.writer.finish().doing("close a file of winners")?;
        Ok((self.path, self.rows))
    }
}

/// The BLAKE3 digest of a file's bytes, in hexadecimal.
pub(super) fn digest(path: &Path) -> Result<String> {
    let doing = "read back a file of winners";
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).doing(doing)?).doing(doing)?;
    Ok(hasher.finalize().to_hex().to_string())
}
