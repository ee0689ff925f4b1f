//! The architecture is a test: rooms use only rooms before them, files stay short, fixtures are listed and used, and
//! the dependencies fit together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder that end so, by their paths from the top, with their text.
fn files(folder: &str, endings: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The rooms in their order, as `src/lib.rs` declares them.
fn rooms() -> Vec<String> {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let room = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_string());
    map.lines().filter_map(room).collect()
}

/// The rooms that a line of code names after `crate::`; comments may look anywhere.
fn named(line: &str) -> Vec<&str> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let names = line.split("crate::").skip(1);
    names.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default()).collect()
}

/// Every place where a file of one room names a room that is not before it.
fn upward(rooms: &[String], path: &str, text: &str) -> Vec<String> {
    let own = Path::new(path).components().nth(1).unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
    let place = |room: &str| rooms.iter().position(|known| known == room);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for used in named(line).into_iter().filter(|used| *used != own) {
            if place(used).is_none_or(|used| place(own).is_some_and(|own| used > own)) {
                found.push(format!("{path}:{}: `{own}` may not use `{used}`", number + 1));
            }
        }
    }
    found
}

#[test]
fn a_room_uses_only_rooms_before_it() {
    let (rooms, sources) = (rooms(), files("src", &[".rs"]));
    assert!(sources.len() >= 30, "only {} files under src", sources.len());
    assert_eq!(rooms.last().map(String::as_str), Some("cli"), "{rooms:?}");
    let found: Vec<String> = sources.iter().flat_map(|(path, text)| upward(&rooms, path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_room_that_looks_up_is_found() {
    let rooms = ["error", "plan"].map(String::from);
    assert_eq!(
        upward(&rooms, "src/error.rs", "\nfn f(b: crate::plan::Batch) {}"),
        ["src/error.rs:2: `error` may not use `plan`"]
    );
    assert_eq!(
        upward(&rooms, "src/plan/mod.rs", "use crate::attic::Box;"),
        ["src/plan/mod.rs:1: `plan` may not use `attic`"]
    );
    assert!(upward(&rooms, "src/plan/mod.rs", "use crate::error::Error;\n//! See [`crate::cli`].").is_empty());
}

#[test]
fn every_room_is_in_the_map() {
    let rooms = rooms();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs").to_string();
        assert!(["main", "lib"].contains(&room.as_str()) || rooms.contains(&room), "{name} is not in src/lib.rs");
    }
}

#[test]
fn no_file_is_long() {
    let all = files("src", &[".rs"]).into_iter().chain(files("tests", &[".rs", ".py"]));
    let all = all.chain(files("benches", &[".rs", ".py"]));
    let long: Vec<_> = all.map(|(path, text)| (path, text.lines().count())).filter(|(_, lines)| *lines > 400).collect();
    assert!(long.is_empty(), "over 400 lines: {long:?}");
}

#[test]
fn no_line_of_prose_is_long() {
    let mut found = Vec::new();
    let sources = ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, &[".rs"]));
    for (path, text) in sources {
        let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
        found.extend(
            comments.filter(|(_, line)| line.chars().count() > 120).map(|(at, _)| format!("{path}:{}", at + 1)),
        );
    }
    for path in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/retire-a-staging-table.md",
        "fixtures/README.md",
        "benches/RESULTS.md",
    ] {
        let mut is_code = false;
        for (at, line) in fs::read_to_string(root().join(path)).unwrap().lines().enumerate() {
            is_code ^= line.starts_with("```");
            if !is_code && !line.starts_with('|') && line.chars().count() > 120 {
                found.push(format!("{path}:{}", at + 1));
            }
        }
    }
    assert!(found.is_empty(), "over 120 characters: {}", found.join(", "));
}

#[test]
fn dependencies_fit_together() {
    let lock: toml::Table = toml::from_str(&fs::read_to_string(root().join("Cargo.lock")).unwrap()).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let versions = |name: &str| packages.iter().filter(|package| package["name"].as_str() == Some(name)).count();
    for name in ["arrow", "parquet", "datafusion", "object_store"] {
        assert_eq!(versions(name), 1, "versions of {name} in Cargo.lock");
    }
    assert_eq!(versions("openssl-sys"), 0, "something brings OpenSSL along");
}

/// Whether the README promises figures of a fixture: `cli::fixtures` runs every row that has nine of them.
fn has_figures(readme: &str, name: &str) -> bool {
    let figures = |line: &str| line.split('|').filter(|cell| cell.trim().parse::<u64>().is_ok()).count();
    let mut rows = readme.lines().filter(|line| line.starts_with("| ") && figures(line) == 9);
    rows.any(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{name}`"))))
}

#[test]
fn every_fixture_is_listed_and_used() {
    let readme = fs::read_to_string(root().join("fixtures/README.md")).unwrap();
    let mut users = files("tests", &[".rs"]);
    users.remove("tests/it/tidy.rs");
    users.insert("Makefile".into(), fs::read_to_string(root().join("Makefile")).unwrap());
    let mut folders = vec![root().join("fixtures")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root().join("fixtures")).unwrap().to_str().unwrap().to_string();
            if name == "datasets" {
                folders.push(path);
            } else if name != "README.md" {
                // Folders are listed and used whole.
                assert!(readme.contains(&name), "fixtures/{name} is not in fixtures/README.md");
                let used = has_figures(&readme, &name) || users.values().any(|text| text.contains(&name));
                assert!(used, "fixtures/{name} is used by no test");
                seen += 1;
            }
        }
    }
    assert!(seen >= 30, "only {seen} fixtures");
    assert!(!has_figures(&readme, "truncated.parquet"), "a row without figures is no promise");
}
