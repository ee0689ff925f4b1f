//! What the table was, and the way back to it: a snapshot of it, and tables of what merges are about to change. All of
//! them expire by themselves.
//! <https://docs.cloud.google.com/bigquery/docs/table-snapshots-intro>

use super::client::Client;
use super::jobs::{self, Done, Work};
use super::queries::{Names, quoted};
use super::temporary::{CHANGES, WINNERS};
use super::writes::Made;
use super::{BigQueryWarehouse, KEPT, PARTITIONS_MAX, table};
use crate::dataset::Dataset;
use crate::error::{Doing, Error, Kind, Result};
use crate::sql::{Dialect, Which};
use crate::stage::{Manifest, StagedObject};
use crate::warehouse::{Finding, History, Journal, Kept, Moment, Tables, Undoing, Undone, Warehouse, days};
use crate::window::{DAY_US, Day, text_of_us};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use google_cloud_bigquery_v2::model::job_configuration_table_copy::OperationType;
use google_cloud_bigquery_v2::model::{JobConfiguration, JobConfigurationTableCopy, Table, TableReference};
use google_cloud_wkt::Timestamp;
use std::collections::BTreeSet;

#[async_trait]
impl History for BigQueryWarehouse {
    async fn moment(&self) -> Result<Option<Moment>> {
        if self.find().await?.is_none() {
            return Ok(None);
        }
        let version = u64::try_from(self.client.now_us().await? / 1_000).unwrap_or(0);
        Ok(Some(Moment { version, rows: self.rows(&self.reference()).await? }))
    }

    /// As a snapshot, which is billed only for what the target does not have any more.
    async fn keep(&self) -> Result<Option<Moment>> {
        let Some(mut moment) = self.moment().await? else { return Ok(None) };
        let snapshot = self.snapshot(moment.version);
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let work = self.work(&target, created_ms, &snapshot.table_id);
        self::snapshot(&self.client, &work, self.reference(), &snapshot, self.ends_ms()).await?;
        // The target may have changed between the two.
        moment.rows = self.rows(&snapshot).await?;
        Ok(Some(moment))
    }

    async fn knows(&self, moment: Moment) -> Result<bool> {
        Ok(self.client.table(&self.snapshot(moment.version)).await?.is_some())
    }

    async fn tables(&self, before: Option<Moment>, batches: &[Manifest]) -> Result<Tables> {
        let target = quoted(&self.reference())?;
        let none = format!("(SELECT * FROM {target} WHERE {} AND FALSE)", self.any_day(&target)?);
        let mut set_up = String::from("-- For BigQuery, in the time zone UTC.\n");
        let before = match before {
            None => none.clone(),
            Some(moment) => {
                let snapshot = self.snapshot(moment.version);
                if !self.knows(moment).await? {
                    return Err(Error::data("look at what a table was")
                        .with("table", &snapshot.table_id)
                        .because("what it was was kept in this snapshot, and that is gone")
                        .hint("a migration can be proven only as long as what it keeps is there: see --keep-days"));
                }
                self.tell(&mut set_up, "The target as it was", &snapshot);
                self.every_day(&quoted(&snapshot)?)?
            }
        };
        let winners = self.winners_of(batches, none, &mut set_up).await?;
        let after = self.every_day(&target)?;
        Ok(Tables { before, after, winners, dialect: Dialect::GoogleSql, parts: 1, set_up })
    }

    async fn under_another_key(
        &self,
        batch: &Manifest,
        other: &Dataset,
        only_keys: bool,
    ) -> Result<SendableRecordBatchStream> {
        let mut names = self.names(batch).await?;
        names.target = self.every_day(&names.target)?;
        let sql = self.statements(&names).under_another_key(other, only_keys)?;
        self.client.rows("keys", &batch.batch_id, sql).await
    }

    async fn ask(&self, _tables: &Tables, sql: &str) -> Result<Vec<RecordBatch>> {
        self.client.rows("prove", "", sql.to_string()).await?.try_collect().await.doing("prove a migration")
    }

    async fn state(&self) -> Result<Option<Moment>> {
        self.state_of_target().await
    }

    async fn needs_mending(&self) -> Result<bool> {
        self.is_to_be_mended().await
    }

    async fn in_the_making(&self, anew: bool) -> Result<Box<dyn Warehouse>> {
        Ok(Box::new(self.table_in_the_making(anew).await?))
    }

    async fn tables_of_mend(&self, batches: &[Manifest]) -> Result<Tables> {
        self.both_of_mend(batches).await
    }

    fn kept_as(&self, _until: Day, label: &str) -> String {
        self.kept_name(label)
    }

