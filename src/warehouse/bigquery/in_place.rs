//! A table of BigQuery that is landed and deduplicated where it lies: one statement writes the winners into a temporary
//! table beside the target, and batches are parts of it. No row leaves BigQuery.

use super::access::TableName;
use super::client::shown;
use super::export::{self, Moment};
use super::jobs::{self, Done, Work};
use super::queries::quoted;
use super::reduced::{Reduced, Written};
use super::retire::AsRead;
use super::{BigQueryWarehouse, table};
use crate::error::{Error, Result};
use crate::landing::{InSql, InputColumns, LandingOptions, SourceColumn, SourceType, in_sql};
use crate::sql::{Dialect, Losers, Reduction};
use crate::warehouse::Warehouse;
use crate::window::text_of_us;
use google_cloud_bigquery_v2::model::{Job, Table, TableFieldSchema, TableReference};

/// A table whose rows can land where they lie.
#[derive(Debug)]
pub struct InPlace<'a> {
    warehouse: &'a BigQueryWarehouse,
    source: TableName,
    options: LandingOptions,
    moment: Moment,
    columns: Vec<SourceColumn>,
    sql: InSql,
}

/// What reading it once takes, in bytes; nothing where nobody says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InPlaceBytes {
    /// The statement that writes the winners.
    pub reduce: Option<u64>,
    /// The one that counts rows which do not land. It runs only where there are any, and so does one that reads them.
    pub count: Option<u64>,
    /// The one that counts values which the contract has no column for, where there may be any.
    pub left_out: Option<u64>,
}

impl InPlaceBytes {
    /// What the largest of them takes.
    pub fn largest(&self) -> u64 {
        [self.reduce, self.count, self.left_out].into_iter().flatten().max().unwrap_or(0)
    }

    /// What all of them take, if there are rows that do not land.
    pub fn total(&self) -> u64 {
        [self.reduce, self.count, self.count, self.left_out].into_iter().flatten().sum()
    }
}

/// The statement that counts the values of columns which the contract does not have, in the order of their names.
pub(super) fn left_out(columns: &InputColumns, from: &str) -> Result<Option<String>> {
    let counts = columns.left_out.iter().map(|name| Ok(format!("COUNT({})", Dialect::GoogleSql.quote(name)?)));
    let counts = counts.collect::<Result<Vec<_>>>()?.join(", ");
    Ok((!counts.is_empty()).then(|| format!("SELECT {counts} FROM {from}")))
}

impl BigQueryWarehouse {
    pub(super) async fn lands(
        &self,
        source: &TableName,
        options: &LandingOptions,
    ) -> Result<std::result::Result<InPlace<'_>, Vec<String>>> {
        let client = export::connect(self.client.access().clone(), source).await?;
        let (there, here) = (client.location(), self.client.location());
        if there != here {
            return Ok(Err(vec![format!("it lies in {there}, and the target in {here}: no query reads both")]));
        }
        let moment = Moment::note(&client, source).await?;
        if moment.table.require_partition_filter == Some(true) {
            return Ok(Err(vec!["queries of it have to name its days (require_partition_filter)".into()]));
        }
        let columns: Vec<SourceColumn> = moment.fields().iter().map(column).collect();
        let sql = match in_sql(&self.dataset, options, &columns)? {
            Ok(sql) => sql,
            Err(reasons) => return Ok(Err(reasons)),
        };
        Ok(Ok(InPlace { warehouse: self, source: source.clone(), options: *options, moment, columns, sql }))
    }
}

impl<'a> InPlace<'a> {
    /// What tells the table, as it is now, from every other, and from itself once somebody has written to it.
    pub fn identity(&self) -> String {
        self.as_read().identity(&self.source)
    }

    /// What it is.
    pub fn as_read(&self) -> AsRead {
        self.moment.as_read()
    }

    /// The table.
    pub fn source(&self) -> &TableName {
        &self.source
    }

    /// What its rows take where they lie, in bytes; 0 where nobody says so.
    pub fn size_bytes(&self) -> u64 {
        size_bytes(&self.moment.table)
    }

    /// How its columns differ from the contract's.
    pub fn columns(&self) -> &InputColumns {
        &self.sql.columns
    }

    /// What it would read. Nothing is run and nothing billed.
    ///
    /// # Errors
    /// What BigQuery says.
    pub async fn bytes(&self) -> Result<InPlaceBytes> {
        let from = self.from()?;
        let reduced = self.reduction().reduced(&self.sql.landed(&from)?, Losers::default())?;
        let mut bytes = InPlaceBytes {
            reduce: self.warehouse.dry_run(&reduced).await?,
            count: self.warehouse.dry_run(&self.sql.counts(&from)?).await?,
            left_out: None,
        };
        if let Some(sql) = left_out(&self.sql.columns, &from)? {
            bytes.left_out = self.warehouse.dry_run(&sql).await?;
        }
        Ok(bytes)
    }

