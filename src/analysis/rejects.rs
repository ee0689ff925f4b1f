//! Rows that a landing has set aside, for a report.

use crate::error::{Doing, Result};
use crate::landing::Landed;
use crate::report::RejectedRow;
use crate::storage::Folder;

/// Of the rows that were set aside, how many are told one by one.
const TOLD: usize = 20;

/// The first rows that a landing has set aside, as far as they are still in the folder or below it.
///
/// # Errors
/// What the store says, and when a file holds something else.
pub async fn first_rejects(landed: &Landed, folder: &Folder) -> Result<Vec<RejectedRow>> {
    #[derive(serde::Deserialize)]
    struct Line {
        rejected: RejectedRow,
    }
    let mut rejects = Vec::new();
    for url in &landed.rejects {
        if rejects.len() == TOLD {
            break;
        }
        // A landing from before its folder was moved names what is not there any more.
        let Some(name) = url.strip_prefix(folder.url().as_str()) else { continue };
        for line in folder.first_lines(name, TOLD - rejects.len()).await? {
            let line: Line = serde_json::from_str(&line).doing("read rows that were set aside")?;
            rejects.push(line.rejected);
        }
    }
    Ok(rejects)
}
