//! Brings rows that lie somewhere else into production once, with a proof that nothing was lost, and the way back.
//!
//! A migration is a run like a backfill. It keeps what the target was before and what each of its merges changes, and
//! at its end the target is compared with both.

mod drop;
mod mend;
mod proof;
mod roll_back;

pub use drop::{Dropping, ReadSource, SourceTable, check_drop, drop_sources, name_of};
pub use mend::{finished_mend, forget_mend, mend, needs_mending, settle_swap};
pub use proof::{prove, prove_mend};
pub use roll_back::roll_back;

use crate::dataset::Dataset;
use crate::error::{Doing, Error, Result};
use crate::landing::{InputReport, columns_of};
use crate::ledger::{Entry, Ledger};
use crate::report::{MigrationReport, Proof, SourceColumns, proof_html};
use crate::run::{Run, Work};
use crate::source::Input;
use crate::warehouse::bigquery::InPlace;
use std::collections::BTreeMap;

/// Files of which a migration brings the rows into its target, or a table whose rows land where they lie.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// The files.
    pub inputs: Vec<Input>,
    /// Where each came from, by what it is called.
    pub places: BTreeMap<String, String>,
    /// Those of the places that are tables.
    pub tables: Vec<SourceTable>,
    /// The table that lands where it lies; there are no files then.
    pub in_place: Option<InPlace<'a>>,
}

impl Sources<'_> {
    fn work(&self) -> Work<'_> {
        self.in_place.as_ref().map_or(Work::Files(&self.inputs), Work::InPlace)
    }

    /// An error about a file, with the place that it came from where that is called otherwise: a table was exported.
    fn named(&self, error: Error) -> Error {
        match error.about("file").and_then(|file| Some((file, self.places.get(file)?))) {
            Some((file, place)) if !file.ends_with(place.as_str()) => error.with("source", place.clone()),
            _ => error,
        }
    }

    /// How many rows each place had.
    fn rows(&self, inputs: &[InputReport]) -> BTreeMap<String, u64> {
        let mut rows: BTreeMap<String, u64> = self.places.values().map(|place| (place.clone(), 0)).collect();
        for input in inputs {
            let place = self.places.get(&input.url).unwrap_or(&input.url);
            *rows.entry(place.clone()).or_default() += input.counts.read;
        }
        rows
    }

    /// How the columns of each place differ from the contract's, as far as its files are on the local disk: others
    /// would be fetched once more.
    async fn columns(&self, dataset: &Dataset, inputs: &[InputReport]) -> Result<BTreeMap<String, SourceColumns>> {
        let mut columns: BTreeMap<String, SourceColumns> = BTreeMap::new();
        if let Some(table) = &self.in_place {
            let (found, name) = (table.columns().clone(), table.source().to_string());
            let lacks = found.lacks.into_iter().map(|name| (name, 0)).collect();
            let left_out = found.left_out.into_iter().map(|name| (name, 0)).collect();
            let own = SourceColumns { files: 0, lacks, left_out, casts: found.casts };
            columns.insert(self.places.get(&name).unwrap_or(&name).clone(), own);
        }
        for input in self.inputs.iter().filter(|input| !input.url.contains("://")) {
            let found = columns_of(dataset, input).await?;
            let own = columns.entry(self.places.get(&input.url).unwrap_or(&input.url).clone()).or_default();
            own.files += 1;
            found.lacks.into_iter().for_each(|name| *own.lacks.entry(name).or_default() += 1);
            own.left_out.extend(found.left_out.into_iter().map(|name| (name, 0)));
            own.casts.extend(found.casts);
        }
        for input in inputs {
            let Some(own) = self.places.get(&input.url).and_then(|place| columns.get_mut(place)) else { continue };
            for (name, rows) in &input.left_out {
                *own.left_out.entry(name.clone()).or_default() += rows;
            }
        }
        Ok(columns)
    }
}

