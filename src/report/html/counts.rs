//! The sections that count rows: headline, balance, days, inputs, sizes, classes, distances.

use super::chart::{Bar, Piece, legend, lying, upright};
use super::page::{Page, pointer};
use super::periods::Period;
use super::table::{Cell, Row, folded, table};
use crate::dedup::Tally;
use crate::report::text::{n, place, share};
use crate::report::{Analysis, OtherRuns, RejectedRow, counted};
use std::collections::BTreeMap;

/// Of the inputs those with the most duplicates are shown.
const INPUTS_SHOWN: usize = 50;

fn number(value: u64, path: &str) -> Cell {
    Cell::Number(value, path.to_string())
}

/// The cells of losers by class. Where there is no tally there are no losers, and no place in the JSON.
fn classes(tally: Option<&Tally>, steps: &[&str]) -> [Cell; 3] {
    let cell = |value: fn(&Tally) -> u64, name: &str| match tally {
        Some(tally) => Cell::Number(value(tally), format!("{}/{name}", pointer(steps))),
        None => Cell::Reckoned(0),
    };
    [
        cell(|tally| tally.exact, "exact"),
        cell(|tally| tally.superseded, "superseded"),
        cell(|tally| tally.conflict, "conflict"),
    ]
}

/// The pieces of a bar of so many rows.
pub(super) fn pieces(rows: u64, tally: Tally) -> Vec<(Piece, u64)> {
    let values = [rows.saturating_sub(tally.total()), tally.exact, tally.superseded, tally.conflict];
    Piece::ROWS.into_iter().zip(values).collect()
}

/// What was found and what to do, and the numbers that matter most.
pub(super) fn headline(page: &mut Page, report: &Analysis) {
    let duplicates = report.rows.saturating_sub(report.keys);
    page.open("p", &[("class", "lead")]);
    page.text(&found(report, duplicates));
    page.close("p");
    page.open("p", &[("class", "advice")]);
    page.element("strong", &[], "What to do: ");
    page.text(&what_to_do(report, duplicates));
    page.close("p");
    if let Some(why) = &report.fails {
        page.open("p", &[("class", "advice")]);
        page.element("strong", &[], "It fails: ");
        page.text(why);
        page.close("p");
    }
    page.markup("<dl class=\"figures\">\n");
    for (name, value, path) in [("rows", report.rows, "/rows"), ("different keys", report.keys, "/keys")] {
        page.markup("<div>");
        page.element("dt", &[], name);
        page.number("dd", value, path);
        page.close("div");
    }
    page.markup("<div>");
    page.element("dt", &[], "duplicates");
    page.reckoned("dd", duplicates);
    page.close("div");
    page.markup("<div>");
    page.element("dt", &[], "share");
    let share = if report.rows == 0 { "none".to_string() } else { share(duplicates, report.rows) };
    page.element("dd", &[("class", "share")], &share);
    page.close("div");
    page.close("dl");
    page.open("p", &[("class", "key")]);
    page.text("Key: ");
    page.element("code", &[], &report.key.join(", "));
    page.text(". Order, which says which row of a key is kept: ");
    page.element("code", &[], &if report.order.is_empty() { "none".into() } else { report.order.join(", ") });
    page.text(if report.suggestion.is_some() { ". The key was found, not given: see suggested keys." } else { "." });
    page.close("p");
}

fn found(report: &Analysis, duplicates: u64) -> String {
    match (report.rows, duplicates) {
        (0, _) => "There are no rows.".into(),
        (rows, 0) => format!("There are no duplicates: each of {} has a key of its own.", counted(rows, "row")),
        (rows, _) => format!(
            "{} of {}, {}, repeat a key that another row has.",
            n(duplicates),
            counted(rows, "row"),
            share(duplicates, rows)
        ),
    }
}

