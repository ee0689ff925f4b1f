//! What the ledger knows of feeds: what was seen of them, what is landed and waits, what other tables are wanted for.

use super::entry::{Cover, Entry, Gap, Purpose};
use super::{LANDING, Ledger, WANTED, attached_file};
use crate::error::{Error, Result};
use crate::landing::Landed;
use crate::spans::Spans;
use crate::window::Window;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a feed is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedState {
    /// The feed.
    pub feed: String,
    /// Since when it is followed, or was followed last, in microseconds since 1970-01-01 UTC.
    pub from_us: i64,
    /// Whether it is followed for good.
    pub is_followed: bool,
    /// Up to where everything since then was seen or accepted as missing, in microseconds since 1970-01-01 UTC.
    pub checkpoint_us: i64,
    /// Every time that is or was wanted of it.
    pub wanted: Spans,
    /// What was seen whole.
    pub seen: Spans,
    /// What was given up.
    pub accepted: Spans,
    /// What is missing before the latest moment that was looked at, with the last reason where there is one.
    pub gaps: Vec<Gap>,
}

/// What a part has seen of feeds; as in [`Entry::Fetched`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The part.
    pub part: String,
    /// What was seen whole.
    pub covers: Vec<Cover>,
    /// What was not.
    pub gaps: Vec<Gap>,
    /// What it was fetched for.
    pub purpose: Purpose,
    /// The digest of the contract by which its rows have landed.
    pub contract: String,
}

impl FeedState {
    /// What nobody has to look at any more.
    pub fn passed(&self) -> Spans {
        let mut passed = self.seen.clone();
        passed.extend(&self.accepted);
        passed
    }

    /// Where who says nothing else goes on: since when it is followed for good, or the end of what was wanted once.
    pub fn goes_on_from(&self) -> i64 {
        let end_us = self.wanted.hull().map_or(self.from_us, |hull| hull.to_us);
        if self.is_followed { self.from_us } else { end_us }
    }
}

