//! Pieces to landed parts: while some are fetched, others land.

use super::{Follower, Wanted};
use crate::error::{Error, Result};
use crate::fetch::{End, Feed, Fetcher, Pages, Piece, Walked, sweep};
use crate::landing::{InputReport, Landed, land_stream};
use crate::ledger::{Cover, Entry, FeedState, Gap, Ledger, Purpose, Seen};
use crate::progress::Silent;
use crate::report::FetchReport;
use crate::source::Input;
use crate::spans::Spans;
use crate::window::{SECOND_US, Window};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

/// Pieces that wait for the landing. Their pages are on the disk.
const WAITING: usize = 16;
/// How often somebody who reads lines is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// What becomes one part.
#[derive(Default)]
struct Part {
    covers: BTreeMap<usize, Spans>,
    gaps: Vec<Gap>,
    accepted: Vec<Gap>,
    /// Windows that were seen whole before and could not be looked at again.
    not_again: Vec<Gap>,
    missed_keys: BTreeSet<String>,
    /// Pages of pieces that are landed, to be removed once the ledger says so.
    landed: Vec<Pages>,
    pages: u64,
    passes: u64,
}

/// How far a fetch is, and what is known of the windows that it is about.
struct Course {
    begun: Instant,
    told: Instant,
    done: u64,
    total: u64,
    /// For each feed what was seen whole or given up before.
    passed: Vec<Spans>,
    /// For each feed the gaps that an earlier run has told of.
    failed: Vec<Spans>,
}

