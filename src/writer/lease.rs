//! The right to write to a target that several machines can reach.
//!
//! An entry of the ledger takes it: entries are numbered, so whoever had it before and was only asleep can write none
//! any more. A file beside the entry says until when it is held. Clocks decide only how long others are waited for;
//! that two of them never merge at once is the numbers' doing, and that of the jobs which are written down.

use crate::error::{Doing, Error, Kind, Result};
use crate::ledger::{Entry, Holder, Ledger};
use crate::progress::Progress;
use crate::storage::Folder;
use crate::window::{start_of_second_us, text_of_us};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long leases are, and how long others are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long it is held without a sign of life.
    pub term: Duration,
    /// How often its holder gives one.
    pub renewal: Duration,
    /// How often a writer that waits looks again, at least.
    pub look: Duration,
    /// How long it waits.
    pub wait: Duration,
}

impl Terms {
    /// Ten minutes, with a sign of life every two.
    pub fn usual(wait: Duration) -> Terms {
        Terms { term: Duration::from_secs(600), renewal: Duration::from_secs(120), look: Duration::from_secs(10), wait }
    }
}

/// What a holder says of its lease.
#[derive(Debug, Serialize, Deserialize)]
struct Renewal {
    /// Until when it is held, in microseconds since 1970-01-01 UTC; 0 where its holder is done.
    until_us: i64,
}

/// A target that is taken. It is given back by [`Lease::release`]; a holder that dies keeps it for its term.
#[derive(Debug)]
pub struct Lease {
    folder: Folder,
    number: u64,
    renewing: JoinHandle<()>,
    done: Arc<Notify>,
}

impl Lease {
    /// Takes the target of a ledger, once whoever has it is done, dead, or silent for the whole term. The caller holds
    /// the lock of the folder that `holder` works in, so an earlier holder of the same folder is dead.
    ///
    /// # Errors
    /// Busy, when another writer holds it for longer than is waited; or what the store says.
    pub async fn take(
        ledger: &mut Ledger,
        holder: Holder,
        terms: Terms,
        now_us: fn() -> i64,
        progress: &dyn Progress,
    ) -> Result<Lease> {
        let begun = Instant::now();
        let mut last_sign: Option<(u64, i64, Instant)> = None;
        let mut told = None;
        loop {
            ledger.catch_up().await?;
            if let Some((number, other, at_us)) =
                ledger.leased().filter(|(_, other, _)| other.work_id != holder.work_id)
            {
                // A sign that can't be read is none.
                let sign = ledger.folder().get(&file(number)).await?;
                let sign = sign.and_then(|text| serde_json::from_slice::<Renewal>(&text).ok());
                let until_us = sign.map_or_else(|| after(at_us, terms.term), |sign| sign.until_us);
                let since = text_of_us(start_of_second_us(at_us));
                let sign = last_sign.filter(|(of, said, _)| (*of, *said) == (number, until_us));
                if until_us != 0 && told != Some(number) {
                    progress.note(&format!("{} has held the target since {since}: waiting for it", other.name));
                    told = Some(number);
                }
                let (_, _, seen) = *last_sign.insert(sign.unwrap_or((number, until_us, Instant::now())));
                // Clocks differ: what counts in the end is for how long nothing was heard of it.
                let silence = match until_us {
                    0 => Duration::ZERO,
                    until_us if until_us > now_us() => terms.term,
                    _ => terms.term.min(terms.renewal * 3 / 2),
                };
                let held = silence.saturating_sub(seen.elapsed());
                if !held.is_zero() {
                    let left = terms.wait.saturating_sub(begun.elapsed());
                    if left.is_zero() {
                        return Err(Error::new(Kind::Busy, "take the target")
                            .with("ledger", ledger.folder().url())
                            .because(format!(
                                "{} has held it since {since}; waited {} s",
                                other.name,
                                begun.elapsed().as_secs()
                            ))
                            .hint("wait until the other run is done, or give it longer with --wait"));
                    }
                    // Whoever has it may give it away between two pieces of its work.
                    write(ledger.folder(), WAITING, after(now_us(), terms.look * 3)).await?;
                    tokio::time::sleep(terms.look.min(held).min(left)).await;
                    continue;
                }
            }
            match ledger.append(Entry::Leased { holder: holder.clone() }, now_us()).await {
                // Somebody else was faster: to take it, or to write about it.
                Err(error) if error.kind() == Kind::Busy => {}
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        let number = ledger.records().len() as u64 - 1;
        let (folder, done) = (ledger.folder().clone(), Arc::new(Notify::new()));
        if told.is_some() {
            write(&folder, WAITING, 0).await?;
        }
        let renewing = tokio::spawn(renew(folder.clone(), number, terms, now_us, Arc::clone(&done)));
        Ok(Lease { folder, number, renewing, done })
    }

    /// Gives the target back.
    ///
    /// # Errors
    /// What the store says; others then wait for the rest of the term.
    pub async fn release(mut self) -> Result<()> {
        // A sign of life that is under way would come after the one that says it is done.
        self.done.notify_one();
        let _ = (&mut self.renewing).await;
        write(&self.folder, &file(self.number), 0).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Gives signs of life until it is told to stop. One that is not heard is of no consequence: the next one is.
async fn renew(folder: Folder, number: u64, terms: Terms, now_us: fn() -> i64, done: Arc<Notify>) {
    let file = file(number);
    loop {
        let sign = write(&folder, &file, after(now_us(), terms.term));
        // A store may try for minutes, and by then the time that is written has passed.
        let _ = tokio::time::timeout(terms.renewal / 2, sign).await;
        if tokio::time::timeout(terms.renewal, done.notified()).await.is_ok() {
            return;
        }
    }
}

async fn write(folder: &Folder, file: &str, until_us: i64) -> Result<()> {
    let text = serde_json::to_vec(&Renewal { until_us }).doing("write a lease")?;
    folder.put(file, text.into()).await
}

/// Until when somebody waits. Two who wait write over each other, and again.
pub const WAITING: &str = "lease-waiting.json";

/// Whether somebody waits for the target of a ledger's folder.
///
/// # Errors
/// What the store says.
pub(super) async fn is_awaited(folder: &Folder, now_us: i64) -> Result<bool> {
    let sign = folder.get(WAITING).await?.and_then(|text| serde_json::from_slice::<Renewal>(&text).ok());
    Ok(sign.is_some_and(|sign| sign.until_us > now_us))
}

fn after(at_us: i64, time: Duration) -> i64 {
    at_us.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

/// The name of the file in which the holder of the lease of this number gives signs of life.
fn file(number: u64) -> String {
    format!("lease-{number}.json")
}
