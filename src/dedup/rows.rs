//! Rows of the input for a person to look at, with where each came from.

use crate::error::{Doing, Error, Result};
use crate::kernel::{Batches, Kernel, Unit, Verdict};
use crate::landing::{SOURCE, SOURCE_ROW};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use std::sync::Arc;

/// The column that says the class of a loser.
pub(super) const CLASS: &str = "_class";

/// Which rows of a unit are wanted.
pub(super) type Chosen = Box<dyn Fn(&Unit) -> BooleanBuffer + Send>;

/// The chosen rows: the columns of the dataset, then [`SOURCE`] and [`SOURCE_ROW`], then [`CLASS`] where there is a
/// verdict.
pub(super) fn stream(
    kernel: &Arc<Kernel>,
    labels: &Arc<[String]>,
    verdict: Option<Arc<Verdict>>,
    chosen: Chosen,
) -> SendableRecordBatchStream {
    let mut fields = kernel.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(SOURCE, DataType::Utf8, true)));
    fields.push(Arc::new(Field::new(SOURCE_ROW, DataType::Int64, true)));
    let read = Arc::new(Schema::new(fields.clone()));
    if verdict.is_some() {
        fields.push(Arc::new(Field::new(CLASS, DataType::Utf8, false)));
    }
    let rows = Rows {
        kernel: Arc::clone(kernel),
        labels: Arc::clone(labels),
        verdict,
        read,
        given: Arc::new(Schema::new(fields)),
    };
    let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&rows.given), 2);
    let sender = builder.tx();
    builder.spawn_blocking(move || {
        let external = |error| DataFusionError::External(Box::new(error));
        for unit in rows.kernel.input().units() {
            let chosen = chosen(unit);
            let mut places = chosen.set_indices();
            for batch in rows.batches(unit, chosen.clone()).map_err(external)? {
                let batch = batch.and_then(|batch| rows.with_origin(unit, &batch, &mut places));
                if sender.blocking_send(batch.map_err(external)).is_err() {
                    // Nobody listens any more.
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    builder.build()
}

struct Rows {
    kernel: Arc<Kernel>,
    labels: Arc<[String]>,
    verdict: Option<Arc<Verdict>>,
    read: SchemaRef,
    given: SchemaRef,
}

impl Rows {
    fn batches(&self, unit: &Unit, chosen: BooleanBuffer) -> Result<Batches> {
        self.kernel.input().read(unit, &self.read, Some(chosen))
    }

    /// Names the file and the row in it wherever the row does not say itself what it came from.
    fn with_origin(
        &self,
        unit: &Unit,
        batch: &RecordBatch,
        places: &mut impl Iterator<Item = usize>,
    ) -> Result<RecordBatch> {
        let places: Vec<u64> = places.take(batch.num_rows()).map(|place| place as u64).collect();
        let missing = || Error::bug("say where rows came from");
        let own = batch.num_columns().checked_sub(2).ok_or_else(missing)?;
        let label = self.labels.get(unit.file).ok_or_else(missing)?;
        let (source, row) = (batch.column(own).as_string::<i32>(), batch.column(own + 1).as_primitive::<Int64Type>());
        let sources: StringArray = source.iter().map(|source| Some(source.unwrap_or(label))).collect();
        let rows =
            row.iter().zip(&places).map(|(row, place)| Some(row.unwrap_or((unit.first_in_file + place + 1) as i64)));
        let mut columns: Vec<ArrayRef> = batch.columns()[..own].to_vec();
        columns.push(Arc::new(sources));
        columns.push(Arc::new(rows.collect::<Int64Array>()));
        if let Some(verdict) = &self.verdict {
            let class = |place: &u64| Some(verdict.class(unit.first + place).name());
            columns.push(Arc::new(places.iter().map(class).collect::<StringArray>()));
        }
        RecordBatch::try_new(Arc::clone(&self.given), columns).doing("say where rows came from")
    }
}
