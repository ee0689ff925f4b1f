//! The command line: one file per command. Results go to stdout, everything else to stderr.

mod access;
mod ad_hoc;
mod analyze;
mod audit;
mod backfill;
mod common;
mod dedup;
mod diff;
mod drop_source;
mod fail_over;
mod gc;
mod generate;
mod migrate;
mod page;
mod plan;
mod progress;
mod side;
mod route;
mod source;
mod sourcing;
mod status;
mod sync;
mod target;

use crate::error::{Doing, Error, Kind, Result};
use clap::{CommandFactory, Parser, Subcommand};
use common::World;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Takes the duplicates out of event data before it reaches a warehouse, and accounts for every row.
///
/// Reports go to stdout, as text or with --json; progress and errors go to stderr.
#[derive(Debug, Parser)]
#[command(name = "tradefold", version, max_term_width = 120, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the report as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing on the way.
    #[arg(long, short, global = true)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
Examples:
  tradefold analyze fixtures/demo                     how many duplicates, of which kind, where
  tradefold backfill fixtures/demo --warehouse lake   one row of each key into the table lake/trades
  tradefold sync --source dome --from 2026-01-01      everything new from an API: trades, markets, events
  tradefold migrate --from staging --to lake          a staging table into production, with a proof
  tradefold status --warehouse lake                   what the table has and what was done to it
  tradefold audit --warehouse lake                    whether its keys are unique, and rows are gone
  tradefold diff raw lake                             what two data sets have of each other, key by key
  tradefold backfill --help                           every flag of a command

Exit codes:
  0   done
  1   a bug
  2   wrong arguments, contract or input columns: fix the call
  65  data need a decision: a rule does not hold, two data sets differ, or there is a reason to stop
  73  another writer holds the target, or a gap is open
  75  the other side failed for now, a disk is full, or the run was interrupted: run the same command again
  77  refused: permissions, credentials, quota, budget, memory";

#[derive(Debug, Subcommand)]
enum Command {
    Backfill(backfill::Args),
    Sync(sync::Args),
    Migrate(migrate::Args),
    Plan(plan::Args),
    Analyze(analyze::Args),
    Dedup(dedup::Args),
    Diff(diff::Args),
    Status(status::Args),
    Audit(audit::Args),
    Gc(gc::Args),
    Generate(generate::Args),
    /// Print a script that completes commands and flags in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What a command prints, and how it ends where that is not well.
struct Outcome {
    text: String,
    json: serde_json::Value,
    ends_as: Option<Kind>,
    /// Said on stderr after the report.
    stopped: Option<String>,
    /// What went wrong once the work was done: said after the report, and the command ends with its code.
    failed: Option<Error>,
}

impl Outcome {
    fn new(text: String, report: &impl serde::Serialize, ends_as: Option<Kind>) -> Result<Outcome> {
        let json = serde_json::to_value(report).doing("write a report as JSON")?;
        Ok(Outcome { text, json, ends_as, stopped: None, failed: None })
    }

    /// The same, ended by a stop where there is one.
    fn stopped(self, why: Option<String>) -> Outcome {
        Outcome { ends_as: why.as_ref().map(|_| Kind::Data).or(self.ends_as), stopped: why, ..self }
    }
}

/// Runs a command. `environment` and `now_us` are handed in, so that tests can choose them.
pub fn main(arguments: Vec<OsString>, environment: Vec<(String, String)>, now_us: fn() -> i64) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for and go to stdout; clap knows which is which.
            let code = if error.use_stderr() { 2 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(1) };
        }
    };
    log_to_stderr(&environment);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::bug("start the runtime").because(error)),
    };
    let world = World::new(environment, now_us, cli.quiet);
    let hint = match cli.command {
        Command::Backfill(_) | Command::Sync(_) | Command::Migrate(_) => {
            "run the same command again: it goes on where it was"
        }
        _ => "run the same command again",
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = Box::pin(dispatch(cli.command, &world, cli.json)) => outcome,
            () = interrupted() => Err(Error::new(Kind::Transient, "finish")
                .because("it was interrupted")
                .hint(hint)),
        }
    });
    world.progress.finish();
    // A thread that still reads has nobody to read for: the process need not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(outcome) => {
            let ends_as = outcome.ends_as;
            match show(&outcome, cli.json) {
                Ok(()) => {
                    if let Some(why) = &outcome.stopped {
                        // If stderr is closed the exit code says it.
                        let _ = writeln!(std::io::stderr(), "stopped: {why}");
                    }
                    outcome.failed.as_ref().map_or_else(|| ExitCode::from(ends_as.map_or(0, Kind::exit_code)), fail)
                }
                Err(error) => fail(&error),
            }
        }
        Err(error) => fail(&error),
    }
}

/// Prints what a command found.
fn show(outcome: &Outcome, json: bool) -> Result<()> {
    let text = if json { format!("{:#}\n", outcome.json) } else { outcome.text.clone() };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Who listens may stop listening.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Transient, "print the report").because(error))
        }
        _ => Ok(()),
    }
}

/// Waits for Ctrl-C, or for the signal by which schedulers and containers end a process.
async fn interrupted() {
    let mut ended = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(ended) => ended,
        // Without it the signal ends the process all the same.
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = ended.recv() => {}
    }
}

async fn dispatch(command: Command, world: &World, json: bool) -> Result<Outcome> {
    match command {
        Command::Backfill(args) => Box::pin(backfill::run(args, world)).await,
        Command::Sync(args) => Box::pin(sync::run(args, world, &|outcome| show(outcome, json))).await,
        Command::Migrate(args) => Box::pin(migrate::run(args, world)).await,
        Command::Plan(args) => Box::pin(plan::run(args, world)).await,
        Command::Analyze(args) => Box::pin(analyze::run(args, world)).await,
        Command::Dedup(args) => Box::pin(dedup::run(args, world)).await,
        Command::Diff(args) => Box::pin(diff::run(args, world)).await,
        Command::Audit(args) => Box::pin(audit::run(args, world)).await,
        Command::Gc(args) => Box::pin(gc::run(args, world)).await,
        Command::Status(args) => Box::pin(status::run(args, world)).await,
        Command::Generate(args) => generate::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tradefold", &mut script);
            let text = String::from_utf8_lossy(&script).into_owned();
            Outcome::new(text.clone(), &text, None)
        }
    }
}

/// Logs what `TRADEFOLD_LOG` asks for; nothing without it, since reports and errors say what a user needs.
fn log_to_stderr(environment: &[(String, String)]) {
    let filter =
        environment.iter().find(|(name, _)| name == "TRADEFOLD_LOG").map_or("off", |(_, value)| value.as_str());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    // A second subscriber in one process, as in tests, is of no consequence.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

fn fail(error: &Error) -> ExitCode {
    // If stderr is closed there is nowhere left to say it.
    let _ = std::io::stderr().write_all(error.render().as_bytes());
    ExitCode::from(error.kind().exit_code())
}
