//! The other commands, and how a run behaves as a process: output streams, the writer's lock, interrupts.

use super::{Desk, number};
use crate::rows::write;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::Arc;
use tradefold::generate::{Profile, Recipe, generate};

/// Takes the lock of the table that other processes would write.
fn hold_lock(desk: &Desk) -> File {
    desk.write("lake/_tradefold/trades/lock", "");
    let lock = File::open(desk.path("lake/_tradefold/trades/lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Starts a command and reads its stderr up to a line that holds this text.
fn start(desk: &Desk, arguments: &str, until: &str) -> Child {
    let mut child = desk.command(arguments).spawn().unwrap();
    // Unbuffered, so that nothing beyond the line is taken.
    let lines = BufReader::with_capacity(1, child.stderr.as_mut().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|line| line.contains(until));
    assert!(found, "{arguments} never said `{until}`");
    child
}

#[test]
fn a_lake_is_audited_and_swept() {
    let desk = Desk::new();
    desk.report(0, "backfill fixtures/demo --warehouse lake");
    let report = desk.report(0, "audit --warehouse lake");
    assert_eq!((number(&report, "/audit/rows"), number(&report, "/audit/keys")), (9_685, 9_685));
    assert_eq!((number(&report, "/rows_after_last_merge"), number(&report, "/jobs/jobs")), (9_685, 0));
    let sum = report["audit"]["days"].as_object().unwrap().values().map(|day| number(day, "/keys")).sum::<u64>();
    assert_eq!(sum, 9_685);
    let text = desk.run("audit --warehouse lake").out;
    assert!(text.contains("latest row               2025-10-21T") && !text.contains("found:"), "{text}");
    // Its landing, for a try that takes the run up; nobody does.
    let landings =
        desk.files("lake/_tradefold/trades/ledger").iter().filter(|name| name.starts_with("landing")).count();
    assert_eq!(landings, 1);
    desk.write("lake/_tradefold/trades/runs/dead/landing/part.parquet", "half");
    desk.write("lake/_tradefold/trades/runs/dead/rows/rejects.ndjson", "{}");
    let listed = desk.report(0, "gc --warehouse lake");
    assert_eq!((listed["kept"].as_array().unwrap().len(), listed["removed"].as_array().unwrap().len()), (2, 0));
    assert_eq!(desk.report(0, "gc --warehouse lake --remove")["removed"], listed["kept"]);
    let left = desk.files("lake/_tradefold/trades");
    assert!(left.contains(&"runs/dead/rows/rejects.ndjson".to_string()), "{left:?}");
    assert!(!left.iter().any(|name| name.contains("landing")), "{left:?}");
    assert!(desk.run("gc --warehouse lake").out.contains("nothing was left behind"));
    assert_eq!(number(&desk.report(0, "audit --warehouse lake"), "/audit/rows"), 9_685);
}

#[test]
fn a_second_writer_gives_up_after_its_wait() {
    let desk = Desk::new();
    let _lock = hold_lock(&desk);
    let ran = desk.run("backfill fixtures/dome_page.json --wait 0");
    assert_eq!((ran.code, ran.out.as_str()), (73, ""));
    insta::assert_snapshot!(ran.err, @r"
    error: could not take the writer's lock, lock `/lake/_tradefold/trades/lock`
      caused by: another writer holds it; waited 0 s

    hint: wait until the other run is done, or give it longer with --wait
    ");
    assert_eq!(desk.files("lake"), ["_tradefold/trades/lock"]);
    // Reading is free.
    assert_eq!(desk.run("status").code, 0);
    assert_eq!(desk.run("plan fixtures/dome_page.json").code, 0);
}

#[test]
fn a_second_writer_waits_for_the_first() {
    let desk = Desk::new();
    let lock = hold_lock(&desk);
    let child = start(&desk, "backfill fixtures/dome_page.json", "another writer holds the target");
    assert!(desk.files("lake/trades").is_empty());
    drop(lock);
    let ran = desk.read(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("rows in the target: 6"), "{}", ran.out);
}

#[test]
fn an_interrupted_run_is_taken_up() {
    // The line that ends a step, and what the next try finds done.
    for (signal, step, done) in
        [("-INT", "read inputs:", "the input is landed already"), ("-TERM", "stage batches:", "the winners are staged")]
    {
        let desk = Desk::new();
        let mut child = start(&desk, "backfill fixtures/demo/pages", step);
        let interrupted = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        let mut rest = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(75), "{rest}");
        assert!(rest.contains("it was interrupted") && rest.contains("run the same command again"), "{rest}");
        let unfinished = desk.report(0, "status")["unfinished"].clone();
        assert_eq!(unfinished.as_array().unwrap().len(), 1);
        // What lies there from a try that stopped is no find of this one.
        desk.write(
            &format!("lake/_tradefold/trades/runs/{}/rows/suspects.ndjson", unfinished[0].as_str().unwrap()),
            "",
        );
        let ran = desk.run("backfill fixtures/demo/pages --json");
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.err.contains(done), "{}", ran.err);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(number(&report, "/batches/0/merged/rows_after"), 87);
        assert_eq!(desk.rows(&report["files"]["conflicts"]).len(), 2, "{step}");
        assert_eq!(report["files"].as_object().unwrap().len(), 1, "{step}: {report:#}");
        assert_eq!(desk.report(0, "status")["unfinished"], serde_json::json!([]));
    }
}

#[test]
fn a_run_whose_input_has_changed_is_forgotten_when_that_is_asked_for() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("pages")).unwrap();
    for file in desk.files("fixtures/demo/pages") {
        std::fs::copy(desk.path("fixtures/demo/pages").join(&file), desk.path("pages").join(&file)).unwrap();
    }
    let mut child = start(&desk, "backfill pages", "read inputs:");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let first = desk.report(0, "status")["unfinished"][0].clone();
    std::fs::copy(desk.path("pages/run-1-page-0001.json"), desk.path("pages/again.json")).unwrap();
    let done = desk.report(0, "backfill pages");
    assert_ne!(done["run_id"], first);
    let text = desk.run("status").out;
    let line = format!("unfinished run {}: run the same command again", first.as_str().unwrap());
    assert!(text.contains(&line) && text.contains("`gc --remove --unfinished`"), "{text}");
    assert!(!text.contains("--roll-back"), "it is no migration: {text}");
    // It is neither over nor without its work before that is asked for.
    let left = desk.report(0, "gc --remove");
    assert_eq!((&left["forgotten"], &left["kept"][0]["needed_by"]), (&serde_json::json!([]), &first));
    assert_eq!(desk.report(0, "status")["unfinished"], serde_json::json!([first]));
    let text = desk.run("gc --remove --unfinished").out;
    let told = format!("unfinished run        {}\n", first.as_str().unwrap());
    assert!(text.contains("forgotten; what they have merged stays") && text.contains(&told), "{text}");
    let text = desk.run("status").out;
    assert!(!text.contains("unfinished run") && text.contains("forgotten"), "{text}");
    let clean = desk.run("gc --remove --unfinished").out;
    assert!(clean.contains("nothing was left behind") && !clean.contains("forgotten"), "{clean}");
    assert_eq!(number(&desk.report(0, "status"), "/rows"), 87);
}

