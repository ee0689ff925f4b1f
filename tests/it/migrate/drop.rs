//! Sources that are dropped, or must not be.

use super::{back, crowded, ledger, migrated, migrated_by, options, production, run, staging};
use crate::warehouse::fuel::{Death, Fuel, FuelStore};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, fill, fills, merged};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tradefold::balance::Balance;
use tradefold::error::{Kind, Result};
use tradefold::gc::Places;
use tradefold::ledger::{Entry, Holder};
use tradefold::migrate::{Dropping, ReadSource, SourceTable, check_drop, drop_sources};
use tradefold::report::{DroppedTable, MigrationReport};
use tradefold::run::RunOptions;
use tradefold::warehouse::local::table_files;
use tradefold::window::Day;

/// A lake with a staging table, as a source.
async fn source() -> (LocalStand, SourceTable) {
    let stand = LocalStand::new();
    merged(&stand, &staging()).await;
    let folder = stand.lake.join("fills");
    let version = table_files(&folder).await.unwrap().version;
    (stand, SourceTable { place: "staging".into(), read: ReadSource::Delta { folder, version } })
}

pub(super) async fn dropped(stand: &LocalStand, report: &mut MigrationReport, table: &SourceTable) -> Result<()> {
    let holder = Holder { name: "a test".into(), work_id: "a test".into() };
    let dropping = Dropping { by: "a test".into(), wait: Duration::ZERO, holder, now_us: || NOW_US };
    let tables = std::slice::from_ref(table);
    drop_sources(&run(stand, options()), report, tables, &dropping, &mut ledger(stand).await).await
}

pub(super) fn kept(report: &MigrationReport) -> &[DroppedTable] {
    report.dropped.as_ref().unwrap()
}

fn is_there(table: &SourceTable) -> bool {
    let ReadSource::Delta { folder, .. } = &table.read else { panic!("{table:?}") };
    folder.local_path().unwrap().exists()
}

#[tokio::test]
async fn what_is_kept_is_removed_after_its_day_and_not_before() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let (from, table) = source().await;
    let ReadSource::Delta { version: read, .. } = table.read else { panic!("{table:?}") };
    let rows = from.table().await;
    let mut report = migrated(&stand, &staging()).await;
    let name = report.run.run_id.clone();
    dropped(&stand, &mut report, &table).await.unwrap_or_else(|error| panic!("{}", error.render()));
    let today = Day::of_us(NOW_US);
    let [DroppedTable { until, version, kept, .. }] = kept(&report) else { panic!("{report:?}") };
    assert_eq!((*until, *version, is_there(&table)), (today.plus(30), read, false));
    let home = stand.home();
    let places = Places { warehouse: stand.warehouse(), home: &home, work: &home };
    let found = async |day: Day| {
        let mut found = places.leftovers(&ledger(&stand).await, day).await.unwrap();
        found.retain(|left| left.what != "ledger file");
        found.into_iter().map(|left| (left.what.clone(), left)).collect::<std::collections::BTreeMap<_, _>>()
    };
    for day in [today, *until] {
        let found = found(day).await;
        assert_eq!(found["dropped table"].kept_until, Some(*until));
        assert_eq!(found["staged objects"].kept_until, Some(*until));
        assert_eq!(&found["dropped table"].place, kept);
    }
    // The page says the same of the winners.
    let folder = super::kept_of(&stand, &name);
    let mut sql = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let sql = sql.find(|path| path.extension().is_some_and(|end| end == "sql")).unwrap();
    let said = format!("kept until {until}");
    assert!(std::fs::read_to_string(sql).unwrap().contains(&said));
    let late = found(until.plus(1)).await;
    assert!(late.len() == 2 && late.values().all(|left| left.kept_until.is_none()));
    places.remove(&late.into_values().collect::<Vec<_>>()).await.unwrap();
    assert!(!url::Url::parse(kept).unwrap().to_file_path().unwrap().exists());
    assert_eq!(found(*until).await.len(), 0);
    assert_eq!((rows.len(), from.table().await.len()), (6, 0));
    // What was brought in can still be taken back.
    assert_eq!(back(&stand, &name, false).await.unwrap().undone.removed, 2);
}

#[tokio::test]
async fn a_source_that_somebody_has_written_to_since_is_not_dropped() {
    let stand = crowded().await;
    let (from, table) = source().await;
    let mut report = migrated(&stand, &staging()).await;
    merged(&from, &[fill("0xc1", json!("o"), EDGE_S + DAY_S, 1, 3.3)]).await;
    let error = dropped(&stand, &mut report, &table).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
    assert!(error.render().contains("its version is"), "{}", error.render());
    assert!(is_there(&table) && kept(&report).is_empty());
    assert_eq!(ledger(&stand).await.kept_tables(&stand.warehouse().target()).len(), 0);
}

#[tokio::test]
async fn a_source_whose_proof_does_not_hold_stays() {
    let stand = crowded().await;
    let (_from, table) = source().await;
    let mut report = migrated(&stand, &staging()).await;
    report.proof.as_mut().unwrap().findings.push("lost_keys".into());
    dropped(&stand, &mut report, &table).await.unwrap();
    assert!(is_there(&table) && kept(&report).is_empty());
    report.proof = None;
    dropped(&stand, &mut report, &table).await.unwrap();
    assert!(is_there(&table) && kept(&report).is_empty());
}

