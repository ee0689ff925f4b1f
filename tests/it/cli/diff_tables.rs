//! `diff` of tables: those of BigQuery are read through the stage, and Delta tables that their files do not tell all
//! about are refused.

use super::bigquery::Cloud;
use super::{Desk, number};
use crate::rows::write;
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::script::Fault;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::Witness;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The demo in a table of BigQuery, and a server before the emulator that has extract jobs.
async fn demo() -> (Cloud, Front, Witness) {
    let mut cloud = Cloud::new().await;
    cloud.report(0, "backfill fixtures/demo");
    let front = Front::start(&servers().bigquery).await;
    cloud.endpoint.clone_from(&front.url);
    (cloud, front, Witness::new(servers()).await)
}

fn diff(cloud: &Cloud, code: i32, arguments: &str) -> Value {
    let ran = cloud.ask("stage", &format!("diff {arguments} --json"));
    assert_eq!(ran.code, code, "{arguments}: {}{}", ran.out, ran.err);
    let exported: Vec<String> = cloud.objects().into_iter().filter(|path| path.contains("/exports/")).collect();
    assert!(exported.is_empty(), "{exported:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn name(cloud: &Cloud, table: &str) -> String {
    format!("`{}`.`{}`.`{table}`", cloud.place.project, cloud.place.dataset)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_compared_with_the_table_of_bigquery_that_they_became() {
    let (cloud, front, witness) = demo().await;
    let place = cloud.place.to_string();
    let report = diff(&cloud, 0, &format!("fixtures/demo {place}"));
    assert_eq!(
        (number(&report, "/keys/same"), number(&report, "/a/read"), number(&report, "/b/read")),
        (9_685, 27_240, 9_685)
    );
    assert_eq!((&report["b"]["place"], front.ran("export")), (&json!(format!("{place}.trades")), 1));
    assert!(number(&report, "/b/files") > 1 && report["b"]["as_of"].as_str().unwrap().starts_with("20"), "{report:#}");
    assert_eq!((&report["casts"], report["days"].as_object().unwrap().len()), (&json!({}), 21));

    let table = name(&cloud, "trades");
    let keys = "`wallet_address`, `tx_hash`, COALESCE(`order_hash`, '') AS o, `id`";
    let picked = witness.run(&format!("SELECT {keys} FROM {table} WHERE `id` IS NOT NULL ORDER BY `id` LIMIT 2")).await;
    let key = |row: &Value| json!([row["wallet_address"], row["tx_hash"], row["o"]]);
    let is = |row: &Value| format!("`id` = '{}'", row["id"].as_str().unwrap());
    witness.run(&format!("DELETE FROM {table} WHERE {}", is(&picked[0]))).await;
    witness.run(&format!("UPDATE {table} SET `price` = `price` + 0.25 WHERE {}", is(&picked[1]))).await;
    let made = "SELECT * REPLACE ('0xmade' AS `tx_hash`)";
    witness.run(&format!("INSERT INTO {table} {made} FROM {table} WHERE {}", is(&picked[1]))).await;
    let report = diff(&cloud, 65, &format!("{place}.trades fixtures/demo --dataset trades"));
    let columns = json!({ "price": 1 });
    assert_eq!(report["keys"], json!({ "only_a": 1, "only_b": 1, "same": 9_683, "different": 1, "columns": columns }));
    let examples = &report["examples"];
    assert_eq!((&examples["only_b"], &examples["different"][0]["key"]), (&json!([key(&picked[0])]), &key(&picked[1])));
    assert_eq!(examples["only_a"][0][1], json!("0xmade"));
    let price = &examples["different"][0]["columns"]["price"];
    let number = |side: &str| price[side].as_str().unwrap().parse::<f64>().unwrap();
    assert!((number("a") - number("b") - 0.25).abs() < 1e-9, "{price}");
    let text = cloud.ask("stage", &format!("diff {place} fixtures/demo")).out;
    assert!(text.contains(&format!("A     {place}.trades, as of 20")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_bigquery_are_compared_with_each_other() {
    let (cloud, front, witness) = demo().await;
    let place = cloud.place.to_string();
    let [trades, copy, none] = ["trades", "copy", "none"].map(|table| name(&cloud, table));
    witness.run(&format!("CREATE TABLE {copy} AS SELECT * FROM {trades}")).await;
    witness.run(&format!("CREATE TABLE {none} AS SELECT * FROM {trades} WHERE FALSE")).await;
    let report = diff(&cloud, 0, &format!("{place} {place}.copy"));
    assert_eq!((number(&report, "/keys/same"), front.ran("export")), (9_685, 2));
    let report = diff(&cloud, 65, &format!("{place} {place}.none"));
    assert_eq!((number(&report, "/keys/only_a"), number(&report, "/b/files")), (9_685, 0));
    assert_eq!(diff(&cloud, 0, &format!("{place}.none {place}.none"))["is_equal"], true);
    assert_eq!(number(&diff(&cloud, 65, &format!("{place}.none fixtures/demo")), "/keys/only_b"), 9_685);
}

/// Whatever types a table has, without a contract.
#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_type_are_compared_as_they_are() {
    let (cloud, _, witness) = demo().await;
    let place = cloud.place.to_string();
    let [one, two] = ["one", "two"].map(|table| name(&cloud, table));
    let kinds = "`id` INT64, `at` TIMESTAMP, `civil` DATETIME, `day` DATE, `amount` NUMERIC, `ok` BOOL, `bytes` BYTES, \
        `list` ARRAY<INT64>, `nested` STRUCT<`x` FLOAT64, `y` STRING>";
    for (table, amount, item) in [(&one, "1.10", 2), (&two, "1.11", 3)] {
        witness.run(&format!("CREATE TABLE {table} ({kinds})")).await;
        let row = |id: u32, amount: &str, item: u32| {
            format!(
                "({id}, TIMESTAMP '2025-10-01 01:02:03.456789+00', DATETIME '2025-10-01 01:02:03', DATE '2025-10-01', \
                 NUMERIC '{amount}', TRUE, b'ab', [1, {item}], STRUCT(0.5, 'y'))"
            )
        };
        let rows = [row(1, "1.10", 2), row(2, amount, 2), row(3, "0", item)].join(", ");
        witness.run(&format!("INSERT INTO {table} (`id`, `at`, `civil`, `day`, `amount`, `ok`, `bytes`, `list`, `nested`) VALUES {rows}")).await;
    }
    let report = diff(&cloud, 65, &format!("{place}.one {place}.two --key id"));
    let columns = json!({ "amount": 1, "list": 1 });
    assert_eq!(report["keys"], json!({ "only_a": 0, "only_b": 0, "same": 1, "different": 2, "columns": columns }));
    assert_eq!(report["compared"].as_array().unwrap().len(), 9, "{report:#}");
    let ran = cloud.ask("stage", &format!("diff {place}.one fixtures/demo --quiet"));
    assert!(ran.code == 2 && ran.err.contains("column `id`") && ran.err.contains("it is Int64 there"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_diff_has_left_is_listed() {
    let (cloud, front, _) = demo().await;
    // The job is done, and nobody hears of it.
    front.fail("GET job export", 1, Fault::Hold(Arc::new(Notify::new())));
    let mut child = cloud.asking("stage", &format!("diff {} fixtures/demo --quiet", cloud.place)).spawn().unwrap();
    let begun = Instant::now();
    while !front.is_through() && begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let exported = |report: &Value, part: &str| {
        let all = report[part].as_array().unwrap().iter();
        all.filter(|leftover| leftover["what"] == "exported objects").cloned().collect::<Vec<_>>()
    };
    let left = exported(&cloud.report(0, "gc --remove"), "kept");
    assert!(left.len() == 1 && number(&left[0], "/files") > 1 && left[0]["needed_by"].is_string(), "{left:#?}");
    assert_eq!(exported(&cloud.report(0, "gc --remove --unfinished"), "removed"), left);
    assert!(exported(&cloud.report(0, "gc"), "kept").is_empty());
    diff(&cloud, 0, &format!("{} fixtures/demo", cloud.place));
}

#[test]
fn a_call_without_a_stage_is_refused() {
    let desk = Desk::new();
    for (arguments, why) in [
        ("bigquery://project.data", "BigQuery exports to Cloud Storage, and no --stage"),
        ("bigquery://project.data.trades --stage s3://bucket", "such as --stage gs://bucket/tradefold"),
        ("bigquery://project.data.t$1 --stage gs://bucket", "can't be the name of a table"),
        ("bigquery://raw --stage gs://bucket", "write bigquery://project.dataset"),
    ] {
        let ran = desk.run(&format!("diff fixtures/demo {arguments} --quiet"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.contains(why) && ran.err.contains("hint:"), "{arguments}: {}", ran.err);
    }
}

/// Writes a Delta table of one file, whose log has these.
fn delta(folder: &Path, protocol: &Value, metadata: &Value, vector: Option<Value>) {
    std::fs::create_dir_all(folder.join("_delta_log")).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let kinds: ArrayRef = Arc::new(StringArray::from(vec!["a", "a"]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("kind", kinds)]).unwrap();
    let file = write(&folder.join("rows.parquet"), &[rows], 10);
    let mut add = json!({ "path": "rows.parquet", "partitionValues": {}, "size": file.size_bytes,
        "modificationTime": 0, "dataChange": true, "stats": "{\"numRecords\":2}" });
    for column in metadata["partitionColumns"].as_array().unwrap() {
        add["partitionValues"][column.as_str().unwrap()] = json!("a");
    }
    if let Some(vector) = vector {
        add["deletionVector"] = vector;
    }
    let lines = [json!({ "protocol": protocol }), json!({ "metaData": metadata }), json!({ "add": add })];
    let text = lines.map(|line| format!("{line}\n")).concat();
    std::fs::write(folder.join("_delta_log/00000000000000000000.json"), text).unwrap();
}

/// A table's metadata: each column has a name in the files, and a setting may be on.
fn metadata(partition: &[&str], setting: Option<(&str, &str)>) -> Value {
    let column = |(place, (name, kind)): (usize, (&str, &str))| {
        let mapped = json!({ "delta.columnMapping.id": place + 1, "delta.columnMapping.physicalName": name });
        let is_mapped = setting.is_some_and(|(name, _)| name.starts_with("delta.columnMapping"));
        json!({ "name": name, "type": kind, "nullable": true, "metadata": if is_mapped { mapped } else { json!({}) } })
    };
    let columns: Vec<Value> = [("id", "long"), ("kind", "string")].into_iter().enumerate().map(column).collect();
    let mut configuration = json!({});
    if let Some((name, value)) = setting {
        configuration[name] = json!(value);
    }
    json!({ "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": { "provider": "parquet", "options": {} },
        "schemaString": json!({ "type": "struct", "fields": columns }).to_string(), "partitionColumns": partition,
        "configuration": configuration, "createdTime": 0 })
}

#[test]
fn a_delta_table_whose_files_do_not_say_all_is_refused() {
    let desk = Desk::new();
    let plain = json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    delta(&desk.path("plain"), &plain, &metadata(&[], None), None);
    let report = desk.report(0, "diff plain plain/rows.parquet --key id");
    assert_eq!((number(&report, "/keys/same"), number(&report, "/a/version")), (2, 0));

    delta(&desk.path("parted"), &plain, &metadata(&["kind"], None), None);
    let mapped = json!({ "minReaderVersion": 2, "minWriterVersion": 5 });
    delta(&desk.path("mapped"), &mapped, &metadata(&[], Some(("delta.columnMapping.mode", "name"))), None);
    let vectors = json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"] });
    let vector = json!({ "storageType": "u", "pathOrInlineDv": "vBn[lx{q8@P<9BNH/isA", "offset": 1, "sizeInBytes": 36,
        "cardinality": 1 });
    let switched_on = metadata(&[], Some(("delta.enableDeletionVectors", "true")));
    delta(&desk.path("deleted"), &vectors, &switched_on, Some(vector));
    // That it could have some is no reason.
    delta(&desk.path("whole"), &vectors, &switched_on, None);
    assert_eq!(number(&desk.report(0, "diff whole plain --key id"), "/keys/same"), 2);
    for (table, why) in [
        ("parted", "its files do not hold the column `kind`, by which it is partitioned"),
        ("mapped", "its files call the columns by other names than the table does"),
        ("deleted", "rows of it are deleted by a vector beside it"),
    ] {
        for arguments in [format!("{table} plain"), format!("plain {table}")] {
            let ran = desk.run(&format!("diff {arguments} --key id --quiet"));
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
            assert!(ran.err.contains(why) && ran.err.contains("hint:"), "{arguments}: {}", ran.err);
        }
    }
}

/// Its files would be read with rows that it has no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_delta_table_elsewhere_is_refused() {
    let cloud = Cloud::new().await;
    let bucket = servers().buckets.join(&cloud.place.dataset);
    let plain = json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    delta(&bucket.join("lake/plain"), &plain, &metadata(&[], None), None);
    let url = format!("gs://{}/lake", cloud.place.dataset);
    for named in [format!("{url}/plain"), format!("{url}/plain/"), url.clone()] {
        for command in [format!("diff {url}/plain/rows.parquet {named} --key id"), format!("analyze {named} --key id")]
        {
            let ran = cloud.read(&command);
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{command}: {}", ran.err);
            let why = format!("{url}/plain is a Delta table, whose files hold rows that it has no more");
            assert!(ran.err.contains(&why) && ran.err.contains("a copy of the table's rows as Parquet"), "{}", ran.err);
        }
    }
    let ran = cloud.read(&format!("diff {url}/plain/rows.parquet {url}/plain/*.parquet --key id --json"));
    assert_eq!(ran.code, 0, "{}", ran.err);
}
