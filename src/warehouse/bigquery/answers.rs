//! What queries answer, as Arrow: BigQuery gives every value as text, and the type beside it.

use super::client::Client;
use crate::error::{Doing, Error, Result};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use google_cloud_bigquery_v2::model::{GetQueryResultsResponse, JobReference, TableFieldSchema};
use std::sync::Arc;

/// The rows of a query that has run, page by page.
pub(super) async fn stream(client: &Client, reference: JobReference) -> Result<SendableRecordBatchStream> {
    let first = client.answer(&reference, "").await?;
    let schema = schema_of(&first);
    let pages = futures::stream::try_unfold(
        (client.clone(), reference, Some(first), Arc::clone(&schema)),
        |(client, reference, page, schema)| async move {
            let Some(page) = page else { return Ok(None) };
            let rows = decode(&schema, &page).map_err(outside)?;
            let next = match page.page_token.as_str() {
                "" => None,
                token => Some(client.answer(&reference, token).await.map_err(outside)?),
            };
            Ok(Some((rows, (client, reference, next, schema))))
        },
    );
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, pages)))
}

fn outside(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn schema_of(page: &GetQueryResultsResponse) -> SchemaRef {
    let fields = page.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    let field = |field: &TableFieldSchema| Field::new(&field.name, type_of(&field.r#type), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

/// The Arrow type of values of a type of BigQuery; what has none here stays the text that it comes as.
pub(super) fn type_of(name: &str) -> DataType {
    match name {
        "INTEGER" | "INT64" => DataType::Int64,
        "FLOAT" | "FLOAT64" => DataType::Float64,
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "DATE" => DataType::Date32,
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}

/// One page: `{"f": [{"v": "…"}, …]}` for each row.
fn decode(schema: &SchemaRef, page: &GetQueryResultsResponse) -> Result<RecordBatch> {
    let doing = "read the answer of a query";
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for (place, field) in schema.fields().iter().enumerate() {
        let mut texts = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            let cell = row.get("f").and_then(|cells| cells.get(place)?.get("v"));
            texts.push(match cell {
                Some(serde_json::Value::String(text)) => Some(text.as_str()),
                Some(serde_json::Value::Null) => None,
                _ => {
                    let why = format!("a value of `{}` is missing or no text", field.name());
                    return Err(Error::bug(doing).because(why));
                }
            });
        }
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        // Times come as microseconds.
        let values = match field.data_type() {
            DataType::Timestamp(_, _) => cast_with_options(&texts, &DataType::Int64, &strict).doing(doing)?,
            _ => texts,
        };
        columns.push(cast_with_options(&values, field.data_type(), &strict).doing(doing)?);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(page.rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows).doing(doing)
}
