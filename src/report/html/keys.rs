//! The sections about keys: how many rows they have, how far copies lie apart, their parts, keys that are nearly the
//! same, rows side by side, other keys.

use super::chart::{Bar, Piece, lying};
use super::page::{Page, pointer};
use super::table::{Cell, Row, SideBySide, folded, table};
use crate::report::text::{n, share, value};
use crate::report::{Analysis, Change, NearKeys, counted};

/// The most examples and columns of a row that are shown.
const EXAMPLES_SHOWN: usize = 5;
const COLUMNS_SHOWN: usize = 200;
/// The most lines of a table of sizes.
const SIZES_SHOWN: usize = 100;
/// The most bars of the histogram of sizes before sizes are put together.
const SIZE_BARS: usize = 12;

/// A key as text.
fn key_text(key: &[Option<String>]) -> String {
    key.iter().map(|part| value(part.as_deref())).collect::<Vec<_>>().join(" · ")
}

/// How many keys have how many rows.
pub(super) fn sizes(page: &mut Page, report: &Analysis) {
    page.section("sizes", "Rows of a key");
    let single = report.sizes.get(&1).copied().unwrap_or(0);
    let repeated: Vec<(u64, u64)> = report.sizes.iter().filter(|(rows, _)| **rows > 1).map(|(a, b)| (*a, *b)).collect();
    if report.sizes.is_empty() {
        page.sentence("Keys were not counted by their rows.");
    } else if repeated.is_empty() {
        page.sentence(&format!("No key has more than one row; there {}.", are(single, "key")));
    } else {
        let many: u64 = repeated.iter().map(|(_, keys)| keys).sum();
        let (one, more) = (counted(single, "key"), counted(many, "key"));
        page.sentence(&format!("One row: {one}. More than one: {more}, which are in the chart."));
        lying(page, "sizes-chart", "Keys by the number of their rows", &size_bars(&repeated));
    }
    let line = |(rows, keys): (&u64, &u64)| -> Row {
        let cells = [Cell::Heading(n(*rows)), Cell::Number(*keys, pointer(&["sizes", &rows.to_string()]))];
        ("", cells.into_iter().chain([Cell::Reckoned(rows.saturating_mul(*keys))]).collect())
    };
    let mut rows: Vec<Row> = report.sizes.iter().take(SIZES_SHOWN).map(line).collect();
    let rest: Vec<(u64, u64)> = report.sizes.iter().skip(SIZES_SHOWN).map(|(rows, keys)| (*rows, *keys)).collect();
    if !rest.is_empty() {
        let keys = rest.iter().map(|(_, keys)| keys).sum();
        let all = rest.iter().map(|(rows, keys)| rows.saturating_mul(*keys)).sum();
        rows.push(("total", vec![Cell::Heading("more".into()), Cell::Reckoned(keys), Cell::Reckoned(all)]));
    }
    if !rows.is_empty() {
        folded(page, "keys by the number of their rows", &["rows of a key", "keys", "rows together"], &rows);
    }
    if !report.census.largest.is_empty() {
        let group = |(at, group): (usize, &crate::dedup::Group)| -> Row {
            let path = format!("/census/largest/{at}/rows");
            ("", vec![Cell::Heading(key_text(&group.key)), Cell::Number(group.rows, path)])
        };
        let rows: Vec<Row> = report.census.largest.iter().enumerate().map(group).collect();
        folded(page, "keys with the most rows", &["key", "rows"], &rows);
    }
    page.close("section");
}

fn are(number: u64, one: &str) -> String {
    format!("{} {}", if number == 1 { "is" } else { "are" }, counted(number, one))
}

/// Bars of keys by size: each size, or where these are many, spans that begin at 1, 2 and 5 times a power of ten.
fn size_bars(sizes: &[(u64, u64)]) -> Vec<Bar> {
    let bar =
        |label: String, keys: u64| Bar { label, pieces: vec![(Piece::Other, keys)], figure: counted(keys, "key") };
    if sizes.len() <= SIZE_BARS {
        return sizes.iter().map(|(rows, keys)| bar(counted(*rows, "row"), *keys)).collect();
    }
    // 2, 3 and 4 stand alone, since most copies are there. Then 5, 10, 20, 50 and so on begin a span.
    let mut edges = vec![3, 4, 5];
    let (mut edge, largest) = (5u64, sizes.last().map_or(0, |(rows, _)| *rows));
    while edge <= largest && edge < u64::MAX {
        let is_two = edge.to_string().starts_with('2');
        edge = if is_two { (edge / 2).saturating_mul(5) } else { edge.saturating_mul(2) };
        edges.push(edge);
    }
    let (mut bars, mut from) = (Vec::new(), 2);
    for edge in edges {
        let keys: u64 = sizes.iter().filter(|(rows, _)| (from..edge).contains(rows)).map(|(_, keys)| keys).sum();
        let label =
            if edge - from == 1 { counted(from, "row") } else { format!("{} to {} rows", n(from), n(edge - 1)) };
        if keys > 0 {
            bars.push(bar(label, keys));
        }
        from = edge;
    }
    bars
}

