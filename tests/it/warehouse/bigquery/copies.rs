//! Copy jobs of the server before the emulator, and what every job that is begun has to have.

use super::front::{Front, Shared, place_of};
use hyper::Method;
use serde_json::{Value, json};

impl Front {
    /// The configurations of the copy jobs that were begun.
    pub fn copies(&self) -> Vec<Value> {
        self.shared.state().copies.clone()
    }
}

/// The operations of copy jobs by their numbers, by which the client calls them.
const OPERATIONS: [&str; 5] = ["OPERATION_TYPE_UNSPECIFIED", "COPY", "SNAPSHOT", "RESTORE", "CLONE"];

impl Shared {
    /// Every copy is a plain one: of a table that has a snapshot the emulator forgets the past.
    pub(super) async fn copy(&self, uri: &str, body: &Value) -> (u16, Value) {
        let mut body = body.clone();
        let copy = &mut body["configuration"]["copy"];
        if let Some(number) = copy["operationType"].as_u64() {
            copy["operationType"] = json!(OPERATIONS[number as usize]);
        }
        self.state().copies.push(copy.clone());
        copy["operationType"] = json!("COPY");
        self.ask(&Method::POST, uri, &body).await
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
