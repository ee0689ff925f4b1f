//! What only folders of the local disk can do.

use super::Folder;
use crate::error::{Doing, Error, Result};
use object_store::path::Path;

impl Folder {
    /// Renames the folder, with all that is in it, in one step. Both are on the local disk.
    ///
    /// # Errors
    /// Usage, where there is something of the new name; and what the disk says.
    pub fn rename_to(&self, other: &Folder) -> Result<()> {
        let doing = "rename a folder";
        let (Some(from), Some(to)) = (self.local_path(), other.local_path()) else {
            return Err(Error::bug(doing).with("folder", &self.url).because("it is not on a disk"));
        };
        if to.symlink_metadata().is_ok() {
            return Err(Error::usage(doing)
                .with("folder", from.display())
                .with("to", to.display())
                .because("there is something of this name")
                .hint("move that away, then run the same command again"));
        }
        std::fs::rename(&from, &to).doing(doing).map_err(|error| error.with("folder", from.display()))
    }

    /// Removes all that is in the folder and below. On the local disk the folders go as well, and what a store does not
    /// list: files whose writer was killed.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub async fn remove_all(&self) -> Result<()> {
        let Some(path) = self.local_path() else { return self.clear().await };
        let doing = "remove a folder";
        let found = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            found => found.doing(doing),
        };
        for entry in found.map_err(|error| error.with("folder", path.display()))? {
            let entry = entry.doing(doing)?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            let removed = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.doing(doing).map_err(|error| error.with("path", path.display()))?;
        }
        self.drop_empty();
        Ok(())
    }

    /// The folder `name` beside this one; `name` may have several parts.
    #[must_use]
    pub fn beside(&self, name: &str) -> Folder {
        let mut url = self.url.clone();
        let above = url.path().trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above).to_string();
        url.set_path(&above);
        let mut parts: Vec<_> = self.prefix.parts().collect();
        parts.pop();
        let prefix: Path = parts.into_iter().collect();
        Folder { store: std::sync::Arc::clone(&self.store), url, prefix }.join(name)
    }

    /// Removes the folders of the local disk, this one and those below, in which no file is left. An object store has
    /// none: its folders are only names.
    pub fn drop_empty(&self) {
        if let Some(path) = self.local_path() {
            drop_empty(&path);
        }
    }
}

fn drop_empty(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            drop_empty(&entry.path());
        }
    }
    // Refused where something is in it, and then it has to stay.
    let _ = std::fs::remove_dir(folder);
}
