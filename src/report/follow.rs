//! What following an API has brought.

use super::text::{backfill_text, n, place};
use super::{RunReport, counted};
use crate::error::Kind;
use crate::fetch::Oddities;
use crate::landing::LandingCounts;
use crate::ledger::{FeedState, Gap};
use crate::window::text_of_us;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Of gaps and of values without a row, how many are shown; the JSON report has all.
const SHOWN: usize = 10;

/// What was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FetchReport {
    /// Windows or lists of keys that were due, before any was cut.
    pub pieces: u64,
    /// Requests that were sent, those that were sent again included.
    pub requests: u64,
    /// Requests that were sent again, since the answer before was of no use.
    pub repeated: u64,
    /// Pages that landed.
    pub pages: u64,
    /// Parts that were landed.
    pub parts: u64,
    /// What became of the rows.
    pub counts: LandingCounts,
    /// What was odd about the answers.
    pub oddities: Oddities,
    /// Windows of which it can't be shown that everything was seen.
    pub gaps: Vec<Gap>,
    /// Such windows that were passed for good.
    pub accepted: Vec<Gap>,
    /// Windows that were seen whole before and could not be looked at again.
    pub not_again: Vec<Gap>,
    /// Keys that could not be asked for.
    pub missed_keys: BTreeSet<String>,
}

impl FetchReport {
    fn add(&mut self, other: FetchReport) {
        self.pieces += other.pieces;
        self.requests += other.requests;
        self.repeated += other.repeated;
        self.pages += other.pages;
        self.parts += other.parts;
        self.counts += other.counts;
        self.oddities += other.oddities;
        self.gaps.extend(other.gaps);
        self.accepted.extend(other.accepted);
        self.not_again.extend(other.not_again);
        self.missed_keys.extend(other.missed_keys);
    }
}

/// What was done for one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// What was fetched.
    pub fetch: FetchReport,
    /// The runs that brought it in; none, where there was nothing.
    pub runs: Vec<RunReport>,
    /// How each feed is afterwards.
    pub feeds: Vec<FeedState>,
    /// Values for which the API has no row, each with how often it was asked.
    pub left: BTreeMap<String, u32>,
}

impl TableReport {
    /// Adds what was done for the same table after it.
    pub fn add(&mut self, other: TableReport) {
        self.fetch.add(other.fetch);
        self.runs.extend(other.runs);
        self.feeds.extend(other.feeds);
        self.left.extend(other.left);
    }

    /// Whether there is a reason not to write.
    pub fn is_stopped(&self) -> bool {
        self.runs.iter().any(|run| !run.stops.is_empty())
    }

    /// Whether something is missing that an API may still give.
    fn has_gap(&self) -> bool {
        !self.fetch.gaps.is_empty()
            || !self.fetch.missed_keys.is_empty()
            || self.feeds.iter().any(|f| !f.gaps.is_empty())
    }
}

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SyncReport {
    /// Trades that are new.
    pub trades: TableReport,
    /// Trades that came late, where windows that were whole before were fetched again.
    pub late: Option<TableReport>,
    /// Markets.
    pub markets: Option<TableReport>,
    /// Events.
    pub events: Option<TableReport>,
}

impl SyncReport {
    fn tables(&self) -> impl Iterator<Item = (&'static str, &TableReport)> {
        let named = [
            ("", Some(&self.trades)),
            ("late rows", self.late.as_ref()),
            ("markets", self.markets.as_ref()),
            ("events", self.events.as_ref()),
        ];
        named.into_iter().filter_map(|(name, table)| Some((name, table?)))
    }

    /// How the process ends, where not well: data need a decision, or a gap is open.
    pub fn ends_as(&self) -> Option<Kind> {
        if self.tables().any(|(_, table)| table.is_stopped()) {
            return Some(Kind::Data);
        }
        self.tables().any(|(_, table)| table.has_gap()).then_some(Kind::Busy)
    }
}

