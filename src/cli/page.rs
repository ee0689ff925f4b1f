//! The page that an analysis is written as.

use super::common::{Draft, World};
use super::progress::Shown;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::report::{Analysis, analysis_html};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// What the program does when it does this.
const DOING: &str = "write an analysis as a page";
/// Of the files that somebody has named, how many a page names.
const NAMED: usize = 3;

/// The file of `--html`.
pub(super) struct Page {
    file: PathBuf,
    progress: Arc<Shown>,
}

impl Page {
    /// The page, where one is wanted. Makes sure that it can be written, before there is anything to lose.
    ///
    /// # Errors
    /// Usage, when there is no such folder, or the file is a folder; and what the disk says.
    pub(super) fn wanted(file: Option<&Path>, world: &World) -> Result<Option<Page>> {
        let Some(file) = file else { return Ok(None) };
        Draft::begin(file, DOING)?;
        Ok(Some(Page { file: file.to_path_buf(), progress: Arc::clone(&world.progress) }))
    }

    /// Refuses a page in the place of an input, which is a file or a table's folder.
    ///
    /// # Errors
    /// Usage, when it is there.
    pub(super) fn must_not_replace<'a>(&self, inputs: impl IntoIterator<Item = &'a str>) -> Result<()> {
        // One that is not there yet is no input.
        let Ok(place) = std::fs::canonicalize(&self.file) else { return Ok(()) };
        for input in inputs {
            let url = Url::parse(input).ok().filter(|url| url.scheme() == "file");
            let path = url.and_then(|url| url.to_file_path().ok()).unwrap_or_else(|| input.into());
            let Ok(path) = std::fs::canonicalize(path) else { continue };
            if place.starts_with(&path) {
                let what = if place == path { "the input" } else { "a file of the table" };
                return Err(Error::usage(DOING)
                    .with("file", self.file.display())
                    .because(format!("it is {what} {input}, which would be lost"))
                    .hint("give the page another name"));
            }
        }
        Ok(())
    }

    /// Writes the page, in one step, and gives its place; `about` says which rows were analysed.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn write(&self, report: &Analysis, about: &str) -> Result<String> {
        Draft::begin(&self.file, DOING)?.finish(&analysis_html(report, about))?;
        let place = self.file.display().to_string();
        self.progress.note(&format!("the page is {place}"));
        Ok(place)
    }
}

/// The inputs that somebody has named, in the words in which they did; of many the first.
pub(super) fn named(files: &[String]) -> String {
    let first = files[..files.len().min(NAMED)].join(", ");
    match files.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
