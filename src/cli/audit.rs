//! `tradefold audit`

use super::Outcome;
use super::common::{DatasetArgs, EngineArgs, World};
use super::target::{Target, TargetArgs};
use crate::error::{Kind, Result};
use crate::ledger::Ledger;
use crate::report::{AuditReport, JobsReport, audit_text};
use clap::Args as ClapArgs;
use std::sync::Arc;

/// Look at every row of a table: duplicates by class, suspect keys, rows without a key or a day, rows that are gone.
///
/// Nothing is changed. What it finds wrong ends it with exit code 65.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold audit --warehouse ./lake
  tradefold audit --warehouse bigquery://project.dataset --stage gs://bucket/tradefold --json")]
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
    warehouse.check_target().await?;
    let audit = warehouse.audit().await?;
    let rows_after_last_merge = ledger.rows_after_last_merge();
    let lost_rows = rows_after_last_merge.map_or(0, |rows| rows.saturating_sub(audit.rows));
    let mut findings = audit.findings();
    if lost_rows > 0 {
        findings.push("lost_rows".into());
    }
    let report = AuditReport {
        target: warehouse.target(),
        audit,
        rows_after_last_merge,
        lost_rows,
        removed_between_merges: ledger.removed_between_merges(),
        jobs: JobsReport::of(&ledger),
        findings,
    };
    Outcome::new(audit_text(&report), &report, (!report.findings.is_empty()).then_some(Kind::Data))
}
