//! Where two keys for the same rows disagree.

use super::{Flagged, TABLE};
use crate::dataset::Dataset;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sql::{Dialect, Exprs, render};
use serde::{Deserialize, Serialize};

/// How another key tells rows apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherKey {
    /// Its parts, as text.
    pub key: Vec<String>,
    /// How many keys rows have by it.
    pub keys: u64,
    /// Keys whose rows it tells apart.
    pub told_apart: u64,
    /// Keys of its own that hold rows of several keys.
    pub put_together: u64,
}

/// Looks at landed rows by the key of `other`, which has the same columns: how the two differ, and the keys on whose
/// rows they do. Rows are those that [`super::Dedup::new`] has made known.
///
/// # Errors
/// When a query fails.
pub async fn other_key(engine: &Engine, dataset: &Dataset, other: &Dataset) -> Result<(OtherKey, Flagged)> {
    let dialect = Dialect::DataFusion;
    let exprs = Exprs { dataset, dialect };
    // Digests of 128 bits are shorter than most keys, and as good.
    let digest = |dataset| -> Result<String> { Ok(format!("MD5({})", Exprs { dataset, dialect }.key_text("")?)) };
    let (key_text, other_text) = (digest(dataset)?, digest(other)?);
    let rows = dialect.quote(TABLE)?;
    let texts = [("key_text", key_text.as_str()), ("other_text", other_text.as_str()), ("rows", rows.as_str())];
    // Lists of all keys may be larger than memory.
    let engine = engine.in_few_parts();
    let counts = engine.counts(&render(include_str!("../../sql/keys_counted.sql"), &texts)?).await?;
    let [keys, told_apart, put_together] = counts[..] else {
        return Err(Error::bug("compare two keys").because("the counts have another number"));
    };
    let key = other.key.iter().map(ToString::to_string).collect();
    let found = OtherKey { key, keys, told_apart, put_together };
    if told_apart + put_together == 0 {
        return Ok((found, Flagged::default()));
    }
    let (named_key, key) = (exprs.named_key("")?, exprs.key("")?);
    let slots = [&texts[..], &[("named_key", named_key.as_str()), ("key", key.as_str())]].concat();
    let flagged =
        Flagged::of_list(engine.stream(&render(include_str!("../../sql/keys_apart.sql"), &slots)?).await?).await?;
    Ok((found, flagged))
}
