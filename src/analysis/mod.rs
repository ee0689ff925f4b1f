//! Looks at duplicates: what they are, where they lie, and whether the key can be trusted.

mod advice;
mod groups;
mod rejects;
mod runs;
mod suggest;

pub use rejects::first_rejects;
pub use runs::must_have;
pub use suggest::{Asked, Suggested, suggest};

use crate::balance::Balance;
use crate::dataset::{Dataset, is_text};
use crate::dedup::{Decision, Dedup, TABLE};
use crate::engine::{DataFile, Engine};
use crate::error::Result;
use crate::kernel::{Merging, Near};
use crate::landing::{Landed, LandingCounts};
use crate::progress::Progress;
use crate::report::{Analysis, KeyPart, NearGroup, NearKeys, Neighbours, RejectedRow, counted};
use crate::sql::Dialect;
use std::collections::BTreeMap;

/// What is known of rows that are to be looked at before anything is decided.
#[derive(Debug)]
pub struct Rows {
    /// How they were counted when they landed.
    pub landing: LandingCounts,
    /// How many each input has. `None`: as the rows themselves say what they came from.
    pub by_file: Option<BTreeMap<String, u64>>,
    /// How many rejects there are of each kind.
    pub rejects_by_reason: BTreeMap<String, u64>,
    /// The first of them.
    pub rejects: Vec<RejectedRow>,
    /// The column by whose values they are counted as well.
    pub run_column: Option<String>,
}

impl Rows {
    /// Those of a landing.
    pub fn of(landed: &Landed, rejects: Vec<RejectedRow>) -> Rows {
        let by_file = landed.inputs.iter().map(|input| (input.url.clone(), input.counts.landed)).collect();
        let (landing, rejects_by_reason) = (landed.counts, landed.rejects_by_reason.clone());
        Rows { landing, by_file: Some(by_file), rejects_by_reason, rejects, run_column: None }
    }
}

/// Says of every row of these files what becomes of it, and looks at the key from all sides. Rows are read to decide,
/// those that are different once more to try other keys, and the columns of the key to count what is missing and to
/// find the rows that are shown. Where rows are counted by a column, that is read once more.
///
/// # Errors
/// When a file can't be read or has changed, the disk is full, or rows do not balance.
pub async fn analyse(
    engine: &Engine,
    dataset: &Dataset,
    files: &[DataFile],
    rows: Rows,
    progress: &dyn Progress,
) -> Result<Analysis> {
    let dedup = Dedup::new(engine, dataset, files).await?.counting_only().analysing();
    let nameless = dedup.rows_without_key().await?;
    if nameless > 0 {
        let rows = counted(nameless, "row");
        progress.note(&format!("NULL in a key column counts as one value here: {rows} with it"));
    }
    progress.begin("find duplicates", Some(rows.landing.landed));
    let decision = dedup.decide(progress).await?;
    analyse_decided(&dedup, &decision, rows, progress).await
}

/// The same, for who decides anyway: by a [`Dedup::analysing`], with nothing set aside.
///
/// # Errors
/// Those of [`analyse`].
pub async fn analyse_decided(
    dedup: &Dedup<'_>,
    decision: &Decision<'_>,
    rows: Rows,
    progress: &dyn Progress,
) -> Result<Analysis> {
    let dataset = dedup.dataset();
    let balance = Balance {
        landing: rows.landing,
        winners: decision.winners_count(),
        losers: decision.losers_count(),
        suspect: decision.suspect_keys().count(),
        redated: decision.redated_keys().count(),
        redated_by_hours: decision.redated_by_hours(),
        ..Balance::default()
    };
    balance.check()?;
    progress.begin("try other keys", Some(decision.different_rows()));
    let near = decision.near(progress).await?;
    let by_run = match &rows.run_column {
        Some(column) => Some(runs::by_run(decision, column, rows.landing.landed, progress).await?),
        None => None,
    };
    let runs_spilled_bytes = by_run.as_ref().map_or(0, |(_, spilled_bytes)| *spilled_bytes);
    let by_day = decision.rows_by_day().into_iter();
    Ok(Analysis {
        key: dataset.key.iter().map(ToString::to_string).collect(),
        order: dataset.order.iter().map(ToString::to_string).collect(),
        rows: rows.landing.landed,
        keys: balance.winners,
        census: decision.census()?,
        rows_by_day: by_day.filter_map(|(day, rows)| Some((day?, rows))).collect(),
        rows_by_file: rows.by_file.unwrap_or_else(|| decision.rows_by_file()),
        rejects_by_reason: rows.rejects_by_reason,
        rejects: rows.rejects,
        fails: None,
        sizes: decision.sizes(),
        distances: decision.distances(),
        key_parts: key_parts(dedup.engine(), dataset).await?,
        near: neighbours(decision, dataset, &near)?,
        groups: groups::groups(dedup, decision).await?,
        advice: advice::advice(dataset, &balance, decision, &near),
        by_run: by_run.map(|(runs, _)| runs),
        suggestion: None,
        spilled_bytes: decision.spilled_bytes() + near.spilled_bytes + runs_spilled_bytes,
        balance,
    })
}

/// What is missing in the columns of the key.
async fn key_parts(engine: &Engine, dataset: &Dataset) -> Result<Vec<KeyPart>> {
    let dialect = Dialect::DataFusion;
    let mut counts = Vec::new();
    for (place, part) in dataset.key.iter().enumerate() {
        let column = dialect.quote(&part.column)?;
        counts.push(format!("COUNT(*) FILTER (WHERE {column} IS NULL) AS null_{place}"));
        // Nothing but a text is empty.
        let kind = dataset.schema().field_with_name(&part.column).ok().map(|field| field.data_type());
        let is_empty = if kind.is_some_and(is_text) { format!("{column} = ''") } else { "FALSE".to_string() };
        counts.push(format!("COUNT(*) FILTER (WHERE {is_empty}) AS empty_{place}"));
    }
    let counts = engine.counts(&format!("SELECT {} FROM {}", counts.join(", "), dialect.quote(TABLE)?)).await?;
    let part = |(part, counts): (&crate::dataset::KeyPart, &[u64])| KeyPart {
        part: part.to_string(),
        null_rows: counts[0],
        empty_rows: counts[1],
    };
    Ok(dataset.key.iter().zip(counts.chunks_exact(2)).map(part).collect())
}

/// Keys that are nearly the same, with the examples' values.
fn neighbours(decision: &Decision<'_>, dataset: &Dataset, near: &Near) -> Result<Neighbours> {
    let keys = |merging: &Merging| -> Result<NearKeys> {
        let group = |places: &Vec<u64>| -> Result<NearGroup> {
            let key = |place: &u64| decision.decided().kernel.key_of(*place);
            Ok(NearGroup { keys: places.iter().map(key).collect::<Result<_>>()? })
        };
        let examples = merging.examples.iter().map(group).collect::<Result<_>>()?;
        Ok(NearKeys { groups: merging.groups, keys: merging.keys, examples })
    };
    let mut by_missing = BTreeMap::new();
    for (part, without) in dataset.key.iter().zip(&near.without).filter(|(_, without)| without.missing.groups > 0) {
        by_missing.insert(part.to_string(), keys(&without.missing)?);
    }
    Ok(Neighbours { by_case: keys(&near.by_case)?, by_hours: keys(&near.by_hours)?, by_missing })
}
