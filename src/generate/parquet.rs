//! Rows as Parquet files.

use super::chance::Shuffle;
use super::timeline::{RUNS, Row, Timeline};
use super::{Planted, Profile, Recipe};
use crate::dataset::Dataset;
use crate::error::{Doing, Error, Result};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::SchemaRef;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows that are turned into arrays at a time.
const BATCH_ROWS: usize = 8_192;

/// Writes the rows of a recipe as Parquet files into a folder and says what was planted.
///
/// `rerun` makes `run-1-000.parquet` and so on, `spread` makes `part-000.parquet` and so on. The files have the types
/// of the `trades` contract, yet wallets of mixed case among them (kind h), which a landing has to fold.
///
/// # Errors
/// Usage, when the recipe makes no sense; else what the file system says.
pub fn generate(recipe: &Recipe, folder: &Path) -> Result<Planted> {
    let timeline = Timeline::new(recipe)?;
    let schema = Arc::clone(Dataset::built_in("trades")?.schema());
    std::fs::create_dir_all(folder).doing("make a folder for trades")?;
    let runs = match recipe.profile {
        Profile::Rerun => usize::from(RUNS),
        Profile::Spread => 1,
    };
    let (files, next) = (recipe.files as usize, AtomicUsize::new(0));
    // Each file is known from its number alone, so threads take the next one until none is left.
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs * files {
                return Ok(());
            }
            write_file(recipe, &timeline, &schema, folder, (number / files, number % files))?;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(runs * files);
    std::thread::scope(|scope| {
        let workers = (0..threads).map(|_| scope.spawn(work)).collect::<Vec<_>>();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended.map(|end| end.unwrap_or_else(|_| Err(Error::bug("generate trades")))).collect::<Result<Vec<()>>>()
    })?;
    Ok(timeline.planted())
}

/// One file: row groups of the stretches (`rerun`) or places (`spread`) that fall to it.
fn write_file(
    recipe: &Recipe,
    timeline: &Timeline,
    schema: &SchemaRef,
    folder: &Path,
    (run, file): (usize, usize),
) -> Result<()> {
    let (name, total) = match recipe.profile {
        Profile::Rerun => (format!("run-{}-{file:03}.parquet", run + 1), timeline.keys()),
        Profile::Spread => (format!("part-{file:03}.parquet"), recipe.rows),
    };
    let group = recipe.row_group_rows as u64;
    let (groups, files) = (total.div_ceil(group), u64::from(recipe.files));
    let first = |file: usize| groups * file as u64 / files;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).doing("choose a compression")?))
        .set_max_row_group_row_count(Some(recipe.row_group_rows))
        // Hardly a value repeats there, so a dictionary would only cost time.
        .set_column_dictionary_enabled("tx_hash".into(), false)
        .set_column_dictionary_enabled("order_hash".into(), false)
        .set_column_dictionary_enabled("id".into(), false)
        // `spread` has all markets in each row group. Their texts stay in dictionaries however many they are, so that
        // more rows are not also heavier ones.
        .set_dictionary_page_size_limit(8 << 20)
        .build();
    let target = File::create(folder.join(&name)).doing("create a file of trades")?;
    let mut writer =
        ArrowWriter::try_new(target, Arc::clone(schema), Some(properties)).doing("start a Parquet file")?;
    let shuffle = Shuffle::new(recipe.seed, recipe.rows);
    for number in first(file)..first(file + 1) {
        let places = number * group..((number + 1) * group).min(total);
        match recipe.profile {
            Profile::Rerun => {
                let bit = 1u8 << run;
                let caught = places.filter(|key| timeline.runs_of(*key) & bit != 0);
                write_group(timeline, schema, &mut writer, caught.map(|key| (key, run as u8)))?;
            }
            Profile::Spread => {
                write_group(timeline, schema, &mut writer, places.map(|place| timeline.at_row(shuffle.at(place))))?;
            }
        }
    }
    writer.close().doing("finish a Parquet file")?;
    Ok(())
}

