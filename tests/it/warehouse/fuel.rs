//! An object store that dies: after so many side effects every call fails, as for a process that is gone.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::*;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// Whether the last effect before the death happened, though its caller never hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    BeforeTheEffect,
    AfterTheEffect,
}

#[derive(Debug)]
pub struct Fuel {
    left: AtomicI64,
    death: Death,
    /// What somebody else writes at a place just before we do.
    intruder: Mutex<Option<(Path, PutPayload)>>,
}

impl Fuel {
    pub fn new(effects: i64, death: Death) -> Arc<Fuel> {
        Arc::new(Fuel { left: AtomicI64::new(effects), death, intruder: Mutex::default() })
    }

    /// Lets somebody else be a moment faster to write an object, once.
    pub fn intrude(&self, location: Path, payload: PutPayload) {
        *self.intruder.lock().unwrap() = Some((location, payload));
    }

    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    /// What somebody else writes here before we do.
    fn intruder(&self, location: &Path) -> Option<PutPayload> {
        self.intruder.lock().unwrap().take_if(|(place, _)| place == location).map(|(_, payload)| payload)
    }

    /// Spends one effect; the answer is lost where it was the last.
    async fn spend<T>(&self, effect: impl Future<Output = Result<T>>) -> Result<T> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        match (left, self.death) {
            (1.., _) => effect.await,
            (0, Death::AfterTheEffect) => {
                effect.await?;
                Err(dead())
            }
            _ => Err(dead()),
        }
    }

    fn alive(&self) -> Result<()> {
        if self.is_spent() { Err(dead()) } else { Ok(()) }
    }
}

fn dead() -> Error {
    Error::NotSupported { source: "the process is dead".into() }
}

/// A store whose side effects cost fuel.
#[derive(Debug)]
pub struct FuelStore {
    pub inner: Arc<dyn ObjectStore>,
    pub fuel: Arc<Fuel>,
}

impl std::fmt::Display for FuelStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FuelStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FuelStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if let Some(payload) = self.fuel.intruder(location) {
            self.inner.put(location, payload).await?;
        }
        self.fuel.spend(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.fuel.alive()?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FuelUpload { inner, fuel: Arc::clone(&self.fuel) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.fuel.alive()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.fuel.alive()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, fuel) = (Arc::clone(&self.inner), Arc::clone(&self.fuel));
        locations
            .then(move |location| {
                let (inner, fuel) = (Arc::clone(&inner), Arc::clone(&fuel));
                async move {
                    let location = location?;
                    fuel.spend(inner.delete(&location)).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fuel.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fuel.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.fuel.spend(self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.fuel.spend(self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FuelUpload {
    inner: Box<dyn MultipartUpload>,
    fuel: Arc<Fuel>,
}

#[async_trait]
impl MultipartUpload for FuelUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fuel = Arc::clone(&self.fuel);
        fuel.spend(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
