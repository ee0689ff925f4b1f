//! One retry loop for whatever may fail for a while: what may be repeated says who failed, how long to wait is here.

use crate::error::{Error, Result};
use crate::progress::Progress;
use std::time::Duration;

/// How long to wait between tries, and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Before the second try.
    pub first: Duration,
    /// It doubles from try to try, up to this much.
    pub most: Duration,
    /// All tries together.
    pub tries: u32,
    /// Before the second look at something that takes its time; it doubles from look to look.
    pub look: Duration,
}

impl Waits {
    /// What cloud services ask of their clients: truncated exponential backoff with jitter, here for about two minutes.
    pub const USUAL: Waits = Waits {
        first: Duration::from_secs(1),
        most: Duration::from_secs(32),
        tries: 8,
        look: Duration::from_millis(250),
    };

    /// How long to wait after this look at something that takes its time, the first of which is 1: it doubles, up to
    /// `most`.
    pub fn step(&self, number: u32, most: Duration) -> Duration {
        doubled(self.look, number).min(self.most).min(most)
    }

    /// How long to wait after this try, the first of which is 1. `jitter` is from 0 to 1: clients that failed together
    /// must not come back together.
    pub fn after(&self, number: u32, jitter: f64) -> Duration {
        doubled(self.first, number).min(self.most).mul_f64(0.5 + jitter / 2.0)
    }
}

/// A time that doubles from number to number, the first of which is 1.
fn doubled(first: Duration, number: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(number.saturating_sub(1)))
}

/// Whether a try that failed may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It would fail the same way, or do harm.
    Never,
    /// After a while.
    Later,
    /// After as long as the other side asks for.
    After(Duration),
}

/// A try that failed.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// What to do about it.
    pub again: Again,
}

/// Tries until it works, may not be repeated, or was tried often enough. Says what it waits for.
///
/// # Errors
/// That of the last try.
pub async fn retry<T, F>(waits: &Waits, progress: &dyn Progress, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    for number in 1.. {
        let Failure { error, again } = match attempt().await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if again == Again::Never || number >= waits.tries {
            return Err(error);
        }
        let own = waits.after(number, fastrand::f64());
        let wait = match again {
            // No longer than a person would wait: the next try says so again.
            Again::After(asked) => own.max(asked.min(waits.most.saturating_mul(4))),
            _ => own,
        };
        progress.note(&format!("{}; try {} in {:.0} s", error.on_one_line(), number + 1, wait.as_secs_f64()));
        tokio::time::sleep(wait).await;
    }
    Err(Error::bug("try something again"))
}
