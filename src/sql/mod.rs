//! Renders the statements in `sql/` for both engines. The key and the order are written once, in the contract; whatever
//! SQL says of them comes from here. The one place that quotes identifiers.

mod exprs;
mod reduced;

pub use exprs::{Exprs, KEY_NUMBER, MICROS};
pub use reduced::{Losers, Quarantine, REDUCED, Reduction, Which};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::window::Day;
use std::collections::BTreeSet;

/// Who reads the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// DataFusion: identifiers in double quotes.
    DataFusion,
    /// GoogleSQL, as BigQuery speaks it: identifiers in backquotes.
    GoogleSql,
}

impl Dialect {
    /// Quotes an identifier.
    ///
    /// # Errors
    /// Usage, when the name holds what no quoting makes harmless: a control character, a quote of the dialect.
    pub fn quote(self, name: &str) -> Result<String> {
        let mark = match self {
            Dialect::DataFusion => '"',
            Dialect::GoogleSql => '`',
        };
        if name.is_empty() || name.chars().any(|c| c == mark || c == '\\' || c.is_control()) {
            return Err(Error::usage("quote an identifier").with("name", name.escape_debug()).because(
                "a name of a table or column is not empty and holds no quote, backslash or control character",
            ));
        }
        Ok(format!("{mark}{name}{mark}"))
    }

    /// Quotes a path of identifiers: `project`, `dataset`, `table`.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn quote_path<'a>(self, parts: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let parts = parts.into_iter().map(|part| self.quote(part)).collect::<Result<Vec<_>>>()?;
        Ok(parts.join("."))
    }

    /// Quotes a text.
    pub fn text(self, text: &str) -> String {
        match self {
            Dialect::DataFusion => format!("'{}'", text.replace('\'', "''")),
            Dialect::GoogleSql => {
                let mut escaped = String::new();
                for c in text.chars() {
                    match c {
                        '\\' | '\'' => escaped.extend(['\\', c]),
                        c if c.is_control() => escaped.push_str(&format!("\\u{:04x}", c as u32)),
                        c => escaped.push(c),
                    }
                }
                format!("'{escaped}'")
            }
        }
    }
}

/// Fills the `{{slots}}` of a template and drops its comment lines at the top.
///
/// # Errors
/// Bug, when a slot stays empty or a value is asked for by no slot.
pub fn render(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut rest = template.trim_start();
    while rest.starts_with("--") {
        rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
    }
    let mut text = String::new();
    let mut used = BTreeSet::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((slot, after)) = after.split_once("}}") else {
            return Err(Error::bug("render a statement").because("a slot is not closed"));
        };
        let Some((name, value)) = values.iter().find(|(name, _)| *name == slot) else {
            return Err(Error::bug("render a statement").with("slot", slot).because("nothing fills it"));
        };
        text.push_str(before);
        text.push_str(value);
        used.insert(*name);
        rest = after;
    }
    text.push_str(rest.trim_end());
    match values.iter().find(|(name, _)| !used.contains(name)) {
        Some((name, _)) => Err(Error::bug("render a statement").with("value", name).because("no slot asks for it")),
        None => Ok(text),
    }
}

/// The query that keeps one row of each key of the table `rows` (quoted already).
///
/// # Errors
/// As [`Dialect::quote`].
pub fn dedup(dataset: &Dataset, dialect: Dialect, rows: &str) -> Result<String> {
    let exprs = Exprs { dataset, dialect };
    let frame = match dialect {
        // It changes nothing, but the frame that is meant without it is one of ranges, which DataFusion can't plan for
        // every type. GoogleSQL allows none here.
        Dialect::DataFusion => " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        Dialect::GoogleSql => "",
    };
    render(
        include_str!("../../sql/dedup.sql"),
        &[
            ("columns", &exprs.columns("", dataset.column_names())?),
            ("rows", rows),
            ("key", &exprs.key("")?),
            ("total_order", &exprs.order_by(&dataset.total_order())?),
            ("frame", frame),
        ],
    )
}

/// BigQuery's MERGE of one batch: `target` and `staged` are quoted already, `days` are those that it may touch.
///
/// # Errors
/// As [`Dialect::quote`].
pub fn merge_bigquery(dataset: &Dataset, target: &str, staged: &str, days: &BTreeSet<Day>) -> Result<String> {
    let exprs = Exprs { dataset, dialect: Dialect::GoogleSql };
    let day_filter = |alias: &str| -> Result<String> { Ok(exprs.day_in(&exprs.day(alias)?, days)) };
    let (mut where_staged, mut and_touched) = (String::new(), String::new());
    if dataset.partition.is_some() {
        where_staged = format!("\n  WHERE {}", day_filter("")?);
        and_touched = format!("\n  AND {}", day_filter("_t")?);
    }
    let mut when_matched = String::new();
    if !dataset.immutable {
        let sets = dataset.column_names().map(|name| {
            let (plain, staged) = (exprs.column("", name)?, exprs.column("_s", name)?);
            Ok(if decides(dataset, name) {
                format!("{plain} = {staged}")
            } else {
                format!("{plain} = COALESCE({staged}, {})", exprs.column("_t", name)?)
            })
        });
        let sets = sets.collect::<Result<Vec<_>>>()?.join(",\n    ");
        when_matched = format!("\nWHEN MATCHED AND {} THEN\n  UPDATE SET\n    {sets}", exprs.higher("_s", "_t")?);
    }
    render(
        include_str!("../../sql/merge_bigquery.sql"),
        &[
            ("target", target),
            ("staged", staged),
            ("columns", &exprs.columns("", dataset.column_names())?),
            ("where_staged", &where_staged),
            ("key", &exprs.key("")?),
            ("total_order", &exprs.order_by(&dataset.total_order())?),
            ("same_key", &exprs.same_key("_t", "_s")?),
            ("and_touched", &and_touched),
            ("when_matched", &when_matched),
            ("values", &exprs.columns("_s", dataset.column_names())?),
        ],
    )
}

/// Whether an update takes this column from the staged row even where it is NULL: it is in the key or in the order.
pub fn decides(dataset: &Dataset, name: &str) -> bool {
    dataset.key.iter().any(|part| part.columns().any(|column| column == name))
        || dataset.order.iter().any(|item| item.column == name)
}
