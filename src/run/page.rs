//! What a person gets to see of the rows that a run brings in.

use super::{Run, gone_parts, landed_files};
use crate::analysis::{Rows, analyse, analyse_decided, first_rejects};
use crate::dedup::{Decision, Dedup};
use crate::error::Result;
use crate::landing::Landed;
use crate::ledger::{Entry, Ledger};
use crate::report::{Analysis, RunReport};
use crate::source::piece_of;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Takes an analysis and says where it is to be found.
pub type PageWriter<'a> = &'a (dyn Fn(&Analysis) -> Result<String> + Sync);

impl Run<'_> {
    /// Whether somebody waits for an analysis. A run makes one, of what landed before anything was set aside.
    pub(super) fn wants_page(&self, report: &RunReport) -> bool {
        self.page.is_some() && report.page.is_none()
    }

    /// Hands on an analysis of what was decided, where one is wanted.
    pub(super) async fn show(
        &self,
        dedup: &Dedup<'_>,
        decision: &Decision<'_>,
        landed: &Landed,
        report: &mut RunReport,
    ) -> Result<()> {
        if let Some(page) = self.page.filter(|_| self.wants_page(report)) {
            let rows = self.rows_of(landed).await?;
            report.page = Some(page(&analyse_decided(dedup, decision, rows, self.progress).await?)?);
        }
        Ok(())
    }

    /// The same for rows that this try does not decide about.
    pub(super) async fn show_landed(&self, landed: &Landed, report: &mut RunReport) -> Result<()> {
        if let Some(page) = self.page.filter(|_| self.wants_page(report)) {
            let rows = self.rows_of(landed).await?;
            report.page = Some(page(&self.analyse(landed, rows).await?)?);
        }
        Ok(())
    }

    /// Hands on an analysis of the rows of all parts that runs have brought in since the ledger had so many entries,
    /// together with those that wait for a run, and says where it is to be found. `None`: there are no such rows. Once
    /// `page` has it, landed rows that [`super::RunOptions::keep_parts`] has kept are removed.
    ///
    /// # Errors
    /// Those of `page`; when landed rows are gone or can't be read, the disk is full, or rows do not balance.
    pub async fn show_parts(&self, ledger: &Ledger, since: usize, page: PageWriter<'_>) -> Result<Option<String>> {
        let mut done = Vec::new();
        for record in ledger.records().iter().skip(since) {
            if let Entry::Finished { parts, .. } = &record.entry {
                done.extend(parts.iter().cloned());
            }
        }
        let gone = gone_parts(&self.home, &self.work, ledger, &self.dataset.digest()).await?;
        let waiting = ledger.pending().into_iter().map(|(part, _)| part.to_string());
        let parts: Vec<String> = done.iter().cloned().chain(waiting.filter(|part| !gone.contains(part))).collect();
        let shown = self.analyse_all(&parts, ledger).await?.as_ref().map(page).transpose()?;
        for part in &done {
            self.files_of(part).clear_work(false).await?;
        }
        Ok(shown)
    }

    async fn analyse_all(&self, parts: &[String], ledger: &Ledger) -> Result<Option<Analysis>> {
        let landed = self.join(parts, ledger).await?;
        if landed.counts.read == 0 {
            return Ok(None);
        }
        // A part has pages of many windows: the rows themselves say which.
        let rows = Rows { by_file: None, ..self.rows_of(&landed).await? };
        let mut analysis = self.analyse(&landed, rows).await?;
        analysis.rows_by_file = by_piece(analysis.rows_by_file);
        analysis.census.by_file = by_piece(analysis.census.by_file);
        Ok(Some(analysis))
    }

    async fn rows_of(&self, landed: &Landed) -> Result<Rows> {
        Ok(Rows::of(landed, first_rejects(landed, &self.home).await?))
    }

    async fn analyse(&self, landed: &Landed, rows: Rows) -> Result<Analysis> {
        analyse(self.engine, self.dataset, &landed_files(landed), rows, self.progress).await
    }
}

/// What is counted of pages, counted of the pieces that they belong to: pages are too many to be told one by one.
fn by_piece<T: AddAssign + Default>(by_page: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let mut pieces: BTreeMap<String, T> = BTreeMap::new();
    for (page, counted) in by_page {
        *pieces.entry(piece_of(&page).to_string()).or_default() += counted;
    }
    pieces
}
