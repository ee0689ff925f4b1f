//! A table read as Parquet files: what it had at one moment, whatever happens on the way.

use super::front::Front;
use super::script::{Fault, refusal};
use super::servers::servers;
use super::stand::{BigQueryStand, access, stage};
use crate::warehouse::NOW_US;
use crate::warehouse::{DAY_S, EDGE_S, Stand, fill};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::Notify;
use tradefold::error::{Error, Kind, Result};
use tradefold::storage::Folder;
use tradefold::warehouse::bigquery::{Access, Export, TableName, export};
use tradefold::window::text_of_us;

struct World {
    front: Front,
    stand: BigQueryStand,
    access: Access,
    stage: Folder,
}

impl World {
    /// A table of three rows.
    async fn new() -> World {
        let world = World::empty().await;
        let rows = ["0xa", "0xb", "0xc"].map(|wallet| fill(wallet, Value::Null, EDGE_S, 1, 0.5));
        world.stand.plant(&rows).await;
        world
    }

    async fn empty() -> World {
        let (front, stand) = super::faults::world().await;
        let stage = stage(servers(), &stand.place);
        World { access: access(&front.url, false), front, stand, stage }
    }

    fn table(&self, name: &str) -> TableName {
        TableName { place: self.stand.place.clone(), table: name.into() }
    }

    async fn export(&self) -> Result<Export> {
        export(self.access.clone(), &self.table("fills"), &self.stage).await
    }

    async fn refused(&self, kind: Kind, why: &str) -> Error {
        let error = self.export().await.unwrap_err();
        let text = error.render();
        assert!(error.kind() == kind && text.contains(why) && text.contains("hint:"), "{text}");
        assert_eq!(self.left().await, 0, "{text}");
        error
    }

