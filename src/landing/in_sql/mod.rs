//! The rules of landing as GoogleSQL, for rows that need not leave BigQuery: the same rows land with the same values,
//! and the others are set aside for the same reasons.
//!
//! What can't be said exactly in SQL is refused and never approximated: times as free text, JSON as text, numbers of
//! types that a contract does not have.

mod decimal;
mod given;

use super::rules::{Rules, TIMES};
use super::{InputColumns, LandingOptions};
use crate::dataset::{Bound, Column, ColumnType, Dataset};
use crate::error::Result;
use crate::sql::{Dialect, render};
use crate::window::DAY_US;
use given::{Given, SOURCE, value_name, wrong_name};

/// What stands in the place of a reason for a row outside of the window. Reasons name a column and a colon.
pub const OUTSIDE: &str = "outside";

/// The type of a column in a table of BigQuery, as far as landing tells types apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceType {
    /// STRING, compared by its bytes.
    Text,
    /// INT64.
    Int,
    /// FLOAT64.
    Float,
    /// BOOL.
    Bool,
    /// DATE.
    Date,
    /// TIMESTAMP, in microseconds.
    Timestamp,
    /// DATETIME: a time without a zone.
    DateTime,
    /// Any other, as it is shown: `NUMERIC`, `REPEATED STRING`.
    Other(String),
}

impl SourceType {
    /// As BigQuery calls it.
    pub fn name(&self) -> &str {
        match self {
            SourceType::Text => "STRING",
            SourceType::Int => "INT64",
            SourceType::Float => "FLOAT64",
            SourceType::Bool => "BOOL",
            SourceType::Date => "DATE",
            SourceType::Timestamp => "TIMESTAMP",
            SourceType::DateTime => "DATETIME",
            SourceType::Other(name) => name,
        }
    }
}

/// A column of a table of BigQuery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name, as it is written in the table.
    pub name: String,
    /// Its type.
    pub kind: SourceType,
}

/// The statements that land the rows of one table.
#[derive(Debug)]
pub struct InSql {
    names: Vec<String>,
    values: String,
    verdict: String,
    given: String,
    /// How the columns of the table differ from the contract's.
    pub columns: InputColumns,
}

/// Renders the rules for a table with these columns; or says what of it SQL can't land exactly, a clause for each
/// column.
///
/// # Errors
/// Usage, where there is a window and the dataset has no time; or for a name that can't be quoted.
pub fn in_sql(
    dataset: &Dataset,
    options: &LandingOptions,
    table: &[SourceColumn],
) -> Result<std::result::Result<InSql, Vec<String>>> {
    let rules = Rules::new(dataset, options)?;
    let mut obstacles = Vec::new();
    // For each column of the contract those of the table that it may have its value from, by rank.
    let mut sources: Vec<Vec<(usize, &SourceColumn)>> = vec![Vec::new(); rules.columns.len()];
    let mut columns = InputColumns::default();
    for column in table {
        match rules.slot(&column.name) {
            Some((place, rank)) => {
                sources[place].push((rank, column));
                let (is, becomes) = (column.kind.name(), rules.columns[place].kind);
                if is != becomes.googlesql() {
                    columns.casts.insert(column.name.clone(), format!("{is} becomes {}", becomes.name()));
                }
            }
            None => columns.left_out.push(column.name.clone()),
        }
    }
    let unfilled = rules.columns.iter().zip(&sources).filter(|(_, sources)| sources.is_empty());
    columns.lacks = unfilled.map(|(column, _)| column.name.clone()).collect();
    let mut given = Vec::new();
    for (place, (column, sources)) in rules.columns.iter().zip(&mut sources).enumerate() {
        sources.sort_by_key(|(rank, _)| *rank);
        match Given::of(place, column, sources.iter().map(|(_, source)| *source))? {
            Ok(one) => given.push(one),
            Err(reasons) => {
                given.push(Given::default());
                obstacles.extend(reasons);
            }
        }
    }
    let missing = rules.key.iter().map(|part| part.columns[0]).find(|column| sources[*column].is_empty());
    if let Some(column) = missing.filter(|_| !options.key_chosen) {
        obstacles.push(format!("no column of it is `{}`, which is in the key", rules.columns[column].name));
    }
    if !obstacles.is_empty() {
        return Ok(Err(obstacles));
    }
    let rendering = Rendering { rules: &rules, given: &given };
    Ok(Ok(InSql {
        names: rules.columns.iter().map(|column| column.name.clone()).collect(),
        values: rendering.values()?,
        verdict: rendering.verdict(),
        given: rendering.given(),
        columns,
    }))
}

