//! The statements of the embedded warehouse, over the tables `target` and `staged`.

use crate::dataset::{Dataset, KeyPart};
use crate::error::Result;
use crate::sql::{Dialect, Exprs, decides, render};
use crate::warehouse::Finding;
use crate::window::Day;
use std::collections::BTreeSet;

/// The derived column that partitions the table: the UTC day of the partition column. It is no part of the contract.
pub const DAY: &str = "_day";

/// Renders them for one dataset.
#[derive(Debug)]
pub(super) struct Statements<'a> {
    pub(super) dataset: &'a Dataset,
}

impl Statements<'_> {
    fn exprs(&self) -> Exprs<'_> {
        Exprs { dataset: self.dataset, dialect: Dialect::DataFusion }
    }

    fn day_of_target(&self, alias: &str) -> String {
        match self.dataset.partition {
            Some(_) => format!("{alias}{DAY}"),
            None => "CAST(NULL AS DATE)".into(),
        }
    }

    fn touched(&self, days: &BTreeSet<Day>) -> String {
        self.exprs().day_in(DAY, days)
    }

    /// The winners, or other rows that are staged, beside the target's rows.
    fn joined(&self, staged: &str, touched: &BTreeSet<Day>, columns: &str) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../../sql/joined.sql"),
            &[
                ("columns", columns),
                ("day_before", &self.day_of_target("t.")),
                ("day_after", &exprs.day("s")?),
                ("newer", &exprs.higher("s", "t")?),
                ("older", &exprs.higher("t", "s")?),
                ("differs", &exprs.differs("s", "t")?),
                ("suspect", &exprs.suspect("s", "t")?),
                ("redated", &exprs.redated("s", "t")?),
                ("staged", staged),
                ("target", "target"),
                ("touched", &self.touched(touched)),
                ("same_key", &exprs.same_key("t", "s")?),
            ],
        )
    }

    pub(super) fn compare(&self, touched: &BTreeSet<Day>) -> Result<String> {
        render(include_str!("../../../sql/compare.sql"), &[("joined", &self.joined("staged", touched, "1 AS _one")?)])
    }

    /// How many of the losers that know a number which their winner does not number another event than the target's
    /// row.
    pub(super) fn suspect_witnesses(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let joined = self.joined("witnesses", touched, "1 AS _one")?;
        Ok(format!("SELECT COUNT(*) FROM ({joined}) AS j WHERE _found AND _suspect"))
    }

    /// Of the rows that a merge changes: 1 for an update, the day before and the day after, and how many.
    pub(super) fn changes(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let joined = self.joined("staged", touched, "1 AS _one")?;
        let newer = if self.dataset.immutable { "FALSE" } else { "_newer" };
        Ok(format!(
            "SELECT CASE WHEN _found THEN 1 ELSE 0 END AS _update, _day_before, _day_after, COUNT(*) \
             FROM ({joined}) AS j WHERE _found IS NULL OR {newer} GROUP BY 1, 2, 3"
        ))
    }

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
            Some(_) => (take(&exprs.day("s")?, &self.day_of_target("t."), &exprs.day("s")?), format!(", {DAY}")),
            None => ("CAST(NULL AS DATE)".into(), String::new()),
        };
        render(
            include_str!("../../../sql/merged.sql"),
            &[
                ("columns", &exprs.columns("", self.dataset.column_names())?),
                ("day_column", &day_column),
                ("values", &values),
                ("day_after", &day_after),
                ("target", "target"),
                ("touched", &self.touched(touched)),
                ("staged", "staged"),
                ("same_key", &exprs.same_key("t", "s")?),
                ("changed", &exprs.day_in(DAY, changed)),
            ],
        )
    }

    pub(super) fn verify(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        // An immutable row is never raised, so it may well be lower.
        let newer = if self.dataset.immutable { "FALSE".to_string() } else { exprs.higher("s", "t")? };
        render(
            include_str!("../../../sql/verify.sql"),
            &[
                ("newer", &newer),
                ("staged", "staged"),
                ("target", "target"),
                ("touched", &self.touched(touched)),
                ("same_key", &exprs.same_key("t", "s")?),
                ("staged_key", &exprs.key("s")?),
            ],
        )
    }

    /// Over the tables `target_before` and `target_after`.
    pub(super) fn lost(&self, changed: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../../sql/lost.sql"),
            &[
                ("key", &exprs.named_key("")?),
                ("before", "target_before"),
                ("after", "target_after"),
                ("changed", &exprs.day_in(DAY, changed)),
            ],
        )
    }

    pub(super) fn key_search(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../../sql/key_search.sql"),
            &[
                ("target", "target"),
                ("staged", "staged"),
                ("same_key", &exprs.same_folded_key("t", "s")?),
                ("not_touched", &format!("NOT ({})", exprs.day_in("t._day", touched))),
            ],
        )
    }

    pub(super) fn repeated(&self, touched: &BTreeSet<Day>) -> Result<String> {
        let exprs = self.exprs();
        render(
            include_str!("../../../sql/repeated.sql"),
            &[
                ("key_columns", &exprs.named_key("")?),
                ("target", "target"),
                ("touched", &self.touched(touched)),
                ("key", &exprs.key("")?),
            ],
        )
    }

    /// Rows of the target whose key landing would have folded; `None` where no key column is folded.
    pub(super) fn unfolded(&self, touched: &BTreeSet<Day>) -> Result<Option<String>> {
        let exprs = self.exprs();
        let names: BTreeSet<&str> = self.dataset.key.iter().flat_map(KeyPart::columns).collect();
        let hex = names.into_iter().filter(|name| self.dataset.column(name).is_some_and(|column| column.hex));
        let cases = hex.map(|name| {
            let column = exprs.column("", name)?;
            Ok(format!("{column} <> LOWER({column})"))
        });
        let cases = cases.collect::<Result<Vec<_>>>()?;
        if cases.is_empty() {
            return Ok(None);
        }
        let columns = exprs.columns("", self.dataset.column_names())?;
        Ok(Some(format!("SELECT {columns} FROM target WHERE {} AND ({})", self.touched(touched), cases.join(" OR "))))
    }

    pub(super) fn rows_of(&self, touched: &BTreeSet<Day>, finding: Finding) -> Result<String> {
        let exprs = self.exprs();
        let condition = match finding {
            Finding::Unfolded => {
                let columns = exprs.columns("", self.dataset.column_names())?;
                return Ok(self
                    .unfolded(touched)?
                    .unwrap_or_else(|| format!("SELECT {columns} FROM target WHERE FALSE")));
            }
            Finding::Repeated => {
                let keys = self.repeated(touched)?;
                let columns = exprs.columns("r", self.dataset.column_names())?;
                let matches = exprs.key_in_list("r", "k")?;
                let touched = exprs.day_in("r._day", touched);
                return Ok(format!(
                    "SELECT {columns} FROM target AS r LEFT SEMI JOIN ({keys}) AS k ON {matches} WHERE {touched}"
                ));
            }
            Finding::Conflict => "NOT _newer AND NOT _older AND _differs",
            Finding::Suspect => "_suspect",
            Finding::Redated => "_redated",
        };
        // The staged row and the target's, side by side: `price`, `target_price`.
        let mut prefix = "target_".to_string();
        while self.dataset.column_names().any(|name| name.starts_with(&prefix)) {
            prefix.push('_');
        }
        let sides = self.dataset.column_names().map(|name| {
            let target = exprs.column("", &format!("{prefix}{name}"))?;
            Ok(format!("{}, {} AS {target}", exprs.column("s", name)?, exprs.column("t", name)?))
        });
        let sides = sides.collect::<Result<Vec<_>>>()?.join(", ");
        let found = |staged: &str| -> Result<String> {
            let joined = self.joined(staged, touched, &sides)?;
            Ok(format!("SELECT * FROM ({joined}) AS j WHERE _found AND {condition}"))
        };
        match finding {
            Finding::Suspect => Ok(format!("{} UNION ALL {}", found("staged")?, found("witnesses")?)),
            _ => found("staged"),
        }
    }
}
