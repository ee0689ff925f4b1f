//! What a column's values must be so that they land as they are, asked of many values at once.

use super::{convert, decimal};
use crate::error::{Doing, Result};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};

/// What every known value of a column must be so that it lands as it is. The column has the contract's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Demand {
    /// Any value does.
    Nothing,
    /// Integers, times and days in this span, both ends inside.
    Within(i64, i64),
    /// Floats that are finite, in this span, and not −0.
    Finite(f64, f64),
    /// Text without ASCII letters in upper case.
    LowerCase,
    /// JSON as landing itself would write it.
    Canonical,
    /// Decimal numbers as landing itself would write them.
    Decimal,
}

impl Demand {
    /// Whether any value does.
    pub(crate) fn is_free(self) -> bool {
        matches!(self, Demand::Nothing | Demand::Within(i64::MIN, i64::MAX))
    }

    /// Whether all known values of an array are as they must be.
    pub(crate) fn is_met(self, array: &ArrayRef) -> Result<bool> {
        let within = |value: i64| self.is_met_by_int(value);
        Ok(match (self, array.data_type()) {
            (Demand::Nothing, _) => true,
            (Demand::Within(..), DataType::Date32) => {
                all(array.as_primitive::<Date32Type>(), |day| within(i64::from(day)))
            }
            (Demand::Within(..), DataType::Timestamp(..)) => {
                all(array.as_primitive::<TimestampMicrosecondType>(), within)
            }
            (Demand::Within(..), _) => all(array.as_primitive::<Int64Type>(), within),
            (Demand::Finite(..), _) => all(array.as_primitive::<Float64Type>(), |value| self.is_met_by_float(value)),
            (Demand::LowerCase | Demand::Canonical | Demand::Decimal, _) => {
                let texts = cast(array, &DataType::Utf8View).doing("read a column")?;
                texts.as_string_view().iter().flatten().all(|text| self.is_met_by_text(text))
            }
        })
    }

    /// Whether a dictionary page can answer it: integers, times and days are asked of the footer's statistics.
    pub(crate) fn is_asked_of_pages(self) -> bool {
        !matches!(self, Demand::Within(..))
    }

    /// Whether all values of a dictionary page are as they must be; no, too, where the page makes no sense.
    pub(crate) fn is_met_by_page(self, page: &[u8], values: usize) -> bool {
        match self {
            Demand::Nothing => true,
            Demand::Within(..) => false,
            Demand::Finite(..) => {
                let (floats, rest) = page.as_chunks();
                let is_met = |float: &[u8; 8]| self.is_met_by_float(f64::from_le_bytes(*float));
                rest.is_empty() && floats.len() == values && floats.iter().all(is_met)
            }
            Demand::LowerCase | Demand::Canonical | Demand::Decimal => {
                let mut rest = page;
                let mut is_met = || {
                    let (length, after) = rest.split_first_chunk()?;
                    let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                    rest = after;
                    std::str::from_utf8(text).ok().filter(|text| self.is_met_by_text(text))
                };
                (0..values).all(|_| is_met().is_some())
            }
        }
    }

    /// Whether all integers, times or days between these two are as they must be.
    pub(crate) fn is_met_between(self, min: i64, max: i64) -> bool {
        self.is_met_by_int(min) && self.is_met_by_int(max)
    }

    fn is_met_by_int(self, value: i64) -> bool {
        matches!(self, Demand::Within(min, max) if (min <= value) & (value <= max))
    }

    fn is_met_by_float(self, value: f64) -> bool {
        // No comparison holds for NaN. Of all numbers only −0 changes its bits when zero is added to it.
        let is_kept = (value.abs() <= f64::MAX) & ((value + 0.0).to_bits() == value.to_bits());
        matches!(self, Demand::Finite(min, max) if is_kept & (min <= value) & (value <= max))
    }

    fn is_met_by_text(self, text: &str) -> bool {
        match self {
            // All bytes are looked at, without a branch: that is what makes it fast.
            Demand::LowerCase => !text.bytes().fold(false, |found, byte| found | byte.is_ascii_uppercase()),
            Demand::Canonical => convert::is_canonical(text),
            Demand::Decimal => decimal::is_canonical(text),
            _ => false,
        }
    }
}

/// Whether something holds for all known values of an array.
fn all<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, is_met: impl Fn(T::Native) -> bool) -> bool {
    // What stands in the place of a NULL is mostly zero, and passes: only where it does not, NULLs are told apart.
    let all = array.values().iter().fold(true, |met, value| met & is_met(*value));
    all || array.null_count() > 0 && array.iter().flatten().all(is_met)
}
