//! Which few columns name a row, of files of which nothing is known.
//!
//! A sample of the rows says which sets of columns are worth a try; all that are tried are counted exactly, together,
//! in one pass over all rows. Rows that a set did not tell apart join the sample, so that the next sets do: a few
//! passes are enough, however many columns there are.

mod columns;
mod search;
mod tell;

use crate::dataset::{KeyPart, OrderColumn};
use crate::engine::{DataFile, Engine};
use crate::error::{Error, Result};
use crate::kernel::{Attempt, Cell, Columns, Kernel, Resources, Sample, Survey, Tried};
use crate::progress::{Progress, off_thread};
use crate::report::{LeftOut, Suggestion};
use arrow::datatypes::SchemaRef;
use columns::Part;
use search::{Set, Table};

/// Rounds in which sets are tried, at most. Each is a pass over the rows, or several where rows are very many.
const ROUNDS: usize = 6;
/// From this round on large sets are tried although there are small ones that have not failed yet.
const THOROUGH: usize = 2;
/// Sets that are tried in a round: at least and at most.
const TRIES: (u64, u64) = (8, 24);
/// How many records the sets of one pass may come to, unless one set alone comes to more.
const RECORDS: u64 = 400_000_000;
/// Columns that may number copies, at most.
const NEARLY_UNIQUE: usize = 8;

/// A key that was found.
#[derive(Clone, Debug)]
pub struct Suggested {
    /// The best one.
    pub key: Vec<KeyPart>,
    /// The columns that do not count: those that were given, and those that look as if they number copies.
    pub volatile: Vec<String>,
    /// All that was tried.
    pub suggestion: Suggestion,
    /// Bytes of records that waited on disk.
    pub spilled_bytes: u64,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The columns of the files.
    pub schema: SchemaRef,
    /// Columns that do not count.
    pub volatile: Vec<String>,
    /// What makes one row better: its columns may be versions, and number no copies.
    pub order: Vec<OrderColumn>,
}

/// Looks for the smallest key that merges no rows which differ, volatile columns left aside.
///
/// # Errors
/// Usage, where a column is not there, or none can be a part of a key. When a file can't be read or has changed, or the
/// disk is full.
pub async fn suggest(engine: &Engine, asked: Asked, files: &[DataFile], progress: &dyn Progress) -> Result<Suggested> {
    let named = asked.volatile.iter().chain(asked.order.iter().map(|item| &item.column));
    if let Some(name) = named.into_iter().find(|name| asked.schema.column_with_name(name).is_none()) {
        let known: Vec<&str> = asked.schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(Error::usage("find a column in the input")
            .with("column", name)
            .because(format!("the files have {}", known.join(", ")))
            .hint("choose --order and --volatile from these columns; with --suggest-key, each by its name"));
    }
    let resources = Resources { threads: engine.threads(), pool: engine.memory_pool(), folder: std::env::temp_dir() };
    let mut paths = files.iter().map(DataFile::path).collect::<Result<Vec<_>>>()?;
    // So that what is found does not depend on how they were given.
    paths.sort();
    let columns = Columns { schema: SchemaRef::clone(&asked.schema), key: Vec::new(), order: Vec::new() };
    let kernel = Kernel::open(&paths, columns, resources)?;
    progress.begin("find a key", None);
    off_thread(progress, move |progress| Looking::begin(kernel, &asked, progress)?.suggest(&asked)).await
}

/// What is known while a key is looked for.
struct Looking<'a> {
    kernel: Kernel,
    progress: &'a dyn Progress,
    /// The places of the columns that count.
    content: Vec<usize>,
    /// Of each of them its name, and whether it has one value only.
    names: Vec<(String, bool)>,
    /// Those that can be a part of a key.
    parts: Vec<Part>,
    left_out: Vec<LeftOut>,
    sample: Sample,
    about_rows: u64,
    spilled_bytes: u64,
}

/// What came of a search.
#[derive(Clone, Debug, Default)]
struct Found {
    /// Sets that tell apart all rows that any can, the best first.
    complete: Vec<Set>,
    /// Others that were tried, with how many rows they would keep.
    incomplete: Vec<(Set, u64)>,
}

