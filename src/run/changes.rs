//! What a migration keeps beside what every run does: the target as it was, and what each merge is about to change.

use super::halves::{Compared, Merging, to_update};
use super::{Choice, Run, RunFiles};
use crate::dataset::Dataset;
use crate::dedup::{Dedup, Flagged, other_key};
use crate::error::{Doing, Error, Result};
use crate::ledger::{Entry, Ledger};
use crate::report::{RunReport, Stop, counted};
use crate::stage::RowFile;
use crate::warehouse::{History, Kept};
use futures::TryStreamExt;

/// What to do where two keys disagree.
const HINT: &str = "look at the rows; choose --on-key-difference keep (the key of the table decides) or \
                    --on-key-difference quarantine (no row of them goes in)";

impl Run<'_> {
    /// The target as what it was.
    ///
    /// # Errors
    /// Usage, where it does not know that.
    pub fn history(&self) -> Result<&dyn History> {
        self.warehouse.history().ok_or_else(|| {
            Error::usage("look at what the target was")
                .with("target", self.warehouse.target())
                .because("it does not know that")
                .hint("bring the rows in with backfill")
        })
    }

    /// Writes down what the target is, unless a run of this name that is not proven has done so.
    pub(super) async fn begin_migration(&self, run_id: &str, ledger: &mut Ledger) -> Result<()> {
        if let Some(known) = ledger.migration(run_id).filter(|known| !known.is_proven) {
            // What was kept may have expired: then only what comes from here on can be proven.
            match known.before {
                Some(before) if !self.history()?.knows(before).await? => {}
                _ => return Ok(()),
            }
        }
        let (before, contract) = (self.history()?.keep().await?, self.dataset.digest());
        ledger.append(Entry::Migrating { run_id: run_id.to_string(), before, contract }, (self.now_us)()).await
    }

    /// Writes the rows that a merge is about to bring in, each beside the one that it replaces.
    pub(super) async fn keep_changes(
        &self,
        one: &Compared,
        files: &RunFiles,
        ledger: &mut Ledger,
        run_id: &str,
    ) -> Result<()> {
        // What an earlier try has written is what it has done, unless its merge never came.
        let id = &one.manifest.batch_id;
        let tried = ledger.unmerged_changes(run_id, id);
        let came = || async {
            let since = ledger.receipt(id).and_then(|receipt| receipt.merged.version);
            Ok::<_, Error>(self.warehouse.remembered(&one.manifest).await?.is_some_and(|(_, own)| own.version > since))
        };
        let again = if tried.is_some() && !came().await? { tried } else { None };
        let name = again.map_or_else(|| format!("changes-{:08}.parquet", ledger.records().len()), str::to_string);
        let is_known = again.is_some();
        let kept = Kept { folder: files.migration.clone(), name };
        let mut journal = Merging { batch_id: id, ledger, now_us: self.now_us };
        let rows = self.history()?.keep_changes(&one.manifest, &one.touched, &kept, &mut journal).await?;
        let expected = one.found.new + to_update(self.dataset, &one.found);
        if rows != expected {
            return Err(Error::data("write down what a merge changes")
                .with("batch", id)
                .because(format!("it was to change {expected} rows, and {rows} are there")));
        }
        if is_known {
            return Ok(());
        }
        let (run_id, batch_id, file) = (run_id.to_string(), id.clone(), kept.name);
        ledger.append(Entry::Changing { run_id, batch_id, file, rows }, (self.now_us)()).await
    }

    /// The contract with the other key.
    fn other(&self) -> Result<Option<Dataset>> {
        self.options.other_key.clone().map(|key| self.dataset.clone().with_key(key)).transpose()
    }

    /// Looks at the input by the other key. Keys on which the two disagree are a reason to stop, or set aside.
    pub(super) async fn judge_other_key(
        &self,
        dedup: &mut Dedup<'_>,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<()> {
        let Some(other) = self.other()? else { return Ok(()) };
        self.progress.begin("compare the two keys", None);
        let (found, keys) = other_key(self.engine, self.dataset, &other).await?;
        let found = report.other_key.insert(found);
        if keys.keys == 0 {
            return Ok(());
        }
        let text = format!(
            "the key ({}) disagrees on the rows of {}: it tells those of {} apart, and puts those of several keys \
             together {}",
            found.key.join(", "),
            counted(keys.keys, "key"),
            counted(found.told_apart, "key"),
            counted(found.put_together, "time")
        );
        self.write_rows(dedup, &keys, "key-differences.ndjson", files, report).await?;
        match self.options.on_other_key {
            Choice::Keep => Ok(()),
            Choice::Quarantine => self.set_aside(dedup, &keys, files, report).await,
            Choice::Stop => {
                let file = report.files.get("key-differences").cloned();
                report.stops.push(Stop { reason: "key_differences".into(), found: text, file, hint: HINT.into() });
                Ok(())
            }
        }
    }

    /// Looks for winners whose event the target has under another key.
    pub(super) async fn judge_by_other_key(
        &self,
        one: &Compared,
        number: usize,
        files: &RunFiles,
        report: &mut RunReport,
    ) -> Result<Flagged> {
        let Some(other) = self.other()? else { return Ok(Flagged::default()) };
        let history = self.history()?;
        let name = format!("target-key-differences-{}.ndjson", one.manifest.batch_id);
        let mut file = RowFile::new(&name)?;
        let mut found = history.under_another_key(&one.manifest, &other, false).await?;
        while let Some(batch) = found.try_next().await.doing("look for rows under another key")? {
            file.push(&batch)?;
        }
        let winners = file.rows();
        let Some(url) = file.finish(&files.kept).await? else { return Ok(Flagged::default()) };
        report.files.insert(format!("target key differences {number}"), url.clone());
        match self.options.on_other_key {
            Choice::Keep => Ok(Flagged::default()),
            Choice::Quarantine => Flagged::of_list(history.under_another_key(&one.manifest, &other, true).await?).await,
            Choice::Stop => {
                let found =
                    format!("the target seems to have the events of {} under another key", counted(winners, "winner"));
                let hint = HINT.into();
                report.stops.push(Stop { reason: "key_differences".into(), found, file: Some(url), hint });
                Ok(Flagged::default())
            }
        }
    }
}
