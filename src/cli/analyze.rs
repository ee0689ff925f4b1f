//! `tradefold analyze`

use super::Outcome;
use super::common::{RowsArgs, World};
use crate::balance::Balance;
use crate::dataset::Dataset;
use crate::dedup::Dedup;
use crate::engine::{DataFile, Engine};
use crate::error::{Doing, Error, Result};
use crate::landing::{LandingCounts, LandingOptions, land};
use crate::progress::Progress;
use crate::report::{Analysis, analysis_text, counted};
use crate::run::landed_files;
use crate::source::{Format, discover};
use crate::storage::Folder;
use clap::Args as ClapArgs;
use std::collections::BTreeMap;

/// Count duplicates and say what they are: by class, by day, by file, and the worst keys. Writes nothing.
///
/// With a dataset (`trades` without any flag) rows are checked and counted as backfill would. With --key and no
/// contract any Parquet files will do; every column counts as content but the volatile ones.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold analyze fixtures/demo
  tradefold analyze fixtures/demo --json | jq .balance
  tradefold analyze 'raw/*.parquet' --key \"id\" --order \"updated_at DESC NULLS LAST\"")]
pub(super) struct Args {
    /// Files, folders and globs.
    #[arg(required = true)]
    files: Vec<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let RowsArgs { dataset: named, ad_hoc, engine } = &args.rows;
    let engine = engine.start()?;
    let inputs = discover(&args.files, &world.environment).await?;
    let parquet_only = inputs.iter().all(|input| input.format == Format::Parquet);
    let report = if (named.key_only() && parquet_only) || ad_hoc.is_given() {
        let read = ad_hoc.read(inputs, named).await?;
        let landing = LandingCounts { read: read.rows, landed: read.rows, ..LandingCounts::default() };
        analyze(&engine, &read.dataset, &read.files, landing, read.rows_by_file, world).await?
    } else {
        let dataset = named.load()?;
        let scratch = tempfile::tempdir().doing("make room for a landing").map_err(Error::in_temporary_folder)?;
        let into = Folder::open(&scratch.path().to_string_lossy(), &[])?;
        let mut options = LandingOptions::new((world.now_us)());
        options.key_chosen = named.key_chosen();
        options.threads = engine.threads();
        let landed = land(&dataset, &inputs, &into, &options, world.progress.as_ref()).await?;
        let by_file = landed.inputs.iter().map(|input| (input.url.clone(), input.counts.landed)).collect();
        let report = analyze(&engine, &dataset, &landed_files(&landed), landed.counts, by_file, world).await?;
        Analysis { rejects_by_reason: landed.rejects_by_reason, ..report }
    };
    Outcome::new(analysis_text(&report), &report, None)
}

async fn analyze(
    engine: &Engine,
    dataset: &Dataset,
    files: &[DataFile],
    landing: LandingCounts,
    rows_by_file: BTreeMap<String, u64>,
    world: &World,
) -> Result<Analysis> {
    let dedup = Dedup::new(engine, dataset, files).await?.counting_only();
    let nameless = dedup.rows_without_key().await?;
    if nameless > 0 {
        let rows = counted(nameless, "row");
        world.progress.note(&format!("NULL in a key column counts as one value here: {rows} with it"));
    }
    world.progress.begin("find duplicates", Some(landing.landed));
    let decision = dedup.decide(world.progress.as_ref()).await?;
    let balance = Balance {
        landing,
        winners: decision.winners_count(),
        losers: decision.losers_count(),
        suspect: decision.suspect_keys().count(),
        redated: decision.redated_keys().count(),
        redated_by_hours: decision.redated_by_hours(),
        ..Balance::default()
    };
    balance.check()?;
    let rows_by_day = decision.rows_by_day().into_iter().filter_map(|(day, rows)| Some((day?, rows))).collect();
    Ok(Analysis {
        key: dataset.key.iter().map(ToString::to_string).collect(),
        order: dataset.order.iter().map(ToString::to_string).collect(),
        rows: landing.landed,
        keys: balance.winners,
        balance,
        census: decision.census()?,
        spilled_bytes: decision.spilled_bytes(),
        rows_by_day,
        rows_by_file,
        rejects_by_reason: BTreeMap::new(),
    })
}
