//! Where a run keeps its files, and which of them outlive it.

use crate::error::Result;
use crate::landing::Landed;
use crate::source::Input;
use crate::storage::Folder;
use std::collections::BTreeMap;

/// The folders of one run, beside the target's ledger.
#[derive(Clone, Debug)]
pub struct RunFiles {
    /// The folder of what is on the local disk, or may be.
    own: Folder,
    /// Landed rows, until the run is done.
    pub landing: Folder,
    /// Staged objects, until the run is done.
    pub stage: Folder,
    /// What a person may want to look at: rejects, conflicts, suspects. It stays.
    pub kept: Folder,
    /// Of a migration what its merges have changed, and its proof. It stays.
    pub migration: Folder,
}

impl RunFiles {
    /// The folders of the run of this name.
    pub fn new(home: &Folder, work: &Folder, run_id: &str) -> RunFiles {
        let (home, own) = (home.join("runs").join(run_id), work.join("runs").join(run_id));
        RunFiles {
            landing: own.join("landing"),
            stage: home.join("stage"),
            kept: home.join("rows"),
            migration: home.join("migration"),
            own,
        }
    }

    /// Whether all files of a landing are there, with their sizes, and inputs that were landed by reference unchanged.
    /// A landing from before the warehouse's folder was moved is not: it names its files where they were.
    ///
    /// # Errors
    /// What the store says.
    pub async fn has_landed(&self, landed: &Landed, inputs: &[Input]) -> Result<bool> {
        for file in &landed.files {
            if file.by_reference {
                let same = |input: &Input| {
                    input.full_url() == file.url
                        && input.size_bytes == file.size_bytes
                        && input.last_modified_us == file.last_modified_us
                };
                if !inputs.iter().any(same) {
                    return Ok(false);
                }
                continue;
            }
            let name = name_of(&file.url);
            match self.landing.head(name).await? {
                Some(meta) if meta.size == file.size_bytes && file.url == self.landing.url_of(name) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Moves the rejects of a landing to where they outlive it. Gives their new URLs.
    ///
    /// # Errors
    /// What the store says.
    pub async fn keep_rejects(&self, landed: &Landed) -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for url in &landed.rejects {
            let name = name_of(url);
            self.landing.move_to(&self.kept, name).await?;
            kept.push(self.kept.url_of(name));
        }
        Ok(kept)
    }

    /// Of the files of rows that an earlier try of the run has put aside, by what they hold, those that are still
    /// there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn still_kept(&self, files: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let mut kept = BTreeMap::new();
        for (what, url) in files {
            let name = name_of(url);
            if self.kept.head(name).await?.is_some() {
                kept.insert(what.clone(), self.kept.url_of(name));
            }
        }
        Ok(kept)
    }

    /// Removes what nobody needs once the run is done; the staged objects only where they are not to be kept.
    ///
    /// # Errors
    /// What the store says.
    pub async fn clear_work(&self, keeps_staged: bool) -> Result<()> {
        self.landing.clear().await?;
        if !keeps_staged {
            self.stage.clear().await?;
        }
        self.own.drop_empty();
        Ok(())
    }
}

/// An object's own name.
fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}
