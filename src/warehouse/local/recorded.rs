//! A store that knows what was written through it, so that a commit which fails can take its files back.

use super::DeltaWarehouse;
use crate::error::Result as OurResult;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Passes everything on, and remembers the objects that were begun.
#[derive(Debug)]
pub(super) struct Recorded {
    inner: Arc<dyn ObjectStore>,
    written: Mutex<Vec<Path>>,
}

impl Recorded {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Recorded {
        Recorded { inner, written: Mutex::default() }
    }

    /// What was written since this was asked last.
    pub(super) fn take(&self) -> Vec<Path> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Path>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorded({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Recorded {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.lock().push(location.clone());
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.lock().push(location.clone());
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl DeltaWarehouse {
    /// Removes the files of a commit that failed: nothing refers to them, and every try would leave others.
    pub(super) async fn take_back(&self) {
        // The error may have come after the commit. What can't be told apart stays.
        let Ok(in_use) = self.files_in_use().await else { return };
        for path in self.recorded.take() {
            let is_log = path.parts().any(|part| part.as_ref() == "_delta_log");
            if !is_log && path.filename().is_some_and(|name| !in_use.contains(name)) {
                // It may never have come to be.
                let _ = self.folder.store().delete(&path).await;
            }
        }
    }

    /// The names of the files of the table's newest version; each name holds a UUID.
    async fn files_in_use(&self) -> OurResult<BTreeSet<String>> {
        if self.folder.join("_delta_log").list().await?.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut table = self.handle()?;
        table.load().await.map_err(|error| self.failed("open a Delta table", error))?;
        let files = table.get_file_uris().map_err(|error| self.failed("list the files of a Delta table", error))?;
        Ok(files.filter_map(|file| Some(file.rsplit('/').next()?.to_string())).collect())
    }
}