#[test]
fn an_interrupted_dedup_leaves_nothing_and_a_killed_one_a_hidden_folder() {
    let desk = Desk::new();
    let mut recipe = Recipe::new(Profile::Spread, 60_000, 1);
    recipe.odd_share = 0.0;
    generate(&recipe, &desk.path("raw")).unwrap();
    std::fs::create_dir(desk.path("here")).unwrap();
    std::fs::create_dir(desk.path("temporary")).unwrap();
    let begun = || std::fs::read_dir(desk.path("here")).unwrap().next().is_some();
    for (signal, code) in [("-INT", Some(75)), ("-TERM", Some(75)), ("-KILL", None)] {
        let mut dedup = desk.command("dedup raw -o here/out --quiet --memory 32MB");
        let mut child = dedup.env("TMPDIR", desk.path("temporary")).spawn().unwrap();
        // The output has begun to be written.
        while !begun() {
            assert!(child.try_wait().unwrap().is_none(), "{signal}: it was done before it could be interrupted");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), code);
        let left: Vec<_> =
            std::fs::read_dir(desk.path("here")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(desk.files("temporary").is_empty(), "{signal}: {:?}", desk.files("temporary"));
        match code {
            Some(_) => assert!(left.is_empty(), "{signal}: {left:?}"),
            None => assert!(left.len() == 1 && left[0].to_str().unwrap().starts_with(".tradefold-"), "{left:?}"),
        }
    }
    // What a killed one left is in nobody's way.
    assert_eq!(desk.run("dedup raw -o here/out --quiet").code, 0);
}

#[test]
fn results_go_to_stdout_and_progress_to_stderr() {
    let desk = Desk::new();
    let ran = desk.run("backfill fixtures/dome_page.json --json");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, number(&report, "/balance/winners")), (0, 6));
    assert!(ran.err.contains("read inputs: ") && ran.err.contains("merge batches: "), "{}", ran.err);
    // There was nothing to look at, so nothing is left of the run, no empty folder either.
    assert_eq!(std::fs::read_dir(desk.path("lake/_tradefold/trades/runs")).unwrap().count(), 0);
    let ran = desk.run("backfill fixtures/dome_page.json --quiet");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out, @r"
    trades -> /lake/trades

      read                               6
      - rejected                         0   0.00 %
      - outside the window               0
      = landed                           6
      - exact duplicates                 0   0.00 %
      - superseded                       0   0.00 %
      - conflicts                        0   0.00 %
      - quarantined                      0   0 keys
      = winners                          6   100.00 %

      batch                        winners    inserted     updated   unchanged
      2026-01-26..2026-01-26             6           0           0           6
      total                              6           0           0           6

      rows in the target: 6
    ");
}

