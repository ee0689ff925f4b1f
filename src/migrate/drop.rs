//! Drops tables once all of their rows are proven to be in the target: they are moved aside, and kept for a time.

use super::proof::last_kept;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Ledger};
use crate::report::{DroppedTable, MigrationReport};
use crate::run::Run;
use crate::storage::Folder;
use crate::warehouse::local::table_files;
use crate::writer::lock;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Delta table of which a migration brings the rows into its target.
#[derive(Clone, Debug)]
pub struct SourceTable {
    /// As somebody has named it.
    pub place: String,
    /// Its folder.
    pub folder: Folder,
    /// The version that is read.
    pub version: Option<u64>,
}

/// Who wants tables to be dropped, and how long to wait for a writer of one of them.
#[derive(Clone, Debug)]
pub struct Dropping {
    /// Who.
    pub by: String,
    /// How long.
    pub wait: Duration,
}

/// Sees to it that tables can be dropped: that none of them is a link, or the target or a part of it, and that no run
/// of theirs waits to be finished. `target` is the target's full name, `home` the folder beside it.
///
/// # Errors
/// Usage, where one can't be dropped.
pub async fn check_drop(tables: &[SourceTable], target: &str, home: &Folder) -> Result<()> {
    let of_target = Folder::open(target, &[]).ok().and_then(|table| table.local_path());
    for table in tables {
        let refused = |why: String, hint: &str| {
            Error::usage(DOING).with("table", table.folder.url()).because(why).hint(hint.to_string())
        };
        let path = path_of(&table.folder)?;
        if path.is_symlink() {
            return Err(refused("it is a link to another folder".into(), "name the folder that it leads to"));
        }
        let path = real(&path);
        for own in of_target.iter().chain(&home.local_path()).map(|own| real(own)) {
            if own.starts_with(&path) || path.starts_with(&own) {
                return Err(refused(
                    "it is the target, or one is in the other".into(),
                    "migrate without --drop-source",
                ));
            }
        }
        let Some(home) = home_of(&path) else { continue };
        let own = Ledger::open(Folder::open(&home.join("ledger").to_string_lossy(), &[])?, String::new()).await?;
        let waits = own.pending().into_iter().map(|(part, _)| part);
        let waits: Vec<&str> = own.unfinished().into_iter().chain(waits).collect();
        if !waits.is_empty() {
            return Err(refused(
                format!("work that was begun in it is not finished, and its rows are not in it: {}", waits.join(", ")),
                "run the commands again that were not finished, or migrate without --drop-source",
            ));
        }
    }
    Ok(())
}

/// Moves tables aside whose rows were brought in, each in one step, and writes down before it where to. Without a proof
/// that holds it does nothing. Killed in between, the same migration goes on with what is still there.
///
/// # Errors
/// Busy, where a table is not as it was read, or where somebody writes to it; usage, where it can't be dropped; and
/// what the disk says.
pub async fn drop_sources(
    run: &Run<'_>,
    report: &mut MigrationReport,
    tables: &[SourceTable],
    dropping: &Dropping,
    ledger: &mut Ledger,
) -> Result<()> {
    let dropped = report.dropped.insert(Vec::new());
    let Some(proof) = report.proof.as_ref().filter(|proof| proof.findings.is_empty()) else { return Ok(()) };
    let until = last_kept(run);
    let left_out: Vec<&str> =
        report.run.inputs.iter().flat_map(|input| input.left_out.keys().map(String::as_str)).collect();
    if let Some(name) = left_out.first() {
        return Err(Error::usage(DOING)
            .with("column", name)
            .because(
                "a source knows values of it, and the contract does not have it: they would be gone with the table",
            )
            .hint("the rows are in the target and proven; keep the table, or add the column to the contract"));
    }
    for table in tables {
        let source = name_of(&table.folder)?;
        if dropped.iter().any(|known: &DroppedTable| known.source == source) {
            continue;
        }
        let path = path_of(&table.folder)?;
        // Whoever writes to it has the lock of its own ledger.
        let _lock = match home_of(&path) {
            Some(home) => Some(lock(&home.join("lock"), dropping.wait, run.progress).await?),
            None => None,
        };
        check_drop(std::slice::from_ref(table), &run.warehouse.target(), &run.home).await?;
        must_be_as_read(table, &table.folder).await?;
        // Names that begin so are read by nobody who reads the folder above.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("_{name}.kept-until-{until}-{}", proof.migration);
        let kept = Folder::open(&path.with_file_name(name).to_string_lossy(), &[])?;
        let entry = Entry::Dropping {
            run_id: proof.migration.clone(),
            source: source.clone(),
            version: table.version,
            kept: kept.url().to_string(),
            until,
            by: dropping.by.clone(),
        };
        ledger.append(entry, (run.now_us)()).await?;
        table.folder.rename_to(&kept)?;
        // Somebody who takes no lock may have been at it until then; from here on it stays as it is.
        if let Err(error) = must_be_as_read(table, &kept).await {
            kept.rename_to(&table.folder)?;
            return Err(error);
        }
        dropped.push(DroppedTable { source, version: table.version, kept: kept.url().to_string(), until });
    }
    Ok(())
}

const DOING: &str = "drop a source";

/// That a table, which may be in another folder by now, has the version that was read.
async fn must_be_as_read(table: &SourceTable, folder: &Folder) -> Result<()> {
    let now = table_files(folder).await?.version;
    if now == table.version {
        return Ok(());
    }
    let shown = |version: Option<u64>| version.map_or("none".to_string(), |version| version.to_string());
    Err(Error::new(Kind::Busy, DOING)
        .with("table", table.folder.url())
        .because(format!("its version is {}, and version {} was brought in", shown(now), shown(table.version)))
        .hint("somebody has written to it meanwhile: run the same command again, once nobody does"))
}

/// The URL by which the ledger knows a folder of the local disk, however somebody has written its path.
///
/// # Errors
/// Bug, where it is not on the local disk.
pub fn name_of(folder: &Folder) -> Result<String> {
    Ok(Folder::open(&real(&path_of(folder)?).to_string_lossy(), &[])?.url().to_string())
}

/// The path of a folder, without a slash at its end.
fn path_of(folder: &Folder) -> Result<PathBuf> {
    let path = folder.local_path().map(|path| path.components().collect());
    path.ok_or_else(|| Error::bug(DOING).with("table", folder.url()).because("it is not on a disk"))
}

/// The folder of what tradefold keeps beside a table, where it does.
fn home_of(table: &Path) -> Option<PathBuf> {
    let home = table.parent()?.join("_tradefold").join(table.file_name()?);
    home.is_dir().then_some(home)
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(above), Some(name)) => real(above).join(name),
        _ => path.to_path_buf(),
    }
}
