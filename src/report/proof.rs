//! What a migration has done, and the proof that nothing was lost by it.

use super::routes::{columns, routes_text};
use super::text::{line, n, place, usage, without_dedup};
use super::{BatchReport, Routes, RunReport, SourceColumns, backfill_text, counted};
use crate::warehouse::{Moment, Undone};
use crate::window::Day;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a migration did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationReport {
    /// Where rows came from, and how many each had.
    pub sources: BTreeMap<String, u64>,
    /// How the columns of each differ from the contract's; only in a plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, SourceColumns>,
    /// What was brought in, or why nothing was.
    pub run: RunReport,
    /// Whether it only says what it would do.
    pub is_plan: bool,
    /// The proof; nothing where nothing was written.
    pub proof: Option<Proof>,
    /// The URL of the proof as a page; beside it lie files of the same name that end in `.json` and `.sql`.
    pub proof_page: Option<String>,
    /// How the rows of a table of BigQuery came into another one, and how they might have; nothing for other rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Routes>,
    /// The tables that were dropped; nothing where none was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Vec<DroppedTable>>,
    /// What became of the table itself, where it was to be mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended: Option<MendReport>,
}

/// What became of a table that was mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendReport {
    /// How its own rows came into a new table; nothing where that was done by a mend which died before it could tell.
    pub run: Option<RunReport>,
    /// How that took its place; nothing where it did not.
    pub replaced: Option<Replaced>,
}

/// A table that another one has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its rows.
    pub rows_before: u64,
    /// Those of the other one.
    pub rows_after: u64,
    /// The URL of the folder that it is in now.
    pub kept: String,
    /// The last day on which it is kept.
    pub until: Day,
}

/// A table whose rows were brought in and that was moved aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedTable {
    /// Its URL.
    pub source: String,
    /// Its version, which is the one that was read; of a table of BigQuery when it was changed last, in milliseconds
    /// since 1970-01-01 UTC.
    pub version: Option<u64>,
    /// The URL of the folder that it is in now, or of its snapshot.
    pub kept: String,
    /// The last day on which it is kept.
    pub until: Day,
}

/// A comparison of a target with what it was and with what should have come into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The migration's name.
    pub migration: String,
    /// The target's full name.
    pub target: String,
    /// The key, as text.
    pub key: Vec<String>,
    /// Where rows came from, and how many each had.
    pub sources: BTreeMap<String, u64>,
    /// What the target was; nothing where there was none.
    pub before: Option<Moment>,
    /// What it is.
    pub after: Moment,
    /// Rows that the migration has inserted since then.
    pub inserted: u64,
    /// Rows that others have inserted since then.
    pub inserted_by_others: u64,
    /// Rows of the sources that are in no table: they were rejected, or are in quarantine, each in a file with its
    /// reason.
    pub set_aside: u64,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// The short names of the checks that do not hold. None: it is proven.
    pub findings: Vec<String>,
    /// The last day on which the staged winners are kept, which the statements need.
    pub staged_until: Day,
    /// Statements that make the tables of the checks known to somebody else.
    pub set_up: String,
}

/// One thing that a proof has looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its short name: `lost_keys`, `missing_winners`, `lowered_rows`, `lower_than_winners`, `blanked_columns`,
    /// `duplicates`, `keys`, `rows`.
    pub name: String,
    /// What must hold.
    pub promise: String,
    /// How often it does not.
    pub found: u64,
    /// The same by UTC day, or by column.
    pub by: BTreeMap<String, u64>,
    /// Some of the keys, each as its parts.
    pub examples: Vec<Vec<Option<String>>>,
    /// What was counted, where a number alone says too little.
    pub counted: String,
    /// The statements that were asked.
    pub sql: Vec<String>,
}

/// What taking a migration back did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBackReport {
    /// The migration's name.
    pub migration: String,
    /// The target's full name.
    pub target: String,
    /// Whether it only says what it would do.
    pub is_plan: bool,
    /// What becomes of the rows that the migration had changed.
    pub undone: Undone,
    /// Feeds of which windows are gaps again, since they were brought in after the migration had begun.
    pub unseen_feeds: Vec<String>,
    /// Other runs that were finished after it had begun: rows that they found there already are taken out with it.
    pub run_again: Vec<String>,
    /// The sources that were dropped after it had begun: where they were not had back, nothing has their rows then but
    /// what was kept of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedTable>,
    /// The table that is replaced by the one that a mend had put aside, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
}

