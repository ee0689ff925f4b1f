//! The real binary in a folder of its own: what it prints, what it leaves on disk, and how it ends.

mod ad_hoc;
mod api;
mod bad_input;
mod bigquery;
mod commands;
mod diff;
mod diff_tables;
mod diff_texts;
mod disk_full;
mod drop_source;
mod fixtures;
mod memory;
mod mend;
mod migrate;
mod migrate_bigquery;
mod migrate_scale;
mod page;
mod status;
mod stops;

use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder to work in. `fixtures` in it leads to the project's, so that paths in messages are short and always the
/// same.
pub(crate) struct Desk {
    dir: TempDir,
    /// The program: what Cargo has built for the tests, or another one for what takes long.
    pub(crate) binary: OsString,
}

/// How a call ended and what it printed, with the folder's own path cut out.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(project("fixtures"), dir.path().join("fixtures")).unwrap();
        Desk { dir, binary: env!("CARGO_BIN_EXE_tradefold").into() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The command of these arguments; a part in double quotes is one argument.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.binary);
        for (place, part) in arguments.split('"').enumerate() {
            match place % 2 {
                1 => command.arg(part),
                _ => command.args(part.split_whitespace()),
            };
        }
        command.current_dir(self.dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("TRADEFOLD_LOG");
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.read(self.command(arguments).output().unwrap())
    }

    pub(crate) fn read(&self, output: std::process::Output) -> Ran {
        let clean = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(self.dir.path().to_str().unwrap(), "");
        Ran { code: output.status.code().unwrap(), out: clean(output.stdout), err: clean(output.stderr) }
    }

    /// The JSON report of a quiet call that ends with this code.
    pub(crate) fn report(&self, code: i32, arguments: &str) -> Value {
        let ran = self.run(&format!("{arguments} --json --quiet"));
        assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{arguments}\n{}", ran.out);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// All files below a folder, by their paths in it.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(next) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(next) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(&root).unwrap().display().to_string()),
                }
            }
        }
        found.sort();
        found
    }

    /// The rows of an NDJSON file that a report names by its URL, from which the folder's path was cut out.
    pub(crate) fn rows(&self, file: &Value) -> Vec<Value> {
        let path = self.path(file.as_str().unwrap().trim_start_matches("file:///"));
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A file of the project.
pub(crate) fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The number at a path of a report.
pub(crate) fn number(report: &Value, path: &str) -> u64 {
    report.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {report:#}"))
}