fn what_to_do(report: &Analysis, duplicates: u64) -> String {
    let (balance, losers) = (&report.balance, &report.balance.losers);
    let near = &report.near;
    let near =
        near.by_case.groups + near.by_hours.groups + near.by_missing.values().map(|near| near.groups).sum::<u64>();
    let mut text = if report.rows == 0 {
        "see whether these are the files that were meant.".to_string()
    } else if balance.suspect.keys > 0 {
        format!(
            "decide about the key before anything is removed. The rows of {} are numbered as different events, so it \
             is probably too narrow, and to keep one row of each would lose the others. See the key advice below.",
            counted(balance.suspect.keys, "key")
        )
    } else if losers.conflict > 0 {
        format!(
            "look at the {} first: rows that tie with the one that is kept, and differ. All others can be removed \
             with dedup or backfill.",
            counted(losers.conflict, "conflict")
        )
    } else if losers.superseded > 0 {
        "remove them with dedup or backfill. Of each key the row that is highest in the order is kept.".into()
    } else if duplicates > 0 {
        "remove them with dedup or backfill. All of them are exact copies, so nothing is lost.".into()
    } else {
        "nothing has to be removed.".into()
    };
    if near > 0 {
        text.push_str(
            " Some keys are nearly the same as others: see whether they are one thing that was written twice.",
        );
    }
    if balance.landing.rejected > 0 {
        let rejected = counted(balance.landing.rejected, "row");
        text.push_str(&format!(" {rejected} can't be used: the reasons stand below the balance."));
    }
    text
}

/// Every row accounted for.
pub(super) fn balance(page: &mut Page, report: &Analysis) {
    let (balance, landing, losers) = (&report.balance, &report.balance.landing, &report.balance.losers);
    page.section("balance", "Balance");
    let line = |sign: &str, name: &str, value: u64, path: &str, whole: u64| -> Row {
        let class = if sign == "=" { "total" } else { "" };
        let heading = Cell::Heading(format!("{sign} {name}").trim_start().to_string());
        (class, vec![heading, number(value, path), Cell::Share(value, whole)])
    };
    let rows = vec![
        line("", "read", landing.read, "/balance/landing/read", landing.read),
        line("−", "rejected", landing.rejected, "/balance/landing/rejected", landing.read),
        line("−", "outside of the window", landing.outside, "/balance/landing/outside", landing.read),
        line("=", "landed", landing.landed, "/balance/landing/landed", landing.read),
        line("−", "exact duplicates", losers.exact, "/balance/losers/exact", landing.landed),
        line("−", "superseded", losers.superseded, "/balance/losers/superseded", landing.landed),
        line("−", "conflicts", losers.conflict, "/balance/losers/conflict", landing.landed),
        line("−", "rows of keys set aside", balance.quarantined.rows, "/balance/quarantined/rows", landing.landed),
        line("=", "winners, one row of each key", balance.winners, "/balance/winners", landing.landed),
    ];
    table(page, "What became of every row", &["rows", "number", "share"], &rows);
    adds_up(page, "Read", landing.read, &[landing.rejected, landing.outside, landing.landed]);
    let parts = [losers.exact, losers.superseded, losers.conflict, balance.quarantined.rows, balance.winners];
    adds_up(page, "Landed", landing.landed, &parts);
    if !report.rejects_by_reason.is_empty() {
        let reason = |(reason, rows): (&String, &u64)| -> Row {
            ("", vec![Cell::Heading(reason.clone()), number(*rows, &pointer(&["rejects_by_reason", reason]))])
        };
        let rows: Vec<Row> = report.rejects_by_reason.iter().map(reason).collect();
        table(page, "Why rows were rejected", &["reason", "rows"], &rows);
    }
    if !report.rejects.is_empty() {
        let line = |(at, row): (usize, &RejectedRow)| -> Row {
            let column = row.column.clone().unwrap_or_default();
            let place = Cell::Number(row.row, format!("/rejects/{at}/row"));
            ("", vec![Cell::Heading(row.file.clone()), place, Cell::Text(column), Cell::Text(row.reason.clone())])
        };
        let rows: Vec<Row> = report.rejects.iter().enumerate().map(line).collect();
        table(page, "The first rows that were rejected", &["input", "row", "column", "reason"], &rows);
    }
    flagged(page, report);
    page.close("section");
}

/// A sum in full, so that a reader can check it.
fn adds_up(page: &mut Page, name: &str, whole: u64, parts: &[u64]) {
    let sum: u64 = parts.iter().sum();
    let parts = parts.iter().map(|part| n(*part)).collect::<Vec<_>>().join(" + ");
    page.open("p", &[("class", "sum")]);
    match sum == whole {
        true => page.text(&format!("{name}: {} = {parts}. It adds up.", n(whole))),
        false => page.text(&format!("{name}: {} is not {parts} = {}. It does not add up.", n(whole), n(sum))),
    }
    page.close("p");
}

