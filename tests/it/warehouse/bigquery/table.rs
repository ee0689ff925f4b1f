//! The target in BigQuery: how it is made, what may differ from the contract, and names that are no names.

use super::front::Front;
use super::script::Fault;
use super::servers::{PROJECT, servers};
use super::stand::{BigQueryStand, access, place};
use crate::warehouse::{EDGE_S, Stand, ascending, backfill, counts, fill, fills, merged};
use serde_json::json;
use std::sync::Arc;
use tradefold::dataset::{Column, ColumnType, Dataset};
use tradefold::error::Kind;
use tradefold::run::RunOptions;
use tradefold::warehouse::bigquery::{BigQueryWarehouse, Layout, Options, Place, ddl};

fn somewhere() -> Place {
    Place::parse("bigquery://project-1.raw").unwrap()
}

#[test]
fn the_ddl_says_what_the_contract_says() {
    let trades = Dataset::built_in("trades").unwrap();
    let plain = ddl(&trades, &somewhere(), Layout::default()).unwrap();
    let strict = Layout { requires_partition_filter: true, ..Layout::default() };
    let clustered = Layout { is_unpartitioned: true, ..strict };
    let all = [plain, ddl(&trades, &somewhere(), strict).unwrap(), ddl(&trades, &somewhere(), clustered).unwrap()];
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_place_is_a_project_and_a_dataset_and_nothing_else() {
    assert_eq!(somewhere().to_string(), "bigquery://project-1.raw");
    let place = Place::parse("bigquery://example.com:project.raw_1").unwrap();
    assert_eq!((place.project.as_str(), place.dataset.as_str()), ("example.com:project", "raw_1"));
    for text in [
        "bigquery://project",
        "bigquery://.raw",
        "bigquery://project.",
        "bigquery://project.raw`; DROP TABLE x; --",
        "bigquery://project.raw\n",
        "bigquery://pro`ject.raw",
        "bigquery://pro'ject.raw",
        "bigquery://project.räw",
        "bigquery://1project.raw",
        "bigquery://project/other.raw",
        "bigquery://project.raw.table",
    ] {
        let error = Place::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.render().contains("write bigquery://project.dataset"), "{}", error.render());
    }
}

