//! Keeps the first row of each key of Parquet files: as fast as reading and writing allow, in a memory that is given.
//!
//! The files are read twice. The first pass decodes what decides (key, order, content) and turns each row into a record
//! of 40 bytes: a fingerprint of 128 bits for the key, a rank in the first order column, a digest of the content, the
//! row's place and day. Records lie in partitions by fingerprint, small enough to be grouped inside a core's caches;
//! partitions that do not fit into memory wait on disk, as records and never as rows. A key whose rows have one digest
//! is decided there and then. The rows of any other key are read again, in the columns of the order, and compared by
//! value. What comes out is one bit for each row, so that the second pass decodes winners and nothing else.
//!
//! [`rule`] puts this in the place of DataFusion's own plan, which sorts all columns of all rows.

mod added;
mod budget;
mod columns;
mod compare;
mod copies;
mod exact;
mod exec;
mod gather;
mod group;
mod hash;
mod input;
mod keyed;
mod near;
mod odd;
mod part;
mod records;
pub mod rule;
mod sets;
mod spill;
mod survey;
mod tries;
mod values;
mod verdict;

pub use budget::{Budget, Size};
pub use columns::Columns;
pub use compare::{Comparison, Found, Pair};
pub use copies::{Distances, Sizes};
pub use exact::ExactKeys;
pub use exec::{Decided, KeepFirstExec};
pub use gather::days;
pub use group::DayCounts;
pub use input::{Batches, Input, Unit};
pub use near::{Near, Without};
pub use sets::{Attempt, Cell, Tried};
pub use survey::{ColumnSight, Sample, Survey};
pub use tries::Merging;
pub use values::{ValueRows, Values};
pub use verdict::{Added, Class, Flag, Largest, Marks, Run, Verdict};

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::threads;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use columns::is_more_than_a_column;
use copies::Origins;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::PhysicalExpr;
use gather::Gathering;
use group::Grouping;
use hash::Seeds;
use odd::Odd;
use records::{Partitions, ROWS_MAX, Record};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The days of a row group are remembered if they are no more than these: others fall into several batches anyway.
const UNIT_DAYS: usize = 64;

/// What is to be known beyond the winners. Columns are places in the kernel's schema.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// How many parts of the order are declared; the rest only make it total. `None`: all of them.
    pub declared: Option<usize>,
    /// What numbers real events: a column, which may count only where another is NULL.
    pub identity: Vec<(usize, Option<usize>)>,
    /// Columns of the order that can't differ within a key.
    pub fixed: Vec<usize>,
    /// The column that says the day.
    pub day: Option<usize>,
    /// The column of the files, outside of the schema, in which rows say what input they came from.
    pub source: Option<String>,
    /// Fingerprints of keys that take no part.
    pub aside: HashSet<u128>,
    /// Whether keys that need a look are listed, and not only counted. A list takes 16 bytes a key, beside the memory
    /// that is given.
    pub list: bool,
    /// Whether copies and columns are looked at as an analysis does: how far copies lie apart, and what each column
    /// would add to the key.
    pub analyses: bool,
}

/// What a kernel may use.
#[derive(Clone, Debug)]
pub struct Resources {
    /// How many threads work.
    pub threads: usize,
    /// Who grants the memory of the records.
    pub pool: Arc<dyn MemoryPool>,
    /// Where records wait that do not fit.
    pub folder: PathBuf,
}

/// Files, key and order, ready to be decided.
#[derive(Debug)]
pub struct Kernel {
    input: Input,
    columns: Columns,
    resources: Resources,
    budget: Budget,
}

