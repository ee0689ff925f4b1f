//! How commands get at BigQuery, and at the stage through which rows pass to it and from it.

use super::common::World;
use crate::error::{Error, Result};
use crate::google::Identity;
use crate::progress::Progress;
use crate::retry::Waits;
use crate::storage::Folder;
use crate::warehouse::bigquery::Access;
use clap::Args;
use std::sync::Arc;

/// Who asks BigQuery, and which.
#[derive(Debug, Args)]
#[command(next_help_heading = "BigQuery")]
pub(super) struct AccessArgs {
    /// The project that jobs run in and are billed to. Default: that of the table.
    #[arg(long, value_name = "PROJECT")]
    job_project: Option<String>,
    /// A label that every job carries, as key=value; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// The address of an emulator, which is asked instead of BigQuery, without credentials.
    #[arg(long, value_name = "URL")]
    emulator: Option<String>,
}

/// What it takes to read tables of BigQuery as files.
#[derive(Debug, Args)]
#[command(next_help_heading = "BigQuery")]
pub(super) struct ExportArgs {
    /// Where a table of BigQuery is exported to before it is read, such as gs://bucket/prefix; what is written there is
    /// removed again.
    #[arg(long, value_name = "URL")]
    stage: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
}

impl ExportArgs {
    /// How BigQuery is asked for the table `place`, and the folder that it is exported to.
    pub(super) fn open(&self, place: &str, world: &World) -> Result<(Access, Folder)> {
        self.access.export(self.stage.as_deref(), place, world)
    }
}

impl AccessArgs {
    /// How BigQuery is asked for the table `place`, and the folder that it is exported to.
    pub(super) fn export(&self, stage: Option<&str>, place: &str, world: &World) -> Result<(Access, Folder)> {
        let stage = open_stage(stage, place, "BigQuery exports to Cloud Storage", world)?;
        Ok((self.access(world)?, stage))
    }

    /// The settings of a connection; no limit and no price for what is billed.
    pub(super) fn access(&self, world: &World) -> Result<Access> {
        if self.label.len() > LABELS_MAX {
            return Err(Error::usage("label jobs")
                .because(format!("{} labels are given, and a job takes {LABELS_MAX}", self.label.len()))
                .hint("give fewer --label"));
        }
        let identity = match &self.emulator {
            Some(_) => Identity::anonymous(),
            None => Identity::from_environment()?,
        };
        Ok(Access {
            endpoint: self.emulator.clone(),
            is_emulator: self.emulator.is_some(),
            credentials: identity.credentials(),
            job_project: self.job_project.clone(),
            labels: self.label.iter().cloned().collect(),
            max_billed_bytes: None,
            price_per_tib: 0.0,
            waits: Waits::USUAL,
            now_us: world.now_us,
            progress: Arc::clone(&world.progress) as Arc<dyn Progress>,
        })
    }
}

/// Opens the stage for what is at `place`; `needs`: why there has to be one in Cloud Storage.
pub(super) fn open_stage(stage: Option<&str>, place: &str, needs: &str, world: &World) -> Result<Folder> {
    let Some(stage) = stage.filter(|stage| stage.starts_with("gs://")) else {
        return Err(Error::usage("open the warehouse")
            .with("warehouse", place)
            .because(format!("{needs}, and no --stage there is given"))
            .hint("give a bucket in the dataset's location, such as --stage gs://bucket/tradefold"));
    };
    let folder = Folder::open(stage, &world.environment)?;
    // Jobs take the names of objects as they are, and a star for any of them.
    if let Some(unfit) = folder.url().path().chars().find(|c| "%*".contains(*c)) {
        return Err(Error::usage("open the stage")
            .with("stage", stage)
            .because(format!("a job can't name an object with `{unfit}` in its URL"))
            .hint("give a prefix of letters, digits, `-`, `_`, `.` and `/`"));
    }
    Ok(folder)
}

/// How many labels a user may give: a job takes 64, and some are its own.
const LABELS_MAX: usize = 40;

/// Reads `key=value` as BigQuery allows it for labels.
/// <https://docs.cloud.google.com/bigquery/docs/labels-intro>
fn parse_label(text: &str) -> std::result::Result<(String, String), String> {
    let fits = |text: &str| {
        text.len() <= 63 && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    };
    match text.split_once('=') {
        Some((key, _)) if key.starts_with("tradefold") => {
            Err("keys that begin with tradefold are its own: give another one".to_string())
        }
        Some((key, value)) if key.starts_with(|c: char| c.is_ascii_lowercase()) && fits(key) && fits(value) => {
            Ok((key.to_string(), value.to_string()))
        }
        _ => Err("write key=value of small letters, digits, `-` and `_`, at most 63 each; a key begins with a letter"
            .to_string()),
    }
}
