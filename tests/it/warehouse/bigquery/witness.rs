//! The emulator, asked without the code under test.

use super::servers::{PROJECT, Servers};
use google_cloud_bigquery_v2::client::{JobService, TableService};
use google_cloud_bigquery_v2::model::{
    DataFormatOptions, Job, JobConfiguration, JobConfigurationLoad, JobConfigurationQuery, Table, TableReference,
};
use google_cloud_gax::options::RequestOptionsBuilder;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tradefold::google::Identity;
use tradefold::warehouse::bigquery::Place;

/// How long an answer of the emulator may take: other tests ask it at the same time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The emulator, asked without the code under test.
#[derive(Debug)]
pub struct Witness {
    jobs: JobService,
    pub tables: TableService,
}

impl Witness {
    pub async fn new(servers: &Servers) -> Witness {
        let nobody = Identity::anonymous().credentials();
        let jobs = JobService::builder().with_endpoint(&servers.bigquery).with_credentials(nobody.clone());
        let tables = TableService::builder().with_endpoint(&servers.bigquery).with_credentials(nobody);
        Witness { jobs: jobs.build().await.unwrap(), tables: tables.build().await.unwrap() }
    }

    /// What the emulator says of a table.
    pub async fn table(&self, place: &Place, name: &str) -> Table {
        let get = self.tables.get_table().set_project_id(&place.project).set_dataset_id(&place.dataset);
        Box::pin(get.set_table_id(name).with_attempt_timeout(PATIENCE).send()).await.unwrap()
    }

    /// Loads Parquet objects into a table.
    pub async fn load(&self, place: &Place, name: &str, uri: &str) {
        let into = TableReference::new().set_project_id(&place.project).set_dataset_id(&place.dataset);
        let load = JobConfigurationLoad::new().set_source_uris([uri]).set_source_format("PARQUET");
        let load = load.set_destination_table(into.set_table_id(name));
        let job = Job::new().set_configuration(JobConfiguration::new().set_load(load));
        let insert = self.jobs.insert_job().set_project_id(PROJECT).set_job(job).with_attempt_timeout(PATIENCE).send();
        let job = Box::new(Box::pin(insert).await.unwrap());
        let failed = job.status.and_then(|status| status.error_result);
        assert!(failed.is_none(), "{uri}\n{failed:?}");
    }

    /// Runs a statement. Gives its rows, each a JSON object without its NULLs.
    pub async fn run(&self, sql: &str) -> Vec<Value> {
        let query = JobConfigurationQuery::new().set_query(sql).set_use_legacy_sql(false);
        let job = Job::new().set_configuration(JobConfiguration::new().set_query(query));
        let insert = self.jobs.insert_job().set_project_id(PROJECT).set_job(job).with_attempt_timeout(PATIENCE).send();
        let job = Box::new(Box::pin(insert).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}")));
        let failed = job.status.and_then(|status| status.error_result);
        assert!(failed.is_none(), "{sql}\n{failed:?}");
        let id = job.job_reference.unwrap().job_id;
        let (mut rows, mut page) = (Vec::new(), String::new());
        loop {
            let get = self.jobs.get_query_results().set_project_id(PROJECT).set_job_id(&id).set_page_token(&page);
            let format = DataFormatOptions::new().set_use_int64_timestamp(true);
            let answer =
                Box::new(Box::pin(get.set_format_options(format).with_attempt_timeout(PATIENCE).send()).await.unwrap());
            let fields = answer.schema.map(|schema| schema.fields).unwrap_or_default();
            for row in answer.rows {
                let mut object = Map::new();
                for (field, cell) in fields.iter().zip(row["f"].as_array().unwrap()) {
                    let text = match &cell["v"] {
                        Value::Null => continue,
                        text => text.as_str().unwrap(),
                    };
                    let value = match field.r#type.as_str() {
                        "INTEGER" | "INT64" => json!(text.parse::<i64>().unwrap()),
                        "FLOAT" | "FLOAT64" => json!(text.parse::<f64>().unwrap()),
                        _ => json!(text),
                    };
                    object.insert(field.name.clone(), value);
                }
                rows.push(Value::Object(object));
            }
            page = answer.page_token;
            if page.is_empty() {
                return rows;
            }
        }
    }
}
