//! The blocking half of a landing: reads one input after the other, judges each row, and sends batches on.

use super::LandingOptions;
use super::columns::Columns;
use super::landed::{InputReport, LandedFile, LandingCounts, LeftOut};
use super::parquet::ParquetInput;
use super::rejects::Rejects;
use super::rules::{Row, Rules, Verdict};
use super::values::row_json;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::source::{Cell, Format, Input, Local, Reason, Record, Records, Stored, digest};
use crate::storage::Folder;
use arrow::array::RecordBatch;
use std::collections::BTreeMap;
use tokio::sync::mpsc::{Receiver, Sender};

/// What goes to the half that writes.
pub(crate) enum Out {
    /// Rows that land.
    Batch(RecordBatch),
    /// The copy of an input that becomes a file of the landing, with its name there.
    Copy(String, Local),
    /// All rows since the last such word are those of this input, and a file ends here.
    EndFile(String),
    /// Lines for the file of rejects.
    Rejects(Vec<u8>),
    /// Stored bytes that were read since the last word.
    Read(u64),
}

/// What is known once all inputs are read.
#[derive(Default)]
pub(crate) struct Done {
    /// Inputs that landed as they are.
    pub(crate) as_they_are: Vec<LandedFile>,
    pub(crate) inputs: Vec<InputReport>,
    pub(crate) rejects_by_reason: BTreeMap<String, u64>,
}

/// What one input has brought so far.
struct Tally {
    counts: LandingCounts,
    /// For each column whether any row had it, be it NULL.
    seen: Vec<bool>,
    left_out: LeftOut,
}

pub(crate) struct Work {
    rules: Rules,
    envelope: Vec<String>,
    key_chosen: bool,
    threads: usize,
    columns: Columns,
    rejects: Rejects,
    into: Folder,
    out: Sender<Out>,
    done: Done,
}

/// A stored input on its way from the store.
pub(crate) type Fetched = Result<(Input, Local)>;

impl Work {
    pub(crate) fn new(dataset: &Dataset, options: &LandingOptions, into: &Folder, out: Sender<Out>) -> Result<Work> {
        Ok(Work {
            rules: Rules::new(dataset, options)?,
            envelope: dataset.envelope.clone(),
            key_chosen: options.key_chosen,
            threads: options.threads,
            columns: Columns::new(dataset.schema(), true)?,
            rejects: Rejects::default(),
            into: into.clone(),
            out,
            done: Done::default(),
        })
    }

    /// Reads all inputs. It blocks, and must not run on a thread of the runtime.
    pub(crate) fn run(mut self, mut inputs: Receiver<Fetched>) -> Result<Done> {
        while let Some(fetched) = inputs.blocking_recv() {
            let (input, local) = fetched?;
            let mut tally = Tally {
                counts: LandingCounts::default(),
                seen: vec![false; self.rules.columns.len()],
                left_out: LeftOut::new(),
            };
            self.rules.turn_to(input.page);
            let stored = match input.format {
                Format::Parquet => self.parquet(&input, local, &mut tally)?,
                _ => self.text(&input, &local, &mut tally)?,
            };
            let Tally { counts, left_out, .. } = tally;
            let Input { url, format, .. } = input;
            self.done.inputs.push(InputReport {
                url,
                format: Some(format),
                size_bytes: stored.bytes,
                digest: stored.digest,
                counts,
                left_out,
            });
        }
        self.flush_rejects()?;
        if let Some(batch) = self.columns.take()? {
            self.send(Out::Batch(batch))?;
        }
        self.done.rejects_by_reason = self.rejects.by_reason;
        Ok(self.done)
    }

    fn text(&mut self, input: &Input, local: &Local, tally: &mut Tally) -> Result<Stored> {
        let mut records = Records::open(input, local.path(), &self.envelope)?;
        let mut told = 0;
        let mut has_fields = false;
        let fetched = input.page.and_then(|page| Some((self.rules.fetched?, Cell::Time(page.fetched_at_us))));
        while let Some(record) = records.read()? {
            tally.counts.read += 1;
            has_fields |= record.fields.is_ok();
            self.record(&input.url, &record, fetched.as_ref(), tally)?;
            if tally.counts.read.is_multiple_of(8_192) {
                self.send(Out::Read(records.position() - told))?;
                told = records.position();
            }
        }
        if has_fields {
            let counted = self.rules.counted();
            self.require_key(&input.url, |column| tally.seen[column] || counted == Some(column))?;
        }
        let stored = records.finish()?;
        self.send(Out::Read(stored.bytes.saturating_sub(told)))?;
        Ok(stored)
    }

