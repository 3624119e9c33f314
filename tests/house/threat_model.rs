//! The threat model names a test for what it says, and each of them exists.

use std::collections::BTreeSet;
use std::fs;

use regex_lite::Regex;

use crate::source::{SourceFile, root, rust_files};

/// The names of all tests of the project.
fn tests() -> BTreeSet<String> {
    let function = Regex::new(r"\bfn ([a-z0-9_]+)\(").unwrap();
    let files = ["src", "tests"].into_iter().flat_map(rust_files);
    files
        .flat_map(|SourceFile { text, .. }| {
            function.captures_iter(&text).map(|found| found[1].to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

/// The tests that a page names: the last part of `a::b::c` in backticks.
fn named(page: &str) -> Vec<String> {
    let test = Regex::new(r"`(?:[a-z0-9_]+::)+([a-z0-9_]+)`").unwrap();
    test.captures_iter(page).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let page = fs::read_to_string(root().join("docs/src/threat-model.md")).unwrap();
    let (tests, named) = (tests(), named(&page));
    assert!(named.len() > 20, "the page names tests");
    let missing: Vec<&String> = named.iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "the threat model names tests that do not exist: {missing:?}");
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    assert_eq!(named("held by x (`issuer::attacks::no_such_test`), `--flag`, `core`"), ["no_such_test"]);
    assert!(!tests().contains("no_such_test"));
}
