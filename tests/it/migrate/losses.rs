//! Losses that are planted between a migration and its proof.

use super::{asked_by_duckdb, crowded, kept_of, ledger, migrated_by, options, production, run, staging};
use crate::warehouse::local::LocalStand;
use crate::warehouse::{DAY_S, EDGE_S, Stand, ascending, fill, input, merged};
use deltalake::operations::update::UpdateBuilder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tradefold::dataset::Dataset;
use tradefold::migrate::prove;
use tradefold::report::Proof;
use tradefold::run::Work;
use tradefold::window::Day;

/// What somebody does to the table behind a migration's back.
pub(super) enum Loss {
    Delete(&'static str),
    Set(&'static str, &'static str, &'static str),
    Add(Value),
}

/// A stand whose table somebody can damage.
pub(super) trait Suffers: Stand {
    async fn suffer(&self, loss: Loss);

    /// Somebody else asks what a proof has asked.
    fn ask_again(&self, _proof: &Proof) {}
}

impl Suffers for LocalStand {
    async fn suffer(&self, loss: Loss) {
        match loss {
            Loss::Add(row) => self.plant(&[row]).await,
            loss => suffer_in(&self.folder.path().join("lake").join(&self.dataset().name), loss).await,
        }
    }

    fn ask_again(&self, proof: &Proof) {
        let folder = kept_of(self, &proof.migration);
        std::fs::write(folder.join("proof.sql"), proof.sql()).unwrap();
        std::fs::write(folder.join("proof.json"), serde_json::to_string(proof).unwrap()).unwrap();
        asked_by_duckdb(self, &proof.migration);
    }
}

/// The same to a table in a folder, which nothing can be added to.
pub(super) async fn suffer_in(path: &Path, loss: Loss) {
    let table = deltalake::open_table(url::Url::from_directory_path(path).unwrap()).await.unwrap();
    match loss {
        Loss::Delete(which) => drop(table.delete().with_predicate(which).await.unwrap()),
        Loss::Set(which, column, value) => {
            let update: UpdateBuilder = table.update();
            drop(update.with_predicate(which).with_update(column, value).await.unwrap());
        }
        Loss::Add(row) => panic!("{row} is not added here"),
    }
}

/// What is done, and what the proof then tells: of each check that does not hold its name, how many by day or column,
/// and of which wallets.
pub(super) fn cases(stand: &impl Stand) -> Vec<(Loss, String)> {
    let day = |s: i64| match stand.dataset().partition {
        Some(_) => Day::of_us(s * 1_000_000).to_string(),
        None => "without a day".to_string(),
    };
    // What ranks below all that is there.
    let (rev, least) = if stand.dataset().column("rev_back").is_some() { ("rev_back", "9") } else { ("rev", "0") };
    let (edge, early, late) = (day(EDGE_S), day(EDGE_S - DAY_S), day(EDGE_S + 40 * DAY_S));
    vec![
        // Staging has it, too.
        (
            Loss::Delete("wallet = '0xa2'"),
            format!("lost_keys {edge} 1 0xa2; missing_winners {edge} 1 0xa2; keys; rows"),
        ),
        (Loss::Delete("wallet = '0xa5'"), format!("lost_keys {late} 1 0xa5; keys; rows")),
        (Loss::Delete("wallet = '0xb1'"), format!("missing_winners {early} 1 0xb1; keys; rows")),
        (
            Loss::Set("wallet = '0xa2'", rev, least),
            format!("lowered_rows {edge} 1 0xa2; lower_than_winners {edge} 1 0xa2"),
        ),
        (Loss::Set("wallet = '0xb1'", rev, least), format!("lower_than_winners {early} 1 0xb1")),
        (Loss::Set("wallet = '0xa5'", "price", "NULL"), "blanked_columns price 1 0xa5".into()),
        (Loss::Add(fill("0xa2", json!("o"), EDGE_S, 2, 0.2)), format!("duplicates {edge} 1 0xa2; rows")),
        // A key that nobody has brought, in the place of one that somebody has: their number is right.
        (Loss::Set("wallet = '0xa5'", "wallet", "'0xa6'"), format!("lost_keys {late} 1 0xa5; keys")),
    ]
}

/// The checks of a proof that do not hold, as [`cases`] has them.
fn told(proof: &Proof) -> String {
    let failed = proof.checks.iter().filter(|check| check.found > 0).map(|check| {
        let by = check.by.iter().map(|(of, rows)| format!(" {of} {rows}"));
        let wallets = check.examples.iter().map(|key| format!(" {}", key[0].as_ref().unwrap()));
        check.name.clone() + &by.chain(wallets).collect::<String>()
    });
    failed.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_loss_that_is_planted_is_found_and_named() {
    let stand = crowded().await;
    every_loss_is_found(&stand, cases(&stand)).await;
}

#[tokio::test]
async fn every_loss_is_found_by_two_threads() {
    let stand = crowded().await.with_threads(2);
    every_loss_is_found(&stand, cases(&stand)).await;
}

#[tokio::test]
async fn every_loss_is_found_in_a_table_without_partition() {
    let stand = LocalStand::crowded(ascending()).await;
    every_loss_is_found(&stand, cases(&stand)).await;
}

/// Rows that never change are not raised, so none has to be as high as the winner of its key.
#[tokio::test]
async fn every_loss_is_found_of_rows_that_never_change() {
    let text = format!("immutable = true\n{}", include_str!("../warehouse/fills.toml"));
    let stand = LocalStand::crowded(Arc::new(Dataset::from_toml(&text, "fills.toml").unwrap())).await;
    let mut cases = cases(&stand);
    for (_, expected) in &mut cases {
        let others = expected.split("; ").filter(|check| !check.starts_with("lower_than_winners"));
        *expected = others.collect::<Vec<_>>().join("; ");
    }
    assert!(cases.iter().any(|(_, expected)| expected.is_empty()));
    every_loss_is_found(&stand, cases).await;
}

/// Plants every loss, one after the other, each into the table as a migration has left it.
pub(super) async fn every_loss_is_found(stand: &impl Suffers, cases: Vec<(Loss, String)>) {
    merged(stand, &production()).await;
    let inputs = input(stand, &staging()).await;
    let work = Work::Files(&inputs);
    let name = run(stand, options()).run_id(work);
    let report = Box::pin(run(stand, options()).bring_in(work, &mut ledger(stand).await)).await.unwrap();
    assert_eq!(report.stops, []);
    let places = BTreeMap::new();
    for (at, (loss, expected)) in cases.into_iter().enumerate() {
        stand.suffer(loss).await;
        let proof = Box::pin(prove(&run(stand, options()), &name, (&places, 0), &ledger(stand).await)).await.unwrap();
        assert_eq!(told(&proof), expected, "case {at}");
        let names =
            expected.split("; ").filter(|check| !check.is_empty()).map(|check| check.split(' ').next().unwrap());
        let names: Vec<&str> = names.collect();
        assert_eq!(proof.findings, names, "case {at}");
        stand.ask_again(&proof);
        // As it was before the loss.
        Stand::roll_back(stand).await;
    }
    let proof = Box::pin(prove(&run(stand, options()), &name, (&places, 0), &ledger(stand).await)).await.unwrap();
    assert_eq!(told(&proof), "");
}

#[tokio::test]
async fn a_proof_that_does_not_hold_is_asked_again_until_it_does() {
    let stand = crowded().await;
    merged(&stand, &production()).await;
    let inputs = input(&stand, &staging()).await;
    let work = Work::Files(&inputs);
    Box::pin(run(&stand, options()).bring_in(work, &mut ledger(&stand).await)).await.unwrap();
    stand.suffer(Loss::Delete("wallet = '0xa5'")).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let report = migrated_by(&stand, &staging(), options()).await.unwrap();
        assert_eq!(report.proof.unwrap().findings, ["lost_keys", "keys", "rows"]);
        files.push(report.proof_page.unwrap());
        assert_eq!(ledger(&stand).await.unfinished(), [report.run.run_id]);
    }
    Stand::roll_back(&stand).await;
    let report = migrated_by(&stand, &staging(), options()).await.unwrap();
    assert_eq!(report.proof.unwrap().findings, Vec::<String>::new());
    files.push(report.proof_page.unwrap());
    files.dedup();
    assert_eq!((files.len(), ledger(&stand).await.unfinished().len()), (3, 0));
}
