//! `tradefold migrate`

use super::Outcome;
use super::backfill::Decisions;
use super::common::{DatasetArgs, EngineArgs, World};
use super::drop_source::{must_be_wanted, of_bigquery, only_tables, still_there, who};
use super::route::RouteArgs;
use super::source::wants;
use super::sourcing::{Found, Sourcing};
use super::target::{BigQueryArgs, Target, nonce};
use crate::dataset::{Dataset, parse_key};
use crate::engine::Engine;
use crate::error::{Doing, Error, Kind, Result};
use crate::ledger::Ledger;
use crate::migrate::{
    Dropping, ReadSource, Sources, check_drop, drop_sources, finished_mend, forget_mend, mend, migrate, needs_mending,
    plan, roll_back,
};
use crate::report::{MendReport, MigrationReport, migration_text, roll_back_text};
use crate::run::{Choice, Run, RunOptions};
use crate::storage::Folder;
use crate::warehouse::bigquery::Options;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bring the rows of a staging table, or of files, into production once, prove that nothing was lost, and be able to
/// take it back.
///
/// It is a backfill that writes down what the table was before and what each merge changes. At its end every key that
/// the table had and every winner of the source is looked for; the proof is a file, with every statement that was
/// asked. Run it twice and the second run changes nothing; kill it and run it again and it goes on where it was.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold migrate --from staging/trades --to ./lake --plan
  tradefold migrate --from staging/trades --to ./lake
  tradefold migrate --from staging/trades --to ./lake --drop-source
  tradefold migrate --from 'export/*.parquet' --to ./lake --source-key \"wallet_address, tx_hash, id\"
  tradefold migrate --to ./lake --roll-back 0123456789abcdef