impl InSql {
    /// All rows of a table, with the contract's columns, and `_reason`: NULL for a row that lands, [`OUTSIDE`] for one
    /// that is outside of the window, else the column and the reason, as in
    /// [`Landed::rejects_by_reason`](super::Landed::rejects_by_reason). `source` is the table or a query in brackets.
    ///
    /// # Errors
    /// Bug.
    pub fn judged(&self, source: &str) -> Result<String> {
        self.judge(source, "", "")
    }

    /// The rows that land, with the contract's columns.
    ///
    /// # Errors
    /// As [`Dialect::quote`].
    pub fn landed(&self, source: &str) -> Result<String> {
        let columns = self.names.iter().map(|name| Dialect::GoogleSql.quote(name)).collect::<Result<Vec<_>>>()?;
        let judged = self.judged(source)?;
        render(
            include_str!("../../../sql/landed.sql"),
            &[("columns", columns.join(", ").as_str()), ("judged", judged.as_str())],
        )
    }

    /// How many rows there are for each `_reason`; those that land have none.
    ///
    /// # Errors
    /// Bug.
    pub fn counts(&self, source: &str) -> Result<String> {
        render(include_str!("../../../sql/landing_counts.sql"), &[("judged", &self.judged(source)?)])
    }

    /// The rows that are set aside: `_reason`, and the row as JSON in `_row`.
    ///
    /// # Errors
    /// Bug.
    pub fn rejected(&self, source: &str) -> Result<String> {
        let judged = self.judge(source, &format!(", TO_JSON_STRING({SOURCE}) AS _row"), ", _row")?;
        let outside = Dialect::GoogleSql.text(OUTSIDE);
        render(include_str!("../../../sql/rejected.sql"), &[("judged", judged.as_str()), ("outside", outside.as_str())])
    }

    fn judge(&self, source: &str, raw_given: &str, raw: &str) -> Result<String> {
        let given = self.given.replacen(SOURCE_SLOT, &format!("{raw_given}\n  FROM {source} AS {SOURCE}"), 1);
        let slots = [("values", &*self.values), ("verdict", &self.verdict), ("raw", raw), ("given", &given)];
        render(include_str!("../../../sql/judged.sql"), &slots)
    }
}

/// Where the table comes into what is given. No text of a statement can hold it: quoting escapes what is not printed.
const SOURCE_SLOT: &str = "\u{1}";

struct Rendering<'a> {
    rules: &'a Rules,
    given: &'a [Given],
}

