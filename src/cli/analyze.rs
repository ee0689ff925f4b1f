//! `tradefold analyze`

use super::Outcome;
use super::ad_hoc::{AdHoc, first_rejects, must_be_like, temporary_folder};
use super::common::{Draft, RowsArgs, World};
use super::fail_over::FailOver;
use crate::analysis::{Rows, analyse};
use crate::error::{Error, Kind, Result};
use crate::landing::{LandingOptions, land};
use crate::progress::Progress;
use crate::report::{Analysis, analysis_html, analysis_text};
use crate::run::landed_files;
use crate::source::{Input, discover};
use clap::Args as ClapArgs;
use std::path::{Path, PathBuf};

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
    #[command(flatten)]
    rows: RowsArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let RowsArgs { dataset: named, ad_hoc, engine } = &args.rows;
    let page = args.html.as_deref().map(|file| Draft::begin(file, "write an analysis as a page")).transpose()?;
    let engine = engine.start()?;
    let inputs = discover(&args.files, &world.environment).await?;
    if let Some(file) = &args.html {
        must_not_replace(file, &inputs)?;
    }
    let report = if named.key_only()?.is_some() || ad_hoc.is_given() {
        let AdHoc { dataset, read } = ad_hoc.read(inputs, named, world).await?;
        let rows = Rows {
            files: &read.files,
            landing: read.landing,
            by_file: read.rows_by_file,
            rejects_by_reason: read.rejects_by_reason,
            rejects: read.rejects,
        };
        analyse(&engine, &dataset, rows, world.progress.as_ref()).await?
    } else {
        let dataset = named.load()?;
        if named.is_default() {
            must_be_like(&dataset, &inputs, false).await?;
        }
        let (_scratch, into) = temporary_folder()?;
        let mut options = LandingOptions::new((world.now_us)());
        options.key_chosen = named.key_chosen();
        options.threads = engine.threads();
        let landed = match land(&dataset, &inputs, &into, &options, world.progress.as_ref()).await {
            Err(error) if named.is_default() && error.kind() == Kind::Usage => {
                must_be_like(&dataset, &inputs, true).await?;
                return Err(error);
            }
            landed => landed?,
        };
        let by_file = landed.inputs.iter().map(|input| (input.url.clone(), input.counts.landed)).collect();
        let (files, rejects) = (landed_files(&landed), first_rejects(&landed)?);
        let (landing, rejects_by_reason) = (landed.counts, landed.rejects_by_reason);
        let rows = Rows { files: &files, landing, by_file, rejects_by_reason, rejects };
        analyse(&engine, &dataset, rows, world.progress.as_ref()).await?
    };
    let fails = args.fail_over.and_then(|limit| limit.why(&report));
    let report = Analysis { fails, ..report };
    if let (Some(page), Some(file)) = (page, &args.html) {
        page.finish(&analysis_html(&report))?;
        world.progress.note(&format!("the page is {}", file.display()));
    }
    Ok(Outcome::new(analysis_text(&report), &report, None)?.stopped(report.fails))
}

/// Refuses a page in the place of an input.
fn must_not_replace(page: &Path, inputs: &[Input]) -> Result<()> {
    // One that is not there yet is no input.
    let Ok(place) = std::fs::canonicalize(page) else { return Ok(()) };
    let is_input = |input: &&Input| std::fs::canonicalize(&input.url).is_ok_and(|path| path == place);
    match inputs.iter().find(is_input) {
        None => Ok(()),
        Some(input) => Err(Error::usage("write an analysis as a page")
            .with("file", page.display())
            .because(format!("it is the input {}, which would be lost", input.url))
            .hint("give the page another name")),
    }
}
