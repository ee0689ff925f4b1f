//! A dataset of its own in the emulator for each test.

use super::servers::{PROJECT, Servers, servers};
pub use super::witness::Witness;
use crate::warehouse::{NOW_US, Stand, bystanders, engine, lines};
use async_trait::async_trait;
use datafusion::physical_plan::SendableRecordBatchStream;
use google_cloud_bigquery_v2::client::DatasetService;
use google_cloud_bigquery_v2::model::{Dataset as BigQueryDataset, DatasetReference};
use object_store::ObjectStore;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tradefold::dataset::{ColumnType, Dataset};
use tradefold::engine::Engine;
use tradefold::error::Result;
use tradefold::google::Identity;
use tradefold::landing::LandingOptions;
use tradefold::progress::Silent;
use tradefold::retry::Waits;
use tradefold::sql::Dialect;
use tradefold::stage::Manifest;
use tradefold::storage::Folder;
use tradefold::warehouse::bigquery::{Access, BigQueryWarehouse, InPlace, Layout, Options, Place, TableName, ddl};
use tradefold::warehouse::usage::{Estimate, Outline, Usage};
use tradefold::warehouse::{Audit, Comparison, Finding, History, Journal, Merged, Verification, Warehouse};
use tradefold::window::Day;

/// Waits that tests can wait for.
pub const BRIEF: Waits = Waits {
    first: Duration::from_millis(1),
    most: Duration::from_millis(20),
    tries: 4,
    look: Duration::from_millis(1),
};

/// Keeps a copy of the target from before each change.
#[derive(Debug)]
pub struct Kept {
    inner: BigQueryWarehouse,
    witness: Arc<Witness>,
    target: String,
    copies: Mutex<Vec<String>>,
}

pub struct BigQueryStand {
    dataset: Arc<Dataset>,
    engine: Engine,
    pub place: Place,
    home: Folder,
    warehouse: Kept,
    pub witness: Arc<Witness>,
    bystanders: Vec<String>,
}

/// A place that no other test has.
pub async fn place(servers: &Servers) -> Place {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("data{}", NUMBER.fetch_add(1, Ordering::SeqCst));
    std::fs::create_dir(servers.buckets.join(&name)).unwrap();
    let datasets = DatasetService::builder().with_endpoint(&servers.bigquery);
    let datasets = datasets.with_credentials(Identity::anonymous().credentials()).build().await.unwrap();
    let reference = DatasetReference::new().set_project_id(PROJECT).set_dataset_id(&name);
    let made = BigQueryDataset::new().set_dataset_reference(reference);
    Box::pin(datasets.insert_dataset().set_project_id(PROJECT).set_dataset(made).send()).await.unwrap();
    Place { project: PROJECT.into(), dataset: name }
}

/// How the code under test gets at a server of BigQuery.
pub fn access(endpoint: &str, is_emulator: bool) -> Access {
    Access {
        endpoint: Some(endpoint.into()),
        is_emulator,
        credentials: Identity::anonymous().credentials(),
        job_project: None,
        labels: BTreeMap::from([("team".to_string(), "tests".to_string())]),
        max_billed_bytes: None,
        price_per_tib: 6.25,
        waits: BRIEF,
        now_us: || NOW_US,
        progress: Arc::new(Silent),
    }
}

/// The folder of a stage in the bucket that is named as the dataset is.
pub fn stage(servers: &Servers, place: &Place) -> Folder {
    let settings = [("google_base_url", servers.storage.as_str()), ("google_skip_signature", "true")];
    let settings = settings.map(|(name, value)| (name.to_string(), value.to_string()));
    Folder::open(&format!("gs://{}/stage", place.dataset), &settings).unwrap()
}

impl BigQueryStand {
    async fn has_no_table(&self) -> bool {
        let tables = format!("SELECT table_name FROM `{PROJECT}`.`{}`.INFORMATION_SCHEMA.TABLES", self.place.dataset);
        let tables = self.witness.run(&tables).await;
        !tables.iter().any(|row| row["table_name"] == json!(self.dataset.name))
    }

