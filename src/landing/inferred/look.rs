//! The first look at inputs without a contract: which columns there are, and what their values could be.

use super::seen::Seen;
use crate::error::{Doing, Error, Result};
use crate::footer;
use crate::progress::Progress;
use crate::source::{
    self, Fields, Format, Input, Local, Record, Records, Stored, arrays_with, damaged, digest, is_blank, only_array,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::TryStreamExt;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;

/// Columns that are told apart at most: more of them are no columns, but data in the place of names.
const COLUMNS_MAX: usize = 5_000;
/// Rows that are read of an input for a look that is only to be shown.
const FIRST_ROWS: usize = 1_000;
/// How many rows are read between two words of how far the work is.
const TOLD_ROWS: u64 = 8_192;

/// The columns of inputs, by the names that the inputs have for them, in the order in which they were met.
#[derive(Default)]
pub(super) struct Found {
    columns: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
}

impl Found {
    /// The place of a column; `guess` is where it would be if this row had all columns in the order of the first.
    pub(super) fn place(&self, name: &str, guess: usize) -> Option<usize> {
        match self.columns.get(guess) {
            Some((known, _)) if known == name => Some(guess),
            _ => self.places.get(name).copied(),
        }
    }

    pub(super) fn columns(&self) -> &[(String, Seen)] {
        &self.columns
    }

    /// Takes the values of a row in.
    fn add(&mut self, fields: &Fields<'_>, is_csv: bool) -> Result<()> {
        for (guess, (name, cell)) in fields.iter().enumerate() {
            let place = match self.place(name, guess) {
                Some(place) => place,
                None => self.begin(name)?,
            };
            self.columns[place].1.add(cell, is_csv);
        }
        Ok(())
    }

    fn begin(&mut self, name: &str) -> Result<usize> {
        let place = self.columns.len();
        if place == COLUMNS_MAX {
            return Err(Error::usage("find the columns of inputs")
                .because(format!("there are more than {COLUMNS_MAX} different names, such as `{name}`"))
                .hint("names seem to be data here: give a contract with --dataset, which says what the columns are"));
        }
        self.columns.push((name.to_string(), Seen::nothing()));
        self.places.insert(name.to_string(), place);
        Ok(place)
    }

    /// The columns as they are called in tables, with their types; `given` are types that some have elsewhere.
    pub(super) fn schema(&self, given: &Schema) -> SchemaRef {
        let mut taken: HashSet<String> = HashSet::new();
        // Names that may stay come first, so that no other takes them.
        taken.extend(self.columns.iter().map(|(name, _)| name).filter(|name| sayable(name) == **name).cloned());
        let fields = self.columns.iter().map(|(name, seen)| {
            let mut called = sayable(name);
            while called != *name && !taken.insert(called.clone()) {
                called.push('_');
            }
            let given = given.field_with_name(&called).ok().map(Field::data_type);
            Field::new(called, seen.kind(given).arrow(), true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// A name that SQL can hold, for one that it may not.
fn sayable(name: &str) -> String {
    let is_odd = |c: char| matches!(c, '"' | '`' | '\\') || c.is_control();
    if name.is_empty() { "unnamed".into() } else { name.replace(is_odd, "_") }
}

/// What is known after the first look.
pub(super) struct Looked {
    pub(super) found: Found,
    /// Names of the arrays that hold the rows of JSON pages.
    pub(super) envelope: Vec<String>,
    /// The bytes of each input.
    pub(super) stored: Vec<Stored>,
}

/// Reads all inputs once.
pub(super) fn look(inputs: &[(Input, Local)], key: &[String], progress: &dyn Progress) -> Result<Looked> {
    let envelope = envelope(inputs, key)?;
    let mut looked = Looked { found: Found::default(), envelope, stored: Vec::new() };
    for (input, local) in inputs {
        let is_csv = input.format == Format::Csv;
        let found = &mut looked.found;
        if let Some(header) = header(input, local)? {
            header.iter().try_for_each(|name| found.add(&vec![(name.into(), source::Cell::Null)], is_csv))?;
        }
        let each = |record: &Record<'_>| match &record.fields {
            Ok(fields) => found.add(fields, is_csv),
            // It is set aside when it is read again.
            Err(_) => Ok(()),
        };
        let told = |bytes| progress.advance(bytes);
        looked.stored.push(each_row(input, local, &looked.envelope, each, told)?);
    }
    Ok(looked)
}

/// Makes columns of one name what the values of all sides say that they are.
pub(super) fn align(sides: &mut [Looked]) {
    let mut all: HashMap<String, Seen> = HashMap::new();
    for (name, seen) in sides.iter().flat_map(|side| &side.found.columns) {
        all.entry(name.clone()).and_modify(|known| known.merge(seen)).or_insert_with(|| seen.clone());
    }
    for (name, seen) in sides.iter_mut().flat_map(|side| &mut side.found.columns) {
        if let Some(known) = all.get(name) {
            seen.clone_from(known);
        }
    }
}

/// Reads the rows of an input. `told` hears how many stored bytes were read since the last word.
pub(super) fn each_row(
    input: &Input,
    local: &Local,
    envelope: &[String],
    mut each: impl FnMut(&Record<'_>) -> Result<()>,
    told: impl Fn(u64),
) -> Result<Stored> {
    if is_blank(input, local.path())? {
        return digest(&input.url, local.path());
    }
    let mut records = Records::open(input, local.path(), envelope)?;
    let (mut rows, mut bytes) = (0u64, 0);
    while let Some(record) = records.read()? {
        each(&record)?;
        rows += 1;
        if rows.is_multiple_of(TOLD_ROWS) {
            told(records.position() - bytes);
            bytes = records.position();
        }
    }
    let stored = records.finish()?;
    told(stored.bytes.saturating_sub(bytes));
    Ok(stored)
}

/// The names of the columns in a header, which are there without any row.
fn header(input: &Input, local: &Local) -> Result<Option<Vec<String>>> {
    if input.format != Format::Csv || is_blank(input, local.path())? {
        return Ok(None);
    }
    Ok(Records::open(input, local.path(), &[])?.header().map(<[String]>::to_vec))
}

/// The names of the arrays that hold the rows, where JSON documents are pages: an object that has no column of the key
/// itself has an array of objects that do. Pages without rows are known by the others.
fn envelope(inputs: &[(Input, Local)], key: &[String]) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (input, local) in inputs {
        if input.format != Format::Json || is_blank(input, local.path())? {
            continue;
        }
        let mut records = Records::open(input, local.path(), &[])?;
        let first = records.read()?;
        let Some(Ok(fields)) = first.map(|record| record.fields) else { continue };
        if key.is_empty() {
            // Without a key it is a page if it is all that there is, and one of its fields alone is such an array.
            let array = only_array(&fields);
            let is_alone = records.read()?.is_none();
            names.extend(array.filter(|_| is_alone));
            continue;
        }
        if fields.iter().any(|(name, _)| key.iter().any(|column| name == column)) {
            continue;
        }
        names.extend(arrays_with(&fields, key));
        names.sort();
        names.dedup();
    }
    Ok(names)
}

/// The columns of an input, of whatever format, with the types that its first rows suggest: for a person who has to
/// choose among them. `envelope` names the arrays that hold the rows of JSON pages.
///
/// # Errors
/// Where it can't be fetched or read.
pub async fn columns_at_first_sight(input: &Input, envelope: &[String]) -> Result<SchemaRef> {
    let envelope = envelope.to_vec();
    let one = futures::stream::iter([Ok(input.clone())]);
    let fetched: Vec<_> = source::fetch(one).try_collect().await?;
    let sight = tokio::task::spawn_blocking(move || fetched.iter().map(|one| first_sight(one, &envelope)).next());
    sight.await.doing("look at an input")?.unwrap_or_else(|| Err(Error::bug("look at an input")))
}

fn first_sight((input, local): &(Input, Local), envelope: &[String]) -> Result<SchemaRef> {
    if input.format == Format::Parquet {
        let file = File::open(local.path()).doing("open an input").map_err(|error| error.with("file", &input.url))?;
        let footer = footer::read(&file).map_err(|error| damaged(&input.url, error))?;
        return Ok(Arc::clone(footer.schema()));
    }
    let mut found = Found::default();
    if is_blank(input, local.path())? {
        return Ok(found.schema(&Schema::empty()));
    }
    let is_csv = input.format == Format::Csv;
    let mut records = Records::open(input, local.path(), envelope)?;
    for name in records.header().unwrap_or_default() {
        found.add(&vec![(name.into(), source::Cell::Null)], is_csv)?;
    }
    for _ in 0..FIRST_ROWS {
        let Some(record) = records.read()? else { break };
        if let Ok(fields) = &record.fields {
            found.add(fields, is_csv)?;
        }
    }
    Ok(found.schema(&Schema::empty()))
}
