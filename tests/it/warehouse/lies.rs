//! A warehouse that says what is not so. Every room checks its own numbers; these are the checks of the run.

use super::local::LocalStand;
use super::{EDGE_S, NOW_US, Stand, fill, input, walk};
use async_trait::async_trait;
use datafusion::physical_plan::SendableRecordBatchStream;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tradefold::error::{Kind, Result};
use tradefold::ledger::Ledger;
use tradefold::run::RunOptions;
use tradefold::stage::Manifest;
use tradefold::warehouse::{Audit, Comparison, Finding, Journal, Merged, Verification, Warehouse};
use tradefold::window::Day;

/// What it lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// A row more was loaded than was staged.
    Loaded,
    /// A winner was lost on the way to the comparison.
    Compared,
    /// A row was lost in the merge.
    Merged,
    /// A winner is not in the target.
    Verified,
}

#[derive(Debug)]
struct Liar<'a> {
    inner: &'a dyn Warehouse,
    lie: Lie,
}

#[async_trait]
impl Warehouse for Liar<'_> {
    fn target(&self) -> String {
        self.inner.target()
    }

    fn merges_here(&self) -> bool {
        self.inner.merges_here()
    }

    async fn check_target(&self) -> Result<u64> {
        self.inner.check_target().await
    }

    async fn load(&self, batch: &Manifest) -> Result<u64> {
        Ok(self.inner.load(batch).await? + u64::from(self.lie == Lie::Loaded))
    }

    async fn compare(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<Comparison> {
        let mut found = self.inner.compare(batch, touched).await?;
        if self.lie == Lie::Compared {
            (found.staged, found.new) = (found.staged - 1, found.new - 1);
        }
        Ok(found)
    }

    async fn key_search(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<BTreeSet<Day>> {
        self.inner.key_search(batch, touched).await
    }

    async fn rows_of(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        finding: Finding,
    ) -> Result<SendableRecordBatchStream> {
        self.inner.rows_of(batch, touched, finding).await
    }

    async fn merge(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        found: &Comparison,
        journal: &mut dyn Journal,
    ) -> Result<Merged> {
        let mut merged = self.inner.merge(batch, touched, found, journal).await?;
        merged.rows_after -= u64::from(self.lie == Lie::Merged);
        Ok(merged)
    }

    async fn verify(&self, batch: &Manifest, touched: &BTreeSet<Day>, merged: &Merged) -> Result<Verification> {
        let mut wrong = self.inner.verify(batch, touched, merged).await?;
        wrong.missing += u64::from(self.lie == Lie::Verified);
        Ok(wrong)
    }

    async fn audit(&self) -> Result<Audit> {
        self.inner.audit().await
    }

    async fn values(&self, column: &str, equals: Option<(&str, &str)>) -> Result<BTreeMap<String, u64>> {
        self.inner.values(column, equals).await
    }

    async fn rows_by_day(&self, from: Day) -> Result<BTreeMap<Day, u64>> {
        self.inner.rows_by_day(from).await
    }

    async fn remembered(&self, batch: &Manifest) -> Result<Option<(Comparison, Merged)>> {
        self.inner.remembered(batch).await
    }

    async fn unload(&self, batch: &Manifest) -> Result<()> {
        self.inner.unload(batch).await
    }
}

#[tokio::test]
async fn a_run_whose_counts_do_not_hold_ends_and_says_which() {
    for (lie, says, rows) in [
        (Lie::Loaded, "balance a load (R3)", 0),
        (Lie::Compared, "balance a comparison with the target", 0),
        (Lie::Merged, "balance a merge (R4)", 2),
        (Lie::Verified, "verify a merge (R4, R5)", 2),
    ] {
        let stand = LocalStand::new();
        let inputs = [fill("0xa", json!("o"), EDGE_S, 1, 0.1), fill("0xb", json!("o"), EDGE_S, 1, 0.1)];
        let inputs = input(&stand, &inputs).await;
        let liar = Liar { inner: stand.warehouse(), lie };
        let error = walk(&liar, &stand, &inputs, RunOptions::default(), NOW_US).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains(says), "{lie:?}: {}", error.render());
        // The first half writes nothing to the target, and a receipt is only for what holds.
        assert_eq!(stand.table().await.len(), rows, "{lie:?}");
        let ledger = Ledger::open(stand.home().join("ledger"), String::new()).await.unwrap();
        assert_eq!((ledger.receipts().count(), ledger.unfinished().len()), (0, 1), "{lie:?}");
    }
}
