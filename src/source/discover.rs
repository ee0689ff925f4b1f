//! From what a person wrote (files, folders, globs, URLs) to a sorted list of inputs.

use super::{Format, Input, Place, look};
use crate::error::{Doing, Error, Result};
use crate::storage::Folder;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStoreExt};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FORMATS: &str = "known are .parquet and .ndjson, .jsonl, .json, .csv, these also with .gz or .zst";

/// Finds the files that `patterns` name: a file, a folder (with all below it, save names that begin with a dot or an
/// underscore), or a glob; on the local disk or, as a URL, in an object store that `options` open.
///
/// The inputs are sorted by what they are called and none is there twice. In folders and globs, files of an unknown
/// format are passed over.
///
/// # Errors
/// Usage, where a file is missing, a folder or a glob has nothing to read, or a named file is of an unknown format.
pub async fn discover(patterns: &[String], options: &[(String, String)]) -> Result<Vec<Input>> {
    // By the place of the bytes, so that a file that two patterns name, or a link, is there once.
    let mut found: BTreeMap<String, Input> = BTreeMap::new();
    for pattern in patterns {
        let mut search = Search { pattern, inputs: Vec::new(), unknown: Vec::new() };
        if pattern.contains("://") && !pattern.starts_with("file://") {
            search.remote(options).await?;
        } else {
            search.local()?;
        }
        for input in search.finish()? {
            let place = match &input.place {
                Place::Local(path) => path.display().to_string(),
                Place::Remote(object) => object.url().to_string(),
            };
            found
                .entry(place)
                .and_modify(|known| known.url = known.url.clone().min(input.url.clone()))
                .or_insert(input);
        }
    }
    let mut inputs: Vec<Input> = found.into_values().collect();
    inputs.sort_by(|a, b| a.url.cmp(&b.url));
    Ok(inputs)
}

/// What one pattern has found so far.
struct Search<'a> {
    pattern: &'a str,
    inputs: Vec<Input>,
    /// Names of files that were passed over.
    unknown: Vec<String>,
}

