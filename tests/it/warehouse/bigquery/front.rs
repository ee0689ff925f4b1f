//! What stands before the emulator and behaves as BigQuery's documentation says where the emulator does not: jobs have
//! an identity, take their time and tell what they did, tables keep count, and whatever can go wrong on the way does so
//! where a test wants it.

use super::script::{Fault, Fuel, error, failed, line};
use super::servers::PROJECT;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Where the data lie, as the front says. Whoever looks for a job elsewhere does not find it.
pub const LOCATION: &str = "europe-west1";

/// Which requests a fault happens to.
struct Rule {
    /// A part of the line that the log has for it.
    line: String,
    times: u32,
    fault: Fault,
}

#[derive(Default)]
pub(super) struct State {
    rules: Vec<Rule>,
    log: Vec<String>,
    /// When each request came, carried out or not.
    came: Vec<(String, Instant)>,
    /// `maximumBytesBilled` of each query that was begun.
    pub(super) most_billed: Vec<Value>,
    jobs: BTreeMap<String, Value>,
    /// How often a job is still to be found unknown.
    unknown: BTreeMap<String, u32>,
    fuel: Option<Fuel>,
    /// What a dry run says that a query reads.
    dry_bytes: i64,
    pub(super) expires: BTreeMap<String, Value>,
    /// Tables that were loaded into.
    loaded: BTreeSet<String>,
    /// The configurations of copy jobs.
    pub(super) copies: Vec<Value>,
    /// Of each table, how many rows it had when that was looked at last, and since when, in milliseconds.
    pub(super) changed: BTreeMap<String, (i64, i64)>,
}

/// A server before the emulator.
pub struct Front {
    pub url: String,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    emulator: String,
    client: reqwest::Client,
    state: Mutex<State>,
}

/// What a request is answered with; `None`: the connection ends.
type Answer = Option<(u16, Option<(&'static str, &'static str)>, Bytes)>;

impl Front {
    pub async fn start(emulator: &str) -> Front {
        let (client, state) = (reqwest::Client::new(), Mutex::default());
        let shared = Arc::new(Shared { emulator: emulator.to_string(), client, state });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let _ = socket.set_nodelay(true);
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { shared.answer(request).await }
                    });
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Front { url, shared }
    }

    /// The next `times` requests whose line in the log has this part meet a fault.
    pub fn fail(&self, line: &str, times: u32, fault: Fault) {
        self.shared.state().rules.push(Rule { line: line.into(), times, fault });
    }

    /// Whether every fault has happened as often as it should.
    pub fn is_through(&self) -> bool {
        self.shared.state().rules.iter().all(|rule| rule.times == 0)
    }

    /// Requests that were carried out, as `METHOD what`: `POST job load`, `GET table fills`.
    pub fn log(&self) -> Vec<String> {
        self.shared.state().log.clone()
    }

    /// How many jobs of a step have run: `load`, `merge`.
    pub fn ran(&self, step: &str) -> usize {
        let line = format!("POST job {step}");
        self.shared.state().log.iter().filter(|entry| **entry == line).count()
    }

    /// Lets the asking process die after so many requests. The last one is carried out, and its answer lost, or not.
    pub fn die_after(&self, requests: i64, is_carried_out: bool) {
        self.shared.state().fuel = Some(Fuel { left: requests, is_carried_out, by_effect: false });
    }

    /// The same after so many requests that change something.
    pub fn die_after_effects(&self, effects: i64, is_carried_out: bool) {
        self.shared.state().fuel = Some(Fuel { left: effects, is_carried_out, by_effect: true });
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.shared.state().fuel.as_ref().is_some_and(|fuel| fuel.left < 0)
    }

    /// Another process asks.
    pub fn revive(&self) {
        self.shared.state().fuel = None;
    }

    /// All requests in their order, carried out or not.
    pub fn came(&self) -> Vec<String> {
        self.shared.state().came.iter().map(|(line, _)| line.clone()).collect()
    }

    /// How long after one request of this line the next one came.
    pub fn gaps(&self, line: &str) -> Vec<Duration> {
        let state = self.shared.state();
        let came: Vec<_> = state.came.iter().filter(|(came, _)| came == line).map(|(_, at)| *at).collect();
        came.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Temporary tables that would stay for ever.
    pub fn endless(&self) -> Vec<String> {
        let state = self.shared.state();
        state.loaded.iter().filter(|table| !state.expires.contains_key(*table)).cloned().collect()
    }

    /// When the tables whose names hold this text end, as they were told last, in milliseconds.
    pub fn ends_ms(&self, text: &str) -> Vec<i64> {
        let state = self.shared.state();
        let ends = state.expires.iter().filter(|(table, _)| table.contains(text));
        ends.map(|(_, ends)| ends.as_str().unwrap().parse().unwrap()).collect()
    }

    /// What the queries that were begun may bill at most.
    pub fn most_billed(&self) -> Vec<Value> {
        self.shared.state().most_billed.clone()
    }

    pub fn set_dry_bytes(&self, bytes: i64) {
        self.shared.state().dry_bytes = bytes;
    }
}

