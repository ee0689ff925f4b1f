//! Rows by day: the statement for both engines, and how its answer is read.

use super::Statements;
use crate::engine::number;
use crate::error::{Doing, Error, Result};
use crate::sql::render;
use crate::window::Day;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::collections::BTreeMap;

const DOING: &str = "count rows by day";

impl Statements<'_> {
    /// The days from this one on that have rows, each with how many. Only for a dataset with a partition column.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn rows_by_day(&self, from: Day) -> Result<String> {
        let (day, from) = (self.day_of_target("")?, from.to_string());
        render(include_str!("../../sql/rows_by_day.sql"), &[("day", &day), ("target", self.target), ("from", &from)])
    }
}

/// Reads the answer of [`Statements::rows_by_day`].
pub(super) async fn by_day(mut rows: SendableRecordBatchStream) -> Result<BTreeMap<Day, u64>> {
    let wrong = || Error::bug(DOING).because("the answer is not of days and whole numbers");
    let mut days = BTreeMap::new();
    while let Some(batch) = rows.try_next().await.doing(DOING)? {
        if batch.num_rows() == 0 {
            continue;
        }
        let [day, count] = batch.columns() else { return Err(wrong()) };
        for row in 0..batch.num_rows() {
            let day = number(day.as_ref(), row).and_then(|day| i32::try_from(day).ok());
            let count = number(count.as_ref(), row).and_then(|count| u64::try_from(count).ok());
            let (Some(day), Some(count)) = (day, count) else { return Err(wrong()) };
            days.insert(Day(day), count);
        }
    }
    Ok(days)
}
