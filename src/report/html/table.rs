//! Tables: of numbers, and of rows side by side.

use super::page::{Page, look_alike};
use crate::report::text::share;

/// What stands in a cell.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// What the row is about.
    Heading(String),
    /// A text.
    Text(String),
    /// A number of the report, and its JSON pointer.
    Number(u64, String),
    /// A number that was reckoned from those of the report.
    Reckoned(u64),
    /// The first number as a share of the second.
    Share(u64, u64),
}

/// A row: its class in the style sheet, and its cells.
pub(super) type Row = (&'static str, Vec<Cell>);

/// Writes a table, which scrolls within itself where it is too wide. A column is one of numbers if it
/// has any.
pub(super) fn table(page: &mut Page, caption: &str, columns: &[&str], rows: &[Row]) {
    page.open("div", &[("class", "scroll"), ("tabindex", "0"), ("role", "group"), ("aria-label", caption)]);
    page.open("table", &[]);
    page.element("caption", &[], caption);
    page.markup("<thead><tr>");
    for (at, column) in columns.iter().enumerate() {
        let is_number = |cell: &Cell| !matches!(cell, Cell::Heading(_) | Cell::Text(_));
        let is_number = rows.iter().any(|(_, cells)| cells.get(at).is_some_and(is_number));
        page.element("th", &[("scope", "col"), ("class", if is_number { "number" } else { "text" })], column);
    }
    page.markup("</tr></thead>\n<tbody>\n");
    for (class, cells) in rows {
        page.open("tr", &[("class", class)]);
        for cell in cells {
            match cell {
                Cell::Heading(text) => page.element("th", &[("scope", "row")], text),
                Cell::Text(text) => page.element("td", &[("class", "text")], text),
                Cell::Number(value, pointer) => page.number("td", *value, pointer),
                Cell::Reckoned(value) => page.reckoned("td", *value),
                Cell::Share(part, whole) => page.element("td", &[("class", "share")], &share(*part, *whole)),
            }
        }
        page.close("tr");
    }
    page.markup("</tbody></table></div>\n");
}

/// Writes a table that is folded away until somebody wants its numbers; in print it is open.
pub(super) fn folded(page: &mut Page, caption: &str, columns: &[&str], rows: &[Row]) {
    page.open("details", &[]);
    page.element("summary", &[], &format!("Table: {caption}"));
    table(page, caption, columns, rows);
    page.close("details");
}

/// A value of the data: NULL and an empty text are told from texts that look like them.
pub(super) fn value(page: &mut Page, value: Option<&str>) {
    match value {
        None => page.element("em", &[], "NULL"),
        Some("") => page.element("em", &[], "empty text"),
        Some(text) => page.element("span", &[("class", "value"), ("dir", "auto")], text),
    }
}

/// Rows of the data beside each other: their columns go down, so that what differs stands in one line.
pub(super) struct SideBySide<'a> {
    /// What is shown.
    pub(super) caption: String,
    /// What a name names: `column` or `part of the key`.
    pub(super) named: &'static str,
    /// The names, from top to bottom.
    pub(super) names: &'a [String],
    /// For each name whether the rows differ in it.
    pub(super) differs: Vec<bool>,
    /// What the rows are called, and their values.
    pub(super) rows: Vec<(String, Vec<Option<String>>)>,
}

impl SideBySide<'_> {
    /// Writes the columns that differ, marked by a sign and a word, then those that do not, folded away.
    pub(super) fn write(&self, page: &mut Page) {
        let differs = |at: &usize| self.differs.get(*at).copied().unwrap_or(false);
        let (different, same): (Vec<usize>, Vec<usize>) = (0..self.names.len()).partition(differs);
        if different.is_empty() {
            page.sentence("The rows that are shown are the same in every column.");
        } else {
            self.part(page, &different, &self.caption);
        }
        if !same.is_empty() {
            let caption = format!("{}: the same in all of them", self.caption);
            page.open("details", &[]);
            page.element("summary", &[], &format!("Same in all rows that are shown: {}", listed(self.names, &same)));
            self.part(page, &same, &caption);
            page.close("details");
        }
    }

    fn part(&self, page: &mut Page, names: &[usize], caption: &str) {
        page.open("div", &[("class", "scroll"), ("tabindex", "0"), ("role", "group"), ("aria-label", caption)]);
        page.open("table", &[("class", "beside")]);
        page.element("caption", &[], caption);
        page.markup("<thead><tr>");
        page.element("th", &[("scope", "col")], self.named);
        for (name, _) in &self.rows {
            page.element("th", &[("scope", "col")], name);
        }
        page.markup("</tr></thead>\n<tbody>\n");
        for at in names {
            self.line(page, *at);
        }
        page.markup("</tbody></table></div>\n");
    }

    fn line(&self, page: &mut Page, at: usize) {
        let differs = self.differs.get(at).copied().unwrap_or(false);
        page.open("tr", &[("class", if differs { "differs" } else { "" })]);
        page.open("th", &[("scope", "row")]);
        if differs {
            page.markup("<span class=\"sign\" aria-hidden=\"true\">≠ </span><span class=\"unseen\">differs: </span>");
        }
        page.element("span", &[("class", "value")], &self.names[at]);
        page.close("th");
        let of = |values: &[Option<String>]| values.get(at).cloned().flatten();
        let first = self.rows.first().map(|(_, values)| of(values));
        for (_, values) in &self.rows {
            let own = of(values);
            page.open("td", &[]);
            // Of two values the second is marked: it is the one that is not like the first.
            match first.as_ref().filter(|first| **first != own) {
                Some(first) => {
                    page.open("mark", &[]);
                    value(page, own.as_deref());
                    page.close("mark");
                    if matches!((first, &own), (Some(first), Some(own)) if look_alike(first, own)) {
                        page.markup(" <em>differs further on</em>");
                    }
                }
                None => value(page, own.as_deref()),
            }
            page.close("td");
        }
        page.close("tr");
    }
}

/// Some names, and how many more there are.
fn listed(names: &[String], chosen: &[usize]) -> String {
    const NAMED: usize = 6;
    let named: Vec<&str> = chosen.iter().take(NAMED).map(|at| names[*at].as_str()).collect();
    match chosen.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}
