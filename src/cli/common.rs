//! What several commands share: datasets, the engine, windows.

use super::ad_hoc::AdHocArgs;
use super::progress::Shown;
use crate::dataset::{Dataset, KeyPart, parse_key};
use crate::engine::{Engine, EngineOptions};
use crate::error::{Doing, Error, Result};
use crate::window::{Window, parse_us};
use clap::Args;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;

/// What is outside of the program.
pub(super) struct World {
    pub(super) environment: Vec<(String, String)>,
    pub(super) now_us: fn() -> i64,
    pub(super) progress: Arc<Shown>,
}

impl World {
    pub(super) fn new(environment: Vec<(String, String)>, now_us: fn() -> i64, quiet: bool) -> World {
        World { environment, now_us, progress: Arc::new(Shown::new(quiet)) }
    }
}

/// A file that is written whole or not at all: beside its place, and moved there at the end, so that nobody reads half
/// of it. One that is there already is replaced then, and one that was begun and not finished leaves nothing.
pub(super) struct Draft {
    file: NamedTempFile,
    path: PathBuf,
    doing: &'static str,
}

impl Draft {
    /// Begins a file, so that a place which can't be written to is told before there is anything to lose.
    ///
    /// # Errors
    /// Usage, when there is no such folder, or the file is a folder; and what the disk says.
    pub(super) fn begin(file: &Path, doing: &'static str) -> Result<Draft> {
        let named = |error: Error| error.with("file", file.display());
        let path = std::path::absolute(file).doing(doing).map_err(named)?;
        let folder = path.parent().unwrap_or(&path);
        if path.is_dir() {
            return Err(named(Error::usage(doing)).because("it is a folder").hint("name a file in it"));
        }
        // Whoever reads it may be another user, or take files by the end of their names.
        let all = Permissions::from_mode(0o644);
        let draft = tempfile::Builder::new().prefix(".tradefold-").suffix(".tmp").permissions(all).tempfile_in(folder);
        let file = draft.doing(doing).map_err(named).map_err(|error| error.in_folder(folder.display()))?;
        Ok(Draft { file, path, doing })
    }

    /// Writes it and moves it to its place.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn finish(mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes());
        let moved = written.and_then(|()| self.file.persist(&self.path).map_err(|error| error.error));
        let named = |error: Error| error.with("file", self.path.display());
        let folder = self.path.parent().unwrap_or(&self.path);
        moved.map(drop).doing(self.doing).map_err(named).map_err(|error| error.in_folder(folder.display()))
    }
}

/// Which dataset.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dataset")]
pub(super) struct DatasetArgs {
    /// The dataset: `trades`, `polymarket_trades`, `markets`, `events`, or the path of a contract of your own ending in
    /// .toml. Default: trades.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Another key than the contract's: columns and COALESCE(column, other, 'text'), separated by commas. For analyze
    /// and dedup it is, without --dataset, the key of files that have no contract.
    #[arg(long, value_name = "COLUMNS", group = "which_key")]
    key: Option<String>,
}

impl DatasetArgs {
    pub(super) fn key_chosen(&self) -> bool {
        self.key.is_some()
    }

    /// The key, where there is one and no contract to go with it.
    pub(super) fn key_only(&self) -> Result<Option<Vec<KeyPart>>> {
        if self.dataset.is_some() { Ok(None) } else { self.key.as_deref().map(parse_key).transpose() }
    }

    /// Whether nothing is said: it is the dataset that is taken then.
    pub(super) fn is_default(&self) -> bool {
        self.dataset.is_none() && self.key.is_none()
    }

    /// The dataset that is named, with the key that is; nothing where neither is.
    pub(super) fn chosen(&self) -> Result<Option<Dataset>> {
        if self.is_default() { Ok(None) } else { self.load().map(Some) }
    }

    pub(super) fn load(&self) -> Result<Dataset> {
        match &self.key {
            Some(key) => self.contract()?.with_key(parse_key(key)?),
            None => self.contract(),
        }
    }

    /// The dataset that is named, with its own key.
    pub(super) fn contract(&self) -> Result<Dataset> {
        let name = self.dataset.as_deref().unwrap_or("trades");
        if !name.ends_with(".toml") {
            return Dataset::built_in(name);
        }
        let text = std::fs::read_to_string(name).doing("read a dataset's contract").map_err(|error| {
            error.with("file", name).hint("check the path; a relative one begins in the current folder")
        })?;
        Dataset::from_toml(&text, name)
    }
}

/// Which rows are told apart how: for commands that read files and write no table.
#[derive(Debug, Args)]
pub(super) struct RowsArgs {
    #[command(flatten)]
    pub(super) dataset: DatasetArgs,
    #[command(flatten)]
    pub(super) ad_hoc: AdHocArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

/// How much the query engine may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Resources")]
pub(super) struct EngineArgs {
    /// How much memory the work may take before it waits on disk, such as 2GB. Default: half of what there is. dedup,
    /// analyze and diff stay below it plus 0.5GB; the plans of DataFusion that a merge uses account for most of it, not
    /// for all.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,
    /// How many threads work. Default: one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Compare keys byte by byte, in one more pass over them, and do not trust fingerprints of 128 bits alone.
    #[arg(long)]
    exact_keys: bool,
}

impl EngineArgs {
    pub(super) fn start(&self) -> Result<Engine> {
        let memory_bytes = self.memory.unwrap_or_else(|| {
            let system = sysinfo::System::new_with_specifics(
                sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::everything()),
            );
            // A container may have less than its machine.
            let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
            (system.total_memory().min(limit) / 2) as usize
        });
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.threads.map_or_else(cores, usize::from);
        Engine::new(EngineOptions { memory_bytes, threads, exact_keys: self.exact_keys })
    }
}

/// Reads `2GB`, `512MB`, `64KB` or a bare number of bytes; a unit is a power of 1,000.
fn parse_size(text: &str) -> std::result::Result<usize, String> {
    let upper = text.to_ascii_uppercase();
    let (digits, factor) = [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1), ("", 1)]
        .into_iter()
        .find_map(|(unit, factor)| upper.strip_suffix(unit).map(|digits| (digits.to_string(), factor)))
        .unwrap_or_default();
    let number: f64 = digits.trim().parse().map_err(|_| format!("`{text}` is no size: write 2GB or 512MB"))?;
    let bytes = number * f64::from(factor);
    if bytes < 32e6 { Err("at least 32MB are needed".into()) } else { Ok(bytes as usize) }
}

/// Which rows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Window")]
pub(super) struct WindowArgs {
    /// The first day or moment that is taken, such as 2025-10-01.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The first day or moment that is not taken any more.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl WindowArgs {
    pub(super) fn window(&self) -> Result<Option<Window>> {
        if self.from.is_none() && self.to.is_none() {
            return Ok(None);
        }
        let from_us = self.from.as_deref().map_or(Ok(i64::MIN), parse_us)?;
        let to_us = self.to.as_deref().map_or(Ok(i64::MAX), parse_us)?;
        match Window::new(from_us, to_us) {
            Some(window) => Ok(Some(window)),
            None => Err(Error::usage("take a window of time")
                .because("--to is not later than --from")
                .hint("--from is the first moment that is taken, --to the first that is not")),
        }
    }
}
