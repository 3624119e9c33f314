//! Prometheus, of the Debian package that `make tools` unpacks.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::unpacked;

/// The promtool that `make tools` unpacks, or an installed one.
#[must_use]
pub fn promtool() -> Option<PathBuf> {
    unpacked("prometheus", "usr/bin/promtool")
}

/// The server.
#[must_use]
pub fn server() -> Option<PathBuf> {
    unpacked("prometheus", "usr/bin/prometheus")
}

/// What `promtool check metrics` says of the text of a scrape: nothing, if all is well.
///
/// # Errors
/// When promtool cannot be run.
pub fn check_metrics(promtool: &PathBuf, text: &str) -> std::io::Result<String> {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take();
    input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).into_owned())
}
