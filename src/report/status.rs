//! How a table is: what it has, what was seen of its feeds, what waits, and when something was done to it.

use super::counted;
use super::text::{line, n, place};
use crate::error::Result;
use crate::ledger::{Entry, FeedState, Ledger, Purpose, Receipt};
use crate::window::{DAY_US, Day, Window, start_of_second_us, text_of_length_us, text_of_us};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Of gaps, parts and values without a row, how many are shown; the JSON report has all.
const SHOWN: usize = 10;
/// How many entries of the ledger are shown.
const ENTRIES_SHOWN: usize = 20;

/// How a table is, and what keeps it up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatusReport {
    /// The target's full name.
    pub target: String,
    /// When it was looked at, in microseconds since 1970-01-01 UTC.
    pub at_us: i64,
    /// Rows that it has.
    pub rows: u64,
    /// Its rows on each of the days that were asked for; nothing where none were. Empty where the dataset has no
    /// partition column.
    pub rows_by_day: Option<BTreeMap<Day, u64>>,
    /// Runs that began and neither finished nor stopped for a decision nor were forgotten, the oldest first.
    pub unfinished: Vec<String>,
    /// What its feeds have brought, by their names.
    pub feeds: Vec<FeedReport>,
    /// What is landed and waits for a run, the oldest first.
    pub parts: Vec<PartReport>,
    /// How many values rows of another table are wanted for that were not asked for yet.
    pub wanted: u64,
    /// Values that were asked for and for which there was no row, each with how often they were asked for.
    pub left: BTreeMap<String, u32>,
    /// When something was done last.
    pub last: LastTimes,
    /// The receipts of its batches, the oldest first.
    pub receipts: Vec<Receipt>,
}

/// How a feed is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedReport {
    /// What the ledger says of it.
    #[serde(flatten)]
    pub state: FeedState,
    /// How far its checkpoint is behind now, in microseconds; 0 where it is ahead.
    pub lag_us: i64,
    /// How much was seen whole, in microseconds of event time.
    pub seen_us: i64,
}

/// What is landed and waits for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartReport {
    /// The part.
    pub part: String,
    /// What it was fetched for.
    pub purpose: Purpose,
    /// Rows that have landed.
    pub rows: u64,
    /// When it was fetched, in microseconds since 1970-01-01 UTC.
    pub fetched_us: i64,
    /// Whether its files are here. Otherwise it is fetched again.
    pub is_here: bool,
}

/// When something was done last, each in microseconds since 1970-01-01 UTC; nothing where it was never done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LastTimes {
    /// Rows were fetched that were new, or wanted.
    pub fetched_us: Option<i64>,
    /// Windows that had been seen whole were fetched once more.
    pub rechecked_us: Option<i64>,
    /// Rows were fetched that may say something else by now.
    pub refreshed_us: Option<i64>,
    /// A run was finished.
    pub finished_us: Option<i64>,
}

impl LastTimes {
    fn of(ledger: &Ledger) -> LastTimes {
        let of = |purpose| ledger.last_fetched_for(purpose);
        LastTimes {
            fetched_us: of(Purpose::New).max(of(Purpose::Wanted)),
            rechecked_us: of(Purpose::Recheck),
            refreshed_us: of(Purpose::Refresh),
            finished_us: ledger.last_finished(),
        }
    }
}

impl StatusReport {
    /// What a ledger knows of its target, which has so many rows, at this moment. Parts that are `gone` wait and are
    /// not here any more.
    ///
    /// # Errors
    /// As [`Ledger::wanted`].
    pub async fn of(
        target: String,
        rows: u64,
        ledger: &Ledger,
        gone: &BTreeSet<String>,
        at_us: i64,
    ) -> Result<StatusReport> {
        let feed = |state: FeedState| FeedReport {
            lag_us: at_us.saturating_sub(state.checkpoint_us).max(0),
            seen_us: state.seen.length_us(),
            state,
        };
        let (left, wanted): (BTreeMap<String, u32>, BTreeMap<String, u32>) =
            ledger.wanted().await?.into_iter().partition(|(_, asked)| *asked > 0);
        Ok(StatusReport {
            target,
            at_us,
            rows,
            rows_by_day: None,
            unfinished: ledger.unfinished().into_iter().map(str::to_string).collect(),
            feeds: ledger.feeds(gone).into_values().map(feed).collect(),
            parts: parts(ledger, gone),
            wanted: wanted.len() as u64,
            left,
            last: LastTimes::of(ledger),
            receipts: ledger.receipts().cloned().collect(),
        })
    }
}

