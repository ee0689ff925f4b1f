//! Puts [`KeepFirstExec`] in the place of "row number 1 of a window over Parquet files", and leaves any other plan
//! alone.
//!
//! ```text
//! FilterExec: rn = 1, rn <= 1, rn < 2, or turned around
//!   [ProjectionExec: columns]
//!     BoundedWindowAggExec: rn = row_number() PARTITION BY … ORDER BY …
//!       [ProjectionExec]
//!         DataSourceExec: whole Parquet files on the local disk, no filter, no limit
//! ```

use super::{Columns, KeepFirstExec};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::projection::{ProjectionExpr, update_expr};
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepFirst;

/// DataFusion's own rules with this one among them: where windows, filters and scans still stand as they were planned,
/// before sorts and exchanges are put between them.
pub fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let at = rules.iter().position(|rule| rule.name() == "WindowTopN").unwrap_or(0);
    rules.insert(at, Arc::new(KeepFirst));
    rules
}

impl PhysicalOptimizerRule for KeepFirst {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let threads = config.execution.target_partitions;
        let swapped = plan.transform_down(|node| {
            Ok(match swap(&node, threads) {
                Some(swapped) => Transformed::yes(swapped),
                None => Transformed::no(node),
            })
        })?;
        Ok(swapped.data)
    }

    fn name(&self) -> &str {
        "KeepFirst"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The operator for a filter on row number 1, under a projection where one is needed. `None`: it is something else.
fn swap(plan: &Arc<dyn ExecutionPlan>, threads: usize) -> Option<Arc<dyn ExecutionPlan>> {
    let filter = plan.downcast_ref::<FilterExec>().filter(|filter| filter.fetch().is_none())?;
    let number = only_one(filter.predicate())?;
    let (columns, window) = columns_over(filter.input())?;
    let window = window.downcast_ref::<BoundedWindowAggExec>()?;
    let [function] = window.window_expr() else { return None };
    let function = function.as_any().downcast_ref::<StandardWindowExpr>()?;
    let row_number = function.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
    let inputs = window.input().schema().fields().len();
    if row_number.fun().name() != "row_number"
        || columns.get(number) != Some(&inputs)
        || function.partition_by().is_empty()
    {
        return None;
    }
    let (scan, names) = scan_below(window.input())?;
    let through = |expr: &Arc<dyn PhysicalExpr>| match &names {
        Some(projection) => update_expr(expr, projection, true).ok()?,
        None => Some(Arc::clone(expr)),
    };
    let key = function.partition_by().iter().map(through).collect::<Option<Vec<_>>>()?;
    let order = function.order_by().iter();
    let order = order.map(|item| Some(PhysicalSortExpr { expr: through(&item.expr)?, options: item.options }));
    let order = order.collect::<Option<Vec<PhysicalSortExpr>>>()?;
    if key.iter().chain(order.iter().map(|item| &item.expr)).any(is_volatile) {
        return None;
    }
    let paths = whole_files(scan)?;
    let schema = scan.data_source().downcast_ref::<FileScanConfig>()?.projected_schema().ok()?;

    // What comes out, as columns of the scan; the row number itself is 1.
    let kept: Vec<usize> = match filter.projection() {
        Some(kept) => kept.iter().map(|place| columns[*place]).collect(),
        None => columns,
    };
    let output_schema = filter.schema();
    let mut read: Vec<usize> = Vec::new();
    let mut exprs = Vec::new();
    for (place, field) in kept.iter().zip(output_schema.fields()) {
        let expr: Arc<dyn PhysicalExpr> = if *place == inputs {
            Arc::new(Literal::new(ScalarValue::UInt64(Some(1))))
        } else {
            let column = match &names {
                Some(projection) => projection[*place].expr.downcast_ref::<Column>()?.index(),
                None => *place,
            };
            let at = read.iter().position(|known| *known == column).unwrap_or_else(|| {
                read.push(column);
                read.len() - 1
            });
            Arc::new(Column::new(schema.field(column).name(), at))
        };
        exprs.push(ProjectionExpr { expr, alias: field.name().clone() });
    }
    let output: SchemaRef = Arc::new(schema.project(&read).ok()?);
    let is_plain = output.fields().len() == output_schema.fields().len()
        && output.fields().iter().zip(output_schema.fields()).all(|(own, wanted)| own == wanted);
    let columns = Columns { schema, key, order };
    let keep: Arc<dyn ExecutionPlan> = Arc::new(KeepFirstExec::new(paths, columns, output, threads.max(1)));
    if is_plain { Some(keep) } else { Some(Arc::new(ProjectionExec::try_new(exprs, keep).ok()?)) }
}

/// The place of a column that must be 1, where a condition says so: row numbers begin with 1.
fn only_one(predicate: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let binary = predicate.downcast_ref::<BinaryExpr>()?;
    let number = |expr: &Arc<dyn PhysicalExpr>| match expr.downcast_ref::<Literal>()?.value().cast_to(&DataType::UInt64)
    {
        Ok(ScalarValue::UInt64(number)) => number,
        _ => None,
    };
    let (left, right) = (binary.left(), binary.right());
    let (column, op, number) = match (left.downcast_ref::<Column>(), right.downcast_ref::<Column>()) {
        (Some(column), None) => (column, *binary.op(), number(right)?),
        (None, Some(column)) => (column, binary.op().swap()?, number(left)?),
        _ => return None,
    };
    matches!((op, number), (Operator::Eq | Operator::LtEq, 1) | (Operator::Lt, 2)).then(|| column.index())
}

/// Looks through a projection that only picks columns: which columns of what lies below it each of its own is.
fn columns_over(plan: &Arc<dyn ExecutionPlan>) -> Option<(Vec<usize>, &Arc<dyn ExecutionPlan>)> {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else {
        return Some(((0..plan.schema().fields().len()).collect(), plan));
    };
    let columns = projection.expr().iter().map(|item| Some(item.expr.downcast_ref::<Column>()?.index()));
    Some((columns.collect::<Option<Vec<_>>>()?, projection.input()))
}

/// The scan below a window, and the projection between them if there is one.
fn scan_below(plan: &Arc<dyn ExecutionPlan>) -> Option<(&DataSourceExec, Option<Vec<ProjectionExpr>>)> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return Some((projection.input().downcast_ref()?, Some(projection.expr().to_vec())));
    }
    Some((plan.downcast_ref()?, None))
}

