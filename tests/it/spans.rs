//! Sets of moments: the same whatever way they were come by.

use proptest::prelude::*;
use std::collections::BTreeSet;
use tradefold::spans::Spans;
use tradefold::window::Window;

fn window((from_us, length): (i64, i64)) -> Window {
    Window::new(from_us, from_us + length).unwrap()
}

fn moments(spans: &Spans) -> BTreeSet<i64> {
    spans.windows().iter().flat_map(|window| window.from_us..window.to_us).collect()
}

proptest! {
    #[test]
    fn a_set_of_windows_is_the_set_of_their_moments(
        added in prop::collection::vec((0_i64..40, 1_i64..8), 0..12),
        asked in (0_i64..40, 1_i64..20),
    ) {
        let mut spans = Spans::default();
        let mut known = BTreeSet::new();
        for one in &added {
            spans.add(window(*one));
            known.extend(window(*one).from_us..window(*one).to_us);
        }
        prop_assert_eq!(moments(&spans), known.clone());
        prop_assert!(spans.windows().windows(2).all(|pair| pair[0].to_us < pair[1].from_us), "{:?}", spans);
        let asked = window(asked);
        let inside: BTreeSet<i64> = (asked.from_us..asked.to_us).collect();
        prop_assert_eq!(moments(&spans.missing(asked)), inside.difference(&known).copied().collect());
        prop_assert_eq!(moments(&spans.within(asked)), inside.intersection(&known).copied().collect());
        let mut less = spans.clone();
        less.remove(asked);
        prop_assert_eq!(moments(&less), known.difference(&inside).copied().collect());
        prop_assert_eq!(spans.length_us(), known.len() as i64);
        let text = serde_json::to_string(&spans).unwrap();
        prop_assert_eq!(serde_json::from_str::<Spans>(&text).unwrap(), spans.clone());
        prop_assert_eq!(spans.hull().map(|hull| (hull.from_us, hull.to_us - 1)), known.first().copied().zip(known.last().copied()));
    }
}
