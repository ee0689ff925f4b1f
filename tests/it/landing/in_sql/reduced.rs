//! What is decided of landed rows: winners, the classes of losers, and keys that need a look.

use super::sides::{Emulator, Here, Judged, rows_of, typed};
use super::*;
use crate::rows::{compared, engine};
use futures::TryStreamExt;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use tradefold::dataset::StandIn;
use tradefold::dedup::rule::{Row, Value};
use tradefold::dedup::{Class, Decision, Dedup, Flagged};
use tradefold::progress::Silent;
use tradefold::run::landed_files;
use tradefold::sql::{Dialect, Exprs, Losers, Quarantine, REDUCED, Reduction, Which};
use tradefold::window::Day;

/// What is set aside: nothing, suspect keys, or keys with a conflict beside them.
const WITHOUT: [Quarantine; 3] = [
    Quarantine { suspects: false, conflicts: false },
    Quarantine { suspects: true, conflicts: false },
    Quarantine { suspects: true, conflicts: true },
];
const ALL: Losers = Losers { redated: true, all: true };

/// What counts of some rows, and of how many.
type Lines = Vec<String>;

#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// For each of [`WITHOUT`].
    winners: Vec<Lines>,
    by_day: Vec<BTreeMap<Option<Day>, u64>>,
    /// Exact, superseded, conflicts.
    losers: Vec<[u64; 3]>,
    /// Keys and rows.
    suspect: (u64, u64),
    redated: (u64, u64),
    redated_by_hours: u64,
    /// Keys, and losers that conflict.
    conflicting: (u64, u64),
    loser_days: BTreeMap<Day, BTreeSet<Day>>,
    suspects: Lines,
    conflicts: Lines,
    conflict_losers: Lines,
    redated_rows: Lines,
    exact_losers: Lines,
    superseded_losers: Lines,
    /// The keys that have a witness.
    witnesses: BTreeSet<String>,
}

fn key_of(dataset: &Dataset, row: &Row) -> String {
    let value = |name: &str| row[dataset.schema().index_of(name).unwrap()].clone();
    let keys = dataset.key.iter().map(|part| {
        let stand_ins = part.stand_ins.iter().map(|stand_in| match stand_in {
            StandIn::Column(name) => value(name),
            StandIn::Text(text) => Value::Text(text.clone()),
        });
        let mut values = std::iter::once(value(&part.column)).chain(stand_ins);
        format!("{:?}", values.find(|value| *value != Value::Null))
    });
    keys.collect()
}

async fn here(dataset: &Dataset, landed: &Here) -> Answer {
    let engine = engine(1);
    let mut dedup = Dedup::new(&engine, dataset, &landed_files(&landed.landed)).await.unwrap();
    let decision = dedup.decide(&Silent).await.unwrap();
    let pair = |flagged: &Flagged| (flagged.keys, flagged.rows);
    let (suspect, conflicting, redated) =
        (decision.suspect_keys(), decision.conflicting_keys(), decision.redated_keys());
    let mut answer = Answer {
        suspect: pair(&suspect),
        redated: pair(&redated),
        redated_by_hours: decision.redated_by_hours(),
        conflicting: pair(&conflicting),
        loser_days: decision.loser_days(),
        ..Answer::default()
    };
    for (keys, rows) in
        [(&suspect, &mut answer.suspects), (&conflicting, &mut answer.conflicts), (&redated, &mut answer.redated_rows)]
    {
        let batches: Vec<_> = dedup.rows_of(keys).await.unwrap().try_collect().await.unwrap();
        let found: Vec<Row> = batches.iter().flat_map(|batch| rows_of(dataset, batch)).collect();
        *rows = compared(dataset, &found);
    }
    for (class, rows) in [
        (Class::Exact, &mut answer.exact_losers),
        (Class::Superseded, &mut answer.superseded_losers),
        (Class::Conflict, &mut answer.conflict_losers),
    ] {
        let batches: Vec<_> = decision.losers(&[class]).try_collect().await.unwrap();
        let found: Vec<Row> = batches.iter().flat_map(|batch| rows_of(dataset, batch)).collect();
        *rows = compared(dataset, &found);
    }
    let batches: Vec<_> = decision.witnesses().try_collect().await.unwrap();
    let witnesses: Vec<Row> = batches.iter().flat_map(|batch| rows_of(dataset, batch)).collect();
    answer.witnesses = witnesses.iter().map(|row| key_of(dataset, row)).collect();
    let mut add = |decision: &Decision<'_>| {
        let decided = decision.decided();
        let mut winners = Vec::new();
        for unit in decided.kernel.input().units() {
            let chosen = decided.verdict.winners.of(unit.places());
            for batch in decided.kernel.input().read(unit, decided.kernel.schema(), Some(chosen)).unwrap() {
                winners.extend(rows_of(dataset, &batch.unwrap()));
            }
        }
        let losers = decision.losers_count();
        answer.winners.push(compared(dataset, &winners));
        answer.by_day.push(decision.winners_by_day());
        answer.losers.push([losers.exact, losers.superseded, losers.conflict]);
    };
    add(&decision);
    dedup.set_aside(&suspect);
    let decision = dedup.decide(&Silent).await.unwrap();
    add(&decision);
    let conflicting = decision.conflicting_keys();
    dedup.set_aside(&conflicting);
    add(&dedup.decide(&Silent).await.unwrap());
    answer
}

