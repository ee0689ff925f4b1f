//! Reads the losers as the query gives them, classes them and counts.

use super::Class;
use crate::dataset::{Dataset, KeyPart, StandIn};
use crate::engine::{Engine, number};
use crate::error::{Doing, Error, Result};
use crate::landing::SOURCE;
use crate::progress::Progress;
use crate::window::Day;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimestampMicrosecondType, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many groups of copies a census names.
const LARGEST: usize = 20;
const HOUR_US: i64 = 3_600_000_000;
static FORMAT: FormatOptions<'static> = FormatOptions::new();

/// Losers by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Equal to their winner.
    pub exact: u64,
    /// Lower than their winner.
    pub superseded: u64,
    /// Tied with their winner, and different.
    pub conflict: u64,
}

impl Tally {
    /// All losers.
    pub fn total(&self) -> u64 {
        self.exact + self.superseded + self.conflict
    }

    fn add(&mut self, class: Class) {
        match class {
            Class::Exact => self.exact += 1,
            Class::Superseded => self.superseded += 1,
            Class::Conflict => self.conflict += 1,
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.exact += other.exact;
        self.superseded += other.superseded;
        self.conflict += other.conflict;
    }
}

/// A key and how many rows it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The values of the key's parts, stand-ins included.
    pub key: Vec<Option<String>>,
    /// How many rows have it.
    pub rows: u64,
}

/// What became of the rows that did not win.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// All losers.
    pub losers: Tally,
    /// Losers by their own day; empty for a dataset without a partition column.
    pub by_day: BTreeMap<Day, Tally>,
    /// Losers by the input that they came from.
    pub by_file: BTreeMap<String, Tally>,
    /// The days of the losers of each day's winners.
    pub loser_days: BTreeMap<Day, BTreeSet<Day>>,
    /// Keys with the most rows, the largest first; ties by key.
    pub largest: Vec<Group>,
    /// Losers that stand in a suspect key, as far as they were seen before all of the key was.
    pub suspect_losers: u64,
    /// Losers that differ from their winner in a fixed column, or know it where the winner does not.
    pub redated_losers: u64,
    /// Those of them that are off by whole hours.
    pub redated_by_hours: u64,
}

/// A batch of losers with their classes: the dataset's columns, then where each row came from.
#[derive(Debug)]
pub struct LoserBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// The class of each.
    pub classes: Vec<Class>,
}

/// Runs the query of the losers. See [`super::Dedup::census`].
pub(super) async fn take(
    engine: &Engine,
    dataset: &Dataset,
    sql: &str,
    progress: &dyn Progress,
    each: &mut (dyn FnMut(&LoserBatch) -> Result<()> + Send),
) -> Result<Census> {
    let mut census = Census::default();
    let mut largest = Largest::default();
    let mut stream = engine.stream(sql).await?;
    while let Some(batch) = stream.try_next().await.doing("class the rows that did not win")? {
        let losers = count(dataset, &batch, &mut census, &mut largest)?;
        progress.advance(batch.num_rows() as u64);
        each(&losers)?;
    }
    census.largest = largest.sorted();
    Ok(census)
}

fn count(dataset: &Dataset, batch: &RecordBatch, census: &mut Census, largest: &mut Largest) -> Result<LoserBatch> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| Error::bug("class the rows that did not win").with("column", name))
    };
    let rank = |name: &str| Ok::<_, Error>(column(name)?.as_primitive::<UInt64Type>());
    let (places, total, declared) = (rank("_place")?, rank("_total_rank")?, rank("_declared_rank")?);
    let (days, winner_days) = (column("_day")?, column("_winner_day")?);
    let sources = column(SOURCE)?.as_string::<i32>();
    let shifts = shifts(dataset, batch)?;
    let suspect_columns =
        (0..dataset.identity.len()).map(|i| column(&format!("_suspect_{i}"))).collect::<Result<Vec<_>>>()?;
    let keys = KeyTexts::new(dataset, batch)?;
    let mut classes = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let class = match (total.value(row), declared.value(row)) {
            (1, _) => Class::Exact,
            (_, 1) => Class::Conflict,
            _ => Class::Superseded,
        };
        classes.push(class);
        census.losers.add(class);
        if let Some(day) = number(days.as_ref(), row).map(|day| Day(day as i32)) {
            census.by_day.entry(day).or_default().add(class);
            if let Some(winner) = number(winner_days.as_ref(), row).map(|day| Day(day as i32)) {
                census.loser_days.entry(winner).or_default().insert(day);
            }
        }
        match census.by_file.get_mut(sources.value(row)) {
            Some(tally) => tally.add(class),
            None => census.by_file.entry(sources.value(row).to_string()).or_default().add(class),
        }
        let suspect = suspect_columns.iter().any(|c| c.is_valid(row) && c.as_boolean().value(row));
        census.suspect_losers += u64::from(suspect);
        if let Some(shift) = shifts.iter().filter_map(|s| s[row]).find(|shift| *shift != 0) {
            census.redated_losers += 1;
            census.redated_by_hours += u64::from(shift % HOUR_US == 0);
        }
        largest.see(places.value(row), || keys.of(row));
    }
    let kept = dataset.schema().fields().len() + 2;
    let rows = batch.project(&(0..kept).collect::<Vec<_>>()).doing("project losers")?;
    Ok(LoserBatch { rows, classes })
}

