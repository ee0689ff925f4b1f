//! Expressions over a dataset's columns: the key, the order, and what is told by them.

use super::Dialect;
use crate::dataset::{ColumnType, Dataset, Identity, KeyPart, OrderColumn, StandIn};
use crate::error::Result;
use crate::window::Day;
use std::collections::BTreeSet;

/// The function that makes the first 13 hexadecimal digits of a text a number. DataFusion has it from
/// [`crate::engine`]; for DuckDB a macro of this name does.
pub const KEY_NUMBER: &str = "key_number";
/// The function that gives the microseconds of a time since 1970-01-01 UTC, as [`KEY_NUMBER`] known to both.
pub const MICROS: &str = "micros";

/// Renders expressions over a dataset's columns for one engine. Aliases of tables begin with `_`, as no column of a
/// contract does: in GoogleSQL a name that is an alias, too, is the row.
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

    /// The key as one text that no other key has: of each part its length and itself, or that it is NULL. The same text
    /// in every engine.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn key_text(&self, alias: &str) -> Result<String> {
        let text_type = match self.dialect {
            Dialect::DataFusion => "VARCHAR",
            Dialect::GoogleSql => "STRING",
        };
        let parts = self.dataset.key.iter().map(|part| {
            let value = self.key_part(alias, part)?;
            let text = match self.dataset.column(&part.column).map(|column| column.kind) {
                Some(ColumnType::String | ColumnType::Json) => value.clone(),
                Some(ColumnType::Timestamp) if self.dialect == Dialect::GoogleSql => {
                    format!("CAST(UNIX_MICROS({value}) AS STRING)")
                }
                Some(ColumnType::Timestamp) => format!("CAST({MICROS}({value}) AS VARCHAR)"),
                Some(ColumnType::Bool) => format!("CASE WHEN {value} THEN 'true' ELSE 'false' END"),
                _ => format!("CAST({value} AS {text_type})"),
            };
            let length = format!("CAST(LENGTH({text}) AS {text_type})");
            Ok(format!("CASE WHEN {value} IS NULL THEN '-' ELSE CONCAT({length}, ':', {text}) END"))
        });
        Ok(format!("CONCAT({})", parts.collect::<Result<Vec<_>>>()?.join(", ")))
    }

    /// A number below 2^52 that is drawn from the text of a key by MD5, the one digest that DataFusion, DuckDB and
    /// BigQuery share. The sum of such numbers says whether two sets of keys are the same, whatever their order.
    pub fn key_number(&self, key_text: &str) -> String {
        match self.dialect {
            Dialect::DataFusion => format!("{KEY_NUMBER}(MD5({key_text}))"),
            Dialect::GoogleSql => format!("CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5({key_text})), 1, 13)) AS INT64)"),
        }
    }

    /// The sum of whole numbers that may exceed 64 bits.
    pub fn exact_sum(&self, number: &str) -> String {
        let exact = match self.dialect {
            Dialect::DataFusion => "DECIMAL(38, 0)",
            Dialect::GoogleSql => "NUMERIC(29, 0)",
        };
        format!("SUM(CAST({number} AS {exact}))")
    }

    /// That a key is written as landing would not write it, in upper case; `None` where no column of it is folded.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn unfolded(&self) -> Result<Option<String>> {
        let names: BTreeSet<&str> = self.dataset.key.iter().flat_map(KeyPart::columns).collect();
        let hex = names.into_iter().filter(|name| self.dataset.column(name).is_some_and(|column| column.hex));
        let cases = hex.map(|name| self.column("", name).map(|column| format!("{column} <> LOWER({column})")));
        let cases = cases.collect::<Result<Vec<_>>>()?;
        Ok((!cases.is_empty()).then(|| any(cases)))
    }
}

/// Either of the conditions; none of them is never.
pub(super) fn any(cases: Vec<String>) -> String {
    if cases.is_empty() { "FALSE".into() } else { format!("({})", cases.join(" OR ")) }
}
