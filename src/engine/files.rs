//! Parquet files as one table.

use crate::error::{Doing, Error, Result};
use crate::footer;
use crate::source::{Input, Local};
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
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// What the program does when it does this.
const OPEN: &str = "open a Parquet file";

/// A Parquet file on the local disk.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Its full URL, `file:///…`.
    pub url: String,
    /// What it is called in reports.
    pub label: String,
    /// Its size.
    pub size_bytes: u64,
}

impl DataFile {
    /// Where it lies.
    ///
    /// # Errors
    /// Bug, when its URL is not one of the local disk.
    pub fn path(&self) -> Result<PathBuf> {
        let url = Url::parse(&self.url).doing("read a file's URL")?;
        url.to_file_path().map_err(|()| Error::bug("read a file's URL").with("file", url))
    }

    /// An input whose bytes are at hand.
    pub(crate) fn of(input: &Input, local: &Local) -> Result<DataFile> {
        let named = |error: Error| error.with("file", &input.url);
        let size_bytes = std::fs::metadata(local.path()).doing(OPEN).map_err(named)?.len();
        let url = Url::from_file_path(local.path()).map_err(|()| named(Error::bug(OPEN)))?;
        Ok(DataFile { url: url.into(), label: input.url.clone(), size_bytes })
    }

    /// What its footer says.
    ///
    /// # Errors
    /// When it can't be opened; data, when it is no Parquet file or a damaged one.
    pub fn footer(&self) -> Result<ArrowReaderMetadata> {
        let open = File::open(self.path()?).doing(OPEN).map_err(|error| error.with("file", &self.label))?;
        footer::read(&open).map_err(|error| {
            Error::data("read a Parquet file's footer")
                .with("file", &self.label)
                .because(error)
                .hint("the file is cut short or damaged: fetch it again")
        })
    }
}

/// A table over Parquet files on the local disk. A column that a file lacks is NULL there.
#[derive(Debug)]
pub struct FilesTable {
    schema: TableSchema,
    files: Vec<PartitionedFile>,
}

impl FilesTable {
    /// A table of these files with the columns of `schema`.
    ///
    /// # Errors
    /// Bug, when a URL can't be read or leads to somewhere else: whoever has files there fetches them first.
    pub fn new(schema: &SchemaRef, files: &[DataFile]) -> Result<FilesTable> {
        let schema = TableSchema::from(SchemaRef::clone(schema));
        let mut read = Vec::with_capacity(files.len());
        for file in files {
            let url = Url::parse(&file.url).doing("read a file's URL")?;
            if url.scheme() != "file" {
                let why = "it does not lie on the local disk";
                return Err(Error::bug("read a file").with("file", &file.label).because(why));
            }
            read.push(PartitionedFile::new_from_meta(ObjectMeta {
                location: Path::from_url_path(url.path()).doing("read a file's URL")?,
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: file.size_bytes,
                e_tag: None,
                version: None,
            }));
        }
        Ok(FilesTable { schema, files: read })
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
        if self.files.is_empty() {
            let schema = match projection {
                Some(indices) => Arc::new(self.schema().project(indices)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
