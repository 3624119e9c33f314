//! What `.ci/run` promises.

use std::fs;

use crate::source::root;

#[test]
fn in_ci_no_test_is_skipped_for_want_of_a_node_or_an_image() {
    let script = fs::read_to_string(root().join(".ci/run")).unwrap();
    let (before, _) = script.split_once("\npart ").unwrap();
    assert!(
        before.lines().any(|line| line == "export CI=true"),
        "tests are skipped where they cannot have a node or an image, unless CI is `true`"
    );
}
