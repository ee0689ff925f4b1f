//! Sets of columns that are tried as keys: all of them in one pass over the rows.

use super::Kernel;
use super::tries::{Count, Pushing, Sums, Tags, prints_of, slices};
use crate::error::Result;
use crate::progress::Progress;
use crate::threads;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use std::collections::{BTreeMap, BTreeSet};

/// A column of the kernel's schema, as a part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Its place in the schema.
    pub column: usize,
    /// Whether an empty text stands in for NULL.
    pub is_filled: bool,
}

/// A set of columns that is tried as a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// What would tell rows apart.
    pub key: Vec<Cell>,
    /// In what the rows of a key may differ; nothing where only keys are to be counted.
    pub content: Vec<Cell>,
}

/// What a set of columns would do as a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// How many rows it would keep: one for each of its keys.
    pub keys: u64,
    /// Keys whose rows differ.
    pub differing: u64,
    /// Of some of them the place of the first row, and that of the first one that differs from it.
    pub examples: Vec<Vec<u64>>,
}

/// Which columns go into which sums.
struct Sets {
    /// The columns that are read.
    columns: Vec<usize>,
    /// For each column of the schema, and each form in which it is wanted, the sums that it goes into.
    of_cell: BTreeMap<Cell, Vec<usize>>,
    /// For each attempt the sum of its key and that of its content.
    attempts: Vec<[usize; 2]>,
    sums: usize,
}

impl Kernel {
    /// Counts what each of these sets would do as a key, exactly. Gives how many bytes of records waited on disk, too.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub fn try_keys(&self, attempts: &[Attempt], progress: &dyn Progress) -> Result<(Vec<Tried>, u64)> {
        let sets = Sets::of(attempts);
        let schema = self.viewed(&sets.columns);
        let records = self.input.rows().saturating_mul(attempts.len() as u64);
        let tries = self.tries(attempts.len(), records, Tags::Two);
        threads::each_with(
            self.input.units().len(),
            self.resources.threads,
            &|| tries.pushing(),
            &|pushing, at| -> Result<()> {
                let unit = &self.input.units()[at];
                let mut place = unit.first;
                for batch in self.input.read(unit, &schema, None)? {
                    let batch = batch?;
                    for some in slices(&batch, sets.sums) {
                        sets.push(self.schema(), &some, place, pushing)?;
                        place += some.num_rows() as u64;
                    }
                    progress.advance(batch.num_rows() as u64);
                }
                Ok(())
            },
            &|pushing| pushing.finish(),
        )?;
        let tried = tries.count()?.into_iter().map(|Count { keys, merging }| {
            let mut examples = merging.examples;
            // Which others were pushed is an accident.
            examples.iter_mut().for_each(|places| places.truncate(2));
            Tried { keys, differing: merging.groups, examples }
        });
        Ok((tried.collect(), tries.spilled_bytes()))
    }
}

impl Sets {
    fn of(attempts: &[Attempt]) -> Sets {
        let mut sets: BTreeMap<&[Cell], usize> = BTreeMap::new();
        let mut of_cell: BTreeMap<Cell, Vec<usize>> = BTreeMap::new();
        let mut numbered = Vec::new();
        for attempt in attempts {
            let mut own = [0; 2];
            for (at, set) in [attempt.key.as_slice(), attempt.content.as_slice()].into_iter().enumerate() {
                let next = sets.len();
                own[at] = *sets.entry(set).or_insert(next);
            }
            numbered.push(own);
        }
        for (set, number) in &sets {
            set.iter().for_each(|cell| of_cell.entry(*cell).or_default().push(*number));
        }
        let places: BTreeSet<usize> = of_cell.keys().map(|cell| cell.column).collect();
        Sets { columns: places.into_iter().collect(), sums: sets.len(), attempts: numbered, of_cell }
    }

    /// Adds the records of some rows that follow each other.
    fn push(&self, whole: &Schema, rows: &RecordBatch, first: u64, to: &mut Pushing<'_>) -> Result<()> {
        let mut sums = Sums::new(self.sums, rows.num_rows());
        for (cell, wanted) in &self.of_cell {
            // By its name, since what is read has no other columns.
            let Some(values) = rows.column_by_name(whole.field(cell.column).name()) else { continue };
            let number = 2 * cell.column + usize::from(cell.is_filled);
            sums.add(wanted, number, &prints_of(values, cell.is_filled)?);
        }
        for (number, [key, content]) in self.attempts.iter().enumerate() {
            for (row, (key, content)) in sums.of(*key).iter().zip(sums.of(*content)).enumerate() {
                to.push(number, *key, *content as u64, first + row as u64)?;
            }
        }
        Ok(())
    }
}
