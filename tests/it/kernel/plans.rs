//! Which queries get our operator, and that any other keeps the stock plan.

use super::{answer, explain, few_rows, stock, with_files};
use crate::rows::{batch, engine, runtime, trades, write};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::sync::Arc;
use tradefold::engine::DataFile;
use tradefold::sql::{Dialect, dedup};

/// Queries that ask for the first row of each key.
const FITTING: &[&str] = &[
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c DESC NULLS LAST) = 1",
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c DESC NULLS LAST) <= 1",
    "SELECT c, a FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY b ASC NULLS FIRST, c) < 2",
    "SELECT * FROM t QUALIFY 1 = ROW_NUMBER() OVER (PARTITION BY COALESCE(a, '') ORDER BY c)",
    "SELECT c FROM t QUALIFY 2 > ROW_NUMBER() OVER (PARTITION BY a, b ORDER BY c)",
    "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) AS rn FROM t) WHERE rn = 1",
    "SELECT a, c, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY COALESCE(a, '') ORDER BY b, c) AS rn FROM t) WHERE rn <= 1",
    "SELECT c AS renamed FROM (SELECT c, ROW_NUMBER() OVER (PARTITION BY a ORDER BY c + b, c) AS rn FROM t) WHERE 1 >= rn",
    "SELECT COUNT(*) FROM (SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY UPPER(a) ORDER BY c) = 1)",
];

/// Queries that look much like it and ask for something else.
const OTHERS: &[&str] = &[
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) = 2",
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) <= 2",
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) >= 1",
    "SELECT * FROM t QUALIFY RANK() OVER (PARTITION BY a ORDER BY c) = 1",
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY c) = 1",
    "SELECT * FROM t WHERE c > 10 QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) = 1",
    "SELECT * FROM (SELECT * FROM t LIMIT 3) QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) = 1",
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) = 1 AND c > 10",
    "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c + RANDOM() * 0) = 1",
    "SELECT *, SUM(c) OVER (PARTITION BY b ORDER BY c) FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY a ORDER BY c) = 1",
];

#[test]
fn explain_shows_the_operator_and_the_answers_are_those_of_the_stock_plan() {
    let folder = tempfile::tempdir().unwrap();
    few_rows(folder.path());
    runtime().block_on(async {
        let (ours, stock) = (engine(2), stock());
        with_files(ours.context(), folder.path()).await;
        with_files(&stock, folder.path()).await;
        for (queries, fits) in [(FITTING, true), (OTHERS, false)] {
            for sql in queries {
                let plan = explain(ours.context(), sql).await;
                assert_eq!(plan.contains("KeepFirstExec"), fits, "{sql}\n{plan}");
                assert!(!explain(&stock, sql).await.contains("KeepFirstExec"));
                assert_eq!(answer(ours.context(), sql).await, answer(&stock, sql).await, "{sql}");
            }
        }
    });
}

#[test]
fn explain_names_key_order_and_files() {
    let folder = tempfile::tempdir().unwrap();
    few_rows(folder.path());
    runtime().block_on(async {
        let ours = engine(2);
        with_files(ours.context(), folder.path()).await;
        let plan = explain(ours.context(), FITTING[0]).await;
        let line = plan.lines().find(|line| line.contains("KeepFirstExec")).unwrap();
        assert!(line.contains("KeepFirstExec: key=[a@0], order=[c@2 DESC NULLS LAST], files=1"), "{line}");
    });
}

/// A scan that reads a part of a file, as somebody may ask for.
#[derive(Debug)]
struct Part {
    file: DataFile,
    schema: SchemaRef,
    range: std::ops::Range<i64>,
}

#[async_trait]
impl TableProvider for Part {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let path = url::Url::parse(&self.file.url).unwrap().path().to_string();
        let file = PartitionedFile::new(path, self.file.size_bytes).with_range(self.range.start, self.range.end);
        let source = Arc::new(ParquetSource::new(SchemaRef::clone(&self.schema)));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source).with_file(file);
        Ok(DataSourceExec::from_data_source(config.with_projection_indices(projection.cloned())?.build()))
    }
}

#[test]
fn a_part_of_a_file_is_left_to_the_stock_plan() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = trades();
    let file = write(&folder.path().join("a.parquet"), &[batch(&dataset, &[])], 7);
    let size_bytes = i64::try_from(file.size_bytes).unwrap();
    runtime().block_on(async {
        let engine = engine(1);
        for (range, is_whole) in [(0..size_bytes, true), (0..size_bytes - 1, false), (4..size_bytes, false)] {
            let part = Part { file: file.clone(), schema: SchemaRef::clone(dataset.schema()), range: range.clone() };
            engine.register("t", Arc::new(part)).unwrap();
            let plan = explain(engine.context(), &dedup(&dataset, Dialect::DataFusion, "\"t\"").unwrap()).await;
            assert_eq!(plan.contains("KeepFirstExec"), is_whole, "{range:?}\n{plan}");
        }
    });
}