    /// Writes the winners and losers to look at into a table that expires, or finds that this was done: by the same
    /// rules, of the same table, which has not changed since. Says what became of every row (R1, R2).
    ///
    /// # Errors
    /// What BigQuery says. Data, where rows are not accounted for, or a winner's day has no partition.
    pub async fn reduce(&self, losers: Losers) -> Result<Reduced<'a>> {
        let warehouse = self.warehouse;
        // The rules themselves: those of another version of this program may be others.
        let rules = in_sql(&warehouse.dataset, &LandingOptions { now_us: 0, ..self.options }, &self.columns)?;
        let rules = rules.map_err(|reasons| Error::bug(DOING).because(reasons.join("; ")))?;
        let rules = self.reduction().insert("", &rules.landed("")?, losers)?;
        let wanted = format!("{}\n{rules}", self.identity());
        let target = warehouse.target();
        let work = warehouse.work(&target, self.moment.table.creation_time, &wanted);
        let name = warehouse.reduced_table(&work);
        let reduced = Box::pin(self.reduce_into(&name, &work, losers)).await;
        if reduced.is_err() && warehouse.options.only_compares {
            // Of a plan nothing stays. What went wrong before is what there is to say.
            if let Err(error) = warehouse.client.drop(&name).await {
                warehouse.client.progress().note(&format!("{} is left: {}", shown(&name), error.on_one_line()));
            }
        }
        reduced
    }

    async fn reduce_into(&self, name: &TableReference, work: &Work<'_>, losers: Losers) -> Result<Reduced<'a>> {
        let warehouse = self.warehouse;
        let into = quoted(name)?;
        let step = format!("reduce{}", warehouse.make_temporary(name, table::reduced(&warehouse.dataset)).await?);
        let from = self.from()?;
        let sql = self.reduction().insert(&into, &self.sql.landed(&from)?, losers)?;
        let mut labels = jobs::labels(&warehouse.client, &work.digest(), "reduce");
        labels.insert(NOW.into(), self.options.now_us.to_string());
        let configuration = warehouse.client.query(sql, labels);
        let effect = |done: Done| async move {
            let is_whole = self.difference(name, &done.job).await?.is_none();
            Ok(is_whole.then_some(done))
        };
        let done = jobs::run(&warehouse.client, work, &step, |_| configuration.clone(), None, effect).await;
        // It may be more than one statement can do: rows of too many days, or too many rows of a key.
        let done = done.map_err(|error| match error.about("reason") {
            Some("resourcesExceeded" | "invalidQuery") => {
                error.hint("give --route export, which needs no such statement")
            }
            _ => error,
        })?;
        if let Some(difference) = self.difference(name, &done.job).await? {
            return Err(Error::data("balance rows that were written in place (R3)")
                .with("table", shown(name))
                .with("work", work.digest())
                .because(difference)
                .hint("run the same command again; where it says the same, look at the job in BigQuery"));
        }
        // What an earlier try has written it has judged by its own time.
        let label = |name: &str| done.job.configuration.as_ref()?.labels.get(name)?.parse::<i64>().ok();
        let options = LandingOptions { now_us: label(NOW).unwrap_or(self.options.now_us), ..self.options };
        let sql = in_sql(&warehouse.dataset, &options, &self.columns)?;
        let sql = sql.map_err(|reasons| Error::bug(DOING).because(reasons.join("; ")))?;
        let written = Written { warehouse, table: name.clone(), sql, from };
        Reduced::read(written, self.moment.rows).await
    }

    fn reduction(&self) -> Reduction<'_> {
        Reduction { dataset: &self.warehouse.dataset }
    }

    /// The table as it was when it was looked up, for a FROM clause: as long as it has not changed since it is the same
    /// at any moment. A snapshot never changes.
    fn from(&self) -> Result<String> {
        let name = quoted(&self.source.reference())?;
        Ok(match self.moment.table.r#type.as_str() {
            "SNAPSHOT" => format!("(SELECT * FROM {name})"),
            _ => format!("(SELECT * FROM {name} FOR SYSTEM_TIME AS OF TIMESTAMP '{}')", text_of_us(self.moment.at_us)),
        })
    }

    /// How the rows of a table differ from the job's own count, which is the evidence of what it has written.
    async fn difference(&self, name: &TableReference, job: &Job) -> Result<Option<String>> {
        let (found, written) = (self.warehouse.client.row_count(name).await?, written(job));
        let count = |count: Option<u64>| count.map_or("nobody knows how many".into(), |count| count.to_string());
        let differ = found.is_none() || found != written;
        Ok(differ.then(|| format!("the job has written {} rows, and the table has {}", count(written), count(found))))
    }
}

const DOING: &str = "land a table where it lies";

/// The label of a job that says what its present was.
const NOW: &str = "tradefold_now";

/// How many rows a job says that it has inserted.
fn written(job: &Job) -> Option<u64> {
    let query = job.statistics.as_ref()?.query.as_ref()?;
    let inserted = query.dml_stats.as_ref().and_then(|stats| stats.inserted_row_count);
    u64::try_from(inserted.or(query.num_dml_affected_rows)?).ok()
}

/// What a table takes, in bytes; 0 where nobody says so.
pub(super) fn size_bytes(table: &Table) -> u64 {
    table.num_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

/// A column as BigQuery's API describes it.
fn column(field: &TableFieldSchema) -> SourceColumn {
    let other = |what: String| SourceType::Other(what);
    let kind = match field.r#type.as_str() {
        kind if field.mode == "REPEATED" => other(format!("REPEATED {kind}")),
        "STRING" => match field.collation.as_deref().unwrap_or_default() {
            "" => SourceType::Text,
            collation => other(format!("STRING with the collation {collation}")),
        },
        "INTEGER" | "INT64" => SourceType::Int,
        "FLOAT" | "FLOAT64" => SourceType::Float,
        "BOOLEAN" | "BOOL" => SourceType::Bool,
        "DATE" => SourceType::Date,
        "DATETIME" => SourceType::DateTime,
        "TIMESTAMP" if field.timestamp_precision.is_none_or(|digits| digits <= 6) => SourceType::Timestamp,
        "TIMESTAMP" => other("TIMESTAMP with parts of microseconds".into()),
        kind => other(kind.into()),
    };
    SourceColumn { name: field.name.clone(), kind }
}
