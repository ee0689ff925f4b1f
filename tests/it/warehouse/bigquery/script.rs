//! What a test wants to go wrong, and how it calls the requests that it means.

use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

/// What happens to a request instead of what should.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: it is carried out. For faults that the requests after it shall meet.
    Pass,
    /// It is not carried out, and this is the answer: the status, a header and the body.
    Answer(u16, Option<(&'static str, &'static str)>, String),
    /// It is not carried out, and the connection ends.
    Cut,
    /// It is carried out, and the connection ends before the answer.
    CutAfter,
    /// It is carried out only once this says so.
    Hold(Arc<Notify>),
    /// The job that it begins ends with this error, and did nothing.
    FailJob(&'static str),
    /// The job that it begins does its work, and ends with this error all the same.
    FailAfter(&'static str),
    /// The job that it begins says that it loaded or inserted this many rows more.
    Miscount(i64),
    /// Its first so many lookups find nothing.
    Unknown(u32),
}

/// An error in BigQuery's own words.
pub fn refusal(status: u16, reason: &str) -> Fault {
    Fault::Answer(status, None, error(status, reason).to_string())
}

pub fn error(status: u16, reason: &str) -> Value {
    json!({ "error": { "code": status, "message": format!("said {reason}"), "errors":
        [{ "reason": reason, "domain": "global", "message": format!("said {reason}") }] } })
}

/// How a job stands that has failed.
pub fn failed(reason: &str) -> Value {
    let error = json!({ "reason": reason, "message": format!("the job said {reason}") });
    json!({ "state": "DONE", "errorResult": error, "errors": [error] })
}

/// How long the asking process still lives.
pub struct Fuel {
    /// How many requests are answered before it dies; below zero it is dead.
    pub left: i64,
    /// Whether the last one is carried out, and its answer lost.
    pub is_carried_out: bool,
    /// Whether only requests that change something use it up.
    pub by_effect: bool,
}

impl Fuel {
    /// A request comes. `None`: nobody is there to make it; else whether it is the last one.
    pub fn burn(&mut self, line: &str) -> Option<bool> {
        if self.left >= 0 && self.by_effect && !has_effect(line) {
            return Some(false);
        }
        self.left -= 1;
        let is_last = self.left == -1;
        (self.left >= 0 || (is_last && self.is_carried_out)).then_some(is_last)
    }
}

/// Whether a request of this line changes something.
fn has_effect(line: &str) -> bool {
    let writes = ["load", "snapshot", "keep", "merge", "undo", "export", "add", "swap", "restore", "forget"];
    match line.strip_prefix("POST job ") {
        Some(step) => writes.contains(&step),
        None => !line.starts_with("GET") && line != "POST dry run",
    }
}

/// A request as the log names it.
pub fn line(method: &Method, path: &str, body: &Value) -> String {
    let parts: Vec<&str> = path.trim_start_matches("/bigquery/v2/projects/").split('/').skip(1).collect();
    let what = match parts.as_slice() {
        ["jobs"] if body["configuration"]["dryRun"] == json!(true) => "dry run".to_string(),
        ["jobs"] => {
            format!("job {}", body["configuration"]["labels"]["tradefold_step"].as_str().unwrap_or("unknown"))
        }
        ["jobs", id] => {
            let step = id.rsplit('_').nth(1).unwrap_or_default();
            format!("job {step}")
        }
        ["queries", _] => "answer".into(),
        ["datasets", _] => "dataset".into(),
        ["datasets", _, "tables"] => {
            let name = body["tableReference"]["tableId"].as_str().unwrap_or_default();
            format!("table {}", name.split("_tmp").next().unwrap_or_default())
        }
        ["datasets", _, "tables", name] => format!("table {}", name.split("_tmp").next().unwrap_or_default()),
        other => other.join("/"),
    };
    format!("{method} {what}")
}
