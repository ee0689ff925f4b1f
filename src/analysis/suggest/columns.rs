//! Which columns can be a part of a key, and how much they look like it.

use crate::dataset::{KeyPart, StandIn, is_text};
use crate::kernel::{Cell, ColumnSight};
use crate::sql::Dialect;
use arrow::datatypes::{DataType, Field};

/// What names often say of a column that names things, of one that tells when or in which state something was seen, and
/// of one that tells how a row was collected. No more than a hint: it decides among keys that do equally well.
const NAMES_THINGS: [&str; 10] = ["uuid", "guid", "hash", "key", "isin", "sku", "slug", "address", "email", "code"];
const VERSIONS: [&str; 16] = [
    "updated",
    "modified",
    "changed",
    "fetched",
    "loaded",
    "ingest",
    "collected",
    "inserted",
    "created",
    "timestamp",
    "status",
    "version",
    "batch",
    "source",
    "offset",
    "page",
];
const NUMBERS_ROWS: [&str; 6] = ["row", "rownum", "row_number", "index", "seq", "rank"];

/// The doubt of a column whose name or type is of the latter two kinds.
const DOUBTFUL: u32 = 3;

/// A column that can be a part of a key.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its place among the columns that count.
    pub(super) at: usize,
    /// What is hashed of it.
    pub(super) cell: Cell,
    /// How it is written in a key.
    pub(super) part: KeyPart,
    /// How many different values it has, about.
    pub(super) about: u64,
    /// Whether it is a time or a date.
    pub(super) is_time: bool,
    /// How little it looks like a column that names things, from 0.
    pub(super) doubt: u32,
}

impl Part {
    /// A column as a part of a key, or why it can't be one.
    pub(super) fn of(field: &Field, at: usize, place: usize, rows: u64, sight: ColumnSight) -> Result<Part, String> {
        let kind = field.data_type();
        if rows > 0 && sight.null_rows == rows {
            return Err("NULL in every row".into());
        }
        if kind.is_floating() {
            return Err("a float: equal ones are an accident".into());
        }
        if kind.is_nested() || !can_name(kind) {
            return Err(format!("of a type that names nothing: {kind}"));
        }
        if Dialect::DataFusion.quote(field.name()).is_err() {
            return Err("its name can't stand in a key".into());
        }
        let is_filled = sight.null_rows > 0;
        if is_filled && !is_text(kind) {
            return Err("NULL in some rows, and no text can stand in for it".into());
        }
        let stand_ins = if is_filled { vec![StandIn::Text(String::new())] } else { Vec::new() };
        let is_time = matches!(kind, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
        Ok(Part {
            at,
            cell: Cell { column: place, is_filled },
            part: KeyPart { column: field.name().clone(), stand_ins },
            about: sight.about_values,
            is_time,
            doubt: doubt(field.name(), is_time, kind),
        })
    }

    /// Whether it looks like a column that tells when, in which state or how something was seen.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubt >= DOUBTFUL
    }
}

fn can_name(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => can_name(values),
        DataType::Null | DataType::Interval(_) | DataType::Duration(_) => false,
        other => !other.is_floating() && !other.is_nested(),
    }
}

fn doubt(name: &str, is_time: bool, kind: &DataType) -> u32 {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let is_word = |word: &str| lower == word || lower.split(['_', '-', ' ', '.']).any(|part| part == word);
    if is_time || has(&VERSIONS) || NUMBERS_ROWS.iter().any(|word| is_word(word)) || lower.ends_with("_at") {
        return DOUBTFUL;
    }
    if is_word("id") || is_word("no") || name.ends_with("Id") || has(&NAMES_THINGS) {
        return 0;
    }
    if *kind == DataType::Boolean { 2 } else { 1 }
}
