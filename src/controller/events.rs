//! Events are published asynchronously: a failing Event never delays a token. They are rate-limited per namespace, so
//! that no namespace crowds out the others.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::poll_fn;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Reporter};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::api_call::call;
use crate::core::rate_limiter::{Rate, RateLimiter};
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;

/// How long the publication of an Event may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many are published at once.
const MAX_CONCURRENT: usize = 64;
/// How many Events may wait: one that is published much later than its cause is useless.
const QUEUE_CAPACITY: usize = 1000;
/// Events of a namespace.
const RATE: Rate = Rate { burst: 100, per_minute: 60 };
/// After so many namespaces, those that have been quiet are forgotten.
const NAMESPACES: usize = 1000;
/// How long a repeated Event is counted as a series instead of published as a new one.
const SERIES_WINDOW: SignedDuration = SignedDuration::from_mins(6);
/// How often older ones are forgotten.
const SWEEP_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// The longest name of an object of Kubernetes.
const NAME_MAX_LENGTH: usize = 253;

/// An Event, and the credential that it is about.
pub(super) struct PendingEvent {
    event: Event,
    regarding: ObjectReference,
    at: Timestamp,
}

/// Takes Events that are to be published.
pub(super) struct EventPublisher {
    sender: Sender<PendingEvent>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    rate_limiters: Mutex<HashMap<String, RateLimiter>>,
}

impl EventPublisher {
    /// An event publisher and its queue.
    pub(super) fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> (Self, Receiver<PendingEvent>) {
        let (sender, events) = channel(QUEUE_CAPACITY);
        (Self { sender, clock, metrics, rate_limiters: Mutex::default() }, events)
    }

    /// Has an Event published. Where too many wait already, or its namespace has had too many, it is dropped and counted.
    pub(super) fn publish(&self, event: Event, regarding: ObjectReference) {
        let at = self.clock.now().wall;
        let pending = PendingEvent { event, regarding, at };
        if !self.is_allowed(pending.regarding.namespace.as_deref().unwrap_or_default()) {
            self.metrics.event_dropped();
            let ObjectReference { namespace, name, .. } = &pending.regarding;
            tracing::debug!(
                namespace,
                name,
                reason = pending.event.reason,
                "Event dropped: the namespace has too many"
            );
        } else if let Err(error) = self.sender.try_send(pending) {
            self.metrics.event_dropped();
            error.into_inner().log_loss("too many wait");
        }
    }

    fn is_allowed(&self, namespace: &str) -> bool {
        let now = self.clock.now();
        let mut rate_limiters = self.rate_limiters.lock().unwrap_or_else(PoisonError::into_inner);
        if rate_limiters.len() >= NAMESPACES {
            rate_limiters.retain(|_, rate_limiter| !rate_limiter.is_full(RATE, now));
        }
        let rate_limiter = rate_limiters.entry(namespace.to_owned());
        rate_limiter.or_insert_with(|| RateLimiter::full(RATE, now)).take(RATE, now)
    }
}

impl PendingEvent {
    async fn publish(self, recorder: &Recorder) {
        if let Err(error) = call(PUBLISH_TIMEOUT, recorder.publish(&self)).await {
            self.log_loss(&error.to_string());
        }
    }

    fn log_loss(&self, why: &str) {
        let ObjectReference { namespace, name, .. } = &self.regarding;
        tracing::warn!(namespace, name, reason = self.event.reason, "publish Event: {why}");
    }

    /// What makes two Events one that repeats. The text is part of it: that of a published Event cannot change, so a template
    /// with another undefined variable would be told as the one before.
    fn key(&self) -> EventKey {
        let mut hasher = DefaultHasher::new();
        self.event.note.hash(&mut hasher);
        EventKey {
            reason: self.event.reason.clone(),
            uid: self.regarding.uid.clone().unwrap_or_default(),
            note: hasher.finish(),
        }
    }

    fn event(&self, name: String, reporter: &Reporter) -> v1::Event {
        let type_ = match self.event.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let controller = reporter.controller.clone();
        v1::Event {
            metadata: ObjectMeta {
                namespace: self.regarding.namespace.clone(),
                name: Some(name),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.at)),
            type_: Some(type_.to_owned()),
            reason: Some(self.event.reason.clone()),
            action: Some(self.event.action.clone()),
            note: self.event.note.clone(),
            regarding: Some(self.regarding.clone()),
            reporting_instance: Some(reporter.instance.clone().unwrap_or_else(|| controller.clone())),
            reporting_controller: Some(controller),
            ..v1::Event::default()
        }
    }
}

/// What Events have in common that repeat: the reason, the credential, and the text, as a hash because many are remembered.
#[derive(Clone, PartialEq, Eq, Hash)]
struct EventKey {
    reason: String,
    uid: String,
    note: u64,
}

/// Creates Events, and counts up those that repeat.
pub(super) struct Recorder {
    client: Client,
    reporter: Reporter,
    recent: Mutex<RecentEvents>,
    published: AtomicI64,
}

