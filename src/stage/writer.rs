//! Writes winners: one Parquet file per batch and encoder, row groups of 16 MiB and more. Row groups all of whose rows
//! won are copied as they are.

use super::file::{LEVEL, ParquetFile, writer_properties};
use crate::dataset::Dataset;
use crate::dedup::Decision;
use crate::error::{Doing, Result};
use crate::footer::Dictionary;
use crate::kernel::{Decided, Unit, days};
use crate::plan::Cuts;
use crate::progress::{Progress, off_thread};
use crate::threads;
use crate::window::Day;
use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// When a row group is closed. BigQuery advises 16 MiB and more; past this much a writer takes memory and gains
/// nothing.
const ROW_GROUP_BYTES: usize = 24 << 20;
/// The least that a row group has, decoded, for being copied. Smaller ones are encoded anew, several together: BigQuery
/// advises 16 MiB and more.
const COPY_BYTES_MIN: u64 = 16 << 20;

/// Past this size a column goes on without its dictionary, where that may be large. Where thousands of long texts
/// repeat, each row would soon bring its own again with a dictionary of the usual size.
const DICTIONARY_BYTES_MAX: usize = 8 << 20;

/// How winners are written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Where batches begin.
    pub cuts: Cuts,
    /// The least that a row group has, decoded, for being copied.
    pub copy_bytes_min: u64,
    /// Whether the volatile columns of a row group that is copied are decoded, so that damage in them is found here.
    pub decode_copied: bool,
    /// The level of zstd, from 1 to 22, of what is encoded.
    pub level: i32,
}

impl WriteOptions {
    /// Batches that begin on these days, and the usual for the rest.
    pub fn new(cuts: Cuts) -> WriteOptions {
        WriteOptions { cuts, copy_bytes_min: COPY_BYTES_MIN, decode_copied: true, level: LEVEL }
    }
}

/// A file that is written, before it has a place.
#[derive(Clone, Debug)]
pub struct StagedFile {
    /// The number of the batch that it belongs to.
    pub number: usize,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Its rows.
    pub rows: u64,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// The files.
    pub files: Vec<StagedFile>,
    /// The rows of each day; `None`: no day.
    pub days: BTreeMap<Option<Day>, u64>,
    /// How many of the rows were copied with their whole row group.
    pub copied_rows: u64,
}

impl Written {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.days.values().sum()
    }
}

/// Writes a file with the columns of the dataset and no row.
///
/// # Errors
/// When the file can't be written or read back.
pub fn write_empty(dataset: &Dataset, folder: &Path) -> Result<StagedFile> {
    close(0, single(folder.join("empty.parquet"), dataset)?)
}

/// Writes the losers that know the number of a real event where their winner does not. Nothing where there are none.
///
/// # Errors
/// When an input can't be read or has changed, or the file can't be written.
pub async fn write_witnesses(decision: &Decision<'_>, dataset: &Dataset, folder: &Path) -> Result<Option<StagedFile>> {
    let mut file = None;
    let mut rows = decision.witnesses();
    while let Some(batch) = rows.try_next().await.doing("look up rows that number events")? {
        let file = match &mut file {
            Some(file) => file,
            None => file.insert(single(folder.join("witnesses.parquet"), dataset)?),
        };
        // Where they came from is said in the columns after the dataset's.
        file.encode(&batch)?;
    }
    file.map(|file| close(0, file)).transpose()
}

fn single(path: PathBuf, dataset: &Dataset) -> Result<ParquetFile> {
    ParquetFile::create(path, dataset.schema(), writer_properties(LEVEL)?.build())
}

fn close(number: usize, file: ParquetFile) -> Result<StagedFile> {
    let (path, rows) = file.finish()?;
    let size_bytes = std::fs::metadata(&path).doing("look at a file of winners")?.len();
    Ok(StagedFile { number, path, size_bytes, rows })
}

