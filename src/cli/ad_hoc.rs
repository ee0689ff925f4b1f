//! Files without a contract: Parquet as it is, CSV and JSON with columns and types that are found; key and order from
//! the command line.

use super::common::{DatasetArgs, World};
use crate::analysis::{Asked, Rows, Suggested, first_rejects, suggest};
use crate::dataset::{Dataset, KeyPart, OrderColumn, is_text, parse_order};
use crate::engine::{DataFile, Engine};
use crate::error::{Doing, Error, Result};
use crate::landing::{Inferred, LandingCounts, Texts, columns_at_first_sight, land_inferred};
use crate::report::RejectedRow;
use crate::run::landed_files;
use crate::source::{Format, Input, Local, fetch};
use crate::storage::Folder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clap::Args;
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tempfile::TempDir;

/// Inputs that are looked at to say which columns there are: those before may have no rows.
const INPUTS_SIGHTED: usize = 10;
/// Columns that a message names.
const COLUMNS_NAMED: usize = 20;

/// Key and order without a contract.
#[derive(Debug, Args)]
pub(super) struct AdHocArgs {
    /// What makes one row of a key better: columns with DESC or ASC and NULLS FIRST or NULLS LAST.
    #[arg(long, value_name = "COLUMNS", requires = "which_key")]
    order: Option<String>,
    /// Columns that do not count as content, separated by commas. '*': all but those of key and order, so that rows
    /// which tie are all the same; nothing else has to be read to find duplicates then.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "which_key")]
    volatile: Vec<String>,
}

/// Files with a dataset made of their columns.
pub(super) struct AdHoc {
    pub(super) dataset: Dataset,
    pub(super) read: AsTheyAre,
}

/// Inputs as Parquet on the local disk, with the columns that they have.
pub(super) struct AsTheyAre {
    pub(super) files: Vec<DataFile>,
    /// The columns of all of them together.
    pub(super) schema: SchemaRef,
    pub(super) landing: LandingCounts,
    pub(super) rows_by_file: BTreeMap<String, u64>,
    pub(super) rejects_by_reason: BTreeMap<String, u64>,
    pub(super) rejects: Vec<RejectedRow>,
    pub(super) kept: Kept,
}

impl AsTheyAre {
    /// What is known of them, for an analysis.
    pub(super) fn rows(&self) -> Rows {
        Rows {
            landing: self.landing,
            by_file: Some(self.rows_by_file.clone()),
            rejects_by_reason: self.rejects_by_reason.clone(),
            rejects: self.rejects.clone(),
            run_column: None,
        }
    }
}

/// What was fetched or converted stays as long as it may be read.
#[derive(Default)]
pub(super) struct Kept {
    _copies: Vec<Local>,
    _converted: Option<TempDir>,
}

impl Kept {
    /// Keeps the folder of a landing.
    pub(super) fn landing(folder: TempDir) -> Kept {
        Kept { _converted: Some(folder), ..Kept::default() }
    }
}

/// Key and order of rows, and columns that do not count if they are there.
struct Choice {
    key: Vec<KeyPart>,
    order: Vec<OrderColumn>,
    volatile: Vec<String>,
}

impl AdHocArgs {
    /// Whether there is something that only files without a contract can have.
    pub(super) fn is_given(&self) -> bool {
        self.order.is_some() || !self.volatile.is_empty()
    }

    /// Those of the flags, or else those of `dataset`.
    fn choice(&self, named: &DatasetArgs) -> Result<Choice> {
        let order = self.order.as_deref().map(parse_order).transpose()?;
        match named.key_only()? {
            Some(key) => Ok(Choice { key, order: order.unwrap_or_default(), volatile: Vec::new() }),
            None => {
                let contract = named.load()?;
                let order = order.unwrap_or(contract.order);
                Ok(Choice { key: contract.key, order, volatile: contract.volatile })
            }
        }
    }

