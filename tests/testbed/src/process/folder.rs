//! A folder for the files of child processes, removed when the last of them is gone.

use std::fs::Permissions;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::error::{Error, Result};

/// Waits for the end of its input, then removes the folder.
const JANITOR: &str = r#"cat >/dev/null; rm -rf "$1""#;

/// Every name begins with it.
const PREFIX: &str = "idissuer-testbed-";

/// A temporary folder that only this user can read, and that does not outlive this process.
///
/// A small process, the janitor, removes it when its input closes. This process holds the write end, and so does
/// every supervisor that works in the folder: it goes after the last of them, also when this process is killed.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    janitor: Child,
    pipe: Option<ChildStdin>,
}

impl WorkFolder {
    /// Makes a new folder below the system's temporary folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create() -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(Error::file("make a folder in", std::env::temp_dir()))?;
        // Its own end would not come when this process is killed.
        let path = made.keep();
        let mut janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Spawn {
                program: "the janitor of the work folder".to_owned(),
                source,
            })?;
        let pipe = janitor.stdin.take();
        Ok(Self { path, janitor, pipe })
    }

    /// Whether `path` is, or was, such a folder of some process.
    pub(crate) fn is_one(path: &Path) -> bool {
        path.is_absolute() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A stream that keeps the folder as long as a process holds it open.
    pub(crate) fn lease(&self) -> Result<Stdio> {
        match &self.pipe {
            Some(pipe) => {
                pipe.as_fd().try_clone_to_owned().map(Stdio::from).map_err(Error::file("keep", &self.path))
            }
            None => Ok(Stdio::null()),
        }
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.janitor.wait();
    }
}
