//! The source that follows a directory: a target Secret that the kubelet mounts, or whatever else somebody writes
//! tokens into.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::version::{read_of_one_version, version_of};
use super::{Changes, Outlet, SecretKeys};
use crate::core::sidecar::held::{Found, Held, follow};
use crate::core::sidecar::trouble::Trouble;
use crate::issuer::is_lack_of_descriptors;
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
        let version = || version_of(&self.path, &self.keys.all());
        let ([token, expires_at, json], _) =
            read_of_one_version(version, || self.keys.all().map(|key| self.file(key)));
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
            Err(error) if is_lack_of_descriptors(&error) => {
                Err(Trouble::TooManyOpenFiles { file: self.place(name) })
            }
            Err(_) => Err(Trouble::SourceUnreadable { place: self.place(name) }),
        }
    }

    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::ops::clock::SystemClock;
    use crate::sidecar::folder::tests::Place;
    use crate::sidecar::source::channel;

    #[test]
    fn a_token_and_its_expiry_are_of_one_version_although_the_volume_changes_while_they_are_read() {
        let place = Place::make();
        let path = |name: &str| place.0.join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(path(version)).unwrap();
        }
        // Whoever reads the first token waits until the second version is in place.
        mknodat(CWD, path("..1/token"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(path("..1/expires_at"), "2100-01-01T00:00:00Z").unwrap();
        fs::write(path("..2/token"), "second").unwrap();
        fs::write(path("..2/expires_at"), "2200-01-01T00:00:00Z").unwrap();
        for name in ["token", "expires_at"] {
            symlink(format!("..data/{name}"), path(name)).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        let (first, new_link, link) = (path("..1/token"), path("..data_tmp"), path("..data"));
        let swapping = std::thread::spawn(move || {
            let first = fs::OpenOptions::new().write(true).open(first).unwrap();
            symlink("..2", &new_link).unwrap();
            fs::rename(new_link, link).unwrap();
            io::Write::write_all(&mut &first, b"first").unwrap();
        });
        let (outlet, _feed) = channel(None, false);
        let keys = SecretKeys { token: "token".into() };
        let directory = Directory::new(place.0.clone(), keys, Arc::new(SystemClock::start()), outlet);
        let found = directory.found().unwrap().unwrap();
        swapping.join().unwrap();
        let year = found.expiry.unwrap().wall.to_string();
        assert_eq!((found.access.expose(), &year[..4]), ("second", "2200"));
    }
}
