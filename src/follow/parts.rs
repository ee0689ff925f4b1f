//! Pieces to landed parts: while some are fetched, others land.

use super::{Follower, Wanted};
use crate::error::Result;
use crate::fetch::{End, Fetcher, PageFile, Pages, Piece, Walked};
use crate::landing::{InputReport, Landed, land_stream};
use crate::ledger::{Cover, Entry, Gap, Ledger, Purpose};
use crate::progress::Silent;
use crate::report::FetchReport;
use crate::source::Input;
use crate::spans::Spans;
use crate::window::Window;
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
    gaps: Vec<(usize, Gap)>,
    missed_keys: BTreeSet<String>,
    /// Pages of pieces that are landed, to be removed once the ledger says so.
    landed: Vec<Pages>,
    pages: u64,
    passes: u64,
}

/// How far a fetch is.
struct Course {
    begun: Instant,
    told: Instant,
    done: u64,
    total: u64,
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
        let mut course = Course { begun: Instant::now(), told: Instant::now(), done: 0, total };
        for wanted in wanted.iter().filter(|wanted| !wanted.goes_on) {
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
        (report.requests, report.repeated) = (self.http.requests() - before.0, self.http.repeated() - before.1);
        Ok(report)
    }

    fn folder_of(&self, feed: usize) -> std::path::PathBuf {
        self.pages.join(self.feeds.get(feed).map(crate::fetch::Feed::digest).unwrap_or_default())
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
            self.take(piece, &mut part, &to_land).await?;
            next = if part.pages < self.options.part_pages { walked.recv().await } else { None };
        }
        Ok(part)
    }

    async fn take(&self, walked: Walked, part: &mut Part, to_land: &Sender<Result<Input>>) -> Result<()> {
        let Walked { feed, piece, end, pages, .. } = walked;
        let numbers = self.feeds.get(feed).is_some_and(|feed| feed.endpoint.reach.numbers);
        let (lands, stays) = match end {
            End::Complete => {
                if let Some(window) = piece.window() {
                    part.covers.entry(feed).or_default().add(window);
                }
                (true, false)
            }
            End::Gap { why, goes_on } => {
                let name = self.feeds.get(feed).map(crate::fetch::Feed::name).unwrap_or_default();
                match &piece {
                    Piece::Span(window) => part.gaps.push((feed, Gap { feed: name, window: *window, why })),
                    Piece::Keys(keys) => part.missed_keys.extend(keys.iter().cloned()),
                }
                // Rows that came are rows, unless they are numbered by a pass that may have seen some of them twice.
                (self.options.accepts_gaps || !goes_on && !numbers, goes_on && !self.options.accepts_gaps)
            }
        };
        if lands {
            let shown = format!("{} {piece}", self.feeds.get(feed).map_or("", |feed| feed.endpoint.name));
            let mut pass = 0;
            for file in pages.files() {
                if file.pass != pass {
                    pass = file.pass;
                    part.passes += 1;
                }
                part.pages += 1;
                let input = self.input(file, &shown, piece.window(), part.passes);
                if to_land.send(input).await.is_err() {
                    // The landing has failed, and says why.
                    break;
                }
            }
        }
        if !stays {
            part.landed.push(pages);
        }
        Ok(())
    }

    fn input(&self, file: &PageFile, shown: &str, window: Option<Window>, pass: u64) -> Result<Input> {
        file.input(shown, window, pass)
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
        let gaps: Vec<Gap> = part.gaps.iter().map(|(_, gap)| gap.clone()).collect();
        landed.inputs = together(name, landed.inputs);
        let now_us = (self.run.now_us)();
        ledger.append_fetched(name, covers, gaps.clone(), purpose, &landed, now_us).await?;
        if self.options.accepts_gaps && !gaps.is_empty() {
            let cover = |gap: &Gap| Cover { feed: gap.feed.clone(), spans: vec![gap.window].into() };
            ledger.append(Entry::Accepted { gaps: gaps.iter().map(cover).collect() }, now_us).await?;
            report.accepted += gaps.len() as u64;
        } else {
            report.gaps.extend(gaps);
        }
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
        Piece::Span(window) => ((window.to_us - window.from_us) / 1_000_000).unsigned_abs(),
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
