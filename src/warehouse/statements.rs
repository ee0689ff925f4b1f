//! The statements that look at a batch beside the target, for both engines: what a merge would find, and what must hold
//! after it. Nothing here writes.

use super::Finding;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::sql::{Dialect, Exprs, render};
use crate::window::Day;
use std::collections::BTreeSet;

/// Renders them for one dataset and its tables, whose names are quoted already.
#[derive(Debug)]
pub struct Statements<'a> {
    /// Whose contract.
    pub dataset: &'a Dataset,
    /// For whom.
    pub dialect: Dialect,
    /// The target.
    pub target: &'a str,
    /// The staged winners of a batch.
    pub staged: &'a str,
    /// Losers that know a number which their winner does not.
    pub witnesses: &'a str,
    /// The target's own column that says the UTC day, where it has one beside the partition column.
    pub day: Option<&'static str>,
}

impl Statements<'_> {
    pub(super) fn exprs(&self) -> Exprs<'_> {
        Exprs { dataset: self.dataset, dialect: self.dialect }
    }

    /// The UTC day of the target's row that `alias` names, as a DATE.
    pub(super) fn day_of_target(&self, alias: &str) -> Result<String> {
        match self.day.filter(|_| self.dataset.partition.is_some()) {
            Some(day) => self.exprs().column(alias, day),
            None => self.exprs().day(alias),
        }
    }

    /// That the target's row is of one of these days.
    pub(super) fn touched(&self, alias: &str, days: &BTreeSet<Day>) -> Result<String> {
        Ok(self.exprs().day_in(&self.day_of_target(alias)?, days))
    }

    /// That a row is of any day or of none, for a table of BigQuery, which may want to be told of which.
    pub(super) fn any_day(&self) -> Result<String> {
        if self.dataset.partition.is_none() || self.dialect == Dialect::DataFusion {
            return Ok("TRUE".into());
        }
        let day = self.day_of_target("")?;
        Ok(format!("({day} IS NULL OR {day} >= DATE '0001-01-01')"))
    }

    /// The winners, or other rows that are staged, beside the target's rows.
    pub(super) fn joined(&self, staged: &str, touched: &BTreeSet<Day>, columns: &str) -> Result<String> {
        let exprs = self.exprs();
        let own = self.day.filter(|_| self.dataset.partition.is_some());
        let target_columns = exprs.columns("", self.dataset.column_names().chain(own))?;
        render(
            include_str!("../../sql/joined.sql"),
            &[
                ("columns", columns),
                ("target_columns", &target_columns),
                ("day_before", &self.day_of_target("_t")?),
                ("day_after", &exprs.day("_s")?),
                ("newer", &exprs.higher("_s", "_t")?),
                ("older", &exprs.higher("_t", "_s")?),
                ("differs", &exprs.differs("_s", "_t")?),
                ("suspect", &exprs.suspect("_s", "_t")?),
                ("redated", &exprs.redated("_s", "_t")?),
                ("staged", staged),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("same_key", &exprs.same_key("_t", "_s")?),
            ],
        )
    }

    /// The counts of a comparison but for the last two, in their order.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn compare(&self, touched: &BTreeSet<Day>) -> Result<String> {
        self.compare_with(touched, "1 AS _one", "")
    }

    /// The same, with another column of the joined rows and one more of the answer.
    pub(super) fn compare_with(&self, touched: &BTreeSet<Day>, column: &str, and_sum: &str) -> Result<String> {
        let joined = self.joined(self.staged, touched, column)?;
        render(include_str!("../../sql/compare.sql"), &[("joined", &joined), ("and_sum", and_sum)])
    }

    /// The number of a winner's key, where the target does not have it.
    pub(super) fn new_key_number(&self) -> Result<String> {
        let exprs = self.exprs();
        let number = exprs.key_number(&exprs.key_text("_s")?);
        Ok(format!("CASE WHEN _t._found IS NULL THEN {number} END AS _key_number"))
    }

    /// How many of the losers that know a number which their winner does not number another event than the target's
    /// row.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn suspect_witnesses(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let joined = self.joined(self.witnesses, touched, "1 AS _one")?;
        Ok(format!("SELECT COUNT(*) FROM ({joined}) AS _j WHERE _found AND _suspect"))
    }

    /// What must hold after a merge: how many winners are missing, repeated, lower.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn verify(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        // An immutable row is never raised, so it may well be lower.
        let newer = if self.dataset.immutable { "FALSE".to_string() } else { exprs.higher("_s", "_t")? };
        render(
            include_str!("../../sql/verify.sql"),
            &[
                ("newer", &newer),
                ("staged", self.staged),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("same_key", &exprs.same_key("_t", "_s")?),
                ("staged_key", &exprs.key("_s")?),
            ],
        )
    }

    /// The days, other than these, on which the target holds a winner's key.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn key_search(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../sql/key_search.sql"),
            &[
                ("day", &self.day_of_target("_t")?),
                ("target", self.target),
                ("staged", self.staged),
                ("same_key", &exprs.same_folded_key("_t", "_s")?),
                ("touched", &self.touched("_t", touched)?),
            ],
        )
    }

    /// The keys that the target holds more than once.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn repeated(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../sql/repeated.sql"),
            &[
                ("key_columns", &exprs.named_key("")?),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("key", &exprs.key("")?),
            ],
        )
    }

    /// Rows of the target whose key landing would have folded; `None` where no key column is folded.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn unfolded(&self, touched: &BTreeSet<Day>) -> Result<Option<String>> {
        let exprs = self.exprs();
        let Some(is_unfolded) = exprs.unfolded()? else { return Ok(None) };
        let columns = exprs.columns("", self.dataset.column_names())?;
        let (target, touched) = (self.target, self.touched("", touched)?);
        Ok(Some(format!("SELECT {columns} FROM {target} WHERE {touched} AND {is_unfolded}")))
    }

    /// The rows behind a count of the comparison.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn rows_of(&self, touched: &BTreeSet<Day>, finding: Finding) -> Result<String> {
        let exprs = self.exprs();
        let condition = match finding {
            Finding::Unfolded => {
                let columns = exprs.columns("", self.dataset.column_names())?;
                let none = || format!("SELECT {columns} FROM {} WHERE FALSE", self.target);
                return Ok(self.unfolded(touched)?.unwrap_or_else(none));
            }
            Finding::Repeated => {
                let keys = self.repeated(touched)?;
                let columns = exprs.columns("_r", self.dataset.column_names())?;
                let matches = exprs.key_in_list("_r", "_k")?;
                let (target, touched) = (self.target, self.touched("_r", touched)?);
                // Each key is in the list once.
                return Ok(format!(
                    "SELECT {columns} FROM {target} AS _r JOIN ({keys}) AS _k ON {matches} WHERE {touched}"
                ));
            }
            Finding::Conflict => "NOT _newer AND NOT _older AND _differs",
            Finding::Suspect => "_suspect",
            Finding::Redated => "_redated",
            Finding::Changed => "",
        };
        let sides = self.sides()?;
        let found = |staged: &str| -> Result<String> {
            let joined = self.joined(staged, touched, &sides)?;
            Ok(format!("SELECT * FROM ({joined}) AS _j WHERE _found AND {condition}"))
        };
        match finding {
            Finding::Changed => {
                let joined = self.joined(self.staged, touched, &sides)?;
                let or_newer = if self.dataset.immutable { "" } else { " OR _newer" };
                Ok(format!("SELECT * FROM ({joined}) AS _j WHERE _found IS NULL{or_newer}"))
            }
            Finding::Suspect => Ok(format!("{} UNION ALL {}", found(self.staged)?, found(self.witnesses)?)),
            _ => found(self.staged),
        }
    }
}

