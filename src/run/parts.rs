//! Parts of feeds as what a run brings in.

use super::{Run, RunFiles, landed_files};
use crate::engine::FilesTable;
use crate::error::{Doing, Error, Kind, Result};
use crate::landing::Landed;
use crate::ledger::Ledger;
use crate::sql::{Dialect, render};
use crate::storage::Folder;
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use std::collections::BTreeSet;

/// The parts that wait for a run and whose files are not in the local folder `work`, or not what they were, or have
/// landed by another contract than the one of this digest: what they had seen has to be fetched again. `home` is the
/// folder of the ledger and of what runs keep.
///
/// # Errors
/// What the stores say.
pub async fn gone_parts(home: &Folder, work: &Folder, ledger: &Ledger, contract: &str) -> Result<BTreeSet<String>> {
    let mut gone = BTreeSet::new();
    for (part, _) in ledger.pending() {
        let is_here = match ledger.landed_part(part).await? {
            Some(landed) if ledger.is_of_contract(part, contract) => {
                RunFiles::new(home, work, part).has_landed(&landed, &[]).await?
            }
            _ => false,
        };
        if !is_here {
            gone.insert(part.to_string());
        }
    }
    Ok(gone)
}

impl Run<'_> {
    /// The landings of parts, as one.
    pub(super) async fn join(&self, parts: &[String], ledger: &Ledger) -> Result<Landed> {
        let mut all = Landed::default();
        for part in parts {
            let landed = match ledger.landed_part(part).await? {
                Some(landed) if self.files_of(part).has_landed(&landed, &[]).await? => landed,
                _ => {
                    return Err(Error::new(Kind::Transient, "find what was fetched")
                        .with("part", part)
                        .because("its files are not what they were")
                        .hint("run the same command again: it is fetched anew"));
                }
            };
            all.append(landed);
        }
        all.check()?;
        Ok(all)
    }

    /// Writes down which rows of another table are wanted for the rows that have landed.
    pub(super) async fn write_wanted(&self, landed: &Landed, ledger: &mut Ledger) -> Result<()> {
        let Some(column) = &self.options.wants else { return Ok(()) };
        let values = self.values(landed, column).await?;
        if values.is_empty() { Ok(()) } else { ledger.append_wanted(&values, (self.now_us)()).await }
    }

    /// The known values of a column of text, of rows that have landed.
    async fn values(&self, landed: &Landed, column: &str) -> Result<BTreeSet<String>> {
        let doing = "list which rows of another table are wanted";
        self.engine.register_files("landed", FilesTable::new(self.dataset.schema(), &landed_files(landed))?)?;
        let value = Dialect::DataFusion.quote(column)?;
        let sql = render(include_str!("../../sql/wanted.sql"), &[("value", &value)])?;
        let mut rows = self.engine.stream(&sql).await?;
        let mut values = BTreeSet::new();
        while let Some(batch) = rows.try_next().await.doing(doing)? {
            let texts = cast(batch.column(0), &DataType::Utf8).doing(doing)?;
            values.extend(texts.as_string::<i32>().iter().flatten().map(str::to_string));
        }
        self.engine.forget("landed")?;
        Ok(values)
    }
}
