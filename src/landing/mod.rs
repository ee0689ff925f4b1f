//! Inputs to typed rows in Parquet: every value gets the contract's type, rows that can't be used are set aside with
//! their reason, and every row is counted (rule R1).
//!
//! One thread reads and judges rows while another writes them, with a few batches between the two. All
//! inputs share the spooled files, so a million small pages become few files. A Parquet input that could land as it is
//! is not rewritten: on the local disk it lands by reference, and from elsewhere its copy becomes a file of the
//! landing, so that it is fetched once. Whether it could is asked of its footer and of whole columns first.

mod clean;
mod columns;
mod convert;
mod decimal;
mod demand;
mod in_sql;
mod inferred;
mod landed;
mod occurrences;
mod parquet;
mod rejects;
mod rules;
mod sight;
mod spool;
mod values;
mod work;

pub use columns::{SOURCE, SOURCE_ROW, landing_schema};
pub use in_sql::{InSql, OUTSIDE, SourceColumn, SourceType, in_sql};
pub use inferred::{Inferred, Texts, columns_at_first_sight, land_inferred};
pub use landed::{InputReport, Landed, LandedFile, LandingCounts, LeftOut};
pub use sight::{InputColumns, columns_of};

use crate::dataset::Dataset;
use crate::error::{Doing, Result};
use crate::progress::Progress;
use crate::source::{self, Input};
use crate::storage::{Folder, Upload};
use crate::window::Window;
use futures::{Stream, StreamExt};
use rejects::REJECTS;
use spool::Spool;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use work::{Done, Fetched, Out, Work};

/// Batches that wait between the two halves.
const WAITING: usize = 4;

/// How rows land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LandingOptions {
    /// Rows outside of it are counted and passed over.
    pub window: Option<Window>,
    /// The present, in microseconds since 1970-01-01 UTC: a time more than a day later is a mistake.
    pub now_us: i64,
    /// The size past which a new spooled file is begun.
    pub max_spool_bytes: u64,
    /// Whether the key was chosen for this run, so that an input may lack one of its columns.
    pub key_chosen: bool,
    /// How many threads look at a Parquet input.
    pub threads: usize,
}

impl LandingOptions {
    /// No window, files of 256 MiB, the contract's key, a thread for each core.
    pub fn new(now_us: i64) -> LandingOptions {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        LandingOptions { window: None, now_us, max_spool_bytes: 256 << 20, key_chosen: false, threads }
    }
}

/// Lands inputs, in their order, as Parquet in `into`, a folder of the landing's own. The same inputs give the same
/// files, byte for byte. Progress is in stored bytes.
///
/// # Errors
/// Usage, where an input lacks a key column or has a column of a type without meaning. Data, where one is cut short,
/// damaged or no UTF-8, or where a row is lost (R1). Nothing is left in `into` then.
pub async fn land(
    dataset: &Dataset,
    inputs: &[Input],
    into: &Folder,
    options: &LandingOptions,
    progress: &dyn Progress,
) -> Result<Landed> {
    progress.begin("read inputs", Some(inputs.iter().map(|input| input.size_bytes).sum()));
    all(dataset, futures::stream::iter(inputs.to_vec()).map(Ok), into, options, progress).await
}

/// [`land`] for inputs that come one by one, such as pages that are still being fetched. A few of them wait here at
/// most: a stream that is faster than the landing is held up. How much it will bring is not known to the progress.
///
/// # Errors
/// Those of [`land`], and what the stream says, which ends the landing.
pub async fn land_stream(
    dataset: &Dataset,
    inputs: impl Stream<Item = Result<Input>> + Send + 'static,
    into: &Folder,
    options: &LandingOptions,
    progress: &dyn Progress,
) -> Result<Landed> {
    progress.begin("read inputs", None);
    all(dataset, inputs, into, options, progress).await
}

async fn all(
    dataset: &Dataset,
    inputs: impl Stream<Item = Result<Input>> + Send + 'static,
    into: &Folder,
    options: &LandingOptions,
    progress: &dyn Progress,
) -> Result<Landed> {
    let landed = Box::pin(run(dataset, inputs, into, options, progress)).await;
    if landed.is_err() && into.clear().await.is_err() {
        progress.note(&format!("{} could not be emptied and holds an unfinished landing", into.url()));
    }
    landed
}

