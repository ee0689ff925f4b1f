//! Sources in BigQuery that are dropped, or must not be.

use super::drop::{dropped, kept};
use super::{ledger, migrated, production, staging};
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::script::{Fault, refusal};
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::{BigQueryStand, access, place, stage};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{EDGE_S, NOW_US, Stand, fill, fills, merged};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tradefold::error::Kind;
use tradefold::gc::Places;
use tradefold::ledger::{Entry, Holder, Ledger};
use tradefold::migrate::{ReadSource, SourceTable, check_drop};
use tradefold::progress::Silent;
use tradefold::report::MigrationReport;
use tradefold::warehouse::bigquery::{ReadTable, TableName, export, is_there};
use tradefold::window::{Day, text_of_us};
use tradefold::writer::{Lease, Terms};

/// A staging table in BigQuery behind a front, and a lake that its rows were brought into.
struct World {
    front: Front,
    source: BigQueryStand,
    lake: LocalStand,
    report: MigrationReport,
    table: SourceTable,
}

impl World {
    async fn new() -> World {
        let front = Front::start(&servers().bigquery).await;
        let source = BigQueryStand::at(fills(), place(servers()).await, access(&front.url, false)).await;
        source.plant(&staging()).await;
        let lake = LocalStand::new();
        merged(&lake, &production()).await;
        let report = migrated(&lake, &staging()).await;
        let table = read(&front, &source).await;
        World { front, source, lake, report, table }
    }

    /// The table that the drop is to keep.
    fn kept(&self) -> TableName {
        let ReadSource::BigQuery { table, .. } = &self.table.read else { panic!("{:?}", self.table) };
        table.kept()
    }

    async fn has(&self, name: &TableName) -> bool {
        is_there(access(&self.front.url, false), name).await.unwrap()
    }

    async fn has_source(&self) -> bool {
        self.has(&TableName { place: self.source.place.clone(), table: "fills".into() }).await
    }

    async fn rows(&self, name: &TableName) -> usize {
        let name = format!("`{}`.`{}`.`{}`", name.place.project, name.place.dataset, name.table);
        self.source.witness.run(&format!("SELECT * FROM {name}")).await.len()
    }

    async fn refused(&mut self, kind: Kind, why: &str) {
        let error = dropped(&self.lake, &mut self.report, &self.table).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.render());
        assert!(error.render().contains(why), "{}", error.render());
        assert!(self.has_source().await && kept(&self.report).is_empty());
    }
}

