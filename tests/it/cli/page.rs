//! The page that `analyze --html` writes.

use super::Desk;
use crate::report::browser::check;
use std::fs;

/// The files in the folder, but for those that every desk has.
fn files(desk: &Desk) -> Vec<String> {
    let found = desk.files("").into_iter();
    found.filter(|file| !file.starts_with("fixtures/")).collect()
}

#[test]
fn a_page_about_the_demo_shows_the_numbers_of_the_json_and_leaves_stdout_as_it_is() {
    let desk = Desk::new();
    let report = desk.report(0, "analyze fixtures/demo --html report.html");
    assert_eq!(report, desk.report(0, "analyze fixtures/demo"));
    let seen = check(&desk.path("report.html"), &report);
    let cells = seen["cells"].as_array().unwrap();
    assert!(cells.len() > 120, "{} numbers", cells.len());
    assert_eq!(files(&desk), ["report.html"], "and nothing beside it");
}

#[test]
fn a_page_replaces_one_that_is_there_and_is_written_whole_or_not_at_all() {
    let desk = Desk::new();
    desk.write("report.html", "from before");
    let ran = desk.run("analyze fixtures/midnight.ndjson --html report.html");
    assert_eq!((ran.code, ran.out.as_str()), (0, desk.run("analyze fixtures/midnight.ndjson").out.as_str()));
    assert!(ran.err.contains("the page is report.html\n"), "{}", ran.err);
    let page = fs::read_to_string(desk.path("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");

    // A run that fails later leaves the page of before, and nothing half written.
    desk.write("broken.ndjson.gz", "this is no gzip");
    assert_ne!(desk.run("analyze broken.ndjson.gz --html report.html").code, 0);
    assert_eq!(fs::read_to_string(desk.path("report.html")).unwrap(), page);
    assert_eq!(files(&desk), ["broken.ndjson.gz", "report.html"]);
}

#[test]
fn a_page_never_takes_the_place_of_an_input() {
    let desk = Desk::new();
    desk.write("rows.csv", "id\n1\n1\n");
    std::os::unix::fs::symlink(desk.path("rows.csv"), desk.path("link.html")).unwrap();
    for page in ["rows.csv", "./rows.csv", "link.html"] {
        let ran = desk.run(&format!("analyze rows.csv --key id --html {page}"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("it is the input rows.csv, which would be lost"), "{}", ran.err);
    }
    assert_eq!(fs::read_to_string(desk.path("rows.csv")).unwrap(), "id\n1\n1\n");
}

#[test]
fn a_page_that_can_not_be_written_is_an_error_that_names_it_before_anything_is_read() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).unwrap();
    for place in ["nowhere/report.html", "folder"] {
        let ran = desk.run(&format!("analyze fixtures/demo --html {place}"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("write an analysis as a page") && ran.err.contains(place), "{}", ran.err);
        assert!(!ran.err.contains("read inputs"), "{}", ran.err);
    }
    assert_eq!(files(&desk), Vec::<String>::new());
}
