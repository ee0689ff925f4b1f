//! Reads a contract from TOML and refuses what can't work, with the line and the reason.

use super::{
    Bound, Column, ColumnType, Dataset, Identity, KeyPart, OrderColumn, Unit, parse_key, parse_order, schema_of,
};
use crate::error::{Error, Result};
use crate::window::{Day, parse_us};
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDataset {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    key: Spanned<Vec<Spanned<String>>>,
    order: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    fixed: Vec<Spanned<String>>,
    #[serde(default)]
    identity: Vec<Spanned<RawIdentity>>,
    #[serde(default)]
    volatile: Vec<Spanned<String>>,
    partition: Option<Spanned<String>>,
    #[serde(default)]
    cluster: Vec<Spanned<String>>,
    fetched: Option<Spanned<String>>,
    occurrence: Option<Spanned<String>>,
    #[serde(default)]
    envelope: Vec<String>,
    #[serde(default)]
    immutable: bool,
    #[serde(default = "one")]
    drift_days: u32,
    column: Vec<Spanned<RawColumn>>,
}

/// Past this a merge looks at so many days that it may as well look at all.
const DRIFT_DAYS_MAX: u32 = 366;

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    column: String,
    when_null: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    name: String,
    #[serde(rename = "type")]
    kind: ColumnType,
    format: Option<Format>,
    unit: Option<Unit>,
    zone: Option<String>,
    #[serde(default)]
    from: Vec<String>,
    min: Option<toml::Value>,
    max: Option<toml::Value>,
    #[serde(default)]
    description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Hex,
    Decimal,
}

/// Where the text came from, to name the line of what is wrong.
struct Origin<'a> {
    name: &'a str,
    text: &'a str,
}

impl Origin<'_> {
    fn wrong<T>(&self, at: &Spanned<T>, reason: impl Into<String>) -> Error {
        self.wrong_at(at.span().start, reason)
    }

    fn wrong_at(&self, byte: usize, reason: impl Into<String>) -> Error {
        let line = self.text.get(..byte).map_or(1, |before| before.matches('\n').count() + 1);
        Error::usage("read a dataset's contract").with("file", self.name).with("line", line).because(reason.into())
    }
}

/// See [`Dataset::from_toml`].
pub(super) fn parse(text: &str, name: &str) -> Result<Dataset> {
    let origin = Origin { name, text };
    let raw: RawDataset = toml::from_str(text).map_err(|error| {
        origin.wrong_at(error.span().map_or(0, |span| span.start), error.message().trim().to_string())
    })?;
    let columns = raw.column.iter().map(|c| column(&origin, c)).collect::<Result<Vec<_>>>()?;
    check_names(&origin, &raw, &columns)?;
    let key = parts(&origin, raw.key.get_ref(), parse_key)?;
    let order = parts(&origin, raw.order.get_ref(), parse_order)?;
    let known = Known { origin: &origin, columns: &columns };
    for (part, at) in &key {
        check_key_part(part, &columns, &[]).map_err(|reason| origin.wrong(*at, reason))?;
    }
    for (item, at) in &order {
        known.check_order(item, at, &raw.volatile)?;
    }
    let order = order.into_iter().map(|(item, _)| item).collect::<Vec<_>>();
    if order.is_empty() {
        return Err(origin.wrong(&raw.order, "`order` is empty: nothing says which row of a key is better"));
    }
    for name in &raw.fixed {
        if !order.iter().any(|o| o.column == *name.get_ref()) {
            return Err(origin.wrong(name, format!("`fixed` names `{}`, which is not in `order`", name.get_ref())));
        }
    }
    let identity = raw.identity.iter().map(|i| known.identity(i, &raw.volatile)).collect::<Result<Vec<_>>>()?;
    if let Some(name) = &raw.partition {
        known.check_partition(name)?;
    }
    if let Some(name) = &raw.fetched {
        known.check_fetched(name)?;
    }
    if let Some(name) = &raw.occurrence {
        known.check_occurrence(name, &key)?;
    }
    for name in raw.volatile.iter().chain(&raw.cluster) {
        known.find(name.get_ref(), name)?;
    }
    if let Some(name) =
        raw.volatile.iter().find(|v| key.iter().any(|(part, _)| part.columns().any(|c| c == v.get_ref())))
    {
        return Err(origin.wrong(name, format!("`{}` is in the key, so it can't be volatile", name.get_ref())));
    }
    if let Some(name) = raw.volatile.iter().find(|v| raw.partition.as_ref().is_some_and(|p| p.get_ref() == v.get_ref()))
    {
        return Err(origin.wrong(name, format!("`{}` partitions the table, so it can't be volatile", name.get_ref())));
    }
    if raw.drift_days > DRIFT_DAYS_MAX {
        return Err(origin.wrong(&raw.name, format!("`drift_days` is at most {DRIFT_DAYS_MAX}")));
    }
    Ok(Dataset {
        name: raw.name.into_inner(),
        description: raw.description,
        key: key.into_iter().map(|(part, _)| part).collect(),
        order,
        fixed: strings(raw.fixed),
        identity,
        volatile: strings(raw.volatile),
        partition: raw.partition.map(Spanned::into_inner),
        cluster: strings(raw.cluster),
        fetched: raw.fetched.map(Spanned::into_inner),
        occurrence: raw.occurrence.map(Spanned::into_inner),
        envelope: raw.envelope,
        immutable: raw.immutable,
        drift_days: raw.drift_days,
        schema: schema_of(&columns),
        columns,
    })
}

