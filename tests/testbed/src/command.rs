//! Programs that read their input, print, and end.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Error, Result};

/// Runs it with `input` on standard input, and returns everything.
pub(crate) async fn output(name: &str, mut command: Command, input: &str) -> Result<Output> {
    let failed = |source| Error::Spawn { program: name.to_owned(), source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // It may end without reading; its own error says more.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = futures::join!(write, child.wait_with_output());
    output.map_err(failed)
}
