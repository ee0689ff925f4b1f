//! Which table is written to: in the embedded warehouse, or in BigQuery.

use super::access::{AccessArgs, open_stage};
use super::common::World;
use crate::dataset::Dataset;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::ledger::{Holder, Ledger};
use crate::migrate::settle_swap;
use crate::progress::Progress;
use crate::storage::Folder;
use crate::warehouse::Warehouse;
use crate::warehouse::bigquery::{Access, BigQueryWarehouse, Layout, Options, Place, SCHEME, TableName};
use crate::warehouse::local::DeltaWarehouse;
use crate::writer::{Claim, Seat, Terms, holder, lock};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which table.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// The folder of the embedded warehouse, or bigquery://project.dataset; the table is named for the dataset.
    #[arg(long, default_value = "lake", value_name = "PLACE")]
    warehouse: String,
    #[command(flatten)]
    bigquery: BigQueryArgs,
}

/// Settings of a target in BigQuery.
#[derive(Debug, Args)]
#[command(next_help_heading = "BigQuery")]
pub(super) struct BigQueryArgs {
    /// Where winners are staged and the ledger is kept, such as gs://bucket/prefix; always the same for a table.
    #[arg(long, value_name = "URL")]
    stage: Option<String>,
    /// The local folder for landed rows while a run works.
    #[arg(long, default_value = ".tradefold", value_name = "FOLDER")]
    work: String,
    #[command(flatten)]
    access: AccessArgs,
    /// The most bytes that one query may bill; a MERGE that would bill more is refused before it runs.
    #[arg(long, value_name = "BYTES")]
    pub(super) max_bytes_billed: Option<u64>,
    /// What a TiB costs that is billed, for the prices in reports.
    #[arg(long, value_name = "PRICE", default_value_t = 6.25, value_parser = parse_price)]
    pub(super) price_per_tib: f64,
    /// Add the contract's columns that the table lacks, as NULLABLE ones.
    #[arg(long)]
    allow_field_addition: bool,
    /// Make the table so that queries have to name the days that they read.
    #[arg(long)]
    require_partition_filter: bool,
    /// Make the table without partitions, only clustered.
    #[arg(long)]
    unpartitioned: bool,
}

/// A table that may be written to, and the folders that belong to it.
pub(super) struct Target {
    pub(super) warehouse: Box<dyn Warehouse>,
    /// What is kept beside it: the ledger, the stage, rows to look at.
    pub(super) home: Folder,
    /// Where landed rows are while a run works.
    pub(super) work: Folder,
}

/// The right to write to a target, and its ledger.
pub(super) struct Writer {
    pub(super) ledger: Ledger,
    /// Whoever works for long gives it away now and then.
    pub(super) seat: Seat,
}

impl Target {
    /// A table of the embedded warehouse in a folder of the local disk; it need not be there yet.
    fn in_lake(warehouse: &str, engine: &Engine, dataset: &Arc<Dataset>) -> Result<Target> {
        let lake = open_lake(warehouse, dataset)?;
        let warehouse = Box::new(DeltaWarehouse::new(engine.clone(), Arc::clone(dataset), lake.table));
        Ok(Target { warehouse, work: lake.home.clone(), home: lake.home })
    }

    /// The folder of the local disk that whoever writes to it works in.
    fn desk(&self) -> Result<PathBuf> {
        let on_disk = || Error::bug("take the target").because("the folder for landed rows is not on the local disk");
        self.work.local_path().ok_or_else(on_disk)
    }

    /// This process, as others see it that have to wait for it. Whoever asks has taken the target.
    pub(super) fn holder(&self) -> Result<Holder> {
        holder(&self.desk()?)
    }

    /// Takes the target, and waits for other writers up to `wait`.
    pub(super) async fn take(&self, wait: Duration, world: &World) -> Result<Writer> {
        let begun = Instant::now();
        let path = self.desk()?.join("lock");
        let lock = lock(&path, wait, world.progress.as_ref()).await?;
        let mut ledger = Ledger::open(self.home.join("ledger"), nonce(world)).await?;
        let holder = match self.home.local_path() {
            // The lock lies beside the ledger.
            Some(_) => None,
            None => Some(self.holder()?),
        };
        let progress = Arc::clone(&world.progress) as Arc<dyn Progress>;
        let claim = Claim { lock: path, holder, terms: Terms::usual(wait), now_us: world.now_us, progress };
        let seat = Seat::take(claim, wait.saturating_sub(begun.elapsed()), lock, &mut ledger).await?;
        // Before anything else: somebody may have died between the renames of a swap.
        settle_swap(self.warehouse.as_ref(), &mut ledger, world.progress.as_ref(), (world.now_us)()).await?;
        Ok(Writer { ledger, seat })
    }
}

impl Writer {
    /// Gives the target back after what was done with it, well or not.
    pub(super) async fn done<T>(self, outcome: Result<T>) -> Result<T> {
        let released = self.seat.release().await;
        // What went wrong before is what there is to say.
        let value = outcome?;
        released.map(|()| value)
    }
}

/// A name that no other writer has: the process and the moment.
pub(super) fn nonce(world: &World) -> String {
    format!("{}-{}", std::process::id(), (world.now_us)())
}

impl TargetArgs {
    /// Opens the table, which need not be there yet.
    pub(super) async fn open(&self, engine: &Engine, dataset: &Arc<Dataset>, world: &World) -> Result<Target> {
        self.bigquery.target(&self.warehouse, engine, dataset, world, Options::default()).await
    }

