//! What the target holds: the kernel decides its rows as it decides those of an input.

use super::DeltaWarehouse;
use super::files::files_of;
use crate::dedup::Dedup;
use crate::error::{Doing, Result};
use crate::progress::Silent;
use crate::warehouse::by_day::by_day;
use crate::warehouse::values::counted;
use crate::warehouse::{Audit, DayCount};
use crate::window::Day;
use arrow::array::Array;
use arrow::util::display::array_value_to_string;
use deltalake::DeltaTable;
use futures::TryStreamExt;
use std::collections::BTreeMap;

impl DeltaWarehouse {
    pub(super) async fn audited(&self) -> Result<Audit> {
        let Some(table) = self.open().await? else { return Ok(Audit::default()) };
        let files = files_of(&self.folder, &table)?;
        let dedup = Dedup::new(&self.engine, &self.dataset, &files).await?.counting_only();
        let decision = dedup.decide(&Silent).await?;
        let mut audit = Audit {
            keys: decision.winners_count(),
            duplicates: decision.losers_count(),
            suspect_keys: decision.suspect_keys().keys,
            without_key: dedup.rows_without_key().await?,
            last_modified_us: self.last_modified_us(&table).await?,
            latest: self.latest().await?,
            ..Audit::default()
        };
        let winners = decision.winners_by_day();
        for (day, rows) in decision.rows_by_day() {
            audit.rows += rows;
            match day {
                Some(at) => {
                    let keys = winners.get(&day).copied().unwrap_or(0);
                    audit.days.insert(at, DayCount { rows, keys });
                }
                None if self.dataset.partition.is_some() => audit.without_day += rows,
                None => {}
            }
        }
        Ok(audit)
    }

    pub(super) async fn valued(&self, column: &str, equals: Option<(&str, &str)>) -> Result<BTreeMap<String, u64>> {
        let sql = self.statements().values(column, equals)?;
        self.open().await?;
        counted(self.engine.stream(&sql).await?).await
    }

    pub(super) async fn counted_by_day(&self, from: Day) -> Result<BTreeMap<Day, u64>> {
        if self.dataset.partition.is_none() {
            return Ok(BTreeMap::new());
        }
        self.open().await?;
        by_day(self.engine.stream(&self.statements().rows_by_day(from)?).await?).await
    }

    async fn last_modified_us(&self, table: &DeltaTable) -> Result<Option<i64>> {
        let newest: Vec<_> =
            table.history(Some(1)).try_collect().await.map_err(|error| self.failed("read a table's history", error))?;
        Ok(newest.first().and_then(|commit| commit.timestamp).map(|at_ms| at_ms * 1_000))
    }

    /// The latest time of a row, as text.
    async fn latest(&self) -> Result<Option<String>> {
        let Some(name) = self.dataset.time_column() else { return Ok(None) };
        let sql = format!("SELECT MAX({}) FROM target", self.statements().exprs().column("", name)?);
        let found = self.engine.collect(&sql).await?;
        let value = found.iter().find(|batch| batch.num_rows() > 0).map(|batch| batch.column(0));
        let Some(value) = value.filter(|value| !value.is_null(0)) else { return Ok(None) };
        array_value_to_string(value, 0).doing("read the latest time of a table").map(Some)
    }
}