/// The Events of the last minutes.
#[derive(Default)]
struct RecentEvents {
    by_key: HashMap<EventKey, Recent>,
    /// When those that are too old to be counted up were forgotten last.
    swept: Timestamp,
}

/// An Event that was published, and may repeat.
#[derive(Clone)]
struct Recent {
    name: String,
    count: i32,
    at: Timestamp,
}

impl Recorder {
    /// Publishes in this name.
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        Self { client, reporter, recent: Mutex::default(), published: AtomicI64::default() }
    }

    async fn publish(&self, pending: &PendingEvent) -> kube::Result<()> {
        let namespace = pending.regarding.namespace.as_deref().unwrap_or_default();
        let api: Api<v1::Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(Recent { name, count, .. }) = self.recent(pending) {
            let count = count.saturating_add(1);
            let series = json!({"series": {"count": count, "lastObservedTime": MicroTime(pending.at)}});
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(series)).await {
                // Events expire after an hour, or are deleted.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                patched => return patched.map(|_| self.remember(pending, name, count)),
            }
        }
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        let name = name(pending.regarding.name.as_deref().unwrap_or_default(), pending.at, number);
        api.create(&PostParams::default(), &pending.event(name.clone(), &self.reporter)).await?;
        self.remember(pending, name, 1);
        Ok(())
    }

    fn recent(&self, pending: &PendingEvent) -> Option<Recent> {
        let mut recent = self.lock();
        let is_recent = |it: &Recent| pending.at.duration_since(it.at) < SERIES_WINDOW;
        // Not every time: it looks at each.
        if pending.at.duration_since(recent.swept) >= SWEEP_PAUSE {
            recent.by_key.retain(|_, it| is_recent(it));
            recent.swept = pending.at;
        }
        recent.by_key.get(&pending.key()).filter(|it| is_recent(it)).cloned()
    }

    fn remember(&self, pending: &PendingEvent, name: String, count: i32) {
        self.lock().by_key.insert(pending.key(), Recent { name, count, at: pending.at });
    }

    fn lock(&self) -> MutexGuard<'_, RecentEvents> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of an Event: that of the object, shortened if necessary, and a unique number.
fn name(regarding: &str, at: Timestamp, number: i64) -> String {
    let suffix = format!(".{:x}", at.as_nanosecond().wrapping_add(number.into()));
    // Names are ASCII, so each byte is a character.
    let regarding = regarding.get(..NAME_MAX_LENGTH.saturating_sub(suffix.len())).unwrap_or(regarding);
    format!("{}{suffix}", regarding.trim_end_matches(['.', '-']))
}

/// Publishes queued Events, until all senders are gone.
pub(super) async fn publish_all(recorder: Recorder, mut events: Receiver<PendingEvent>) {
    let events = poll_fn(|context| events.poll_recv(context));
    events.for_each_concurrent(MAX_CONCURRENT, |pending| pending.publish(&recorder)).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use proptest::prelude::*;

    use super::*;

    /// A client whose requests succeed, and their methods.
    fn client() -> (Client, Arc<Mutex<Vec<Method>>>) {
        let methods = Arc::<Mutex<Vec<Method>>>::default();
        let seen = Arc::clone(&methods);
        let service = tower::service_fn(move |request: Request<Body>| {
            seen.lock().unwrap().push(request.method().clone());
            let event = json!({"metadata": {"name": "billing.1"}, "eventTime": null});
            async move { Ok::<_, Infallible>(Response::new(Body::from(event.to_string().into_bytes()))) }
        });
        (Client::new(service, "default"), methods)
    }

    fn pending(note: &str) -> PendingEvent {
        let event = Event {
            type_: EventType::Warning,
            reason: "TemplateError".to_owned(),
            note: Some(note.to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference { uid: Some("1".to_owned()), ..ObjectReference::default() };
        PendingEvent { event, regarding, at: Timestamp::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn an_event_with_another_text_is_no_repetition() {
        let (client, methods) = client();
        let recorder = Recorder::new(client, "idissuer".into());
        for note in ["variable a is undefined", "variable a is undefined", "variable b is undefined"] {
            recorder.publish(&pending(note)).await.unwrap();
        }
        assert_eq!(*methods.lock().unwrap(), [Method::POST, Method::PATCH, Method::POST]);
    }

    proptest! {
        #[test]
        fn the_name_of_an_event_fits_for_every_object(
            regarding in "[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,5}",
            seconds in 0_i64..100_000_000_000, number in 0..i64::MAX,
        ) {
            let regarding = regarding.get(..253).unwrap_or(&regarding).trim_end_matches(['.', '-']);
            let name = name(regarding, Timestamp::from_second(seconds).unwrap(), number);
            prop_assert!(name.len() <= 253, "{name}");
            prop_assert!(name.split('.').all(|label| {
                let ends = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
                label.starts_with(ends) && label.ends_with(ends)
            }), "{name}");
            let whole = regarding.len() <= 200;
            prop_assert!(!whole || name.starts_with(&format!("{regarding}.")), "{name}");
        }
    }
}
