//! The statements that tell what became of the rows that a merge had changed, for both engines. Nothing here writes.

use super::statements::{Statements, target_prefix};
use crate::error::Result;
use crate::sql::{decides, render};
use crate::window::Day;
use std::collections::BTreeSet;

impl Statements<'_> {
    /// The days on which the rows that the table `changes` holds were or are.
    pub(super) fn days_of_changes(&self, changes: &str) -> String {
        format!(
            "SELECT DISTINCT _day FROM (SELECT _day_before AS _day FROM {changes} \
             UNION ALL SELECT _day_after AS _day FROM {changes}) AS _d WHERE _day IS NOT NULL"
        )
    }

    /// What undoing the merge whose changes the table `changes` holds would do, as counts.
    pub(super) fn undo_counts(&self, changes: &str, touched: &BTreeSet<Day>) -> Result<String> {
        render(
            include_str!("../../sql/undo_counts.sql"),
            &[
                ("untouched", &self.untouched()?),
                ("as_before", &self.as_before()?),
                ("changes", changes),
                ("target", self.target),
                ("touched", &self.touched("", touched)?),
                ("same_key", &self.exprs().same_key("_t", "_c")?),
            ],
        )
    }

    /// That the target's row `_t` is as the merge whose change `_c` is has left it. Never NULL.
    pub(super) fn untouched(&self) -> Result<String> {
        let exprs = self.exprs();
        let prefix = target_prefix(self.dataset);
        let same = self.dataset.column_names().map(|name| {
            let (now, staged) = (exprs.column("_t", name)?, exprs.column("_c", name)?);
            // An insert has no value of the target.
            let left = match decides(self.dataset, name) {
                true => staged,
                false => format!("COALESCE({staged}, {})", exprs.column("_c", &format!("{prefix}{name}"))?),
            };
            Ok(format!("({now} IS NOT DISTINCT FROM {left})"))
        });
        Ok(format!("({})", same.collect::<Result<Vec<_>>>()?.join(" AND ")))
    }

    /// That the target's row `_t` is as it was before the change `_c`. Never NULL.
    fn as_before(&self) -> Result<String> {
        let exprs = self.exprs();
        let prefix = target_prefix(self.dataset);
        let same = self.dataset.column_names().map(|name| {
            let (now, before) = (exprs.column("_t", name)?, exprs.column("_c", &format!("{prefix}{name}"))?);
            Ok(format!("({now} IS NOT DISTINCT FROM {before})"))
        });
        Ok(format!("({})", same.collect::<Result<Vec<_>>>()?.join(" AND ")))
    }
}
