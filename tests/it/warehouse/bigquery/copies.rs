//! Copy jobs of the server before the emulator, and what every job that is begun has to have.

use super::front::{Front, Shared, place_of};
use super::servers::PROJECT;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tradefold::window::parse_us;

impl Front {
    /// The configurations of the copy jobs that were begun.
    pub fn copies(&self) -> Vec<Value> {
        self.shared.state().copies.clone()
    }
}

/// The operations of copy jobs by their numbers, by which the client calls them.
const OPERATIONS: [&str; 5] = ["OPERATION_TYPE_UNSPECIFIED", "COPY", "SNAPSHOT", "RESTORE", "CLONE"];

const FOREVER: &str = " SET OPTIONS (expiration_timestamp = NULL)";

fn quoted(place: &str) -> String {
    format!("`{PROJECT}`.`{}`", place.replace('.', "`.`"))
}

impl Shared {
    /// Every copy is a plain one: of a table that has a snapshot the emulator forgets the past.
    pub(super) async fn copy(&self, uri: &str, body: &Value) -> (u16, Value) {
        let mut body = body.clone();
        let copy = &mut body["configuration"]["copy"];
        if let Some(number) = copy["operationType"].as_u64() {
            copy["operationType"] = json!(OPERATIONS[number as usize]);
        }
        let copy = copy.clone();
        self.state().copies.push(copy.clone());
        let (from, into) = (place_of(&copy["sourceTable"]), place_of(&copy["destinationTable"]));
        {
            // BigQuery may hand on when a table expires.
            let mut state = self.state();
            let expires = match copy["destinationExpirationTime"].as_str() {
                Some(text) => Some(json!((parse_us(text).unwrap() / 1_000).to_string())),
                None => state.expires.get(&from).cloned(),
            };
            if let Some(expires) = expires {
                state.expires.insert(into.clone(), expires);
            }
        }
        let [source, target] = [self.look(&from).await, self.look(&into).await];
        if source.is_null() {
            return (404, super::script::error(404, "notFound"));
        }
        let mut job = if target.is_null() || copy["writeDisposition"] != json!("WRITE_TRUNCATE") {
            body["configuration"]["copy"]["operationType"] = json!("COPY");
            let (status, job) = self.ask(&Method::POST, uri, &body).await;
            if status != 200 {
                return (status, job);
            }
            job
        } else {
            self.overwritten(uri, &body, [&source, &target], [&from, &into]).await
        };
        job["configuration"] = body["configuration"].clone();
        self.has_changed(&into).await;
        (200, job)
    }

    /// Replaces rows and columns of a table. The emulator's own copy keeps the columns, and goes by their places.
    async fn overwritten(
        &self,
        uri: &str,
        body: &Value,
        [source, target]: [&Value; 2],
        [from, into]: [&String; 2],
    ) -> Value {
        for of in ["timePartitioning", "rangePartitioning", "clustering"] {
            assert_eq!(source[of], target[of], "BigQuery overwrites no table that is laid out otherwise");
        }
        let columns = |table: &Value| -> BTreeSet<(String, String)> {
            let text = |field: &Value, name: &str| field[name].as_str().unwrap().to_string();
            let fields = table["schema"]["fields"].as_array().unwrap().iter();
            fields.map(|field| (text(field, "name"), text(field, "type"))).collect()
        };
        let (wanted, known) = (columns(source), columns(target));
        let place = into;
        let [from, into] = [from, into].map(|place| quoted(place));
        for (name, kind) in wanted.difference(&known) {
            self.run(&format!("ALTER TABLE {into} ADD COLUMN `{name}` {kind}")).await;
        }
        for (name, _) in known.difference(&wanted) {
            self.run(&format!("ALTER TABLE {into} DROP COLUMN `{name}`")).await;
        }
        // Its catalog does not hear of that.
        let (dataset, table) = place.split_once('.').unwrap();
        let path = format!("/bigquery/v2/projects/{PROJECT}/datasets/{dataset}/tables/{table}");
        let (status, _) = self.ask(&Method::PATCH, &path, &json!({ "schema": source["schema"] })).await;
        assert_eq!(status, 200);
        self.run(&format!("DELETE FROM {into} WHERE TRUE")).await;
        let names: Vec<String> = wanted.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        let sql = format!("INSERT INTO {into} ({names}) SELECT {names} FROM {from}");
        let query = json!({ "jobReference": body["jobReference"],
            "configuration": { "query": { "query": sql, "useLegacySql": false } } });
        let (status, job) = self.ask(&Method::POST, uri, &query).await;
        assert!(status == 200 && job["status"]["errorResult"].is_null(), "{sql}: {job:#}");
        job
    }

    async fn run(&self, sql: &str) {
        let query = json!({ "query": sql, "useLegacySql": false });
        let (status, answer) =
            self.ask(&Method::POST, &format!("/bigquery/v2/projects/{PROJECT}/queries"), &query).await;
        assert_eq!(status, 200, "{sql}: {answer:#}");
    }

    async fn look(&self, place: &str) -> Value {
        let (dataset, table) = place.split_once('.').unwrap();
        let path = format!("/bigquery/v2/projects/{PROJECT}/datasets/{dataset}/tables/{table}");
        let (status, found) = self.ask(&Method::GET, &path, &Value::Null).await;
        if status == 200 { found } else { Value::Null }
    }

    /// A table was written to, whether it has another number of rows now or not.
    async fn has_changed(&self, place: &str) {
        let name = quoted(place);
        let rows = self.count(&name).await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        self.state().changed.insert(name, (rows, now.as_millis() as i64));
    }

    /// A statement that lets a table stay for good.
    pub(super) fn forget(&self, sql: &str) {
        let name = sql.strip_prefix("ALTER TABLE ").and_then(|rest| rest.strip_suffix(FOREVER));
        if let Some(name) = name {
            let place = name.trim_matches('`').split_once("`.`").unwrap().1.replace("`.`", ".");
            self.state().expires.remove(&place);
        }
    }

    /// What every job that is begun has to have.
    pub(super) fn check(&self, body: &Value) {
        let configuration = &body["configuration"];
        if let Some(query) = configuration.get("query") {
            let zone = json!([{ "key": "time_zone", "value": "UTC" }]);
            if configuration["dryRun"] != json!(true) {
                self.state().most_billed.push(query["maximumBytesBilled"].clone());
            }
            assert_eq!((&query["connectionProperties"], &query["useLegacySql"]), (&zone, &json!(false)));
        }
        if let Some(load) = configuration.get("load") {
            let place = place_of(&load["destinationTable"]);
            assert!(self.state().expires.contains_key(&place), "{place} would stay for ever");
            assert_eq!(load["createDisposition"], json!("CREATE_NEVER"));
        }
        if configuration["dryRun"] == json!(true) {
            return;
        }
        let labels = configuration["labels"].as_object().unwrap();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let all = labels.iter().flat_map(|(key, value)| [key.as_str(), value.as_str().unwrap()]);
        assert!(
            labels.len() <= 64 && all.into_iter().all(|text| text.len() <= 63 && text.chars().all(fits)),
            "{labels:?}"
        );
        assert_eq!(labels["team"], json!("tests"), "the user's own label");
    }
}