    fn swapped_names(&self, kept: &str) -> Result<Vec<(String, String)>> {
        self.placed_as(&self.kept_table(kept))
    }

    /// A snapshot never changes.
    async fn has_kept(&self, kept: &str, _version: u64) -> Result<bool> {
        Ok(self.client.table(&self.kept_table(kept)).await?.is_some())
    }

    async fn swap(&self, kept: &str, until: Day, version: u64, journal: &mut dyn Journal) -> Result<bool> {
        self.swapped(&self.kept_table(kept), until, version, journal).await
    }

    async fn stand_by(&self, kept: &str, is_back: bool) -> Result<()> {
        self.stood_by(&self.kept_table(kept), is_back).await
    }

    /// As a table beside the target.
    async fn keep_changes(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        kept: &Kept,
        journal: &mut dyn Journal,
    ) -> Result<u64> {
        let names = self.names(batch).await?;
        let changes = self.changes(kept);
        let sql = format!(
            "CREATE OR REPLACE TABLE {} OPTIONS (expiration_timestamp = TIMESTAMP_MILLIS({})) AS\n{}",
            quoted(&changes)?,
            self.ends_ms(),
            self.statements(&names).rows_of(touched, Finding::Changed)?
        );
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let work = self.work(&target, created_ms, &changes.table_id);
        self.check_budget(&work, &sql).await?;
        let configuration = self.client.query(sql, jobs::labels(&self.client, &batch.batch_id, "keep"));
        // What an earlier one kept may be older than what the merge changes now.
        let effect = |_| async { Ok(None) };
        jobs::run(&self.client, &work, "keep", |_| configuration.clone(), Some(journal), effect).await?;
        self.rows(&changes).await
    }

    async fn has_changes(&self, kept: &Kept) -> Result<bool> {
        Ok(self.client.table(&self.changes(kept)).await?.is_some())
    }

    async fn undo(&self, batch_id: &str, kept: &Kept, how: Undoing<'_>) -> Result<Undone> {
        let doing = "undo a merge";
        let changes = self.changes(kept);
        if self.find().await?.is_none() {
            return Err(Error::usage(doing).with("table", self.target()).because("there is no table"));
        }
        let changes = quoted(&changes)?;
        let names = Names { target: quoted(&self.reference())?, staged: changes.clone(), witnesses: String::new() };
        let statements = self.statements(&names);
        let rows_of = |sql: String| async {
            let rows = self.client.rows("look", batch_id, sql).await?;
            rows.try_collect::<Vec<RecordBatch>>().await.doing(doing)
        };
        let mut touched = days(&rows_of(statements.days_of_changes(&changes)).await?)?;
        if self.dataset.partition.is_some() {
            // Somebody may have moved a row to another day since.
            touched.extend(days(&rows_of(statements.key_search(&touched)?).await?)?);
        }
        if touched.len() > PARTITIONS_MAX {
            return Err(Error::new(Kind::Refused, doing)
                .with("batch", batch_id)
                .because(format!("it touches {} days, and a job may change {PARTITIONS_MAX}", touched.len())));
        }
        let counts =
            || async { self.client.counts("look", batch_id, statements.undo_counts(&changes, &touched)?).await };
        let mut undone = Undone::of(&counts().await?, self.rows(&self.reference()).await?)?;
        let journal = match how {
            Undoing::Dry => {
                undone.rows_after -= undone.removed;
                return Ok(undone);
            }
            Undoing::Real(_) if undone.removed + undone.restored == 0 => return Ok(undone),
            Undoing::Real(journal) => journal,
        };
        let sql = statements.undo(&changes, &touched)?;
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let work = self.work(&target, created_ms, &changes);
        self.client.used().named(touched.len());
        self.check_budget(&work, &sql).await?;
        let configuration = self.client.query(sql, jobs::labels(&self.client, batch_id, "undo"));
        let counts = &counts;
        let effect = |done: Done| async move { Ok((counts().await?.get(..2) == Some(&[0, 0])).then_some(done)) };
        let done = jobs::run(&self.client, &work, "undo", |_| configuration.clone(), Some(journal), effect).await?;
        undone.version = done.job.statistics.as_ref().and_then(|statistics| u64::try_from(statistics.end_time).ok());
        undone.rows_after = self.rows(&self.reference()).await?;
        undone.days_changed = touched;
        undone.check(&target)?;
        Ok(undone)
    }
}

/// The step of a job that makes a snapshot.
const SNAPSHOT: &str = "snapshot";

