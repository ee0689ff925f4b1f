//! Parquet inputs: landed by reference where every row could land as it is, row by row otherwise.

use super::clean::clean;
use super::columns::{SOURCE, SOURCE_ROW};
use super::landed::LeftOut;
use super::rules::Rules;
use super::values::{Values, is_exact, unreadable};
use crate::dataset::Column;
use crate::error::{Doing, Error, Result};
use crate::footer;
use crate::source::{Input, damaged};
use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const BATCH_ROWS: usize = 8_192;

/// A Parquet file that is read more than once.
pub(crate) struct ParquetInput<'a> {
    pub(super) url: &'a str,
    pub(super) copy: &'a Path,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) schema: SchemaRef,
    /// For each column of the file the column of the contract that it fills, with the rank of its name.
    pub(super) slots: Vec<Option<(usize, usize)>>,
    /// Its rows, as the footer says.
    pub(crate) rows: u64,
    is_utc: bool,
}

impl<'a> ParquetInput<'a> {
    /// Reads the footer and refuses what can't land at all: a column whose type has no meaning for the contract.
    pub(crate) fn open(input: &'a Input, copy: &'a Path, rules: &Rules) -> Result<ParquetInput<'a>> {
        let Input { url, is_utc, .. } = input;
        let file = open(url, copy)?;
        let metadata = footer::read(&file).map_err(|error| damaged(url, error))?;
        let schema = Arc::clone(metadata.schema());
        let slots: Vec<_> = schema.fields().iter().map(|field| rules.slot(field.name())).collect();
        for (field, slot) in schema.fields().iter().zip(&slots) {
            let Some((column, _)) = slot else { continue };
            let column_of = &rules.columns[*column];
            if let Some(why) = unreadable(&with_zone(field.data_type(), *is_utc, column_of), column_of) {
                let kind = rules.columns[*column].kind.name();
                return Err(Error::usage("read a column of a Parquet file")
                    .with("file", url)
                    .with("column", field.name())
                    .because(format!("{why}: it is {}, the contract says {kind}", field.data_type()))
                    .hint(
                        "write the file anew with the contract's type, or give the column a `zone` in the contract; \
                         migrate takes such times for UTC with --times-are-utc",
                    ));
            }
        }
        let rows = metadata.metadata().file_metadata().num_rows().max(0) as u64;
        Ok(ParquetInput { url, copy, metadata, schema, slots, rows, is_utc: *is_utc })
    }

    /// Whether the file has any column for this one of the contract.
    pub(crate) fn has(&self, column: usize) -> bool {
        self.slots.iter().flatten().any(|slot| slot.0 == column)
    }

    /// Whether every row could land as it is. What comes back are the left-out columns with their known values; nothing
    /// where the file is not clean.
    pub(crate) fn clean(&self, rules: &Rules, threads: usize) -> Result<Option<LeftOut>> {
        let is_exact = |(field, slot): (&FieldRef, &Option<(usize, usize)>)| match slot {
            Some((column, rank)) => *rank == 0 && is_exact(field.data_type(), rules.columns[*column].kind),
            // Columns that we would add ourselves must not be believed when somebody else wrote them.
            None => ![SOURCE, SOURCE_ROW].contains(&field.name().as_str()),
        };
        if self.schema.fields().iter().zip(&self.slots).all(is_exact) { clean(self, rules, threads) } else { Ok(None) }
    }

    /// All rows, in batches with all columns.
    pub(crate) fn batches(&self) -> Result<ParquetRecordBatchReader> {
        self.builder(&self.metadata)?.build().map_err(|error| damaged(self.url, error))
    }

    /// Opens the file again, to be read as `metadata` says.
    pub(super) fn builder(&self, metadata: &ArrowReaderMetadata) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let file = open(self.url, self.copy)?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone()).with_batch_size(BATCH_ROWS))
    }

    /// A batch's columns that the contract has, each with its slot.
    pub(crate) fn values(&self, batch: &RecordBatch, rules: &Rules) -> Result<Vec<((usize, usize), Values)>> {
        let mut values = Vec::new();
        for ((array, field), slot) in batch.columns().iter().zip(self.schema.fields()).zip(&self.slots) {
            if let Some(slot) = slot {
                let named = |error: Error| error.with("file", self.url).with("column", field.name());
                let column = &rules.columns[slot.0];
                let array = cast(array, &with_zone(array.data_type(), self.is_utc, column)).doing("read a column");
                let values_of = |array| Values::of(&array, field, column);
                values.push((*slot, array.and_then(values_of).map_err(named)?));
            }
        }
        Ok(values)
    }

    /// Counts the known values of left-out columns in a batch with all columns.
    pub(crate) fn count_left_out(&self, batch: &RecordBatch, into: &mut LeftOut) {
        for ((array, field), slot) in batch.columns().iter().zip(self.schema.fields()).zip(&self.slots) {
            let known = (array.len() - array.logical_null_count()) as u64;
            if slot.is_none() && known > 0 {
                *into.entry(field.name().clone()).or_default() += known;
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

/// A type; with `is_utc` times without a zone have one, unless the contract gives them another.
fn with_zone(data_type: &DataType, is_utc: bool, column: &Column) -> DataType {
    match data_type {
        DataType::Timestamp(unit, None) if is_utc && column.zone_s.is_none() => {
            DataType::Timestamp(*unit, Some("UTC".into()))
        }
        other => other.clone(),
    }
}

fn open(url: &str, copy: &Path) -> Result<File> {
    File::open(copy).doing("open an input").map_err(|error| error.with("file", url))
}
