//! Walks pieces of a feed to their ends, several at once.

use super::endpoint::Piece;
use super::http::{Answer, Http};
use super::pager::{Oddities, Pager, Step};
use super::pages::Pages;
use super::source::Feed;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::window::Window;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::path::Path;
use tokio::sync::mpsc::Sender;

/// How a walk over a piece ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything of the piece was seen.
    Complete,
    /// That can't be shown.
    Gap {
        /// Why.
        why: String,
        /// Whether the next try goes on with the pages that are there; else it has to fetch them anew.
        goes_on: bool,
    },
}

/// A piece that was walked to its end.
#[derive(Debug)]
pub struct Walked {
    /// Of which feed, by its place among them.
    pub feed: usize,
    /// Which one.
    pub piece: Piece,
    /// Whether it is complete.
    pub end: End,
    /// Its pages.
    pub pages: Pages,
    /// What was odd about the answers.
    pub oddities: Oddities,
}

/// Pieces that fail one after the other before it is the API that fails.
const FAILED_IN_A_ROW: u32 = 3;

/// Fetches pieces of feeds.
pub struct Fetcher<'a> {
    /// Who asks.
    pub http: &'a Http,
    /// What is asked for.
    pub feeds: &'a [Feed],
    /// The folder of the pages, on the local disk.
    pub folder: &'a Path,
    /// How many pieces are walked at the same time.
    pub in_flight: usize,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// The time now, in microseconds since 1970-01-01 UTC.
    pub now_us: &'a (dyn Fn() -> i64 + Sync),
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("feeds", &self.feeds).finish_non_exhaustive()
    }
}

/// What a walk gives back: itself, or the pieces that take its place.
enum Outcome {
    Walked(Vec<Walked>),
    Cut(usize, Oddities, Box<(Piece, Piece)>),
}

impl Fetcher<'_> {
    /// Walks all pieces and hands each on as it ends, in no order. A piece that is cut is handed on as its parts.
    ///
    /// # Errors
    /// What no other piece would be spared: refused credentials, a wrong request, an API that answers nothing at all.
    pub async fn fetch(&self, pieces: Vec<(usize, Piece)>, walked: Sender<Walked>) -> Result<()> {
        let mut waiting: VecDeque<(usize, Piece)> = pieces.into();
        let mut walking = FuturesUnordered::new();
        // Those of pieces that were cut are told with the next one that is walked.
        let mut oddities = Oddities::default();
        loop {
            while walking.len() < self.in_flight.max(1)
                && let Some((feed, piece)) = waiting.pop_front()
            {
                walking.push(self.walk(feed, piece));
            }
            match walking.next().await {
                None => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(Outcome::Cut(feed, found, halves))) => {
                    oddities += found;
                    waiting.push_front((feed, halves.1));
                    waiting.push_front((feed, halves.0));
                }
                Some(Ok(Outcome::Walked(pieces))) => {
                    for mut piece in pieces {
                        piece.oddities += std::mem::take(&mut oddities);
                        // Whoever listens has failed, and says why.
                        walked.send(piece).await.map_err(|_| Error::bug("hand on fetched pages"))?;
                    }
                }
            }
        }
    }

    async fn walk(&self, number: usize, piece: Piece) -> Result<Outcome> {
        let Some(feed) = self.feeds.get(number) else { return Err(Error::bug("find a feed")) };
        let folder = self.folder.join(feed.digest());
        let mut pages = Pages::open(&folder, &piece)?;
        if let Piece::Keys(_) = &piece {
            // What they say of themselves changes: an earlier try's answer may be an old one.
            pages.cut(0)?;
        }
        let (mut pager, mut step) = replay(feed, &piece, &mut pages)?;
        loop {
            let (piece, end) = match step {
                Step::Ask(ask) => match self.http.ask(feed, &ask, self.progress).await {
                    Ok(answer) => {
                        step = self.turn(answer, &mut pager, &mut pages)?;
                        continue;
                    }
                    // Others get through, so it is this piece.
                    Err(error) if error.kind() == Kind::Transient && self.http.failed() < FAILED_IN_A_ROW => {
                        (piece, End::Gap { why: error.on_one_line(), goes_on: true })
                    }
                    Err(error) => return Err(error),
                },
                Step::Complete => (piece, End::Complete),
                Step::Gap(why) => (piece, End::Gap { why, goes_on: false }),
                Step::Reached(reached, why) => {
                    let older = piece.window().and_then(|window| Window::new(window.from_us, reached.from_us));
                    let walked = |piece, end, pages, oddities| Walked { feed: number, piece, end, pages, oddities };
                    let mut all = vec![walked(Piece::Span(reached), End::Complete, pages, pager.oddities())];
                    if let Some(piece) = older.map(Piece::Span) {
                        let pages = Pages::open(&folder, &piece)?;
                        all.push(walked(piece, End::Gap { why, goes_on: false }, pages, Oddities::default()));
                    }
                    return Ok(Outcome::Walked(all));
                }
                Step::Cut(halves) => {
                    pages.remove()?;
                    return Ok(Outcome::Cut(number, pager.oddities(), halves));
                }
            };
            let oddities = pager.oddities();
            return Ok(Outcome::Walked(vec![Walked { feed: number, piece, end, pages, oddities }]));
        }
    }

    /// Hands an answer to the walk, and does what it says with the pages.
    fn turn(&self, answer: Answer, pager: &mut Pager, pages: &mut Pages) -> Result<Step> {
        let pass = pager.pass();
        let (turn, body) = match answer {
            Answer::Page { facts, asked_rows, body } => (pager.answered(&facts, asked_rows), body),
            Answer::LostPlace => (pager.lost_place(), Vec::new()),
            Answer::OutOfReach => return Ok(pager.out_of_reach()),
        };
        if turn.keeps_page {
            pages.keep(pass, &body, (self.now_us)())?;
        }
        if turn.drops_pass {
            pages.cut(0)?;
        }
        Ok(turn.step)
    }
}

/// A walk that was told what the last pass of an earlier try has fetched. What does not fit is fetched again.
fn replay(feed: &Feed, piece: &Piece, pages: &mut Pages) -> Result<(Pager, Step)> {
    let pass = pages.files().last().map_or(1, |file| file.pass);
    loop {
        let mut pager = Pager::resumed(piece.clone(), feed.endpoint.reach, pass);
        let mut step = Step::Ask(pager.ask());
        let mut unfit = None;
        for (place, file) in pages.files().iter().enumerate().filter(|(_, file)| file.pass == pass) {
            let body = file.body().unwrap_or_default();
            let facts = feed.endpoint.read(&String::from_utf8_lossy(&body), piece);
            // How many rows were asked for did not matter then, or the page would not be here.
            match facts.map(|facts| pager.answered(&facts, facts.rows)) {
                Ok(turn) if turn.keeps_page && !turn.drops_pass && pager.pass() == pass => step = turn.step,
                _ => {
                    unfit = Some(place);
                    break;
                }
            }
        }
        match unfit {
            None => return Ok((pager, step)),
            // Once more with those that fit, so that the walk is where the pages are.
            Some(place) => pages.cut(place)?,
        }
    }
}
