//! DataFusion, set up the way that all rooms use it: one session of bounded memory, files as tables, queries as
//! streams.

mod files;
mod functions;

pub use files::{DataFile, FilesTable};
pub use functions::KEY_HASH;

use crate::error::{Doing, Error, Result};
use crate::kernel;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, UInt64Type};
use datafusion::catalog::TableProvider;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::TryStreamExt;
use std::sync::Arc;

/// What queries may use.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// What DataFusion accounts for before it spills to disk, in bytes. The stock plans do not promise to stay below
    /// it.
    pub memory_bytes: usize,
    /// How many partitions run at once.
    pub threads: usize,
    /// Whether deduplication compares keys byte by byte, and not by their fingerprints alone.
    pub exact_keys: bool,
}

/// How much memory a part of a query over a whole table should have.
const PART_BYTES: usize = 128 << 20;

/// One DataFusion session. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    context: SessionContext,
    options: EngineOptions,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// A session with its own memory pool and a temporary directory of the operating system, removed with it.
    ///
    /// # Errors
    /// When DataFusion can't be set up.
    pub fn new(options: EngineOptions) -> Result<Engine> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
            .build_arc()
            .doing("set up the query engine")?;
        let mut config =
            SessionConfig::new().with_target_partitions(options.threads.max(1)).with_information_schema(false);
        // Sorting whole rows copies views; plain strings keep the accounting honest and the types those of the
        // contract.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rules(kernel::rule::rules())
            .build();
        let context = SessionContext::new_with_state(state);
        functions::functions().into_iter().for_each(|function| context.register_udf(function));
        Ok(Engine { context, options })
    }

    /// The same tables and the same memory, for queries over whole tables: their parts share the memory, so that many
    /// of them get too little each.
    #[must_use]
    pub fn in_few_parts(&self) -> Engine {
        let mut state = self.context.state();
        let parts = (self.options.memory_bytes / PART_BYTES).clamp(1, self.threads());
        state.config_mut().options_mut().execution.target_partitions = parts;
        Engine { context: SessionContext::new_with_state(state), options: self.options }
    }

    /// The session itself, for plans that are not SQL.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.context.state().config().target_partitions()
    }

    /// Whether keys are compared byte by byte.
    pub fn exact_keys(&self) -> bool {
        self.options.exact_keys
    }

    /// How much memory queries may use: [`EngineOptions::memory_bytes`].
    pub fn memory_bytes(&self) -> usize {
        self.options.memory_bytes
    }

    /// Who grants memory.
    pub fn memory_pool(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.context.runtime_env().memory_pool)
    }

    /// Makes a table of files known by a name, in place of one of this name.
    ///
    /// # Errors
    /// When a file's URL can't be read.
    pub fn register_files(&self, name: &str, table: FilesTable) -> Result<()> {
        self.register(name, Arc::new(table))
    }

    /// Makes a table known by a name, in place of one of this name.
    ///
    /// # Errors
    /// When the catalog can't be changed.
    pub fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.forget(name)?;
        self.context.register_table(name, table).doing("register a table")?;
        Ok(())
    }

    /// Makes the answer of a query known as a table by a name, in place of one of this name.
    ///
    /// # Errors
    /// When the statement can't be planned.
    pub async fn register_view(&self, name: &str, sql: &str) -> Result<()> {
        let view = self.frame(sql).await?.into_view();
        self.register(name, view)
    }

    /// Takes a name back.
    ///
    /// # Errors
    /// When the catalog can't be changed.
    pub fn forget(&self, name: &str) -> Result<()> {
        self.context.deregister_table(name).doing("forget a table")?;
        Ok(())
    }

    /// Plans a query without running it.
    ///
    /// # Errors
    /// When the statement can't be planned.
    pub async fn frame(&self, sql: &str) -> Result<DataFrame> {
        tracing::debug!(sql, "query");
        self.context.sql(sql).await.doing("plan a query")
    }

    /// Runs a query, one stream per partition of its plan: they may run at once.
    ///
    /// # Errors
    /// When the statement can't be planned or started.
    pub async fn partitions(&self, sql: &str) -> Result<Vec<SendableRecordBatchStream>> {
        let frame = self.frame(sql).await?;
        frame.execute_stream_partitioned().await.doing("start a query")
    }

    /// Runs a query as one stream.
    ///
    /// # Errors
    /// When the statement can't be planned or started.
    pub async fn stream(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        let frame = self.frame(sql).await?;
        frame.execute_stream().await.doing("start a query")
    }

    /// Runs a query whose answer is small.
    ///
    /// # Errors
    /// When it fails.
    pub async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.stream(sql).await?.try_collect().await.doing("run a query")
    }

    /// Runs a query that answers with one row of whole numbers.
    ///
    /// # Errors
    /// When it fails, or answers with anything else.
    pub async fn counts(&self, sql: &str) -> Result<Vec<u64>> {
        let batches = self.collect(sql).await?;
        let row = batches.iter().find(|batch| batch.num_rows() > 0);
        let counts = row.and_then(|batch| {
            let count = |column: &ArrayRef| u64::try_from(number(column.as_ref(), 0)?).ok();
            batch.columns().iter().map(count).collect::<Option<Vec<u64>>>()
        });
        counts.ok_or_else(|| Error::bug("count").because("the answer is no row of whole numbers"))
    }

    /// Runs a query that answers with one whole number.
    ///
    /// # Errors
    /// As [`Engine::counts`].
    pub async fn count(&self, sql: &str) -> Result<u64> {
        let counts = self.counts(sql).await?;
        counts.first().copied().ok_or_else(|| Error::bug("count").because("the answer has no column"))
    }
}

/// A whole number of an integer or date column; `None` for NULL and for columns of other types.
pub fn number(column: &dyn Array, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => i64::try_from(column.as_primitive::<UInt64Type>().value(row)).ok(),
        DataType::Date32 => Some(i64::from(column.as_primitive::<Date32Type>().value(row))),
        _ => None,
    }
}

/// The sum of a column of exact decimal numbers without a fraction, which may be written as text; NULL is none.
///
/// # Errors
/// Bug, for a column of another type.
pub fn exact_sum(column: &dyn Array) -> Result<i128> {
    let wrong = || Error::bug("add numbers up").because("they are no whole numbers");
    if let Some(numbers) = column.as_primitive_opt::<Decimal128Type>() {
        return Ok(numbers.iter().flatten().sum());
    }
    let texts = column.as_string_opt::<i32>().ok_or_else(wrong)?;
    let number = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        whole.parse::<i128>().ok().filter(|_| fraction.bytes().all(|digit| digit == b'0'))
    };
    texts.iter().flatten().map(|text| number(text).ok_or_else(wrong)).sum()
}
