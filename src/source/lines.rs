//! NDJSON: one object on each line.

use super::bytes::{Stored, Unpacked, damaged};
use super::cell::{NoRow, fields_of, rejected_row};
use super::records::{MAX_ROW_BYTES, Raw, Record, too_long, utf8};
use crate::error::Result;
use std::io::{BufRead, BufReader, Read};

pub(crate) struct Lines {
    url: String,
    reader: BufReader<Unpacked>,
    line: Vec<u8>,
    row: u64,
}

impl Lines {
    pub(crate) fn new(url: &str, bytes: Unpacked) -> Lines {
        Lines { url: url.into(), reader: BufReader::with_capacity(1 << 17, bytes), line: Vec::new(), row: 0 }
    }

    pub(crate) fn read(&mut self) -> Result<Option<Record<'_>>> {
        loop {
            if !self.fill()? {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let text = utf8(&self.url, self.row, &self.line)?;
        let text = if self.row == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if let Some(inner) = rejected_row(text) {
            return Ok(Some(Record::of_json(self.row, inner)));
        }
        match fields_of(text) {
            Ok(fields) => Ok(Some(Record { row: self.row, fields: Ok(fields), raw: Raw::Json(text) })),
            // Without a line break the last line was cut; with one, whoever wrote it meant it so.
            Err(NoRow::Syntax(error)) if !text.ends_with('\n') => Err(damaged(&self.url, error).with("row", self.row)),
            Err(_) => Ok(Some(Record::of_json(self.row, text))),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.reader.get_ref().position()
    }

    pub(crate) fn finish(self) -> Result<Stored> {
        self.reader.into_inner().finish()
    }

    /// Reads the next line; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        self.line.clear();
        let read = (&mut self.reader).take(MAX_ROW_BYTES).read_until(b'\n', &mut self.line);
        self.row += 1;
        match read {
            Ok(read) if read as u64 == MAX_ROW_BYTES => Err(too_long(&self.url, self.row)),
            Ok(read) => Ok(read > 0),
            Err(error) => Err(self.reader.get_ref().failed(self.row, error)),
        }
    }
}
