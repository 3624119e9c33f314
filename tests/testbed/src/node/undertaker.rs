//! Removes everything of a node, also when this process is killed.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::slot::Slot;
use crate::error::{Error, Result};
use crate::process::WorkFolder;

/// A small process that ends the node when this process lets go of it: see `undertaker.sh`.
#[derive(Debug)]
pub(super) struct Undertaker {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Undertaker {
    /// Before the node's first process is started. It holds the slot, and the folder if there is one, until all is
    /// done.
    pub(super) fn employ(slot: &Slot, folder: Option<&WorkFolder>) -> Result<Self> {
        let mut process = Command::new("/bin/sh")
            .args(["-c", include_str!("undertaker.sh"), "undertaker", &slot.name()])
            .stdin(Stdio::piped())
            .stdout(folder.map_or_else(|| Ok(Stdio::null()), WorkFolder::lease)?)
            .stderr(slot.share_lock()?)
            // Ctrl-C at a terminal is not for it.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Spawn { program: "the undertaker of the node".to_owned(), source })?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.process.wait();
    }
}
