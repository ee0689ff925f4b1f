//! What the jobs and the tables beside a target are called, and how they are told from others.

use super::jobs::Work;
use super::{BigQueryWarehouse, KEPT, STAGE, TEMPORARY, TableName};
use crate::error::{Kind, Result};
use crate::stage::Manifest;
use crate::warehouse::Warehouse;
use crate::window::Day;
use google_cloud_bigquery_v2::model::{Table, TableReference};
use std::collections::BTreeMap;

/// What tables are kept for that are named for a piece of work.
const REDUCED: &str = "reduced";
pub(super) const CHANGES: &str = "changes";
pub(super) const WINNERS: &str = "winners";
/// How many characters their digests have.
const DIGEST: usize = 32;

impl BigQueryWarehouse {
    pub(super) fn work<'a>(&self, target: &'a str, created_ms: i64, batch_id: &'a str) -> Work<'a> {
        // What only compares has jobs and tables of its own, which it drops: those of a run are none of its.
        let own = if self.options.only_compares { self.client.own_number() } else { 0 };
        Work { batch_id, target, target_created_ms: created_ms.wrapping_add(own) }
    }

    /// The temporary table of a piece of work.
    pub(super) fn temporary_table(&self, work: &Work<'_>) -> TableReference {
        self.place.table(&format!("{TEMPORARY}{}", work.digest()))
    }

    /// The table of winners that another one was reduced to. It outlives a run.
    pub(super) fn reduced_table(&self, work: &Work<'_>) -> TableReference {
        self.kept_for(REDUCED, &work.digest())
    }

    /// A table that is kept for what a piece of work needs. As that of a snapshot, its name says which target it is of.
    pub(super) fn kept_for(&self, what: &str, digest: &str) -> TableReference {
        self.place.table(&format!("{KEPT}{}_{what}_{digest}", self.dataset.name))
    }

    /// Whether a table beside the target is called as those are that are kept for it, and not for another one whose
    /// name begins as its own does.
    fn is_kept_here(&self, name: &str) -> bool {
        let rest = name.strip_prefix(KEPT).and_then(|name| name.strip_prefix(&self.dataset.name)?.strip_prefix('_'));
        rest.is_some_and(|rest| match rest.split_once('_') {
            None => true,
            Some((what, digest)) => [REDUCED, CHANGES, WINNERS].contains(&what) && digest.len() == DIGEST,
        })
    }

    /// Each table that is kept for this target or was promised, with its last day, by BigQuery's own word.
    pub(super) async fn kept_tables(&self, promised: BTreeMap<String, Day>) -> Result<BTreeMap<String, Option<Day>>> {
        let mut found = BTreeMap::new();
        for table in self.client.tables(&self.place).await?.into_iter().filter(|name| self.is_kept_here(name)) {
            let name = TableName { place: self.place.clone(), table };
            if let Some(table) = self.client.table(&name.reference()).await? {
                found.insert(name.to_string(), last_day(&table));
            }
        }
        for (place, until) in promised {
            let name = TableName::parse(&place, || Ok(String::new()))?;
            match self.client.table(&name.reference()).await {
                Ok(Some(table)) => drop(found.insert(place, last_day(&table))),
                Ok(None) => {}
                // It may be in a dataset of others, or in one that is gone: both are answered so.
                Err(error) if error.kind() == Kind::Refused => drop(found.insert(place, Some(until))),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The temporary tables of a batch.
    pub(super) async fn temporaries(&self, batch: &Manifest) -> Result<Vec<TableReference>> {
        if batch.part.is_some() {
            // Its table expires: whoever comes again finds it, and a proof asks for its winners.
            return Ok(Vec::new());
        }
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let ids = std::iter::once(&batch.batch_id).chain(batch.witnesses.iter().map(|object| &object.digest));
        Ok(ids.map(|id| self.temporary_table(&self.work(&target, created_ms, id))).collect())
    }

    /// What tells temporary tables of this target from all others.
    pub(super) fn temporary_labels(&self) -> [(String, String); 3] {
        let target = blake3::hash(self.target_name().as_bytes()).to_hex()[..32].to_string();
        let stage = (STAGE.into(), self.stage_label());
        [("tradefold".into(), "temporary".into()), ("tradefold_target".into(), target), stage]
    }
}

/// The last day on which a table is there, in whole or in part; nothing where it does not expire.
fn last_day(table: &Table) -> Option<Day> {
    table.expiration_time.map(|ends_ms| Day::of_us(ends_ms.saturating_mul(1_000) - 1))
}
