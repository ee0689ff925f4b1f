//! Reports as text for a person: they read like a balance, top to bottom.

use super::proof::against;
use super::{AuditReport, BatchReport, DedupReport, OrphansReport, PlanReport, RunReport, Stop, counted};
use crate::balance::Balance;
use crate::dedup::KeyCount;
use crate::warehouse::usage::{Usage, WithoutDedup};
use crate::window::{start_of_second_us, text_of_us};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A number with its thousands apart.
pub(super) fn n(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One line of a balance.
pub(super) fn line(text: &mut String, name: &str, rows: u64, note: &str) {
    let note = if note.is_empty() { String::new() } else { format!("   {note}") };
    // Writing to a String can't fail.
    let _ = writeln!(text, "  {name:<22}{:>14}{note}", n(rows));
}

/// A value as SQL writes it where there is nothing to be seen of it.
pub(super) fn value(value: Option<&str>) -> &str {
    match value {
        None => "NULL",
        Some("") => "''",
        Some(text) => text,
    }
}

/// Control characters and marks without a shape of their own: two texts may differ in nothing else, and some of them
/// end the line, turn it around or command a terminal.
pub(super) fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A text of the data on one line, of so many characters at most: what can't be seen is escaped.
pub(super) fn shown(text: &str, chars: usize) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            // So that a text which looks like an escape is none.
            '\\' => shown.push_str("\\\\"),
            c if is_unseen(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    if let Some((end, _)) = shown.char_indices().nth(chars) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// The same, whole: names of files and columns, and reasons.
pub(super) fn whole(text: &str) -> String {
    shown(text, usize::MAX)
}

/// Names of columns, with commas between them.
pub(super) fn names<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| whole(name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A part of a whole in percent; nothing where the whole is.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.2} %", 100.0 * part as f64 / whole as f64) }
}

fn keys(count: KeyCount) -> String {
    counted(count.keys, "key")
}

/// A path where the URL is one of the local disk: that is what other programs take.
pub(super) fn place(url: &str) -> String {
    let path = url::Url::parse(url).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok());
    path.map_or_else(|| url.to_string(), |path| path.display().to_string())
}

fn kept_files(text: &mut String, files: &BTreeMap<String, String>) {
    if !files.is_empty() {
        text.push_str("\n  files with rows to look at\n");
    }
    for (what, file) in files {
        let _ = writeln!(text, "  {what:<22}{}", place(file));
    }
}

pub(super) fn balance(text: &mut String, balance: &Balance) {
    let landing = &balance.landing;
    line(text, "read", landing.read, "");
    line(text, "- rejected", landing.rejected, &share(landing.rejected, landing.read));
    line(text, "- outside the window", landing.outside, "");
    line(text, "= landed", landing.landed, "");
    let known = balance.winners + balance.losers.total() + balance.quarantined.rows;
    if known != landing.landed {
        // The run stopped before it knew more.
        return;
    }
    line(text, "- exact duplicates", balance.losers.exact, &share(balance.losers.exact, landing.landed));
    line(text, "- superseded", balance.losers.superseded, &share(balance.losers.superseded, landing.landed));
    line(text, "- conflicts", balance.losers.conflict, &share(balance.losers.conflict, landing.landed));
    line(text, "- quarantined", balance.quarantined.rows, &keys(balance.quarantined));
    line(text, "= winners", balance.winners, &share(balance.winners, landing.landed));
    if balance.suspect.keys > 0 {
        line(text, "rows of suspect keys", balance.suspect.rows, &keys(balance.suspect));
    }
    if balance.redated.keys > 0 {
        let losers = counted(balance.redated_by_hours, "loser");
        let hours = format!("{}, {losers} off by whole hours", keys(balance.redated));
        line(text, "rows of re-dated keys", balance.redated.rows, &hours);
    }
}

fn stops(text: &mut String, stops: &[Stop], page: Option<&str>) {
    for stop in stops {
        let _ = writeln!(text, "\nstopped: {}", stop.found);
        if let Some(file) = &stop.file {
            let _ = writeln!(text, "  rows: {}", place(file));
        }
        let _ = writeln!(text, "  hint: {}", stop.hint);
    }
    if stops.is_empty() {
        return;
    }
    if let Some(page) = page {
        let _ = writeln!(text, "\nlook at the page about these rows: {page}");
    }
    text.push_str("\nnothing was written to the target\n");
}

pub(super) fn rejected(text: &mut String, by_reason: &BTreeMap<String, u64>) {
    for (reason, rows) in by_reason {
        let _ = writeln!(text, "  rejected: {}: {}", whole(reason), n(*rows));
    }
}

