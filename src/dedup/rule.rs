//! The rule of deduplication, slow and obvious. Production never calls it: it is what the fast ways are tested against.
//!
//! Rows of one key are put in the total order. The first is the winner. Every other is classed against it:
//!
//! | in all compared columns | in the declared order | class |
//! |---|---|---|
//! | equal | ties | exact |
//! | differs | lower | superseded |
//! | differs | ties | conflict |

use super::Class;
use crate::dataset::{Dataset, KeyPart, OrderColumn, StandIn};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A value of any column. Floats are compared as numbers; NaN never gets past landing.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    /// Not known.
    Null,
    /// A whole number, a time in microseconds, a day, or a boolean as 0 and 1.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}

/// One row: a value for each column of the dataset, in its order.
pub type Row = Vec<Value>;

/// What the rule says of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is the first of its key.
    Winner,
    /// It is not, and this is its class.
    Loser(Class),
}

/// Says of every row what becomes of it, in the order of the rows.
pub fn fates(dataset: &Dataset, rows: &[Row]) -> Vec<Fate> {
    let total = dataset.total_order();
    let mut fates = vec![Fate::Winner; rows.len()];
    for members in keys(dataset, rows).values() {
        let Some(&winner) = members.iter().min_by(|&&a, &&b| compare(dataset, &total, &rows[a], &rows[b])) else {
            continue;
        };
        for &loser in members.iter().filter(|&&row| row != winner) {
            fates[loser] = Fate::Loser(class(dataset, &rows[loser], &rows[winner]));
        }
    }
    fates
}

/// The rows that are kept, in no particular order.
pub fn survivors(dataset: &Dataset, rows: &[Row]) -> Vec<Row> {
    let kept = rows.iter().zip(fates(dataset, rows)).filter(|(_, fate)| *fate == Fate::Winner);
    kept.map(|(row, _)| row.clone()).collect()
}

/// The keys whose rows number different events, as their places in `rows`.
pub fn suspects(dataset: &Dataset, rows: &[Row]) -> Vec<Vec<usize>> {
    let groups = keys(dataset, rows).into_values();
    let suspect = |members: &Vec<usize>| {
        dataset.identity.iter().any(|identity| {
            let counts =
                |row: &Row| identity.when_null.as_ref().is_none_or(|other| value(dataset, row, other) == &Value::Null);
            let known = members
                .iter()
                .filter(|&&row| counts(&rows[row]))
                .map(|&row| value(dataset, &rows[row], &identity.column))
                .filter(|value| **value != Value::Null)
                .collect::<Vec<_>>();
            known.windows(2).any(|pair| pair[0] != pair[1])
        })
    };
    groups.filter(suspect).collect()
}

/// A loser's class against its winner: the first that holds.
fn class(dataset: &Dataset, loser: &Row, winner: &Row) -> Class {
    if dataset.compared().all(|name| value(dataset, loser, name) == value(dataset, winner, name)) {
        Class::Exact
    } else if compare(dataset, &dataset.order, winner, loser) == Ordering::Less {
        Class::Superseded
    } else {
        Class::Conflict
    }
}

/// The places of the rows of each key.
fn keys(dataset: &Dataset, rows: &[Row]) -> BTreeMap<String, Vec<usize>> {
    let mut keys: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let key = dataset.key.iter().map(|part| key_value(dataset, row, part)).collect::<Vec<_>>();
        keys.entry(format!("{key:?}")).or_default().push(place);
    }
    keys
}

fn key_value(dataset: &Dataset, row: &Row, part: &KeyPart) -> Value {
    let own = value(dataset, row, &part.column).clone();
    let stand_ins = part.stand_ins.iter().map(|stand_in| match stand_in {
        StandIn::Column(name) => value(dataset, row, name).clone(),
        StandIn::Text(text) => Value::Text(text.clone()),
    });
    std::iter::once(own).chain(stand_ins).find(|value| *value != Value::Null).unwrap_or(Value::Null)
}

/// Which of two rows is first under an order.
fn compare(dataset: &Dataset, order: &[OrderColumn], a: &Row, b: &Row) -> Ordering {
    for item in order {
        let (a, b) = (value(dataset, a, &item.column), value(dataset, b, &item.column));
        let ordering = match (a, b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) if item.nulls_first => Ordering::Less,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) if item.nulls_first => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            _ if item.descending => b.partial_cmp(a).unwrap_or(Ordering::Equal),
            _ => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

fn value<'a>(dataset: &Dataset, row: &'a Row, name: &str) -> &'a Value {
    match dataset.schema().column_with_name(name) {
        Some((place, _)) => &row[place],
        None => &Value::Null,
    }
}