    /// Changes the target behind everybody's back, as a statement does that begins and ends so around its name.
    pub async fn change(&self, begins: &str, ends: &str) {
        self.warehouse.keep_copy().await;
        self.witness.run(&format!("{begins} {} {ends}", self.warehouse.target)).await;
    }

    /// Straight before the emulator, as one.
    pub async fn new(dataset: Arc<Dataset>) -> BigQueryStand {
        let place = place(servers()).await;
        BigQueryStand::at(dataset, place, access(&servers().bigquery, true)).await
    }

    /// In a dataset that may have been used before, as by another process.
    pub async fn at(dataset: Arc<Dataset>, place: Place, access: Access) -> BigQueryStand {
        let home = stage(servers(), &place);
        let options = Options { stage: home.url().to_string(), ..Options::default() };
        let inner = BigQueryWarehouse::connect(access, Arc::clone(&dataset), place.clone(), options).await.unwrap();
        let witness = Arc::new(Witness::new(servers()).await);
        let path = [place.project.as_str(), &place.dataset, &dataset.name];
        let target = Dialect::GoogleSql.quote_path(path).unwrap();
        let warehouse = Kept { inner, witness: Arc::clone(&witness), target, copies: Mutex::default() };
        BigQueryStand { dataset, engine: engine(), place, home, warehouse, witness, bystanders: Vec::new() }
    }

    /// The same over a bucket that may fail.
    pub fn over(mut self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> BigQueryStand {
        let (store, url) = (Arc::clone(self.home.store()), self.home.url().clone());
        self.home = Folder::of_store(wrap(store), url, self.home.path(""));
        self
    }

    /// A table that has rows which no test names, on the days that tests write.
    pub async fn crowded(dataset: Arc<Dataset>) -> BigQueryStand {
        let mut stand = BigQueryStand::new(dataset).await;
        let rows = bystanders();
        stand.plant(&rows).await;
        stand.bystanders = stand.table().await;
        assert_eq!(stand.bystanders.len(), rows.len());
        stand
    }
}

/// A value as a literal of GoogleSQL.
fn literal(kind: ColumnType, value: &Value) -> String {
    match (kind, value) {
        (_, Value::Null) => "NULL".into(),
        (ColumnType::Timestamp, seconds) => format!("TIMESTAMP_SECONDS({seconds})"),
        (ColumnType::String, Value::String(text)) => Dialect::GoogleSql.text(text),
        (_, value) => value.to_string(),
    }
}

#[async_trait]
impl Stand for BigQueryStand {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn warehouse(&self) -> &dyn Warehouse {
        &self.warehouse
    }

    fn home(&self) -> Folder {
        self.home.clone()
    }

    fn work(&self) -> Folder {
        Folder::open(&servers().buckets.join(format!("{}-work", self.place.dataset)).to_string_lossy(), &[]).unwrap()
    }

    fn bystanders(&self) -> u64 {
        self.bystanders.len() as u64
    }

    async fn table(&self) -> Vec<String> {
        let columns = self.dataset.compared().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let rows = self.witness.run(&format!("SELECT {columns} FROM {}", self.warehouse.target)).await;
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort();
        let (bystanders, rows) = rows.into_iter().partition::<Vec<_>, _>(|row| self.bystanders.contains(row));
        assert_eq!(bystanders, self.bystanders, "nobody has named these rows");
        rows
    }

    async fn plant(&self, rows: &[Value]) {
        if self.has_no_table().await {
            // The statement that `plan --ddl` prints.
            self.witness.run(&ddl(&self.dataset, &self.place, Layout::default()).unwrap()).await;
        }
        self.warehouse.keep_copy().await;
        let text = lines(&self.dataset, rows);
        let values = text.lines().map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let values = self.dataset.columns.iter().map(|column| literal(column.kind, &row[&column.name]));
            format!("({})", values.collect::<Vec<_>>().join(", "))
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let columns = self.dataset.column_names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        self.witness.run(&format!("INSERT INTO {} ({columns}) VALUES {values}", self.warehouse.target)).await;
    }

