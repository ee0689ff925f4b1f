//! Jobs that run once, however often they are asked for: their ids come from the work.

use super::client::{Client, is_passing, kind_of};
use crate::error::{Error, Kind, Result};
use crate::warehouse::{JobReport, Journal};
use google_cloud_bigquery_v2::model::{Job, JobConfiguration, JobReference};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What makes the ids of the jobs of one batch, and the name of its temporary table.
#[derive(Clone, Debug)]
pub(super) struct Work<'a> {
    pub(super) batch_id: &'a str,
    /// The target's full name.
    pub(super) target: &'a str,
    /// When the target was made, in milliseconds: one that was made anew is another.
    pub(super) target_created_ms: i64,
}

impl Work<'_> {
    /// The work's own name: letters and digits.
    pub(super) fn digest(&self) -> String {
        let text = format!("{}\n{}\n{}", self.batch_id, self.target, self.target_created_ms);
        blake3::hash(text.as_bytes()).to_hex()[..32].to_string()
    }

    /// The id of a step's job. Letters, digits, `_` and `-`, as BigQuery wants it.
    pub(super) fn job_id(&self, step: &str, attempt: u32) -> String {
        format!("tradefold_{}_{step}_{attempt}", self.digest())
    }
}

/// How often a job may fail for a passing reason before that is the answer.
const FAILED_MAX: u32 = 5;
/// How many attempts of one step there may be. Each that was made costs a look.
const ATTEMPTS_MAX: u32 = 100;
/// How long BigQuery may say that it knows nothing of a job whose id it has just called taken.
const UNKNOWN_MAX: Duration = Duration::from_secs(240);
/// How long to wait at most before a job is asked after again.
const POLL_MAX: Duration = Duration::from_secs(10);

/// A job that is done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) job: Box<Job>,
    /// Whether it was begun before.
    pub(super) is_adopted: bool,
    /// Which attempt it is, from 1.
    pub(super) attempt: u32,
}

/// Runs a step's job, or finds that it has run. `configuration` makes it for an attempt, of which the first is 1.
/// `has_effect` says of one that had run whether what it did is there: a temporary table may have expired, a target may
/// have been rolled back. Each attempt goes into the journal first, where there is one.
///
/// # Errors
/// What the job says, by its reason, or the journal.
pub(super) async fn run<E>(
    client: &Client,
    work: &Work<'_>,
    step: &str,
    configuration: impl Fn(u32) -> Box<JobConfiguration>,
    mut journal: Option<&mut dyn Journal>,
    has_effect: impl Fn(Done) -> E,
) -> Result<Done>
where
    E: Future<Output = Result<Option<Done>>>,
{
    let mut failed = 0;
    for attempt in 1..=ATTEMPTS_MAX {
        let reference = client.reference(&work.job_id(step, attempt));
        let configuration = configuration(attempt);
        let begun = match &mut journal {
            Some(journal) => begin(client, &reference, &configuration, *journal).await?,
            // It would run it again. A load or an export may, a statement may not.
            None if client.access().is_emulator
                && configuration.query.is_some()
                && client.job(&reference).await?.is_some() =>
            {
                None
            }
            None => client.insert(&reference, &configuration).await?,
        };
        // Its id is taken: this run began it before it died, or an answer was lost.
        let is_adopted = begun.is_none();
        let job = match begun {
            Some(job) => job,
            None => known(client, &reference).await?,
        };
        let job = wait(client, &reference, job).await?;
        if !is_adopted {
            client.used().ran(&configuration, &report(&job));
        }
        match error_of(&job) {
            None if !is_adopted => return Ok(Done { job, is_adopted, attempt }),
            None if is_burned(&job) => {}
            None => {
                if let Some(done) = has_effect(Done { job, is_adopted, attempt }).await? {
                    client.progress().note(&format!("job {} has run already", reference.job_id));
                    return Ok(done);
                }
            }
            // Whatever it was, it was before now.
            Some(_) if is_adopted => {}
            Some((reason, message)) => {
                failed += 1;
                if !is_passing(reason) || failed >= FAILED_MAX {
                    return Err(refused(client, &reference, reason, message));
                }
                client.progress().note(&format!("job {} failed and is begun anew: {message}", reference.job_id));
                tokio::time::sleep(client.access().waits.after(failed, fastrand::f64())).await;
            }
        }
    }
    Err(Error::data("run a job")
        .with("job", work.job_id(step, ATTEMPTS_MAX))
        .because(format!("{ATTEMPTS_MAX} attempts were made before, and what none of them did is there"))
        .hint(match step {
            EXPORT => "look at these jobs in BigQuery; in the next hour the same table is exported by others",
            _ => "look at these jobs in BigQuery; another --batch-days makes other batches, with ids of their own",
        }))
}

