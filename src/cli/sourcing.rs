//! Where the rows of a migration are: files, Delta tables, and tables of BigQuery, which are exported.

use super::common::{DatasetArgs, World};
use super::side::find_files;
use super::target::{BigQueryArgs, Target, own_folder};
use crate::dataset::Dataset;
use crate::engine::DataFile;
use crate::error::{Doing, Error, Result};
use crate::migrate::{ReadSource, SourceTable, Sources};
use crate::source::{Input, discover};
use crate::storage::Folder;
use crate::warehouse::bigquery::{Access, AsRead, InPlace, ReadTable, SCHEME, TableName, export_into};
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

/// Where sources are looked for.
pub(super) struct Sourcing<'a> {
    pub(super) named: &'a DatasetArgs,
    pub(super) dataset: &'a Dataset,
    pub(super) bigquery: &'a BigQueryArgs,
    pub(super) target: &'a Target,
    /// Whether the target itself is one of the sources, as it is of a mend.
    pub(super) of_target: bool,
}

/// What was found.
pub(super) struct Found<'a> {
    pub(super) sources: Sources<'a>,
    /// The folders of tables that were exported.
    pub(super) exports: Vec<PathBuf>,
    /// The folder that they are in, where they go with it.
    _scratch: Option<tempfile::TempDir>,
}

impl<'a> Sourcing<'a> {
    /// A table that lands where it lies, as the only source.
    pub(super) fn in_place(&self, table: InPlace<'a>, place: &str, world: &World) -> Result<Found<'a>> {
        let (access, stage) = self.bigquery.export(place, world)?;
        let name = table.source().clone();
        let places = [(name.to_string(), place.to_string())].into();
        let tables = vec![of_bigquery(place, (name, table.as_read()), access, &stage)];
        let sources = Sources { places, tables, in_place: Some(table), ..Sources::default() };
        Ok(Found { sources, exports: Vec::new(), _scratch: None })
    }

    /// Finds the files of every source. Of a Delta table only those that its newest version has; a table of BigQuery is
    /// exported. With `is_plan` what is exported goes with what is given back.
    pub(super) async fn find(&self, from: &[String], is_utc: bool, is_plan: bool, world: &World) -> Result<Found<'a>> {
        let (mut sources, mut exports) = (Sources::default(), Vec::new());
        let scratch = match is_plan {
            true => Some(tempfile::tempdir().doing("make room for exports").map_err(Error::in_temporary_folder)?),
            false => None,
        };
        let work = self.target.work.local_path().map(|folder| folder.join("exports")).unwrap_or_default();
        let into = scratch.as_ref().map_or(work.as_path(), tempfile::TempDir::path);
        for place in from {
            let is_exported = place.starts_with(SCHEME);
            let found = match is_exported {
                true => {
                    let (folder, table) = self.exported(place, into, world).await?;
                    sources.tables.push(table);
                    let place = folder.display().to_string();
                    let is_empty = std::fs::read_dir(&folder).doing("list exported files")?.next().is_none();
                    exports.push(folder);
                    if is_empty { Vec::new() } else { discover(&[place], &world.environment).await? }
                }
                false => self.files(place, &mut sources.tables, world).await?,
            };
            for mut input in found {
                input.is_utc = is_utc || is_exported;
                // A file that two places name is that of the first.
                if let Entry::Vacant(free) = sources.places.entry(input.url.clone()) {
                    free.insert(place.clone());
                    sources.inputs.push(input);
                }
            }
        }
        Ok(Found { sources, exports, _scratch: scratch })
    }

    /// The files of a place that is none of BigQuery.
    async fn files(&self, place: &str, tables: &mut Vec<SourceTable>, world: &World) -> Result<Vec<Input>> {
        let (folder, table) = match find_files(place, self.named, world).await? {
            (inputs, None) => return Ok(inputs),
            (_, Some(found)) => found,
        };
        let path = |file: &DataFile| match Folder::open(&file.url, &[])?.local_path() {
            Some(path) => Ok(path.display().to_string()),
            None => Err(Error::bug("find the files of a table").with("table", folder.url())),
        };
        let read = ReadSource::Delta { folder: folder.clone(), version: table.version };
        tables.push(SourceTable { place: place.to_string(), read });
        let paths = table.files.iter().map(path).collect::<Result<Vec<_>>>()?;
        if paths.is_empty() { Ok(Vec::new()) } else { discover(&paths, &world.environment).await }
    }

    /// Refuses a table that is the target.
    pub(super) fn must_not_be_target(&self, place: &str, table: &TableName) -> Result<()> {
        if self.of_target || table.to_string() != self.target.warehouse.target() {
            return Ok(());
        }
        Err(Error::usage("migrate")
            .with("source", place)
            .because("it is the target")
            .hint("name the table that is to be retired, or another target"))
    }

    /// Exports a table of BigQuery. Gives the folder of its files, and what it was.
    async fn exported(&self, place: &str, into: &Path, world: &World) -> Result<(PathBuf, SourceTable)> {
        let table = TableName::parse(place, || Ok(self.dataset.name.clone()))?;
        self.must_not_be_target(place, &table)?;
        let (access, stage) = self.bigquery.export(place, world)?;
        let (folder, read) = Box::pin(export_into(access.clone(), &table, &stage, self.dataset, into)).await?;
        Ok((folder, of_bigquery(place, (table, read), access, &stage)))
    }
}

/// A table of BigQuery as one that may be dropped; its own ledger, if it has one, is in the same stage.
fn of_bigquery(place: &str, (name, read): (TableName, AsRead), access: Access, stage: &Folder) -> SourceTable {
    let ledger = stage.join(&own_folder(&name.place, &name.table)).join("ledger");
    let table = Box::new(ReadTable { name, read, access, stage: stage.url().to_string() });
    SourceTable { place: place.to_string(), read: ReadSource::BigQuery { table, ledger } }
}
