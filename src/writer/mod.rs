//! One writer of a target at a time: on one machine by a lock, on several by a lease.

mod lease;
mod lock;
mod turns;

pub use lease::{Lease, Terms, WAITING};
pub use lock::{WriterLock, lock};
pub use turns::{Claim, Seat, Turns};

use crate::error::{Doing, Error, Result};
use crate::ledger::Holder;
use std::path::Path;

/// This process as a writer that works in `folder`, whose lock it holds.
///
/// # Errors
/// When the folder can't be written to.
pub fn holder(folder: &Path) -> Result<Holder> {
    let host = sysinfo::System::host_name().unwrap_or_else(|| "an unnamed host".into());
    Ok(Holder { name: format!("process {} on {host}", std::process::id()), work_id: work_id(folder)? })
}

/// The name of a folder that no other has, made when it is asked for first.
fn work_id(folder: &Path) -> Result<String> {
    let path = folder.join("id");
    match std::fs::read_to_string(&path) {
        Ok(id) if id.len() == 32 => return Ok(id),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).doing("read the name of the folder for landed rows");
        }
        // None yet, or one that was cut short.
        _ => {}
    }
    let id = format!("{:032x}", fastrand::u128(..));
    let written = std::fs::write(&path, &id).doing("name the folder for landed rows");
    written.map_err(|error: Error| error.with("file", path.display()).in_folder(folder.display()))?;
    Ok(id)
}
