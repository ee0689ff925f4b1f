//! What is due of a feed; pure.

use crate::fetch::{Endpoint, Piece};
use crate::ledger::FeedState;
use crate::spans::Spans;
use crate::window::{SECOND_US, Window, start_of_second_us};

/// What is wanted of all feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The first moment, in microseconds since 1970-01-01 UTC. `None`: where the feed was.
    pub from_us: Option<i64>,
    /// The first moment that is not wanted, or not yet.
    pub to_us: i64,
    /// Whether feeds are followed for good, so that what comes after `to_us` is wanted, too. Then everything that was
    /// ever wanted of them is due; else only the window.
    pub follows: bool,
    /// How much before something new is fetched once more, in microseconds: rows of one second may come one by one.
    pub overlap_us: i64,
    /// Whether what was seen is fetched as if it had not been.
    pub fetches_anew: bool,
    /// Whether the target is right although rows are gone from it.
    pub accepts_lost_rows: bool,
}

impl Wish {
    /// The same in whole seconds, at least what was wished for: an API can be asked for no others.
    #[must_use]
    pub fn in_seconds(&self) -> Wish {
        let to_us = start_of_second_us(self.to_us);
        let to_us = if to_us < self.to_us { to_us + SECOND_US } else { to_us };
        Wish { from_us: self.from_us.map(start_of_second_us), to_us, ..*self }
    }
}

/// The windows of a feed that were not seen, and those that are fetched once more.
pub fn due(state: Option<&FeedState>, from_us: i64, wish: &Wish) -> (Spans, Spans) {
    let to_us = wish.to_us;
    let mut wanted = Spans::default();
    Window::new(from_us, to_us).into_iter().for_each(|window| wanted.add(window));
    let Some(state) = state else { return (wanted, Spans::default()) };
    if wish.follows {
        let known = state.wanted.windows().iter();
        known.filter_map(|window| Window::new(window.from_us, window.to_us.min(to_us))).for_each(|w| wanted.add(w));
    }
    let passed = state.passed();
    let mut new = Spans::default();
    wanted.windows().iter().for_each(|window| new.extend(&passed.missing(*window)));
    // Only what comes right after something that was seen has a second in common with it.
    let joint = |later: &&Window| state.seen.windows().iter().any(|seen| seen.to_us == later.from_us);
    let before = |later: &Window| Window::new(later.from_us - wish.overlap_us, later.from_us);
    let overlaps = new.windows().iter().filter(joint).filter_map(before);
    let again: Vec<Window> = overlaps.flat_map(|overlap| state.seen.within(overlap).windows().to_vec()).collect();
    (new, again.into())
}

/// Windows as pieces of at most `piece_us`, cut at multiples of it; where an endpoint can't be asked for a time, one
/// piece from the first moment on.
pub fn pieces(spans: &Spans, endpoint: &Endpoint, piece_us: i64) -> Vec<Piece> {
    if !endpoint.reach.by_time {
        return spans.hull().into_iter().map(Piece::Span).collect();
    }
    let mut pieces = Vec::new();
    for window in spans.windows() {
        let mut from_us = window.from_us;
        while from_us < window.to_us {
            let to_us = ((from_us.div_euclid(piece_us) + 1) * piece_us).min(window.to_us);
            pieces.push(Piece::Span(Window { from_us, to_us }));
            from_us = to_us;
        }
    }
    pieces
}
