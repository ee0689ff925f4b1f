//! Decimal numbers as text, written in one way: [`super::super::decimal`], step by step.

use super::given::value_name;

/// What is said of a text that is none, or too long.
pub(super) const PHRASE: &str = "not a decimal number";

/// The digits that a number may have once it is written without an exponent.
const MAX_DIGITS: usize = super::super::decimal::MAX_DIGITS;

/// The steps; each makes columns of those before it, for the decimal column in this place.
pub(super) const STEPS: [fn(usize) -> String; 4] = [parts, digits, significant, written];

/// The column that has the number as it is written in the end. NULL for one that would be too long.
pub(super) fn name(place: usize) -> String {
    format!("_decimal_{place}")
}

/// The digits before the point, those after it, and the exponent.
fn parts(place: usize) -> String {
    let text = value_name(place);
    let part = |pattern: &str| {
        format!("CASE WHEN {text} IS NOT NULL THEN COALESCE(REGEXP_EXTRACT({text}, r'{pattern}'), '') END")
    };
    format!(
        "{} AS _whole_{place}, {} AS _fraction_{place}, {} AS _exponent_{place}",
        part("^[+-]?([0-9]*)"),
        part("[.]([0-9]*)"),
        part("[eE]([+-]?[0-9]+)$")
    )
}

/// All digits without zeros before them, and where the point is: so many digits after their beginning.
fn digits(place: usize) -> String {
    let (whole, exponent) = (format!("_whole_{place}"), format!("_exponent_{place}"));
    let all = format!("CONCAT({whole}, _fraction_{place})");
    let most = i32::MAX;
    let size = format!("LEAST(COALESCE(SAFE_CAST(LTRIM({exponent}, '+-') AS INT64), {most}), {most})");
    let shift =
        format!("CASE WHEN {exponent} = '' THEN 0 WHEN STARTS_WITH({exponent}, '-') THEN -1 * {size} ELSE {size} END");
    format!(
        "LTRIM({all}, '0') AS _digits_{place}, \
         LENGTH({whole}) - (LENGTH({all}) - LENGTH(LTRIM({all}, '0'))) + {shift} AS _point_{place}"
    )
}

/// The digits without zeros after them.
fn significant(place: usize) -> String {
    format!("RTRIM(_digits_{place}, '0') AS _significant_{place}")
}

fn written(place: usize) -> String {
    let (text, digits, point) = (value_name(place), format!("_significant_{place}"), format!("_point_{place}"));
    let length = format!("LENGTH({digits})");
    // A zero stands before the point where nothing else does.
    let size = format!("CASE WHEN {point} <= 0 THEN 1 - {point} + {length} ELSE GREATEST({point}, {length}) END");
    format!(
        "CASE WHEN {digits} = '' THEN '0' WHEN {size} > {MAX_DIGITS} THEN NULL \
         ELSE CONCAT(CASE WHEN STARTS_WITH({text}, '-') THEN '-' ELSE '' END, CASE \
         WHEN {point} <= 0 THEN CONCAT('0.', REPEAT('0', -1 * {point}), {digits}) \
         WHEN {point} >= {length} THEN CONCAT({digits}, REPEAT('0', {point} - {length})) \
         ELSE CONCAT(SUBSTR({digits}, 1, {point}), '.', SUBSTR({digits}, {point} + 1)) END) END AS {}",
        name(place)
    )
}
