//! A table that is made to take the target's place, and the renames by which it does.

use super::files::{is_table, table_files};
use super::history::{BEFORE, duckdb_type, whole};
use super::{DeltaWarehouse, Warehouse};
use crate::engine::FilesTable;
use crate::error::{Doing, Error, Kind, Result};
use crate::sql::{Dialect, Exprs};
use crate::stage::Manifest;
use crate::storage::Folder;
use crate::warehouse::Tables;
use arrow::datatypes::Schema;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

/// The files of the target, before anything is done to their values.
const FILES: &str = "before_it_files";

impl DeltaWarehouse {
    /// Where the table lies that is made to take the target's place.
    fn making(&self) -> Folder {
        let path = self.folder.url().path().trim_end_matches('/').to_string();
        let name = path.rsplit('/').next().unwrap_or_default();
        self.folder.beside(&format!("_tradefold/{name}/mending/table"))
    }

    /// That a table which is not there is not missing only because another one is about to take its place.
    pub(super) async fn must_not_be_swapped(&self) -> Result<()> {
        let making = self.making();
        if !is_table(&making).await? {
            return Ok(());
        }
        Err(Error::new(Kind::Busy, "open a Delta table")
            .with("table", self.folder.url())
            .because(format!("it is about to be replaced by {}, and neither of them is in its place", making.url()))
            .hint(
                "run migrate --mend again, or any command that writes to the table; if somebody has removed the table, \
                 remove the other one, too",
            ))
    }

    pub(super) async fn is_to_be_mended(&self) -> Result<bool> {
        match self.check_target().await {
            Ok(0) => return Ok(false),
            Err(error) if error.kind() == Kind::Usage => return Ok(true),
            checked => checked?,
        };
        if let Some(is_unfolded) = self.statements().exprs().unfolded()?
            && self.engine.count(&format!("SELECT COUNT(*) FROM target WHERE {is_unfolded}")).await? > 0
        {
            return Ok(true);
        }
        Ok(self.audited().await?.duplicates.total() > 0)
    }

    pub(super) async fn table_in_the_making(&self, anew: bool) -> Result<DeltaWarehouse> {
        let folder = self.making();
        if anew {
            folder.remove_all().await?;
        }
        Ok(DeltaWarehouse::new(self.engine.clone(), Arc::clone(&self.dataset), folder))
    }

    pub(super) async fn both_of_mend(&self, batches: &[Manifest]) -> Result<Tables> {
        let old = table_files(&self.folder).await?;
        let dialect = Dialect::DataFusion;
        let exprs = Exprs { dataset: &self.dataset, dialect };
        let mut there: BTreeSet<String> = BTreeSet::new();
        for file in &old.files {
            there.extend(file.footer()?.schema().fields().iter().map(|field| field.name().clone()));
        }
        let (mut fields, mut columns, mut casts) = (Vec::new(), Vec::new(), Vec::new());
        for (field, column) in self.dataset.schema().fields().iter().zip(&self.dataset.columns) {
            // As landing takes them: the first of its names that is known.
            let mut names: Vec<&str> = column.input_names().filter(|name| there.contains(*name)).collect();
            let is_there = !names.is_empty();
            if !is_there {
                names.push(field.name());
            }
            fields.extend(names.iter().map(|name| field.as_ref().clone().with_name(*name)));
            let names = names.into_iter().map(|name| dialect.quote(name)).collect::<Result<Vec<_>>>()?;
            let known = if names.len() > 1 { format!("COALESCE({})", names.join(", ")) } else { names.join("") };
            // As landing folds it.
            let known = if column.hex { format!("LOWER({known})") } else { known };
            let name = dialect.quote(field.name())?;
            let kind = duckdb_type(field.data_type());
            casts.push(format!("CAST({} AS {kind}) AS {name}", if is_there { known.as_str() } else { "NULL" }));
            columns.push(format!("{known} AS {name}"));
        }
        self.engine.register_files(FILES, FilesTable::new(&Arc::new(Schema::new(fields)), &old.files)?)?;
        // Rows without a key are of none; landing rejects them.
        let keyed = format!("WHERE NOT {}", exprs.without_key("_r")?);
        let view =
            |columns: &[String]| format!("SELECT * FROM (SELECT {} FROM {FILES}) AS _r {keyed}", columns.join(", "));
        self.engine.register_view(&whole(BEFORE), &view(&columns)).await?;
        let rows = self.engine.count(&format!("SELECT COUNT(*) FROM {FILES}")).await?;
        let mut set_up = super::history::prelude();
        set_up.push_str(&self.view(FILES, &old.files)?);
        let _ = writeln!(set_up, "CREATE VIEW {BEFORE} AS {};", view(&casts));
        let making = self.table_in_the_making(false).await?;
        making.with_after(set_up, rows, batches).await
    }

    /// Where the files of a mend's statements are once it is in place: their folders now, and then.
    pub(super) fn placed_as(&self, kept: &Folder) -> Result<Vec<(String, String)>> {
        let path = |folder: &Folder| match folder.local_path() {
            Some(path) => Ok(format!("{}/", path.display())),
            None => Err(Error::bug("swap two tables").with("table", folder.url()).because("it is not on a disk")),
        };
        let (target, making) = (path(&self.folder)?, path(&self.making())?);
        Ok(vec![(target.clone(), path(kept)?), (making, target)])
    }

    /// Puts the table in the making into the target's place. Goes on where an earlier try has ended, and goes back
    /// where it can't.
    pub(super) async fn swapped(&self, kept: &Folder, version: u64) -> Result<bool> {
        let making = self.making();
        if !is_table(&making).await? {
            return is_table(kept).await;
        }
        if is_table(&self.folder).await? {
            if table_files(&self.folder).await?.version != Some(version) {
                return Ok(false);
            }
            self.folder.rename_to(kept)?;
        }
        if let Err(error) = making.rename_to(&self.folder) {
            // Better the old table than none. Whether it is back, whoever is told of the error looks.
            let _ = kept.rename_to(&self.folder);
            return Err(error);
        }
        Ok(true)
    }

    /// Makes a table that was put aside the one that takes the target's place next, or the other way round.
    pub(super) async fn stood_by(&self, kept: &Folder, is_back: bool) -> Result<()> {
        let making = self.making();
        let (from, to) = if is_back { (&making, kept) } else { (kept, &making) };
        if !is_table(from).await? {
            return Ok(());
        }
        if let Some(above) = to.local_path().as_deref().and_then(std::path::Path::parent) {
            std::fs::create_dir_all(above).doing("make a folder for a table")?;
        }
        from.rename_to(to)
    }
}
