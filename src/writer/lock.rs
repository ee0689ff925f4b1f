//! A lock of the operating system, which dies with its process.

use crate::error::{Doing, Error, Kind, Result};
use crate::progress::Progress;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

/// Held while the process writes; given back when it is dropped, however the process ends.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
}

/// Takes the lock, waiting for another writer up to `wait`.
///
/// # Errors
/// Busy, when the other writer is not done in time.
pub async fn lock(path: &Path, wait: Duration, progress: &dyn Progress) -> Result<WriterLock> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).doing("make a folder for the writer's lock")?;
    }
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).doing("open the writer's lock")?;
    let begun = Instant::now();
    // Held while it waits: it dies with the process, too.
    let mut waiting = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(WriterLock { _file: file }),
            Err(TryLockError::Error(error)) => return Err(error).doing("take the writer's lock"),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= wait => {
                return Err(Error::new(Kind::Busy, "take the writer's lock")
                    .with("lock", path.display())
                    .because(format!("another writer holds it; waited {} s", wait.as_secs()))
                    .hint("wait until the other run is done, or give it longer with --wait"));
            }
            Err(TryLockError::WouldBlock) => {
                if waiting.is_none() {
                    progress.note("another writer holds the target: waiting for it");
                    let sign = waiting_file(path)?;
                    sign.lock_shared().doing("show that somebody waits")?;
                    waiting = Some(sign);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether somebody waits for the lock.
///
/// # Errors
/// What the disk says.
pub(super) fn is_awaited(path: &Path) -> Result<bool> {
    match waiting_file(path)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).doing("look whether somebody waits"),
    }
}

/// The file that those who wait share.
fn waiting_file(path: &Path) -> Result<File> {
    let path = path.with_extension("waiting");
    OpenOptions::new().create(true).truncate(false).write(true).open(path).doing("open the file of those who wait")
}