pub(super) fn place_of(table: &Value) -> String {
    format!("{}.{}", table["datasetId"].as_str().unwrap(), table["tableId"].as_str().unwrap())
}

impl Shared {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let uri = parts.uri.path_and_query().unwrap().as_str().to_string();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match self.decide(&parts.method, parts.uri.path(), &uri, body).await {
            None => Err(std::io::Error::other("cut")),
            Some((status, header, body)) => {
                let mut response = Response::builder().status(status).header("content-type", "application/json");
                if let Some((name, value)) = header {
                    response = response.header(name, value);
                }
                Ok(response.body(Full::new(body)).unwrap())
            }
        }
    }

    async fn decide(&self, method: &Method, path: &str, uri: &str, body: Value) -> Answer {
        let line = line(method, path, &body);
        self.state().came.push((line.clone(), Instant::now()));
        let (fault, is_last) = {
            let mut state = self.state();
            let is_last = state.fuel.as_mut().map_or(Some(false), |fuel| fuel.burn(&line))?;
            let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && line.contains(&rule.line));
            let fault = rule.map(|rule| {
                rule.times -= 1;
                rule.fault.clone()
            });
            (fault, is_last)
        };
        match &fault {
            Some(Fault::Answer(status, header, body)) => {
                return Some((*status, *header, Bytes::from(body.clone())));
            }
            Some(Fault::Cut) => return None,
            Some(Fault::Hold(until)) => until.notified().await,
            _ => {}
        }
        let answer = self.carry_out(method, path, uri, &body, &line, fault.as_ref()).await;
        match fault {
            Some(Fault::CutAfter) => None,
            _ if is_last => None,
            _ => answer,
        }
    }

    async fn carry_out(
        &self,
        method: &Method,
        path: &str,
        uri: &str,
        body: &Value,
        line: &str,
        fault: Option<&Fault>,
    ) -> Answer {
        if *method == Method::POST && path.ends_with("/jobs") {
            return self.begin_job(uri, body, line, fault).await;
        }
        let name = path.rsplit('/').next().unwrap_or_default().to_string();
        if *method == Method::GET && path.contains("/jobs/") {
            return self.look_up(&name, uri);
        }
        self.state().log.push(line.to_string());
        for field in body["schema"]["fields"].as_array().into_iter().flatten() {
            // Else it would be that of the dataset.
            assert!(field["type"] != json!("STRING") || field["collation"] == json!(""), "{field}");
        }
        let (status, mut found) = self.ask(method, uri, body).await;
        if status == 200 && line == "GET dataset" {
            found["location"] = json!(LOCATION);
        }
        if let Some(table) = found["tableReference"]["tableId"].as_str().map(str::to_string) {
            let dataset = found["tableReference"]["datasetId"].as_str().unwrap_or_default().to_string();
            let place = format!("{dataset}.{table}");
            if !body["expirationTime"].is_null() {
                self.state().expires.insert(place.clone(), body["expirationTime"].clone());
            }
            if let Some(expires) = self.state().expires.get(&place) {
                found["expirationTime"] = expires.clone();
            }
            let name = format!("`{PROJECT}`.`{dataset}`.`{table}`");
            let rows = self.count(&name).await;
            found["numRows"] = json!(rows.to_string());
            let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
            let mut state = self.state();
            let seen = state.changed.entry(name).or_insert((rows, now_ms));
            if seen.0 != rows {
                *seen = (rows, now_ms);
            }
            found["lastModifiedTime"] = json!(seen.1.to_string());
        }
        Some((status, None, Bytes::from(found.to_string())))
    }

    fn look_up(&self, id: &str, uri: &str) -> Answer {
        let mut state = self.state();
        state.log.push("GET job".into());
        let unknown = state.unknown.get_mut(id).is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left > 0
        });
        let found = state.jobs.get(id).filter(|_| !unknown && uri.contains(&format!("location={LOCATION}")));
        match found {
            Some(job) => Some((200, None, Bytes::from(job.to_string()))),
            None => Some((404, None, Bytes::from(error(404, "notFound").to_string()))),
        }
    }

    async fn begin_job(&self, uri: &str, body: &Value, line: &str, fault: Option<&Fault>) -> Answer {
        let id = body["jobReference"]["jobId"].as_str().unwrap().to_string();
        assert!(id.len() <= 1024 && id.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "{id}");
        assert_eq!(body["jobReference"]["location"], json!(LOCATION), "a job is told where its data lie");
        if line == "POST dry run" {
            self.check(body);
            let (status, mut job) = self.ask(&Method::POST, uri, body).await;
            job["statistics"]["totalBytesProcessed"] = json!(self.state().dry_bytes.to_string());
            return Some((status, None, Bytes::from(job.to_string())));
        }
        if self.state().jobs.contains_key(&id) {
            if let Some(Fault::Unknown(times)) = fault {
                self.state().unknown.insert(id.clone(), times + 1);
            }
            return Some((409, None, Bytes::from(error(409, "duplicate").to_string())));
        }
        self.check(body);
        self.state().log.push(line.to_string());
        let reference = json!({ "projectId": PROJECT, "jobId": id, "location": LOCATION });
        if let Some(Fault::FailJob(reason)) = fault {
            let job = json!({ "jobReference": reference, "configuration": body["configuration"],
                "status": failed(reason) });
            self.state().jobs.insert(id, job);
        } else {
            let sql = body["configuration"]["query"]["query"].as_str().unwrap_or_default();
            self.forget(sql);
            let target = sql.strip_prefix("MERGE ").and_then(|rest| rest.split(" AS _t").next()).map(str::to_string);
            let before = match &target {
                Some(target) => self.count(target).await,
                None => 0,
            };
            let is = |kind: &str| body["configuration"].get(kind).is_some();
            let (status, mut job) = match (is("extract"), is("copy")) {
                (true, _) => self.extract(uri, body, fault).await,
                (_, true) => self.copy(uri, body).await,
                _ => self.ask(&Method::POST, uri, body).await,
            };
            if status != 200 {
                return Some((status, None, Bytes::from(job.to_string())));
            }
            if let Some(target) = &target {
                let affected: i64 = job["statistics"]["query"]["numDmlAffectedRows"].as_str().unwrap().parse().unwrap();
                let after = self.count(target).await;
                let inserted = after - before;
                let more = if let Some(Fault::Miscount(more)) = fault { *more } else { 0 };
                let ended_ms = job["statistics"]["endTime"].as_str().unwrap().parse().unwrap();
                self.state().changed.insert(target.clone(), (after, ended_ms));
                job["statistics"]["query"]["dmlStats"] = json!({ "insertedRowCount": (inserted + more).to_string(),
                    "updatedRowCount": (affected - inserted).to_string(), "deletedRowCount": "0" });
            }
            if body["configuration"].get("query").is_some() {
                job["statistics"]["query"]["totalBytesBilled"] = json!((20 << 20).to_string());
                job["statistics"]["query"]["totalPartitionsProcessed"] = json!("3");
            }
            if body["configuration"].get("load").is_some() {
                // Whether it keeps the time that the table ends at is not documented.
                let place = place_of(&body["configuration"]["load"]["destinationTable"]);
                let mut state = self.state();
                state.expires.remove(&place);
                state.loaded.insert(place);
                if let Some(Fault::Miscount(more)) = fault {
                    let rows: i64 = job["statistics"]["load"]["outputRows"].as_str().unwrap().parse().unwrap();
                    job["statistics"]["load"]["outputRows"] = json!((rows + more).to_string());
                }
            }
            job["jobReference"] = reference.clone();
            if let Some(Fault::FailAfter(reason)) = fault {
                job["status"] = failed(reason);
            }
            self.state().jobs.insert(id, job);
        }
        // Jobs take their time.
        let begun = json!({ "jobReference": reference, "status": { "state": "RUNNING" } });
        Some((200, None, Bytes::from(begun.to_string())))
    }

    /// Asks the emulator.
    pub(super) async fn ask(&self, method: &Method, uri: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{uri}", self.emulator);
        let mut request = self.client.request(method.clone(), url);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.bytes().await.unwrap());
        (status, serde_json::from_slice(&text).unwrap_or_default())
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        let query = json!({ "query": format!("SELECT COUNT(*) FROM {table}"), "useLegacySql": false });
        let uri = format!("/bigquery/v2/projects/{PROJECT}/queries");
        let (_, answer) = self.ask(&Method::POST, &uri, &query).await;
        answer["rows"][0]["f"][0]["v"].as_str().map_or(0, |rows| rows.parse().unwrap())
    }
}
