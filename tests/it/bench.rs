//! The benchmarks, small: that they run, and that they notice answers that differ. What they measure is not looked at.

#[allow(dead_code)]
#[path = "../../benches/floor.rs"]
mod floor;
#[allow(dead_code)]
#[path = "../../benches/micro.rs"]
mod micro;

use crate::googlesql::python;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tradefold::generate::{Profile, Recipe, generate};

const TRADEFOLD: &str = env!("CARGO_BIN_EXE_tradefold");

fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// What Python says, with the benchmarks' modules at hand.
pub(crate) fn says(arguments: &[&str]) -> String {
    let output = Command::new(python()).arg("-B").args(arguments).env("PYTHONPATH", benches()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

/// `dedup.py` on 20,000 rows.
fn dedup(tradefold: &Path, folder: &Path, more: &[&str]) -> Output {
    Command::new(python())
        .arg("-B")
        .arg(benches().join("dedup.py"))
        .arg(tradefold)
        .args(["--rows", "20000", "--runs", "1", "--memory", "2GB", "--data"])
        .arg(folder.join("data"))
        .arg("--out")
        .arg(folder.join("results.md"))
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn tradefold_and_its_peers_agree() {
    let folder = tempfile::tempdir().unwrap();
    let output = dedup(
        Path::new(TRADEFOLD),
        folder.path(),
        &["--only", "tradefold,duckdb,polars", "--drop", "--curves", "--cases", "rerun:0.1,spread:0.1"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = fs::read_to_string(folder.path().join("results.md")).unwrap();
    assert_eq!(results.matches("All 9 answers agree").count(), 2, "{results}");
    assert_eq!(results.matches("In log_index and id as well: tradefold, ").count(), 2, "{results}");
    assert_eq!(results.matches("No peer was asked for an order that binds all compared columns.").count(), 2);
    for name in ["tradefold", "duckdb-literal", "duckdb-subquery", "duckdb-plain", "duckdb-plain-ts", "polars"] {
        let measured = |line: &&str| line.starts_with(&format!("| {name} |")) && !line.contains("| |");
        assert_eq!(results.lines().filter(measured).count(), 2, "{name}\n{results}");
    }
    let curve = results.lines().find_map(|line| line.strip_prefix("- polars: ")).unwrap();
    assert_eq!(curve.split(", ").count(), 19, "{results}");
    for path in [folder.path(), &benches()] {
        assert!(!results.contains(path.to_str().unwrap()), "{results}");
    }
}

/// `analyze.py` on 20,000 rows.
fn analyze(tradefold: &Path, folder: &Path) -> Output {
    let mut command = Command::new(python());
    command.arg("-B").arg(benches().join("analyze.py")).arg(tradefold).args(["--rows", "20000", "--runs", "1"]);
    command.args(["--own", "", "--cases", "spread:0.1", "--memory", "2GB", "--data"]).arg(folder.join("data"));
    command.arg("--out").arg(folder.join("results.md")).output().unwrap()
}

#[test]
fn an_analysis_and_duckdb_count_the_same_or_the_script_fails() {
    let folder = tempfile::tempdir().unwrap();
    let output = analyze(Path::new(TRADEFOLD), folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = fs::read_to_string(folder.path().join("results.md")).unwrap();
    let measured = |line: &&str| line.starts_with("| tradefold") || line.starts_with("| duckdb");
    assert_eq!(results.lines().filter(measured).count(), 4, "{results}");
    let wrong = folder.path().join("wrong");
    let script = format!("#!/bin/sh\n{TRADEFOLD} \"$@\" | sed 's/\"keys\": 7/\"keys\": 8/'\n");
    fs::write(&wrong, script).unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o755)).unwrap();
    let output = analyze(&wrong, folder.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("the counts differ"), "{stderr}");
}

#[test]
fn a_wrong_answer_fails_the_script() {
    let folder = tempfile::tempdir().unwrap();
    // One row of each key as well, yet the oldest.
    let wrong = folder.path().join("wrong");
    let key = "--key \"wallet_address, tx_hash, COALESCE(order_hash, '')\" --order \"timestamp ASC NULLS LAST\"";
    let script = format!("#!/bin/sh\nif [ \"$1\" = dedup ]; then set -- \"$@\" {key}; fi\nexec {TRADEFOLD} \"$@\"\n");
    fs::write(&wrong, script).unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o755)).unwrap();
    let output = dedup(&wrong, folder.path(), &["--only", "tradefold,duckdb-plain-ts", "--cases", "rerun:0.1"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the answers differ in key_time"), "{stderr}");
    let results = fs::read_to_string(folder.path().join("results.md")).unwrap();
    assert!(results.contains("the answers differ in key_time") && !results.contains("answers agree"), "{results}");
}

#[test]
fn answers_are_compared_as_far_as_their_order_binds_them() {
    let compare = |changes: &str| {
        says(&[
            "-c",
            &format!(
                "import dedup
answers = {{name: (name, order, dict(rows=2, key_time='a', declared='b', content='c'))
           for name, order in dict(x='total', y='total', z='declared', t='timestamp').items()}}
{changes}
print(' / '.join(dedup.disagreements(answers.values())))"
            ),
        ])
    };
    assert_eq!(compare(""), "");
    assert_eq!(compare("answers['t'][2]['declared'] = '?'; answers['z'][2]['content'] = '?'"), "");
    assert_eq!(compare("answers['t'][2]['key_time'] = '?'"), "the answers differ in key_time: a say x, y, z; ? say t");
    assert_eq!(compare("answers['z'][2]['declared'] = '?'"), "the answers differ in declared: b say x, y; ? say z");
    assert_eq!(compare("answers['y'][2]['content'] = '?'"), "the answers differ in content: c say x; ? say y");
    assert_eq!(compare("answers['z'][2]['rows'] = 3"), "the answers differ in rows: 2 say x, y, t; 3 say z");
}

// Memory and files without a name are looked up in /proc.
#[cfg(target_os = "linux")]
#[test]
fn what_a_command_takes_is_seen_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let watch = |code: &str, bounds: &str| {
        let temp = folder.path().to_str().unwrap();
        let test = "import sys, measure
try:
    text, figures = measure.watch([sys.executable, '-c', sys.argv[1]], sys.argv[2], **eval(sys.argv[3]))
    print(text.decode().strip(), figures.temp_bytes >= 5_000_000, figures.peak_bytes > 10_000_000)
except measure.Failed as failed:
    print(failed)";
        says(&["-c", test, code, temp, bounds])
    };
    let unnamed = "import tempfile, time; file = tempfile.TemporaryFile()
file.write(bytes(5_000_000)); file.flush(); time.sleep(1); print('done')";
    assert_eq!(watch(unnamed, "{}"), "done True True");
    assert_eq!(watch("import time; time.sleep(60)", "dict(timeout_s=1)"), "ended after 1 s");
    let greedy = "import time; held = bytearray(b'x' * 300_000_000); time.sleep(60)";
    assert_eq!(watch(greedy, "dict(cap_bytes=200_000_000)"), "ended at 0.2 GB of memory");
    assert_eq!(watch("import sys; sys.exit('advice\\nno memory')", "{}"), "no memory");
}

#[test]
fn a_section_takes_the_place_of_the_one_of_its_heading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.md");
    let put = "import sys, results; from pathlib import Path
for heading, text in ('a', 'one'), ('b', '### two\\n\\n| x |'), ('a', 'three'):
    results.put_section(Path(sys.argv[1]), heading, text)";
    says(&["-c", put, path.to_str().unwrap()]);
    let results = fs::read_to_string(&path).unwrap();
    assert!(results.starts_with("# Results\n"), "{results}");
    assert!(results.ends_with("\n\n## a\n\nthree\n\n## b\n\n### two\n\n| x |\n"), "{results}");
}

#[test]
fn the_floor_keeps_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let [data, out, floor] = ["data", "out", "floor"].map(|name| folder.path().join(name));
    generate(&Recipe::new(Profile::Spread, 20_000, 1), &data).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let figures = runtime.block_on(floor::floor(&data, &floor, 2, 1)).unwrap();
    let status = Command::new(TRADEFOLD).args(["dedup", "--quiet"]).arg(&data).arg("-o").arg(&out).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let peers = benches().join("peers.py");
    let answer = |folder: &Path| says(&[peers.to_str().unwrap(), "answer", folder.to_str().unwrap()]);
    assert_eq!(answer(&floor), answer(&out));
    assert!(answer(&floor).starts_with(&format!("{{\"rows\": {},", figures.rows)), "{}", answer(&floor));
    let written = fs::read_dir(&floor).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    assert_eq!(figures.bytes, written);
}

#[test]
fn micro_benchmarks_check_what_they_measure() {
    let figures = micro::micro(20_000).unwrap();
    assert_eq!(figures.len(), 12);
    assert!(figures.iter().all(|figure| figure.row_ns > 0.0 && figure.row_ns.is_finite()), "{figures:?}");
}
