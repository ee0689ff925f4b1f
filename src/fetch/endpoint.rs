//! How an endpoint is asked, and what its answers say of themselves.

use super::pager::Reach;
use crate::window::{SECOND_US, Window};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A part of what is wanted, walked page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Rows of a window of time, whose ends are whole seconds.
    Span(Window),
    /// Rows with these keys.
    Keys(Vec<String>),
}

impl Piece {
    /// Its two halves; nothing where it is one second or one key.
    pub fn halves(&self) -> Option<(Piece, Piece)> {
        match self {
            Piece::Span(window) => {
                let seconds = (window.to_us - window.from_us) / SECOND_US;
                let middle_us = window.from_us + seconds / 2 * SECOND_US;
                let halves = (Window::new(window.from_us, middle_us)?, Window::new(middle_us, window.to_us)?);
                Some((Piece::Span(halves.0), Piece::Span(halves.1)))
            }
            Piece::Keys(keys) if keys.len() > 1 => {
                let (first, second) = keys.split_at(keys.len() / 2);
                Some((Piece::Keys(first.to_vec()), Piece::Keys(second.to_vec())))
            }
            Piece::Keys(_) => None,
        }
    }

    /// The window that its rows have to be in.
    pub fn window(&self) -> Option<Window> {
        match self {
            Piece::Span(window) => Some(*window),
            Piece::Keys(_) => None,
        }
    }
}

impl std::fmt::Display for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Piece::Span(window) => window.fmt(f),
            Piece::Keys(keys) => match keys.as_slice() {
                [key] => f.write_str(key),
                keys => write!(f, "{} keys from {}", keys.len(), keys.first().map_or("", String::as_str)),
            },
        }
    }
}

/// Where in a piece a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// With its first row.
    Start,
    /// Where the page before said.
    Cursor(String),
    /// After so many rows.
    Offset(u64),
}

/// A page to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of what.
    pub piece: Piece,
    /// From where on.
    pub at: At,
}

/// What a page says of what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more behind this cursor.
    Cursor(String),
    /// There is more, and rows are counted to get there.
    More,
    /// It was the last page.
    End,
    /// Nothing.
    Unknown,
}

/// What an answer says of itself, as far as a walk is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How many rows it has.
    pub rows: u64,
    /// A digest of all its rows as they are written.
    pub digest: u64,
    /// Digests of its rows, one by one, without those that have a time outside of the piece.
    pub digests: Vec<u64>,
    /// What follows.
    pub next: Next,
    /// How many rows the piece has, as the API says.
    pub total: Option<u64>,
    /// Whether no row is newer than the one before it.
    pub is_newest_first: bool,
    /// The times of its newest and its oldest row, in microseconds since 1970-01-01 UTC, as far as they can be read.
    pub times_us: Option<(i64, i64)>,
    /// Whether everything that follows is older than the piece, as far as rows are the newest first.
    pub is_past_piece: bool,
}

/// What an answer that is no page means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It may work later.
    Later,
    /// It may work with fewer rows a page.
    FewerRows,
    /// The offset is too great.
    OutOfReach,
    /// The API does not know the cursor any more.
    LostPlace,
    /// The credentials are not enough.
    Credentials,
    /// The request is wrong.
    Wrong,
}

/// One endpoint of an API, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is called in messages.
    pub name: &'static str,
    /// Its path below the API's base URL.
    pub path: &'static str,
    /// The member of the answer that holds the rows; `None`: the answer is an array.
    pub rows_in: Option<&'static str>,
    /// The most rows of a page.
    pub most_rows: u32,
    /// How far it can be walked.
    pub reach: Reach,
    /// Whether its rows have a `timestamp`, in seconds since 1970-01-01 UTC.
    pub is_timed: bool,
    /// The parameters for the first and the last second, both inclusive.
    pub span: Option<(&'static str, &'static str)>,
    /// The parameter for a key; repeated for several.
    pub key: Option<&'static str>,
    /// How many keys one request may name.
    pub most_keys: usize,
    /// The parameter for a cursor.
    pub cursor: Option<&'static str>,
    /// Whether an answer that says nothing of what follows is the last one.
    pub silence_is_end: bool,
    /// What is always asked for.
    pub always: &'static [(&'static str, &'static str)],
}

impl Endpoint {
    /// The query of a request.
    pub fn query(&self, filter: &[(String, String)], ask: &Ask, rows: u32) -> Vec<(String, String)> {
        let mut query: Vec<(String, String)> = filter.to_vec();
        let mut push = |name: &str, value: String| query.push((name.to_string(), value));
        self.always.iter().for_each(|(name, value)| push(name, value.to_string()));
        match (&ask.piece, self.span, self.key) {
            (Piece::Span(window), Some((first, last)), _) => {
                push(first, window.from_us.div_euclid(SECOND_US).to_string());
                push(last, (window.to_us - 1).div_euclid(SECOND_US).to_string());
            }
            (Piece::Keys(keys), _, Some(name)) => keys.iter().for_each(|key| push(name, key.clone())),
            _ => {}
        }
        match (&ask.at, self.cursor) {
            (At::Cursor(cursor), Some(name)) => push(name, cursor.clone()),
            (At::Offset(offset), _) => push("offset", offset.to_string()),
            _ => {}
        }
        push("limit", rows.to_string());
        query
    }

