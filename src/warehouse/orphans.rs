//! What one table names and another does not have: trades of markets that are missing.

use super::Warehouse;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows that name something which the other table does not have. NULL names nothing and is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// Values that no row of the other table has, each with its rows.
    pub by_value: BTreeMap<String, u64>,
    /// Rows with an empty text, whatever the other table has.
    pub empty_rows: u64,
}

/// Looks for each value of `column` in the `key` of the other table. A table that is not there has none.
///
/// # Errors
/// As [`Warehouse::values`].
pub async fn orphans(trades: &dyn Warehouse, column: &str, markets: &dyn Warehouse, key: &str) -> Result<Orphans> {
    // One after the other: two tables of one engine are known to it by the same name while they are read.
    let mut by_value = trades.values(column, None).await?;
    let known = markets.values(key, None).await?;
    let empty_rows = by_value.remove("").unwrap_or(0);
    by_value.retain(|value, _| !known.contains_key(value));
    Ok(Orphans { by_value, empty_rows })
}
