//! The one statement that only BigQuery has: every count of a comparison at once, since each job takes its time and
//! each is billed for what it reads.

use super::super::statements::{Statements, target_prefix};
use crate::error::Result;
use crate::sql::render;
use crate::window::Day;
use std::collections::BTreeSet;

impl Statements<'_> {
    /// All rows of the target on these days, every column of it.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn whole_rows(&self, touched: &BTreeSet<Day>) -> Result<String> {
        Ok(format!("SELECT * FROM {} WHERE {}", self.target, self.touched("", touched)?))
    }

    /// Rows, keys, losers by class, rows without a key, and the latest time, by day.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn audit(&self) -> Result<String> {
        let exprs = self.exprs();
        let time = match self.dataset.time_column() {
            Some(name) => exprs.column("_r", name)?,
            None => "CAST(NULL AS TIMESTAMP)".into(),
        };
        render(
            include_str!("../../../sql/audit.sql"),
            &[
                ("columns", &exprs.columns("", self.dataset.column_names())?),
                ("key", &exprs.key("")?),
                ("total_order", &exprs.order_by(&self.dataset.total_order())?),
                ("target", self.target),
                ("any_day", &self.any_day()?),
                ("day", &exprs.day("_r")?),
                ("time", &time),
                ("without_key", &exprs.without_key("_r")?),
                ("unlike", &exprs.unlike("_r", "_w")?),
                ("lower", &exprs.higher("_w", "_r")?),
                ("same_key", &exprs.same_key("_r", "_w")?),
            ],
        )
    }

    /// How many keys have rows that number different events.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn suspect_keys(&self) -> Result<String> {
        let exprs = self.exprs();
        let cases = self.dataset.identity.iter().map(|identity| {
            let value = exprs.identity("", identity)?;
            Ok(format!("MIN({value}) <> MAX({value})"))
        });
        let cases = cases.collect::<Result<Vec<_>>>()?;
        let having = if cases.is_empty() { "FALSE".into() } else { cases.join(" OR ") };
        let (target, any_day, key) = (self.target, self.any_day()?, exprs.key("")?);
        Ok(format!(
            "SELECT COUNT(*) FROM (SELECT 1 AS _one FROM {target} WHERE {any_day} GROUP BY {key} HAVING {having}) AS _s"
        ))
    }

    /// Columns of all rows of the target that have a day, for a table that wants to be told of which days.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn all_of<'a>(&self, columns: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let columns = self.exprs().columns("", columns)?;
        Ok(format!("SELECT {columns} FROM {} WHERE {} >= DATE '0001-01-01'", self.target, self.day_of_target("")?))
    }

    /// The counts of a comparison, in their order, the suspects among the witnesses, and the sum of the numbers of the
    /// keys that are not there.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn counts_at_once(&self, touched: &BTreeSet<Day>, has_witnesses: bool) -> Result<String> {
        let repeated = format!("(SELECT COUNT(*) FROM ({}) AS _r)", self.repeated(touched)?);
        let unfolded = match self.unfolded(touched)? {
            Some(sql) => format!("(SELECT COUNT(*) FROM ({sql}) AS _u)"),
            None => "0".into(),
        };
        let witnesses = match has_witnesses {
            true => format!("({})", self.suspect_witnesses(touched)?),
            false => "0".into(),
        };
        let sum = format!(",\n  {} AS new_key_sum", self.exprs().exact_sum("_key_number"));
        let counts = ["staged", "absent", "newer", "older", "same", "conflict", "suspect", "redated"];
        let counts = counts.map(|name| format!("_c.{name} AS {name}")).join(", ");
        Ok(format!(
            "SELECT {counts}, {repeated} AS repeated, {unfolded} AS unfolded, {witnesses} AS witnesses, \
             _c.new_key_sum AS new_key_sum\nFROM ({}) AS _c",
            self.compare_with(touched, &self.new_key_number()?, &sum)?
        ))
    }

    /// The MERGE that takes back what the table `changes` holds, on these days.
    ///
    /// # Errors
    /// As [`crate::sql::Dialect::quote`].
    pub fn undo(&self, changes: &str, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        let prefix = target_prefix(self.dataset);
        let restored = self.dataset.column_names().map(|name| {
            let before = exprs.column("_c", &format!("{prefix}{name}"))?;
            Ok(format!("{} = {before}", exprs.column("", name)?))
        });
        let and_touched = match self.dataset.partition {
            Some(_) => format!("\n  AND {}", self.touched("_t", touched)?),
            None => String::new(),
        };
        render(
            include_str!("../../../sql/undo_bigquery.sql"),
            &[
                ("target", self.target),
                ("changes", changes),
                ("same_key", &exprs.same_key("_t", "_c")?),
                ("and_touched", &and_touched),
                ("untouched", &self.untouched()?),
                ("restored", &restored.collect::<Result<Vec<_>>>()?.join(",\n    ")),
            ],
        )
    }
}
