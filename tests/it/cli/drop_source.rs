//! `tradefold migrate --drop-source`

use super::migrate::desk;
use super::{Desk, Ran, number, project};
use crate::googlesql::python;
use std::process::Command;
use std::time::Duration;

const DROP: &str = "migrate --from staging --to lake --drop-source";

/// The name of the folder in the staging lake that a table was moved to.
fn kept(desk: &Desk) -> Option<String> {
    let names = std::fs::read_dir(desk.path("staging")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.starts_with("_trades.kept-until-"))
}

/// Runs a command at a terminal where somebody types this.
fn typed(desk: &Desk, answer: &str, arguments: &str) -> Ran {
    let mut command = Command::new(python());
    command.arg(project("tests/oracle/terminal.py")).arg(answer).arg(&desk.binary).args(arguments.split(' '));
    desk.read(command.current_dir(desk.path("")).output().unwrap())
}

#[test]
fn a_source_is_dropped_once_it_is_proven_and_kept_until_its_day() {
    let desk = desk();
    let rows = number(&desk.report(0, "audit --warehouse staging"), "/audit/rows");
    let done = desk.report(0, &format!("{DROP} --yes --keep-days 3"));
    assert_eq!(done["proof"]["findings"].to_string(), "[]");
    let name = kept(&desk).unwrap();
    let dropped = &done["dropped"][0];
    assert_eq!(dropped["source"], "file:///staging/trades");
    assert_eq!(dropped["kept"].as_str().unwrap(), format!("file:///staging/{name}"));
    assert!(name.contains(dropped["until"].as_str().unwrap()), "{name} {dropped}");
    assert!(!desk.path("staging/trades").exists());
    // What is kept is the whole table.
    let same = desk.report(65, &format!("diff staging/{name} fixtures/demo/run-2-000.parquet --dataset trades"));
    assert_eq!((number(&same, "/a/rows"), number(&same, "/keys/only_b")), (rows, 0));
    // Neither it nor the winners that the proof names are removed before that day is over.
    for arguments in ["gc --warehouse lake", "gc --warehouse lake --remove --unfinished"] {
        let found = desk.report(0, arguments);
        let kept = found["kept"].as_array().unwrap().iter();
        let told = kept.filter_map(|left| Some((left["what"].as_str()?, left["kept_until"].as_str()?)));
        let told: Vec<_> = told.collect();
        let until = dropped["until"].as_str().unwrap();
        assert_eq!(told, [("staged objects", until), ("dropped table", until)], "{arguments}");
        assert!(found["removed"].as_array().unwrap().iter().all(|left| left["what"] == "ledger file"), "{found:#}");
    }
    assert!(desk.run("gc --warehouse lake").out.contains("kept until a day is over"));
    assert!(desk.path("staging").join(&name).exists());
    // Who comes again hears where it is, and may have it back.
    for arguments in [DROP, "migrate --from staging/trades/ --to lake", "migrate --from staging --to lake --plan"] {
        let again = desk.run(arguments);
        assert_eq!(again.code, 2, "{arguments} {}", again.out);
        let migration = done["proof"]["migration"].as_str().unwrap();
        for part in ["it was dropped at", migration, &name, "rename that to have it back"] {
            assert!(again.err.contains(part), "{arguments}: {part}\n{}", again.err);
        }
    }
    // Whoever takes the migration back hears that nothing else has these rows then.
    let migration = done["proof"]["migration"].as_str().unwrap();
    let back = format!("migrate --to lake --roll-back {migration}");
    let said = desk.run(&back).out;
    assert!(said.contains("dropped since: /staging/trades; unless it was had back, its rows are only in"), "{said}");
    let back = desk.report(0, &format!("{back} --yes"));
    assert_eq!(back["dropped"][0]["kept"], dropped["kept"]);
    let again = desk.run("migrate --from staging --to lake");
    assert!(again.code == 2 && again.err.contains(&format!("since then {migration} was taken back")), "{}", again.err);
    std::fs::rename(desk.path("staging").join(&name), desk.path("staging/trades")).unwrap();
    desk.report(0, "migrate --from staging --to lake");
    let again = desk.report(0, "migrate --from staging --to lake");
    assert_eq!((number(&again, "/proof/inserted"), again["dropped"].is_null()), (0, true));
    assert_eq!(number(&desk.report(0, "audit --warehouse staging"), "/lost_rows"), 0);
}

/// A later migration may drop a source of which it has brought nothing in.
#[test]
fn who_takes_back_what_brought_the_rows_in_hears_of_a_later_drop() {
    let desk = desk();
    let first = desk.report(0, "migrate --from staging --to lake --batch-days 3");
    let second = desk.report(0, &format!("{DROP} --yes"));
    assert_eq!((number(&first, "/proof/inserted"), number(&second, "/proof/inserted")), (605, 0));
    let name = first["proof"]["migration"].as_str().unwrap();
    assert_ne!(second["proof"]["migration"], name);
    let back = desk.report(0, &format!("migrate --to lake --roll-back {name} --yes"));
    assert_eq!(back["dropped"], second["dropped"]);
    let again = desk.run(DROP);
    assert!(again.err.contains(&format!("since then {name} was taken back")), "{}", again.err);
}