    /// A dataset made of these columns. Key and order are those of the flags, or else those of `dataset`.
    pub(super) fn dataset(&self, schema: SchemaRef, named: &DatasetArgs) -> Result<Dataset> {
        let Choice { key, order, volatile } = self.choice(named)?;
        // A contract may have columns that the files lack.
        let there = |name: &String| schema.column_with_name(name).is_some();
        let volatile = volatile.into_iter().filter(there).chain(self.volatile.iter().cloned()).collect();
        Dataset::ad_hoc(schema, key, order, volatile)
    }

    /// Fetches the files and makes a dataset of their columns.
    pub(super) async fn read(&self, inputs: Vec<Input>, named: &DatasetArgs, world: &World) -> Result<AdHoc> {
        let Choice { key, order, .. } = self.choice(named)?;
        let read = AsTheyAre::read(inputs, key, order, world).await?;
        Ok(AdHoc { dataset: self.dataset(SchemaRef::clone(&read.schema), named)?, read })
    }

    /// Fetches files of which no key is known, and finds one. Gives what was found, too.
    pub(super) async fn without_key(
        &self,
        inputs: Vec<Input>,
        engine: &Engine,
        world: &World,
    ) -> Result<(AdHoc, Suggested)> {
        let order = self.order.as_deref().map(parse_order).transpose()?.unwrap_or_default();
        let read = AsTheyAre::read(inputs, Vec::new(), order.clone(), world).await?;
        let asked =
            Asked { schema: SchemaRef::clone(&read.schema), volatile: self.volatile.clone(), order: order.clone() };
        let found = suggest(engine, asked, &read.files, world.progress.as_ref()).await?;
        let schema = SchemaRef::clone(&read.schema);
        let dataset = Dataset::ad_hoc(schema, found.key.clone(), order, found.volatile.clone())?;
        Ok((AdHoc { dataset, read }, found))
    }

    /// Converts the files of sides that are compared, as far as they are no Parquet, with types that one column has on
    /// all of them where it can. `others` are columns of sides that are no files.
    pub(super) async fn as_they_are(
        &self,
        sides: Vec<Opened>,
        others: &[Arc<Field>],
        named: &DatasetArgs,
        world: &World,
    ) -> Result<Vec<AsTheyAre>> {
        let Choice { key, order, .. } = self.choice(named)?;
        AsTheyAre::convert(sides, others, &key, &order, world).await
    }
}

/// Files of one side of which those of Parquet are at hand, and no other was read yet.
pub(super) struct Opened {
    files: Vec<DataFile>,
    copies: Vec<Local>,
    footers: Footers,
    texts: Vec<Input>,
}

impl Opened {
    /// Fetches files of Parquet and reads their footers.
    pub(super) async fn open(inputs: Vec<Input>) -> Result<Opened> {
        let (parquet, texts): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| input.format == Format::Parquet);
        let (mut files, mut copies) = (Vec::new(), Vec::new());
        let mut fetched = std::pin::pin!(fetch(futures::stream::iter(parquet.into_iter().map(Ok))));
        while let Some((input, local)) = fetched.try_next().await? {
            files.push(DataFile::of(&input, &local)?);
            copies.push(local);
        }
        Ok(Opened { footers: footers(&files)?, files, copies, texts })
    }
}

impl AsTheyAre {
    async fn read(inputs: Vec<Input>, key: Vec<KeyPart>, order: Vec<OrderColumn>, world: &World) -> Result<AsTheyAre> {
        let mut read = AsTheyAre::convert(vec![Opened::open(inputs).await?], &[], &key, &order, world).await?;
        read.pop().ok_or_else(|| Error::bug("read files"))
    }