A stop, and a proof that does not hold, end with exit code 65.")]
pub(super) struct Args {
    /// Where the rows are: a Delta table, a lake, files, folders and globs, or bigquery://project.dataset.table, which
    /// is exported; may be given several times.
    #[arg(long, required_unless_present_any = ["roll_back", "mend"], value_name = "PLACE")]
    from: Vec<String>,
    /// The folder of the embedded warehouse, or bigquery://project.dataset; the table is named for the dataset.
    #[arg(long, default_value = "lake", value_name = "PLACE")]
    to: String,
    /// Only say what it would do, and write nothing.
    #[arg(long)]
    plan: bool,
    /// The key by which the source tells its rows apart, where it is another one than the table's: both are counted,
    /// and rows on which they disagree are listed. The source may lack columns of the table's key then.
    #[arg(long, value_name = "COLUMNS")]
    source_key: Option<String>,
    /// Keys on which the two disagree.
    #[arg(long, value_enum, default_value_t = OnKeyDifference::Stop, requires = "source_key")]
    on_key_difference: OnKeyDifference,
    /// Once it is proven without a finding, drop the tables that the rows came from. Each is named first, and its name
    /// has to be typed, or --yes given. A Delta table on the local disk, or a table of a lake, is moved aside in one
    /// step and kept for some days, after which gc --remove removes it; of a table of BigQuery a snapshot is left for
    /// as long. Rows that would be gone with it stop it: any reject does, whatever --max-rejects says, and a table of
    /// which keys are in quarantine is not dropped.
    #[arg(long, conflicts_with = "plan", group = "confirmed")]
    drop_source: bool,
    /// Bring the rows of the table itself, and then those of --from, into a new table, prove it against the old one,
    /// and put it into its place: for a table that holds duplicates already, keys in upper case, or fewer columns than
    /// the contract. The old one is kept for some days, in BigQuery as a snapshot. A table that needs no mending is
    /// left where it is.
    #[arg(long, conflicts_with_all = ["plan", "roll_back"])]
    mend: bool,
    /// For how many days a dropped or replaced table is kept, the staged winners that the proof names, and in BigQuery
    /// all that it takes to prove a migration anew and to take it back.
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(conflicts_with_all = ["plan", "roll_back"])]
    keep_days: u16,
    /// Take this migration back: what it has inserted and raised, but for rows that were changed since. It says first
    /// what it would do.
    #[arg(long, value_name = "NAME", group = "confirmed", conflicts_with_all = ["from", "plan", "source_key"])]
    roll_back: Option<String>,
    /// Do what --roll-back has said; drop what --drop-source names without being asked.
    #[arg(long, requires = "confirmed")]
    yes: bool,
    /// Take times of Parquet files that have no zone, and none in the contract, for UTC: BigQuery writes them so.
    #[arg(long)]
    times_are_utc: bool,
    /// How many seconds to wait for another writer.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    route: RouteArgs,
    #[command(flatten)]
    bigquery: BigQueryArgs,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    decisions: Decisions,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnKeyDifference {
    /// Stop before anything is written.
    Stop,
    /// The table's key decides.
    Keep,
    /// Let no row of them in.
    Quarantine,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    let engine = args.engine.start()?;
    let options = options(&args, &dataset)?;
    let (wait, is_plan) = (Duration::from_secs(args.wait), args.plan);
    let settings = Options { only_compares: is_plan, keep_days: u32::from(args.keep_days), ..Options::default() };
    let target = args.bigquery.target(&args.to, &engine, &dataset, world, settings).await?;
    let ledger = Ledger::open(target.home.join("ledger"), String::new()).await?;
    let from = still_there(&args.from, args.drop_source, &dataset, &ledger, &args.bigquery, world).await?;
    if args.drop_source {
        // Before anything is exported.
        must_be_wanted(&of_bigquery(&from, &dataset)?, args.keep_days, args.yes, world).await?;
    }
    let (named, bigquery) = (&args.dataset, &args.bigquery);
    let sourcing = Sourcing { named, dataset: &dataset, bigquery, target: &target, of_target: false };
    let landing = options.landing_options((world.now_us)());
    let (in_place, routes) = args.route.choose(&from, only_by_export(&args), &sourcing, &landing).await?;
    let found = match in_place {
        Some(table) => sourcing.in_place(table, &from.concat(), world)?,
        None => sourcing.find(&from, args.times_are_utc, is_plan, world).await?,
    };
    let Found { sources, mut exports, .. } = found;
    let tables = sources.tables.clone();
    if args.drop_source {
        only_tables(&from, &tables)?;
        check_drop(&tables, &target.warehouse.target(), &target.home).await?;
        let others = tables.iter().filter(|table| matches!(table.read, ReadSource::Delta { .. }));
        let others: Vec<_> = others.map(|table| (table.place.clone(), table.shown())).collect();
        must_be_wanted(&others, args.keep_days, args.yes, world).await?;
    }
    if is_plan {
        let mut report = planned(&dataset, &engine, &target, options, sources, world).await?;
        report.routes = routes;
        let would_stop = !report.run.stops.is_empty();
        return Outcome::new(migration_text(&report), &report, would_stop.then_some(Kind::Data));
    }
    let mut writer = target.take(wait, world).await?;
    let run = Run {
        dataset: &dataset,
        engine: &engine,
        warehouse: target.warehouse.as_ref(),
        home: target.home.clone(),
        work: target.work.clone(),
        options,
        page: None,
        turns: Some(&writer.seat),
        progress: world.progress.as_ref(),
        now_us: &world.now_us,
    };
    if let Some(name) = &args.roll_back {
        let report = Box::pin(roll_back(&run, name, &mut writer.ledger, !args.yes)).await;
        let report = writer.done(report).await?;
        return Outcome::new(roll_back_text(&report), &report, None);
    }
    let dropping = match args.drop_source {
        true => Some(Dropping { by: who(world), wait, holder: target.holder()?, now_us: world.now_us }),
        false => None,
    };
    let report = async {
        let (from_target, own) = (Sourcing { of_target: true, ..sourcing }, &mut exports);
        let brought = bring_in(&args, &run, sources, (&from_target, own), &mut writer.ledger, world);
        let mut report = Box::pin(brought).await?;
        report.routes = routes;
        // What was brought in is told whatever comes of it.
        let failed = match &dropping {
            Some(dropping) => drop_sources(&run, &mut report, &tables, dropping, &mut writer.ledger).await.err(),
            None => None,
        };
        Ok((report, failed))
    };
    let report = report.await;
    let (report, failed) = writer.done(report).await?;
    let is_well = report.run.stops.is_empty() && report.proof.as_ref().is_none_or(|proof| proof.findings.is_empty());
    // Whoever comes again because of a stop finds them.
    for folder in exports.iter().filter(|_| is_well && failed.is_none()) {
        std::fs::remove_dir_all(folder).doing("remove an exported table")?;
    }
    Ok(Outcome { failed, ..Outcome::new(migration_text(&report), &report, (!is_well).then_some(Kind::Data))? })
}