impl Follower<'_> {
    /// Fetches pieces and lands them in parts. What is landed when something fails is in the ledger.
    pub(super) async fn fetch(
        &self,
        wanted: Vec<Wanted>,
        purpose: Purpose,
        ledger: &mut Ledger,
    ) -> Result<FetchReport> {
        let mut report = FetchReport { pieces: wanted.len() as u64, ..FetchReport::default() };
        let before = (self.http.requests(), self.http.repeated());
        let total = wanted.iter().map(|wanted| weight(&wanted.piece)).sum();
        self.run.progress.begin("fetch", Some(total));
        let failed = self.feeds.iter().map(|feed| ledger.failed(&feed.name())).collect();
        let states = ledger.feeds(&self.gone(ledger).await?);
        let passed = self.feeds.iter().map(|feed| states.get(&feed.name()).map(FeedState::passed).unwrap_or_default());
        let (now, passed) = (Instant::now(), passed.collect());
        let mut course = Course { begun: now, told: now, done: 0, total, passed, failed };
        for wanted in wanted.iter().filter(|wanted| wanted.again) {
            Pages::open(&self.folder_of(wanted.feed), &wanted.piece)?.remove()?;
        }
        let pieces = wanted.into_iter().map(|wanted| (wanted.feed, wanted.piece)).collect();
        let fetcher = Fetcher {
            http: self.http,
            feeds: self.feeds,
            folder: &self.pages,
            in_flight: self.options.in_flight,
            progress: self.run.progress,
            now_us: self.run.now_us,
        };
        let (to_land, walked) = channel(WAITING);
        let landing = self.land_parts(walked, purpose, ledger, &mut report, &mut course);
        let (fetched, landed) = Box::pin(futures::future::join(fetcher.fetch(pieces, to_land), landing)).await;
        // Where landing failed, fetching fails because of it.
        landed.and(fetched)?;
        let seen = ledger.feeds(&BTreeSet::new());
        for feed in self.feeds {
            // What other tries have left, such as a last window that ended at another moment.
            let seen = seen.get(&feed.name()).map(|state| state.seen.clone()).unwrap_or_default();
            sweep(&self.pages.join(feed.digest()), &seen)?;
        }
        (report.requests, report.repeated) = (self.http.requests() - before.0, self.http.repeated() - before.1);
        Ok(report)
    }

    fn folder_of(&self, feed: usize) -> std::path::PathBuf {
        self.pages.join(self.feeds.get(feed).map(Feed::digest).unwrap_or_default())
    }

    async fn land_parts(
        &self,
        mut walked: Receiver<Walked>,
        purpose: Purpose,
        ledger: &mut Ledger,
        report: &mut FetchReport,
        course: &mut Course,
    ) -> Result<()> {
        while let Some(first) = walked.recv().await {
            // The name of a try that died before its entry is used again, and its files are removed.
            let name = format!("part-{:08}", ledger.records().len());
            let files = self.run.files_of(&name);
            files.landing.clear().await?;
            let (to_land, inputs) = channel(64);
            let inputs = futures::stream::unfold(inputs, |mut inputs: Receiver<Result<Input>>| async move {
                inputs.recv().await.map(|input| (input, inputs))
            });
            let options = self.run.landing_options();
            let landing = land_stream(self.run.dataset, inputs, &files.landing, &options, &Silent);
            let filling = self.fill(first, &mut walked, to_land, report, course);
            let (part, landed) = Box::pin(futures::future::join(filling, landing)).await;
            let mut landed = landed?;
            let part = part?;
            landed.rejects = files.keep_rejects(&landed).await?;
            self.write_down(&name, part, purpose, landed, ledger, report).await?;
        }
        Ok(())
    }

    /// Hands pages of pieces to a landing until a part is full.
    async fn fill(
        &self,
        first: Walked,
        walked: &mut Receiver<Walked>,
        to_land: Sender<Result<Input>>,
        report: &mut FetchReport,
        course: &mut Course,
    ) -> Result<Part> {
        let mut part = Part::default();
        let mut next = Some(first);
        while let Some(piece) = next {
            report.oddities += piece.oddities;
            course.tell(&piece.piece, self.run.progress);
            if !self.take(piece, &mut part, &to_land, course).await? {
                break;
            }
            next = if part.pages < self.options.part_pages { walked.recv().await } else { None };
        }
        Ok(part)
    }

    /// Hands the pages of a piece to a landing. `false`: the landing takes no more, and says why itself.
    async fn take(
        &self,
        walked: Walked,
        part: &mut Part,
        to_land: &Sender<Result<Input>>,
        course: &Course,
    ) -> Result<bool> {
        let Walked { feed: place, piece, end, pages, .. } = walked;
        let Some(feed) = self.feeds.get(place) else { return Err(Error::bug("find a feed")) };
        let numbers = feed.endpoint.reach.numbers;
        let (lands, stays) = match (end, &piece) {
            (End::Complete, Piece::Span(window)) => {
                part.covers.entry(place).or_default().add(*window);
                (true, false)
            }
            (End::Complete, Piece::Keys(_)) => (true, false),
            (End::Gap { goes_on, .. }, Piece::Keys(keys)) => {
                part.missed_keys.extend(keys.iter().cloned());
                (!goes_on, false)
            }
            (End::Gap { goes_on, why }, Piece::Span(window)) => {
                let is_missing = self.note_gap(part, course, (place, *window), &why);
                let stays = goes_on && is_missing;
                // Rows that came are rows, unless they are numbered by a pass that may have seen some of them twice.
                (!stays && !numbers, stays)
            }
        };
        if lands {
            let shown = format!("{} {piece}", feed.endpoint.name);
            let mut pass = 0;
            for file in pages.files() {
                part.passes += u64::from(file.pass != pass);
                pass = file.pass;
                part.pages += 1;
                if to_land.send(file.input(&shown, piece.window(), part.passes)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        if !stays {
            part.landed.push(pages);
        }
        Ok(true)
    }

    /// Notes that a window was not seen whole: as far as it was seen or given up before, it only could not be looked at
    /// again. Whether some of it is a gap from now on.
    fn note_gap(&self, part: &mut Part, course: &Course, (place, window): (usize, Window), why: &str) -> bool {
        let name = self.feeds.get(place).map(Feed::name).unwrap_or_default();
        let gap = |window: &Window| Gap { feed: name.clone(), window: *window, why: why.to_string() };
        let missing = course.passed.get(place).map_or_else(|| vec![window].into(), |passed| passed.missing(window));
        if missing.is_empty() {
            part.not_again.push(gap(&window));
        }
        let mut is_missing = false;
        for window in missing.windows() {
            // Not on the first failure, nor with time that has not failed before: it may be gone by the next run.
            let told = course.failed.get(place).is_some_and(|failed| failed.missing(*window).is_empty());
            if self.options.accepts_gaps && told {
                part.accepted.push(gap(window));
            } else {
                part.gaps.push(gap(window));
                is_missing = true;
            }
        }
        is_missing
    }

    /// Writes the entry of a part, then removes the pages that it was made of.
    async fn write_down(
        &self,
        name: &str,
        part: Part,
        purpose: Purpose,
        mut landed: Landed,
        ledger: &mut Ledger,
        report: &mut FetchReport,
    ) -> Result<()> {
        let cover =
            |(feed, spans): (&usize, &Spans)| Some(Cover { feed: self.feeds.get(*feed)?.name(), spans: spans.clone() });
        let covers: Vec<Cover> = part.covers.iter().filter_map(cover).collect();
        landed.inputs = together(name, landed.inputs);
        let now_us = (self.run.now_us)();
        let (gaps, contract) = (part.gaps.clone(), self.run.dataset.digest());
        let seen = Seen { part: name.to_string(), covers, gaps, purpose, contract };
        ledger.append_fetched(seen, &landed, now_us).await?;
        if !part.accepted.is_empty() {
            let cover = |gap: &Gap| Cover { feed: gap.feed.clone(), spans: vec![gap.window].into() };
            ledger.append(Entry::Accepted { gaps: part.accepted.iter().map(cover).collect() }, now_us).await?;
        }
        report.gaps.extend(part.gaps);
        report.accepted.extend(part.accepted);
        report.not_again.extend(part.not_again);
        report.missed_keys.extend(part.missed_keys);
        report.parts += 1;
        report.pages += part.pages;
        report.counts += landed.counts;
        for pages in part.landed {
            pages.remove()?;
        }
        Ok(())
    }
}

/// Pages are too many to be told one by one.
fn together(name: &str, inputs: Vec<InputReport>) -> Vec<InputReport> {
    let mut inputs = inputs.into_iter();
    let Some(mut all) = inputs.next() else { return Vec::new() };
    all.url = name.to_string();
    let mut digests = blake3::Hasher::new();
    digests.update(all.digest.as_bytes());
    for input in inputs {
        all.size_bytes += input.size_bytes;
        all.counts += input.counts;
        digests.update(input.digest.as_bytes());
        for (field, rows) in input.left_out {
            *all.left_out.entry(field).or_default() += rows;
        }
    }
    all.digest = digests.finalize().to_hex().to_string();
    vec![all]
}

/// How much of the whole a piece is: seconds, or keys.
fn weight(piece: &Piece) -> u64 {
    match piece {
        Piece::Span(window) => ((window.to_us - window.from_us) / SECOND_US).unsigned_abs(),
        Piece::Keys(keys) => keys.len() as u64,
    }
}

impl Course {
    /// A piece is done.
    fn tell(&mut self, piece: &Piece, progress: &dyn crate::progress::Progress) {
        progress.advance(weight(piece));
        self.done += weight(piece);
        if self.told.elapsed() < TELL_EVERY || self.total == 0 {
            return;
        }
        self.told = Instant::now();
        let share = (self.done as f64 / self.total as f64).min(1.0);
        let left_s = self.begun.elapsed().as_secs_f64() * (1.0 - share) / share.max(1e-9);
        progress.note(&format!(
            "fetched {:.1} % of it; about {:.0} min left at this rate",
            100.0 * share,
            left_s / 60.0
        ));
    }
}
