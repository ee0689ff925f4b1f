//! Renders the statements in `sql/` for both engines. The key and the order are written once, in the contract; whatever
//! SQL says of them comes from here. The one place that quotes identifiers.

use crate::dataset::{Dataset, Identity, KeyPart, OrderColumn, StandIn};
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

/// Renders expressions over a dataset's columns for one engine.
#[derive(Clone, Copy, Debug)]
pub struct Exprs<'a> {
    /// Whose columns.
    pub dataset: &'a Dataset,
    /// For whom.
    pub dialect: Dialect,
}

impl Exprs<'_> {
    /// A column, of the table that `alias` names, if it names one.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn column(&self, alias: &str, name: &str) -> Result<String> {
        let quoted = self.dialect.quote(name)?;
        Ok(if alias.is_empty() { quoted } else { format!("{alias}.{quoted}") })
    }

    /// The columns, separated by commas.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn columns<'n>(&self, alias: &str, names: impl IntoIterator<Item = &'n str>) -> Result<String> {
        Ok(names.into_iter().map(|name| self.column(alias, name)).collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// One part of the key.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn key_part(&self, alias: &str, part: &KeyPart) -> Result<String> {
        let column = self.column(alias, &part.column)?;
        if part.stand_ins.is_empty() {
            return Ok(column);
        }
        let mut text = format!("COALESCE({column}");
        for stand_in in &part.stand_ins {
            text.push_str(", ");
            text.push_str(&match stand_in {
                StandIn::Column(name) => self.column(alias, name)?,
                StandIn::Text(value) => self.dialect.text(value),
            });
        }
        text.push(')');
        Ok(text)
    }

    /// The key's parts, separated by commas.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn key(&self, alias: &str) -> Result<String> {
        Ok(self.key_parts(alias)?.join(", "))
    }

    fn key_parts(&self, alias: &str) -> Result<Vec<String>> {
        self.dataset.key.iter().map(|part| self.key_part(alias, part)).collect()
    }

    /// The key's parts with names, `_key_0` and so on, for a list of keys.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn named_key(&self, alias: &str) -> Result<String> {
        let parts = self.key_parts(alias)?;
        Ok(parts.iter().enumerate().map(|(i, part)| format!("{part} AS _key_{i}")).collect::<Vec<_>>().join(", "))
    }

    /// That two rows have the same key. Equality never holds for NULL: contracts reject a NULL that nothing stands in
    /// for.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn same_key(&self, left: &str, right: &str) -> Result<String> {
        let pairs = self.key_parts(left)?.into_iter().zip(self.key_parts(right)?);
        Ok(pairs.map(|(l, r)| format!("{l} = {r}")).collect::<Vec<_>>().join(" AND "))
    }

    /// As [`Exprs::same_key`], but with the left row's hexadecimal columns in lower case, as landing would have them.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn same_folded_key(&self, left: &str, right: &str) -> Result<String> {
        let pairs = self.dataset.key.iter().map(|part| {
            let hex = part.columns().any(|name| self.dataset.column(name).is_some_and(|column| column.hex));
            let (l, r) = (self.key_part(left, part)?, self.key_part(right, part)?);
            Ok(if hex { format!("LOWER({l}) = LOWER({r})") } else { format!("{l} = {r}") })
        });
        Ok(pairs.collect::<Result<Vec<_>>>()?.join(" AND "))
    }

    /// That a row has a key of a list with the columns of [`Exprs::named_key`]. NULL equals NULL.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn key_in_list(&self, row: &str, list: &str) -> Result<String> {
        let parts = self.key_parts(row)?;
        let pairs = parts.iter().enumerate().map(|(i, part)| format!("({part} IS NOT DISTINCT FROM {list}._key_{i})"));
        Ok(pairs.collect::<Vec<_>>().join(" AND "))
    }

    /// An ORDER BY list. Every item has its NULLS clause: without one the engines differ.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn order_by(&self, items: &[OrderColumn]) -> Result<String> {
        let items = items.iter().map(|item| {
            let direction = if item.descending { "DESC" } else { "ASC" };
            let nulls = if item.nulls_first { "FIRST" } else { "LAST" };
            Ok(format!("{} {direction} NULLS {nulls}", self.column("", &item.column)?))
        });
        Ok(items.collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// That `row` is higher than `other` in the declared order. May be NULL where it is not.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn higher(&self, row: &str, other: &str) -> Result<String> {
        let mut ties = String::new();
        let mut cases = Vec::new();
        for item in &self.dataset.order {
            let (r, o) = (self.column(row, &item.column)?, self.column(other, &item.column)?);
            let sign = if item.descending { '>' } else { '<' };
            let (known, unknown) = if item.nulls_first { (&o, &r) } else { (&r, &o) };
            cases.push(format!("{ties}({r} {sign} {o} OR ({known} IS NOT NULL AND {unknown} IS NULL))"));
            ties.push_str(&format!("({r} IS NOT DISTINCT FROM {o}) AND "));
        }
        Ok(any(cases))
    }

    /// That `row` knows a compared value which `other` has not. May be NULL where it does not.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn differs(&self, row: &str, other: &str) -> Result<String> {
        let cases = self.dataset.compared().map(|name| {
            let (r, o) = (self.column(row, name)?, self.column(other, name)?);
            Ok(format!("({r} IS NOT NULL AND ({r} IS DISTINCT FROM {o}))"))
        });
        Ok(any(cases.collect::<Result<Vec<_>>>()?))
    }

    /// That two rows differ in a compared column, whichever of them knows it. Never NULL.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn unlike(&self, row: &str, other: &str) -> Result<String> {
        let cases = self
            .dataset
            .compared()
            .map(|name| Ok(format!("{} IS DISTINCT FROM {}", self.column(row, name)?, self.column(other, name)?)));
        Ok(any(cases.collect::<Result<Vec<_>>>()?))
    }

    /// That a row lacks a part of its key.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn without_key(&self, alias: &str) -> Result<String> {
        let parts = self.dataset.key.iter().filter(|part| !part.is_never_null());
        let cases = parts.map(|part| Ok(format!("{} IS NULL", self.key_part(alias, part)?)));
        Ok(any(cases.collect::<Result<Vec<_>>>()?))
    }

    /// What an identity is in a row: NULL where it does not count.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn identity(&self, alias: &str, identity: &Identity) -> Result<String> {
        let column = self.column(alias, &identity.column)?;
        Ok(match &identity.when_null {
            None => column,
            Some(other) => format!("CASE WHEN {} IS NULL THEN {column} END", self.column(alias, other)?),
        })
    }

    /// That two rows of one key number different events. May be NULL where they do not.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn suspect(&self, row: &str, other: &str) -> Result<String> {
        let cases =
            self.dataset.identity.iter().map(|identity| {
                Ok(format!("{} <> {}", self.identity(row, identity)?, self.identity(other, identity)?))
            });
        Ok(any(cases.collect::<Result<Vec<_>>>()?))
    }

    /// That two rows of one key differ in a column that can't change. May be NULL where they do not.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn redated(&self, row: &str, other: &str) -> Result<String> {
        let cases = self
            .dataset
            .fixed
            .iter()
            .map(|name| Ok(format!("{} <> {}", self.column(row, name)?, self.column(other, name)?)));
        Ok(any(cases.collect::<Result<Vec<_>>>()?))
    }

    /// The UTC day of a row, as a DATE; NULL for a dataset without a partition column.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn day(&self, alias: &str) -> Result<String> {
        let Some(name) = &self.dataset.partition else { return Ok("CAST(NULL AS DATE)".into()) };
        Ok(format!("CAST({} AS DATE)", self.column(alias, name)?))
    }

    /// That a day is one of these. `day` is an expression of type DATE.
    pub fn day_in(&self, day: &str, days: &BTreeSet<Day>) -> String {
        if self.dataset.partition.is_none() {
            return "TRUE".into();
        }
        if days.is_empty() {
            return "FALSE".into();
        }
        let list = days.iter().map(|day| format!("DATE '{day}'")).collect::<Vec<_>>().join(", ");
        format!("{day} IN ({list})")
    }
}

