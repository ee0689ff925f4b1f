//! Keys with their rows side by side.

use crate::dedup::{Decision, Dedup, Flagged};
use crate::error::{Doing, Error, Result};
use crate::landing::SOURCE;
use crate::report::GroupRows;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use std::collections::HashMap;

/// How many keys are shown: suspect ones, others whose rows differ, and the largest.
const OF_EACH: usize = 5;
/// How many rows of a key are shown.
const ROWS: usize = 8;
/// How many characters of a value are shown.
const CHARACTERS: usize = 2_000;

/// Reads the rows of the keys that are worth a look.
pub(super) async fn groups(dedup: &Dedup<'_>, decision: &Decision<'_>) -> Result<Vec<GroupRows>> {
    let keys = decision.remarkable(OF_EACH);
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let kernel = &decision.decided().kernel;
    let columns: Vec<String> = kernel.schema().fields().iter().map(|field| field.name().clone()).collect();
    let group = |(_, rows): &(u128, u64)| GroupRows {
        key: Vec::new(),
        rows: *rows,
        columns: columns.clone(),
        differs: vec![false; columns.len()],
        shown: Vec::new(),
    };
    let mut groups: Vec<GroupRows> = keys.iter().map(group).collect();
    let of_print: HashMap<u128, usize> = keys.iter().enumerate().map(|(at, (print, _))| (*print, at)).collect();
    let mut rows = dedup.rows_of(&Flagged::listed(&keys)).await?;
    while let Some(batch) = rows.try_next().await.doing("read the rows of a key")? {
        let prints = kernel.prints_of(&batch)?;
        let (mut wanted, mut of_row) = (Vec::new(), Vec::new());
        for (row, print) in prints.iter().enumerate() {
            let group = of_print.get(print).and_then(|at| groups.get(*at).map(|group| (*at, group)));
            let waiting = |at: usize| of_row.iter().filter(|own| **own == at).count();
            if let Some((at, group)) = group
                && group.shown.len() + waiting(at) < ROWS
            {
                wanted.push(row);
                of_row.push(at);
            }
        }
        let shown = texts(&batch, columns.len(), &wanted)?;
        for ((at, row), values) in of_row.into_iter().zip(wanted).zip(shown) {
            let group = &mut groups[at];
            if group.shown.is_empty() {
                group.key = kernel.key_texts(&batch.slice(row, 1))?;
            }
            group.shown.push(values);
        }
    }
    for group in &mut groups {
        for column in 0..columns.len() {
            let mut values = group.shown.iter().map(|(_, values)| &values[column]);
            let first = values.next();
            group.differs[column] = values.any(|value| Some(value) != first);
        }
    }
    Ok(groups)
}

/// The input and the values of some rows.
fn texts(batch: &RecordBatch, columns: usize, rows: &[usize]) -> Result<Vec<(String, Vec<Option<String>>)>> {
    let sources = batch.column_by_name(SOURCE).and_then(|column| column.as_string_opt::<i32>());
    let sources = sources.ok_or_else(|| Error::bug("say where rows came from"))?;
    let mut found: Vec<(String, Vec<Option<String>>)> = rows
        .iter()
        .map(|row| (if sources.is_valid(*row) { sources.value(*row) } else { "" }.to_string(), Vec::new()))
        .collect();
    for column in &batch.columns()[..columns] {
        let texts = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::new()).doing("show a value")?;
        for (row, (_, values)) in rows.iter().zip(&mut found) {
            values.push(column.is_valid(*row).then(|| short(texts.value(*row).to_string())));
        }
    }
    Ok(found)
}

/// A value, cut where it is very long.
pub(super) fn short(text: String) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
