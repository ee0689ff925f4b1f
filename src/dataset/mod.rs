//! The contract of a table: its columns, what names a row (key), what makes one better (declared order), and what
//! does not count (volatile). Everything later is derived from it.

mod column;
mod key;
mod parse;

pub(crate) use column::is_text;
pub use column::{Bound, Column, ColumnType, Unit};
pub use key::{KeyPart, OrderColumn, StandIn, parse_key, parse_order};

use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// The contracts that ship, by name.
const BUILT_IN: [(&str, &str); 4] = [
    ("trades", include_str!("trades.toml")),
    ("polymarket_trades", include_str!("polymarket_trades.toml")),
    ("markets", include_str!("markets.toml")),
    ("events", include_str!("events.toml")),
];

/// Something that numbers real events: two different known values among the rows of a key say that it is too narrow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The column whose values number events.
    pub column: String,
    /// Where given, the column counts only in rows in which this one is NULL.
    pub when_null: Option<String>,
}

/// A table's contract. Built by [`Dataset::from_toml`], [`Dataset::built_in`] or [`Dataset::ad_hoc`], and only whole.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The table's name.
    pub name: String,
    /// What a row is.
    pub description: String,
    /// The columns, in the order of the target.
    pub columns: Vec<Column>,
    /// What names one real-world thing.
    pub key: Vec<KeyPart>,
    /// What makes one row of a key better than another; may be empty for `dedup` without a dataset.
    pub order: Vec<OrderColumn>,
    /// Order columns that can't differ between the rows of one key.
    pub fixed: Vec<String>,
    /// What numbers real events.
    pub identity: Vec<Identity>,
    /// Columns that do not count as content.
    pub volatile: Vec<String>,
    /// The column whose UTC day partitions the table; `None`: the table has one part.
    pub partition: Option<String>,
    /// Columns that the table is clustered by.
    pub cluster: Vec<String>,
    /// The column that says when a row was fetched: rows of an API's page that do not know it get the page's time.
    pub fetched: Option<String>,
    /// The key column that numbers rows which are equal in all other key columns: rows of an API's page get the next
    /// number of their pass, from 1.
    pub occurrence: Option<String>,
    /// Names of the array that carries the rows in a JSON page.
    pub envelope: Vec<String>,
    /// Whether rows never change once written, so that a MERGE only inserts.
    pub immutable: bool,
    /// By how many days the MERGE looks further than the batch's own days.
    pub drift_days: u32,
    /// The Arrow schema of the columns: the contract's types, or the files' own for an ad-hoc dataset.
    schema: SchemaRef,
}

