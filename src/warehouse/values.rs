//! The values of one column, each with its rows: the statement for both engines, and how its answer is read.

use super::Statements;
use crate::dataset::ColumnType;
use crate::engine::number;
use crate::error::{Doing, Error, Result};
use crate::sql::render;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::collections::BTreeMap;

const DOING: &str = "list the values of a column";

impl Statements<'_> {
    /// The known values of a column as text, each with how many rows have it; where given, only of rows in which
    /// another column, as text, equals a text.
    ///
    /// # Errors
    /// Bug, for a column that the contract does not have; otherwise as [`crate::sql::Dialect::quote`].
    pub fn values(&self, column: &str, equals: Option<(&str, &str)>) -> Result<String> {
        let and_equal = match equals {
            Some((other, text)) => format!("\n  AND {} = {}", self.as_text(other)?, self.dialect.text(text)),
            None => String::new(),
        };
        render(
            include_str!("../../sql/values.sql"),
            &[
                ("value", &self.as_text(column)?),
                ("target", self.target),
                ("any_day", &self.any_day()?),
                ("and_equal", &and_equal),
            ],
        )
    }

    /// A column as text. A text is not cast: an engine may then skip what can't equal another.
    fn as_text(&self, name: &str) -> Result<String> {
        let Some(column) = self.dataset.column(name) else {
            return Err(Error::bug(DOING)
                .with("dataset", &self.dataset.name)
                .with("column", name.escape_debug())
                .because("the contract has no column of this name"));
        };
        let quoted = self.exprs().column("", name)?;
        Ok(match column.kind {
            ColumnType::String | ColumnType::Json => quoted,
            _ => format!("CAST({quoted} AS STRING)"),
        })
    }
}

/// Reads the answer of [`Statements::values`].
pub(super) async fn counted(mut rows: SendableRecordBatchStream) -> Result<BTreeMap<String, u64>> {
    let wrong = || Error::bug(DOING).because("the answer is not of texts and whole numbers");
    let mut values = BTreeMap::new();
    while let Some(batch) = rows.try_next().await.doing(DOING)? {
        if batch.num_rows() == 0 {
            continue;
        }
        let [texts, counts] = batch.columns() else { return Err(wrong()) };
        let texts = cast(texts, &DataType::Utf8).doing(DOING)?;
        for (row, text) in texts.as_string::<i32>().iter().enumerate() {
            let count = number(counts.as_ref(), row).and_then(|count| u64::try_from(count).ok());
            let (Some(text), Some(count)) = (text, count) else { return Err(wrong()) };
            values.insert(text.to_string(), count);
        }
    }
    Ok(values)
}
