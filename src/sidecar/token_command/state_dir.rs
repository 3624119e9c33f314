//! The folder in which `idissuer token` keeps its tokens and the record of its attempts, for this user alone.
//!
//! ```text
//! STATE/                 mode 0700, as is everything below it
//!   FINGERPRINT/         one login at one issuer
//!     ..lock             held by the process that reads or changes the entry
//!     ..data -> …        the token, as a sidecar writes it, with mode 0600
//!     ..login.json       the record of the last attempt, see `RecordFile`
//!     ..calls.json       the calls before it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::core::sidecar::attempts::Record;
use crate::core::sidecar::files::{Files, TOKEN, TOKEN_JSON};
use crate::core::sidecar::token::{HeldToken, TokenFields};
use crate::core::time::Moment;
use crate::core::token::Fingerprint;
use crate::core::token_command::CallHistory;
use crate::sidecar::file::read;
use crate::sidecar::output_dir::{FileMode, OutputDir, write_new};
use crate::sidecar::record_file::RecordFile;

/// Only this user may read the files.
const PRIVATE: u32 = 0o600;
/// Only this user may enter the folders.
const PRIVATE_DIR: u32 = 0o700;
const LOCK: &str = "..lock";
const CALLS: &str = "..calls.json";
/// How often a process looks whether another has released the lock.
const POLL: Duration = Duration::from_millis(20);

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// A step failed.
    #[error("{operation} {}: {source}; make it a folder of this user, or name another --state-dir", path.display())]
    Step {
        /// The operation.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is a link or a file.
    #[error("{} is not a folder (links are not followed); remove it, or name another --state-dir", .0.display())]
    NotAFolder(PathBuf),
    /// Another user could change or read what is in it.
    #[error("{} belongs to another user (id {owner}); use a folder of your own with --state-dir", path.display())]
    ForeignOwner {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may enter it.
    #[error("other users have access to {} (mode {mode:04o}); remove it, or run `chmod -R go-rwx` on it if you trust its content", path.display())]
    NotPrivate {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process holds the lock.
    #[error("another process logs in with the same login, and did not end in time ({}); see `fuser` for it", .0.display())]
    Locked(PathBuf),
}

fn step(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    move |source| StateDirError::Step { operation, path: path.to_owned(), source }
}

/// The entry of one login, locked for this process until it is dropped or the process ends.
pub struct LockedEntry {
    output_dir: OutputDir,
    record: RecordFile,
    _lock: File,
}

impl LockedEntry {
    /// Opens the entry with this key in the state folder, and waits for its lock. Makes what is not there.
    ///
    /// # Errors
    /// When the folder is not private, or cannot be used, or the lock is not released within `limit`.
    pub async fn open(state_dir: &Path, key: &Fingerprint, limit: Duration) -> Result<Self, StateDirError> {
        let path = state_dir.join(key.as_str());
        make_private(state_dir, true)?;
        let lock = tokio::time::timeout(limit, lock(&path)).await;
        Ok(Self::at(&path, lock.map_err(|_| StateDirError::Locked(path.join(LOCK)))??))
    }

    /// The entry in this folder, if no process holds it.
    #[must_use]
    pub(super) fn idle(path: &Path) -> Option<Self> {
        let place = path.join(LOCK);
        let lock = take(open_lock(&place, false).ok()?, &place).ok()?;
        lock.map(|lock| Self::at(path, lock))
    }

    fn at(path: &Path, lock: File) -> Self {
        let output_dir = OutputDir::new(path.to_owned(), FileMode::PRIVATE);
        Self { output_dir, record: RecordFile::of(Some(path)), _lock: lock }
    }

    /// The folder that the entry is in.
    #[must_use]
    pub(super) fn state_dir(&self) -> &Path {
        let path = self.output_dir.path();
        path.parent().unwrap_or(path)
    }

    /// The token of an earlier process; none if there is none that can be read.
    #[must_use]
    pub fn token(&self, now: Moment) -> Option<HeldToken> {
        let read = |name| self.output_dir.read(name).ok().flatten();
        let (token, json) = (read(TOKEN)?, read(TOKEN_JSON)?);
        let found = TokenFields { token: Some(&token), json: Some(&json), ..TokenFields::default() };
        HeldToken::found(found, now).ok()
    }

    /// Keeps a token for later processes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, token: &HeldToken, now: Timestamp) -> Result<(), String> {
        let files = Files::new(BTreeMap::new()).map_err(|error| error.to_string())?;
        let data = files.render(token).map_err(|error| error.to_string())?;
        self.output_dir.publish(&data, now).map(drop).map_err(|error| error.to_string())
    }

    /// The record of the last attempt.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.record.load()
    }

    /// Replaces the record, or removes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_record(&self, record: Option<&Record>) -> io::Result<()> {
        self.record.save(record)
    }

    /// Where the record is.
    #[must_use]
    pub fn record_place(&self) -> String {
        self.record.place()
    }

    /// What is remembered of earlier calls.
    #[must_use]
    pub fn calls(&self) -> CallHistory {
        let content = read(&self.calls_path()).ok();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    /// Replaces what is remembered of earlier calls.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_calls(&self, calls: &CallHistory) -> io::Result<()> {
        let (path, new) = (self.calls_path(), self.output_dir.path().join("..calls.json_tmp"));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_new(&new, &serde_json::to_vec(calls)?, PRIVATE)?;
        fs::rename(&new, &path)
    }

    fn calls_path(&self) -> PathBuf {
        self.output_dir.path().join(CALLS)
    }
}

