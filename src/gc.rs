//! What runs have left behind, and its removal. Files that a person may want to look at are none of it.

use crate::error::Result;
use crate::ledger::{Entry, Ledger};
use crate::stage::Manifest;
use crate::storage::Folder;
use crate::warehouse::Warehouse;
use crate::warehouse::bigquery::SCHEME;
use crate::window::Day;
use crate::writer::WAITING;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Something that a run has left behind.
#[derive(Clone, Debug, Serialize)]
pub struct Leftover {
    /// What it is: `temporary table`, `staged objects`, `landed rows`, `fetched pages`, `exported objects`, `ledger
    /// file`, `dropped table`, `table in the making`, `kept table`.
    pub what: String,
    /// Its name or URL.
    pub place: String,
    /// How many files it has; of a table none.
    pub files: u64,
    /// Their size together, in bytes.
    pub size_bytes: u64,
    /// The run that takes it up when the same command is given again. Without it that run does its work anew.
    pub needed_by: Option<String>,
    /// The last day on which it is kept, whatever is asked for; nothing where nobody has promised it, or that day is
    /// over.
    pub kept_until: Option<Day>,
    /// Whether its warehouse removes it by itself, after that day, and it is never removed here. Without a day it stays
    /// until somebody drops it.
    pub expires: bool,
    #[serde(skip)]
    remains: Remains,
}

/// Where it is.
#[derive(Clone, Debug)]
enum Remains {
    Table(String),
    Folder(Folder),
    /// A table that somebody may want to have back.
    Kept(Folder),
    Object(Folder, String),
    /// A table that expires.
    Expiring,
}

/// The folders of a target that runs write to.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// The target.
    pub warehouse: &'a dyn Warehouse,
    /// The folder of its ledger and of what runs keep beside it.
    pub home: &'a Folder,
    /// The local folder of landed rows.
    pub work: &'a Folder,
}