    /// An export that dies when its job is done.
    async fn killed(&self) {
        let (before, never) = (self.front.came().len(), Arc::new(Notify::new()));
        self.front.fail("GET job export", 1, Fault::Hold(never));
        let waits = async {
            while !self.front.came()[before..].iter().any(|line| line == "GET job export") {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            read = self.export() => panic!("{read:?}"),
            () = waits => {}
        }
    }

    /// How many objects are in the stage.
    async fn left(&self) -> usize {
        self.stage.list().await.unwrap().len()
    }

    async fn insert(&self, wallet: &str) {
        self.stand.plant(&[fill(wallet, json!("o"), EDGE_S, 1, 0.5)]).await;
    }

    fn sql_name(&self, table: &str) -> String {
        format!("`{}`.`{}`.`{table}`", self.stand.place.project, self.stand.place.dataset)
    }
}

/// The rows of an export.
fn rows(export: &Export) -> RecordBatch {
    let mut batches = Vec::new();
    for file in &export.files {
        let path = url::Url::parse(&file.url).unwrap().to_file_path().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn wallets(export: &Export) -> Vec<String> {
    let rows = rows(export);
    let wallets = rows.column_by_name("wallet").unwrap();
    let mut wallets: Vec<_> = (0..rows.num_rows()).map(|row| array_value_to_string(wallets, row).unwrap()).collect();
    wallets.sort();
    wallets
}

const THREE: [&str; 3] = ["0xa", "0xb", "0xc"];

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_as_files_by_one_job_that_is_not_billed() {
    let world = World::new().await;
    let read = world.export().await.unwrap();
    assert_eq!((read.rows, wallets(&read)), (3, THREE.map(String::from).to_vec()));
    assert_eq!((world.front.ran("export"), world.left().await), (1, 0));
    let kind = |name: &str| read.schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(rows(&read).schema().field_with_name("ts").unwrap().data_type(), &time(None), "as BigQuery writes it");
    let kinds = ["wallet", "ts", "rev", "price"].map(kind);
    assert_eq!(kinds, [DataType::Utf8, time(Some("UTC")), DataType::Int64, DataType::Float64]);
    let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    assert!((now_us - 60_000_000..now_us).contains(&read.as_of_us), "{}", text_of_us(read.as_of_us));
    let path = url::Url::parse(&read.files[0].url).unwrap().to_file_path().unwrap();
    assert!(path.is_file() && read.files[0].label.starts_with("gs://"));
    drop(read);
    assert!(!path.exists());
    // Its objects are gone, so another one is made, under another id.
    assert_eq!((wallets(&world.export().await.unwrap()).len(), world.front.ran("export")), (3, 2));
}

fn time(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_is_no_part_of_it() {
    let world = World::new().await;
    let go = Arc::new(Notify::new());
    world.front.fail("POST job export", 1, Fault::Hold(Arc::clone(&go)));
    let (read, ()) = tokio::join!(world.export(), async {
        while !world.front.came().iter().any(|line| line == "POST job export") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        world.insert("0xd").await;
        go.notify_one();
    });
    let read = read.unwrap();
    assert_eq!((read.rows, wallets(&read)), (3, THREE.map(String::from).to_vec()));
    assert_eq!(world.export().await.unwrap().rows, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_is_noted_when_nobody_writes() {
    let world = World::new().await;
    let table = |modified: u32| {
        let body = json!({ "type": "TABLE", "creationTime": "1", "lastModifiedTime": modified.to_string(),
            "numRows": "3", "schema": { "fields": [] } });
        Fault::Answer(200, None, body.to_string())
    };
    for modified in 0..6 {
        world.front.fail("GET table fills", 1, table(modified));
    }
    world.refused(Kind::Busy, "between each two of 5 looks").await;
    assert!(world.front.is_through() && world.front.ran("export") == 0);
    for modified in 0..4 {
        world.front.fail("GET table fills", 1, table(modified));
    }
    assert_eq!(world.export().await.unwrap().rows, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_job() {
    for faults in [vec![Fault::CutAfter], vec![Fault::Cut], vec![Fault::CutAfter, Fault::Unknown(3)]] {
        let world = World::new().await;
        for fault in &faults {
            world.front.fail("POST job export", 1, fault.clone());
        }
        assert_eq!(world.export().await.unwrap().rows, 3);
        assert_eq!((world.front.ran("export"), world.left().await), (1, 0), "{faults:?}");
        assert!(world.front.is_through());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_export_has_left_is_taken_up_within_the_hour() {
    let mut world = World::new().await;
    world.killed().await;
    assert_eq!((world.front.ran("export"), world.left().await), (1, 1));
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (3, 1));
    assert_eq!(world.left().await, 0);
    // Not of a table that has changed.
    world.insert("0xd").await;
    world.killed().await;
    world.insert("0xe").await;
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (5, 3));
    // Later the jobs are others, so that those of the hours before take none of its attempts.
    world.insert("0xf").await;
    world.killed().await;
    world.access.now_us = || NOW_US + 3_600_000_000;
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (6, 5));
    let before = world.front.came().len();
    world.access.now_us = || NOW_US + 7_200_000_000;
    world.export().await.unwrap();
    let came = world.front.came();
    assert_eq!(came[before..].iter().filter(|line| *line == "POST job export").count(), 1, "{came:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_jobs_have_written_is_removed() {
    let world = World::new().await;
    world.front.fail("POST job export", 2, Fault::FailAfter("backendError"));
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (3, 3));
    assert_eq!(world.left().await, 0);
    // Where that is the end of it too.
    let world = World::new().await;
    world.front.fail("POST job export", 1, Fault::FailAfter("backendError"));
    world.front.fail("POST job export", 1, Fault::FailAfter("accessDenied"));
    world.refused(Kind::Refused, "the job said accessDenied").await;
    // And where nobody knows how it ended.
    let world = World::new().await;
    world.front.fail("GET job export", 1, refusal(403, "accessDenied"));
    world.refused(Kind::Refused, "said accessDenied").await;
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_all_rows_are_found() {
    let world = World::new().await;
    world.front.fail("POST job export", 1, Fault::Miscount(-1));
    world.refused(Kind::Data, "the table had 3 rows at 20").await;
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_missing_are_found() {
    let world = World::new().await;
    let go = Arc::new(Notify::new());
    // The job runs, and is looked at when one of its objects is gone.
    world.front.fail("GET job export", 1, Fault::Hold(Arc::clone(&go)));
    let (read, ()) = tokio::join!(world.export(), async {
        while !world.front.came().iter().any(|line| line == "GET job export") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        world.stage.clear().await.unwrap();
        go.notify_one();
    });
    let error = read.unwrap_err();
    assert!(error.kind() == Kind::Data && error.render().contains("written 1 objects, and 0 are there"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_begun_anew_where_that_may_help() {
    let world = World::new().await;
    world.front.fail("POST job export", 2, Fault::FailJob("backendError"));
    assert_eq!((world.export().await.unwrap().rows, world.front.ran("export")), (3, 3));
    for (fault, kind, why) in [
        (Fault::FailJob("accessDenied"), Kind::Refused, "the job said accessDenied"),
        (Fault::FailJob("notFound"), Kind::Usage, "the job said notFound"),
        (refusal(403, "accessDenied"), Kind::Refused, "said accessDenied"),
    ] {
        let world = World::new().await;
        world.front.fail("POST job export", 1, fault);
        let text = world.refused(kind, why).await.render();
        assert!(text.contains(&world.table("fills").to_string()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_can_not_be_exported_is_refused() {
    let world = World::empty().await;
    world.refused(Kind::Usage, "there is none of this name").await;
    world.insert("0xa").await;
    let view = world.sql_name("seen");
    world.stand.witness.run(&format!("CREATE VIEW {view} AS SELECT * FROM {}", world.sql_name("fills"))).await;
    let error = export(world.access.clone(), &world.table("seen"), &world.stage).await.unwrap_err();
    let text = error.render();
    assert!(
        error.kind() == Kind::Usage && text.contains("its type is VIEW") && text.contains("CREATE TABLE"),
        "{text}"
    );
    let table = json!({ "type": "EXTERNAL", "creationTime": "1", "lastModifiedTime": "1", "numRows": "0" });
    world.front.fail("GET table fills", 1, Fault::Answer(200, None, table.to_string()));
    world.refused(Kind::Usage, "its type is EXTERNAL").await;
    let table = json!({ "type": "TABLE", "creationTime": "1", "lastModifiedTime": "1", "numRows": "1",
        "streamingBuffer": { "estimatedRows": "5" } });
    world.front.fail("GET table fills", 1, Fault::Answer(200, None, table.to_string()));
    world.refused(Kind::Busy, "still in its streaming buffer").await;
    world.front.fail("GET table fills", 1, refusal(403, "accessDenied"));
    world.refused(Kind::Refused, "said accessDenied").await;
    assert_eq!(world.front.ran("export"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_rows_has_columns() {
    let world = World::new().await;
    let name = world.sql_name("none");
    world
        .stand
        .witness
        .run(&format!("CREATE TABLE {name} (a STRING, t TIMESTAMP, d DATE, n NUMERIC, l ARRAY<INT64>, i INT64)"))
        .await;
    let read = export(world.access.clone(), &world.table("none"), &world.stage).await.unwrap();
    assert_eq!((read.rows, read.files.len(), world.front.ran("export")), (0, 0, 0));
    let kinds: Vec<_> = read.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let (null, text, whole) = (DataType::Null, DataType::Utf8, DataType::Int64);
    assert_eq!(kinds, [text, time(Some("UTC")), DataType::Date32, null.clone(), null, whole]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_come_in_several_files() {
    let world = World::empty().await;
    let long = "x".repeat(1_000);
    let rows: Vec<Value> =
        (0..3_000).map(|n| fill(&format!("{n}{long}"), json!("o"), EDGE_S + n % DAY_S, n, 0.1)).collect();
    world.stand.plant(&rows).await;
    let read = world.export().await.unwrap();
    assert!(read.files.len() > 2, "{} files", read.files.len());
    let mut all = wallets(&read);
    all.dedup();
    assert_eq!((read.rows, all.len(), world.left().await), (3_000, 3_000, 0));
}

#[test]
fn a_table_is_named_by_three_names_or_two() {
    let usual = || Ok("usual".to_string());
    for (text, shown) in [
        ("bigquery://project.data", "bigquery://project.data.usual"),
        ("bigquery://project.data.my-table", "bigquery://project.data.my-table"),
        ("bigquery://example.com:project.data", "bigquery://example.com:project.data.usual"),
        ("bigquery://example.com:project.data.t", "bigquery://example.com:project.data.t"),
    ] {
        assert_eq!(TableName::parse(text, usual).unwrap().to_string(), shown);
    }
    for text in
        ["bigquery://project.data.", "bigquery://project.data.t$2025", "bigquery://p.d.t.x", "bigquery://p", "p.d.t"]
    {
        let error = TableName::parse(text, usual).unwrap_err();
        assert!(error.kind() == Kind::Usage && error.advice().is_some(), "{text}");
    }
    let fails = || Err(Error::usage("find a contract"));
    assert!(TableName::parse("bigquery://p.d", fails).is_err() && TableName::parse("bigquery://p.d.t", fails).is_ok());
}
