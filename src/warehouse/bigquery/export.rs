//! A table of BigQuery as Parquet files on the local disk, as it was at one moment.
//!
//! One extract job, which is not billed, writes objects below the stage; they are brought here and removed there. What
//! they hold is balanced against the rows that the table had at that moment.
//! <https://docs.cloud.google.com/bigquery/docs/exporting-data>

use super::access::{Access, TableName};
use super::answers::type_of;
use super::client::Client;
use super::jobs::{self, Done, Work};
use super::retire::AsRead;
use crate::dataset::{ColumnType, Dataset};
use crate::engine::DataFile;
use crate::error::{Doing, Error, Kind, Result};
use crate::source::{Compression, Format, Input, Local, fetch};
use crate::storage::Folder;
use crate::window::{SECOND_US, text_of_us};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::TryStreamExt;
use google_cloud_bigquery_v2::model::{
    Job, JobConfiguration, JobConfigurationExtract, Table, TableFieldSchema, TableReference,
};
use object_store::ObjectMeta;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The time within which a table that has not changed is exported by the same jobs.
const HOUR_US: i64 = 3_600 * SECOND_US;
/// How often a table may change while it is looked at, before that is the answer.
const LOOKS_MAX: u32 = 5;

/// The rows of a table as Parquet files on the local disk. The files go when this is dropped.
#[derive(Debug)]
pub struct Export {
    /// The moment as of which the rows are the table's, in microseconds since 1970-01-01 UTC, by BigQuery's clock.
    pub as_of_us: i64,
    /// How many rows the table had then; the files have as many.
    pub rows: u64,
    /// The files; none for a table without rows. Each is called by the URL that its object had.
    pub files: Vec<DataFile>,
    /// The columns as the files have them, but that times of a `TIMESTAMP` are UTC: BigQuery's files do not say so. Of
    /// a table without rows the types that are not known for certain are null.
    pub schema: SchemaRef,
    /// What the table was then.
    pub read: AsRead,
    copies: Vec<Local>,
}

/// Exports a table through `stage`, a folder of Cloud Storage in the location of its dataset, and brings its rows here.
/// What a killed export of the same table has left there is taken up in the same hour, unless the table has changed.
///
/// # Errors
/// Usage, when there is no such table, or it is none whose rows BigQuery holds itself; busy, when it is written to all
/// the time, or rows that were streamed into it are still in its buffer; refused, when the credentials do not serve;
/// data, when the files do not have the rows that the table had.
pub async fn export(access: Access, table: &TableName, stage: &Folder) -> Result<Export> {
    let named = |error: Error| error.with("table", table);
    let client = connect(access, table).await?;
    let moment = Moment::note(&client, table).await?;
    if moment.rows == 0 {
        let schema = Arc::new(Schema::new(moment.fields().iter().map(empty).collect::<Vec<_>>()));
        let (as_of_us, read) = (moment.at_us, moment.as_read());
        return Ok(Export { as_of_us, rows: 0, files: Vec::new(), schema, read, copies: Vec::new() });
    }
    client.progress().note(&format!("exporting {} rows of {table} as of {}", moment.rows, text_of_us(moment.at_us)));
    // Whoever wants the rows of a table that has not changed wants the same ones. Attempts are counted, so that there
    // are enough of them each hour.
    let hour = (client.access().now_us)().div_euclid(HOUR_US);
    let wanted = format!("{} {hour} {}", moment.as_read().identity(table), stage.url());
    let target = table.to_string();
    let work = Work { batch_id: &wanted, target: &target, target_created_ms: moment.table.creation_time };
    let place = &table.place;
    let home = stage.join(&format!("_tradefold/{}.{}.{}/exports", place.project, place.dataset, table.table));
    // Objects of attempts must not mix, and who removes those of one touches no others.
    let folder = |attempt: u32| home.join(&format!("{}_{attempt}", work.digest()));
    let attempts = AtomicU32::new(0);
    let configuration = |attempt: u32| {
        attempts.store(attempt, Ordering::Relaxed);
        let extract = JobConfigurationExtract::new()
            .set_source_table(moment.of(&table.reference()))
            .set_destination_uris([folder(attempt).url_of("*.parquet")])
            .set_destination_format("PARQUET")
            .set_compression("ZSTD");
        Box::new(JobConfiguration::new().set_extract(extract).set_labels(jobs::labels(&client, "", jobs::EXPORT)))
    };
    // Its objects may have been read and removed, by whoever began it.
    let effect = |done: Done| {
        let folder = folder(done.attempt);
        async move {
            let found = folder.list().await?.len();
            Ok((found > 0 && objects_of(&done.job).is_none_or(|said| said == found)).then_some(done))
        }
    };
    let read = async {
        let done = jobs::run(&client, &work, jobs::EXPORT, configuration, None, effect).await?;
        let folder = folder(done.attempt);
        let objects = folder.list().await?;
        let missing = objects_of(&done.job).filter(|said| *said != objects.len());
        if let Some(said) = missing {
            return Err(Error::data("read an exported table")
                .with("stage", folder.url())
                .because(format!("the job has written {said} objects, and {} are there", objects.len()))
                .hint(AGAIN));
        }
        read(&client, &folder, &objects, &moment).await
    };
    let read = Box::pin(read).await;
    // They were of use only here, whatever came of it. An attempt that failed may have written some.
    for attempt in 1..=attempts.into_inner() {
        let folder = folder(attempt);
        if let Err(error) = folder.clear().await {
            client.progress().note(&format!("exported objects are left in {}: {}", folder.url(), error.on_one_line()));
        }
    }
    read.map_err(named)
}

