//! Decimal numbers as text, each written in one way only. No float on the way: what an API says is what lands.

use std::borrow::Cow;

/// The digits that a number may have once it is written without an exponent.
pub(super) const MAX_DIGITS: usize = 100;

/// The one way to write a number: no exponent, no `+`, no digit that says nothing, at least one before the point, and
/// no `-0`. Nothing where the text is no number or would be too long.
pub(crate) fn decimal(text: &str) -> Option<Cow<'_, str>> {
    let (is_negative, unsigned) = match text.split_at_checked(1) {
        Some(("-", rest)) => (true, rest),
        Some(("+", rest)) => (false, rest),
        _ => (false, text),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, shift(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let point = whole.len() as i64 - (all.len() - digits.len()) as i64 + exponent;
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(Cow::Borrowed("0"));
    }
    let length = digits.len() as i64;
    // A zero stands before the point where nothing else does.
    let written = if point <= 0 { 1 - point + length } else { point.max(length) };
    if written > MAX_DIGITS as i64 {
        return None;
    }
    let mut out = String::with_capacity(MAX_DIGITS + 2);
    if is_negative {
        out.push('-');
    }
    let zeros = |count: i64| std::iter::repeat_n('0', count.max(0) as usize);
    if point <= 0 {
        out.push_str("0.");
        out.extend(zeros(-point));
        out.push_str(digits);
    } else if point >= length {
        out.push_str(digits);
        out.extend(zeros(point - length));
    } else {
        let (before, after) = digits.split_at(point as usize);
        out.extend([before, ".", after]);
    }
    Some(if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) })
}

/// Whether a text is a decimal number just as it would land.
pub(crate) fn is_canonical(text: &str) -> bool {
    decimal(text).is_some_and(|canonical| canonical == text)
}

/// An exponent. One past any that could be written saturates, since zero has no digits with whatever exponent.
fn shift(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("-", rest)) => (-1, rest),
        Some(("+", rest)) => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse().unwrap_or(i64::from(i32::MAX)).min(i64::from(i32::MAX)))
}
