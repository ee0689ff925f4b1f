//! `tradefold status`

use super::Outcome;
use super::common::{DatasetArgs, Draft, EngineArgs, World};
use super::target::{Target, TargetArgs};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::ledger::Ledger;
use crate::report::{StatusReport, exposition, status_text};
use crate::run::gone_parts;
use crate::storage::Folder;
use crate::warehouse::Warehouse;
use crate::window::Day;
use clap::Args as ClapArgs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Show what a target has and what was done to it: rows, unfinished runs, the last receipts; of a table that is kept
/// up to date from an API its checkpoints, gaps, and what waits.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold status --warehouse ./lake
  tradefold status --warehouse ./lake --dataset markets --json
  tradefold status --days 7 --prometheus /var/lib/node_exporter/trades.prom")]
pub(super) struct Args {
    /// Count the target's rows on each of so many UTC days of event time, today included.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
    /// Also write it to a file as Prometheus reads it, in one step.
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    let Target { warehouse, home, work } = args.target.open(&args.engine.start()?, &dataset, world).await?;
    let mut ledger = Ledger::open(home.join("ledger"), String::new()).await?;
    let rows = warehouse.check_target().await?;
    let gone = still_gone(&home, &work, &mut ledger, &dataset.digest()).await?;
    let now_us = (world.now_us)();
    let mut report = StatusReport::of(warehouse.target(), rows, &ledger, &gone, now_us).await?;
    if let Some(days) = args.days {
        report.rows_by_day = Some(last_days(warehouse.as_ref(), &dataset, Day::of_us(now_us), days).await?);
    }
    if let Some(file) = &args.prometheus {
        Draft::begin(file, "write a status for Prometheus")?.finish(&exposition(&report))?;
    }
    Outcome::new(status_text(&report, &ledger), &report, None)
}

/// The parts whose files are gone. Those that a run brings in meanwhile are not among them.
async fn still_gone(home: &Folder, work: &Folder, ledger: &mut Ledger, contract: &str) -> Result<BTreeSet<String>> {
    let mut gone = gone_parts(home, work, ledger, contract).await?;
    ledger.catch_up().await?;
    let waiting: BTreeSet<&str> = ledger.pending().into_iter().map(|(part, _)| part).collect();
    gone.retain(|part| waiting.contains(part.as_str()));
    Ok(gone)
}

/// The rows of each of the last days, days without any included.
async fn last_days(warehouse: &dyn Warehouse, dataset: &Dataset, today: Day, days: u16) -> Result<BTreeMap<Day, u64>> {
    if dataset.partition.is_none() {
        return Ok(BTreeMap::new());
    }
    let from = today.plus(1 - i32::from(days));
    let found = warehouse.rows_by_day(from).await?;
    let all = (from.0..=today.0).map(Day);
    Ok(all.map(|day| (day, found.get(&day).copied().unwrap_or(0))).collect())
}