/// Writes rows as one row group.
fn write_group(
    timeline: &Timeline,
    schema: &SchemaRef,
    writer: &mut ArrowWriter<File>,
    mut rows: impl Iterator<Item = (u64, u8)>,
) -> Result<()> {
    let mut row = Row::default();
    loop {
        let mut columns = Columns::default();
        for (key, run) in rows.by_ref().take(BATCH_ROWS) {
            timeline.fill_row(key, run, &mut row);
            columns.push(&row);
        }
        let batch = columns.finish(schema)?;
        if batch.num_rows() == 0 {
            return writer.flush().doing("write a row group");
        }
        writer.write(&batch).doing("write trades")?;
    }
}

/// The columns of a batch.
#[derive(Default)]
struct Columns {
    wallet_address: StringBuilder,
    tx_hash: StringBuilder,
    order_hash: StringBuilder,
    timestamp: TimestampMicrosecondBuilder,
    log_index: Int64Builder,
    block_number: Int64Builder,
    id: StringBuilder,
    condition_id: StringBuilder,
    token_id: StringBuilder,
    token_label: StringBuilder,
    market_slug: StringBuilder,
    title: StringBuilder,
    side: StringBuilder,
    shares: Int64Builder,
    shares_normalized: Float64Builder,
    price: Float64Builder,
    taker: StringBuilder,
    source_run: StringBuilder,
    fetched_at: TimestampMicrosecondBuilder,
}

impl Columns {
    fn push(&mut self, row: &Row<'_>) {
        self.wallet_address.append_value(&row.wallet_address);
        self.tx_hash.append_value(&row.tx_hash);
        self.order_hash.append_option(row.order_hash.as_deref());
        self.timestamp.append_value(row.timestamp * 1_000_000);
        self.log_index.append_option(row.log_index);
        self.block_number.append_value(row.block_number);
        self.id.append_value(&row.id);
        self.condition_id.append_option(row.condition_id);
        self.token_id.append_value(row.token_id);
        self.token_label.append_value(row.token_label);
        self.market_slug.append_value(row.market_slug);
        self.title.append_value(row.title);
        self.side.append_value(row.side);
        self.shares.append_value(row.shares);
        self.shares_normalized.append_value(row.shares as f64 / 1e6);
        self.price.append_value(row.price);
        self.taker.append_value(&row.taker);
        self.source_run.append_value(["run-1", "run-2", "run-3"][usize::from(row.run)]);
        self.fetched_at.append_value(row.fetched_at * 1_000_000);
    }

    /// The batch in the order of the contract's columns.
    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let utc = |mut builder: TimestampMicrosecondBuilder| builder.finish().with_timezone("UTC");
        let (timestamp, fetched_at) = (utc(self.timestamp), utc(self.fetched_at));
        let columns = schema.fields().iter().map(|field| -> Result<ArrayRef> {
            Ok(match field.name().as_str() {
                "wallet_address" => Arc::new(self.wallet_address.finish()),
                "tx_hash" => Arc::new(self.tx_hash.finish()),
                "order_hash" => Arc::new(self.order_hash.finish()),
                "timestamp" => Arc::new(timestamp.clone()),
                "log_index" => Arc::new(self.log_index.finish()),
                "block_number" => Arc::new(self.block_number.finish()),
                "id" => Arc::new(self.id.finish()),
                "condition_id" => Arc::new(self.condition_id.finish()),
                "token_id" => Arc::new(self.token_id.finish()),
                "token_label" => Arc::new(self.token_label.finish()),
                "market_slug" => Arc::new(self.market_slug.finish()),
                "title" => Arc::new(self.title.finish()),
                "side" => Arc::new(self.side.finish()),
                "shares" => Arc::new(self.shares.finish()),
                "shares_normalized" => Arc::new(self.shares_normalized.finish()),
                "price" => Arc::new(self.price.finish()),
                "taker" => Arc::new(self.taker.finish()),
                "source_run" => Arc::new(self.source_run.finish()),
                "fetched_at" => Arc::new(fetched_at.clone()),
                other => return Err(Error::bug("generate a column of trades").with("column", other)),
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns).doing("make a batch of trades")
    }
}
