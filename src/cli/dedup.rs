//! `tradefold dedup`

use super::Outcome;
use super::ad_hoc::AdHoc;
use super::common::{RowsArgs, World};
use super::page::{Page, named};
use crate::analysis::analyse_decided;
use crate::balance::Balance;
use crate::dedup::Dedup;
use crate::error::{Doing, Error, Result};
use crate::plan::Cuts;
use crate::progress::Progress;
use crate::report::{DedupReport, counted, dedup_text};
use crate::source::discover;
use crate::stage::{WriteOptions, write_empty, write_winners};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// How the folder begins that the output is written to before it is moved. A process that is killed leaves it.
const SCRATCH: &str = ".tradefold-";

/// Keep one row of each key of Parquet, CSV or JSON files, as Parquet: every column kept.
///
/// Needs no dataset: --key and --order name any columns, and all of them count as content but those of --volatile.
/// Without --key all three are those of the dataset. Values are taken as they are: nothing is checked, folded or
/// rejected.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold dedup raw/ -o clean/
  tradefold dedup 'raw/*.parquet' -o clean/ --key \"id\" --order \"updated_at DESC NULLS LAST\"
  tradefold dedup raw/ -o clean/ --key \"wallet, COALESCE(order_hash, id, '')\" --volatile fetched_at")]
pub(super) struct Args {
    /// Files, folders and globs.
    #[arg(required = true)]
    files: Vec<String>,
    /// The folder for the output. It must not exist yet, or be empty.
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// The level of zstd that the output is packed with. Row groups that are copied keep theirs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Also write an analysis of the input as a page for a browser: one file that needs no network, in one step.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    rows: RowsArgs,
}

pub(super) async fn run(args: Args, world: &World) -> Result<Outcome> {
    let used = std::fs::read_dir(&args.output).is_ok_and(|mut entries| entries.next().is_some());
    if used || args.output.is_file() {
        return Err(Error::usage("write the output")
            .with("folder", args.output.display())
            .because("there is something in it")
            .hint("give a folder that does not exist or is empty"));
    }
    let page = Page::wanted(args.html.as_deref(), world)?;
    let engine = args.rows.engine.start()?;
    let inputs = discover(&args.files, &world.environment).await?;
    if let Some(page) = &page {
        page.must_not_replace(inputs.iter().map(|input| input.url.as_str()))?;
    }
    let AdHoc { dataset, read } = args.rows.ad_hoc.read(inputs, &args.rows.dataset, world).await?;
    if let Some(first) = read.rejects.first() {
        return Err(Error::data("read every row of the input")
            .with("file", &first.file)
            .with("row", first.row)
            .because(format!("{}; {} can't be read in all", first.reason, counted(read.landing.rejected, "row")))
            .hint("mend the input or take the rows out of it: here they would be lost"));
    }
    let mut dedup = Dedup::new(&engine, &dataset, &read.files).await?.counting_only();
    if page.is_some() {
        dedup = dedup.analysing();
    }
    let nameless = dedup.rows_without_key().await?;
    if nameless > 0 {
        return Err(Error::data("tell rows apart by their key")
            .because(format!("{} NULL in a key column, and would all count as one", have(nameless)))
            .hint("say what stands in for NULL, as in --key \"a, COALESCE(b, c, '')\""));
    }
    world.progress.begin("find duplicates", Some(read.landing.landed));
    let decision = dedup.decide(world.progress.as_ref()).await?;
    let analysis = match &page {
        Some(page) => Some((page, analyse_decided(&dedup, &decision, read.rows(), world.progress.as_ref()).await?)),
        None => None,
    };
    world.progress.begin("keep winners", Some(decision.winners_count()));
    // Beside its place, so that the move at the end is one step and a death before it leaves nothing there.
    let output = std::path::absolute(&args.output).doing("resolve the output folder")?;
    let parent = output.parent().unwrap_or(&output);
    let full = |error: Error| error.in_folder(parent.display());
    std::fs::create_dir_all(parent).doing("make the output folder").map_err(full)?;
    let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(parent);
    let scratch = scratch.doing("make room for the output").map_err(full)?;
    let mut flat = dataset.clone();
    flat.partition = None;
    // What is not compared is not decoded where a whole row group is copied: files are taken as they are here.
    let options = WriteOptions { level: args.level, decode_copied: false, ..WriteOptions::new(Cuts::default()) };
    let written = write_winners(&decision, &flat, options, scratch.path(), world.progress.as_ref()).await;
    let mut written = written.map_err(full)?;
    if written.files.is_empty() {
        // Who reads the output next expects a table, be it one without rows.
        written.files.push(write_empty(&flat, scratch.path()).map_err(full)?);
    }
    let landing = read.landing;
    let balance = Balance { landing, winners: written.rows(), losers: decision.losers_count(), ..Balance::default() };
    balance.check()?;
    // A folder of its own: that of the scratch can be read by nobody else.
    let done = scratch.path().join("done");
    std::fs::create_dir(&done).doing("make the output folder").map_err(full)?;
    for (place, file) in written.files.iter().enumerate() {
        let name = done.join(format!("part-{place:05}.parquet"));
        std::fs::rename(&file.path, name).doing("name an output file").map_err(full)?;
    }
    // An empty folder may be in the way.
    let _ = std::fs::remove_dir(&output);
    std::fs::rename(&done, &output).doing("move the output to its place").map_err(full)?;
    let failed = analysis.and_then(|(page, analysis)| page.write(&analysis, &named(&args.files)).err());
    let report = DedupReport {
        output: args.output.display().to_string(),
        files: written.files.len() as u64,
        size_bytes: written.files.iter().map(|file| file.size_bytes).sum(),
        copied_rows: written.copied_rows,
        spilled_bytes: decision.spilled_bytes(),
        balance,
    };
    Ok(Outcome { failed, ..Outcome::new(dedup_text(&report), &report, None)? })
}

fn have(rows: u64) -> String {
    format!("{} {}", counted(rows, "row"), if rows == 1 { "has" } else { "have" })
}
