//! Which API rows come from, and how it is asked.

use super::Outcome;
use super::backfill::Decisions;
use super::common::{EngineArgs, World};
use super::page::Page;
use super::target::{Target, TargetArgs, Writer};
use crate::dataset::Dataset;
use crate::engine::Engine;
use crate::error::{Doing, Error, Result};
use crate::fetch::{Feed, Http, HttpOptions, Source, SourceKind, parse_address};
use crate::follow::{FollowOptions, Follower, SyncOptions, Table, sync};
use crate::progress::Progress;
use crate::report::{SyncReport, sync_text};
use crate::retry::Waits;
use crate::run::{Run, RunOptions};
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;

/// Which API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Name {
    /// Dome's protocol: trades with order hash and log index, markets, events.
    Dome,
    /// Polymarket's Data API, version 2, and Gamma.
    Polymarket,
    /// Polymarket's Data API, version 1, and Gamma.
    PolymarketV1,
}

/// Which API, and what of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub(super) struct SourceArgs {
    /// The API that rows are fetched from. Its key, if it wants one, is that in TRADEFOLD_API_KEY or DOME_API_KEY.
    #[arg(long, value_enum)]
    pub(super) source: Option<Name>,
    /// The API's address, where it is not the usual one.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The address for markets and events. Default: the API's own, or Gamma's.
    #[arg(long, value_name = "URL")]
    catalogue_url: Option<String>,
    /// Trades of a wallet; may be given several times. Each has its own checkpoint.
    #[arg(long, value_name = "WALLET")]
    user: Vec<String>,
    /// A file with one wallet on each line.
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Trades of a market, by its condition id; may be given several times.
    #[arg(long, value_name = "CONDITION_ID")]
    market: Vec<String>,
    /// Trades of a market, by its slug; may be given several times.
    #[arg(long, value_name = "SLUG", conflicts_with_all = ["market", "token"])]
    market_slug: Vec<String>,
    /// Trades of an outcome's token; may be given several times.
    #[arg(long, value_name = "TOKEN_ID", conflicts_with = "market")]
    token: Vec<String>,
    /// Leave markets and events alone.
    #[arg(long)]
    no_catalogue: bool,
    /// Ask for markets and events by offset: for a server that knows no cursors there.
    #[arg(long)]
    by_offset: bool,
    /// Pass windows for good of which it can't be shown that everything was seen.
    #[arg(long)]
    accept_gaps: bool,
    /// Go on although rows are gone from the table: they were removed on purpose.
    #[arg(long)]
    accept_lost_rows: bool,
    /// The most requests a second. Default: 10 for Dome's protocol, 20 for Polymarket.
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    requests_per_second: Option<f64>,
    /// How many windows are fetched at the same time.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: u16,
    /// How many hours a window has at most.
    #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u16).range(1..))]
    window_hours: u16,
    /// How many seconds an answer may take.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    request_timeout: u16,
}

/// Reads a rate.
fn parse_rate(text: &str) -> std::result::Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate >= 0.001 && *rate <= 10_000.0);
    rate.ok_or_else(|| format!("`{text}` is no rate: write a number such as 10 or 0.5"))
}

impl SourceArgs {
    fn source(&self) -> Result<Source> {
        let kind = match self.source {
            Some(Name::Dome) => SourceKind::Dome,
            Some(Name::Polymarket) => SourceKind::Polymarket,
            Some(Name::PolymarketV1) => SourceKind::PolymarketV1,
            None => {
                return Err(Error::usage("fetch rows")
                    .because("no API is named")
                    .hint("name one with --source, such as --source dome"));
            }
        };
        let mut source = Source::usual(kind);
        // Before anything is written down: an address is part of a feed's name.
        if let Some(url) = &self.base_url {
            source.base_url = parse_address(url)?.as_str().trim_end_matches('/').to_string();
            if kind == SourceKind::Dome {
                source.catalogue_url = source.base_url.clone();
            }
        }
        if let Some(url) = &self.catalogue_url {
            source.catalogue_url = parse_address(url)?.as_str().trim_end_matches('/').to_string();
        }
        source.by_offset = self.by_offset;
        Ok(source)
    }

    /// Who asks for trades, and who asks for markets and events where that is another API: keys stay where they
    /// belong, and each API has its own rate.
    fn http(&self, source: &Source, world: &World) -> Result<(Http, Option<Http>)> {
        let set = |name: &str| world.environment.iter().find(|(known, _)| known == name).map(|(_, key)| key.clone());
        let usual = if source.kind == SourceKind::Dome { 10.0 } else { 20.0 };
        let options = HttpOptions {
            key: set("TRADEFOLD_API_KEY").or_else(|| match source.kind {
                SourceKind::Dome => set("DOME_API_KEY"),
                _ => None,
            }),
            requests_per_second: self.requests_per_second.unwrap_or(usual),
            timeout: Duration::from_secs(self.request_timeout.into()),
            waits: Waits::USUAL,
        };
        let other = match parse_address(&source.base_url)?.origin() == parse_address(&source.catalogue_url)?.origin() {
            true => None,
            false => Some(Http::new(&HttpOptions { key: None, ..options.clone() })?),
        };
        Ok((Http::new(&options)?, other))
    }

