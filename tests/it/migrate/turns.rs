//! Long runs take turns with others, batch by batch.

use super::{ledger, migrated, of, options, production, proof, run, sources, staging};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, NOW_US, Stand, fill, fills, input, merged, walk_with};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Mutex;
use tradefold::error::{Kind, Result};
use tradefold::ledger::{Entry, Ledger};
use tradefold::migrate::migrate;
use tradefold::run::{Run, RunOptions, Work};
use tradefold::writer::Turns;

/// Somebody who brings rows in at the first turn that is given.
struct Other<'a> {
    stand: &'a LocalStand,
    rows: Mutex<Option<Vec<Value>>>,
}

#[async_trait]
impl Turns for Other<'_> {
    async fn give(&self, ledger: &mut Ledger) -> Result<bool> {
        let Some(rows) = self.rows.lock().unwrap().take() else { return Ok(false) };
        let inputs = input(self.stand, &rows).await;
        let warehouse = self.stand.warehouse();
        walk_with(ledger, warehouse, self.stand, &inputs, RunOptions::default(), NOW_US).await?;
        Ok(true)
    }
}

async fn beside(stand: &LocalStand, rows: Vec<Value>) -> Result<tradefold::report::MigrationReport> {
    let other = Other { stand, rows: Mutex::new(Some(rows)) };
    let run = Run { turns: Some(&other), ..run(stand, options()) };
    let sources = sources(input(stand, &staging()).await);
    Box::pin(migrate(&run, sources, &mut ledger(stand).await)).await
}

#[tokio::test]
async fn what_others_bring_in_between_two_batches_is_compared_and_proven() {
    let stand = LocalStand::of(fills());
    merged(&stand, &production()).await;
    // One of the migration's own keys of its last batch in a higher row, and a key of theirs.
    let theirs = vec![
        fill("0xb2", Value::Null, EDGE_S + 21 * DAY_S, 9, 9.4),
        fill("0xc1", json!("o"), EDGE_S + 30 * DAY_S, 1, 9.3),
    ];
    let report = beside(&stand, theirs).await.unwrap();
    let proof = proof(&report);
    assert_eq!((&proof.findings, proof.inserted, proof.inserted_by_others), (&Vec::new(), 1, 2));
    // It would have been new, and is older by now.
    let last = report.run.batches.last().unwrap();
    assert_eq!((last.comparison.new, last.comparison.older), (0, 1));
    let table = stand.table().await;
    assert_eq!((of(&table, "0xb2")[0]["price"].clone(), of(&table, "0xc1").len()), (json!(9.4), 1));
    // The same again is nothing new.
    assert_eq!(migrated(&stand, &staging()).await.run.totals().1, 0);
}

#[tokio::test]
async fn what_others_bring_in_and_needs_a_decision_ends_the_run_until_it_is_run_again() {
    let stand = LocalStand::of(fills());
    merged(&stand, &production()).await;
    let mut theirs = fill("0xb2", Value::Null, EDGE_S + 21 * DAY_S, 1, 2.4);
    theirs["log_index"] = json!(1);
    let mut rows = staging();
    rows.last_mut().unwrap()["log_index"] = json!(2);
    let other = Other { stand: &stand, rows: Mutex::new(Some(vec![theirs])) };
    let run = Run { turns: Some(&other), ..run(&stand, options()) };
    let sources = sources(input(&stand, &rows).await);
    let error = Box::pin(migrate(&run, sources, &mut ledger(&stand).await)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
    let again = super::migrated_by(&stand, &rows, options()).await.unwrap();
    assert_eq!(again.run.stops.iter().map(|stop| stop.reason.as_str()).collect::<Vec<_>>(), ["suspect_keys"]);
}

/// Somebody who ends the run at the first turn that is given.
struct Ender(String);

#[async_trait]
impl Turns for Ender {
    async fn give(&self, ledger: &mut Ledger) -> Result<bool> {
        ledger.append(Entry::RollingBack { run_id: self.0.clone(), rows: 0 }, NOW_US).await?;
        Ok(true)
    }
}

#[tokio::test]
async fn a_run_that_was_taken_back_at_a_turn_merges_nothing_more() {
    let stand = LocalStand::of(fills());
    merged(&stand, &production()).await;
    let inputs = input(&stand, &staging()).await;
    let ender = Ender(run(&stand, options()).run_id(Work::Files(&inputs)));
    let run = Run { turns: Some(&ender), ..run(&stand, options()) };
    let changes = stand.changes().await;
    let error = Box::pin(migrate(&run, sources(inputs), &mut ledger(&stand).await)).await.unwrap_err();
    assert_eq!((error.kind(), stand.changes().await), (Kind::Busy, changes + 1), "{}", error.render());
}
