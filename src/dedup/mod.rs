//! One row of each key, and what became of every other.
//!
//! The SQL is the truth: [`crate::sql::dedup`] says which rows are kept. DataFusion plans it, and puts our kernel in
//! the place of its own plan; what that kernel decides about every row is counted and read from here.

mod decision;
mod flagged;
mod other_key;
mod rows;
pub mod rule;

pub use crate::kernel::Class;
pub use decision::{Census, Decision, Group, KeyCount, Tally};
pub use flagged::Flagged;
pub use other_key::{OtherKey, other_key};

use crate::dataset::Dataset;
use crate::engine::{DataFile, Engine, FilesTable};
use crate::error::{Doing, Error, Result};
use crate::kernel::{Ask, KeepFirstExec, Kernel, Resources};
use crate::landing::SOURCE;
use crate::progress::{Progress, Silent, off_thread};
use crate::sql::{self, Dialect};
use datafusion::physical_plan::SendableRecordBatchStream;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The table that holds the rows.
pub const TABLE: &str = "landed";

/// Landed rows, ready to be deduplicated. Keys may be set aside before.
#[derive(Debug)]
pub struct Dedup<'a> {
    engine: &'a Engine,
    dataset: &'a Dataset,
    kernel: Arc<Kernel>,
    /// What the kernel's files are called in reports.
    labels: Arc<[String]>,
    aside: HashSet<u128>,
    list: bool,
    analyses: bool,
}

impl<'a> Dedup<'a> {
    /// Takes landed files, which lie on the local disk, as the rows to deduplicate.
    ///
    /// # Errors
    /// When a file can't be read or lies elsewhere, or the key has a type that SQL can't group by.
    pub async fn new(engine: &'a Engine, dataset: &'a Dataset, files: &[DataFile]) -> Result<Dedup<'a>> {
        engine.register_files(TABLE, FilesTable::new(dataset.schema(), files)?)?;
        let sql = sql::dedup(dataset, Dialect::DataFusion, &Dialect::DataFusion.quote(TABLE)?)?;
        let resources =
            Resources { threads: engine.threads(), pool: engine.memory_pool(), folder: std::env::temp_dir() };
        let (kernel, labels) = if files.is_empty() {
            // DataFusion plans no scan at all of no files.
            (Kernel::empty(dataset.schema(), resources)?, Vec::new())
        } else {
            let plan = engine.frame(&sql).await?.create_physical_plan().await.doing("plan a query")?;
            let operator = plan.downcast_ref::<KeepFirstExec>().ok_or_else(|| {
                Error::bug("keep one row of each key").because("the plan is not one of our own operator")
            })?;
            let mut names = BTreeMap::new();
            for file in files {
                names.insert(file.path()?, file.label.clone());
            }
            let label = |path: &PathBuf| names.get(path).cloned().unwrap_or_else(|| path.display().to_string());
            (operator.open(resources)?, operator.paths().iter().map(label).collect())
        };
        Ok(Dedup {
            engine,
            dataset,
            kernel: Arc::new(kernel),
            labels: labels.into(),
            aside: HashSet::new(),
            list: true,
            analyses: false,
        })
    }

    /// The same, for who wants to know how many keys need a look, and not which.
    #[must_use]
    pub fn counting_only(mut self) -> Dedup<'a> {
        self.list = false;
        self
    }

    /// The same, for who wants to know how far copies lie apart and what other keys would do.
    #[must_use]
    pub fn analysing(mut self) -> Dedup<'a> {
        self.analyses = true;
        self
    }

    /// Who reads the rows.
    pub fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// What says which rows are one.
    pub fn dataset(&self) -> &'a Dataset {
        self.dataset
    }

    /// How many rows have no value for a part of the key. They would all count as one.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn rows_without_key(&self) -> Result<u64> {
        let mut missing = Vec::new();
        let is_known = |name| self.kernel.input().null_count(name) == Some(0);
        // Most footers say that there is no NULL, and then nothing has to be read.
        let parts = self.dataset.key.iter().filter(|part| !part.is_never_null() && !part.columns().any(is_known));
        for part in parts {
            let null = |name| Ok(format!("{} IS NULL", Dialect::DataFusion.quote(name)?));
            missing.push(format!("({})", part.columns().map(null).collect::<Result<Vec<_>>>()?.join(" AND ")));
        }
        if missing.is_empty() {
            return Ok(0);
        }
        let table = Dialect::DataFusion.quote(TABLE)?;
        self.engine.count(&format!("SELECT COUNT(*) FROM {table} WHERE {}", missing.join(" OR "))).await
    }

    /// Says of every row what becomes of it.
    ///
    /// # Errors
    /// When a file can't be read or has changed, or the disk is full.
    pub async fn decide(&self, progress: &dyn Progress) -> Result<Decision<'a>> {
        let ask = self.ask()?;
        let kernel = Arc::clone(&self.kernel);
        let verdict = off_thread(progress, move |progress| kernel.decide(&ask, progress)).await?;
        if self.engine.exact_keys() && self.aside.is_empty() {
            let kernel = Arc::clone(&self.kernel);
            progress.begin("compare keys byte by byte", None);
            let keys = off_thread(progress, move |progress| kernel.count_keys(progress)).await?;
            if keys != verdict.keys {
                let why = format!("{} keys by their fingerprints, {keys} by their bytes", verdict.keys);
                return Err(Error::bug("compare keys byte by byte").because(why));
            }
        }
        Ok(Decision::new(self.dataset, Arc::clone(&self.kernel), Arc::clone(&self.labels), verdict))
    }

    /// All rows of these keys, with where each came from.
    ///
    /// # Errors
    /// When a file can't be read or has changed.
    pub async fn rows_of(&self, keys: &Flagged) -> Result<SendableRecordBatchStream> {
        let (kernel, prints) = (Arc::clone(&self.kernel), keys.prints.iter().copied().collect());
        let marks = off_thread(&Silent, move |_| kernel.find(&prints)).await?;
        let chosen = move |unit: &crate::kernel::Unit| marks.of(unit.places());
        Ok(rows::stream(&self.kernel, &self.labels, None, Box::new(chosen)))
    }

    /// Sets the rows of these keys aside: they take no part in what is decided from here on.
    pub fn set_aside(&mut self, keys: &Flagged) {
        self.aside.extend(&keys.prints);
    }

    fn ask(&self) -> Result<Ask> {
        let schema = self.kernel.schema();
        let place = |name: &str| schema.index_of(name).doing("find a column of the contract");
        let mut identity = Vec::new();
        for item in &self.dataset.identity {
            identity.push((place(&item.column)?, item.when_null.as_deref().map(place).transpose()?));
        }
        Ok(Ask {
            declared: Some(self.dataset.order.len()),
            identity,
            fixed: self.dataset.fixed.iter().map(|name| place(name)).collect::<Result<Vec<_>>>()?,
            day: self.dataset.partition.as_deref().map(place).transpose()?,
            // Only a landing writes this column: where rows have it themselves, it is data.
            source: schema.index_of(SOURCE).is_err().then(|| SOURCE.into()),
            aside: self.aside.clone(),
            list: self.list,
            analyses: self.analyses,
        })
    }
}