    /// What is followed: every wallet, and every market of each.
    fn feeds(&self, source: &Source, dataset: &str) -> Result<Vec<Feed>> {
        let endpoint = source.endpoint(dataset)?;
        let mut users: BTreeSet<String> = self.user.iter().map(|user| user.to_ascii_lowercase()).collect();
        if let Some(file) = &self.users {
            let text = std::fs::read_to_string(file)
                .doing("read the file of wallets")
                .map_err(|error| error.with("file", file.display()).hint("it has one wallet on each line"))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            users.extend(lines.map(str::to_ascii_lowercase));
        }
        let mut filters: Vec<Vec<(String, String)>> = vec![Vec::new()];
        let others = [("market", &self.market), ("market_slug", &self.market_slug), ("token", &self.token)];
        let users: Vec<String> = users.into_iter().collect();
        for (name, values) in std::iter::once(("user", &users)).chain(others) {
            // The same one twice would be one feed that gets in its own way.
            let values: BTreeSet<&String> = values.iter().collect();
            if values.is_empty() {
                continue;
            }
            let parameter = source.parameter(name)?;
            let with = |filter: &Vec<(String, String)>| {
                let filter = filter.clone();
                values.iter().map(move |value| {
                    let mut filter = filter.clone();
                    filter.push((parameter.to_string(), (*value).clone()));
                    filter
                })
            };
            filters = filters.iter().flat_map(with).collect();
        }
        let url = source.url_of(dataset).to_string();
        Ok(filters.into_iter().map(|filter| Feed { url: url.clone(), endpoint, filter }).collect())
    }
}

/// A table that may be written to, taken.
struct Taken {
    dataset: Arc<Dataset>,
    target: Target,
    writer: Writer,
    feeds: Vec<Feed>,
}

/// Everything that a round needs.
pub(super) struct Rounds<'a> {
    pub(super) source: &'a SourceArgs,
    /// The dataset of the trades, where it is not the source's own.
    pub(super) dataset: Option<Dataset>,
    pub(super) target: &'a TargetArgs,
    pub(super) decisions: &'a Decisions,
    pub(super) engine: &'a EngineArgs,
    /// The page about the trades.
    pub(super) page: Option<&'a Page>,
    pub(super) wait: Duration,
    pub(super) key_chosen: bool,
}

