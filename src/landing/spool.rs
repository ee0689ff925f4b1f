//! Batches to few Parquet files, hashed while they are written.

use crate::error::{Doing, Result};
use crate::landing::LandedFile;
use crate::storage::{Folder, Upload};
use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

const ROW_GROUP_BYTES: usize = 64 << 20;

/// An object in the making that hashes what goes into it.
struct Hashed {
    object: Upload,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl AsyncFileWriter for Hashed {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        Box::pin(async move { self.object.write(bytes).await.map_err(|error| ParquetError::External(error.into())) })
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move { self.object.finish().await.map_err(|error| ParquetError::External(error.into())) })
    }
}

struct Open {
    name: String,
    writer: AsyncArrowWriter<Hashed>,
}

/// Writes `landing-00001.parquet` and so on; a new file once one has `max_bytes`.
pub(crate) struct Spool {
    into: Folder,
    max_bytes: u64,
    open: Option<Box<Open>>,
    files: Vec<LandedFile>,
}

impl Spool {
    pub(crate) fn new(into: &Folder, max_bytes: u64) -> Spool {
        Spool { into: into.clone(), max_bytes, open: None, files: Vec::new() }
    }

    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.next_file(batch)?,
        };
        let open = self.open.insert(open);
        open.writer.write(batch).await.doing("write landed rows")?;
        if (open.writer.bytes_written() + open.writer.in_progress_size()) as u64 >= self.max_bytes {
            self.close().await?;
        }
        Ok(())
    }

    /// Ends the open file, if there is one. It holds the rows of this input and no others, and is called like it.
    pub(crate) async fn end_file(&mut self, of: String) -> Result<()> {
        let ended = self.files.len();
        self.close().await?;
        self.files[ended..].iter_mut().for_each(|file| file.shown.clone_from(&of));
        Ok(())
    }

    /// Ends the last file and hands out all of them.
    pub(crate) async fn finish(&mut self) -> Result<Vec<LandedFile>> {
        self.close().await?;
        Ok(std::mem::take(&mut self.files))
    }

    /// Gives up: an unfinished upload must not stay and be paid for.
    pub(crate) async fn abort(self) {
        if let Some(open) = self.open {
            open.writer.into_inner().object.abort().await;
        }
    }

    fn next_file(&self, batch: &RecordBatch) -> Result<Box<Open>> {
        let name = format!("landing-{:05}.parquet", self.files.len() + 1);
        let object = self.into.begin(&name);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).doing("set up Parquet")?))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let hashed = Hashed { object, hasher: blake3::Hasher::new(), bytes: 0 };
        let writer =
            AsyncArrowWriter::try_new(hashed, batch.schema(), Some(properties)).doing("begin a landed file")?;
        Ok(Box::new(Open { name, writer }))
    }

    async fn close(&mut self) -> Result<()> {
        // It stays open until it is whole, so that `abort` finds it.
        let Some(open) = &mut self.open else { return Ok(()) };
        let footer = open.writer.finish().await.doing("end a landed file")?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let hashed = open.writer.into_inner();
        self.files.push(LandedFile {
            url: self.into.url_of(&open.name),
            shown: open.name,
            size_bytes: hashed.bytes,
            digest: hashed.hasher.finalize().to_hex().to_string(),
            rows: footer.file_metadata().num_rows() as u64,
            by_reference: false,
            last_modified_us: None,
        });
        Ok(())
    }
}