/// Keys that need a second look.
fn flagged(page: &mut Page, report: &Analysis) {
    let (balance, census) = (&report.balance, &report.census);
    if balance.suspect.keys + balance.redated.keys + balance.quarantined.keys + census.redated_losers == 0 {
        page.sentence("No key is suspect, set aside or re-dated.");
        return;
    }
    let none = || Cell::Text(String::new());
    let line = |name: &str, keys: Cell, rows: Cell| ("", vec![Cell::Heading(name.into()), keys, rows]);
    let pair = |name: &str, keys: u64, rows: u64, path: &str| {
        line(name, number(keys, &format!("/balance/{path}/keys")), number(rows, &format!("/balance/{path}/rows")))
    };
    let mut rows = vec![
        pair("suspect: rows are numbered as different events", balance.suspect.keys, balance.suspect.rows, "suspect"),
        pair(
            "re-dated: rows differ in a time that can't change",
            balance.redated.keys,
            balance.redated.rows,
            "redated",
        ),
        pair("set aside, with all of their rows", balance.quarantined.keys, balance.quarantined.rows, "quarantined"),
        line("re-dated losers", none(), number(census.redated_losers, "/census/redated_losers")),
        line("of those, off by whole hours", none(), number(balance.redated_by_hours, "/balance/redated_by_hours")),
    ];
    // A line of zeros says nothing that its absence does not.
    rows.retain(|(_, cells)| !cells.iter().skip(1).all(|cell| matches!(cell, Cell::Number(0, _) | Cell::Text(_))));
    table(page, "Keys that need a second look", &["what", "keys", "rows"], &rows);
}

/// How the losers divide into classes.
pub(super) fn by_class(page: &mut Page, report: &Analysis) {
    page.section("classes", "What the duplicates are");
    let losers = report.census.losers;
    if losers.total() == 0 {
        page.sentence("There are no duplicates to tell apart.");
        page.close("section");
        return;
    }
    let known = [
        (Piece::Exact, losers.exact, "equal to the row that is kept in every column that counts"),
        (Piece::Superseded, losers.superseded, "lower in the order than the row that is kept"),
        (Piece::Conflicts, losers.conflict, "tie in the order with the row that is kept, and differ from it"),
    ];
    let bars: Vec<Bar> = known
        .iter()
        .map(|(piece, value, _)| Bar {
            label: format!("{}: {}", piece.name(), n(*value)),
            pieces: vec![(*piece, *value)],
            figure: share(*value, losers.total()),
        })
        .collect();
    lying(page, "classes-chart", "Duplicates by class", &bars);
    let [exact, superseded, conflict] = classes(Some(&losers), &["census", "losers"]);
    let cells = [exact, superseded, conflict];
    let rows: Vec<Row> = known
        .iter()
        .zip(cells)
        .map(|((piece, value, meaning), cell)| {
            let share = Cell::Share(*value, losers.total());
            ("", vec![Cell::Heading(piece.name().into()), cell, share, Cell::Text((*meaning).into())])
        })
        .collect();
    folded(page, "duplicates by class", &["class", "rows", "share", "meaning"], &rows);
    page.close("section");
}

/// Rows and duplicates over time.
pub(super) fn by_day(page: &mut Page, report: &Analysis) {
    page.section("days", "Over time");
    let (Some((first, _)), Some((last, _))) =
        (report.rows_by_day.first_key_value(), report.rows_by_day.last_key_value())
    else {
        page.sentence("The rows have no day: the dataset has no partition column, or none was looked at.");
        page.close("section");
        return;
    };
    let period = Period::of(*first, *last);
    let numbers = period.number(*first)..=period.number(*last);
    let mut found: BTreeMap<i64, (u64, Tally)> = numbers.map(|number| (number, Default::default())).collect();
    for (day, rows) in &report.rows_by_day {
        let (all, tally) = found.entry(period.number(*day)).or_default();
        *all += rows;
        *tally += report.census.by_day.get(day).copied().unwrap_or_default();
    }
    if let Some(note) = period.note() {
        page.sentence(&format!("{note} The JSON in this page has every day."));
    }
    let bars: Vec<Bar> = found
        .iter()
        .map(|(number, (rows, tally))| {
            let (label, figure) = (period.label(*number), counted(*rows, "row"));
            Bar { label, pieces: pieces(*rows, *tally), figure }
        })
        .collect();
    legend(page, &Piece::ROWS, report.census.losers.conflict > 0);
    upright(page, "days-chart", "Rows over time, by what became of them", &bars);
    let rows: Vec<Row> = match period {
        Period::Day => report
            .rows_by_day
            .iter()
            .map(|(day, rows)| {
                let name = day.to_string();
                let tally = report.census.by_day.get(day);
                let mut cells = vec![Cell::Heading(name.clone()), number(*rows, &pointer(&["rows_by_day", &name]))];
                cells.extend(classes(tally, &["census", "by_day", &name]));
                ("", cells)
            })
            .collect(),
        period => found
            .iter()
            .filter(|(_, (rows, _))| *rows > 0)
            .map(|(number, (rows, tally))| {
                let values = [*rows, tally.exact, tally.superseded, tally.conflict];
                let cells = std::iter::once(Cell::Heading(period.label(*number)));
                ("", cells.chain(values.map(Cell::Reckoned)).collect())
            })
            .collect(),
    };
    let columns = [period.name(), "rows", "exact", "superseded", "conflict"];
    folded(page, "rows over time", &columns, &rows);
    page.close("section");
}

