//! The statements that only the embedded warehouse has: what a merge changes, and the days as they are after it.

use super::super::statements::{Statements, target_prefix};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::sql::{Dialect, decides, render};
use crate::window::Day;
use std::collections::BTreeSet;

/// The derived column that partitions the table: the UTC day of the partition column. It is no part of the contract.
pub const DAY: &str = "_day";

impl<'a> Statements<'a> {
    /// Over the names under which the engine knows the tables of a batch.
    pub(super) fn local(dataset: &'a Dataset) -> Statements<'a> {
        let (target, staged, witnesses) = ("target", "staged", "witnesses");
        Statements { dataset, dialect: Dialect::DataFusion, target, staged, witnesses, day: Some(DAY) }
    }

    /// Of the rows that a merge changes: 1 for an update, the day before and the day after, how many, and the sum of
    /// the numbers of the keys that are inserted.
    pub(super) fn changes(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let joined = self.joined(self.staged, touched, &self.new_key_number()?)?;
        let newer = if self.dataset.immutable { "FALSE" } else { "_newer" };
        let sum = self.exprs().exact_sum("_key_number");
        Ok(format!(
            "SELECT CASE WHEN _found THEN 1 ELSE 0 END AS _update, _day_before, _day_after, COUNT(*), {sum} \
             FROM ({joined}) AS _j WHERE _found IS NULL OR {newer} GROUP BY 1, 2, 3"
        ))
    }

    /// The changed days as they are after a merge.
    pub(super) fn merged(&self, touched: &BTreeSet<Day>, changed: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        let update = if self.dataset.immutable {
            "FALSE".to_string()
        } else {
            format!("_s._staged AND {}", exprs.higher("_s", "_t")?)
        };
        let take = |staged: &str, target: &str, updated: &str| {
            format!("CASE WHEN _t._found IS NULL THEN {staged} WHEN {update} THEN {updated} ELSE {target} END")
        };
        let values = self.dataset.column_names().map(|name| {
            let (staged, target) = (exprs.column("_s", name)?, exprs.column("_t", name)?);
            let updated = match decides(self.dataset, name) {
                true => staged.clone(),
                false => format!("COALESCE({staged}, {target})"),
            };
            Ok(format!("{} AS {}", take(&staged, &target, &updated), exprs.column("", name)?))
        });
        let values = values.collect::<Result<Vec<_>>>()?.join(",\n    ");
        let (day_after, day_column) = match self.dataset.partition {
            Some(_) => (take(&exprs.day("_s")?, &self.day_of_target("_t")?, &exprs.day("_s")?), format!(", {DAY}")),
            None => ("CAST(NULL AS DATE)".into(), String::new()),
        };
        render(
            include_str!("../../../sql/merged.sql"),
            &[
                ("columns", &exprs.columns("", self.dataset.column_names())?),
                ("day_column", &day_column),
                ("values", &values),
                ("day_after", &day_after),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("staged", self.staged),
                ("same_key", &exprs.same_key("_t", "_s")?),
                ("changed", &exprs.day_in(DAY, changed)),
            ],
        )
    }

    /// How many keys one version of the target has and another has not.
    pub(super) fn lost(&self, before: &str, after: &str, changed: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../../sql/lost.sql"),
            &[
                ("key", &exprs.named_key("")?),
                ("before", before),
                ("after", after),
                ("changed", &exprs.day_in(DAY, changed)),
            ],
        )
    }

    /// The touched days as they are once the merge whose changes the table `changes` holds is undone.
    pub(super) fn undone(&self, changes: &str, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        let untouched = self.untouched()?;
        let prefix = target_prefix(self.dataset);
        let restored = format!("_c._change AND _c._found AND {untouched}");
        let values = self.dataset.column_names().map(|name| {
            let (before, now) = (exprs.column("_c", &format!("{prefix}{name}"))?, exprs.column("_t", name)?);
            Ok(format!("CASE WHEN {restored} THEN {before} ELSE {now} END AS {}", exprs.column("", name)?))
        });
        let (day, day_column) = match self.dataset.partition {
            Some(_) => {
                let now = self.day_of_target("_t")?;
                (format!("CASE WHEN {restored} THEN _c._day_before ELSE {now} END"), format!(", {DAY}"))
            }
            None => ("CAST(NULL AS DATE)".into(), String::new()),
        };
        render(
            include_str!("../../../sql/undone.sql"),
            &[
                ("columns", &exprs.columns("", self.dataset.column_names())?),
                ("day_column", &day_column),
                ("values", &values.collect::<Result<Vec<_>>>()?.join(",\n    ")),
                ("day", &day),
                ("untouched", &untouched),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("changes", changes),
                ("same_key", &exprs.same_key("_t", "_c")?),
            ],
        )
    }
}