/// As [`export`], but the files stay in a folder below `into` for who comes again: of a table that has not changed
/// since they are taken from there. Gives that folder, and what the table was when its rows were read.
///
/// # Errors
/// Those of [`export`]; usage, where times of a column have no zone and the contract gives them none; and what the disk
/// says.
pub async fn export_into(
    access: Access,
    table: &TableName,
    stage: &Folder,
    dataset: &Dataset,
    into: &Path,
) -> Result<(PathBuf, AsRead)> {
    let doing = "keep an exported table";
    let client = connect(access.clone(), table).await?;
    let (found, rows) = look(&client, table).await?;
    check_zones(dataset, table, &found)?;
    let now = AsRead::of(&found, rows);
    let folder = into.join(&blake3::hash(now.identity(table).as_bytes()).to_hex()[..32]);
    if folder.is_dir() {
        client.progress().note(&format!("{table} is exported already"));
        return Ok((folder, now));
    }
    let read = Box::pin(export(access, table, stage)).await?;
    std::fs::create_dir_all(into).doing(doing)?;
    let draft = tempfile::tempdir_in(into).doing(doing)?;
    for (number, copy) in read.copies.iter().enumerate() {
        std::fs::copy(copy.path(), draft.path().join(format!("{number:06}.parquet"))).doing(doing)?;
    }
    std::fs::rename(draft.keep(), &folder).doing(doing)?;
    Ok((folder, read.read))
}

/// Connects to the dataset of a table that is read.
pub(super) async fn connect(access: Access, table: &TableName) -> Result<Client> {
    Client::connect(access, &table.place).await.map_err(|error| match error.kind() {
        Kind::Usage => error.with("table", table).hint("correct the name of the table"),
        _ => error.with("table", table),
    })
}

/// Refuses times that would be taken for those of another zone: a file does not tell whether its times are local.
fn check_zones(dataset: &Dataset, name: &TableName, table: &Table) -> Result<()> {
    let fields = table.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    for column in dataset.columns.iter().filter(|column| column.kind == ColumnType::Timestamp) {
        for field in fields.iter().filter(|field| column.input_names().any(|own| own == field.name)) {
            let (why, hint) = match (field.r#type.as_str(), column.zone_s) {
                ("DATETIME", None) => {
                    ("its type is DATETIME: its times have no zone", "give it a `zone` in the contract")
                }
                ("TIMESTAMP", Some(_)) => (
                    "its type is TIMESTAMP, which is UTC, and the contract gives times another zone",
                    "take the column's `zone` out of the contract",
                ),
                _ => continue,
            };
            return Err(Error::usage("read a column of a table")
                .with("table", name)
                .with("column", &field.name)
                .because(why)
                .hint(hint));
        }
    }
    Ok(())
}

const AGAIN: &str = "another command that read the same table may have removed them: run the same command again";

/// How many objects a job says that it has written; an emulator may not say it.
fn objects_of(job: &Job) -> Option<usize> {
    let extract = job.statistics.as_ref()?.extract.as_ref()?;
    extract.destination_uri_file_counts.first().and_then(|count| usize::try_from(*count).ok())
}

/// A table at a moment at which its rows are known.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) table: Box<Table>,
    pub(super) rows: u64,
    pub(super) at_us: i64,
}

impl Moment {
    /// Asks BigQuery for the time between two looks at the table, so that no clock but its own counts. What is the same
    /// at both looks was so in between.
    pub(super) async fn note(client: &Client, name: &TableName) -> Result<Moment> {
        let mut before = look(client, name).await?;
        for _ in 0..LOOKS_MAX {
            let at_us = client.now_us().await?;
            let after = look(client, name).await?;
            let is = |(table, rows): &(Box<Table>, u64)| AsRead::of(table, *rows).identity(name);
            if is(&before) == is(&after) {
                // Decorators have milliseconds.
                return Ok(Moment { table: after.0, rows: after.1, at_us: at_us / 1_000 * 1_000 });
            }
            before = after;
        }
        Err(Error::new(Kind::Busy, "read a table of BigQuery")
            .with("table", name)
            .because(format!("it was written to between each two of {LOOKS_MAX} looks at it"))
            .hint("wait until less is written to it, or name a copy: CREATE SNAPSHOT TABLE … CLONE …"))
    }