/// Makes a folder that only this user may enter, and checks one that is there.
fn make_private(path: &Path, parents: bool) -> Result<(), StateDirError> {
    match DirBuilder::new().recursive(parents).mode(PRIVATE_DIR).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(step("make directory", path)(error));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(step("look at", path))?;
    if !metadata.is_dir() {
        return Err(StateDirError::NotAFolder(path.to_owned()));
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(StateDirError::ForeignOwner { path: path.to_owned(), owner: metadata.uid() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StateDirError::NotPrivate { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Takes the lock of an entry, which is made if it is not there. It ends with the file, and so with the process, whatever ends
/// it.
async fn lock(entry: &Path) -> Result<File, StateDirError> {
    let path = entry.join(LOCK);
    loop {
        make_private(entry, false)?;
        match open_lock(&path, true) {
            Ok(file) => {
                if let Some(lock) = take(file, &path).map_err(step("lock", &path))? {
                    return Ok(lock);
                }
            }
            // Another process removes the entry.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(step("open", &path)(error)),
        }
        tokio::time::sleep(POLL).await;
    }
}

fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    options.create(create).truncate(false).write(true).mode(PRIVATE).custom_flags(flags).open(path)
}

/// Takes the lock that this file is; none if another process holds it, or has removed the entry since the file was opened.
fn take(file: File, path: &Path) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(is_at(&file, path).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the file is still the one with this path.
fn is_at(file: &File, path: &Path) -> bool {
    let (opened, found) = (file.metadata(), fs::symlink_metadata(path));
    opened
        .ok()
        .zip(found.ok())
        .is_some_and(|(opened, found)| (opened.dev(), opened.ino()) == (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn open(path: &Path) -> Result<LockedEntry, StateDirError> {
        LockedEntry::open(path, &Fingerprint::of(b"login"), SOON).await
    }

    #[tokio::test]
    async fn a_folder_that_others_can_reach_and_a_link_are_refused_and_a_lock_has_one_holder() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("a/state");
        let held = open(&state).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(open(&state).await, Err(StateDirError::Locked(_))));
        drop(held);
        assert!(open(&state).await.is_ok(), "the lock ends with its holder");

        let entry = state.join(Fingerprint::of(b"login").as_str());
        for path in [&state, &entry] {
            fs::set_permissions(path, Permissions::from_mode(0o750)).unwrap();
            assert!(matches!(open(&state).await, Err(StateDirError::NotPrivate { mode: 0o750, .. })));
            fs::set_permissions(path, Permissions::from_mode(PRIVATE_DIR)).unwrap();
        }
        let target = place.path().join("target");
        fs::write(&target, "").unwrap();
        fs::remove_file(entry.join(LOCK)).unwrap();
        symlink(&target, entry.join(LOCK)).unwrap();
        assert!(matches!(open(&state).await, Err(StateDirError::Step { operation: "open", .. })));
        fs::remove_file(entry.join(LOCK)).unwrap();
        let link = place.path().join("link");
        symlink(&state, &link).unwrap();
        assert!(matches!(open(&link).await, Err(StateDirError::NotAFolder(_))));
    }

    #[tokio::test]
    async fn a_lock_of_an_entry_that_was_removed_meanwhile_is_none() {
        let place = tempfile::tempdir().unwrap();
        let (state, removed) = (place.path().join("state"), place.path().join("removed"));
        let held = open(&state).await.unwrap_or_else(|error| panic!("{error}"));
        let entry = state.join(Fingerprint::of(b"login").as_str());
        assert!(LockedEntry::idle(&entry).is_none());
        let late = open_lock(&entry.join(LOCK), false).unwrap();
        let waiting =
            tokio::spawn(
                async move { LockedEntry::open(&state, &Fingerprint::of(b"login"), SOON * 100).await },
            );
        tokio::time::sleep(SOON).await;
        fs::rename(&entry, &removed).unwrap();
        drop(held);
        assert!(take(late, &entry.join(LOCK)).unwrap().is_none(), "opened before the entry was removed");
        let first = waiting.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
        assert!(LockedEntry::idle(&entry).is_none() && LockedEntry::idle(&removed).is_some());
        drop(first);
        assert!(LockedEntry::idle(&entry).is_some());
    }
}
