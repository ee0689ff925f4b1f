//! Drops tables once all of their rows are proven to be in the target, and keeps what they were for a time: a Delta
//! table is moved aside, of a table of BigQuery a snapshot is left.

use super::proof::last_kept;
use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Holder, Ledger};
use crate::progress::Progress;
use crate::report::{DroppedTable, MigrationReport};
use crate::run::Run;
use crate::storage::Folder;
use crate::warehouse::bigquery::ReadTable;
use crate::warehouse::local::table_files;
use crate::window::Day;
use crate::writer::{Lease, Terms, WriterLock, lock};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A table of which a migration brings the rows into its target.
#[derive(Clone, Debug)]
pub struct SourceTable {
    /// As somebody has named it.
    pub place: String,
    /// What it is, and what it was when its rows were read.
    pub read: ReadSource,
}

/// A table that can be dropped, as its rows were read.
#[derive(Clone, Debug)]
pub enum ReadSource {
    /// A Delta table on the local disk.
    Delta {
        /// Its folder.
        folder: Folder,
        /// The version that is read.
        version: Option<u64>,
    },
    /// A table of BigQuery.
    BigQuery {
        /// The table.
        table: Box<ReadTable>,
        /// The folder of its own ledger, where it is a target of the same stage.
        ledger: Folder,
    },
}

/// Who wants tables to be dropped, and how long to wait for a writer of one of them.
#[derive(Clone, Debug)]
pub struct Dropping {
    /// Who.
    pub by: String,
    /// How long.
    pub wait: Duration,
    /// As whom it takes a table of BigQuery from its writers, which may be on other machines.
    pub holder: Holder,
    /// The present there.
    pub now_us: fn() -> i64,
}

/// Sees to it that tables can be dropped: that none of them is a link, or the target or a part of it, that no run of
/// theirs waits to be finished, and that they are as they were read. `target` is the target's full name, `home` the
/// folder beside it.
///
/// # Errors
/// Usage, where one can't be dropped; busy, where somebody has written to one, or may do so any time.
pub async fn check_drop(tables: &[SourceTable], target: &str, home: &Folder) -> Result<()> {
    for table in tables {
        let refused = |why: String, hint: &str| {
            Error::usage(DOING).with("table", table.shown()).because(why).hint(hint.to_string())
        };
        let own = match &table.read {
            ReadSource::Delta { folder, .. } => {
                let path = path_of(folder)?;
                if path.is_symlink() {
                    return Err(refused("it is a link to another folder".into(), "name the folder that it leads to"));
                }
                let path = real(&path);
                let of_target = Folder::open(target, &[]).ok().and_then(|table| table.local_path());
                let of_target = of_target.iter().chain(&home.local_path()).map(|own| real(own)).collect::<Vec<_>>();
                if of_target.iter().any(|own| own.starts_with(&path) || path.starts_with(own)) {
                    let hint = "migrate without --drop-source";
                    return Err(refused("it is the target, or one is in the other".into(), hint));
                }
                let own = home_of(&path).map(|home| Folder::open(&home.join("ledger").to_string_lossy(), &[]));
                own.transpose()?
            }
            ReadSource::BigQuery { ledger, .. } => {
                // A dataset may tell names apart by case, or not.
                if target.eq_ignore_ascii_case(&table.shown()) {
                    return Err(refused("it is the target".into(), "migrate without --drop-source"));
                }
                Some(ledger.clone())
            }
        };
        if let Some(own) = own {
            let own = Ledger::open(own, String::new()).await?;
            let waits = own.pending().into_iter().map(|(part, _)| part);
            let waits: Vec<&str> = own.unfinished().into_iter().chain(waits).collect();
            if !waits.is_empty() {
                return Err(refused(
                    format!(
                        "work that was begun in it is not finished, and its rows are not in it: {}",
                        waits.join(", ")
                    ),
                    "run the commands again that were not finished, or migrate without --drop-source",
                ));
            }
        }
        match &table.read {
            ReadSource::Delta { folder, version } => must_be_as_read(folder, *version, folder).await?,
            ReadSource::BigQuery { table, .. } => table.check().await?,
        }
    }
    Ok(())
}