/// Brings rows in and proves it. A report whose run has stops has written nothing to the target.
///
/// # Errors
/// Whatever went wrong. The same command goes on where this one ended.
pub async fn migrate(run: &Run<'_>, sources: Sources<'_>, ledger: &mut Ledger) -> Result<MigrationReport> {
    let history = run.history()?;
    let work = sources.work();
    let name = run.run_id(work);
    let report = Box::pin(run.bring_in(work, ledger)).await.map_err(|error| sources.named(error))?;
    let places = sources.rows(&report.inputs);
    // No rows at all make no table.
    let is_there = history.moment().await?.is_some();
    let (proof, proof_page) = match report.stops.is_empty() && is_there {
        true => {
            let set_aside = report.balance.set_aside();
            let (proof, page) = write_proof(run, &name, (&places, set_aside), ledger).await?;
            (Some(proof), Some(page))
        }
        false => (None, None),
    };
    Ok(MigrationReport { sources: places, run: report, proof, proof_page, ..MigrationReport::default() })
}

/// Says what [`migrate`] would do, and writes nothing to the target. `ledger` and the folders of the run are others
/// than the target's.
///
/// # Errors
/// Whatever went wrong.
pub async fn plan(mut run: Run<'_>, sources: Sources<'_>, ledger: &mut Ledger) -> Result<MigrationReport> {
    run.history()?;
    run.options.only_compares = true;
    let report = Box::pin(run.bring_in(sources.work(), ledger)).await;
    let mut report = report.map_err(|error| sources.named(error))?;
    // They go with the folders.
    report.files.clear();
    report.stops.iter_mut().for_each(|stop| stop.file = None);
    Ok(MigrationReport {
        sources: sources.rows(&report.inputs),
        columns: sources.columns(run.dataset, &report.inputs).await?,
        run: report,
        is_plan: true,
        ..MigrationReport::default()
    })
}

/// Proves what a migration has done, and writes it down: `sources` are the rows of each, and how many were set aside.
/// Gives the page as well.
async fn write_proof(
    run: &Run<'_>,
    name: &str,
    sources: (&BTreeMap<String, u64>, u64),
    ledger: &mut Ledger,
) -> Result<(Proof, String)> {
    let proof = prove(run, name, sources, ledger).await?;
    let page = keep_proof(run, name, &proof, None, ledger).await?;
    Ok((proof, page))
}

/// Writes a proof down, whose winners were staged by the run `staged_by` where that is another one. Gives the URL of
/// the page.
async fn keep_proof(
    run: &Run<'_>,
    name: &str,
    proof: &Proof,
    staged_by: Option<String>,
    ledger: &mut Ledger,
) -> Result<String> {
    let folder = run.files_of(name).migration;
    let json = serde_json::to_vec_pretty(proof).doing("write a proof")?;
    // A migration may be run again: each run has a proof of its own.
    let name_of = |ending: &str| format!("proof-{:08}.{ending}", ledger.records().len());
    folder.put(&name_of("json"), json.into()).await?;
    folder.put(&name_of("sql"), proof.sql().into_bytes().into()).await?;
    folder.put(&name_of("html"), proof_html(proof).into_bytes().into()).await?;
    let file = folder.url_of(&name_of("html"));
    let (run_id, findings) = (name.to_string(), proof.findings.clone());
    let sources = proof.sources.clone();
    let page = file.clone();
    let staged_until = Some(proof.staged_until);
    let entry = Entry::Proven { run_id, sources, findings, file, staged_until, staged_by };
    ledger.append(entry, (run.now_us)()).await?;
    Ok(page)
}

/// The error for a name that no migration of this ledger has.
fn unknown(doing: &str, name: &str, ledger: &Ledger) -> Error {
    let names = ledger.migrations();
    let hint = match names.as_slice() {
        [] => "nothing was brought in by migrate, or all of it was taken back".to_string(),
        names => format!("there are: {}", names.join(", ")),
    };
    Error::usage(doing).with("migration", name).because("the target has none of this name").hint(hint)
}