impl Kernel {
    /// Reads the files' footers.
    ///
    /// # Errors
    /// When a file can't be read, there are more rows than can be told apart, or too many for the memory.
    pub fn open(paths: &[PathBuf], columns: Columns, mut resources: Resources) -> Result<Kernel> {
        let input = Input::open(paths)?;
        if input.rows() > ROWS_MAX {
            return Err(Error::usage("keep one row of each key")
                .because(format!("there are {} rows, and no more than {ROWS_MAX} can be told apart", input.rows()))
                .hint("deduplicate the input in parts that share no key, such as ranges of time"));
        }
        let memory_bytes = match resources.pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes,
            _ => usize::MAX,
        };
        let rows = input.rows();
        let size = Size {
            rows,
            records: rows,
            footers_bytes: input.footers_bytes(),
            order_columns: columns.order.len(),
            order_bytes: input.widest_bytes(&columns.order_names()),
        };
        let budget = Budget::new(memory_bytes, resources.threads, size);
        if !budget.is_enough() {
            let needed = budget.fixed_bytes.div_ceil(1_000_000);
            return Err(Error::usage("keep one row of each key")
                .because(format!("{rows} rows and the footers of their files take {needed} MB at the least"))
                .hint(format!("allow more with --memory, such as --memory {}MB", 2 * needed)));
        }
        resources.threads = budget.threads;
        Ok(Kernel { input, columns, resources, budget })
    }

    /// How its memory is divided.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A kernel over no files at all, with these columns.
    ///
    /// # Errors
    /// None; it is as [`Kernel::open`] is.
    pub fn empty(schema: &SchemaRef, resources: Resources) -> Result<Kernel> {
        Kernel::open(&[], Columns { schema: Arc::clone(schema), key: Vec::new(), order: Vec::new() }, resources)
    }

    /// The files.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The columns of the rows that it gives.
    pub fn schema(&self) -> &SchemaRef {
        &self.columns.schema
    }

    /// The same columns in the form in which a unit's are cheapest to read: texts as its own dictionaries, or as views.
    pub fn schema_of(&self, unit: &Unit) -> SchemaRef {
        let fields = self.schema().fields().iter().map(|field| {
            let view = input::as_views(field);
            self.input.as_dictionary(unit, &view).unwrap_or(view)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.resources.threads
    }

    /// Room for so many records that are made of rows which were decided, and how memory is divided meanwhile.
    fn room_for(&self, records: u64) -> (Budget, Partitions) {
        let (rows, footers_bytes) = (self.input.rows(), self.input.footers_bytes());
        let size = Size { rows, records, footers_bytes, ..Size::default() };
        let budget = Budget::new(self.budget.memory_bytes, self.resources.threads, size);
        let partitions = Partitions::new(&budget, &self.resources);
        (budget, partitions)
    }

    /// Decides every row. Blocks, and works in threads of its own.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub fn decide(&self, ask: &Ask, progress: &dyn Progress) -> Result<Verdict> {
        let mut verdict = Verdict::new(self.input.rows());
        let partitions = Partitions::new(&self.budget, &self.resources);
        let gathering = Gathering::new(self, ask, &verdict.aside)?;
        let all_days = Mutex::new(DayCounts::default());
        let found = threads::each_with(
            self.input.units().len(),
            self.resources.threads,
            &|| partitions.sink(),
            &|sink, at| {
                let mut seen = gathering.unit(&self.input.units()[at], sink, progress)?;
                all_days.lock().unwrap_or_else(PoisonError::into_inner).merge(&seen.days);
                if seen.days.span() > UNIT_DAYS {
                    // Thousands of row groups with thousands of days each would be held until the last was read.
                    seen.days = DayCounts::default();
                    return Ok((seen, false));
                }
                Ok((seen, true))
            },
            &|sink| sink.finish(),
        )?;
        verdict.rows_by_day = all_days.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (seen, has_few_days) in found {
            verdict.aside_rows += seen.aside_rows;
            verdict.runs.extend(seen.runs);
            verdict.unit_days.push(Some(seen.days).filter(|_| has_few_days));
        }
        verdict.spilled_bytes = partitions.spilled_bytes();
        if ask.analyses {
            verdict.added = vec![Added::default(); self.columns.content().len()];
        }
        self.settle(ask, &partitions, &mut verdict)?;
        let marked = verdict.winners.count(0..verdict.rows);
        if marked != verdict.keys {
            return Err(
                Error::bug("keep one row of each key").because(format!("{} keys have {marked} winners", verdict.keys))
            );
        }
        Ok(verdict)
    }

    /// Decides the keys of all partitions. Records of odd keys are gathered from as many as memory allows before their
    /// rows are looked at: each look reads again what has any, and the fewer records are left, the more it can hold.
    fn settle(&self, ask: &Ask, partitions: &Partitions, verdict: &mut Verdict) -> Result<()> {
        let threads = self.budget.settling_threads(partitions.used_bytes()).min(partitions.count());
        let odd = Odd { input: &self.input, columns: &self.columns, ask, threads: self.resources.threads };
        let origins = ask.analyses.then(|| Origins::of(&verdict.runs));
        let next = AtomicUsize::new(0);
        let mut large = Vec::new();
        while next.load(Ordering::Relaxed) < partitions.count() {
            let limit = self.budget.odd_records(partitions.used_bytes());
            let gathered = AtomicUsize::new(0);
            let winners = &verdict.winners;
            let work = || {
                let (mut grouping, mut rows, mut records) = (Grouping::default(), Vec::new(), Vec::new());
                let mut large = Vec::new();
                while gathered.load(Ordering::Relaxed) < limit {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if part >= partitions.count() {
                        break;
                    }
                    let taken = partitions.take(part);
                    if taken.rows() > self.budget.partition_rows_max() {
                        large.push((part, taken));
                        continue;
                    }
                    let before = rows.len();
                    taken.read_into(&mut records)?;
                    grouping.settle(&records, winners, origins.as_ref(), &mut rows);
                    gathered.fetch_add(rows.len() - before, Ordering::Relaxed);
                }
                Ok((grouping, rows, large))
            };
            let mut rows = Vec::new();
            for (grouping, own, own_large) in threads::on_all(threads, &work)? {
                verdict.add(&grouping);
                rows.extend(own);
                large.extend(own_large);
            }
            self.settle_odd(&odd, rows, partitions, verdict)?;
        }
        // One at a time and at the end: whether there is room for the rows of a key must not depend on threads.
        large.sort_unstable_by_key(|(part, _)| *part);
        for (_, taken) in large {
            let (mut grouping, mut rows) = (Grouping::default(), Vec::new());
            let most = self.budget.odd_records_max(partitions.used_bytes());
            grouping.settle_piecewise(&taken, &verdict.winners, origins.as_ref(), &mut rows, most)?;
            drop(taken);
            verdict.add(&grouping);
            self.settle_odd(&odd, rows, partitions, verdict)?;
        }
        Ok(())
    }

    fn settle_odd(
        &self,
        odd: &Odd<'_>,
        rows: Vec<Record>,
        partitions: &Partitions,
        verdict: &mut Verdict,
    ) -> Result<()> {
        let held_bytes = partitions.used_bytes() + size_of_val(rows.as_slice());
        // Who tries columns holds hashes of them beside what decides.
        let share = if odd.ask.analyses { 2 } else { 1 };
        let limit = (self.budget.odd_rows(held_bytes) / share).max(1);
        odd.settle(rows, limit, self.budget.odd_rows_max(held_bytes), verdict)
    }

    /// The places of all rows that have one of these keys.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub fn find(&self, prints: &HashSet<u128>) -> Result<Marks> {
        let marks = Marks::new(self.input.rows());
        let columns = self.columns.narrowed(&self.columns.key, &[], &[], is_more_than_a_column)?;
        threads::each(self.input.units().len(), self.resources.threads, &|at| {
            let unit = &self.input.units()[at];
            let mut place = unit.first;
            for batch in self.input.read(unit, &columns.schema, None)? {
                let batch = batch?;
                let own = key_prints(&columns.key_values(&batch)?, batch.num_rows())?;
                for (row, _) in own.iter().enumerate().filter(|(_, print)| prints.contains(print)) {
                    marks.set(place + row as u64);
                }
                place += batch.num_rows() as u64;
            }
            Ok(())
        })?;
        Ok(marks)
    }

    /// The fingerprints of the keys of rows that have this kernel's columns, and perhaps others behind them.
    ///
    /// # Errors
    /// When the columns can't be hashed.
    pub fn prints_of(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        key_prints(&self.columns.key_values(batch)?, batch.num_rows())
    }

    /// The names of the columns in which rows of a key may differ.
    pub fn content_names(&self) -> Vec<String> {
        let name = |expr: &Arc<dyn PhysicalExpr>| match expr.downcast_ref::<Column>() {
            Some(column) => column.name().to_string(),
            None => expr.to_string(),
        };
        self.columns.content().iter().map(name).collect()
    }

    /// The key of the row at a place, part by part, as text.
    ///
    /// # Errors
    /// When its file can't be read or has changed.
    pub fn key_of(&self, place: u64) -> Result<Vec<Option<String>>> {
        let unit = &self.input.units()[self.input.unit_of(place)];
        let columns = self.columns.narrowed(&self.columns.key, &[], &[], is_more_than_a_column)?;
        let mut key = Vec::new();
        for batch in self.input.read(unit, &columns.schema, Some(unit.bits_of(&[place])))? {
            key.extend(columns.key_texts(&batch?)?);
        }
        Ok(key)
    }

    /// The key of the first of rows that have this kernel's columns, and perhaps others behind them, as text.
    ///
    /// # Errors
    /// When a part can't be shown.
    pub fn key_texts(&self, batch: &RecordBatch) -> Result<Vec<Option<String>>> {
        self.columns.key_texts(batch)
    }
}

/// The fingerprints of keys that are given as columns, one for each part of the key. They hold within this process.
///
/// # Errors
/// When the columns can't be hashed.
pub fn key_prints(key: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
    Seeds::of_process().tuples(key, rows)
}
