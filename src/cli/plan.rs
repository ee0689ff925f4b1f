//! `tradefold plan`

use super::Outcome;
use super::backfill::{Ready, RunArgs};
use super::common::World;
use crate::error::{Doing, Error, Result};
use crate::report::{PlanReport, plan_text};
use crate::run::Run;
use crate::storage::Folder;
use crate::warehouse::bigquery::ddl;
use clap::Args as ClapArgs;

/// Say what backfill would do, and write nothing.
///
/// It reads the input whole, and takes the same flags. The rows are not compared with those of the target.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold plan fixtures/demo --warehouse ./lake
  tradefold plan --ddl --warehouse bigquery://project.dataset")]
pub(super) struct Args {
    /// Print the statement that makes the table in BigQuery, and nothing else; no files are read.
    #[arg(long)]
    ddl: bool,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    if args.ddl {
        let Some((place, layout)) = args.run.target.place()? else {
            return Err(Error::usage("print the DDL of a table")
                .because("a Delta table is made by its first commit")
                .hint("name the place of a table in BigQuery: --warehouse bigquery://project.dataset"));
        };
        let text = ddl(&args.run.dataset.load()?, &place, layout)? + ";\n";
        let json = serde_json::json!({ "ddl": text });
        return Outcome::new(text, &json, None);
    }
    let Ready { dataset, options, engine, inputs, target } = args.run.ready(world).await?;
    let warehouse = target.warehouse.as_ref();
    let scratch = tempfile::tempdir().doing("make room for a landing").map_err(Error::in_temporary_folder)?;
    let folder = Folder::open(&scratch.path().to_string_lossy(), &[])?;
    let run = Run {
        dataset: &dataset,
        engine: &engine,
        warehouse,
        work: folder.clone(),
        home: folder,
        options,
        page: None,
        turns: None,
        progress: world.progress.as_ref(),
        now_us: &world.now_us,
    };
    let (balance, batches, estimate) = run.plan(&inputs).await?;
    let target_rows = warehouse.check_target().await?;
    let would_stop = run.options.reasons_to_stop(&balance);
    let report = PlanReport { target: warehouse.target(), target_rows, balance, batches, would_stop, estimate };
    Outcome::new(plan_text(&report), &report, None)
}
