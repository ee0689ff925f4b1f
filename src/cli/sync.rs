//! `tradefold sync`

use super::Outcome;
use super::backfill::Decisions;
use super::common::{DatasetArgs, EngineArgs, World};
use super::page::Page;
use super::source::{Rounds, SourceArgs, SyncWish};
use super::target::TargetArgs;
use crate::error::Result;
use crate::follow::every;
use crate::window::parse_us;
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::time::Duration;

/// Bring everything that is new from an API into a warehouse: trades, then the markets and events that they mention.
///
/// It begins where the last run ended, a little earlier, and ends a little before now. What can't be shown to be whole
/// is a gap: it is told, tried again by the next run, and never passed unless you say so.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  tradefold sync --source dome --user 0xabc… --from 2026-01-01 --warehouse ./lake
  tradefold sync --source polymarket --users wallets.txt --every 10m
  tradefold sync --source dome --base-url https://trades.example/v1 --recheck 3d

It ends with 73 while a gap is open, and with 65 where data need a decision.")]
pub(super) struct Args {
    /// The first day or moment that is wanted. Needed the first time.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// How much before the checkpoint is fetched once more.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = parse_duration)]
    overlap: Duration,
    /// How much before now a round ends: rows of the last moments may still come in.
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = parse_duration)]
    settle: Duration,
    /// How far back complete windows are fetched again, once a day, for rows that came late; 0s: never.
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    recheck: Duration,
    /// How old what an open market says may be before it is asked for again.
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = parse_duration)]
    refresh: Duration,
    /// Go on for ever, with a round as often as this; a scheduler may do so instead.
    #[arg(long, value_name = "TIME", value_parser = parse_period)]
    every: Option<Duration>,
    /// How many seconds to wait for another writer.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    wait: u64,
    /// Also write an analysis of the trades that came in as a page for a browser: of all of them together, and also
    /// where they are a reason to stop. With --every each round that brings any replaces it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    dataset: DatasetArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    decisions: Decisions,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Reads `90s`, `10m`, `2h`, `3d`.
fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("`{text}` is no span of time: write 90s, 10m, 2h or 3d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// The same, and not nothing.
fn parse_period(text: &str) -> std::result::Result<Duration, String> {
    let period = parse_duration(text)?;
    if period.is_zero() { Err("rounds can't follow each other without a break".into()) } else { Ok(period) }
}

fn us(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// `show` prints the report of a round that is not the last.
pub(super) async fn run(args: Args, world: &World, show: &(dyn Fn(&Outcome) -> Result<()> + Sync)) -> Result<Outcome> {
    let page = Page::wanted(args.html.as_deref(), world)?;
    let rounds = Rounds {
        source: &args.source,
        dataset: args.dataset.chosen()?,
        target: &args.target,
        decisions: &args.decisions,
        engine: &args.engine,
        page: page.as_ref(),
        wait: Duration::from_secs(args.wait),
        key_chosen: args.dataset.key_chosen(),
    };
    let wish = SyncWish {
        from_us: args.from.as_deref().map(parse_us).transpose()?,
        to_us: None,
        settle_us: us(args.settle),
        overlap_us: us(args.overlap),
        recheck_us: us(args.recheck),
        refresh_us: Some(us(args.refresh)),
        fetches_anew: false,
    };
    let Some(period) = args.every else { return rounds.once(world, wish).await };
    let last = std::sync::Mutex::new(None);
    let wait = async |time| tokio::time::sleep(time).await;
    let round = || async {
        let outcome = rounds.once(world, wish).await?;
        // What needs a decision would need it again.
        if outcome.ends_as == Some(crate::error::Kind::Data) {
            if let Ok(mut last) = last.lock() {
                *last = Some(outcome);
            }
            return Ok(false);
        }
        show(&outcome)?;
        outcome.failed.map_or(Ok(true), Err)
    };
    every(period, &world.now_us, wait, world.progress.as_ref(), round).await?;
    let outcome = last.into_inner().ok().flatten();
    outcome.ok_or_else(|| crate::error::Error::bug("end a sync"))
}