/// The report of a backfill.
pub fn backfill_text(report: &RunReport) -> String {
    let mut text = format!("{} -> {}\n\n", report.dataset, place(&report.target));
    balance(&mut text, &report.balance);
    rejected(&mut text, &report.rejects_by_reason);
    let mut left_out: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (field, rows) in report.inputs.iter().flat_map(|input| &input.left_out) {
        let seen = left_out.entry(field).or_default();
        *seen = (seen.0 + rows, seen.1 + 1);
    }
    for (field, (rows, files)) in left_out {
        let (rows, files) = (counted(rows, "row"), counted(files, "file"));
        let _ = writeln!(text, "  left out: `{}`: {rows} of {files} had it", whole(field));
    }
    if !report.batches.is_empty() {
        batches(&mut text, report);
        let conflicts: u64 = report.batches.iter().map(|batch| batch.comparison.conflict).sum();
        if conflicts > 0 {
            let _ = writeln!(
                text,
                "  unchanged although it ties with the target's row and differs: {}",
                counted(conflicts, "winner")
            );
        }
        let redated: u64 = report.batches.iter().map(|batch| batch.comparison.redated).sum();
        if redated > 0 {
            let _ =
                writeln!(text, "  of another time than the target's row of their key: {}", counted(redated, "winner"));
        }
        if let Some(merged) = report.batches.iter().rev().find_map(|batch| batch.merged.as_ref()) {
            let _ = writeln!(text, "\n  rows in the target: {}", n(merged.rows_after));
        }
    }
    if let Some(used) = &report.usage {
        usage(&mut text, used);
    }
    kept_files(&mut text, &report.files);
    stops(&mut text, &report.stops, report.page.as_deref());
    text
}

/// What was done with each batch, or would have been.
fn batches(text: &mut String, report: &RunReport) {
    let row = |text: &mut String, name: &str, cells: [u64; 4]| {
        let cells = cells.map(n);
        let _ = writeln!(text, "  {name:<24}{:>12}{:>12}{:>12}{:>12}", cells[0], cells[1], cells[2], cells[3]);
    };
    let days = |batch: &BatchReport| match batch.days {
        Some((first, last)) => format!("{first}..{last}"),
        None => "all".to_string(),
    };
    let stopped = !report.stops.is_empty();
    let is_plan = !stopped && report.batches.iter().all(|batch| batch.merged.is_none());
    let head = match (stopped, is_plan) {
        (true, _) => ["to insert", "to update", "unchanged"],
        (false, true) => ["new", "newer", "present"],
        (false, false) => ["inserted", "updated", "unchanged"],
    };
    let _ = writeln!(text, "\n  {:<24}{:>12}{:>12}{:>12}{:>12}", "batch", "winners", head[0], head[1], head[2]);
    let mut total = [0; 4];
    for batch in &report.batches {
        let found = &batch.comparison;
        let cells = match &batch.merged {
            Some(merged) => [batch.winners, merged.inserted, merged.updated, batch.unchanged()],
            None => {
                let higher = found.newer - batch.to_update;
                [batch.winners, found.new, batch.to_update, found.older + found.same + found.conflict + higher]
            }
        };
        for (sum, cell) in total.iter_mut().zip(cells) {
            *sum += cell;
        }
        row(text, &days(batch), cells);
    }
    row(text, "total", total);
}

/// What a run takes of a warehouse that counts jobs and bills bytes.
pub(super) fn usage(text: &mut String, usage: &Usage) {
    let _ = writeln!(text, "\n  {:<36}{:>12}{:>12}", "limit", "used", "allowed");
    for limit in &usage.limits {
        let line = format!("  {:<36}{:>12}{:>12}   {}", limit.what, n(limit.used), n(limit.allowed), limit.note);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text, "\n  {:<24}{:>8}{:>20}", "step", "jobs", "bytes billed");
    for (step, used) in &usage.steps {
        let _ = writeln!(text, "  {step:<24}{:>8}{:>20}", n(used.jobs), n(used.bytes_billed));
    }
    let (billed, price) = (n(usage.bytes_billed()), price(usage.price_cents));
    let _ = writeln!(text, "  {:<24}{:>8}{billed:>20}   price {price}", "total", n(usage.jobs()));
    let _ = writeln!(text, "  {} staged", counted(usage.staged_bytes, "byte"));
}

pub(super) fn price(cents: u64) -> String {
    format!("{}.{:02}", n(cents / 100), cents % 100)
}

/// What it would be without deduplication before the load.
pub(super) fn without_dedup(text: &mut String, other: &WithoutDedup) {
    let _ = writeln!(text, "\n  with a load job for each page of 1,000 rows, and one MERGE of the staging table");
    line(text, "load jobs", other.load_jobs, &format!("{} of the table's quota", counted(other.days_of_quota, "day")));
    line(text, "rows staged", other.rows, &counted(other.staging_bytes, "byte"));
    line(text, "bytes billed", other.bytes_billed, &format!("price {}", price(other.price_cents)));
}

