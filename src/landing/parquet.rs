//! Parquet inputs: landed by reference where every row could land as it is, row by row otherwise.

use super::columns::{SOURCE, SOURCE_ROW};
use super::rules::Rules;
use super::values::{Values, is_exact, unreadable};
use crate::error::{Doing, Error, Result};
use crate::source::damaged;
use arrow::array::{Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{FieldRef, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const BATCH_ROWS: usize = 8_192;

/// A Parquet file that is read more than once.
pub(crate) struct ParquetInput<'a> {
    url: &'a str,
    copy: &'a Path,
    schema: SchemaRef,
    /// For each column of the file the column of the contract that it fills, with the rank of its name.
    slots: Vec<Option<(usize, usize)>>,
    /// Its rows, as the footer says.
    pub(crate) rows: u64,
}

impl<'a> ParquetInput<'a> {
    /// Reads the footer and refuses what can't land at all: a column whose type has no meaning for the contract.
    pub(crate) fn open(url: &'a str, copy: &'a Path, rules: &Rules) -> Result<ParquetInput<'a>> {
        let builder = builder(url, copy)?;
        let schema = std::sync::Arc::clone(builder.schema());
        let slots: Vec<_> = schema.fields().iter().map(|field| rules.slot(field.name())).collect();
        for (field, slot) in schema.fields().iter().zip(&slots) {
            let Some((column, _)) = slot else { continue };
            if let Some(why) = unreadable(field.data_type(), &rules.columns[*column]) {
                let kind = rules.columns[*column].kind.name();
                return Err(Error::usage("read a column of a Parquet file")
                    .with("file", url)
                    .with("column", field.name())
                    .because(format!("{why}: it is {}, the contract says {kind}", field.data_type()))
                    .hint(
                        "write the file anew with the contract's type, or give the column a `zone` in the contract",
                    ));
            }
        }
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        Ok(ParquetInput { url, copy, schema, slots, rows })
    }

    /// Whether the file has any column for this one of the contract.
    pub(crate) fn has(&self, column: usize) -> bool {
        self.slots.iter().flatten().any(|slot| slot.0 == column)
    }

    /// The places of all columns.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.slots.len()).collect()
    }

    /// Reads the columns that can tell whether every row could land as it is, and stops at the first that could not.
    /// What comes back are the left-out columns with their known values; nothing where the file is not clean.
    pub(crate) fn clean(&self, rules: &Rules) -> Result<Option<BTreeMap<String, u64>>> {
        let is_exact = |(field, slot): (&FieldRef, &Option<(usize, usize)>)| match slot {
            Some((column, rank)) => *rank == 0 && is_exact(field.data_type(), rules.columns[*column].kind),
            // Columns that we would add ourselves must not be believed when somebody else wrote them.
            None => ![SOURCE, SOURCE_ROW].contains(&field.name().as_str()),
        };
        if !self.schema.fields().iter().zip(&self.slots).all(is_exact) {
            return Ok(None);
        }
        let may_be_null = |column: usize| {
            let in_key = rules.key.iter().any(|part| !part.is_never_null && part.columns.contains(&column));
            !in_key && !rules.required.iter().any(|(required, _)| *required == column)
        };
        let is_needed = |slot: &Option<(usize, usize)>| match slot {
            Some((column, _)) => !rules.is_free(*column) || !may_be_null(*column),
            None => true,
        };
        let needed = (0..self.slots.len()).filter(|index| is_needed(&self.slots[*index])).collect::<Vec<_>>();
        let mut left_out = BTreeMap::new();
        let mut rows = 0;
        for batch in self.batches(Some(&needed))? {
            let batch = batch.map_err(|error| self.cut(rows, error))?;
            rows += batch.num_rows() as u64;
            if !self.is_clean(&batch, &needed, rules)? {
                return Ok(None);
            }
            self.count_left_out(&batch, &needed, &mut left_out);
        }
        self.require_all(rows)?;
        Ok(Some(left_out))
    }

    fn is_clean(&self, batch: &RecordBatch, needed: &[usize], rules: &Rules) -> Result<bool> {
        // A column that the file lacks is NULL throughout.
        let mut nulls = vec![Some(NullBuffer::new_null(batch.num_rows())); rules.columns.len()];
        for (index, array) in needed.iter().zip(batch.columns()) {
            let Some((column, _)) = self.slots[*index] else { continue };
            // A dictionary may say NULL in its values instead of its keys: that is why the logical ones are asked.
            nulls[column] = array.logical_nulls();
            if !rules.is_free(column) {
                let values = Values::of(array, &self.schema.fields()[*index], &rules.columns[column])?;
                if !(0..batch.num_rows()).all(|row| rules.is_clean(column, &values.cell(row))) {
                    return Ok(false);
                }
            }
        }
        let is_known = |column: usize, row: usize| nulls[column].as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let known = |row: usize| {
            let required = rules.required.iter().all(|(column, _)| is_known(*column, row));
            let mut key = rules.key.iter().filter(|part| !part.is_never_null);
            required && key.all(|part| part.columns.iter().any(|column| is_known(*column, row)))
        };
        Ok((0..batch.num_rows()).all(known))
    }

    /// All rows, in batches with the columns' places in the file's schema.
    pub(crate) fn batches(&self, columns: Option<&[usize]>) -> Result<ParquetRecordBatchReader> {
        let builder = builder(self.url, self.copy)?;
        let mask = match columns {
            Some(columns) => ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied()),
            None => ProjectionMask::all(),
        };
        builder.with_batch_size(BATCH_ROWS).with_projection(mask).build().map_err(|error| damaged(self.url, error))
    }

    /// A batch's columns that the contract has, each with its slot.
    pub(crate) fn values(&self, batch: &RecordBatch, rules: &Rules) -> Result<Vec<((usize, usize), Values)>> {
        let mut values = Vec::new();
        for ((array, field), slot) in batch.columns().iter().zip(self.schema.fields()).zip(&self.slots) {
            if let Some(slot) = slot {
                let named = |error: Error| error.with("file", self.url).with("column", field.name());
                values.push((*slot, Values::of(array, field, &rules.columns[slot.0]).map_err(named)?));
            }
        }
        Ok(values)
    }

    /// Counts the known values of left-out columns in a batch of these columns.
    pub(crate) fn count_left_out(&self, batch: &RecordBatch, columns: &[usize], into: &mut BTreeMap<String, u64>) {
        for (index, array) in columns.iter().zip(batch.columns()) {
            let known = (array.len() - array.logical_null_count()) as u64;
            if self.slots[*index].is_none() && known > 0 {
                *into.entry(self.schema.field(*index).name().clone()).or_default() += known;
            }
        }
    }

    /// Makes sure that as many rows were read as the footer says.
    pub(crate) fn require_all(&self, rows: u64) -> Result<()> {
        if rows == self.rows {
            return Ok(());
        }
        Err(damaged(self.url, format!("its footer tells of {} rows, but it has {rows}", self.rows)))
    }

    /// The error for a file whose rows after `rows` can't be read.
    pub(crate) fn cut(&self, rows: u64, error: arrow::error::ArrowError) -> Error {
        damaged(self.url, error).with("row", rows + 1)
    }
}

fn builder(url: &str, copy: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(copy).doing("open an input").map_err(|error| error.with("file", url))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(url, error))
}