    /// As a copy job from the past does it: the table stays the same one.
    async fn roll_back(&self) {
        let copy = self.warehouse.copies.lock().unwrap().pop().unwrap();
        let target = &self.warehouse.target;
        self.witness.run(&format!("DELETE FROM {target} WHERE TRUE")).await;
        self.witness.run(&format!("INSERT INTO {target} SELECT * FROM {copy}")).await;
    }

    async fn changes(&self) -> u64 {
        self.warehouse.copies.lock().unwrap().len() as u64
    }
}

impl Kept {
    async fn keep_copy(&self) {
        let number = self.copies.lock().unwrap().len();
        let copy = format!("{}_{number}`", self.target.trim_end_matches('`'));
        self.witness.run(&format!("CREATE OR REPLACE TABLE {copy} AS SELECT * FROM {}", self.target)).await;
        self.copies.lock().unwrap().push(copy);
    }
}

#[async_trait]
impl Warehouse for Kept {
    fn target(&self) -> String {
        self.inner.target()
    }

    fn merges_here(&self) -> bool {
        self.inner.merges_here()
    }

    async fn check_target(&self) -> Result<u64> {
        self.inner.check_target().await
    }

    async fn check_batches(&self, batches: &[Manifest]) -> Result<()> {
        self.inner.check_batches(batches).await
    }

    async fn in_place(
        &self,
        source: &TableName,
        options: &LandingOptions,
    ) -> Result<std::result::Result<InPlace<'_>, Vec<String>>> {
        self.inner.in_place(source, options).await
    }

    async fn load(&self, batch: &Manifest) -> Result<u64> {
        self.inner.load(batch).await
    }

    async fn compare(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<Comparison> {
        self.inner.compare(batch, touched).await
    }

    async fn key_search(&self, batch: &Manifest, touched: &BTreeSet<Day>) -> Result<BTreeSet<Day>> {
        self.inner.key_search(batch, touched).await
    }

    async fn rows_of(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        finding: Finding,
    ) -> Result<SendableRecordBatchStream> {
        self.inner.rows_of(batch, touched, finding).await
    }

    async fn audit(&self) -> Result<Audit> {
        self.inner.audit().await
    }

    async fn values(&self, column: &str, equals: Option<(&str, &str)>) -> Result<BTreeMap<String, u64>> {
        self.inner.values(column, equals).await
    }

    async fn rows_by_day(&self, from: Day) -> Result<BTreeMap<Day, u64>> {
        self.inner.rows_by_day(from).await
    }

    async fn temporary(&self) -> Result<Vec<String>> {
        self.inner.temporary().await
    }

    async fn temporary_of(&self, batches: &[Manifest]) -> Result<Vec<String>> {
        self.inner.temporary_of(batches).await
    }

    async fn drop_temporary(&self, name: &str) -> Result<()> {
        self.inner.drop_temporary(name).await
    }

    async fn expiring(&self, promised: BTreeMap<String, Day>) -> Result<BTreeMap<String, Option<Day>>> {
        self.inner.expiring(promised).await
    }

    async fn estimate(&self, outline: &Outline<'_>) -> Result<Option<Estimate>> {
        self.inner.estimate(outline).await
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }

    fn history(&self) -> Option<&dyn History> {
        self.inner.history()
    }

    async fn settle(&self, job: &str) -> Result<()> {
        self.inner.settle(job).await
    }

    async fn merge(
        &self,
        batch: &Manifest,
        touched: &BTreeSet<Day>,
        found: &Comparison,
        journal: &mut dyn Journal,
    ) -> Result<Merged> {
        self.keep_copy().await;
        let merged = self.inner.merge(batch, touched, found, journal).await;
        if !merged.as_ref().is_ok_and(|merged| merged.version.is_some()) {
            self.copies.lock().unwrap().pop();
        }
        merged
    }

    async fn verify(&self, batch: &Manifest, touched: &BTreeSet<Day>, merged: &Merged) -> Result<Verification> {
        self.inner.verify(batch, touched, merged).await
    }

    async fn remembered(&self, batch: &Manifest) -> Result<Option<(Comparison, Merged)>> {
        self.inner.remembered(batch).await
    }

    async fn unload(&self, batch: &Manifest) -> Result<()> {
        self.inner.unload(batch).await
    }
}
