//! The two halves of a run after staging: look at every batch without writing, then merge them one by one.

use super::{Choice, Run, RunFiles, settle_jobs};
use crate::dataset::Dataset;
use crate::dedup::Flagged;
use crate::error::{Doing, Error, Kind, Result};
use crate::ledger::{Entry, Ledger, Receipt};
use crate::report::{BatchReport, RunReport, Stop, counted};
use crate::stage::{Manifest, RowFile};
use crate::warehouse::{Comparison, Finding, Journal};
use crate::window::Day;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A batch that was looked at: what the target has, and the days on which it may have it.
#[derive(Clone, Debug)]
pub(super) struct Compared {
    pub(super) manifest: Manifest,
    pub(super) touched: BTreeSet<Day>,
    pub(super) found: Comparison,
}

impl Run<'_> {
    /// Loads and compares every batch. Reasons to stop go into the report; keys to set aside are given back. What was
    /// begun to be loaded is added to `loaded`.
    pub(super) async fn compare_all(
        &self,
        batches: &[Manifest],
        files: &RunFiles,
        loaded: &mut Vec<Manifest>,
        report: &mut RunReport,
    ) -> Result<(Vec<Compared>, Vec<Flagged>)> {
        self.progress.begin("compare batches with the target", Some(batches.len() as u64));
        report.batches.clear();
        self.warehouse.check_batches(batches).await?;
        loaded.extend_from_slice(batches);
        let (mut compared, mut aside) = (Vec::new(), Vec::new());
        for manifest in batches {
            let one = self.compare(manifest).await?;
            report.batches.push(compared_batch(manifest, one.found, to_update(self.dataset, &one.found)));
            aside.extend(self.judge(&one, report.batches.len(), files, report).await?);
            aside.extend(
                Some(self.judge_by_other_key(&one, report.batches.len(), files, report).await?)
                    .filter(|found| found.keys > 0),
            );
            compared.push(one);
            self.progress.advance(1);
        }
        Ok((compared, aside))
    }

    async fn compare(&self, manifest: &Manifest) -> Result<Compared> {
        let loaded = self.warehouse.load(manifest).await?;
        if loaded != manifest.batch.rows {
            return Err(Error::data("balance a load (R3)")
                .with("batch", &manifest.batch_id)
                .because(format!("{} rows were staged, {loaded} were loaded", manifest.batch.rows)));
        }
        let mut touched = manifest.batch.touched.clone();
        loop {
            let found = self.warehouse.compare(manifest, &touched).await?;
            found.check(&manifest.batch_id, loaded)?;
            // A winner's key may stand on a day that neither it nor a loser has.
            let elsewhere = self.warehouse.key_search(manifest, &touched).await?;
            if elsewhere.is_subset(&touched) {
                return Ok(Compared { manifest: manifest.clone(), touched, found });
            }
            touched.extend(elsewhere);
        }
    }

    /// Lets others have the target, where any waits. Says whether they had it.
    async fn give_turn(&self, ledger: &mut Ledger, run_id: &str) -> Result<bool> {
        let (Some(turns), known) = (self.turns, ledger.records().len()) else { return Ok(false) };
        if !turns.give(ledger).await? {
            return Ok(false);
        }
        let since = ledger.records().get(known..).unwrap_or_default();
        if since.iter().any(|record| record.entry.ends(run_id)) {
            return Err(Error::new(Kind::Busy, "go on with a run")
                .with("run", run_id)
                .because(
                    "another command has ended it, taken something back, or replaced the table when it had its turn",
                )
                .hint("look at the status, and run the same command again if its rows are still to come in"));
        }
        settle_jobs(self.warehouse, ledger, (self.now_us)()).await?;
        Ok(true)
    }

    /// Compares a batch once more, since another writer may have changed the target.
    async fn compare_anew(
        &self,
        manifest: &Manifest,
        place: usize,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<Compared> {
        let one = self.compare(manifest).await?;
        let batch = compared_batch(manifest, one.found, to_update(self.dataset, &one.found));
        if let Some(known) = report.batches.get_mut(place) {
            *known = batch;
        }
        let mut aside = self.judge(&one, place + 1, files, report).await?;
        aside.push(self.judge_by_other_key(&one, place + 1, files, report).await?);
        if report.stops.is_empty() && aside.iter().all(|keys| keys.keys == 0) {
            return Ok(one);
        }
        Err(Error::new(Kind::Busy, "go on with a run")
            .with("batch", &manifest.batch_id)
            .because("what another writer has brought in between two batches needs a decision")
            .hint("run the same command again: it looks at all of it anew, and says what is to be decided"))
    }

    /// What the comparison of a batch, of which there are so many before and with it, gives reason to: stops, or keys
    /// that are set aside.
    async fn judge(
        &self,
        one: &Compared,
        number: usize,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<Vec<Flagged>> {
        let found = &one.found;
        let mut aside = Vec::new();
        let stop = |reason: &str, found: String, file: Option<String>, hint: &str| Stop {
            reason: reason.into(),
            found,
            file,
            hint: hint.into(),
        };
        if found.repeated > 0 {
            let file = self.write_finding((one, number), Finding::Repeated, "target_repeats", files, report).await?;
            let text =
                format!("the target holds {} more than once on days of this run", counted(found.repeated, "key"));
            let hint = "mend it with migrate --mend, or restore it to a version without duplicates";
            report.stops.push(stop("target_repeats", text, file, hint));
        }
        if found.unfolded > 0 {
            let file = self.write_finding((one, number), Finding::Unfolded, "target_unfolded", files, report).await?;
            let text = format!(
                "the target holds {} with upper case in a key, which landing folds",
                counted(found.unfolded, "row")
            );
            let hint = "mend it with migrate --mend, or write to a new table";
            report.stops.push(stop("target_unfolded", text, file, hint));
        }
        if found.suspect > 0 && self.options.on_suspect != Choice::Keep {
            if self.options.on_suspect == Choice::Quarantine {
                let rows = self.warehouse.rows_of(&one.manifest, &one.touched, Finding::Suspect).await?;
                aside.push(self.keys_of(rows).await?);
            } else {
                let file =
                    self.write_finding((one, number), Finding::Suspect, "target_suspects", files, report).await?;
                let text = format!(
                    "{} for another event than the target's row of the same key",
                    counted(found.suspect, "winner")
                );
                let hint = "look at the rows; widen the key, or choose --on-suspect keep or quarantine";
                report.stops.push(stop("suspect_keys", text, file, hint));
            }
        }
        if found.redated > 0 && self.options.on_redated == Choice::Stop {
            let file = self.write_finding((one, number), Finding::Redated, "target_redated", files, report).await?;
            let text = format!(
                "{} of another time than the target's row of the same key, though a time can't change",
                counted(found.redated, "winner")
            );
            let hint = "look at the rows; choose --on-redated keep to let the declared order decide";
            report.stops.push(stop("redated_keys", text, file, hint));
        }
        if found.conflict > 0 {
            let file = self.write_finding((one, number), Finding::Conflict, "target_conflicts", files, report).await?;
            if self.options.on_conflict == Choice::Stop {
                let text = format!(
                    "{} equal to the target's row in the declared order and different in content",
                    counted(found.conflict, "winner")
                );
                let hint = "look at the rows; choose --on-conflict keep: the target keeps what it has";
                report.stops.push(stop("conflicts", text, file, hint));
            }
        }
        Ok(aside)
    }

    async fn write_finding(
        &self,
        (one, number): (&Compared, usize),
        finding: Finding,
        name: &str,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<Option<String>> {
        let mut file = RowFile::new(&format!("{name}-{}.ndjson", one.manifest.batch_id))?;
        let mut rows = self.warehouse.rows_of(&one.manifest, &one.touched, finding).await?;
        while let Some(batch) = rows.try_next().await.doing("look up rows of the target")? {
            file.push(&batch)?;
        }
        let url = file.finish(&files.kept).await?;
        if let Some(url) = &url {
            report.files.insert(format!("{name} {number}"), url.clone());
        }
        Ok(url)
    }

    /// The keys of rows that were found, as a list to set aside.
    pub(super) async fn keys_of(&self, rows: SendableRecordBatchStream) -> Result<Flagged> {
        let rows: Vec<RecordBatch> = rows.try_collect().await.doing("look up rows of the target")?;
        let Some(first) = rows.first() else { return Ok(Flagged::default()) };
        let table = MemTable::try_new(first.schema(), vec![rows.clone()]).doing("list keys")?;
        self.engine.register("found", Arc::new(table))?;
        Flagged::of_rows(self.engine, self.dataset, "found").await
    }

    /// Merges every batch that has something to change, verifies it, and writes the receipts.
    pub(super) async fn merge_all(
        &self,
        batches: &[Compared],
        files: &RunFiles,
        ledger: &mut Ledger,
        report: &mut RunReport,
    ) -> Result<()> {
        self.progress.begin("merge batches", Some(batches.len() as u64));
        let mut was_given = false;
        for (place, one) in batches.iter().enumerate() {
            if place > 0 {
                was_given |= self.give_turn(ledger, &report.run_id).await?;
            }
            let one = match was_given {
                true => &self.compare_anew(&one.manifest, place, files, report).await?,
                false => one,
            };
            let id = &one.manifest.batch_id;
            let before = ledger.receipt(id).cloned();
            let changes = one.found.new + to_update(self.dataset, &one.found);
            // Nothing to change, and a commit without its receipt: an earlier try died between the two.
            let remembered = match changes {
                0 => self.warehouse.remembered(&one.manifest).await?,
                _ => None,
            };
            let remembered = remembered
                .filter(|(_, merged)| before.as_ref().is_none_or(|receipt| merged.version > receipt.merged.version));
            if self.options.keeps_changes && changes > 0 {
                self.keep_changes(one, files, ledger, &report.run_id).await?;
            }
            let mut journal = Merging { batch_id: id, ledger, now_us: self.now_us };
            let merged = self.warehouse.merge(&one.manifest, &one.touched, &one.found, &mut journal).await?;
            let new = changes > 0 || before.is_none() || remembered.is_some();
            // A commit without a receipt may be one that was found to be wrong, so it is checked like a new one.
            let (comparison, done) = remembered.unwrap_or((one.found, merged.clone()));
            done.check(id, one.manifest.batch.rows)?;
            self.warehouse.verify(&one.manifest, &one.touched, &done).await?.check(id)?;
            if new {
                let attempt = before.map_or(1, |receipt| receipt.attempt + 1);
                let receipt = Receipt {
                    run_id: report.run_id.clone(),
                    batch_id: id.clone(),
                    target: report.target.clone(),
                    attempt,
                    staged: one.manifest.batch.rows,
                    comparison,
                    merged: done,
                };
                ledger.append(Entry::Merged { receipt: Box::new(receipt) }, (self.now_us)()).await?;
            }
            if let Some(batch) = report.batches.get_mut(place) {
                batch.merged = Some(merged);
            }
            self.progress.advance(1);
        }
        Ok(())
    }
}

/// Writes the jobs of a batch into the ledger.
pub struct Merging<'a> {
    /// The batch.
    pub batch_id: &'a str,
    /// The target's ledger.
    pub ledger: &'a mut Ledger,
    /// The time now, in microseconds since 1970-01-01 UTC.
    pub now_us: &'a (dyn Fn() -> i64 + Sync),
}

impl std::fmt::Debug for Merging<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merging").field("batch_id", &self.batch_id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for Merging<'_> {
    async fn begins(&mut self, job: &str) -> Result<()> {
        let entry = Entry::Merging { batch_id: self.batch_id.to_string(), job: job.to_string() };
        self.ledger.append(entry, (self.now_us)()).await
    }
}

pub(super) fn to_update(dataset: &Dataset, found: &Comparison) -> u64 {
    if dataset.immutable { 0 } else { found.newer }
}

/// What is told of a batch before it is merged.
fn compared_batch(manifest: &Manifest, comparison: Comparison, to_update: u64) -> BatchReport {
    let (batch_id, days, winners) = (manifest.batch_id.clone(), ends(manifest), manifest.batch.rows);
    let staged_bytes = manifest.objects.iter().map(|object| object.size_bytes).sum();
    BatchReport { batch_id, days, winners, comparison, to_update, staged_bytes, merged: None }
}

/// The same of a batch for a target without rows.
pub(super) fn all_new(manifest: &Manifest) -> BatchReport {
    let rows = manifest.batch.rows;
    compared_batch(manifest, Comparison { staged: rows, new: rows, ..Comparison::default() }, 0)
}

/// The first and the last day of a batch.
fn ends(manifest: &Manifest) -> Option<(Day, Day)> {
    let days = &manifest.batch.days;
    Some((*days.keys().next()?, *days.keys().next_back()?))
}
