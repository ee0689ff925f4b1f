//! Locations: what may stand in a URL, which settings reach a store, and inputs that come from one.

use crate::cli::{Desk, number, project};
use crate::googlesql::python;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tradefold::source::discover;
use tradefold::storage::Folder;

const SECRET: &str = "hunter2";

#[test]
fn a_url_with_a_secret_is_refused_and_never_repeated() {
    let desk = Desk::new();
    for url in [
        "https://user:hunter2@127.0.0.1/a.csv",
        "https://127.0.0.1/a.csv?X-Amz-Signature=hunter2",
        "s3://key:hunter2@bucket/a.csv",
        "s3://key:hunter2@bucket/*.csv",
        "gs://user:hunter2@bucket/folder",
        "file://user:hunter2@host/a.csv",
        "ftp://user:hunter2@host/a.csv",
        // No URLs at all, but nearly.
        "https://user:hunter2@host:99999/a.csv",
        "https://user:hunter2@/a.csv",
    ] {
        for arguments in [
            format!("backfill \"{url}\""),
            format!("analyze \"{url}\" --json"),
            format!("dedup \"{url}\" -o out"),
            format!("backfill fixtures/dome_page.json --warehouse \"{url}\""),
        ] {
            let ran = desk.run(&arguments);
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
            assert!(ran.err.starts_with("error: ") && !ran.err.contains(SECRET), "{arguments}: {}", ran.err);
        }
    }
    let said = desk.run("backfill https://user:hunter2@127.0.0.1/a.csv").err;
    assert!(said.contains("host `127.0.0.1`") && said.contains("give credentials in the environment"), "{said}");
}

/// A server of the project's files, as an object store whose buckets are the project's folders.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Server {
        let mut process = Command::new(python())
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(project(""))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let port = said.split("port ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        Server { url: format!("http://127.0.0.1:{port}"), process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Settings that lead to a server, and after them what other programs may have left in the environment: taken as
/// settings, it would be the last word.
fn settings(server: &Server) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT", server.url.as_str()),
        ("aws_allow_http", "true"),
        ("Aws_Skip_Signature", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("ENDPOINT", "http://127.0.0.1:1"),
        ("allow_http", "false"),
        ("BUCKET", "tests"),
        ("TOKEN", SECRET),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec()
}

#[tokio::test]
async fn a_store_takes_only_settings_with_the_prefix_of_one() {
    let server = Server::start();
    let found = discover(&["s3://fixtures/dome_page.json".into()], &settings(&server)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].size_bytes, std::fs::metadata(project("fixtures/dome_page.json")).unwrap().len());
    // Without them the server is not known, and plain HTTP not allowed.
    let (known, others): (Vec<_>, Vec<_>) =
        settings(&server).into_iter().partition(|(name, _)| name.to_ascii_lowercase().starts_with("aws_"));
    let shown = |options: &[(String, String)]| format!("{:?}", Folder::open("s3://fixtures", options).unwrap());
    assert!(shown(&known).contains(&server.url));
    assert_eq!(shown(&others), shown(&[]));
}

#[test]
fn inputs_are_read_from_an_object_store() {
    let (desk, server) = (Desk::new(), Server::start());
    let files = "s3://fixtures/dome_page.json s3://fixtures/quoted_empty.csv";
    let output = desk.command(&format!("backfill {files} --json")).envs(settings(&server)).output().unwrap();
    let ran = desk.read(output);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!([number(&report, "/balance/landing/read"), number(&report, "/balance/winners")], [10, 8]);
    assert_eq!(report["inputs"][0]["url"], "s3://fixtures/dome_page.json");
    let local = desk.report(0, "analyze fixtures/dome_page.json fixtures/quoted_empty.csv");
    assert_eq!(number(&local, "/balance/winners"), 8);
}
