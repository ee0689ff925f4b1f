//! Parquet files as one table.

use crate::error::{Doing, Result};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
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
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

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

impl FilesTable {
    /// A table of these files with the columns of `schema`.
    ///
    /// # Errors
    /// Bug, when a URL can't be read.
    pub fn new(schema: &SchemaRef, files: &[DataFile]) -> Result<FilesTable> {
        let schema = TableSchema::from(SchemaRef::clone(schema));
        let mut stores: BTreeMap<String, Vec<PartitionedFile>> = BTreeMap::new();
        for file in files {
            let url = Url::parse(&file.url).doing("read a file's URL")?;
            let path = Path::from_url_path(url.path()).doing("read a file's URL")?;
            let store = format!("{}://{}", url.scheme(), url.authority());
            let read = PartitionedFile::new_from_meta(ObjectMeta {
                location: path,
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: file.size_bytes,
                e_tag: None,
                version: None,
            });
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
