//! Columns become numbers: a fingerprint of the key, a digest of the content, a rank in the first order column.
//!
//! Everything is seeded anew in each process, since whoever can choose the data could else make keys collide. A
//! fingerprint has 128 bits: that any two among 10^9 keys share one has a probability below 10^-20.

use super::part::Part;
use crate::error::{Doing, Result};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DictionaryArray, PrimitiveArray, RecordBatch,
    downcast_primitive_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Int32Type, Int64Type, ToByteSlice};
use arrow::row::{RowConverter, Rows, SortField};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// The random numbers that everything is seeded with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds {
    seed: u64,
    null: u128,
    /// Odd, so that multiplying by it loses nothing.
    factor: u128,
}

/// What a value becomes: 128 bits for keys, 64 for content.
pub(super) trait Hash: Copy + Default {
    fn null(seeds: &Seeds) -> Self;
    fn of(seeds: &Seeds, bytes: &[u8]) -> Self;
    /// Of a number, whose width is that of its type.
    fn of_number(seeds: &Seeds, bytes: &[u8]) -> Self;
    /// The hash of a longer tuple. That of no value is the default, which adds nothing.
    fn and(self, seeds: &Seeds, next: Self) -> Self;
}

impl Hash for u128 {
    fn null(seeds: &Seeds) -> u128 {
        seeds.null
    }

    fn of(seeds: &Seeds, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, seeds.seed)
    }

    fn of_number(seeds: &Seeds, bytes: &[u8]) -> u128 {
        Self::of(seeds, bytes)
    }

    fn and(self, seeds: &Seeds, next: u128) -> u128 {
        self.wrapping_mul(seeds.factor).wrapping_add(next)
    }
}

impl Hash for u64 {
    fn null(seeds: &Seeds) -> u64 {
        seeds.null as u64
    }

    fn of(seeds: &Seeds, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, seeds.seed)
    }

    fn of_number(seeds: &Seeds, bytes: &[u8]) -> u64 {
        match bytes.try_into().map(u64::from_le_bytes) {
            // Both halves of a product, folded: good enough for numbers, and much cheaper.
            Ok(number) => {
                let product = u128::from(number ^ seeds.seed) * u128::from(seeds.factor as u64);
                (product as u64) ^ ((product >> 64) as u64)
            }
            Err(_) => Self::of(seeds, bytes),
        }
    }

    fn and(self, seeds: &Seeds, next: u64) -> u64 {
        self.wrapping_mul(seeds.factor as u64).wrapping_add(next)
    }
}

impl Seeds {
    /// Those of no process: for what is only estimated, and is to be the same each time. Who can choose the data can
    /// make these collide.
    pub(super) const FIXED: Seeds = Seeds {
        seed: 0x2545_f491_4f6c_dd1d,
        null: 0x8ebc_6af0_9c88_c6e3_5897_89e7_74b2_1b6f,
        factor: 0xa076_1d64_78bd_642f_e703_7ed1_a0b4_28db,
    };

    /// Those of this process, from what the standard library seeds its hash maps with.
    pub(super) fn of_process() -> &'static Seeds {
        static SEEDS: OnceLock<Seeds> = OnceLock::new();
        SEEDS.get_or_init(|| {
            let random = || RandomState::new().hash_one(0u64);
            let wide = || (u128::from(random()) << 64) | u128::from(random());
            Seeds { seed: random(), null: wide(), factor: wide() | 1 }
        })
    }

    /// A hash of each row's values in these columns. NULL equals NULL, and nothing else.
    pub(super) fn tuples<H: Hash>(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<H>> {
        let (mut hasher, mut hashes) = (Hasher::new(*self), vec![H::default(); rows]);
        columns.iter().try_for_each(|column| hasher.add(&mut hashes, column))?;
        Ok(hashes)
    }
}

/// Hashes batches with the same columns. Values of a dictionary are hashed once for as long as batches share it.
#[derive(Debug)]
pub(super) struct Hasher<H> {
    seeds: Seeds,
    /// The dictionaries of the last batch, in the order in which they were met, each with the hashes of its values.
    dictionaries: Vec<(ArrayRef, Vec<H>)>,
    /// How many were met in this batch.
    met: usize,
}

