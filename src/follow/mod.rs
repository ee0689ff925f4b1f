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
use crate::ledger::{Cover, Entry, FeedState, Gap, Ledger, Purpose};
use crate::report::{RunReport, TableReport};
use crate::run::{Run, Work, gone_parts};
use crate::window::{DAY_US, Window};
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
    /// Whether gaps that an earlier run has told of are passed for good, where this one can't close them either.
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
    /// Whether it was seen whole before: pages of an earlier try are old then, and a failure leaves no gap.
    pub(crate) again: bool,
}

impl Follower<'_> {
    /// Brings in what waits, then fetches what is missing of every feed and brings that in.
    ///
    /// # Errors
    /// Usage, where a feed is new and nobody has said since when it is followed; data, where rows are gone from the
    /// target; what the API, the disk, the ledger or the target say.
    pub async fn catch_up(&self, wish: &Wish, ledger: &mut Ledger) -> Result<TableReport> {
        let wish = &wish.in_seconds();
        // What an earlier run has landed is its own work: if that was killed, this one takes it up.
        let mut report = TableReport { runs: self.bring_in(ledger).await?, ..TableReport::default() };
        if report.is_stopped() {
            return Ok(report);
        }
        self.check_rows(wish, ledger).await?;
        let wanted = self.due(wish, ledger).await?;
        report.fetch = self.fetch(wanted, Purpose::New, ledger).await?;
        report.runs.extend(self.bring_in(ledger).await?);
        let states = ledger.feeds(&self.gone(ledger).await?);
        report.feeds = self.feeds.iter().filter_map(|feed| states.get(&feed.name()).cloned()).collect();
        if !wish.follows {
            // Other gaps are none of this window's.
            let (from_us, to_us) = (wish.from_us.unwrap_or(i64::MIN), wish.to_us);
            let is_asked = |gap: &Gap| gap.window.from_us < to_us && from_us < gap.window.to_us;
            report.feeds.iter_mut().for_each(|feed| feed.gaps.retain(is_asked));
        }
        Ok(report)
    }

    /// What is due of every feed. Feeds that are new, or of which more is wanted than before, are written down.
    async fn due(&self, wish: &Wish, ledger: &mut Ledger) -> Result<Vec<Wanted>> {
        let known = ledger.feeds(&self.gone(ledger).await?);
        let earliest_us = known.values().map(|state| state.from_us).min();
        let mut wanted = Vec::new();
        for (place, feed) in self.feeds.iter().enumerate() {
            let name = feed.name();
            let state = known.get(&name);
            // One that was not followed before is a gap over the time in which others were.
            let from_us = wish.from_us.or(state.map(FeedState::goes_on_from)).or(earliest_us).ok_or_else(|| {
                Error::usage("fetch what is new")
                    .with("feed", &name)
                    .because("nothing says since when it is followed")
                    .hint("say with --from which day is the first")
            })?;
            let to_us = (!wish.follows).then_some(wish.to_us);
            if let Some(window) = Window::new(from_us, to_us.unwrap_or(i64::MAX))
                && state.is_none_or(|state| !state.wanted.missing(window).is_empty())
            {
                ledger.append(Entry::Followed { feed: name, from_us, to_us }, (self.run.now_us)()).await?;
            }
            let (new, again) = due(state, from_us, wish);
            for (spans, again) in [(&new, false), (&again, true)] {
                let pieces = pieces(spans, &feed.endpoint, self.options.piece_us).into_iter();
                wanted.extend(pieces.map(|piece| Wanted { feed: place, piece, again }));
            }
        }
        Ok(wanted)
    }

    /// Refuses to go on from a checkpoint where rows up to there are not in the target any more. Who fetches a window
    /// anew begins anew with all that was seen: other windows are gaps then.
    async fn check_rows(&self, wish: &Wish, ledger: &mut Ledger) -> Result<()> {
        let rows = self.run.warehouse.check_target().await?;
        let lost = ledger.lost_rows(rows);
        if lost > 0 && !wish.accepts_lost_rows && !wish.fetches_anew {
            return Err(Error::data("go on from a checkpoint")
                .with("target", self.run.warehouse.target())
                .because(format!("{lost} rows are gone from it, and what was fetched with them: it has {rows} now"))
                .hint(
                    "bring the table back; or fetch what was lost with backfill --fetch-anew, --from and --to; or go on \
                     with --accept-lost-rows, if they were removed on purpose",
                ));
        }
        let mut covers = Vec::new();
        if wish.fetches_anew {
            let window = Window::new(wish.from_us.unwrap_or(i64::MIN), wish.to_us);
            let own: Vec<String> = self.feeds.iter().map(Feed::name).collect();
            for (feed, state) in ledger.feeds(&self.gone(ledger).await?) {
                let spans = match (lost > 0, window) {
                    (true, _) => state.seen,
                    (false, Some(window)) if own.contains(&feed) => state.seen.within(window),
                    (false, _) => continue,
                };
                covers.push(Cover { feed, spans });
            }
        }
        if lost > 0 || !covers.is_empty() {
            ledger.append(Entry::Unseen { covers, rows: Some(rows) }, (self.run.now_us)()).await?;
        }
        Ok(())
    }

    /// Fetches windows once more that were seen whole, once a day for each feed, and brings in what has come late.
    /// Nothing, where no feed is due.
    ///
    /// # Errors
    /// As [`Follower::catch_up`].
    pub async fn recheck(&self, window: Window, ledger: &mut Ledger) -> Result<Option<TableReport>> {
        let known = ledger.feeds(&self.gone(ledger).await?);
        let (mut wanted, mut looked) = (Vec::new(), Vec::new());
        for (place, feed) in self.feeds.iter().enumerate() {
            let name = feed.name();
            let is_due = |at| (self.run.now_us)() - at >= DAY_US;
            let Some(state) = known.get(&name) else { continue };
            if !ledger.last_looked(Purpose::Recheck, &name).is_some_and(is_due) {
                continue;
            }
            let pieces = pieces(&state.seen.within(window), &feed.endpoint, self.options.piece_us).into_iter();
            wanted.extend(pieces.map(|piece| Wanted { feed: place, piece, again: true }));
            looked.push(name);
        }
        if looked.is_empty() {
            return Ok(None);
        }
        self.look_again(wanted, Purpose::Recheck, looked, ledger).await.map(Some)
    }

    /// Fetches rows once more, brings them in, and writes down that this was done, if it was.
    async fn look_again(
        &self,
        wanted: Vec<Wanted>,
        purpose: Purpose,
        feeds: Vec<String>,
        ledger: &mut Ledger,
    ) -> Result<TableReport> {
        let fetch = self.fetch(wanted, purpose, ledger).await?;
        let report = TableReport { fetch, runs: self.bring_in(ledger).await?, ..TableReport::default() };
        let is_done = |feed: &String| !report.fetch.not_again.iter().any(|gap| gap.feed == *feed);
        let feeds: Vec<String> = feeds.into_iter().filter(is_done).collect();
        if !report.is_stopped() && report.fetch.missed_keys.is_empty() && !feeds.is_empty() {
            ledger.append(Entry::Looked { purpose, feeds }, (self.run.now_us)()).await?;
        }
        Ok(report)
    }

    /// Brings in what an earlier run has landed.
    ///
    /// # Errors
    /// What the disk, the ledger or the target say.
    pub async fn bring_waiting(&self, ledger: &mut Ledger) -> Result<TableReport> {
        Ok(TableReport { runs: self.bring_in(ledger).await?, ..TableReport::default() })
    }

    /// Fetches rows by their keys and brings them in.
    ///
    /// # Errors
    /// As [`Follower::catch_up`].
    pub async fn bring_keys(&self, keys: &BTreeSet<String>, ledger: &mut Ledger) -> Result<TableReport> {
        let fetch = self.fetch(self.of_keys(keys), Purpose::Wanted, ledger).await?;
        Ok(TableReport { fetch, runs: self.bring_in(ledger).await?, ..TableReport::default() })
    }

    /// Fetches rows once more by their keys, and brings them in.
    ///
    /// # Errors
    /// As [`Follower::catch_up`].
    pub async fn refresh_keys(&self, keys: &BTreeSet<String>, ledger: &mut Ledger) -> Result<TableReport> {
        let feeds = self.feeds.iter().map(Feed::name).collect();
        self.look_again(self.of_keys(keys), Purpose::Refresh, feeds, ledger).await
    }

    /// Whether what its rows say is so old that they are asked for once more.
    pub fn is_refresh_due(&self, refresh_us: i64, ledger: &Ledger) -> bool {
        let is_due = |at| (self.run.now_us)() - at >= refresh_us;
        self.feeds.iter().any(|feed| ledger.last_looked(Purpose::Refresh, &feed.name()).is_none_or(is_due))
    }

    fn of_keys(&self, keys: &BTreeSet<String>) -> Vec<Wanted> {
        let keys: Vec<String> = keys.iter().cloned().collect();
        let of_feed = |(place, feed): (usize, &Feed)| -> Vec<Wanted> {
            let chunks = keys.chunks(feed.endpoint.most_keys.max(1));
            chunks.map(|keys| Wanted { feed: place, piece: Piece::Keys(keys.to_vec()), again: false }).collect()
        };
        self.feeds.iter().enumerate().flat_map(of_feed).collect()
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

    /// As [`gone_parts`].
    async fn gone(&self, ledger: &Ledger) -> Result<BTreeSet<String>> {
        gone_parts(&self.run.home, &self.run.work, ledger, &self.run.dataset.digest()).await
    }
}