impl Places<'_> {
    /// Everything that was left behind, as it is on a day. While a run works, some of it is that run's own: whoever
    /// removes it holds the target.
    ///
    /// # Errors
    /// What a store or the warehouse says.
    pub async fn leftovers(&self, ledger: &Ledger, today: Day) -> Result<Vec<Leftover>> {
        let pending = ledger.pending().into_iter().map(|(part, _)| part);
        let mending = self.home.join("mending");
        let making = Ledger::open(mending.join("ledger"), String::new()).await?;
        // Of a mend no run is over before its table is in place.
        let of_mend = making.records().iter().filter_map(|record| match &record.entry {
            Entry::Landed { run_id, .. } => Some(run_id.as_str()),
            _ => None,
        });
        let unfinished: BTreeSet<&str> = ledger.unfinished().into_iter().chain(pending).chain(of_mend).collect();
        let mut found = self.tables(ledger, &unfinished).await?;
        let promised = ledger.staged_until();
        let kept = |run_id: &str| promised.get(run_id).copied().filter(|until| today <= *until);
        let mut of_runs = self.of_runs(self.home, "stage", "staged objects", &unfinished, &kept).await?;
        found.append(&mut of_runs);
        let mut of_runs = self.of_runs(self.work, "landing", "landed rows", &unfinished, &|_| None).await?;
        found.append(&mut of_runs);
        found.append(&mut ledger_files(ledger).await?);
        let pages = self.work.join("pages");
        found.append(&mut folders_in(&pages, "fetched pages", "a fetch that was not finished").await?);
        let mut exports = vec![self.home.join("exports"), self.work.join("exports"), self.home.join("plans")];
        exports.dedup_by_key(|folder| folder.url().clone());
        for folder in &exports {
            found.append(&mut folders_in(folder, "exported objects", "a command that reads the table").await?);
        }
        found.append(&mut folders_in(&mending, "table in the making", "a mend that was not finished").await?);
        let kept = ledger.kept_tables(&self.warehouse.target()).into_iter();
        // Those of BigQuery expire.
        let (expiring, kept) = kept.partition::<BTreeMap<_, _>, _>(|(place, _)| place.starts_with(SCHEME));
        found.append(&mut self.expiring(expiring, today).await?);
        for (place, until) in kept {
            let folder = Folder::open(&place, &[])?;
            let half = half_removed(&folder);
            let half = (half.clone(), None, Remains::Folder(half));
            let whole = (folder.clone(), Some(until).filter(|until| today <= *until), Remains::Kept(folder));
            for (folder, kept_until, remains) in [half, whole] {
                let files = folder.list().await?;
                // It may be removed by now, or back in its place.
                if files.is_empty() {
                    continue;
                }
                found.push(Leftover {
                    what: "dropped table".into(),
                    place: folder.url().to_string(),
                    files: files.len() as u64,
                    size_bytes: files.iter().map(|meta| meta.size).sum(),
                    needed_by: None,
                    kept_until,
                    expires: false,
                    remains,
                });
            }
        }
        Ok(found)
    }

    /// Tables that expire by themselves, and that were promised to. Where the warehouse is late to remove one, it is
    /// none any more.
    async fn expiring(&self, promised: BTreeMap<String, Day>, today: Day) -> Result<Vec<Leftover>> {
        let tables = self.warehouse.expiring(promised).await?.into_iter();
        let tables =
            tables.filter(|(_, until)| until.is_none_or(|until| today <= until)).map(|(place, until)| Leftover {
                what: "kept table".into(),
                place,
                files: 0,
                size_bytes: 0,
                needed_by: None,
                kept_until: until,
                expires: true,
                remains: Remains::Expiring,
            });
        Ok(tables.collect())
    }

    /// Temporary tables: those of batches of unfinished runs are found again by them.
    async fn tables(&self, ledger: &Ledger, unfinished: &BTreeSet<&str>) -> Result<Vec<Leftover>> {
        let mut needed: Vec<(String, &str)> = Vec::new();
        for &run_id in unfinished {
            let batches: &[Manifest] = ledger.planned(run_id).map_or(&[], |(batches, _, _)| batches);
            for name in self.warehouse.temporary_of(batches).await? {
                needed.push((name, run_id));
            }
        }
        let tables = self.warehouse.temporary().await?.into_iter().map(|name| Leftover {
            what: "temporary table".into(),
            place: name.clone(),
            files: 0,
            size_bytes: 0,
            needed_by: needed.iter().find(|(needed, _)| *needed == name).map(|(_, run_id)| run_id.to_string()),
            kept_until: None,
            expires: false,
            remains: Remains::Table(name),
        });
        Ok(tables.collect())
    }

    /// The folders of one name that runs have below `runs/`.
    async fn of_runs(
        &self,
        folder: &Folder,
        name: &str,
        what: &str,
        unfinished: &BTreeSet<&str>,
        kept: &dyn Fn(&str) -> Option<Day>,
    ) -> Result<Vec<Leftover>> {
        let runs = folder.join("runs");
        let base = runs.path("");
        let mut sizes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for meta in runs.list().await? {
            let parts: Vec<String> =
                meta.location.prefix_match(&base).into_iter().flatten().map(|part| part.as_ref().to_string()).collect();
            if let [run_id, part, ..] = parts.as_slice()
                && part == name
            {
                let size = sizes.entry(run_id.clone()).or_default();
                *size = (size.0 + 1, size.1 + meta.size);
            }
        }
        let leftover = |(run_id, (files, size_bytes)): (String, (u64, u64))| {
            let folder = runs.join(&run_id).join(name);
            Leftover {
                what: what.into(),
                place: folder.url().to_string(),
                files,
                size_bytes,
                kept_until: kept(&run_id),
                expires: false,
                needed_by: unfinished.contains(run_id.as_str()).then_some(run_id),
                remains: Remains::Folder(folder),
            }
        };
        Ok(sizes.into_iter().map(leftover).collect())
    }

    /// Removes what was left behind.
    ///
    /// # Errors
    /// What a store or the warehouse says.
    pub async fn remove(&self, leftovers: &[Leftover]) -> Result<()> {
        for leftover in leftovers {
            match &leftover.remains {
                Remains::Table(name) => self.warehouse.drop_temporary(name).await?,
                Remains::Folder(folder) => folder.remove_all().await?,
                Remains::Kept(folder) => {
                    // Of what is removed half of the way nobody takes it for a table any more.
                    let half = half_removed(folder);
                    folder.rename_to(&half)?;
                    half.remove_all().await?;
                }
                Remains::Object(folder, name) => folder.remove(name).await?,
                Remains::Expiring => {}
            }
        }
        self.home.join("runs").drop_empty();
        self.work.join("runs").drop_empty();
        Ok(())
    }
}

