//! Where bytes live: a folder in an object store, the local disk included.

mod local;

use crate::error::{Doing, Error, Result};
use crate::google::Identity;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

/// What to write where a location can't be opened.
const KNOWN: &str = "known are paths, file://, gs://, s3://, az:// and https://";

/// A folder in an object store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Arc<dyn ObjectStore>,
    url: Url,
    prefix: Path,
}

impl Folder {
    /// Opens a local path or an object store's URL (`gs://`, `s3://`, `az://`, `https://`, `file://`), which need not
    /// exist yet. `options` are what the environment holds; those that begin with `aws_`, `google_` or `azure_`, in
    /// either case, are settings of the store.
    ///
    /// # Errors
    /// Usage, when the text is no path and no URL of a known store.
    pub fn open(text: &str, options: &[(String, String)]) -> Result<Folder> {
        let url = url_of(text)?;
        if url.password().is_some() || url.query().is_some() {
            // The text would be kept in reports and in the ledger, so not even the error repeats it.
            return Err(Error::usage("open a location")
                .with("host", url.host_str().unwrap_or_default())
                .because("its URL has a password or a query, which may hold a signature")
                .hint("give credentials in the environment; fetch what needs a signed URL to the local disk"));
        }
        if url.scheme() == "http" {
            return Err(Error::usage("open a location")
                .with("location", text)
                .because("plain HTTP says neither who sends a file nor that it came as it was sent")
                .hint(KNOWN));
        }
        // Stores take names without a prefix, too; a `TOKEN` or `ENDPOINT` of something else must not reach them.
        let ours = |name: &str| ["aws_", "google_", "azure_"].iter().any(|prefix| name.starts_with(prefix));
        let options = options.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let options: Vec<(String, String)> = options.filter(|(name, _)| ours(name)).collect();
        let unknown = |error| Error::usage("open a location").with("location", text).because(error).hint(KNOWN);
        if url.scheme() == "gs" {
            let prefix = Path::from_url_path(url.path()).doing("read a location")?;
            let store = cloud_storage(&url, &options)?.build().map_err(unknown)?;
            return Ok(Folder { store: Arc::new(store), url, prefix });
        }
        let (store, prefix) = object_store::parse_url_opts(&url, options).map_err(unknown)?;
        Ok(Folder { store: Arc::from(store), url, prefix })
    }

    /// A folder of a store that is open already; `url` is the folder's own. Tests hand in stores that fail.
    pub fn of_store(store: Arc<dyn ObjectStore>, url: Url, prefix: Path) -> Folder {
        Folder { store, url, prefix }
    }

    /// The folder `name` in this one; `name` may have several parts.
    #[must_use]
    pub fn join(&self, name: &str) -> Folder {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_string();
        url.set_path(&format!("{base}/{name}"));
        Folder { store: Arc::clone(&self.store), url, prefix: self.path(name) }
    }

    /// The store that the folder is in.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The folder's URL, without a slash at its end.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path of an object in the store.
    pub fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// The URL of an object in the folder.
    pub fn url_of(&self, name: &str) -> String {
        self.join(name).url.to_string()
    }

