//! Walks one piece of an API page by page, without doing any I/O: what was answered goes in, what to do next comes out.
//!
//! APIs repeat pages, hand out a cursor twice, say that there is more and send nothing, and change while they are read.
//! So a pass over a piece proves that it is complete only where nothing of that happened, and every such thing is
//! counted. A pass that proves nothing is made again, a few times; then the piece is a gap.

use super::{Ask, At, Facts, Next, Piece};
use crate::window::{SECOND_US, Window, start_of_second_us};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::AddAssign;

/// How often a pass is made, at most.
const PASSES: u32 = 3;
/// How often the same page is asked for again where the answer can't be the page that follows.
const AGAIN: u32 = 3;
/// How many pages a pass has at most: an API may hand out cursors for ever.
const PAGES: u64 = 10_000;

/// What an endpoint allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The greatest offset that is answered, where pages are counted by rows.
    pub last_offset: u64,
    /// Whether a request can say which time it is about, so that a piece may be cut.
    pub by_time: bool,
    /// Whether the number of rows of an offset can change while they are read, since new ones come in before the old.
    pub shifts: bool,
    /// Whether equal rows are numbered, so that a row which came twice by mistake would be one more event.
    pub numbers: bool,
}

/// What was odd about the answers. All of it was dealt with, or the piece is a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddities {
    /// Pages whose next cursor had been followed already.
    pub repeated_cursors: u64,
    /// Pages that had come before in the same pass.
    pub repeated_pages: u64,
    /// Pages without rows, though there was said to be more.
    pub empty_pages: u64,
    /// Pages whose rows were not the newest first.
    pub unordered_pages: u64,
    /// Pages with more rows than were asked for: some of them may come again on the next page.
    pub oversized_pages: u64,
    /// Rows that were not asked for: outside of the piece.
    pub outside_rows: u64,
    /// Last pages by which the rows of the pass were not as many as the API said.
    pub wrong_totals: u64,
    /// Passes during which the first page changed.
    pub shifted: u64,
    /// Passes that were begun again.
    pub passes_again: u64,
    /// Pieces that were too many rows for the API and were cut in two.
    pub cut: u64,
}

impl Oddities {
    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        *self == Oddities::default()
    }
}

impl AddAssign for Oddities {
    fn add_assign(&mut self, other: Oddities) {
        self.repeated_cursors += other.repeated_cursors;
        self.repeated_pages += other.repeated_pages;
        self.empty_pages += other.empty_pages;
        self.unordered_pages += other.unordered_pages;
        self.oversized_pages += other.oversized_pages;
        self.outside_rows += other.outside_rows;
        self.wrong_totals += other.wrong_totals;
        self.shifted += other.shifted;
        self.passes_again += other.passes_again;
        self.cut += other.cut;
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for a page.
    Ask(Ask),
    /// Everything of the piece was seen.
    Complete,
    /// There are more rows than the API gives at a time: take these instead.
    Cut(Box<(Piece, Piece)>),
    /// Everything of this window was seen, and nothing older can be: the API gives no more, for this reason.
    Reached(Window, String),
    /// It can't be shown that everything was seen.
    Gap(String),
}

/// What became of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether its rows belong to the pass.
    pub keeps_page: bool,
    /// Whether what the pass has brought so far counts no more.
    pub drops_pass: bool,
    /// What to do next.
    pub step: Step,
}

/// A walk over one piece.
#[derive(Clone, Debug)]
pub struct Pager {
    piece: Piece,
    reach: Reach,
    passes: u32,
    again: u32,
    at: At,
    followed: HashSet<String>,
    /// Digests of all rows of this pass.
    seen: HashSet<u64>,
    /// The last row of the page before, where that was a full one: others that are equal to it may follow.
    last_row: Option<u64>,
    first_page: Option<u64>,
    /// Whether the first page is asked for once more, to see whether it is still the same.
    looks_back: bool,
    /// What a walk from the newest row back has seen, where it can't go on to the end of the piece, and why not.
    reached: Option<(Window, String)>,
    /// The time of the oldest row of this pass.
    oldest_us: Option<i64>,
    pages: u64,
    rows: u64,
    /// Those of them that are within the piece.
    inside: u64,
    first_total: Option<u64>,
    oddities: Oddities,
}