/// Names of tables and columns come from contracts.
#[test]
fn a_name_is_quoted_or_refused() {
    for (name, is_fine) in [
        ("plain", true),
        ("with space; DROP TABLE x", true),
        ("ünïcode", true),
        ("it's", true),
        ("say \"x\"", true),
        ("back`tick", false),
        ("back\\slash", false),
        ("new\nline", false),
        ("nul\0", false),
    ] {
        let mut dataset = Dataset::clone(&fills());
        dataset.name = name.into();
        let text = ddl(&dataset, &somewhere(), Layout::default());
        assert_eq!(text.is_ok(), is_fine, "{name:?}");
        if let Ok(text) = text {
            assert!(text.starts_with(&format!("CREATE TABLE IF NOT EXISTS `project-1`.`raw`.`{name}` (")), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_made_as_its_contract_says() {
    let stand = BigQueryStand::new(fills()).await;
    merged(&stand, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let made = stand.witness.table(&stand.place, "fills").await;
    let time = made.time_partitioning.unwrap();
    assert_eq!((time.r#type.as_str(), time.field.unwrap().as_str()), ("DAY", "ts"));
    assert!(made.labels.contains_key("tradefold_stage"));
    assert_eq!(made.schema.unwrap().fields.len(), fills().columns.len());
    let in_one_part = BigQueryStand::new(ascending()).await;
    merged(&in_one_part, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let made = in_one_part.witness.table(&in_one_part.place, &ascending().name).await;
    assert!(made.time_partitioning.is_none());
    let tables = format!("SELECT table_name FROM `{PROJECT}`.`{0}`.INFORMATION_SCHEMA.TABLES", stand.place.dataset);
    let tables = stand.witness.run(&tables).await;
    assert!(!tables.iter().any(|row| row.to_string().contains("tmp")), "temporary tables are gone: {tables:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_fit_the_contract_is_refused_column_by_column() {
    let stand = BigQueryStand::new(fills()).await;
    let name = format!("`{PROJECT}`.`{}`.`fills`", stand.place.dataset);
    let columns = "`wallet` STRING, `order_hash` STRING NOT NULL, `ts` DATETIME, `rev` INT64, `price` FLOAT64, \
                   `run` ARRAY<STRING>, `extra` STRING NOT NULL";
    stand.witness.run(&format!("CREATE TABLE {name} ({columns})")).await;
    let rows = [fill("0xa", json!("o"), EDGE_S, 1, 0.1)];
    let error = backfill(&stand, &rows, RunOptions::default()).await.unwrap_err();
    let said = error.render();
    assert_eq!(error.kind(), Kind::Usage);
    for part in [
        "`order_hash` is REQUIRED, and the contract allows NULL",
        "`ts` is DATETIME and should be TIMESTAMP",
        "`run` is REPEATED and should hold one value",
        "`extra` is REQUIRED and not in the contract",
        "`log_index` is missing",
        "--allow-field-addition",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("`price`") && !said.contains("`wallet`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_have_more_columns_and_get_those_that_it_lacks() {
    let stand = BigQueryStand::new(fills()).await;
    let name = format!("`{PROJECT}`.`{}`.`fills`", stand.place.dataset);
    let columns = "`WALLET` STRING, `order_hash` STRING, `ts` TIMESTAMP, `rev` INT64, `log_index` INT64, \
                   `run` STRING, `extra` STRING";
    stand.witness.run(&format!("CREATE TABLE {name} ({columns})")).await;
    let rows = [fill("0xa", json!("o"), EDGE_S, 1, 0.1)];
    let error = backfill(&stand, &rows, RunOptions::default()).await.unwrap_err();
    assert!(error.render().contains("`price` is missing"), "{}", error.render());
    let allowing = Options { allows_field_addition: true, stage: stand.home().url().to_string(), ..Options::default() };
    let access = access(&servers().bigquery, true);
    let warehouse = BigQueryWarehouse::connect(access, fills(), stand.place.clone(), allowing).await.unwrap();
    let inputs = crate::warehouse::input(&stand, &rows).await;
    let report = crate::warehouse::walk(&warehouse, &stand, &inputs, RunOptions::default(), crate::warehouse::NOW_US);
    assert_eq!(counts(&Box::pin(report).await.unwrap()), (1, 0, 0));
    assert!(stand.table().await[0].contains("\"price\":0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_belongs_to_one_stage() {
    let stand = BigQueryStand::new(fills()).await;
    let rows = [fill("0xa", json!("o"), EDGE_S, 1, 0.1)];
    merged(&stand, &rows).await;
    let elsewhere = Options { stage: "gs://another/stage".into(), ..Options::default() };
    let access = access(&servers().bigquery, true);
    let warehouse = BigQueryWarehouse::connect(access, fills(), stand.place.clone(), elsewhere).await.unwrap();
    let inputs = crate::warehouse::input(&stand, &rows).await;
    let run = crate::warehouse::walk(&warehouse, &stand, &inputs, RunOptions::default(), crate::warehouse::NOW_US);
    let error = Box::pin(run).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.render().contains("another stage"), "{}", error.render());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_is_not_there_is_refused() {
    let nowhere = Place { dataset: "nowhere".into(), ..place(servers()).await };
    let access = access(&servers().bigquery, true);
    let error =
        BigQueryWarehouse::connect(access, Arc::clone(&fills()), nowhere, Options::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.render().contains("bigquery://tests.nowhere") && error.render().contains("bq mk"));
}

/// The emulator knows none of these settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_would_change_what_a_statement_means_or_lose_rows_is_refused() {
    let field = |column: &Column, collation: &str| {
        let kind = if column.kind == ColumnType::Timestamp { "TIMESTAMP" } else { column.kind.name() };
        json!({ "name": column.name, "type": kind.to_uppercase(), "collation": collation })
    };
    let plain: Vec<_> = fills().columns.iter().map(|column| field(column, "")).collect();
    let collated: Vec<_> = fills().columns.iter().map(|column| field(column, "und:ci")).collect();
    let by = |kind: &str, field: &str| json!({ "timePartitioning": { "type": kind, "field": field } });
    for (change, kind, says) in [
        (json!({ "schema": { "fields": collated } }), Kind::Usage, "`wallet` has the collation und:ci"),
        (json!({ "expirationTime": "1" }), Kind::Usage, "the table expires"),
        (
            json!({ "timePartitioning": { "type": "DAY", "field": "ts", "expirationMs": "86400000" } }),
            Kind::Usage,
            "each partition expires",
        ),
        (json!({ "streamingBuffer": { "estimatedRows": "7" } }), Kind::Busy, "in its streaming buffer"),
        (json!({ "type": "VIEW" }), Kind::Usage, "it is a VIEW and no table"),
        (by("MONTH", "ts"), Kind::Usage, "it is partitioned by MONTH on ts, and should be by DAY on ts, or not at all"),
        (by("DAY", "other"), Kind::Usage, "it is partitioned by DAY on other"),
        (json!({ "timePartitioning": { "type": "DAY" } }), Kind::Usage, "by DAY on the time of ingestion"),
        (
            json!({ "rangePartitioning": { "field": "rev", "range": { "start": "0", "end": "9", "interval": "1" } } }),
            Kind::Usage,
            "ranges of integers",
        ),
    ] {
        let front = Front::start(&servers().bigquery).await;
        let stand = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
        let reference = json!({ "projectId": PROJECT, "datasetId": stand.place.dataset, "tableId": "fills" });
        let mut table = json!({ "tableReference": reference, "type": "TABLE", "schema": { "fields": plain },
            "creationTime": "1", "lastModifiedTime": "1", "numRows": "0" });
        for (name, value) in change.as_object().unwrap() {
            table[name] = value.clone();
        }
        front.fail("GET table fills", 9, Fault::Answer(200, None, table.to_string()));
        let rows = [fill("0xa", json!("o"), EDGE_S, 1, 0.1)];
        let error = backfill(&stand, &rows, RunOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.render());
        assert!(error.render().contains(says), "{says}: {}", error.render());
        assert!(!front.log().iter().any(|line| line.starts_with("POST")), "{:?}", front.log());
    }
}
