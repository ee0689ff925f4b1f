//! Rows of another table that rows mention: markets of trades, events of markets.

use super::Follower;
use crate::error::Result;
use crate::ledger::{Entry, Ledger};
use crate::report::TableReport;
use std::collections::{BTreeMap, BTreeSet};

/// How often a value is asked for that the API does not know. Then it is only listed.
const ASKED: u32 = 3;

/// What is kept of another table.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    /// The column of its key.
    pub key: &'a str,
    /// Which rows may say something else by now: those in which this column, as text, equals this text.
    pub open: Option<(&'a str, &'a str)>,
    /// How long what a row says counts as new, in microseconds.
    pub refresh_us: i64,
}

/// Brings rows that another ledger wants, strikes them off there, and looks at open rows again.
///
/// # Errors
/// What the API, the disk, the ledgers or the target say.
pub async fn catch_up_catalogue(
    wanting: &mut Ledger,
    follower: &Follower<'_>,
    catalogue: Catalogue<'_>,
    ledger: &mut Ledger,
) -> Result<TableReport> {
    let warehouse = follower.run.warehouse;
    let now_us = follower.run.now_us;
    let wanted = wanting.wanted().await?;
    let mut report = TableReport::default();
    let known = warehouse.values(catalogue.key, None).await?;
    let missing =
        |(value, asked): (&String, &u32)| (!known.contains_key(value) && *asked < ASKED).then(|| value.clone());
    let ask: BTreeSet<String> = wanted.iter().filter_map(missing).collect();
    // Parts may wait from a run that stopped, so this is done where nothing is to be asked for, too.
    let brought = follower.bring_keys(&ask, ledger).await?;
    let missed = brought.fetch.missed_keys.clone();
    let stopped = brought.is_stopped();
    report.add(brought);
    if stopped {
        return Ok(report);
    }
    let known = if ask.is_empty() { known } else { warehouse.values(catalogue.key, None).await? };
    let still = wanted.into_iter().filter(|(value, _)| !known.contains_key(value));
    let left: BTreeMap<String, u32> = still
        .map(|(value, asked)| {
            let was_asked = ask.contains(&value) && !missed.contains(&value);
            (value, asked + u32::from(was_asked))
        })
        .collect();
    if left != wanting.left() || wanting.has_wanted() {
        wanting.append(Entry::Struck { left: left.clone() }, now_us()).await?;
    }
    report.left = left;
    if let Some(open) = catalogue.open
        && follower.is_refresh_due(catalogue.refresh_us, ledger)
    {
        // What has just come is new.
        let open = warehouse.values(catalogue.key, Some(open)).await?.into_keys();
        let again: BTreeSet<String> = open.filter(|key| !ask.contains(key)).collect();
        report.add(follower.refresh_keys(&again, ledger).await?);
    }
    Ok(report)
}
