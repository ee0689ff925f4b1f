//! Compares a target with what it was and with what should have come into it: by statements that anybody can run.

use super::unknown;
use crate::dataset::{Dataset, KeyPart};
use crate::engine::{exact_sum, number};
use crate::error::{Doing, Error, Result};
use crate::ledger::{Inserted, Ledger};
use crate::report::{Check, Proof, counted};
use crate::run::Run;
use crate::sql::{Exprs, decides, dedup, render};
use crate::stage::Manifest;
use crate::warehouse::{History, Moment, Tables};
use crate::window::Day;
use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys are told of a check that does not hold; the statements ask for as many of each part.
const EXAMPLES: usize = 10;

/// Looks at everything that a migration has promised, which has set so many rows of its sources aside.
///
/// # Errors
/// What the warehouse says, as where what the target was is not there any more.
pub async fn prove(
    run: &Run<'_>,
    name: &str,
    (sources, set_aside): (&BTreeMap<String, u64>, u64),
    ledger: &Ledger,
) -> Result<Proof> {
    let doing = "prove a migration";
    let history = run.history()?;
    let now = history.moment().await?;
    let (before, number) = match ledger.migration(name) {
        Some(known) if !known.is_proven => (known.before, known.since),
        _ => return Err(unknown(doing, name, ledger)),
    };
    let after = now.ok_or_else(|| Error::data(doing).with("target", run.warehouse.target()).because("it is gone"))?;
    let [own, others] = ledger.inserted_after(number, name);
    let tables = history.tables(before, ledger.last_planned(name)).await?;
    let proving = Proving { dataset: run.dataset, history, tables, of_mend: false };
    let mut checks = proving.rows(run).await?;
    let added = own.and(others);
    checks.push(proving.keys(added, others).await?);
    run.progress.advance(1);
    checks.push(rows(before.map_or(0, |before| before.rows), added.keys, after.rows));
    let inserted = [own.keys, others.keys];
    Ok(proven(run, name, (sources, set_aside), (before, after), inserted, checks, proving.tables.set_up))
}

/// Looks at everything that a mend has promised: that the new table has all that the target has, and the winners of
/// these batches, of which it has inserted so many.
///
/// # Errors
/// What the warehouse says.
pub async fn prove_mend(
    run: &Run<'_>,
    name: &str,
    (sources, set_aside): (&BTreeMap<String, u64>, u64),
    [before, after]: [Moment; 2],
    inserted: u64,
    winners: &[Manifest],
) -> Result<Proof> {
    let history = run.history()?;
    let tables = history.tables_of_mend(winners).await?;
    let proving = Proving { dataset: run.dataset, history, tables, of_mend: true };
    let mut checks = proving.rows(run).await?;
    checks.push(proving.keys(Inserted::NONE, Inserted::NONE).await?);
    run.progress.advance(1);
    let keys = proving.key_sum(&proving.sum_of(&proving.tables.before)?).await?.keys;
    let balance = rows(keys, inserted, after.rows);
    checks.push(Check { promise: "keys before + inserted = rows after".into(), ..balance });
    Ok(proven(run, name, (sources, set_aside), (Some(before), after), [inserted, 0], checks, proving.tables.set_up))
}

fn proven(
    run: &Run<'_>,
    name: &str,
    (sources, set_aside): (&BTreeMap<String, u64>, u64),
    (before, after): (Option<Moment>, Moment),
    [inserted, inserted_by_others]: [u64; 2],
    checks: Vec<Check>,
    set_up: String,
) -> Proof {
    Proof {
        migration: name.to_string(),
        target: run.warehouse.target(),
        key: run.dataset.key.iter().map(ToString::to_string).collect(),
        sources: sources.clone(),
        before,
        after,
        inserted,
        inserted_by_others,
        set_aside,
        findings: checks.iter().filter(|check| check.found > 0).map(|check| check.name.clone()).collect(),
        checks,
        staged_until: last_kept(run),
        set_up,
    }
}