impl Ledger {
    /// Writes the entry of a part, with its landing in a file beside it.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn append_fetched(&mut self, seen: Seen, landed: &Landed, at_us: i64) -> Result<()> {
        let digest = self.attach(LANDING, landed).await?;
        let Seen { part, covers, gaps, purpose, contract } = seen;
        let counts = landed.counts;
        self.append(Entry::Fetched { part, covers, gaps, purpose, contract, counts, digest }, at_us).await
    }

    /// Whether a part has landed by this contract.
    pub fn is_of_contract(&self, name: &str, digest: &str) -> bool {
        self.records().iter().any(|record| {
            matches!(&record.entry, Entry::Fetched { part, contract, .. } if part == name && contract == digest)
        })
    }

    /// Windows of a feed of which no run could show that they are whole, though one has tried.
    pub fn failed(&self, name: &str) -> Spans {
        let mut failed = Spans::default();
        for record in self.records() {
            if let Entry::Fetched { covers, gaps, .. } = &record.entry {
                let seen = covers.iter().filter(|cover| cover.feed == name).flat_map(|cover| cover.spans.windows());
                seen.for_each(|window| failed.remove(*window));
                gaps.iter().filter(|gap| gap.feed == name).for_each(|gap| failed.add(gap.window));
            }
        }
        failed
    }

    /// How many rows are gone from the target, which has so many now: since the last merge, or between merges. What
    /// somebody has found right since then is not counted.
    pub fn lost_rows(&self, rows: u64) -> u64 {
        let (mut last, mut version, mut lost) = (0, None, 0);
        for record in self.records() {
            match &record.entry {
                Entry::Unseen { rows: Some(rows), .. } => (last, lost) = (*rows, 0),
                Entry::Merged { receipt } if receipt.merged.version.is_some() => {
                    let merged = &receipt.merged;
                    // A receipt that was written long after its merge; a table that was made anew begins with none.
                    if merged.version <= version && merged.rows_before > 0 {
                        continue;
                    }
                    lost += last.saturating_sub(merged.rows_before);
                    (last, version) = (merged.rows_after, merged.version);
                }
                // Until it is done, nobody knows how many there are.
                Entry::RollingBack { rows, .. } => {
                    lost += last.saturating_sub(*rows);
                    last = 0;
                }
                Entry::RolledBack { undone, .. } => (last, version) = (undone.rows_after, undone.version),
                // Which of the two it is then is told by the next one.
                Entry::Swapping { swap } => {
                    lost += last.saturating_sub(swap.old.rows);
                    last = 0;
                }
                Entry::Swapped { swap, is_done } => {
                    let is = if *is_done { swap.new } else { swap.old };
                    (last, version) = (is.rows, Some(is.version));
                }
                _ => {}
            }
        }
        lost + last.saturating_sub(rows)
    }

    /// When a feed was looked at once more for this purpose, or else was fetched first; in microseconds since
    /// 1970-01-01 UTC.
    pub fn last_looked(&self, wanted: Purpose, name: &str) -> Option<i64> {
        let looked = self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Looked { purpose, feeds } if *purpose == wanted && feeds.iter().any(|feed| feed == name) => {
                Some(record.at_us)
            }
            _ => None,
        });
        looked.or_else(|| {
            let of_feed = |record: &&super::Record| match &record.entry {
                Entry::Fetched { covers, .. } => covers.iter().any(|cover| cover.feed == name),
                _ => false,
            };
            self.records().iter().find(of_feed).map(|record| record.at_us)
        })
    }

    /// Parts that are landed and that no run has brought in, the oldest first, each with what it was fetched for.
    pub fn pending(&self) -> Vec<(&str, Purpose)> {
        let mut open: Vec<(&str, Purpose)> = Vec::new();
        for record in self.records() {
            match &record.entry {
                Entry::Fetched { part, purpose, .. } => open.push((part, *purpose)),
                Entry::Finished { parts, .. } => open.retain(|(part, _)| !parts.iter().any(|done| done == part)),
                _ => {}
            }
        }
        open
    }

    /// The landing of a part, if its file is what it was.
    ///
    /// # Errors
    /// What the store says.
    pub async fn landed_part(&self, name: &str) -> Result<Option<Landed>> {
        let digest = self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Fetched { part, digest, .. } if part == name => Some(digest),
            _ => None,
        });
        match digest {
            Some(digest) => self.attached(LANDING, digest).await,
            None => Ok(None),
        }
    }

    /// How every feed is, by its name. Parts that are `gone` were never brought in and are not there any more: what
    /// they had seen was not seen.
    pub fn feeds(&self, gone: &BTreeSet<String>) -> BTreeMap<String, FeedState> {
        let mut feeds: BTreeMap<&str, Known> = BTreeMap::new();
        let mut reasons: Vec<&Gap> = Vec::new();
        for record in self.records() {
            match &record.entry {
                Entry::Followed { feed, from_us, to_us } => {
                    let known = feeds.entry(feed).or_default();
                    known.is_followed |= to_us.is_none();
                    let window = Window::new(*from_us, to_us.unwrap_or(i64::MAX));
                    window.into_iter().for_each(|window| known.wanted.add(window));
                }
                Entry::Fetched { part, covers, gaps, .. } => {
                    reasons.extend(gaps);
                    for cover in covers.iter().filter(|_| !gone.contains(part)) {
                        feeds.entry(&cover.feed).or_default().seen.extend(&cover.spans);
                    }
                }
                Entry::Unseen { covers, .. } => {
                    for cover in covers {
                        let seen = &mut feeds.entry(&cover.feed).or_default().seen;
                        cover.spans.windows().iter().for_each(|window| seen.remove(*window));
                    }
                }
                Entry::Accepted { gaps } => {
                    for cover in gaps {
                        feeds.entry(&cover.feed).or_default().accepted.extend(&cover.spans);
                    }
                }
                _ => {}
            }
        }
        feeds.into_iter().map(|(feed, known)| (feed.to_string(), state(feed, known, &reasons))).collect()
    }

    /// When a part was last fetched for this purpose, in microseconds since 1970-01-01 UTC.
    pub fn last_fetched_for(&self, wanted: Purpose) -> Option<i64> {
        self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Fetched { purpose, .. } if *purpose == wanted => Some(record.at_us),
            _ => None,
        })
    }

    /// Writes the entry of values that rows of another table are wanted for.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn append_wanted(&mut self, values: &BTreeSet<String>, at_us: i64) -> Result<()> {
        let digest = self.attach(WANTED, values).await?;
        self.append(Entry::Wanted { values: values.len() as u64, digest }, at_us).await
    }

    /// The digests of the lists of values that are wanted and were not struck off.
    fn open_lists(&self) -> impl Iterator<Item = &str> {
        let newest_first = self.records().iter().rev().map(|record| &record.entry);
        newest_first.take_while(|entry| !matches!(entry, Entry::Struck { .. })).filter_map(|entry| match entry {
            Entry::Wanted { digest, .. } => Some(digest.as_str()),
            _ => None,
        })
    }

    /// Values for which there was no row when they were last asked for, each with how often they were asked for.
    pub fn left(&self) -> BTreeMap<String, u32> {
        let struck = self.records().iter().rev().find_map(|record| match &record.entry {
            Entry::Struck { left } => Some(left.clone()),
            _ => None,
        });
        struck.unwrap_or_default()
    }

    /// Whether there are values that were not struck off.
    pub fn has_wanted(&self) -> bool {
        self.open_lists().next().is_some()
    }

    /// All values that rows of another table are wanted for, each with how often it was asked for.
    ///
    /// # Errors
    /// Data, when a list is not what it was.
    pub async fn wanted(&self) -> Result<BTreeMap<String, u32>> {
        let mut wanted = self.left();
        for digest in self.open_lists() {
            let values: Option<BTreeSet<String>> = self.attached(WANTED, digest).await?;
            let lost = || {
                Error::data("read which rows of another table are wanted")
                    .with("file", self.folder().url_of(&attached_file(WANTED, digest)))
                    .because("it is not what it was when it was written")
            };
            for value in values.ok_or_else(lost)? {
                wanted.entry(value).or_insert(0);
            }
        }
        Ok(wanted)
    }

    /// The files beside the entries that a later run needs, each with the run or part that needs it.
    pub fn needed_files(&self) -> BTreeMap<String, String> {
        let runs = self.unfinished();
        let parts: Vec<&str> = self.pending().into_iter().map(|(part, _)| part).collect();
        let mut needed = BTreeMap::new();
        for record in self.records() {
            let (name, digest) = match &record.entry {
                Entry::Landed { run_id, digest, .. } if runs.contains(&run_id.as_str()) => (run_id, digest),
                Entry::Fetched { part, digest, .. } if parts.contains(&part.as_str()) => (part, digest),
                _ => continue,
            };
            needed.insert(attached_file(LANDING, digest), name.clone());
        }
        for digest in self.open_lists() {
            needed.insert(attached_file(WANTED, digest), "the rows that are wanted".into());
        }
        needed
    }
}

