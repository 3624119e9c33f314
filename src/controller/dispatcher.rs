//! Has the credentials of one watched area worked on: each at its turn.
//!
//! kube's `Controller` would do, but it polls all reconciliations whenever one of them goes on, and those that wait for their
//! turn are among them: with thousands of them, nothing else is done. Here, who waits is a name, and costs nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};

use super::api_server::ApiServerError;
use super::context::Context;
use super::reconcile::reconcile;
use super::registry::TurnFacts;
use super::work_queue::{Action, WorkQueue};
use crate::account::call_limiters::Permit;
use crate::core::backoff::cluster_pause;
use crate::core::call_limiter::CallRequest;
use crate::core::object_name::NamespacedName;
use crate::core::time::Moment;

/// A permit to work on a credential, and since when that waited for it.
type Turn = (NamespacedName, Option<Permit<()>>, Moment);

/// Has the credentials of one watched area worked on.
pub(super) struct Dispatcher {
    context: Arc<Context>,
    queue: WorkQueue,
    /// Those that wait for their turn.
    turns: FuturesUnordered<BoxFuture<'static, Turn>>,
    /// Those that are worked on.
    works: JoinSet<(NamespacedName, Action)>,
}

impl Dispatcher {
    /// For the credentials of this area.
    pub(super) fn new(context: Arc<Context>) -> Self {
        let (turns, works) = (FuturesUnordered::new(), JoinSet::new());
        Self { context, queue: WorkQueue::default(), turns, works }
    }

    /// Something wakes a credential.
    pub(super) fn wake(&mut self, key: NamespacedName) {
        if self.queue.wake(&key) {
            self.wait(key);
        }
    }

    /// Something wakes these credentials.
    pub(super) fn wake_all(&mut self, keys: impl IntoIterator<Item = NamespacedName>) {
        for key in keys {
            self.wake(key);
        }
    }

    /// A credential is gone.
    pub(super) fn forget(&mut self, key: &NamespacedName) {
        self.queue.forget(key);
        self.context.tracer.keep_back(key, false, self.context.clock.now());
    }

    /// Goes on until something has happened. It may be dropped at any time.
    pub(super) async fn step(&mut self) {
        tokio::select! {
            Some(ended) = self.works.join_next() => self.end(ended),
            Some((key, permit, woken)) = self.turns.next() => self.begin(key, permit, woken),
            key = self.queue.due() => self.wait(key),
        }
    }

    /// Waits until the last work has ended. Returns the names of all credentials.
    pub(super) async fn finish(mut self) -> Vec<NamespacedName> {
        while let Some(ended) = self.works.join_next().await {
            result(ended);
        }
        self.context.registry.credentials.keys()
    }

    /// A credential waits for its turn, if it is there.
    fn wait(&mut self, key: NamespacedName) {
        let Some(facts) = self.context.registry.credentials.turn_facts(&key) else {
            return self.queue.skip(&key);
        };
        let context = Arc::clone(&self.context);
        let woken = context.clock.now();
        self.turns.push(Box::pin(async move {
            context.registry.secrets.synced().await;
            owner_listed(facts.followed.as_ref(), &key.namespace, &context).await;
            let now = context.clock.now();
            let time_left = time_left(&facts, now);
            let request = CallRequest::by_time_left(Arc::clone(&key.namespace), time_left, now);
            let permit = context.reconcile_limiter.enter(&(), request, now).await;
            (key, permit, woken)
        }));
    }

    fn begin(&mut self, key: NamespacedName, permit: Option<Permit<()>>, woken: Moment) {
        let context = Arc::clone(&self.context);
        let Some(object) = context.registry.credentials.object(&key) else { return self.queue.skip(&key) };
        self.queue.begin(&key);
        self.works.spawn(async move {
            let action = match reconcile(&key, &object, &context, woken).await {
                Ok(action) => action,
                Err(error) => back_off(&key, &error, &context),
            };
            drop(permit);
            (key, action)
        });
    }

    fn end(&mut self, ended: Result<(NamespacedName, Action), JoinError>) {
        let (key, action) = result(ended);
        if self.queue.end(&key, action) {
            self.wait(key);
        }
    }
}

/// How long the published token lives, as far as the watch has shown; none is in a hurry.
fn time_left(facts: &TurnFacts, now: Moment) -> SignedDuration {
    let left = |expiration: Timestamp| expiration.duration_since(now.wall);
    facts.expiration.map_or(SignedDuration::ZERO, left)
}

/// Waits until the credential that this one follows would have been listed, if it exists.
async fn owner_listed(followed: Option<&NamespacedName>, own: &str, context: &Context) {
    let namespace = followed.map_or(own, |followed| &followed.namespace);
    if let Some(registry) = context.area_of(namespace) {
        registry.credentials.synced().await;
    }
    if namespace != own {
        context.sharing().labels_known().await;
    }
}

/// What came of work. A panic goes on here.
fn result(ended: Result<(NamespacedName, Action), JoinError>) -> (NamespacedName, Action) {
    // Nobody aborts work, so it ended by itself.
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// One second after the first error, doubling up to a minute; less for tokens with a short lifetime.
fn back_off(key: &NamespacedName, error: &ApiServerError, context: &Context) -> Action {
    let (errors, pace) = context.registry.wake_ups.count_error(key);
    context.metrics.reconcile_error();
    tracing::warn!(namespace = &*key.namespace, name = &*key.name, errors, "{error}");
    let pause = cluster_pause(errors, pace, context.clock.random_fraction());
    Action::requeue(Duration::try_from(pause).unwrap_or(Duration::from_secs(1)))
}