fn parts(ledger: &Ledger, gone: &BTreeSet<String>) -> Vec<PartReport> {
    let waiting: BTreeSet<&str> = ledger.pending().into_iter().map(|(part, _)| part).collect();
    let fetched = ledger.records().iter().filter_map(|record| match &record.entry {
        Entry::Fetched { part, purpose, counts, .. } if waiting.contains(part.as_str()) => Some(PartReport {
            part: part.clone(),
            purpose: *purpose,
            rows: counts.landed,
            fetched_us: record.at_us,
            is_here: !gone.contains(part),
        }),
        _ => None,
    });
    fetched.collect()
}

/// The report of a status, with the last entries of the ledger that it was made of.
pub fn status_text(report: &StatusReport, ledger: &Ledger) -> String {
    let mut text = format!("{}\n\n", place(&report.target));
    line(&mut text, "rows", report.rows, "");
    line(&mut text, "ledger entries", ledger.records().len() as u64, "");
    report.unfinished.iter().for_each(|run| unfinished(&mut text, run, ledger));
    rows_by_day(&mut text, report.rows_by_day.as_ref());
    report.feeds.iter().for_each(|found| feed(&mut text, found));
    waiting(&mut text, &report.parts);
    wanted(&mut text, report);
    last(&mut text, &report.last);
    entries(&mut text, ledger);
    text
}

/// Tells a run that is not finished, with all that can be done about it: it is named for its input as it was, so where
/// that is gone by now nobody can go on with it.
fn unfinished(text: &mut String, run: &str, ledger: &Ledger) {
    let migration = ledger.migration(run);
    if migration.as_ref().is_some_and(|known| known.rolling_back.is_some()) {
        let _ = writeln!(text, "  unfinished run {run}: it is being taken back; go on with --roll-back {run} --yes");
        return;
    }
    let _ = writeln!(text, "  unfinished run {run}: run the same command again");
    text.push_str("    where its input has changed since, that is another run: forget this one with\n");
    text.push_str("    `gc --remove --unfinished`; what it has merged stays, and has receipts\n");
    if migration.is_some() {
        let _ = writeln!(text, "    or take back what it has merged with `migrate --roll-back {run}`");
    }
}

/// Shows the first few of a list, each on a line of its own below a name, and how many more there are.
fn some(text: &mut String, name: &str, all: impl ExactSizeIterator<Item = String>) {
    let more = all.len().saturating_sub(SHOWN);
    for (at, one) in all.take(SHOWN).enumerate() {
        let _ = writeln!(text, "    {:<12}{one}", if at == 0 { name } else { "" });
    }
    if more > 0 {
        let _ = writeln!(text, "    {:<12}and {} more", "", n(more as u64));
    }
}

fn rows_by_day(text: &mut String, days: Option<&BTreeMap<Day, u64>>) {
    let Some(days) = days else { return };
    if days.is_empty() {
        text.push_str("\n  no rows by day: the dataset has no partition column\n");
        return;
    }
    let _ = writeln!(text, "\n  {:<12}{:>14}", "day", "rows");
    for (day, rows) in days {
        let _ = writeln!(text, "  {:<12}{:>14}", day.to_string(), n(*rows));
    }
}

fn feed(text: &mut String, feed: &FeedReport) {
    let state = &feed.state;
    let _ = writeln!(text, "\n  feed {}", place(&state.feed));
    let (checkpoint, lag) = (text_of_us(state.checkpoint_us), text_of_length_us(feed.lag_us));
    let _ = writeln!(text, "    {:<12}{checkpoint}, {lag} behind now", "checkpoint");
    let (from, days) = (text_of_us(state.from_us), feed.seen_us as f64 / DAY_US as f64);
    let _ = writeln!(text, "    {:<12}since {from}, {days:.1} days seen", "followed");
    some(text, "gap", state.gaps.iter().map(|gap| format!("{}: {}", gap.window, gap.why)));
    some(text, "passed", state.accepted.windows().iter().map(Window::to_string));
}

