//! BigQuery's REST API as this warehouse needs it, through Google's own client. Each call is repeated by the one loop
//! of [`crate::retry`], and each error says BigQuery's own reason.

use super::access::{Access, Place};
use super::costs::Used;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::retry::{Again, Failure, retry};
use google_cloud_bigquery_v2::client::{DatasetService, JobService, TableService};
use google_cloud_bigquery_v2::model::{
    DataFormatOptions, GetQueryResultsResponse, Job, JobConfiguration, JobReference, Table, TableReference,
};
use google_cloud_gax::error::CredentialsError;
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::NeverRetry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long one call may take. A job does not end with the call that begins it, so none takes long.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Reasons for which BigQuery itself advises to try again: of a request, or of a job that ended with one of them.
/// <https://docs.cloud.google.com/bigquery/docs/error-messages>
const PASSING: [&str; 8] = [
    "backendError",
    "internalError",
    "badGateway",
    "rateLimitExceeded",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "tableUnavailable",
];

/// The services, and where they look for jobs.
#[derive(Clone)]
pub(super) struct Client {
    jobs: JobService,
    tables: TableService,
    access: Access,
    used: Arc<Mutex<Used>>,
    job_project: String,
    /// Tells the queries of this process from all others.
    nonce: u64,
    /// Where the data lie. BigQuery finds no job outside of the United States and Europe without it.
    location: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("access", &self.access).field("location", &self.location).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects, and looks up where the dataset of the target lies.
    pub(super) async fn connect(access: Access, place: &Place) -> Result<Client> {
        macro_rules! service {
            ($service:ty) => {{
                let mut builder =
                    <$service>::builder().with_credentials(access.credentials.clone()).with_retry_policy(NeverRetry);
                if let Some(endpoint) = &access.endpoint {
                    builder = builder.with_endpoint(endpoint.clone());
                }
                let built = builder.build().await;
                built.map_err(|error| Error::new(Kind::Refused, "connect to BigQuery").because(error))?
            }};
        }
        let (jobs, tables, datasets) = (service!(JobService), service!(TableService), service!(DatasetService));
        let job_project = access.job_project.clone().unwrap_or_else(|| place.project.clone());
        let (used, nonce, location) = (Arc::default(), fastrand::u64(..), String::new());
        let mut client = Client { jobs, tables, access, used, job_project, nonce, location };
        let shown = place.to_string();
        let found = client.call("look up a dataset", &shown, 404, || {
            let get = datasets.get_dataset().set_project_id(&place.project).set_dataset_id(&place.dataset);
            get.with_attempt_timeout(CALL_TIMEOUT).send()
        });
        let Some(found) = found.await? else {
            return Err(Error::usage("look up a dataset")
                .with("dataset", place)
                .because("there is none of this name, or it is hidden from these credentials")
                .hint("make it with `bq mk --dataset`, where its data shall lie, or correct --warehouse"));
        };
        client.location = found.location;
        Ok(client)
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Where the data lie.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// What has been taken so far.
    pub(super) fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other process has.
    pub(super) fn own_number(&self) -> i64 {
        self.nonce as i64
    }

    /// A part of an id that nobody has used before.
    pub(super) fn once(&self) -> String {
        format!("{:016x}_{:016x}", self.nonce, fastrand::u64(..))
    }

    /// The full name of a job.
    pub(super) fn reference(&self, id: &str) -> JobReference {
        let reference = JobReference::new().set_project_id(&self.job_project).set_job_id(id);
        match self.location.is_empty() {
            true => reference,
            false => reference.set_location(&self.location),
        }
    }

    /// Where a person finds a job.
    pub(super) fn link(&self, reference: &JobReference) -> String {
        format!(
            "https://console.cloud.google.com/bigquery?project={}&j=bq:{}:{}&page=queryresults",
            reference.project_id, self.location, reference.job_id
        )
    }

    /// Calls until there is an answer. `None`: the status is `absent`, which is an answer, too.
    async fn call<T, F>(&self, doing: &str, what: &str, absent: u16, call: impl Fn() -> F) -> Result<Option<Box<T>>>
    where
        F: Future<Output = google_cloud_bigquery_v2::Result<T>>,
    {
        let attempt = || async {
            // Requests and their answers are values of many kilobytes.
            match Box::pin(call()).await {
                Ok(value) => Ok(Some(Box::new(value))),
                Err(error) if error.http_status_code() == Some(absent) => Ok(None),
                Err(error) => Err(failure(doing, what, error)),
            }
        };
        retry(&self.access.waits, self.access.progress.as_ref(), attempt).await
    }

    /// Begins a job under an id. `None`: the id is taken, perhaps by a request of ours whose answer was lost.
    pub(super) async fn insert(
        &self,
        reference: &JobReference,
        configuration: &JobConfiguration,
    ) -> Result<Option<Box<Job>>> {
        self.call("begin a job", &reference.job_id, 409, || {
            let job = Job::new().set_job_reference(reference.clone()).set_configuration(configuration.clone());
            let insert = self.jobs.insert_job().set_project_id(&reference.project_id).set_job(job);
            insert.with_attempt_timeout(CALL_TIMEOUT).send()
        })
        .await
    }

    /// Looks a job up. `None`: there is none of this id, or not yet.
    pub(super) async fn job(&self, reference: &JobReference) -> Result<Option<Box<Job>>> {
        self.call("look up a job", &reference.job_id, 404, || {
            let get = self.jobs.get_job().set_project_id(&reference.project_id).set_job_id(&reference.job_id);
            let location = reference.location.clone().unwrap_or_default();
            get.set_location(location).with_attempt_timeout(CALL_TIMEOUT).send()
        })
        .await
    }

    /// A page of what a query found.
    pub(super) async fn answer(&self, reference: &JobReference, page: &str) -> Result<Box<GetQueryResultsResponse>> {
        let found = self.call("read the answer of a query", &reference.job_id, 404, || {
            let get = self.jobs.get_query_results().set_project_id(&reference.project_id);
            let get = get.set_job_id(&reference.job_id).set_location(&self.location).set_page_token(page);
            let format = DataFormatOptions::new().set_use_int64_timestamp(true);
            get.set_format_options(format).with_attempt_timeout(CALL_TIMEOUT).send()
        });
        found.await?.ok_or_else(|| {
            Error::new(Kind::Transient, "read the answer of a query")
                .with("job", &reference.job_id)
                .because("BigQuery does not keep it any more")
                .hint("run the same command again")
        })
    }

    /// A table, if it is there.
    pub(super) async fn table(&self, name: &TableReference) -> Result<Option<Box<Table>>> {
        self.call("look up a table", &shown(name), 404, || {
            let get = self.tables.get_table().set_project_id(&name.project_id).set_dataset_id(&name.dataset_id);
            get.set_table_id(&name.table_id).with_attempt_timeout(CALL_TIMEOUT).send()
        })
        .await
    }

    /// The names of all tables of a dataset.
    pub(super) async fn tables(&self, place: &Place) -> Result<Vec<String>> {
        let (mut found, mut page, shown) = (Vec::new(), String::new(), place.to_string());
        loop {
            let listed = self.call("list the tables of a dataset", &shown, 404, || {
                let list = self.tables.list_tables().set_project_id(&place.project).set_dataset_id(&place.dataset);
                list.set_page_token(&page).with_attempt_timeout(CALL_TIMEOUT).send()
            });
            let Some(listed) = listed.await? else { return Ok(found) };
            let names = listed.tables.into_iter().filter_map(|table| Some(table.table_reference?.table_id));
            found.extend(names);
            page = listed.next_page_token;
            if page.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Makes a table. `None`: there is one of this name.
    pub(super) async fn create(&self, name: &TableReference, table: Box<Table>) -> Result<Option<Box<Table>>> {
        self.call("make a table", &shown(name), 409, || {
            let insert = self.tables.insert_table().set_project_id(&name.project_id).set_dataset_id(&name.dataset_id);
            let table = Table::clone(&table).set_table_reference(name.clone());
            insert.set_table(table).with_attempt_timeout(CALL_TIMEOUT).send()
        })
        .await
    }

    /// Changes of a table what `changes` names. `None`: there is no table of this name.
    pub(super) async fn patch(&self, name: &TableReference, changes: Box<Table>) -> Result<Option<Box<Table>>> {
        self.call("change a table", &shown(name), 404, || {
            let patch = self.tables.patch_table().set_project_id(&name.project_id).set_dataset_id(&name.dataset_id);
            let patch = patch.set_table_id(&name.table_id).set_table(Table::clone(&changes));
            patch.with_attempt_timeout(CALL_TIMEOUT).send()
        })
        .await
    }

    /// Drops a table; one that is not there is dropped.
    pub(super) async fn drop(&self, name: &TableReference) -> Result<()> {
        let shown = shown(name);
        let dropped = self.call("drop a table", &shown, 404, || {
            let delete = self.tables.delete_table().set_project_id(&name.project_id).set_dataset_id(&name.dataset_id);
            delete.set_table_id(&name.table_id).with_attempt_timeout(CALL_TIMEOUT).send()
        });
        dropped.await.map(|_| ())
    }

    /// Says something to whoever watches.
    pub(super) fn progress(&self) -> &dyn Progress {
        self.access.progress.as_ref()
    }
}

/// A table's name for a person.
pub(super) fn shown(name: &TableReference) -> String {
    format!("{}.{}.{}", name.project_id, name.dataset_id, name.table_id)
}

/// Whether something that failed for this reason may work a moment later.
pub(super) fn is_passing(reason: &str) -> bool {
    PASSING.contains(&reason)
}

/// What an error of this reason is, by BigQuery's list of them.
pub(super) fn kind_of(reason: &str) -> Kind {
    match reason {
        "stopped" => Kind::Transient,
        reason if is_passing(reason) => Kind::Transient,
        "notFound" | "invalid" | "duplicate" | "resourceInUse" => Kind::Usage,
        "invalidQuery" => Kind::Bug,
        _ => Kind::Refused,
    }
}

/// What a request that failed means.
fn failure(doing: &str, what: &str, error: google_cloud_bigquery_v2::Error) -> Failure {
    let status = error.http_status_code();
    let reason = reason(&error);
    let wanted = error.http_headers().and_then(|headers| headers.get("retry-after"));
    let wanted = wanted.and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
    let is_refused = reason.as_deref().is_some_and(|reason| kind_of(reason) == Kind::Refused);
    let passing = reason.as_deref().is_some_and(is_passing)
        || (matches!(status, Some(408 | 429 | 500 | 502 | 503 | 504)) && !is_refused);
    // It may have been carried out all the same: whoever calls this gives ids and names of its own.
    let unanswered =
        status.is_none() && (error.is_io() || error.is_timeout() || error.is_connect() || error.is_transport());
    let no_token_yet = std::error::Error::source(&error)
        .and_then(|cause| cause.downcast_ref::<CredentialsError>())
        .is_some_and(CredentialsError::is_transient);
    let (kind, again) = match status {
        _ if passing || unanswered || no_token_yet => (Kind::Transient, wanted.map_or(Again::Later, Again::After)),
        _ if error.is_authentication() => (Kind::Refused, Again::Never),
        Some(401 | 403) => (Kind::Refused, Again::Never),
        Some(_) => (reason.as_deref().map_or(Kind::Usage, kind_of), Again::Never),
        None => (Kind::Bug, Again::Never),
    };
    let mut ours = Error::new(kind, doing).with("name", what);
    if let Some(reason) = reason {
        ours = ours.with("reason", reason);
    }
    if kind == Kind::Refused {
        ours = ours.hint("look at the credentials, their roles and the quotas; then run the same command again");
    }
    Failure { error: ours.because(error), again }
}

/// The reason that BigQuery gives in an error, such as `quotaExceeded`.
fn reason(error: &google_cloud_bigquery_v2::Error) -> Option<String> {
    use google_cloud_gax::error::rpc::StatusDetails;
    let details = error.status().map(|status| status.details.as_slice()).unwrap_or_default();
    let own = details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => Some(info.reason.clone()),
        _ => None,
    });
    own.filter(|reason| !reason.is_empty())
}
