//! A target in BigQuery, as a person at the command line meets it: an emulator stands for both services.

use super::page::embedded;
use super::{Desk, Ran, number, project};
use crate::fetch::{Api, FIRST_S, KEY, Known, Settings};
use crate::googlesql::python;
use crate::warehouse::bigquery::front::Front;
use crate::warehouse::bigquery::script::refusal;
use crate::warehouse::bigquery::servers::servers;
use crate::warehouse::bigquery::stand::{Witness, place};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use tradefold::warehouse::bigquery::Place;

pub(super) struct Cloud {
    pub(super) desk: Desk,
    /// Where BigQuery is.
    pub(super) endpoint: String,
    pub(super) place: Place,
}

impl Cloud {
    pub(super) async fn new() -> Cloud {
        Cloud { desk: Desk::new(), endpoint: servers().bigquery.clone(), place: place(servers()).await }
    }

    /// Everything in the bucket, by its path.
    pub(super) fn objects(&self) -> Vec<String> {
        let bucket = servers().buckets.join(&self.place.dataset);
        let (mut found, mut folders) = (Vec::new(), vec![bucket.clone()]);
        while let Some(next) = folders.pop() {
            for path in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(&bucket).unwrap().display().to_string()),
                }
            }
        }
        found.sort();
        found
    }

    /// Runs a command over the target.
    fn run(&self, arguments: &str) -> Ran {
        self.run_at("stage", arguments)
    }

    fn run_at(&self, stage: &str, arguments: &str) -> Ran {
        self.ask(stage, &format!("{arguments} --warehouse {}", self.place))
    }

    /// Runs a command over both services.
    pub(super) fn ask(&self, stage: &str, arguments: &str) -> Ran {
        self.desk.read(self.asking(stage, arguments).output().unwrap())
    }

    /// The same, not run yet.
    pub(super) fn asking(&self, stage: &str, arguments: &str) -> std::process::Command {
        let services = format!("--stage gs://{}/{stage} --emulator {}", self.place.dataset, self.endpoint);
        self.command(&format!("{arguments} {services} --label team=tests"))
    }

    /// Runs a command that finds the bucket.
    pub(super) fn read(&self, arguments: &str) -> Ran {
        self.desk.read(self.command(arguments).output().unwrap())
    }

    fn command(&self, arguments: &str) -> std::process::Command {
        let mut command = self.desk.command(arguments);
        command.env("GOOGLE_BASE_URL", &servers().storage).env("GOOGLE_SKIP_SIGNATURE", "true");
        command.env("TRADEFOLD_API_KEY", KEY);
        command
    }

    pub(super) fn report(&self, code: i32, arguments: &str) -> Value {
        let ran = self.run(&format!("{arguments} --json"));
        assert_eq!(ran.code, code, "{arguments}: {}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }
}

/// Inserted and updated, of all batches.
fn done(report: &Value) -> (u64, u64) {
    let batches = report["batches"].as_array().unwrap();
    let sum = |name: &str| batches.iter().map(|batch| number(batch, &format!("/merged/{name}"))).sum();
    (sum("inserted"), sum("updated"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_goes_into_bigquery_as_it_goes_into_a_lake() {
    let cloud = Cloud::new().await;
    let planned = cloud.report(0, "plan fixtures/demo");
    assert_eq!((number(&planned, "/target_rows"), planned["batches"].as_array().unwrap().len()), (0, 2));
    let report = cloud.report(0, "backfill fixtures/demo");
    assert_eq!((number(&report, "/balance/winners"), done(&report)), (9_685, (9_685, 0)));
    let conflicts = report["files"]["conflicts"].as_str().unwrap();
    let bucket = format!("gs://{}/", cloud.place.dataset);
    let file = conflicts.strip_prefix(&bucket).unwrap_or_else(|| panic!("{conflicts}"));
    let kept = std::fs::read_to_string(servers().buckets.join(&cloud.place.dataset).join(file)).unwrap();
    assert_eq!(kept.lines().count() as u64, number(&report, "/balance/losers/conflict"));
    assert_eq!(done(&cloud.report(0, "backfill fixtures/demo")), (0, 0), "once more");
    let status = cloud.report(0, "status");
    assert_eq!((number(&status, "/rows"), status["receipts"].as_array().unwrap().len()), (9_685, 2));
    let stopped = cloud.run("backfill fixtures/demo-suspects");
    assert_eq!(stopped.code, 65, "{}", stopped.err);
    assert!(stopped.out.contains("nothing was written to the target"), "{}", stopped.out);
    assert_eq!(number(&cloud.report(0, "status"), "/rows"), 9_685);
    // Rejects are in the bucket by then.
    let file = "fixtures/rejects_of_every_kind.ndjson";
    let stopped = cloud.report(65, &format!("backfill {file} --html page.html"));
    assert_eq!(stopped["page"], "page.html");
    assert_eq!(embedded(&cloud.desk, "page.html").0, cloud.desk.report(0, &format!("analyze {file}")));
}

/// Trades, markets and events from an API, into three tables that have a ledger each.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_fills_tables_of_bigquery() {
    let cloud = Cloud::new().await;
    let api = Api::start(Known::generate(6, 400, 3, FIRST_S), Settings::default()).await;
    let source = format!("--source dome --base-url {}/v1 --requests-per-second 1000", api.url());
    let window = "--from 2025-10-01 --to 2025-10-04";
    let report = cloud.report(0, &format!("backfill {window} {source}"));
    let rows = |report: &Value, table: &str| number(report, &format!("/{table}/runs/0/batches/0/merged/rows_after"));
    assert_eq!(rows(&report, "trades"), 400);
    assert!(rows(&report, "markets") > 3 && rows(&report, "events") > 0, "{report:#}");
    // The third time nothing is new, and markets that are still open are looked at.
    let again = cloud.report(0, &format!("sync --window-hours 65000 --refresh 0s {source}"));
    assert_eq!(number(&again, "/trades/fetch/counts/landed"), 0);
    let runs = again["markets"]["runs"].as_array().unwrap().iter();
    let updated: u64 = runs.filter(|run| !run["batches"].as_array().unwrap().is_empty()).map(|run| done(run).1).sum();
    assert!(updated > 0, "{again:#}");
    let status = cloud.report(0, "status");
    assert_eq!((number(&status, "/rows"), status["feeds"][0]["gaps"].as_array().unwrap().len()), (400, 0));
    let audit = cloud.report(0, "audit");
    assert!(number(&audit, "/orphans/ids") > 0, "{audit:#}");
}

/// The demo in the target, looked at by clients that know nothing of tradefold.
#[tokio::test(flavor = "multi_thread")]
async fn googles_own_clients_see_what_was_written() {
    let cloud = Cloud::new().await;
    cloud.report(0, "backfill fixtures/demo");
    let (endpoint, place) = (&cloud.endpoint, &cloud.place);
    let seen = read(Command::new(python()).arg(project("tests/oracle/bigquery_client.py")).args([
        endpoint,
        &place.project,
        &place.dataset,
        "trades",
    ]));
    assert_eq!(seen["tables"], json!(["trades"]), "no temporary table is left");
    assert_eq!((&seen["rows"], &seen["keys"]), (&json!(9_685), &json!(9_685)));
    assert_eq!(seen["partition"], json!(["DAY", "timestamp"]));
    assert_eq!(
        (&seen["cluster"], &seen["labels"]),
        (&json!(["wallet_address", "condition_id"]), &json!(["tradefold_stage"]))
    );
    let fields = seen["schema"].as_array().unwrap();
    assert_eq!((fields.len(), &fields[3]), (19, &json!(["timestamp", "TIMESTAMP", "NULLABLE"])));
    // The command line of Google Cloud's SDK, where it is installed: it can't be from a registry.
    let Some(mut bq) = bq(&cloud) else {
        eprintln!("bq is not on the PATH: only the Python client has looked");
        return;
    };
    let table = format!("{}.trades", place.dataset);
    let sql = format!("SELECT COUNT(*) AS n, COUNT(DISTINCT `timestamp`) > 1 AS many FROM `{table}`");
    assert_eq!(read(bq.args(["query", "--use_legacy_sql=false", &sql])), json!([{ "n": "9685", "many": "true" }]));
}

/// What a client prints.
fn read(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

/// `bq` before another server than Google's: it wants a description of the API, and somebody to be.
fn bq(cloud: &Cloud) -> Option<Command> {
    let all = std::env::var_os("PATH")?;
    let path = std::env::split_paths(&all).map(|folder| folder.join("bq")).find(|bq| bq.is_file())?;
    let sdk = path.canonicalize().ok()?.ancestors().nth(2)?.to_path_buf();
    let api = sdk.join("platform/bq/discovery_next/bigquery.json");
    let mut command = Command::new(path);
    command.args(["--api", &cloud.endpoint, "--project_id", &cloud.place.project, "--format", "json"]);
    command.arg("--discovery_file").arg(&api);
    command.env("CLOUDSDK_CONFIG", cloud.desk.path("gcloud")).env("CLOUDSDK_AUTH_ACCESS_TOKEN", "nobody");
    api.is_file().then_some(command)
}

/// What `make live` does to a project, done to an emulator: so that the script itself is right.
#[tokio::test(flavor = "multi_thread")]
async fn the_checks_for_a_real_project_hold_for_an_emulator() {
    let cloud = Cloud::new().await;
    let warehouse = cloud.place.to_string();
    let stage = format!("gs://{}/stage", cloud.place.dataset);
    let mut command = Command::new(python());
    command.arg(project("tests/live.py")).arg(env!("CARGO_BIN_EXE_tradefold")).args([&warehouse, &stage]);
    command.env("GOOGLE_BASE_URL", &servers().storage).env("GOOGLE_SKIP_SIGNATURE", "true");
    let asked = cloud.desk.read(command.output().unwrap());
    assert!(asked.code == 1 && asked.err.contains("nothing was done"), "{}{}", asked.out, asked.err);
    assert!(asked.out.contains("tradefold_live_") && asked.out.contains("billed"), "{}", asked.out);
    let front = Front::start(&servers().bigquery).await;
    front.set_dry_bytes(1_000);
    command.args(["--yes", "--", "--emulator", &front.url, "--label", "team=tests"]);
    let ran = cloud.desk.read(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.matches("ok    ").count() > 20, "{}", ran.out);
}

/// Too long for every day: `make scale`, with a binary that was built for speed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make scale"]
async fn a_backfill_of_1_66_million_rows_into_the_emulator() {
    let mut cloud = Cloud::new().await;
    let front = Front::start(&servers().bigquery).await;
    cloud.endpoint.clone_from(&front.url);
    cloud.desk.binary = std::env::var_os("TRADEFOLD_BINARY").expect("`make scale` names one");
    let planted = cloud.desk.report(0, "generate --rows 1660000 --seed 3 --out raw");
    let begun = std::time::Instant::now();
    let first = cloud.report(0, "backfill raw");
    let took = begun.elapsed().as_secs_f64();
    let again = cloud.report(0, "backfill raw");
    let audit = cloud.report(0, "audit");
    let batches = first["batches"].as_array().unwrap();
    let days = batches.iter().map(|batch| batch["merged"]["days_changed"].as_array().unwrap().len()).sum::<usize>();
    println!(
        "{took:.1} s; {} batches, {} load jobs, {} merges, {days} days touched",
        batches.len(),
        front.ran("load"),
        front.ran("merge")
    );
    println!("planted {planted:#}\nbalance {:#}\nusage {:#}", first["balance"], first["usage"]);
    println!("first {:?}, again {:?}, audit {:#}", done(&first), done(&again), audit["audit"]["rows"]);
    let winners = number(&first, "/balance/winners");
    assert_eq!(
        winners
            + number(&first, "/balance/losers/exact")
            + number(&first, "/balance/losers/superseded")
            + number(&first, "/balance/losers/conflict"),
        1_660_000
    );
    assert_eq!((done(&first), done(&again)), ((winners, 0), (0, 0)));
    assert_eq!(front.ran("merge"), batches.len());
    assert_eq!((number(&audit, "/audit/rows"), number(&audit, "/audit/keys")), (winners, winners));
}

/// The landing is on the local disk, the bucket is not.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_kept_in_the_stage() {
    let cloud = Cloud::new().await;
    let row = |tx: &str, timestamp: &str| {
        format!("{{\"user\":\"0xa\",\"tx_hash\":\"{tx}\",\"order_hash\":\"0x1\",\"timestamp\":{timestamp}}}\n")
    };
    cloud.desk.write("rows.ndjson", &(row("0x1", "1759795200") + &row("0x2", "null")));
    let report = cloud.report(0, "backfill rows.ndjson");
    assert_eq!((number(&report, "/balance/landing/rejected"), done(&report)), (1, (1, 0)));
    let rejects = report["files"]["rejects"].as_str().unwrap();
    let file = rejects.strip_prefix(&format!("gs://{}/", cloud.place.dataset)).unwrap();
    let kept = std::fs::read_to_string(servers().buckets.join(&cloud.place.dataset).join(file)).unwrap();
    assert!(kept.lines().count() == 1 && kept.contains("0x2"), "{kept}");
    let own = format!("_tradefold/tests.{}.trades", cloud.place.dataset);
    assert_eq!(cloud.desk.files(".tradefold"), [format!("{own}/id"), format!("{own}/lock")], "no row stays here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_rows_that_are_gone_and_rows_that_came_twice() {
    let cloud = Cloud::new().await;
    let usage = cloud.report(0, "backfill fixtures/demo")["usage"].take();
    let report = cloud.report(0, "audit");
    assert_eq!((number(&report, "/audit/rows"), number(&report, "/audit/keys")), (9_685, 9_685));
    assert_eq!((number(&report, "/rows_after_last_merge"), report["findings"].to_string()), (9_685, "[]".into()));
    let steps = usage["steps"].as_object().unwrap();
    assert!(["load", "compare", "search", "merge", "verify"].iter().all(|step| number(&steps[*step], "/jobs") == 2));
    assert_eq!(number(&report, "/jobs/jobs"), steps.values().map(|step| number(step, "/jobs")).sum::<u64>());
    let witness = Witness::new(servers()).await;
    let table = format!("`{}`.`{}`.`trades`", cloud.place.project, cloud.place.dataset);
    let (day, count) = report["audit"]["days"].as_object().unwrap().iter().next().unwrap();
    witness.run(&format!("DELETE FROM {table} WHERE CAST(`timestamp` AS DATE) = DATE '{day}'")).await;
    let ran = cloud.run("audit");
    assert_eq!(ran.code, 65, "{}", ran.err);
    let gone = number(count, "/rows");
    assert!(
        ran.out.contains(&format!("{gone} rows gone since")) && ran.out.contains("found: lost_rows"),
        "{}",
        ran.out
    );
    witness.run(&format!("INSERT INTO {table} SELECT * FROM {table} LIMIT 1")).await;
    let report = cloud.report(65, "audit");
    assert_eq!((number(&report, "/audit/duplicates/exact"), report["findings"][0].as_str()), (1, Some("duplicates")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_left_behind_is_listed_and_removed_when_that_is_asked_for() {
    let mut cloud = Cloud::new().await;
    let front = Front::start(&servers().bigquery).await;
    cloud.endpoint.clone_from(&front.url);
    let elsewhere = |cloud: &Cloud| cloud.run_at("typo", "gc --remove");
    assert!(cloud.run("gc").out.contains("nothing was left behind"));
    front.fail("POST job compare", 1, refusal(403, "quotaExceeded"));
    let killed = cloud.run("backfill fixtures/demo");
    assert_eq!(killed.code, 77, "{}", killed.err);
    let left = cloud.report(0, "gc");
    let what = |report: &Value, part: &str| -> BTreeSet<String> {
        let all = report[part].as_array().unwrap().iter();
        all.map(|leftover| leftover["what"].as_str().unwrap().to_string()).collect()
    };
    let all: BTreeSet<String> =
        ["temporary table", "staged objects", "landed rows", "ledger file"].map(String::from).into();
    assert_eq!((what(&left, "kept"), what(&left, "removed")), (all.clone(), BTreeSet::new()));
    let typo = elsewhere(&cloud);
    assert!(typo.code == 2 && typo.err.contains("keep their ledger in another stage"), "{}{}", typo.out, typo.err);
    let needed = left["kept"].as_array().unwrap().iter().all(|leftover| leftover["needed_by"].is_string());
    assert!(needed, "{left:#}");
    // The lease of the run that failed, and nothing that the run would take up.
    assert_eq!(what(&cloud.report(0, "gc --remove"), "removed"), BTreeSet::from(["ledger file".into()]));
    assert_eq!(what(&cloud.report(0, "gc --remove --unfinished"), "removed"), all);
    // The same command does its work anew.
    let report = cloud.report(0, "backfill fixtures/demo");
    assert_eq!((done(&report), front.ran("load")), ((9_685, 0), 3));
    let left = cloud.report(0, "gc --remove");
    assert!(what(&left, "removed").iter().all(|what| what == "ledger file"), "{left:#}");
    let kept = cloud.objects();
    assert!(kept.iter().all(|path| !path.ends_with(".parquet")), "{kept:#?}");
    let lease = kept.iter().filter(|path| path.contains("/lease-")).count();
    assert_eq!((lease, kept.iter().filter(|path| path.contains("/rows/conflict-losers")).count()), (1, 1), "{kept:#?}");
    assert!(cloud.run("gc").out.contains("nothing was left behind"));
}

#[test]
fn a_call_that_can_not_work_is_refused_with_what_to_do() {
    let desk = Desk::new();
    let here = "--warehouse bigquery://project.raw";
    for (arguments, says) in [
        (format!("backfill fixtures/demo {here}"), "such as --stage gs://bucket/tradefold"),
        (format!("backfill fixtures/demo {here} --stage s3://bucket/x"), "BigQuery loads from Cloud Storage"),
        (format!("backfill fixtures/demo {here} --stage \"gs://bucket/my stage\""), "can't name an object with `%`"),
        (format!("backfill fixtures/demo {here} --stage \"gs://bucket/a*\""), "can't name an object with `"),
        (format!("backfill fixtures/demo {here} --label team"), "write key=value"),
        (format!("plan fixtures/demo {here} --price-per-tib=-1"), "is no price"),
        (format!("plan fixtures/demo {here} --price-per-tib NaN"), "is no price"),
        (format!("backfill fixtures/demo {here} --label Team=x"), "write key=value"),
        (format!("backfill fixtures/demo {here} --label tradefold_step=x"), "give another one"),
        ("backfill fixtures/demo --warehouse bigquery://raw".into(), "write bigquery://project.dataset"),
        ("plan --ddl".into(), "--warehouse bigquery://project.dataset"),
        (format!("plan {here}"), "no files are named"),
    ] {
        let mut command = desk.command(&arguments);
        let ran = desk.read(command.env("GOOGLE_SKIP_SIGNATURE", "true").output().unwrap());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments}: {}", ran.err);
    }
    let ran = desk.run(&format!("plan --ddl {here} --unpartitioned"));
    assert!(
        ran.code == 0 && ran.out.starts_with("CREATE TABLE IF NOT EXISTS `project`.`raw`.`trades` ("),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("PARTITION BY") && ran.out.ends_with(";\n"), "{}", ran.out);
}

#[test]
fn credentials_that_can_not_be_read_are_refused_and_never_repeated() {
    let desk = Desk::new();
    desk.write("key.json", "{\"type\": \"service_account\", \"private_key\": \"hunter2\", \"client_email\": 7}");
    for arguments in [
        "backfill gs://bucket/rows.ndjson",
        "backfill fixtures/demo --warehouse bigquery://project.raw --stage gs://bucket/stage",
    ] {
        let mut command = desk.command(arguments);
        let ran = desk.read(command.env("GOOGLE_APPLICATION_CREDENTIALS", desk.path("key.json")).output().unwrap());
        assert_eq!((ran.code, ran.out.as_str()), (77, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.contains("GOOGLE_APPLICATION_CREDENTIALS") && !ran.err.contains("hunter2"), "{}", ran.err);
    }
}
