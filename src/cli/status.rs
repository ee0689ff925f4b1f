//! `tradefold status`

use super::Outcome;
use super::common::{DatasetArgs, EngineArgs, World};
use super::target::{Target, TargetArgs};
use crate::error::Result;
use crate::ledger::Ledger;
use crate::report::status_text;
use clap::Args as ClapArgs;
use std::sync::Arc;

/// Show what a target has and what was done to it: rows, unfinished runs, the last receipts.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    let Target { warehouse, home, .. } = args.target.open(&args.engine.start()?, &dataset, world).await?;
    let ledger = Ledger::open(home.join("ledger"), String::new()).await?;
    let rows = warehouse.check_target().await?;
    let text = status_text(&warehouse.target(), rows, &ledger);
    let json = serde_json::json!({
        "target": warehouse.target(),
        "rows": rows,
        "unfinished": ledger.unfinished(),
        "receipts": ledger.receipts().collect::<Vec<_>>(),
    });
    Outcome::new(text, &json, None)
}