impl<H: Hash> Hasher<H> {
    pub(super) fn new(seeds: Seeds) -> Hasher<H> {
        Hasher { seeds, dictionaries: Vec::new(), met: 0 }
    }

    /// A hash of these parts of each row.
    pub(super) fn tuples(&mut self, parts: &[Part], batch: &RecordBatch) -> Result<Vec<H>> {
        self.met = 0;
        let mut hashes = vec![H::default(); batch.num_rows()];
        parts.iter().try_for_each(|part| part.add(self, batch, &mut hashes))?;
        Ok(hashes)
    }

    /// Adds the first of these columns that is known, or else the row of `last`.
    pub(super) fn add_first(&mut self, hashes: &mut [H], columns: &[ArrayRef], last: Option<&ArrayRef>) -> Result<()> {
        let mut firsts = vec![H::default(); hashes.len()];
        // Rows for which no column was known yet. Most rows need none but the first.
        let mut missing: Vec<usize> = (0..hashes.len()).collect();
        for column in columns {
            if missing.is_empty() {
                break;
            }
            let mut own = vec![H::default(); hashes.len()];
            self.add(&mut own, column)?;
            missing.iter().for_each(|row| firsts[*row] = own[*row]);
            match column.null_count() {
                0 => missing.clear(),
                _ => missing.retain(|row| column.is_null(*row)),
            }
        }
        let mut stand_in = [H::null(&self.seeds)];
        if let Some(last) = last {
            stand_in = [H::default()];
            self.add(&mut stand_in, last)?;
        }
        missing.into_iter().for_each(|row| firsts[row] = stand_in[0]);
        hashes.iter_mut().zip(firsts).for_each(|(own, first)| *own = own.and(&self.seeds, first));
        Ok(())
    }

    /// Adds whether a value is known.
    pub(super) fn add_known(&self, hashes: &mut [H], nulls: Option<&NullBuffer>) {
        self.fold(hashes, nulls, |_| H::default());
    }

    /// Adds a column.
    pub(super) fn add(&mut self, hashes: &mut [H], array: &ArrayRef) -> Result<()> {
        let (nulls, seeds) = (array.nulls(), self.seeds);
        let of = |bytes: &[u8]| H::of(&seeds, bytes);
        match array.data_type() {
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                self.fold(hashes, nulls, |row| of(array.value(row).as_bytes()));
            }
            DataType::LargeUtf8 => {
                let array = array.as_string::<i64>();
                self.fold(hashes, nulls, |row| of(array.value(row).as_bytes()));
            }
            DataType::Utf8View => {
                let array = array.as_string_view();
                self.fold(hashes, nulls, |row| of(array.value(row).as_bytes()));
            }
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                self.fold(hashes, nulls, |row| of(array.value(row)));
            }
            DataType::LargeBinary => {
                let array = array.as_binary::<i64>();
                self.fold(hashes, nulls, |row| of(array.value(row)));
            }
            DataType::BinaryView => {
                let array = array.as_binary_view();
                self.fold(hashes, nulls, |row| of(array.value(row)));
            }
            DataType::FixedSizeBinary(_) => {
                let array = array.as_fixed_size_binary();
                self.fold(hashes, nulls, |row| of(array.value(row)));
            }
            DataType::Boolean => {
                let array = array.as_boolean();
                self.fold(hashes, nulls, |row| of(&[u8::from(array.value(row))]));
            }
            DataType::Dictionary(_, values) => match array.as_dictionary_opt::<Int32Type>() {
                Some(array) => self.add_dictionary(hashes, array)?,
                None => {
                    return self.add(hashes, &cast(array, values).doing("unpack a dictionary")?);
                }
            },
            _ => {
                let array = array.as_ref();
                downcast_primitive_array!(
                    array => self.add_numbers(hashes, array),
                    _ => {
                        let rows = rows_of(&[arrow::array::make_array(array.to_data())], &[SortOptions::default()])?;
                        self.fold(hashes, None, |row| of(rows.row(row).as_ref()));
                    }
                );
            }
        }
        Ok(())
    }

    fn add_numbers<T: ArrowPrimitiveType>(&self, hashes: &mut [H], array: &PrimitiveArray<T>) {
        self.fold(hashes, array.nulls(), |row| H::of_number(&self.seeds, array.value(row).to_byte_slice()));
    }

    fn add_dictionary(&mut self, hashes: &mut [H], array: &DictionaryArray<Int32Type>) -> Result<()> {
        let (at, values) = (self.met, array.values());
        self.met += 1;
        let is_known = |(known, _): &(ArrayRef, Vec<H>)| known.to_data().ptr_eq(&values.to_data());
        if !self.dictionaries.get(at).is_some_and(is_known) {
            // The hash of a tuple of one value is that of the value.
            let of_values = self.seeds.tuples(&[Arc::clone(values)], values.len())?;
            self.dictionaries.truncate(at);
            self.dictionaries.push((Arc::clone(values), of_values));
        }
        let of_values = &self.dictionaries[at].1;
        let keys = array.keys().values();
        self.fold(hashes, array.keys().nulls(), |row| of_values[keys[row] as usize]);
        Ok(())
    }

    fn fold(&self, hashes: &mut [H], nulls: Option<&NullBuffer>, hash: impl Fn(usize) -> H) {
        let null = H::null(&self.seeds);
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None => hashes.iter_mut().enumerate().for_each(|(row, own)| *own = own.and(&self.seeds, hash(row))),
            Some(nulls) => hashes.iter_mut().enumerate().for_each(|(row, own)| {
                *own = own.and(&self.seeds, if nulls.is_valid(row) { hash(row) } else { null });
            }),
        }
    }
}

