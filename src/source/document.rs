//! JSON documents: pages with an envelope, arrays of objects or of pages, objects one after the other.

use super::bytes::{Stored, Unpacked, damaged};
use super::cell::{Cell, Fields, fields_of, rejected_row};
use super::records::{Raw, Reason, Record, no_utf8};
use crate::error::{Error, Result};
use serde_json::value::RawValue;
use std::io::Read;
use std::ops::Range;

/// One file of JSON, held whole: pages are small.
pub(crate) struct Document {
    text: String,
    /// Where bytes that are no UTF-8 were replaced in the text.
    replaced: Vec<usize>,
    rows: Vec<Range<usize>>,
    next: usize,
    stored: Stored,
}

impl Document {
    /// Reads the whole file. Bytes that are no UTF-8 are an error, or, where it is a page of an API, which nobody can
    /// convert, they are held against the rows that have them.
    pub(crate) fn read(url: &str, mut bytes: Unpacked, envelope: &[String], is_page: bool) -> Result<Document> {
        let mut content = Vec::new();
        bytes.read_to_end(&mut content).map_err(|error| bytes.failed(1, error))?;
        let stored = bytes.finish()?;
        let (text, replaced) = match String::from_utf8(content) {
            Ok(text) => (text, Vec::new()),
            Err(error) if is_page => mended(error.as_bytes()),
            Err(error) => return Err(no_utf8(url, error.utf8_error())),
        };
        if text.trim().is_empty() {
            return Err(damaged(url, "it holds no JSON at all"));
        }
        let rows = rows_of(&text, envelope).map_err(|error| not_json(url, error))?;
        Ok(Document { text, replaced, rows, next: 0, stored })
    }

    pub(crate) fn read_row(&mut self) -> Option<Record<'_>> {
        let place = self.rows.get(self.next)?.clone();
        self.next += 1;
        let (row, text) = (self.next as u64, &self.text[place.start..place.end]);
        let from = self.replaced.partition_point(|at| *at < place.start);
        if self.replaced.get(from).is_some_and(|at| *at < place.end) {
            return Some(Record { row, fields: Err(Reason::new("invalid UTF-8")), raw: Raw::Json(text) });
        }
        Some(Record::of_json(row, text))
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }
}

/// The text with a replacement for each sequence of bytes that is no UTF-8, and where those are.
fn mended(bytes: &[u8]) -> (String, Vec<usize>) {
    let (mut text, mut replaced) = (String::with_capacity(bytes.len()), Vec::new());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            replaced.push(text.len());
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, replaced)
}

fn not_json(url: &str, error: serde_json::Error) -> Error {
    if error.is_eof() {
        return damaged(url, error);
    }
    Error::data("read a JSON document")
        .with("file", url)
        .because(error)
        .hint("fetch the file again; if it has one object on each line, name it .ndjson and bad lines are set aside")
}

/// Where the rows are in the text. Rows are found by their place so that the raw text of each is kept.
fn rows_of(text: &str, envelope: &[String]) -> serde_json::Result<Vec<Range<usize>>> {
    let mut rows = Vec::new();
    let documents = text.trim_start_matches('\u{feff}');
    for document in serde_json::Deserializer::from_str(documents).into_iter::<&RawValue>() {
        let document = document?.get();
        if document.starts_with('[') {
            for item in serde_json::from_str::<Vec<&RawValue>>(document)? {
                push(text, item.get(), envelope, &mut rows)?;
            }
        } else {
            push(text, document, envelope, &mut rows)?;
        }
    }
    Ok(rows)
}

/// Adds a row, or all rows of a page.
fn push(text: &str, item: &str, envelope: &[String], rows: &mut Vec<Range<usize>>) -> serde_json::Result<()> {
    let fields = if envelope.is_empty() { Vec::new() } else { fields_of(item).unwrap_or_default() };
    let mut is_page = false;
    for (name, cell) in &fields {
        if let Cell::Nested(std::borrow::Cow::Borrowed(array)) = cell
            && array.starts_with('[')
            && envelope.iter().any(|known| name == known)
        {
            // A page may carry rows in several arrays.
            is_page = true;
            let page: Vec<&RawValue> = serde_json::from_str(array)?;
            rows.extend(page.iter().map(|row| place(text, row.get())));
        }
    }
    if !is_page {
        rows.push(place(text, rejected_row(item).unwrap_or(item)));
    }
    Ok(())
}

/// The names of a row's arrays whose first item is an object with any of these members: the row is a page, and they
/// hold its rows.
pub(crate) fn arrays_with(fields: &Fields<'_>, members: &[String]) -> Vec<String> {
    let has_any = |text: &str| {
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let first = items.first().and_then(|item| fields_of(item.get()).ok()).unwrap_or_default();
        first.iter().any(|(name, _)| members.iter().any(|member| name == member))
    };
    let is_page = |(_, cell): &&(_, Cell<'_>)| matches!(cell, Cell::Nested(text) if has_any(text));
    fields.iter().filter(is_page).map(|(name, _)| name.to_string()).collect()
}

/// The one field that is an array of objects; nothing where there are several.
pub(crate) fn only_array(fields: &Fields<'_>) -> Option<String> {
    let is_array = |(_, cell): &&(_, Cell<'_>)| {
        let Cell::Nested(text) = cell else { return false };
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        items.first().is_some_and(|item| fields_of(item.get()).is_ok())
    };
    let mut found = fields.iter().filter(is_array).map(|(name, _)| name.to_string());
    found.next().filter(|_| found.next().is_none())
}

/// The place of a part of the text in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}
