//! The first pass: a record for every row.

use super::columns::Columns;
use super::group::DayCounts;
use super::hash::{Hasher, Seeds};
use super::input::Unit;
use super::part::Part;
use super::records::{Record, Sink};
use super::verdict::{Marks, Run};
use super::{Ask, Kernel};
use crate::error::{Doing, Error, Result};
use crate::progress::Progress;
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Int64Type, Schema, TimeUnit};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;

/// What was seen in a unit besides the records.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) aside_rows: u64,
    pub(super) days: DayCounts,
    pub(super) runs: Vec<Run>,
}

/// What a unit's batches are hashed with.
#[derive(Debug)]
struct Hashers {
    key: Hasher<u128>,
    content: Hasher<u64>,
}

/// What the first pass needs to know.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    kernel: &'a Kernel,
    ask: &'a Ask,
    aside: &'a Marks,
    columns: Columns,
    key: Vec<Part>,
    content: Vec<Part>,
    /// Columns that are only hashed: whatever form their values have.
    hashed: Vec<bool>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(kernel: &'a Kernel, ask: &'a Ask, aside: &'a Marks) -> Result<Gathering<'a>> {
        let whole = &kernel.columns;
        let columns = whole.narrowed(&whole.key, &whole.order, ask.day.as_slice(), evaluated(whole))?;
        let key: Vec<Part> = columns.key.iter().map(Part::of).collect();
        let content = columns.content().iter().map(|expr| Part::beside(expr, &key)).collect();
        let mut hashed = vec![true; columns.schema.fields().len()];
        let mut order = columns.order.iter().map(|item| &item.expr);
        // Rows are ranked by the first of the order, value by value: a whole dictionary would be ranked for each batch.
        let ranked = order.next();
        for expr in columns.key.iter().chain(order).filter(|expr| evaluated(&columns)(expr)).chain(ranked) {
            collect_columns(expr).iter().for_each(|column| hashed[column.index()] = false);
        }
        Ok(Gathering { kernel, ask, aside, columns, key, content, hashed })
    }

    /// Reads a unit and hands a record of every row that takes part to `sink`.
    pub(super) fn unit(&self, unit: &Unit, sink: &mut Sink<'_>, progress: &dyn Progress) -> Result<Seen> {
        let input = &self.kernel.input;
        let source = self.ask.source.as_ref().filter(|name| input.has(unit.file, name));
        let mut fields: Vec<FieldRef> = Vec::new();
        for (field, hashed) in self.columns.schema.fields().iter().zip(&self.hashed) {
            let dictionary = if *hashed { input.as_dictionary(unit, field) } else { None };
            fields.push(dictionary.map_or_else(|| Arc::clone(field), Arc::new));
        }
        fields.extend(source.map(|name| Arc::new(Field::new(name, DataType::Utf8View, true))));
        let schema = Arc::new(Schema::new(fields));
        let mut hashers =
            Hashers { key: Hasher::new(*Seeds::of_process()), content: Hasher::new(*Seeds::of_process()) };
        let mut seen = Seen::default();
        let mut place = unit.first;
        for batch in input.read(unit, &schema, None)? {
            let batch = batch?;
            self.batch(&batch, place, &mut hashers, sink, &mut seen)?;
            if source.is_some() {
                add_runs(&batch, place, unit.file, &mut seen.runs)?;
            }
            place += batch.num_rows() as u64;
            progress.advance(batch.num_rows() as u64);
        }
        if source.is_none() && unit.rows > 0 {
            seen.runs.push(Run { first: unit.first, source: None, file: unit.file });
        }
        Ok(seen)
    }

    fn batch(
        &self,
        batch: &RecordBatch,
        place: u64,
        hashers: &mut Hashers,
        sink: &mut Sink<'_>,
        seen: &mut Seen,
    ) -> Result<()> {
        let rows = batch.num_rows();
        let prints = hashers.key.tuples(&self.key, batch)?;
        let ranks = self.columns.ranks(batch)?;
        let digests = hashers.content.tuples(&self.content, batch)?;
        let days = match self.ask.day {
            Some(day) => Some(days(&self.columns.named(batch, &self.kernel.columns.schema, day)?)?),
            None => None,
        };
        let mut same_day = (None, 0);
        for row in 0..rows {
            let place = place + row as u64;
            if !self.ask.aside.is_empty() && self.ask.aside.contains(&prints[row]) {
                seen.aside_rows += 1;
                self.aside.set(place);
                continue;
            }
            let day = days.as_ref().and_then(|days| days.is_valid(row).then(|| days.value(row)));
            // Rows of one day mostly follow each other.
            if day != same_day.0 {
                seen.days.add(same_day.0, same_day.1);
                same_day = (day, 0);
            }
            same_day.1 += 1;
            sink.push(Record::new(prints[row], ranks[row], digests[row], place, day))?;
        }
        seen.days.add(same_day.0, same_day.1);
        Ok(())
    }
}

/// Which expressions are evaluated, so that their columns have to be as planned: all that are more than a choice among
/// columns, and the first of the order, which rows are ranked by, if it is more than a column.
fn evaluated(columns: &Columns) -> impl Fn(&Arc<dyn PhysicalExpr>) -> bool {
    let first = columns.order.first().map(|item| Arc::clone(&item.expr));
    move |expr| !expr.is::<Column>() && (first.as_ref() == Some(expr) || !Part::of(expr).is_plain())
}

/// The UTC day of each row of a time or date.
///
/// # Errors
/// When the column is neither.
pub fn days(values: &ArrayRef) -> Result<Date32Array> {
    let day: fn(i64) -> i32 = match values.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => day_of::<86_400>,
        DataType::Timestamp(TimeUnit::Millisecond, _) => day_of::<86_400_000>,
        DataType::Timestamp(TimeUnit::Microsecond, _) => day_of::<86_400_000_000>,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => day_of::<86_400_000_000_000>,
        _ => {
            let days = cast(values, &DataType::Date32).doing("find the days of rows")?;
            return Ok(days.as_primitive::<Date32Type>().clone());
        }
    };
    // To cast to a day would give that of a zone, by its calendar, which ends before the numbers do. What a timestamp
    // holds is UTC whatever its zone.
    let numbers = cast(values, &DataType::Int64).doing("find the days of rows")?;
    Ok(numbers.as_primitive::<Int64Type>().unary(day))
}

/// The day of a moment in units of which a day has so many. Days that are too far off count as the last ones.
fn day_of<const UNITS: i64>(moment: i64) -> i32 {
    let day = moment.div_euclid(UNITS);
    i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })
}

/// Adds a run wherever the input that rows name changes. They name it in the last column, whatever others are called.
fn add_runs(batch: &RecordBatch, place: u64, file: usize, runs: &mut Vec<Run>) -> Result<()> {
    let column = batch.columns().last().and_then(|column| column.as_string_view_opt());
    let names = column.ok_or_else(|| Error::bug("say where rows came from"))?;
    for row in 0..names.len() {
        let source = names.is_valid(row).then(|| names.value(row));
        if runs.last().is_none_or(|run| run.source.as_deref() != source) {
            runs.push(Run { first: place + row as u64, source: source.map(Arc::from), file });
        }
    }
    Ok(())
}