/// Takes winners in any order and writes each into the file of its batch.
#[derive(Debug)]
pub struct Router {
    schema: SchemaRef,
    partition: Option<usize>,
    /// The places of the columns that are not compared.
    volatile: Vec<usize>,
    options: WriteOptions,
    dictionaries: HashMap<ColumnPath, Dictionary>,
    folder: PathBuf,
    number: usize,
    held_bytes_max: usize,
    files: BTreeMap<usize, ParquetFile>,
    /// Rows by day.
    days: BTreeMap<Option<Day>, u64>,
    copied_rows: u64,
}

impl Router {
    /// Writes into `folder` of the local disk; `number` tells the files of several routers apart.
    pub fn new(dataset: &Dataset, options: WriteOptions, folder: &Path, number: usize) -> Router {
        let schema = dataset.schema();
        let partition = dataset.partition.as_ref().and_then(|name| schema.index_of(name).ok());
        let is_volatile = |place: &usize| dataset.volatile.contains(schema.field(*place).name());
        Router {
            schema: SchemaRef::clone(schema),
            partition,
            volatile: (0..schema.fields().len()).filter(is_volatile).collect(),
            options,
            dictionaries: HashMap::new(),
            folder: folder.to_path_buf(),
            number,
            held_bytes_max: usize::MAX,
            files: BTreeMap::new(),
            days: BTreeMap::new(),
            copied_rows: 0,
        }
    }

    /// The same router, with a limit to what its open row groups may hold: past it the largest is written, however
    /// small.
    #[must_use]
    pub fn with_held_bytes(mut self, most: usize) -> Router {
        self.held_bytes_max = most;
        self
    }

    /// The same router, with a choice for some columns; the others have a dictionary of the usual size.
    #[must_use]
    pub fn with_dictionaries(mut self, dictionaries: HashMap<ColumnPath, Dictionary>) -> Router {
        self.dictionaries = dictionaries;
        self
    }

    /// What the open row groups hold, as their encoders estimate it.
    pub fn held_bytes(&self) -> usize {
        self.files.values().map(ParquetFile::held_bytes).sum()
    }

