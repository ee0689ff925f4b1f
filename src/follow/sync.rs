//! One round of keeping up: trades, then what came late, then the markets and events that they mention.

use super::{Catalogue, Follower, Wish, catch_up_catalogue};
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::report::{SyncReport, TableReport};
use crate::window::{Window, start_of_second_us};
use std::time::Duration;

/// A table, what fills it, and its ledger.
#[derive(Debug)]
pub struct Table<'a> {
    /// What fills it.
    pub follower: Follower<'a>,
    /// What was done to it.
    pub ledger: &'a mut Ledger,
}

/// What a round does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    /// What is wanted of trades.
    pub wish: Wish,
    /// How far back windows that were seen whole are fetched once more, once a day, in microseconds; 0: never.
    pub recheck_us: i64,
    /// How long what an open market says counts as new, in microseconds.
    pub refresh_us: i64,
    /// Which markets are open: those in which a column, as text, equals a text. `None`: they are left alone.
    pub open: Option<(&'static str, &'static str)>,
}

/// Does a round. A table whose data need a decision ends it: what depends on it waits.
///
/// # Errors
/// What the API, the disk, the ledgers or the targets say.
pub async fn sync(
    trades: &mut Table<'_>,
    catalogue: Option<(&mut Table<'_>, &mut Table<'_>)>,
    options: &SyncOptions,
) -> Result<SyncReport> {
    let followed = trades.follower.catch_up(&options.wish, trades.ledger).await?;
    let mut report = SyncReport { trades: followed, ..SyncReport::default() };
    if report.trades.is_stopped() {
        return Ok(report);
    }
    let to_us = start_of_second_us(options.wish.to_us);
    if let Some(window) = Window::new(to_us - options.recheck_us, to_us) {
        report.late = trades.follower.recheck(window, trades.ledger).await?;
        if report.late.as_ref().is_some_and(TableReport::is_stopped) {
            return Ok(report);
        }
    }
    let Some((markets, events)) = catalogue else { return Ok(report) };
    let of_markets = Catalogue { key: "condition_id", open: options.open, refresh_us: options.refresh_us };
    let brought = catch_up_catalogue(trades, of_markets, markets).await?;
    let stopped = brought.is_stopped();
    report.markets = Some(brought);
    if stopped {
        return Ok(report);
    }
    let of_events = Catalogue { key: "event_slug", open: None, refresh_us: options.refresh_us };
    report.events = Some(catch_up_catalogue(markets, of_events, events).await?);
    Ok(report)
}

/// Does a round at every `period` until one says that it was the last. A round that fails for now, or finds another
/// writer, is told and does not end it; one that takes longer is followed by the next at once.
///
/// # Errors
/// That of a round that would fail again.
pub async fn every<F>(
    period: Duration,
    now_us: &(dyn Fn() -> i64 + Sync),
    wait: impl AsyncFn(Duration),
    progress: &dyn Progress,
    mut round: impl FnMut() -> F,
) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    use crate::error::Kind::{Busy, Transient};
    let period_us =
        i64::try_from(period.as_micros()).map_err(|error| Error::usage("wait between rounds").because(error))?;
    loop {
        let begun_us = now_us();
        match round().await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if matches!(error.kind(), Busy | Transient) => progress.note(error.render().trim_end()),
            Err(error) => return Err(error),
        }
        let left_us = (begun_us + period_us - now_us()).max(0);
        wait(Duration::from_micros(left_us.unsigned_abs())).await;
    }
}
