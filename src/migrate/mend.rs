//! A target that can't be merged into, since it holds duplicates or is not as the contract says: everything goes into a
//! new table, which takes its place once it is proven to hold all that the old one had.

use super::proof::{last_kept, prove_mend};
use super::{Sources, keep_proof};
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Ledger, Swap, beside};
use crate::progress::Progress;
use crate::report::{MendReport, MigrationReport, Proof, Replaced, RollBackReport, RunReport};
use crate::run::{Merging, Run, RunOptions, Work, settle_jobs};
use crate::storage::Folder;
use crate::warehouse::{Moment, Undone, Warehouse};
use std::collections::BTreeSet;

/// Whether the target has to be mended before rows can be merged into it.
///
/// # Errors
/// Usage, where that can't be done to it or it is not there; otherwise what the warehouse says.
pub async fn needs_mending(run: &Run<'_>) -> Result<bool> {
    run.history()?.needs_mending().await
}

/// Brings the rows of the target, which `own` names as a source, and then those of `sources` into a new table, proves
/// it against the target, and puts it into the target's place. The old table stays beside it for a time. A report with
/// stops or findings has changed nothing of the target.
///
/// # Errors
/// Whatever went wrong; busy, where somebody has changed the target meanwhile. The same command goes on where this one
/// ended.
pub async fn mend(
    run: &Run<'_>,
    own: Sources<'_>,
    sources: Sources<'_>,
    ledger: &mut Ledger,
) -> Result<MigrationReport> {
    settle_swap(run.warehouse, ledger, run.progress, (run.now_us)()).await?;
    must_not_be_taken_back(ledger)?;
    let history = run.history()?;
    let before = history.state().await?.ok_or_else(|| {
        Error::usage(DOING).with("target", run.warehouse.target()).because("there is no table").hint("leave out --mend")
    })?;
    must_be_as_read(&own, before, &run.warehouse.target())?;
    let own_options = RunOptions {
        keeps_changes: false,
        of_mend: true,
        keep_staged: false,
        keep_losers: false,
        // Each of them would be gone with the old table, whatever may be left out of the other sources.
        max_rejects: Some(0),
        other_key: None,
        wants: None,
        ..run.options.clone()
    };
    let options = RunOptions { keeps_changes: false, of_mend: true, keep_staged: true, ..run.options.clone() };
    let all = [own.inputs.clone(), sources.inputs.clone()].concat();
    // Of the target as it is as well: another mend by the same command is another one.
    let name = part(run, run.warehouse, &options).run_id(Work::Files(&all));
    let (mut making, table) = begun(run, name.clone(), before).await?;
    let first = part(run, table.as_ref(), &own_options);
    let first = Box::pin(first.bring_in(Work::Files(&own.inputs), &mut making)).await;
    let mut first = first.map_err(|error| own.named(error))?;
    first.target = run.warehouse.target();
    for stop in first.stops.iter_mut().filter(|stop| stop.reason == "rejects") {
        stop.hint = "look at the rows, which would be gone with the old table: mend or delete them in it".into();
    }
    must_lose_no_column(&first, &run.warehouse.target())?;
    let mut rows = own.rows(&first.inputs);
    let is_stopped = !first.stops.is_empty();
    let mut report = MigrationReport {
        sources: rows.clone(),
        run: first.clone(),
        mended: Some(MendReport { run: Some(first), replaced: None }),
        ..MigrationReport::default()
    };
    if is_stopped {
        return Ok(report);
    }
    let mut winners = Vec::new();
    if !sources.inputs.is_empty() {
        let second = part(run, table.as_ref(), &options);
        let brought = Box::pin(second.bring_in(Work::Files(&sources.inputs), &mut making)).await;
        report.run = brought.map_err(|error| sources.named(error))?;
        report.run.target = run.warehouse.target();
        rows.extend(sources.rows(&report.run.inputs));
        report.sources = rows;
        if !report.run.stops.is_empty() {
            return Ok(report);
        }
        winners = making.last_planned(&report.run.run_id).to_vec();
    }
    let after = moment_of(table.as_ref()).await?;
    let (inserted, set_aside) = match sources.inputs.is_empty() {
        true => (0, 0),
        false => (making.inserted_after(0, &report.run.run_id)[0].keys, report.run.balance.set_aside()),
    };
    let told = (&report.sources, set_aside);
    let mut proof = prove_mend(run, &name, told, [before, after], inserted, &winners).await?;
    let until = last_kept(run);
    let kept = history.kept_as(until, &label(&name, ledger));
    if proof.findings.is_empty() {
        name_as_swapped(&mut proof, history.swapped_names(&beside(&run.warehouse.target(), &kept))?);
    }
    let staged_by = Some(report.run.run_id.clone());
    report.proof_page = Some(keep_proof(run, &name, &proof, staged_by, ledger).await?);
    let is_proven = proof.findings.is_empty();
    report.proof = Some(proof);
    if is_proven {
        let swap = Swap { run_id: name, is_back: false, old: before, new: after, kept, until, from: None };
        let replaced = put_in_place(run, swap, &making, ledger).await?;
        report.mended.iter_mut().for_each(|mended| mended.replaced = Some(replaced.clone()));
    }
    Ok(report)
}