/// Brings the rows in: into a new table, where the target is to be mended and has to be. Its own rows come by `own`,
/// and the folders that they are exported to go to the others.
async fn bring_in(
    args: &Args,
    run: &Run<'_>,
    sources: Sources<'_>,
    (own, exports): (&Sourcing<'_>, &mut Vec<PathBuf>),
    ledger: &mut Ledger,
    world: &World,
) -> Result<MigrationReport> {
    if args.mend && needs_mending(run).await? {
        let own = own.find(std::slice::from_ref(&args.to), args.times_are_utc, false, world).await?;
        exports.extend(own.exports);
        return Box::pin(mend(run, own.sources, sources, ledger)).await;
    }
    // One that died once its table was in place has still to tell it.
    let replaced = if args.mend { finished_mend(run, ledger).await? } else { None };
    let mut report = Box::pin(migrate(run, sources, ledger)).await?;
    if replaced.is_some() {
        report.mended = Some(MendReport { run: None, replaced });
        forget_mend(run).await?;
    }
    Ok(report)
}

/// Says what a migration would do: its first half, with a ledger and a stage of its own, which are removed.
pub(super) async fn planned(
    dataset: &Dataset,
    engine: &Engine,
    target: &Target,
    options: RunOptions,
    sources: Sources<'_>,
    world: &World,
) -> Result<MigrationReport> {
    let scratch = tempfile::tempdir().doing("make room for a plan").map_err(Error::in_temporary_folder)?;
    let folder = Folder::open(&scratch.path().to_string_lossy(), &[])?;
    // BigQuery loads from Cloud Storage.
    let home = match target.home.local_path() {
        Some(_) => folder.clone(),
        None => target.home.join(&format!("plans/{}", nonce(world))),
    };
    let run = Run {
        dataset,
        engine,
        warehouse: target.warehouse.as_ref(),
        work: folder.clone(),
        home: home.clone(),
        options,
        page: None,
        turns: None,
        progress: world.progress.as_ref(),
        now_us: &world.now_us,
    };
    let mut ledger = Ledger::open(folder.join("ledger"), String::new()).await?;
    let planned = Box::pin(plan(run, sources, &mut ledger)).await;
    if home.local_path().is_none() {
        home.clear().await?;
    }
    planned
}

/// What is asked that only files can give.
fn only_by_export(args: &Args) -> Option<&'static str> {
    if args.mend {
        return Some("--mend brings in the table's own rows first, from files");
    }
    args.source_key.as_ref().map(|_| "two keys are compared by rows that have landed here (--source-key)")
}

fn options(args: &Args, dataset: &Dataset) -> Result<RunOptions> {
    Ok(RunOptions {
        key_chosen: args.dataset.key_chosen() || args.source_key.is_some(),
        keeps_changes: true,
        keep_days: args.keep_days,
        keep_staged: true,
        leaves_nothing_out: args.drop_source,
        wants: wants(dataset),
        other_key: args.source_key.as_deref().map(parse_key).transpose()?,
        on_other_key: match args.on_key_difference {
            OnKeyDifference::Stop => Choice::Stop,
            OnKeyDifference::Keep => Choice::Keep,
            OnKeyDifference::Quarantine => Choice::Quarantine,
        },
        ..args.decisions.options()
    })
}
