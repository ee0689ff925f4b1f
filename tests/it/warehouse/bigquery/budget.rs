//! What a plan would take of BigQuery's limits and of its user's money, and what a run has taken.

use super::front::Front;
use super::servers::servers;
use super::stand::{BigQueryStand, access, place};
use crate::rows::{cut, of_days, trades};
use crate::warehouse::{DAY_S, EDGE_S, Stand, fill, fills, merged};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tradefold::balance::Balance;
use tradefold::ledger::Ledger;
use tradefold::plan::{Batch, plan};
use tradefold::report::{JobsReport, PlanReport, plan_text};
use tradefold::warehouse::usage::{Arrival, Estimate, Outline, Usage, Widths};
use tradefold::window::Day;

const MIB: u64 = 1 << 20;

async fn stand(front: &Front, dataset: Arc<tradefold::dataset::Dataset>) -> BigQueryStand {
    BigQueryStand::at(dataset, place(servers()).await, access(&front.url, false)).await
}

/// Columns that take so many bytes in each row.
fn widths(stand: &BigQueryStand, bytes: u64) -> Widths {
    let columns = stand.dataset().columns.len();
    Widths::of_sums(stand.dataset(), &std::iter::once(1).chain(std::iter::repeat_n(bytes, columns)).collect::<Vec<_>>())
}

fn used(usage: &Usage) -> BTreeMap<&str, u64> {
    usage.limits.iter().map(|limit| (limit.what.as_str(), limit.used)).collect()
}

fn billed(estimate: &Estimate) -> BTreeMap<&str, (u64, u64)> {
    estimate.usage.steps.iter().map(|(step, used)| (step.as_str(), (used.jobs, used.bytes_billed / MIB))).collect()
}

/// The backfill that tradefold was made for: 165,569,306 rows for 58,953,954 keys, here over 400 days.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_400_days_stays_far_below_every_limit() {
    let front = Front::start(&servers().bigquery).await;
    let stand = stand(&front, trades().into()).await;
    let winners: BTreeMap<Option<Day>, u64> = (0..400).map(|day| (Some(Day(20_000 + day)), 147_384)).collect();
    let batches = plan(stand.dataset(), &winners, &BTreeMap::new(), &cut(&winners, of_days(16)));
    let outline = Outline {
        batches: &batches,
        widths: widths(&stand, 20),
        landed_rows: 165_569_306,
        arrival: Arrival::Loaded { bytes: 22_000_000_000 },
    };
    let mut estimate = stand.warehouse().estimate(&outline).await.unwrap();
    // The name of the dataset is longer or shorter, as tests come.
    let limits = estimate.iter_mut().flat_map(|estimate| &mut estimate.usage.limits);
    limits.filter(|limit| limit.what.starts_with("characters")).for_each(|limit| limit.used -= limit.used % 100);
    assert!(estimate.as_ref().unwrap().usage.limits.iter().all(|limit| limit.used * 3 < limit.allowed));
    let report = PlanReport {
        target: "bigquery://project.raw.trades".into(),
        target_rows: 0,
        balance: Balance::default(),
        batches,
        would_stop: Vec::new(),
        estimate,
    };
    insta::assert_snapshot!(plan_text(&report).split("nothing was written\n").nth(1).unwrap());
}