    async fn convert(
        sides: Vec<Opened>,
        others: &[Arc<Field>],
        key: &[KeyPart],
        order: &[OrderColumn],
        world: &World,
    ) -> Result<Vec<AsTheyAre>> {
        let mut known: Vec<Arc<Field>> =
            sides.iter().flat_map(|side| &side.footers.fields).chain(others).cloned().collect();
        let room = |side: &Opened| if side.texts.is_empty() { Ok(None) } else { temporary_folder().map(Some) };
        let rooms: Vec<Option<(TempDir, Folder)>> = sides.iter().map(room).collect::<Result<_>>()?;
        let texts = sides.iter().zip(&rooms).filter_map(|(side, room)| {
            // What a column is in files that are read along comes before what it is on another side.
            let given = Schema::new(side.footers.fields.iter().chain(&known).cloned().collect::<Vec<_>>());
            room.as_ref().map(|(_, into)| Texts { inputs: &side.texts, given, into })
        });
        let texts: Vec<Texts<'_>> = texts.collect();
        let names: Vec<String> = key.iter().flat_map(KeyPart::columns).map(String::from).collect();
        let landed = match texts.is_empty() {
            true => Vec::new(),
            false => land_inferred(&texts, &names, world.progress.as_ref()).await?,
        };
        known.extend(landed.iter().flat_map(|inferred| inferred.schema.fields()).cloned());
        let named = names.iter().map(String::as_str).chain(order.iter().map(|item| item.column.as_str()));
        let named: BTreeSet<&str> = named.collect();
        let (mut landed, mut read) = (landed.into_iter(), Vec::new());
        for (side, room) in sides.into_iter().zip(rooms) {
            let found = room.and_then(|room| landed.next().map(|inferred| (inferred, room)));
            let mut own = AsTheyAre::of(side, found).await?;
            if own.schema.fields().is_empty() && own.files.is_empty() && own.landing.landed == 0 {
                // Nothing says what the columns are, and no row can contradict.
                let kind = |name: &str| known.iter().find(|field| field.name() == name).map(|field| field.data_type());
                let field = |name: &&str| Field::new(*name, kind(name).cloned().unwrap_or(DataType::Utf8), true);
                own.schema = Arc::new(Schema::new(named.iter().map(field).collect::<Vec<_>>()));
            }
            read.push(own);
        }
        Ok(read)
    }

