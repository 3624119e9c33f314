//! What metrics show of the watches.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};

use super::context::Context;
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;

/// Counts the events of watches.
#[derive(Clone)]
pub(super) struct WatchMetrics {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl WatchMetrics {
    /// With the clock and the metrics of this context, which is not kept.
    pub(super) fn of(context: &Context) -> Self {
        Self { metrics: Arc::clone(&context.metrics), clock: Arc::clone(&context.clock) }
    }

    /// The same events of a watch of this resource, counted.
    pub(super) fn count<K>(
        self,
        resource: &'static str,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> {
        events.inspect(move |event| {
            let name = match event {
                Ok(Event::Apply(_) | Event::Delete(_)) => "changed",
                Ok(Event::InitDone) => "listed",
                Ok(Event::Init | Event::InitApply(_)) => return,
                Err(_) => "failed",
            };
            self.metrics.watch_event(resource, name, self.clock.now().wall);
        })
    }
}