    /// What the table was then.
    pub(super) fn as_read(&self) -> AsRead {
        AsRead::of(&self.table, self.rows)
    }

    pub(super) fn fields(&self) -> &[TableFieldSchema] {
        self.table.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default()
    }

    /// The table as it was.
    fn of(&self, name: &TableReference) -> TableReference {
        name.clone().set_table_id(format!("{}@{}", name.table_id, self.at_us / 1_000))
    }
}

/// Looks a table up, with its rows, and makes sure that it can be exported.
pub(super) async fn look(client: &Client, name: &TableName) -> Result<(Box<Table>, u64)> {
    let doing = "read a table of BigQuery";
    let reference = name.reference();
    let missing = || {
        Error::usage(doing)
            .with("table", name)
            .because("there is none of this name, or it is hidden from these credentials")
            .hint("correct the name of the table")
    };
    let table = client.table(&reference).await?.ok_or_else(missing)?;
    // A clone is a table like any other.
    if !["", "TABLE", "CLONE", "SNAPSHOT"].contains(&table.r#type.as_str()) {
        let (dataset, own) = (&name.place.dataset, &name.table);
        return Err(Error::usage(doing)
            .with("table", name)
            .because(format!(
                "its type is {}, and BigQuery exports only tables whose rows it holds itself",
                table.r#type
            ))
            .hint(format!(
                "make a table of its rows, and name that: CREATE TABLE `{dataset}.{own}_rows` AS SELECT * FROM \
                 `{dataset}.{own}`"
            )));
    }
    if table.streaming_buffer.as_ref().is_some_and(|buffer| buffer.estimated_rows > 0) {
        return Err(Error::new(Kind::Busy, doing)
            .with("table", name)
            .because("rows that were streamed into it are still in its streaming buffer, which no export has")
            .hint("stop what streams into it, wait until the buffer is empty (up to 90 minutes), then run it again"));
    }
    match client.rows_of(&reference, &table).await? {
        Some(rows) => Ok((table, rows)),
        None => Err(Error::bug(doing).with("table", name).because("BigQuery does not say how many rows it has")),
    }
}

/// Brings exported objects to the local disk and balances their rows.
async fn read(client: &Client, folder: &Folder, objects: &[ObjectMeta], moment: &Moment) -> Result<Export> {
    client.progress().begin("fetch an exported table", Some(objects.len() as u64));
    let inputs = objects.iter().map(|object| {
        let place = folder.join(object.location.filename().unwrap_or_default());
        Ok(Input::of_object(place, object, Format::Parquet, Compression::None))
    });
    let mut fetched = std::pin::pin!(fetch(futures::stream::iter(inputs)));
    let (mut files, mut copies, mut rows, mut fields) = (Vec::new(), Vec::new(), 0, Vec::new());
    let gone = |error: Error| if error.kind() == Kind::Usage { error.hint(AGAIN) } else { error };
    while let Some((input, local)) = fetched.try_next().await.map_err(gone)? {
        let file = DataFile::of(&input, &local)?;
        let footer = file.footer().map_err(|error| error.hint("run the same command again"))?;
        rows += u64::try_from(footer.metadata().file_metadata().num_rows()).unwrap_or(0);
        if fields.is_empty() {
            fields = footer.schema().fields().iter().map(|field| typed(field, moment.fields())).collect();
        }
        files.push(file);
        copies.push(local);
        client.progress().advance(1);
    }
    if rows != moment.rows {
        return Err(Error::data("balance an export")
            .with("stage", folder.url())
            .because(format!(
                "the table had {} rows at {}, and {rows} were exported",
                moment.rows,
                text_of_us(moment.at_us)
            ))
            .hint("run the same command again; where it says the same, look at the job in BigQuery"));
    }
    let schema = Arc::new(Schema::new(fields));
    Ok(Export { as_of_us: moment.at_us, rows, files, schema, read: moment.as_read(), copies })
}

/// A column of a file by what it is in the table: times of a `TIMESTAMP` are UTC, which files do not say.
fn typed(field: &FieldRef, table: &[TableFieldSchema]) -> FieldRef {
    let is_moment = |known: &TableFieldSchema| known.name == *field.name() && known.r#type == "TIMESTAMP";
    let field = field.as_ref().clone().with_nullable(true);
    Arc::new(match field.data_type() {
        DataType::Timestamp(unit, None) if table.iter().any(is_moment) => {
            let utc = DataType::Timestamp(*unit, Some("UTC".into()));
            field.with_data_type(utc)
        }
        _ => field,
    })
}

/// A column of which there is no value.
fn empty(field: &TableFieldSchema) -> Field {
    let kind = match (field.r#type.as_str(), type_of(&field.r#type)) {
        _ if field.mode == "REPEATED" => DataType::Null,
        ("STRING" | "JSON", kind) => kind,
        // Text stands for whatever has no type of its own there.
        (_, DataType::Utf8) => DataType::Null,
        (_, kind) => kind,
    };
    Field::new(&field.name, kind, true)
}
