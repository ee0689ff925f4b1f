//! The columns of an input beside those of the contract, for who wants to know of them before rows are brought in.

use super::inferred::columns_at_first_sight;
use super::rules::Rules;
use super::values::is_exact;
use super::{LandingOptions, SOURCE, SOURCE_ROW};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::source::{Format, Input};
use std::collections::BTreeMap;

/// How the columns of an input differ from the contract's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputColumns {
    /// Columns of the contract that nothing in it fills.
    pub lacks: Vec<String>,
    /// Columns that the contract has not.
    pub left_out: Vec<String>,
    /// Columns of a Parquet file whose type is not the contract's: what they are, and what they become. Texts have no
    /// types.
    pub casts: BTreeMap<String, String>,
}

/// Compares the columns of an input with the contract's. Of a file that is no Parquet its first rows tell.
///
/// # Errors
/// Where it can't be fetched or read.
pub async fn columns_of(dataset: &Dataset, input: &Input) -> Result<InputColumns> {
    let rules = Rules::new(dataset, &LandingOptions::new(0))?;
    let schema = columns_at_first_sight(input, &dataset.envelope).await?;
    let mut found = InputColumns::default();
    let mut filled = vec![false; rules.columns.len()];
    for field in schema.fields() {
        let inner = rules.inner_of(field.name());
        inner.iter().for_each(|column| filled[*column] = true);
        match rules.slot(field.name()) {
            Some((column, _)) => {
                filled[column] = true;
                let wanted = &rules.columns[column];
                if input.format == Format::Parquet && !is_exact(field.data_type(), wanted.kind) {
                    let cast = format!("{} becomes {}", field.data_type(), wanted.kind.name());
                    found.casts.insert(field.name().clone(), cast);
                }
            }
            // Ours, of an earlier landing.
            None if inner.is_empty() && ![SOURCE, SOURCE_ROW].contains(&field.name().as_str()) => {
                found.left_out.push(field.name().clone());
            }
            None => {}
        }
    }
    let missing = rules.columns.iter().zip(filled).filter(|(_, is_filled)| !is_filled);
    found.lacks = missing.map(|(column, _)| column.name.clone()).collect();
    Ok(found)
}