/// Two batches of a million rows each, seven columns of 10 bytes, over a table that has 100 MiB on the days of each.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_counted_for_each_statement() {
    let front = Front::start(&servers().bigquery).await;
    let stand = stand(&front, fills()).await;
    stand.plant(&[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    front.set_dry_bytes(100 * MIB as i64);
    let winners = BTreeMap::from([(Some(Day(0)), 1_000_000), (Some(Day(1)), 1_000_000)]);
    let batches: Vec<Batch> = plan(stand.dataset(), &winners, &BTreeMap::new(), &cut(&winners, of_days(1)));
    let columns = stand.dataset().columns.len() as u64;
    let outline = Outline {
        batches: &batches,
        widths: widths(&stand, 10),
        landed_rows: 3_000_000,
        arrival: Arrival::Loaded { bytes: 300 * MIB },
    };
    let estimate = stand.warehouse().estimate(&outline).await.unwrap().unwrap();
    let staged = columns * 10 * 1_000_000;
    // The second batch looks at the day of the first, too; at the time of its MERGE that is there.
    let targets = [100 * MIB, 100 * MIB + staged];
    let compared = 2 * (staged + 100 * MIB);
    let merged: u64 = targets.iter().map(|target| staged + 2 * target).sum();
    let found = billed(&estimate);
    assert_eq!(found["load"], (2, 0));
    assert_eq!(found["compare"], (2, compared / MIB));
    assert_eq!(found["merge"], (2, merged / MIB));
    // The two key columns of what is staged, and the keys of the whole table.
    assert_eq!(found["search"], (2, 2 * (2 * 10 * 1_000_000 + 100 * MIB) / MIB));
    assert_eq!(estimate.usage.staged_bytes, 200 * MIB);
    let without = &estimate.without_dedup;
    assert_eq!((without.load_jobs, without.days_of_quota, without.rows), (3_000, 2, 3_000_000));
    assert_eq!(without.bytes_billed, 3 * staged + 2 * (100 * MIB), "one MERGE, and nothing was brought before it");
    // 6.25 a TiB.
    let price = estimate.usage.bytes_billed() as f64 / (MIB * MIB) as f64 * 625.0;
    assert_eq!(estimate.usage.price_cents, price.round() as u64);
}

/// Each query is billed for 10 MiB of each table that it reads, at least.
#[tokio::test(flavor = "multi_thread")]
async fn small_queries_are_billed_for_the_least() {
    let front = Front::start(&servers().bigquery).await;
    let stand = stand(&front, fills()).await;
    let winners = BTreeMap::from([(Some(Day(0)), 1)]);
    let batches = plan(stand.dataset(), &winners, &BTreeMap::new(), &cut(&winners, of_days(1)));
    let outline = Outline {
        batches: &batches,
        widths: widths(&stand, 10),
        landed_rows: 1,
        arrival: Arrival::Loaded { bytes: 1 },
    };
    let estimate = stand.warehouse().estimate(&outline).await.unwrap().unwrap();
    let all = billed(&estimate);
    assert!(all.iter().all(|(step, used)| *used == (1, if *step == "load" { 0 } else { 20 })), "{all:?}");
    assert_eq!(used(&estimate.usage)["objects of one load job"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_what_it_has_taken_and_a_plan_foretells_it() {
    let front = Front::start(&servers().bigquery).await;
    let stand = stand(&front, fills()).await;
    let rows: Vec<Value> =
        (0..20).map(|day| fill(&format!("0x{day:x}"), Value::Null, EDGE_S + day * DAY_S, 1, 0.1)).collect();
    let report = merged(&stand, &rows).await;
    let taken = report.usage.unwrap();
    let jobs: BTreeMap<&str, u64> = taken.steps.iter().map(|(step, used)| (step.as_str(), used.jobs)).collect();
    assert_eq!(jobs, BTreeMap::from([("load", 2), ("compare", 2), ("search", 2), ("merge", 2), ("verify", 2)]));
    assert!(taken.staged_bytes > 1_000);
    // What the front says of each query.
    assert_eq!((taken.bytes_billed(), taken.steps["load"].bytes_billed), (8 * 20 * MIB, 0));
    let ledger = Ledger::open(stand.home().join("ledger"), String::new()).await.unwrap();
    assert_eq!(JobsReport::of(&ledger), JobsReport { jobs: 10, bytes_billed: 8 * 20 * MIB, partitions: 2 * 3 });
    let merges: Vec<_> = ledger.receipts().map(|receipt| receipt.merged.job.clone().unwrap()).collect();
    assert!(merges.iter().all(|job| job.bytes_billed == 20 * MIB && job.job.contains("_merge_1")), "{merges:?}");
    let winners = (0..20).map(|day| (Some(Day((EDGE_S / DAY_S) as i32 + day)), 1)).collect();
    let batches = plan(stand.dataset(), &winners, &BTreeMap::new(), &cut(&winners, of_days(16)));
    let outline = Outline {
        batches: &batches,
        widths: widths(&stand, 10),
        landed_rows: 20,
        arrival: Arrival::Loaded { bytes: 1 },
    };
    let mut foretold = stand.warehouse().estimate(&outline).await.unwrap().unwrap().usage;
    let of_statements = |usage: &mut Usage| {
        let line = usage.limits.iter_mut().find(|limit| limit.what.starts_with("characters")).unwrap();
        std::mem::take(&mut line.used)
    };
    let mut taken = taken;
    let (said, was) = (of_statements(&mut foretold), of_statements(&mut taken));
    // It reckons with losers beside the winners, which are compared as well.
    assert!(was > 1_000 && said >= was && said < 2 * was, "{said} {was}");
    // As many encoders write objects as there are threads.
    foretold.limits.iter_mut().filter(|limit| limit.what.starts_with("objects")).for_each(|limit| limit.used = 1);
    assert_eq!(taken.limits, foretold.limits);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_values_and_of_days_are_steps_as_any_other() {
    let front = Front::start(&servers().bigquery).await;
    let stand = stand(&front, fills()).await;
    stand.plant(&[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let found = stand.warehouse().values("wallet", Some(("order_hash", "o"))).await.unwrap();
    assert_eq!(found, BTreeMap::from([("0xa".to_string(), 1)]));
    assert_eq!(front.ran("values"), 1);
    let taken = stand.warehouse().usage().unwrap();
    // What the front says of each query.
    assert_eq!((taken.steps["values"].jobs, taken.steps["values"].bytes_billed), (1, 20 * MIB));
    let day = Day::of_us(EDGE_S * 1_000_000);
    assert_eq!(stand.warehouse().rows_by_day(day).await.unwrap(), BTreeMap::from([(day, 1)]));
    assert_eq!((front.ran("days"), stand.warehouse().usage().unwrap().steps["days"].jobs), (1, 1));
}
