//! Typed values to Arrow batches.

use super::convert::Value;
use crate::dataset::Dataset;
use crate::error::{Doing, Error, Result};
use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// The column that says which input a spooled row came from, as [`crate::source::Input::url`].
pub const SOURCE: &str = "_source";
/// The column that says which row of that input it was, from 1.
pub const SOURCE_ROW: &str = "_source_row";

/// Rows of a batch; fewer where they are large.
const BATCH_ROWS: usize = 8_192;
const BATCH_TEXT_BYTES: usize = 32 << 20;
/// Values of a batch, at most: a table may have hundreds of columns.
const BATCH_VALUES: usize = 1 << 20;

/// The schema of spooled files: the contract's columns, then [`SOURCE`] and [`SOURCE_ROW`].
pub fn landing_schema(dataset: &Dataset) -> SchemaRef {
    with_source(dataset.schema())
}

/// These columns, then [`SOURCE`] and [`SOURCE_ROW`].
fn with_source(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(SOURCE, DataType::Utf8, true)));
    fields.push(Arc::new(Field::new(SOURCE_ROW, DataType::Int64, true)));
    Arc::new(Schema::new(fields))
}

enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Day(Date32Builder),
    Time(TimestampMicrosecondBuilder),
}

/// A batch in the making.
pub(crate) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// Where rows say which input they came from, and which row of it they were.
    source: Option<(StringBuilder, Int64Builder)>,
    rows: usize,
    text_bytes: usize,
}

impl Columns {
    /// Batches of these columns, whose types are some of those that a contract has; `has_source`: rows also say where
    /// they came from, in [`SOURCE`] and [`SOURCE_ROW`].
    pub(crate) fn new(schema: &SchemaRef, has_source: bool) -> Result<Columns> {
        let builders = schema.fields().iter().map(|field| builder(field)).collect::<Result<_>>()?;
        let schema = if has_source { with_source(schema) } else { Arc::clone(schema) };
        let source = has_source.then(|| (StringBuilder::new(), Int64Builder::new()));
        Ok(Columns { schema, builders, source, rows: 0, text_bytes: 0 })
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, values: &[Option<Value<'_>>], source: &str, row: u64) -> Result<()> {
        for (builder, value) in self.builders.iter_mut().zip(values) {
            match (builder, value) {
                (Builder::Text(builder), Some(Value::Text(text))) => {
                    self.text_bytes += text.len();
                    builder.append_value(text);
                }
                (Builder::Int(builder), Some(Value::Int(value))) => builder.append_value(*value),
                (Builder::Float(builder), Some(Value::Float(value))) => builder.append_value(*value),
                (Builder::Bool(builder), Some(Value::Bool(value))) => builder.append_value(*value),
                (Builder::Day(builder), Some(Value::Day(value))) => builder.append_value(*value),
                (Builder::Time(builder), Some(Value::Time(value))) => builder.append_value(*value),
                (Builder::Text(builder), None) => builder.append_null(),
                (Builder::Int(builder), None) => builder.append_null(),
                (Builder::Float(builder), None) => builder.append_null(),
                (Builder::Bool(builder), None) => builder.append_null(),
                (Builder::Day(builder), None) => builder.append_null(),
                (Builder::Time(builder), None) => builder.append_null(),
                (_, Some(value)) => return Err(Error::bug("land a value").with("value", format!("{value:?}"))),
            }
        }
        if let Some((sources, rows)) = &mut self.source {
            sources.append_value(source);
            rows.append_value(row as i64);
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        let values = self.rows.saturating_mul(self.builders.len());
        self.rows >= BATCH_ROWS || self.text_bytes >= BATCH_TEXT_BYTES || values >= BATCH_VALUES
    }

    /// Hands out the rows and begins anew; nothing where there are none.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.builders.len() + 2);
        for builder in &mut self.builders {
            arrays.push(match builder {
                Builder::Text(builder) => Arc::new(builder.finish()),
                Builder::Int(builder) => Arc::new(builder.finish()),
                Builder::Float(builder) => Arc::new(builder.finish()),
                Builder::Bool(builder) => Arc::new(builder.finish()),
                Builder::Day(builder) => Arc::new(builder.finish()),
                Builder::Time(builder) => Arc::new(builder.finish()),
            });
        }
        if let Some((sources, rows)) = &mut self.source {
            arrays.push(Arc::new(sources.finish()));
            arrays.push(Arc::new(rows.finish()));
        }
        // There may be no columns at all.
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.text_bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .doing("build a batch of rows")
            .map(Some)
    }
}

fn builder(field: &Field) -> Result<Builder> {
    Ok(match field.data_type() {
        DataType::Utf8 => Builder::Text(StringBuilder::new()),
        DataType::Int64 => Builder::Int(Int64Builder::new()),
        DataType::Float64 => Builder::Float(Float64Builder::new()),
        DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
        DataType::Date32 => Builder::Day(Date32Builder::new()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Builder::Time(TimestampMicrosecondBuilder::new().with_timezone_opt(zone.clone()))
        }
        other => return Err(Error::bug("land a column").with("column", field.name()).with("type", other)),
    })
}
