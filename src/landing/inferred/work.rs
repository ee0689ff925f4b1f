//! The blocking half of a landing without a contract: reads every input again and gives each value its column's type.

use super::look::{Found, Looked, each_row};
use super::seen::{Kind, Misfit};
use crate::error::{Doing, Error, Result};
use crate::landing::columns::{Columns, SOURCE, SOURCE_ROW};
use crate::landing::landed::{InputReport, LandingCounts, LeftOut};
use crate::landing::rejects::Rejects;
use crate::landing::work::{Done, Out};
use crate::source::{Cell, Fields, Input, Local, Reason, Record, Stored};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

pub(super) struct Work {
    found: Found,
    envelope: Vec<String>,
    stored: Vec<Stored>,
    /// What each column is.
    kinds: Vec<Kind>,
    /// The columns as they are landed: some have another layout in Parquet files that are read along.
    schema: SchemaRef,
    columns: Columns,
    /// Whether each input has a file of its own: where it has columns by the names with which rows would say where they
    /// came from.
    has_own_files: bool,
    rejects: Rejects,
    out: Sender<Out>,
    done: Done,
}

impl Work {
    pub(super) fn new(looked: Looked, given: &Schema, out: Sender<Out>) -> Result<Work> {
        let Looked { found, envelope, stored } = looked;
        let plain = found.schema(given);
        let given = |field: &Field| given.field_with_name(field.name()).ok().map(Field::data_type);
        let seen = || found.columns().iter().map(|(_, seen)| seen).zip(plain.fields());
        let kinds = seen().map(|(seen, field)| seen.kind(given(field))).collect();
        let laid_out = seen().map(|(seen, field)| match given(field) {
            // What is NULL throughout here, or text in both, takes the type that it has elsewhere.
            Some(given) if seen.is_nothing() || crate::dataset::is_text(given) && is_text(field) => {
                field.as_ref().clone().with_data_type(given.clone())
            }
            _ => field.as_ref().clone(),
        });
        let schema = Arc::new(Schema::new(laid_out.collect::<Vec<_>>()));
        let has_own_files = [SOURCE, SOURCE_ROW].iter().any(|name| schema.column_with_name(name).is_some());
        let columns = Columns::new(&plain, !has_own_files)?;
        let rejects = Rejects::default();
        let done = Done::default();
        Ok(Work { found, envelope, stored, kinds, schema, columns, has_own_files, rejects, out, done })
    }

    /// The columns, without those that say where a row came from.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Reads all inputs. It blocks, and must not run on a thread of the runtime.
    pub(super) fn run(mut self, inputs: &[(Input, Local)]) -> Result<Done> {
        for (place, (input, local)) in inputs.iter().enumerate() {
            let mut counts = LandingCounts::default();
            let (envelope, out) = (self.envelope.clone(), self.out.clone());
            // Whoever listens is gone only because writing failed, which is told elsewhere.
            let told = |bytes| drop(out.blocking_send(Out::Read(bytes)));
            let each = |record: &Record<'_>| self.record(&input.url, record, &mut counts);
            let stored = each_row(input, local, &envelope, each, told)?;
            if self.stored.get(place).map(|before| &before.digest) != Some(&stored.digest) {
                return Err(changed(&input.url));
            }
            if self.has_own_files {
                self.flush()?;
                self.send(Out::EndFile(input.url.clone()))?;
            }
            self.done.inputs.push(InputReport {
                url: input.url.clone(),
                format: Some(input.format),
                size_bytes: stored.bytes,
                digest: stored.digest,
                counts,
                left_out: LeftOut::new(),
            });
        }
        self.flush()?;
        self.flush_rejects()?;
        self.done.rejects_by_reason = self.rejects.by_reason;
        Ok(self.done)
    }

    /// Lands a row or sets it aside, and counts which.
    fn record(&mut self, url: &str, record: &Record<'_>, counts: &mut LandingCounts) -> Result<()> {
        counts.read += 1;
        let fields = match &record.fields {
            Ok(fields) => fields,
            Err(reason) => return self.reject(url, record, None, reason, counts),
        };
        let cells = self.cells(url, fields)?;
        let mut values = Vec::with_capacity(cells.len());
        for (place, (kind, cell)) in self.kinds.iter().zip(&cells).enumerate() {
            match cell.map_or(Ok(None), |cell| kind.value(cell)) {
                Ok(value) => values.push(value),
                Err(Misfit::Changed) => return Err(changed(url)),
                Err(Misfit::Row(reason)) => {
                    let column = self.schema.field(place).name().clone();
                    return self.reject(url, record, Some(&column), &reason, counts);
                }
            }
        }
        self.columns.push(&values, url, record.row)?;
        counts.landed += 1;
        if self.columns.is_full() { self.flush() } else { Ok(()) }
    }

    /// The row's cells by column. Of several of one name the last counts, as everywhere in JSON.
    fn cells<'a>(&self, url: &str, fields: &'a Fields<'a>) -> Result<Vec<Option<&'a Cell<'a>>>> {
        let mut cells = vec![None; self.kinds.len()];
        for (guess, (name, cell)) in fields.iter().enumerate() {
            let place = self.found.place(name, guess).ok_or_else(|| changed(url))?;
            cells[place] = Some(cell);
        }
        Ok(cells)
    }

    fn reject(
        &mut self,
        url: &str,
        record: &Record<'_>,
        column: Option<&str>,
        reason: &Reason,
        counts: &mut LandingCounts,
    ) -> Result<()> {
        self.rejects.push(url, record.row, column, reason, &record.raw_json());
        counts.rejected += 1;
        if self.rejects.is_full() { self.flush_rejects() } else { Ok(()) }
    }

    fn flush_rejects(&mut self) -> Result<()> {
        match self.rejects.take() {
            Some(lines) => self.send(Out::Rejects(lines)),
            None => Ok(()),
        }
    }

    /// Hands on the rows that wait.
    fn flush(&mut self) -> Result<()> {
        match self.columns.take()? {
            Some(batch) => self.send(Out::Batch(laid_out(&batch, &self.schema)?)),
            None => Ok(()),
        }
    }

    fn send(&self, out: Out) -> Result<()> {
        // The other half is gone only because it failed, and its error is the one that is told.
        self.out.blocking_send(out).map_err(|_| Error::bug("hand on landed rows"))
    }
}

fn is_text(field: &Field) -> bool {
    crate::dataset::is_text(field.data_type())
}

/// The same rows with the types of `schema`; columns that it does not have stay as they are.
fn laid_out(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let wanted = schema.field_with_name(field.name()).map_or(field.data_type(), Field::data_type);
        let array: ArrayRef = if wanted == array.data_type() {
            Arc::clone(array)
        } else if array.null_count() == array.len() {
            new_null_array(wanted, array.len())
        } else {
            cast(array, wanted).doing("land a column")?
        };
        fields.push(Field::new(field.name(), wanted.clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).doing("land a batch of rows")
}

fn changed(url: &str) -> Error {
    Error::data("read an input twice")
        .with("file", url)
        .because("it is not what it was a moment ago: something writes to it")
        .hint("run the command again when nothing changes the input any more")
}
