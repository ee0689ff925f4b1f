//! `tradefold backfill`

use super::Outcome;
use super::common::{DatasetArgs, EngineArgs, WindowArgs, World};
use super::page::{Page, named};
use super::source::{Rounds, SourceArgs, SyncWish, wants};
use super::target::{Target, TargetArgs};
use crate::dataset::Dataset;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::report::{Analysis, backfill_text};
use crate::run::{Choice, Run, RunOptions, Work};
use crate::source::{Input, discover};
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bring files, or a window of an API, into a warehouse: one row of each key, no row lost.
///
/// Files, folders and globs, local or in an object store; Parquet, NDJSON, JSON pages, CSV; plain, .gz or .zst. The
/// target is a Delta Lake table that DuckDB, Polars and Spark open, or a table of BigQuery. Run it twice and the
/// second run changes nothing; kill it and run it again and it goes on where it was.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold backfill fixtures/demo
  tradefold backfill 'pages/**/*.json.zst' --from 2025-10-01 --to 2025-11-01 --warehouse ./lake
  tradefold backfill markets.ndjson --dataset markets.toml
  tradefold backfill trades/ --on-suspect quarantine --losers
  tradefold backfill trades/ --warehouse bigquery://project.dataset --stage gs://bucket/tradefold
  tradefold backfill --source dome --user 0xabc… --from 2024-01-01 --to 2026-01-01

A stop ends with exit code 65 before anything is written, and names the file with the rows and the flag to choose.")]
pub(super) struct Args {
    /// How many seconds to wait for another writer.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    wait: u64,
    /// Fetch the window as if nothing of it had been seen: after rows were lost from the table.
    #[arg(long, requires = "source")]
    fetch_anew: bool,
    /// Also write an analysis of the input as a page for a browser: of all that landed, before anything is set aside,
    /// and also where that is a reason to stop.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    // Last: what follows a flattened struct would be listed under its heading.
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    source: SourceArgs,
}

impl Args {
    /// Fetches a window from an API, instead of reading files.
    async fn fetch_window(&self, world: &World) -> Result<Outcome> {
        let RunArgs { files, dataset, window, target, decisions, engine } = &self.run;
        if !files.is_empty() {
            return Err(Error::usage("find the inputs")
                .because("both files and an API are named")
                .hint("bring files in and fetch in two runs: the table is the same"));
        }
        let Some(window) = window.window()?.filter(|window| window.from_us != i64::MIN) else {
            return Err(Error::usage("fetch a window").because("nothing says where it begins").hint(
                "say with --from which day is the first, and with --to which is the first that is not wanted any more",
            ));
        };
        let page = Page::wanted(self.html.as_deref(), world)?;
        let rounds = Rounds {
            source: &self.source,
            dataset: dataset.chosen()?,
            target,
            decisions,
            engine,
            page: page.as_ref(),
            wait: Duration::from_secs(self.wait),
            key_chosen: dataset.key_chosen(),
        };
        let wish = SyncWish {
            from_us: Some(window.from_us),
            to_us: Some(window.to_us),
            settle_us: SETTLE_US,
            fetches_anew: self.fetch_anew,
            ..SyncWish::default()
        };
        rounds.once(world, wish).await
    }
}

/// How much before now a window ends that has no end: five minutes.
const SETTLE_US: i64 = 300_000_000;

/// What a run is made of, done or only planned.
#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    /// Files, folders and globs.
    files: Vec<String>,
    #[command(flatten)]
    pub(super) dataset: DatasetArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    decisions: Decisions,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A run that may begin.
pub(super) struct Ready {
    pub(super) dataset: Arc<Dataset>,
    pub(super) options: RunOptions,
    pub(super) engine: Engine,
    pub(super) inputs: Vec<Input>,
    pub(super) target: Target,
}

