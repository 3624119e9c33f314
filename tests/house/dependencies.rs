//! What comes into the program, and what does not.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::source::root;

/// A second TLS library, or a second provider of cryptography: more to watch, and rustls panics when it has to choose.
const UNWANTED: [&str; 6] = ["ring", "openssl", "openssl-sys", "native-tls", "boring", "rustls-pemfile"];
/// For tests only.
const FOR_TESTS: [&str; 2] = ["idissuer-simulator", "idissuer-testbed"];

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(arguments)
        .args(["--offline", "--locked"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The names of all packages that `idissuer` depends on by these edges, on any system.
fn dependencies(edges: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", "idissuer", "-e", edges, "--prefix", "none", "--target", "all"]);
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn neither_simulator_nor_testbed_nor_a_second_tls_comes_into_the_program() {
    let normal = dependencies("normal");
    assert!(normal.contains("rustls") && normal.contains("aws-lc-rs"), "the tree is read");
    for name in UNWANTED.iter().chain(&FOR_TESTS) {
        assert!(!normal.contains(*name), "{name} comes in: see cargo tree -e normal -i {name}");
    }
    let with_tests = dependencies("normal,dev");
    assert!(FOR_TESTS.iter().all(|name| with_tests.contains(*name)), "and they would be found");
}

#[test]
fn simulator_and_testbed_know_nothing_of_the_program() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    for name in FOR_TESTS {
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["name"] == name).unwrap();
        let needed: Vec<_> =
            package["dependencies"].as_array().unwrap().iter().map(|needed| &needed["name"]).collect();
        assert!(needed.iter().any(|needed| *needed == "tokio"), "{name}: its dependencies are read");
        assert!(
            !needed.iter().any(|needed| *needed == "idissuer"),
            "{name} depends on the program that it tests"
        );
    }
}

#[test]
fn there_are_at_most_four_integration_test_binaries() {
    let entries = fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    let binaries: Vec<_> = entries
        .filter(|path| {
            path.join("main.rs").exists() || path.extension().is_some_and(|extension| extension == "rs")
        })
        .collect();
    assert!((1..=4).contains(&binaries.len()), "each is linked for itself: {binaries:?}");
}
