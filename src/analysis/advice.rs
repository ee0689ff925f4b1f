//! What other keys would do, in a table and in words.

use crate::balance::Balance;
use crate::dataset::Dataset;
use crate::dedup::Decision;
use crate::kernel::{Added, Near};
use crate::report::{Advice, Change, KeyCandidate, counted};

/// How many columns that might be added are told.
const ADDED: usize = 20;

/// Compares the key with those that have one part more or one less. All figures were counted before: this only says
/// what they mean.
pub(super) fn advice(dataset: &Dataset, balance: &Balance, decision: &Decision<'_>, near: &Near) -> Advice {
    let key: Vec<String> = dataset.key.iter().map(ToString::to_string).collect();
    let (different_rows, added) = (decision.different_rows(), decision.added());
    let (keys, suspects) = (balance.winners, balance.suspect.keys);
    let mut candidates = vec![KeyCandidate {
        key: key.clone(),
        change: Change::Given,
        rows_kept: keys,
        merged_rows_that_differ: different_rows - keys,
        suspects_separated: 0,
        verdict: given(suspects, different_rows - keys),
    }];
    let mut more: Vec<&(String, Added)> = added.iter().filter(|(_, added)| added.more > 0).collect();
    more.sort_by(|(a_name, a), (b_name, b)| {
        (b.separated, b.more).cmp(&(a.separated, a.more)).then_with(|| a_name.cmp(b_name))
    });
    for (column, added) in more.into_iter().take(ADDED) {
        let is_order = dataset.order.iter().any(|item| item.column == *column);
        candidates.push(KeyCandidate {
            key: key.iter().cloned().chain([column.clone()]).collect(),
            change: Change::Added(column.clone()),
            rows_kept: keys + added.more,
            merged_rows_that_differ: different_rows.saturating_sub(keys + added.more),
            suspects_separated: added.separated,
            verdict: with_more(suspects, is_order, added, decision.untried_keys()),
        });
    }
    for (at, without) in near.without.iter().enumerate() {
        let differ = without.different_rows.saturating_sub(without.keys);
        candidates.push(KeyCandidate {
            key: key.iter().enumerate().filter(|(part, _)| *part != at).map(|(_, part)| part.clone()).collect(),
            change: Change::Dropped(key.get(at).cloned().unwrap_or_default()),
            rows_kept: without.keys,
            merged_rows_that_differ: differ,
            suspects_separated: 0,
            verdict: with_less(keys, without.keys, differ),
        });
    }
    Advice { different_rows, suspect_keys: suspects, untried_keys: decision.untried_keys(), candidates }
}

fn given(suspects: u64, differ: u64) -> String {
    match (suspects, differ) {
        (0, 0) => "no row is merged into one that differs".into(),
        (0, differ) => {
            let rows = counted(differ, "row");
            format!("merges {rows} into others that differ: right for versions of one thing, a loss for anything else")
        }
        (suspects, _) => format!(
            "too narrow: rows of {} number different events, and all but one of each key would be lost",
            counted(suspects, "key")
        ),
    }
}

fn with_more(suspects: u64, is_order: bool, added: &Added, untried: u64) -> String {
    // What it would do in keys on which it was not tried is not known.
    let least = if untried > 0 { "at least " } else { "" };
    let keys = counted(added.keys, "key");
    let verdict = match added.separated {
        all if all > 0 && all == suspects => "separates all suspect keys".into(),
        0 if is_order => format!("would keep the versions of {least}{keys} apart, of which the order chooses one"),
        0 => format!("differs in {least}{keys}: a part of the key only if it names the thing"),
        some => format!("separates {least}{some} of {}", counted(suspects, "suspect key")),
    };
    if untried > 0 { format!("{verdict}; it keeps at least so many rows") } else { verdict }
}

fn with_less(keys: u64, kept: u64, differ: u64) -> String {
    match (keys - kept, differ) {
        (0, _) => "the same keys without it: the part adds nothing".into(),
        (_, 0) => "the part only numbers copies: without it all rows of a key are equal, so the key is too wide".into(),
        (fewer, differ) if differ * 20 < fewer => {
            "the part mostly numbers copies: look at the few rows that differ without it".into()
        }
        _ => "too narrow: it would merge rows that differ".into(),
    }
}
