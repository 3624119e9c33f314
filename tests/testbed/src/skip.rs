//! Tests that cannot run everywhere.

/// Says on standard error that a test is skipped, because something is not there, and why.
///
/// # Panics
/// Where `CI` is `true`: nothing is skipped there.
#[expect(clippy::print_stderr, reason = "it belongs to a test, and to its output")]
pub fn skip(reason: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "{reason}; and in CI there must be one");
    eprintln!("skipped: {reason}");
}

/// The value of a variable that changes a test, if it is set: tests have no command line of their own.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "no setting of the program")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
