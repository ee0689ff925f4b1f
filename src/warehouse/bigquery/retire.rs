//! A table of BigQuery whose rows were read, and that is dropped once they are somewhere else: a snapshot is left of
//! it, which expires by itself.

use super::access::{Access, TableName};
use super::client::Client;
use super::export::look;
use super::history::snapshot;
use super::jobs::Work;
use super::target::stage_label;
use super::{KEPT, STAGE};
use crate::error::{Error, Kind, Result};
use crate::window::text_of_us;
use google_cloud_bigquery_v2::model::Table;

/// What a table was when its rows were read. One that has the same numbers has the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsRead {
    /// When it was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: i64,
    /// When it was changed last, in milliseconds since 1970-01-01 UTC.
    pub modified_ms: u64,
    /// Its rows.
    pub rows: u64,
    /// Their size in bytes, where it is told.
    pub bytes: Option<i64>,
}

impl AsRead {
    /// What tells these rows of a table from those of other tables and other times.
    pub(super) fn identity(&self, name: &TableName) -> String {
        format!("{name} {} {} {}", self.created_ms, self.modified_ms, self.rows)
    }

    /// A table that was looked up. Its `etag` says nothing of its rows: it changes with what is stored of its past.
    pub(super) fn of(table: &Table, rows: u64) -> AsRead {
        let (created_ms, modified_ms) = (table.creation_time, table.last_modified_time);
        AsRead { created_ms, modified_ms, rows, bytes: table.num_bytes }
    }
}

/// A table whose rows were read.
#[derive(Clone, Debug)]
pub struct ReadTable {
    /// Its name.
    pub name: TableName,
    /// What it was then.
    pub read: AsRead,
    /// How BigQuery is asked for it.
    pub access: Access,
    /// The URL of the stage in which the ledger of its own runs was looked for.
    pub stage: String,
}

/// Whether there is a table of this name.
///
/// # Errors
/// What BigQuery says; usage, where there is no such dataset.
pub async fn is_there(access: Access, name: &TableName) -> Result<bool> {
    let client = Client::connect(access, &name.place).await?;
    Ok(client.table(&name.reference()).await?.is_some())
}

impl ReadTable {
    /// What the table is kept as once it is dropped: the name has the time of its last change, so that another table of
    /// this name is kept as another one.
    pub fn kept(&self) -> TableName {
        let table = format!("{KEPT}{}_{}", self.name.table, self.read.modified_ms);
        TableName { place: self.name.place.clone(), table }
    }

    /// Makes sure that the table can be dropped: that a snapshot of it can be taken, and that it is as it was read.
    ///
    /// # Errors
    /// Usage, where it can't; busy, where somebody has written to it since, or it has a streaming buffer.
    pub async fn check(&self) -> Result<()> {
        self.checked(&self.client().await?).await
    }

    /// Keeps the table as [`ReadTable::kept`] until a time, in milliseconds since 1970-01-01 UTC, and drops it, if
    /// until the last moment it is as it was read. Killed in between, the same call goes on.
    ///
    /// # Errors
    /// Those of [`ReadTable::check`]; data, where the snapshot has not the rows that were read.
    pub async fn retire(&self, ends_ms: i64) -> Result<()> {
        let client = self.client().await?;
        self.checked(&client).await?;
        let (kept, target) = (self.kept(), self.name.to_string());
        let work = Work { batch_id: &kept.table, target: &target, target_created_ms: self.read.created_ms };
        snapshot(&client, &work, self.name.reference(), &kept.reference(), ends_ms).await?;
        let rows = client.row_count(&kept.reference()).await?;
        if rows != Some(self.read.rows) {
            let shown = rows.map_or("none".to_string(), |rows| rows.to_string());
            return Err(Error::data(DOING)
                .with("table", &self.name)
                .because(format!(
                    "it had {} rows when it was read, and its snapshot {kept} has {shown}",
                    self.read.rows
                ))
                .hint("it was not dropped; run the same command again"));
        }
        // What was written until now is in neither.
        self.checked(&client).await?;
        client.drop(&self.name.reference()).await
    }

    async fn client(&self) -> Result<Client> {
        Client::connect(self.access.clone(), &self.name.place).await
    }

    async fn checked(&self, client: &Client) -> Result<()> {
        let (table, rows) = look(client, &self.name).await?;
        if table.r#type == "SNAPSHOT" {
            return Err(Error::usage(DOING)
                .with("table", &self.name)
                .because("it is a snapshot, of which no other one can be taken")
                .hint("migrate without --drop-source, and drop the snapshot yourself, or let it expire"));
        }
        if table.labels.get(STAGE).is_some_and(|label| *label != stage_label(&self.stage)) {
            return Err(Error::usage(DOING)
                .with("table", &self.name)
                .because(
                    "its own runs keep their ledger in another stage, so nobody knows here whether one is unfinished",
                )
                .hint("give the --stage of those runs, or remove the label `tradefold_stage` from the table"));
        }
        let busy = |why: String, hint: &str| {
            Err(Error::new(Kind::Busy, DOING).with("table", &self.name).because(why).hint(hint.to_string()))
        };
        if table.streaming_buffer.is_some() {
            return busy(
                "it has a streaming buffer, and rows in it are in no snapshot".into(),
                "stop what streams into it, wait until the buffer is gone (up to 90 minutes), then run it again",
            );
        }
        let now = AsRead::of(&table, rows);
        if now == self.read {
            return Ok(());
        }
        let shown = |is: &AsRead| {
            let us = i64::try_from(is.modified_ms).unwrap_or(0).saturating_mul(1_000);
            format!("{} rows, changed last at {}", is.rows, text_of_us(us))
        };
        busy(
            format!("it has {}, and had {} when it was read", shown(&now), shown(&self.read)),
            "somebody has written to it meanwhile: run the same command again, once nobody does",
        )
    }
}

const DOING: &str = "drop a source";
