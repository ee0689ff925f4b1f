//! From landed rows to staged winners, with every reason to stop that the input itself gives.

use super::{Choice, Run, RunFiles, landed_files};
use crate::balance::{Balance, KeyCount};
use crate::dedup::{Census, Class, Dedup, Flagged, LoserBatch};
use crate::error::{Doing, Error, Result};
use crate::landing::{Landed, land};
use crate::plan::{Batch, batch_id, plan};
use crate::report::{RunReport, Stop, counted};
use crate::source::Input;
use crate::stage::{Manifest, RowFile, StagedFile, upload, write_winners};
use crate::window::Day;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;

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
        let (dedup, census, losers) = self.settle(landed, files, aside, report).await?;
        if !report.stops.is_empty() {
            report.balance.winners = dedup.winners_by_day().await?.values().sum();
            report.balance.check()?;
            return Ok(Reduced::Stopped);
        }
        losers.finish(files, report).await?;
        let batches = self.stage(&dedup, landed, files, report, &census.loser_days).await?;
        Ok(Reduced::Staged(batches))
    }

    /// What a backfill would do, without staging anything: the balance and the batches.
    ///
    /// # Errors
    /// When the inputs can't be landed or a query fails.
    pub async fn plan(&self, inputs: &[Input]) -> Result<(Balance, Vec<Batch>)> {
        let files = RunFiles::new(&self.home, "plan");
        let landed = land(self.dataset, inputs, &files.landing, &self.landing_options(), self.progress).await?;
        let mut report = RunReport::default();
        report.balance.landing = landed.counts;
        let (dedup, census, _) = self.settle(&landed, &files, &[], &mut report).await?;
        let winners = dedup.winners_by_day().await?;
        report.balance.winners = winners.values().sum();
        report.balance.check()?;
        Ok((report.balance, plan(self.dataset, &winners, &census.loser_days, self.options.limits)))
    }

    /// Classes the losers, finds the keys that need a decision, and does what was decided for them.
    async fn settle<'a>(
        &'a self,
        landed: &Landed,
        files: &RunFiles,
        aside: &[Flagged],
        report: &mut RunReport,
    ) -> Result<(Dedup<'a>, Census, LoserFiles)> {
        let mut dedup = Dedup::new(self.engine, self.dataset, &landed_files(landed))?;
        report.balance.quarantined = KeyCount::default();
        // What an earlier round has found is looked for again, without the keys that are set aside now.
        report.balance.redated = KeyCount::default();
        report.balance.redated_by_hours = 0;
        report.files.retain(|what, _| what == "rejects");
        for keys in aside {
            self.set_aside(&mut dedup, keys, files, report).await?;
        }
        self.progress.begin("class duplicates", None);
        let mut losers = LoserFiles::new(self.options.keep_losers)?;
        let mut census = dedup.census(self.progress, &mut |batch| losers.push(batch)).await?;
        let quarantined = report.balance.quarantined.keys;
        if census.suspect_losers > 0 {
            let keys = dedup.suspect_keys().await?;
            report.balance.suspect = KeyCount { keys: keys.keys, rows: keys.rows };
            self.write_rows(&dedup, &keys, "suspects.ndjson", files, report).await?;
            match self.options.on_suspect {
                Choice::Keep => {}
                Choice::Stop => report.stops.push(suspect_stop(&keys, report.files.get("suspects"))),
                Choice::Quarantine => self.set_aside(&mut dedup, &keys, files, report).await?,
            }
        }
        if census.losers.conflict > 0 && self.options.on_conflict != Choice::Keep {
            let keys = dedup.conflicting_keys().await?;
            self.write_rows(&dedup, &keys, "conflicts.ndjson", files, report).await?;
            match self.options.on_conflict {
                Choice::Quarantine => self.set_aside(&mut dedup, &keys, files, report).await?,
                _ if keys.keys > 0 => report.stops.push(conflict_stop(&keys, report.files.get("conflicts"))),
                _ => {}
            }
        }
        if report.balance.quarantined.keys > quarantined {
            // The classes of what is left do not change, but they have to be counted without what went.
            losers = LoserFiles::new(self.options.keep_losers)?;
            census = dedup.census(self.progress, &mut |batch| losers.push(batch)).await?;
        }
        if census.redated_losers > 0 {
            let keys = dedup.redated_keys().await?;
            report.balance.redated = KeyCount { keys: keys.keys, rows: keys.rows };
            report.balance.redated_by_hours = census.redated_by_hours;
            if self.options.on_redated == Choice::Stop && keys.keys > 0 {
                self.write_rows(&dedup, &keys, "redated.ndjson", files, report).await?;
                report.stops.push(redated_stop(&keys, report.files.get("redated")));
            }
        }
        report.balance.losers = census.losers;
        Ok((dedup, census, losers))
    }

    async fn stage(
        &self,
        dedup: &Dedup<'_>,
        landed: &Landed,
        files: &RunFiles,
        report: &mut RunReport,
        loser_days: &BTreeMap<Day, std::collections::BTreeSet<Day>>,
    ) -> Result<Vec<Manifest>> {
        self.progress.begin("keep winners", None);
        let folder = tempfile::tempdir().doing("make room for winners")?;
        let streams = dedup.winners().await?;
        let (winners, days) = write_winners(streams, self.dataset, self.options.limits, folder.path()).await?;
        report.balance.winners = days.values().sum();
        report.balance.check()?;
        let planned = plan(self.dataset, &days, loser_days, self.options.limits);
        self.progress.begin("stage batches", Some(planned.len() as u64));
        let digests: Vec<&str> = landed.files.iter().map(|file| file.digest.as_str()).collect();
        let flags = format!("{} {}", self.options.flags(), report.balance.quarantined.rows);
        let mut manifests = Vec::new();
        for batch in &planned {
            let id = batch_id(self.dataset, &flags, batch, &digests);
            let own: Vec<StagedFile> = winners.iter().filter(|file| file.number == batch.number).cloned().collect();
            let manifest = upload(&files.stage, &id, batch, &own).await?;
            manifest.check_footers(&files.stage).await?;
            manifests.push(manifest);
            self.progress.advance(1);
        }
        Ok(manifests)
    }

    async fn set_aside(
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
        dedup.set_aside(keys).await?;
        report.balance.quarantined.keys += keys.keys;
        report.balance.quarantined.rows += written;
        Ok(())
    }

    /// Writes all rows of keys to a file that a person can open. Gives their number.
    async fn write_rows(
        &self,
        dedup: &Dedup<'_>,
        keys: &Flagged,
        name: &str,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<u64> {
        if keys.keys == 0 {
            return Ok(0);
        }
        let mut file = RowFile::new(name)?;
        let mut rows = dedup.rows_of(keys).await?;
        while let Some(batch) = rows.try_next().await.doing("look up the rows of keys")? {
            file.push(&batch)?;
        }
        let written = file.rows();
        if let Some(url) = file.finish(&files.kept).await? {
            let what = name.split('.').next().unwrap_or(name);
            report.files.insert(what.to_string(), url);
        }
        Ok(written)
    }
}