impl Rounds<'_> {
    /// Does one round and gives its report.
    pub(super) async fn once(&self, world: &World, wish: SyncWish) -> Result<Outcome> {
        if let (Some(page), Some(users)) = (self.page, &self.source.users) {
            page.must_not_replace([users.to_string_lossy().as_ref()])?;
        }
        let source = self.source.source()?;
        let engine = self.engine.start()?;
        let (http, other) = self.source.http(&source, world)?;
        let trades = match &self.dataset {
            Some(dataset) => dataset.clone(),
            None => Dataset::built_in(source.trades())?,
        };
        // It says why, where that is what there is to say.
        source.endpoint(&trades.name)?;
        if trades.name != source.trades() {
            return Err(Error::usage("fetch a dataset")
                .with("dataset", &trades.name)
                .because("markets and events come after the trades that mention them")
                .hint(format!("leave out --dataset, or name {}", source.trades())));
        }
        let mut datasets = vec![trades];
        if !self.source.no_catalogue {
            datasets.extend([Dataset::built_in("markets")?, Dataset::built_in("events")?]);
        }
        let mut taken = Vec::new();
        let mut all_taken = Ok(());
        for dataset in datasets {
            match self.take(dataset, &source, taken.is_empty(), &engine, world).await {
                Ok(table) => taken.push(table),
                Err(error) => {
                    all_taken = Err(error);
                    break;
                }
            }
        }
        let mut report = match all_taken {
            Ok(()) => Box::pin(self.round(&mut taken, &engine, (&http, other.as_ref()), &source, world, wish)).await,
            Err(error) => Err(error),
        };
        // Whatever happened: what was taken is given back.
        for table in taken {
            report = table.writer.done(report).await;
        }
        let (report, failed) = report?;
        Ok(Outcome { failed, ..Outcome::new(sync_text(&report), &report, report.ends_as())? })
    }

    async fn take(
        &self,
        dataset: Dataset,
        source: &Source,
        is_first: bool,
        engine: &Engine,
        world: &World,
    ) -> Result<Taken> {
        let dataset = Arc::new(dataset);
        let feeds = match is_first {
            true => self.source.feeds(source, &dataset.name)?,
            false => {
                let (url, endpoint) = (source.url_of(&dataset.name).to_string(), source.endpoint(&dataset.name)?);
                vec![Feed { url, endpoint, filter: Vec::new() }]
            }
        };
        let target = self.target.open(engine, &dataset, world).await?;
        let writer = target.take(self.wait, world).await?;
        Ok(Taken { dataset, target, writer, feeds })
    }

    /// Gives the report, and why there is no page about what it tells.
    async fn round(
        &self,
        taken: &mut [Taken],
        engine: &Engine,
        (http, other): (&Http, Option<&Http>),
        source: &Source,
        world: &World,
        wish: SyncWish,
    ) -> Result<(SyncReport, Option<Error>)> {
        let now_us = &world.now_us;
        let options = SyncOptions {
            wish: crate::follow::Wish {
                from_us: wish.from_us,
                // Whoever asks for what has not happened yet gets nothing, and must not take that for all there is.
                to_us: wish.to_us.unwrap_or(i64::MAX).min(now_us() - wish.settle_us),
                follows: wish.to_us.is_none(),
                overlap_us: wish.overlap_us,
                fetches_anew: wish.fetches_anew,
                accepts_lost_rows: self.source.accept_lost_rows,
            },
            recheck_us: wish.recheck_us,
            refresh_us: wish.refresh_us.unwrap_or_default(),
            open: wish.refresh_us.map(|_| source.open_markets()),
        };
        let follow = FollowOptions {
            in_flight: self.source.in_flight.into(),
            piece_us: i64::from(self.source.window_hours) * HOUR_US,
            accepts_gaps: self.source.accept_gaps,
            ..FollowOptions::default()
        };
        let (mut runs, mut rest) = (Vec::new(), Vec::new());
        for Taken { dataset, target, writer, feeds } in taken {
            runs.push(Run {
                dataset,
                engine,
                warehouse: target.warehouse.as_ref(),
                home: target.home.clone(),
                work: target.work.clone(),
                options: RunOptions {
                    wants: wants(dataset),
                    key_chosen: self.key_chosen,
                    keep_parts: runs.is_empty() && self.page.is_some(),
                    ..self.decisions.options()
                },
                page: None,
                turns: None,
                progress: world.progress.as_ref(),
                now_us,
            });
            let pages = target.work.join("pages").local_path().ok_or_else(|| Error::bug("find a local folder"))?;
            rest.push((feeds, pages, &mut writer.ledger));
        }
        let mut tables = Vec::new();
        for (run, (feeds, pages, ledger)) in runs.iter().zip(rest) {
            let http = if tables.is_empty() { http } else { other.unwrap_or(http) };
            let follower = Follower { run, http, feeds, pages, options: follow };
            tables.push(Table { follower, ledger });
        }
        let since = tables.first().map_or(0, |trades| trades.ledger.records().len());
        let report = match tables.as_mut_slice() {
            [trades] => sync(trades, None, &options).await,
            [trades, markets, events] => sync(trades, Some((markets, events)), &options).await,
            _ => Err(Error::bug("follow tables")),
        };
        let (Some(page), Some(trades)) = (self.page, tables.first()) else {
            return report.map(|report| (report, None));
        };
        // Also where a later table has failed: no other round brings these rows in.
        let shown = self.show(page, trades, since, world).await;
        let mut report = report?;
        let (shown, failed) = match shown {
            Ok(shown) => (shown, None),
            Err(error) => (None, Some(error)),
        };
        for run in report.trades.runs.iter_mut().chain(report.late.iter_mut().flat_map(|late| &mut late.runs)) {
            run.page.clone_from(&shown);
        }
        Ok((report, failed))
    }

    /// Writes the page about the trades that came in since the ledger had so many entries, or that wait.
    async fn show(&self, page: &Page, trades: &Table<'_>, since: usize, world: &World) -> Result<Option<String>> {
        let run = trades.follower.run;
        let about = format!("what was fetched for {}", self.target.shown(&run.dataset.name));
        let shown = run.show_parts(trades.ledger, since, &|analysis| page.write(analysis, &about)).await?;
        if shown.is_none() {
            world.progress.note("no rows came in, so there is no new page");
        }
        Ok(shown)
    }
}

/// The column by which rows of a dataset that ships name rows of another one.
pub(super) fn wants(dataset: &Dataset) -> Option<String> {
    let column = match dataset.name.as_str() {
        "trades" | "polymarket_trades" => "condition_id",
        "markets" => "event_slug",
        _ => return None,
    };
    dataset.column(column).map(|column| column.name.clone())
}

/// What is wanted, as flags say it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncWish {
    pub(super) from_us: Option<i64>,
    /// `None`: up to now, but for what may still come late.
    pub(super) to_us: Option<i64>,
    pub(super) settle_us: i64,
    pub(super) overlap_us: i64,
    pub(super) recheck_us: i64,
    pub(super) fetches_anew: bool,
    /// `None`: markets that are known are left alone.
    pub(super) refresh_us: Option<i64>,
}