/// Inputs, those with the most duplicates first.
pub(super) fn by_input(page: &mut Page, report: &Analysis) {
    page.section("inputs", "By input");
    let tally = |file: &str| report.census.by_file.get(file);
    let losers = |file: &str| tally(file).map_or(0, Tally::total);
    let mut files: Vec<(&String, u64)> = report.rows_by_file.iter().map(|(file, rows)| (file, *rows)).collect();
    files.sort_by(|a, b| losers(b.0).cmp(&losers(a.0)).then_with(|| b.1.cmp(&a.1)).then_with(|| a.0.cmp(b.0)));
    if files.is_empty() {
        page.sentence("There are no inputs.");
        page.close("section");
        return;
    }
    let others = files.split_off(files.len().min(INPUTS_SHOWN));
    let folder = common_folder(report.rows_by_file.keys());
    let name = |file: &str| file.strip_prefix(folder).unwrap_or(file).to_string();
    if !folder.is_empty() {
        page.open("p", &[]);
        page.text("All of them are below ");
        page.element("code", &[], &place(folder));
        page.text(".");
        page.close("p");
    }
    if !others.is_empty() {
        let (shown, all) = (n(files.len() as u64), counted(report.rows_by_file.len() as u64, "input"));
        page.sentence(&format!(
            "The {shown} with the most duplicates are shown, of {all}. The last line has the others."
        ));
    }
    let bars: Vec<Bar> = files
        .iter()
        .map(|(file, rows)| Bar {
            label: name(file),
            pieces: pieces(*rows, tally(file).copied().unwrap_or_default()),
            figure: share(losers(file), *rows),
        })
        .collect();
    legend(page, &Piece::ROWS, false);
    lying(page, "inputs-chart", "Rows by input, with the share of duplicates", &bars);
    let mut rows: Vec<Row> = files
        .iter()
        .map(|(file, rows)| {
            let path = pointer(&["rows_by_file", file]);
            let mut cells = vec![Cell::Heading(name(file)), Cell::Number(*rows, path)];
            cells.extend(classes(tally(file), &["census", "by_file", file]));
            cells.push(Cell::Share(losers(file), *rows));
            ("", cells)
        })
        .collect();
    if !others.is_empty() {
        let losers = |file: &str| tally(file).copied().unwrap_or_default();
        let sum = OtherRuns::default().and(others.iter().map(|(file, rows)| (*rows, losers(file))));
        let heading = Cell::Heading(counted(sum.values, "other input"));
        let values = [sum.rows, sum.losers.exact, sum.losers.superseded, sum.losers.conflict].map(Cell::Reckoned);
        let cells = std::iter::once(heading).chain(values).chain([Cell::Share(sum.losers.total(), sum.rows)]);
        rows.push(("total", cells.collect()));
    }
    let columns = ["input", "rows", "exact", "superseded", "conflict", "share of duplicates"];
    folded(page, "rows by input", &columns, &rows);
    page.close("section");
}

/// What all names begin with, up to a slash; nothing for a single one, whose name is worth more than its folder.
fn common_folder<'a>(mut names: impl Iterator<Item = &'a String>) -> &'a str {
    let Some(first) = names.next() else { return "" };
    let mut common = first.rfind('/').map_or("", |slash| &first[..=slash]);
    for name in names {
        while !name.starts_with(common) {
            common = common[..common.len() - 1].rfind('/').map_or("", |slash| &common[..=slash]);
        }
    }
    // `gs://` alone says nothing.
    if common.ends_with("//") { "" } else { common }
}
