//! One side of a comparison: files that land, files as they are, a Delta table, or a table of BigQuery.

use super::access::ExportArgs;
use super::ad_hoc::{AdHocArgs, AsTheyAre, Footers, Kept, Opened, footers, temporary_folder};
use super::common::{DatasetArgs, RowsArgs, World};
use super::target::open_local;
use crate::dataset::Dataset;
use crate::diff::{Common, common_schema, common_type};
use crate::engine::{DataFile, Engine};
use crate::error::{Error, Result};
use crate::landing::{LandingCounts, LandingOptions, land};
use crate::report::SideReport;
use crate::run::landed_files;
use crate::source::{Input, discover};
use crate::storage::Folder;
use crate::warehouse::bigquery::{Access, Export, SCHEME, TableName, export};
use crate::warehouse::local::{TableFiles, is_table, table_files};
use crate::window::text_of_us;
use arrow::datatypes::{Schema, SchemaRef};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What somebody has named, before anything of it was read.
pub(super) enum Named {
    /// Files.
    Files(Vec<Input>),
    /// A Delta table and where it lies.
    Table(Folder, TableFiles),
    /// A table of BigQuery, how that is asked, and the stage.
    Exported(TableName, Box<Access>, Folder),
}

/// A side that can be read.
pub(super) struct Side {
    pub(super) files: Vec<DataFile>,
    pub(super) schema: SchemaRef,
    pub(super) report: SideReport,
    _kept: Kept,
    _export: Option<Export>,
}

/// Both sides, and what is compared of them.
pub(super) struct Sides {
    pub(super) both: [Side; 2],
    pub(super) dataset: Dataset,
    pub(super) compared: Vec<String>,
    pub(super) not_compared: Vec<String>,
    pub(super) casts: BTreeMap<String, String>,
}

/// Finds what a text names: a Delta table, the dataset's table in a lake or in BigQuery, or files.
pub(super) async fn find(text: &str, named: &DatasetArgs, export: &ExportArgs, world: &World) -> Result<Named> {
    if text.starts_with(SCHEME) {
        let table = TableName::parse(text, || named.contract().map(|dataset| dataset.name))?;
        let (access, stage) = export.open(text, world)?;
        return Ok(Named::Exported(table, Box::new(access), stage));
    }
    Ok(match find_files(text, named, world).await? {
        (inputs, None) => Named::Files(inputs),
        (_, Some((folder, files))) => Named::Table(folder, files),
    })
}

/// As [`find`], for what is no table of BigQuery: files, or a Delta table and where it lies.
pub(super) async fn find_files(
    text: &str,
    named: &DatasetArgs,
    world: &World,
) -> Result<(Vec<Input>, Option<(Folder, TableFiles)>)> {
    let doing = "find rows";
    let name = || named.contract().map(|dataset| dataset.name);
    let files = || async { discover(&[text.to_string()], &world.environment).await.map(|inputs| (inputs, None)) };
    let is_remote = text.contains("://") && !text.starts_with("file://");
    if is_remote || (!text.starts_with("file://") && !Path::new(text).is_dir()) {
        return files().await;
    }
    let folder = Folder::open(text, &[])?;
    let is_lake = || folder.local_path().is_some_and(|path| path.join("_tradefold").is_dir());
    let table = match is_table(&folder).await? {
        true => open_local(text)?,
        false if is_lake() => open_local(text)?.join(&name()?),
        false => return files().await,
    };
    if !is_table(&table).await? {
        return Err(Error::usage(doing)
            .with("warehouse", text)
            .because(format!("it has no table `{}`", name()?))
            .hint("name another of its tables with --dataset, or give the folder of the table itself"));
    }
    let files = table_files(&table).await?;
    Ok((Vec::new(), Some((table, files))))
}

