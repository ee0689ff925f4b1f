//! What the jobs and the tables beside a target are called, and how they are told from others.

use super::jobs::Work;
use super::{BigQueryWarehouse, KEPT, STAGE, TEMPORARY};
use crate::error::Result;
use crate::stage::Manifest;
use crate::warehouse::Warehouse;
use google_cloud_bigquery_v2::model::TableReference;

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
        self.place.table(&format!("{KEPT}reduced_{}", work.digest()))
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
