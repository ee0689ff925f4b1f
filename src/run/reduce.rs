//! From landed rows to staged winners, with every reason to stop that the input itself gives.

use super::{Choice, Run, RunFiles, landed_files};
use crate::balance::Balance;
use crate::dedup::{Class, Decision, Dedup, Flagged, KeyCount, TABLE};
use crate::error::{Doing, Error, Result};
use crate::landing::{Landed, land};
use crate::plan::{Batch, Cuts, Limits, batch_id, plan};
use crate::report::{RunReport, Stop, counted};
use crate::source::Input;
use crate::sql::Dialect;
use crate::stage::{Manifest, RowFile, StagedFile, WriteOptions, upload, write_winners, write_witnesses};
use crate::warehouse::usage::{Arrival, Estimate, Outline, Widths};
use arrow::array::RecordBatch;
use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt;

/// What a row of a batch takes beside its values while it is joined with the target, about.
const MERGED_BYTES: usize = 100;
/// A join holds one of its sides, in several forms, and sorts wait beside it: this part of the memory is the batch's.
const MERGE_SHARE: u64 = 4;

/// What deduplication led to.
#[derive(Debug)]
pub enum Reduced {
    /// All winners are staged.
    Staged(Vec<Manifest>),
    /// The report has the reasons to stop.
    Stopped,
}

