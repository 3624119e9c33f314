//! Where there can be no node, tests that need one are skipped, but not in CI.

use std::process::{Command, Output};

use idissuer_testbed::Node;

/// A test that needs a node. It only asks whether there can be one.
#[test]
fn needs_a_node() {
    let _ = Node::available_for_test();
}

/// Runs the test above as a user who is not root, of a namespace in which nobody is.
fn as_nobody(ci: &str) -> Output {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(&test);
    if Node::unavailable().is_none() {
        command = Command::new("unshare");
        command.arg("--user").arg(&test);
    }
    command.args(["--exact", "node::needs_a_node", "--nocapture"]).env("CI", ci).output().unwrap()
}

#[test]
fn where_there_can_be_no_node_its_tests_say_so_and_are_skipped_but_not_in_ci() {
    for (ci, success, word) in [("", true, "skipped"), ("true", false, "in CI there must be one")] {
        let output = as_nobody(ci);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), success, "{told}");
        assert!(told.contains("a node needs root") && told.contains(word), "{told}");
    }
}
