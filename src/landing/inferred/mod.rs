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
use look::look;
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

/// Lands text inputs, in their order, as Parquet in `into`, a folder of the landing's own. An input in which there is
/// nothing has no rows. A JSON object that has none of the columns of `key`, but an array of objects that have one, is
/// a page with those as its rows. `given` are columns with the types that they have in Parquet files which are read
/// along. Progress is in stored bytes; there are two steps of it.
///
/// Two columns can't have one name. A name that SQL can't hold gets `_` for what it can't have in it.
///
/// # Errors
/// Usage, where a header of CSV is wrong, or there are more columns than can be told apart. Data, where an input is cut
/// short, damaged or no UTF-8, has changed in between, or where a row is lost (R1). Nothing is left in `into` then.
pub async fn land_inferred(
    inputs: &[Input],
    key: &[String],
    given: &Schema,
    into: &Folder,
    progress: &dyn Progress,
) -> Result<Inferred> {
    let inferred = Box::pin(land(inputs, key, given, into, progress)).await;
    if inferred.is_err() && into.clear().await.is_err() {
        progress.note(&format!("{} could not be emptied and holds an unfinished landing", into.url()));
    }
    inferred
}

async fn land(
    inputs: &[Input],
    key: &[String],
    given: &Schema,
    into: &Folder,
    progress: &dyn Progress,
) -> Result<Inferred> {
    let size_bytes = inputs.iter().map(|input| input.size_bytes).sum();
    let all: Vec<Result<Input>> = inputs.iter().cloned().map(Ok).collect();
    let fetched: Vec<_> = source::fetch(futures::stream::iter(all)).try_collect().await?;
    progress.begin("find columns and their types", Some(size_bytes));
    let key = key.to_vec();
    let (fetched, looked) = off_thread(progress, move |progress| {
        let looked = look(&fetched, &key, progress)?;
        Ok((fetched, looked))
    })
    .await?;
    progress.begin("read inputs", Some(size_bytes));
    let (to_write, received) = mpsc::channel(WAITING);
    let work = Work::new(looked, given, to_write)?;
    let schema = work.schema();
    let reading = tokio::task::spawn_blocking(move || work.run(&fetched));
    let done = async { reading.await.doing("read inputs").and_then(|read| read) };
    let landed = gather(received, done, into, FILE_BYTES, progress).await.map_err(Error::in_temporary_folder)?;
    Ok(Inferred { schema, landed })
}
