//! What statements cost: asked before they run, and counted when they have.

use super::jobs::{self, Work};
use super::limits::{self, Counted, Seen};
use super::{BigQueryWarehouse, table};
use crate::dataset::KeyPart;
use crate::error::{Error, Kind, Result};
use crate::sql::merge_bigquery;
use crate::warehouse::JobReport;
use crate::warehouse::usage::{Estimate, Outline, StepUse, Usage};
use google_cloud_bigquery_v2::model::JobConfiguration;
use std::collections::{BTreeMap, HashMap};

/// What this process has taken of BigQuery.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    counted: Counted,
    steps: BTreeMap<String, StepUse>,
    loads: BTreeMap<String, u64>,
    staged_bytes: u64,
}

impl Used {
    /// A job has run.
    pub(super) fn ran(&mut self, configuration: &JobConfiguration, report: &JobReport) {
        let step = configuration.labels.get(jobs::STEP).cloned().unwrap_or_default();
        let sum = self.steps.entry(step).or_default();
        sum.jobs += 1;
        sum.bytes_billed += report.bytes_billed;
        if let Some(load) = &configuration.load {
            let table = load.destination_table.as_ref().map(|table| table.table_id.clone()).unwrap_or_default();
            let loads = self.loads.entry(table).or_default();
            *loads += 1;
            self.counted.loads += 1;
            self.counted.loads_per_table = self.counted.loads_per_table.max(*loads);
            self.counted.objects_per_load = self.counted.objects_per_load.max(load.source_uris.len() as u64);
        }
        if let Some(query) = &configuration.query {
            let chars = query.query.chars().count() as u64;
            self.counted.statement_chars = self.counted.statement_chars.max(chars);
        }
    }

    /// A MERGE names so many days.
    pub(super) fn named(&mut self, days: usize) {
        self.counted.days_per_merge = self.counted.days_per_merge.max(days as u64);
    }

    /// Objects of this size were staged.
    pub(super) fn staged(&mut self, bytes: u64) {
        self.staged_bytes += bytes;
    }

    pub(super) fn usage(&self, price_per_tib: f64) -> Usage {
        let (limits, steps) = (self.counted.limits(), self.steps.clone());
        Usage { limits, steps, staged_bytes: self.staged_bytes, price_cents: 0 }.at(price_per_tib)
    }
}

impl BigQueryWarehouse {
    /// What a statement would read, in bytes, where anybody says so. It is neither run nor billed.
    pub(super) async fn dry_run(&self, sql: &str) -> Result<Option<u64>> {
        let mut dry = self.client.query(sql.to_string(), HashMap::new());
        dry.dry_run = Some(true);
        if let Some(query) = &mut dry.query {
            // What it may bill is what is asked here.
            query.maximum_bytes_billed = None;
        }
        let reference = self.client.reference(&format!("tradefold_dry_{}", self.client.once()));
        let job = self.client.insert(&reference, &dry).await?;
        let bytes = job.and_then(|job| job.statistics?.total_bytes_processed);
        Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()))
    }

    /// Refuses a statement that would bill more than is allowed.
    pub(super) async fn check_budget(&self, work: &Work<'_>, sql: &str) -> Result<()> {
        let Some(most) = self.client.access().max_billed_bytes else { return Ok(()) };
        let why = match self.dry_run(sql).await? {
            Some(bytes) if bytes <= most => return Ok(()),
            Some(bytes) => format!("its statement would read {bytes} bytes, and --max-bytes-billed allows {most}"),
            // Nothing is billed there.
            None if self.client.access().is_emulator => return Ok(()),
            None => format!("nobody says what its statement would read, and --max-bytes-billed allows {most}"),
        };
        Err(Error::new(Kind::Refused, "merge a batch within the budget")
            .with("batch", work.batch_id)
            .because(why)
            .hint("allow more, or bring fewer days together with --batch-days; nothing of it was written"))
    }

    /// What a plan would take, by the length of its statements and what the target has on their days.
    pub(super) async fn estimated(&self, outline: &Outline<'_>) -> Result<Estimate> {
        // Names as long as they will be.
        let names = self.names_of(&"0".repeat(32), None).await?;
        let mut statement_chars = 0;
        if let Some(batch) = outline.batches.iter().max_by_key(|batch| batch.touched.len()) {
            let compare = self.statements(&names).counts_at_once(&batch.touched, true)?;
            let merge = merge_bigquery(&self.dataset, &names.target, &names.staged, &batch.touched)?;
            statement_chars = compare.chars().count().max(merge.chars().count()) as u64;
        }
        let mut seen = Seen::default();
        let found = self.find().await?;
        self.check_days(found.as_deref(), outline.batches.iter().flat_map(|batch| batch.days.keys()))?;
        if let Some(table) = found {
            let statements = self.statements(&names);
            let selects = outline.batches.iter().map(|batch| statements.whole_rows(&batch.touched));
            let selects = selects.collect::<Result<Vec<_>>>()?;
            for some in selects.chunks(DRY_RUNS) {
                let asked = futures::future::try_join_all(some.iter().map(|sql| self.dry_run(sql))).await?;
                seen.touched.extend(asked.into_iter().map(Option::unwrap_or_default));
            }
            let all = outline.batches.iter().flat_map(|batch| batch.touched.iter().copied()).collect();
            seen.all_touched = self.dry_run(&statements.whole_rows(&all)?).await?.unwrap_or_default();
            let missing = table::misfits(&self.dataset, &table).missing;
            let day = self.dataset.partition.as_deref();
            let found_by: Vec<&str> = self.dataset.key.iter().flat_map(KeyPart::columns).chain(day).collect();
            // Columns that are added first have nothing to be read.
            if day.is_some() && !missing.iter().any(|name| found_by.contains(&name.as_str())) {
                let sql = statements.all_of(found_by)?;
                seen.keys = self.dry_run(&sql).await?.unwrap_or_default();
            }
        }
        let price_per_tib = self.client.access().price_per_tib;
        Ok(limits::estimate(&self.dataset, outline, &seen, statement_chars, price_per_tib))
    }
}

/// How many dry runs are asked for at once.
const DRY_RUNS: usize = 8;