impl Named {
    /// Takes rows as the contract says: files land.
    async fn by_contract(
        self,
        text: &str,
        dataset: &Dataset,
        key_chosen: bool,
        engine: &Engine,
        world: &World,
    ) -> Result<Side> {
        let inputs = match self {
            Named::Table(folder, table) => return of_table(&folder, table),
            Named::Exported(table, access, stage) => return of_export(&table, *access, &stage).await,
            Named::Files(inputs) => inputs,
        };
        let (scratch, into) = temporary_folder()?;
        let mut options = LandingOptions::new((world.now_us)());
        options.key_chosen = key_chosen;
        options.threads = engine.threads();
        let landed = land(dataset, &inputs, &into, &options, world.progress.as_ref()).await?;
        let report = SideReport {
            place: text.to_string(),
            files: inputs.len() as u64,
            landing: landed.counts,
            rejects_by_reason: landed.rejects_by_reason.clone(),
            ..SideReport::default()
        };
        let schema = SchemaRef::clone(dataset.schema());
        Ok(Side { files: landed_files(&landed), schema, report, _kept: Kept::landing(scratch), _export: None })
    }
}

/// Takes the rows of both sides as they are; files that are no Parquet become it, in types that both sides can have.
async fn as_they_are(named: [Named; 2], texts: [&str; 2], rows: &RowsArgs, world: &World) -> Result<[Side; 2]> {
    let (mut tables, mut opened) = ([None, None], Vec::new());
    for (side, table) in named.into_iter().zip(&mut tables) {
        match side {
            Named::Files(inputs) => opened.push(Opened::open(inputs).await?),
            Named::Table(folder, files) => *table = Some(of_table(&folder, files)?),
            Named::Exported(name, access, stage) => *table = Some(of_export(&name, *access, &stage).await?),
        }
    }
    let others: Vec<_> = tables.iter().flatten().flat_map(|side: &Side| side.schema.fields()).cloned().collect();
    let mut read = rows.ad_hoc.as_they_are(opened, &others, &rows.dataset, world).await?.into_iter();
    let mut side = |table: Option<Side>, text: &str| match table {
        Some(side) => Ok(side),
        None => read.next().map(|read| of_files(read, text)).ok_or_else(|| Error::bug("read files")),
    };
    let [first, second] = tables;
    Ok([side(first, texts[0])?, side(second, texts[1])?])
}

/// Files as they are.
fn of_files(read: AsTheyAre, text: &str) -> Side {
    let report = SideReport {
        place: text.to_string(),
        files: read.rows_by_file.len() as u64,
        landing: read.landing,
        rejects_by_reason: read.rejects_by_reason,
        ..SideReport::default()
    };
    Side { files: read.files, schema: read.schema, report, _kept: read.kept, _export: None }
}

/// A Delta table, as its newest version has it.
fn of_table(folder: &Folder, table: TableFiles) -> Result<Side> {
    let Footers { fields, rows_by_file } = footers(&table.files)?;
    let read = rows_by_file.values().sum();
    let landing = LandingCounts { read, landed: read, ..LandingCounts::default() };
    let (place, files) = (folder.url().to_string(), table.files.len() as u64);
    let report = SideReport { place, version: table.version, files, landing, ..SideReport::default() };
    let schema = Arc::new(Schema::new(fields));
    Ok(Side { files: table.files, schema, report, _kept: Kept::default(), _export: None })
}

/// A table of BigQuery, as it is now.
async fn of_export(table: &TableName, access: Access, stage: &Folder) -> Result<Side> {
    let read = Box::pin(export(access, table, stage)).await?;
    let landing = LandingCounts { read: read.rows, landed: read.rows, ..LandingCounts::default() };
    let report = SideReport {
        place: table.to_string(),
        as_of: Some(text_of_us(read.as_of_us)),
        files: read.files.len() as u64,
        landing,
        ..SideReport::default()
    };
    let (files, schema) = (read.files.clone(), SchemaRef::clone(&read.schema));
    Ok(Side { files, schema, report, _kept: Kept::default(), _export: Some(read) })
}

