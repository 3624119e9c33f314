//! Events are published beside the work: one that the API server does not take holds up no token.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::poll_fn;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, Recorder};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How long the publication of an Event may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How many are published at once.
const AT_ONCE: usize = 64;
/// How many may wait for that: what is told much later than it happened is of no use.
const WAITING: usize = 1000;

/// An Event, and the credential that it is about.
pub(super) struct Telling {
    event: Event,
    about: ObjectReference,
}

/// Takes Events that are to be published.
pub(super) struct Teller(Sender<Telling>);

impl Teller {
    /// A teller, and what it is told.
    pub(super) fn new() -> (Self, Receiver<Telling>) {
        let (sender, told) = channel(WAITING);
        (Self(sender), told)
    }

    /// Has an Event published. Where too many wait already, it is logged only.
    pub(super) fn tell(&self, event: Event, about: ObjectReference) {
        if let Err(error) = self.0.try_send(Telling { event, about }) {
            error.into_inner().log_loss("too many wait");
        }
    }
}

impl Telling {
    async fn publish(self, recorder: &Recorder) {
        match tokio::time::timeout(LIMIT, recorder.publish(&self.event, &self.about)).await {
            Ok(Ok(())) => {}
            Ok(Err(kube::Error::Api(status))) => self.log_loss(&status.message),
            Ok(Err(_)) | Err(_) => self.log_loss("no answer"),
        }
    }

    fn log_loss(&self, why: &str) {
        let ObjectReference { namespace, name, .. } = &self.about;
        tracing::warn!(namespace, name, reason = self.event.reason, "publish Event: {why}");
    }
}

/// Publishes what is told, until there is no teller any more.
pub(super) async fn publish_all(recorder: Recorder, mut told: Receiver<Telling>) {
    let told = poll_fn(|context| told.poll_recv(context));
    told.for_each_concurrent(AT_ONCE, |telling| telling.publish(&recorder)).await;
}
