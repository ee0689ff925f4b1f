//! Copies of many entries in one file: who opens a ledger after a year must not read a million small objects. The
//! entries themselves stay, and are what counts: a copy that is missing or damaged costs time and nothing else.

use super::READS;
use super::entry::Record;
use crate::error::{Doing, Result};
use crate::storage::Folder;
use futures::StreamExt;

/// How many entries a segment has.
const ENTRIES: usize = 1_000;

/// The records of all segments that follow each other from the first entry on, the oldest first.
///
/// # Errors
/// What the store says.
pub(super) async fn read(ledger: &Folder) -> Result<Vec<Record>> {
    let folder = folder(ledger);
    let segments = folder.list().await?.len();
    let mut bodies = futures::stream::iter((0..segments).map(|number| get(&folder, number))).buffered(READS);
    let mut records = Vec::new();
    while let Some(body) = bodies.next().await {
        match body?.as_deref().and_then(|body| parse(body, records.len() as u64)) {
            Some(segment) => records.extend(segment),
            None => break,
        }
    }
    Ok(records)
}

/// Writes the segments that the records fill, but for the first `written`.
///
/// # Errors
/// What the store says.
pub(super) async fn write(ledger: &Folder, records: &[Record], written: usize) -> Result<()> {
    for (number, segment) in records.chunks_exact(ENTRIES).enumerate().skip(written) {
        let mut text = Vec::new();
        for record in segment {
            serde_json::to_writer(&mut text, record).doing("write a segment of the ledger")?;
            text.push(b'\n');
        }
        let packed = zstd::encode_all(text.as_slice(), 3).doing("pack a segment of the ledger")?;
        folder(ledger).put(&name(number), packed.into()).await?;
    }
    Ok(())
}

/// How many segments so many records fill.
pub(super) fn filled(records: usize) -> usize {
    records / ENTRIES
}

fn folder(ledger: &Folder) -> Folder {
    ledger.join("segments")
}

fn name(number: usize) -> String {
    format!("{number:012}.jsonl.zst")
}

async fn get(folder: &Folder, number: usize) -> Result<Option<bytes::Bytes>> {
    folder.get(&name(number)).await
}

/// The records of a segment, if it is whole and begins with this one.
fn parse(body: &[u8], first: u64) -> Option<Vec<Record>> {
    let text = zstd::decode_all(body).ok()?;
    let records: Vec<Record> =
        serde_json::Deserializer::from_slice(&text).into_iter().collect::<Result<_, _>>().ok()?;
    let follow = records.iter().zip(first..).all(|(record, number)| record.number == number);
    (records.len() == ENTRIES && follow).then_some(records)
}