/// The report of a plan.
pub fn plan_text(report: &PlanReport) -> String {
    let mut text = format!("{} has {}\n\n", place(&report.target), counted(report.target_rows, "row"));
    balance(&mut text, &report.balance);
    let _ = writeln!(text, "\n  {:<24}{:>12}{:>8}{:>16}", "batch", "winners", "days", "days looked at");
    for batch in &report.batches {
        let days = match (batch.days.keys().next(), batch.days.keys().next_back()) {
            (Some(first), Some(last)) => format!("{first}..{last}"),
            _ => "all".to_string(),
        };
        let _ = writeln!(text, "  {days:<24}{:>12}{:>8}{:>16}", n(batch.rows), batch.days.len(), batch.touched.len());
    }
    let many = report.batches.len() as u64;
    let (jobs, merges) = (counted(many, "load job"), counted(many, "merge"));
    let _ = writeln!(text, "\n  {jobs}, {merges}; nothing was written");
    if let Some(estimate) = &report.estimate {
        usage(&mut text, &estimate.usage);
        without_dedup(&mut text, &estimate.without_dedup);
    }
    if !report.would_stop.is_empty() {
        let _ = writeln!(text, "  backfill would stop before the first merge: {}", report.would_stop.join(", "));
    }
    text
}

/// The report of a deduplication.
pub fn dedup_text(report: &DedupReport) -> String {
    let mut text = format!("{}\n\n", report.output);
    balance(&mut text, &report.balance);
    let (files, bytes) = (counted(report.files, "file"), counted(report.size_bytes, "byte"));
    let _ = writeln!(text, "\n  {files}, {bytes}");
    text
}

/// The report of an audit.
pub fn audit_text(report: &AuditReport) -> String {
    let audit = &report.audit;
    let mut text = format!("{}\n\n", place(&report.target));
    let mut add = |name: &str, count: u64, note: &str| line(&mut text, name, count, note);
    add("rows", audit.rows, "");
    add("unique keys", audit.keys, "");
    add("- exact duplicates", audit.duplicates.exact, &share(audit.duplicates.exact, audit.rows));
    add("- superseded", audit.duplicates.superseded, &share(audit.duplicates.superseded, audit.rows));
    add("- conflicts", audit.duplicates.conflict, &share(audit.duplicates.conflict, audit.rows));
    add("suspect keys", audit.suspect_keys, "");
    add("rows without a key", audit.without_key, "");
    add("rows without a day", audit.without_day, "");
    if let Some(rows) = report.rows_after_last_merge {
        let lost = report.lost_rows;
        let note = if lost > 0 { format!("{} gone since", counted(lost, "row")) } else { String::new() };
        add("after the last merge", rows, &note);
        if report.removed_between_merges > 0 {
            add("removed before it", report.removed_between_merges, "by somebody else, or by a restore");
        }
    }
    let when = audit.last_modified_us.map(|at_us| text_of_us(start_of_second_us(at_us)));
    for (name, value) in [("latest row", audit.latest.clone()), ("last modified", when)] {
        let _ = writeln!(text, "  {name:<22}   {}", value.as_deref().unwrap_or("none"));
    }
    if let Some(found) = &report.orphans {
        orphans(&mut text, found);
    }
    if let Some(found) = &report.against {
        against(&mut text, found);
    }
    if report.jobs.jobs > 0 {
        let jobs = &report.jobs;
        let _ = writeln!(text, "\n  jobs of all runs that ended");
        line(&mut text, "jobs", jobs.jobs, "");
        line(&mut text, "partitions processed", jobs.partitions, "by merges");
        line(&mut text, "bytes billed", jobs.bytes_billed, "");
    }
    if !audit.days.is_empty() {
        let _ = writeln!(text, "\n  {:<12}{:>14}{:>14}", "day", "rows", "keys");
        for (day, count) in &audit.days {
            let mark = if count.rows == count.keys { "" } else { "   duplicates" };
            let _ = writeln!(text, "  {:<12}{:>14}{:>14}{mark}", day.to_string(), n(count.rows), n(count.keys));
        }
    }
    if !report.findings.is_empty() {
        let _ = writeln!(text, "\nfound: {}", report.findings.join(", "));
        let is_only_lost = report.findings.iter().all(|finding| finding == "lost_rows");
        text.push_str(match is_only_lost {
            true => {
                "  hint: find out who has removed the rows; the same backfill brings those back that its input has\n"
            }
            false => "  hint: restore the table to a version without, or mend it with migrate --mend\n",
        });
    }
    text
}

fn orphans(text: &mut String, found: &OrphansReport) {
    text.push('\n');
    line(text, "without a market", found.rows, &format!("of {}", counted(found.ids, "id")));
    line(text, "with an empty id", found.empty_rows, "");
    for orphan in &found.largest {
        let _ = writeln!(text, "  {:<22}{:>14}   {}", "", n(orphan.rows), whole(&orphan.id));
    }
}
