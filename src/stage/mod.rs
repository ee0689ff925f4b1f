//! Winners become Parquet objects of their batches, named for their own bytes.

mod file;
mod rowfile;
mod writer;

pub use rowfile::RowFile;
pub use writer::{Router, StagedFile, WriteOptions, Written, write_empty, write_winners, write_witnesses};

use crate::engine::DataFile;
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::Batch;
use crate::progress::{Silent, off_thread};
use crate::sql::Quarantine;
use crate::storage::Folder;
use object_store::ObjectStoreExt;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};
use serde::{Deserialize, Serialize};

/// A Parquet object of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedObject {
    /// Its full URL; the name is the digest.
    pub url: String,
    /// Its name in the batch's folder.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// The BLAKE3 digest of its bytes, in hexadecimal.
    pub digest: String,
    /// Its rows.
    pub rows: u64,
}

impl StagedObject {
    /// The object as a file to read.
    pub fn file(&self) -> DataFile {
        DataFile { url: self.url.clone(), label: self.name.clone(), size_bytes: self.size_bytes }
    }
}

/// What one batch stages: enters the ledger after the upload, before the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The batch's name.
    pub batch_id: String,
    /// Its days and rows.
    pub batch: Batch,
    /// Its objects, by name.
    pub objects: Vec<StagedObject>,
    /// Losers that know the number of a real event where their winner does not: compared with the target, never merged.
    /// The same for every batch of a run.
    #[serde(default)]
    pub witnesses: Option<StagedObject>,
    /// Where its winners are, if they never left the warehouse: there are no objects then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// The winners of a batch in a table that the warehouse has reduced itself: those of the batch's days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The name of that table beside the target.
    pub table: String,
    /// Keys of it that are left out.
    pub without: Quarantine,
}

impl Manifest {
    /// The objects as files to read.
    pub fn files(&self) -> Vec<DataFile> {
        self.objects.iter().map(StagedObject::file).collect()
    }

    /// Whether all objects are in `folder`, and were when the manifest was written, with their sizes. Their names say
    /// what they hold.
    ///
    /// # Errors
    /// What the store says.
    pub async fn is_staged(&self, folder: &Folder) -> Result<bool> {
        let folder = folder.join(&self.batch_id);
        for object in self.objects.iter().chain(&self.witnesses) {
            match folder.head(&object.name).await? {
                Some(meta) if meta.size == object.size_bytes && object.url == folder.url_of(&object.name) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Checks the staging half of R3: winners of the batch = rows in the manifest = rows in the Parquet footers.
    ///
    /// # Errors
    /// Data, when the counts differ; or what the store says.
    pub async fn check_footers(&self, folder: &Folder) -> Result<()> {
        let folder = folder.join(&self.batch_id);
        let mut footers = 0;
        for object in &self.objects {
            footers += footer_rows(&folder, object).await?;
        }
        let manifest: u64 = self.objects.iter().map(|object| object.rows).sum();
        if (self.batch.rows, manifest) == (manifest, footers) {
            return Ok(());
        }
        Err(Error::data("balance a batch (R3)").with("batch", &self.batch_id).because(format!(
            "{} winners, {manifest} rows in the manifest, {footers} rows in the Parquet footers",
            self.batch.rows
        )))
    }
}

/// The rows that the footer of a staged object says it has.
async fn footer_rows(folder: &Folder, object: &StagedObject) -> Result<u64> {
    let doing = "read the footer of a staged object";
    let (store, path) = (folder.store(), folder.path(&object.name));
    let end = object.size_bytes.saturating_sub(FOOTER_SIZE as u64);
    let tail = store.get_range(&path, end..object.size_bytes).await.doing(doing)?;
    let tail = FooterTail::try_from(tail.as_ref()).doing(doing)?;
    let start = end.saturating_sub(tail.metadata_length() as u64);
    let footer = store.get_range(&path, start..end).await.doing(doing)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).doing(doing)?;
    Ok(metadata.file_metadata().num_rows() as u64)
}

/// Uploads the files of one batch under names made of their digests. What is there already is not written again.
///
/// # Errors
/// What the store says.
pub async fn upload(
    folder: &Folder,
    batch_id: &str,
    batch: &Batch,
    files: &[StagedFile],
    witnesses: Option<&StagedFile>,
) -> Result<Manifest> {
    let folder = folder.join(batch_id);
    let mut objects = Vec::new();
    for file in files {
        objects.push(upload_one(&folder, file).await?);
    }
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    let witnesses = match witnesses {
        Some(file) => Some(upload_one(&folder, file).await?),
        None => None,
    };
    Ok(Manifest { batch_id: batch_id.to_string(), batch: batch.clone(), objects, witnesses, part: None })
}

/// An object of up to this size is uploaded by one request.
const WHOLE_BYTES_MAX: u64 = 8 << 20;

async fn upload_one(folder: &Folder, file: &StagedFile) -> Result<StagedObject> {
    let path = file.path.clone();
    let digest = off_thread(&Silent, move |_| file::digest(&path)).await?;
    let name = format!("{digest}.parquet");
    match folder.head(&name).await? {
        Some(meta) if meta.size == file.size_bytes => {}
        // Only whole objects can be made if there is none: what comes in parts replaces what is there, which has the
        // same bytes if it has this name.
        None if file.size_bytes <= WHOLE_BYTES_MAX => {
            let bytes = tokio::fs::read(&file.path).await.doing("read a file to upload")?;
            folder.create(&name, bytes.into()).await?;
        }
        _ => folder.upload(&name, &file.path).await?,
    }
    // A request that was repeated may have found its own first try, or somebody else's.
    match folder.head(&name).await? {
        Some(meta) if meta.size == file.size_bytes => {}
        found => {
            let size = found.map_or_else(|| "no object".into(), |meta| format!("{} bytes", meta.size));
            return Err(Error::new(Kind::Transient, "stage an object")
                .with("object", folder.url_of(&name))
                .because(format!("{} bytes were uploaded and {size} are there", file.size_bytes))
                .hint("run the same command again"));
        }
    }
    Ok(StagedObject { url: folder.url_of(&name), name, size_bytes: file.size_bytes, digest, rows: file.rows })
}