/// How far copies lie apart.
pub(super) fn distances(page: &mut Page, report: &Analysis) {
    page.section("distances", "Where copies come from");
    let found = report.distances;
    let known = [
        ("same input, within 1,000 rows", found.same_page, "/distances/same_page", "a page that came twice"),
        ("same input, further apart", found.same_input, "/distances/same_input", "a run that read a window twice"),
        ("another input, same day", found.other_input, "/distances/other_input", "runs that overlap"),
        ("another input, another day", found.other_day, "/distances/other_day", "a time that was changed or shifted"),
    ];
    let total: u64 = known.iter().map(|(_, rows, _, _)| rows).sum();
    if total == 0 {
        let none = report.census.losers.total() == 0;
        page.sentence(if none { "There are no copies." } else { "How far copies lie apart was not counted." });
    } else {
        page.sentence("Each row that repeats a key is measured from the first row that has it.");
        let bars: Vec<Bar> = known
            .iter()
            .map(|(label, rows, _, _)| Bar {
                label: (*label).into(),
                pieces: vec![(Piece::Other, *rows)],
                figure: share(*rows, total),
            })
            .collect();
        lying(page, "distances-chart", "Duplicates by their distance from the first row of their key", &bars);
    }
    let rows = known.map(|(label, rows, path, often)| {
        let cells = [Cell::Heading(label.into()), Cell::Number(rows, path.into()), Cell::Share(rows, total)];
        ("", cells.into_iter().chain([Cell::Text(often.into())]).collect())
    });
    if total > 0 {
        folded(page, "distances of copies", &["where", "duplicates", "share", "often"], &rows);
    }
    page.close("section");
}

/// What is missing in the parts of the key.
pub(super) fn parts(page: &mut Page, report: &Analysis) {
    page.section("parts", "Parts of the key");
    if report.key_parts.is_empty() {
        page.sentence("The parts of the key were not looked at.");
        page.close("section");
        return;
    }
    if report.key_parts.iter().all(|part| part.null_rows + part.empty_rows == 0) {
        page.sentence("No row lacks a part of the key.");
    } else {
        page.sentence("Rows that lack a part share it with all others that lack it, so they may be merged by mistake.");
    }
    let line = |(at, part): (usize, &crate::report::KeyPart)| -> Row {
        let number = |value, name: &str| Cell::Number(value, format!("/key_parts/{at}/{name}"));
        let share = |value| Cell::Share(value, report.rows);
        let (null, empty) = (part.null_rows, part.empty_rows);
        let cells = [number(null, "null_rows"), share(null), number(empty, "empty_rows"), share(empty)];
        ("", std::iter::once(Cell::Heading(part.part.clone())).chain(cells).collect())
    };
    let rows: Vec<Row> = report.key_parts.iter().enumerate().map(line).collect();
    table(page, "What is missing in the key", &["part", "NULL", "share", "empty text", "share"], &rows);
    page.close("section");
}

/// Keys that are nearly the same.
pub(super) fn near(page: &mut Page, report: &Analysis) {
    page.section("near", "Keys that are nearly the same");
    let near = &report.near;
    let mut all: Vec<(String, String, &NearKeys)> = vec![
        ("upper and lower case".into(), "/near/by_case".into(), &near.by_case),
        ("whole hours".into(), "/near/by_hours".into(), &near.by_hours),
    ];
    let missing = near.by_missing.iter();
    all.extend(missing.map(|(part, found)| (format!("{part} missing"), pointer(&["near", "by_missing", part]), found)));
    if all.iter().all(|(_, _, found)| found.groups == 0) {
        page.sentence("No keys were found that are the same but for case, whole hours or a part that is missing.");
    } else {
        page.sentence(
            "Often that is one thing which was written in two ways, and its copies are not found by this key.",
        );
    }
    let line = |(what, path, found): &(String, String, &NearKeys)| -> Row {
        let number = |value, name: &str| Cell::Number(value, format!("{path}/{name}"));
        ("", vec![Cell::Heading(what.clone()), number(found.keys, "keys"), number(found.groups, "groups")])
    };
    let rows: Vec<Row> = all.iter().map(line).collect();
    table(page, "Keys that differ in nothing but this", &["but for", "keys now, at least", "keys then"], &rows);
    for (what, _, found) in all.iter().filter(|(_, _, found)| !found.examples.is_empty()) {
        page.element("h3", &[], &format!("But for {what}"));
        for (at, group) in found.examples.iter().take(EXAMPLES_SHOWN).enumerate() {
            let keys = &group.keys;
            let differs = |part: usize| keys.iter().any(|key| key.get(part) != keys[0].get(part));
            let named = |(at, key): (usize, &Vec<Option<String>>)| (format!("key {}", at + 1), key.clone());
            SideBySide {
                caption: format!("Example {}", at + 1),
                named: "part of the key",
                names: &report.key,
                differs: (0..report.key.len()).map(differs).collect(),
                rows: keys.iter().enumerate().map(named).collect(),
            }
            .write(page);
        }
    }
    page.close("section");
}

