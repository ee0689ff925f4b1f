//! Sets of columns that tell all rows of a sample apart: they are worth a try on all rows.

use super::columns::Part;
use crate::kernel::Sample;
use std::collections::{BTreeSet, HashMap};

/// Of how many columns pairs are looked at, of how many triples, and from how many one goes on to more.
const IN_PAIRS: usize = 36;
const IN_TRIPLES: usize = 14;
const SEEDS: usize = 6;
/// Columns that look like names of things are looked at however few values they have.
const NAMES: usize = 8;

/// Numbers of values are estimates: a set may have this share of the values that it would have to have.
const POSSIBLE: f64 = 0.8;

/// A set of columns: places in a list of parts, rising.
pub(super) type Set = Vec<usize>;

/// Rows of a sample, all different, in columns that can be parts of a key.
pub(super) struct Table<'a> {
    all: &'a [Part],
    /// The places of the columns that may be chosen.
    parts: &'a [usize],
    /// How many rows there are in these columns that are different.
    target: u64,
    /// For each column of `all` a small number for each row's value; nothing for those that may not be chosen.
    codes: Vec<Vec<u32>>,
    rows: usize,
}

/// Rows that some columns do not tell apart, group by group.
#[derive(Clone, Default)]
struct Together {
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Together {
    /// How many rows are not told from one before them.
    fn excess(&self) -> usize {
        self.rows.len() - self.ends.len()
    }

    /// Those that one more column does not tell apart either.
    fn with(&self, codes: &[u32]) -> Together {
        let (mut left, mut begin) = (Together::default(), 0);
        for end in &self.ends {
            let mut group = self.rows[begin..*end].to_vec();
            group.sort_unstable_by_key(|row| (codes[*row as usize], *row));
            for same in group.chunk_by(|a, b| codes[*a as usize] == codes[*b as usize]).filter(|same| same.len() > 1) {
                left.rows.extend(same);
                left.ends.push(left.rows.len());
            }
            begin = *end;
        }
        left
    }
}

impl<'a> Table<'a> {
    /// The rows of a sample that are different in these parts.
    pub(super) fn new(sample: &Sample, all: &'a [Part], parts: &'a [usize], target: u64) -> Table<'a> {
        let [null, empty] = sample.null_and_empty;
        let code = |part: &Part, row: usize| match sample.columns[part.at][row] {
            code if code == null && part.cell.is_filled => empty,
            code => code,
        };
        let mut known = BTreeSet::new();
        let is_new = |row: &usize| known.insert(parts.iter().map(|at| code(&all[*at], *row)).collect::<Vec<u64>>());
        let rows: Vec<usize> = (0..sample.rows()).filter(is_new).collect();
        let mut codes = vec![Vec::new(); all.len()];
        for at in parts {
            let mut numbers: HashMap<u64, u32> = HashMap::new();
            let number = |row: &usize| {
                let next = numbers.len() as u32;
                *numbers.entry(code(&all[*at], *row)).or_insert(next)
            };
            codes[*at] = rows.iter().map(number).collect();
        }
        Table { all, parts, target, codes, rows: rows.len() }
    }