/// Names the tables in a proof's statements by where they are once the two are swapped.
fn name_as_swapped(proof: &mut Proof, names: Vec<(String, String)>) {
    for (now, then) in names {
        let of_checks = proof.checks.iter_mut().flat_map(|check| &mut check.sql);
        of_checks.chain([&mut proof.set_up]).for_each(|sql| *sql = sql.replace(&now, &then));
    }
}

/// Opens the table in the making and its ledger, which begin anew unless they are of these files and of the target as
/// it is. What is made has a ledger of its own: nothing of it is true of the target until it is in its place.
async fn begun(run: &Run<'_>, whole: String, before: Moment) -> Result<(Ledger, Box<dyn Warehouse>)> {
    let folder = folder(&run.home).join("ledger");
    let nonce = format!("{}-{}-mend", std::process::id(), (run.now_us)());
    let begun = Entry::Migrating { run_id: whole, before: Some(before), contract: run.dataset.digest() };
    let making = Ledger::open(folder.clone(), nonce.clone()).await?;
    if making.records().first().is_some_and(|record| record.entry == begun) {
        return Ok((making, run.history()?.in_the_making(false).await?));
    }
    folder.remove_all().await?;
    let mut making = Ledger::open(folder, nonce).await?;
    let table = run.history()?.in_the_making(true).await?;
    making.append(begun, (run.now_us)()).await?;
    Ok((making, table))
}

/// Swaps the target for what was made, and clears away what that needed.
async fn put_in_place(run: &Run<'_>, swap: Swap, making: &Ledger, ledger: &mut Ledger) -> Result<Replaced> {
    let wanted: BTreeSet<String> = making.wanted().await?.into_keys().collect();
    if !wanted.is_empty() {
        ledger.append_wanted(&wanted, (run.now_us)()).await?;
    }
    let replaced = replaced(run, swap, ledger).await?;
    forget_mend(run).await?;
    Ok(replaced)
}

/// What a mend has done that died before it could tell: its table is in place, by itself or by [`settle_swap`]. It is
/// told until what it has left is removed by [`forget_mend`].
///
/// # Errors
/// What the ledger says.
pub async fn finished_mend(run: &Run<'_>, ledger: &Ledger) -> Result<Option<Replaced>> {
    let making = Ledger::open(folder(&run.home).join("ledger"), String::new()).await?;
    let Some(Entry::Migrating { run_id, .. }) = making.records().first().map(|record| &record.entry) else {
        return Ok(None);
    };
    let Some((_, swap)) = ledger.mended(run_id) else { return Ok(None) };
    Ok(Some(told(swap, &run.warehouse.target())))
}

/// Clears away what a mend needed.
///
/// # Errors
/// What the store says.
pub async fn forget_mend(run: &Run<'_>) -> Result<()> {
    folder(&run.home).remove_all().await
}

