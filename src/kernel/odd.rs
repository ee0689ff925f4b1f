//! Keys whose rows differ: only their rows are read again, only in the columns that decide, and are compared by value.

use super::Ask;
use super::columns::{Columns, is_more_than_a_column};
use super::group::too_many;
use super::hash::{Seeds, rows_of};
use super::input::Input;
use super::records::Record;
use super::verdict::{Class, Verdict};
use crate::error::Result;
use crate::threads;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use std::sync::Arc;

const HOUR_US: i64 = 3_600_000_000;

/// What is read of one row.
#[derive(Debug, Default)]
struct Fact {
    /// Its columns of the order, as bytes that compare as they do.
    order: Box<[u8]>,
    /// For each identity its value, hashed; `None` where it is not known.
    identities: Box<[Option<u64>]>,
    /// For each fixed column its value: microseconds of a time, a hash of anything else.
    fixed: Box<[Option<i64>]>,
}

/// Identities and fixed columns of a batch, as those of [`Fact`], column by column.
#[derive(Debug, Default)]
struct Numbers {
    identities: Vec<Vec<Option<u64>>>,
    fixed: Vec<Vec<Option<i64>>>,
}

/// Looks at the rows of odd keys.
#[derive(Debug)]
pub(super) struct Odd<'a> {
    pub(super) input: &'a Input,
    pub(super) columns: &'a Columns,
    pub(super) ask: &'a Ask,
    pub(super) threads: usize,
}

/// The rows that are read, by their places, each with what was read.
pub(super) struct Facts {
    places: Vec<u64>,
    facts: Vec<Fact>,
}

impl Facts {
    fn of(&self, place: u64) -> Option<&Fact> {
        self.places.binary_search(&place).ok().map(|at| &self.facts[at])
    }
}

