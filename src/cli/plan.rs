//! `tradefold plan`

use super::Outcome;
use super::backfill::{Ready, RunArgs};
use super::common::World;
use crate::error::{Doing, Error, Result};
use crate::report::{PlanReport, plan_text};
use crate::run::Run;
use crate::storage::Folder;
use crate::warehouse::Warehouse;
use clap::Args as ClapArgs;

/// Say what backfill would do, and write nothing.
///
/// It reads the input whole, and takes the same flags. The rows are not compared with those of the target.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:
  tradefold plan fixtures/demo --warehouse ./lake")]
pub(super) struct Args {
    /// The folder of the embedded warehouse.
    #[arg(long, default_value = "lake", value_name = "FOLDER")]
    warehouse: String,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let Ready { dataset, options, engine, inputs, warehouse, .. } = args.run.ready(&args.warehouse, world).await?;
    let scratch = tempfile::tempdir().doing("make room for a landing").map_err(Error::in_temporary_folder)?;
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
