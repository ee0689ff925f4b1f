//! A first look at rows of which nothing is known: about how many different values each column has, how often it is
//! NULL, and a few of the rows.
//!
//! What is seen only says what is worth a try. It is the same for the same input, whatever the process and its threads,
//! so the numbers that values become are not seeded at random here.

use super::Kernel;
use super::hash::Seeds;
use super::input::as_views;
use crate::error::Result;
use crate::progress::Progress;
use crate::threads;
use arrow::array::{Array, ArrayRef, StringViewArray};
use arrow::datatypes::{Schema, SchemaRef};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of the sample, about.
const SAMPLE_ROWS: u64 = 2_048;
/// Rows of the sample follow each other in stretches of so many: copies and versions are often near.
const STRETCH_ROWS: u64 = 8;
/// Of a sketch, the bits of a number that choose its register, and how many registers there are.
const REGISTER_BITS: u32 = 12;
const REGISTERS: usize = 1 << REGISTER_BITS;

/// What a first look tells of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSight {
    /// Rows in which it is NULL.
    pub null_rows: u64,
    /// How many different values it has, NULL included: about, by 2 percent.
    pub about_values: u64,
    /// Whether it has no more than one, NULL included.
    pub is_constant: bool,
}

/// Rows as numbers: equal ones are equal values. NULL is one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// For each column the number of each row's value.
    pub columns: Vec<Vec<u64>>,
    /// The number of NULL, and that of an empty text.
    pub null_and_empty: [u64; 2],
}

/// What a first look tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Of each column that was asked for.
    pub columns: Vec<ColumnSight>,
    /// How many different rows there are, in these columns: about.
    pub about_rows: u64,
    /// Some rows, in the order of their places.
    pub sample: Sample,
}

/// About how many different numbers were seen (HyperLogLog).
struct Sketch(Vec<u8>);

impl Sketch {
    fn add(&mut self, number: u64) {
        // The numbers of integers differ in few bits; these are spread over all of them.
        let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = mixed ^ mixed >> 32;
        let register = &mut self.0[(mixed >> (64 - REGISTER_BITS)) as usize];
        *register = (*register).max((mixed << REGISTER_BITS).leading_zeros().min(63 - REGISTER_BITS) as u8 + 1);
    }

    fn merge(&mut self, other: &Sketch) {
        self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = (*own).max(*other));
    }

    fn about(&self) -> u64 {
        let many = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|register| 0.5f64.powi(i32::from(*register))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / many) * many * many / sum;
        let empty = self.0.iter().filter(|register| **register == 0).count() as f64;
        // Few numbers are known better by the registers that none has come to.
        let about = if raw <= 2.5 * many && empty > 0.0 { many * (many / empty).ln() } else { raw };
        about.round() as u64
    }
}

/// What a thread has seen.
struct Seen {
    nulls: Vec<u64>,
    /// The least and the greatest number of each column.
    spans: Vec<[u64; 2]>,
    /// One for each column, and one for whole rows.
    sketches: Vec<Sketch>,
}

impl Seen {
    fn new(columns: usize) -> Seen {
        Seen {
            nulls: vec![0; columns],
            spans: vec![[u64::MAX, 0]; columns],
            sketches: (0..=columns).map(|_| Sketch(vec![0; REGISTERS])).collect(),
        }
    }
}