/// Drops tables whose rows were brought in, and writes down before it where each is kept. Without a proof that holds it
/// does nothing. Killed in between, the same migration goes on with what is still there.
///
/// # Errors
/// Data, where rows were set aside; busy, where a table is not as it was read, or where somebody writes to it; usage,
/// where it can't be dropped; and what the disk or BigQuery says. The report names the tables that were dropped until
/// then.
pub async fn drop_sources(
    run: &Run<'_>,
    report: &mut MigrationReport,
    tables: &[SourceTable],
    dropping: &Dropping,
    ledger: &mut Ledger,
) -> Result<()> {
    let dropped = report.dropped.insert(Vec::new());
    let Some(proof) = report.proof.as_ref().filter(|proof| proof.findings.is_empty()) else { return Ok(()) };
    let (rejected, quarantined) = (report.run.balance.landing.rejected, report.run.balance.quarantined.rows);
    if rejected + quarantined > 0 {
        return Err(Error::data(DOING)
            .with("migration", &proof.migration)
            .because(format!("rows of it are in no table: {rejected} were rejected, {quarantined} are in quarantine"))
            .hint(
                "nothing was dropped; look at these rows in the files of the report, and decide about them; where \
                 nobody wants them, drop the source yourself",
            ));
    }
    let until = last_kept(run);
    for table in tables {
        let source = table.name()?;
        if dropped.iter().any(|known: &DroppedTable| known.source == source) {
            continue;
        }
        let (_lock, lease) = table.hold(dropping, run.progress).await?;
        let done = async {
            check_drop(std::slice::from_ref(table), &run.warehouse.target(), &run.home).await?;
            let (version, kept) = (table.version(), table.kept(until, &proof.migration)?);
            let entry = Entry::Dropping {
                run_id: proof.migration.clone(),
                source: source.clone(),
                version,
                kept: kept.clone(),
                until,
                by: dropping.by.clone(),
            };
            ledger.append(entry, (run.now_us)()).await?;
            match &table.read {
                ReadSource::Delta { folder, version } => {
                    move_aside(folder, *version, &Folder::open(&kept, &[])?).await?;
                }
                ReadSource::BigQuery { table, .. } => table.retire(until.plus(1).start_us() / 1_000).await?,
            }
            Ok(DroppedTable { source, version, kept, until })
        };
        let done: Result<DroppedTable> = done.await;
        let released = match lease {
            Some(lease) => lease.release().await,
            None => Ok(()),
        };
        // What went wrong before is what there is to say.
        dropped.push(done?);
        released?;
    }
    Ok(())
}

const DOING: &str = "drop a source";

impl SourceTable {
    /// As a person finds it.
    pub fn shown(&self) -> String {
        match &self.read {
            ReadSource::Delta { folder, .. } => folder.url().to_string(),
            ReadSource::BigQuery { table, .. } => table.name.to_string(),
        }
    }

    /// As the ledger knows it.
    fn name(&self) -> Result<String> {
        match &self.read {
            ReadSource::Delta { folder, .. } => name_of(folder),
            ReadSource::BigQuery { .. } => Ok(self.shown()),
        }
    }

    /// What tells the rows that were read from those of another time.
    pub(super) fn version(&self) -> Option<u64> {
        match &self.read {
            ReadSource::Delta { version, .. } => *version,
            ReadSource::BigQuery { table, .. } => Some(table.read.modified_ms),
        }
    }

    /// Takes it from the writers that it has of its own: on the local disk they have a lock, in BigQuery a lease.
    async fn hold(&self, dropping: &Dropping, progress: &dyn Progress) -> Result<(Option<WriterLock>, Option<Lease>)> {
        match &self.read {
            ReadSource::Delta { folder, .. } => match home_of(&path_of(folder)?) {
                Some(home) => Ok((Some(lock(&home.join("lock"), dropping.wait, progress).await?), None)),
                None => Ok((None, None)),
            },
            ReadSource::BigQuery { ledger, .. } => {
                let (Dropping { holder, wait, now_us, .. }, home) = (dropping, ledger.clone());
                let mut own = Ledger::open(home, format!("{} {}", holder.name, now_us())).await?;
                // A table that no run has ever written to has no ledger, and gets none for this.
                if own.records().is_empty() {
                    return Ok((None, None));
                }
                let lease = Lease::take(&mut own, holder.clone(), Terms::usual(*wait), *now_us, progress).await?;
                Ok((None, Some(lease)))
            }
        }
    }

    /// The URL under which it is kept.
    fn kept(&self, until: Day, migration: &str) -> Result<String> {
        match &self.read {
            ReadSource::Delta { folder, .. } => {
                let path = path_of(folder)?;
                // Names that begin so are read by nobody who reads the folder above.
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = format!("_{name}.kept-until-{until}-{migration}");
                Ok(Folder::open(&path.with_file_name(name).to_string_lossy(), &[])?.url().to_string())
            }
            ReadSource::BigQuery { table, .. } => Ok(table.kept().to_string()),
        }
    }
}

/// The tables that were to be dropped after an entry, once each: by whichever migration, since one that found their
/// rows in the target has brought none in.
pub(super) fn dropped_after(number: u64, ledger: &Ledger) -> Vec<DroppedTable> {
    let mut tables = BTreeMap::new();
    for record in ledger.records().iter().filter(|record| record.number > number) {
        if let Entry::Dropping { source, version, kept, until, .. } = &record.entry {
            let (source, version, kept, until) = (source.clone(), *version, kept.clone(), *until);
            tables.insert(source.clone(), DroppedTable { source, version, kept, until });
        }
    }
    tables.into_values().collect()
}

async fn move_aside(folder: &Folder, version: Option<u64>, kept: &Folder) -> Result<()> {
    folder.rename_to(kept)?;
    // Somebody who takes no lock may have been at it until then; from here on it stays as it is.
    if let Err(error) = must_be_as_read(folder, version, kept).await {
        kept.rename_to(folder)?;
        return Err(error);
    }
    Ok(())
}

/// That a Delta table, which may be in another folder by now, has the version that was read.
async fn must_be_as_read(folder: &Folder, version: Option<u64>, now_in: &Folder) -> Result<()> {
    let now = table_files(now_in).await?.version;
    if now == version {
        return Ok(());
    }
    let shown = |version: Option<u64>| version.map_or("none".to_string(), |version| version.to_string());
    Err(Error::new(Kind::Busy, DOING)
        .with("table", folder.url())
        .because(format!("its version is {}, and version {} was brought in", shown(now), shown(version)))
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
