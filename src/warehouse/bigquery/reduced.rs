//! What a table comes to that was reduced where it lies: counts that balance, and parts to merge from.

use super::BigQueryWarehouse;
use super::target::{PARTITIONS_FROM, PARTITIONS_TO};
use crate::balance::Balance;
use crate::dedup::{KeyCount, Tally};
use crate::engine::number;
use crate::error::{Doing, Error, Result};
use crate::landing::{InSql, LandingCounts, OUTSIDE};
use crate::sql::{Reduction, Which};
use crate::window::{Day, text_of_us};
use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};

/// Which keys are left out as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// Those whose rows number different events.
    pub suspects: bool,
    /// Those that have a conflict.
    pub conflicts: bool,
}

impl Quarantine {
    fn conditions(self) -> Vec<&'static str> {
        let all = [(self.suspects, "_suspect"), (self.conflicts, "_conflict > 0")];
        all.into_iter().filter(|(is_on, _)| *is_on).map(|(_, condition)| condition).collect()
    }

    fn has(self, sums: &Sums) -> bool {
        self.suspects && sums.suspect || self.conflicts && sums.conflicting
    }
}

/// Keys of one day of winners, and what became of their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// The winners' day; `None`: the dataset has none.
    pub day: Option<Day>,
    /// Whether the rows of each of these keys number different events.
    pub suspect: bool,
    /// Whether each of these keys has a conflict.
    pub conflicting: bool,
    /// Keys, each with its winner.
    pub keys: u64,
    /// Their rows.
    pub rows: u64,
    /// Their losers.
    pub losers: Tally,
    /// Those of them whose rows differ in a fixed column.
    pub redated: KeyCount,
    /// Losers that are off by whole hours.
    pub redated_by_hours: u64,
}

/// Where the winners of a table are written.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) warehouse: &'a BigQueryWarehouse,
    /// The temporary table, quoted.
    pub(super) table: String,
    /// The rules by which its rows landed.
    pub(super) sql: InSql,
    /// The source as it was read, for a FROM clause.
    pub(super) from: String,
    pub(super) as_of_us: i64,
}

/// What became of the rows of a table, and where its winners are.
#[derive(Debug)]
pub struct Reduced<'a> {
    at: Written<'a>,
    /// The moment as of which the rows are the table's, in microseconds since 1970-01-01 UTC, by BigQuery's clock.
    pub as_of_us: i64,
    /// R1: what became of the rows that were read.
    pub counts: LandingCounts,
    /// How many rows were set aside for what, as `column: reason`.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// Columns that the contract does not have.
    pub left_out: Vec<String>,
    /// Keys by day and by what may be decided of them.
    pub sums: Vec<Sums>,
    /// The days of losers that are not the day of their winner, by the winner's.
    pub loser_days: BTreeMap<Day, BTreeSet<Day>>,
}

impl<'a> Reduced<'a> {
    /// Reads what became of the rows of a source that had so many (R1, R2).
    pub(super) async fn read(at: Written<'a>, rows: u64) -> Result<Reduced<'a>> {
        let mut reduced = Reduced {
            as_of_us: at.as_of_us,
            left_out: at.sql.left_out.clone(),
            at,
            counts: LandingCounts::default(),
            rejects_by_reason: BTreeMap::new(),
            sums: Vec::new(),
            loser_days: BTreeMap::new(),
        };
        reduced.sum().await?;
        reduced.count(rows).await?;
        reduced.balance(Quarantine::default()).check()?;
        Ok(reduced)
    }

    /// What became of every row where such keys are left out.
    pub fn balance(&self, quarantine: Quarantine) -> Balance {
        let mut balance = Balance { landing: self.counts, ..Balance::default() };
        let add = |to: &mut KeyCount, keys: KeyCount| {
            to.keys += keys.keys;
            to.rows += keys.rows;
        };
        for sums in &self.sums {
            let keys = KeyCount { keys: sums.keys, rows: sums.rows };
            if sums.suspect {
                add(&mut balance.suspect, keys);
            }
            if quarantine.has(sums) {
                add(&mut balance.quarantined, keys);
                continue;
            }
            balance.winners += sums.keys;
            balance.losers += sums.losers;
            add(&mut balance.redated, sums.redated);
            balance.redated_by_hours += sums.redated_by_hours;
        }
        balance
    }

    /// How many winners each day has where such keys are left out.
    pub fn winners_by_day(&self, quarantine: Quarantine) -> BTreeMap<Option<Day>, u64> {
        let mut days = BTreeMap::new();
        for sums in self.sums.iter().filter(|sums| !quarantine.has(sums)) {
            *days.entry(sums.day).or_default() += sums.keys;
        }
        days
    }

    /// Rows of the temporary table, to stand in a statement where a staged table does. `days` are those that a batch
    /// brings in, so that only their partitions are read.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn part(&self, which: Which, days: Option<&BTreeSet<Day>>, quarantine: Quarantine) -> Result<String> {
        self.reduction().rows(&self.at.table, which, days, &quarantine.conditions())
    }