/// What entries say of one feed.
#[derive(Default)]
struct Known {
    is_followed: bool,
    wanted: Spans,
    seen: Spans,
    accepted: Spans,
}

fn state(feed: &str, known: Known, reasons: &[&Gap]) -> FeedState {
    let Known { is_followed, wanted, seen, accepted } = known;
    let mut passed = seen.clone();
    passed.extend(&accepted);
    // Up to where somebody has looked.
    let tried = reasons.iter().filter(|gap| gap.feed == feed).map(|gap| gap.window.to_us);
    let tried_us = tried.chain(passed.hull().map(|hull| hull.to_us)).max().unwrap_or(i64::MIN);
    let mut missing = Spans::default();
    for window in wanted.windows() {
        let until = Window::new(window.from_us, window.to_us.min(tried_us));
        until.into_iter().for_each(|until| missing.extend(&passed.missing(until)));
    }
    let last = wanted.windows().last().copied();
    let from_us = last.map_or(0, |window| window.from_us);
    let first_gap = last.and_then(|window| passed.missing(window).windows().first().map(|gap| gap.from_us));
    let checkpoint_us = first_gap.or(last.map(|window| window.to_us)).unwrap_or(from_us);
    let why = |window: &Window| {
        let about =
            |gap: &&&Gap| gap.feed == feed && gap.window.from_us < window.to_us && window.from_us < gap.window.to_us;
        reasons.iter().rev().find(about).map_or("it was not fetched yet".to_string(), |gap| gap.why.clone())
    };
    let gaps = missing.windows().iter();
    let gaps = gaps.map(|window| Gap { feed: feed.to_string(), window: *window, why: why(window) }).collect();
    FeedState { feed: feed.to_string(), from_us, is_followed, checkpoint_us, wanted, seen, accepted, gaps }
}
