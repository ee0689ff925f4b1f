//! Keys with their rows side by side.

use crate::dedup::{Decision, Dedup, Flagged};
use crate::error::{Doing, Error, Result};
use crate::kernel::key_prints;
use crate::landing::SOURCE;
use crate::report::GroupRows;
use arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use std::collections::HashMap;
use std::sync::Arc;

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
    // Fingerprints of the values of each group's first row: what is shown may be cut, and lists as text are ambiguous.
    let mut firsts: Vec<Vec<u128>> = vec![Vec::new(); groups.len()];
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
                wanted.push(row as u64);
                of_row.push(at);
            }
        }
        let batch = take_record_batch(&batch, &UInt64Array::from(wanted)).doing("pick the rows of a key")?;
        let values = batch.columns()[..columns.len()].iter();
        let prints = values.map(|column| key_prints(&[Arc::clone(column)], batch.num_rows()));
        let prints: Vec<Vec<u128>> = prints.collect::<Result<_>>()?;
        for (row, (at, values)) in of_row.into_iter().zip(texts(&batch, columns.len())?).enumerate() {
            let (group, first) = (&mut groups[at], &mut firsts[at]);
            if group.shown.is_empty() {
                group.key = kernel.key_texts(&batch.slice(row, 1))?;
                first.extend(prints.iter().map(|column| column[row]));
            }
            for ((differs, column), first) in group.differs.iter_mut().zip(&prints).zip(first) {
                *differs |= column[row] != *first;
            }
            group.shown.push(values);
        }
    }
    Ok(groups)
}

/// The input and the values of each row.
fn texts(batch: &RecordBatch, columns: usize) -> Result<Vec<(String, Vec<Option<String>>)>> {
    let sources = batch.column_by_name(SOURCE).and_then(|column| column.as_string_opt::<i32>());
    let sources = sources.ok_or_else(|| Error::bug("say where rows came from"))?;
    let mut found: Vec<(String, Vec<Option<String>>)> =
        sources.iter().map(|source| (source.unwrap_or_default().to_string(), Vec::new())).collect();
    for column in &batch.columns()[..columns] {
        let texts = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::new()).doing("show a value")?;
        for (row, (_, values)) in found.iter_mut().enumerate() {
            values.push(column.is_valid(row).then(|| short(texts.value(row).to_string())));
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
