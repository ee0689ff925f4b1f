//! The Parquet files that a Delta table is made of, for who reads them as files.

use super::{DAY, failed};
use crate::engine::DataFile;
use crate::error::{Doing, Error, Result};
use crate::storage::Folder;
use deltalake::{DeltaTable, DeltaTableBuilder};

/// A version of a Delta table, as the files that hold its rows.
#[derive(Clone, Debug)]
pub struct TableFiles {
    /// The version.
    pub version: Option<u64>,
    /// The files, in the order of their URLs.
    pub files: Vec<DataFile>,
}

/// Whether there is a Delta table in a folder.
///
/// # Errors
/// What the store says.
pub async fn is_table(folder: &Folder) -> Result<bool> {
    Ok(!folder.join("_delta_log").list().await?.is_empty())
}

/// Whether a table is in a folder of the local disk with all of its files, and has this version.
///
/// # Errors
/// What the store says.
pub(super) async fn is_whole(folder: &Folder, version: u64) -> Result<bool> {
    if !is_table(folder).await? {
        return Ok(false);
    }
    // A log of which a part is gone can't be read.
    let Ok(table) = table_files(folder).await else { return Ok(false) };
    let is_there = |file: &DataFile| {
        let path = file.path().ok();
        path.and_then(|path| path.metadata().ok()).is_some_and(|meta| meta.len() == file.size_bytes)
    };
    Ok(table.version == Some(version) && table.files.iter().all(is_there))
}

/// The newest version of the Delta table in a folder of the local disk. Whoever made it: of a table with features that
/// let a file say another thing than the table does, nothing is read.
///
/// # Errors
/// Usage, when it has such a feature; and when there is no table, or its log can't be read.
pub async fn table_files(folder: &Folder) -> Result<TableFiles> {
    let doing = "open a Delta table";
    let mut table = DeltaTableBuilder::from_url(folder.url().clone()).doing(doing)?.build().doing(doing)?;
    table.load().await.map_err(|error| failed(folder, doing, error))?;
    let snapshot = table.snapshot().map_err(|error| failed(folder, doing, error))?;
    let refused = |why: String| {
        Error::usage(doing)
            .with("table", folder.url())
            .because(why)
            .hint("give a copy of its rows as Parquet files in another folder")
    };
    let metadata = snapshot.metadata();
    // The day of a row follows from its own columns.
    if let Some(column) = metadata.partition_columns().iter().find(|column| *column != DAY) {
        return Err(refused(format!("its files do not hold the column `{column}`, by which it is partitioned")));
    }
    let mapping = metadata.configuration().get("delta.columnMapping.mode").filter(|mode| *mode != "none");
    if mapping.is_some() {
        return Err(refused("its files call the columns by other names than the table does".into()));
    }
    Ok(TableFiles { version: table.version(), files: files_of(folder, &table)? })
}

/// The files of a version of a table.
pub(super) fn files_of(folder: &Folder, table: &DeltaTable) -> Result<Vec<DataFile>> {
    let doing = "list the files of a Delta table";
    let snapshot = table.snapshot().map_err(|error| failed(folder, doing, error))?;
    let mut files = Vec::new();
    for file in snapshot.log_data().iter() {
        let path = file.path().into_owned();
        if file.deletion_vector_descriptor().is_some() {
            return Err(Error::usage(doing)
                .with("table", folder.url())
                .with("file", path)
                .because("rows of it are deleted by a vector beside it, so the file does not say what it holds")
                .hint("have whoever wrote it rewrite its files without (in Spark: REORG TABLE … APPLY (PURGE))"));
        }
        let size_bytes = u64::try_from(file.size()).unwrap_or(0);
        files.push(DataFile { url: format!("{}/{path}", folder.url()), label: path, size_bytes });
    }
    files.sort_by(|a, b| a.url.cmp(&b.url));
    Ok(files)
}