impl Search<'_> {
    fn local(&mut self) -> Result<()> {
        let named = match self.pattern.starts_with("file://") {
            true => Folder::open(self.pattern, &[])?.local_path().ok_or_else(|| self.missing())?,
            false => PathBuf::from(self.pattern),
        };
        // A name that exists is never a glob, whatever characters are in it.
        if named.is_dir() {
            return self.walk(&named);
        }
        if named.exists() {
            return self.add_local(&named, true);
        }
        if !self.pattern.contains(['*', '?', '[']) {
            return Err(self.missing());
        }
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let pattern = named.to_string_lossy();
        let paths = glob::glob_with(&pattern, options).map_err(|error| self.failed().because(error))?;
        for path in paths {
            let path = path.doing("look for inputs").map_err(|error| error.with("input", self.pattern))?;
            if path.is_dir() {
                self.walk(&path)?;
            } else {
                self.add_local(&path, false)?;
            }
        }
        Ok(())
    }

    fn walk(&mut self, folder: &Path) -> Result<()> {
        let named = |error: Error| error.with("folder", folder.display());
        if folder.join("_delta_log").is_dir() {
            return Err(self.table(&folder.display().to_string()));
        }
        for entry in std::fs::read_dir(folder).doing("list a folder").map_err(named)? {
            let entry = entry.doing("list a folder").map_err(named)?;
            if is_hidden(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let kind = entry.file_type().doing("list a folder").map_err(named)?;
            if kind.is_symlink() && !entry.path().is_file() {
                let what = if entry.path().is_dir() { "a folder" } else { "nothing that is there" };
                return Err(self
                    .failed()
                    .because(format!("{} is a link to {what}", entry.path().display()))
                    .hint("links to folders are not followed, since they may lead in a circle: name the folder itself, or remove the link"));
            }
            if kind.is_dir() {
                self.walk(&entry.path())?;
            } else if entry.path().is_file() {
                self.add_local(&entry.path(), false)?;
            }
        }
        Ok(())
    }

    fn add_local(&mut self, path: &Path, by_name: bool) -> Result<()> {
        let url = path.display().to_string();
        let Some((format, compression)) = self.format(&url, by_name)? else { return Ok(()) };
        let (place, size_bytes, last_modified_us) = look(path).map_err(|error| error.with("file", &url))?;
        let (is_utc, page) = (false, None);
        self.inputs.push(Input { url, size_bytes, last_modified_us, format, compression, page, is_utc, place });
        Ok(())
    }

    async fn remote(&mut self, options: &[(String, String)]) -> Result<()> {
        let is_web = self.pattern.starts_with("http");
        // In a web address `?` begins a query; elsewhere it is a wildcard, like `*` and `[`.
        let wildcard = if is_web { None } else { self.pattern.find(['*', '?', '[']) };
        let base = match wildcard {
            Some(at) => &self.pattern[..self.pattern[..at].rfind('/').unwrap_or(at)],
            None => self.pattern,
        };
        let folder = Folder::open(base, options)?;
        if wildcard.is_none() {
            match folder.store().head(&folder.path("")).await {
                Ok(meta) => return self.add_remote(folder, &meta, true),
                Err(object_store::Error::NotFound { .. }) if !is_web => {}
                Err(object_store::Error::NotFound { .. }) => return Err(self.missing()),
                Err(error) => return Err(error).doing("look at an input").map_err(|e| e.with("input", self.pattern)),
            }
        }
        let below = self.pattern[base.len()..].trim_start_matches('/');
        let glob = glob::Pattern::new(below).map_err(|error| self.failed().because(error))?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let prefix = folder.path("");
        for meta in folder.list().await.map_err(|error| error.with("input", self.pattern))? {
            let name = name_below(&meta.location, &prefix);
            if let (None, Some((above, _))) = (wildcard, format!("/{name}").split_once("/_delta_log/"))
                && !above.split('/').any(is_hidden)
            {
                return Err(self.table(&format!("{}{above}", base.trim_end_matches('/'))));
            }
            let is_wanted = match wildcard {
                Some(_) => glob.matches_with(&name, options),
                None => !name.split('/').any(is_hidden),
            };
            if is_wanted {
                self.add_remote(folder.join(&name), &meta, false)?;
            }
        }
        Ok(())
    }

    fn add_remote(&mut self, object: Folder, meta: &ObjectMeta, by_name: bool) -> Result<()> {
        let name = meta.location.filename().unwrap_or_default();
        let Some((format, compression)) = self.format(name, by_name)? else { return Ok(()) };
        self.inputs.push(Input::of_object(object, meta, format, compression));
        Ok(())
    }

    /// The format that a name tells; a name that tells none is an error only if a person gave it.
    fn format(&mut self, name: &str, by_name: bool) -> Result<Option<(Format, super::Compression)>> {
        let format = Format::of_name(name);
        if format.is_none() && by_name {
            return Err(self.failed().because("its name tells no known format").hint(FORMATS));
        }
        if format.is_none() {
            self.unknown.push(name.to_string());
        }
        Ok(format)
    }

    fn finish(mut self) -> Result<Vec<Input>> {
        if !self.inputs.is_empty() {
            return Ok(self.inputs);
        }
        if self.unknown.is_empty() {
            let why = "there is no file in it, or none that matches";
            return Err(self.failed().because(why).hint("check the path, and put a glob in quotes"));
        }
        self.unknown.sort();
        let some = self.unknown.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let why = format!("it has {} files, none of a known format: {some}", self.unknown.len());
        Err(self.failed().because(why).hint(FORMATS))
    }

    /// A folder is a Delta table.
    fn table(&self, folder: &str) -> Error {
        self.failed()
            .because(format!("{folder} is a Delta table, whose files hold rows that it has no more"))
            .hint("give the raw files, or a copy of the table's rows as Parquet")
    }

    fn missing(&self) -> Error {
        self.failed()
            .because("there is no such file or folder")
            .hint("check the path or URL; a relative path begins in the current folder")
    }

    fn failed(&self) -> Error {
        Error::usage("find an input").with("input", self.pattern)
    }
}

/// Whether a name is none of the user's data: `.git`, `_SUCCESS`, `_tradefold`.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn name_below(location: &ObjectPath, prefix: &ObjectPath) -> String {
    match location.prefix_match(prefix) {
        Some(parts) => parts.map(|part| part.as_ref().to_string()).collect::<Vec<_>>().join("/"),
        None => location.to_string(),
    }
}
