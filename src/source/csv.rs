//! CSV after RFC 4180, with a header. An empty field is NULL, a quoted empty field is an empty text: that is why the
//! rows are split here, for CSV libraries do not tell one from the other.

use super::bytes::{Stored, Unpacked, damaged};
use super::cell::Cell;
use super::records::{MAX_ROW_BYTES, Raw, Reason, Record, too_long, utf8};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

pub(crate) struct Csv {
    url: String,
    reader: BufReader<Unpacked>,
    header: Vec<String>,
    record: Vec<u8>,
    row: u64,
}

impl Csv {
    pub(crate) fn open(url: &str, bytes: Unpacked) -> Result<Csv> {
        let reader = BufReader::with_capacity(1 << 17, bytes);
        let mut csv = Csv { url: url.into(), reader, header: Vec::new(), record: Vec::new(), row: 0 };
        let headless = |why: &str| {
            Error::usage("read the header of a CSV file")
                .with("file", url)
                .because(why.to_string())
                .hint("the first row must name the columns, each once")
        };
        if !csv.fill()? {
            return Err(headless("the file is empty"));
        }
        let text = utf8(url, 0, &csv.record)?.trim_start_matches('\u{feff}');
        let names = split(text).map_err(headless)?;
        csv.header = names.into_iter().map(|name| name.unwrap_or_default().into_owned()).collect();
        let mut sorted: Vec<&String> = csv.header.iter().collect();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(headless(&format!("column `{}` is there twice", pair[0]))),
            None => Ok(csv),
        }
    }

    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    pub(crate) fn read(&mut self) -> Result<Option<Record<'_>>> {
        if !self.fill()? {
            return Ok(None);
        }
        self.row += 1;
        let row = self.row;
        let text = utf8(&self.url, row, &self.record)?;
        let values = match split(text) {
            Ok(values) => values,
            Err(why) => return Ok(Some(Record { row, fields: Err(Reason::new(why)), raw: Raw::Line(text) })),
        };
        if values.len() == self.header.len() {
            let cell = |value: Option<_>| value.map_or(Cell::Null, Cell::Text);
            let names = self.header.iter().map(|name| Cow::Borrowed(name.as_str()));
            return Ok(Some(Record {
                row,
                fields: Ok(names.zip(values.into_iter().map(cell)).collect()),
                raw: Raw::Header,
            }));
        }
        let found = format!("{} instead of {}", values.len(), self.header.len());
        let why = Reason::of("wrong number of fields", found);
        if !text.ends_with('\n') && values.len() < self.header.len() {
            return Err(damaged(&self.url, why.text()).with("row", row));
        }
        let raw = Raw::List(values.into_iter().map(|value| value.map(Cow::into_owned)).collect());
        Ok(Some(Record { row, fields: Err(why), raw }))
    }

    pub(crate) fn position(&self) -> u64 {
        self.reader.get_ref().position()
    }

    pub(crate) fn finish(self) -> Result<Stored> {
        self.reader.into_inner().finish()
    }

    /// Reads the next record, line breaks inside of quotes included; blank lines are skipped. `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        self.record.clear();
        let mut quoted = false;
        loop {
            let from = self.record.len();
            let room = MAX_ROW_BYTES - from as u64;
            let read = (&mut self.reader).take(room).read_until(b'\n', &mut self.record);
            let read = read.map_err(|error| self.reader.get_ref().failed(self.row + 1, error))?;
            if read as u64 == room {
                return Err(too_long(&self.url, self.row + 1));
            }
            if read == 0 && quoted {
                return Err(damaged(&self.url, "a quoted field has no end").with("row", self.row + 1));
            }
            quoted = ends_quoted(&self.record[from..], quoted);
            if read == 0 || !quoted && !self.record.trim_ascii().is_empty() {
                return Ok(read > 0);
            }
            if !quoted {
                self.record.clear();
            }
        }
    }
}

/// Whether a quoted field is open at the end of a line that began inside of one, or not.
fn ends_quoted(line: &[u8], mut quoted: bool) -> bool {
    let mut at_start = true;
    let mut bytes = line.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted => quoted = bytes.next_if_eq(&&b'"').is_some(),
            b'"' if at_start => quoted = true,
            _ => {}
        }
        at_start = !quoted && *byte == b',';
    }
    quoted
}

/// The fields of one record; an unquoted empty one is nothing.
fn split(record: &str) -> std::result::Result<Vec<Option<Cow<'_, str>>>, &'static str> {
    let record = record.strip_suffix('\n').unwrap_or(record);
    let mut rest = record.strip_suffix('\r').unwrap_or(record);
    let mut fields = Vec::new();
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(inside) => {
                let end = closing_quote(inside).ok_or("a quoted field has no end")?;
                let text = &inside[..end];
                let text = if text.contains('"') { Cow::Owned(text.replace("\"\"", "\"")) } else { text.into() };
                (Some(text), &inside[end + 1..])
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                ((end > 0).then(|| Cow::Borrowed(&rest[..end])), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("text after a closing quote"),
        }
    }
}

/// Where the quote is that closes a field; doubled quotes are part of it.
fn closing_quote(inside: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + inside[from..].find('"')?;
        if !inside[at + 1..].starts_with('"') {
            return Some(at);
        }
        from = at + 2;
    }
}