fn waiting(text: &mut String, parts: &[PartReport]) {
    if parts.is_empty() {
        return;
    }
    text.push_str("\n  landed, and in the table once the same command is run again\n");
    let part = |part: &PartReport| {
        let what = match part.purpose {
            Purpose::New => "new",
            Purpose::Recheck => "a second look",
            Purpose::Wanted => "wanted by other rows",
            Purpose::Refresh => "a refresh",
        };
        let (rows, when) = (counted(part.rows, "row"), second(part.fetched_us));
        let gone = if part.is_here { "" } else { "; its files are not here, so it is fetched again" };
        format!("{} with {rows} ({what}), fetched {when}{gone}", part.part)
    };
    some(text, "part", parts.iter().map(part));
}

fn wanted(text: &mut String, report: &StatusReport) {
    if report.wanted == 0 && report.left.is_empty() {
        return;
    }
    text.push_str("\n  rows of another table\n");
    line(text, "wanted", report.wanted, "");
    line(text, "asked for, not there", report.left.len() as u64, "");
    some(text, "", report.left.keys().cloned());
}

fn last(text: &mut String, last: &LastTimes) {
    let times = [
        ("last fetched", last.fetched_us),
        ("last rechecked", last.rechecked_us),
        ("last refreshed", last.refreshed_us),
        ("last run finished", last.finished_us),
    ];
    if times.iter().any(|(_, at_us)| at_us.is_some()) {
        text.push('\n');
    }
    for (name, at_us) in times.into_iter().filter_map(|(name, at_us)| Some((name, at_us?))) {
        let _ = writeln!(text, "  {name:<22}{}", second(at_us));
    }
}

/// A moment to the second.
fn second(at_us: i64) -> String {
    text_of_us(start_of_second_us(at_us))
}

fn entries(text: &mut String, ledger: &Ledger) {
    if ledger.records().is_empty() {
        text.push_str("\n  nothing was done to it by tradefold\n");
        return;
    }
    let _ = writeln!(text, "\n  {:<22}{:<12}{:<34}{:>12}{:>12}", "when", "what", "name", "inserted", "updated");
    let none = String::new();
    for record in ledger.records().iter().rev().take(ENTRIES_SHOWN) {
        let when = second(record.at_us);
        let (what, name, counts) = match &record.entry {
            Entry::Landed { run_id, .. } => ("landed", run_id, None),
            Entry::Planned { run_id, .. } => ("planned", run_id, None),
            Entry::Leased { holder } => ("taken", &holder.name, None),
            Entry::Merging { batch_id, .. } => ("merging", batch_id, None),
            Entry::Settled { jobs } => ("settled", jobs.last().unwrap_or(&none), None),
            Entry::Merged { receipt } => ("merged", &receipt.batch_id, Some(&receipt.merged)),
            Entry::Stopped { run_id, .. } => ("stopped", run_id, None),
            Entry::Finished { run_id, .. } => ("finished", run_id, None),
            Entry::Followed { feed, .. } => ("followed", feed, None),
            Entry::Fetched { part, .. } => ("fetched", part, None),
            Entry::Accepted { gaps } => ("gap passed", gaps.last().map_or(&none, |gap| &gap.feed), None),
            Entry::Wanted { .. } => ("wanted", &none, None),
            Entry::Struck { .. } => ("struck off", &none, None),
            Entry::Unseen { covers, .. } => ("unseen", covers.last().map_or(&none, |cover| &cover.feed), None),
            Entry::Migrating { run_id, .. } => ("migrating", run_id, None),
            Entry::Changing { batch_id, .. } => ("changing", batch_id, None),
            Entry::Proven { run_id, .. } => ("proven", run_id, None),
            Entry::Dropping { source, .. } => ("dropping", source, None),
            Entry::Swapping { swap } => ("swapping", &swap.run_id, None),
            Entry::Swapped { swap, .. } => ("swapped", &swap.run_id, None),
            Entry::RollingBack { run_id, .. } => ("rolling back", run_id, None),
            Entry::RolledBack { run_id, .. } => ("rolled back", run_id, None),
            Entry::Looked { feeds, .. } => ("looked", feeds.last().unwrap_or(&none), None),
        };
        let last = match (&record.entry, counts) {
            (Entry::Proven { findings: reasons, .. } | Entry::Stopped { reasons, .. }, _) => {
                format!("  {}", reasons.join(", "))
            }
            (_, Some(merged)) => format!("{:>12}{:>12}", n(merged.inserted), n(merged.updated)),
            _ => String::new(),
        };
        let line = format!("  {when:<22}{what:<12}{name:<34}{last}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
