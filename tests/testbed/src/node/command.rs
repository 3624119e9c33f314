//! Programs that do one thing and end.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{Error, Result};

/// Runs it and returns what it prints. A failure shows its standard error.
pub(super) async fn run<T: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[T]) -> Result<String> {
    let name = || {
        let words = arguments.iter().map(|word| word.as_ref().to_string_lossy().into_owned());
        [program.as_ref().to_string_lossy().into_owned()]
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let output = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| Error::Spawn { program: name(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { program: name(), output: said })
}
