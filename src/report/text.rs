//! Reports as text for a person: they read like a balance, top to bottom.

use super::{Analysis, DedupReport, PlanReport, RunReport, Stop};
use crate::balance::{Balance, KeyCount};
use crate::ledger::{Entry, Ledger};
use crate::window::text_of_us;
use std::fmt::Write;

/// A number with its thousands apart.
fn n(number: u64) -> String {
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
fn line(text: &mut String, name: &str, rows: u64, note: &str) {
    let note = if note.is_empty() { String::new() } else { format!("   {note}") };
    // Writing to a String can't fail.
    let _ = writeln!(text, "  {name:<22}{:>14}{note}", n(rows));
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.2} %", 100.0 * part as f64 / whole as f64) }
}

fn keys(count: KeyCount) -> String {
    format!("{} keys", n(count.keys))
}

fn balance(text: &mut String, balance: &Balance) {
    let landing = &balance.landing;
    line(text, "read", landing.read, "");
    line(text, "- rejected", landing.rejected, &share(landing.rejected, landing.read));
    line(text, "- outside the window", landing.outside, "");
    line(text, "= landed", landing.landed, "");
    line(text, "- exact duplicates", balance.losers.exact, &share(balance.losers.exact, landing.landed));
    line(text, "- superseded", balance.losers.superseded, &share(balance.losers.superseded, landing.landed));
    line(text, "- conflicts", balance.losers.conflict, &share(balance.losers.conflict, landing.landed));
    line(text, "- quarantined", balance.quarantined.rows, &keys(balance.quarantined));
    line(text, "= winners", balance.winners, &share(balance.winners, landing.landed));
    if balance.suspect.keys > 0 {
        line(text, "rows of suspect keys", balance.suspect.rows, &keys(balance.suspect));
    }
    if balance.redated.keys > 0 {
        let hours = format!("{}, {} losers off by whole hours", keys(balance.redated), n(balance.redated_by_hours));
        line(text, "rows of re-dated keys", balance.redated.rows, &hours);
    }
}

fn stops(text: &mut String, stops: &[Stop]) {
    for stop in stops {
        let _ = writeln!(text, "\nstopped: {}", stop.found);
        if let Some(file) = &stop.file {
            let _ = writeln!(text, "  rows: {file}");
        }
        let _ = writeln!(text, "  hint: {}", stop.hint);
    }
}

/// The report of a backfill.
pub fn backfill_text(report: &RunReport) -> String {
    let mut text = format!("{} -> {}\n\n", report.dataset, report.target);
    balance(&mut text, &report.balance);
    for (reason, rows) in &report.rejects_by_reason {
        let _ = writeln!(text, "  rejected: {reason}: {}", n(*rows));
    }
    for input in &report.inputs {
        for (field, rows) in &input.left_out {
            let _ = writeln!(text, "  left out: `{field}` of {}: {} rows had it", input.url, n(*rows));
        }
    }
    if !report.batches.is_empty() {
        let _ = writeln!(
            text,
            "\n  {:<24}{:>12}{:>12}{:>12}{:>12}",
            "batch", "winners", "inserted", "updated", "unchanged"
        );
        for batch in &report.batches {
            let days = batch.days.map_or_else(|| "all".to_string(), |(first, last)| format!("{first}..{last}"));
            let merged = batch.merged.clone().unwrap_or_default();
            let row = [batch.winners, merged.inserted, merged.updated, batch.unchanged()].map(n);
            let _ = writeln!(text, "  {days:<24}{:>12}{:>12}{:>12}{:>12}", row[0], row[1], row[2], row[3]);
        }
        let (winners, inserted, updated, unchanged) = report.totals();
        let row = [winners, inserted, updated, unchanged].map(n);
        let _ = writeln!(text, "  {:<24}{:>12}{:>12}{:>12}{:>12}", "total", row[0], row[1], row[2], row[3]);
        let conflicts: u64 = report.batches.iter().map(|batch| batch.comparison.conflict).sum();
        if conflicts > 0 {
            let _ =
                writeln!(text, "  {} of the unchanged tie with the target's row and differ: it was kept", n(conflicts));
        }
        if let Some(merged) = report.batches.iter().rev().find_map(|batch| batch.merged.as_ref()) {
            let _ = writeln!(text, "\n  rows in the target: {}", n(merged.rows_after));
        }
    }
    for (what, file) in &report.files {
        let _ = writeln!(text, "  {what}: {file}");
    }
    stops(&mut text, &report.stops);
    text
}

