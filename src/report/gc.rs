//! What runs have left behind, as it is told.

use super::counted;
use super::text::place;
use crate::gc::Leftover;
use serde::Serialize;
use std::fmt::Write;

/// What `gc` found and did.
#[derive(Clone, Debug, Serialize)]
pub struct GcReport {
    /// The target's full name.
    pub target: String,
    /// What was removed.
    pub removed: Vec<Leftover>,
    /// What is still there.
    pub kept: Vec<Leftover>,
    /// Runs that were not finished and that are over now.
    pub forgotten: Vec<String>,
    /// Whether nothing was to be removed.
    pub is_dry: bool,
}

/// The report of what runs have left behind.
pub fn gc_text(report: &GcReport) -> String {
    let mut text = format!("{}\n", place(&report.target));
    let (expiring, kept): (Vec<&Leftover>, Vec<&Leftover>) = report.kept.iter().partition(|leftover| leftover.expires);
    let (promised, left): (Vec<_>, Vec<_>) = kept.into_iter().partition(|leftover| leftover.kept_until.is_some());
    let (needed, left): (Vec<_>, Vec<_>) = left.into_iter().partition(|leftover| leftover.needed_by.is_some());
    let is_clean = promised.is_empty() && needed.is_empty() && left.is_empty() && report.removed.is_empty();
    let all: [(&str, Vec<&Leftover>); 5] = [
        ("removed", report.removed.iter().collect()),
        ("left behind", left),
        ("taken up by runs that were not finished, once the same command is given", needed),
        ("kept until a day is over", promised),
        ("kept until a day is over, and gone by themselves then", expiring),
    ];
    for (title, leftovers) in all.into_iter().filter(|(_, leftovers)| !leftovers.is_empty()) {
        let _ = writeln!(text, "\n  {title}");
        for leftover in leftovers {
            let mut size = match leftover.files {
                0 => String::new(),
                files => format!("   {}, {}", counted(files, "file"), counted(leftover.size_bytes, "byte")),
            };
            match leftover.kept_until {
                Some(until) => size.push_str(&format!(", until {until}")),
                None if leftover.expires => size.push_str(", without an end: drop it once nobody needs it"),
                None => {}
            }
            let _ = writeln!(text, "  {:<22}{}{size}", leftover.what, place(&leftover.place));
        }
    }
    if !report.forgotten.is_empty() {
        text.push_str("\n  forgotten; what they have merged stays, and has receipts\n");
        for run in &report.forgotten {
            let _ = writeln!(text, "  {:<22}{run}", "unfinished run");
        }
    }
    match (report.is_dry, is_clean) {
        (_, true) if report.forgotten.is_empty() => text.push_str("\n  nothing was left behind\n"),
        (true, false) => text.push_str("\n  nothing was removed; --remove removes what is left behind\n"),
        _ => {}
    }
    text
}