    /// The files of a side, with what came of those that had to land.
    async fn of(side: Opened, found: Option<(Inferred, (TempDir, Folder))>) -> Result<AsTheyAre> {
        let Opened { mut files, copies, footers: Footers { mut fields, mut rows_by_file }, texts } = side;
        let rows = rows_by_file.values().sum();
        let mut landing = LandingCounts { read: rows, landed: rows, ..LandingCounts::default() };
        let (mut rejects_by_reason, mut rejects) = (BTreeMap::new(), Vec::new());
        let mut converted = None;
        if let (Some((Inferred { schema, landed }, (folder, into))), Some(first)) = (found, texts.first()) {
            merge_fields(&mut fields, &schema, &first.url)?;
            rows_by_file.extend(landed.inputs.iter().map(|input| (input.url.clone(), input.counts.landed)));
            files.extend(landed_files(&landed));
            landing += landed.counts;
            rejects = first_rejects(&landed, &into).await?;
            rejects_by_reason = landed.rejects_by_reason;
            converted = Some(folder);
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let kept = Kept { _copies: copies, _converted: converted };
        Ok(AsTheyAre { files, schema, landing, rows_by_file, rejects_by_reason, rejects, kept })
    }
}

/// A folder for a landing that goes when it is dropped.
pub(super) fn temporary_folder() -> Result<(TempDir, Folder)> {
    let folder = tempfile::tempdir().doing("make room for a landing").map_err(Error::in_temporary_folder)?;
    let into = Folder::open(&folder.path().to_string_lossy(), &[])?;
    Ok((folder, into))
}

/// Makes sure that inputs can be of a dataset that nobody has named, before all of them are read; `has_failed`: reading
/// them has failed already.
///
/// # Errors
/// Usage, with the columns that there are, where those of the key are missing.
pub(super) async fn must_be_like(dataset: &Dataset, inputs: &[Input], has_failed: bool) -> Result<()> {
    for input in inputs.iter().take(INPUTS_SIGHTED) {
        // What lies elsewhere is fetched once, unless there is an error to be explained.
        if !has_failed && !input.is_local() {
            continue;
        }
        let schema = columns_at_first_sight(input, &dataset.envelope).await?;
        let names = |column: &str| dataset.column(column).into_iter().flat_map(|column| column.input_names());
        let has = |column: &str| names(column).any(|name| schema.column_with_name(name).is_some());
        let missing: Vec<&str> =
            dataset.key.iter().map(|part| part.column.as_str()).filter(|name| !has(name)).collect();
        // A later row of JSON may have what the first ones lack.
        let is_sure = matches!(input.format, Format::Parquet | Format::Csv) || has_failed;
        let is_unlike = if is_sure { !missing.is_empty() } else { missing.len() == dataset.key.len() };
        if schema.fields().is_empty() || !is_unlike {
            continue;
        }
        let example = schema.field(0).name();
        return Err(Error::usage(format!(
            "read a file as `{}`, the dataset that is taken where none is named",
            dataset.name
        ))
        .with("file", &input.url)
        .because(format!("it has no {}. It has {}", missing.join(", "), listed(&schema)))
        .hint(format!(
            "say which of its columns name a row, as in --key {example} or --key \"a, COALESCE(b, c, '')\", and with \
                 --order what makes one row of a key better; or give a contract with --dataset"
        )));
    }
    Ok(())
}

/// Columns with their types, for a person.
fn listed(schema: &Schema) -> String {
    let column = |field: &Arc<Field>| format!("{} ({})", field.name(), type_name(field.data_type()));
    let mut names: Vec<String> = schema.fields().iter().take(COLUMNS_NAMED).map(column).collect();
    if schema.fields().len() > COLUMNS_NAMED {
        names.push(format!("and {} more", schema.fields().len() - COLUMNS_NAMED));
    }
    names.join(", ")
}

/// A type by the name that contracts have for it; Arrow's where they have none.
fn type_name(kind: &DataType) -> String {
    match kind {
        text if is_text(text) => "string".into(),
        DataType::Boolean => "bool".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) | DataType::Map(..) => "nested".into(),
        other => other.to_string().to_lowercase(),
    }
}

/// What the footers of Parquet files say.
pub(super) struct Footers {
    /// The columns of all files together.
    pub(super) fields: Vec<Arc<Field>>,
    pub(super) rows_by_file: BTreeMap<String, u64>,
}

/// Reads the footers of files on the local disk.
pub(super) fn footers(files: &[DataFile]) -> Result<Footers> {
    let mut found = Footers { fields: Vec::new(), rows_by_file: BTreeMap::new() };
    for file in files {
        let metadata = file.footer()?;
        merge_fields(&mut found.fields, metadata.schema(), &file.label)?;
        let rows = metadata.metadata().file_metadata().num_rows().max(0) as u64;
        *found.rows_by_file.entry(file.label.clone()).or_default() += rows;
    }
    Ok(found)
}

/// Adds columns to those of other files. A dictionary of texts is text: how often a text is stored says nothing of it.
fn merge_fields(fields: &mut Vec<Arc<Field>>, schema: &Schema, url: &str) -> Result<()> {
    for field in schema.fields() {
        let kind = match field.data_type() {
            DataType::Dictionary(_, values) if is_text(values) => values.as_ref(),
            kind => kind,
        };
        match fields.iter().find(|known| known.name() == field.name()) {
            None => fields
                .push(Arc::new(Field::new(field.name(), kind.clone(), true).with_metadata(field.metadata().clone()))),
            Some(known) if known.data_type() == kind => {}
            Some(known) => {
                return Err(Error::usage("read files together")
                    .with("file", url)
                    .with("column", field.name())
                    .because(format!("it is {} here and {} in another file", field.data_type(), known.data_type()))
                    .hint("read them apart, or write them with one type"));
            }
        }
    }
    Ok(())
}
