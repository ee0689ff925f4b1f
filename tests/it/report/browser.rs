//! What a reader sees of a page in a browser: its numbers are those of the JSON, it fits, and it asks for nothing.

use super::examples::{analysis_html, full, messy};
use crate::googlesql::python;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A page as headless Chromium shows it. See tests/oracle/browser.py.
fn look(page: &Path) -> Value {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/browser.py");
    let output = Command::new(python()).arg(script).arg(page).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the page could not be looked at: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All numbers of a report, by their JSON pointers.
fn numbers(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let step = |step: &str| format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Number(_) => assert!(found.insert(at.to_string())),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(place, value)| numbers(value, &step(&place.to_string()), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| numbers(value, &step(name), found)),
        _ => {}
    }
}

fn pairs(seen: &Value, name: &str) -> Vec<(String, String)> {
    serde_json::from_value(seen[name].clone()).unwrap()
}

/// Looks at a page and demands all that holds for every page about a report. Gives what was seen.
pub(crate) fn check(page: &Path, report: &Value) -> Value {
    let seen = look(page);
    assert_eq!(seen["console"], serde_json::json!([]), "the browser has something to say");
    let own = url::Url::from_file_path(page.canonicalize().unwrap()).unwrap();
    assert_eq!(seen["requests"], serde_json::json!([own.as_str()]), "it asks for nothing but itself");

    let views = seen["views"].as_array().unwrap();
    let grounds: BTreeSet<&str> = views.iter().map(|view| view["ground"].as_str().unwrap()).collect();
    assert_eq!((views.len(), grounds.len()), (4, 2), "two widths, and two schemes that look different: {views:?}");
    for view in views {
        let (all, shown) = (view["scroll_width"].as_u64().unwrap(), view["client_width"].as_u64().unwrap());
        assert!(all <= shown, "the page is wider than its window: {view}");
        assert!(view["least_contrast"]["ratio"].as_f64().unwrap() >= 4.5, "hard to read: {view}");
    }

    // The text of a number is that number in the JSON; every number of the JSON is somewhere on the page, but for
    // zeros, which a sentence tells, one that the JSON has twice, and those below names that are no names.
    let mut missing = BTreeSet::new();
    numbers(report, "", &mut missing);
    let cells = pairs(&seen, "cells");
    for (pointer, text) in &cells {
        let value = report.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the JSON"));
        assert_eq!(text.replace(',', ""), value.to_string(), "{pointer}");
        missing.remove(pointer);
    }
    missing.retain(|pointer| report.pointer(pointer) != Some(&0.into()));
    missing.retain(|pointer| pointer.len() <= 400 && !pointer.contains(char::is_control));
    missing.remove("/census/redated_by_hours");
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    for (value, text) in pairs(&seen, "reckoned") {
        assert_eq!(text.replace(',', ""), value);
    }
    assert_eq!(serde_json::from_str::<Value>(seen["report"].as_str().unwrap()).unwrap(), *report);

    for chart in seen["charts"].as_array().unwrap() {
        assert!(!chart["title"].as_str().unwrap().is_empty() && chart["has_table"] == true, "{chart}");
    }
    assert_eq!((&seen["tables_without_caption"], &seen["headers_without_scope"]), (&0.into(), &0.into()));
    assert_eq!(seen["headings"].as_array().unwrap().iter().filter(|tag| *tag == "H1").count(), 1);
    assert_eq!(seen["folded_in_print"], serde_json::json!([]), "print has every table");
    assert_ne!(seen["folded_on_screen"], serde_json::json!([]), "the screen folds some");
    seen
}

#[test]
fn a_page_with_everything_in_it_shows_its_numbers_fits_and_asks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (name, report) in [("full.html", full(90)), ("messy.html", messy())] {
        let page = folder.path().join(name);
        std::fs::write(&page, analysis_html(&report)).unwrap();
        let seen = check(&page, &serde_json::to_value(&report).unwrap());
        assert_eq!(seen["charts"].as_array().unwrap().len(), 6, "{name}");
    }
}
