//! `tradefold migrate`

use super::Outcome;
use super::backfill::Decisions;
use super::common::{DatasetArgs, EngineArgs, World};
use super::side::find_files;
use super::source::wants;
use super::target::{BigQueryArgs, Target, nonce};
use crate::dataset::{Dataset, parse_key};
use crate::engine::{DataFile, Engine};
use crate::error::{Doing, Error, Kind, Result};
use crate::ledger::Ledger;
use crate::migrate::{Sources, migrate, plan, roll_back};
use crate::report::{MigrationReport, migration_text, roll_back_text};
use crate::run::{Choice, Run, RunOptions};
use crate::source::{Input, discover};
use crate::storage::Folder;
use crate::warehouse::bigquery::{KEEP_DAYS, Options, SCHEME, TableName, export_into};
use clap::{Args as ClapArgs, ValueEnum};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
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
  tradefold migrate --from 'export/*.parquet' --to ./lake --source-key \"wallet_address, tx_hash, id\"
  tradefold migrate --to ./lake --roll-back 0123456789abcdef

A stop, and a proof that does not hold, end with exit code 65.")]
pub(super) struct Args {
    /// Where the rows are: a Delta table, a lake, files, folders and globs, or bigquery://project.dataset.table, which
    /// is exported; may be given several times.
    #[arg(long, required_unless_present = "roll_back", value_name = "PLACE")]
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
    /// Take this migration back: what it has inserted and raised, but for rows that were changed since. It says first
    /// what it would do.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from", "plan", "source_key"])]
    roll_back: Option<String>,
    /// Do what --roll-back has said.
    #[arg(long, conflicts_with = "from")]
    yes: bool,
    /// Take times of Parquet files that have no zone for UTC, as BigQuery exports a TIMESTAMP.
    #[arg(long)]
    times_are_utc: bool,
    /// In BigQuery: how many days what the migration keeps is there, so that it can be proven anew and taken back.
    #[arg(long, value_name = "DAYS", default_value_t = KEEP_DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    keep_days: u32,
    /// How many seconds to wait for another writer.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    wait: u64,
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
    let settings = Options { only_compares: is_plan, keep_days: args.keep_days, ..Options::default() };
    let target = args.bigquery.target(&args.to, &engine, &dataset, world, settings).await?;
    let place = Sourcing { named: &args.dataset, dataset: &dataset, bigquery: &args.bigquery, target: &target };
    let found = place.sources(&args.from, args.times_are_utc, is_plan, world).await?;
    let Found { sources, exports, .. } = found;
    if is_plan {
        let report = planned(&dataset, &engine, &target, options, sources, world).await?;
        let would_stop = !report.run.stops.is_empty();
        return Outcome::new(migration_text(&report), &report, would_stop.then_some(Kind::Data));
    }
    let run = Run {
        dataset: &dataset,
        engine: &engine,
        warehouse: target.warehouse.as_ref(),
        home: target.home.clone(),
        work: target.work.clone(),
        options,
        page: None,
        progress: world.progress.as_ref(),
        now_us: &world.now_us,
    };
    let mut writer = target.take(wait, world).await?;
    if let Some(name) = &args.roll_back {
        let report = Box::pin(roll_back(&run, name, &mut writer.ledger, !args.yes)).await;
        let report = writer.done(report).await?;
        return Outcome::new(roll_back_text(&report), &report, None);
    }
    let report = Box::pin(migrate(&run, sources, &mut writer.ledger)).await;
    let report = writer.done(report).await?;
    let is_well = report.run.stops.is_empty() && report.proof.as_ref().is_none_or(|proof| proof.findings.is_empty());
    // Whoever comes again because of a stop finds them.
    for folder in exports.iter().filter(|_| is_well) {
        std::fs::remove_dir_all(folder).doing("remove an exported table")?;
    }
    Outcome::new(migration_text(&report), &report, (!is_well).then_some(Kind::Data))
}

