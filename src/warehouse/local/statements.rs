//! The statements that only the embedded warehouse has: what a merge changes, and the days as they are after it.

use super::super::statements::Statements;
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

    /// Of the rows that a merge changes: 1 for an update, the day before and the day after, and how many.
    pub(super) fn changes(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let joined = self.joined(self.staged, touched, "1 AS _one")?;
        let newer = if self.dataset.immutable { "FALSE" } else { "_newer" };
        Ok(format!(
            "SELECT CASE WHEN _found THEN 1 ELSE 0 END AS _update, _day_before, _day_after, COUNT(*) \
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
}
