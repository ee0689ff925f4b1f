//! `tradefold gc`

use super::Outcome;
use super::common::{DatasetArgs, EngineArgs, World};
use super::target::{Target, TargetArgs};
use crate::error::{Error, Kind, Result};
use crate::gc::{Leftover, Places, forget};
use crate::ledger::Ledger;
use crate::report::{GcReport, gc_text};
use crate::run::settle_jobs;
use crate::window::Day;
use clap::Args as ClapArgs;
use std::sync::Arc;
use std::time::Duration;

/// List what runs have left behind: temporary tables, staged objects, landed rows, old files of the ledger.
///
/// Nothing is removed unless it is asked for, and never anything of a run that works. Rejects, conflicts and other rows
/// for a person to look at stay, whatever is asked for. So does until its day what a migration has promised to keep:
/// tables of BigQuery are told with the day after which they are gone by themselves.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold gc --warehouse ./lake
  tradefold gc --warehouse ./lake --remove
  tradefold gc --warehouse bigquery://project.dataset --stage gs://bucket/tradefold --remove --unfinished")]
pub(super) struct Args {
    /// Remove it.
    #[arg(long)]
    remove: bool,
    /// Remove what runs that were not finished would take up, too, and forget these runs: what they have merged stays,
    /// and the same command begins anew.
    #[arg(long, requires = "remove")]
    unfinished: bool,
    /// How many seconds to wait for another writer.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    let target = args.target.open(&args.engine.start()?, &dataset, world).await?;
    let places = Places { warehouse: target.warehouse.as_ref(), home: &target.home, work: &target.work };
    let is_removed = |leftover: &Leftover| {
        let is_promised = leftover.expires || leftover.kept_until.is_some();
        args.remove && !is_promised && (args.unfinished || leftover.needed_by.is_none())
    };
    // Another stage than the table's own knows nothing of its runs.
    target.warehouse.check_target().await?;
    let (found, forgotten) = if args.remove {
        let mut writer = target.take(Duration::from_secs(args.wait), world).await?;
        let found = collect(&target, &places, &mut writer.ledger, (&is_removed, args.unfinished), world).await;
        writer.done(found).await?
    } else {
        let ledger = Ledger::open(target.home.join("ledger"), String::new()).await?;
        (places.leftovers(&ledger, Day::of_us((world.now_us)())).await?, Vec::new())
    };
    let (removed, kept) = found.into_iter().partition(is_removed);
    let report = GcReport { target: target.warehouse.target(), removed, kept, forgotten, is_dry: !args.remove };
    Outcome::new(gc_text(&report), &report, None)
}

/// What was found, and the runs that were forgotten.
async fn collect(
    target: &Target,
    places: &Places<'_>,
    ledger: &mut Ledger,
    (is_removed, unfinished): (&dyn Fn(&Leftover) -> bool, bool),
    world: &World,
) -> Result<(Vec<Leftover>, Vec<String>)> {
    // A job of a writer that died may still read its temporary table.
    settle_jobs(target.warehouse.as_ref(), ledger, (world.now_us)()).await?;
    let found = places.leftovers(ledger, Day::of_us((world.now_us)())).await?;
    if !ledger.is_ours().await? {
        return Err(Error::new(Kind::Busy, "remove what runs have left behind")
            .because("another writer has taken the target meanwhile")
            .hint("run the same command again"));
    }
    let removed: Vec<Leftover> = found.iter().filter(|leftover| is_removed(leftover)).cloned().collect();
    // First: of a run that is over nothing is taken up, whatever is left of it.
    let forgotten = if unfinished { forget(ledger, (world.now_us)()).await? } else { Vec::new() };
    places.remove(&removed).await?;
    Ok((found, forgotten))
}
