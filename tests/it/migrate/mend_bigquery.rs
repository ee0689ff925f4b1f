//! Tables of BigQuery that are mended: a new one takes their place by a copy.

use super::mend::{MENDED, old_production, shown};
use super::{back, ledger, migrated, options, proof, run, sources, staging};
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::servers::{PROJECT, servers};
use crate::warehouse::bigquery::stand::{BigQueryStand, access, place, stage};
use crate::warehouse::{EDGE_S, NOW_US, Stand, fill, fills, input};
use google_cloud_bigquery_v2::model::Table;
use serde_json::{Value, json};
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::error::{Kind, Result};
use tradefold::ledger::{Entry, Swap};
use tradefold::migrate::{Sources, mend, needs_mending, settle_swap};
use tradefold::progress::Silent;
use tradefold::report::MigrationReport;
use tradefold::source::discover;
use tradefold::warehouse::bigquery::{Place, TableName, export_into};
use tradefold::window::{Day, text_of_us};

/// The contract without the column that old production has not.
fn narrow() -> Arc<Dataset> {
    let text = include_str!("../warehouse/fills.toml");
    let text = text.replace("identity = [{ column = \"log_index\" }]\n", "");
    let column = "[[column]]\nname = \"log_index\"\ntype = \"int64\"\n\n";
    assert!(text.contains(column));
    Arc::new(Dataset::from_toml(&text.replace(column, ""), "narrow.toml").unwrap())
}

async fn at(front: &Front, place: Place) -> BigQueryStand {
    BigQueryStand::at(fills(), place, access(&front.url, false)).await
}

/// The table as it was before, with its own columns.
async fn old(front: &Front, place: Place) -> BigQueryStand {
    BigQueryStand::at(narrow(), place, access(&front.url, false)).await
}

/// Makes a table by day with the columns of old production, and more. Of a statement the emulator makes none by day.
async fn make(stand: &BigQueryStand, more: &[&str]) {
    let dataset = narrow();
    let kind = |name: &str| match name {
        "ts" => "TIMESTAMP",
        "rev" => "INTEGER",
        "price" | "fee" => "FLOAT",
        _ => "STRING",
    };
    // Not in the contract's order.
    let mut names: Vec<&str> = dataset.column_names().chain(more.iter().copied()).collect();
    names.reverse();
    let fields: Vec<Value> = names
        .iter()
        .map(|name| json!({ "name": name, "type": kind(name), "description": format!("our {name}") }))
        .collect();
    let table = json!({ "projectId": PROJECT, "datasetId": stand.place.dataset, "tableId": "fills" });
    let by_day = json!({ "type": "DAY", "field": "ts" });
    let table = json!({ "tableReference": table, "schema": { "fields": fields }, "timePartitioning": by_day,
        "clustering": { "fields": ["wallet"] } });
    let insert = stand.witness.tables.insert_table().set_project_id(PROJECT).set_dataset_id(&stand.place.dataset);
    Box::pin(insert.set_table(serde_json::from_value::<Table>(table).unwrap()).send()).await.unwrap();
}

/// A production that nobody has kept clean, behind a front.
async fn old_table() -> (Front, BigQueryStand) {
    let front = Front::start(&servers().bigquery).await;
    let place = place(servers()).await;
    let before = old(&front, place.clone()).await;
    make(&before, &[]).await;
    before.plant(&old_production()).await;
    let stand = at(&front, place).await;
    (front, stand)
}

/// The target as a source of its own.
async fn own(front: &Front, stand: &BigQueryStand, into: &std::path::Path) -> Result<Sources<'static>> {
    let name = TableName { place: stand.place.clone(), table: "fills".into() };
    let stage = stage(servers(), &stand.place);
    let (folder, _) = export_into(access(&front.url, false), &name, &stage, stand.dataset(), into).await?;
    let mut inputs = discover(&[folder.display().to_string()], &[]).await?;
    inputs.iter_mut().for_each(|input| input.is_utc = true);
    let places = inputs.iter().map(|input| (input.url.clone(), "production".to_string())).collect();
    Ok(Sources { inputs, places, ..Sources::default() })
}

async fn mended_by(front: &Front, stand: &BigQueryStand, rows: &[Value]) -> Result<MigrationReport> {
    let scratch = tempfile::tempdir().unwrap();
    let own = own(front, stand, scratch.path()).await?;
    let staging = sources(input(stand, rows).await);
    Box::pin(mend(&run(stand, options()), own, staging, &mut ledger(stand).await)).await
}

async fn mended(front: &Front, stand: &BigQueryStand) -> MigrationReport {
    let report = mended_by(front, stand, &staging()).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!((&report.run.stops[..], &proof(&report).findings[..]), (&[][..], &[][..]), "{report:#?}");
    report
}

