//! `tradefold diff`

use super::Outcome;
use super::access::ExportArgs;
use super::common::{RowsArgs, World};
use super::side::{Sides, find};
use crate::diff::diff;
use crate::error::{Kind, Result};
use crate::progress::Progress;
use crate::report::{DiffReport, counted, diff_text};
use clap::Args as ClapArgs;

/// Compare two data sets key by key: what only one of them has, and in which columns their rows of a key differ.
///
/// A and B are each files, a folder, a glob in quotes, a Delta table, a lake with the dataset's table, or a table of
/// BigQuery. Of a key with several rows the winner is compared. Files land by the dataset's contract first; with --key
/// and no contract files and tables are compared as they are, in all columns that both have but the volatile ones.
/// Where the two differ it ends with exit code 65. Nothing is written, but that a table of BigQuery passes through
/// --stage.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold diff raw/ lake                                  the table lake/trades against the files it was made of
  tradefold diff lake other-lake --dataset markets --json
  tradefold diff raw/ bigquery://project.dataset --stage gs://bucket/tradefold
  tradefold diff old.parquet new.parquet --key \"id\" --order \"updated_at DESC\" --volatile fetched_at")]
pub(super) struct Args {
    /// One side.
    #[arg(value_name = "A")]
    first: String,
    /// The other side.
    #[arg(value_name = "B")]
    second: String,
    #[command(flatten)]
    rows: RowsArgs,
    #[command(flatten)]
    export: ExportArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let engine = args.rows.engine.start()?;
    let (which, export) = (&args.rows.dataset, &args.export);
    let named = [find(&args.first, which, export, world).await?, find(&args.second, which, export, world).await?];
    let sides = Box::pin(Sides::open([&args.first, &args.second], named, &args.rows, &engine, world)).await?;
    let Sides { both: [first, second], dataset, compared, not_compared, casts } = &sides;
    let names: Vec<&str> = compared.iter().map(String::as_str).collect();
    let files = [first.files.as_slice(), second.files.as_slice()];
    let (counts, found) = Box::pin(diff(&engine, dataset, &names, files, world.progress.as_ref())).await?;
    let [mut a, mut b] = [first.report.clone(), second.report.clone()];
    for (side, count, name) in [(&mut a, counts[0], "A"), (&mut b, counts[1], "B")] {
        side.count = count;
        if count.rows_without_key > 0 {
            let rows = counted(count.rows_without_key, "row");
            world.progress.note(&format!("NULL in a key column counts as one value here: {rows} of {name} with it"));
        }
    }
    let report = DiffReport {
        key: dataset.key.iter().map(ToString::to_string).collect(),
        order: dataset.order.iter().map(ToString::to_string).collect(),
        a,
        b,
        is_equal: found.keys.is_none(),
        compared: compared.clone(),
        not_compared: not_compared.clone(),
        casts: casts.clone(),
        found,
    };
    Outcome::new(diff_text(&report), &report, (!report.is_equal).then_some(Kind::Data))
}
