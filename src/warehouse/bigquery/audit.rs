//! What the target holds, by one statement over all of it, and one for the keys whose rows number different events.

use super::BigQueryWarehouse;
use crate::dedup::Tally;
use crate::engine::number;
use crate::error::{Doing, Error, Result};
use crate::warehouse::by_day::by_day;
use crate::warehouse::values::counted;
use crate::warehouse::{Audit, DayCount};
use crate::window::Day;
use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use std::collections::BTreeMap;

impl BigQueryWarehouse {
    pub(super) async fn audited(&self) -> Result<Audit> {
        let Some(table) = self.find().await? else { return Ok(Audit::default()) };
        self.check_columns(&table)?;
        let names = self.names_of("", None).await?;
        let statements = self.statements(&names);
        let rows = self.client.rows("audit", "", statements.audit()?).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await.doing("audit a table")?;
        let mut audit = Audit {
            last_modified_us: Some(table.last_modified_time).filter(|ms| *ms > 0).map(|ms| ms as i64 * 1_000),
            ..Audit::default()
        };
        for batch in &rows {
            for row in 0..batch.num_rows() {
                let count = |column: usize| {
                    let count = number(batch.column(column).as_ref(), row).and_then(|count| u64::try_from(count).ok());
                    count.ok_or_else(|| Error::bug("audit a table").because("a count is no whole number"))
                };
                let day = DayCount { rows: count(1)?, keys: count(2)? };
                audit.rows += day.rows;
                audit.keys += day.keys;
                audit.duplicates += Tally { exact: count(3)?, superseded: count(4)?, conflict: count(5)? };
                audit.without_key += count(6)?;
                match number(batch.column(0).as_ref(), row) {
                    Some(number) => drop(audit.days.insert(Day(number as i32), day)),
                    None if self.dataset.partition.is_some() => audit.without_day += day.rows,
                    None => {}
                }
                let latest = batch.column(7);
                if !latest.is_null(row) {
                    let text = array_value_to_string(latest, row).doing("audit a table")?;
                    audit.latest = audit.latest.max(Some(text));
                }
            }
        }
        let suspects = self.client.counts("audit", "", statements.suspect_keys()?).await?;
        audit.suspect_keys = suspects.first().copied().unwrap_or_default();
        Ok(audit)
    }

    pub(super) async fn valued(&self, column: &str, equals: Option<(&str, &str)>) -> Result<BTreeMap<String, u64>> {
        let names = self.names_of("", None).await?;
        let sql = self.statements(&names).values(column, equals)?;
        let Some(table) = self.find().await? else { return Ok(BTreeMap::new()) };
        self.check_columns(&table)?;
        counted(self.client.rows("values", "", sql).await?).await
    }

    pub(super) async fn counted_by_day(&self, from: Day) -> Result<BTreeMap<Day, u64>> {
        if self.dataset.partition.is_none() {
            return Ok(BTreeMap::new());
        }
        let names = self.names_of("", None).await?;
        let sql = self.statements(&names).rows_by_day(from)?;
        let Some(table) = self.find().await? else { return Ok(BTreeMap::new()) };
        self.check_columns(&table)?;
        by_day(self.client.rows("days", "", sql).await?).await
    }
}
