//! `tradefold analyze`

use super::Outcome;
use super::ad_hoc::{AdHoc, must_be_like, temporary_folder};
use super::common::{RowsArgs, World};
use super::fail_over::FailOver;
use super::page::{Page, named};
use crate::analysis::{Rows, analyse, first_rejects, must_have};
use crate::dataset::Dataset;
use crate::error::{Kind, Result};
use crate::landing::{LandingOptions, land};
use crate::report::{Analysis, analysis_text};
use crate::run::landed_files;
use crate::source::discover;
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Count duplicates and say what they are: by class, by day, by file, and the worst keys. Writes nothing but what
/// --html names.
///
/// With a dataset (`trades` without any flag) rows are checked and counted as backfill would. With --key and no
/// contract any Parquet, CSV, NDJSON and JSON files will do: columns and types are found, values are taken as they are,
/// and every column counts as content but the volatile ones.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold analyze fixtures/demo
  tradefold analyze fixtures/demo --json | jq .balance
  tradefold analyze fixtures/demo --html report.html
  tradefold analyze 'raw/*.parquet' --key \"id\" --order \"updated_at DESC NULLS LAST\"
  tradefold analyze 'raw/*.parquet' --suggest-key --volatile fetched_at
  tradefold analyze 'raw/*.parquet' --key \"id\" --run-column fetched_at
  tradefold analyze events.csv.gz --key \"id\" --fail-over 0.5%")]
pub(super) struct Args {
    /// Files, folders and globs.
    #[arg(required = true)]
    files: Vec<String>,
    /// Also write it as a page for a browser: one file that needs no network, in one step.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// End with exit code 65 where more than this share of the rows are duplicates, such as 0.5%. 0%: any at all. The
    /// report is printed all the same.
    #[arg(long, value_name = "PERCENT")]
    fail_over: Option<FailOver>,
    /// Find a key: the fewest columns that name a row. Prints those that were tried, then analyzes by the best one as
    /// if --key had named it. Columns of --volatile are in none of them.
    #[arg(long, group = "which_key", conflicts_with = "dataset")]
    suggest_key: bool,
    /// Also count rows and duplicates by each value of this column, such as one that says which run has brought a row.
    #[arg(long, value_name = "COLUMN")]
    run_column: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let RowsArgs { dataset: which, ad_hoc, engine } = &args.rows;
    let page = Page::wanted(args.html.as_deref(), world)?;
    let engine = engine.start()?;
    let inputs = discover(&args.files, &world.environment).await?;
    if let Some(page) = &page {
        page.must_not_replace(inputs.iter().map(|input| input.url.as_str()))?;
    }
    let run_column = args.run_column.clone();
    let must_have = |dataset: &Dataset| run_column.iter().try_for_each(|column| must_have(dataset, column));
    let report = if args.suggest_key || which.key_only()?.is_some() || ad_hoc.is_given() {
        let (AdHoc { dataset, read }, found) = if args.suggest_key {
            let (ad_hoc, found) = ad_hoc.without_key(inputs, &engine, world).await?;
            (ad_hoc, Some(found))
        } else {
            (ad_hoc.read(inputs, which, world).await?, None)
        };
        must_have(&dataset)?;
        let rows = Rows { run_column, ..read.rows() };
        let report = analyse(&engine, &dataset, &read.files, rows, world.progress.as_ref()).await?;
        let spilled_bytes = report.spilled_bytes + found.as_ref().map_or(0, |found| found.spilled_bytes);
        Analysis { suggestion: found.map(|found| found.suggestion), spilled_bytes, ..report }
    } else {
        let dataset = which.load()?;
        must_have(&dataset)?;
        if which.is_default() {
            must_be_like(&dataset, &inputs, false).await?;
        }
        let (_scratch, into) = temporary_folder()?;
        let mut options = LandingOptions::new((world.now_us)());
        options.key_chosen = which.key_chosen();
        options.threads = engine.threads();
        let landed = match land(&dataset, &inputs, &into, &options, world.progress.as_ref()).await {
            Err(error) if which.is_default() && error.kind() == Kind::Usage => {
                must_be_like(&dataset, &inputs, true).await?;
                return Err(error);
            }
            landed => landed?,
        };
        let rows = Rows { run_column, ..Rows::of(&landed, first_rejects(&landed, &into).await?) };
        analyse(&engine, &dataset, &landed_files(&landed), rows, world.progress.as_ref()).await?
    };
    let fails = args.fail_over.and_then(|limit| limit.why(&report));
    let report = Analysis { fails, ..report };
    if let Some(page) = &page {
        page.write(&report, &named(&args.files))?;
    }
    Ok(Outcome::new(analysis_text(&report), &report, None)?.stopped(report.fails))
}
