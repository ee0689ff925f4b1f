//! Another writer that pays no heed to the lock: Delta's commit at an expected version is the fence.

use super::local::LocalStand;
use super::{EDGE_S, Stand, backfill, counts, fill, fills, merged};
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::*;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tradefold::error::Kind;
use tradefold::run::RunOptions;

/// What the other writer commits: nothing, but it is a version of the table.
const COMMIT: &str = "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"WRITE\",\"operationParameters\":{}}}\n";

/// A store in which somebody else is always a moment faster to commit, once.
#[derive(Debug)]
struct Outpaced {
    inner: Arc<dyn ObjectStore>,
    done: AtomicBool,
}

impl std::fmt::Display for Outpaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outpaced({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Outpaced {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let is_commit = location.as_ref().contains("/_delta_log/") && location.as_ref().ends_with(".json");
        if is_commit && !self.done.swap(true, Ordering::SeqCst) {
            self.inner.put(location, COMMIT.into()).await?;
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
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

#[tokio::test]
async fn a_commit_of_another_writer_in_between_is_never_overwritten() {
    let calm = LocalStand::new();
    merged(&calm, &[fill("0xa", json!("o"), EDGE_S, 1, 0.1)]).await;
    let table = calm.table().await;
    let outpaced = LocalStand::over(fills(), calm.folder, |inner| Arc::new(Outpaced { inner, done: false.into() }));
    let rows = [fill("0xa", json!("o"), EDGE_S, 2, 0.2), fill("0xb", json!("o"), EDGE_S, 1, 0.3)];
    let error = backfill(&outpaced, &rows, RunOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{}", error.render());
    assert!(error.render().contains("run the same command again"), "{}", error.render());
    assert_eq!((outpaced.table().await, outpaced.changes().await), (table, 2));
    // The other one is done, so this time the run goes through.
    assert_eq!(counts(&merged(&outpaced, &rows).await), (1, 1, 0));
}