impl Rendering<'_> {
    /// What is given, in as many steps as it takes.
    fn given(&self) -> String {
        let exprs = self.given.iter().flat_map(|given| given.exprs.iter().map(String::as_str));
        let mut text = format!("SELECT {}{SOURCE_SLOT}", comma(exprs).unwrap_or_else(|| "1 AS _one".into()));
        let decimals = self.rules.columns.iter().enumerate().filter(|(place, column)| {
            column.kind == ColumnType::String && column.decimal && self.given[*place].is_there()
        });
        let decimals: Vec<usize> = decimals.map(|(place, _)| place).collect();
        for step in decimal::STEPS {
            if !decimals.is_empty() {
                let exprs = decimals.iter().map(|place| step(*place)).collect::<Vec<_>>().join(",\n    ");
                text = format!("SELECT *, {exprs}\n  FROM ({text}) AS _given");
            }
        }
        text
    }

    /// The contract's columns of a row. Times are made of microseconds only where there are such times.
    fn values(&self) -> Result<String> {
        let values = self.rules.columns.iter().enumerate().map(|(place, column)| {
            let value = match column.kind {
                _ if !self.given[place].is_there() => format!("CAST(NULL AS {})", column.kind.googlesql()),
                ColumnType::Timestamp => {
                    let (us, first, last) = (value_name(place), TIMES.start(), TIMES.end());
                    format!("CASE WHEN {us} BETWEEN {first} AND {last} THEN TIMESTAMP_MICROS({us}) END")
                }
                ColumnType::String if column.decimal => decimal::name(place),
                _ => value_name(place),
            };
            Ok(format!("{value} AS {}", Dialect::GoogleSql.quote(&column.name)?))
        });
        Ok(values.collect::<Result<Vec<_>>>()?.join(",\n  "))
    }

    /// Why a row does not land, in the order of [`Rules::judge`]: its time comes first, then every column in its turn.
    fn verdict(&self) -> String {
        let mut cases = Vec::new();
        let windowed = self.rules.windowed().filter(|(column, _)| self.given[*column].is_there());
        if let Some((column, window)) = windowed {
            cases.extend(self.checks(column));
            let (value, from, to) = match self.rules.columns[column].kind {
                // A day counts by its first microsecond.
                ColumnType::Date => {
                    (format!("UNIX_DATE({})", value_name(column)), up(window.from_us), up(window.to_us))
                }
                _ => (value_name(column), window.from_us, window.to_us),
            };
            let outside = Dialect::GoogleSql.text(OUTSIDE);
            cases.push(format!("WHEN {value} < {from} OR {value} >= {to} THEN {outside}"));
        }
        cases.extend((0..self.rules.columns.len()).flat_map(|column| self.checks(column)));
        for part in self.rules.key.iter().filter(|part| !part.is_never_null) {
            let unknown = part.columns.iter().map(|column| self.is_unknown(*column)).collect::<Vec<_>>().join(" AND ");
            cases.push(self.case(&unknown, part.columns[0], "NULL in a key column"));
        }
        for (column, phrase) in &self.rules.required {
            cases.push(self.case(&self.is_unknown(*column), *column, phrase));
        }
        format!("CASE\n    {}\n  END", cases.join("\n    "))
    }

    /// What may be wrong with the value of a column.
    fn checks(&self, place: usize) -> Vec<String> {
        let Column { name, kind, decimal, min, max, .. } = &self.rules.columns[place];
        let mut cases = Vec::new();
        if !self.given[place].is_there() {
            return cases;
        }
        if self.given[place].may_be_wrong {
            let (wrong, of) = (wrong_name(place), Dialect::GoogleSql.text(&format!("{name}: ")));
            cases.push(format!("WHEN {wrong} IS NOT NULL THEN CONCAT({of}, {wrong})"));
        }
        let (value, is_time) = match kind {
            ColumnType::Date => (format!("UNIX_DATE({})", value_name(place)), true),
            other => (value_name(place), *other == ColumnType::Timestamp),
        };
        if *kind == ColumnType::String && *decimal {
            let is_long = format!("{value} IS NOT NULL AND {} IS NULL", decimal::name(place));
            cases.push(self.case(&is_long, place, decimal::PHRASE));
        }
        for (bound, sign, phrase) in [(min, '<', "below the minimum"), (max, '>', "above the maximum")] {
            if let Some(bound) = bound {
                cases.push(self.case(&format!("{value} {sign} {}", literal(bound)), place, phrase));
            }
        }
        if let Some(latest_us) = self.rules.latest_us(place).filter(|_| is_time) {
            let latest = if *kind == ColumnType::Date { latest_us.div_euclid(DAY_US) } else { latest_us };
            cases.push(self.case(&format!("{value} > {latest}"), place, "a time in the future"));
        }
        if *kind == ColumnType::Timestamp {
            // No DATE of BigQuery is out of it.
            let is_out = format!("NOT {value} BETWEEN {} AND {}", TIMES.start(), TIMES.end());
            cases.push(self.case(&is_out, place, "a time out of range"));
        }
        cases
    }

    fn case(&self, condition: &str, column: usize, phrase: &str) -> String {
        let reason = format!("{}: {phrase}", self.rules.columns[column].name);
        format!("WHEN {condition} THEN {}", Dialect::GoogleSql.text(&reason))
    }

    /// That a row does not know a column. Where a value is wrong, that was said before.
    fn is_unknown(&self, column: usize) -> String {
        if self.given[column].is_there() { format!("{} IS NULL", value_name(column)) } else { "TRUE".into() }
    }
}

/// The first day that begins no earlier than a time.
fn up(us: i64) -> i64 {
    us.div_euclid(DAY_US) + i64::from(us.rem_euclid(DAY_US) > 0)
}

fn literal(bound: &Bound) -> String {
    match bound {
        Bound::Int(number) => number.to_string(),
        Bound::Float(number) => format!("CAST('{number:?}' AS FLOAT64)"),
    }
}

fn comma<'a>(exprs: impl Iterator<Item = &'a str>) -> Option<String> {
    let exprs: Vec<&str> = exprs.collect();
    (!exprs.is_empty()).then(|| exprs.join(",\n    "))
}
