//! Values as an input holds them, before a contract gives them types, and JSON rows cut into such values.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One value of a row, as its input holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// NULL: JSON's `null`, an unquoted empty field of CSV, a NULL of Parquet.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as it is written: a token id of 78 digits must not pass through a float.
    Number(Cow<'a, str>),
    /// Text.
    Text(Cow<'a, str>),
    /// An object or an array, as JSON text.
    Nested(Cow<'a, str>),
    /// An integer of Parquet.
    Int(i64),
    /// A float of Parquet.
    Float(f64),
    /// A time of Parquet, in microseconds since 1970-01-01 UTC.
    Time(i64),
    /// A date of Parquet, in days since 1970-01-01.
    Day(i32),
}

/// A row's values under the names that the input gives them, in its order.
pub(crate) type Fields<'a> = Vec<(Cow<'a, str>, Cell<'a>)>;

/// Why a text is no row.
#[derive(Debug)]
pub(crate) enum NoRow {
    /// It is no JSON at all.
    Syntax(serde_json::Error),
    /// It is JSON, but no object.
    NoObject,
}

/// Cuts a JSON object into its members. The last of members with the same name counts, as in most readers.
pub(crate) fn fields_of(text: &str) -> Result<Fields<'_>, NoRow> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str::<Members>(text).map(|members| members.0).map_err(NoRow::Syntax);
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(NoRow::Syntax)?;
    Err(NoRow::NoObject)
}

/// The row inside a line of our own rejects file: an object with exactly the members `rejected` (an object) and `row`.
pub(crate) fn rejected_row(text: &str) -> Option<&str> {
    // Looked at for every line, so that only the few that begin like a reject are parsed twice.
    let start = text.trim_start().strip_prefix('{')?.trim_start();
    if !start.starts_with("\"rejected\"") && !start.starts_with("\"row\"") {
        return None;
    }
    let members = serde_json::from_str::<RawMembers>(text).ok()?.0;
    let find = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    let rejected = find("rejected")?;
    (members.len() == 2 && rejected.starts_with('{')).then(|| find("row")).flatten()
}

/// A text as a JSON string.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawMembers::deserialize(deserializer)?;
        let cell = |(name, text): (Cow<'de, str>, &'de str)| cell_of(text).map(|cell| (name, cell));
        raw.0.into_iter().map(cell).collect::<Result<_, _>>().map(Members).map_err(D::Error::custom)
    }
}

/// Members of an object with their values as text.
pub(super) struct RawMembers<'a>(pub(super) Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = RawMembers<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members = Vec::with_capacity(24);
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, value.get()));
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A JSON value as a cell; it borrows unless a text has escapes.
pub(super) fn cell_of(text: &str) -> Result<Cell<'_>, serde_json::Error> {
    Ok(match text.as_bytes().first() {
        Some(b'n') => Cell::Null,
        Some(b't') => Cell::Bool(true),
        Some(b'f') => Cell::Bool(false),
        Some(b'{' | b'[') => Cell::Nested(Cow::Borrowed(text)),
        Some(b'"') if !text.contains('\\') => Cell::Text(Cow::Borrowed(&text[1..text.len() - 1])),
        Some(b'"') => Cell::Text(Cow::Owned(serde_json::from_str(text)?)),
        _ => Cell::Number(Cow::Borrowed(text)),
    })
}