/// Makes an end of runs that were not finished: nothing of their work is taken up any more, and what they have merged
/// stays, with its receipts. Gives their names. One that is being taken back is not over before that is done.
///
/// # Errors
/// As [`Ledger::append`].
pub async fn forget(ledger: &mut Ledger, now_us: i64) -> Result<Vec<String>> {
    let is_going_back = |run: &str| ledger.migration(run).is_some_and(|known| known.rolling_back.is_some());
    let runs = ledger.unfinished().into_iter().filter(|run| !is_going_back(run));
    let runs: Vec<String> = runs.map(str::to_string).collect();
    for run_id in &runs {
        let (run_id, reasons) = (run_id.clone(), vec!["forgotten".to_string()]);
        ledger.append(Entry::Stopped { run_id, reasons, usage: None }, now_us).await?;
    }
    Ok(runs)
}

/// What a kept table is called while it is removed.
fn half_removed(folder: &Folder) -> Folder {
    let name = folder.url().path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_string();
    folder.beside(&format!("{name}.removed"))
}

/// The folders in a folder, whose work `needed_by` goes on with: pages of a feed, objects of an export.
async fn folders_in(folder: &Folder, what: &str, needed_by: &str) -> Result<Vec<Leftover>> {
    let base = folder.path("");
    let mut sizes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for meta in folder.list().await? {
        let name = meta.location.prefix_match(&base).and_then(|mut parts| parts.next());
        let size = sizes.entry(name.map(|name| name.as_ref().to_string()).unwrap_or_default()).or_default();
        *size = (size.0 + 1, size.1 + meta.size);
    }
    let leftover = |(name, (files, size_bytes)): (String, (u64, u64))| {
        let folder = folder.join(&name);
        Leftover {
            what: what.into(),
            place: folder.url().to_string(),
            files,
            size_bytes,
            needed_by: Some(needed_by.into()),
            kept_until: None,
            expires: false,
            remains: Remains::Folder(folder),
        }
    };
    Ok(sizes.into_iter().map(leftover).collect())
}

/// Files beside the entries of a ledger that no entry needs any more: leases but the last, lists of landings that are
/// done.
async fn ledger_files(ledger: &Ledger) -> Result<Vec<Leftover>> {
    let lease = ledger.leased().map(|(number, _, _)| format!("lease-{number}.json"));
    let needed = ledger.needed_files();
    let mut found = Vec::new();
    for meta in ledger.folder().list().await? {
        let name = meta.location.filename().unwrap_or_default();
        let is_ours = ["lease-", "landing-", "wanted-"].iter().any(|kind| name.starts_with(kind));
        let is_wanted = name.starts_with("wanted-") && needed.contains_key(name);
        let is_live = lease.as_deref() == Some(name) || name == WAITING;
        if !is_ours || is_wanted || is_live {
            continue;
        }
        found.push(Leftover {
            what: "ledger file".into(),
            place: ledger.folder().url_of(name),
            files: 1,
            size_bytes: meta.size,
            needed_by: needed.get(name).cloned(),
            kept_until: None,
            expires: false,
            remains: Remains::Object(ledger.folder().clone(), name.to_string()),
        });
    }
    Ok(found)
}