    /// Takes winners with the columns of the dataset; texts may be views or dictionaries.
    ///
    /// # Errors
    /// When they can't be encoded or written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(partition) = self.partition else {
            *self.days.entry(None).or_default() += batch.num_rows() as u64;
            return self.write(0, batch);
        };
        let days = days(batch.column(partition))?;
        let mut rows: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let day = days.is_valid(row).then(|| Day(days.value(row)));
            *self.days.entry(day).or_default() += 1;
            rows.entry(self.options.cuts.batch_of(day)).or_default().push(row as u32);
        }
        if rows.len() == 1 {
            return rows.keys().try_for_each(|&number| self.write(number, batch));
        }
        rows.into_iter().try_for_each(|(number, rows)| {
            let part = take_record_batch(batch, &UInt32Array::from(rows)).doing("split winners by batch")?;
            self.write(number, &part)
        })
    }

    /// Takes the winners of a unit.
    fn take(&mut self, decided: &Decided, at: usize, unit: &Unit) -> Result<()> {
        let winners = decided.verdict.winners.of(unit.places());
        if unit.rows > 0 && winners.count_set_bits() == unit.rows && self.copy(decided, at, unit)? {
            return Ok(());
        }
        for batch in decided.kernel.input().read(unit, &decided.kernel.schema_of(unit), Some(winners))? {
            self.push(&batch?)?;
        }
        Ok(())
    }

    /// Copies a unit all of whose rows won, where it is one batch's and worth it. Says whether it was.
    fn copy(&mut self, decided: &Decided, at: usize, unit: &Unit) -> Result<bool> {
        let group = decided.kernel.input().footer(unit.file).row_group(unit.group);
        if u64::try_from(group.total_byte_size()).unwrap_or(0) < self.options.copy_bytes_min {
            return Ok(false);
        }
        let mut days: BTreeMap<Option<Day>, u64> = BTreeMap::new();
        match (self.partition, &decided.verdict.unit_days[at]) {
            (None, _) => {
                days.insert(None, unit.rows as u64);
            }
            (Some(_), Some(counts)) => {
                counts.iter().for_each(|(day, rows)| *days.entry(day.map(Day)).or_default() += rows);
            }
            (Some(_), None) => return Ok(false),
        }
        let mut batches = days.keys().map(|day| self.options.cuts.batch_of(*day));
        let Some(number) = batches.next().filter(|number| batches.all(|other| other == *number)) else {
            return Ok(false);
        };
        let Some(columns) = self.file(number)?.fitting(group) else { return Ok(false) };
        if self.options.decode_copied {
            // All other columns were decoded to decide the rows. What is damaged must not be handed on, under another
            // name.
            let volatile = decided.kernel.schema_of(unit).project(&self.volatile);
            let volatile = SchemaRef::new(volatile.doing("read a row group of winners")?);
            for batch in decided.kernel.input().read(unit, &volatile, None)? {
                batch?;
            }
        }
        self.file(number)?.copy(&decided.kernel.input().reopen(unit.file)?, unit.rows as u64, &columns)?;
        self.copied_rows += unit.rows as u64;
        days.into_iter().for_each(|(day, rows)| *self.days.entry(day).or_default() += rows);
        Ok(true)
    }

    fn file(&mut self, number: usize) -> Result<&mut ParquetFile> {
        match self.files.entry(number) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let path = self.folder.join(format!("{number}-{}.parquet", self.number));
                let mut properties = writer_properties(self.options.level)?;
                for (column, dictionary) in &self.dictionaries {
                    properties = match dictionary {
                        Dictionary::None => properties.set_column_dictionary_enabled(column.clone(), false),
                        Dictionary::Usual => properties,
                        Dictionary::Large => {
                            properties.set_column_dictionary_page_size_limit(column.clone(), DICTIONARY_BYTES_MAX)
                        }
                    };
                }
                Ok(entry.insert(ParquetFile::create(path, &self.schema, properties.build())?))
            }
        }
    }

    fn write(&mut self, number: usize, batch: &RecordBatch) -> Result<()> {
        let file = self.file(number)?;
        file.encode(batch)?;
        if file.open_bytes() >= ROW_GROUP_BYTES {
            return file.flush();
        }
        let held_bytes = self.held_bytes();
        match self.files.values_mut().max_by_key(|file| file.held_bytes()) {
            Some(largest) if held_bytes > self.held_bytes_max => largest.flush(),
            _ => Ok(()),
        }
    }

    /// Closes the files. Gives what was written.
    ///
    /// # Errors
    /// When a file can't be written or read back.
    pub fn finish(self) -> Result<Written> {
        let mut files = Vec::new();
        for (number, file) in self.files {
            // A file was begun for a row group that then did not fit.
            let staged = close(number, file)?;
            if staged.rows > 0 {
                files.push(staged);
            }
        }
        Ok(Written { files, days: self.days, copied_rows: self.copied_rows })
    }
}

/// Writes the winners, by a few encoders with files of their own. The same decision by as many threads in as much
/// memory gives the same files.
///
/// # Errors
/// When an input can't be read or has changed, or a file can't be written.
pub async fn write_winners(
    decision: &Decision<'_>,
    dataset: &Dataset,
    options: WriteOptions,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Written> {
    let decided = decision.decided().clone();
    let (encoders, open_bytes) = (decided.kernel.budget().encoders(), decided.kernel.budget().open_bytes());
    let (dataset, folder) = (dataset.clone(), folder.to_path_buf());
    let dictionaries = decided.kernel.input().dictionaries();
    let written = off_thread(progress, move |progress| {
        threads::each(encoders, encoders, &|number| {
            let router = Router::new(&dataset, options.clone(), &folder, number).with_held_bytes(open_bytes);
            let mut router = router.with_dictionaries(dictionaries.clone());
            for (at, unit) in decided.kernel.input().units().iter().enumerate().skip(number).step_by(encoders) {
                router.take(&decided, at, unit)?;
                progress.advance(decided.verdict.winners.count(unit.places()));
            }
            router.finish()
        })
    });
    let mut all = Written::default();
    for written in written.await? {
        all.files.extend(written.files);
        all.copied_rows += written.copied_rows;
        written.days.into_iter().for_each(|(day, rows)| *all.days.entry(day).or_default() += rows);
    }
    Ok(all)
}
