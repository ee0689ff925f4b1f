//! The extract job of the server before the emulator: the emulator's own takes no star and no moment, so its statement
//! `EXPORT DATA` does the work, and writes what BigQuery's documentation says of Parquet files.

use super::front::Shared;
use super::script::{Fault, error};
use super::servers::servers;
use hyper::Method;
use serde_json::{Value, json};

impl Shared {
    /// Writes the objects of an extract job; with [`Fault::Miscount`] they have so many rows more, or less.
    pub(super) async fn extract(&self, uri: &str, body: &Value, fault: Option<&Fault>) -> (u16, Value) {
        let extract = &body["configuration"]["extract"];
        assert_eq!((&extract["destinationFormat"], &extract["compression"]), (&json!("PARQUET"), &json!("ZSTD")));
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let to = text(&extract["destinationUris"][0]);
        let folder = to.strip_prefix("gs://").and_then(|path| path.strip_suffix("/*.parquet")).expect(&to);
        let source = &extract["sourceTable"];
        let [project, dataset, table] = ["projectId", "datasetId", "tableId"].map(|name| text(&source[name]));
        let (table, at_ms) = table.split_once('@').expect("the moment is named");
        let look = format!("/bigquery/v2/projects/{project}/datasets/{dataset}/tables/{table}");
        let (status, found) = self.ask(&Method::GET, &look, &Value::Null).await;
        if status != 200 {
            return (404, error(404, "notFound"));
        }
        // A time is written without its zone.
        let column = |field: &Value| match (text(&field["name"]), field["mode"] == json!("REPEATED")) {
            (name, false) if field["type"] == json!("TIMESTAMP") => format!("DATETIME(`{name}`) AS `{name}`"),
            (name, _) => format!("`{name}`"),
        };
        let columns: Vec<String> = found["schema"]["fields"].as_array().unwrap().iter().map(column).collect();
        let name = format!("`{project}`.`{dataset}`.`{table}`");
        let limit = match fault {
            Some(Fault::Miscount(more)) => format!(" LIMIT {}", self.count(&name).await + more),
            _ => String::new(),
        };
        let sql = format!(
            "EXPORT DATA OPTIONS (uri = '{to}', format = 'PARQUET', compression = 'ZSTD', overwrite = true) AS SELECT {} \
             FROM {name} FOR SYSTEM_TIME AS OF TIMESTAMP_MILLIS({at_ms}){limit}",
            columns.join(", ")
        );
        let query = json!({ "jobReference": body["jobReference"],
            "configuration": { "query": { "query": sql, "useLegacySql": false } } });
        let (status, mut job) = self.ask(&Method::POST, uri, &query).await;
        assert!(status == 200 && job["status"]["errorResult"].is_null(), "{sql}: {job:#}");
        let written = std::fs::read_dir(servers().buckets.join(folder)).unwrap().count();
        job["configuration"] = body["configuration"].clone();
        job["statistics"]["extract"] = json!({ "destinationUriFileCounts": [written.to_string()] });
        (status, job)
    }
}
