//! Rows that can't be used: `rejects.ndjson`, which can be mended and fed back in.

use crate::source::{Reason, json_text};
use std::collections::BTreeMap;

/// The name of the file of rejects in the landing's folder.
pub(crate) const REJECTS: &str = "rejects.ndjson";
const FULL_BYTES: usize = 1 << 16;

/// Lines that were not written yet, and counts of all that were.
#[derive(Default)]
pub(crate) struct Rejects {
    lines: Vec<u8>,
    pub(crate) by_reason: BTreeMap<String, u64>,
}

impl Rejects {
    /// Sets a row aside; `raw` is the row as JSON on one line.
    pub(crate) fn push(&mut self, file: &str, row: u64, column: Option<&str>, reason: &Reason, raw: &str) {
        let of_column = column.map_or("null".into(), json_text);
        let (file, text) = (json_text(file), json_text(&reason.text()));
        let line = format!(
            "{{\"rejected\":{{\"file\":{file},\"row\":{row},\"column\":{of_column},\"reason\":{text}}},\"row\":{raw}}}\n"
        );
        self.lines.extend_from_slice(line.as_bytes());
        let name = column.map_or_else(|| reason.phrase.to_string(), |column| format!("{column}: {}", reason.phrase));
        *self.by_reason.entry(name).or_default() += 1;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lines.len() >= FULL_BYTES
    }

    /// Hands out the lines; nothing where there are none.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        (!self.lines.is_empty()).then(|| std::mem::take(&mut self.lines))
    }
}
