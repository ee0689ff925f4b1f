//! The query that keeps winners and the one that classes losers say what `dedup::rule` says, however the rows lie in
//! files and however many threads read them.

mod rule;

use crate::rows::{HOUR_US, batch, compared, engine, odd, runtime, tables, trades, values, write};
use arrow::array::AsArray;
use futures::TryStreamExt;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;
use tradefold::balance::Balance;
use tradefold::dataset::{Dataset, StandIn};
use tradefold::dedup::rule::{Fate, Row, Value, fates, survivors, suspects};
use tradefold::dedup::{Class, Dedup, Flagged, Group, Tally};
use tradefold::engine::{DataFile, Engine};
use tradefold::progress::Silent;
use tradefold::window::Day;

/// How rows lie: in which order, in files of how many, in row groups of how many, read by how many threads.
#[derive(Clone, Debug)]
struct Layout {
    seed: u64,
    per_file: usize,
    per_group: usize,
    threads: usize,
}

fn layouts() -> impl Strategy<Value = Layout> {
    let threads = prop::sample::select(vec![1, 2, 5]);
    (any::<u64>(), 1..20usize, 1..6usize, threads).prop_map(|(seed, per_file, per_group, threads)| Layout {
        seed,
        per_file,
        per_group,
        threads,
    })
}

/// Rows written to files.
struct Written {
    engine: Engine,
    files: Vec<DataFile>,
    /// The rows of each file.
    rows: Vec<Vec<Row>>,
    _dir: TempDir,
}

fn lay_out(dataset: &Dataset, rows: &[Row], layout: &Layout) -> Written {
    let mut rows: Vec<_> = rows.iter().cloned().enumerate().collect();
    rows.sort_by_key(|(place, _)| (*place as u64 + 1).wrapping_mul(layout.seed | 1).rotate_left(17));
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let rows: Vec<Vec<Row>> = rows.chunks(layout.per_file).map(<[Row]>::to_vec).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = |(number, rows): (usize, &Vec<Row>)| {
        write(&dir.path().join(format!("{number}.parquet")), &[batch(dataset, rows)], layout.per_group)
    };
    let files = rows.iter().enumerate().map(file).collect();
    Written { engine: engine(layout.threads), files, rows, _dir: dir }
}

/// All that is said of some rows. By file is apart: which of two equal rows wins is nobody's promise.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// What counts of the winners.
    winners: Vec<String>,
    losers: Tally,
    by_day: BTreeMap<Day, Tally>,
    /// The days of losers that are not the day of their winner, by the winner's.
    other_days: BTreeMap<Day, BTreeSet<Day>>,
    largest: Vec<Group>,
    rows_by_day: BTreeMap<Option<Day>, u64>,
    winners_by_day: BTreeMap<Option<Day>, u64>,
    /// Keys and their rows.
    suspect: (u64, u64),
    redated: (u64, u64),
    /// Losers, and those that are off by whole hours.
    redated_losers: (u64, u64),
    /// Keys, and losers that conflict.
    conflicting: (u64, u64),
}

/// What production says, and its losers by file.
async fn say(dataset: &Dataset, written: &Written) -> (Answer, BTreeMap<String, Tally>) {
    let dedup = Dedup::new(&written.engine, dataset, &written.files).await.unwrap();
    let decision = dedup.decide(&Silent).await.unwrap();
    let mut winners = Vec::new();
    let decided = decision.decided();
    for unit in decided.kernel.input().units() {
        let chosen = decided.verdict.winners.of(unit.places());
        for batch in decided.kernel.input().read(unit, decided.kernel.schema(), Some(chosen)).unwrap() {
            winners.extend(values(dataset, &batch.unwrap()));
        }
    }
    let census = decision.census().unwrap();
    let mut shown = Tally::default();
    for (class, wanted) in [
        (Class::Exact, one(Class::Exact)),
        (Class::Superseded, one(Class::Superseded)),
        (Class::Conflict, one(Class::Conflict)),
    ] {
        for losers in decision.losers(&[class]).try_collect::<Vec<_>>().await.unwrap() {
            let classes = losers.column_by_name("_class").unwrap().as_string::<i32>();
            assert!(classes.iter().all(|own| own == Some(class.name())), "{class:?}");
            (0..losers.num_rows()).for_each(|_| shown += wanted);
        }
    }
    assert_eq!(shown, census.losers, "losers shown and counted");
    let pair = |flagged: Flagged| (flagged.keys, flagged.rows);
    let answer = Answer {
        winners: compared(dataset, &winners),
        losers: census.losers,
        by_day: census.by_day,
        other_days: decision.loser_days(),
        largest: census.largest,
        rows_by_day: decision.rows_by_day(),
        winners_by_day: decision.winners_by_day(),
        suspect: pair(decision.suspect_keys()),
        redated: pair(decision.redated_keys()),
        redated_losers: (census.redated_losers, census.redated_by_hours),
        conflicting: pair(decision.conflicting_keys()),
    };
    (answer, census.by_file)
}

fn cell<'a>(dataset: &Dataset, row: &'a Row, name: &str) -> &'a Value {
    &row[dataset.schema().index_of(name).unwrap()]
}