    /// Where the folder is on the local disk, if it is there.
    pub fn local_path(&self) -> Option<std::path::PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// Writes an object if there is none of its name. `false`: there is one, and it was left as it is.
    ///
    /// # Errors
    /// What the store says.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.path(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed("write an object", name, error)),
        }
    }

    /// Writes an object, over one of its name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store
            .put(&self.path(name), bytes.into())
            .await
            .map_err(|error| self.failed("write an object", name, error))?;
        Ok(())
    }

    /// Writes an object from a local file, over one of its name, a part at a time.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub async fn upload(&self, name: &str, from: &std::path::Path) -> Result<()> {
        let mut file = tokio::fs::File::open(from).await.doing("open a file to upload")?;
        let mut to = self.begin(name);
        let mut sent = Ok(());
        loop {
            let mut part = BytesMut::with_capacity(UPLOAD_PART_BYTES);
            let read =
                (&mut file).take(UPLOAD_PART_BYTES as u64).read_buf(&mut part).await.doing("read a file to upload");
            match read {
                Ok(0) => break,
                Ok(_) => sent = to.write(part.freeze()).await,
                Err(error) => sent = Err(error),
            }
            if sent.is_err() {
                break;
            }
        }
        match sent {
            Ok(()) => to.finish().await,
            Err(error) => {
                to.abort().await;
                Err(error)
            }
        }
        .map_err(|error| error.with("object", self.url_of(name)))
    }

    /// Moves an object of the local disk into another folder, which may be in another store.
    ///
    /// # Errors
    /// What the disk or a store says.
    pub async fn move_to(&self, other: &Folder, name: &str) -> Result<()> {
        if self.url.scheme() == other.url.scheme() {
            let moved = self.store.rename(&self.path(name), &other.path(name)).await;
            return moved.map_err(|error| self.failed("move an object", name, error));
        }
        let Some(folder) = self.local_path() else {
            return Err(Error::bug("move an object").with("object", self.url_of(name)).because("it is not on a disk"));
        };
        other.upload(name, &folder.join(name)).await?;
        self.remove(name).await
    }

    /// How a person calls the folder.
    fn shown(&self) -> String {
        self.local_path().map_or_else(|| self.url.to_string(), |path| path.display().to_string())
    }

    /// Begins to write an object a part at a time, over one of its name.
    pub fn begin(&self, name: &str) -> Upload {
        let writer = BufWriter::new(Arc::clone(&self.store), self.path(name));
        Upload { writer: Some(writer), folder: self.shown() }
    }

    /// An object's bytes, or nothing where there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match self.store.get(&self.path(name)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(|error| self.failed("read an object", name, error))?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read an object", name, error)),
        }
    }

    /// The first lines of an object, or none where there is none. No more of it is read.
    ///
    /// # Errors
    /// What the store says.
    pub async fn first_lines(&self, name: &str, most: usize) -> Result<Vec<String>> {
        let failed = |error| self.failed("read an object", name, error);
        let mut pieces = match self.store.get(&self.path(name)).await {
            Ok(found) => found.into_stream(),
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let (mut read, mut lines) = (Vec::new(), 0);
        while lines < most
            && let Some(piece) = pieces.try_next().await.map_err(failed)?
        {
            lines += piece.iter().filter(|byte| **byte == b'\n').count();
            read.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&read).lines().take(most).map(str::to_string).collect())
    }

    /// An object's size and time, or nothing where there is none.
    ///
    /// # Errors
    /// What the store says.
    pub async fn head(&self, name: &str) -> Result<Option<ObjectMeta>> {
        match self.store.head(&self.path(name)).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("look at an object", name, error)),
        }
    }

    /// All objects in the folder and below, by path.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<ObjectMeta>> {
        self.list_after(None).await
    }

    /// The objects in the folder and below whose paths come after that of an object, by path.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list_after(&self, name: Option<&str>) -> Result<Vec<ObjectMeta>> {
        let listed = match name {
            Some(name) => self.store.list_with_offset(Some(&self.prefix), &self.path(name)),
            None => self.store.list(Some(&self.prefix)),
        };
        let mut found: Vec<ObjectMeta> = listed.try_collect().await.doing("list a folder")?;
        // Not every server that speaks a store's protocol hears from where on it is asked.
        found.retain(|meta| name.is_none_or(|name| meta.location > self.path(name)));
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Removes an object.
    ///
    /// # Errors
    /// What the store says; also where there is none.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.store.delete(&self.path(name)).await.map_err(|error| self.failed("remove an object", name, error))
    }

    /// Removes all objects in the folder and below.
    ///
    /// # Errors
    /// What the store says.
    pub async fn clear(&self) -> Result<()> {
        for meta in self.list().await? {
            self.store.delete(&meta.location).await.doing("remove an object")?;
        }
        Ok(())
    }

    fn failed(&self, doing: &str, name: &str, error: object_store::Error) -> Error {
        let error = Err::<(), _>(error).doing(doing).err().unwrap_or_else(|| Error::bug(doing));
        error.with("object", self.url_of(name)).in_folder(self.shown())
    }
}

/// A bucket of Cloud Storage. The store itself knows two kinds of credentials; unless one of them is set, it gets those
/// of every kind.
fn cloud_storage(url: &Url, options: &[(String, String)]) -> Result<GoogleCloudStorageBuilder> {
    let mut builder = GoogleCloudStorageBuilder::new().with_url(url.as_str());
    let mut is_set = false;
    for (name, value) in options {
        let Ok(key) = name.parse::<GoogleConfigKey>() else { continue };
        is_set |= matches!(key, GoogleConfigKey::ServiceAccount | GoogleConfigKey::ServiceAccountKey);
        builder = builder.with_config(key, value);
    }
    // A store that is told not to sign would still ask for credentials to write.
    let unsigned = builder.get_config_value(&GoogleConfigKey::SkipSignature).unwrap_or_default();
    let is_unsigned = ["true", "1", "on", "yes", "y"].contains(&unsigned.to_ascii_lowercase().as_str());
    Ok(match (is_unsigned, is_set) {
        (true, _) => builder.with_credentials(Identity::anonymous().for_storage()),
        (false, true) => builder,
        (false, false) => builder.with_credentials(Identity::from_environment()?.for_storage()),
    })
}

/// How much of a file is read at once to be uploaded.
const UPLOAD_PART_BYTES: usize = 1 << 20;

/// An object that is written a part at a time. It is there once [`Upload::finish`] has said so.
#[derive(Debug)]
pub struct Upload {
    /// Gone once it was told to finish: a [`BufWriter`] panics where it is used after that, even if it failed.
    writer: Option<BufWriter>,
    folder: String,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// What the store says.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.writer {
            Some(writer) => {
                let written = writer.put(bytes).await.doing("write an object");
                written.map_err(|error| error.in_folder(&self.folder))
            }
            None => Err(Error::bug("write an object").because("it is finished")),
        }
    }

    /// Puts the object into its place.
    ///
    /// # Errors
    /// What the store says.
    pub async fn finish(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => {
                let written = writer.shutdown().await.doing("write an object");
                written.map_err(|error| error.in_folder(&self.folder))
            }
            None => Err(Error::bug("write an object").because("it is finished")),
        }
    }

    /// Gives up. What the store can't take back it keeps until it cleans up by itself.
    pub async fn abort(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            let _ = writer.abort().await;
        }
    }
}

/// The URL of a local path or of the URL that the text already is.
fn url_of(text: &str) -> Result<Url> {
    if text.contains("://") {
        return Url::parse(text).map_err(|error| {
            // What was to be a password or a signature is not repeated here either.
            let plain = text.split('?').next().unwrap_or(text);
            let plain = plain.rsplit_once('@').map_or(plain, |(_, place)| place);
            Error::usage("read a location").with("location", plain).because(error)
        });
    }
    let path = std::path::absolute(text).doing("resolve a path")?;
    Url::from_file_path(&path)
        .map_err(|()| Error::usage("read a location").with("location", text).because("it is no absolute path"))
}
