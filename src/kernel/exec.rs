//! The operator: a leaf of a plan that reads Parquet files and gives the first row of each key.

use super::{Ask, Columns, Kernel, Resources, Verdict};
use crate::progress::Silent;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A kernel with its verdict.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The files, key and order.
    pub kernel: Arc<Kernel>,
    /// What became of every row.
    pub verdict: Arc<Verdict>,
}

type Shared = std::result::Result<Decided, Arc<DataFusionError>>;

/// Keeps one row of each key of Parquet files on the local disk: the first in the order.
#[derive(Debug)]
pub struct KeepFirstExec {
    paths: Vec<PathBuf>,
    columns: Columns,
    properties: Arc<PlanProperties>,
    /// Decided once, by the stream that is read first.
    decided: Arc<OnceLock<Shared>>,
}

impl KeepFirstExec {
    /// Reads these files with the columns of `columns`, of which it gives those of `output`, by `threads` partitions.
    pub(super) fn new(paths: Vec<PathBuf>, columns: Columns, output: SchemaRef, threads: usize) -> KeepFirstExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output),
            Partitioning::UnknownPartitioning(threads),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        // Its streams wait for a channel, which gives way to others.
        .with_scheduling_type(SchedulingType::Cooperative);
        KeepFirstExec { paths, columns, properties: Arc::new(properties), decided: Arc::default() }
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The kernel that does the work, not yet at work.
    ///
    /// # Errors
    /// As [`Kernel::open`].
    pub fn open(&self, resources: Resources) -> crate::error::Result<Kernel> {
        Kernel::open(&self.paths, self.columns.clone(), resources)
    }
}

/// Those winners that fall to one of several streams: of so many row groups each stream takes one.
fn winners(
    output: &SchemaRef,
    number: usize,
    streams: usize,
    decided: impl FnOnce() -> Result<Decided> + Send + 'static,
) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(output), 2);
    let (output, sender) = (Arc::clone(output), builder.tx());
    builder.spawn_blocking(move || {
        let external = |error| DataFusionError::External(Box::new(error));
        let Decided { kernel, verdict } = decided()?;
        for unit in kernel.input().units().iter().skip(number).step_by(streams) {
            let winners = verdict.winners.of(unit.places());
            for batch in kernel.input().read(unit, &output, Some(winners)).map_err(external)? {
                if sender.blocking_send(batch.map_err(external)).is_err() {
                    // Nobody listens any more.
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    builder.build()
}

impl DisplayAs for KeepFirstExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(", ");
        let key = list(self.columns.key.iter().map(ToString::to_string).collect());
        let order = list(self.columns.order.iter().map(ToString::to_string).collect());
        write!(f, "KeepFirstExec: key=[{key}], order=[{order}], files={}", self.paths.len())
    }
}

impl ExecutionPlan for KeepFirstExec {
    fn name(&self) -> &str {
        "KeepFirstExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let order = self.columns.order.iter().map(|item| &item.expr);
        let mut recursion = TreeNodeRecursion::Continue;
        for expr in self.columns.key.iter().chain(order) {
            recursion = f(expr)?;
            if recursion == TreeNodeRecursion::Stop {
                break;
            }
        }
        Ok(recursion)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let streams = self.properties.partitioning.partition_count();
        let cell = Arc::clone(&self.decided);
        let (paths, columns) = (self.paths.clone(), self.columns.clone());
        let resources =
            Resources { threads: streams, pool: Arc::clone(context.memory_pool()), folder: std::env::temp_dir() };
        let decide = move || {
            let decide = || -> Shared {
                let decided = Kernel::open(&paths, columns, resources).and_then(|kernel| {
                    let verdict = kernel.decide(&Ask::default(), &Silent)?;
                    Ok(Decided { kernel: Arc::new(kernel), verdict: Arc::new(verdict) })
                });
                decided.map_err(|error| Arc::new(DataFusionError::External(Box::new(error))))
            };
            cell.get_or_init(decide).clone().map_err(DataFusionError::Shared)
        };
        Ok(winners(&self.schema(), partition, streams, decide))
    }
}
