//! A table that the warehouse lands and deduplicates where it lies: what a run does in the place of landing, deciding
//! and staging.

use super::reduce::{conflict_stop, redated_stop, suspect_stop};
use super::{Choice, Run, RunFiles, left_out};
use crate::error::{Doing, Error, Result};
use crate::landing::InputReport;
use crate::ledger::{Entry, Ledger};
use crate::plan::{Batch, Cuts, Limits, batch_id, plan};
use crate::report::{RunReport, Stop, counted};
use crate::sql::{Losers, Quarantine, Which};
use crate::stage::{Manifest, RowFile};
use crate::warehouse::bigquery::{InPlace, Reduced};
use crate::warehouse::usage::{Arrival, Outline};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;

impl Run<'_> {
    /// As [`Run::walk`] does with files.
    pub(super) async fn walk_in_place(
        &self,
        table: &InPlace<'_>,
        target_rows: u64,
        files: &RunFiles,
        ledger: &mut Ledger,
        report: &mut RunReport,
    ) -> Result<()> {
        if self.options.other_key.is_some() {
            return Err(Error::bug("reduce a table where it lies").because("there is another key"));
        }
        self.progress.begin("land and deduplicate the table where it lies", Some(1));
        let losers = Losers { all: self.options.keep_losers, redated: self.options.on_redated == Choice::Stop };
        let reduced = table.reduce(losers).await?;
        self.progress.advance(1);
        let outcome = self.bring_in_place(table, &reduced, target_rows, files, ledger, report).await;
        if self.options.only_compares {
            // Of a plan nothing stays, whatever came of it.
            reduced.forget().await?;
        }
        outcome
    }

    /// Brings in what a table was reduced to.
    async fn bring_in_place(
        &self,
        table: &InPlace<'_>,
        reduced: &Reduced<'_>,
        target_rows: u64,
        files: &RunFiles,
        ledger: &mut Ledger,
        report: &mut RunReport,
    ) -> Result<()> {
        let without = Quarantine {
            suspects: self.options.on_suspect == Choice::Quarantine,
            conflicts: self.options.on_conflict == Choice::Quarantine,
        };
        self.tell(table, reduced, without, files, report).await?;
        if !report.stops.is_empty() {
            return Ok(());
        }
        let cuts = Limits {
            days_per_batch: self.options.days_per_batch,
            rows_per_batch: u64::MAX,
            touched_per_batch: self.warehouse.days_per_merge(),
        };
        let winners = reduced.winners_by_day(without);
        let cuts = Cuts::new(self.dataset, &winners, &reduced.loser_days, cuts);
        let planned = plan(self.dataset, &winners, &reduced.loser_days, &cuts);
        let identity = table.identity();
        let manifest = |batch: &Batch| Manifest {
            batch_id: batch_id(self.dataset, &format!("{} in place", self.options.flags()), batch, &[&identity]),
            batch: batch.clone(),
            objects: Vec::new(),
            witnesses: None,
            part: Some(reduced.part(without)),
        };
        let batches: Vec<Manifest> = planned.iter().map(manifest).collect();
        if self.options.only_compares {
            let outline = Outline {
                batches: &planned,
                widths: reduced.widths(without).await?,
                landed_rows: reduced.counts.landed,
                arrival: Arrival::InPlace { bytes: table.bytes().await?.reduce.unwrap_or(0) },
            };
            report.estimate = self.warehouse.estimate(&outline).await?;
        }
        if ledger.planned(&report.run_id).is_none_or(|(known, ..)| known != batches) {
            let entry = Entry::Planned {
                run_id: report.run_id.clone(),
                batches: batches.clone(),
                balance: Box::new(report.balance.clone()),
                files: report.files.clone(),
            };
            ledger.append(entry, (self.now_us)()).await?;
        }
        // Nothing was loaded that has to be dropped.
        let mut loaded = Vec::new();
        let found = self.compare_and_merge(&batches, target_rows, files, &mut loaded, ledger, report).await?;
        if !found.is_empty() {
            report.stops.push(Stop {
                reason: "suspect_keys".into(),
                found: "the target has other events under keys of this table, and where a table lies only keys can be \
                        set aside that are suspect by its own rows"
                    .into(),
                file: None,
                hint: "bring it in with --route export, or choose --on-suspect keep".into(),
            });
        }
        match &self.options.wants {
            Some(column) if report.stops.is_empty() && !self.options.only_compares => {
                let values = reduced.values(column, without).await?;
                if values.is_empty() { Ok(()) } else { ledger.append_wanted(&values, (self.now_us)()).await }
            }
            _ => Ok(()),
        }
    }

    /// Puts into the report what became of the rows of a table, with files of those that a person may want to see, and
    /// every reason to stop.
    async fn tell(
        &self,
        table: &InPlace<'_>,
        reduced: &Reduced<'_>,
        without: Quarantine,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<()> {
        let none = Quarantine::default();
        let counts = reduced.counts;
        report.balance = reduced.balance(without);
        report.balance.check()?;
        report.rejects_by_reason.clone_from(&reduced.rejects_by_reason);
        report.inputs = vec![InputReport {
            url: table.source().to_string(),
            format: None,
            size_bytes: table.size_bytes(),
            digest: blake3::hash(table.identity().as_bytes()).to_hex().to_string(),
            counts,
            left_out: reduced.left_out.clone(),
        }];
        if counts.rejected > 0 {
            let rows = reduced.rejected().await?;
            self.write_shown(rows, ("rejects", "rejects.ndjson"), Some(counts.rejected), files, report).await?;
        }
        if self.options.too_many_rejects(counts.rejected, counts.read) {
            let file = report.files.get("rejects").cloned();
            report.stops.push(self.rejects_stop(counts, file));
        }
        if self.options.leaves_nothing_out {
            report.stops.extend(left_out(&report.inputs));
        }
        if !report.stops.is_empty() {
            return Ok(());
        }
        let suspect = report.balance.suspect;
        if suspect.keys > 0 {
            let rows = reduced.rows(Which::Suspects, none).await?;
            self.write_shown(rows, ("suspects", "suspects.ndjson"), Some(suspect.rows), files, report).await?;
            if self.options.on_suspect == Choice::Stop {
                report.stops.push(suspect_stop(suspect, report.files.get("suspects")));
            }
        }
        // Of what is left: a key that is set aside already has no conflict any more.
        let left = Quarantine { conflicts: false, ..without };
        let conflicting = reduced.conflicting(left);
        if conflicting.keys > 0 {
            let (which, name, expected) = match self.options.on_conflict {
                Choice::Keep => (Which::ConflictLosers, "conflict-losers.ndjson", Some(conflicting.rows)),
                _ => (Which::Conflicts, "conflicts.ndjson", None),
            };
            let rows = reduced.rows(which, left).await?;
            self.write_shown(rows, ("conflicts", name), expected, files, report).await?;
            if self.options.on_conflict == Choice::Stop {
                report.stops.push(conflict_stop(conflicting, report.files.get("conflicts")));
            }
        }
        let redated = report.balance.redated;
        if self.options.on_redated == Choice::Stop && redated.keys > 0 {
            let rows = reduced.rows(Which::Redated, without).await?;
            self.write_shown(rows, ("redated", "redated.ndjson"), Some(redated.rows), files, report).await?;
            report.stops.push(redated_stop(redated, report.files.get("redated")));
        }
        if self.options.keep_losers {
            let rows = reduced.rows(Which::Losers, without).await?;
            let losers = report.balance.losers.total();
            self.write_shown(rows, ("losers", "losers.parquet"), Some(losers), files, report).await?;
        }
        Ok(())
    }

    /// Writes rows to a file that a person can open, and checks their number where it is known.
    async fn write_shown(
        &self,
        mut rows: SendableRecordBatchStream,
        (what, name): (&str, &str),
        expected: Option<u64>,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<()> {
        let mut file = RowFile::new(name)?;
        while let Some(batch) = rows.try_next().await.doing("look up rows")? {
            file.push(&batch)?;
        }
        let written = file.rows();
        if let Some(url) = file.finish(&files.kept).await? {
            report.files.insert(what.into(), url);
        }
        match expected {
            Some(expected) if expected != written => Err(Error::data("write rows for a person to look at")
                .with("file", name)
                .because(format!("{} were counted, and {written} were found", counted(expected, "row")))
                .hint("run the same command again")),
            _ => Ok(()),
        }
    }
}