fn day(dataset: &Dataset, row: &Row) -> Option<Day> {
    match cell(dataset, row, dataset.partition.as_ref()?) {
        Value::Int(us) => Some(Day::of_us(*us)),
        _ => None,
    }
}

fn key(dataset: &Dataset, row: &Row) -> Vec<Option<String>> {
    let show = |value: &Value| match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        Value::Int(int) => Some(int.to_string()),
        Value::Float(float) => Some(float.to_string()),
    };
    let part = |part: &tradefold::dataset::KeyPart| {
        let stand_in = |stand_in: &StandIn| match stand_in {
            StandIn::Column(name) => show(cell(dataset, row, name)),
            StandIn::Text(text) => Some(text.clone()),
        };
        show(cell(dataset, row, &part.column)).or_else(|| part.stand_ins.iter().find_map(stand_in))
    };
    dataset.key.iter().map(part).collect()
}

/// What the rule says of the same rows.
fn expect(dataset: &Dataset, rows: &[Row]) -> Answer {
    let fates = fates(dataset, rows);
    let mut answer = Answer { winners: compared(dataset, &survivors(dataset, rows)), ..Answer::default() };
    let mut keys: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        keys.entry(key(dataset, row)).or_default().push(place);
        *answer.rows_by_day.entry(day(dataset, row)).or_default() += 1;
    }
    for (key, members) in &keys {
        let winner = *members.iter().find(|place| fates[**place] == Fate::Winner).unwrap();
        *answer.winners_by_day.entry(day(dataset, &rows[winner])).or_default() += 1;
        let mut conflicting = 0;
        for &place in members.iter().filter(|place| **place != winner) {
            let Fate::Loser(class) = fates[place] else { panic!("two winners of one key: {members:?}") };
            conflicting += u64::from(class == Class::Conflict);
            answer.losers += one(class);
            if let (Some(own), Some(day)) = (day(dataset, &rows[place]), day(dataset, &rows[winner])) {
                *answer.by_day.entry(own).or_default() += one(class);
                if own != day {
                    answer.other_days.entry(day).or_default().insert(own);
                }
            }
            let fixed = &dataset.fixed[0];
            match (cell(dataset, &rows[place], fixed), cell(dataset, &rows[winner], fixed)) {
                (Value::Int(own), Value::Int(best)) if own != best => {
                    answer.redated_losers.0 += 1;
                    // Days have no hours.
                    answer.redated_losers.1 += u64::from((best - own) % HOUR_US == 0);
                }
                (Value::Int(_), Value::Null) => answer.redated_losers.0 += 1,
                _ => {}
            }
        }
        answer.conflicting.0 += u64::from(conflicting > 0);
        answer.conflicting.1 += conflicting;
        let known = members.iter().map(|place| format!("{:?}", cell(dataset, &rows[*place], &dataset.fixed[0])));
        if known.filter(|value| value != "Null").collect::<BTreeSet<_>>().len() > 1 {
            answer.redated.0 += 1;
            answer.redated.1 += members.len() as u64;
        }
        if members.len() > 1 {
            answer.largest.push(Group { key: key.clone(), rows: members.len() as u64 });
        }
    }
    answer.largest.sort_by_key(|group| std::cmp::Reverse(group.rows));
    answer.largest.truncate(20);
    let suspects = suspects(dataset, rows);
    answer.suspect = (suspects.len() as u64, suspects.iter().map(|members| members.len() as u64).sum());
    answer
}

fn one(class: Class) -> Tally {
    match class {
        Class::Exact => Tally { exact: 1, ..Tally::default() },
        Class::Superseded => Tally { superseded: 1, ..Tally::default() },
        Class::Conflict => Tally { conflict: 1, ..Tally::default() },
    }
}

/// Losers by file, as far as the rule says it: a row that equals its winner may be the winner itself.
fn check_by_file(dataset: &Dataset, written: &Written, by_file: &BTreeMap<String, Tally>) {
    let fates = fates(dataset, &written.rows.concat());
    let mut fates = fates.iter();
    for (file, rows) in written.files.iter().zip(&written.rows) {
        let mut expected = Tally::default();
        let mut winners = 0;
        for fate in fates.by_ref().take(rows.len()) {
            match fate {
                Fate::Winner => winners += 1,
                Fate::Loser(class) => expected += one(*class),
            }
        }
        let said = by_file.get(&file.label).copied().unwrap_or_default();
        assert_eq!((said.superseded, said.conflict), (expected.superseded, expected.conflict), "{}", file.label);
        assert!(said.exact <= expected.exact + winners, "{}: {said:?}", file.label);
    }
}

