//! Two inputs, each decided, side by side: their winners are compared key by key, in the memory that is given.
//!
//! Winners become records again, in partitions by the fingerprint of the key. A partition holds those of both sides, so
//! it says by itself which keys are on one side only and which have another content. Rows with another content are read
//! once more and become a record for every two columns. So no row ever waits in memory or on disk, and where the sides
//! agree nothing but key and content is hashed.

use super::keyed::Keyed;
use super::records::{Partitions, ROWS_MAX, Record, Sink, lock};
use super::{Budget, Decided, Marks, Resources, Size, Unit, days};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::threads;
use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use datafusion::execution::memory_pool::MemoryLimit;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many keys of each finding are remembered: those that come first in their input.
const EXAMPLES: usize = 20;
/// How many columns a record has the digests of.
const RECORD_COLUMNS: usize = 2;
const DOING: &str = "compare two inputs";

/// What was found of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Keys that only the first or only the second side has.
    pub only: [u64; 2],
    /// Keys that both have, with the same content.
    pub same: u64,
    /// Keys that both have, with another content.
    pub different: u64,
    /// In how many of these each of the compared columns differs; empty where none does.
    pub by_column: Vec<u64>,
}

/// What two sides have of each other.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// What was found of the keys of each day: that of the first side's row, or of the only one. `None`: no day.
    pub by_day: BTreeMap<Option<i32>, Found>,
    /// Places of some keys that only the first or only the second side has: the first ones of their input.
    pub only: [Vec<u64>; 2],
    /// Places on both sides of some keys with another content: the first ones of the first input.
    pub different: Vec<(u64, u64)>,
    /// Bytes of records that waited on disk.
    pub spilled_bytes: u64,
}

/// Two decided inputs with one schema and one key.
#[derive(Debug)]
pub struct Pair {
    sides: [Decided; 2],
    /// The columns that are compared, as places in the schema.
    columns: Vec<usize>,
    /// The column that says the day.
    day: Option<usize>,
    resources: Resources,
    memory_bytes: usize,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// One record, with a digest of all its columns.
    Whole,
    /// Records with a digest of each column.
    ByColumn,
}