/// The names of the tables of the dataset that begin so.
async fn tables(stand: &BigQueryStand, begins: &str) -> Vec<String> {
    let tables = format!("SELECT table_name AS t FROM `{PROJECT}`.`{}`.INFORMATION_SCHEMA.TABLES", stand.place.dataset);
    let tables = stand.witness.run(&tables).await;
    let names = tables.iter().map(|row| row["t"].as_str().unwrap().to_string());
    names.filter(|name| name.starts_with(begins)).collect()
}

async fn production(stand: &BigQueryStand) -> Table {
    stand.witness.table(&stand.place, "fills").await
}

/// What must be true of a table that was mended, whatever happened on the way.
async fn must_be_mended(stand: &BigQueryStand) {
    assert_eq!(shown(&stand.table().await), MENDED);
    let own = ledger(stand).await;
    let count = MENDED.len() as u64;
    assert_eq!((own.lost_rows(count), own.removed_between_merges(), own.unfinished().len()), (0, 0, 0));
    assert_eq!((own.rows_after_last_merge(), own.pending_swap(), own.unsettled().len()), (Some(count), None, 0));
    assert_eq!(tables(stand, "tradefold_tmp_making").await, Vec::<String>::new());
    let table = production(stand).await;
    assert_eq!(table.time_partitioning.unwrap().field.as_deref(), Some("ts"));
    // The old columns are where they were, and called what they were called.
    let fields = table.schema.unwrap().fields;
    let said: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.description.as_deref())).collect();
    assert_eq!((said[0], said[6]), (("run", Some("our run")), ("log_index", None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_with_duplicates_is_replaced_and_can_be_had_back() {
    let (front, stand) = old_table().await;
    let before = old(&front, stand.place.clone()).await.table().await;
    let made_ms = production(&stand).await.creation_time;
    assert!(needs_mending(&run(&stand, options())).await.unwrap());
    let report = mended(&front, &stand).await;
    must_be_mended(&stand).await;
    let proof = proof(&report);
    assert_eq!((proof.before.unwrap().rows, proof.inserted, proof.after.rows), (8, 2, 7));
    let names: Vec<&str> = proof.checks.iter().map(|check| check.name.as_str()).collect();
    let all = "lost_keys missing_winners lowered_rows lower_than_winners blanked_columns duplicates keys rows";
    assert_eq!(names.join(" "), all);
    // One copy, which leaves the table what it is to whoever was granted something of it.
    let copies = front.copies();
    let said = |of: &str| -> Vec<&Value> { copies.iter().map(|copy| &copy[of]).collect() };
    assert_eq!(said("operationType"), ["SNAPSHOT", "COPY"]);
    assert_eq!(said("writeDisposition"), ["WRITE_EMPTY", "WRITE_TRUNCATE"]);
    assert_eq!(production(&stand).await.creation_time, made_ms);
    let until = Day::of_us(NOW_US).plus(30);
    assert_eq!(copies[0]["destinationExpirationTime"], json!(text_of_us(until.plus(1).start_us())));
    assert!(!needs_mending(&run(&stand, options())).await.unwrap());
    // The statements name the tables as they are called by now.
    for sql in proof.checks.iter().flat_map(|check| &check.sql).filter(|sql| !sql.contains("_sum")) {
        let rows = stand.witness.run(sql).await;
        let is_none = |value: &Value| value.as_i64() == Some(0);
        assert!(rows.iter().all(|row| row.as_object().unwrap().values().all(is_none)), "{sql}\n{rows:?}");
    }
    // From here on it is a table like any other.
    let again = migrated(&stand, &staging()).await;
    assert_eq!((again.run.totals().1, again.run.totals().2, super::proof(&again).findings.len()), (0, 0, 0));
    let more = [fill("0xc1", json!("o"), EDGE_S, 1, 9.3)];
    crate::warehouse::merged(&stand, &more).await;
    assert_eq!(ledger(&stand).await.rows_after_last_merge(), Some(8));
    let name = proof.migration.clone();
    let planned = back(&stand, &name, true).await.unwrap();
    assert_eq!((planned.replaced.unwrap().rows_after, stand.table().await.len()), (8, 8));
    back(&stand, &name, false).await.unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(old(&front, stand.place.clone()).await.table().await, before);
    let fields = production(&stand).await.schema.unwrap().fields;
    assert!(fields.iter().all(|field| field.name != "log_index"), "{fields:?}");
    // What is kept expires, and the table does not.
    let snapshots = tables(&stand, "tradefold_kept_fills").await.into_iter().filter(|name| !name.contains("winners"));
    assert_eq!((snapshots.count() > 1, front.ran("forget")), (true, 1));
    let own = ledger(&stand).await;
    assert_eq!((own.rows_after_last_merge(), own.mended(&name), own.unsettled().len()), (Some(8), None, 0));
    assert_eq!(back(&stand, &name, false).await.unwrap_err().kind(), Kind::Usage);
    mended(&front, &stand).await;
    must_be_mended(&stand).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_that_would_lose_a_column_is_not_mended() {
    let front = Front::start(&servers().bigquery).await;
    let stand = at(&front, place(servers()).await).await;
    make(&stand, &["fee"]).await;
    let error = needs_mending(&run(&stand, options())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.render().contains("columns that the contract has not"), "{}", error.render());
    assert_eq!(front.copies().len(), 0);
}

/// A mend that has died after so many effects.
async fn died_after(effects: i64) -> Option<(Front, BigQueryStand)> {
    let (front, stand) = old_table().await;
    front.die_after_effects(effects, true);
    let died = mended_by(&front, &stand, &staging()).await;
    assert_eq!(died.is_err(), front.is_dead(), "{died:?}");
    front.revive();
    let again = at(&front, stand.place.clone()).await;
    died.is_err().then_some((front, again))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mend_in_bigquery_that_dies_goes_on() {
    for effects in [2, 9] {
        let (front, again) = died_after(effects).await.unwrap();
        assert_eq!(front.ran("swap"), 0, "{:#?}", front.log());
        mended(&front, &again).await;
        must_be_mended(&again).await;
        assert_eq!(front.ran("swap"), 1);
    }
}

/// A table and the one that is about to take its place, with the entry that says so.
async fn about_to_be_swapped() -> (Front, BigQueryStand, Swap) {
    let (front, stand) = old_table().await;
    let target = run(&stand, options());
    let history = target.history().unwrap();
    let made = history.in_the_making(true).await.unwrap();
    let making = made.target().rsplit('.').next().unwrap().to_string();
    let (columns, dataset) = ("`wallet`, `ts`, `rev`, `price`", &stand.place.dataset);
    let values = "('0xa1', TIMESTAMP '2026-01-01 00:00:00+00', 1, 0.5)";
    stand.witness.run(&format!("INSERT INTO `{PROJECT}`.`{dataset}`.`{making}` ({columns}) VALUES {values}")).await;
    let swap = Swap {
        run_id: "mend".into(),
        is_back: false,
        old: history.state().await.unwrap().unwrap(),
        new: made.history().unwrap().state().await.unwrap().unwrap(),
        kept: history.kept_as(Day::of_us(NOW_US), "mend-1"),
        until: Day::of_us(NOW_US),
        from: None,
    };
    assert_eq!((swap.old.rows, swap.new.rows), (8, 1));
    ledger(&stand).await.append(Entry::Swapping { swap: Box::new(swap.clone()) }, NOW_US).await.unwrap();
    (front, stand, swap)
}

async fn settled(stand: &BigQueryStand) -> Result<()> {
    settle_swap(stand.warehouse(), &mut ledger(stand).await, &Silent, NOW_US).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_in_bigquery_that_dies_after_any_effect_is_finished_by_the_next_writer() {
    let mut deaths = 0;
    for effects in 0.. {
        let (front, stand, swap) = about_to_be_swapped().await;
        for is_back in [false, true] {
            // The way back is the same with one copy more.
            if is_back {
                let Some(Entry::Swapping { swap: done }) =
                    ledger(&stand).await.records().iter().rev().find_map(|record| {
                        matches!(record.entry, Entry::Swapping { .. }).then(|| record.entry.clone())
                    })
                else {
                    panic!()
                };
                assert_eq!(*done, swap);
                front.die_after_effects(effects, true);
                let died = back(&stand, "mend", false).await.is_err();
                assert_eq!(died, front.is_dead());
            } else {
                front.die_after_effects(effects, true);
                assert_eq!(settled(&stand).await.is_err(), front.is_dead());
            }
            deaths += i32::from(front.is_dead());
            let is_dead = front.is_dead();
            front.revive();
            let again = at(&front, stand.place.clone()).await;
            settled(&again).await.unwrap_or_else(|error| panic!("{}", error.render()));
            if is_back && is_dead && ledger(&again).await.mended("mend").is_some() {
                back(&again, "mend", false).await.unwrap();
            }
            let own = ledger(&again).await;
            assert_eq!((own.pending_swap(), own.mended("mend").is_some(), own.unsettled().len()), (None, !is_back, 0));
            let rows =
                again.witness.run(&format!("SELECT rev FROM `{PROJECT}`.`{}`.`fills`", again.place.dataset)).await;
            assert_eq!(
                (rows.len(), tables(&again, "tradefold_tmp_making").await.len()),
                (if is_back { 8 } else { 1 }, 0)
            );
        }
        if !front.is_dead() && effects >= 7 {
            break;
        }
    }
    assert!(deaths > 8, "{deaths}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_that_somebody_has_written_to_before_the_swap_stays() {
    let (front, stand, _) = about_to_be_swapped().await;
    old(&front, stand.place.clone()).await.plant(&[fill("0xA7", json!("o"), EDGE_S, 1, 0.7)]).await;
    settled(&stand).await.unwrap();
    let own = ledger(&stand).await;
    assert_eq!((own.pending_swap(), own.mended("mend"), front.ran("swap"), front.ran("snapshot")), (None, None, 0, 0));
    mended(&front, &stand).await;
    assert!(shown(&stand.table().await).contains(&"0xa7 1 0.7".to_string()));
}
