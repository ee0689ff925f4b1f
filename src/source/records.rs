//! Rows of text inputs, one at a time.

use super::bytes::{Stored, Unpacked, damaged};
use super::cell::{Cell, Fields, NoRow, fields_of, json_text};
use super::csv::Csv;
use super::document::Document;
use super::lines::Lines;
use super::{Format, Input};
use crate::error::{Error, Result};
use std::path::Path;

/// The longest row that is read: a larger one means that the file is something else than its name says.
pub(crate) const MAX_ROW_BYTES: u64 = 64 << 20;

/// Why a row is set aside: a phrase that never changes, and the value that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reason {
    pub(crate) phrase: &'static str,
    value: Option<String>,
}

/// The longest value that is shown with a reason.
const VALUE_CHARS: usize = 80;

impl Reason {
    pub(crate) fn new(phrase: &'static str) -> Reason {
        Reason { phrase, value: None }
    }

    pub(crate) fn of(phrase: &'static str, value: String) -> Reason {
        Reason { phrase, value: Some(value) }
    }

    /// The phrase with the value, cut where it is long.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            None => self.phrase.to_string(),
            Some(value) if value.chars().count() > VALUE_CHARS => {
                format!("{}: {}…", self.phrase, value.chars().take(VALUE_CHARS).collect::<String>())
            }
            Some(value) => format!("{}: {value}", self.phrase),
        }
    }
}

/// A row as it stood in the input.
#[derive(Debug)]
pub(crate) enum Raw<'a> {
    /// JSON text.
    Json(&'a str),
    /// A line that is no JSON.
    Line(&'a str),
    /// A CSV row whose fields are those of the record.
    Header,
    /// A CSV row that does not fit the header.
    List(Vec<Option<String>>),
}

/// One row of a text input.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Its place, from 1: the line of an NDJSON file, the object of a JSON file, the row below the header of a CSV
    /// file.
    pub(crate) row: u64,
    /// Its values, or why it can't be used.
    pub(crate) fields: std::result::Result<Fields<'a>, Reason>,
    pub(crate) raw: Raw<'a>,
}

impl<'a> Record<'a> {
    /// A row of JSON text, which is known to be complete.
    pub(crate) fn of_json(row: u64, text: &'a str) -> Record<'a> {
        match fields_of(text) {
            Ok(fields) => Record { row, fields: Ok(fields), raw: Raw::Json(text) },
            Err(NoRow::NoObject) => Record { row, fields: Err(Reason::new("not an object")), raw: Raw::Json(text) },
            Err(NoRow::Syntax(error)) => {
                Record { row, fields: Err(Reason::of("not JSON", error.to_string())), raw: Raw::Line(text) }
            }
        }
    }

    /// The row as it stood, as JSON on one line. A CSV row becomes an object, or an array if it does not fit its
    /// header; a line that is no JSON becomes a string.
    pub(crate) fn raw_json(&self) -> String {
        match (&self.raw, &self.fields) {
            // A line break in JSON text can only stand between tokens.
            (Raw::Json(text), _) => text.trim().replace(['\n', '\r'], " "),
            (Raw::Line(text), _) => json_text(text.trim_end_matches(['\n', '\r'])),
            (Raw::List(values), _) => serde_json::Value::from(values.clone()).to_string(),
            (Raw::Header, Ok(fields)) => {
                let value = |cell: &Cell<'_>| match cell {
                    Cell::Text(text) => serde_json::Value::from(text.as_ref()),
                    _ => serde_json::Value::Null,
                };
                let members = fields.iter().map(|(name, cell)| (name.to_string(), value(cell)));
                serde_json::Value::Object(members.collect()).to_string()
            }
            (Raw::Header, Err(_)) => "null".into(),
        }
    }
}

/// The rows of one text input, read without ever holding a whole NDJSON or CSV file. It blocks on the disk.
pub(crate) struct Records(Reader);

enum Reader {
    Lines(Lines),
    Document(Document),
    Csv(Csv),
}

impl Records {
    /// Opens the local copy of an input. `envelope` names the arrays that carry rows in JSON pages.
    pub(crate) fn open(input: &Input, copy: &Path, envelope: &[String]) -> Result<Records> {
        let bytes = Unpacked::open(input, copy)?;
        Ok(Records(match input.format {
            Format::Ndjson => Reader::Lines(Lines::new(&input.url, bytes)),
            Format::Json => Reader::Document(Document::read(&input.url, bytes, envelope, input.page.is_some())?),
            Format::Csv => Reader::Csv(Csv::open(&input.url, bytes)?),
            Format::Parquet => return Err(Error::bug("read Parquet row by row").with("file", &input.url)),
        }))
    }

    /// The names of the columns, where they stand before the rows.
    pub(crate) fn header(&self) -> Option<&[String]> {
        match &self.0 {
            Reader::Csv(csv) => Some(csv.header()),
            Reader::Lines(_) | Reader::Document(_) => None,
        }
    }

    /// The next row, or nothing at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Record<'_>>> {
        match &mut self.0 {
            Reader::Lines(lines) => lines.read(),
            Reader::Document(document) => Ok(document.read_row()),
            Reader::Csv(csv) => csv.read(),
        }
    }

    /// How many stored bytes were read so far.
    pub(crate) fn position(&self) -> u64 {
        match &self.0 {
            Reader::Lines(lines) => lines.position(),
            Reader::Document(document) => document.stored().bytes,
            Reader::Csv(csv) => csv.position(),
        }
    }

    /// The digest and the number of the stored bytes. Call it after the last row.
    pub(crate) fn finish(self) -> Result<Stored> {
        match self.0 {
            Reader::Lines(lines) => lines.finish(),
            Reader::Document(document) => Ok(document.stored().clone()),
            Reader::Csv(csv) => csv.finish(),
        }
    }
}

/// The text of a row, or the error that names the row with bytes that are no UTF-8.
pub(crate) fn utf8<'a>(url: &str, row: u64, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| no_utf8(url, error).with("row", row))
}

/// The error for bytes that are no UTF-8.
pub(crate) fn no_utf8(url: &str, error: std::str::Utf8Error) -> Error {
    damaged(url, error).hint("the file must be UTF-8: fetch it again, or convert it; nothing was landed")
}

/// The error for a row past [`MAX_ROW_BYTES`].
pub(crate) fn too_long(url: &str, row: u64) -> Error {
    Error::data("read a row of more than 64 MiB")
        .with("file", url)
        .with("row", row)
        .hint("a JSON document must be named .json; a CSV file may lack a closing quote")
}
