//! Where the rows of a migration come from: how their columns differ from the contract's, and which way they take.

use super::counted;
use super::text::{self, n, place, whole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The two ways from one table of BigQuery into another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// Whether the rows land and are deduplicated where they lie; else they are exported, landed and deduplicated
    /// here, and loaded.
    pub is_in_place: bool,
    /// Why they can't be where they lie, a clause for each reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
    /// What it takes to read the table where it lies; nothing where that can't be done.
    pub in_place: Option<RoutePrice>,
    /// What it takes to bring it here.
    pub export: RoutePrice,
}

/// What a route takes before rows are merged; from there on both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePrice {
    /// Bytes that are billed as read, or, of an export, that leave BigQuery. At most: rows that do not land are read
    /// more often, and what leaves is compressed.
    pub size_bytes: u64,
    /// What they cost, in hundredths of the currency of the prices.
    pub price_cents: u64,
}

/// How the columns of a place differ from the contract's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumns {
    /// How many of its files were looked at: those on the local disk. None of a table that lands where it lies.
    pub files: u64,
    /// Columns of the contract that files lack, each with how many; or the table.
    pub lacks: BTreeMap<String, u64>,
    /// Columns that the contract has not, each with how many rows have a value for it. They are not brought in.
    pub left_out: BTreeMap<String, u64>,
    /// Columns of another type than the contract's: what they are, and what they become.
    pub casts: BTreeMap<String, String>,
}

/// Both ways, with their prices.
pub(super) fn routes_text(text: &mut String, routes: &Routes) {
    text.push_str("\n  the way to the target\n");
    let mark = |is_chosen: bool| if is_chosen { "taken" } else { "" };
    let mut way = |name: &str, price: RoutePrice, what: &str, is_chosen: bool| {
        let cost = text::price(price.price_cents);
        let _ = writeln!(text, "  {name:<22}{:>14}   {what}, {cost}   {}", n(price.size_bytes), mark(is_chosen));
    };
    if let Some(price) = routes.in_place {
        way("in place", price, "bytes billed at most", routes.is_in_place);
    }
    way("by export", routes.export, "bytes at most that leave BigQuery", !routes.is_in_place);
    for obstacle in &routes.obstacles {
        let _ = writeln!(text, "  not in place          {}", whole(obstacle));
    }
}

/// How the columns of a place differ from the contract's.
pub(super) fn columns(text: &mut String, source: &str, found: &SourceColumns) {
    let looked = match found.files {
        0 => String::new(),
        files => format!(", {} looked at", counted(files, "file")),
    };
    let _ = writeln!(text, "\n  columns of {}{looked}", place(source));
    for (name, files) in &found.lacks {
        let without = if *files == 0 { String::new() } else { format!(": {} without", counted(*files, "file")) };
        let _ = writeln!(text, "  lacks                 {}{without}", whole(name));
    }
    for (name, rows) in &found.left_out {
        let _ = writeln!(text, "  not brought in        {}: {} with a value", whole(name), counted(*rows, "row"));
    }
    for (name, cast) in &found.casts {
        let _ = writeln!(text, "  of another type       {}: {cast}", whole(name));
    }
    if found.lacks.is_empty() && found.left_out.is_empty() && found.casts.is_empty() {
        text.push_str("  as in the contract\n");
    }
}
