//! Locations: what may stand in a URL, which settings reach a store, and inputs that come from one, each read once.

use crate::cli::{Desk, number, project};
use crate::googlesql::python;
use crate::rows::{engine, trades};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tradefold::dedup::Dedup;
use tradefold::engine::DataFile;
use tradefold::error::Kind;
use tradefold::generate::{Profile, Recipe, generate};
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

/// A server of files, as an object store whose buckets are the folders in a folder.
pub(crate) struct Server {
    process: Child,
    url: String,
    /// What was asked of it, a line for each request.
    log: tempfile::NamedTempFile,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Server {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut process = Command::new(python())
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let port = said.split("port ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        Server { url: format!("http://127.0.0.1:{port}"), process, log }
    }

    /// How often an object was read, as `bucket/name`.
    pub(crate) fn reads(&self, object: &str) -> usize {
        let log = std::fs::read_to_string(self.log.path()).unwrap();
        log.matches(&format!("\"GET /{object} HTTP")).count()
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
pub(crate) fn settings(server: &Server) -> Vec<(String, String)> {
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
    let server = Server::start(&project(""));
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
    let (desk, server) = (Desk::new(), Server::start(&project("")));
    let files = "s3://fixtures/dome_page.json s3://fixtures/quoted_empty.csv";
    let output = desk.command(&format!("backfill {files} --json")).envs(settings(&server)).output().unwrap();
    let ran = desk.read(output);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!([number(&report, "/balance/landing/read"), number(&report, "/balance/winners")], [10, 8]);
    assert_eq!(report["inputs"][0]["url"], "s3://fixtures/dome_page.json");
    let local = desk.report(0, "analyze fixtures/dome_page.json fixtures/quoted_empty.csv");
    assert_eq!(number(&local, "/balance/winners"), 8);
    // Wallets in upper case, so it lands row by row.
    let parquet = "fixtures/demo/run-1-000.parquet";
    let output = desk.command(&format!("analyze s3://{parquet} --json")).envs(settings(&server)).output().unwrap();
    let ran = desk.read(output);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["balance"], desk.report(0, &format!("analyze {parquet}"))["balance"]);
    for object in ["fixtures/dome_page.json", "fixtures/quoted_empty.csv", parquet] {
        assert_eq!(server.reads(object), 1, "{object}");
    }
}

/// Parquet objects in two buckets: of one name and different, and of two names and equal. Each with the generated file
/// that it is; all of them can land as they are.
const OBJECTS: [(&str, &str); 4] = [
    ("one/a.parquet", "run-1-000.parquet"),
    ("one/b.parquet", "run-2-000.parquet"),
    ("two/a.parquet", "run-3-000.parquet"),
    ("two/c.parquet", "run-2-000.parquet"),
];

/// A desk with these objects in its folder `store`, and a server of that.
fn buckets() -> (Desk, Server) {
    let desk = Desk::new();
    let recipe = Recipe { odd_share: 0.0, ..Recipe::new(Profile::Rerun, 6_000, 5) };
    generate(&recipe, &desk.path("generated")).unwrap();
    for (object, file) in OBJECTS {
        let path = desk.path("store").join(object);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(desk.path("generated").join(file), path).unwrap();
    }
    let server = Server::start(&desk.path("store"));
    (desk, server)
}

/// Runs a command over the objects, at URLs that begin with `at`, and over the same files on the local disk. Demands
/// that each object was read once, and the same values in these parts of the report, names of inputs aside.
fn reads_once_and_agrees(desk: &Desk, server: &Server, at: &str, command: &str, parts: &[&str]) {
    let run = |base: &str, out: &str| {
        let files = OBJECTS.map(|(object, _)| format!("{base}/{object} ")).concat();
        let arguments = command.replace("FILES", &files).replace("OUT", out);
        let output = desk.command(&format!("{arguments} --json --quiet")).envs(settings(server)).output().unwrap();
        let ran = desk.read(output);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments}\n{}", ran.out);
        let report: Value = serde_json::from_str(&ran.out.replace(&format!("{base}/"), "")).unwrap();
        parts.iter().map(|part| report.pointer(part).unwrap().to_string()).collect::<Vec<_>>()
    };
    let reads = || OBJECTS.map(|(object, _)| server.reads(object));
    let before = reads();
    let remote = run(at, "remote");
    assert_eq!(reads(), before.map(|count| count + 1), "{command}: how often each object was read");
    assert_eq!(remote, run("store", "local"), "{command}");
    assert_eq!(reads(), before.map(|count| count + 1));
}

/// The bucket is in the path here, so that the URLs of both have one scheme and host.
const PATH_STYLE: &str = "https://s3.eu-central-1.amazonaws.com";

#[test]
fn parquet_in_an_object_store_is_read_once_by_analyze_and_dedup() {
    let (desk, server) = buckets();
    let check = |at, command, parts: &[&str]| reads_once_and_agrees(&desk, &server, at, command, parts);
    let analysis = ["/balance", "/census", "/rows_by_day", "/rows_by_file", "/rejects_by_reason"];
    check(PATH_STYLE, "analyze FILES", &analysis);
    check(PATH_STYLE, "analyze FILES --key tx_hash", &analysis);
    check("s3:/", "analyze FILES --key tx_hash", &analysis);
    check(PATH_STYLE, "dedup FILES -o OUT", &["/balance", "/copied_rows", "/size_bytes"]);
    let written = desk.files("remote");
    assert!(!written.is_empty() && written == desk.files("local"), "{written:?}");
    for name in written {
        let bytes = |folder| std::fs::read(desk.path(folder).join(&name)).unwrap();
        assert!(bytes("remote") == bytes("local"), "{name}");
    }
}

#[test]
fn parquet_in_an_object_store_is_read_once_by_plan_and_backfill() {
    let (desk, server) = buckets();
    let check = |command, parts: &[&str]| reads_once_and_agrees(&desk, &server, PATH_STYLE, command, parts);
    check("plan FILES --warehouse OUT", &["/balance", "/batches"]);
    // Batches are named for what landed: the objects as they are.
    check("backfill FILES --warehouse OUT --losers", &["/balance", "/inputs", "/batches"]);
    let kept = |lake: &str| {
        let files = desk.files(&format!("{lake}/_tradefold/trades/runs"));
        files.iter().map(|file| file.split_once('/').unwrap().1.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kept("remote"), ["rows/losers.parquet"]);
    assert_eq!(kept("remote"), kept("local"));
}

#[tokio::test]
async fn rows_are_deduplicated_on_the_local_disk_only() {
    let file = |url: &str| DataFile { url: url.into(), label: "a file".into(), size_bytes: 1 };
    for url in ["s3://one/a.parquet", "https://localhost/one/a.parquet"] {
        let error = Dedup::new(&engine(1), &trades(), &[file(url)]).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Bug);
        assert!(error.render().contains("file `a file`"), "{}", error.render());
    }
}

#[tokio::test]
async fn of_an_object_the_first_lines_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = Folder::open(&folder.path().to_string_lossy(), &[]).unwrap();
    // Longer than what a store hands on at once, and without an end to its last line.
    let text = (0..200_000).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
    std::fs::write(folder.path().join("rows.ndjson"), text).unwrap();
    assert_eq!(place.first_lines("rows.ndjson", 2).await.unwrap(), ["line 0", "line 1"]);
    assert_eq!(place.first_lines("rows.ndjson", 0).await.unwrap(), Vec::<String>::new());
    let all = place.first_lines("rows.ndjson", 300_000).await.unwrap();
    assert_eq!((all.len(), all.last().unwrap().as_str()), (200_000, "line 199999"));
    assert_eq!(place.first_lines("nothing.ndjson", 2).await.unwrap(), Vec::<String>::new());
}