    /// Rows of the temporary table, for a person or a file.
    ///
    /// # Errors
    /// What BigQuery says.
    pub async fn rows(&self, which: Which) -> Result<SendableRecordBatchStream> {
        let part = self.part(which, None, Quarantine::default())?;
        self.at.warehouse.client.rows("rows", "", format!("SELECT * FROM {part}")).await
    }

    /// The rows that were set aside: `_reason`, and the row as JSON in `_row`. It reads the table once more.
    ///
    /// # Errors
    /// What BigQuery says.
    pub async fn rejected(&self) -> Result<SendableRecordBatchStream> {
        self.at.warehouse.client.rows("rejects", "", self.at.sql.rejected(&self.at.from)?).await
    }

    fn reduction(&self) -> Reduction<'_> {
        Reduction { dataset: &self.at.warehouse.dataset }
    }

    /// Sums what the winners say.
    async fn sum(&mut self) -> Result<()> {
        let doing = "sum up what became of rows";
        for batch in self.ask("sums", self.reduction().counts(&self.at.table)?).await? {
            for row in 0..batch.num_rows() {
                let is = |at: usize| batch.column(at).as_boolean_opt().is_some_and(|flags| flags.value(row));
                let count = |at: usize| count(&batch, at, row, doing);
                self.sums.push(Sums {
                    day: day(&batch, row),
                    suspect: is(1),
                    conflicting: is(2),
                    keys: count(3)?,
                    rows: count(4)?,
                    losers: Tally { exact: count(5)?, superseded: count(6)?, conflict: count(7)? },
                    redated: KeyCount { keys: count(8)?, rows: count(9)? },
                    redated_by_hours: count(10)?,
                });
            }
        }
        self.sums.sort_by_key(|sums| (sums.day, sums.suspect, sums.conflicting));
        let has_partition = |day: &Day| (PARTITIONS_FROM..=PARTITIONS_TO).contains(day);
        if let Some(day) = self.sums.iter().filter_map(|sums| sums.day).find(|day| !has_partition(day)) {
            return Err(Error::data("find winners by their days")
                .with("day", day)
                .because("BigQuery has no partition for it, so that no statement that names it finds its rows")
                .hint("reject such rows by bounds in the contract, leave them out with --from and --to, or export"));
        }
        for batch in self.ask("days", self.reduction().loser_days(&self.at.table)?).await? {
            let texts = batch.column(1).as_string_opt::<i32>().ok_or_else(|| Error::bug(doing))?;
            for row in 0..batch.num_rows() {
                let days = texts.value(row).split(',').map(|text| Day::try_from(text.to_string()).doing(doing));
                let days = days.collect::<Result<Vec<_>>>()?;
                if let Some(day) = day(&batch, row) {
                    self.loser_days.entry(day).or_default().extend(days);
                }
            }
        }
        Ok(())
    }

    /// Counts what did not land, where anything did not (R1).
    async fn count(&mut self, rows: u64) -> Result<()> {
        let landed: u64 = self.sums.iter().map(|sums| sums.rows).sum();
        self.counts = LandingCounts { read: rows, landed, ..LandingCounts::default() };
        if landed == rows {
            return Ok(());
        }
        let (mut read, mut landed_here) = (0, 0);
        for batch in self.ask("rejects", self.at.sql.counts(&self.at.from)?).await? {
            for row in 0..batch.num_rows() {
                let count = count(&batch, 1, row, "count rows that do not land")?;
                read += count;
                let reasons = batch.column(0).as_string_opt::<i32>();
                match reasons.filter(|reasons| reasons.is_valid(row)).map(|reasons| reasons.value(row)) {
                    None => landed_here += count,
                    Some(OUTSIDE) => self.counts.outside += count,
                    Some(reason) => {
                        self.counts.rejected += count;
                        self.rejects_by_reason.insert(reason.to_string(), count);
                    }
                }
            }
        }
        if (read, landed_here) == (rows, landed) && self.counts.is_balanced() {
            return Ok(());
        }
        Err(Error::data("account for every row (R1)")
            .because(format!(
                "the table had {rows} rows at {}, {read} were read; {landed_here} of them land, and keys have {landed}; \
                 {} are set aside, {} are outside of the window",
                text_of_us(self.as_of_us),
                self.counts.rejected,
                self.counts.outside
            ))
            .hint("run the same command again; where it says the same, export the table and land its files"))
    }

    async fn ask(&self, step: &str, sql: String) -> Result<Vec<RecordBatch>> {
        self.at.warehouse.client.rows(step, "", sql).await?.try_collect().await.doing("ask a table in BigQuery")
    }
}

fn count(batch: &RecordBatch, at: usize, row: usize, doing: &'static str) -> Result<u64> {
    let count = number(batch.column(at).as_ref(), row).and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| Error::bug(doing).because("a count is no whole number"))
}

/// The day of a row of an answer whose first column says it.
fn day(batch: &RecordBatch, row: usize) -> Option<Day> {
    number(batch.column(0).as_ref(), row).map(|day| Day(day as i32))
}
