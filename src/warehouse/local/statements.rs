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
        let exprs = self.exprs();
        let number = exprs.key_number(&exprs.key_text("s")?);
        let number = format!("CASE WHEN t._found IS NULL THEN {number} END AS _key_number");
        let joined = self.joined(self.staged, touched, &number)?;
        let newer = if self.dataset.immutable { "FALSE" } else { "_newer" };
        let sum = self.exprs().exact_sum("_key_number");
        Ok(format!(
            "SELECT CASE WHEN _found THEN 1 ELSE 0 END AS _update, _day_before, _day_after, COUNT(*), {sum} \
             FROM ({joined}) AS j WHERE _found IS NULL OR {newer} GROUP BY 1, 2, 3"
        ))
    }

    /// The changed days as they are after a merge.
    pub(super) fn merged(&self, touched: &BTreeSet<Day>, changed: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        let update = if self.dataset.immutable {
            "FALSE".to_string()
        } else {
            format!("s._staged AND {}", exprs.higher("s", "t")?)
        };
        let take = |staged: &str, target: &str, updated: &str| {
            format!("CASE WHEN t._found IS NULL THEN {staged} WHEN {update} THEN {updated} ELSE {target} END")
        };
        let values = self.dataset.column_names().map(|name| {
            let (staged, target) = (exprs.column("s", name)?, exprs.column("t", name)?);
            let updated = match decides(self.dataset, name) {
                true => staged.clone(),
                false => format!("COALESCE({staged}, {target})"),
            };
            Ok(format!("{} AS {}", take(&staged, &target, &updated), exprs.column("", name)?))
        });
        let values = values.collect::<Result<Vec<_>>>()?.join(",\n    ");
        let (day_after, day_column) = match self.dataset.partition {
            Some(_) => (take(&exprs.day("s")?, &self.day_of_target("t")?, &exprs.day("s")?), format!(", {DAY}")),
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
                ("same_key", &exprs.same_key("t", "s")?),
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

    /// What undoing the merge whose changes the table `changes` holds would do, as counts.
    pub(super) fn undo_counts(&self, changes: &str, touched: &BTreeSet<Day>) -> Result<String> {
        render(
            include_str!("../../../sql/undo_counts.sql"),
            &[
                ("untouched", &self.untouched()?),
                ("as_before", &self.as_before()?),
                ("changes", changes),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("same_key", &self.exprs().same_key("t", "c")?),
            ],
        )
    }

    /// The touched days as they are once the merge whose changes the table `changes` holds is undone.
    pub(super) fn undone(&self, changes: &str, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        let untouched = self.untouched()?;
        let prefix = target_prefix(self.dataset);
        let restored = format!("c._change AND c._found AND {untouched}");
        let values = self.dataset.column_names().map(|name| {
            let (before, now) = (exprs.column("c", &format!("{prefix}{name}"))?, exprs.column("t", name)?);
            Ok(format!("CASE WHEN {restored} THEN {before} ELSE {now} END AS {}", exprs.column("", name)?))
        });
        let (day, day_column) = match self.dataset.partition {
            Some(_) => {
                let now = self.day_of_target("t")?;
                (format!("CASE WHEN {restored} THEN c._day_before ELSE {now} END"), format!(", {DAY}"))
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
                ("same_key", &exprs.same_key("t", "c")?),
            ],
        )
    }

    /// That the target's row `t` is as the merge whose change `c` is has left it. Never NULL.
    fn untouched(&self) -> Result<String> {
        let exprs = self.exprs();
        let prefix = target_prefix(self.dataset);
        let same = self.dataset.column_names().map(|name| {
            let (now, staged) = (exprs.column("t", name)?, exprs.column("c", name)?);
            // An insert has no value of the target.
            let left = match decides(self.dataset, name) {
                true => staged,
                false => format!("COALESCE({staged}, {})", exprs.column("c", &format!("{prefix}{name}"))?),
            };
            Ok(format!("({now} IS NOT DISTINCT FROM {left})"))
        });
        Ok(format!("({})", same.collect::<Result<Vec<_>>>()?.join(" AND ")))
    }

    /// That the target's row `t` is as it was before the change `c`. Never NULL.
    fn as_before(&self) -> Result<String> {
        let exprs = self.exprs();
        let prefix = target_prefix(self.dataset);
        let same = self.dataset.column_names().map(|name| {
            let (now, before) = (exprs.column("t", name)?, exprs.column("c", &format!("{prefix}{name}"))?);
            Ok(format!("({now} IS NOT DISTINCT FROM {before})"))
        });
        Ok(format!("({})", same.collect::<Result<Vec<_>>>()?.join(" AND ")))
    }
}
