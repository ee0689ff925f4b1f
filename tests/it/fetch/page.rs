//! Pages of a list: what was asked for, where a page begins and ends, and how it goes wrong.

use super::faults::Fault;
use serde_json::{Value, json};
use std::str::FromStr;
use url::form_urlencoded;

/// An answer before anything happens to it on the way.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// Whether the fault that was asked for could happen.
    pub has_failed: bool,
}

impl Reply {
    pub fn refused(status: u16, body: Value) -> Reply {
        Reply { status, body, has_failed: false }
    }
}

/// What stands behind the question mark.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(text: &str) -> Query {
        Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// A value that is not there fits everything, as a list of none does.
    pub fn fits(&self, name: &str, value: &str) -> bool {
        let all = self.all(name);
        all.is_empty() || all.iter().any(|one| one.eq_ignore_ascii_case(value))
    }

    /// `None`: not a number.
    pub fn number<N: FromStr>(&self, name: &str, usual: N) -> Option<N> {
        self.one(name).map_or(Some(usual), |text| text.parse().ok())
    }
}

/// A part of a list.
pub struct Page<T> {
    pub rows: Vec<T>,
    pub has_more: bool,
    /// The cursor of the next page.
    pub next: Option<String>,
    pub has_failed: bool,
}

/// Cuts a page of a list. `asked` is the cursor that led to `start`; a bare array says nothing of there being more.
pub fn cut<T: Clone + PartialEq>(
    list: &[T],
    start: usize,
    limit: usize,
    asked: Option<&str>,
    is_bare: bool,
    fault: Option<Fault>,
    key: impl Fn(&T) -> Value,
) -> Page<T> {
    let len = list.len();
    let start = start.min(len);
    let mut next = (start + limit).min(len);
    let mut rows = list[start..next].to_vec();
    let mut has_failed = true;
    let mut is_same = false;
    match fault {
        Some(Fault::PageRepeated) if start > 0 => rows = list[start.saturating_sub(limit)..start].to_vec(),
        Some(Fault::CursorRepeated) if asked.is_some() && next < len => is_same = true,
        Some(Fault::EmptyPage) if !is_bare && start < len => {
            rows.clear();
            next = start;
        }
        Some(Fault::TooMany) if next < len => {
            next = (next + 5).min(len);
            rows = list[start..next].to_vec();
        }
        Some(Fault::TooFew) if rows.len() > 1 => {
            rows.truncate(rows.len() / 2);
            next = start + rows.len();
        }
        Some(Fault::Disordered) if rows.len() > 1 => rows.reverse(),
        _ => has_failed = false,
    }
    let mut last = if next == 0 { json!({}) } else { key(&list[next - 1]) };
    // A row may be there several times, and a page may end between two of them.
    let copies =
        next.checked_sub(1).map_or(0, |at| list[..next].iter().rev().take_while(|row| **row == list[at]).count());
    last["copies"] = json!(copies);
    if next == start {
        // The same place in other words, so that it is no cursor that repeats.
        last["again"] = json!(next);
    }
    let cursor = if is_same { asked.map(str::to_string) } else { Some(encode(&last)) };
    let has_more = next < len;
    Page { rows, has_more, next: cursor.filter(|_| has_more), has_failed }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The base64 of a value's JSON.
fn encode(value: &Value) -> String {
    let mut text = String::new();
    for part in value.to_string().as_bytes().chunks(3) {
        let bits = part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= part.len() { letter } else { '=' });
        }
    }
    text
}

/// The value that was encoded; `None` if none was.
pub fn decode(text: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    for part in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for at in 0..4 {
            let letter = part.get(at).map_or(Some(0), |letter| LETTERS.iter().position(|known| known == letter));
            bits = bits << 6 | letter? as u32;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..part.len().max(1)]);
    }
    serde_json::from_slice(&bytes).ok()
}
