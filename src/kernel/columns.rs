//! The columns and expressions that a kernel needs, over batches that have no others.

use super::hash::ranks;
use super::input::as_views;
use super::keyed::as_text;
use crate::error::{Doing, Error, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::PhysicalExpr;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Key and order over a schema.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The columns.
    pub schema: SchemaRef,
    /// What names a row.
    pub key: Vec<Arc<dyn PhysicalExpr>>,
    /// What makes one row of a key better.
    pub order: Vec<PhysicalSortExpr>,
}

impl Columns {
    /// The same with no other columns than those of these expressions and those of these places in `self`.
    ///
    /// Texts are read as views, but for those that go through an expression which is `evaluated`: they are read as
    /// planned.
    pub(super) fn narrowed(
        &self,
        key: &[Arc<dyn PhysicalExpr>],
        order: &[PhysicalSortExpr],
        places: &[usize],
        evaluated: impl Fn(&Arc<dyn PhysicalExpr>) -> bool,
    ) -> Result<Columns> {
        let mut used: BTreeSet<usize> = places.iter().copied().collect();
        let mut as_planned = BTreeSet::new();
        for expr in key.iter().chain(order.iter().map(|item| &item.expr)) {
            let columns = collect_columns(expr);
            used.extend(columns.iter().map(Column::index));
            if evaluated(expr) {
                as_planned.extend(columns.iter().map(Column::index));
            }
        }
        let field = |place: &usize| match as_planned.contains(place) {
            true => self.schema.field(*place).clone(),
            false => as_views(self.schema.field(*place)),
        };
        let schema = Arc::new(Schema::new(used.iter().map(field).collect::<Vec<_>>()));
        let moved = |expr: &Arc<dyn PhysicalExpr>| {
            reassign_expr_columns(Arc::clone(expr), &schema).doing("find the columns of a key")
        };
        let key = key.iter().map(moved).collect::<Result<Vec<_>>>()?;
        let order = order.iter().map(|item| Ok(PhysicalSortExpr { expr: moved(&item.expr)?, options: item.options }));
        let order = order.collect::<Result<Vec<_>>>()?;
        Ok(Columns { schema, key, order })
    }

    /// The key's parts of each row.
    pub(super) fn key_values(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.key.iter().map(|expr| value(expr, batch)).collect()
    }

    /// The key of the first row, part by part, as text.
    pub(super) fn key_texts(&self, batch: &RecordBatch) -> Result<Vec<Option<String>>> {
        self.key_values(batch)?.iter().map(as_text).collect()
    }

    /// The order's parts of each row.
    pub(super) fn order_values(&self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Vec<SortOptions>)> {
        let values = self.order.iter().map(|item| value(&item.expr, batch)).collect::<Result<Vec<_>>>()?;
        Ok((values, self.order.iter().map(|item| item.options).collect()))
    }

    /// The names of the columns of the order.
    pub(super) fn order_names(&self) -> BTreeSet<String> {
        let columns = self.order.iter().flat_map(|item| collect_columns(&item.expr));
        columns.map(|column| column.name().to_string()).collect()
    }

    /// The rank of each row in the first part of the order.
    pub(super) fn ranks(&self, batch: &RecordBatch) -> Result<Vec<u64>> {
        match self.order.first() {
            Some(item) => ranks(&value(&item.expr, batch)?, item.options),
            None => Ok(vec![0; batch.num_rows()]),
        }
    }

    /// The parts of the order in which rows of one key may differ.
    pub(super) fn content(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let is_key = |expr: &Arc<dyn PhysicalExpr>| expr.is::<Column>() && self.key.iter().any(|key| key == expr);
        self.order.iter().map(|item| Arc::clone(&item.expr)).filter(|expr| !is_key(expr)).collect()
    }

    /// The column that is at a place of the whole schema.
    pub(super) fn named(&self, batch: &RecordBatch, whole: &Schema, place: usize) -> Result<ArrayRef> {
        let name = whole.field(place).name();
        batch.column_by_name(name).cloned().ok_or_else(|| Error::bug("read a column").with("column", name))
    }
}

/// Whether a text that it is about has to be read in the form for which it was planned.
pub(super) fn is_more_than_a_column(expr: &Arc<dyn PhysicalExpr>) -> bool {
    !expr.is::<Column>()
}

/// An expression's value for each row.
pub(super) fn value(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    let value = expr.evaluate(batch).doing("evaluate an expression of a key")?;
    value.into_array(batch.num_rows()).doing("evaluate an expression of a key")
}
