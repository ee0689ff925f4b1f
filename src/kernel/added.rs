//! What each column in which rows of a key differ would do as one more part of the key: all columns in one look at the
//! rows of odd keys, since the rows of every other key have no column in which they differ.

use super::columns::is_more_than_a_column;
use super::hash::Seeds;
use super::odd::{Facts, Odd};
use super::records::Record;
use super::verdict::Verdict;
use crate::error::Result;
use crate::threads;
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;

/// How many columns are read at a time: there may be hundreds.
const COLUMNS: usize = 16;

/// Hashes of some columns of some rows.
struct Hashes {
    places: Vec<u64>,
    /// Column by column for each row.
    hashes: Vec<u64>,
    columns: usize,
}

impl Hashes {
    fn of(&self, place: u64, column: usize) -> u64 {
        self.places.binary_search(&place).map_or(0, |row| self.hashes[row * self.columns + column])
    }
}

impl Odd<'_> {
    /// Counts what each column would do as a part of the key. About `limit` rows are read at a time; keys that have
    /// more are only counted.
    pub(super) fn try_columns(
        &self,
        keys: &[&[Record]],
        limit: usize,
        facts: &Facts,
        verdict: &mut Verdict,
    ) -> Result<()> {
        let (mut some, mut rows): (Vec<&[Record]>, usize) = (Vec::new(), 0);
        for key in keys {
            if key.len() > limit {
                verdict.untried_keys += 1;
                continue;
            }
            if rows + key.len() > limit {
                self.try_together(&some, facts, verdict)?;
                (some, rows) = (Vec::new(), 0);
            }
            some.push(key);
            rows += key.len();
        }
        self.try_together(&some, facts, verdict)
    }

    fn try_together(&self, keys: &[&[Record]], facts: &Facts, verdict: &mut Verdict) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        for (block, exprs) in self.columns.content().chunks(COLUMNS).enumerate() {
            let hashes = self.hashes(keys, exprs)?;
            for column in 0..exprs.len() {
                let added = &mut verdict.added[block * COLUMNS + column];
                for rows in keys {
                    let mut rows: Vec<(u64, &Record)> =
                        rows.iter().map(|row| (hashes.of(row.place(), column), row)).collect();
                    rows.sort_unstable_by_key(|(value, row)| (*value, row.place()));
                    let parts = || rows.chunk_by(|a, b| a.0 == b.0);
                    let more = parts().count() as u64 - 1;
                    if more == 0 {
                        continue;
                    }
                    added.more += more;
                    added.keys += 1;
                    let is_suspect =
                        |rows: &[(u64, &Record)]| self.number_events(rows.iter().map(|(_, row)| *row), facts);
                    added.separated += u64::from(is_suspect(&rows) && !parts().any(is_suspect));
                }
            }
        }
        Ok(())
    }

    fn hashes(&self, keys: &[&[Record]], exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Hashes> {
        let mut places: Vec<u64> = keys.iter().flat_map(|rows| rows.iter().map(Record::place)).collect();
        places.sort_unstable();
        let columns = self.columns.narrowed(exprs, &[], &[], is_more_than_a_column)?;
        let parts = self.input.by_unit(&places);
        let found = threads::each(parts.len(), self.threads, &|at| {
            let (unit, places) = parts[at];
            let mut hashes: Vec<u64> = Vec::with_capacity(places.len() * exprs.len());
            for batch in self.input.read(unit, &columns.schema, Some(unit.bits_of(places)))? {
                let batch = batch?;
                let own = columns.key_values(&batch)?.into_iter();
                let own = own.map(|values| Seeds::of_process().tuples::<u64>(&[values], batch.num_rows()));
                let own = own.collect::<Result<Vec<_>>>()?;
                (0..batch.num_rows()).for_each(|row| hashes.extend(own.iter().map(|column| column[row])));
            }
            Ok(hashes)
        })?;
        drop(parts);
        Ok(Hashes { places, hashes: found.into_iter().flatten().collect(), columns: exprs.len() })
    }
}
