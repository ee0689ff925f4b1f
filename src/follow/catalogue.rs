//! Rows of another table that rows mention: markets of trades, events of markets.

use super::Table;
use crate::error::Result;
use crate::ledger::Entry;
use crate::report::TableReport;
use std::collections::{BTreeMap, BTreeSet};

/// How often a value is asked for that the API does not know. Then it is only listed.
const ASKED: u32 = 3;

/// What is kept of another table.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    /// The column of its key, which is called the same in the table that mentions it.
    pub key: &'a str,
    /// Which rows may say something else by now: those in which this column, as text, equals this text.
    pub open: Option<(&'a str, &'a str)>,
    /// How long what a row says counts as new, in microseconds.
    pub refresh_us: i64,
}

/// Brings rows that another table wants, strikes them off there, and looks at open rows again.
///
/// # Errors
/// What the API, the disk, the ledgers or the targets say.
pub async fn catch_up_catalogue(
    wanting: &mut Table<'_>,
    catalogue: Catalogue<'_>,
    wanted_of: &mut Table<'_>,
) -> Result<TableReport> {
    let Table { follower, ledger } = wanted_of;
    let (warehouse, now_us) = (follower.run.warehouse, follower.run.now_us);
    let mut report = follower.bring_waiting(ledger).await?;
    if report.is_stopped() {
        return Ok(report);
    }
    let mut wanted = wanting.ledger.wanted().await?;
    let rows = warehouse.check_target().await?;
    let lost = ledger.lost_rows(rows);
    if lost > 0 {
        // What was struck off is wanted again: everything that is mentioned.
        let mentioned = wanting.follower.run.warehouse.values(catalogue.key, None).await?.into_keys();
        for value in mentioned.filter(|value| !value.is_empty()) {
            wanted.entry(value).or_insert(0);
        }
    }
    let known = warehouse.values(catalogue.key, None).await?;
    let missing =
        |(value, asked): (&String, &u32)| (!known.contains_key(value) && *asked < ASKED).then(|| value.clone());
    let ask: BTreeSet<String> = wanted.iter().filter_map(missing).collect();
    if !ask.is_empty() {
        report.add(follower.bring_keys(&ask, ledger).await?);
    }
    if report.is_stopped() {
        return Ok(report);
    }
    let missed = report.fetch.missed_keys.clone();
    if lost > 0 && missed.is_empty() {
        ledger
            .append(Entry::Unseen { covers: Vec::new(), rows: Some(warehouse.check_target().await?) }, now_us())
            .await?;
    }
    let known = if ask.is_empty() { known } else { warehouse.values(catalogue.key, None).await? };
    let still = wanted.into_iter().filter(|(value, _)| !known.contains_key(value));
    let left: BTreeMap<String, u32> = still
        .map(|(value, asked)| {
            let was_asked = ask.contains(&value) && !missed.contains(&value);
            (value, asked + u32::from(was_asked))
        })
        .collect();
    if left != wanting.ledger.left() || wanting.ledger.has_wanted() {
        wanting.ledger.append(Entry::Struck { left: left.clone() }, now_us()).await?;
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