/// The same from statements over a reduced table, which has all losers.
async fn there(dataset: &Dataset, table: &str, mut run: impl AsyncFnMut(String) -> Vec<Json>) -> Answer {
    let reduction = Reduction { dataset };
    let mut answer = Answer::default();
    let mut groups = Vec::new();
    for group in run(reduction.counts(table).unwrap()).await {
        let count = |name: &str| group[name].as_u64().unwrap();
        let is = |name: &str| group[name] == json!(true) || group[name] == json!("true");
        let day = group.get("_day").map(|day| Day::try_from(day.as_str().unwrap().to_string()).unwrap());
        let losers = [count("_exact"), count("_superseded"), count("_conflict")];
        assert_eq!(count("_rows"), count("_keys") + losers.iter().sum::<u64>(), "{group}");
        assert_eq!(is("_conflicting"), losers[2] > 0, "{group}");
        if is("_suspect") {
            answer.suspect = (answer.suspect.0 + count("_keys"), answer.suspect.1 + count("_rows"));
        }
        if is("_conflicting") {
            answer.conflicting = (answer.conflicting.0 + count("_keys"), answer.conflicting.1 + losers[2]);
        }
        answer.redated = (answer.redated.0 + count("_redated_keys"), answer.redated.1 + count("_redated_rows"));
        answer.redated_by_hours += count("_redated_by_hours");
        groups.push((day, is("_suspect"), is("_conflicting"), count("_keys"), losers));
    }
    for (at, without) in WITHOUT.into_iter().enumerate() {
        let rows = run(reduction.rows(table, Which::Winners, None, without).unwrap()).await;
        answer.winners.push(compared(dataset, &typed(dataset, &rows)));
        let left = groups.iter().filter(|group| !(at > 0 && group.1 || at > 1 && group.2));
        let (mut by_day, mut losers) = (BTreeMap::new(), [0; 3]);
        for (day, _, _, keys, own) in left {
            *by_day.entry(*day).or_default() += keys;
            (0..3).for_each(|class| losers[class] += own[class]);
        }
        answer.by_day.push(by_day);
        answer.losers.push(losers);
    }
    for row in run(reduction.loser_days(table).unwrap()).await {
        let day = |text: &str| Day::try_from(text.to_string()).unwrap();
        let days = row["_loser_days"].as_str().unwrap().split(',').map(day);
        answer.loser_days.entry(day(row["_day"].as_str().unwrap())).or_default().extend(days);
    }
    for (which, rows) in [
        (Which::Suspects, &mut answer.suspects),
        (Which::Conflicts, &mut answer.conflicts),
        (Which::ConflictLosers, &mut answer.conflict_losers),
        (Which::Redated, &mut answer.redated_rows),
    ] {
        let found = run(reduction.rows(table, which, None, WITHOUT[0]).unwrap()).await;
        *rows = compared(dataset, &typed(dataset, &found));
    }
    let losers = run(reduction.rows(table, Which::Losers, None, WITHOUT[0]).unwrap()).await;
    let of = |class: &str| {
        let own: Vec<Json> = losers.iter().filter(|row| row["_class"] == json!(class)).cloned().collect();
        compared(dataset, &typed(dataset, &own))
    };
    (answer.exact_losers, answer.superseded_losers) = (of("exact"), of("superseded"));
    assert_eq!(of("conflict"), answer.conflict_losers);
    let witnesses = run(reduction.rows(table, Which::Witnesses, None, WITHOUT[0]).unwrap()).await;
    answer.witnesses = typed(dataset, &witnesses).iter().map(|row| key_of(dataset, row)).collect();
    answer
}