    /// The same, for who only compares rows with those of the table.
    pub(super) async fn open_to_compare(
        &self,
        engine: &Engine,
        dataset: &Arc<Dataset>,
        world: &World,
    ) -> Result<Target> {
        let options = Options { only_compares: true, ..Options::default() };
        self.bigquery.target(&self.warehouse, engine, dataset, world, options).await
    }

    /// The settings of BigQuery.
    pub(super) fn bigquery(&self) -> &BigQueryArgs {
        &self.bigquery
    }

    /// A dataset's table, in the words in which somebody has named it.
    pub(super) fn shown(&self, dataset: &str) -> String {
        format!("the table {dataset} of {}", self.warehouse)
    }

    /// The folder of a dataset's table, where that is one of the local disk.
    pub(super) fn folder(&self, dataset: &Dataset) -> Result<Option<Folder>> {
        if self.warehouse.starts_with(SCHEME) {
            return Ok(None);
        }
        open_lake(&self.warehouse, dataset).map(|lake| Some(lake.table))
    }

    /// The place of the table in BigQuery and how it is made, if it is there.
    pub(super) fn place(&self) -> Result<Option<(Place, Layout)>> {
        let place = self.warehouse.starts_with(SCHEME).then(|| Place::parse(&self.warehouse)).transpose()?;
        Ok(place.map(|place| (place, self.bigquery.layout())))
    }
}

impl BigQueryArgs {
    /// How BigQuery is asked for the table `place`, and the folder that it is exported to.
    pub(super) fn export(&self, place: &str, world: &World) -> Result<(Access, Folder)> {
        self.access.export(self.stage.as_deref(), place, world)
    }

    fn layout(&self) -> Layout {
        Layout { is_unpartitioned: self.unpartitioned, requires_partition_filter: self.require_partition_filter }
    }

    /// Opens a table of the embedded warehouse or of BigQuery, which need not be there yet. Of `options` those are
    /// taken that no flag has.
    pub(super) async fn target(
        &self,
        warehouse: &str,
        engine: &Engine,
        dataset: &Arc<Dataset>,
        world: &World,
        options: Options,
    ) -> Result<Target> {
        if !warehouse.starts_with(SCHEME) {
            return Target::in_lake(warehouse, engine, dataset);
        }
        let place = place_of(warehouse, dataset)?;
        let stage = open_stage(self.stage.as_deref(), warehouse, "BigQuery loads from Cloud Storage", world)?;
        let access = Access {
            max_billed_bytes: self.max_bytes_billed,
            price_per_tib: self.price_per_tib,
            ..self.access.access(world)?
        };
        let options = Options {
            layout: self.layout(),
            allows_field_addition: self.allow_field_addition,
            stage: stage.url().to_string(),
            ..options
        };
        let warehouse = BigQueryWarehouse::connect(access, Arc::clone(dataset), place.clone(), options).await?;
        let own = own_folder(&place, &dataset.name);
        let work = Folder::open(&self.work, &[])?;
        if work.local_path().is_none() {
            return Err(Error::usage("open the folder for landed rows")
                .with("folder", &self.work)
                .because("it is not on the local disk")
                .hint("give a local folder with --work"));
        }
        Ok(Target { warehouse: Box::new(warehouse), home: stage.join(&own), work: work.join(&own) })
    }
}

/// The place of a target in BigQuery, which may be named with its table.
fn place_of(warehouse: &str, dataset: &Dataset) -> Result<Place> {
    let TableName { place, table } = TableName::parse(warehouse, || Ok(dataset.name.clone()))?;
    if table == dataset.name {
        return Ok(place);
    }
    Err(Error::usage("open the warehouse")
        .with("warehouse", warehouse)
        .because(format!("the table is named for the dataset, which is `{}`", dataset.name))
        .hint("name a dataset or a contract of this name with --dataset, or leave the table out"))
}

/// The name of the folder, in a stage and among landed rows, of what belongs to a table of BigQuery.
pub(super) fn own_folder(place: &Place, table: &str) -> String {
    format!("_tradefold/{}.{}.{table}", place.project, place.dataset)
}

/// Reads a price, which may be nothing.
pub(super) fn parse_price(text: &str) -> std::result::Result<f64, String> {
    let price = text.parse::<f64>().ok().filter(|price| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| format!("`{text}` is no price: write a number such as 6.25"))
}

/// The folders of a target in an embedded warehouse.
struct Lake {
    /// The table.
    table: Folder,
    /// What tradefold keeps beside it.
    home: Folder,
}

/// Opens the embedded warehouse in a folder of the local disk.
fn open_lake(warehouse: &str, dataset: &Dataset) -> Result<Lake> {
    let lake = open_local(warehouse)?;
    Ok(Lake { table: lake.join(&dataset.name), home: lake.join("_tradefold").join(&dataset.name) })
}

/// Opens a folder of the local disk that delta-rs can find.
pub(super) fn open_local(warehouse: &str) -> Result<Folder> {
    let lake = Folder::open(warehouse, &[])?;
    let local = lake.local_path();
    if local.is_none() {
        return Err(Error::usage("open the warehouse")
            .with("warehouse", warehouse)
            .because("an embedded Delta Lake warehouse is on the local disk")
            .hint("give a folder, such as --warehouse ./lake, or bigquery://project.dataset"));
    }
    // delta-rs makes a URL of the path again, and stumbles over these.
    let path = local.map(|path| path.display().to_string()).unwrap_or_default();
    if let Some(unfit) = path.chars().find(|c| "[]|^\\%".contains(*c)) {
        return Err(Error::usage("open the warehouse")
            .with("warehouse", path)
            .because(format!("a Delta table can't be in a folder with `{unfit}` in its path"))
            .hint("give another folder, such as --warehouse ./lake"));
    }
    Ok(lake)
}