/// How a swap has ended.
enum Ended {
    /// The new table is in its place.
    Done,
    /// Somebody has written to the target before it.
    Changed,
    /// It can't be done, and the target is what it was.
    Failed(Error),
}

/// Finishes a swap that was begun, or gives one up whose target was changed before it, or that can't be done.
///
/// # Errors
/// What the disk or the ledger says; where the target is not in its place, also what keeps the swap from being done.
pub async fn settle_swap(
    warehouse: &dyn Warehouse,
    ledger: &mut Ledger,
    progress: &dyn Progress,
    now_us: i64,
) -> Result<()> {
    let Some(swap) = ledger.pending_swap().cloned() else { return Ok(()) };
    if let Ended::Failed(error) = finish(warehouse, swap, ledger, now_us).await? {
        progress.note(&format!("a mend that could not put its table into place is given up: {}", error.on_one_line()));
    }
    Ok(())
}

async fn finish(warehouse: &dyn Warehouse, swap: Swap, ledger: &mut Ledger, now_us: i64) -> Result<Ended> {
    let target = warehouse.target();
    let Some(history) = warehouse.history() else {
        return Err(Error::bug(DOING).with("target", target).because("it can't be swapped"));
    };
    // A job of an earlier try may be running still, or be begun when its writer wakes up.
    settle_jobs(warehouse, ledger, now_us).await?;
    let (kept, from) = (beside(&target, &swap.kept), swap.from.as_ref().map(|from| beside(&target, from)));
    let mut journal = Merging { batch_id: &swap.kept, ledger, now_us: &|| now_us };
    let trying = async {
        if let Some(from) = &from {
            history.stand_by(from, false).await?;
        }
        history.swap(&kept, swap.until, swap.old.version, &mut journal).await
    };
    let tried = trying.await;
    // Its own is over by then, or it is not known.
    settle_jobs(warehouse, ledger, now_us).await?;
    let ended = match tried {
        Ok(true) => Ended::Done,
        Ok(false) => Ended::Changed,
        // While the target is what it was, nobody has to wait for what can't be done.
        Err(error) => match history.state().await {
            Ok(Some(now)) if now == swap.old => Ended::Failed(error),
            _ => return Err(error),
        },
    };
    let is_done = matches!(ended, Ended::Done);
    if let Some(from) = from.filter(|_| !is_done) {
        history.stand_by(&from, true).await?;
    }
    ledger.append(Entry::Swapped { swap: Box::new(swap), is_done }, now_us).await?;
    Ok(ended)
}

/// Swaps the target for the table in the making.
async fn replaced(run: &Run<'_>, swap: Swap, ledger: &mut Ledger) -> Result<Replaced> {
    let target = run.warehouse.target();
    let told = told(&swap, &target);
    ledger.append(Entry::Swapping { swap: Box::new(swap.clone()) }, (run.now_us)()).await?;
    match finish(run.warehouse, swap, ledger, (run.now_us)()).await? {
        Ended::Done => Ok(told),
        Ended::Changed => Err(Error::new(Kind::Busy, DOING)
            .with("target", target)
            .because("somebody has written to it meanwhile, or removed the new table, which is not put into its place")
            .hint("run the same command again, once nobody writes to it")),
        Ended::Failed(error) => Err(error
            .with("target", target)
            .hint("the target is what it was; see to it that it can be replaced, then run the same command again")),
    }
}

fn told(swap: &Swap, target: &str) -> Replaced {
    let (rows_before, rows_after) = (swap.old.rows, swap.new.rows);
    Replaced { rows_before, rows_after, kept: beside(target, &swap.kept), until: swap.until }
}