impl<'a> Looking<'a> {
    fn begin(kernel: Kernel, asked: &Asked, progress: &'a dyn Progress) -> Result<Looking<'a>> {
        let schema = SchemaRef::clone(kernel.schema());
        let counts = |place: &usize| !asked.volatile.contains(schema.field(*place).name());
        let content: Vec<usize> = (0..schema.fields().len()).filter(counts).collect();
        let Survey { columns, about_rows, sample } = kernel.survey(&content, progress)?;
        let rows = kernel.input().rows();
        let (mut parts, mut constant, mut left_out, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((at, place), sight) in content.iter().enumerate().zip(columns) {
            let field = schema.field(*place);
            names.push((field.name().clone(), sight.is_constant));
            match Part::of(field, at, *place, rows, sight) {
                Ok(part) if sight.is_constant => constant.push(part),
                Ok(part) => parts.push(part),
                Err(why) => left_out.push(LeftOut { column: field.name().clone(), why }),
            }
        }
        if parts.is_empty() {
            // All rows are the same in what can be a key: any of it will do.
            parts = constant;
        } else {
            let same = |part: Part| LeftOut { column: part.part.column, why: "the same in every row".into() };
            left_out.extend(constant.into_iter().map(same));
        }
        if parts.is_empty() {
            let why = left_out.iter().map(|out| format!("{}: {}", out.column, out.why)).collect::<Vec<_>>().join("; ");
            return Err(Error::usage("suggest a key")
                .because(if why.is_empty() { "the files have no columns that count".to_string() } else { why })
                .hint("name a key with --key"));
        }
        Ok(Looking { kernel, progress, content, names, parts, left_out, sample, about_rows, spilled_bytes: 0 })
    }

    fn suggest(mut self, asked: &Asked) -> Result<Suggested> {
        let all: Set = (0..self.parts.len()).collect();
        let (mut numbering, mut found) = (Vec::new(), None);
        if self.kernel.input().rows() > 1
            && let Some((columns, without)) = self.numbering(&asked.order)?
        {
            (numbering, found) = (columns, Some(without));
        }
        let left: Set = all.into_iter().filter(|part| !numbering.contains(part)).collect();
        let found = match found {
            Some(found) => found,
            None => {
                let target = self.count(vec![self.cells(&left)])?[0];
                self.search(&left, target)?
            }
        };
        let best = found.complete.first().cloned().unwrap_or_else(|| left.clone());
        let suggestion = self.tell(&best, &found, &numbering, asked)?;
        let named = numbering.iter().map(|part| self.parts[*part].part.column.clone());
        Ok(Suggested {
            key: best.iter().map(|part| self.parts[*part].part.clone()).collect(),
            volatile: asked.volatile.iter().cloned().chain(named).collect(),
            suggestion,
            spilled_bytes: self.spilled_bytes,
        })
    }

    /// Columns that look as if they number copies: nearly every row has a value of its own, but without them rows are
    /// the same, and the other columns have a key of their own. With what was found of that.
    fn numbering(&mut self, order: &[OrderColumn]) -> Result<Option<(Set, Found)>> {
        let parts = self.parts.iter().enumerate();
        let mut near: Set = parts
            .filter(|(_, part)| part.about * 100 >= self.about_rows * 85)
            .filter(|(_, part)| order.iter().all(|item| item.column != part.part.column))
            .map(|(at, _)| at)
            .collect();
        near.sort_by_key(|part| std::cmp::Reverse((self.parts[*part].about, self.parts[*part].doubt)));
        near.truncate(NEARLY_UNIQUE);
        if near.is_empty() {
            return Ok(None);
        }
        let mut sets = vec![self.raw(&[])];
        sets.extend(near.iter().map(|part| self.cells(&[*part])));
        let counts = self.count(sets)?;
        let different = counts[0];
        let mut near: Vec<(u64, usize)> = counts[1..].iter().copied().zip(near).collect();
        near.sort_by_key(|(values, part)| (std::cmp::Reverse(*values), *part));
        let mut levels: Vec<Set> = Vec::new();
        for (at, (values, _)) in near.iter().enumerate() {
            if near.get(at + 1).is_none_or(|(next, _)| next != values) {
                levels.push(near[..=at].iter().map(|(_, part)| *part).collect());
            }
        }
        let others = |set: &Set| (0..self.parts.len()).filter(|part| !set.contains(part)).collect::<Set>();
        levels.retain(|set| !others(set).is_empty());
        let lefts: Vec<Set> = levels.iter().map(others).collect();
        let without = levels.iter().map(|set| self.raw(set)).chain(lefts.iter().map(|left| self.cells(left)));
        let counts = self.count(without.collect())?;
        let (rests, targets) = counts.split_at(levels.len());
        for (at, set) in levels.iter().enumerate() {
            // Where nearly nothing is left, the rest says of what sort rows are, and not which.
            if rests[at] >= different || rests[at].saturating_mul(20) < different {
                continue;
            }
            // What differs in columns that no key can have is not told apart by a key of the rest.
            if targets[at].saturating_mul(10) < rests[at].saturating_mul(9) {
                continue;
            }
            let found = self.search(&lefts[at], targets[at])?;
            let Some(best) = found.complete.first() else { continue };
            let has_more = (0..self.content.len()).any(|column| {
                let is_of = |set: &Set| set.iter().any(|part| self.parts[*part].at == column);
                !self.names[column].1 && !is_of(set) && !is_of(best)
            });
            // A few rows that are the same but for it may be an accident, unless something else names them.
            let is_clear = rests[at].saturating_mul(100) <= different.saturating_mul(99) || best.len() == 1;
            // Of what is called a hash or an id it takes another one to believe that it names nothing.
            let is_name = |part: &usize| self.parts[*part].doubt == 0;
            let is_believed = !set.iter().any(is_name) || best.len() == 1 && best.iter().all(is_name);
            let is_named = !search::is_time_only(&self.parts, best) && (set.len() == 1 || best.len() <= 2);
            if has_more && is_clear && is_believed && is_named {
                return Ok(Some((set.clone(), found)));
            }
        }
        Ok(None)
    }

    /// Looks for keys among these parts, which can keep `target` rows.
    fn search(&mut self, parts: &[usize], target: u64) -> Result<Found> {
        let (mut found, mut seen) = (Found::default(), std::collections::BTreeSet::new());
        let most = self.tries();
        for round in 0..ROUNDS {
            let all = self.parts.clone();
            let table = Table::new(&self.sample, &all, parts, target);
            let fresh: Vec<Set> =
                table.proposals(round >= THOROUGH).into_iter().filter(|set| !seen.contains(set)).collect();
            let is_better = |set: &Set| found.complete.first().is_none_or(|best: &Set| set.len() < best.len());
            let is_plain = |set: &Set| !search::is_time_only(&all, set);
            let has_plain = found.complete.first().is_some_and(is_plain);
            if fresh.is_empty() || !fresh.iter().any(|set| is_better(set) || is_plain(set) && !has_plain) {
                break;
            }
            let chosen = some_of_each_size(fresh, most);
            let content = self.cells(parts);
            let attempts = chosen.iter().map(|set| Attempt { key: self.cells(set), content: content.clone() });
            let tried = self.attempt(&attempts.collect::<Vec<_>>())?;
            let mut places = Vec::new();
            for (set, tried) in chosen.into_iter().zip(tried) {
                seen.insert(set.clone());
                if tried.keys == target {
                    found.complete.push(set);
                } else {
                    found.incomplete.push((set, tried.keys));
                    places.extend(tried.examples.into_iter().flatten());
                }
            }
            found.complete.sort_by_key(|set| table.rank(set));
            places.sort_unstable();
            places.dedup();
            let more = self.kernel.rows_at(&self.content, &places)?;
            self.sample.add(more);
        }
        Ok(found)
    }

    /// How many sets are tried in a round.
    fn tries(&self) -> usize {
        (RECORDS / self.kernel.input().rows().max(1)).clamp(TRIES.0, TRIES.1) as usize
    }

    /// How many different rows there are in each of these sets of columns.
    fn count(&mut self, sets: Vec<Vec<Cell>>) -> Result<Vec<u64>> {
        let attempts = sets.into_iter().map(|key| Attempt { key, content: Vec::new() });
        let tried = self.attempt(&attempts.collect::<Vec<_>>())?;
        Ok(tried.into_iter().map(|tried| tried.keys).collect())
    }

    fn attempt(&mut self, attempts: &[Attempt]) -> Result<Vec<Tried>> {
        let together = (RECORDS / self.kernel.input().rows().max(1)).max(1) as usize;
        let mut all = Vec::with_capacity(attempts.len());
        for some in attempts.chunks(together) {
            let (tried, spilled_bytes) = self.kernel.try_keys(some, self.progress)?;
            self.spilled_bytes += spilled_bytes;
            all.extend(tried);
        }
        Ok(all)
    }

    /// Some parts as a key has them.
    fn cells(&self, set: &[usize]) -> Vec<Cell> {
        set.iter().map(|part| self.parts[*part].cell).collect()
    }

    /// All columns that count as they are, but for these parts.
    fn raw(&self, without: &[usize]) -> Vec<Cell> {
        let is_left = |at: &usize| without.iter().all(|part| self.parts[*part].at != *at);
        let left = (0..self.content.len()).filter(is_left);
        left.map(|at| Cell { column: self.content[at], is_filled: false }).collect()
    }
}

/// The first of them, but some of each size: where none of the small ones will do, a larger one does.
fn some_of_each_size(sets: Vec<Set>, most: usize) -> Vec<Set> {
    let (mut chosen, mut left) = (Vec::new(), Vec::new());
    for set in sets {
        let alike = chosen.iter().filter(|known: &&Set| known.len() == set.len()).count();
        if alike < most / 3 { chosen.push(set) } else { left.push(set) }
    }
    chosen.truncate(most);
    let room = most - chosen.len();
    chosen.extend(left.into_iter().take(room));
    chosen
}