    /// Sets that tell all rows apart and of which no column can be left out, the most promising first. Sets of more
    /// than three are looked for where there are no smaller ones, or where `is_thorough`.
    pub(super) fn proposals(&self, is_thorough: bool) -> Vec<Set> {
        let mut order: Vec<(usize, Together)> =
            self.parts.iter().map(|part| (*part, self.together(&[*part]))).collect();
        order.sort_by_key(|(part, own)| (own.excess(), self.all[*part].doubt, *part));
        let mut found: Vec<Set> = Vec::new();
        for (part, own) in &order {
            self.propose(&[*part], || own.clone(), &mut found);
        }
        let pool = |most: usize| -> Vec<&(usize, Together)> {
            let names = order.iter().filter(|(part, _)| self.all[*part].doubt == 0).take(NAMES);
            let mut pool: Vec<_> = order.iter().take(most).chain(names).collect();
            pool.sort_by_key(|(part, own)| (own.excess(), *part));
            pool.dedup_by_key(|(part, _)| *part);
            pool
        };
        let pairs = pool(IN_PAIRS);
        for (at, (first, own)) in pairs.iter().map(|one| (one.0, &one.1)).enumerate() {
            for (second, _) in &pairs[at + 1..] {
                self.propose(&[first, *second], || own.with(&self.codes[*second]), &mut found);
            }
        }
        let triples = pool(IN_TRIPLES);
        for (at, (first, own)) in triples.iter().map(|one| (one.0, &one.1)).enumerate() {
            for (next, (second, _)) in triples.iter().enumerate().skip(at + 1) {
                let both = own.with(&self.codes[*second]);
                for (third, _) in &triples[next + 1..] {
                    self.propose(&[first, *second, *third], || both.with(&self.codes[*third]), &mut found);
                }
            }
        }
        let seeds = if is_thorough || found.iter().all(|set| is_time_only(self.all, set)) { SEEDS } else { 0 };
        for (seed, own) in order.iter().filter(|(_, own)| own.excess() > 0).take(seeds) {
            if let Some(set) = self.grown(*seed, own.clone()) {
                self.propose(&set, || self.together(&set), &mut found);
            }
        }
        found.sort_by_key(|set| self.rank(set));
        found
    }

    /// The lesser, the better a set is as a key, of those that do equally well.
    pub(super) fn rank(&self, set: &Set) -> impl Ord + use<> {
        let parts = || set.iter().map(|part| &self.all[*part]);
        let is_time_only = is_time_only(self.all, set);
        let about: u64 = parts().map(|part| part.about).fold(0, u64::saturating_add);
        (is_time_only, set.len(), parts().map(|part| part.doubt).sum::<u32>(), std::cmp::Reverse(about), set.clone())
    }

    /// Adds a set if it tells all rows apart, is the least to do so, and could have as many values as there are rows.
    fn propose(&self, set: &[usize], together: impl Fn() -> Together, found: &mut Vec<Set>) {
        let set = sorted(set);
        // A time may be unique by accident: what it is joined with is still of interest.
        let counts = |known: &Set| is_time_only(self.all, &set) || !is_time_only(self.all, known);
        let covers = |known: &Set| counts(known) && known.iter().all(|part| set.contains(part));
        let most: f64 = set.iter().map(|part| self.all[*part].about as f64).product();
        if most < POSSIBLE * self.target as f64 || found.iter().any(covers) || together().excess() > 0 {
            return;
        }
        found.push(set);
    }

    fn together(&self, set: &[usize]) -> Together {
        let all = match self.rows {
            0 | 1 => Together::default(),
            rows => Together { rows: (0..rows as u32).collect(), ends: vec![rows] },
        };
        set.iter().fold(all, |own, part| own.with(&self.codes[*part]))
    }

    /// The column, with as many others as it takes, each the one that tells most rows apart; then without those that
    /// are not needed.
    fn grown(&self, seed: usize, mut own: Together) -> Option<Set> {
        let mut set = vec![seed];
        while own.excess() > 0 {
            let left = self.parts.iter().filter(|part| !set.contains(part));
            let tried = left.map(|part| (own.with(&self.codes[*part]), *part));
            let (next, part) = tried.min_by_key(|(next, part)| (next.excess(), self.all[*part].doubt, *part))?;
            if next.excess() == own.excess() {
                return None;
            }
            set.push(part);
            own = next;
        }
        let mut doubtful = set.clone();
        doubtful.sort_by_key(|part| std::cmp::Reverse((self.all[*part].doubt, *part)));
        for part in doubtful {
            let less: Set = set.iter().copied().filter(|own| *own != part).collect();
            if !less.is_empty() && !is_time_only(self.all, &less) && self.together(&less).excess() == 0 {
                set = less;
            }
        }
        Some(sorted(&set))
    }
}

/// Whether a set has nothing but times.
pub(super) fn is_time_only(all: &[Part], set: &[usize]) -> bool {
    set.iter().all(|part| all[*part].is_time)
}

fn sorted(set: &[usize]) -> Set {
    let mut set = set.to_vec();
    set.sort_unstable();
    set
}