/// The last day on which something is kept that a migration leaves now.
pub(super) fn last_kept(run: &Run<'_>) -> Day {
    Day::of_us((run.now_us)()).plus(i32::from(run.options.keep_days))
}

/// Steps of a proof, for who watches.
const STEPS: u64 = 5;

/// What is asked, of whom.
struct Proving<'a> {
    dataset: &'a Dataset,
    history: &'a dyn History,
    tables: Tables,
    /// Whether what it was may have keys more than once.
    of_mend: bool,
}

impl Proving<'_> {
    /// The checks of rows and of their keys one by one.
    async fn rows(&self, run: &Run<'_>) -> Result<Vec<Check>> {
        run.progress.begin("prove it", Some(STEPS));
        let mut checks = Vec::new();
        let (was, winners) = (&self.tables.before, &self.tables.winners);
        checks.push(self.absent("lost_keys", "every key that the target had is in it", was).await?);
        run.progress.advance(1);
        checks.push(self.absent("missing_winners", "the key of every winner is in the target", winners).await?);
        run.progress.advance(1);
        checks.push(self.lower("lowered_rows", "no row is lower in the declared order than it was", was).await?);
        if !self.dataset.immutable {
            checks.push(self.lower("lower_than_winners", "no row is lower than the winner of its key", winners).await?);
        }
        run.progress.advance(1);
        checks.extend(self.blanked().await?);
        checks.push(self.duplicates().await?);
        run.progress.advance(1);
        Ok(checks)
    }

    fn exprs(&self) -> Exprs<'_> {
        Exprs { dataset: self.dataset, dialect: self.tables.dialect }
    }

    /// The columns of the key.
    fn key_columns(&self, alias: &str) -> Result<String> {
        let names: BTreeSet<&str> = self.dataset.key.iter().flat_map(KeyPart::columns).collect();
        self.exprs().columns(alias, names)
    }

    /// Rows whose key is not in the target.
    async fn absent(&self, name: &str, promise: &str, rows: &str) -> Result<Check> {
        let exprs = self.exprs();
        let day = exprs.day("_r")?;
        let (key, key_columns) = (exprs.key("_r")?, self.key_columns("")?);
        let (same_key, without_key) = (exprs.same_key("_a", "_r")?, exprs.without_key("_r")?);
        let slots = [
            ("rows", rows),
            ("key_columns", &key_columns),
            ("after", &self.tables.after),
            ("same_key", &same_key),
            ("without_key", &without_key),
        ];
        let counts = render(include_str!("../../sql/proof/absent.sql"), &[&slots[..], &[("day", &day)]].concat())?;
        let keys = [&slots[..], &[("key", key.as_str())]].concat();
        let keys = render(include_str!("../../sql/proof/absent_keys.sql"), &keys)?;
        self.check(name, promise, counts, keys).await
    }

    /// Rows that are higher than the target's.
    async fn lower(&self, name: &str, promise: &str, rows: &str) -> Result<Check> {
        let exprs = self.exprs();
        let (day, key) = (exprs.day("_r")?, exprs.key("_r")?);
        let (same_key, higher) = (exprs.same_key("_a", "_r")?, exprs.higher("_r", "_a")?);
        let slots = [("rows", rows), ("after", &self.tables.after), ("same_key", &same_key), ("higher", &higher)];
        let counts = render(include_str!("../../sql/proof/lower.sql"), &[&slots[..], &[("day", &day)]].concat())?;
        let keys = [&slots[..], &[("key", key.as_str())]].concat();
        let keys = render(include_str!("../../sql/proof/lower_keys.sql"), &keys)?;
        self.check(name, promise, counts, keys).await
    }

    /// Columns that were known and are not any more; but for those that a higher row decides. Whether a value is known
    /// is all that is joined, so that rows are small.
    async fn blanked(&self) -> Result<Option<Check>> {
        let exprs = self.exprs();
        // Of rows that are equal but for volatile columns any may be the best.
        let is_any = |name: &str| self.of_mend && self.dataset.volatile.iter().any(|own| own == name);
        let names = self.dataset.column_names().filter(|name| !decides(self.dataset, name) && !is_any(name));
        let names: Vec<&str> = names.collect();
        if names.is_empty() {
            return Ok(None);
        }
        let (mut known, mut blanks, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (at, name) in names.iter().enumerate() {
            let column = exprs.column("", name)?;
            known.push(format!("{column} IS NOT NULL AS _known_{at}"));
            blanks.push(format!("(_r._known_{at} AND NOT _a._known_{at})"));
            counts.push(format!("COUNT(CASE WHEN _r._known_{at} AND NOT _a._known_{at} THEN 1 END) AS {column}"));
        }
        let (known, blanked, counts) = (known.join(", "), blanks.join(" OR "), counts.join(",\n  "));
        let (key, key_columns, same_key) = (exprs.key("_r")?, self.key_columns("")?, exprs.same_key("_a", "_r")?);
        let before = match self.of_mend {
            true => format!("({})", dedup(self.dataset, self.tables.dialect, &self.tables.before)?),
            false => self.tables.before.clone(),
        };
        let slots = [
            ("before", before.as_str()),
            ("after", &self.tables.after),
            ("key_columns", &key_columns),
            ("known", &known),
            ("same_key", &same_key),
        ];
        let counts =
            render(include_str!("../../sql/proof/blanked.sql"), &[&slots[..], &[("counts", &counts)]].concat())?;
        let keys = [&slots[..], &[("key", key.as_str()), ("blanked", &blanked)]].concat();
        let keys = render(include_str!("../../sql/proof/blanked_keys.sql"), &keys)?;
        let mut by = BTreeMap::new();
        for part in self.history.ask(&self.tables, &counts).await?.iter().filter(|part| part.num_rows() > 0) {
            for (name, column) in names.iter().zip(part.columns()) {
                let blank = whole(column.as_ref(), 0)?;
                if blank > 0 {
                    *by.entry(name.to_string()).or_default() += blank;
                }
            }
        }
        self.told("blanked_columns", "no column that was known is NULL now", by, [counts, keys]).await.map(Some)
    }

    /// Rows beyond the first of their key.
    async fn duplicates(&self) -> Result<Check> {
        let exprs = self.exprs();
        let (day, key) = (exprs.day("_r")?, exprs.key("_r")?);
        let slots = [("after", self.tables.after.as_str()), ("key", &key)];
        let counts = render(include_str!("../../sql/proof/duplicates.sql"), &[&slots[..], &[("day", &day)]].concat())?;
        let keys = render(include_str!("../../sql/proof/duplicate_keys.sql"), &slots)?;
        self.check("duplicates", "no key is in the target twice", counts, keys).await
    }

    /// That the target has the keys that it should have, and no others.
    async fn keys(&self, added: Inserted, others: Inserted) -> Result<Check> {
        let Tables { before, after, winners, .. } = &self.tables;
        let columns = self.key_columns("")?;
        let statement = |rows: &str| self.sum_of(rows);
        let both = format!("(SELECT {columns} FROM {before} UNION ALL SELECT {columns} FROM {winners})");
        // Who has added keys meanwhile may have added some of the winners: theirs are counted by their receipts.
        let is_alone = others.keys == 0;
        let (found, expected) = (statement(after)?, statement(if is_alone { &both } else { before })?);
        let is = self.key_sum(&found).await?;
        let mut should = self.key_sum(&expected).await?;
        if !is_alone {
            should = should.and(added);
        }
        let differs = should.sum.is_some_and(|sum| is.sum != Some(sum));
        let shown = |keys: &Inserted| match keys.sum {
            Some(sum) => format!("{} with the sum {sum}", counted(keys.keys, "key")),
            None => counted(keys.keys, "key"),
        };
        let whose = if is_alone { "of what it was and of the winners" } else { "of what it was and of all receipts" };
        Ok(Check {
            name: "keys".into(),
            promise: format!("the keys are those {whose}"),
            found: is.keys.abs_diff(should.keys).max(u64::from(differs)),
            by: BTreeMap::new(),
            examples: Vec::new(),
            counted: format!("{}; there should be {}", shown(&is), shown(&should)),
            sql: vec![found, expected],
        })
    }

    /// The statement that counts and sums the keys of rows.
    fn sum_of(&self, rows: &str) -> Result<String> {
        let exprs = self.exprs();
        let (sum, key_text) = (exprs.exact_sum(&exprs.key_number("_key")), exprs.key_text("_r")?);
        let slots = [("sum", sum.as_str()), ("key_text", &key_text), ("rows", rows)];
        render(include_str!("../../sql/proof/key_sum.sql"), &slots)
    }

    async fn key_sum(&self, sql: &str) -> Result<Inserted> {
        let mut all = Inserted::NONE;
        for part in self.history.ask(&self.tables, sql).await?.iter().filter(|part| part.num_rows() > 0) {
            let (keys, sum) = (whole(part.column(0).as_ref(), 0)?, exact_sum(part.column(1).as_ref())?);
            all = all.and(Inserted { keys, sum: Some(sum) });
        }
        Ok(all)
    }

    /// A check that counts rows by day.
    async fn check(&self, name: &str, promise: &str, counts: String, keys: String) -> Result<Check> {
        let mut by = BTreeMap::new();
        for rows in self.history.ask(&self.tables, &counts).await? {
            for row in 0..rows.num_rows() {
                let day = number(rows.column(0).as_ref(), row).map(|day| Day(day as i32).to_string());
                let rows = whole(rows.column(1).as_ref(), row)?;
                *by.entry(day.unwrap_or_else(|| "without a day".into())).or_default() += rows;
            }
        }
        self.told(name, promise, by, [counts, keys]).await
    }

    /// A check with some of the keys for which it does not hold.
    async fn told(&self, name: &str, promise: &str, by: BTreeMap<String, u64>, sql: [String; 2]) -> Result<Check> {
        let [counts, keys] = sql;
        let mut examples = match by.is_empty() {
            true => Vec::new(),
            false => texts(&self.history.ask(&self.tables, &keys).await?)?,
        };
        examples.truncate(EXAMPLES);
        Ok(Check {
            name: name.into(),
            promise: promise.into(),
            found: by.values().sum(),
            by,
            examples,
            counted: String::new(),
            sql: vec![counts, keys],
        })
    }
}

/// A count.
fn whole(column: &dyn Array, row: usize) -> Result<u64> {
    let count = number(column, row).and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| Error::bug("count what a proof asks").because("the answer is no whole number"))
}

/// That rows balance.
fn rows(before: u64, inserted: u64, after: u64) -> Check {
    Check {
        name: "rows".into(),
        promise: "rows before + inserted = rows after".into(),
        found: (before + inserted).abs_diff(after),
        by: BTreeMap::new(),
        examples: Vec::new(),
        counted: format!("{before} + {inserted} = {}; it has {after}", before + inserted),
        sql: Vec::new(),
    }
}

/// The values of rows as text.
fn texts(batches: &[RecordBatch]) -> Result<Vec<Vec<Option<String>>>> {
    let mut all = Vec::new();
    for batch in batches {
        let options = FormatOptions::new();
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>().doing("show a key")?;
        for row in 0..batch.num_rows() {
            let value = |(column, text): (&arrow::array::ArrayRef, &ArrayFormatter<'_>)| {
                column.is_valid(row).then(|| text.value(row).to_string())
            };
            all.push(batch.columns().iter().zip(&columns).map(value).collect());
        }
    }
    Ok(all)
}