/// Rows as bytes that compare as the rows do: a lesser one comes earlier in the order.
pub(super) fn rows_of(columns: &[ArrayRef], orders: &[SortOptions]) -> Result<Rows> {
    let doing = "compare rows";
    let field =
        |(column, order): (&ArrayRef, &SortOptions)| SortField::new_with_options(column.data_type().clone(), *order);
    let converter = RowConverter::new(columns.iter().zip(orders).map(field).collect()).doing(doing)?;
    converter.convert_columns(columns).doing(doing)
}

/// A number for each row of a column that never falls where the order gets better: the greater, the earlier. Rows with
/// equal numbers may still differ.
pub(super) fn ranks(array: &ArrayRef, order: SortOptions) -> Result<Vec<u64>> {
    Ok(match array.data_type() {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..) => {
            let whole = cast(array, &DataType::Int64).doing("rank rows")?;
            let whole = whole.as_primitive::<Int64Type>();
            rank_each(whole, order, |row| (whole.value(row) as u64) ^ (1 << 63))
        }
        // Texts may be long, and nothing is made of them but their beginning.
        DataType::Utf8 => rank_each(array, order, |row| first_8(array.as_string::<i32>().value(row).as_bytes())),
        DataType::LargeUtf8 => rank_each(array, order, |row| first_8(array.as_string::<i64>().value(row).as_bytes())),
        DataType::Utf8View => rank_each(array, order, |row| first_8(array.as_string_view().value(row).as_bytes())),
        DataType::Binary => rank_each(array, order, |row| first_8(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => rank_each(array, order, |row| first_8(array.as_binary::<i64>().value(row))),
        DataType::FixedSizeBinary(_) => rank_each(array, order, |row| first_8(array.as_fixed_size_binary().value(row))),
        DataType::BinaryView => rank_each(array, order, |row| first_8(array.as_binary_view().value(row))),
        _ => {
            let rows = rows_of(&[Arc::clone(array)], &[order])?;
            (0..rows.num_rows()).map(|row| !first_8(rows.row(row).as_ref())).collect()
        }
    })
}

/// The ranks of a column from numbers that do not fall where its values rise.
fn rank_each(array: &dyn Array, order: SortOptions, value: impl Fn(usize) -> u64) -> Vec<u64> {
    let null = if order.nulls_first { u64::MAX } else { 0 };
    let rank = |row| match (array.is_valid(row), order.descending) {
        (false, _) => null,
        (true, true) => value(row),
        (true, false) => !value(row),
    };
    (0..array.len()).map(rank).collect()
}

/// The first bytes as a number that does not fall where bytes come later in their order. Those that are missing are 0.
fn first_8(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let known = bytes.len().min(8);
    first[..known].copy_from_slice(&bytes[..known]);
    u64::from_be_bytes(first)
}
