//! The source that follows a directory: a target Secret that the kubelet mounts, or whatever else somebody writes
//! tokens into.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Changes, Outlet, SecretKeys};
use crate::core::sidecar::held::{Found, Held, follow};
use crate::core::sidecar::trouble::Trouble;
use crate::ops::clock::Clock;
use crate::sidecar::folder::read;

/// The source that follows a directory.
pub(in crate::sidecar) struct Directory {
    path: PathBuf,
    keys: SecretKeys,
    clock: Arc<dyn Clock>,
    outlet: Outlet,
}

impl Directory {
    pub(in crate::sidecar) fn new(
        path: PathBuf,
        keys: SecretKeys,
        clock: Arc<dyn Clock>,
        outlet: Outlet,
    ) -> Self {
        Self { path, keys, clock, outlet }
    }

    /// Follows until `stop` is cancelled.
    pub(in crate::sidecar) async fn run(self, stop: CancellationToken) {
        let mut changes = Changes::of(vec![self.path.clone()]);
        while !stop.is_cancelled() {
            self.look();
            tokio::select! {
                () = stop.cancelled() => {}
                () = changes.next() => {}
            }
        }
    }

    fn look(&self) {
        match self.found() {
            Ok(Some(token)) => self.outlet.give(token),
            Ok(None) => self.outlet.tell(None, None),
            Err(trouble) => self.outlet.tell(Some(trouble), None),
        }
    }

    fn found(&self) -> Result<Option<Held>, Trouble> {
        let now = self.clock.now();
        let [token, expires_at, json] = self.keys.all().map(|key| self.file(key));
        let token =
            token?.ok_or_else(|| Trouble::SourceUnreadable { place: self.place(&self.keys.token) })?;
        let (expires_at, json) = (expires_at.ok().flatten(), json.ok().flatten());
        let found = Found {
            token: Some(&token),
            expires_at: expires_at.as_deref().map(Vec::as_slice),
            json: json.as_deref().map(Vec::as_slice),
        };
        let place = || self.place(&self.keys.token);
        let found =
            Held::found(found, now).map_err(|defect| Trouble::TokenUnusable { place: place(), defect })?;
        follow(self.outlet.token().as_deref(), found, &place(), now)
    }

    fn file(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble> {
        match read(&self.path.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Trouble::SourceUnreadable { place: self.place(name) }),
        }
    }

    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}