fn check(dataset: &Dataset, rows: &[Row], layout: &Layout) {
    let written = lay_out(dataset, rows, layout);
    let (said, by_file) = runtime().block_on(say(dataset, &written));
    let expected = expect(dataset, rows);
    assert_eq!(said.winners, expected.winners, "winners");
    assert_eq!(said.losers, expected.losers, "classes of losers");
    assert_eq!(said.largest, expected.largest, "largest groups");
    assert_eq!(said, expected);
    check_by_file(dataset, &written, &by_file);
    // R2, from the two queries that know nothing of each other.
    let mut balance =
        Balance { winners: said.winners_by_day.values().sum(), losers: said.losers, ..Balance::default() };
    balance.landing.landed = rows.len() as u64;
    balance.check().unwrap();
    let mut in_files = Tally::default();
    by_file.values().for_each(|tally| in_files += *tally);
    assert_eq!(in_files, said.losers);
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(40))]
    #[test]
    fn r2_every_landed_row_is_winner_or_loser(rows in tables(&trades(), 40), layout in layouts()) {
        check(&trades(), &rows, &layout);
    }
}

proptest! {
    #![proptest_config(config(10))]
    #[test]
    fn r2_holds_for_an_odd_contract(rows in tables(&odd(), 30), layout in layouts()) {
        check(&odd(), &rows, &layout);
    }

    #[test]
    fn r7_the_layout_changes_nothing(rows in tables(&trades(), 30), one in layouts(), two in layouts()) {
        let dataset = trades();
        let say = |rows: &[Row], layout| runtime().block_on(say(&dataset, &lay_out(&dataset, rows, layout))).0;
        prop_assert_eq!(say(&rows, &one), say(&rows, &two));
    }

    #[test]
    fn r7_every_row_twice_adds_only_exact_losers(rows in tables(&trades(), 20), layout in layouts()) {
        let dataset = trades();
        let say = |rows: &[Row]| runtime().block_on(say(&dataset, &lay_out(&dataset, rows, &layout))).0;
        let (once, twice) = (say(&rows), say(&[rows.clone(), rows.clone()].concat()));
        prop_assert_eq!(&twice.winners, &once.winners);
        prop_assert_eq!(twice.losers.total(), once.losers.total() + rows.len() as u64);
        // The copy of a loser is a loser of its class, the copy of a winner is exact.
        let winners = once.winners.len() as u64;
        prop_assert_eq!(twice.losers.exact, 2 * once.losers.exact + winners);
        prop_assert_eq!(twice.losers.superseded, 2 * once.losers.superseded);
        prop_assert_eq!(twice.losers.conflict, 2 * once.losers.conflict);
        prop_assert_eq!((twice.suspect.0, twice.redated.0), (once.suspect.0, once.redated.0));
    }

    #[test]
    fn r2_counts_the_rows_of_keys_that_are_set_aside(rows in tables(&trades(), 40), layout in layouts()) {
        let dataset = trades();
        let written = lay_out(&dataset, &rows, &layout);
        runtime().block_on(async {
            let mut dedup = Dedup::new(&written.engine, &dataset, &written.files).await.unwrap();
            let suspect = dedup.decide(&Silent).await.unwrap().suspect_keys();
            let mut aside = 0;
            if suspect.keys > 0 {
                let looked_up: Vec<_> = dedup.rows_of(&suspect).await.unwrap().try_collect().await.unwrap();
                aside = looked_up.iter().map(|batch| batch.num_rows() as u64).sum();
                dedup.set_aside(&suspect);
            }
            assert_eq!(aside, suspect.rows);
            let decision = dedup.decide(&Silent).await.unwrap();
            assert_eq!(decision.suspect_keys().keys, 0);
            let (winners, losers) = (decision.winners_count(), decision.losers_count());
            assert_eq!(decision.winners_by_day().values().sum::<u64>(), winners);
            assert_eq!(winners + losers.total() + aside, rows.len() as u64);
        });
    }
}

/// More keys than a census names, many of the same size: those with the most rows are named, then those that come
/// first.
#[test]
fn the_largest_groups_are_named_by_rows_then_place() {
    let dataset = trades();
    let trade = |key: usize, log: i64| {
        let known = [
            ("wallet_address", Value::Text(format!("0x{key:02}"))),
            ("tx_hash", crate::rows::text("0x1")),
            ("timestamp", Value::Int(log)),
        ];
        crate::rows::row(&dataset, &known)
    };
    let rows: Vec<Row> = (0..60)
        .flat_map(|key| (0..2 + key as i64 % 2).map(move |log| (key, log)))
        .map(|(key, log)| trade(key, log))
        .collect();
    let named = |threads| {
        let written = lay_out(&dataset, &rows, &Layout { seed: 0, per_file: 31, per_group: 7, threads });
        let largest = runtime().block_on(say(&dataset, &written)).0.largest;
        let mut firsts: Vec<Group> = Vec::new();
        for row in written.rows.iter().flatten() {
            let key = key(&dataset, row);
            if firsts.iter().all(|group| group.key != key) {
                let rows = rows.iter().filter(|row| self::key(&dataset, row) == key).count() as u64;
                firsts.push(Group { key, rows });
            }
        }
        // A stable sort: of one size the earlier ones stay in front.
        firsts.sort_by_key(|group| std::cmp::Reverse(group.rows));
        firsts.truncate(20);
        firsts.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.key.cmp(&b.key)));
        assert_eq!(largest, firsts, "{threads} threads");
    };
    [1, 2, 5].into_iter().for_each(named);
}