impl Run<'_> {
    /// Deduplicates all input together, cuts the winners into batches and stages them.
    ///
    /// # Errors
    /// When a query, the disk or the store fails, or the counts do not balance (R2, R3).
    pub async fn dedup_and_stage(
        &self,
        landed: &Landed,
        files: &RunFiles,
        aside: &[Flagged],
        report: &mut RunReport,
    ) -> Result<Reduced> {
        let decision = self.settle(landed, files, aside, report).await?;
        report.balance.winners = decision.winners_count();
        report.balance.check()?;
        self.write_losers(&decision, files, report).await?;
        if !report.stops.is_empty() {
            return Ok(Reduced::Stopped);
        }
        let staged = self.stage(&decision, landed, files, report).await?;
        if self.options.only_compares {
            let batches: Vec<Batch> = staged.iter().map(|manifest| manifest.batch.clone()).collect();
            report.estimate = self.estimate(&batches, landed).await?;
        }
        Ok(Reduced::Staged(staged))
    }

    /// What a backfill would do, without staging anything: the balance, the batches, and what they take of a warehouse
    /// that counts and bills.
    ///
    /// # Errors
    /// When the inputs can't be landed or can't be decided.
    pub async fn plan(&self, inputs: &[Input]) -> Result<(Balance, Vec<Batch>, Option<Estimate>)> {
        let files = RunFiles::new(&self.home, &self.work, "plan");
        let landed = land(self.dataset, inputs, &files.landing, &self.landing_options(), self.progress).await?;
        let mut report = RunReport::default();
        report.balance.landing = landed.counts;
        let decision = self.settle(&landed, &files, &[], &mut report).await?;
        report.balance.winners = decision.winners_count();
        report.balance.check()?;
        let days = decision.winners_by_day();
        let batches = plan(self.dataset, &days, &decision.loser_days(), &self.cuts(&decision));
        let estimate = self.estimate(&batches, &landed).await?;
        Ok((report.balance, batches, estimate))
    }

    /// What batches take of a warehouse that counts and bills. The landed rows are known to the engine.
    async fn estimate(&self, batches: &[Batch], landed: &Landed) -> Result<Option<Estimate>> {
        if self.warehouse.merges_here() {
            return Ok(None);
        }
        let sums = self.engine.counts(&Widths::sums(self.dataset, Dialect::DataFusion, TABLE)?).await?;
        let outline = Outline {
            batches,
            widths: Widths::of_sums(self.dataset, &sums),
            landed_rows: landed.counts.landed,
            arrival: Arrival::Loaded { bytes: landed.files.iter().map(|file| file.size_bytes).sum() },
        };
        self.warehouse.estimate(&outline).await
    }

    /// Decides every row, finds the keys that need a decision of the user, and does what was decided for them.
    async fn settle<'a>(
        &'a self,
        landed: &Landed,
        files: &RunFiles,
        aside: &[Flagged],
        report: &mut RunReport,
    ) -> Result<Decision<'a>> {
        let mut dedup = Dedup::new(self.engine, self.dataset, &landed_files(landed)).await?;
        if self.wants_page(report) {
            dedup = dedup.analysing();
        }
        // A pass finds everything anew: what an earlier one found is true of rows that may be set aside by now.
        report.balance = Balance { landing: report.balance.landing, ..Balance::default() };
        report.files.retain(|what, _| what == "rejects");
        for keys in aside {
            self.set_aside(&mut dedup, keys, files, report).await?;
        }
        self.judge_other_key(&mut dedup, files, report).await?;
        self.progress.begin("find duplicates", Some(landed.counts.landed));
        let mut decision = dedup.decide(self.progress).await?;
        self.show(&dedup, &decision, landed, report).await?;
        let suspect = decision.suspect_keys();
        report.balance.suspect = suspect.count();
        if suspect.keys > 0 {
            self.write_rows(&dedup, &suspect, "suspects.ndjson", files, report).await?;
            match self.options.on_suspect {
                Choice::Keep => {}
                Choice::Stop => report.stops.push(suspect_stop(suspect.count(), report.files.get("suspects"))),
                Choice::Quarantine => {
                    self.set_aside(&mut dedup, &suspect, files, report).await?;
                    decision = self.decide_again(&dedup, report).await?;
                }
            }
        }
        // Of what is left: a key that is set aside already has no conflict any more.
        let conflicting = decision.conflicting_keys();
        if conflicting.keys > 0 && self.options.on_conflict != Choice::Keep {
            self.write_rows(&dedup, &conflicting, "conflicts.ndjson", files, report).await?;
            match self.options.on_conflict {
                Choice::Quarantine => {
                    self.set_aside(&mut dedup, &conflicting, files, report).await?;
                    decision = self.decide_again(&dedup, report).await?;
                }
                _ => report.stops.push(conflict_stop(conflicting.count(), report.files.get("conflicts"))),
            }
        }
        let redated = decision.redated_keys();
        report.balance.redated = redated.count();
        report.balance.redated_by_hours = decision.redated_by_hours();
        if self.options.on_redated == Choice::Stop && redated.keys > 0 {
            self.write_rows(&dedup, &redated, "redated.ndjson", files, report).await?;
            report.stops.push(redated_stop(redated.count(), report.files.get("redated")));
        }
        report.balance.losers = decision.losers_count();
        Ok(decision)
    }

    /// Decides what is left once keys were set aside.
    async fn decide_again<'a>(&self, dedup: &Dedup<'a>, report: &RunReport) -> Result<Decision<'a>> {
        let landed = report.balance.landing.landed;
        self.progress.begin("find duplicates without what is set aside", Some(landed));
        dedup.decide(self.progress).await
    }

    /// Where batches begin: so that what a merge holds of one fits into the memory that there is, where it is done
    /// here, and that it changes no more days than the target takes at once.
    fn cuts(&self, decision: &Decision<'_>) -> Cuts {
        let row_bytes = (decision.row_bytes() + MERGED_BYTES) as u64;
        let rows_per_batch = match self.warehouse.merges_here() {
            true => self.engine.memory_bytes() as u64 / MERGE_SHARE / row_bytes,
            false => u64::MAX,
        };
        let touched_per_batch = self.warehouse.days_per_merge();
        let limits = Limits { days_per_batch: self.options.days_per_batch, rows_per_batch, touched_per_batch };
        Cuts::new(self.dataset, &decision.winners_by_day(), &decision.loser_days(), limits)
    }

    async fn stage(
        &self,
        decision: &Decision<'_>,
        landed: &Landed,
        files: &RunFiles,
        report: &RunReport,
    ) -> Result<Vec<Manifest>> {
        self.progress.begin("keep winners", Some(report.balance.winners));
        let folder = tempfile::tempdir().doing("make room for winners").map_err(Error::in_temporary_folder)?;
        let cuts = self.cuts(decision);
        let options = WriteOptions::new(cuts.clone());
        let written = write_winners(decision, self.dataset, options, folder.path(), self.progress).await;
        let written = written.map_err(Error::in_temporary_folder)?;
        let witnesses = write_witnesses(decision, self.dataset, folder.path()).await;
        let witnesses = witnesses.map_err(Error::in_temporary_folder)?;
        // Counted by who wrote them: they are the ones that were decided on.
        Balance { winners: written.rows(), ..report.balance.clone() }.check()?;
        let planned = plan(self.dataset, &written.days, &decision.loser_days(), &cuts);
        self.progress.begin("stage batches", Some(planned.len() as u64));
        let digests: Vec<&str> = landed.files.iter().map(|file| file.digest.as_str()).collect();
        let flags = format!("{} {}", self.options.flags(), report.balance.quarantined_digest);
        let mut manifests = Vec::new();
        for batch in &planned {
            let id = batch_id(self.dataset, &flags, batch, &digests);
            let own: Vec<StagedFile> =
                written.files.iter().filter(|file| file.number == batch.number).cloned().collect();
            let manifest = upload(&files.stage, &id, batch, &own, witnesses.as_ref()).await?;
            manifest.check_footers(&files.stage).await?;
            manifests.push(manifest);
            self.progress.advance(1);
        }
        Ok(manifests)
    }

    /// Writes the losers that a person may want to see: conflicts always, all of them on request.
    async fn write_losers(&self, decision: &Decision<'_>, files: &RunFiles, report: &mut RunReport) -> Result<()> {
        let all = [Class::Exact, Class::Superseded, Class::Conflict];
        let kept: [(&str, &str, &[Class]); 2] = [
            ("conflicts", "conflict-losers.ndjson", &[Class::Conflict]),
            ("losers", "losers.parquet", if self.options.keep_losers { &all } else { &[] }),
        ];
        for (what, name, classes) in kept {
            let mut file = RowFile::new(name)?;
            let mut rows = decision.losers(classes);
            while let Some(batch) = rows.try_next().await.doing("look up the rows that did not win")? {
                file.push(&batch)?;
            }
            if let Some(url) = file.finish(&files.kept).await? {
                // All rows of such keys may stand there already.
                report.files.entry(what.into()).or_insert(url);
            }
        }
        Ok(())
    }

    pub(super) async fn set_aside(
        &self,
        dedup: &mut Dedup<'_>,
        keys: &Flagged,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<()> {
        if keys.keys == 0 {
            return Ok(());
        }
        let before = report.files.keys().filter(|what| what.starts_with("quarantined")).count();
        let name = format!("quarantined-{}.ndjson", before + 1);
        let written = self.write_rows(dedup, keys, &name, files, report).await?;
        dedup.set_aside(keys);
        let balance = &mut report.balance;
        balance.quarantined.keys += keys.keys;
        balance.quarantined.rows += written.rows;
        let all = format!("{}{:032x}", balance.quarantined_digest, written.digest);
        balance.quarantined_digest = blake3::hash(all.as_bytes()).to_hex()[..32].to_string();
        Ok(())
    }

    /// Writes all rows of keys to a file that a person can open. Says how many and which they are.
    pub(super) async fn write_rows(
        &self,
        dedup: &Dedup<'_>,
        keys: &Flagged,
        name: &str,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<Shown> {
        let mut written = Shown::default();
        if keys.keys == 0 {
            return Ok(written);
        }
        let mut file = RowFile::new(name)?;
        let mut rows = dedup.rows_of(keys).await?;
        while let Some(batch) = rows.try_next().await.doing("look up the rows of keys")? {
            file.push(&batch)?;
            written.add(&batch)?;
        }
        if let Some(url) = file.finish(&files.kept).await? {
            let what = name.split('.').next().unwrap_or(name);
            report.files.insert(what.to_string(), url);
        }
        Ok(written)
    }
}

/// Rows that were written to a file for a person.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    rows: u64,
    /// The sum of the rows' own digests: a query may give them in any order.
    digest: u128,
}