/// What of the rows of other places a table lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgainstReport {
    /// The places, and how many rows each had.
    pub sources: BTreeMap<String, u64>,
    /// Rows that can't be in the table: they do not fit its contract.
    pub rejected: u64,
    /// Different keys of the other rows.
    pub keys: u64,
    /// Keys that the table has not.
    pub missing_keys: u64,
    /// Rows that are higher in the declared order than the table's row of their key.
    pub higher_rows: u64,
    /// Both by the days of the batches in which they would be brought in.
    pub by_days: Vec<AgainstDays>,
}

/// What a table lacks on some days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgainstDays {
    /// The first and the last day; nothing for a table without partitions.
    pub days: Option<(Day, Day)>,
    /// As in [`AgainstReport`].
    pub missing_keys: u64,
    /// As in [`AgainstReport`].
    pub higher_rows: u64,
}

impl AgainstReport {
    /// What a plan of a migration has found.
    pub fn of(plan: MigrationReport) -> AgainstReport {
        let days = |batch: &BatchReport| AgainstDays {
            days: batch.days,
            missing_keys: batch.comparison.new,
            higher_rows: batch.comparison.newer,
        };
        let by_days: Vec<AgainstDays> = plan.run.batches.iter().map(days).collect();
        AgainstReport {
            sources: plan.sources,
            rejected: plan.run.balance.landing.rejected,
            keys: plan.run.balance.winners,
            missing_keys: by_days.iter().map(|days| days.missing_keys).sum(),
            higher_rows: by_days.iter().map(|days| days.higher_rows).sum(),
            by_days,
        }
    }
}

/// Adds what a table lacks of other places.
pub(super) fn against(text: &mut String, found: &AgainstReport) {
    for (source, rows) in &found.sources {
        let _ = writeln!(text, "\n  against {} ({})", place(source), counted(*rows, "row"));
    }
    line(text, "keys", found.keys, "");
    line(text, "- missing here", found.missing_keys, "");
    line(text, "- older here", found.higher_rows, "");
    if found.rejected > 0 {
        line(text, "rejected rows", found.rejected, "they do not fit the contract, so nothing is said of them");
    }
    for batch in found.by_days.iter().filter(|batch| batch.missing_keys + batch.higher_rows > 0) {
        let days = batch.days.map_or_else(|| "all days".into(), |(first, last)| format!("{first}..{last}"));
        let _ = writeln!(text, "  {days:<22}{:>14} missing, {} older", n(batch.missing_keys), n(batch.higher_rows));
    }
}

impl Proof {
    /// What comes of it, as a sentence without its full stop.
    pub(super) fn verdict(&self) -> String {
        let mut text = match self.findings.as_slice() {
            [] => "Nothing is missing, lower, blank or double".to_string(),
            findings => format!("Not proven: {}", findings.join(", ")),
        };
        if self.set_aside > 0 {
            let _ = write!(text, "; but {} of the sources came in nowhere: set aside", counted(self.set_aside, "row"));
        }
        text
    }

    /// The proof as a file of statements, which a colleague can run: the tables, then every check.
    pub fn sql(&self) -> String {
        let mut text =
            format!("-- The migration {} into {}: every statement of its proof.\n", self.migration, self.target);
        let _ = writeln!(
            text,
            "-- The staged winners are kept until {}: gc --remove removes them later.",
            self.staged_until
        );
        text.push_str(&self.set_up);
        for check in &self.checks {
            let _ = writeln!(text, "\n-- {}: {}\n-- found: {}", check.name, check.promise, check.found);
            if !check.counted.is_empty() {
                let _ = writeln!(text, "-- {}", check.counted);
            }
            for sql in &check.sql {
                let _ = writeln!(text, "{sql};");
            }
        }
        text
    }
}

