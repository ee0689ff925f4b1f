//! Keys that are nearly the same, and keys with one part less: all tried in one pass over the rows that are left when
//! equal ones are counted once.
//!
//! Each try turns a row into a small record.

use super::columns::{Columns, is_more_than_a_column};
use super::records::{Partitions, partitions_for};
use super::tries::{Merging, Pushing, count_all, prints, salt};
use super::verdict::Verdict;
use super::{Budget, Kernel, Size};
use crate::error::{Doing, Result};
use crate::progress::Progress;
use crate::threads;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;

/// What would become of the keys without one of their parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// How many keys there would be.
    pub keys: u64,
    /// How many different rows there are without the columns of the part.
    pub different_rows: u64,
    /// Keys that become one of which some have the part and some have not: it is NULL, or an empty text.
    pub missing: Merging,
}

/// What was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near {
    /// Keys that are the same but for upper and lower case.
    pub by_case: Merging,
    /// Keys that are the same but for times that are whole hours apart.
    pub by_hours: Merging,
    /// For each part of the key. Nothing where it has only one.
    pub without: Vec<Without>,
    /// Bytes of records that went to disk.
    pub spilled_bytes: u64,
}

/// What a record is about: the number that it has in place of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Case,
    Hours,
    /// Keys without a part.
    Without(usize),
    /// Rows without the columns of a part.
    RowsWithout(usize),
}

impl Try {
    fn number(self) -> u64 {
        match self {
            Try::Case => 0,
            Try::Hours => 1,
            Try::Without(part) => 2 + 2 * part as u64,
            Try::RowsWithout(part) => 3 + 2 * part as u64,
        }
    }
}

impl Kernel {
    /// Tries keys that are nearly those by which rows were decided.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub fn try_near(&self, verdict: &Verdict, progress: &dyn Progress) -> Result<Near> {
        let whole = &self.columns;
        let exprs: Vec<_> = whole.key.iter().cloned().chain(whole.content()).collect();
        let parts = whole.key.len();
        // With one part there is no key without it, and nothing but the key is read.
        let read = if parts > 1 { exprs.len() } else { parts };
        let columns = whole.narrowed(&exprs[..read], &[], &[], is_more_than_a_column)?;
        let trying = Trying { parts, own: own_columns(&columns, parts), columns };
        let tries = 2 + if parts > 1 { 2 * parts as u64 } else { 0 };
        let rows = verdict.different_rows.saturating_mul(tries);
        let size = Size {
            rows: self.input.rows(),
            partitions: partitions_for(rows),
            footers_bytes: self.input.footers_bytes(),
            ..Size::default()
        };
        let budget = Budget::new(self.budget.memory_bytes, self.resources.threads, size);
        let partitions = Partitions::new(&budget, &self.resources);
        let begin = || Pushing::begin(&partitions);
        threads::each_with(
            self.input.units().len(),
            self.resources.threads,
            &begin,
            &|pushing, at| -> Result<()> {
                let unit = &self.input.units()[at];
                let losers = &verdict.superseded.of(unit.places()) | &verdict.conflicts.of(unit.places());
                let chosen = &verdict.winners.of(unit.places()) | &losers;
                let mut places = chosen.set_indices();
                for batch in self.input.read(unit, &trying.columns.schema, Some(chosen.clone()))? {
                    let batch = batch?;
                    let places = places.by_ref().take(batch.num_rows()).map(|row| unit.first + row as u64);
                    trying.push(&batch, &places.collect::<Vec<_>>(), pushing)?;
                    progress.advance(batch.num_rows() as u64);
                }
                Ok(())
            },
            &|pushing| pushing.finish(),
        )?;
        let all = count_all(&partitions, &budget, tries as usize)?;
        let of = |what: Try| all.get(what.number() as usize).cloned().unwrap_or_default();
        let without = |part| Without {
            keys: of(Try::Without(part)).keys,
            different_rows: of(Try::RowsWithout(part)).keys,
            missing: of(Try::Without(part)).merging,
        };
        Ok(Near {
            by_case: of(Try::Case).merging,
            by_hours: of(Try::Hours).merging,
            spilled_bytes: partitions.spilled_bytes(),
            without: (0..if parts > 1 { parts } else { 0 }).map(without).collect(),
        })
    }
}

/// What is read and tried.
struct Trying {
    /// The parts of the key, then the columns in which rows of a key may differ.
    columns: Columns,
    /// How many of them are parts of the key.
    parts: usize,
    /// For each part which of them are left out without it: itself, and the columns that it reads.
    own: Vec<Vec<usize>>,
}

