//! Keeps tables up to date from an API: says what is due, has it fetched, lands it in parts, and brings the parts in.
//!
//! Fetching and merging are two steps with the ledger between them. What was fetched is landed in parts, each an entry
//! that says which windows of which feeds it holds whole; a run brings all parts in that wait, and only then are they
//! done. So nothing that has landed is fetched twice, wherever a try ended, and a stop for a decision costs no request.

mod catalogue;
mod due;
mod parts;
mod sync;

pub use catalogue::{Catalogue, catch_up_catalogue};
pub use due::{Wish, due, pieces};
pub use sync::{SyncOptions, Table, every, sync};

use crate::error::{Error, Result};
use crate::fetch::{Feed, Http, Piece};
use crate::landing::Landed;
use crate::ledger::{Entry, Ledger, Purpose};
use crate::report::{RunReport, TableReport};
use crate::run::{Run, Work};
use crate::window::Window;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// How feeds are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// How many pieces are walked at the same time.
    pub in_flight: usize,
    /// How long a piece is at most, in microseconds; it is cut at multiples of it.
    pub piece_us: i64,
    /// How many pages a part has, about.
    pub part_pages: u64,
    /// Whether windows that can't be shown to be whole are passed for good.
    pub accepts_gaps: bool,
}

impl Default for FollowOptions {
    fn default() -> FollowOptions {
        FollowOptions { in_flight: 8, piece_us: crate::window::DAY_US, part_pages: 1_000, accepts_gaps: false }
    }
}

/// One table and the feeds that fill it.
pub struct Follower<'a> {
    /// How parts are brought in, and where.
    pub run: &'a Run<'a>,
    /// Who asks.
    pub http: &'a Http,
    /// What is followed.
    pub feeds: &'a [Feed],
    /// The folder of pages, on the local disk.
    pub pages: PathBuf,
    /// How.
    pub options: FollowOptions,
}

impl std::fmt::Debug for Follower<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("feeds", &self.feeds).finish_non_exhaustive()
    }
}

/// A piece that is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The place of its feed.
    pub(crate) feed: usize,
    pub(crate) piece: Piece,
    /// Whether pages of an earlier try may be used; not where it was seen whole before.
    pub(crate) goes_on: bool,
}

impl Follower<'_> {
    /// Fetches what is missing of every feed and brings it in.
    ///
    /// # Errors
    /// Usage, where a feed is new and nobody has said since when it is followed; what the API, the disk, the ledger or
    /// the target say.
    pub async fn catch_up(&self, wish: &Wish, ledger: &mut Ledger) -> Result<TableReport> {
        let gone = self.gone(ledger).await?;
        let known = ledger.feeds(&gone);
        let earliest_us = known.values().map(|state| state.from_us).min();
        let mut wanted = Vec::new();
        for (place, feed) in self.feeds.iter().enumerate() {
            let name = feed.name();
            let state = known.get(&name);
            // One that is followed from now on is a gap over the time in which others were.
            let from_us = wish.from_us.or(state.map(|state| state.from_us)).or(earliest_us).ok_or_else(|| {
                Error::usage("fetch what is new")
                    .with("feed", &name)
                    .because("nothing says since when it is followed")
                    .hint("say with --from which day is the first")
            })?;
            if state.is_none_or(|state| from_us < state.from_us) {
                ledger.append(Entry::Followed { feed: name, from_us }, (self.run.now_us)()).await?;
            }
            let (new, again) = due(state, from_us, wish);
            let of_feed = |spans, goes_on| {
                pieces(spans, &feed.endpoint, self.options.piece_us).into_iter().map(move |piece| Wanted {
                    feed: place,
                    piece,
                    goes_on,
                })
            };
            wanted.extend(of_feed(&new, true));
            wanted.extend(of_feed(&again, false));
        }
        let fetch = self.fetch(wanted, Purpose::New, ledger).await?;
        let runs = self.bring_in(ledger).await?;
        let states = ledger.feeds(&self.gone(ledger).await?);
        let followed = self.feeds.iter().filter_map(|feed| states.get(&feed.name()).cloned()).collect();
        Ok(TableReport { fetch, runs, feeds: followed, ..TableReport::default() })
    }

    /// Fetches windows once more that were seen whole, and brings in what has come late.
    ///
    /// # Errors
    /// As [`Follower::catch_up`].
    pub async fn recheck(&self, window: Window, ledger: &mut Ledger) -> Result<TableReport> {
        let known = ledger.feeds(&self.gone(ledger).await?);
        let mut wanted = Vec::new();
        for (place, feed) in self.feeds.iter().enumerate() {
            let Some(state) = known.get(&feed.name()) else { continue };
            let again = state.seen.within(window);
            for piece in pieces(&again, &feed.endpoint, self.options.piece_us) {
                wanted.push(Wanted { feed: place, piece, goes_on: false });
            }
        }
        let fetch = self.fetch(wanted, Purpose::Recheck, ledger).await?;
        let runs = self.bring_in(ledger).await?;
        Ok(TableReport { fetch, runs, ..TableReport::default() })
    }

    /// Fetches rows by their keys and brings them in. Gives the keys that could not be asked for.
    ///
    /// # Errors
    /// As [`Follower::catch_up`].
    pub async fn bring_keys(
        &self,
        keys: &BTreeSet<String>,
        purpose: Purpose,
        ledger: &mut Ledger,
    ) -> Result<(TableReport, BTreeSet<String>)> {
        let mut wanted = Vec::new();
        for (place, feed) in self.feeds.iter().enumerate() {
            let keys: Vec<String> = keys.iter().cloned().collect();
            for keys in keys.chunks(feed.endpoint.most_keys.max(1)) {
                wanted.push(Wanted { feed: place, piece: Piece::Keys(keys.to_vec()), goes_on: false });
            }
        }
        let fetch = self.fetch(wanted, purpose, ledger).await?;
        let runs = self.bring_in(ledger).await?;
        let missed = fetch.missed_keys.clone();
        Ok((TableReport { fetch, runs, ..TableReport::default() }, missed))
    }

    /// Brings every part in that waits and is there. Nothing, where none does.
    async fn bring_in(&self, ledger: &mut Ledger) -> Result<Vec<RunReport>> {
        let gone = self.gone(ledger).await?;
        let waiting = ledger.pending().into_iter().map(|(part, _)| part.to_string());
        let parts: Vec<String> = waiting.filter(|part| !gone.contains(part)).collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Box::pin(self.run.bring_in(Work::Parts(&parts), ledger)).await?])
    }

    /// The parts that wait and whose files are not here, or not what they were.
    async fn gone(&self, ledger: &Ledger) -> Result<BTreeSet<String>> {
        let mut gone = BTreeSet::new();
        for (part, _) in ledger.pending() {
            let landed: Option<Landed> = ledger.landed_part(part).await?;
            let is_here = match landed {
                Some(landed) => self.run.files_of(part).has_landed(&landed, &[]).await?,
                None => false,
            };
            if !is_here {
                gone.insert(part.to_string());
            }
        }
        Ok(gone)
    }
}