/// The columns of a table for reduced rows, with their types.
fn columns(dataset: &Dataset) -> Vec<(String, &'static str)> {
    let columns = dataset.columns.iter().map(|column| (column.name.clone(), column.kind.googlesql()));
    columns.chain(REDUCED.map(|(name, kind)| (name.to_string(), kind))).collect()
}

/// Rows of it for GoogleSQL's evaluator.
fn cells(dataset: &Dataset, rows: &[Json]) -> Vec<Vec<Json>> {
    let columns = columns(dataset);
    let cells = |row: &Json| columns.iter().map(|(name, _)| row.get(name).cloned().unwrap_or_default()).collect();
    rows.iter().map(cells).collect()
}

/// Makes an empty table for reduced rows.
async fn empty(emulator: &Emulator, dataset: &Dataset) -> String {
    let columns = columns(dataset).into_iter().map(|(name, kind)| format!("`{name}` {kind}"));
    let (name, columns) = (emulator.name(), columns.collect::<Vec<_>>().join(", "));
    emulator.witness.run(&format!("CREATE TABLE {name} ({columns})")).await;
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn drawn_tables_are_reduced_in_bigquery_as_here() -> Result {
    let (emulator, mut judge) = (Emulator::new().await, Judged::new());
    let mut rng = Rng::with_seed(7);
    let (mut sums, mut times) = ([0; 8], 0);
    for round in 0..10 {
        let dataset = if round % 3 == 2 { daily() } else { wide() };
        let table = draw(&mut rng, &dataset, 120);
        let window = windows()[round % 3];
        let options = LandingOptions { window, ..options() };
        let landed = Here::land(&dataset, &table, &options).await?;
        let sql = rendered(&dataset, &options, &table.columns);
        let expected = here(&dataset, &landed).await;
        let reduction = Reduction { dataset: &dataset };
        let (tables, source) = table.for_judge();
        let rows = judge.run(&reduction.reduced(&sql.landed(&source)?, ALL)?, &tables);
        let reduced = json!({ "p.d.r": { "columns": columns(&dataset), "rows": cells(&dataset, &rows) } });
        let said = there(&dataset, "`p.d.r`", async |sql| judge.run(&sql, &reduced)).await;
        assert_eq!(said, expected, "GoogleSQL, round {round}");
        if round < 3 {
            let table = table.coarse();
            let expected = here(&dataset, &Here::land(&dataset, &table, &options).await?).await;
            let source = emulator.make(&table).await;
            let into = empty(&emulator, &dataset).await;
            emulator.witness.run(&reduction.insert(&into, &sql.landed(&source)?, ALL)?).await;
            let said = there(&dataset, &into, async |sql| emulator.witness.run(&sql).await).await;
            assert_eq!(said, expected, "the emulator, round {round}");
            times += 1;
        }
        let Answer { suspect, redated, conflicting, witnesses, loser_days, losers, .. } = expected;
        let own = [suspect.0, redated.0, conflicting.0, witnesses.len() as u64, loser_days.len() as u64];
        sums.iter_mut().zip(own.into_iter().chain(losers[0])).for_each(|(sum, own)| *sum += own);
    }
    assert!(times == 3 && sums.iter().all(|sum| *sum > 2), "{sums:?}");
    Ok(())
}

/// Nobody wants to write every copy into a table of winners.
#[tokio::test(flavor = "multi_thread")]
async fn only_losers_that_somebody_looks_at_are_kept() -> Result {
    let mut judge = Judged::new();
    let dataset = wide();
    let table = draw(&mut Rng::with_seed(3), &dataset, 120);
    let sql = rendered(&dataset, &options(), &table.columns);
    let (tables, source) = table.for_judge();
    // All rows, those that somebody looks at, and the re-dated ones with them: one statement, since each takes long to
    // plan.
    let mut counted = |losers: Losers| {
        let reduced = Reduction { dataset: &dataset }.reduced(&sql.landed(&source).unwrap(), losers).unwrap();
        let looked_at = "_place = 1 OR _suspect OR _witness OR _conflict > 0";
        let counts = format!("COUNT(*) AS a, COUNTIF({looked_at}) AS l, COUNTIF({looked_at} OR _redated) AS r");
        let rows = judge.run(&format!("SELECT {counts} FROM ({reduced})"), &tables);
        ["a", "l", "r"].map(|name| rows[0][name].as_u64().unwrap())
    };
    let [usual, looked_at, _] = counted(Losers::default());
    let [redated, ..] = counted(Losers { redated: true, all: false });
    let [all, of_all, redated_of_all] = counted(ALL);
    assert_eq!((looked_at, of_all, redated_of_all), (usual, usual, redated));
    assert!(usual < redated && redated < all, "{usual} {redated} {all}");
    Ok(())
}

/// A part of a table of winners is a table for all statements that look at a batch, and for its MERGE.
#[test]
fn winners_of_some_days_stand_where_a_staged_table_does() {
    let mut judge = crate::googlesql::Judge::start();
    let days: BTreeSet<Day> = [Day(20_370), Day(20_371)].into();
    for dataset in [wide(), daily()] {
        let reduced = columns(&dataset);
        let target = &reduced[..dataset.columns.len()];
        let given = dataset.columns.iter().map(|own| match kinds(&own.name)[0] {
            SourceType::Bool => (own.name.clone(), "BOOL"),
            SourceType::DateTime => (own.name.clone(), "DATETIME"),
            SourceType::Int => (own.name.clone(), "INT64"),
            _ => (own.name.clone(), own.kind.googlesql()),
        });
        let given: Vec<_> = given.collect();
        let tables = json!({ "p.d.t": { "columns": target }, "p.d.r": { "columns": reduced },
            "p.d.s": { "columns": given } });
        let reduction = Reduction { dataset: &dataset };
        let rows = |which, days| reduction.rows("`p.d.r`", which, days, WITHOUT[1]).unwrap();
        let (staged, witnesses) = (rows(Which::Winners, Some(&days)), rows(Which::Witnesses, None));
        let (dialect, target) = (Dialect::GoogleSql, "`p.d.t`");
        let looks = tradefold::warehouse::Statements {
            dataset: &dataset,
            dialect,
            target,
            staged: &staged,
            witnesses: &witnesses,
            day: None,
        };
        let exprs = Exprs { dataset: &dataset, dialect };
        // BigQuery's own type of each column, read as of a moment.
        let table: Vec<_> = dataset.columns.iter().map(|own| column(&own.name, kinds(&own.name)[0].clone())).collect();
        let sql = rendered(&dataset, &options(), &table);
        let then = "(SELECT * FROM `p.d.s` FOR SYSTEM_TIME AS OF TIMESTAMP '2025-10-01T00:00:00.123Z')";
        assert!(staged.contains(&exprs.day_in(&exprs.day("").unwrap(), &days)), "{staged}");
        for sql in [
            tradefold::sql::merge_bigquery(&dataset, target, &staged, &days).unwrap(),
            looks.counts_at_once(&days, true).unwrap(),
            looks.key_search(&days).unwrap(),
            looks.verify(&days).unwrap(),
            looks.rows_of(&days, tradefold::warehouse::Finding::Suspect).unwrap(),
            reduction.insert("`p.d.r`", &sql.landed(then).unwrap(), Losers::default()).unwrap(),
            sql.counts(then).unwrap(),
            sql.rejected(then).unwrap(),
            reduction.counts("`p.d.r`").unwrap(),
            reduction.loser_days("`p.d.r`").unwrap(),
        ] {
            let answer = judge.ask(&json!({ "op": "analyze", "sql": sql, "tables": tables }));
            assert_eq!(answer, json!({ "ok": true }), "{sql}");
        }
    }
}