impl Kernel {
    /// Looks at these columns, which are places in the kernel's schema.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub fn survey(&self, columns: &[usize], progress: &dyn Progress) -> Result<Survey> {
        let schema = self.viewed(columns);
        let stretch = (self.input.rows() / SAMPLE_ROWS).max(1);
        let is_sampled = |place: u64| (place / STRETCH_ROWS).is_multiple_of(stretch);
        let all = Mutex::new(Seen::new(columns.len()));
        let sampled = threads::each_with(
            self.input.units().len(),
            self.resources.threads,
            &|| Seen::new(columns.len()),
            &|seen, at| {
                let unit = &self.input.units()[at];
                let (mut place, mut sample) = (unit.first, vec![Vec::new(); columns.len()]);
                for batch in self.input.read(unit, &schema, None)? {
                    let batch = batch?;
                    let rows = batch.num_rows();
                    let mut whole = vec![0u64; rows];
                    let chosen: Vec<usize> = (0..rows).filter(|row| is_sampled(place + *row as u64)).collect();
                    for (column, field) in schema.fields().iter().enumerate() {
                        let Some(values) = batch.column_by_name(field.name()) else { continue };
                        let codes = codes(values)?;
                        seen.nulls[column] += values.logical_null_count() as u64;
                        for code in &codes {
                            let [least, greatest] = &mut seen.spans[column];
                            (*least, *greatest) = ((*least).min(*code), (*greatest).max(*code));
                            seen.sketches[column].add(*code);
                        }
                        let next = |whole: &mut u64, code: &u64| {
                            *whole = whole.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_add(*code);
                        };
                        whole.iter_mut().zip(&codes).for_each(|(whole, code)| next(whole, code));
                        sample[column].extend(chosen.iter().map(|row| codes[*row]));
                    }
                    whole.iter().for_each(|row| seen.sketches[columns.len()].add(*row));
                    place += rows as u64;
                    progress.advance(rows as u64);
                }
                Ok(sample)
            },
            &|seen| {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.nulls.iter_mut().zip(seen.nulls).for_each(|(all, own)| *all += own);
                for (all, own) in all.spans.iter_mut().zip(seen.spans) {
                    *all = [all[0].min(own[0]), all[1].max(own[1])];
                }
                all.sketches.iter_mut().zip(&seen.sketches).for_each(|(all, own)| all.merge(own));
                Ok(())
            },
        )?;
        let all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut about: Vec<u64> = all.sketches.iter().map(Sketch::about).collect();
        let about_rows = about.pop().unwrap_or_default();
        let sights = all.nulls.into_iter().zip(all.spans).zip(about).map(|((null_rows, [least, greatest]), about)| {
            ColumnSight { null_rows, about_values: about, is_constant: least >= greatest }
        });
        Ok(Survey { columns: sights.collect(), about_rows, sample: Sample::of(columns.len(), sampled)? })
    }

    /// These columns of the rows at these places, which rise.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub fn rows_at(&self, columns: &[usize], places: &[u64]) -> Result<Sample> {
        let schema = self.viewed(columns);
        let parts = self.input.by_unit(places);
        let found = threads::each(parts.len(), self.resources.threads, &|at| {
            let (unit, places) = parts[at];
            let mut rows = vec![Vec::new(); columns.len()];
            for batch in self.input.read(unit, &schema, Some(unit.bits_of(places)))? {
                let batch = batch?;
                for (rows, values) in rows.iter_mut().zip(batch.columns()) {
                    rows.extend(codes(values)?);
                }
            }
            Ok(rows)
        })?;
        Sample::of(columns.len(), found)
    }

    /// These columns and no others, texts as views.
    pub(super) fn viewed(&self, columns: &[usize]) -> SchemaRef {
        let fields = columns.iter().map(|place| as_views(self.columns.schema.field(*place)));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl Sample {
    fn of(columns: usize, parts: Vec<Vec<Vec<u64>>>) -> Result<Sample> {
        let mut sample = Sample { columns: vec![Vec::new(); columns], null_and_empty: null_and_empty()? };
        for part in parts {
            sample.columns.iter_mut().zip(part).for_each(|(all, own)| all.extend(own));
        }
        Ok(sample)
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Adds the rows of another one with the same columns.
    pub fn add(&mut self, other: Sample) {
        self.columns.iter_mut().zip(other.columns).for_each(|(all, own)| all.extend(own));
    }
}

fn codes(values: &ArrayRef) -> Result<Vec<u64>> {
    Seeds::FIXED.tuples(&[Arc::clone(values)], values.len())
}

fn null_and_empty() -> Result<[u64; 2]> {
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec![None, Some("")]));
    let codes = codes(&texts)?;
    Ok([codes[0], codes[1]])
}
