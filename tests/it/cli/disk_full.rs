//! A full disk is an error that names the folder and says what to do, and leaves nothing half written.
//!
//! The disk is a small file system in memory that only the tested process sees, where the system lets a test mount one.

use super::memory::numbers;
use super::{Desk, Ran, number};
use std::path::Path;
use std::process::Command;
use tradefold::generate::{Profile, Recipe, generate};

/// A desk, where a test may mount a file system in it. Says so where it may not.
fn desk() -> Option<Desk> {
    let tried = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        println!("skipped: `unshare -rm mount` is refused here, so there is no small disk to fill");
    }
    may.then(Desk::new)
}

/// Runs a script of the shell in a desk whose folder `disk` is a file system of its own, which `room KB` resizes.
fn on_small_disk(desk: &Desk, script: &str) -> Ran {
    std::fs::create_dir_all(desk.path("disk")).unwrap();
    let head = "mount -t tmpfs -o size=64m tmpfs disk
used() { df -k disk | tail -1 | awk '{print $3}'; }
room() { mount -o remount,size=$(( $(used) + $1 ))k disk; }
";
    let tradefold = env!("CARGO_BIN_EXE_tradefold");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &format!("{head}tradefold() {{ {tradefold} \"$@\" --quiet; }}\n{script}")])
        .current_dir(desk.path(""))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    desk.read(output)
}

fn trades(folder: &Path, rows: u64, seed: u64) {
    let mut recipe = Recipe::new(Profile::Rerun, rows, seed);
    recipe.days = 4;
    generate(&recipe, folder).unwrap();
}

#[test]
fn dedup_into_a_full_folder_leaves_nothing_there() {
    let Some(desk) = desk() else { return };
    trades(&desk.path("raw"), 20_000, 1);
    let ran = on_small_disk(
        &desk,
        "room 300; tradefold dedup raw -o disk/out; echo code $?; find disk
room 60000; tradefold dedup raw -o disk/out > /dev/null; echo code $?; find disk -type f | wc -l",
    );
    assert_eq!(ran.out, "code 75\ndisk\ncode 0\n2\n", "{}", ran.err);
    let said = ["could not write a row group of winners", "folder `/disk`", "No space left on device"];
    assert!(said.iter().all(|text| ran.err.contains(text)), "{}", ran.err);
    assert!(ran.err.contains("hint: the disk is full: make room there and run the same command again"), "{}", ran.err);
}

#[test]
fn dedup_without_room_for_what_waits_on_disk_leaves_no_output() {
    let Some(desk) = desk() else { return };
    // Their records take 40 MB, and there is room for 32.
    numbers(&desk, 1_000_000);
    let dedup = "TMPDIR=disk tradefold dedup raw -o out --key id --memory 32MB";
    let ran = on_small_disk(
        &desk,
        &format!("room 2000; {dedup}; echo code $?; find out disk; room 60000; {dedup} > /dev/null; echo code $?"),
    );
    assert_eq!(ran.out, "code 75\ndisk\ncode 0\n", "{}", ran.err);
    let said = ["folder `disk`", "No space left on device", "name another folder in TMPDIR", "--memory"];
    assert!(said.iter().all(|text| ran.err.contains(text)), "{}", ran.err);
}

#[test]
fn backfill_into_a_full_lake_leaves_the_table_as_it_was() {
    let Some(desk) = desk() else { return };
    trades(&desk.path("first"), 1_000, 7);
    trades(&desk.path("more"), 20_000, 1);
    // Every try has a little more room, so that each step of a run is the one for which there is none.
    let ran = on_small_disk(
        &desk,
        "tradefold backfill first --warehouse disk/lake > /dev/null || exit 1
find disk/lake/trades -type f | sort > before
for more in 100 300 200 100 100 100 100 100 100 100; do
  extra=$(( ${extra:-0} + more )); base=${base:-$(used)}
  mount -o remount,size=$(( base + extra ))k disk
  tradefold backfill more --warehouse disk/lake --json > report; code=$?
  echo code $code
  [ $code = 0 ] && break
  find disk/lake/trades -type f | sort | cmp - before || echo changed
  tradefold status --warehouse disk/lake --json | grep '\"rows\"'
done
mount -o remount,size=64m disk
tradefold backfill more --warehouse disk/lake --json > report; echo last $?",
    );
    println!("{}\n{}", ran.out, ran.err);
    assert!(ran.out.ends_with("last 0\n"), "{}\n{}", ran.out, ran.err);
    assert!(!ran.out.contains("changed"), "{}\n{}", ran.out, ran.err);
    let codes = ran.out.lines().filter(|line| line.starts_with("code "));
    assert!(
        codes.clone().count() > 3 && codes.clone().all(|line| ["code 75", "code 0"].contains(&line)),
        "{}",
        ran.out
    );
    let mut rows: Vec<&str> = ran.out.lines().filter(|line| line.contains("rows")).collect();
    rows.dedup();
    assert_eq!(rows.len(), 1, "the table changed: {rows:?}");
    for step in ["end a landed file", "write an object", "merge a batch into a Delta table"] {
        assert!(ran.err.contains(&format!("could not {step}")), "{step}\n{}", ran.err);
    }
    let failed = ran.err.matches("error: could not").count();
    assert_eq!(ran.err.matches("the disk is full: make room there").count(), failed, "{}", ran.err);
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(desk.path("report")).unwrap()).unwrap();
    assert!(number(&report, "/batches/0/merged/rows_after") > 5_000, "{report:#}");
}
