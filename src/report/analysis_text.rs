//! The report of an analysis as text.

use super::text::{balance, line, n, names, rejected, share, shown, value, whole};
use super::{Analysis, Change, GroupRows, NearKeys, OtherRuns, Runs, Suggestion, counted};
use crate::dedup::Tally;
use std::cmp::Reverse;
use std::fmt::Write;

/// How many of the largest groups, of rows that were set aside and of sizes are shown, how many of the keys whose rows
/// differ, and how many characters of a value. The JSON report has more.
const LARGEST_SHOWN: usize = 10;
/// Files, and values of a column, that have a line of their own.
const FILES_SHOWN: usize = 20;
const GROUPS_SHOWN: usize = 5;
const CHARACTERS_SHOWN: usize = 40;

/// The report of an analysis.
pub fn analysis_text(report: &Analysis) -> String {
    let order = if report.order.is_empty() { "none".to_string() } else { names(&report.order) };
    let mut text = String::new();
    if let Some(found) = &report.suggestion {
        suggestion(&mut text, found);
    }
    let _ = writeln!(text, "key   {}\norder {order}\n", names(&report.key));
    line(&mut text, "rows", report.rows, "");
    line(&mut text, "unique keys", report.keys, "");
    line(&mut text, "duplicates", report.rows - report.keys, &format!("{:.2} %", 100.0 * report.duplicate_share()));
    text.push('\n');
    balance(&mut text, &report.balance);
    rejected(&mut text, &report.rejects_by_reason);
    for row in report.rejects.iter().take(LARGEST_SHOWN) {
        let column = row.column.as_ref().map(|column| format!("{}: ", whole(column))).unwrap_or_default();
        let _ = writeln!(text, "    {} row {}: {column}{}", whole(&row.file), row.row, whole(&row.reason));
    }
    if !report.rows_by_day.is_empty() {
        let _ = writeln!(text, "\n  {:<12}{:>12}{:>12}{:>12}{:>12}", "day", "rows", "exact", "superseded", "conflict");
        for (day, rows) in &report.rows_by_day {
            let tally = report.census.by_day.get(day).copied().unwrap_or_default();
            let row = [*rows, tally.exact, tally.superseded, tally.conflict].map(n);
            let _ = writeln!(text, "  {:<12}{:>12}{:>12}{:>12}{:>12}", day.to_string(), row[0], row[1], row[2], row[3]);
        }
    }
    by_file(&mut text, report);
    if let Some(runs) = &report.by_run {
        by_run(&mut text, runs);
    }
    shape(&mut text, report);
    near(&mut text, report);
    if !report.census.largest.is_empty() {
        let _ = writeln!(text, "\n  keys with the most rows");
        for group in report.census.largest.iter().take(LARGEST_SHOWN) {
            let _ = writeln!(text, "  {:>8}  {}", n(group.rows), key(&group.key));
        }
    }
    let differ = report.groups.iter().filter(|group| group.differs.contains(&true));
    let differ: Vec<&GroupRows> = differ.take(GROUPS_SHOWN).collect();
    if !differ.is_empty() {
        let _ = writeln!(text, "\n  keys whose rows differ, in these columns");
    }
    for group in differ {
        differing(&mut text, group);
    }
    advice(&mut text, report);
    text
}

/// A line of rows and losers.
fn tallied(text: &mut String, rows: u64, losers: Tally, name: &str) {
    let row = [rows, losers.exact, losers.superseded, losers.conflict].map(n);
    let _ = writeln!(text, "  {:>12}{:>12}{:>12}{:>12}  {name}", row[0], row[1], row[2], row[3]);
}

/// The same for those that have no line of their own, if there are any.
fn tallied_others(text: &mut String, others: OtherRuns, one: &str) {
    if others.values > 0 {
        tallied(text, others.rows, others.losers, &format!("… and {}", counted(others.values, one)));
    }
}

