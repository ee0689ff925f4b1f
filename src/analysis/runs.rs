//! Rows and losers by the values of a column.

use super::groups::short;
use crate::dataset::Dataset;
use crate::dedup::{Class, Decision, Tally};
use crate::error::{Doing, Error, Result};
use crate::kernel::ValueRows;
use crate::progress::{Progress, off_thread};
use crate::report::{OtherRuns, RunRows, Runs};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// How many values are told.
const TOLD: usize = 1_000;

/// Makes sure that rows can be counted by a column.
///
/// # Errors
/// Usage, with the columns that there are.
pub fn must_have(dataset: &Dataset, column: &str) -> Result<()> {
    match dataset.column_names().any(|name| name == column) {
        true => Ok(()),
        false => Err(Error::usage("count rows by a column")
            .with("column", column)
            .because(format!(
                "there is none of this name. There are {}",
                dataset.column_names().collect::<Vec<_>>().join(", ")
            ))
            .hint("choose --run-column from these")),
    }
}

/// Counts rows and losers by a column. A time counts by its value, but by its UTC day where there are more different
/// ones than are told. Gives how many bytes of records waited on disk, too.
///
/// # Errors
/// When a file can't be read or has changed, the disk is full, or rows do not balance.
pub(super) async fn by_run(
    decision: &Decision<'_>,
    column: &str,
    rows: u64,
    progress: &dyn Progress,
) -> Result<(Runs, u64)> {
    let (kernel, verdict) = (Arc::clone(&decision.decided().kernel), Arc::clone(&decision.decided().verdict));
    let doing = "count rows by a column";
    let place = kernel.schema().index_of(column).doing(doing)?;
    let is_time = matches!(kernel.schema().field(place).data_type(), DataType::Timestamp(..) | DataType::Date64);
    progress.begin(doing, Some(rows));
    let (found, by_day, texts, spilled_bytes) = off_thread(progress, move |progress| {
        let mut found = kernel.by_value(&verdict, place, false, TOLD, progress)?;
        let mut spilled_bytes = found.spilled_bytes;
        let by_day = is_time && found.values > TOLD as u64;
        if by_day {
            found = kernel.by_value(&verdict, place, true, TOLD, progress)?;
            spilled_bytes += found.spilled_bytes;
        }
        let places: Vec<u64> = found.most.iter().map(|value| value.place).collect();
        let texts = kernel.texts_at(place, by_day, &places, short)?;
        Ok((found, by_day, texts, spilled_bytes))
    })
    .await?;
    let all = (found.all.rows(), tally(&found.all));
    if all != (rows, decision.losers_count()) {
        let why = format!("{all:?} by their values, {:?} in all", (rows, decision.losers_count()));
        return Err(Error::bug(doing).with("column", column).because(why));
    }
    let told = found.most.iter().zip(texts);
    let told: Vec<RunRows> =
        told.map(|(value, text)| RunRows { value: text, rows: value.rows(), losers: tally(value) }).collect();
    let others = OtherRuns {
        values: found.values - told.len() as u64,
        rows: rows - told.iter().map(|run| run.rows).sum::<u64>(),
        losers: told.iter().fold(all.1, |left, run| Tally {
            exact: left.exact - run.losers.exact,
            superseded: left.superseded - run.losers.superseded,
            conflict: left.conflict - run.losers.conflict,
        }),
    };
    Ok((Runs { column: column.to_string(), by_day, values: found.values, told, others }, spilled_bytes))
}

fn tally(rows: &ValueRows) -> Tally {
    Tally {
        exact: rows.losers(Class::Exact),
        superseded: rows.losers(Class::Superseded),
        conflict: rows.losers(Class::Conflict),
    }
}