/// Says what a migration would do: its first half, with a ledger and a stage of its own, which are removed.
pub(super) async fn planned(
    dataset: &Dataset,
    engine: &Engine,
    target: &Target,
    options: RunOptions,
    sources: Sources,
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

fn options(args: &Args, dataset: &Dataset) -> Result<RunOptions> {
    Ok(RunOptions {
        key_chosen: args.dataset.key_chosen() || args.source_key.is_some(),
        keeps_changes: true,
        keep_staged: true,
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

/// Where sources are looked for.
pub(super) struct Sourcing<'a> {
    pub(super) named: &'a DatasetArgs,
    pub(super) dataset: &'a Dataset,
    pub(super) bigquery: &'a BigQueryArgs,
    pub(super) target: &'a Target,
}

/// What was found.
pub(super) struct Found {
    pub(super) sources: Sources,
    /// The folders of tables that were exported.
    pub(super) exports: Vec<PathBuf>,
    /// The folder that they are in, where they go with it.
    _scratch: Option<tempfile::TempDir>,
}

impl Sourcing<'_> {
    /// Finds the files of every source. Of a Delta table only those that its newest version has; a table of BigQuery is
    /// exported. With `is_plan` what is exported goes with what is given back.
    pub(super) async fn sources(&self, from: &[String], is_utc: bool, is_plan: bool, world: &World) -> Result<Found> {
        let (mut inputs, mut places, mut exports) = (Vec::new(), BTreeMap::new(), Vec::new());
        let scratch = match is_plan {
            true => Some(tempfile::tempdir().doing("make room for exports").map_err(Error::in_temporary_folder)?),
            false => None,
        };
        let work = self.target.work.local_path().map(|folder| folder.join("exports")).unwrap_or_default();
        let into = scratch.as_ref().map_or(work.as_path(), tempfile::TempDir::path);
        for place in from {
            let is_exported = place.starts_with(SCHEME);
            let found = match is_exported {
                true => {
                    let folder = self.exported(place, into, world).await?;
                    let found = self.files(&folder.to_string_lossy(), world).await;
                    exports.push(folder);
                    found?
                }
                false => self.files(place, world).await?,
            };
            for mut input in found {
                input.is_utc = is_utc || is_exported;
                // A file that two places name is that of the first.
                if let Entry::Vacant(free) = places.entry(input.url.clone()) {
                    free.insert(place.clone());
                    inputs.push(input);
                }
            }
        }
        Ok(Found { sources: Sources { inputs, places }, exports, _scratch: scratch })
    }

    /// The files of a place that is none of BigQuery.
    async fn files(&self, place: &str, world: &World) -> Result<Vec<Input>> {
        let (folder, table) = match find_files(place, self.named, world).await? {
            (inputs, None) => return Ok(inputs),
            (_, Some(found)) => found,
        };
        let path = |file: &DataFile| match Folder::open(&file.url, &[])?.local_path() {
            Some(path) => Ok(path.display().to_string()),
            None => Err(Error::bug("find the files of a table").with("table", folder.url())),
        };
        let paths = table.files.iter().map(path).collect::<Result<Vec<_>>>()?;
        if paths.is_empty() { Ok(Vec::new()) } else { discover(&paths, &world.environment).await }
    }

    /// Exports a table of BigQuery. Gives the folder of its files.
    async fn exported(&self, place: &str, into: &Path, world: &World) -> Result<PathBuf> {
        let table = TableName::parse(place, || Ok(self.dataset.name.clone()))?;
        if table.to_string() == self.target.warehouse.target() {
            return Err(Error::usage("migrate")
                .with("source", place)
                .because("it is the target")
                .hint("name the table that is to be retired, or another target"));
        }
        let (access, stage) = self.bigquery.export(place, world)?;
        Box::pin(export_into(access, &table, &stage, self.dataset, into)).await
    }
}
