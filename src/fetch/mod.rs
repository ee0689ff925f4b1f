//! Fetches rows from HTTP APIs and can tell whether it got all of them.
//!
//! What is wanted of an API is cut into pieces: half-open windows of time, or a few keys. A [`Pager`] walks each piece
//! page by page and does no I/O; [`Http`] asks, waits and repeats; [`Pages`] keeps every page on the local disk, so
//! that a walk which was interrupted goes on at its next page. Pages become rows in [`crate::landing`], as files do.

mod endpoint;
mod http;
mod pager;
mod pages;
mod source;
mod walk;

pub use endpoint::{Ask, At, Endpoint, Facts, Next, Piece, Refusal};
pub use http::{Http, HttpOptions, parse_address};
pub use pager::{Oddities, Pager, Reach, Step, Turn};
pub use pages::{PageFile, Pages, sweep};
pub use source::{Feed, Source, SourceKind};
pub use walk::{End, Fetcher, Walked};
