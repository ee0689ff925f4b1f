//! Winners are cut into batches of days, and a batch that a merge could not hold is cut smaller.

use crate::rows::{cut, of_days};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tradefold::plan::{Cuts, Limits, plan};
use tradefold::window::Day;

fn winners(days: &[(i32, u64)]) -> BTreeMap<Option<Day>, u64> {
    days.iter().map(|(day, rows)| (Some(Day(*day)), *rows)).collect()
}

/// The first days and rows of the batches.
fn batches(winners: &BTreeMap<Option<Day>, u64>, limits: Limits) -> Vec<(Vec<i32>, u64)> {
    let batches = plan(&crate::rows::trades(), winners, &BTreeMap::new(), &cut(winners, limits));
    assert!(batches.iter().enumerate().all(|(place, batch)| batch.number == place), "{batches:?}");
    batches.iter().map(|batch| (batch.days.keys().map(|day| day.0).collect(), batch.rows)).collect()
}

#[test]
fn edges_lie_on_a_grid_and_where_a_batch_would_have_too_many_rows() {
    let winners = winners(&[(-1, 5), (0, 4), (1, 4), (2, 3), (5, 1), (7, 50), (8, 1)]);
    assert_eq!(batches(&winners, of_days(4)), [(vec![-1], 5), (vec![0, 1, 2], 11), (vec![5, 7], 51), (vec![8], 1)]);
    assert_eq!(
        batches(&winners, Limits { rows_per_batch: 8, ..of_days(4) }),
        [(vec![-1], 5), (vec![0, 1], 8), (vec![2], 3), (vec![5], 1), (vec![7], 50), (vec![8], 1)]
    );
}

#[test]
fn rows_without_a_day_are_one_batch() {
    let winners = BTreeMap::from([(None, 9)]);
    assert_eq!(batches(&winners, Limits { rows_per_batch: 2, ..of_days(1) }), [(vec![], 9)]);
    assert_eq!(batches(&BTreeMap::new(), of_days(1)), []);
}

#[test]
fn a_batch_that_would_look_at_too_many_days_is_cut() {
    let trades = crate::rows::trades();
    assert_eq!(trades.drift_days, 1);
    let winners = winners(&[(0, 1), (1, 1), (2, 1), (9, 1), (10, 1)]);
    let limits = Limits { touched_per_batch: 6, ..of_days(4000) };
    // Each day looks at itself and its neighbours, and the losers of day 1 are far away.
    let losers = BTreeMap::from([(Day(1), BTreeSet::from([Day(50)]))]);
    let cuts = Cuts::new(&trades, &winners, &losers, limits);
    let batches = plan(&trades, &winners, &losers, &cuts);
    let touched: Vec<_> = batches.iter().map(|batch| (batch.days.len(), batch.touched.len())).collect();
    assert_eq!(touched, [(1, 3), (1, 6), (2, 6), (1, 3)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn each_day_is_in_one_batch_and_none_is_larger_than_it_has_to_be(
        days in prop::collection::btree_map(-40..40i32, 1..100u64, 0..60),
        days_per_batch in 1..20u32,
        rows_per_batch in 1..300u64,
    ) {
        let winners = winners(&days.iter().map(|(day, rows)| (*day, *rows)).collect::<Vec<_>>());
        let found = batches(&winners, Limits { rows_per_batch, ..of_days(days_per_batch) });
        let all: Vec<i32> = found.iter().flat_map(|(days, _)| days.clone()).collect();
        prop_assert_eq!(all, days.keys().copied().collect::<Vec<_>>());
        let cell = |day: i32| day.div_euclid(days_per_batch as i32);
        for (own, rows) in &found {
            prop_assert_eq!(*rows, own.iter().map(|day| days[day]).sum::<u64>());
            prop_assert!(own.len() == 1 || *rows <= rows_per_batch);
            prop_assert!(own.iter().all(|day| cell(*day) == cell(own[0])));
        }
        for pair in found.windows(2) {
            let next = pair[1].0[0];
            prop_assert!(cell(next) != cell(pair[0].0[0]) || pair[0].1 + days[&next] > rows_per_batch);
        }
    }
}
