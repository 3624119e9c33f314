//! What the packages of the workspace depend on, and which Rust they need.

use std::process::Command;

use serde_json::Value;

use crate::source::root;

const FOR_TESTS: [&str; 2] = ["idissuer-simulator", "idissuer-testbed"];

/// The packages of the workspace, and all that they depend on where the tests run.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .args(["--filter-platform=x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// The dependencies of a package, each with its kind: `null` is what its programs are linked with.
fn dependencies<'a>(packages: &'a [Value], name: &str) -> Vec<(&'a Value, &'a Value)> {
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    dependencies.map(|dependency| (&dependency["name"], &dependency["kind"])).collect()
}

#[test]
fn simulator_and_testbed_serve_the_tests_of_the_program_and_do_not_depend_on_it() {
    let packages = packages();
    let of_program = dependencies(&packages, "idissuer");
    for name in FOR_TESTS {
        let kinds: Vec<_> =
            of_program.iter().filter(|(needed, _)| *needed == name).map(|found| found.1).collect();
        assert_eq!(kinds, ["dev"], "{name} must be among the dev-dependencies alone");
        let needed = dependencies(&packages, name);
        assert!(!needed.is_empty() && needed.iter().all(|(needed, _)| *needed != "idissuer"), "{name}");
    }
}

/// `1.89.2` as numbers that can be compared.
fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|number| number.parse().unwrap()).chain([0, 0]).take(3).collect()
}

/// That the code itself needs no newer one, clippy checks (`incompatible_msrv`).
#[test]
fn the_minimal_rust_is_what_the_dependencies_need() {
    let packages = packages();
    let needed = packages
        .iter()
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| Some((version(package["rust_version"].as_str()?), &package["name"])))
        .max_by(|one, other| one.0.cmp(&other.0));
    let (needed, name) = needed.unwrap();
    let named = env!("CARGO_PKG_RUST_VERSION");
    assert_eq!(
        version(named),
        needed,
        "{name} needs {needed:?}: set rust-version in Cargo.toml, and see where {named} stands"
    );
}

#[test]
fn in_ci_no_test_is_skipped_for_lack_of_a_tool() {
    let script = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(script.lines().any(|line| line == "export CI=true"), "{script}");
}