/// Begins a job once it is written down. `None`: its id is taken. What was begun before is not written down again.
async fn begin(
    client: &Client,
    reference: &JobReference,
    configuration: &JobConfiguration,
    journal: &mut dyn Journal,
) -> Result<Option<Box<Job>>> {
    if client.job(reference).await?.is_some() {
        return Ok(None);
    }
    journal.begins(&name_of(reference)).await?;
    client.insert(reference, configuration).await
}

/// How a job is called wherever it is written down: `project:location.id`.
fn name_of(reference: &JobReference) -> String {
    let location = reference.location.as_deref().unwrap_or_default();
    format!("{}:{location}.{}", reference.project_id, reference.job_id)
}

/// Reads what [`name_of`] has written.
fn reference_of(name: &str) -> Option<JobReference> {
    let (place, id) = name.rsplit_once('.')?;
    // A project may have a domain before its name, and a colon between them.
    let (project, location) = place.rsplit_once(':')?;
    let reference = JobReference::new().set_project_id(project).set_job_id(id);
    Some(if location.is_empty() { reference } else { reference.set_location(location) })
}

/// The step of a job that exports a table.
pub(super) const EXPORT: &str = "export";

/// The step of a job that did nothing, and was begun only so that its id is taken.
const BURN: &str = "burn";

fn is_burned(job: &Job) -> bool {
    let labels = job.configuration.as_ref().map(|configuration| &configuration.labels);
    labels.and_then(|labels| labels.get(STEP)).is_some_and(|step| step == BURN)
}

/// Waits until a job that was written down is over. One that was never begun never will be: its id is taken by
/// `configuration`, a query that does nothing.
///
/// # Errors
/// What BigQuery says.
pub(super) async fn settle(client: &Client, name: &str, configuration: &JobConfiguration) -> Result<()> {
    let Some(reference) = reference_of(name) else {
        return Err(Error::data("settle a job of an earlier run")
            .with("job", name)
            .because("that is no name of a job of BigQuery")
            .hint("restore the ledger"));
    };
    let configuration = configuration.clone().set_labels(labels(client, "", BURN));
    if let Some(job) = client.insert(&reference, &configuration).await? {
        wait(client, &reference, job).await?;
        client.progress().note(&format!("job {} was never begun, and will not be", reference.job_id));
        return Ok(());
    }
    client.progress().note(&format!("job {}: waiting until it is over", reference.job_id));
    let job = known(client, &reference).await?;
    wait(client, &reference, job).await.map(|_| ())
}

/// What a job tells of itself.
pub(super) fn report(job: &Job) -> JobReport {
    let statistics = job.statistics.as_ref();
    let query = statistics.and_then(|statistics| statistics.query.as_ref());
    let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
    JobReport {
        job: job.job_reference.as_ref().map(name_of).unwrap_or_default(),
        bytes_processed: count(query.and_then(|query| query.total_bytes_processed)),
        bytes_billed: count(query.and_then(|query| query.total_bytes_billed)),
        partitions: count(query.and_then(|query| query.total_partitions_processed)),
    }
}

/// The attempts of a step that were made, the newest first, as far as they are over. Ids that were only taken are none.
pub(super) async fn attempts(client: &Client, work: &Work<'_>, step: &str) -> Result<Vec<Done>> {
    let mut made = Vec::new();
    for attempt in 1..=ATTEMPTS_MAX {
        let reference = client.reference(&work.job_id(step, attempt));
        let Some(job) = client.job(&reference).await? else { break };
        let job = wait(client, &reference, job).await?;
        if !is_burned(&job) {
            made.push(Done { job, is_adopted: true, attempt });
        }
    }
    made.reverse();
    Ok(made)
}

