//! Takes back what a migration has changed, and nothing else.

use super::drop::dropped_after;
use super::mend::{roll_back_mend, settle_swap};
use super::unknown;
use crate::error::{Error, Result};
use crate::ledger::{Cover, Entry, Ledger, Migration};
use crate::report::RollBackReport;
use crate::run::{Merging, Run, settle_jobs};
use crate::warehouse::{Kept, Moment, Undoing, Undone};
use std::collections::BTreeSet;

/// Takes a migration back, the last merge first; with `is_plan` it only says what that would do. Rows that somebody has
/// changed since stay as they are.
///
/// # Errors
/// Usage, when there is no such migration; data, when a file of what it has changed is gone; busy, when another writer
/// was faster. What was taken back until then stays so, and the same command goes on.
pub async fn roll_back(run: &Run<'_>, name: &str, ledger: &mut Ledger, is_plan: bool) -> Result<RollBackReport> {
    settle_swap(run.warehouse, ledger, run.progress, (run.now_us)()).await?;
    if ledger.mended(name).is_some() {
        return Box::pin(roll_back_mend(run, name, ledger, is_plan)).await;
    }
    let history = run.history()?;
    run.warehouse.check_target().await?;
    if !is_plan {
        settle_jobs(run.warehouse, ledger, (run.now_us)()).await?;
    }
    let known = known(run, name, ledger)?;
    let now = |moment: Option<Moment>| moment.map_or((0, None), |moment| (moment.rows, Some(moment.version)));
    let (rows, _) = now(history.moment().await?);
    let rows_before = known.rolling_back.unwrap_or(rows);
    if !is_plan && known.rolling_back.is_none() {
        ledger.append(Entry::RollingBack { run_id: name.to_string(), rows }, (run.now_us)()).await?;
    }
    let folder = run.files_of(name).migration;
    let mut undone = Undone { rows_before, ..Undone::default() };
    run.progress.begin("undo merges", Some(known.changes.len() as u64));
    let kept = |name: &String| Kept { folder: folder.clone(), name: name.clone() };
    // Before the first of them is undone.
    for (_, name, _) in &known.changes {
        if !history.has_changes(&kept(name)).await? {
            return Err(kept(name).is_gone());
        }
    }
    for (batch_id, name, _) in known.changes.iter().rev() {
        let mut journal = Merging { batch_id, ledger, now_us: run.now_us };
        let how = if is_plan { Undoing::Dry } else { Undoing::Real(&mut journal) };
        undone += history.undo(batch_id, &kept(name), how).await?;
        run.progress.advance(1);
    }
    (undone.rows_after, undone.version) = match is_plan {
        true => (rows.saturating_sub(undone.removed), None),
        false => now(history.moment().await?),
    };
    let (report, covers) = report(run, name, known.number, undone.clone(), is_plan, ledger);
    if !is_plan {
        if !covers.is_empty() {
            ledger.append(Entry::Unseen { covers, rows: None }, (run.now_us)()).await?;
        }
        ledger.append(Entry::RolledBack { run_id: name.to_string(), undone }, (run.now_us)()).await?;
        // Each was waited for.
        let jobs: Vec<String> = ledger.unsettled().into_iter().map(str::to_string).collect();
        if !jobs.is_empty() {
            ledger.append(Entry::Settled { jobs }, (run.now_us)()).await?;
        }
    }
    Ok(report)
}

/// What there is to tell of taking back what was done since an entry, and what of feeds is not seen any more then.
pub(super) fn report(
    run: &Run<'_>,
    name: &str,
    since: u64,
    undone: Undone,
    is_plan: bool,
    ledger: &Ledger,
) -> (RollBackReport, Vec<Cover>) {
    let finished = ledger.finished_after(since, name);
    let parts: Vec<&str> = finished.values().flatten().copied().collect();
    let covers = ledger.covers_of(&parts);
    let of_files = finished.iter().filter(|(_, parts)| parts.is_empty());
    let report = RollBackReport {
        migration: name.to_string(),
        target: run.warehouse.target(),
        is_plan,
        undone,
        unseen_feeds: covers.iter().map(|cover| cover.feed.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        run_again: of_files.map(|(run_id, _)| run_id.to_string()).collect(),
        dropped: dropped_after(since, ledger),
        replaced: None,
    };
    (report, covers)
}

/// The migration of this name, if it can be taken back.
fn known(run: &Run<'_>, name: &str, ledger: &Ledger) -> Result<Migration> {
    let known = ledger.migration(name).ok_or_else(|| unknown(DOING, name, ledger))?;
    if known.contract != run.dataset.digest() {
        return Err(Error::usage(DOING)
            .with("migration", name)
            .because("it was made with another contract or key, by which other rows are of one key")
            .hint("give the same --dataset and --key as then"));
    }
    let last = known.changes.last().map_or(known.number, |(_, _, number)| *number);
    match ledger.changed_after(last, name) {
        None => Ok(known),
        Some(later) => Err(Error::usage(DOING)
            .with("migration", name)
            .because(format!("the migration {later} came after it, and may have raised its rows"))
            .hint(format!("take that one back first: --roll-back {later}"))),
    }
}

const DOING: &str = "take a migration back";
