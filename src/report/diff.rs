//! What `diff` found, as a value and as text.

use super::text::{line, n, names, place, rejected, shown, whole};
use crate::diff::{Differences, KeyDifferences, SideCount};
use crate::landing::LandingCounts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Of the examples of a finding, how many are shown; the JSON report has more.
const EXAMPLES_SHOWN: usize = 5;
/// How many characters of a value are shown.
const VALUE_CHARS: usize = 80;

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideReport {
    /// What was named, or the URL of a table.
    pub place: String,
    /// The version of a Delta table; `None`: it is none.
    pub version: Option<u64>,
    /// The moment as of which a table of BigQuery was read; `None`: it is none.
    pub as_of: Option<String>,
    /// How many files were read.
    pub files: u64,
    /// What became of the rows that were read, before they were compared.
    #[serde(flatten)]
    pub landing: LandingCounts,
    /// How many rejects there are of each kind.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// Columns that the other side has not: they are not compared.
    pub columns_only_here: Vec<String>,
    /// Its rows and keys.
    #[serde(flatten)]
    pub count: SideCount,
}

/// What `diff` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReport {
    /// The key, as text.
    pub key: Vec<String>,
    /// The declared order, as text.
    pub order: Vec<String>,
    /// The first side.
    pub a: SideReport,
    /// The second side.
    pub b: SideReport,
    /// Whether both have the same keys with the same content. Duplicates, rejects and columns that only one side has
    /// make no difference.
    pub is_equal: bool,
    /// The columns that were compared.
    pub compared: Vec<String>,
    /// Columns that both have and that were not: volatile ones, and those that the contract does not have.
    pub not_compared: Vec<String>,
    /// Columns whose types differ, with the type in which they were compared.
    pub casts: BTreeMap<String, String>,
    /// What was found.
    #[serde(flatten)]
    pub found: Differences,
}

/// The report of a comparison.
pub fn diff_text(report: &DiffReport) -> String {
    let order = if report.order.is_empty() { "none".to_string() } else { report.order.join(", ") };
    let mut text = format!("key   {}\norder {order}\n", report.key.join(", "));
    for (name, side) in [("A", &report.a), ("B", &report.b)] {
        side_text(&mut text, name, side);
    }
    let found = &report.found;
    text.push('\n');
    line(&mut text, "keys only in A", found.keys.only_a, "");
    line(&mut text, "keys only in B", found.keys.only_b, "");
    line(&mut text, "same in both", found.keys.same, "");
    line(&mut text, "different", found.keys.different, "");
    columns(&mut text, report);
    let is_told = !found.without_day.is_none() || found.without_day.same > 0;
    if !found.days.is_empty() {
        let _ = writeln!(
            text,
            "\n  {:<12}{:>12}{:>12}{:>12}{:>12}  columns",
            "day", "only in A", "only in B", "same", "different"
        );
        let days = found.days.iter().map(|(day, keys)| (day.to_string(), keys));
        days.chain(is_told.then(|| ("none".to_string(), &found.without_day)))
            .for_each(|(day, keys)| day_text(&mut text, &day, keys));
    }
    examples(&mut text, report);
    text.push_str(if report.is_equal { "\nno difference\n" } else { "\nthe two differ\n" });
    text
}

fn side_text(text: &mut String, name: &str, side: &SideReport) {
    let version = side.version.map_or_else(String::new, |version| format!(", version {version}"));
    let as_of = side.as_of.as_ref().map_or_else(String::new, |as_of| format!(", as of {as_of}"));
    let _ = writeln!(text, "\n{name}     {}{version}{as_of}", place(&side.place));
    let count = &side.count;
    line(text, "read", side.landing.read, "");
    if side.landing.rejected > 0 {
        line(text, "- rejected", side.landing.rejected, "not compared");
    }
    line(text, "- exact duplicates", count.duplicates.exact, "");
    line(text, "- superseded", count.duplicates.superseded, "");
    line(text, "- conflicts", count.duplicates.conflict, "");
    line(text, "= keys", count.keys, "");
    if count.rows_without_key > 0 {
        line(text, "rows with NULL in key", count.rows_without_key, "");
    }
    rejected(text, &side.rejects_by_reason);
    if !side.columns_only_here.is_empty() {
        let _ = writeln!(text, "  only here, not compared: {}", names(&side.columns_only_here));
    }
}

fn columns(text: &mut String, report: &DiffReport) {
    for (name, keys) in &report.found.keys.columns {
        line(text, &format!("- in {}", whole(name)), *keys, "");
    }
    for (name, kind) in &report.casts {
        let _ = writeln!(text, "  the types of {} differ: compared as {kind}", whole(name));
    }
    if !report.not_compared.is_empty() {
        let _ = writeln!(text, "  not compared: {}", names(&report.not_compared));
    }
}

fn day_text(text: &mut String, day: &str, keys: &KeyDifferences) {
    let cells = [keys.only_a, keys.only_b, keys.same, keys.different].map(n);
    let columns: Vec<String> =
        keys.columns.iter().map(|(name, keys)| format!("{} {}", whole(name), n(*keys))).collect();
    let row = format!("  {day:<12}{:>12}{:>12}{:>12}{:>12}", cells[0], cells[1], cells[2], cells[3]);
    let _ = writeln!(text, "{}", format!("{row}  {}", columns.join(", ")).trim_end());
}

fn examples(text: &mut String, report: &DiffReport) {
    let examples = &report.found.examples;
    let key = |key: &[Option<String>]| key.iter().map(|part| quoted(part.as_deref())).collect::<Vec<_>>().join(" ");
    for (name, keys) in [("A", &examples.only_a), ("B", &examples.only_b)] {
        if !keys.is_empty() {
            let _ = writeln!(text, "\n  some keys only in {name}");
        }
        for parts in keys.iter().take(EXAMPLES_SHOWN) {
            let _ = writeln!(text, "  {}", key(parts));
        }
    }
    if !examples.different.is_empty() {
        let _ = writeln!(text, "\n  some keys that differ");
    }
    for example in examples.different.iter().take(EXAMPLES_SHOWN) {
        let _ = writeln!(text, "  {}", key(&example.key));
        for (name, values) in &example.columns {
            let (a, b) = (quoted(values.a.as_deref()), quoted(values.b.as_deref()));
            let _ = writeln!(text, "    {}: {a} in A, {b} in B", whole(name));
        }
    }
}

/// A value between marks, since a blank at its end may be all that differs.
fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".into(), |value| format!("`{}`", shown(value, VALUE_CHARS)))
}