#[test]
fn a_replay_changes_nothing_and_every_command_tells_the_same() {
    let desk = Desk::new();
    let before = desk.files("");
    let plan = desk.report(0, "plan fixtures/midnight.ndjson");
    assert_eq!(desk.files(""), before, "plan wrote something");
    assert_eq!(number(&plan, "/target_rows"), 0);
    let first = desk.report(0, "backfill fixtures/midnight.ndjson");
    let table = desk.files("lake/trades");
    let second = desk.report(0, "backfill fixtures/midnight.ndjson");
    assert_eq!(desk.files("lake/trades"), table);
    assert_eq!(number(&second, "/batches/0/merged/rows_after"), 2);
    let analysis = desk.report(0, "analyze fixtures/midnight.ndjson");
    for counts in ["/landing", "/winners", "/losers"] {
        let expected = first["balance"].pointer(counts).unwrap();
        for other in [&plan, &second, &analysis] {
            assert_eq!(other["balance"].pointer(counts).unwrap(), expected, "{counts}");
        }
    }
    assert_eq!(plan["batches"].as_array().unwrap().len(), first["batches"].as_array().unwrap().len());
    let status = desk.report(0, "status");
    assert_eq!((number(&status, "/rows"), number(&status, "/receipts/0/merged/inserted")), (2, 2));
    // The table's own folder is no input: files of older versions are in it.
    let ran = desk.run("analyze lake/trades");
    assert!(ran.code == 2 && ran.err.contains("lake/trades is a Delta table"), "{}", ran.err);
    assert!(desk.run("status --warehouse nowhere").out.contains("nothing was done to it"));
    assert!(!desk.path("nowhere").exists());
}

#[test]
fn analyze_counts_by_class_day_and_file() {
    let desk = Desk::new();
    let report = desk.report(0, "analyze fixtures/demo/pages");
    assert_eq!([number(&report, "/rows"), number(&report, "/keys")], [240, 87]);
    let losers = report["census"]["losers"].clone();
    assert_eq!(losers, serde_json::json!({ "exact": 143, "superseded": 8, "conflict": 2 }));
    assert_eq!(report["rows_by_day"], serde_json::json!({ "2025-10-21": 240 }));
    assert_eq!(number(&report, "/rows_by_file/fixtures~1demo~1pages~1run-1-page-0001.json"), 50);
    assert_eq!(report["rows_by_file"].as_object().unwrap().len(), 6);
    assert_eq!(number(&report, "/census/largest/0/rows"), 3);
    let text = desk.run("analyze fixtures/demo/pages").out;
    assert!(text.contains("duplicates                       153   63.75 %"), "{text}");
    assert!(desk.files("lake").is_empty());
}

#[test]
fn dedup_keeps_one_row_of_each_key_and_every_column() {
    let desk = Desk::new();
    let columns = |path: &str| {
        let file = SerializedFileReader::new(File::open(desk.path(path)).unwrap()).unwrap();
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        schema.columns().iter().map(|column| column.name().to_string()).collect::<Vec<_>>()
    };
    let report = desk.report(0, "dedup fixtures/demo-suspects -o out/clean");
    assert_eq!(number(&report, "/balance/winners"), 214);
    assert_eq!(number(&report, "/files"), desk.files("out").len() as u64);
    assert_eq!(columns("out/clean/part-00000.parquet"), columns("fixtures/demo-suspects/part-000.parquet"));
    let again = desk.report(0, "analyze out/clean");
    assert_eq!([number(&again, "/rows"), number(&again, "/keys")], [214, 214]);
    let ran = desk.run("dedup fixtures/demo-suspects -o out/clean");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is something in it"), "{}", ran.err);
    let sizes = [1, 19].map(|level| {
        let packed = desk.report(0, &format!("dedup fixtures/demo-suspects -o level-{level} --level {level}"));
        assert_eq!(number(&packed, "/balance/winners"), 214);
        number(&packed, "/size_bytes")
    });
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    assert_eq!(desk.run("dedup fixtures/demo-suspects -o level-0 --level 0").code, 2);
    // Without a contract: any columns are a key.
    let report = desk.report(0, "dedup fixtures/demo-suspects -o days --key \"timestamp, side\"");
    let sides = desk.report(0, "analyze fixtures/demo-suspects --key \"timestamp, side\"");
    assert_eq!(number(&report, "/balance/winners"), number(&sides, "/keys"));
    assert_eq!(number(&sides, "/balance/losers/superseded"), 0);
}

