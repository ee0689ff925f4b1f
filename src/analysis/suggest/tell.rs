//! What was found of keys, counted once more side by side, and in words.

use super::search::{Set, is_time_only};
use super::{Asked, Found, Looking};
use crate::dataset::{KeyPart, parse_key, parse_order};
use crate::error::Result;
use crate::kernel::{Attempt, Cell, Tried};
use crate::report::{SuggestedKey, Suggestion, counted};
use std::cmp::Reverse;

/// Other keys that do as well, keys with fewer parts, and others that do not do as well, that are told.
const OTHERS: usize = 4;
const NARROWER: usize = 6;
const WORSE: usize = 3;
/// From a key of more parts, only those with one part less are told, and not all that are narrower.
const PARTS: usize = 4;
/// Where the rows of a key differ in no more columns than these, the columns may say how rows were collected.
const COLLECTED_BY: usize = 3;
/// Columns that a sentence names.
const NAMED: usize = 6;

/// What a key is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Best,
    Other,
    Narrower,
    Worse,
    Numbering,
}

impl Looking<'_> {
    /// Counts the keys that are worth telling, and says what each would do.
    pub(super) fn tell(&mut self, best: &Set, found: &Found, numbering: &[usize], asked: &Asked) -> Result<Suggestion> {
        let sets = self.listed(best, found, numbering);
        let content = self.raw(numbering);
        // What numbers copies is no content, but where it is the key itself.
        let content_of = |set: &Set, role: Role| match role {
            Role::Numbering => {
                let own = set.iter().map(|part| Cell { is_filled: false, ..self.parts[*part].cell });
                content.iter().copied().chain(own).collect()
            }
            _ => content.clone(),
        };
        let mut attempts = vec![Attempt { key: content.clone(), content: Vec::new() }];
        for (set, role) in &sets {
            let content = content_of(set, *role);
            attempts.push(Attempt { key: self.cells(set), content: content.clone() });
            if *role == Role::Numbering {
                attempts.push(Attempt { key: content, content: Vec::new() });
            }
        }
        let tried = self.attempt(&attempts)?;
        let different_rows = tried[0].keys;
        let mut tried = tried.into_iter().skip(1);
        let mut candidates = Vec::new();
        for (set, role) in &sets {
            let Some(own) = tried.next() else { break };
            let all = if *role == Role::Numbering { tried.next().map_or(0, |all| all.keys) } else { different_rows };
            let merged = all.saturating_sub(own.keys);
            if *role == Role::Narrower && set.len() + 1 < best.len() && !has_few_versions(&own, merged) {
                continue;
            }
            let differs_in = self.differing(&own, numbering)?;
            let candidate = SuggestedKey {
                key: set.iter().map(|part| self.parts[*part].part.to_string()).collect(),
                rows_kept: own.keys,
                merged_rows_that_differ: merged,
                keys_that_differ: own.differing,
                verdict: self.verdict(set, *role, &own, merged, &differs_in, numbering),
                differs_in,
            };
            candidates.push((role, candidate));
        }
        // Of keys that are narrower those that merge least come first.
        let lost = |candidate: &SuggestedKey| candidate.merged_rows_that_differ;
        candidates.sort_by_key(|(role, own)| (**role, if **role >= Role::Narrower { lost(own) } else { 0 }));
        let looks_volatile = self.looking_volatile(candidates.iter().map(|(role, own)| (**role, own)));
        let mut narrower = 0;
        candidates.retain(|(role, _)| {
            narrower += usize::from(**role == Role::Narrower);
            **role != Role::Narrower || narrower <= NARROWER
        });
        let columns = |set: &[usize]| set.iter().map(|part| self.parts[*part].part.column.clone()).collect();
        let numbering: Vec<String> = columns(numbering);
        let key: Vec<KeyPart> = best.iter().map(|part| self.parts[*part].part.clone()).collect();
        Ok(Suggestion {
            different_rows,
            flags: flags(&key, asked, &numbering),
            numbering,
            looks_volatile,
            left_out: self.left_out.clone(),
            candidates: candidates.into_iter().map(|(_, candidate)| candidate).collect(),
        })
    }

    /// The columns in which rows of a key differ, by the examples that there are.
    fn differing(&self, tried: &Tried, numbering: &[usize]) -> Result<Vec<String>> {
        let examples = &tried.examples;
        let mut places: Vec<u64> = examples.iter().flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let rows = self.kernel.rows_at(&self.content, &places)?;
        let row = |place: &u64| places.binary_search(place).unwrap_or_default();
        let differs = |at: &usize| {
            let column = &rows.columns[*at];
            examples.iter().any(|group| group.iter().any(|place| column[row(place)] != column[row(&group[0])]))
        };
        let counts = |at: &usize| numbering.iter().all(|part| self.parts[*part].at != *at);
        Ok((0..self.content.len()).filter(counts).filter(differs).map(|at| self.names[at].0.clone()).collect())
    }

    fn verdict(
        &self,
        set: &Set,
        role: Role,
        tried: &Tried,
        merged: u64,
        differs_in: &[String],
        numbering: &[usize],
    ) -> String {
        let rows = self.kernel.input().rows();
        let lost = format!("merges {} that differ, in {}", counted(merged, "row"), named(differs_in));
        let keys = counted(tried.differing, "key");
        let is_few = has_few_versions(tried, merged);
        match role {
            _ if rows == 0 => "there are no rows to tell apart".into(),
            Role::Numbering => {
                "too wide if it only numbers copies: without it rows repeat, which have a key of their own. If it names \
                 things, it is the key"
                    .into()
            }
            Role::Best | Role::Other if merged > 0 => format!("{lost}, which no key can tell apart"),
            Role::Best | Role::Other if rows == 1 => "there is one row, which says little of a key".into(),
            Role::Best | Role::Other if is_time_only(&self.parts, set) => {
                "no two rows that differ have one time, which may be an accident".into()
            }
            Role::Best if set.len() > 1 && set.len() + numbering.len() == self.parts.len() => {
                "no row that differs is merged; it has all columns that can be in a key, and no smaller one was found".into()
            }
            Role::Best => "no row that differs is merged, and no part can be left out".into(),
            Role::Other => "no row that differs is merged either".into(),
            Role::Narrower | Role::Worse if merged == 0 => "no row that differs is merged".into(),
            Role::Narrower | Role::Worse if is_few => {
                let named = self.names_of(set);
                format!("one row per {named}, versions of {keys}, which differ in {}", self::named(differs_in))
            }
            Role::Narrower if self.is_collected_by(differs_in) => format!(
                "rows of {keys} differ in {}, in the examples: the key if that says how rows were collected, else too \
                 narrow",
                self::named(differs_in)
            ),
            Role::Narrower | Role::Worse => format!("too narrow: {lost}"),
        }
    }

    /// Whether columns in which rows of a key differ are few beside those in which they do not.
    fn is_collected_by(&self, differs_in: &[String]) -> bool {
        let varying = self.names.iter().filter(|(_, is_constant)| !is_constant).count();
        differs_in.len() <= COLLECTED_BY && 3 * differs_in.len() <= varying
    }

    /// Columns that look as if they say how rows were collected: by their names and types, and since the rows of many
    /// keys differ in hardly anything else.
    fn looking_volatile<'s>(&self, told: impl Iterator<Item = (Role, &'s SuggestedKey)>) -> Vec<String> {
        let is_many = |own: &SuggestedKey| own.keys_that_differ.saturating_mul(10) > own.rows_kept;
        let narrower = told.filter(|(role, own)| *role == Role::Narrower && is_many(own));
        let differing = narrower.map(|(_, own)| &own.differs_in).filter(|columns| self.is_collected_by(columns));
        let Some(fewest) = differing.min_by_key(|columns| columns.len()) else { return Vec::new() };
        let looks = |name: &String| self.parts.iter().any(|part| part.part.column == *name && part.is_doubtful());
        fewest.iter().filter(|name| looks(name)).cloned().collect()
    }

    /// The keys that are told: no more than are tried in a round, and columns that number copies.
    fn listed(&self, best: &Set, found: &Found, numbering: &[usize]) -> Vec<(Set, Role)> {
        let parts = best.len();
        let mut narrower: Vec<Set> = Vec::new();
        if (2..=PARTS).contains(&parts) {
            let chosen = |bits: u32| (0..parts).filter(|at| bits >> at & 1 == 1).map(|at| best[at]).collect();
            narrower.extend((1..(1u32 << parts) - 1).map(chosen));
        } else if parts > PARTS {
            let without = |at: usize| best.iter().copied().filter(|part| *part != best[at]).collect();
            narrower.extend((0..parts.min(2 * PARTS)).map(without));
        }
        let (next, further): (Vec<Set>, Vec<Set>) = narrower.into_iter().partition(|set| set.len() + 1 == parts);
        let others = found.complete.iter().filter(|set| *set != best && set.len() <= parts + 1).take(OTHERS);
        let mut sets = vec![(best.clone(), Role::Best)];
        sets.extend(next.into_iter().map(|set| (set, Role::Narrower)));
        sets.extend(others.map(|set| (set.clone(), Role::Other)));
        sets.extend(further.into_iter().map(|set| (set, Role::Narrower)));
        // Of those that keep nearly all, what looks like names of things is worth more than a few rows.
        let most = found.incomplete.iter().map(|(_, keys)| *keys).max().unwrap_or_default();
        let doubt = |set: &Set| set.iter().map(|part| self.parts[*part].doubt).sum::<u32>();
        let mut worse: Vec<&(Set, u64)> = found.incomplete.iter().collect();
        worse.retain(|(set, _)| sets.iter().all(|(known, _)| known != set));
        worse.sort_by_key(|(set, keys)| {
            let is_near = keys.saturating_mul(20) >= most.saturating_mul(19);
            let doubt = if is_near { (doubt(set), set.len()) } else { (0, 0) };
            (!is_near, doubt, Reverse(*keys), set.clone())
        });
        sets.extend(worse.into_iter().take(WORSE).map(|(set, _)| (set.clone(), Role::Worse)));
        sets.truncate(self.tries());
        sets.extend(numbering.iter().map(|part| (vec![*part], Role::Numbering)));
        sets
    }

    fn names_of(&self, set: &Set) -> String {
        set.iter().map(|part| self.parts[*part].part.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the rows of few keys differ, and few rows are lost by that.
fn has_few_versions(tried: &Tried, merged: u64) -> bool {
    tried.differing.max(merged).saturating_mul(10) <= tried.keys
}

fn named(columns: &[String]) -> String {
    let names = columns.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match columns.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// The flags that say the same as what was asked and found; nothing where a name can't be written in them.
fn flags(key: &[KeyPart], asked: &Asked, numbering: &[String]) -> Option<String> {
    let text = key.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let order = asked.order.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let volatile: Vec<&str> = asked.volatile.iter().chain(numbering).map(String::as_str).collect();
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let says_the_order = order.is_empty() || parse_order(&order).is_ok_and(|order| order == asked.order);
    if parse_key(&text).ok().as_deref() != Some(key) || !says_the_order || !volatile.iter().copied().all(is_plain) {
        return None;
    }
    let order = if order.is_empty() { String::new() } else { format!(" --order \"{order}\"") };
    let volatile = if volatile.is_empty() { String::new() } else { format!(" --volatile {}", volatile.join(",")) };
    Some(format!("--key \"{text}\"{order}{volatile}"))
}