/// The losers that a run writes out: conflicts always, all of them on request.
struct LoserFiles {
    conflicts: RowFile,
    all: Option<RowFile>,
}

impl LoserFiles {
    fn new(keep_all: bool) -> Result<LoserFiles> {
        let all = if keep_all { Some(RowFile::new("losers.parquet")?) } else { None };
        Ok(LoserFiles { conflicts: RowFile::new("conflict-losers.ndjson")?, all })
    }

    fn push(&mut self, losers: &LoserBatch) -> Result<()> {
        let conflicts: BooleanArray = losers.classes.iter().map(|class| Some(*class == Class::Conflict)).collect();
        if conflicts.true_count() > 0 {
            self.conflicts.push(&filter_record_batch(&losers.rows, &conflicts).doing("pick out conflicts")?)?;
        }
        match &mut self.all {
            Some(all) => all.push(&with_class(losers)?),
            None => Ok(()),
        }
    }

    async fn finish(self, files: &RunFiles, report: &mut RunReport) -> Result<()> {
        if let Some(url) = self.conflicts.finish(&files.kept).await? {
            report.files.insert("conflicts".into(), url);
        }
        if let Some(all) = self.all
            && let Some(url) = all.finish(&files.kept).await?
        {
            report.files.insert("losers".into(), url);
        }
        Ok(())
    }
}

/// Losers with their class in a last column.
fn with_class(losers: &LoserBatch) -> Result<RecordBatch> {
    let names: StringArray = losers.classes.iter().map(|class| Some(class.name())).collect();
    let mut fields = losers.rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("_class", DataType::Utf8, false)));
    let mut columns = losers.rows.columns().to_vec();
    columns.push(Arc::new(names) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::bug("name the classes of losers").because(error))
}

fn suspect_stop(keys: &Flagged, file: Option<&String>) -> Stop {
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

fn conflict_stop(keys: &Flagged, file: Option<&String>) -> Stop {
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

fn redated_stop(keys: &Flagged, file: Option<&String>) -> Stop {
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
