//! Kinds of errors: which foreign errors are which, and what each means to a scheduler.

use crate::cli::{Desk, project};
use datafusion::error::DataFusionError;
use std::io;
use tradefold::error::{Doing, Error, Kind};

const KINDS: [(Kind, u8); 6] =
    [(Kind::Bug, 1), (Kind::Usage, 2), (Kind::Data, 65), (Kind::Busy, 73), (Kind::Transient, 75), (Kind::Refused, 77)];

#[test]
fn every_kind_has_the_exit_code_that_readme_and_help_list() {
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    let table = readme.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let code = |line: &str| line.split('|').nth(1)?.trim().parse::<u8>().ok();
    let listed: Vec<u8> = table.lines().filter_map(code).collect();
    let known: Vec<u8> = std::iter::once(0).chain(KINDS.map(|(_, code)| code)).collect();
    assert_eq!(listed, known);
    let help = Desk::new().run("--help").out;
    let help = help.split("Exit codes:").nth(1).unwrap();
    let told = help.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u8>().ok());
    assert_eq!(told.collect::<Vec<_>>(), known);
    for (kind, code) in KINDS {
        assert_eq!(kind.exit_code(), code);
    }
}

#[test]
fn a_foreign_error_is_of_the_kind_that_its_cause_says() {
    let store = |error: object_store::Error| Err::<(), _>(error).doing("x").unwrap_err().kind();
    let disk = |kind: io::ErrorKind| Err::<(), _>(io::Error::from(kind)).doing("x").unwrap_err().kind();
    let source = || "why".into();
    let path = || "a".to_string();
    assert_eq!(store(object_store::Error::NotFound { path: path(), source: source() }), Kind::Usage);
    assert_eq!(store(object_store::Error::PermissionDenied { path: path(), source: source() }), Kind::Refused);
    assert_eq!(store(object_store::Error::Unauthenticated { path: path(), source: source() }), Kind::Refused);
    assert_eq!(store(object_store::Error::Generic { store: "S3", source: source() }), Kind::Transient);
    assert_eq!(disk(io::ErrorKind::NotFound), Kind::Usage);
    assert_eq!(disk(io::ErrorKind::PermissionDenied), Kind::Refused);
    assert_eq!(disk(io::ErrorKind::StorageFull), Kind::Transient);
    let engine = |error: DataFusionError| Err::<(), _>(error).doing("x").unwrap_err().kind();
    assert_eq!(engine(DataFusionError::ResourcesExhausted("memory".into())), Kind::Refused);
    // Who hands it on may keep only its text.
    let text = Err::<(), _>("Generic DeltaTable error: Resources exhausted: 5 MB").doing("x").unwrap_err();
    assert_eq!(text.kind(), Kind::Refused);
    assert!(text.advice().is_some_and(|advice| advice.contains("--memory")), "{}", text.render());
    assert_eq!(engine(DataFusionError::Plan("no".into())), Kind::Bug);
    // A cause further down counts, and one of ours most of all.
    let wrapped = DataFusionError::External(Box::new(io::Error::from(io::ErrorKind::PermissionDenied)));
    assert_eq!(engine(wrapped), Kind::Refused);
    assert_eq!(engine(DataFusionError::External(Box::new(Error::data("y")))), Kind::Data);
}