impl Pager {
    /// A walk that has not begun.
    pub fn new(piece: Piece, reach: Reach) -> Pager {
        Pager {
            piece,
            reach,
            passes: 1,
            again: 0,
            at: At::Start,
            followed: HashSet::new(),
            seen: HashSet::new(),
            last_row: None,
            first_page: None,
            looks_back: false,
            reached: None,
            oldest_us: None,
            pages: 0,
            rows: 0,
            inside: 0,
            first_total: None,
            oddities: Oddities::default(),
        }
    }

    /// A walk whose earlier passes were made by another try.
    pub fn resumed(piece: Piece, reach: Reach, pass: u32) -> Pager {
        Pager { passes: pass.max(1), ..Pager::new(piece, reach) }
    }

    /// What is asked next.
    pub fn ask(&self) -> Ask {
        let at = if self.looks_back { At::Start } else { self.at.clone() };
        Ask { piece: self.piece.clone(), at }
    }

    /// Which pass this is, from 1.
    pub fn pass(&self) -> u32 {
        self.passes
    }

    /// What was odd so far.
    pub fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// Takes an answer to a request for at most so many rows.
    pub fn answered(&mut self, facts: &Facts, asked_rows: u64) -> Turn {
        if self.looks_back {
            return self.looked_back(facts);
        }
        let is_more = matches!(facts.next, Next::Cursor(_) | Next::More);
        if facts.rows == 0 && is_more {
            self.oddities.empty_pages += 1;
            return self.ask_again("a page without rows, though there was said to be more", AGAIN);
        }
        if facts.rows > 0 && facts.digests.is_empty() && self.reach.by_time {
            // Who is not heard by the API would take all of its rows for those of one window.
            self.oddities.outside_rows += facts.rows;
            return self.ask_again("a page without any row that was asked for", AGAIN);
        }
        if self.has_come(facts) {
            self.oddities.repeated_pages += 1;
            return self.ask_again("a page whose rows had all come before", AGAIN);
        }
        if let Next::Cursor(cursor) = &facts.next
            && (self.followed.contains(cursor) || self.at == At::Cursor(cursor.clone()))
        {
            self.oddities.repeated_cursors += 1;
            return self.ask_again_for_rows("a cursor that had been followed already", AGAIN);
        }
        if facts.next == Next::End && !self.is_total(facts) {
            self.oddities.wrong_totals += 1;
            // Perhaps only this answer is wrong; if not, a pass that begins anew tells.
            return self.ask_again_for_rows("a total that is not the number of rows that came", 1);
        }
        if facts.digests.len() as u64 > asked_rows {
            self.oddities.oversized_pages += 1;
            if self.reach.numbers {
                return self.ask_again("a page with more rows than were asked for", AGAIN);
            }
        }
        self.again = 0;
        self.keep(facts, asked_rows);
        let turn = self.after(facts);
        Turn { keeps_page: true, ..turn }
    }

    /// The API refused to go on from where the walk is; a new pass begins at the start.
    pub fn lost_place(&mut self) -> Turn {
        self.doubted("a cursor that the API did not know any more")
    }

    /// The API refused an offset as too great.
    pub fn out_of_reach(&mut self) -> Step {
        self.cut(format!("offset {} was refused", self.rows))
    }

    fn keep(&mut self, facts: &Facts, asked_rows: u64) {
        self.seen.extend(&facts.digests);
        self.last_row = facts.digests.last().copied().filter(|_| facts.rows >= asked_rows);
        self.first_page.get_or_insert(facts.digest);
        self.pages += 1;
        self.rows += facts.rows;
        self.inside += facts.digests.len() as u64;
        self.oddities.outside_rows += facts.rows - facts.digests.len() as u64;
        let goes_on = facts.times_us.zip(self.oldest_us).is_none_or(|((newest, _), oldest)| newest <= oldest);
        if !facts.is_newest_first || !goes_on {
            self.oddities.unordered_pages += 1;
        }
        self.oldest_us = self.oldest_us.into_iter().chain(facts.times_us.map(|(_, oldest)| oldest)).min();
        self.first_total = self.first_total.or(facts.total);
    }

    /// Whether all rows of a page have come before. Equal rows may stand on both sides of a page's edge.
    fn has_come(&self, facts: &Facts) -> bool {
        let goes_on = self.last_row.is_some() && facts.digests.iter().all(|row| Some(*row) == self.last_row);
        !facts.digests.is_empty() && !goes_on && facts.digests.iter().all(|row| self.seen.contains(row))
    }