fn strings(list: Vec<Spanned<String>>) -> Vec<String> {
    list.into_iter().map(Spanned::into_inner).collect()
}

/// Parses each text of a list, keeping where it stood.
fn parts<'a, T>(
    origin: &Origin<'_>,
    texts: &'a [Spanned<String>],
    parse: fn(&str) -> Result<Vec<T>>,
) -> Result<Vec<(T, &'a Spanned<String>)>> {
    let mut found = Vec::new();
    for text in texts {
        let items = parse(text.get_ref()).map_err(|error| {
            let reason = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            origin.wrong(text, format!("{error}{reason}")).hint(error.advice().unwrap_or_default())
        })?;
        found.extend(items.into_iter().map(|item| (item, text)));
    }
    Ok(found)
}

fn check_names(origin: &Origin<'_>, raw: &RawDataset, columns: &[Column]) -> Result<()> {
    let plain = |name: &str| {
        name.chars().next().is_some_and(|c| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if !plain(raw.name.get_ref()) {
        return Err(origin.wrong(&raw.name, "a dataset's name is made of a-z, 0-9 and _, and starts with a letter"));
    }
    // In GoogleSQL the name of a table is the row, where a column is called so, too.
    if let Some((_, at)) = columns.iter().zip(&raw.column).find(|(column, _)| column.name == *raw.name.get_ref()) {
        return Err(origin.wrong(at, "a column is called as the dataset, which is the name of its table, too"));
    }
    let mut seen = std::collections::HashSet::new();
    for (column, at) in columns.iter().zip(&raw.column) {
        if !plain(&column.name) {
            let reason =
                format!("`{}`: a column's name is made of a-z, 0-9 and _, and starts with a letter", column.name);
            return Err(origin.wrong(at, reason));
        }
        for name in column.input_names() {
            if !seen.insert(name) {
                return Err(origin.wrong(at, format!("`{name}` is named twice: as a column or in `from`")));
            }
        }
    }
    if raw.key.get_ref().is_empty() {
        return Err(origin.wrong(&raw.key, "`key` is empty: nothing names a row"));
    }
    Ok(())
}

fn column(origin: &Origin<'_>, at: &Spanned<RawColumn>) -> Result<Column> {
    let raw = at.get_ref();
    if let Some(format) = raw.format
        && raw.kind != ColumnType::String
    {
        let format = format!("{format:?}").to_lowercase();
        return Err(origin.wrong(at, format!("`{}`: only a string can have the format {format}", raw.name)));
    }
    if raw.unit.is_some() && raw.kind != ColumnType::Timestamp {
        return Err(origin.wrong(at, format!("`{}`: only a timestamp has a unit", raw.name)));
    }
    let zone_s = match raw.zone.as_deref() {
        None => None,
        Some("UTC" | "Z") => Some(0),
        Some(text) => Some(offset_s(text).ok_or_else(|| {
            origin.wrong(at, format!("`{}`: zone is UTC or an offset such as +02:00, not `{text}`", raw.name))
        })?),
    };
    let bound = |value: &Option<toml::Value>| {
        value
            .as_ref()
            .map(|value| read_bound(raw.kind, value))
            .transpose()
            .map_err(|reason| origin.wrong(at, format!("`{}`: {reason}", raw.name)))
    };
    Ok(Column {
        name: raw.name.clone(),
        kind: raw.kind,
        from: raw.from.clone(),
        hex: raw.format == Some(Format::Hex),
        decimal: raw.format == Some(Format::Decimal),
        unit: raw.unit,
        zone_s,
        min: bound(&raw.min)?,
        max: bound(&raw.max)?,
        description: raw.description.clone(),
    })
}

fn offset_s(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn read_bound(kind: ColumnType, value: &toml::Value) -> std::result::Result<Bound, String> {
    match (kind, value) {
        (ColumnType::Int64, toml::Value::Integer(number)) => Ok(Bound::Int(*number)),
        (ColumnType::Float64, toml::Value::Integer(number)) => Ok(Bound::Float(*number as f64)),
        (ColumnType::Float64, toml::Value::Float(number)) if number.is_finite() => Ok(Bound::Float(*number)),
        (ColumnType::Timestamp, toml::Value::String(text)) => {
            parse_us(text).map(Bound::Int).map_err(|_| format!("`{text}` is no time"))
        }
        (ColumnType::Date, toml::Value::String(text)) => Day::try_from(text.clone())
            .map(|day| Bound::Int(i64::from(day.0)))
            .map_err(|_| format!("`{text}` is no day")),
        _ => Err(format!("`{value}` is no bound for the type {}", kind.name())),
    }
}

/// Says why a part can't be in a key, if it can't.
pub(super) fn check_key_part(
    part: &KeyPart,
    columns: &[Column],
    volatile: &[String],
) -> std::result::Result<(), String> {
    let find = |name: &str| {
        let found = columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| format!("there is no column `{name}`"))
    };
    let kind = find(&part.column)?.kind;
    for name in part.columns() {
        match find(name)?.kind {
            ColumnType::Float64 => return Err(format!("`{name}` is a float: equal floats are an accident")),
            ColumnType::Json => return Err(format!("`{name}` is nested: a key is made of plain values")),
            other if other != kind => return Err(format!("`{name}` stands in for another type of column")),
            _ if volatile.iter().any(|v| v == name) => return Err(format!("`{name}` is volatile")),
            _ => {}
        }
    }
    if part.is_never_null() && kind != ColumnType::String {
        return Err(format!("`{}` is no string, so a text can't stand in for it", part.column));
    }
    Ok(())
}

/// The columns that there are, to look up those that are named.
struct Known<'a> {
    origin: &'a Origin<'a>,
    columns: &'a [Column],
}

impl Known<'_> {
    fn find<T>(&self, name: &str, at: &Spanned<T>) -> Result<&Column> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| self.origin.wrong(at, format!("there is no column `{name}`")))
    }

    fn check_order(&self, item: &OrderColumn, at: &Spanned<String>, volatile: &[Spanned<String>]) -> Result<()> {
        let column = self.find(&item.column, at)?;
        if column.kind == ColumnType::Json {
            let reason = format!("`{}` is nested, which can't be sorted in both engines", item.column);
            return Err(self.origin.wrong(at, reason));
        }
        if volatile.iter().any(|name| *name.get_ref() == item.column) {
            let reason = format!("`{}` is volatile, so it can't decide which row is better", item.column);
            return Err(self.origin.wrong(at, reason));
        }
        Ok(())
    }

    fn check_partition(&self, name: &Spanned<String>) -> Result<()> {
        match self.find(name.get_ref(), name)?.kind {
            ColumnType::Timestamp | ColumnType::Date => Ok(()),
            kind => {
                let reason =
                    format!("`{}` is a {}: a table is partitioned by a time or a day", name.get_ref(), kind.name());
                Err(self.origin.wrong(name, reason))
            }
        }
    }

    fn check_fetched(&self, name: &Spanned<String>) -> Result<()> {
        match self.find(name.get_ref(), name)?.kind {
            ColumnType::Timestamp => Ok(()),
            kind => {
                let reason = format!("`{}` is a {}: when a row was fetched is a time", name.get_ref(), kind.name());
                Err(self.origin.wrong(name, reason))
            }
        }
    }

    fn check_occurrence(&self, name: &Spanned<String>, key: &[(KeyPart, &Spanned<String>)]) -> Result<()> {
        let column = self.find(name.get_ref(), name)?;
        let parts = key.iter().map(|(part, _)| part).filter(|part| part.columns().any(|c| c == column.name));
        let reason = match parts.collect::<Vec<_>>().as_slice() {
            _ if column.kind != ColumnType::Int64 => format!("is a {}: it is counted", column.kind.name()),
            [part] if part.stand_ins.is_empty() => return Ok(()),
            _ => "has to be one part of the key, alone".to_string(),
        };
        Err(self.origin.wrong(name, format!("`{}` {reason}", column.name)))
    }

    fn identity(&self, at: &Spanned<RawIdentity>, volatile: &[Spanned<String>]) -> Result<Identity> {
        let RawIdentity { column, when_null } = at.get_ref();
        for name in std::iter::once(column).chain(when_null) {
            self.find(name, at)?;
        }
        if volatile.iter().any(|name| name.get_ref() == column) {
            // Rows that are equal in all else are not looked at again.
            let reason = format!("`{column}` is volatile, so it can't number events");
            return Err(self.origin.wrong(at, reason));
        }
        Ok(Identity { column: column.clone(), when_null: when_null.clone() })
    }
}