/// The report of a plan.
pub fn plan_text(report: &PlanReport) -> String {
    let mut text = format!("{} has {} rows\n\n", report.target, n(report.target_rows));
    balance(&mut text, &report.balance);
    let _ = writeln!(text, "\n  {:<24}{:>12}{:>8}{:>16}", "batch", "winners", "days", "days looked at");
    for batch in &report.batches {
        let days = match (batch.days.keys().next(), batch.days.keys().next_back()) {
            (Some(first), Some(last)) => format!("{first}..{last}"),
            _ => "all".to_string(),
        };
        let _ = writeln!(text, "  {days:<24}{:>12}{:>8}{:>16}", n(batch.rows), batch.days.len(), batch.touched.len());
    }
    let _ =
        writeln!(text, "\n  {} load jobs, {} merges; nothing was written", report.batches.len(), report.batches.len());
    text
}

/// The report of a deduplication.
pub fn dedup_text(report: &DedupReport) -> String {
    let mut text = format!("{}\n\n", report.output);
    balance(&mut text, &report.balance);
    let _ = writeln!(text, "\n  {} files, {} bytes", n(report.files), n(report.size_bytes));
    text
}

/// The report of an analysis.
pub fn analysis_text(report: &Analysis) -> String {
    let mut text = format!("key   {}\norder {}\n\n", report.key.join(", "), report.order.join(", "));
    line(&mut text, "rows", report.rows, "");
    line(&mut text, "unique keys", report.keys, "");
    line(&mut text, "duplicates", report.rows - report.keys, &format!("{:.2} %", 100.0 * report.duplicate_share()));
    text.push('\n');
    balance(&mut text, &report.balance);
    if !report.rows_by_day.is_empty() {
        let _ = writeln!(text, "\n  {:<12}{:>12}{:>12}{:>12}{:>12}", "day", "rows", "exact", "superseded", "conflict");
        for (day, rows) in &report.rows_by_day {
            let tally = report.census.by_day.get(day).copied().unwrap_or_default();
            let row = [*rows, tally.exact, tally.superseded, tally.conflict].map(n);
            let _ = writeln!(text, "  {:<12}{:>12}{:>12}{:>12}{:>12}", day.to_string(), row[0], row[1], row[2], row[3]);
        }
    }
    let _ = writeln!(text, "\n  {:>12}{:>12}{:>12}{:>12}  file", "rows", "exact", "superseded", "conflict");
    for (file, rows) in &report.rows_by_file {
        let tally = report.census.by_file.get(file).copied().unwrap_or_default();
        let row = [*rows, tally.exact, tally.superseded, tally.conflict].map(n);
        let _ = writeln!(text, "  {:>12}{:>12}{:>12}{:>12}  {file}", row[0], row[1], row[2], row[3]);
    }
    if !report.census.largest.is_empty() {
        let _ = writeln!(text, "\n  keys with the most rows");
        for group in &report.census.largest {
            let key = group.key.iter().map(|part| part.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join(" ");
            let _ = writeln!(text, "  {:>8}  {key}", n(group.rows));
        }
    }
    for (what, file) in &report.files {
        let _ = writeln!(text, "  {what}: {file}");
    }
    text
}

/// What a ledger knows of its target.
pub fn status_text(target: &str, rows: u64, ledger: &Ledger) -> String {
    let mut text = format!("{target}\n\n");
    line(&mut text, "rows", rows, "");
    line(&mut text, "ledger entries", ledger.records().len() as u64, "");
    for run in ledger.unfinished() {
        let _ = writeln!(text, "  unfinished run {run}: run the same command again");
    }
    let _ = writeln!(text, "\n  {:<22}{:<10}{:<34}{:>12}{:>12}", "when", "what", "name", "inserted", "updated");
    for record in ledger.records().iter().rev().take(20) {
        let when = text_of_us(record.at_us / 1_000_000 * 1_000_000);
        let (what, name, counts) = match &record.entry {
            Entry::Landed { run_id, .. } => ("landed", run_id, None),
            Entry::Planned { run_id, .. } => ("planned", run_id, None),
            Entry::Merged { receipt } => ("merged", &receipt.batch_id, Some(&receipt.merged)),
            Entry::Stopped { run_id, .. } => ("stopped", run_id, None),
            Entry::Finished { run_id } => ("finished", run_id, None),
        };
        let (inserted, updated) = counts.map_or_else(Default::default, |m| (n(m.inserted), n(m.updated)));
        let _ = writeln!(text, "  {when:<22}{what:<10}{name:<34}{inserted:>12}{updated:>12}");
    }
    text
}