async fn run(
    dataset: &Dataset,
    inputs: impl Stream<Item = Result<Input>> + Send + 'static,
    into: &Folder,
    options: &LandingOptions,
    progress: &dyn Progress,
) -> Result<Landed> {
    let (to_write, received) = mpsc::channel(WAITING);
    let work = Work::new(dataset, options, into, to_write.clone())?;
    let (fetching, fetched) = fetch(inputs, to_write);
    let reading = tokio::task::spawn_blocking(move || work.run(fetched));
    let done = async {
        let read = reading.await.doing("read inputs").and_then(|read| read);
        // Whoever brings inputs must have come to the end: what only seems to be the last of them loses the rest.
        fetching.await.doing("bring inputs").and(read)
    };
    gather(received, done, into, options.max_spool_bytes, progress).await
}

/// The half that writes: takes what is handed on until nothing comes any more, then what the other half knows.
async fn gather(
    received: mpsc::Receiver<Out>,
    done: impl Future<Output = Result<Done>>,
    into: &Folder,
    max_spool_bytes: u64,
    progress: &dyn Progress,
) -> Result<Landed> {
    let mut spool = Spool::new(into, max_spool_bytes);
    let mut rejects = None;
    let written = write(received, &mut spool, &mut rejects, into, progress).await;
    // Where writing failed, reading fails because of it, so the first error is the one to tell.
    let landed = match written.and(done.await) {
        Ok(done) => finish(&mut spool, &mut rejects, into, done).await,
        Err(error) => Err(error),
    };
    if landed.is_err() {
        spool.abort().await;
        if let Some(mut object) = rejects {
            object.abort().await;
        }
    }
    landed
}

/// Brings remote inputs to the local disk while earlier ones are read. It ends as soon as nobody reads or nobody writes
/// any more: the next input may be long in coming.
fn fetch(
    inputs: impl Stream<Item = Result<Input>> + Send + 'static,
    to_write: mpsc::Sender<Out>,
) -> (JoinHandle<()>, mpsc::Receiver<Fetched>) {
    let (to_read, fetched) = mpsc::channel(1);
    let fetching = tokio::spawn(async move {
        let mut fetches = std::pin::pin!(source::fetch(inputs));
        loop {
            let next = tokio::select! {
                next = fetches.next() => next,
                () = to_read.closed() => return,
                () = to_write.closed() => return,
            };
            let Some(next) = next else { return };
            if to_read.send(next).await.is_err() {
                return;
            }
        }
    });
    (fetching, fetched)
}

async fn write(
    mut received: mpsc::Receiver<Out>,
    spool: &mut Spool,
    rejects: &mut Option<Upload>,
    into: &Folder,
    progress: &dyn Progress,
) -> Result<()> {
    while let Some(out) = received.recv().await {
        match out {
            Out::Batch(batch) => spool.write(&batch).await?,
            Out::EndFile(of) => spool.end_file(of).await?,
            Out::Copy(name, local) => into.upload(&name, local.path()).await?,
            Out::Read(bytes) => progress.advance(bytes),
            Out::Rejects(lines) => {
                rejects.get_or_insert_with(|| into.begin(REJECTS)).write(lines.into()).await?;
            }
        }
    }
    Ok(())
}

async fn finish(spool: &mut Spool, rejects: &mut Option<Upload>, into: &Folder, done: Done) -> Result<Landed> {
    let mut files = spool.finish().await?;
    if let Some(object) = rejects {
        object.finish().await?;
    }
    files.extend(done.as_they_are);
    let mut counts = LandingCounts::default();
    for input in &done.inputs {
        counts += input.counts;
    }
    let rejects = rejects.iter().map(|_| into.url_of(REJECTS)).collect();
    let rejects_by_reason = done.rejects_by_reason;
    let landed = Landed { files, inputs: done.inputs, counts, rejects, rejects_by_reason };
    landed.check()?;
    Ok(landed)
}
