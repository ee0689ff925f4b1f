//! Walks a run from its inputs to the target. The only room that knows every other.
//!
//! A run has two halves. First everything is landed, deduplicated, staged, loaded and compared, and every reason to
//! stop is collected: nothing has been written to the target. Then, batch by batch: merge, verify, receipt. A run that
//! died is taken up from what the ledger knows; what it can't know is looked up in the target.

mod changes;
mod files;
mod halves;
mod in_place;
mod options;
mod page;
mod parts;
mod reduce;

pub use files::RunFiles;
pub use halves::Merging;
pub use options::{Choice, RunOptions};
pub use page::PageWriter;
pub use parts::gone_parts;
pub use reduce::Reduced;

use crate::dataset::Dataset;
use crate::dedup::Flagged;
use crate::engine::{DataFile, Engine};
use crate::error::{Error, Kind, Result};
use crate::landing::{InputReport, Landed, LandedFile, LandingCounts, LandingOptions, land};
use crate::ledger::{Entry, Ledger};
use crate::progress::Progress;
use crate::report::{RunReport, Stop, counted};
use crate::source::Input;
use crate::stage::Manifest;
use crate::storage::Folder;
use crate::warehouse::Warehouse;
use crate::warehouse::bigquery::InPlace;
use crate::writer::Turns;
use halves::all_new;
use std::collections::BTreeMap;

