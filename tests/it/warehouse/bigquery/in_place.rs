//! A table of BigQuery is landed and deduplicated where it lies, by one job that is found again.

use super::front::Front;
use super::script::Fault;
use super::servers::servers;
use super::stand::{BigQueryStand, access, place};
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, fill, fills};
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tradefold::balance::Balance;
use tradefold::dataset::Dataset;
use tradefold::dedup::{KeyCount, Tally};
use tradefold::error::Kind;
use tradefold::landing::{LandingCounts, LandingOptions};
use tradefold::plan::Batch;
use tradefold::sql::{Losers, Quarantine, Which};
use tradefold::stage::Manifest;
use tradefold::warehouse::Warehouse;
use tradefold::warehouse::bigquery::{BigQueryWarehouse, Options, Reduced, TableName};
use tradefold::window::{Day, Window};

struct World {
    front: Front,
    /// Whose target is the source.
    stand: BigQueryStand,
    warehouse: BigQueryWarehouse,
    source: TableName,
}

fn options() -> LandingOptions {
    LandingOptions::new(NOW_US)
}

impl World {
    /// A source with these rows, and a target beside it that is not there yet.
    async fn new(rows: &[Value]) -> World {
        let front = Front::start(&servers().bigquery).await;
        let stand = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
        stand.plant(rows).await;
        let mut target = Dataset::clone(&fills());
        target.name = "production".into();
        let warehouse = BigQueryWarehouse::connect(
            access(&front.url, false),
            Arc::new(target),
            stand.place.clone(),
            Options { stage: "gs://stage".into(), ..Options::default() },
        );
        let warehouse = warehouse.await.unwrap();
        let source = TableName { place: stand.place.clone(), table: "fills".into() };
        World { front, stand, warehouse, source }
    }

    async fn reduce(&self) -> Reduced<'_> {
        self.reduce_as(&options()).await
    }

    async fn reduce_as(&self, options: &LandingOptions) -> Reduced<'_> {
        let found = self.warehouse.in_place(&self.source, options).await.unwrap();
        found.unwrap().reduce(Losers::default()).await.unwrap_or_else(|error| panic!("{}", error.render()))
    }

    fn name(&self) -> String {
        format!("`{}`.`{}`.`fills`", self.stand.place.project, self.stand.place.dataset)
    }
}

/// No key is left out.
const KEPT: Quarantine = Quarantine { suspects: false, conflicts: false };

async fn number_of(reduced: &Reduced<'_>, which: Which) -> usize {
    let batches: Vec<_> = reduced.rows(which, KEPT).await.unwrap().try_collect().await.unwrap();
    batches.iter().map(|batch| batch.num_rows()).sum()
}

