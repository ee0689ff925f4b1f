//! The share of duplicates from which on `analyze` fails.

use crate::report::{Analysis, counted};
use std::str::FromStr;

/// Digits after the point of a share, at most.
const FRACTION_DIGITS: usize = 9;

/// A share in percent, kept as whole numbers, so that a share that is just the limit is never more than it.
#[derive(Clone, Debug)]
pub(super) struct FailOver {
    text: String,
    /// The limit in parts of `whole`.
    part: u128,
    whole: u128,
}

impl FromStr for FailOver {
    type Err = String;

    fn from_str(text: &str) -> Result<FailOver, String> {
        let wrong = || format!("`{text}` is no share: write a percentage from 0% to 100%, such as 0.5%");
        let number = text.strip_suffix('%').ok_or_else(wrong)?.trim_end();
        let (percent, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(percent) || percent.len() > 3 || !is_digits(fraction) || fraction.len() > FRACTION_DIGITS {
            return Err(wrong());
        }
        let part = format!("{percent}{fraction}").parse().map_err(|_| wrong())?;
        let whole = 100 * 10u128.pow(fraction.len() as u32);
        if part > whole { Err(wrong()) } else { Ok(FailOver { text: text.into(), part, whole }) }
    }
}

impl FailOver {
    /// Why an analysis fails; nothing where it has no more duplicates than are allowed.
    pub(super) fn why(&self, report: &Analysis) -> Option<String> {
        let duplicates = report.rows - report.keys;
        if u128::from(duplicates) * self.whole <= self.part * u128::from(report.rows) {
            return None;
        }
        let share = 100.0 * report.duplicate_share();
        let verb = if duplicates == 1 { "is a duplicate" } else { "are duplicates" };
        let rows = counted(report.rows, "row");
        Some(format!("{duplicates} of {rows} {verb}, {share:.4} %: more than --fail-over {}", self.text))
    }
}
