//! How numbers, days and times are written, as far as they can have another type than text and keep every character.

use crate::landing::convert::time_of_text;
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// A whole number without a point is the same as a float up to here.
const EXACT_FLOAT: u64 = 1 << 53;
/// Numbers of so many digits are each a float of their own.
const DIGITS_EXACT: usize = 15;
/// Digits of a fraction of a second, at most: microseconds.
const MICRO_DIGITS: usize = 6;

/// The lengths of fractions in a column, each with the fewest digits that are left of one without its last zeros.
///
/// `0.5` and `0.50` are one number in two writings. A column in which that can't be is safe as numbers; in any other a
/// number would be less than its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Fractions(BTreeMap<usize, usize>);

impl Fractions {
    pub(super) fn add(&mut self, fraction: &str) {
        let left = fraction.trim_end_matches('0').len();
        self.0.entry(fraction.len()).and_modify(|least| *least = left.min(*least)).or_insert(left);
    }

    pub(super) fn merge(&mut self, other: &Fractions) {
        for (digits, left) in &other.0 {
            self.0.entry(*digits).and_modify(|least| *least = *left.min(least)).or_insert(*left);
        }
    }

    /// Whether no two of the fractions can be the same but for zeros at the end.
    pub(super) fn is_one_to_one(&self) -> bool {
        self.0.keys().zip(self.0.iter().skip(1)).all(|(shorter, (_, left))| left > shorter)
    }
}

/// The digits of a number before and after the point, where it is written plainly: no exponent, no `+`, no zero in
/// front, and no `-0`.
fn plain(text: &str) -> Option<(&str, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (unsigned, ""),
    };
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = || whole == "0" && fraction.trim_end_matches('0').is_empty();
    let is_plain = !whole.is_empty()
        && is_digits(whole)
        && is_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && !(text.starts_with('-') && is_zero());
    is_plain.then_some((whole, fraction))
}

/// The integer of a text that is written as the integer would be.
pub(super) fn int(text: &str) -> Option<i64> {
    let (_, fraction) = plain(text)?;
    if fraction.is_empty() { text.parse().ok() } else { None }
}

/// The float of a text from which the text can be written again, but for zeros at its end, and its fraction.
pub(super) fn float(text: &str) -> Option<(f64, &str)> {
    let (whole, fraction) = plain(text)?;
    let value: f64 = text.parse().ok()?;
    let is_exact = match fraction {
        "" => whole.parse::<u64>().is_ok_and(|whole| whole <= EXACT_FLOAT),
        _ if whole.len() + fraction.len() <= DIGITS_EXACT => true,
        _ => value.to_string() == text.trim_end_matches('0').trim_end_matches('.'),
    };
    is_exact.then_some((value, fraction))
}

/// The days since 1970-01-01 of a text like `2025-10-01`.
pub(super) fn day(text: &str) -> Option<i32> {
    // Years of other lengths have other forms.
    let is_formed = text.len() == 10 && has_date(text.as_bytes());
    if is_formed { text.parse::<NaiveDate>().ok().map(|day| day.to_epoch_days()) } else { None }
}

/// A text like `2025-10-01T12:00:00.25Z`, cut into what must be the same in a whole column and what may differ.
#[derive(Debug, PartialEq)]
pub(super) struct Time<'a> {
    /// Microseconds since 1970-01-01; UTC where the text names a zone.
    pub(super) us: i64,
    /// What stands between day and time.
    pub(super) separator: u8,
    /// The zone as it is written; empty where there is none.
    pub(super) zone: &'a str,
    pub(super) fraction: &'a str,
}

/// The time of a text of year, month, day, hour, minute and second, perhaps with up to six digits of a fraction and a
/// zone.
pub(super) fn time(text: &str) -> Option<Time<'_>> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !text.is_char_boundary(19) || !has_date(bytes) {
        return None;
    }
    let is_digit = |place: usize| bytes[place].is_ascii_digit();
    // A leap second is the same moment as the one after it.
    let is_formed = matches!(bytes[10], b'T' | b' ')
        && (bytes[13], bytes[16]) == (b':', b':')
        && [11, 12, 14, 15, 17, 18].into_iter().all(is_digit)
        && &bytes[17..19] != b"60";
    if !is_formed {
        return None;
    }
    let after = &text[19..];
    let (fraction, zone) = match after.strip_prefix('.') {
        Some(digits) => digits.split_at(digits.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", after),
    };
    let is_known = fraction.len() <= MICRO_DIGITS && (after.starts_with('.') != fraction.is_empty()) && is_zone(zone);
    if !is_known {
        return None;
    }
    let us = time_of_text(text, Some(0)).ok()?;
    Some(Time { us, separator: bytes[10], zone, fraction })
}

/// Whether a text begins with a day of the years 1 to 9999, by its form.
fn has_date(bytes: &[u8]) -> bool {
    let digits = [0, 1, 2, 3, 5, 6, 8, 9];
    (bytes[4], bytes[7]) == (b'-', b'-')
        && digits.into_iter().all(|place| bytes[place].is_ascii_digit())
        && &bytes[..4] != b"0000"
}

/// Whether a text is how zones are written: nothing, `Z`, ` UTC`, `+00`, `+0000` or `+00:00`.
fn is_zone(text: &str) -> bool {
    match text.as_bytes() {
        b"" | b"Z" | b" UTC" => true,
        [b'+' | b'-', rest @ ..] => match rest {
            [a, b] => [a, b].into_iter().all(u8::is_ascii_digit),
            [a, b, c, d] | [a, b, b':', c, d] => [a, b, c, d].into_iter().all(u8::is_ascii_digit),
            _ => false,
        },
        _ => false,
    }
}
