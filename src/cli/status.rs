//! `tradefold status`

use super::Outcome;
use super::common::{DatasetArgs, EngineArgs, World, open_lake};
use crate::error::Result;
use crate::ledger::Ledger;
use crate::report::status_text;
use crate::warehouse::Warehouse;
use crate::warehouse::local::DeltaWarehouse;
use clap::Args as ClapArgs;
use std::sync::Arc;

/// Show what a target has and what was done to it: rows, unfinished runs, the last receipts.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The folder of the embedded warehouse.
    #[arg(long, default_value = "lake", value_name = "FOLDER")]
    warehouse: String,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) async fn run(args: Args, _world: &World) -> Result<Outcome> {
    let dataset = Arc::new(args.dataset.load()?);
    let lake = open_lake(&args.warehouse, &dataset)?;
    let ledger = Ledger::open(lake.home.join("ledger"), String::new()).await?;
    let warehouse = DeltaWarehouse::new(args.engine.start()?, dataset, lake.table);
    let rows = warehouse.check_target().await?;
    let text = status_text(&warehouse.target(), rows, &ledger);
    let json = serde_json::json!({
        "target": warehouse.target(),
        "rows": rows,
        "unfinished": ledger.unfinished(),
        "receipts": ledger.receipts().collect::<Vec<_>>(),
    });
    Outcome::new(text, &json, false)
}