impl Shown {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let fields = batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(batch.columns()));
        for row in &rows.doing("digest rows")? {
            let mut half = [0; 16];
            half.copy_from_slice(&blake3::hash(row.as_ref()).as_bytes()[..16]);
            self.digest = self.digest.wrapping_add(u128::from_be_bytes(half));
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }
}

pub(super) fn suspect_stop(keys: KeyCount, file: Option<&String>) -> Stop {
    Stop {
        reason: "suspect_keys".into(),
        found: format!(
            "{} with {} for more than one real event: the key is probably too narrow",
            counted(keys.keys, "key"),
            counted(keys.rows, "row")
        ),
        file: file.cloned(),
        hint: "look at the rows; widen the key with --key, or choose --on-suspect keep (one row of each is kept, the \
               others are lost) or --on-suspect quarantine (no row of them goes in)"
            .into(),
    }
}

pub(super) fn conflict_stop(keys: KeyCount, file: Option<&String>) -> Stop {
    Stop {
        reason: "conflicts".into(),
        found: format!(
            "{} with {} equal to the winner in the declared order and different in content",
            counted(keys.keys, "key"),
            counted(keys.rows, "loser")
        ),
        file: file.cloned(),
        hint: "look at the rows; choose --on-conflict keep or --on-conflict quarantine".into(),
    }
}

pub(super) fn redated_stop(keys: KeyCount, file: Option<&String>) -> Stop {
    Stop {
        reason: "redated_keys".into(),
        found: format!(
            "{} with {} of different times, though a time can't change",
            counted(keys.keys, "key"),
            counted(keys.rows, "row")
        ),
        file: file.cloned(),
        hint: "look at the rows; choose --on-redated keep to let the declared order decide".into(),
    }
}
