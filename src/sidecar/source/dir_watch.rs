//! Changes in directories.
//!
//! Watches directories, never files: when a volume's `..data` is swapped, a watch on a file reports only that its file
//! is gone, and nothing afterwards. A check every few seconds finds changes without events (a replaced directory, a
//! file system without events).

use std::path::PathBuf;
use std::time::Duration;

/// How long a change without an event may stay unnoticed.
const LOOK: Duration = Duration::from_secs(10);

/// Reports changes in directories.
pub(in crate::sidecar) struct Changes {
    directories: Vec<PathBuf>,
    events: Option<events::Events>,
}

impl Changes {
    /// Watches these directories from now on, also those that are not there yet.
    pub(in crate::sidecar) fn of(directories: Vec<PathBuf>) -> Self {
        let events = events::Events::new()
            .inspect_err(|error| tracing::warn!("watch directories: {error}; checking every 10 s instead"));
        let changes = Self { directories, events: events.ok() };
        changes.add_watches();
        changes
    }

    /// Waits until something may have changed. No change after that is missed: watching continues from before the
    /// check.
    pub(in crate::sidecar) async fn next(&mut self) {
        match &mut self.events {
            Some(events) => drop(tokio::time::timeout(LOOK, events.next()).await),
            None => tokio::time::sleep(LOOK).await,
        }
        self.add_watches();
    }

    /// Watches each directory that is there. On one that is watched already this changes nothing.
    fn add_watches(&self) {
        if let Some(events) = &self.events {
            self.directories.iter().for_each(|directory| events.watch(directory));
        }
    }
}

#[cfg(target_os = "linux")]
mod events {
    use std::io;
    use std::path::Path;

    use futures::{FutureExt as _, StreamExt as _};
    use inotify::{EventStream, Inotify, WatchMask};

    /// The kernel's events of directories.
    pub(super) struct Events(EventStream<[u8; 4096]>);

    impl Events {
        pub(super) fn new() -> io::Result<Self> {
            Inotify::init()?.into_event_stream([0; 4096]).map(Self)
        }

        /// Of a directory that is not there, the next look finds out.
        pub(super) fn watch(&self, directory: &Path) {
            // Nothing of files that are only begun: they would be read half-written.
            let ends = WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE | WatchMask::DELETE;
            let own_end = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
            let _ = self.0.watches().add(directory, ends | own_end);
        }

        /// Waits for an event, and takes all that have come: which they are makes no difference.
        pub(super) async fn next(&mut self) {
            match self.0.next().await {
                Some(Ok(_)) => while let Some(Some(Ok(_))) = self.0.next().now_or_never() {},
                // The looks remain.
                Some(Err(_)) | None => std::future::pending().await,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod events {
    use std::io;
    use std::path::Path;

    /// Elsewhere there are none.
    pub(super) struct Events;

    impl Events {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn watch(&self, _directory: &Path) {}

        pub(super) async fn next(&mut self) {
            std::future::pending().await
        }
    }
}
