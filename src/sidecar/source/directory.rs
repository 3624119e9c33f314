//! The source that follows a directory: a target Secret that the kubelet mounts, or another directory with tokens.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::version::{read_of_one_version, version_of};
use super::{Changes, SecretKeys, TokenSender};
use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::token::{HeldToken, TokenFields, follow};
use crate::core::time::Moment;
use crate::ops::clock::Clock;
use crate::sidecar::file::{file_error, read};

/// The source that follows a directory.
pub(in crate::sidecar) struct Directory {
    files: TokenFiles,
    clock: Arc<dyn Clock>,
    sender: TokenSender,
}

/// The files with a token and its times.
#[derive(Clone)]
struct TokenFiles {
    path: PathBuf,
    keys: SecretKeys,
}

impl Directory {
    pub(in crate::sidecar) fn new(
        path: PathBuf,
        keys: SecretKeys,
        clock: Arc<dyn Clock>,
        sender: TokenSender,
    ) -> Self {
        Self { files: TokenFiles { path, keys }, clock, sender }
    }

    /// Follows until `stop` is cancelled.
    pub(in crate::sidecar) async fn run(self, stop: CancellationToken) {
        let mut changes = Changes::of(vec![self.files.path.clone()]);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.scan() => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = changes.next() => {}
            }
        }
    }

    /// Reads the directory. A file system may hang, and must not block anything else.
    async fn scan(&self) {
        let (files, held, now) = (self.files.clone(), self.sender.token(), self.clock.now());
        let found = tokio::task::spawn_blocking(move || files.found(held.as_deref(), now)).await;
        match found.unwrap_or_else(|_| Err(self.files.unreadable())) {
            Ok(Some(token)) => self.sender.send(token),
            Ok(None) => self.sender.report(None, None),
            Err(error) => self.sender.report(Some(error), None),
        }
    }
}

impl TokenFiles {
    /// The token in the directory, if it differs from the current one.
    fn found(&self, held: Option<&HeldToken>, now: Moment) -> Result<Option<HeldToken>, SourceError> {
        let version = || version_of(&self.path, &self.keys.all());
        let ([token, expires_at, json], _) =
            read_of_one_version(version, || self.keys.all().map(|key| self.file(key)));
        let token = token?.ok_or_else(|| self.unreadable())?;
        let (expires_at, json) = (expires_at.ok().flatten(), json.ok().flatten());
        let found = TokenFields {
            token: Some(&token),
            expires_at: expires_at.as_deref().map(Vec::as_slice),
            json: json.as_deref().map(Vec::as_slice),
        };
        let place = || self.place(&self.keys.token);
        let found = HeldToken::found(found, now)
            .map_err(|defect| SourceError::TokenUnusable { place: place(), defect })?;
        follow(held, found, &place(), now)
    }

    fn file(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SourceError> {
        match read(&self.path.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let place = self.place(name);
                Err(file_error(&error, place.clone(), SourceError::SourceUnreadable { place }))
            }
        }
    }

    fn unreadable(&self) -> SourceError {
        SourceError::SourceUnreadable { place: self.place(&self.keys.token) }
    }

    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_token_and_its_expiry_are_of_one_version_although_the_volume_changes_while_they_are_read() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for (version, token) in [("..1", "first"), ("..2", "second")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("token"), token).unwrap();
            fs::write(path(version).join("expires_at"), version).unwrap();
        }
        for name in ["token", "expires_at"] {
            symlink(format!("..data/{name}"), path(name)).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        let readings = Cell::new(0);
        let read_both = || {
            let token = read(&path("token")).unwrap();
            if readings.replace(readings.get() + 1) == 0 {
                symlink("..2", path("..data_tmp")).unwrap();
                fs::rename(path("..data_tmp"), path("..data")).unwrap();
            }
            [token, read(&path("expires_at")).unwrap()]
                .map(|content| String::from_utf8(content.to_vec()).unwrap())
        };
        let (both, version) =
            read_of_one_version(|| version_of(place.path(), &["token", "expires_at"]), read_both);
        assert_eq!((both, version.as_str()), (["second", "..2"].map(str::to_owned), "..2"));
    }
}