/// Rows of some keys, side by side.
pub(super) fn groups(page: &mut Page, report: &Analysis) {
    page.section("groups", "Rows side by side");
    match report.groups.is_empty() {
        true => page.sentence("No rows are shown."),
        false => page.sentence(
            "Columns in which the rows of a key differ are marked with ≠, and so are values unlike those of the first \
             row, by a line below them.",
        ),
    }
    for (at, group) in report.groups.iter().enumerate() {
        page.element("h3", &[("class", "value")], &key_text(&group.key));
        page.open("p", &[]);
        page.number("span", group.rows, &format!("/groups/{at}/rows"));
        page.text(if group.rows == 1 { " row" } else { " rows" });
        let shown = &group.shown;
        if (shown.len() as u64) < group.rows {
            page.text(&format!("; the first {} are shown", n(shown.len() as u64)));
        }
        page.text(".");
        page.close("p");
        let columns = &group.columns[..group.columns.len().min(COLUMNS_SHOWN)];
        SideBySide {
            caption: format!("Rows of key {}", at + 1),
            named: "column",
            names: columns,
            differs: group.differs.clone(),
            rows: shown.iter().map(|(input, values)| (file_name(input), values.clone())).collect(),
        }
        .write(page);
        if columns.len() < group.columns.len() {
            page.sentence(&format!(
                "{} of it are in the JSON only.",
                counted((group.columns.len() - columns.len()) as u64, "column")
            ));
        }
    }
    page.close("section");
}

fn file_name(input: &str) -> String {
    input.rsplit('/').next().unwrap_or(input).to_string()
}

/// Other keys that were tried.
pub(super) fn advice(page: &mut Page, report: &Analysis) {
    page.section("advice", "Other keys");
    let advice = &report.advice;
    if advice.candidates.is_empty() {
        page.sentence("No other keys were tried.");
        page.close("section");
        return;
    }
    page.open("p", &[]);
    page.text("There are ");
    page.number("span", advice.different_rows, "/advice/different_rows");
    page.text(" different rows, volatile columns left aside: no key should keep more. The rows of ");
    page.number("span", advice.suspect_keys, "/advice/suspect_keys");
    page.text(" keys are numbered as different events, which a wider key might separate.");
    page.close("p");
    if advice.untried_keys > 0 {
        page.open("p", &[]);
        page.text("Columns could not be tried on ");
        page.number("span", advice.untried_keys, "/advice/untried_keys");
        page.text(" keys, which have too many rows for the memory that was given.");
        page.close("p");
    }
    let line = |(at, tried): (usize, &crate::report::KeyCandidate)| -> Row {
        let number = |value, name: &str| Cell::Number(value, format!("/advice/candidates/{at}/{name}"));
        let (class, change) = match &tried.change {
            Change::Given => ("given", "none: the given key".to_string()),
            Change::Added(column) => ("", format!("with {column}")),
            Change::Dropped(part) => ("", format!("without {part}")),
        };
        let cells = vec![
            Cell::Heading(tried.key.join(", ")),
            Cell::Text(change),
            number(tried.rows_kept, "rows_kept"),
            number(tried.merged_rows_that_differ, "merged_rows_that_differ"),
            number(tried.suspects_separated, "suspects_separated"),
            Cell::Text(tried.verdict.clone()),
        ];
        (class, cells)
    };
    let rows: Vec<Row> = advice.candidates.iter().enumerate().map(line).collect();
    let columns = ["key", "change", "rows kept", "merged rows that differ", "suspect keys separated", "what this says"];
    table(page, "Keys that were tried", &columns, &rows);
    page.close("section");
}