impl Sides {
    /// Reads both sides as far as it takes to know their columns.
    pub(super) async fn open(
        texts: [&str; 2],
        named: [Named; 2],
        rows: &RowsArgs,
        engine: &Engine,
        world: &World,
    ) -> Result<Sides> {
        let RowsArgs { dataset: which, ad_hoc, .. } = rows;
        if ad_hoc.is_given() || which.key_only()?.is_some() {
            return Sides::ad_hoc(Box::pin(as_they_are(named, texts, rows, world)).await?, which, ad_hoc);
        }
        let [first, second] = named;
        let (dataset, key_chosen) = (which.load()?, which.key_chosen());
        let both = [
            Box::pin(first.by_contract(texts[0], &dataset, key_chosen, engine, world)).await?,
            Box::pin(second.by_contract(texts[1], &dataset, key_chosen, engine, world)).await?,
        ];
        for side in &both {
            check_types(side, &dataset)?;
        }
        let Common { only, .. } = common_schema(&both[0].schema, &both[1].schema);
        Sides::new(both, dataset, only, BTreeMap::new())
    }

    fn ad_hoc(both: [Side; 2], which: &DatasetArgs, ad_hoc: &AdHocArgs) -> Result<Sides> {
        let common = common_schema(&both[0].schema, &both[1].schema);
        let dataset = ad_hoc.dataset(SchemaRef::clone(&common.schema), which)?;
        common.check(&dataset)?;
        let Common { only, mut casts, .. } = common;
        casts.retain(|name, _| !dataset.volatile.contains(name));
        Sides::new(both, dataset, only, casts)
    }

    fn new(
        mut both: [Side; 2],
        mut dataset: Dataset,
        only: [Vec<String>; 2],
        casts: BTreeMap<String, String>,
    ) -> Result<Sides> {
        let is_key = |name: &&String| dataset.key.iter().any(|part| part.columns().any(|column| column == *name));
        for (names, there) in only.iter().zip(["A", "B"]) {
            if let Some(name) = names.iter().find(is_key) {
                return Err(Error::usage("compare by key")
                    .with("column", name)
                    .because(format!("the key has it, and only {there} does"))
                    .hint("give a key that both sides have with --key"));
            }
        }
        let is_there = |name: &str| both.iter().any(|side| side.schema.column_with_name(name).is_some());
        let one_sided = |name: &str| only.iter().flatten().any(|known| known == name);
        let compared = dataset.compared().filter(|name| is_there(name) && !one_sided(name));
        let compared: Vec<String> = compared.map(String::from).collect();
        let shared = both[0].schema.fields().iter().map(|field| field.name());
        let not_compared = shared.filter(|name| !one_sided(name) && !compared.contains(name)).cloned().collect();
        // Which row of a key wins must not depend on what only one side knows, unless the order says so.
        let in_order = |name: &String| dataset.order.iter().any(|item| item.column == *name);
        let aside: Vec<String> = only.iter().flatten().filter(|name| !in_order(name)).cloned().collect();
        dataset.volatile.extend(aside);
        for (side, names) in both.iter_mut().zip(only) {
            side.report.columns_only_here = names;
        }
        Ok(Sides { both, dataset, compared, not_compared, casts })
    }
}

/// That the contract's types hold what a table has.
fn check_types(side: &Side, dataset: &Dataset) -> Result<()> {
    for field in dataset.schema().fields() {
        let Ok(found) = side.schema.field_with_name(field.name()) else { continue };
        let (found, wanted) = (found.data_type(), field.data_type());
        if common_type(found, wanted).as_ref() != Some(wanted) {
            return Err(Error::usage("read a table by a contract")
                .with("place", &side.report.place)
                .with("column", field.name())
                .because(format!("it is {found} there, and {wanted} in the contract, which can't hold all its values"))
                .hint("give a contract that fits with --dataset, or compare the columns as they are with --key"));
        }
    }
    Ok(())
}