/// Two copies, one that is superseded, one that conflicts, a row of another day, and one that can't land.
fn rows() -> Vec<Value> {
    vec![
        fill("0xA", json!("o"), EDGE_S, 1, 0.1),
        fill("0xa", json!("o"), EDGE_S, 1, 0.1),
        fill("0xa", json!("o"), EDGE_S, 0, 0.1),
        fill("0xb", Value::Null, EDGE_S, 1, 0.1),
        fill("0xb", Value::Null, EDGE_S, 1, 0.2),
        fill("0xc", json!("o"), EDGE_S + DAY_S, 1, 0.1),
        fill("0xd", json!("o"), NOW_US / 1_000_000 + 2 * DAY_S, 1, 0.1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_landed_and_reduced_by_one_job() {
    let world = World::new(&rows()).await;
    let reduced = world.reduce().await;
    let counts = LandingCounts { read: 7, landed: 6, rejected: 1, outside: 0 };
    let losers = Tally { exact: 1, superseded: 1, conflict: 1 };
    let balance = Balance { landing: counts, winners: 3, losers, ..Balance::default() };
    assert_eq!(reduced.balance(Quarantine::default()), balance);
    let name = fills().partition.clone().unwrap();
    assert_eq!(reduced.rejects_by_reason, BTreeMap::from([(format!("{name}: a time in the future"), 1)]));
    let day = Day((EDGE_S / DAY_S) as i32);
    let days = BTreeMap::from([(Some(day), 2), (Some(day.plus(1)), 1)]);
    assert_eq!(reduced.winners_by_day(Quarantine::default()), days);
    assert_eq!((number_of(&reduced, Which::Winners).await, number_of(&reduced, Which::ConflictLosers).await), (3, 1));
    let rejected: Vec<_> = reduced.rejected().await.unwrap().try_collect().await.unwrap();
    assert_eq!(rejected.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    let quarantine = Quarantine { suspects: true, conflicts: true };
    let left = reduced.balance(quarantine);
    left.check().unwrap();
    assert_eq!((left.winners, left.quarantined), (2, KeyCount { keys: 1, rows: 2 }));
    let days = BTreeMap::from([(day, 1)]);
    let batch = Batch { number: 0, rows: 1, touched: days.keys().copied().collect(), days };
    let part = Some(reduced.part(quarantine));
    let manifest = Manifest { batch_id: "b".into(), batch, objects: Vec::new(), witnesses: None, part };
    assert_eq!(world.warehouse.load(&manifest).await.unwrap(), 1);
    assert_eq!(world.front.ran("reduce"), 1);
    assert!(world.front.endless().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_all_land_are_counted_by_their_keys() {
    let world = World::new(&rows()[..6]).await;
    let reduced = world.reduce().await;
    assert_eq!(reduced.counts, LandingCounts { read: 6, landed: 6, rejected: 0, outside: 0 });
    assert_eq!((world.front.ran("reduce"), world.front.ran("rejects")), (1, 0), "the source is read once");
    let us = |seconds: i64| seconds * 1_000_000;
    let window = Window::new(us(EDGE_S + 1), us(EDGE_S + 2 * DAY_S));
    let reduced = world.reduce_as(&LandingOptions { window, ..options() }).await;
    assert_eq!(reduced.counts, LandingCounts { read: 6, landed: 1, rejected: 0, outside: 5 });
    assert_eq!((world.front.ran("reduce"), world.front.ran("rejects")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_found_again_until_the_table_changes() {
    let world = World::new(&rows()).await;
    let first = world.reduce().await;
    // By a later present the row that could not land would have landed.
    let later = LandingOptions::new(NOW_US + 30 * 86_400_000_000);
    let second = world.reduce_as(&later).await;
    assert_eq!((second.counts, &second.sums), (first.counts, &first.sums));
    assert_eq!(world.front.ran("reduce"), 1);
    world.stand.plant(&[fill("0xe", json!("o"), EDGE_S, 1, 0.1)]).await;
    let third = world.reduce_as(&later).await;
    assert_eq!((third.counts.landed, world.front.ran("reduce")), (8, 2));
    let reduced =
        format!("`{}`.`{}`.`{}`", world.stand.place.project, world.stand.place.dataset, third.part(KEPT).table);
    world.stand.witness.run(&format!("DROP TABLE {reduced}")).await;
    assert_eq!((world.reduce_as(&later).await.counts.landed, world.front.ran("reduce")), (8, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_job() {
    for faults in [vec![Fault::CutAfter], vec![Fault::Cut], vec![Fault::CutAfter, Fault::Unknown(3)]] {
        let world = World::new(&rows()).await;
        for fault in &faults {
            world.front.fail("POST job reduce", 1, fault.clone());
        }
        assert_eq!(world.reduce().await.counts.landed, 6);
        assert_eq!((world.front.ran("reduce"), world.front.is_through()), (1, true), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_is_no_part_of_it() {
    let world = World::new(&rows()).await;
    let found = world.warehouse.in_place(&world.source, &options()).await.unwrap().unwrap();
    world.stand.witness.run(&format!("DELETE FROM {} WHERE `wallet` = '0xb'", world.name())).await;
    let reduced = found.reduce(Losers::default()).await.unwrap();
    assert_eq!(reduced.counts, LandingCounts { read: 7, landed: 6, rejected: 1, outside: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_rows_that_are_not_accounted_for_are_found() {
    let world = World::new(&rows()).await;
    let kinds = ["wallet STRING", "order_hash STRING", "ts TIMESTAMP", "rev INTEGER", "log_index INTEGER"];
    let fields =
        kinds.map(|field| field.split_once(' ').unwrap()).map(|(name, kind)| json!({"name": name, "type": kind}));
    let table = json!({ "type": "TABLE", "creationTime": "1", "lastModifiedTime": "1", "numRows": "8",
        "schema": { "fields": fields } });
    world.front.fail("GET table fills", 2, Fault::Answer(200, None, table.to_string()));
    let found = world.warehouse.in_place(&world.source, &options()).await.unwrap().unwrap();
    let error = found.reduce(Losers::default()).await.unwrap_err();
    let text = error.render();
    assert!(error.kind() == Kind::Data && text.contains("(R1)") && text.contains("hint:"), "{text}");
    assert!(text.contains("had 8 rows") && text.contains("7 were read; 6 of them land"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_reads_is_told_before() {
    let world = World::new(&rows()).await;
    world.front.set_dry_bytes(12_345);
    let found = world.warehouse.in_place(&world.source, &options()).await.unwrap().unwrap();
    let bytes = found.bytes().await.unwrap();
    assert_eq!((bytes.reduce, bytes.count), (Some(12_345), Some(12_345)));
    assert_eq!(world.front.ran("reduce"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_sql_can_not_land_is_told_with_its_columns() {
    let world = World::new(&rows()).await;
    let name = format!("`{}`.`{}`.`odd`", world.stand.place.project, world.stand.place.dataset);
    world.stand.witness.run(&format!("CREATE TABLE {name} (wallet ARRAY<STRING>, `order` NUMERIC, ts STRING)")).await;
    let source = TableName { table: "odd".into(), ..world.source.clone() };
    let reasons = world.warehouse.in_place(&source, &options()).await.unwrap().unwrap_err();
    assert!(reasons[0].starts_with("`wallet` is REPEATED STRING"), "{reasons:?}");
    let table = json!({ "type": "TABLE", "creationTime": "1", "lastModifiedTime": "1", "numRows": "7",
        "requirePartitionFilter": true, "schema": { "fields": [] } });
    world.front.fail("GET table fills", 2, Fault::Answer(200, None, table.to_string()));
    let reasons = world.warehouse.in_place(&world.source, &options()).await.unwrap().unwrap_err();
    assert!(reasons[0].contains("have to name its days"), "{reasons:?}");
    let missing = TableName { table: "none".into(), ..world.source.clone() };
    assert_eq!(world.warehouse.in_place(&missing, &options()).await.unwrap_err().kind(), Kind::Usage);
}
