//! Hooks: notify the program of a new token, after its files are written.
//!
//! A hook runs at least once for the newest token: it is retried until it succeeds, and runs again after a restart,
//! because its result is unknown then. It never delays a publication, and a newer token replaces one that is not
//! notified yet.

mod program;
mod signal;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::watch;
use url::Url;

pub(super) use program::Programs;
pub use signal::{SignalHook, SignalHookError};

use super::file;
use super::publisher::Published;
use crate::core::backoff::cluster_pause;
use crate::core::schedule::TimeScale;
use crate::core::sidecar::token::HeldToken;
use crate::issuer::{Request, Transport, TransportError, Trust};
use crate::ops::clock::Clock;
use crate::ops::metrics::SidecarMetrics;

/// One way to notify the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A POST to this address, with fingerprint and expiry as JSON, and never the token.
    Http(Url),
    /// This file is made, or gets the present time.
    Touch(PathBuf),
    /// A signal to a process.
    Signal(SignalHook),
    /// A program that is run, with its arguments.
    Exec {
        /// The path of the program.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("it did not finish in time")]
    TimedOut,
    #[error("{0}")]
    Transport(TransportError),
    #[error("the response was {0}")]
    Status(u16),
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("there is no process with that name or number")]
    NoProcess,
    #[error("it exited with {0}")]
    Exit(std::process::ExitStatus),
}

impl Hook {
    /// For logs and metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Touch(_) => "touch",
            Self::Signal(_) => "signal",
            Self::Exec { .. } => "exec",
        }
    }
}

/// Without the query of an address: it may hold a secret of the program.
impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => write!(formatter, "POST {}{}", url.origin().ascii_serialization(), url.path()),
            Self::Touch(path) => write!(formatter, "touching {}", path.display()),
            Self::Signal(signal) => write!(formatter, "{signal}"),
            Self::Exec { program, .. } => write!(formatter, "running {program}"),
        }
    }
}

/// Runs one hook for each token that is published.
pub(super) struct HookRunner {
    pub(super) hook: Hook,
    /// How long it may take each time.
    pub(super) limit: Duration,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) programs: Programs,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: SidecarMetrics,
}

impl HookRunner {
    /// Runs until nothing is published any more.
    pub(super) async fn run(self, mut published: watch::Receiver<Published>) {
        let mut told: Option<Arc<HeldToken>> = None;
        let mut failures = 0;
        loop {
            let newest = published.borrow_and_update().token.clone();
            let is_told = |token: &Arc<HeldToken>| told.as_ref().is_some_and(|told| Arc::ptr_eq(told, token));
            let mut pause = Duration::MAX;
            if let Some(token) = newest.filter(|token| !is_told(token)) {
                if self.attempt(&token).await {
                    (told, failures) = (Some(token), 0);
                } else {
                    failures += 1;
                    pause = self.pause(failures);
                }
            }
            tokio::select! {
                changed = published.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn attempt(&self, token: &HeldToken) -> bool {
        // A program that takes longer is ended by who started it.
        let limit = if matches!(self.hook, Hook::Exec { .. }) { Duration::MAX } else { self.limit };
        let outcome = tokio::time::timeout(limit, self.call(token)).await;
        let outcome = outcome.unwrap_or(Err(HookError::TimedOut));
        let kind = self.hook.kind();
        match &outcome {
            Ok(()) => tracing::info!(hook = kind, fingerprint = %token.fingerprint, "hook succeeded"),
            Err(error) => tracing::warn!("run hook {}: {error}; retrying", self.hook),
        }
        self.metrics.hook(kind, if outcome.is_ok() { "ok" } else { "failed" });
        outcome.is_ok()
    }

    async fn call(&self, token: &HeldToken) -> Result<(), HookError> {
        match &self.hook {
            Hook::Http(url) => self.post(url, token).await,
            Hook::Touch(path) => {
                let (path, now) = (path.clone(), self.clock.now().wall.into());
                off_thread(move || file::touch(&path, now).map_err(HookError::Io)).await
            }
            Hook::Signal(signal) => {
                let signal = signal.clone();
                off_thread(move || signal.send()).await
            }
            Hook::Exec { program, arguments } => self.programs.run(program, arguments, self.limit).await,
        }
    }

    async fn post(&self, url: &Url, token: &HeldToken) -> Result<(), HookError> {
        let expiry = token.expiry.map(|expiry| expiry.wall.to_string());
        let body = serde_json::json!({"fingerprint": token.fingerprint.as_str(), "expires_at": expiry});
        let body = body.to_string().into_bytes().into();
        let (url, trust, headers) = (url.clone(), Trust::PublicRoots, HeaderMap::new());
        let request = Request { url, body, trust, limit: self.limit, headers };
        let answer = self.transport.send(request).await.map_err(HookError::Transport)?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(HookError::Status(answer.status)) }
    }

    fn pause(&self, failures: u32) -> Duration {
        let pause = cluster_pause(failures, TimeScale::FULL, self.clock.random_fraction());
        Duration::try_from(pause).unwrap_or(Duration::from_secs(1))
    }
}

/// Runs blocking file operations where they block nothing else.
async fn off_thread(work: impl FnOnce() -> Result<(), HookError> + Send + 'static) -> Result<(), HookError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(HookError::Io(io::Error::other(error))))
}