/// Either of the conditions; none of them is never.
fn any(cases: Vec<String>) -> String {
    if cases.is_empty() { "FALSE".into() } else { format!("({})", cases.join(" OR ")) }
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
        include_str!("../sql/dedup.sql"),
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
        and_touched = format!("\n  AND {}", day_filter("t")?);
    }
    let mut when_matched = String::new();
    if !dataset.immutable {
        let sets = dataset.column_names().map(|name| {
            let (plain, staged) = (exprs.column("", name)?, exprs.column("s", name)?);
            Ok(if decides(dataset, name) {
                format!("{plain} = {staged}")
            } else {
                format!("{plain} = COALESCE({staged}, {})", exprs.column("t", name)?)
            })
        });
        let sets = sets.collect::<Result<Vec<_>>>()?.join(",\n    ");
        when_matched = format!("\nWHEN MATCHED AND {} THEN\n  UPDATE SET\n    {sets}", exprs.higher("s", "t")?);
    }
    render(
        include_str!("../sql/merge_bigquery.sql"),
        &[
            ("target", target),
            ("staged", staged),
            ("columns", &exprs.columns("", dataset.column_names())?),
            ("where_staged", &where_staged),
            ("key", &exprs.key("")?),
            ("total_order", &exprs.order_by(&dataset.total_order())?),
            ("same_key", &exprs.same_key("t", "s")?),
            ("and_touched", &and_touched),
            ("when_matched", &when_matched),
            ("values", &exprs.columns("s", dataset.column_names())?),
        ],
    )
}

/// Whether an update takes this column from the staged row even where it is NULL: it is in the key or in the order.
pub fn decides(dataset: &Dataset, name: &str) -> bool {
    dataset.key.iter().any(|part| part.columns().any(|column| column == name))
        || dataset.order.iter().any(|item| item.column == name)
}