impl Trying {
    /// Adds the records of a batch.
    fn push(&self, batch: &RecordBatch, places: &[u64], to: &mut Pushing<'_>) -> Result<()> {
        let rows = batch.num_rows();
        let values = self.columns.key_values(batch)?;
        let of_key = &values[..self.parts];
        let own = prints(&values, rows)?;
        let (key, all): (Vec<usize>, Vec<usize>) = ((0..self.parts).collect(), (0..own.len()).collect());
        let (folded, hours) = (each_as(of_key, &own, without_case)?, each_as(of_key, &own, within_the_hour)?);
        let missing = self.own.iter().enumerate().map(|(part, _)| missing(&self.columns.key[part], batch));
        let missing = missing.collect::<Result<Vec<_>>>()?;
        for row in 0..rows {
            let tag = together(&own, &key, row, &[]) as u64;
            for (what, other) in [(Try::Case, &folded), (Try::Hours, &hours)] {
                if let Some(other) = other {
                    to.push(what.number(), together(other, &key, row, &[]), tag, places[row])?;
                }
            }
            for (part, missing) in missing.iter().enumerate() {
                let without = together(&own, &key, row, &[part]);
                to.push(Try::Without(part).number(), without, u64::from(missing[row]), places[row])?;
                to.push(Try::RowsWithout(part).number(), together(&own, &all, row, &self.own[part]), 0, places[row])?;
            }
        }
        Ok(())
    }
}

/// For each part of a key of several the places of what is left out without it.
fn own_columns(columns: &Columns, parts: usize) -> Vec<Vec<usize>> {
    let of_part = |part: usize| {
        let read = collect_columns(&columns.key[part]);
        let is_own = |at: &usize| {
            *at == part || *at >= parts && columns.key[*at].downcast_ref::<Column>().is_some_and(|c| read.contains(c))
        };
        (0..columns.key.len()).filter(is_own).collect()
    };
    (0..if parts > 1 { parts } else { 0 }).map(of_part).collect()
}

/// Fingerprints of parts in another form; nothing where none of them has one.
fn each_as(
    values: &[ArrayRef],
    own: &[Vec<u128>],
    form: fn(&ArrayRef) -> Result<Option<ArrayRef>>,
) -> Result<Option<Vec<Vec<u128>>>> {
    let (mut all, mut any) = (Vec::new(), false);
    for (column, own) in values.iter().zip(own) {
        match form(column)? {
            Some(other) => {
                any = true;
                all.extend(prints(&[other], column.len())?);
            }
            None => all.push(own.clone()),
        }
    }
    Ok(any.then_some(all))
}

/// A fingerprint of some of a row's columns. It does not depend on which others there are.
fn together(columns: &[Vec<u128>], of: &[usize], row: usize, without: &[usize]) -> u128 {
    let kept = of.iter().filter(|column| !without.contains(column));
    kept.fold(0, |sum: u128, column| sum.wrapping_add(columns[*column][row].wrapping_mul(salt(*column))))
}

fn is_text(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Texts in lower case; nothing for other types.
fn without_case(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    if !is_text(column) {
        return Ok(None);
    }
    let texts = cast(column, &DataType::Utf8).doing("fold the case of a key")?;
    let folded: StringArray = texts.as_string::<i32>().iter().map(|text| text.map(str::to_lowercase)).collect();
    // As the column itself is, so that a text that has no case keeps its fingerprint.
    cast(&folded, column.data_type()).doing("fold the case of a key").map(Some)
}

/// Times as what is left of their hour; nothing for other types.
fn within_the_hour(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return Ok(None) };
    let hour: i64 = match unit {
        TimeUnit::Second => 3_600,
        TimeUnit::Millisecond => 3_600_000,
        TimeUnit::Microsecond => 3_600_000_000,
        TimeUnit::Nanosecond => 3_600_000_000_000,
    };
    let moments = cast(column, &DataType::Int64).doing("compare times of a key")?;
    Ok(Some(Arc::new(moments.as_primitive::<Int64Type>().unary::<_, Int64Type>(|moment| moment.rem_euclid(hour)))))
}

/// For each row whether all columns of a part are NULL or an empty text.
fn missing(part: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Vec<bool>> {
    let mut missing = vec![true; batch.num_rows()];
    for column in collect_columns(part) {
        let values = batch.column(column.index());
        let as_views = || cast(values, &DataType::Utf8View).doing("look for empty texts in a key");
        let texts = if is_text(values) { Some(as_views()?) } else { None };
        let is_empty = |row| texts.as_ref().is_some_and(|texts| texts.as_string_view().value(row).is_empty());
        missing.iter_mut().enumerate().for_each(|(row, all)| *all &= values.is_null(row) || is_empty(row));
    }
    Ok(missing)
}
