//! Where BigQuery is and who asks it: the place of a target, and the settings of a connection.

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::retry::Waits;
use google_cloud_auth::credentials::Credentials;
use google_cloud_bigquery_v2::model::TableReference;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How a URL of a place in BigQuery begins.
pub const SCHEME: &str = "bigquery://";

/// A dataset of BigQuery, in which tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The project that it belongs to.
    pub project: String,
    /// Its own name.
    pub dataset: String,
}

impl Place {
    /// Reads `bigquery://project.dataset`.
    ///
    /// # Errors
    /// Usage, for whatever can't be names of a project and a dataset: nothing of it is quoted and tried.
    pub fn parse(text: &str) -> Result<Place> {
        let names = text.strip_prefix(SCHEME).and_then(|names| names.rsplit_once('.'));
        let is_project = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(c);
        // Only a domain before it has dots.
        let is_one_name = |project: &str| !project.rsplit(':').next().is_some_and(|own| own.contains('.'));
        let is_dataset = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match names {
            Some((project, dataset))
                if project.starts_with(|c: char| c.is_ascii_lowercase())
                    && project.chars().all(is_project)
                    && is_one_name(project)
                    && !dataset.is_empty()
                    && dataset.chars().all(is_dataset) =>
            {
                Ok(Place { project: project.into(), dataset: dataset.into() })
            }
            _ => Err(Error::usage("read the place of a warehouse")
                .with("warehouse", text.escape_debug())
                .because("it does not name a project and a dataset of BigQuery")
                .hint(
                    "write bigquery://project.dataset, with a project of small letters, digits and dashes, and a \
                       dataset of letters, digits and underscores",
                )),
        }
    }

    /// A table of the dataset.
    pub(super) fn table(&self, name: &str) -> TableReference {
        TableReference::new().set_project_id(&self.project).set_dataset_id(&self.dataset).set_table_id(name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}.{}", self.project, self.dataset)
    }
}

/// A table of BigQuery, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The dataset that it is in.
    pub place: Place,
    /// Its own name.
    pub table: String,
}

impl TableName {
    /// Reads `bigquery://project.dataset.table`. Of `bigquery://project.dataset` it is the table that `usual` names.
    ///
    /// # Errors
    /// Usage, for whatever can't be names of a project, a dataset and a table; and those of `usual`.
    pub fn parse(text: &str, usual: impl FnOnce() -> Result<String>) -> Result<TableName> {
        // A project may have a domain before its name, with dots in it and a colon behind.
        let own = text.strip_prefix(SCHEME).map_or(0, |names| SCHEME.len() + names.rfind(':').map_or(0, |at| at + 1));
        let Some((at, _)) = text[own..].match_indices('.').nth(1) else {
            return Ok(TableName { place: Place::parse(text)?, table: usual()? });
        };
        let (place, table) = (Place::parse(&text[..own + at])?, &text[own + at + 1..]);
        if table.is_empty() || !table.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return Err(Error::usage("read the name of a table")
                .with("table", text.escape_debug())
                .because("what follows the dataset can't be the name of a table")
                .hint(
                    "write bigquery://project.dataset.table, with a table of letters, digits, dashes and underscores",
                ));
        }
        Ok(TableName { place, table: table.into() })
    }

    /// As BigQuery's API names it.
    pub(super) fn reference(&self) -> TableReference {
        self.place.table(&self.table)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.table)
    }
}

/// Where BigQuery is, who asks, and how long it is waited for.
#[derive(Clone)]
pub struct Access {
    /// Another address than Google's: an emulator's.
    pub endpoint: Option<String>,
    /// Whether it is an emulator, which says less than BigQuery: what a merge did is then told from counts of rows.
    pub is_emulator: bool,
    /// Who asks.
    pub credentials: Credentials,
    /// The project that jobs run in and are billed to; `None`: the target's own.
    pub job_project: Option<String>,
    /// Labels that every job carries, for whoever reads the bill.
    pub labels: BTreeMap<String, String>,
    /// The most that one query may bill, in bytes.
    pub max_billed_bytes: Option<u64>,
    /// What a TiB costs that is billed, in whatever currency.
    pub price_per_tib: f64,
    /// How calls are repeated and jobs asked after.
    pub waits: Waits,
    /// The time now, in microseconds since 1970-01-01 UTC.
    pub now_us: fn() -> i64,
    /// Who is told of what is waited for.
    pub progress: Arc<dyn Progress>,
}

impl fmt::Debug for Access {
    // Nothing of the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("endpoint", &self.endpoint)
            .field("job_project", &self.job_project)
            .finish_non_exhaustive()
    }
}