impl Odd<'_> {
    /// Decides these keys, all of whose rows are here. About `limit` rows are read at a time, and of a key all
    /// together: no more than `most`.
    ///
    /// # Errors
    /// Usage, when more rows of a key would have to be read; or when a file can't be read or has changed.
    pub(super) fn settle(&self, mut rows: Vec<Record>, limit: usize, most: usize, verdict: &mut Verdict) -> Result<()> {
        rows.sort_unstable_by_key(|row| (row.print(), row.place()));
        let keys: Vec<&[Record]> = rows.chunk_by(|a, b| a.print() == b.print()).collect();
        let (mut begin, mut to_read) = (0, 0);
        for (at, key) in keys.iter().enumerate() {
            let own = self.to_read(key).len();
            if own > most {
                return Err(too_many(format!("a key has {own} rows that are")));
            }
            if to_read + own > limit && at > begin {
                self.settle_keys(&keys[begin..at], limit, verdict)?;
                (begin, to_read) = (at, 0);
            }
            to_read += own;
        }
        match &keys[begin..] {
            [] => Ok(()),
            last => self.settle_keys(last, limit, verdict),
        }
    }

    /// The rows of a key that have to be read to decide it.
    fn to_read<'r>(&self, key: &'r [Record]) -> Vec<&'r Record> {
        if !self.ask.identity.is_empty() || !self.ask.fixed.is_empty() {
            return key.iter().collect();
        }
        let best = first_by_rank(key);
        if agree(&best) { Vec::new() } else { best }
    }

    fn settle_keys(&self, keys: &[&[Record]], limit: usize, verdict: &mut Verdict) -> Result<()> {
        let wanted = keys.iter().flat_map(|key| self.to_read(key)).map(Record::place).collect();
        let declared = self.ask.declared.unwrap_or(self.columns.order.len());
        let facts = self.read(wanted, 0..declared, true)?;
        if self.ask.analyses {
            self.try_columns(keys, limit, &facts, verdict)?;
        }
        // Those that are first under the declared order: where they differ, the rest of the total order decides.
        let mut ties = Vec::new();
        let mut firsts = Vec::new();
        for rows in keys {
            let best = first_by_rank(rows);
            let best = first_by_fact(best, &facts);
            if !agree(&best) && declared < self.columns.order.len() {
                ties.extend(best.iter().map(|row| row.place()));
            }
            firsts.push(best);
        }
        let tied = self.read(ties, declared..self.columns.order.len(), false)?;
        for (rows, best) in keys.iter().zip(firsts) {
            let best = first_by_fact(best, &tied);
            // Rows of a key are in the order of their places.
            if let Some(winner) = best.first() {
                self.count(rows, winner, &facts, verdict);
            }
        }
        Ok(())
    }

    fn count(&self, rows: &[Record], winner: &Record, facts: &Facts, verdict: &mut Verdict) {
        verdict.winners.set(winner.place());
        verdict.winners_by_day.add(winner.day(), 1);
        let own = facts.of(winner.place());
        let mut conflicts = 0;
        for row in rows.iter().filter(|row| row.place() != winner.place()) {
            let fact = facts.of(row.place());
            if let (Some(day), Some(winners)) = (row.day(), winner.day())
                && day != winners
            {
                verdict.other_days.entry(winners).or_default().insert(day);
            }
            match self.class(row, fact, winner, own) {
                Class::Exact => verdict.exact_losers += 1,
                Class::Superseded => {
                    verdict.superseded.set(row.place());
                    verdict.superseded_by_day.add(row.day(), 1);
                }
                Class::Conflict => {
                    conflicts += 1;
                    verdict.conflicts.set(row.place());
                    verdict.conflicts_by_day.add(row.day(), 1);
                }
            }
            if let (Some(fact), Some(own)) = (fact, own)
                && let Some(by_hours) = self.redated(fact, own)
            {
                verdict.redated_losers += 1;
                verdict.redated_by_hours += u64::from(by_hours);
            }
        }
        let all = || rows.iter().filter_map(|row| facts.of(row.place()));
        for identity in 0..self.ask.identity.len() {
            let knows = |row: &&Record| facts.of(row.place()).is_some_and(|fact| fact.identities[identity].is_some());
            if !knows(&winner)
                && let Some(witness) = rows.iter().find(knows)
            {
                verdict.witnesses.set(witness.place());
            }
        }
        let count = rows.len() as u64;
        verdict.different_rows += different(rows.iter().map(|row| row.digest)) - 1;
        verdict.largest_odd.see(count, rows[0].place(), winner.print());
        let print = self.ask.list.then(|| winner.print());
        if self.number_events(rows.iter(), facts) {
            verdict.suspect.add(print, count);
            verdict.largest_suspect.see(count, rows[0].place(), winner.print());
        }
        if (0..self.ask.fixed.len()).any(|i| differ(all().filter_map(|fact| fact.fixed[i]))) {
            verdict.redated.add(print, count);
        }
        if conflicts > 0 {
            verdict.conflicting.add(print, conflicts);
        }
    }

    fn class(&self, row: &Record, fact: Option<&Fact>, winner: &Record, own: Option<&Fact>) -> Class {
        if row.digest == winner.digest {
            return Class::Exact;
        }
        if self.ask.declared == Some(0) {
            return Class::Conflict;
        }
        // Rows that were not read are lower by their rank already.
        let ties = row.rank == winner.rank && fact.zip(own).is_some_and(|(fact, own)| fact.order == own.order);
        if ties { Class::Conflict } else { Class::Superseded }
    }

    /// Whether a loser is re-dated, and if so whether the first fixed column in which it is differs by whole hours.
    fn redated(&self, loser: &Fact, winner: &Fact) -> Option<bool> {
        let pairs = loser.fixed.iter().zip(&winner.fixed).zip(&self.ask.fixed);
        pairs
            .filter(|((own, best), _)| own.is_some() && own != best)
            .map(|((own, best), column)| {
                let is_time = self.columns.schema.field(*column).data_type();
                let is_time = matches!(is_time, DataType::Timestamp(TimeUnit::Microsecond, _));
                is_time && own.zip(*best).is_some_and(|(own, best)| best.wrapping_sub(own) % HOUR_US == 0)
            })
            .next()
    }

    /// Whether rows of a key number different events.
    pub(super) fn number_events<'r>(&self, rows: impl Iterator<Item = &'r Record> + Clone, facts: &Facts) -> bool {
        let facts = || rows.clone().filter_map(|row| facts.of(row.place()));
        (0..self.ask.identity.len()).any(|i| differ(facts().filter_map(|fact| fact.identities[i])))
    }

    /// Reads columns of the order, and of identities and fixed columns if asked, of these rows.
    fn read(&self, mut places: Vec<u64>, order: std::ops::Range<usize>, with_numbers: bool) -> Result<Facts> {
        places.sort_unstable();
        let parts = self.input.by_unit(&places);
        let mut names: Vec<usize> = Vec::new();
        if with_numbers {
            let identities = self.ask.identity.iter().flat_map(|(column, when)| [Some(*column), *when]);
            names.extend(identities.flatten().chain(self.ask.fixed.iter().copied()));
        }
        let columns = self.columns.narrowed(&[], &self.columns.order[order], &names, is_more_than_a_column)?;
        let found = threads::each(parts.len(), self.threads, &|at| {
            let (unit, places) = parts[at];
            let mut facts = Vec::with_capacity(places.len());
            for batch in self.input.read(unit, &columns.schema, Some(unit.bits_of(places)))? {
                let batch = batch?;
                let (values, options) = columns.order_values(&batch)?;
                let column =
                    |place: &usize| -> Result<ArrayRef> { columns.named(&batch, &self.columns.schema, *place) };
                let numbers = if with_numbers { self.numbers(&column, batch.num_rows())? } else { Numbers::default() };
                let ordered = if values.is_empty() { None } else { Some(rows_of(&values, &options)?) };
                for row in 0..batch.num_rows() {
                    facts.push(Fact {
                        order: ordered.as_ref().map_or_else(Box::default, |rows| rows.row(row).as_ref().into()),
                        identities: numbers.identities.iter().map(|values| values[row]).collect(),
                        fixed: numbers.fixed.iter().map(|values| values[row]).collect(),
                    });
                }
            }
            Ok(facts)
        })?;
        drop(parts);
        Ok(Facts { places, facts: found.into_iter().flatten().collect() })
    }

    fn numbers(&self, column: &dyn Fn(&usize) -> Result<ArrayRef>, rows: usize) -> Result<Numbers> {
        let hashes = |values: &ArrayRef| Seeds::of_process().tuples::<u64>(&[Arc::clone(values)], rows);
        let mut numbers = Numbers::default();
        for (name, when_null) in &self.ask.identity {
            let values = column(name)?;
            let when_null = when_null.as_ref().map(column).transpose()?;
            let hashes = hashes(&values)?;
            let counts = |row: usize| values.is_valid(row) && when_null.as_ref().is_none_or(|other| other.is_null(row));
            numbers.identities.push((0..rows).map(|row| counts(row).then(|| hashes[row])).collect());
        }
        for name in &self.ask.fixed {
            let values = column(name)?;
            let known: Vec<i64> = match values.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    values.as_primitive::<TimestampMicrosecondType>().values().to_vec()
                }
                _ => hashes(&values)?.into_iter().map(|hash| hash as i64).collect(),
            };
            numbers.fixed.push((0..rows).map(|row| values.is_valid(row).then(|| known[row])).collect());
        }
        Ok(numbers)
    }
}

/// How many different values there are among these.
fn different(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.dedup();
    values.len() as u64
}

/// Whether there are two different values among these.
fn differ<V: PartialEq>(mut values: impl Iterator<Item = V>) -> bool {
    values.next().is_some_and(|first| values.any(|value| value != first))
}

/// The rows with the best rank.
fn first_by_rank(rows: &[Record]) -> Vec<&Record> {
    let best = rows.iter().map(|row| row.rank).max();
    rows.iter().filter(|row| Some(row.rank) == best).collect()
}

/// Those of some rows that are first in the order as it was read. All of them, where none was read.
fn first_by_fact<'r>(rows: Vec<&'r Record>, facts: &Facts) -> Vec<&'r Record> {
    let order = |row: &&Record| facts.of(row.place()).map(|fact| &fact.order);
    let best = rows.iter().filter_map(order).min();
    match best {
        Some(best) => rows.iter().filter(|row| order(row) == Some(best)).copied().collect(),
        None => rows,
    }
}

/// Whether rows have the same content.
fn agree(rows: &[&Record]) -> bool {
    rows.windows(2).all(|pair| pair[0].digest == pair[1].digest)
}