/// Its rows would be in no table.
#[tokio::test]
async fn a_source_of_which_rows_were_set_aside_stays() {
    let stand = crowded().await;
    let (_from, table) = source().await;
    let mut report = migrated(&stand, &staging()).await;
    let balance = report.run.balance.clone();
    for set_aside in [|of: &mut Balance| of.landing.rejected = 2, |of: &mut Balance| of.quarantined.rows = 3] {
        report.run.balance = balance.clone();
        set_aside(&mut report.run.balance);
        let error = dropped(&stand, &mut report, &table).await.unwrap_err();
        assert!(error.kind() == Kind::Data && error.render().contains("in no table"), "{}", error.render());
        assert!(is_there(&table) && kept(&report).is_empty());
    }
}

#[tokio::test]
async fn a_source_with_unfinished_work_or_a_writer_is_not_dropped() {
    let stand = crowded().await;
    let (from, table) = source().await;
    let target = stand.warehouse().target();
    let check = async || check_drop(std::slice::from_ref(&table), &target, &stand.home()).await;
    check().await.unwrap();
    let mut report = migrated(&stand, &staging()).await;
    let lock = from.home().local_path().unwrap().join("lock");
    let held = tradefold::writer::lock(&lock, Duration::ZERO, &tradefold::progress::Silent).await.unwrap();
    assert_eq!(dropped(&stand, &mut report, &table).await.unwrap_err().kind(), Kind::Busy);
    drop(held);
    let begun = Entry::Planned {
        run_id: "begun".into(),
        batches: Vec::new(),
        balance: Box::default(),
        files: std::collections::BTreeMap::new(),
    };
    ledger(&from).await.append(begun, 0).await.unwrap();
    let error = check().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.render().contains("begun"), "{}", error.render());
    assert_eq!(dropped(&stand, &mut report, &table).await.unwrap_err().kind(), Kind::Usage);
    assert!(is_there(&table));
}

/// What would be gone with the source is said before anything is written.
#[tokio::test]
async fn values_that_the_contract_has_no_column_for_are_a_reason_to_stop() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let before = stand.table().await;
    let mut rows = staging();
    rows[0]["fee"] = json!(0.5);
    rows[1]["fee"] = Value::Null;
    let options = RunOptions { leaves_nothing_out: true, ..options() };
    let stopped = migrated_by(&stand, &rows, options.clone()).await.unwrap();
    let [stop] = &stopped.run.stops[..] else { panic!("{stopped:?}") };
    assert_eq!(stop.reason, "left_out_columns");
    assert!(stop.found.ends_with("`fee` of 1 row"), "{}", stop.found);
    assert_eq!((stand.table().await, stopped.proof), (before, None));
    // A column without any value is nothing that could be lost.
    rows[0]["fee"] = Value::Null;
    let done = migrated_by(&stand, &rows, options).await.unwrap();
    assert_eq!((done.run.stops.len(), done.run.totals().1), (0, 2));
}

#[tokio::test]
async fn a_drop_that_dies_is_finished_by_the_next_run() {
    let staged: Vec<Value> = staging();
    let lake = LocalStand::new();
    merged(&lake, &production()).await;
    let mut deaths = 0;
    for effects in 0.. {
        let copy = crate::warehouse::copied(lake.folder.path());
        let calm = LocalStand::over(fills(), copy, |inner| inner);
        let mut report = migrated(&calm, &staged).await;
        let (_from, table) = source().await;
        let fuel = |inner| Arc::new(FuelStore { inner, fuel: Fuel::new(effects, Death::AfterTheEffect) }) as Arc<_>;
        let mortal = LocalStand::over(fills(), calm.folder, fuel);
        let died = dropped(&mortal, &mut report, &table).await.is_err();
        assert_eq!(is_there(&table), died, "it is either there or kept");
        let again = LocalStand::over(fills(), mortal.folder, |inner| inner);
        if died {
            deaths += 1;
            // It was written down that it would be moved, and gc finds nothing there.
            assert_eq!(ledger(&again).await.kept_tables(&again.warehouse().target()).len(), 1);
            let home = again.home();
            let places = Places { warehouse: again.warehouse(), home: &home, work: &home };
            let found = places.leftovers(&ledger(&again).await, Day(0)).await.unwrap();
            assert!(found.iter().all(|left| left.what != "dropped table"));
            let mut report = migrated(&again, &staged).await;
            dropped(&again, &mut report, &table).await.unwrap();
        }
        let ledger = ledger(&again).await;
        let [kept] = &ledger.kept_tables("").into_keys().collect::<Vec<_>>()[..] else { panic!("{ledger:?}") };
        assert!(url::Url::parse(kept).unwrap().to_file_path().unwrap().is_dir() && !is_there(&table));
        if !died {
            break;
        }
    }
    assert_eq!(deaths, 1);
}