/// By how much each row is off its winner, for each fixed column that is a time; any other kind of difference is 1.
fn shifts(dataset: &Dataset, batch: &RecordBatch) -> Result<Vec<Vec<Option<i64>>>> {
    let mut shifts = Vec::new();
    for (place, name) in dataset.fixed.iter().enumerate() {
        let (own, winner) = (batch.column_by_name(name), batch.column_by_name(&format!("_winner_fixed_{place}")));
        let (Some(own), Some(winner)) = (own, winner) else {
            return Err(Error::bug("look for re-dated keys").with("column", name));
        };
        let shift = |row: usize| {
            if own.is_null(row) {
                return None;
            }
            if winner.is_null(row) {
                // Another loser may know another value: the query over whole keys decides.
                return Some(1);
            }
            match own.data_type() {
                DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
                    let value = |array: &dyn Array| array.as_primitive::<TimestampMicrosecondType>().value(row);
                    Some(value(winner.as_ref()) - value(own.as_ref()))
                }
                _ => {
                    let equal = own.slice(row, 1).as_ref() == winner.slice(row, 1).as_ref();
                    Some(i64::from(!equal))
                }
            }
        };
        shifts.push((0..batch.num_rows()).map(shift).collect());
    }
    Ok(shifts)
}

/// The keys of a batch as text.
struct KeyTexts<'a> {
    parts: Vec<PartTexts<'a>>,
}

/// One part of the key: its columns, then the text that stands in, where there is one.
struct PartTexts<'a> {
    columns: Vec<(&'a ArrayRef, ArrayFormatter<'a>)>,
    text: Option<&'a str>,
}

impl<'a> KeyTexts<'a> {
    fn new(dataset: &'a Dataset, batch: &'a RecordBatch) -> Result<KeyTexts<'a>> {
        let column = |name: &str| {
            let column = batch.column_by_name(name).ok_or_else(|| Error::bug("show a key").with("column", name))?;
            Ok((column, ArrayFormatter::try_new(column.as_ref(), &FORMAT).doing("show a key")?))
        };
        let part = |part: &'a KeyPart| {
            let text = part.stand_ins.iter().find_map(|stand_in| match stand_in {
                StandIn::Text(text) => Some(text.as_str()),
                StandIn::Column(_) => None,
            });
            // What comes after a text never stands in.
            let before_text = part.stand_ins.iter().take_while(|stand_in| matches!(stand_in, StandIn::Column(_)));
            let columns = part.columns().take(1 + before_text.count()).map(column).collect::<Result<Vec<_>>>()?;
            Ok(PartTexts { columns, text })
        };
        Ok(KeyTexts { parts: dataset.key.iter().map(part).collect::<Result<Vec<_>>>()? })
    }

    fn of(&self, row: usize) -> Vec<Option<String>> {
        let part = |part: &PartTexts<'_>| {
            let known = part.columns.iter().find(|(column, _)| column.is_valid(row));
            known.map(|(_, formatter)| formatter.value(row).to_string()).or_else(|| part.text.map(str::to_string))
        };
        self.parts.iter().map(part).collect()
    }
}

/// The keys with the most rows. The last row of a key has the greatest place, so a key that was dropped comes back.
#[derive(Default)]
struct Largest {
    groups: BTreeMap<Vec<Option<String>>, u64>,
}

impl Largest {
    fn see(&mut self, place: u64, key: impl FnOnce() -> Vec<Option<String>>) {
        let least = self.groups.values().min().copied().unwrap_or(0);
        if self.groups.len() >= LARGEST && place < least {
            return;
        }
        let rows = self.groups.entry(key()).or_default();
        *rows = place.max(*rows);
        if self.groups.len() > LARGEST {
            // Of the smallest groups the last key goes, whatever order the rows came in.
            let smallest = self.groups.iter().min_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
            if let Some(key) = smallest.map(|(key, _)| key.clone()) {
                self.groups.remove(&key);
            }
        }
    }

    fn sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.into_iter().map(|(key, rows)| Group { key, rows }).collect();
        groups.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.key.cmp(&b.key)));
        groups
    }
}