impl Statements<'_> {
    /// The columns of the staged row and of the target's, side by side.
    fn sides(&self) -> Result<String> {
        let exprs = self.exprs();
        let prefix = target_prefix(self.dataset);
        let sides = self.dataset.column_names().map(|name| {
            let target = exprs.column("", &format!("{prefix}{name}"))?;
            Ok(format!("{}, {} AS {target}", exprs.column("_s", name)?, exprs.column("_t", name)?))
        });
        Ok(sides.collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// Winners that the target seems to have under another key, on whatever day, as `other` tells rows apart: all of
    /// their columns, or a list of their keys with the columns of [`Exprs::named_key`] and `_rows`.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub(super) fn under_another_key(&self, other: &Dataset, only_keys: bool) -> Result<String> {
        let exprs = self.exprs();
        let columns = match only_keys {
            true => format!("{}, 1 AS _rows", exprs.named_key("_s")?),
            false => exprs.columns("_s", self.dataset.column_names())?,
        };
        let same_key = exprs.same_key("_t", "_s")?;
        let same_other = Exprs { dataset: other, dialect: self.dialect }.same_key("_t", "_s")?;
        let condition = |joined_by: &str, and_only: &str| {
            render(
                include_str!("../../sql/under_another_key.sql"),
                &[
                    ("columns", &columns),
                    ("staged", self.staged),
                    ("target", self.target),
                    ("joined_by", joined_by),
                    ("same_key", &same_key),
                    ("and_only", and_only),
                ],
            )
        };
        let mut statements = vec![condition(&same_other, "")?];
        let key = &self.dataset.key;
        for (at, part) in key.iter().enumerate().filter(|(_, part)| key.len() > 1 && part.is_never_null()) {
            let rest = key
                .iter()
                .enumerate()
                .filter(|(place, _)| *place != at)
                .map(|(_, rest)| Ok(format!("{} = {}", exprs.key_part("_t", rest)?, exprs.key_part("_s", rest)?)));
            let rest = rest.collect::<Result<Vec<_>>>()?.join(" AND ");
            let (staged, target) = (exprs.column("_s", &part.column)?, exprs.column("_t", &part.column)?);
            let is_missing = |column: &str| format!("NULLIF({column}, '') IS NULL");
            let only = format!(" AND ({}) <> ({})", is_missing(&staged), is_missing(&target));
            statements.push(condition(&rest, &only)?);
        }
        // A winner that both find is told once.
        Ok(statements.join("\nUNION DISTINCT\n"))
    }
}

/// What the names of the target's columns begin with where they stand beside the staged ones: `price`, `target_price`.
pub(super) fn target_prefix(dataset: &Dataset) -> String {
    let mut prefix = "target_".to_string();
    while dataset.column_names().any(|name| name.starts_with(&prefix)) {
        prefix.push('_');
    }
    prefix
}
