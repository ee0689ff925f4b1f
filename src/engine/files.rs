//! Parquet files as one table: their columns, and for each row the file and the place that it came from.

use crate::error::{Doing, Result};
use crate::landing::{SOURCE, SOURCE_ROW};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::arrow::RowNumber;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

/// The column that holds what a row's file is called.
pub const FILE: &str = "_file";
/// The column that holds a row's place in that file, from 0.
pub const ROW: &str = "_row";

/// A Parquet file to read.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Its full URL.
    pub url: String,
    /// What it is called in reports.
    pub label: String,
    /// Its size.
    pub size_bytes: u64,
}

/// A table over Parquet files that may lie in several object stores. A column that a file lacks is NULL there.
#[derive(Debug)]
pub struct FilesTable {
    schema: TableSchema,
    /// The files of each store.
    stores: BTreeMap<String, Vec<PartitionedFile>>,
}

/// The columns that a table of files has besides those of the files' own.
fn file_fields() -> [FieldRef; 2] {
    [
        Arc::new(Field::new(FILE, DataType::Utf8, false)),
        Arc::new(Field::new(ROW, DataType::Int64, true).with_extension_type(RowNumber)),
    ]
}

impl FilesTable {
    /// A table of these files with the columns of `schema`, then [`SOURCE`] and [`SOURCE_ROW`], [`FILE`] and [`ROW`].
    ///
    /// # Errors
    /// Bug, when a URL can't be read.
    pub fn new(schema: &SchemaRef, files: &[DataFile]) -> Result<FilesTable> {
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new(SOURCE, DataType::Utf8, true)));
        fields.push(Arc::new(Field::new(SOURCE_ROW, DataType::Int64, true)));
        let [file, row] = file_fields();
        let schema = TableSchema::builder(Arc::new(Schema::new(fields)))
            .with_table_partition_cols(vec![file])
            .with_virtual_columns(vec![row])
            .build();
        let mut stores: BTreeMap<String, Vec<PartitionedFile>> = BTreeMap::new();
        for file in files {
            let url = Url::parse(&file.url).doing("read a file's URL")?;
            let path = Path::from_url_path(url.path()).doing("read a file's URL")?;
            let store = format!("{}://{}", url.scheme(), url.authority());
            let mut read = PartitionedFile::new_from_meta(ObjectMeta {
                location: path,
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: file.size_bytes,
                e_tag: None,
                version: None,
            });
            read.partition_values = vec![ScalarValue::Utf8(Some(file.label.clone()))];
            stores.entry(store).or_default().push(read);
        }
        Ok(FilesTable { schema, stores })
    }
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let mut scans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        for (store, files) in &self.stores {
            let source = Arc::new(ParquetSource::new(self.schema.clone()));
            let groups = FileGroup::new(files.clone()).split_files(state.config().target_partitions());
            let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(store)?, source)
                .with_file_groups(groups)
                .with_projection_indices(projection.cloned())?
                .with_limit(limit)
                .build();
            scans.push(DataSourceExec::from_data_source(config));
        }
        match scans.len() {
            0 => {
                let schema = match projection {
                    Some(indices) => Arc::new(self.schema().project(indices)?),
                    None => self.schema(),
                };
                Ok(Arc::new(datafusion::physical_plan::empty::EmptyExec::new(schema)))
            }
            1 => Ok(scans.remove(0)),
            _ => UnionExec::try_new(scans),
        }
    }
}