/// Runs a query that changes nothing, under an id that nobody had.
pub(super) async fn read(client: &Client, id: &str, configuration: &JobConfiguration) -> Result<JobReference> {
    let mut failed = 0;
    loop {
        let reference = client.reference(&format!("tradefold_{id}_{failed}"));
        let job = match client.insert(&reference, configuration).await? {
            Some(job) => job,
            None => known(client, &reference).await?,
        };
        let job = wait(client, &reference, job).await?;
        client.used().ran(configuration, &report(&job));
        let Some((reason, message)) = error_of(&job) else { return Ok(reference) };
        failed += 1;
        if !is_passing(reason) || failed >= FAILED_MAX {
            return Err(refused(client, &reference, reason, message));
        }
        tokio::time::sleep(client.access().waits.after(failed, fastrand::f64())).await;
    }
}

/// A job whose id is taken. BigQuery may say for a while that it knows none.
async fn known(client: &Client, reference: &JobReference) -> Result<Box<Job>> {
    let begun = Instant::now();
    let mut looks = 0;
    loop {
        if let Some(job) = client.job(reference).await? {
            return Ok(job);
        }
        if begun.elapsed() > UNKNOWN_MAX {
            return Err(Error::new(Kind::Transient, "look up a job")
                .with("job", &reference.job_id)
                .because("its id is taken, and for minutes BigQuery knows of no such job")
                .hint("run the same command again"));
        }
        looks += 1;
        tokio::time::sleep(client.access().waits.step(looks, POLL_MAX)).await;
    }
}

/// Waits until a job is done.
async fn wait(client: &Client, reference: &JobReference, mut job: Box<Job>) -> Result<Box<Job>> {
    let mut waited = Waited { client, reference, is_over: false };
    let mut looks = 0;
    while job.status.as_ref().is_none_or(|status| status.state != "DONE") {
        looks += 1;
        tokio::time::sleep(client.access().waits.step(looks, POLL_MAX)).await;
        job = known(client, reference).await?;
    }
    waited.is_over = true;
    Ok(job)
}

/// Says where a job is that nobody waits for any more.
struct Waited<'a> {
    client: &'a Client,
    reference: &'a JobReference,
    is_over: bool,
}

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let link = self.client.link(self.reference);
            self.client.progress().note(&format!(
                "job {} may be running still; the same command finds a load, a MERGE or an export again; to cancel it: {link}",
                self.reference.job_id
            ));
        }
    }
}

/// Why a job that is done did nothing: BigQuery's reason and message.
pub(super) fn error_of(job: &Job) -> Option<(&str, &str)> {
    let error = job.status.as_ref()?.error_result.as_ref()?;
    Some((&error.reason, &error.message))
}

fn refused(client: &Client, reference: &JobReference, reason: &str, message: &str) -> Error {
    // Both come with the reason of a statement that is wrong.
    let is_busy = ["concurrent update", "streaming buffer"].iter().any(|part| message.contains(part));
    let kind = if is_busy { Kind::Busy } else { kind_of(reason) };
    let hint = match kind {
        Kind::Busy => "wait until nobody else writes to the table, then run the same command again",
        Kind::Transient => "run the same command again",
        Kind::Usage => "look at the job; make sure that the table, its dataset and the bucket are in one location",
        Kind::Refused => "look at the roles of these credentials, the quotas and --max-bytes-billed, then run it again",
        _ => "report this as a bug, with the statement of the job",
    };
    Error::new(kind, "run a job")
        .with("job", &reference.job_id)
        .with("reason", reason)
        .with("console", client.link(reference))
        .because(message)
        .hint(hint)
}

/// What a label may hold: small letters, digits, `_` and `-`, 63 of them.
pub(super) fn label(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' };
    text.chars().take(63).map(fit).collect()
}

/// The label of a job that says what it is for.
pub(super) const STEP: &str = "tradefold_step";

/// A job's labels, of which each batch's step has some.
pub(super) fn labels(client: &Client, batch_id: &str, step: &str) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = client.access().labels.clone().into_iter().collect();
    labels.insert(STEP.into(), label(step));
    labels.insert("tradefold_batch".into(), label(batch_id));
    labels
}