    /// Whether the total on the last page is what came. Where rows are counted to get to a page, those that come in
    /// meanwhile move the others, so then the total must not have changed either.
    fn is_total(&self, last: &Facts) -> bool {
        let Some(total) = last.total else { return true };
        let came = self.inside + last.digests.len() as u64;
        let is_by_rows = matches!(self.at, At::Offset(_));
        total == came && (!is_by_rows || self.first_total.is_none_or(|first| first == total))
    }

    fn after(&mut self, facts: &Facts) -> Turn {
        match &facts.next {
            Next::Cursor(_) if self.pages >= PAGES => {
                return going_on(self.cut(format!("{PAGES} pages are not all of it")));
            }
            Next::Cursor(cursor) => {
                if let At::Cursor(here) = &self.at {
                    self.followed.insert(here.clone());
                }
                self.at = At::Cursor(cursor.clone());
            }
            Next::End => return going_on(self.ended()),
            // The piece is before everything that is still to come.
            Next::Unknown if facts.rows == 0 || facts.is_past_piece => return going_on(self.ended()),
            Next::Unknown | Next::More if self.rows > self.reach.last_offset => {
                return going_on(self.cut(format!("no offset past {} is answered", self.reach.last_offset)));
            }
            Next::Unknown | Next::More => self.at = At::Offset(self.rows),
        }
        going_on(Step::Ask(self.ask()))
    }

    /// The last page of a pass came.
    fn ended(&mut self) -> Step {
        if self.reach.shifts && matches!(self.at, At::Offset(_)) {
            self.looks_back = true;
            return Step::Ask(self.ask());
        }
        self.proven()
    }

    /// What the pass has shown, now that nothing speaks against it.
    fn proven(&mut self) -> Step {
        self.reached.take().map_or(Step::Complete, |(window, why)| Step::Reached(window, why))
    }

    /// The first page came once more: if it is another one, rows have moved from page to page meanwhile.
    fn looked_back(&mut self, facts: &Facts) -> Turn {
        self.looks_back = false;
        if self.first_page == Some(facts.digest) {
            return going_on(self.proven());
        }
        self.oddities.shifted += 1;
        self.doubted("rows that came in while pages were counted by rows")
    }

    /// The answer can't be what follows; perhaps the next one is.
    fn ask_again(&mut self, why: &'static str, times: u32) -> Turn {
        self.again += 1;
        if self.again <= times {
            return going_on(Step::Ask(self.ask()));
        }
        self.doubted(why)
    }

    /// The same for an answer whose rows are not the matter: when it is given up, they are kept.
    fn ask_again_for_rows(&mut self, why: &'static str, times: u32) -> Turn {
        let gives_up = self.again >= times;
        Turn { keeps_page: gives_up && !self.reach.numbers, ..self.ask_again(why, times) }
    }

    /// The pass proves nothing: begins another one, or gives up.
    fn doubted(&mut self, why: &str) -> Turn {
        if self.passes == PASSES {
            return going_on(Step::Gap(format!("{PASSES} passes over it proved nothing, the last because of {why}")));
        }
        self.oddities.passes_again += 1;
        let (passes, oddities) = (self.passes + 1, self.oddities);
        *self = Pager { passes, oddities, ..Pager::new(self.piece.clone(), self.reach) };
        Turn { keeps_page: false, drops_pass: self.reach.numbers, step: Step::Ask(self.ask()) }
    }

    fn cut(&mut self, why: String) -> Step {
        let may_be_cut = self.reach.by_time || matches!(self.piece, Piece::Keys(_));
        if let Some(halves) = self.piece.halves().filter(|_| may_be_cut) {
            self.oddities.cut += 1;
            return Step::Cut(Box::new(halves));
        }
        let why = format!("it has more rows than the API gives: {why}, and it can't be cut further");
        match self.newer_than_oldest() {
            Some(window) => {
                self.reached = Some((window, why));
                self.ended()
            }
            None => Step::Gap(why),
        }
    }

    /// The end of the piece of which everything came, where rows come from the newest back and the last of them are not
    /// answered any more. Of the second of the oldest row some may be missing.
    fn newer_than_oldest(&self) -> Option<Window> {
        let from_now_back = !self.reach.by_time && self.oddities.unordered_pages == 0;
        let (window, oldest_us) = self.piece.window().zip(self.oldest_us.filter(|_| from_now_back))?;
        Window::new((start_of_second_us(oldest_us) + SECOND_US).max(window.from_us), window.to_us)
    }
}

fn going_on(step: Step) -> Turn {
    Turn { keeps_page: false, drops_pass: false, step }
}