/// The files of a scan, where it reads all rows of local files and only columns that are in them.
fn whole_files(scan: &DataSourceExec) -> Option<Vec<PathBuf>> {
    let (config, source) = scan.downcast_to_file_source::<ParquetSource>()?;
    let source: &dyn datafusion::datasource::physical_plan::FileSource = source;
    if config.limit.is_some() || source.filter().is_some() || config.object_store_url.as_str() != "file:///" {
        return None;
    }
    let projected = config.projected_schema().ok()?;
    let is_file_column = |name: &str, expr: &ProjectionExpr| {
        let known = config.file_schema().field_with_name(name);
        expr.expr.downcast_ref::<Column>().is_some_and(|column| column.name() == name) && known.is_ok()
    };
    let mut pairs = source.projection()?.iter().zip(projected.fields());
    if !pairs.all(|(expr, field)| is_file_column(field.name(), expr)) || config.expr_adapter_factory.is_some() {
        return None;
    }
    // A file may be read in several parts, which have to be all of it.
    let mut parts: BTreeMap<PathBuf, Vec<(i64, i64)>> = BTreeMap::new();
    let mut sizes: BTreeMap<PathBuf, i64> = BTreeMap::new();
    for file in config.file_groups.iter().flat_map(|group| group.iter()) {
        if !file.extensions.is_empty() {
            return None;
        }
        let path = PathBuf::from(format!("/{}", file.object_meta.location.as_ref()));
        let size_bytes = i64::try_from(file.object_meta.size).ok()?;
        let range = file.range.as_ref().map_or((0, size_bytes), |range| (range.start, range.end));
        sizes.insert(path.clone(), size_bytes);
        parts.entry(path).or_default().push(range);
    }
    for (path, ranges) in &mut parts {
        ranges.sort_unstable();
        let mut end = 0;
        for range in ranges {
            if range.0 != end {
                return None;
            }
            end = range.1;
        }
        if Some(&end) != sizes.get(path) {
            return None;
        }
    }
    Some(parts.into_keys().collect())
}