impl Dataset {
    /// A contract that ships with tradefold.
    ///
    /// # Errors
    /// Usage, when there is none of this name.
    pub fn built_in(name: &str) -> Result<Dataset> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Dataset::from_toml(text, name),
            None => Err(Error::usage("find a dataset")
                .with("name", name)
                .because(format!("the ones that ship are {}", BUILT_IN.map(|(name, _)| name).join(", ")))
                .hint("give the path of a contract of your own, ending in .toml")),
        }
    }

    /// Reads a contract. `origin` names it in messages.
    ///
    /// # Errors
    /// Usage, with the line and the reason.
    pub fn from_toml(text: &str, origin: &str) -> Result<Dataset> {
        parse::parse(text, origin)
    }

    /// A dataset made of what files hold: every column kept, none checked, all of them compared.
    /// Volatile `*` stands for all columns but those of key and order.
    ///
    /// # Errors
    /// Usage, when a column of the key, the order or the volatile ones is not in `schema`.
    pub fn ad_hoc(
        schema: SchemaRef,
        key: Vec<KeyPart>,
        order: Vec<OrderColumn>,
        volatile: Vec<String>,
    ) -> Result<Dataset> {
        let named = || key.iter().flat_map(KeyPart::columns).chain(order.iter().map(|o| o.column.as_str()));
        let volatile = match volatile.iter().any(|name| name == "*") {
            false => volatile,
            true if volatile.len() > 1 => {
                return Err(Error::usage("leave columns out of the comparison")
                    .with("volatile", volatile.join(","))
                    .because("`*` stands for all columns but those of key and order, and others are named beside it")
                    .hint("give '*' alone, or name the columns"));
            }
            true => {
                let all = schema.fields().iter().map(|field| field.name());
                all.filter(|name| named().all(|known| known != *name)).cloned().collect()
            }
        };
        for name in named().chain(volatile.iter().map(String::as_str)) {
            if schema.column_with_name(name).is_none() {
                let known = schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::usage("find a column in the input")
                    .with("column", name)
                    .because(format!("the files have {known}"))
                    .hint("choose --key, --order and --volatile from these columns"));
            }
        }
        if let Some(item) = order.iter().find(|item| volatile.contains(&item.column)) {
            return Err(Error::usage("use an order")
                .with("column", &item.column)
                .because("it is volatile, so it can't decide which row is better")
                .hint("name it in --order or in --volatile, not in both"));
        }
        // Counts by day are only for reading: the day is that of the first order column, where that is a time.
        let timed = |name: &str| {
            let kind = schema.field_with_name(name).ok().map(|field| field.data_type().clone());
            matches!(kind, Some(DataType::Timestamp(..) | DataType::Date32))
        };
        let partition = order.first().map(|item| item.column.clone()).filter(|name| timed(name));
        Ok(Dataset {
            name: "input".into(),
            description: String::new(),
            columns: Vec::new(),
            key,
            order,
            fixed: Vec::new(),
            identity: Vec::new(),
            volatile,
            partition,
            cluster: Vec::new(),
            fetched: None,
            occurrence: None,
            envelope: Vec::new(),
            immutable: false,
            drift_days: 1,
            schema,
        })
    }

    /// The same dataset with another key. Where that key leaves the column out that numbers occurrences, none are.
    ///
    /// # Errors
    /// Usage, when the key names a column that there is not, or one whose values can't name a row.
    pub fn with_key(mut self, key: Vec<KeyPart>) -> Result<Dataset> {
        for part in &key {
            parse::check_key_part(part, &self.columns, &self.volatile).map_err(|reason| {
                Error::usage("use another key")
                    .with("key", part)
                    .because(reason)
                    .hint(format!("its columns are {}", self.column_names().collect::<Vec<_>>().join(", ")))
            })?;
        }
        if let Some(name) = &self.occurrence {
            let parts = key.iter().filter(|part| part.columns().any(|column| column == name)).collect::<Vec<_>>();
            match parts.as_slice() {
                [] => self.occurrence = None,
                [part] if part.stand_ins.is_empty() => {}
                _ => {
                    return Err(Error::usage("use another key")
                        .with("column", name)
                        .because("it numbers rows with an otherwise equal key, so it is one part of it, alone")
                        .hint("name it once and without COALESCE, or leave it out"));
                }
            }
        }
        self.key = key;
        Ok(self)
    }

    /// The Arrow schema of the columns, in the order of the target.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column that says when a row's event was: that of the partitions, or else the first time in the order.
    pub fn time_column(&self) -> Option<&str> {
        let is_time = |name: &str| {
            self.column(name).is_some_and(|column| matches!(column.kind, ColumnType::Timestamp | ColumnType::Date))
        };
        let in_order = || self.order.iter().map(|item| item.column.as_str()).find(|name| is_time(name));
        self.partition.as_deref().or_else(in_order)
    }

    /// The names of all columns.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.schema.fields().iter().map(|field| field.name().as_str())
    }

    /// The names of the columns that count as content.
    pub fn compared(&self) -> impl Iterator<Item = &str> {
        self.column_names().filter(|name| !self.volatile.iter().any(|v| v == name))
    }

    /// The declared order, then every remaining compared column: no two different rows tie in it.
    ///
    /// The direction of the rest decides nothing that matters, only that the answer is always the same: known values
    /// before NULL, the greatest first.
    pub fn total_order(&self) -> Vec<OrderColumn> {
        let rest = self.compared().filter(|name| !self.order.iter().any(|o| o.column == *name));
        let rest = rest.map(|name| OrderColumn { column: name.into(), descending: true, nulls_first: false });
        self.order.iter().cloned().chain(rest).collect()
    }

    /// A hash of everything in the contract that decides an outcome, as 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        let described = |column: &Column| Column { description: String::new(), ..column.clone() };
        let columns: Vec<Column> = self.columns.iter().map(described).collect();
        let Dataset { name, key, order, fixed, identity, volatile, partition, .. } = self;
        let Dataset { fetched, occurrence, envelope, immutable, drift_days, .. } = self;
        let text = format!(
            "{name:?}{columns:?}{key:?}{order:?}{fixed:?}{identity:?}{volatile:?}{partition:?}{fetched:?}\
             {occurrence:?}{envelope:?}{immutable}{drift_days}"
        );
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<Field>>()))
}
