//! The numbers of rows that are equal in all that an API says of them, so that each of them is an event of its own.

use super::convert::Value;
use crate::dataset::{Dataset, StandIn};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Where a part of a key has its value from.
enum Source {
    Column(usize),
    Text(String),
}

/// Counts rows with an equal key in each pass. It holds some 40 bytes for each different key of each pass, whose rows
/// it knows by 128 bits of their digest.
pub(crate) struct Occurrences {
    /// The column that is filled.
    pub(crate) column: usize,
    /// The other parts of the key; of each the first value that is known counts, as in the key itself.
    parts: Vec<Vec<Source>>,
    counts: HashMap<[u64; 2], u32>,
    bytes: Vec<u8>,
}

impl Occurrences {
    /// Nothing where the contract has no column for them.
    pub(crate) fn new(dataset: &Dataset) -> Result<Option<Occurrences>> {
        let Some(name) = &dataset.occurrence else { return Ok(None) };
        let index = |name: &str| {
            let unknown = || Error::bug("find a column in a contract").with("column", name);
            dataset.columns.iter().position(|column| column.name == name).ok_or_else(unknown)
        };
        let mut parts = Vec::new();
        for part in dataset.key.iter().filter(|part| part.column != *name) {
            let mut sources = vec![Source::Column(index(&part.column)?)];
            for stand_in in &part.stand_ins {
                sources.push(match stand_in {
                    StandIn::Column(name) => Source::Column(index(name)?),
                    StandIn::Text(text) => Source::Text(text.clone()),
                });
            }
            parts.push(sources);
        }
        let (counts, bytes) = (HashMap::new(), Vec::new());
        Ok(Some(Occurrences { column: index(name)?, parts, counts, bytes }))
    }

    /// Counts a row of a pass, and numbers it from 1.
    pub(crate) fn count(&mut self, pass: u64, values: &[Option<Value<'_>>]) -> i64 {
        self.bytes.clear();
        self.bytes.extend(pass.to_le_bytes());
        for sources in &self.parts {
            let known = sources.iter().find_map(|source| match source {
                Source::Column(column) => values[*column].as_ref().map(Part::Value),
                Source::Text(text) => Some(Part::Text(text)),
            });
            push(known, &mut self.bytes);
        }
        let digest = blake3::hash(&self.bytes);
        let (words, _) = digest.as_bytes().as_chunks::<8>();
        let count = self.counts.entry([0, 1].map(|at| u64::from_le_bytes(words[at]))).or_default();
        *count += 1;
        i64::from(*count)
    }
}

/// The value of a part of the key.
enum Part<'a> {
    Value(&'a Value<'a>),
    Text(&'a str),
}

/// Writes a value so that no two different ones look alike: parts of a key have one type each, and a text says how long
/// it is.
fn push(part: Option<Part<'_>>, bytes: &mut Vec<u8>) {
    let mut push_text = |text: &str| {
        bytes.push(1);
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    match part {
        None => bytes.push(0),
        Some(Part::Text(text)) => push_text(text),
        Some(Part::Value(Value::Text(text))) => push_text(text),
        Some(Part::Value(value)) => {
            let number = match value {
                Value::Int(number) | Value::Time(number) => *number,
                Value::Day(day) => i64::from(*day),
                Value::Bool(value) => i64::from(*value),
                Value::Float(number) => number.to_bits() as i64,
                Value::Text(_) => 0,
            };
            bytes.push(2);
            bytes.extend(number.to_le_bytes());
        }
    }
}