impl Pair {
    /// Takes both sides. `columns` and `day` are places in the schema that they share.
    ///
    /// # Errors
    /// Usage, when there are more rows than can be told apart.
    pub fn new(sides: [Decided; 2], columns: Vec<usize>, day: Option<usize>, resources: Resources) -> Result<Pair> {
        let most = ROWS_MAX >> 1;
        if let Some(side) = sides.iter().find(|side| side.verdict.rows > most) {
            return Err(Error::usage(DOING)
                .because(format!("there are {} rows, and no more than {most} can be told apart", side.verdict.rows))
                .hint("compare them in parts, such as ranges of time"));
        }
        let memory_bytes = match resources.pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes,
            _ => usize::MAX,
        };
        Ok(Pair { sides, columns, day, resources, memory_bytes })
    }

    /// Compares all winners. Blocks, and works in threads of its own. Progress is in rows that were read.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub fn compare(&self, progress: &dyn Progress) -> Result<Comparison> {
        let [first, second] = &self.sides;
        let winners = [&first.verdict.winners, &second.verdict.winners];
        let differing = [Marks::new(first.verdict.rows), Marks::new(second.verdict.rows)];
        let keys = self.count(winners);
        let mut comparison =
            self.pass(Pass::Whole, winners, progress, &|records, found| whole(records, &differing, found))?;
        for (side, keys) in keys.into_iter().enumerate() {
            let seen: u64 = comparison.by_day.values().map(|day| day.only[side] + day.same + day.different).sum();
            if seen != keys {
                return Err(Error::bug(DOING).because(format!("a side has {keys} keys, and {seen} were compared")));
            }
        }
        if !comparison.different.is_empty() {
            let chosen = [&differing[0], &differing[1]];
            let columns = self.columns.len();
            let found =
                self.pass(Pass::ByColumn, chosen, progress, &|records, found| by_column(records, columns, found))?;
            comparison.merge(found);
        }
        Ok(comparison)
    }

    /// The key of a winner of a side, part by part, as text.
    ///
    /// # Errors
    /// As [`super::Kernel::key_of`].
    pub fn key_of(&self, side: usize, place: u64) -> Result<Vec<Option<String>>> {
        self.sides[side].kernel.key_of(place)
    }

    /// The columns in which two rows differ, with both values as text.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub fn values_of(&self, places: (u64, u64)) -> Result<Vec<(String, [Option<String>; 2])>> {
        let [first, second] = &self.sides;
        let schema = first.kernel.schema();
        let first = Keyed::new(&first.kernel, &self.columns, None)?.row(places.0)?;
        let second = Keyed::new(&second.kernel, &self.columns, None)?.row(places.1)?;
        let pairs = first.into_iter().zip(second).zip(&self.columns);
        let differ = pairs.filter(|((one, other), _)| one.0 != other.0);
        let named = |((one, other), column): (((u64, _), (u64, _)), &usize)| {
            (schema.field(*column).name().clone(), [one.1, other.1])
        };
        Ok(differ.map(named).collect())
    }

    fn count(&self, chosen: [&Marks; 2]) -> [u64; 2] {
        [0, 1].map(|side: usize| chosen[side].count(0..self.sides[side].verdict.rows))
    }

    /// Reads the chosen rows of both sides, and looks at what becomes of them partition by partition.
    fn pass(
        &self,
        pass: Pass,
        chosen: [&Marks; 2],
        progress: &dyn Progress,
        look: &(dyn Fn(&mut [Record], &mut Comparison) -> Result<()> + Sync),
    ) -> Result<Comparison> {
        let each = match pass {
            Pass::Whole => 1,
            Pass::ByColumn => self.columns.len().div_ceil(RECORD_COLUMNS),
        };
        let rows: u64 = self.sides.iter().map(|side| side.verdict.rows).sum();
        let size = Size {
            // A sixth bit for each row: whether it has another content.
            rows: rows + rows / 5,
            records: self.count(chosen).iter().sum::<u64>() * each as u64,
            footers_bytes: self.sides.iter().map(|side| side.kernel.input().footers_bytes()).sum(),
            ..Size::default()
        };
        let budget = Budget::new(self.memory_bytes, self.resources.threads, size);
        let partitions = Partitions::new(&budget, &self.resources);
        let units = |side: usize| self.sides[side].kernel.input().units().iter().map(move |unit| (side, unit));
        let units: Vec<(usize, &Unit)> = units(0).chain(units(1)).collect();
        threads::each_with(
            units.len(),
            budget.threads,
            &|| partitions.sink(),
            &|sink, at| {
                let (side, unit) = units[at];
                self.unit(pass, side, unit, chosen[side].of(unit.places()), sink, progress)
            },
            &|sink| sink.finish(),
        )?;
        let spilled_bytes = partitions.spilled_bytes();
        let next = AtomicUsize::new(0);
        let all = Mutex::new(Comparison { spilled_bytes, ..Comparison::default() });
        let work = || {
            let (mut own, mut records) = (Comparison::default(), Vec::new());
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= partitions.count() {
                    break;
                }
                partitions.take(part).read_into(&mut records)?;
                look(&mut records, &mut own)?;
            }
            lock(&all).merge(own);
            Ok::<(), Error>(())
        };
        threads::on_all(budget.settling_threads(partitions.used_bytes()).min(partitions.count()), &work)?;
        Ok(std::mem::take(&mut *lock(&all)))
    }

    /// Reads the chosen rows of a unit and hands their records to `sink`.
    fn unit(
        &self,
        pass: Pass,
        side: usize,
        unit: &Unit,
        chosen: BooleanBuffer,
        sink: &mut Sink<'_>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut places = chosen.set_indices().map(|at| unit.first + at as u64);
        let keyed = Keyed::new(&self.sides[side].kernel, &self.columns, self.day)?;
        for rows in keyed.read(unit, chosen.clone())? {
            let rows = rows?;
            let days = rows.day.as_ref().map(days).transpose()?;
            let day = |row: usize| days.as_ref().filter(|days| days.is_valid(row)).map(|days| days.value(row));
            match pass {
                Pass::Whole => {
                    let digests = rows.whole()?;
                    for ((row, print), place) in rows.prints.iter().enumerate().zip(&mut places) {
                        let halves = [(digests[row] >> 64) as u64, digests[row] as u64];
                        let place = place << 1 | side as u64;
                        sink.push(Record::new(*print, halves[0], halves[1], place, day(row)))?;
                    }
                }
                Pass::ByColumn => {
                    let digests = rows.by_column()?;
                    for (row, print) in rows.prints.iter().enumerate() {
                        for (number, pair) in digests.chunks(RECORD_COLUMNS).enumerate() {
                            let place = (number as u64) << 1 | side as u64;
                            let last = pair.get(1).map_or(0, |digests| digests[row]);
                            sink.push(Record::new(*print, pair[0][row], last, place, day(row)))?;
                        }
                    }
                }
            }
            progress.advance(rows.prints.len() as u64);
        }
        Ok(())
    }
}

