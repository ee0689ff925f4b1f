//! `tradefold audit`

use super::Outcome;
use super::ad_hoc::{Footers, footers};
use super::common::{DatasetArgs, EngineArgs, World};
use super::migrate::planned;
use super::page::Page;
use super::sourcing::Sourcing;
use super::target::{Target, TargetArgs};
use crate::analysis::{Rows, analyse};
use crate::dataset::{Dataset, KeyPart};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::landing::LandingCounts;
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::report::{AgainstReport, Analysis, AuditReport, JobsReport, OrphansReport, audit_text};
use crate::run::{Choice, RunOptions};
use crate::storage::Folder;
use crate::warehouse::local::{is_table, table_files};
use crate::warehouse::{Warehouse, orphans};
use clap::Args as ClapArgs;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Look at every row of a table: duplicates by class, suspect keys, rows without a key or a day, rows that are gone.
///
/// Nothing is changed. What it finds wrong ends it with exit code 65. Trades without a market are told and are nothing
/// wrong.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold audit --warehouse ./lake
  tradefold audit --warehouse ./lake --html report.html
  tradefold audit --warehouse ./lake --against ./staging
  tradefold audit --warehouse bigquery://project.dataset --stage gs://bucket/tradefold --json")]
pub(super) struct Args {
    /// Don't look for trades whose market is not in the table `markets` beside them. In BigQuery it bills one column.
    #[arg(long)]
    no_orphans: bool,
    /// Look for the rows of a Delta table, a lake, files or a table of BigQuery in the table, too: which of their keys
    /// it lacks, and which rows it has in an older state. Any of them ends it with exit code 65. May be given several
    /// times.
    #[arg(long, value_name = "PLACE")]
    against: Vec<String>,
    /// Also write an analysis of the table's rows as a page for a browser: one file that needs no network, in one step.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    // Before anything is asked: what can't be done costs nothing.
    let table = args.html.as_ref().map(|_| table_of(&args.target, &dataset)).transpose()?;
    let page = Page::wanted(args.html.as_deref(), world)?.zip(table);
    if let Some((page, folder)) = &page {
        page.must_not_replace([folder.url().as_str()])?;
    }
    let engine = args.engine.start()?;
    let target = args.target.open(&engine, &dataset, world).await?;
    let Target { warehouse, home, .. } = &target;
    let mut ledger = Ledger::open(home.join("ledger"), String::new()).await?;
    warehouse.check_target().await?;
    let audit = warehouse.audit().await?;
    let lost_rows = ledger.missing_rows(audit.rows).await?;
    let rows_after_last_merge = ledger.rows_after_last_merge();
    let mut findings = audit.findings();
    if lost_rows > 0 {
        findings.push("lost_rows".into());
    }
    let orphans = match !args.no_orphans && names_markets(&dataset) {
        true => without_market(warehouse.as_ref(), &args.target, &engine, world).await?,
        false => None,
    };
    let against = match args.against.is_empty() {
        true => None,
        false => Some(against(&args, &dataset, &engine, world).await?),
    };
    if against.as_ref().is_some_and(|found| found.missing_keys + found.higher_rows > 0) {
        findings.push("missing_rows".into());
    }
    if let Some((page, folder)) = &page {
        let analysis = analyse_table(folder, &dataset, &engine, world).await?;
        page.write(&analysis, &args.target.shown(&dataset.name))?;
    }
    let report = AuditReport {
        target: warehouse.target(),
        audit,
        rows_after_last_merge,
        lost_rows,
        orphans,
        against,
        removed_between_merges: ledger.removed_between_merges(),
        jobs: JobsReport::of(&ledger),
        findings,
    };
    Outcome::new(audit_text(&report), &report, (!report.findings.is_empty()).then_some(Kind::Data))
}

/// Looks for the rows of other places in the table, as a migration would before it writes anything.
async fn against(args: &Args, dataset: &Arc<Dataset>, engine: &Engine, world: &World) -> Result<AgainstReport> {
    let target = &args.target.open_to_compare(engine, dataset, world).await?;
    let (named, bigquery) = (&args.dataset, args.target.bigquery());
    let sourcing = Sourcing { named, dataset, bigquery, target, of_target: false };
    let found = sourcing.find(&args.against, false, true, world).await?;
    // Nothing is decided here: whatever the rows are, it is told whether they are there.
    let options = RunOptions {
        on_suspect: Choice::Keep,
        on_redated: Choice::Keep,
        max_rejects: Some(u64::MAX),
        key_chosen: args.dataset.key_chosen(),
        ..RunOptions::default()
    };
    let plan = planned(dataset, engine, target, options, found.sources, world).await?;
    Ok(AgainstReport::of(plan))
}

/// The folder of the table that a page is to be about.
fn table_of(target: &TargetArgs, dataset: &Dataset) -> Result<Folder> {
    target.folder(dataset)?.ok_or_else(|| {
        Error::usage("write an analysis as a page")
            .because("rows of a table of BigQuery are not read one by one")
            .hint("export them as Parquet to gs://, and name these files: tradefold analyze gs://… --html FILE")
    })
}

/// Analyses the rows of a table's newest version, as its files hold them.
async fn analyse_table(folder: &Folder, dataset: &Dataset, engine: &Engine, world: &World) -> Result<Analysis> {
    let files = if is_table(folder).await? { table_files(folder).await?.files } else { Vec::new() };
    let Footers { rows_by_file, .. } = footers(&files)?;
    let read = rows_by_file.values().sum();
    let landing = LandingCounts { read, landed: read, ..LandingCounts::default() };
    let by_file = Some(rows_by_file);
    let rows = Rows { landing, by_file, rejects_by_reason: BTreeMap::new(), rejects: Vec::new(), run_column: None };
    analyse(engine, dataset, &files, rows, world.progress.as_ref()).await
}

/// The column by which trades name their market, and the key of the table of markets.
const MARKET: &str = "condition_id";
/// The table of markets.
const MARKETS: &str = "markets";

/// Whether rows of a dataset name a market and are none.
fn names_markets(dataset: &Dataset) -> bool {
    let is_key = matches!(dataset.key.as_slice(), [part] if KeyPart::columns(part).eq([MARKET]));
    dataset.column(MARKET).is_some() && !is_key && dataset.name != MARKETS
}

/// Trades whose market is not in the table of markets beside them. Nothing, where there is no such table, it has no
/// rows, or it is somebody else's.
async fn without_market(
    trades: &dyn Warehouse,
    target: &TargetArgs,
    engine: &Engine,
    world: &World,
) -> Result<Option<OrphansReport>> {
    let dataset = Arc::new(Dataset::built_in(MARKETS)?);
    let markets = target.open(engine, &dataset, world).await?.warehouse;
    match markets.check_target().await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(orphans(trades, MARKET, markets.as_ref(), MARKET).await?.into())),
        Err(error) if error.kind() == Kind::Usage => {
            world.progress.note("trades without a market are not told: the table `markets` is of another contract");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