/// The report of a sync, or of a backfill from an API.
pub fn sync_text(report: &SyncReport) -> String {
    let mut text = String::new();
    for (name, table) in report.tables() {
        if !name.is_empty() {
            let _ = writeln!(text, "\n== {name}");
        }
        table_text(&mut text, table);
    }
    text
}

fn table_text(text: &mut String, table: &TableReport) {
    let fetch = &table.fetch;
    let again = if fetch.repeated == 0 { String::new() } else { format!(", {} of them again", n(fetch.repeated)) };
    let _ = writeln!(
        text,
        "fetched {} with {} on {} that landed ({}{again})\n",
        counted(fetch.counts.read, "row"),
        counted(fetch.pieces, "piece"),
        counted(fetch.pages, "page"),
        counted(fetch.requests, "request"),
    );
    oddities(text, &fetch.oddities);
    match table.runs.as_slice() {
        [] => text.push_str("nothing to bring in\n"),
        runs => runs.iter().for_each(|run| text.push_str(&backfill_text(run))),
    }
    for feed in &table.feeds {
        let _ = writeln!(text, "\n  checkpoint {}  {}", text_of_us(feed.checkpoint_us), place(&feed.feed));
        for gap in feed.gaps.iter().take(SHOWN) {
            let _ = writeln!(text, "    gap {}: {}", gap.window, gap.why);
        }
        if feed.gaps.len() > SHOWN {
            let _ = writeln!(text, "    and {} more", feed.gaps.len() - SHOWN);
        }
    }
    for gap in fetch.accepted.iter().take(SHOWN) {
        let _ = writeln!(text, "  gap passed for good: {} of {}: {}", gap.window, gap.feed, gap.why);
    }
    for gap in fetch.not_again.iter().take(SHOWN) {
        let _ = writeln!(text, "  seen whole before, and not to be looked at again: {}: {}", gap.window, gap.why);
    }
    if !fetch.missed_keys.is_empty() {
        let keys = counted(fetch.missed_keys.len() as u64, "key");
        let _ = writeln!(text, "  {keys} could not be asked for; the next run asks again");
    }
    let open = fetch.gaps.iter().filter(|gap| table.feeds.iter().all(|feed| feed.feed != gap.feed));
    for gap in open.take(SHOWN) {
        let _ = writeln!(text, "  not whole: {} of {}: {}", gap.window, gap.feed, gap.why);
    }
    if !fetch.gaps.is_empty() || table.feeds.iter().any(|feed| !feed.gaps.is_empty()) {
        text.push_str("  hint: run the same command again, or pass for good what it can't close with --accept-gaps\n");
    }
    if !table.left.is_empty() {
        let shown: Vec<&str> = table.left.keys().take(SHOWN).map(String::as_str).collect();
        let more = table.left.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {} more", n(more as u64)) };
        let _ = writeln!(text, "  without a row, as far as the API knows: {}{more}", shown.join(", "));
    }
}

fn oddities(text: &mut String, found: &Oddities) {
    let lines = [
        (found.repeated_pages, "page", "came twice"),
        (found.repeated_cursors, "page", "pointed back"),
        (found.empty_pages, "page", "had no rows though there was more"),
        (found.unordered_pages, "page", "had rows that were not the newest first"),
        (found.oversized_pages, "page", "had more rows than were asked for"),
        (found.outside_rows, "row", "had not been asked for"),
        (found.wrong_totals, "page", "told another number of rows than had come"),
        (found.shifted, "pass", "had rows move from page to page"),
        (found.passes_again, "pass", "was made again"),
        (found.cut, "piece", "was more than the API gives, and was cut"),
    ];
    for (number, what, happened) in lines.into_iter().filter(|(number, ..)| *number > 0) {
        let what = if what == "pass" && number != 1 { format!("{} passes", n(number)) } else { counted(number, what) };
        let _ = writeln!(text, "  odd: {what} {happened}");
    }
}