#[test]
fn a_file_of_losers_is_an_input_like_any_other() {
    let desk = Desk::new();
    let report = desk.report(0, "backfill fixtures/demo --losers");
    let losers = report["files"]["losers"].as_str().unwrap().replace("file:///", "");
    let counted = number(&report, "/balance/losers/exact")
        + number(&report, "/balance/losers/superseded")
        + number(&report, "/balance/losers/conflict");
    // It names the files that its rows came from, which are columns like any other here.
    for key in ["tx_hash", "_source, _source_row"] {
        let found = desk.report(0, &format!("analyze {losers} --key \"{key}\""));
        assert_eq!(number(&found, "/rows"), counted);
        // Its own losers are counted under its own name, and not under those that stand in it.
        let by_file = found["census"]["by_file"].as_object().unwrap();
        assert!(by_file.keys().all(|file| *file == losers), "{found:#}");
        assert_eq!(by_file.len(), usize::from(key == "tx_hash"), "{found:#}");
    }
    let kept = desk.report(0, &format!("dedup {losers} -o out --key \"_source, _source_row\""));
    assert_eq!(number(&kept, "/balance/winners"), counted);
}

#[test]
fn dedup_of_no_rows_gives_a_file_without_rows() {
    let desk = Desk::new();
    let columns = [("id", DataType::Utf8), ("at", DataType::Int64)].map(|(name, kind)| Field::new(name, kind, true));
    let empty = RecordBatch::new_empty(Arc::new(Schema::new(columns.to_vec())));
    write(&desk.path("in.parquet"), std::slice::from_ref(&empty), 1);
    let report = desk.report(0, "dedup in.parquet -o out --key id");
    assert_eq!((number(&report, "/files"), number(&report, "/balance/winners")), (1, 0));
    assert_eq!(desk.files("out"), ["part-00000.parquet"]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(desk.path("out/part-00000.parquet")).unwrap());
    assert_eq!(reader.as_ref().unwrap().schema().fields(), empty.schema().fields());
    assert_eq!(reader.unwrap().build().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 0);
}

#[test]
fn dedup_needs_no_dataset_and_tells_null_from_a_value() {
    let desk = Desk::new();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(StringArray::from(vec![Some("a"), Some("a"), Some("a"), None, None]))),
        ("other", Arc::new(StringArray::from(vec!["1", "1", "1", "2", "3"]))),
        ("at", Arc::new(Int64Array::from(vec![1, 2, 2, 3, 4]))),
        ("seen", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    write(&desk.path("in.parquet"), &[batch], 10);
    let ran = desk.run("dedup in.parquet -o out --key id --quiet");
    assert_eq!(ran.code, 65);
    assert!(ran.err.contains("2 rows have NULL in a key column") && ran.err.contains("COALESCE"), "{}", ran.err);
    assert!(!desk.path("out").exists());
    let key = "--key \"COALESCE(id, other)\"";
    for (flags, expected) in [
        ("", [3, 0, 0, 2]),
        ("--order \"at DESC\"", [3, 0, 1, 1]),
        ("--order \"at DESC\" --volatile seen", [3, 1, 1, 0]),
        ("--order \"at DESC\" --volatile \"*\"", [3, 1, 1, 0]),
    ] {
        let out = format!("out-{}", flags.len());
        let balance = desk.report(0, &format!("dedup in.parquet -o {out} {key} {flags}"))["balance"].clone();
        let found = ["/winners", "/losers/exact", "/losers/superseded", "/losers/conflict"];
        assert_eq!(found.map(|name| number(&balance, name)), expected, "{flags}");
    }
    let ran = desk.run(&format!("dedup in.parquet -o more {key} --volatile \"*,nosuch\""));
    assert!(ran.code == 2 && ran.err.contains("hint: give '*' alone, or name the columns"), "{}", ran.err);
}

#[test]
fn help_and_completions() {
    let desk = Desk::new();
    let help = desk.run("--help");
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for code in ["0", "1", "2", "65", "73", "75", "77"] {
        assert!(help.out.contains(&format!("\n  {code:<4}")), "{code}: {}", help.out);
    }
    for command in ["backfill", "plan", "analyze", "dedup"] {
        let help = desk.run(&format!("{command} --help"));
        assert!(help.code == 0 && help.out.contains("Example"), "{command}");
    }
    let script = desk.run("completions bash");
    assert!(script.code == 0 && script.out.contains("--on-suspect") && script.out.contains("complete -F _tradefold"));
}