/// The report of a migration.
pub fn migration_text(report: &MigrationReport) -> String {
    let mut text = String::new();
    for (source, rows) in &report.sources {
        let _ = writeln!(text, "{} ({})", place(source), counted(*rows, "row"));
    }
    let own = report.mended.as_ref().and_then(|mended| mended.run.as_ref());
    if let Some(own) = own.filter(|own| own.run_id != report.run.run_id) {
        text.push_str("\nthe table's own rows, into a new one\n");
        text.push_str(&backfill_text(own));
        text.push_str("\nand the sources\n");
    }
    text.push_str(&backfill_text(&report.run));
    if let Some(other) = &report.run.other_key {
        let _ = writeln!(
            text,
            "\n  by the key ({})\n  {:<22}{:>14}\n  {:<22}{:>14}\n  {:<22}{:>14}",
            other.key.join(", "),
            "keys",
            n(other.keys),
            "tells apart",
            n(other.told_apart),
            "puts together",
            n(other.put_together)
        );
    }
    if let Some(routes) = &report.routes {
        routes_text(&mut text, routes);
    }
    for (source, found) in &report.columns {
        columns(&mut text, source, found);
    }
    if let Some(estimate) = &report.run.estimate {
        text.push_str("\n  what the migration itself would take\n");
        usage(&mut text, &estimate.usage);
        without_dedup(&mut text, &estimate.without_dedup);
    }
    if report.is_plan {
        let staged = report.run.batches.iter().map(|batch| batch.staged_bytes).sum();
        let _ = writeln!(text, "\n  {} to be staged", counted(staged, "byte"));
        text.push_str("\nnothing was written to the target: this is a plan\n");
    }
    if let Some(proof) = &report.proof {
        let _ = writeln!(text, "\nproof of the migration {}", proof.migration);
        proof_text(&mut text, proof);
    }
    if let Some(page) = &report.proof_page {
        let _ = writeln!(text, "  as a page             {}", place(page));
    }
    match report.mended.as_ref().map(|mended| &mended.replaced) {
        Some(Some(replaced)) => replaced_text(&mut text, replaced, "was"),
        Some(None) => text.push_str("\nthe table was not replaced\n"),
        None => {}
    }
    for table in report.dropped.iter().flatten() {
        let (source, kept) = (place(&table.source), place(&table.kept));
        let _ = writeln!(text, "\ndropped {source}: it is kept until {} as\n  {kept}", table.until);
    }
    if report.dropped.as_ref().is_some_and(Vec::is_empty) {
        text.push_str("\nno source was dropped\n");
    }
    text
}

fn proof_text(text: &mut String, proof: &Proof) {
    for check in &proof.checks {
        let verdict = if check.found == 0 { "holds".to_string() } else { format!("{} do not", n(check.found)) };
        let _ = writeln!(text, "  {:<22}{verdict:>14}   {}", check.name, check.promise);
        if !check.counted.is_empty() {
            let _ = writeln!(text, "  {:<36}   {}", "", check.counted);
        }
        for (of, rows) in check.by.iter().take(LINES) {
            let _ = writeln!(text, "  {:<22}{:>14}", format!("  {of}"), n(*rows));
        }
        for key in check.examples.iter().take(LINES) {
            let parts: Vec<&str> = key.iter().map(|part| part.as_deref().unwrap_or("NULL")).collect();
            let _ = writeln!(text, "    {}", parts.join(", "));
        }
    }
    let verdict = proof.verdict();
    let _ = writeln!(text, "  {}{}", verdict[..1].to_lowercase(), &verdict[1..]);
}

fn replaced_text(text: &mut String, replaced: &Replaced, is: &str) {
    let (before, after) = (counted(replaced.rows_before, "row"), n(replaced.rows_after));
    let (kept, until) = (place(&replaced.kept), replaced.until);
    let _ =
        writeln!(text, "\na table of {before} {is} replaced by one of {after}; it is kept until {until} as\n  {kept}");
}

/// How many days and keys of a check are told.
const LINES: usize = 10;

/// The report of a roll back.
pub fn roll_back_text(report: &RollBackReport) -> String {
    let undone = &report.undone;
    let does = if report.is_plan { "would take back" } else { "took back" };
    let mut text = format!("{} {does} the migration {}\n\n", place(&report.target), report.migration);
    let mut line = |name: &str, rows: u64, note: &str| {
        let _ = writeln!(text, "{}", format!("  {name:<22}{:>14}   {note}", n(rows)).trim_end());
    };
    match &report.replaced {
        Some(replaced) => replaced_text(&mut text, replaced, if report.is_plan { "would be" } else { "was" }),
        None => {
            line("rows before", undone.rows_before, "");
            line("- taken out", undone.removed, "the migration had inserted them");
            line("= rows after", undone.rows_after, "");
            line("put back", undone.restored, "the migration had raised them");
            line("left", undone.changed_since, "somebody has changed them since");
            line("as before already", undone.as_before, "");
        }
    }
    for feed in &report.unseen_feeds {
        let _ = writeln!(text, "  a gap again: what was brought in of {feed} since the migration began");
    }
    for table in &report.dropped {
        let (source, kept) = (place(&table.source), place(&table.kept));
        let only = "unless it was had back, its rows are only in what was kept of it then";
        let _ = writeln!(text, "  dropped since: {source}; {only}, until {}:\n    {kept}", table.until);
    }
    for run in &report.run_again {
        let _ = writeln!(text, "  run it again: {run} was finished since then, and may have found its rows there");
    }
    if report.is_plan {
        text.push_str("\nnothing was written: give --yes to do it\n");
    }
    text
}