    /// Reads an answer as far as a walk is concerned. Rows are not judged here: a row that makes no sense is a row.
    ///
    /// # Errors
    /// Why the answer can't be read as a whole.
    pub fn read(&self, body: &str, piece: &Piece) -> Result<Facts, String> {
        let unreadable = |error: serde_json::Error| format!("the answer is no page: {error}");
        let (rows, told): (Vec<&RawValue>, Told) = match self.rows_in {
            None => (serde_json::from_str(body).map_err(unreadable)?, Told::default()),
            Some(name) => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(body).map_err(unreadable)?;
                let array = members.get(name).ok_or_else(|| format!("the answer has no `{name}`"))?;
                (serde_json::from_str(array.get()).map_err(unreadable)?, Told::of(&members))
            }
        };
        let mut facts = Facts {
            rows: rows.len() as u64,
            digest: 0,
            digests: Vec::with_capacity(rows.len()),
            next: told.next(rows.is_empty(), self.silence_is_end),
            total: told.total,
            is_newest_first: true,
            times_us: None,
            is_past_piece: false,
        };
        let (mut all, mut last_us) = (Xxh3::new(), i64::MAX);
        for row in rows {
            all.update(row.get().as_bytes());
            let time_us = self.is_timed.then(|| time_of(row.get())).flatten();
            if let Some(us) = time_us {
                facts.is_newest_first &= us <= last_us;
                last_us = us;
                let (newest_us, oldest_us) = facts.times_us.unwrap_or((us, us));
                facts.times_us = Some((newest_us.max(us), oldest_us.min(us)));
            }
            let window = piece.window();
            facts.is_past_piece |= window.zip(time_us).is_some_and(|(window, us)| us < window.from_us);
            if window.zip(time_us).is_none_or(|(window, us)| window.contains(us)) {
                facts.digests.push(xxh3_64(row.get().as_bytes()));
            }
        }
        facts.is_past_piece &= facts.is_newest_first;
        facts.digest = all.digest();
        Ok(facts)
    }
}

#[derive(Deserialize)]
struct Timed<'a> {
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

/// The time of a row, where it has one that can be read.
fn time_of(row: &str) -> Option<i64> {
    let timed: Timed<'_> = serde_json::from_str(row).ok()?;
    let seconds = timed.timestamp?.get().trim_matches('"').parse::<i64>().ok()?;
    seconds.checked_mul(SECOND_US)
}

/// What an answer says of its place among others.
#[derive(Default)]
struct Told {
    cursor: Option<String>,
    has_more: Option<bool>,
    total: Option<u64>,
}

impl Told {
    /// APIs tell it in a member of its own, or beside the rows.
    fn of(members: &BTreeMap<String, &RawValue>) -> Told {
        let inner: Option<BTreeMap<String, &RawValue>> =
            members.get("pagination").and_then(|text| serde_json::from_str(text.get()).ok());
        let members = inner.as_ref().unwrap_or(members);
        let cursor = ["pagination_key", "next_cursor"].iter().find_map(|name| members.get(*name));
        let cursor = cursor.and_then(|text| serde_json::from_str::<String>(text.get()).ok());
        Told {
            cursor: cursor.filter(|cursor| !cursor.is_empty()),
            has_more: members.get("has_more").and_then(|text| serde_json::from_str(text.get()).ok()),
            total: members.get("total").and_then(|text| serde_json::from_str(text.get()).ok()),
        }
    }

    fn next(&self, is_empty: bool, silence_is_end: bool) -> Next {
        match (&self.cursor, self.has_more) {
            // To follow a cursor that leads nowhere costs a request, to ignore one may cost rows.
            (Some(cursor), has_more) if !is_empty || has_more == Some(true) => Next::Cursor(cursor.clone()),
            (_, Some(false)) | (Some(_), _) => Next::End,
            (None, Some(true)) => Next::More,
            (None, None) if silence_is_end => Next::End,
            (None, None) => Next::Unknown,
        }
    }
}

impl Refusal {
    /// What a status and the text of an answer mean. The words are those of the APIs' documentation.
    pub fn of(status: u16, body: &str) -> Refusal {
        let body = body.to_ascii_lowercase();
        let says = |word: &str| body.contains(word);
        match status {
            // One API says 401 for an offset that is too great.
            400 | 401 if says("offset") => Refusal::OutOfReach,
            400 if says("pagination key") || says("cursor") => Refusal::LostPlace,
            400 if says("limit") => Refusal::FewerRows,
            413 | 414 => Refusal::FewerRows,
            401 | 403 | 407 => Refusal::Credentials,
            // A login page or a new address: perhaps only for a while.
            300..=399 => Refusal::Later,
            408 | 425 | 429 | 500..=599 => Refusal::Later,
            _ => Refusal::Wrong,
        }
    }
}
