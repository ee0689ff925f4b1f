//! Keys that are nearly the same, and keys with one part less: all tried in one pass over the rows that are left when
//! equal ones are counted once.
//!
//! Each try turns a row into a small record.

use super::Kernel;
use super::columns::{Columns, is_more_than_a_column, value};
use super::tries::{Merging, Pushing, Sums, Tags, prints_of, slices};
use super::verdict::Verdict;
use crate::dataset::is_text;
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

/// The sums of a row's columns: the key, the key in lower case, all columns with times cut to what is left of their
/// hour, and all columns. Then for each part what it is of the key, and what its columns are of all.
const KEY: usize = 0;
const FOLDED: usize = 1;
const HOURS: usize = 2;
const ALL: usize = 3;
const PARTS: usize = 4;

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
    /// Keys whose winners are the same in all columns but for times that are whole hours apart, one of them in the key.
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
    fn number(self) -> usize {
        match self {
            Try::Case => 0,
            Try::Hours => 1,
            Try::Without(part) => 2 + 2 * part,
            Try::RowsWithout(part) => 3 + 2 * part,
        }
    }
}

impl Kernel {
    /// Tries keys that are nearly those by which rows were decided.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub fn try_near(&self, verdict: &Verdict, progress: &dyn Progress) -> Result<Near> {
        let trying = Trying::new(&self.columns)?;
        let numbers = 2 + 2 * trying.dropped;
        let made = usize::from(trying.has_case) + usize::from(trying.has_hours) + 2 * trying.dropped;
        let tries = self.tries(numbers, verdict.different_rows.saturating_mul(made as u64), Tags::All);
        threads::each_with(
            self.input.units().len(),
            self.resources.threads,
            &|| tries.pushing(),
            &|pushing, at| -> Result<()> {
                let unit = &self.input.units()[at];
                let winners = verdict.winners.of(unit.places());
                let losers = &verdict.superseded.of(unit.places()) | &verdict.conflicts.of(unit.places());
                let chosen = &winners | &losers;
                let mut rows = chosen.set_indices();
                for batch in self.input.read(unit, &trying.columns.schema, Some(chosen.clone()))? {
                    let batch = batch?;
                    for some in slices(&batch, trying.sums()) {
                        let own = rows.by_ref().take(some.num_rows());
                        let own = own.map(|row| (unit.first + row as u64, winners.value(row)));
                        trying.push(&some, &own.collect::<Vec<_>>(), pushing)?;
                    }
                    progress.advance(batch.num_rows() as u64);
                }
                Ok(())
            },
            &|pushing| pushing.finish(),
        )?;
        let all = tries.count()?;
        let of = |what: Try| all.get(what.number()).cloned().unwrap_or_default();
        let without = |part| Without {
            keys: of(Try::Without(part)).keys,
            different_rows: of(Try::RowsWithout(part)).keys,
            missing: of(Try::Without(part)).merging,
        };
        Ok(Near {
            by_case: of(Try::Case).merging,
            by_hours: of(Try::Hours).merging,
            spilled_bytes: tries.spilled_bytes(),
            without: (0..trying.dropped).map(without).collect(),
        })
    }
}

/// What is read and tried.
struct Trying {
    /// The parts of the key, then the columns in which rows of a key may differ.
    columns: Columns,
    /// How many of them are parts of the key.
    parts: usize,
    has_case: bool,
    has_hours: bool,
    /// How many parts are left out in turn: none where there is but one.
    dropped: usize,
    /// For each column the sums that it goes into as it is.
    sets: Vec<Vec<usize>>,
}