#[test]
fn its_name_has_to_be_typed() {
    let desk = desk();
    let before = desk.files("lake");
    let ran = typed(&desk, "lake", DROP);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.out.contains("Type its name to agree (staging)"), "{}", ran.out);
    assert!(ran.out.contains("its name was not typed"), "{}", ran.out);
    assert_eq!((desk.files("lake"), kept(&desk)), (before, None));
    let ran = typed(&desk, "staging", &format!("{DROP} --quiet"));
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("dropped /staging/trades: it is kept until"), "{}", ran.out);
    assert!(kept(&desk).is_some());
}

#[test]
fn what_can_not_be_dropped_is_refused_before_anything_begins() {
    let desk = desk();
    std::os::unix::fs::symlink(desk.path("staging/trades"), desk.path("link")).unwrap();
    let before = (desk.files("lake"), desk.files("staging"));
    for (arguments, reason) in [
        (DROP, "stdin is no terminal"),
        ("migrate --from fixtures/demo/run-1-000.parquet --to lake --drop-source --yes", "only a Delta table"),
        ("migrate --from fixtures/demo --to lake --drop-source --yes", "only a Delta table"),
        ("migrate --from bigquery://p.d.t --to lake --drop-source", "stdin is no terminal"),
        ("migrate --from staging --from fixtures/demo/run-?-000.parquet --to lake --drop-source --yes", "run-?-000"),
        ("migrate --from lake --to lake --drop-source --yes", "it is the target"),
        ("migrate --from lake/trades/ --to lake --drop-source --yes", "it is the target"),
        ("migrate --from staging --to staging/trades/lake --drop-source --yes", "it is the target, or one is in"),
        ("migrate --from link --to lake --drop-source --yes", "it is a link"),
        ("migrate --from staging --to lake --drop-source --plan", "--plan"),
    ] {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, 2, "{arguments}\n{}", ran.err);
        assert!(ran.err.contains(reason), "{arguments}\n{}", ran.err);
        assert_eq!((desk.files("lake"), desk.files("staging")), before, "{arguments}");
    }
}

/// A row that the contract rejects would be gone with its table.
#[test]
fn rows_that_can_not_come_in_are_a_reason_not_to_begin() {
    let desk = desk();
    let strict = std::fs::read_to_string(project("src/dataset/trades.toml")).unwrap();
    desk.write("loose.toml", &strict.replace("type = \"int64\"\nmin = 0\n", "type = \"int64\"\n"));
    let columns = "wallet_address,tx_hash,order_hash,timestamp,block_number";
    desk.write("odd.csv", &format!("{columns}\n0xa,0x1,0x2,2025-10-02T10:00:00Z,-1\n"));
    desk.report(0, "backfill odd.csv --warehouse staging --dataset loose.toml");
    let before = ["lake/trades", "staging/trades"].map(|table| desk.files(table));
    for more in ["", " --max-rejects 5"] {
        let stopped = desk.run(&format!("{DROP} --yes{more}"));
        assert_eq!((stopped.code, kept(&desk)), (65, None), "{}{}", stopped.out, stopped.err);
        assert!(stopped.out.contains("1 row rejected of"), "{}", stopped.out);
        assert!(stopped.out.contains("which would be gone with the source"), "{}", stopped.out);
    }
    assert_eq!(["lake/trades", "staging/trades"].map(|table| desk.files(table)), before);
    // Without the drop it may be left out, and the proof says so.
    let done = desk.run("migrate --from staging --to lake");
    let said = "nothing is missing, lower, blank or double; but 1 row of the sources came in nowhere: set aside";
    assert!(done.code == 0 && done.out.contains(said), "{}{}", done.out, done.err);
}

/// Rows were brought in, and what came of that is not lost with the drop.
#[tokio::test]
async fn what_was_brought_in_is_told_although_the_drop_fails() {
    let desk = desk();
    let lock = desk.path("staging/_tradefold/trades/lock");
    let held = tradefold::writer::lock(&lock, Duration::ZERO, &tradefold::progress::Silent).await.unwrap();
    let ran = desk.run(&format!("{DROP} --yes --wait 0"));
    assert_eq!(ran.code, 73, "{}", ran.err);
    for part in ["nothing is missing, lower, blank or double", "no source was dropped"] {
        assert!(ran.out.contains(part), "{part}\n{}", ran.out);
    }
    assert!(ran.err.contains("staging/_tradefold/trades"), "{}", ran.err);
    drop(held);
    let narrow = std::fs::read_to_string(project("src/dataset/trades.toml")).unwrap();
    let column = "[[column]]\nname = \"block_number\"\ntype = \"int64\"\nmin = 0\n";
    desk.write("narrow.toml", &narrow.replace(column, ""));
    let ran = desk.run("migrate --from staging --to fresh --drop-source --yes --dataset narrow.toml");
    assert_eq!(ran.code, 65, "{}", ran.err);
    assert!(ran.out.contains("`block_number` of"), "{}", ran.out);
    assert_eq!(kept(&desk), None);
}

#[test]
fn one_of_two_sources_that_was_dropped_already_is_passed_over() {
    let desk = desk();
    desk.report(0, "backfill fixtures/demo/run-1-000.parquet --warehouse other");
    desk.report(0, &format!("{DROP} --yes"));
    let both = "migrate --from staging --from other --to lake";
    assert_eq!(desk.run(both).code, 2);
    let done = desk.run(&format!("{both} --drop-source --yes"));
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("it was dropped at"), "{}", done.err);
    assert!(!desk.path("other/trades").exists());
}