/// The side that a record is of.
fn side_of(record: &Record) -> usize {
    (record.place() & 1) as usize
}

/// Looks at records of whole rows: of a key there are two at most, one of each side.
fn whole(records: &mut [Record], differing: &[Marks; 2], found: &mut Comparison) -> Result<()> {
    records.sort_unstable_by_key(|record| (record.print(), side_of(record)));
    let mut rest = &*records;
    while let [record, after @ ..] = rest {
        rest = after;
        let day = found.by_day.entry(record.day()).or_default();
        let other = after.first().filter(|other| other.print() == record.print());
        let (side, place) = (side_of(record), record.place() >> 1);
        let Some(other) = other else {
            day.only[side] += 1;
            keep(&mut found.only[side], place);
            continue;
        };
        rest = &after[1..];
        if side == side_of(other) {
            return Err(Error::bug(DOING).because("a side has two rows of one key"));
        }
        if (record.rank, record.digest) == (other.rank, other.digest) {
            day.same += 1;
            continue;
        }
        let other_place = other.place() >> 1;
        day.different += 1;
        differing[0].set(place);
        differing[1].set(other_place);
        keep(&mut found.different, (place, other_place));
    }
    Ok(())
}

/// Looks at records of columns: of each two columns of a key there are two, one of each side.
fn by_column(records: &mut [Record], columns: usize, found: &mut Comparison) -> Result<()> {
    records.sort_unstable_by_key(|record| (record.print(), record.place()));
    let unlike = |differs| match differs {
        true => Ok(()),
        false => Err(Error::bug(DOING).because("rows differ, and none of their columns does")),
    };
    let mut differs = true;
    for pair in records.chunks(2) {
        let [record, other] = pair else {
            return Err(Error::bug(DOING).because("a row has another content than no other one"));
        };
        let at = (record.place() >> 1) as usize;
        if record.print() != other.print() || record.place() + 1 != other.place() {
            return Err(Error::bug(DOING).because("columns of a key are on one side only"));
        }
        if at == 0 {
            unlike(std::mem::take(&mut differs))?;
        }
        let day = found.by_day.entry(record.day()).or_default();
        day.by_column.resize(columns, 0);
        for (column, digests) in [(record.rank, other.rank), (record.digest, other.digest)].into_iter().enumerate() {
            if digests.0 != digests.1 {
                day.by_column[RECORD_COLUMNS * at + column] += 1;
                differs = true;
            }
        }
    }
    unlike(differs)
}

/// Keeps the least of what was found.
fn keep<T: Ord>(least: &mut Vec<T>, new: T) {
    let at = least.partition_point(|known| *known < new);
    if at < EXAMPLES {
        least.insert(at, new);
        least.truncate(EXAMPLES);
    }
}

impl Comparison {
    fn merge(&mut self, other: Comparison) {
        for (day, found) in other.by_day {
            let own = self.by_day.entry(day).or_default();
            own.merge(&found);
        }
        for (own, places) in self.only.iter_mut().zip(other.only) {
            places.into_iter().for_each(|place| keep(own, place));
        }
        other.different.into_iter().for_each(|places| keep(&mut self.different, places));
        self.spilled_bytes += other.spilled_bytes;
    }
}

impl Found {
    /// Adds what was found elsewhere.
    pub fn merge(&mut self, other: &Found) {
        self.only[0] += other.only[0];
        self.only[1] += other.only[1];
        self.same += other.same;
        self.different += other.different;
        self.by_column.resize(self.by_column.len().max(other.by_column.len()), 0);
        self.by_column.iter_mut().zip(&other.by_column).for_each(|(own, other)| *own += other);
    }
}