fn tally_heading(text: &mut String, name: &str) {
    let _ = writeln!(text, "\n  {:>12}{:>12}{:>12}{:>12}  {name}", "rows", "exact", "superseded", "conflict");
}

/// Files by their names, or of very many those with the most losers.
fn by_file(text: &mut String, report: &Analysis) {
    tally_heading(text, "file");
    let losers = |file: &str| report.census.by_file.get(file).copied().unwrap_or_default();
    let mut files: Vec<(&String, u64)> = report.rows_by_file.iter().map(|(file, rows)| (file, *rows)).collect();
    if files.len() > FILES_SHOWN {
        files.sort_by_key(|(file, rows)| Reverse((losers(file).total(), *rows)));
    }
    let others = files.split_off(files.len().min(FILES_SHOWN));
    for (file, rows) in files {
        tallied(text, rows, losers(file), &whole(file));
    }
    let others = OtherRuns::default().and(others.into_iter().map(|(file, rows)| (rows, losers(file))));
    tallied_others(text, others, "more file");
}

/// Rows by the values of a column.
fn by_run(text: &mut String, runs: &Runs) {
    tally_heading(text, &format!("{}{}", whole(&runs.column), if runs.by_day { ", by UTC day" } else { "" }));
    let (shown, more) = runs.told.split_at(runs.told.len().min(FILES_SHOWN));
    for run in shown {
        tallied(text, run.rows, run.losers, &short(run.value.as_deref()));
    }
    tallied_others(text, runs.others.and(more.iter().map(|run| (run.rows, run.losers))), "more value");
}

/// The keys that were found.
fn suggestion(text: &mut String, found: &Suggestion) {
    let _ = writeln!(text, "suggested keys, the best first");
    let _ = writeln!(text, "  {}, volatile columns left aside", counted(found.different_rows, "different row"));
    let _ = writeln!(text, "  {:>12}{:>14}{:>12}  key", "rows kept", "that differ", "in keys");
    for own in &found.candidates {
        let numbers = [own.rows_kept, own.merged_rows_that_differ, own.keys_that_differ].map(n);
        let key = names(&own.key);
        let _ =
            writeln!(text, "  {:>12}{:>14}{:>12}  {key}: {}", numbers[0], numbers[1], numbers[2], whole(&own.verdict));
    }
    for column in &found.numbering {
        let column = whole(column);
        let _ = writeln!(text, "  {column} looks as if it numbers copies, and counts as volatile");
    }
    if !found.looks_volatile.is_empty() {
        let columns = whole(&found.looks_volatile.join(","));
        let _ = writeln!(text, "  {columns} may say how rows were collected: if so, give --volatile {columns}");
    }
    for out in found.left_out.iter().take(LARGEST_SHOWN) {
        let _ = writeln!(text, "  {} is in no key: {}", whole(&out.column), whole(&out.why));
    }
    if found.left_out.len() > LARGEST_SHOWN {
        let more = counted((found.left_out.len() - LARGEST_SHOWN) as u64, "more column");
        let _ = writeln!(text, "  … and {more} can be in no key");
    }
    let flags = found.flags.as_ref().map(|flags| format!(", as with {}", whole(flags))).unwrap_or_default();
    let _ = writeln!(text, "\nanalyzed by the first of them{flags}\n");
}

