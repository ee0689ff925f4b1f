//! What has to be said before a source is dropped, and what is to be said of one that was.

use super::common::World;
use super::target::BigQueryArgs;
use crate::dataset::Dataset;
use crate::error::{Doing, Error, Result};
use crate::ledger::{Entry, Ledger, Record};
use crate::migrate::{SourceTable, name_of};
use crate::progress::Progress;
use crate::storage::Folder;
use crate::warehouse::bigquery::{SCHEME, TableName, is_there};
use crate::window::{start_of_second_us, text_of_us};
use std::io::{IsTerminal, Write};

const DOING: &str = "drop a source";

/// Refuses places that are no tables: only those can be dropped.
pub(super) fn only_tables(from: &[String], tables: &[SourceTable]) -> Result<()> {
    match from.iter().find(|place| !tables.iter().any(|table| table.place == **place)) {
        None => Ok(()),
        Some(place) => Err(Error::usage(DOING)
            .with("source", place)
            .because("only a Delta table on the local disk, a table of a lake, or one of BigQuery can be dropped")
            .hint("migrate without --drop-source, and remove files yourself once it is proven")),
    }
}

/// Says what will be dropped, and makes sure that somebody wants it: by `--yes`, or by typing the name of each.
/// `tables` are the places as somebody has named them, and the tables that they are.
pub(super) async fn must_be_wanted(tables: &[(String, String)], days: u16, yes: bool, world: &World) -> Result<()> {
    for (place, table) in tables {
        let what = format!("{table} will be dropped once its rows are proven to be in the target");
        if yes {
            world.progress.note(&what);
            continue;
        }
        if !std::io::stdin().is_terminal() {
            return Err(Error::usage(DOING)
                .with("source", place)
                .because("nobody can be asked whether that is meant: stdin is no terminal")
                .hint("give --yes to drop it without being asked"));
        }
        let question =
            format!("{what}, and kept for {days} days beside its place.\nType its name to agree ({place}): ");
        // Not on a thread that has to hear Ctrl-C.
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            std::io::stderr().write_all(question.as_bytes())?;
            std::io::stdin().read_line(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        });
        let answer = asked.await.doing("ask at the terminal")?.doing("ask at the terminal")?;
        if answer.trim() != place.as_str() {
            let hint = format!("type `{place}`, or migrate without --drop-source");
            return Err(Error::usage(DOING).with("source", place).because("its name was not typed").hint(hint));
        }
    }
    Ok(())
}

/// The places that are tables of BigQuery, each with the table that it is.
pub(super) fn of_bigquery(from: &[String], dataset: &Dataset) -> Result<Vec<(String, String)>> {
    let places = from.iter().filter(|place| place.starts_with(SCHEME));
    let named = |place: &String| Ok((place.clone(), table_of(place, dataset)?.to_string()));
    places.map(named).collect()
}

fn table_of(place: &str, dataset: &Dataset) -> Result<TableName> {
    TableName::parse(place, || Ok(dataset.name.clone()))
}

/// The places whose tables are still there. Those that were dropped are passed over where the rest of them is still to
/// be, and are otherwise an error that says where they are.
pub(super) async fn still_there(
    from: &[String],
    drops: bool,
    dataset: &Dataset,
    ledger: &Ledger,
    bigquery: &BigQueryArgs,
    world: &World,
) -> Result<Vec<String>> {
    let (mut there, mut gone) = (Vec::new(), Vec::new());
    for place in from {
        let dropped = match place.starts_with(SCHEME) {
            true => was_dropped_there(place, dataset, ledger, bigquery, world).await?,
            false => was_dropped(place, dataset, ledger)?,
        };
        match dropped {
            None => there.push(place.clone()),
            Some(error) => gone.push(error),
        }
    }
    if drops && !there.is_empty() {
        gone.iter().for_each(|error| world.progress.note(&error.on_one_line()));
        return Ok(there);
    }
    gone.into_iter().next().map_or(Ok(there), Err)
}

/// What there is to say of a place whose table was dropped and is not there again.
fn was_dropped(place: &str, dataset: &Dataset, ledger: &Ledger) -> Result<Option<Error>> {
    let Ok(named) = Folder::open(place, &[]) else { return Ok(None) };
    for folder in [named.join(&dataset.name), named] {
        let Some(path) = folder.local_path() else { return Ok(None) };
        let is_there = path.join("_delta_log").is_dir();
        let Some(record) = ledger.dropped(&name_of(&folder)?).filter(|_| !is_there) else { continue };
        let Entry::Dropping { kept, .. } = &record.entry else { continue };
        let kept = Folder::open(kept, &[])?.local_path().unwrap_or_default();
        let back = kept.is_dir().then(|| "rename that to have it back".to_string());
        return Ok(told(place, record, ledger, &kept.display().to_string(), back));
    }
    Ok(None)
}

/// The same of a table of BigQuery.
async fn was_dropped_there(
    place: &str,
    dataset: &Dataset,
    ledger: &Ledger,
    bigquery: &BigQueryArgs,
    world: &World,
) -> Result<Option<Error>> {
    let table = table_of(place, dataset)?;
    let Some(record) = ledger.dropped(&table.to_string()) else { return Ok(None) };
    let (access, _) = bigquery.export(place, world)?;
    if is_there(access.clone(), &table).await? {
        return Ok(None);
    }
    let Entry::Dropping { kept, .. } = &record.entry else { return Ok(None) };
    let snapshot = table_of(kept, dataset)?;
    let path = |table: &TableName| format!("`{}.{}.{}`", table.place.project, table.place.dataset, table.table);
    let back = is_there(access, &snapshot).await?;
    let back = back.then(|| format!("to have it back: CREATE TABLE {} CLONE {}", path(&table), path(&snapshot)));
    Ok(told(place, record, ledger, kept, back))
}

/// What a record of a dropped table tells; `back`: how to have it back from where it is kept, if it still is.
fn told(place: &str, record: &Record, ledger: &Ledger, kept: &str, back: Option<String>) -> Option<Error> {
    let Entry::Dropping { run_id, until, by, .. } = &record.entry else { return None };
    let when = text_of_us(start_of_second_us(record.at_us));
    let since = match ledger.taken_back_after(record.number) {
        Some(name) => {
            format!("its rows were in the target by the migration {run_id}; since then {name} was taken back")
        }
        None => format!("its rows are in the target by the migration {run_id}"),
    };
    let why = format!("it was dropped at {when} by {by}: {since}");
    let hint = match back {
        Some(back) => format!("until {until} it is kept as {kept}: {back}"),
        None => format!("until {until} it was kept as {kept}, which is gone"),
    };
    Some(Error::usage("migrate").with("source", place).because(why).hint(hint))
}

/// Who calls, for the ledger.
pub(super) fn who(world: &World) -> String {
    let named = |name: &str| world.environment.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let user = named("USER").or_else(|| named("LOGNAME")).unwrap_or("somebody");
    format!("{user} on {}", sysinfo::System::host_name().unwrap_or_else(|| "an unnamed host".into()))
}
