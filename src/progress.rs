//! What a long piece of work says of itself. The library never talks to a terminal: the command line listens here.

use crate::error::{Doing, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Takes word of how far the work is. Calls come from any thread, and in any number.
pub trait Progress: Send + Sync {
    /// A step of the work begins. `total` is in the step's own units (rows, files, batches), where it is known.
    fn begin(&self, step: &str, total: Option<u64>);
    /// The current step is `done` units further.
    fn advance(&self, done: u64);
    /// Something that a person should read, as one line without a full stop.
    fn note(&self, line: &str);
}

/// How long a step still takes that has done so much of its work in this time, if it goes on as it did. Nothing, where
/// nothing is done yet, all is, or more than was said.
pub fn left(elapsed: Duration, done: u64, total: u64) -> Option<Duration> {
    let open = total.checked_sub(done).filter(|open| *open > 0 && done > 0)?;
    Some(elapsed.mul_f64(open as f64 / done as f64))
}

/// How often progress of a thread that blocks is passed on.
const TICK: Duration = Duration::from_millis(100);

/// Does work that blocks in a thread of its own, and passes on how far it is. Steps and notes of it are not.
///
/// # Errors
/// What the work says.
pub async fn off_thread<R: Send + 'static>(
    progress: &dyn Progress,
    work: impl FnOnce(&dyn Progress) -> Result<R> + Send + 'static,
) -> Result<R> {
    let told = Arc::new(Told::default());
    let listener = Arc::clone(&told);
    let mut working = tokio::task::spawn_blocking(move || work(listener.as_ref()));
    let result = loop {
        tokio::select! {
            result = &mut working => break result.doing("wait for a thread")?,
            () = tokio::time::sleep(TICK) => progress.advance(told.0.swap(0, Ordering::Relaxed)),
        }
    };
    progress.advance(told.0.swap(0, Ordering::Relaxed));
    result
}

/// Adds up what a thread that blocks says of its progress.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl Progress for Told {
    fn begin(&self, _step: &str, _total: Option<u64>) {}

    fn advance(&self, done: u64) {
        self.0.fetch_add(done, Ordering::Relaxed);
    }

    fn note(&self, _line: &str) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _total: Option<u64>) {}
    fn advance(&self, _done: u64) {}
    fn note(&self, _line: &str) {}
}
