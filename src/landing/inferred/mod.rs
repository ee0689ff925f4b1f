//! Landing without a contract: CSV, NDJSON and JSON to Parquet with all columns that the inputs have.
//!
//! Types are found by reading everything once before anything is written, so that no later row can be a surprise. A
//! column has another type than text only where each of its values could be written back as it stood, and no two that
//! are written in different ways become one:
//!
//! | all values of a column | type |
//! | --- | --- |
//! | `true` and `false` | boolean |
//! | whole numbers that fit into 64 bits: no `+`, no zero in front, no `-0`, no exponent | 64-bit integer |
//! | numbers that a double gives back: never both `0.5` and `0.50`, nor a whole number beyond 2^53 | double |
//! | days like `2025-10-01` | date |
//! | times that differ in nothing but digits: one zone, one form, never both `:00` and `:00.0` | timestamp |
//! | objects and arrays of JSON, or values of several types of JSON | canonical JSON text |
//! | anything else, and columns that are NULL throughout | text, as it is written |
//!
//! Texts of JSON are never numbers, and fields of CSV may be anything. A time without a zone stays without one.

mod form;
mod look;
mod seen;
mod work;

pub use look::columns_at_first_sight;

use super::landed::Landed;
use super::{WAITING, gather};
use crate::error::{Doing, Error, Result};
use crate::progress::{Progress, off_thread};
use crate::source::{self, Input};
use crate::storage::Folder;
use arrow::datatypes::{Schema, SchemaRef};
use futures::TryStreamExt;
use look::{align, look};
use tokio::sync::mpsc;
use work::Work;

/// The size past which a new file is begun, in bytes.
const FILE_BYTES: u64 = 256 << 20;

/// What a landing without a contract has brought.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// The columns that were found, in the order in which they were first seen.
    pub schema: SchemaRef,
    /// The files, and what became of every row.
    pub landed: Landed,
}

/// Text inputs that land together.
#[derive(Debug)]
pub struct Texts<'a> {
    /// The inputs, in their order.
    pub inputs: &'a [Input],
    /// Columns with the types that they have in Parquet files which are read along, of several of one name the first.
    pub given: Schema,
    /// Where they land: a folder of the landing's own.
    pub into: &'a Folder,
}

/// Lands text inputs as Parquet. An input in which there is nothing has no rows. A JSON object that has none of the
/// columns of `key`, but an array of objects that have one, is a page with those as its rows. Of several sides each
/// lands by itself, with the columns that it has; but the values of all of them say what a column is. Progress is in
/// stored bytes; there are two steps of it.
///
/// Two columns can't have one name. A name that SQL can't hold gets `_` for what it can't have in it.
///
/// # Errors
/// Usage, where a header of CSV is wrong, or there are more columns than can be told apart. Data, where an input is cut
/// short, damaged or no UTF-8, has changed in between, or where a row is lost (R1). Nothing is left in the folders.
pub async fn land_inferred(sides: &[Texts<'_>], key: &[String], progress: &dyn Progress) -> Result<Vec<Inferred>> {
    let inferred = Box::pin(land(sides, key, progress)).await;
    if inferred.is_err() {
        for Texts { into, .. } in sides {
            if into.clear().await.is_err() {
                progress.note(&format!("{} could not be emptied and holds an unfinished landing", into.url()));
            }
        }
    }
    inferred
}

async fn land(sides: &[Texts<'_>], key: &[String], progress: &dyn Progress) -> Result<Vec<Inferred>> {
    let size_bytes = sides.iter().flat_map(|side| side.inputs).map(|input| input.size_bytes).sum();
    let mut fetched = Vec::new();
    for side in sides {
        let all: Vec<Result<Input>> = side.inputs.iter().cloned().map(Ok).collect();
        fetched.push(source::fetch(futures::stream::iter(all)).try_collect::<Vec<_>>().await?);
    }
    progress.begin("find columns and their types", Some(size_bytes));
    let key = key.to_vec();
    let (fetched, looked) = off_thread(progress, move |progress| {
        let mut looked = fetched.iter().map(|side| look(side, &key, progress)).collect::<Result<Vec<_>>>()?;
        align(&mut looked);
        Ok((fetched, looked))
    })
    .await?;
    progress.begin("read inputs", Some(size_bytes));
    let mut inferred = Vec::new();
    for ((side, fetched), looked) in sides.iter().zip(fetched).zip(looked) {
        let (to_write, received) = mpsc::channel(WAITING);
        let work = Work::new(looked, &side.given, to_write)?;
        let schema = work.schema();
        let reading = tokio::task::spawn_blocking(move || work.run(&fetched));
        let done = async { reading.await.doing("read inputs").and_then(|read| read) };
        let landed = gather(received, done, side.into, FILE_BYTES, progress).await;
        inferred.push(Inferred { schema, landed: landed.map_err(Error::in_temporary_folder)? });
    }
    Ok(inferred)
}
