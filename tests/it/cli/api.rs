//! The program fetching from the tests' server.

use super::page::embedded;
use super::{Desk, Ran, number};
use crate::fetch::{Api, FIRST_S, Fault, Faults, Known, Settings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A desk whose program knows the server's key.
struct Caller {
    desk: Desk,
    api: Api,
}

impl Caller {
    async fn new(known: Known, settings: Settings) -> Caller {
        let mut desk = Desk::new();
        if let Ok(binary) = std::env::var("TRADEFOLD_BINARY") {
            desk.binary = binary.into();
        }
        Caller { desk, api: Api::start(known, settings).await }
    }

    fn command(&self, arguments: &str) -> std::process::Command {
        let address = format!("--source dome --base-url {}/v1 --requests-per-second 5000", self.api.url());
        let mut command = self.desk.command(&format!("{arguments} {address}"));
        command.env("TRADEFOLD_API_KEY", self.api.key());
        command
    }

    fn run(&self, arguments: &str) -> Ran {
        self.desk.read(self.command(arguments).output().unwrap())
    }

    fn report(&self, code: i32, arguments: &str) -> Value {
        let ran = self.run(&format!("{arguments} --json"));
        assert_eq!(ran.code, code, "{arguments}\n{}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Kills the program once so many requests were made.
    fn kill_after(&self, arguments: &str, requests: usize) {
        let mut child = self.command(arguments).spawn().unwrap();
        let begun = Instant::now();
        while self.api.requests().len() < requests && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// How often each request for trades was made.
    fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for (line, _) in self.api.requests().into_iter().filter(|(line, _)| line.contains("orders")) {
            *asked.entry(line).or_default() += 1;
        }
        asked
    }
}

fn rows_after(report: &Value) -> u64 {
    number(report, "/trades/runs/0/batches/0/merged/rows_after")
}

/// The windows of four days from the first one on.
const FOUR_DAYS: &str = "--from 2025-10-01 --to 2025-10-05";

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_fetched_and_a_sync_goes_on_from_there() {
    let caller = Caller::new(Known::generate(3, 1_200, 4, FIRST_S), Settings::default()).await;
    let report = caller.report(0, &format!("backfill {FOUR_DAYS}"));
    assert_eq!(rows_after(&report), 1_200);
    assert_eq!(report["trades"]["feeds"][0]["checkpoint_us"], (FIRST_S + 4 * 86_400) * 1_000_000);
    assert!(number(&report, "/markets/runs/0/batches/0/merged/rows_after") > 5);
    assert!(number(&report, "/events/runs/0/batches/0/merged/rows_after") > 0);
    let again = caller.run(&format!("backfill {FOUR_DAYS}"));
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.out.contains("fetched 0 rows with 0 pieces") && again.out.contains("nothing to bring in"));
    // Up to now, which is long after: one window is enough, and the first day is known.
    let ran = caller.run("sync --window-hours 65000 --no-catalogue");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("checkpoint 20"), "{}", ran.out);
    let table = caller.desk.report(0, "audit");
    assert_eq!((number(&table, "/audit/rows"), number(&table, "/audit/keys")), (1_200, 1_200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_ends_with_73_and_the_next_run_closes_it() {
    let caller = Caller::new(Known::generate(3, 600, 4, FIRST_S), Settings::default()).await;
    let second_day = format!("start_time={}", FIRST_S + 86_400);
    caller.api.set_faults(Faults::new(1, 0).for_ever(&second_day, Fault::TotalWrong));
    let ran = caller.run(&format!("backfill {FOUR_DAYS} --no-catalogue"));
    assert_eq!(ran.code, 73, "{}", ran.err);
    assert!(ran.out.contains("gap [2025-10-02T00:00:00Z, 2025-10-03T00:00:00Z): 3 passes over it"), "{}", ran.out);
    assert!(ran.out.contains("--accept-gaps"), "{}", ran.out);
    caller.api.set_faults(Faults::default());
    assert_eq!(caller.run(&format!("backfill {FOUR_DAYS} --no-catalogue")).code, 0);
}

/// Killed at any time, it goes on at the page where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_killed_asks_for_nothing_twice() {
    let settings = Settings { latency: Duration::from_millis(15), ..Settings::default() };
    let caller = Caller::new(Known::generate(3, 3_000, 4, FIRST_S), settings).await;
    let call = format!("backfill {FOUR_DAYS} --no-catalogue --window-hours 2 --in-flight 2");
    let mut kills = 0;
    for requests in [5, 15, 30] {
        caller.kill_after(&call, requests);
        kills += 1;
    }
    let report = caller.report(0, &call);
    assert_eq!(number(&caller.desk.report(0, "audit"), "/audit/rows"), 3_000, "{report:#}");
    let asked = caller.asked();
    let again: usize = asked.values().map(|times| times - 1).sum();
    // Only what was on its way when it was killed.
    assert!(again <= 2 * kills, "{again} of {}", asked.len());
    assert!(asked.len() > 45, "{}", asked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_fetch_that_was_killed_may_be_removed() {
    let settings = Settings { latency: Duration::from_millis(15), ..Settings::default() };
    let caller = Caller::new(Known::generate(3, 900, 4, FIRST_S), settings).await;
    let call = format!("backfill {FOUR_DAYS} --no-catalogue --window-hours 2 --in-flight 2");
    caller.kill_after(&call, 20);
    let listed = caller.desk.report(0, "gc");
    let pages: Vec<&Value> =
        listed["kept"].as_array().unwrap().iter().filter(|left| left["what"] == "fetched pages").collect();
    assert!(pages.len() == 1 && number(pages[0], "/files") > 0 && number(pages[0], "/size_bytes") > 0, "{listed:#}");
    assert_eq!(pages[0]["needed_by"], "a fetch that was not finished");
    let removed = caller.desk.report(0, "gc --remove --unfinished");
    assert!(removed["removed"].as_array().unwrap().iter().any(|left| left == pages[0]), "{removed:#}");
    assert!(!caller.desk.files("tradefold").iter().any(|name| name.ends_with(".json.zst")));
    assert_eq!(rows_after(&caller.report(0, &call)), 900);
    assert!(!caller.desk.run("gc").out.contains("fetched pages"), "{}", caller.desk.run("gc").out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_for_a_decision_costs_no_second_request() {
    let known = Known::generate(3, 600, 4, FIRST_S);
    let settings =
        Settings { row_faults: vec![crate::fetch::RowFault::MissingKey], row_fault_every: 20, ..Settings::default() };
    let caller = Caller::new(known, settings).await;
    let ran = caller.run(&format!("backfill {FOUR_DAYS}"));
    assert_eq!(ran.code, 65, "{}", ran.err);
    assert!(ran.out.contains("stopped: 30 rows rejected of 600 read"), "{}", ran.out);
    let requests = caller.api.requests().len();
    let report = caller.report(0, &format!("backfill {FOUR_DAYS} --max-rejects 30 --no-catalogue"));
    assert_eq!(caller.api.requests().len(), requests, "nothing is fetched again");
    assert_eq!(rows_after(&report), 570);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_about_all_trades_that_a_command_brings_in() {
    let settings =
        Settings { row_faults: vec![crate::fetch::RowFault::MissingKey], row_fault_every: 20, ..Settings::default() };
    let caller = Caller::new(Known::generate(3, 600, 4, FIRST_S), settings).await;
    let landed = |report: &Value, run: &str| number(report, &format!("/trades/runs/{run}/balance/landing/read"));
    // It stops, and the page is about what waits for a decision.
    let stopped = caller.run("backfill --from 2025-10-01 --to 2025-10-03 --html p.html");
    assert_eq!(stopped.code, 65, "{}", stopped.err);
    assert!(stopped.out.contains("look at the page about these rows: p.html\n"), "{}", stopped.out);
    let (first, headline) = embedded(&caller.desk, "p.html");
    assert!(headline.starts_with("Duplicates in what was fetched for the table trades of lake: "), "{headline}");
    let rejected = number(&first, "/balance/landing/rejected");
    assert_eq!((rejected > 10, first["rejects"].as_array().unwrap().len() as u64), (true, rejected.min(20)));
    // Then what waited comes in by one run and what is new by another.
    let report = caller.report(0, &format!("backfill {FOUR_DAYS} --max-rejects 30 --html p.html"));
    let (page, _) = embedded(&caller.desk, "p.html");
    assert_eq!(landed(&report, "0"), number(&first, "/balance/landing/read"));
    assert!(landed(&report, "1") > 0, "{report:#}");
    assert_eq!(number(&page, "/balance/landing/read"), 600);
    assert_eq!((number(&page, "/rows"), number(&page, "/keys")), (570, 570));
    let windows = page["rows_by_file"].as_object().unwrap();
    assert_eq!(windows.values().filter_map(Value::as_u64).sum::<u64>(), 570);
    assert!(windows.len() == 4 && windows.keys().all(|name| !name.contains(" page ")), "{windows:?}");
    let left = caller.desk.files("lake/_tradefold/trades/runs").into_iter();
    assert_eq!(left.filter(|name| name.contains("/landing/")).collect::<Vec<_>>(), Vec::<String>::new());
    // The next one brings nothing in.
    let ran = caller.run(&format!("backfill {FOUR_DAYS} --no-catalogue --html p.html"));
    assert!(ran.code == 0 && ran.err.contains("no rows came in, so there is no new page"), "{}", ran.err);
    assert_eq!(embedded(&caller.desk, "p.html").0, page);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_on_two_pages_of_a_window_are_in_one_input() {
    let settings = Settings { copies: 3.0, ..Settings::default() };
    let caller = Caller::new(Known::generate(5, 3_000, 4, FIRST_S), settings).await;
    caller.report(0, &format!("backfill {FOUR_DAYS} --no-catalogue --window-hours 96 --html p.html"));
    let (page, _) = embedded(&caller.desk, "p.html");
    let repeats = number(&page, "/rows") - number(&page, "/keys");
    assert!(repeats > 5_000, "{repeats}");
    let far = serde_json::json!({ "same_page": repeats, "same_input": 0, "other_input": 0, "other_day": 0 });
    assert_eq!(page["distances"], far);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_at_the_end_takes_no_report_with_it() {
    let caller = Caller::new(Known::generate(3, 600, 4, FIRST_S), Settings::default()).await;
    // There is a folder of this name once the table is made.
    let report = caller.report(2, &format!("backfill {FOUR_DAYS} --html lake"));
    assert_eq!((rows_after(&report), &report["trades"]["runs"][0]["page"]), (600, &Value::Null));
    let ran = caller.run(&format!("backfill {FOUR_DAYS} --html p.html"));
    assert!(ran.code == 0 && ran.err.contains("no rows came in"), "{}", ran.err);
    let landed = || {
        let files = caller.desk.files("lake/_tradefold/trades/runs").into_iter();
        files.filter(|name| name.contains("/landing/")).count()
    };
    assert!(landed() > 0, "what was to be shown is still there");
    caller.desk.report(0, "gc --remove");
    assert_eq!(landed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_landed_by_another_contract_is_fetched_again() {
    let settings =
        Settings { row_faults: vec![crate::fetch::RowFault::MissingKey], row_fault_every: 20, ..Settings::default() };
    let caller = Caller::new(Known::generate(3, 600, 4, FIRST_S), settings).await;
    let call = format!("backfill {FOUR_DAYS} --no-catalogue");
    assert_eq!(caller.run(&call).code, 65);
    let (before, contract) = (caller.asked().len(), include_str!("../../../src/dataset/trades.toml"));
    caller.desk.write("other.toml", &contract.replace("max = 1\n", "max = 2\n"));
    caller.report(0, &format!("{call} --max-rejects 30 --dataset other.toml"));
    assert!(caller.asked().values().all(|times| *times == 2), "{before} requests, each made once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_happened_yet_is_not_taken_for_seen() {
    let caller = Caller::new(Known::generate(3, 50, 1, FIRST_S), Settings::default()).await;
    let report = caller.report(0, "backfill --from 2025-10-01 --to 2200-01-01 --window-hours 65000 --no-catalogue");
    let checkpoint_us = report["trades"]["feeds"][0]["checkpoint_us"].as_i64().unwrap();
    let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    assert!((checkpoint_us - now_us).abs() < 600_000_000, "{checkpoint_us} {now_us}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_follow_each_other_until_the_program_is_ended() {
    let caller = Caller::new(Known::generate(3, 300, 4, FIRST_S), Settings::default()).await;
    let call =
        "sync --from 2025-10-01 --window-hours 65000 --no-catalogue --every 1s --settle 0s --overlap 0s --html p.html";
    let mut child = caller.command(call).spawn().unwrap();
    let begun = Instant::now();
    while caller.asked().len() < 3 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let code = child.wait().unwrap().code();
    let ran = caller.desk.read(child.wait_with_output().unwrap());
    assert_eq!(code, Some(75), "{}", ran.err);
    assert!(ran.out.matches("checkpoint 20").count() >= 2, "{}", ran.out);
    assert!(caller.asked().values().all(|times| *times == 1), "each round asks for what is new");
    // The page is that of the last round that brought something in.
    assert!(ran.err.contains("no rows came in, so there is no new page"), "{}", ran.err);
    assert_eq!(number(&embedded(&caller.desk, "p.html").0, "/rows"), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_can_not_work_is_refused_before_anything_is_asked() {
    let caller = Caller::new(Known::generate(3, 10, 1, FIRST_S), Settings::default()).await;
    let from = "--from 2025-10-01";
    for (arguments, says) in [
        ("sync".to_string(), "name one with --source"),
        ("sync --source dome".into(), "say with --from which day is the first"),
        ("backfill --source dome".into(), "say with --from which day is the first"),
        (format!("backfill fixtures/demo --source dome {from}"), "both files and an API are named"),
        (format!("sync --source polymarket --dataset trades {from}"), "use the dataset polymarket_trades"),
        (format!("sync --source dome --dataset fixtures/datasets/markets_own.toml {from}"), "leave out --source"),
        (format!("sync --source polymarket --market-slug x {from}"), "the source knows no such filter"),
        (format!("sync --source dome --market 0x1 --token 7 {from}"), "cannot be used with"),
        (format!("sync --source dome --base-url http://api.example {from}"), "has to come over https"),
        ("sync --source dome --base-url https://me:secret@api.example".into(), "give the key in the environment"),
        (format!("sync --source dome --dataset markets {from}"), "come after the trades that mention them"),
        (format!("sync --source dome --every 0s {from}"), "without a break"),
        (format!("sync --source dome --users nowhere.txt {from}"), "it has one wallet on each line"),
        (format!("sync --source dome --users fixtures/README.md --html fixtures/README.md {from}"), "would be lost"),
        (format!("sync --source dome --html nowhere/p.html {from}"), "write an analysis as a page"),
        (format!("backfill --source dome --html nowhere/p.html {from}"), "write an analysis as a page"),
        (format!("sync --source dome --settle soon {from}"), "write 90s, 10m, 2h or 3d"),
        (format!("sync --source dome --requests-per-second 0 {from}"), "is no rate"),
    ] {
        let ran = caller.desk.run(&arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments}: {}", ran.err);
        assert!(ran.err.contains(says) && !ran.err.contains("secret"), "{arguments}: {}", ran.err);
    }
    assert_eq!(caller.api.requests(), []);
    let mut command = caller.command(&format!("sync {from} --window-hours 65000"));
    let ran = caller.desk.read(command.env("TRADEFOLD_API_KEY", "hunter2").output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (77, ""), "{}", ran.err);
    assert!(ran.err.contains("TRADEFOLD_API_KEY") && !ran.err.contains("hunter2"), "{}", ran.err);
}

/// Years of trades from a server that serves each 2.8 times and fails as it likes, with one window in flight and with
/// eight. Not part of `make test`: it takes minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; `make scale` runs it"]
async fn four_hundred_days_from_an_api() {
    let rows = 200_000;
    for (in_flight, share) in [(1, 0.0), (8, 0.0), (8, 0.004)] {
        let settings = Settings { copies: 2.8, latency: Duration::from_millis(40), ..Settings::default() };
        let caller = Caller::new(Known::generate(9, rows, 400, FIRST_S - 400 * 86_400), settings).await;
        let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Silence);
        caller.api.set_faults(faults.fold(Faults::new(2, 2), |faults, fault| faults.with(fault, share)));
        let call = format!("backfill --from 2024-08-27 --to 2025-10-01 --in-flight {in_flight} --json");
        let (begun, mut memory) = (Instant::now(), Vec::new());
        let mut child = caller.command(&call).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let printed = std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut out, &mut text).map(|_| text)
        });
        while child.try_wait().unwrap().is_none() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
            memory.extend(resident.and_then(|kb| kb.parse::<u64>().ok()).map(|kb| kb / 1_024));
            std::thread::sleep(Duration::from_millis(500));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let report: Value = serde_json::from_str(&printed.join().unwrap().unwrap()).unwrap();
        let (fetch, run) = (&report["trades"]["fetch"], &report["trades"]["runs"][0]);
        println!("== {in_flight} in flight, faults {share} of each kind: {seconds:.1} s");
        println!("{:.1} requests a second until everything was merged", number(fetch, "/requests") as f64 / seconds);
        println!("fetch {fetch}\nbalance {}\nfaults {:?}", run["balance"], caller.api.counts());
        let every = memory.len().div_ceil(20).max(1);
        println!("MB over time {:?}", memory.iter().step_by(every).collect::<Vec<_>>());
        let audit = caller.desk.report(0, "audit");
        assert_eq!(number(&audit, "/audit/rows"), rows as u64, "{fetch:#}");
        assert_eq!(number(&audit, "/audit/keys"), rows as u64);
    }
}