    /// Takes a row. `fetched` is the column that says when it was fetched, and what a row that does not know it gets.
    fn record(
        &mut self,
        url: &str,
        record: &Record<'_>,
        fetched: Option<&(usize, Cell<'_>)>,
        tally: &mut Tally,
    ) -> Result<()> {
        let fields = match &record.fields {
            Ok(fields) => fields,
            Err(reason) => return self.reject(url, record.row, None, reason, &record.raw_json(), tally),
        };
        let inner = self.rules.inner(fields);
        let mut row = self.rules.row();
        for (index, (name, cell)) in fields.iter().enumerate() {
            match self.rules.slot(name) {
                Some(slot) => {
                    tally.seen[slot.0] = true;
                    row.set(slot, cell);
                }
                None if *cell == Cell::Null || inner.iter().any(|found| found.field == index) => {}
                None => match tally.left_out.get_mut(name.as_ref()) {
                    Some(rows) => *rows += 1,
                    None => drop(tally.left_out.insert(name.to_string(), 1)),
                },
            }
        }
        for found in &inner {
            tally.seen[found.slot.0] = true;
            row.set(found.slot, &found.cell);
        }
        if let Some((column, cell)) = fetched {
            tally.seen[*column] = true;
            row.fill(*column, cell);
        }
        self.settle(url, record.row, &row, || record.raw_json(), tally)
    }

    /// Lands a row, sets it aside or passes it over, and counts which.
    fn settle(
        &mut self,
        url: &str,
        number: u64,
        row: &Row<'_>,
        raw: impl FnOnce() -> String,
        tally: &mut Tally,
    ) -> Result<()> {
        match self.rules.judge(row) {
            Verdict::Outside => tally.counts.outside += 1,
            Verdict::Reject(column, reason) => {
                let name = self.rules.columns[column].name.clone();
                self.reject(url, number, Some(&name), &reason, &raw(), tally)?;
            }
            Verdict::Land(values) => {
                self.columns.push(&values, url, number)?;
                tally.counts.landed += 1;
            }
        }
        if self.columns.is_full()
            && let Some(batch) = self.columns.take()?
        {
            self.send(Out::Batch(batch))?;
        }
        Ok(())
    }

    fn reject(
        &mut self,
        url: &str,
        number: u64,
        column: Option<&str>,
        reason: &Reason,
        raw: &str,
        tally: &mut Tally,
    ) -> Result<()> {
        self.rejects.push(url, number, column, reason, raw);
        tally.counts.rejected += 1;
        if self.rejects.is_full() { self.flush_rejects() } else { Ok(()) }
    }

    fn parquet(&mut self, input: &Input, local: Local, tally: &mut Tally) -> Result<Stored> {
        let url = &input.url;
        let stored = digest(url, local.path())?;
        let file = ParquetInput::open(input, local.path(), &self.rules)?;
        if file.rows > 0 {
            self.require_key(url, |column| file.has(column))?;
        }
        if let Some(left_out) = file.clean(&self.rules, self.threads)? {
            tally.left_out = left_out;
            tally.counts.read = file.rows;
            tally.counts.landed = file.rows;
            if tally.counts.landed > 0 {
                self.as_it_is(input, local, &stored, tally.counts.landed)?;
            }
        } else {
            self.rows(url, &file, tally)?;
        }
        self.send(Out::Read(stored.bytes))?;
        Ok(stored)
    }

    /// Lands a file as it is: where it lies on the local disk; fetched from elsewhere, as a file of the landing.
    fn as_it_is(&mut self, input: &Input, local: Local, stored: &Stored, rows: u64) -> Result<()> {
        let mut file = LandedFile {
            url: input.full_url(),
            shown: input.url.clone(),
            size_bytes: stored.bytes,
            digest: stored.digest.clone(),
            rows,
            by_reference: !local.is_copy(),
            last_modified_us: input.last_modified_us,
        };
        if local.is_copy() {
            // Two inputs may have the same bytes, and files are deduplicated in the order of their names.
            let name = format!("input-{:06}-{}.parquet", self.done.inputs.len() + 1, stored.digest);
            file.url = self.into.url_of(&name);
            file.last_modified_us = None;
            self.send(Out::Copy(name, local))?;
        }
        self.done.as_they_are.push(file);
        Ok(())
    }

    fn rows(&mut self, url: &str, file: &ParquetInput<'_>, tally: &mut Tally) -> Result<()> {
        for batch in file.batches()? {
            let batch = batch.map_err(|error| file.cut(tally.counts.read, error))?;
            file.count_left_out(&batch, &mut tally.left_out);
            let values = file.values(&batch, &self.rules)?;
            for index in 0..batch.num_rows() {
                tally.counts.read += 1;
                let cells: Vec<_> = values.iter().map(|(slot, values)| (*slot, values.cell(index))).collect();
                let mut row = self.rules.row();
                for (slot, cell) in &cells {
                    row.set(*slot, cell);
                }
                self.settle(url, tally.counts.read, &row, || row_json(&batch, index), tally)?;
            }
        }
        file.require_all(tally.counts.read)
    }

    /// Refuses an input that has no column at all for a part of the key, stand-in or not: the key would silently
    /// narrow.
    fn require_key(&self, url: &str, has: impl Fn(usize) -> bool) -> Result<()> {
        let missing = self.rules.key.iter().map(|part| part.columns[0]).find(|column| !has(*column));
        match missing {
            Some(column) if !self.key_chosen => Err(Error::usage("find a key column in an input")
                .with("file", url)
                .with("column", &self.rules.columns[column].name)
                .because("no row has it, so the key would silently be a narrower one, stand-in or not")
                .hint("fetch the rows again with this column, or say with --key what names a row here")),
            _ => Ok(()),
        }
    }

    fn flush_rejects(&mut self) -> Result<()> {
        match self.rejects.take() {
            Some(lines) => self.send(Out::Rejects(lines)),
            None => Ok(()),
        }
    }

    fn send(&self, out: Out) -> Result<()> {
        // The other half is gone only because it failed, and its error is the one that is told.
        self.out.blocking_send(out).map_err(|_| Error::bug("hand on landed rows"))
    }
}