/// What a run brings in.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// Files, which it lands first.
    Files(&'a [Input]),
    /// Parts of feeds, which are landed.
    Parts(&'a [String]),
    /// A table that the target's warehouse lands where it lies.
    InPlace(&'a InPlace<'a>),
}

/// Everything that a run works with. `home` is the folder of the target's ledger and of what runs keep beside it.
pub struct Run<'a> {
    /// The contract.
    pub dataset: &'a Dataset,
    /// DataFusion.
    pub engine: &'a Engine,
    /// The target.
    pub warehouse: &'a dyn Warehouse,
    /// Where the ledger, the stage and the files to look at are.
    pub home: Folder,
    /// Where landed rows are while the run works: on the local disk, and the same folder as `home` where that is, too.
    pub work: Folder,
    /// How the run behaves.
    pub options: RunOptions,
    /// Who wants to see the input analysed, all of it, also where it is a reason to stop.
    pub page: Option<PageWriter<'a>>,
    /// Who lets others at the target between two merges, where the run may be long.
    pub turns: Option<&'a dyn Turns>,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// The time now, in microseconds since 1970-01-01 UTC.
    pub now_us: &'a (dyn Fn() -> i64 + Sync),
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("home", &self.home).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Run<'_> {
    /// Brings rows into the target, or says why not: a report with stops has written nothing to it.
    ///
    /// # Errors
    /// Whatever went wrong. The same command goes on where this one ended.
    pub async fn bring_in(&self, work: Work<'_>, ledger: &mut Ledger) -> Result<RunReport> {
        let run_id = self.run_id(work);
        let files = self.files_of(&run_id);
        let mut loaded = Vec::new();
        settle_jobs(self.warehouse, ledger, (self.now_us)()).await?;
        let mut report = match self.walk(work, &run_id, &files, &mut loaded, ledger).await {
            Ok(report) => report,
            // Whatever was not as it should be, somebody else has been at it.
            Err(error) if !ledger.is_ours().await.unwrap_or(true) => {
                return Err(Error::new(Kind::Busy, "go on with a run")
                    .with("run", run_id)
                    .because(error)
                    .hint("another writer has taken the target over: run the same command again"));
            }
            Err(error) => return Err(error),
        };
        report.usage = self.warehouse.usage();
        let reasons: Vec<String> = report.stops.iter().map(|stop| stop.reason.clone()).collect();
        let is_done = reasons.is_empty();
        let entry = match is_done {
            true => Entry::Finished { run_id, parts: work.parts().to_vec(), usage: report.usage.clone() },
            // Another decision makes another run, so nothing would ever take this one's work up.
            false => Entry::Stopped { run_id, reasons, usage: report.usage.clone() },
        };
        ledger.append(entry, (self.now_us)()).await?;
        // Who slept until here removes nothing: another writer may be at the same work. Who falls asleep after it costs
        // that one a try.
        if !ledger.is_ours().await? {
            return Ok(report);
        }
        // Only now: a run that is taken up finds what it had loaded.
        for batch in &loaded {
            self.warehouse.unload(batch).await?;
        }
        files.clear_work(self.options.keep_staged).await?;
        if is_done && !self.options.keep_parts {
            for part in work.parts() {
                self.files_of(part).clear_work(false).await?;
            }
        }
        Ok(report)
    }

    /// The folders of a run or of a part.
    pub fn files_of(&self, name: &str) -> RunFiles {
        RunFiles::new(&self.home, &self.work, name)
    }

    async fn walk(
        &self,
        work: Work<'_>,
        run_id: &str,
        files: &RunFiles,
        loaded: &mut Vec<Manifest>,
        ledger: &mut Ledger,
    ) -> Result<RunReport> {
        let mut report = RunReport {
            run_id: run_id.to_string(),
            target: self.warehouse.target(),
            dataset: self.dataset.name.clone(),
            window: self.options.window,
            ..RunReport::default()
        };
        let rows = self.warehouse.check_target().await?;
        let landed = match work {
            Work::Files(inputs) => self.land(inputs, files, ledger, run_id).await?,
            Work::Parts(parts) => self.join(parts, ledger).await?,
            Work::InPlace(table) => {
                self.walk_in_place(table, rows, files, ledger, &mut report).await?;
                return Ok(report);
            }
        };
        report.balance.landing = landed.counts;
        report.rejects_by_reason = landed.rejects_by_reason.clone();
        report.inputs = landed.inputs.clone();
        for (place, rejects) in landed.rejects.iter().enumerate() {
            let name = if place == 0 { "rejects".to_string() } else { format!("rejects {}", place + 1) };
            report.files.insert(name, rejects.clone());
        }
        let counts = landed.counts;
        if self.options.too_many_rejects(counts.rejected, counts.read) {
            report.stops.push(self.rejects_stop(counts, landed.rejects.first().cloned()));
        }
        if self.options.leaves_nothing_out {
            report.stops.extend(left_out(&landed.inputs));
        }
        if !report.stops.is_empty() {
            self.show_landed(&landed, &mut report).await?;
            return Ok(report);
        }
        if let Work::Parts(_) = work
            && landed.counts.landed == 0
        {
            // Most often there is nothing new.
            return Ok(report);
        }
        let mut aside: Vec<Flagged> = Vec::new();
        loop {
            let reduced = self.reduce(&landed, files, ledger, run_id, &aside, &mut report).await?;
            let Some(batches) = reduced else { return Ok(report) };
            let found = self.compare_and_merge(&batches, rows, files, loaded, ledger, &mut report).await?;
            if found.is_empty() {
                if report.stops.is_empty() && !self.options.only_compares {
                    self.write_wanted(&landed, ledger).await?;
                }
                return Ok(report);
            }
            // Keys that the target makes suspect are set aside as those of the input are.
            aside.extend(found);
        }
    }

    /// Compares all batches with the target, which had so many rows, and merges them unless there is a reason to stop,
    /// or keys are to be set aside first: they are given back.
    async fn compare_and_merge(
        &self,
        batches: &[Manifest],
        target_rows: u64,
        files: &RunFiles,
        loaded: &mut Vec<Manifest>,
        ledger: &mut Ledger,
        report: &mut RunReport,
    ) -> Result<Vec<Flagged>> {
        if self.options.only_compares && target_rows == 0 {
            // There is nothing to compare with, and may be no table.
            report.batches = batches.iter().map(all_new).collect();
            return Ok(Vec::new());
        }
        let (compared, found) = self.compare_all(batches, files, loaded, report).await?;
        if !report.stops.is_empty() {
            return Ok(Vec::new());
        }
        if found.is_empty() && !self.options.only_compares {
            if self.options.keeps_changes {
                self.begin_migration(&report.run_id, ledger).await?;
            }
            self.merge_all(&compared, files, ledger, report).await?;
        }
        Ok(found)
    }

    fn rejects_stop(&self, counts: LandingCounts, file: Option<String>) -> Stop {
        Stop {
            reason: "rejects".into(),
            found: format!("{} rejected of {} read", counted(counts.rejected, "row"), counts.read),
            file,
            hint: match self.options.leaves_nothing_out {
                true => {
                    "look at the rows, which would be gone with the source: correct or delete them there, or migrate \
                         without --drop-source"
                        .into()
                }
                false => format!(
                    "look at the rows; go on without them with --max-rejects {}, and give a mended copy of the file as \
                     one more input",
                    counts.rejected
                ),
            },
        }
    }

    /// The name of a run: a function of what it brings in and of what decides its outcome.
    pub fn run_id(&self, work: Work<'_>) -> String {
        let mut lines: Vec<String> = match work {
            Work::Files(inputs) => inputs
                .iter()
                .map(|input| format!("{} {} {:?}", input.full_url(), input.size_bytes, input.last_modified_us))
                .collect(),
            Work::Parts(parts) => parts.to_vec(),
            Work::InPlace(table) => vec![table.identity()],
        };
        lines.sort_unstable();
        let text = format!(
            "{}\n{}\n{:?}\n{}\n{}{}",
            self.dataset.digest(),
            self.options.flags(),
            self.options.on_redated,
            self.options.key_chosen,
            lines.join("\n"),
            // A run that keeps nothing of what it changes must not end one that does.
            if self.options.keeps_changes { "\nmigration" } else { "" }
        );
        blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
    }

    /// How rows of this run land.
    pub fn landing_options(&self) -> LandingOptions {
        LandingOptions { threads: self.engine.threads(), ..self.options.landing_options((self.now_us)()) }
    }

    async fn land(&self, inputs: &[Input], files: &RunFiles, ledger: &mut Ledger, run_id: &str) -> Result<Landed> {
        if let Some(landed) = ledger.landed(run_id).await?
            && files.has_landed(&landed, inputs).await?
        {
            self.progress.note("the input is landed already");
            return Ok(landed);
        }
        files.landing.clear().await?;
        let mut landed = land(self.dataset, inputs, &files.landing, &self.landing_options(), self.progress).await?;
        landed.rejects = files.keep_rejects(&landed).await?;
        if !self.options.too_many_rejects(landed.counts.rejected, landed.counts.read) {
            ledger.append_landed(run_id, self.options.window, &landed, (self.now_us)()).await?;
        }
        Ok(landed)
    }

    /// Deduplicates and stages, or finds that an earlier try has done so. `None`: there is a reason to stop.
    async fn reduce(
        &self,
        landed: &Landed,
        files: &RunFiles,
        ledger: &mut Ledger,
        run_id: &str,
        aside: &[Flagged],
        report: &mut RunReport,
    ) -> Result<Option<Vec<Manifest>>> {
        if aside.is_empty()
            && let Some((batches, balance, kept)) = ledger.planned(run_id)
        {
            // Only what that try itself has written: in the folder there may be files of another one, which stopped.
            let kept = files.still_kept(kept).await?;
            let mut staged = !self.options.keep_losers || kept.contains_key("losers") || balance.losers.total() == 0;
            for batch in batches {
                staged &= batch.is_staged(&files.stage).await?;
            }
            if staged {
                self.progress.note("the winners are staged already");
                report.balance = balance.clone();
                report.files.extend(kept);
                self.show_landed(landed, report).await?;
                return Ok(Some(batches.to_vec()));
            }
        }
        let reduced = self.dedup_and_stage(landed, files, aside, report).await?;
        let Reduced::Staged(batches) = reduced else { return Ok(None) };
        let mut kept = report.files.clone();
        // They are the landing's.
        kept.remove("rejects");
        let entry = Entry::Planned {
            run_id: run_id.to_string(),
            batches: batches.clone(),
            balance: Box::new(report.balance.clone()),
            files: kept,
        };
        ledger.append(entry, (self.now_us)()).await?;
        Ok(Some(batches))
    }
}

