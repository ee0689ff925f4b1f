//! `tradefold plan`

use super::Outcome;
use super::backfill::Decisions;
use super::common::{DatasetArgs, EngineArgs, WindowArgs, World, find_inputs, open_lake};
use crate::error::{Doing, Result};
use crate::report::{PlanReport, plan_text};
use crate::run::Run;
use crate::storage::Folder;
use crate::warehouse::Warehouse;
use crate::warehouse::local::DeltaWarehouse;
use clap::Args as ClapArgs;
use std::sync::Arc;

/// Say what backfill would do, and write nothing.
///
/// It reads the input whole, and takes the same flags. The rows are not compared with those of the target.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:
  tradefold plan fixtures/demo --warehouse ./lake")]
pub(super) struct Args {
    /// Files, folders and globs.
    #[arg(required = true)]
    files: Vec<String>,
    /// The folder of the embedded warehouse.
    #[arg(long, default_value = "lake", value_name = "FOLDER")]
    warehouse: String,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    decisions: Decisions,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    let options = args.decisions.options(&args.window, &args.dataset)?;
    let engine = args.engine.start()?;
    let inputs = find_inputs(&args.files, world, &engine).await?;
    let lake = open_lake(&args.warehouse, &dataset)?;
    let warehouse = DeltaWarehouse::new(engine.clone(), Arc::clone(&dataset), lake.table);
    let scratch = tempfile::tempdir().doing("make room for a landing")?;
    let run = Run {
        dataset: &dataset,
        engine: &engine,
        warehouse: &warehouse,
        home: Folder::open(&scratch.path().to_string_lossy(), &[])?,
        options,
        progress: &world.progress,
        now_us: &world.now_us,
    };
    let (balance, batches) = run.plan(&inputs).await?;
    let target_rows = warehouse.check_target().await?;
    let would_stop = run.options.reasons_to_stop(&balance);
    let report = PlanReport { target: warehouse.target(), target_rows, balance, batches, would_stop };
    Outcome::new(plan_text(&report), &report, false)
}
