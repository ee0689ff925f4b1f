//! Rows written for a person to look at: as NDJSON, or as Parquet where the name says so.

use crate::error::{Doing, Error, Result};
use crate::storage::Folder;
use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use parquet::arrow::ArrowWriter;
use std::io::BufWriter;
use tempfile::NamedTempFile;

/// A file of rows. Nothing is at its place before [`RowFile::finish`], and nothing ever where no row came.
#[derive(Debug)]
pub struct RowFile {
    name: String,
    file: NamedTempFile,
    rows: u64,
    writer: Option<Writer>,
}

#[derive(Debug)]
enum Writer {
    Lines(LineDelimitedWriter<BufWriter<std::fs::File>>),
    Parquet(Box<ArrowWriter<std::fs::File>>),
}

impl RowFile {
    /// Begins a file that will get this name; `.parquet` makes it Parquet, anything else NDJSON.
    ///
    /// # Errors
    /// When there is no room for a temporary file.
    pub fn new(name: &str) -> Result<RowFile> {
        let file = NamedTempFile::new().doing("make a temporary file").map_err(Error::in_temporary_folder)?;
        Ok(RowFile { name: name.to_string(), file, rows: 0, writer: None })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.write(batch).map_err(Error::in_temporary_folder)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if self.writer.is_none() {
            let file = self.file.reopen().doing("open a temporary file")?;
            self.writer = Some(if self.name.ends_with(".parquet") {
                let properties = super::file::writer_properties(super::file::LEVEL)?.build();
                let writer =
                    ArrowWriter::try_new(file, batch.schema(), Some(properties)).doing("begin a file of rows")?;
                Writer::Parquet(Box::new(writer))
            } else {
                // NULL and a missing field are told apart, as they are in the input.
                let builder = WriterBuilder::new().with_explicit_nulls(true);
                Writer::Lines(builder.build::<_, LineDelimited>(BufWriter::new(file)))
            });
        }
        match &mut self.writer {
            Some(Writer::Lines(writer)) => writer.write(batch).doing("write rows"),
            Some(Writer::Parquet(writer)) => writer.write(batch).doing("write rows"),
            None => Ok(()),
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Puts the file into a folder, over one of its name. Gives its URL, or nothing where no row came.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub async fn finish(self, folder: &Folder) -> Result<Option<String>> {
        let doing = "finish a file of rows";
        let finished = match self.writer {
            None => return Ok(None),
            Some(Writer::Lines(mut writer)) => {
                let finished = writer.finish().doing(doing);
                finished.and_then(|()| std::io::Write::flush(&mut writer.into_inner()).doing(doing))
            }
            Some(Writer::Parquet(writer)) => writer.close().map(drop).doing(doing),
        };
        finished.map_err(Error::in_temporary_folder)?;
        folder.upload(&self.name, self.file.path()).await?;
        Ok(Some(folder.url_of(&self.name)))
    }
}
