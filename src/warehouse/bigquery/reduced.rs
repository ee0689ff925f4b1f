//! What a table comes to that was reduced where it lies: counts that balance, and parts to merge from.

use super::BigQueryWarehouse;
use super::in_place::left_out;
use super::queries::quoted;
use super::target::{PARTITIONS_FROM, PARTITIONS_TO};
use crate::balance::Balance;
use crate::dedup::{KeyCount, Tally};
use crate::engine::number;
use crate::error::{Doing, Error, Result};
use crate::landing::{InSql, LandingCounts, LeftOut, OUTSIDE};
use crate::sql::{Dialect, Quarantine, Reduction, Which};
use crate::stage::Part;
use crate::warehouse::usage::Widths;
use crate::window::Day;
use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use google_cloud_bigquery_v2::model::TableReference;
use std::collections::{BTreeMap, BTreeSet};

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
    /// The table that has them.
    pub(super) table: TableReference,
    /// The rules by which its rows landed.
    pub(super) sql: InSql,
    /// The source as it was read, for a FROM clause.
    pub(super) from: String,
}

/// What became of the rows of a table, and where its winners are.
#[derive(Debug)]
pub struct Reduced<'a> {
    at: Written<'a>,
    /// R1: what became of the rows that were read.
    pub counts: LandingCounts,
    /// How many rows were set aside for what, as `column: reason`.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// Columns that the contract does not have, each with how many rows have a value for it.
    pub left_out: LeftOut,
    /// Keys by day and by what may be decided of them.
    pub sums: Vec<Sums>,
    /// The days of losers that are not the day of their winner, by the winner's.
    pub loser_days: BTreeMap<Day, BTreeSet<Day>>,
}

impl Sums {
    fn is_in(&self, quarantine: Quarantine) -> bool {
        quarantine.suspects && self.suspect || quarantine.conflicts && self.conflicting
    }
}

impl BigQueryWarehouse {
    /// Rows of a reduced table, to stand in a statement where a staged table does. `days` are those of the rows, so
    /// that only their partitions are read.
    pub(super) fn part_rows(&self, part: &Part, which: Which, days: Option<&BTreeSet<Day>>) -> Result<String> {
        let table = quoted(&self.place.table(&part.table))?;
        Reduction { dataset: &self.dataset }.rows(&table, which, days, part.without)
    }
}

impl<'a> Reduced<'a> {
    /// Reads what became of the rows of a source that had so many (R1, R2).
    pub(super) async fn read(at: Written<'a>, rows: u64) -> Result<Reduced<'a>> {
        let mut reduced = Reduced {
            at,
            counts: LandingCounts::default(),
            rejects_by_reason: BTreeMap::new(),
            left_out: LeftOut::default(),
            sums: Vec::new(),
            loser_days: BTreeMap::new(),
        };
        reduced.sum().await?;
        reduced.count(rows).await?;
        reduced.count_left_out().await?;
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
            if sums.is_in(quarantine) {
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

    /// The keys that have a conflict where such keys are left out, with the number of losers that conflict.
    pub fn conflicting(&self, quarantine: Quarantine) -> KeyCount {
        let mut all = KeyCount::default();
        for sums in self.sums.iter().filter(|sums| sums.conflicting && !sums.is_in(quarantine)) {
            all.keys += sums.keys;
            all.rows += sums.losers.conflict;
        }
        all
    }

    /// How many winners each day has where such keys are left out.
    pub fn winners_by_day(&self, quarantine: Quarantine) -> BTreeMap<Option<Day>, u64> {
        let mut days = BTreeMap::new();
        for sums in self.sums.iter().filter(|sums| !sums.is_in(quarantine)) {
            *days.entry(sums.day).or_default() += sums.keys;
        }
        days
    }

    /// Where its winners are, for batches of them.
    pub fn part(&self, without: Quarantine) -> Part {
        Part { table: self.at.table.table_id.clone(), without }
    }

    /// Rows of it, for a person or a file.
    ///
    /// # Errors
    /// What BigQuery says.
    pub async fn rows(&self, which: Which, without: Quarantine) -> Result<SendableRecordBatchStream> {
        let rows = self.at.warehouse.part_rows(&self.part(without), which, None)?;
        self.at.warehouse.client.rows("rows", "", format!("SELECT * FROM {rows}")).await
    }

    /// The known values of a column of its winners.
    ///
    /// # Errors
    /// Bug, for a column that is no text; otherwise what BigQuery says.
    pub async fn values(&self, column: &str, without: Quarantine) -> Result<BTreeSet<String>> {
        let rows = self.at.warehouse.part_rows(&self.part(without), Which::Winners, None)?;
        let name = Dialect::GoogleSql.quote(column)?;
        let sql = format!("SELECT DISTINCT {name} FROM {rows} WHERE {name} IS NOT NULL");
        let mut values = BTreeSet::new();
        for batch in self.ask("values", sql).await? {
            let texts = batch.column(0).as_string_opt::<i32>();
            let texts = texts.ok_or_else(|| Error::bug("list values").with("column", column))?;
            values.extend(texts.iter().flatten().map(str::to_string));
        }
        Ok(values)
    }

    /// Drops the table that has them.
    ///
    /// # Errors
    /// What BigQuery says.
    pub async fn forget(&self) -> Result<()> {
        self.at.warehouse.client.drop(&self.at.table).await
    }

    /// How large the values of its winners are.
    ///
    /// # Errors
    /// What BigQuery says.
    pub async fn widths(&self, without: Quarantine) -> Result<Widths> {
        let rows = self.at.warehouse.part_rows(&self.part(without), Which::Winners, None)?;
        let dataset = &self.at.warehouse.dataset;
        let sums =
            self.at.warehouse.client.counts("widths", "", Widths::sums(dataset, Dialect::GoogleSql, &rows)?).await?;
        Ok(Widths::of_sums(dataset, &sums))
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
        let table = quoted(&self.at.table)?;
        for batch in self.ask("sums", self.reduction().counts(&table)?).await? {
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
        for batch in self.ask("days", self.reduction().loser_days(&table)?).await? {
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
                "the table had {rows} rows, {read} were read; {landed_here} of them land, and keys have {landed}; \
                 {} are set aside, {} are outside of the window",
                self.counts.rejected, self.counts.outside
            ))
            .hint("run the same command again; where it says the same, export the table and land its files"))
    }

    /// Counts values that have no place in the contract.
    async fn count_left_out(&mut self) -> Result<()> {
        let Some(sql) = left_out(&self.at.sql.columns, &self.at.from)? else { return Ok(()) };
        let counts = self.at.warehouse.client.counts("left", "", sql).await?;
        let names = self.at.sql.columns.left_out.iter().cloned();
        self.left_out = names.zip(counts).filter(|(_, rows)| *rows > 0).collect();
        Ok(())
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