/// Puts the table back that a mend has replaced; with `is_plan` it only says what that would do.
///
/// # Errors
/// Data, where the old table is gone; usage, where something came after it that has to be taken back first.
pub(super) async fn roll_back_mend(
    run: &Run<'_>,
    name: &str,
    ledger: &mut Ledger,
    is_plan: bool,
) -> Result<RollBackReport> {
    let doing = "take a mend back";
    let history = run.history()?;
    let unknown = || Error::bug(doing).with("migration", name);
    let (number, done) = ledger.mended(name).map(|(number, swap)| (number, swap.clone())).ok_or_else(unknown)?;
    if let Some(later) = ledger.changed_after(number, name) {
        return Err(Error::usage(doing)
            .with("migration", name)
            .because(format!("the migration {later} came after it"))
            .hint(format!("take that one back first: --roll-back {later}")));
    }
    let target = run.warehouse.target();
    let old = beside(&target, &done.kept);
    if !history.has_kept(&old, done.old.version).await? {
        return Err(Error::data(doing)
            .with("table", old)
            .because("it is what was replaced, and it is gone, or not all of its files are there")
            .hint(format!("it was kept until {}", done.until)));
    }
    let now = moment_of(run.warehouse).await?;
    let until = last_kept(run);
    let swap = Swap {
        run_id: name.to_string(),
        is_back: true,
        old: now,
        new: done.old,
        kept: history.kept_as(until, &label(name, ledger)),
        until,
        from: Some(done.kept),
    };
    let undone = Undone { rows_before: now.rows, rows_after: done.old.rows, ..Undone::default() };
    let (mut report, covers) = super::roll_back::report(run, name, number, undone, is_plan, ledger);
    report.replaced = Some(told(&swap, &target));
    if !is_plan {
        // An unfinished mend of later is in the way.
        history.in_the_making(true).await?;
        if !covers.is_empty() {
            ledger.append(Entry::Unseen { covers, rows: None }, (run.now_us)()).await?;
        }
        replaced(run, swap, ledger).await?;
    }
    Ok(report)
}

/// The same run into another table, which nobody else waits for.
fn part<'a>(run: &Run<'a>, warehouse: &'a dyn Warehouse, options: &RunOptions) -> Run<'a> {
    let (home, work, options) = (run.home.clone(), run.work.clone(), options.clone());
    Run { warehouse, options, page: None, turns: None, home, work, ..*run }
}

const DOING: &str = "mend a table";

/// The folder beside a target of what is made to take its place.
fn folder(home: &Folder) -> Folder {
    home.join("mending")
}

/// What no other swap has: one that was written down must not find that it can't be done.
fn label(name: &str, ledger: &Ledger) -> String {
    format!("{name}-{}", ledger.records().len())
}

/// What a migration that is half taken back has left would be mended as if it were to stay.
fn must_not_be_taken_back(ledger: &Ledger) -> Result<()> {
    let is_open = |name: &&str| ledger.migration(name).is_some_and(|known| known.rolling_back.is_some());
    match ledger.migrations().into_iter().find(is_open) {
        None => Ok(()),
        Some(name) => Err(Error::usage(DOING)
            .with("migration", name)
            .because("it was begun to be taken back, and that is not done")
            .hint(format!("finish that first: --roll-back {name} --yes"))),
    }
}

async fn moment_of(table: &dyn Warehouse) -> Result<Moment> {
    let moment = match table.history() {
        Some(history) => history.state().await?,
        None => None,
    };
    moment.ok_or_else(|| Error::data(DOING).with("table", table.target()).because("it has no rows, so it is not there"))
}

/// What was written while the target was read would be gone.
fn must_be_as_read(own: &Sources<'_>, before: Moment, target: &str) -> Result<()> {
    if own.tables.iter().all(|table| table.version() == Some(before.version)) {
        return Ok(());
    }
    Err(Error::new(Kind::Busy, DOING)
        .with("target", target)
        .because("somebody has written to it while it was read")
        .hint("run the same command again, once nobody writes to it"))
}

/// Columns that the contract has not would be gone with the old table.
fn must_lose_no_column(first: &RunReport, target: &str) -> Result<()> {
    let names: BTreeSet<&str> =
        first.inputs.iter().flat_map(|input| input.left_out.keys()).map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.into_iter().collect::<Vec<_>>().join("`, `");
    Err(Error::usage(DOING)
        .with("target", target)
        .because(format!("it has values in columns that the contract has not, and they would be lost: `{names}`"))
        .hint("give a contract that has them with --dataset"))
}
