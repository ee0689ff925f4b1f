//! BigQuery's limits and prices, and what batches take of them. Pure.
//! <https://docs.cloud.google.com/bigquery/quotas>

use super::{PARTITIONS_MAX, URIS_MAX};
use crate::dataset::{Dataset, KeyPart};
use crate::plan::Batch;
use crate::warehouse::usage::{Arrival, Estimate, LimitUse, Outline, Usage, WithoutDedup, cents};

/// Load jobs into one table, a day, failed ones included.
const LOADS_PER_TABLE_MAX: u64 = 1_500;
/// Load jobs of a project, a day.
const LOADS_PER_PROJECT_MAX: u64 = 100_000;
/// Partitions of a table that load jobs and the like may change, a day. DML does not count.
const MODIFICATIONS_MAX: u64 = 30_000;
/// Characters of a statement.
const STATEMENT_MAX: u64 = 1_024_000;
/// Statements that may wait to change a table.
const QUEUE_MAX: u64 = 20;
/// The least that a query is billed for each table that it reads, in bytes.
const BILLED_MIN: u64 = 10 << 20;
/// Rows of a page, of which each had a load job of its own: the most that the APIs of trades give at once.
const PAGE_ROWS: u64 = 1_000;
/// Objects of a batch: one for each encoder of the stage.
const OBJECTS_PER_BATCH: u64 = 4;

/// What is counted of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) loads: u64,
    pub(super) loads_per_table: u64,
    pub(super) objects_per_load: u64,
    pub(super) days_per_merge: u64,
    pub(super) statement_chars: u64,
}

impl Counted {
    pub(super) fn limits(self) -> Vec<LimitUse> {
        let line = |what: &str, used: u64, allowed: u64, note: &str| LimitUse {
            what: what.into(),
            used,
            allowed,
            note: note.into(),
        };
        vec![
            line(
                "load jobs into one table, a day",
                self.loads_per_table,
                LOADS_PER_TABLE_MAX,
                "each batch has a temporary table of its own",
            ),
            line("load jobs of the project, a day", self.loads, LOADS_PER_PROJECT_MAX, ""),
            line("objects of one load job", self.objects_per_load, URIS_MAX as u64, ""),
            line("partitions that one job changes", self.days_per_merge, PARTITIONS_MAX as u64, ""),
            line("partition changes of the table, a day", 0, MODIFICATIONS_MAX, "those of a MERGE do not count"),
            line("characters of one statement", self.statement_chars, STATEMENT_MAX, ""),
            line(
                "statements that wait for the table",
                u64::from(self.statement_chars > 0),
                QUEUE_MAX,
                "one after the other",
            ),
        ]
    }
}

/// What the target has, as dry runs tell it: in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Whole rows on the touched days, for each batch.
    pub(super) touched: Vec<u64>,
    /// The same on all days that any batch touches.
    pub(super) all_touched: u64,
    /// The key and the time of all rows.
    pub(super) keys: u64,
}

/// What a plan takes. `statement_chars` is the length of its longest statement.
pub(super) fn estimate(
    dataset: &Dataset,
    outline: &Outline<'_>,
    seen: &Seen,
    statement_chars: u64,
    price_per_tib: f64,
) -> Estimate {
    let widths = &outline.widths;
    let key: Vec<&str> = dataset.key.iter().flat_map(KeyPart::columns).collect();
    let order = dataset.order.iter().map(|item| item.column.as_str());
    let found_by: Vec<&str> = key.iter().copied().chain(dataset.partition.as_deref()).collect();
    let verified: Vec<&str> = found_by.iter().copied().chain(order).collect();
    let share = |bytes: u64, names: &[&str]| (bytes as f64 * widths.share(names)) as u64;
    // Each table that a query reads has its least.
    let billed = |staged: u64, target: u64| staged.max(BILLED_MIN) + target.max(BILLED_MIN);
    let merged = |staged: u64, target: u64| match dataset.immutable {
        true => billed(staged, share(target, &found_by)),
        // What is read, and once more whatever lies in partitions that are written anew.
        false => billed(staged, target) + target,
    };
    let mut usage = Usage::default();
    let mut add = |step: &str, bytes_billed: u64| {
        let sum = usage.steps.entry(step.to_string()).or_default();
        sum.jobs += 1;
        sum.bytes_billed += bytes_billed;
    };
    let is_loaded = matches!(outline.arrival, Arrival::Loaded { .. });
    if let Arrival::InPlace { bytes } = outline.arrival {
        add("reduce", bytes.max(BILLED_MIN));
    }
    let mut winners = 0;
    for (place, batch) in outline.batches.iter().enumerate() {
        let staged = widths.of_rows(batch.rows);
        // Every batch is looked at before the first one is merged.
        let found = seen.touched.get(place).copied().unwrap_or(0);
        let target = found + widths.of_rows(brought(&outline.batches[..place], batch));
        let after = target + staged;
        if is_loaded {
            add("load", 0);
        }
        add("compare", billed(staged, found));
        if dataset.partition.is_some() {
            add("search", billed(share(staged, &key), seen.keys));
        }
        add("merge", merged(staged, target));
        add("verify", billed(share(staged, &verified), share(after, &verified)));
        winners += batch.rows;
    }
    let most = |of: &dyn Fn(&Batch) -> u64| outline.batches.iter().map(of).max().unwrap_or(0);
    let loads = if is_loaded { outline.batches.len() as u64 } else { 0 };
    let counted = Counted {
        loads,
        loads_per_table: loads.min(1),
        objects_per_load: if is_loaded { OBJECTS_PER_BATCH.min(most(&|batch| batch.rows)) } else { 0 },
        days_per_merge: most(&|batch| batch.touched.len() as u64),
        statement_chars,
    };
    usage.limits = counted.limits();
    if let Arrival::Loaded { bytes } = outline.arrival {
        usage.staged_bytes = part(bytes, winners, outline.landed_rows);
    }
    let load_jobs = outline.landed_rows.div_ceil(PAGE_ROWS);
    let staging_bytes = widths.of_rows(outline.landed_rows);
    let bytes_billed = merged(staging_bytes, seen.all_touched);
    let without_dedup = WithoutDedup {
        load_jobs,
        days_of_quota: load_jobs.div_ceil(LOADS_PER_TABLE_MAX),
        rows: outline.landed_rows,
        staging_bytes,
        bytes_billed,
        price_cents: cents(bytes_billed, price_per_tib),
    };
    Estimate { usage: usage.at(price_per_tib), without_dedup }
}

/// Rows that earlier batches of the run bring onto the days that this one looks at.
fn brought(earlier: &[Batch], batch: &Batch) -> u64 {
    let days = earlier.iter().flat_map(|earlier| &earlier.days);
    days.filter(|(day, _)| batch.touched.contains(day)).map(|(_, rows)| rows).sum()
}

fn part(whole: u64, some: u64, all: u64) -> u64 {
    if all == 0 { 0 } else { (u128::from(whole) * u128::from(some) / u128::from(all)) as u64 }
}