impl RunArgs {
    /// Reads the contract, finds the inputs and opens the target.
    pub(super) async fn ready(&self, world: &World) -> Result<Ready> {
        if self.files.is_empty() {
            return Err(Error::usage("find the inputs")
                .because("no files are named")
                .hint("name files, folders or globs, such as fixtures/demo"));
        }
        let dataset = Arc::new(self.dataset.load()?);
        let options = RunOptions {
            window: self.window.window()?,
            key_chosen: self.dataset.key_chosen(),
            wants: wants(&dataset),
            ..self.decisions.options()
        };
        let engine = self.engine.start()?;
        let inputs = discover(&self.files, &world.environment).await?;
        let target = self.target.open(&engine, &dataset, world).await?;
        Ok(Ready { dataset, options, engine, inputs, target })
    }
}

/// What to do where data need a decision.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Decisions")]
pub(super) struct Decisions {
    /// Keys whose rows number more than one real event.
    #[arg(long, value_enum, default_value_t = OnSuspect::Stop)]
    on_suspect: OnSuspect,
    /// Rows that tie in the declared order and differ.
    #[arg(long, value_enum, default_value_t = OnConflict::Keep)]
    on_conflict: OnConflict,
    /// Keys whose rows have different times though a time can't change.
    #[arg(long, value_enum, default_value_t = OnRedated::Keep)]
    on_redated: OnRedated,
    /// How many rejected rows are allowed. Default: 10, or 0.1 % of the rows if that is more.
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true)]
    max_rejects: Option<u64>,
    /// Write all losers with their classes to a Parquet file.
    #[arg(long)]
    losers: bool,
    /// Keep the staged Parquet objects once the run is done; gc removes them.
    #[arg(long)]
    keep_staged: bool,
    /// How many UTC days a batch has at most; fewer, where a merge would not fit into --memory.
    #[arg(long, default_value_t = 16, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=4000))]
    batch_days: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnSuspect {
    /// Stop before anything is written.
    Stop,
    /// Keep one row of each.
    Keep,
    /// Let no row of them in.
    Quarantine,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnConflict {
    /// The total order decides; the losers are written to a file.
    Keep,
    /// Stop before anything is written.
    Fail,
    /// Let no row of their keys in.
    Quarantine,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnRedated {
    /// The declared order decides.
    Keep,
    /// Stop before anything is written.
    Stop,
}

impl Decisions {
    pub(super) fn options(&self) -> RunOptions {
        RunOptions {
            on_suspect: match self.on_suspect {
                OnSuspect::Stop => Choice::Stop,
                OnSuspect::Keep => Choice::Keep,
                OnSuspect::Quarantine => Choice::Quarantine,
            },
            on_conflict: match self.on_conflict {
                OnConflict::Keep => Choice::Keep,
                OnConflict::Fail => Choice::Stop,
                OnConflict::Quarantine => Choice::Quarantine,
            },
            on_redated: match self.on_redated {
                OnRedated::Keep => Choice::Keep,
                OnRedated::Stop => Choice::Stop,
            },
            max_rejects: self.max_rejects,
            days_per_batch: self.batch_days,
            keep_losers: self.losers,
            keep_staged: self.keep_staged,
            ..RunOptions::default()
        }
    }
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    if args.source.source.is_some() {
        return args.fetch_window(world).await;
    }
    let page = Page::wanted(args.html.as_deref(), world)?;
    let Ready { dataset, options, engine, inputs, target } = args.run.ready(world).await?;
    if let Some(page) = &page {
        page.must_not_replace(inputs.iter().map(|input| input.url.as_str()))?;
    }
    let about = format!("{}, on the way into {}", named(&args.run.files), args.run.target.shown(&dataset.name));
    let write = page.map(|page| move |analysis: &Analysis| page.write(analysis, &about));
    let mut writer = target.take(Duration::from_secs(args.wait), world).await?;
    let run = Run {
        dataset: &dataset,
        engine: &engine,
        warehouse: target.warehouse.as_ref(),
        home: target.home,
        work: target.work,
        options,
        page: write.as_ref().map(|write| write as _),
        turns: Some(&writer.seat),
        progress: world.progress.as_ref(),
        now_us: &world.now_us,
    };
    let report = Box::pin(run.bring_in(Work::Files(&inputs), &mut writer.ledger)).await;
    let report = writer.done(report).await?;
    Outcome::new(backfill_text(&report), &report, (!report.stops.is_empty()).then_some(Kind::Data))
}
