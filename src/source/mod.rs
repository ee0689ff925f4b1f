//! Where rows come from: files, folders and globs, on the local disk or in an object store.
//!
//! [`discover`] turns what a person wrote into a sorted list of [`Input`]s, and `fetch` brings each to the local disk,
//! once. Text formats are then read row by row; Parquet is read by [`crate::landing`], batch by batch.

mod bytes;
mod cell;
mod csv;
mod discover;
mod document;
mod lines;
mod path;
mod records;

pub use discover::discover;

pub(crate) use bytes::{Stored, damaged, digest, is_blank};
pub(crate) use cell::{Cell, Fields, json_text};
pub(crate) use document::{arrays_with, only_array};
pub(crate) use path::Path as CellPath;
pub(crate) use records::{Reason, Record, Records};

use crate::error::{Doing, Error, Result};
use crate::storage::Folder;
use crate::window::Window;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Inputs that are fetched from an object store at the same time.
const FETCHES: usize = 8;

/// How the rows of an input are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// One JSON object on each line.
    Ndjson,
    /// JSON documents: pages with an envelope, arrays of objects, or objects one after the other.
    Json,
    /// RFC 4180 with a header.
    Csv,
}

/// How the bytes of a text input are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    None,
    /// gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
}

impl Format {
    /// Tells format and packing from a file's name; nothing where the name says neither.
    pub fn of_name(name: &str) -> Option<(Format, Compression)> {
        let name = name.to_ascii_lowercase();
        let (stem, compression) = match name.rsplit_once('.')? {
            (stem, "gz") => (stem, Compression::Gzip),
            (stem, "zst") => (stem, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        match (stem.rsplit_once('.')?.1, compression) {
            ("parquet", Compression::None) => Some((Format::Parquet, compression)),
            ("ndjson" | "jsonl", _) => Some((Format::Ndjson, compression)),
            ("json", _) => Some((Format::Json, compression)),
            ("csv", _) => Some((Format::Csv, compression)),
            _ => None,
        }
    }
}

/// One file of rows.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it is, as shown to a person: a plain path on the local disk, a URL elsewhere.
    pub url: String,
    /// How large it is, as it is stored.
    pub size_bytes: u64,
    /// When it was last written, in microseconds since 1970-01-01 UTC, where that is known.
    pub last_modified_us: Option<i64>,
    /// How its rows are written down.
    pub format: Format,
    /// How its bytes are packed.
    pub compression: Compression,
    /// For an answer of an API, when and in which pass it was fetched; `None`: it is a file that somebody has.
    pub page: Option<Page>,
    /// Whether times of a Parquet file without a zone are UTC, where the contract gives them none: BigQuery writes its
    /// own so.
    pub is_utc: bool,
    pub(crate) place: Place,
}

/// What is known of an answer of an API beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// When it was fetched, in microseconds since 1970-01-01 UTC.
    pub fetched_at_us: i64,
    /// Pages of one pass over a window have the same number; no two passes of a landing do.
    pub pass: u64,
    /// What it was asked for: rows of another time are none of it.
    pub window: Option<Window>,
}

/// Where an input's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// An absolute path on the local disk.
    Local(PathBuf),
    /// An object: the folder's own path is the object's.
    Remote(Folder),
}

/// A local file with an input's bytes, removed when dropped if it is only a copy.
#[derive(Debug)]
pub(crate) struct Local {
    path: PathBuf,
    copy: Option<tempfile::TempPath>,
}

impl Local {
    /// Where the bytes are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the input itself lies elsewhere.
    pub(crate) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }
}

/// What stands between the name of a piece and the number of its page; no URL has a blank.
const PAGE: &str = " page ";

/// What a page of a piece is called.
pub(crate) fn page_name(piece: &str, number: u32) -> String {
    format!("{piece}{PAGE}{number}")
}

/// The name of the piece that a page belongs to, or of any other input as it is.
pub(crate) fn piece_of(input: &str) -> &str {
    input.rsplit_once(PAGE).map_or(input, |(piece, _)| piece)
}

/// Brings inputs to the local disk, a few at a time, in their order.
pub(crate) fn fetch(
    inputs: impl Stream<Item = Result<Input>> + Send,
) -> impl Stream<Item = Result<(Input, Local)>> + Send {
    let fetches = inputs.enumerate().map(|(place, input)| async move {
        let input = input?;
        let local = input.fetch(place).await?;
        Ok((input, local))
    });
    fetches.buffered(FETCHES)
}

impl Input {
    /// An answer of an API that lies on the local disk: JSON, packed with Zstandard. `shown` is what reports, rejects
    /// and landed rows call it.
    ///
    /// # Errors
    /// Those of looking at the file.
    pub fn of_page(shown: String, path: &Path, page: Page) -> Result<Input> {
        let (place, size_bytes, last_modified_us) = look(path).map_err(|error| error.with("file", path.display()))?;
        let (format, compression) = (Format::Json, Compression::Zstd);
        let (is_utc, page) = (false, Some(page));
        Ok(Input { url: shown, size_bytes, last_modified_us, format, compression, page, is_utc, place })
    }

    /// An object in a store, which `object` leads to.
    pub(crate) fn of_object(object: Folder, meta: &ObjectMeta, format: Format, compression: Compression) -> Input {
        let url = object.url().to_string();
        let last_modified_us = Some(meta.last_modified.timestamp_micros());
        let place = Place::Remote(object);
        let (is_utc, page) = (false, None);
        Input { url, size_bytes: meta.size, last_modified_us, format, compression, page, is_utc, place }
    }

    /// Whether the bytes lie on the local disk.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.place, Place::Local(_))
    }

    /// The full URL, `file:///…` for a local file.
    pub fn full_url(&self) -> String {
        match &self.place {
            Place::Local(path) => url::Url::from_file_path(path).map_or_else(|()| self.url.clone(), String::from),
            Place::Remote(object) => object.url().to_string(),
        }
    }

    /// Brings the bytes to the local disk, unless they are there. The paths of copies sort as their inputs' places do,
    /// since files are deduplicated in the order of their paths.
    async fn fetch(&self, place: usize) -> Result<Local> {
        let object = match &self.place {
            Place::Local(path) => return Ok(Local { path: path.clone(), copy: None }),
            Place::Remote(object) => object,
        };
        let copied = async {
            let name = format!("tradefold-{place:06}-");
            let mut copy = tempfile::Builder::new().prefix(&name).tempfile().doing("make room for an input")?;
            let mut bytes = object.store().get(&object.path("")).await.doing("read an input")?.into_stream();
            while let Some(chunk) = bytes.try_next().await.doing("read an input")? {
                copy.write_all(&chunk).doing("keep an input")?;
            }
            Ok(copy.into_temp_path())
        };
        let copy = copied.await.map_err(|error: Error| error.with("file", &self.url).in_temporary_folder())?;
        Ok(Local { path: copy.to_path_buf(), copy: Some(copy) })
    }
}

/// Where a local file is, its size, and when it was last written, in microseconds since 1970-01-01 UTC.
fn look(path: &Path) -> Result<(Place, u64, Option<i64>)> {
    let meta = std::fs::metadata(path).doing("look at an input")?;
    let place = Place::Local(std::fs::canonicalize(path).doing("look at an input")?);
    let modified = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok((place, meta.len(), modified.and_then(|since| i64::try_from(since.as_micros()).ok())))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Parquet => "parquet",
            Format::Ndjson => "ndjson",
            Format::Json => "json",
            Format::Csv => "csv",
        })
    }
}