/// The reason to stop that columns are which the contract lacks, where inputs have values of them.
fn left_out(inputs: &[InputReport]) -> Option<Stop> {
    let mut columns: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, rows) in inputs.iter().flat_map(|input| &input.left_out) {
        *columns.entry(name).or_default() += rows;
    }
    let shown = columns.iter().map(|(name, rows)| format!("`{name}` of {}", counted(*rows, "row")));
    let found = format!("values that would be gone with the source: {}", shown.collect::<Vec<_>>().join(", "));
    (!columns.is_empty()).then(|| Stop {
        reason: "left_out_columns".into(),
        found,
        file: None,
        hint: "give a contract that has these columns with --dataset, or migrate without --drop-source".into(),
    })
}

impl Work<'_> {
    /// The parts that it brings in, where it is parts.
    fn parts(&self) -> &[String] {
        match self {
            Work::Files(_) | Work::InPlace(_) => &[],
            Work::Parts(parts) => parts,
        }
    }
}

/// Sees to it that no job which an earlier writer began, or may begin when it wakes up, writes to the target any more.
///
/// # Errors
/// What the warehouse or the ledger says.
pub async fn settle_jobs(warehouse: &dyn Warehouse, ledger: &mut Ledger, now_us: i64) -> Result<()> {
    let jobs: Vec<String> = ledger.unsettled().into_iter().map(str::to_string).collect();
    if jobs.is_empty() {
        return Ok(());
    }
    for job in &jobs {
        warehouse.settle(job).await?;
    }
    ledger.append(Entry::Settled { jobs }, now_us).await
}

/// Landed files as files to read, each called by the name of the input that it is, where it is one.
pub fn landed_files(landed: &Landed) -> Vec<DataFile> {
    let file =
        |file: &LandedFile| DataFile { url: file.url.clone(), label: file.shown.clone(), size_bytes: file.size_bytes };
    landed.files.iter().map(file).collect()
}
