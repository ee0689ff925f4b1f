//! Turns: whoever works for hours lets others at the target between two pieces of its work.

use super::lease::{self, Lease, Terms};
use super::lock::{self, WriterLock, lock};
use crate::error::Result;
use crate::ledger::{Holder, Ledger};
use crate::progress::Progress;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Lets others have the target for a while.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Gives the target to whoever waits for it, and comes back once it is free. Says whether it was given away: the
    /// target may be another one then, and `ledger` knows what was written meanwhile.
    ///
    /// # Errors
    /// Busy, where others have it for longer than is waited; or what the disk or the store says.
    async fn give(&self, ledger: &mut Ledger) -> Result<bool>;
}

/// How long others need to see that the lock is free.
const LOCK_LOOK: Duration = Duration::from_millis(500);

/// What it takes to take a target.
#[derive(Clone)]
pub struct Claim {
    /// The file of the lock.
    pub lock: PathBuf,
    /// Who takes it, where other machines can reach it.
    pub holder: Option<Holder>,
    /// How long others are waited for, and how leases are.
    pub terms: Terms,
    /// The time now, in microseconds since 1970-01-01 UTC.
    pub now_us: fn() -> i64,
    /// Who is told of what is waited for.
    pub progress: Arc<dyn Progress>,
}

/// A target that is taken, as long as it is not given away.
pub struct Seat {
    claim: Claim,
    held: Mutex<Option<Held>>,
}

struct Held {
    /// Of a target that other machines can reach.
    lease: Option<Lease>,
    _lock: WriterLock,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("lock", &self.lock).field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("lock", &self.claim.lock).finish_non_exhaustive()
    }
}

impl Seat {
    /// Sits down with a lock that is held already, once nobody else has the lease, for which it waits so long.
    ///
    /// # Errors
    /// As [`Lease::take`].
    pub async fn take(claim: Claim, wait: Duration, lock: WriterLock, ledger: &mut Ledger) -> Result<Seat> {
        let lease = claim.lease(Terms { wait, ..claim.terms }, ledger).await?;
        Ok(Seat { claim, held: Mutex::new(Some(Held { lease, _lock: lock })) })
    }

    /// Gives the target back.
    ///
    /// # Errors
    /// As [`Lease::release`].
    pub async fn release(self) -> Result<()> {
        match self.held.into_inner() {
            Some(Held { lease: Some(lease), .. }) => lease.release().await,
            _ => Ok(()),
        }
    }
}

impl Claim {
    async fn lease(&self, terms: Terms, ledger: &mut Ledger) -> Result<Option<Lease>> {
        let Some(holder) = &self.holder else { return Ok(None) };
        Lease::take(ledger, holder.clone(), terms, self.now_us, self.progress.as_ref()).await.map(Some)
    }
}

#[async_trait]
impl Turns for Seat {
    async fn give(&self, ledger: &mut Ledger) -> Result<bool> {
        let Claim { holder, now_us, progress, terms, .. } = &self.claim;
        // Who does not wait gets it back from nobody.
        if terms.wait.is_zero() {
            return Ok(false);
        }
        let is_awaited = lock::is_awaited(&self.claim.lock)?
            || (holder.is_some() && lease::is_awaited(ledger.folder(), now_us()).await?);
        if !is_awaited {
            return Ok(false);
        }
        progress.note("another writer waits for the target: it has its turn");
        let mut held = self.held.lock().await;
        let (begun, known) = (Instant::now(), ledger.records().len());
        if let Some(Held { lease: Some(lease), .. }) = held.take() {
            lease.release().await?;
        }
        // Whoever waits looks now and then, and is not to find the target taken again.
        let look = if holder.is_some() { terms.look * 2 } else { LOCK_LOOK };
        while begun.elapsed() < look && ledger.records().len() == known {
            tokio::time::sleep(LOCK_LOOK).await;
            ledger.catch_up().await?;
        }
        let lock = lock(&self.claim.lock, terms.wait, progress.as_ref()).await?;
        let left = Terms { wait: terms.wait.saturating_sub(begun.elapsed()), ..*terms };
        let lease = self.claim.lease(left, ledger).await?;
        ledger.catch_up().await?;
        *held = Some(Held { lease, _lock: lock });
        Ok(true)
    }
}