impl Trying {
    fn new(whole: &Columns) -> Result<Trying> {
        let parts = whole.key.len();
        let has = |is: fn(&DataType) -> bool| -> Result<bool> {
            let kinds = whole.key.iter().map(|part| part.data_type(&whole.schema).doing("find the columns of a key"));
            Ok(kinds.collect::<Result<Vec<_>>>()?.iter().any(is))
        };
        let (has_case, has_hours) = (has(is_text)?, has(|kind| matches!(kind, DataType::Timestamp(..)))?);
        let exprs: Vec<_> = whole.key.iter().cloned().chain(whole.content()).collect();
        // With one part there is no key without it, and nothing but the key is read, unless it has a time.
        let read = if parts > 1 || has_hours { exprs.len() } else { parts };
        let columns = whole.narrowed(&exprs[..read], &[], &[], is_more_than_a_column)?;
        let dropped = if parts > 1 { parts } else { 0 };
        let sets = sets(&columns, parts, dropped);
        Ok(Trying { columns, parts, has_case, has_hours, dropped, sets })
    }

    fn sums(&self) -> usize {
        PARTS + 2 * self.dropped
    }

    /// Adds the records of some rows, each given as its place and whether it has won.
    fn push(&self, batch: &RecordBatch, rows: &[(u64, bool)], to: &mut Pushing<'_>) -> Result<()> {
        let sums = self.summed(batch)?;
        let missing = self.columns.key[..self.dropped].iter().map(|part| missing(part, batch));
        let missing = missing.collect::<Result<Vec<_>>>()?;
        for (row, (place, has_won)) in rows.iter().enumerate() {
            let of = |set: usize| sums.of(set)[row];
            let tag = of(KEY) as u64;
            if self.has_case {
                to.push(Try::Case.number(), of(FOLDED), tag, *place)?;
            }
            // By one row of each key: it stands there once, however many versions it has.
            if self.has_hours && *has_won {
                to.push(Try::Hours.number(), of(HOURS), tag, *place)?;
            }
            for (part, missing) in missing.iter().enumerate() {
                let without = of(KEY).wrapping_sub(of(PARTS + 2 * part));
                let rows_without = of(ALL).wrapping_sub(of(PARTS + 2 * part + 1));
                to.push(Try::Without(part).number(), without, u64::from(missing[row]), *place)?;
                to.push(Try::RowsWithout(part).number(), rows_without, 0, *place)?;
            }
        }
        Ok(())
    }

    fn summed(&self, batch: &RecordBatch) -> Result<Sums> {
        let mut sums = Sums::new(self.sums(), batch.num_rows());
        for (at, expr) in self.columns.key.iter().enumerate() {
            let values = value(expr, batch)?;
            let own = prints_of(&values, false)?;
            sums.add(&self.sets[at], at, &own);
            let prints = |other: Option<ArrayRef>| other.map(|other| prints_of(&other, false)).transpose();
            if at < self.parts && self.has_case {
                sums.add(&[FOLDED], at, prints(without_case(&values)?)?.as_ref().unwrap_or(&own));
            }
            if self.has_hours {
                sums.add(&[HOURS], at, prints(within_the_hour(&values)?)?.as_ref().unwrap_or(&own));
            }
        }
        Ok(sums)
    }
}

/// For each column the sums that it goes into. Without a part it is left out itself, and so are the columns it reads.
fn sets(columns: &Columns, parts: usize, dropped: usize) -> Vec<Vec<usize>> {
    let column = |at: usize| if at < parts { vec![ALL, KEY] } else { vec![ALL] };
    let mut sets: Vec<Vec<usize>> = (0..columns.key.len()).map(column).collect();
    for part in 0..dropped {
        let read = collect_columns(&columns.key[part]);
        let is_read = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().is_some_and(|c| read.contains(c));
        let content = (parts..columns.key.len()).filter(|at| is_read(&columns.key[*at]));
        content.chain([part]).for_each(|at| sets[at].push(PARTS + 2 * part + 1));
        sets[part].push(PARTS + 2 * part);
    }
    sets
}

/// Texts in lower case; nothing for other types.
fn without_case(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    if !is_text(column.data_type()) {
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
        let texts = if is_text(values.data_type()) { Some(as_views()?) } else { None };
        let is_empty = |row| texts.as_ref().is_some_and(|texts| texts.as_string_view().value(row).is_empty());
        missing.iter_mut().enumerate().for_each(|(row, all)| *all &= values.is_null(row) || is_empty(row));
    }
    Ok(missing)
}
