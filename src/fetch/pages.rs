//! Pages on the local disk, packed as they came, so that nothing is fetched twice.

use super::endpoint::Piece;
use crate::error::{Doing, Error, Result};
use crate::source::{Input, Page, page_name};
use crate::spans::Spans;
use crate::window::{SECOND_US, Window};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A page that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// Where it is.
    pub path: PathBuf,
    /// In which pass over its piece it came, from 1.
    pub pass: u32,
    /// Its place in the pass, from 1.
    pub number: u32,
    /// When it came, in microseconds since 1970-01-01 UTC.
    pub fetched_at_us: i64,
}

impl PageFile {
    /// It as an input of a landing. `passes` tells passes of a landing apart.
    ///
    /// # Errors
    /// What the file system says.
    pub fn input(&self, shown: &str, window: Option<Window>, pass: u64) -> Result<Input> {
        let page = Page { fetched_at_us: self.fetched_at_us, pass, window };
        Input::of_page(page_name(shown, self.number), &self.path, page)
    }

    /// Its body, as it came.
    ///
    /// # Errors
    /// Data, when it is damaged.
    pub fn body(&self) -> Result<Vec<u8>> {
        let packed =
            fs::read(&self.path).doing("read a fetched page").map_err(|e| e.with("file", self.path.display()))?;
        zstd::decode_all(packed.as_slice())
            .map_err(|error| Error::data("read a fetched page").with("file", self.path.display()).because(error))
    }
}

/// The pages of one piece, in a folder of their own.
#[derive(Clone, Debug)]
pub struct Pages {
    folder: PathBuf,
    files: Vec<PageFile>,
}

impl Pages {
    /// The pages of a piece that are there already, in the order in which they came. `folder` is that of a feed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path, piece: &Piece) -> Result<Pages> {
        let folder = folder.join(name_of(piece));
        let named = |error: Error| error.with("folder", folder.display()).in_folder(folder.display());
        fs::create_dir_all(&folder).doing("make a folder for pages").map_err(named)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).doing("list fetched pages").map_err(named)? {
            let path = entry.doing("list fetched pages").map_err(named)?.path();
            match parse(&path) {
                Some((pass, number, fetched_at_us)) => files.push(PageFile { path, pass, number, fetched_at_us }),
                // What a try left that died while it wrote.
                None => fs::remove_file(&path).doing("remove a part of a page").map_err(named)?,
            }
        }
        files.sort_by_key(|file| (file.pass, file.number));
        let mut pages = Pages { folder, files };
        // Pages are removed from the last one back, but who knows who else has been here.
        if let Some(hole) = pages.hole() {
            pages.cut(hole)?;
        }
        Ok(pages)
    }

    /// The pages, in the order in which they came.
    pub fn files(&self) -> &[PageFile] {
        &self.files
    }

    /// The place of the first page that does not follow the one before it.
    fn hole(&self) -> Option<usize> {
        let mut last = (0, 0);
        self.files.iter().position(|file| {
            let follows = file.number == if file.pass == last.0 { last.1 + 1 } else { 1 };
            last = (file.pass, file.number);
            !follows
        })
    }

    /// Keeps a page. It is there whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&mut self, pass: u32, body: &[u8], fetched_at_us: i64) -> Result<()> {
        let number = 1 + self.files.iter().filter(|file| file.pass == pass).count() as u32;
        let path = self.folder.join(format!("{pass:02}-{number:06}-{fetched_at_us}.json.zst"));
        let kept = || -> std::io::Result<()> {
            let mut part = tempfile::NamedTempFile::new_in(&self.folder)?;
            let mut packer = zstd::Encoder::new(part.as_file_mut(), 1)?;
            packer.include_checksum(true)?;
            packer.write_all(body)?;
            packer.finish()?;
            part.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        kept()
            .doing("keep a fetched page")
            .map_err(|error| error.with("file", path.display()).in_folder(self.folder.display()))?;
        self.files.push(PageFile { path, pass, number, fetched_at_us });
        Ok(())
    }

    /// Removes the pages from this one on, and those of later passes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn cut(&mut self, from: usize) -> Result<()> {
        // The last one first: wherever this ends, those that are left follow each other.
        while self.files.len() > from
            && let Some(file) = self.files.last()
        {
            fs::remove_file(&file.path).doing("remove a page").map_err(|e| e.with("file", file.path.display()))?;
            self.files.pop();
        }
        Ok(())
    }

    /// Removes all of them, with their folder.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(mut self) -> Result<()> {
        self.cut(0)?;
        fs::remove_dir_all(&self.folder)
            .doing("remove fetched pages")
            .map_err(|error| error.with("folder", self.folder.display()))
    }
}

/// Removes pages that nobody will go on with: of windows that were seen, and of keys. `folder` is that of a feed.
///
/// # Errors
/// What the file system says.
pub fn sweep(folder: &Path, seen: &Spans) -> Result<()> {
    let named = |error: Error| error.with("folder", folder.display());
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry.doing("list fetched pages").map_err(named)?;
        let window = entry.file_name().to_str().and_then(window_of);
        if window.is_none_or(|window| seen.missing(window).is_empty()) {
            fs::remove_dir_all(entry.path()).doing("remove fetched pages").map_err(named)?;
        }
    }
    Ok(())
}

/// The window whose pages are in a folder of this name.
fn window_of(name: &str) -> Option<Window> {
    let (from_s, to_s) = name.rsplit_once('-')?;
    Window::new(from_s.parse::<i64>().ok()? * SECOND_US, to_s.parse::<i64>().ok()? * SECOND_US)
}

/// The name of a piece's folder: the same for the same piece, however it was come by.
fn name_of(piece: &Piece) -> String {
    match piece {
        Piece::Span(window) => format!("{}-{}", window.from_us / SECOND_US, window.to_us / SECOND_US),
        Piece::Keys(keys) => blake3::hash(keys.join("\n").as_bytes()).to_hex()[..16].to_string(),
    }
}

/// Pass, number and time of a page, from its file's name.
fn parse(path: &Path) -> Option<(u32, u32, i64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json.zst")?;
    let mut parts = name.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