/// How many rows keys have, how far copies lie apart, and what is missing in the key.
fn shape(text: &mut String, report: &Analysis) {
    let _ = writeln!(text, "\n  {:<22}{:>14}{:>14}", "rows of a key", "keys", "rows");
    for (rows, keys) in report.sizes.iter().take(LARGEST_SHOWN) {
        let _ = writeln!(text, "  {rows:<22}{:>14}{:>14}", n(*keys), n(rows * keys));
    }
    let more: Vec<(&u64, &u64)> = report.sizes.iter().skip(LARGEST_SHOWN).collect();
    if let (Some((first, _)), Some((last, _))) = (more.first(), more.last()) {
        let (keys, rows) = more.iter().fold((0, 0), |sum, (rows, keys)| (sum.0 + **keys, sum.1 + *rows * *keys));
        let _ = writeln!(text, "  {:<22}{:>14}{:>14}", format!("{first} to {last}"), n(keys), n(rows));
    }
    let (far, repeats) = (&report.distances, report.rows - report.keys);
    let _ = writeln!(text, "\n  rows that repeat a key, by where its first row is");
    line(text, "within 1,000 rows", far.same_page, &share(far.same_page, repeats));
    line(text, "in the same input", far.same_input, &share(far.same_input, repeats));
    line(text, "in another input", far.other_input, &share(far.other_input, repeats));
    line(text, "and on another day", far.other_day, &share(far.other_day, repeats));
    for part in report.key_parts.iter().filter(|part| part.null_rows + part.empty_rows > 0) {
        let (null, empty) = (counted(part.null_rows, "row"), counted(part.empty_rows, "row"));
        let _ = writeln!(text, "\n  {} is NULL in {null}, and an empty text in {empty}", whole(&part.part));
    }
}

/// Keys that are nearly the same.
fn near(text: &mut String, report: &Analysis) {
    let near = &report.near;
    let mut tell = |least: &str, what: &str, keys: &NearKeys| {
        if keys.groups == 0 {
            return;
        }
        let (own, fewer) = (counted(keys.keys, "key"), n(keys.groups));
        let _ = writeln!(text, "\n  {least}{own} would be {fewer} {what}");
        for example in keys.examples.iter().take(2).flat_map(|group| &group.keys) {
            let _ = writeln!(text, "            {}", key(example));
        }
    };
    tell("", "if upper and lower case were the same", &near.by_case);
    tell("", "if times that are whole hours apart were the same", &near.by_hours);
    for (part, keys) in &near.by_missing {
        tell("at least ", &format!("without {}, which some have and some have not", whole(part)), keys);
    }
}

/// The columns in which the rows of a key differ, with their values.
fn differing(text: &mut String, group: &GroupRows) {
    let _ = writeln!(text, "  {:>8}  {}", n(group.rows), key(&group.key));
    for (at, column) in group.columns.iter().enumerate().filter(|(at, _)| group.differs[*at]) {
        let values = group.shown.iter().map(|(_, values)| short(values[at].as_deref()));
        let values = values.collect::<Vec<String>>().join(" | ");
        let _ = writeln!(text, "            {}: {values}", whole(column));
    }
}

/// Other keys, with how many rows each would keep.
fn advice(text: &mut String, report: &Analysis) {
    let advice = &report.advice;
    let _ = writeln!(text, "\n  {}, volatile columns left aside", counted(advice.different_rows, "different row"));
    if advice.untried_keys > 0 {
        let keys = counted(advice.untried_keys, "key");
        let _ = writeln!(text, "  {keys} with too many rows to try columns on: allow more with --memory");
    }
    let _ = writeln!(text, "  {:>12}{:>14}{:>12}  key", "rows kept", "that differ", "separated");
    for candidate in &advice.candidates {
        let change = match &candidate.change {
            Change::Given => "as given".to_string(),
            Change::Added(column) => format!("+ {}", whole(column)),
            Change::Dropped(part) => format!("- {}", whole(part)),
        };
        let numbers = [candidate.rows_kept, candidate.merged_rows_that_differ, candidate.suspects_separated].map(n);
        let _ = writeln!(
            text,
            "  {:>12}{:>14}{:>12}  {change}: {}",
            numbers[0],
            numbers[1],
            numbers[2],
            whole(&candidate.verdict)
        );
    }
}

fn key(parts: &[Option<String>]) -> String {
    parts.iter().map(|part| whole(value(part.as_deref()))).collect::<Vec<_>>().join(" ")
}

fn short(text: Option<&str>) -> String {
    shown(value(text), CHARACTERS_SHOWN)
}