/// Takes a snapshot of a table, which expires at a time in milliseconds since 1970-01-01 UTC, or finds that it was
/// taken and gives it that time. `work` names one snapshot of one state of the table.
pub(super) async fn snapshot(
    client: &Client,
    work: &Work<'_>,
    of: TableReference,
    into: &TableReference,
    ends_ms: i64,
) -> Result<()> {
    let copy = JobConfigurationTableCopy::new()
        .set_source_table(of)
        .set_destination_table(into.clone())
        .set_operation_type(OperationType::Snapshot)
        .set_write_disposition("WRITE_EMPTY")
        .set_destination_expiration_time(Timestamp::clamp(ends_ms / 1_000, 0));
    let configuration = Box::new(JobConfiguration::new().set_copy(copy).set_labels(jobs::labels(client, "", SNAPSHOT)));
    let effect = |done: Done| async move { Ok(client.table(into).await?.map(|_| done)) };
    let done = jobs::run(client, work, SNAPSHOT, |_| configuration.clone(), None, effect).await?;
    if done.is_adopted {
        client.patch(into, Box::new(Table::new().set_expiration_time(ends_ms))).await?;
    }
    Ok(())
}

impl BigQueryWarehouse {
    /// When what is kept now ends, in milliseconds since 1970-01-01 UTC.
    fn ends_ms(&self) -> i64 {
        ((self.client.access().now_us)() + i64::from(self.options.keep_days) * DAY_US) / 1_000
    }

    /// The snapshot of the target as it was at a moment.
    fn snapshot(&self, version: u64) -> TableReference {
        self.place.table(&format!("{KEPT}{}_{version}", self.dataset.name))
    }

    /// The table of what a merge changes.
    fn changes(&self, kept: &Kept) -> TableReference {
        let text = format!("{}\n{}", self.target(), kept.folder.url_of(&kept.name));
        self.kept_for(CHANGES, &blake3::hash(text.as_bytes()).to_hex()[..32])
    }

    /// How many rows a table has that is there.
    async fn rows(&self, name: &TableReference) -> Result<u64> {
        let rows = self.client.row_count(name).await?;
        rows.ok_or_else(|| Error::data("count the rows of a table").with("table", &name.table_id).because("it is gone"))
    }

    /// Tells who runs the statements of a proof of a table that they name.
    fn tell(&self, set_up: &mut String, what: &str, name: &TableReference) {
        let ends = text_of_us(self.ends_ms() * 1_000);
        set_up.push_str(&format!("-- {what}: `{}`, until about {ends}.\n", name.table_id));
    }

    /// The winners of batches, as statements name them; `none` where there is none.
    pub(super) async fn winners_of(&self, batches: &[Manifest], none: String, set_up: &mut String) -> Result<String> {
        if let Some(part) = batches.iter().find_map(|batch| batch.part.as_ref()) {
            let table = self.place.table(&part.table);
            self.keep_longer(&table, self.ends_ms()).await?;
            self.tell(set_up, "The winners are in", &table);
            return self.part_rows(part, Which::Winners, None);
        }
        let objects: Vec<StagedObject> = batches.iter().flat_map(|batch| batch.objects.iter().cloned()).collect();
        if objects.is_empty() {
            return Ok(none);
        }
        let winners = self.load_winners(batches, &objects).await?;
        self.tell(set_up, "The winners", &winners);
        quoted(&winners)
    }

    /// All winners as one table that a proof can ask, and whoever runs its statements.
    async fn load_winners(&self, batches: &[Manifest], objects: &[StagedObject]) -> Result<TableReference> {
        let (target, created_ms) = (self.target(), self.created_ms().await?);
        let ids: Vec<&str> = batches.iter().map(|batch| batch.batch_id.as_str()).collect();
        let all = blake3::hash(ids.join("\n").as_bytes()).to_hex()[..32].to_string();
        let work = Work { batch_id: &all, target: &target, target_created_ms: created_ms };
        let name = self.kept_for(WINNERS, &work.digest());
        let into = Made { name, table: table::bare(&self.dataset), ends_ms: self.ends_ms(), labels: Vec::new() };
        let (loaded, _) = self.load_objects(&work, &into, objects).await?;
        let staged: u64 = objects.iter().map(|object| object.rows).sum();
        if loaded != staged {
            return Err(Error::data("balance a load (R3)")
                .with("table", &into.name.table_id)
                .because(format!("{staged} winners were staged, {loaded} were loaded")));
        }
        Ok(into.name)
    }

    /// All rows of a table whose name is quoted, for one that wants to be told of which days.
    pub(super) fn every_day(&self, table: &str) -> Result<String> {
        Ok(format!("(SELECT * FROM {table} WHERE {})", self.any_day(table)?))
    }

    pub(super) fn any_day(&self, table: &str) -> Result<String> {
        let names = Names { target: table.into(), staged: String::new(), witnesses: String::new() };
        self.statements(&names).any_day()
    }
}