/// A source as an export finds it.
async fn read(front: &Front, source: &BigQueryStand) -> SourceTable {
    let name = TableName { place: source.place.clone(), table: "fills".into() };
    let (access, stage) = (access(&front.url, false), stage(servers(), &source.place));
    let read = export(access.clone(), &name, &stage).await.unwrap().read;
    let table = Box::new(ReadTable { name, read, access, stage: stage.url().to_string() });
    SourceTable { place: "staging".into(), read: ReadSource::BigQuery { table, ledger: source.home().join("ledger") } }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_is_dropped_and_a_snapshot_of_it_is_left() {
    let mut world = World::new().await;
    dropped(&world.lake, &mut world.report, &world.table).await.unwrap_or_else(|error| panic!("{}", error.render()));
    let until = Day::of_us(NOW_US).plus(30);
    let [told] = kept(&world.report) else { panic!("{:?}", world.report) };
    let ReadSource::BigQuery { table, .. } = &world.table.read else { panic!() };
    assert_eq!((told.until, told.version), (until, Some(table.read.modified_ms)));
    assert_eq!((&told.source, &told.kept), (&table.name.to_string(), &world.kept().to_string()));
    assert_eq!((world.has_source().await, world.rows(&world.kept()).await), (false, staging().len()));
    let copies = world.front.copies();
    let ends = text_of_us(until.plus(1).start_us());
    assert_eq!(copies.len(), 1);
    assert_eq!(
        (&copies[0]["operationType"], &copies[0]["writeDisposition"]),
        (&json!("SNAPSHOT"), &json!("WRITE_EMPTY"))
    );
    assert_eq!(copies[0]["destinationExpirationTime"], json!(ends), "after its last day");
    // It expires by itself: until then it is told, by a lake as it was promised.
    let (home, own) = (world.lake.home(), ledger(&world.lake).await);
    let places = Places { warehouse: world.lake.warehouse(), home: &home, work: &home };
    let left = places.leftovers(&own, until).await.unwrap();
    let told = left.iter().filter(|left| left.expires).map(|left| (left.place.clone(), left.kept_until));
    let kept = world.kept().to_string();
    assert_eq!(told.collect::<Vec<_>>(), [(kept.clone(), Some(until))]);
    let left = places.leftovers(&own, until.plus(1)).await.unwrap();
    assert!(left.iter().all(|left| !left.expires && left.what != "dropped table"), "{left:?}");
    // A target in BigQuery asks, whatever was promised, as far as it may look there.
    let target = BigQueryStand::at(fills(), place(servers()).await, access(&world.front.url, false)).await;
    let promised = || BTreeMap::from([(kept.clone(), until.plus(-9)), (format!("{kept}0"), until)]);
    let told = target.warehouse().expiring(promised()).await.unwrap();
    assert_eq!(told, BTreeMap::from([(kept.clone(), Some(until))]));
    world.front.fail(&format!("GET table {}", world.kept().table), 1, refusal(403, "accessDenied"));
    let told = target.warehouse().expiring(promised()).await.unwrap();
    assert_eq!(told, BTreeMap::from([(kept, Some(until.plus(-9)))]));
    // Had back, it is a source like any other.
    let path = |name: &TableName| format!("`{}`.`{}`.`{}`", name.place.project, name.place.dataset, name.table);
    let back = format!("CREATE TABLE {} CLONE {}", path(&table.name), path(&world.kept()));
    world.source.witness.run(&back).await;
    let SourceTable { read: ReadSource::BigQuery { table, .. }, .. } = read(&world.front, &world.source).await else {
        panic!()
    };
    assert_eq!(table.read.rows, staging().len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_that_is_written_to_is_not_dropped() {
    let mut world = World::new().await;
    // After its snapshot, at the last moment.
    let go = Arc::new(Notify::new());
    let line = format!("GET table {}", world.kept().table);
    world.front.fail(&line, 1, Fault::Hold(Arc::clone(&go)));
    let late = [fill("0xc1", json!("o"), EDGE_S, 1, 3.3)];
    let (done, ()) = tokio::join!(dropped(&world.lake, &mut world.report, &world.table), async {
        while !world.front.came().contains(&line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.source.plant(&late).await;
        go.notify_one();
    });
    let error = done.unwrap_err();
    assert_eq!((error.kind(), world.has_source().await), (Kind::Busy, true), "{}", error.render());
    assert!(world.has(&world.kept()).await, "a snapshot without the last row is left to expire");
    assert!(error.render().contains("it has 10 rows") && error.render().contains("had 9 rows"), "{}", error.render());
    // Before anything is done.
    let entries = ledger(&world.lake).await.records().len();
    world.refused(Kind::Busy, "it has 10 rows").await;
    assert_eq!((ledger(&world.lake).await.records().len(), world.front.ran("snapshot")), (entries, 1));
    // Rows that are on their way count, however many they are.
    let looked = json!({ "type": "TABLE", "numRows": "10", "creationTime": "1", "lastModifiedTime": "2",
        "streamingBuffer": { "estimatedRows": "0" } });
    world.front.fail("GET table fills", 1, Fault::Answer(200, None, looked.to_string()));
    world.refused(Kind::Busy, "it has a streaming buffer").await;
    let looked = json!({ "type": "SNAPSHOT", "numRows": "10", "creationTime": "1", "lastModifiedTime": "2" });
    world.front.fail("GET table fills", 1, Fault::Answer(200, None, looked.to_string()));
    world.refused(Kind::Usage, "it is a snapshot").await;
    let looked = json!({ "type": "TABLE", "numRows": "10", "creationTime": "1", "lastModifiedTime": "2",
        "labels": { "tradefold_stage": "another" } });
    world.front.fail("GET table fills", 1, Fault::Answer(200, None, looked.to_string()));
    world.refused(Kind::Usage, "keep their ledger in another stage").await;
    // Once it is read anew, all of it is dropped.
    world.table = read(&world.front, &world.source).await;
    dropped(&world.lake, &mut world.report, &world.table).await.unwrap();
    assert_eq!((world.has_source().await, world.rows(&world.kept()).await), (false, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_that_is_the_target_or_has_unfinished_work_is_not_dropped() {
    let world = World::new().await;
    let tables = std::slice::from_ref(&world.table);
    let refused = async |target: &str, why: &str| {
        let error = check_drop(tables, target, &world.lake.home()).await.unwrap_err();
        assert!(error.kind() == Kind::Usage && error.render().contains(why), "{}", error.render());
    };
    let own = format!("{}.FILLS", world.source.place);
    refused(&own, "it is the target").await;
    check_drop(tables, &world.lake.warehouse().target(), &world.lake.home()).await.unwrap();
    let begun =
        Entry::Planned { run_id: "begun".into(), batches: Vec::new(), balance: Box::default(), files: BTreeMap::new() };
    let mut own = Ledger::open(world.source.home().join("ledger"), "staging".into()).await.unwrap();
    own.append(begun, NOW_US).await.unwrap();
    refused(&world.lake.warehouse().target(), "is not finished").await;
}

/// Whoever writes to a source has it until it is done, on whichever machine; and nobody begins while it is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_bigquery_is_not_dropped_while_a_writer_has_it() {
    let mut world = World::new().await;
    let open = async || Ledger::open(world.source.home().join("ledger"), "staging".into()).await.unwrap();
    let holder = Holder { name: "process 1 on another machine".into(), work_id: "another".into() };
    let (terms, now_us) = (Terms::usual(Duration::ZERO), || NOW_US);
    let lease = Lease::take(&mut open().await, holder.clone(), terms, now_us, &Silent).await.unwrap();
    world.refused(Kind::Busy, "process 1 on another machine has held it").await;
    lease.release().await.unwrap();
    let go = Arc::new(Notify::new());
    let line = format!("GET table {}", world.kept().table);
    world.front.fail(&line, 1, Fault::Hold(Arc::clone(&go)));
    let mut own = Ledger::open(world.source.home().join("ledger"), "staging".into()).await.unwrap();
    let (done, ()) = tokio::join!(dropped(&world.lake, &mut world.report, &world.table), async {
        while !world.front.came().contains(&line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = Lease::take(&mut own, holder.clone(), terms, now_us, &Silent).await.unwrap_err();
        assert!(error.kind() == Kind::Busy && error.render().contains("a test has held it"), "{}", error.render());
        go.notify_one();
    });
    done.unwrap();
    assert!(!world.has_source().await);
    Lease::take(&mut own, holder, terms, now_us, &Silent).await.unwrap().release().await.unwrap();
}

/// It dies after each effect, whose answer is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_in_bigquery_that_dies_is_finished_by_the_next_run() {
    let mut deaths = 0;
    for effects in 0.. {
        let mut world = World::new().await;
        world.front.die_after_effects(effects, true);
        let died = dropped(&world.lake, &mut world.report, &world.table).await.is_err();
        assert_eq!(died, world.front.is_dead());
        world.front.revive();
        let is_there = world.has_source().await;
        // That it would be kept, and where, was written down before.
        let own = ledger(&world.lake).await;
        let ReadSource::BigQuery { table, .. } = &world.table.read else { panic!() };
        let record = own.dropped(&table.name.to_string()).unwrap();
        let Entry::Dropping { kept, .. } = &record.entry else { panic!("{record:?}") };
        assert_eq!((kept, world.has(&world.kept()).await), (&world.kept().to_string(), true));
        if is_there {
            deaths += 1;
            world.table = read(&world.front, &world.source).await;
            dropped(&world.lake, &mut world.report, &world.table).await.unwrap();
            assert_eq!(world.front.ran("snapshot"), 1, "{:#?}", world.front.log());
        }
        assert_eq!((world.has_source().await, world.rows(&world.kept()).await), (false, staging().len()));
        if !died {
            break;
        }
    }
    assert_eq!(deaths, 1);
}
