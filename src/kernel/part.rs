//! Parts of key and content as they are hashed: columns, mostly, whose values need not be made into anything first.

use super::columns::value;
use super::hash::{Hash, Hasher};
use crate::error::Result;
use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::physical_expr::expressions::{CaseExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;

/// What is hashed of a row.
#[derive(Debug)]
pub(super) enum Part {
    /// The first of these columns that is known, or else the one row of `last`.
    FirstOf { columns: Vec<Arc<dyn PhysicalExpr>>, last: Option<ArrayRef> },
    /// Whether a column is known: with the key, that says what it is.
    Known(Arc<dyn PhysicalExpr>),
    /// An expression that has to be evaluated.
    Value(Arc<dyn PhysicalExpr>),
}

impl Part {
    /// A column, or what DataFusion makes of `COALESCE(column, …, 'text')`, without evaluating it.
    pub(super) fn of(expr: &Arc<dyn PhysicalExpr>) -> Part {
        if expr.is::<Column>() {
            return Part::FirstOf { columns: vec![Arc::clone(expr)], last: None };
        }
        expr.downcast_ref::<CaseExpr>().and_then(first_of).unwrap_or_else(|| Part::Value(Arc::clone(expr)))
    }

    /// A part of the content, where rows are compared that have this key.
    pub(super) fn beside(expr: &Arc<dyn PhysicalExpr>, key: &[Part]) -> Part {
        let first = |part: &Part| matches!(part, Part::FirstOf { columns, .. } if columns.first() == Some(expr));
        if key.iter().any(first) { Part::Known(Arc::clone(expr)) } else { Part::of(expr) }
    }

    /// Whether it looks at columns as they are, in whatever form their values have.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self, Part::Value(_))
    }

    /// Adds this part of each row of a batch to the hashes.
    pub(super) fn add<H: Hash>(&self, hasher: &mut Hasher<H>, batch: &RecordBatch, hashes: &mut [H]) -> Result<()> {
        match self {
            Part::Value(expr) => hasher.add(hashes, &value(expr, batch)?),
            Part::Known(column) => {
                hasher.add_known(hashes, value(column, batch)?.nulls());
                Ok(())
            }
            Part::FirstOf { columns, last } => {
                let columns = columns.iter().map(|column| value(column, batch)).collect::<Result<Vec<_>>>()?;
                match (columns.as_slice(), last) {
                    ([column], None) => hasher.add(hashes, column),
                    _ => hasher.add_first(hashes, &columns, last.as_ref()),
                }
            }
        }
    }
}

/// `CASE WHEN a IS NOT NULL THEN a … ELSE b END`, where all are columns of one type, and the last may be a literal.
fn first_of(case: &CaseExpr) -> Option<Part> {
    if case.expr().is_some() {
        return None;
    }
    let mut columns = Vec::new();
    for (when, then) in case.when_then_expr() {
        let known = when.downcast_ref::<IsNotNullExpr>()?.arg();
        if known != then || !then.is::<Column>() {
            return None;
        }
        columns.push(Arc::clone(then));
    }
    let otherwise = case.else_expr()?;
    if otherwise.is::<Column>() {
        columns.push(Arc::clone(otherwise));
        return Some(Part::FirstOf { columns, last: None });
    }
    let last = otherwise.downcast_ref::<Literal>()?.value().to_array().ok()?;
    Some(Part::FirstOf { columns, last: Some(last) })
}
