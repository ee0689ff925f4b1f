//! What several commands share: datasets, inputs, the engine, the target.

use super::progress::Shown;
use crate::dataset::{Dataset, parse_key, parse_order};
use crate::engine::{DataFile, Engine, EngineOptions};
use crate::error::{Doing, Error, Result};
use crate::source::{Format, Input, Local, fetch};
use crate::window::{Window, parse_us};
use arrow::datatypes::{Field, Schema, SchemaRef};
use clap::Args;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

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

/// Which dataset.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dataset")]
pub(super) struct DatasetArgs {
    /// The dataset: `trades`, `polymarket_trades`, `markets`, `events`, or the path of a contract of your own ending in
    /// .toml. Default: trades.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Another key than the contract's: columns and COALESCE(column, other, 'text'), separated by commas.
    #[arg(long, value_name = "COLUMNS")]
    key: Option<String>,
}

impl DatasetArgs {
    pub(super) fn key_chosen(&self) -> bool {
        self.key.is_some()
    }

    /// Whether there is a key and no contract to go with it.
    pub(super) fn key_only(&self) -> bool {
        self.key.is_some() && self.dataset.is_none()
    }

    /// The dataset that is named, with the key that is; nothing where neither is.
    pub(super) fn chosen(&self) -> Result<Option<Dataset>> {
        if self.dataset.is_none() && self.key.is_none() { Ok(None) } else { self.load().map(Some) }
    }

    pub(super) fn load(&self) -> Result<Dataset> {
        let name = self.dataset.as_deref().unwrap_or("trades");
        let dataset = if name.ends_with(".toml") {
            let text = std::fs::read_to_string(name).doing("read a dataset's contract").map_err(|error| {
                error.with("file", name).hint("check the path; a relative one begins in the current folder")
            })?;
            Dataset::from_toml(&text, name)?
        } else {
            Dataset::built_in(name)?
        };
        match &self.key {
            Some(key) => dataset.with_key(parse_key(key)?),
            None => Ok(dataset),
        }
    }
}

/// Key and order without a contract.
#[derive(Debug, Args)]
pub(super) struct AdHocArgs {
    /// What makes one row of a key better: columns with DESC or ASC and NULLS FIRST or NULLS LAST.
    #[arg(long, value_name = "COLUMNS", requires = "key")]
    order: Option<String>,
    /// Columns that do not count as content, separated by commas. '*': all but those of key and order, so that rows
    /// which tie are all the same; nothing else has to be read to find duplicates then.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "key")]
    volatile: Vec<String>,
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
    /// How much memory the work may take before it waits on disk, such as 2GB. Default: half of what there is. dedup
    /// and analyze stay below it plus 0.5GB; the plans of DataFusion that a merge uses account for most of it, not for
    /// all.
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

/// Parquet files as they are, with a dataset made of their columns.
pub(super) struct AdHoc {
    pub(super) dataset: Dataset,
    pub(super) files: Vec<DataFile>,
    pub(super) rows: u64,
    pub(super) rows_by_file: BTreeMap<String, u64>,
    /// What was fetched stays as long as it may be read.
    _copies: Vec<Local>,
}

impl AdHocArgs {
    /// Whether there is something that only files without a contract can have.
    pub(super) fn is_given(&self) -> bool {
        self.order.is_some() || !self.volatile.is_empty()
    }

    /// Fetches the files and reads their footers. Key and order are those of the flags, or else those of `dataset`.
    pub(super) async fn read(&self, inputs: Vec<Input>, named: &DatasetArgs) -> Result<AdHoc> {
        if let Some(input) = inputs.iter().find(|input| input.format != Format::Parquet) {
            return Err(Error::usage("read a file without a contract")
                .with("file", &input.url)
                .because(format!("it is {}, and only Parquet says what its columns are", input.format))
                .hint("leave --order and --volatile out and give a contract with --dataset"));
        }
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let (mut files, mut copies, mut rows_by_file) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut fetched = std::pin::pin!(fetch(futures::stream::iter(inputs.into_iter().map(Ok))));
        while let Some((input, local)) = fetched.try_next().await? {
            let (schema, rows, file) = footer(&input, &local)?;
            merge_fields(&mut fields, &schema, &input.url)?;
            *rows_by_file.entry(input.url).or_default() += rows;
            files.push(file);
            copies.push(local);
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let order = self.order.as_deref().map(parse_order).transpose()?;
        let (key, order, volatile) = match &named.key {
            Some(key) if named.key_only() => (parse_key(key)?, order.unwrap_or_default(), self.volatile.clone()),
            _ => {
                let contract = named.load()?;
                let there = |name: &String| schema.column_with_name(name).is_some();
                let volatile = contract.volatile.into_iter().filter(there).chain(self.volatile.iter().cloned());
                (contract.key, order.unwrap_or(contract.order), volatile.collect())
            }
        };
        let dataset = Dataset::ad_hoc(schema, key, order, volatile)?;
        Ok(AdHoc { dataset, files, rows: rows_by_file.values().sum(), rows_by_file, _copies: copies })
    }
}

/// A file's columns and rows, as its footer says, and the file itself as it lies on the local disk.
fn footer(input: &Input, local: &Local) -> Result<(SchemaRef, u64, DataFile)> {
    let doing = "open a Parquet file";
    let file = std::fs::File::open(local.path()).doing(doing).map_err(|error| error.with("file", &input.url))?;
    let size_bytes = file.metadata().doing(doing).map_err(|error| error.with("file", &input.url))?.len();
    let metadata = crate::footer::read(&file).map_err(|error| {
        Error::data("read a Parquet file's footer")
            .with("file", &input.url)
            .because(error)
            .hint("the file is cut short or damaged: fetch it again")
    })?;
    let rows = metadata.metadata().file_metadata().num_rows().max(0) as u64;
    let url = Url::from_file_path(local.path()).map_err(|()| Error::bug(doing).with("file", &input.url))?;
    let file = DataFile { url: url.into(), label: input.url.clone(), size_bytes };
    Ok((Arc::clone(metadata.schema()), rows, file))
}

fn merge_fields(fields: &mut Vec<Arc<Field>>, schema: &Schema, url: &str) -> Result<()> {
    for field in schema.fields() {
        match fields.iter().find(|known| known.name() == field.name()) {
            None => fields.push(Arc::new(field.as_ref().clone().with_nullable(true))),
            Some(known) if known.data_type() == field.data_type() => {}
            Some(known) => {
                return Err(Error::usage("read files together")
                    .with("file", url)
                    .with("column", field.name())
                    .because(format!("it is {} here and {} in another file", field.data_type(), known.data_type())));
            }
        }
    }
    Ok(())
}
