//! Takes back what a migration has changed, and nothing else.

use super::unknown;
use crate::engine::DataFile;
use crate::error::{Error, Result};
use crate::ledger::{Entry, Ledger};
use crate::report::RollBackReport;
use crate::run::Run;
use crate::warehouse::Undone;
use std::collections::BTreeSet;

/// Takes a migration back, the last merge first; with `is_plan` it only says what that would do. Rows that somebody has
/// changed since stay as they are.
///
/// # Errors
/// Usage, when there is no such migration; data, when a file of what it has changed is gone; busy, when another writer
/// was faster. What was taken back until then stays so, and the same command goes on.
pub async fn roll_back(run: &Run<'_>, name: &str, ledger: &mut Ledger, is_plan: bool) -> Result<RollBackReport> {
    let doing = "take a migration back";
    let history = run.history()?;
    let known = ledger.migration(name).ok_or_else(|| unknown(doing, name, ledger))?;
    let kept = run.files_of(name).migration;
    let mut undone: Option<Undone> = None;
    run.progress.begin("undo merges", Some(known.changes.len() as u64));
    for url in known.changes.iter().rev() {
        let object = url.rsplit('/').next().unwrap_or_default();
        let Some(meta) = kept.head(object).await? else {
            return Err(Error::data(doing)
                .with("file", url)
                .because("what a merge has changed was kept in it, and it is gone")
                .hint("restore the file, or the table to the version before the migration"));
        };
        let file = DataFile { url: kept.url_of(object), label: object.to_string(), size_bytes: meta.size };
        let one = history.undo(&file, is_plan).await?;
        match &mut undone {
            Some(all) => *all += one,
            None => undone = Some(one),
        }
        run.progress.advance(1);
    }
    let mut undone = match undone {
        Some(undone) => undone,
        None => {
            let rows = history.moment().await?.map_or(0, |moment| moment.rows);
            Undone { rows_before: rows, rows_after: rows, ..Undone::default() }
        }
    };
    if is_plan {
        undone.rows_after = undone.rows_before.saturating_sub(undone.removed);
    }
    let finished = ledger.finished_after(known.number, name);
    let parts: Vec<&str> = finished.values().flatten().copied().collect();
    let covers = ledger.covers_of(&parts);
    let files: Vec<String> =
        finished.iter().filter(|(_, parts)| parts.is_empty()).map(|(run_id, _)| run_id.to_string()).collect();
    let feeds: BTreeSet<String> = covers.iter().map(|cover| cover.feed.clone()).collect();
    let report = RollBackReport {
        migration: name.to_string(),
        target: run.warehouse.target(),
        is_plan,
        undone: undone.clone(),
        unseen_feeds: feeds.into_iter().collect(),
        run_again: files,
    };
    if !is_plan {
        if !covers.is_empty() {
            let rows = undone.rows_after;
            ledger.append(Entry::Unseen { covers, rows }, (run.now_us)()).await?;
        }
        ledger.append(Entry::RolledBack { run_id: name.to_string(), undone }, (run.now_us)()).await?;
    }
    Ok(report)
}
