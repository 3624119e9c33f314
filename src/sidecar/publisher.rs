//! Brings what a source supplies into the output directory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::output_dir::{OutputDir, Written};
use super::source::{TokenReceiver, TokenState};
use crate::core::backoff::cluster_pause;
use crate::core::schedule::TimeScale;
use crate::core::sidecar::files::Files;
use crate::core::sidecar::token::HeldToken;
use crate::ops::clock::Clock;
use crate::ops::metrics::SidecarMetrics;
use crate::traces::{Step, Tracer};

/// The content of the output directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    /// The token, once this process has published it or found it there.
    pub(super) token: Option<Arc<HeldToken>>,
    /// Why a newer one could not be published, for people.
    pub(super) failure: Option<String>,
}

/// Publishes every token that a source supplies.
pub(super) struct Publisher {
    pub(super) output_dir: OutputDir,
    pub(super) files: Files,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: SidecarMetrics,
    pub(super) tracer: Tracer,
    /// Notifies others of publications.
    pub(super) published: watch::Sender<Published>,
}

impl Publisher {
    /// Publishes until the source ends. What failed is tried again, more slowly each time; a newer token at once.
    pub(super) async fn run(self, receiver: TokenReceiver) {
        let mut supplied = receiver.watch();
        let mut failures = 0;
        let mut is_open = true;
        while is_open {
            let state = supplied.borrow_and_update().clone();
            failures = match self.wanted(&state) {
                None => 0,
                Some(token) => match self.publish(token).await {
                    Ok(()) => 0,
                    Err(failure) => {
                        self.published.send_modify(|published| published.failure = Some(failure));
                        failures + 1
                    }
                },
            };
            let pause = if failures == 0 { Duration::MAX } else { self.pause(failures) };
            tokio::select! {
                changed = supplied.changed() => is_open = changed.is_ok(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The token to publish, if that is not done. An expired one is never published: the existing one may be valid.
    fn wanted(&self, state: &TokenState) -> Option<Arc<HeldToken>> {
        let token = state.token.as_ref().filter(|token| !token.is_expired(self.clock.now()))?;
        let published = self.published.borrow();
        let is_done = published.token.as_ref().is_some_and(|published| Arc::ptr_eq(published, token));
        (!is_done).then(|| Arc::clone(token))
    }

    async fn publish(&self, token: Arc<HeldToken>) -> Result<(), String> {
        let now = self.clock.now();
        let data =
            self.files.render(&token).map_err(|defect| self.failed("template", &defect.to_string()))?;
        let output_dir = self.output_dir.clone();
        // Disks may take their time.
        let publishing = tokio::task::spawn_blocking(move || output_dir.publish(&data, now.wall));
        let outcome = publishing.await.map_err(|error| self.failed("failed", &error.to_string()))?;
        let written = outcome.map_err(|error| self.failed(error.outcome(), &error.to_string()))?;
        let outcome = if written == Written::Anew { "written" } else { "unchanged" };
        self.metrics.publication(outcome);
        let fingerprint = &token.fingerprint;
        self.tracer.step(Step::Files, fingerprint, None, now, None);
        let trace_id = self.tracer.trace_id(fingerprint).map(tracing::field::display);
        tracing::info!(%fingerprint, outcome, trace_id, "token published");
        self.published.send_replace(Published { token: Some(token), failure: None });
        Ok(())
    }

    fn failed(&self, outcome: &'static str, message: &str) -> String {
        self.metrics.publication(outcome);
        tracing::warn!("{message}");
        message.to_owned()
    }

    fn pause(&self, failures: u32) -> Duration {
        let pause = cluster_pause(failures, TimeScale::FULL, self.clock.random_fraction());
        Duration::try_from(pause).unwrap_or(Duration::from_secs(1))
    }
}
