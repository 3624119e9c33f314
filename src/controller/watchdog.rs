//! A second pair of eyes on the time, outside of the queue.
//!
//! The queue sleeps on the monotonic clock, so it is late when the wall clock is set forward or the machine was
//! suspended, and a stuck queue would go unnoticed. Once a second, this compares every wake-up with both clocks and
//! wakes late credentials.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::registry::Registry;
use super::waker::{self, Waker};
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;

/// How often it looks. Cheap: it compares two numbers a credential.
const PERIOD: Duration = Duration::from_secs(1);
/// What the queue is given before it counts as late.
const PATIENCE: SignedDuration = SignedDuration::from_secs(2);
/// How far the clocks may drift apart between two checks before it is reported.
const DRIFT: SignedDuration = SignedDuration::from_secs(5);

/// Watches until `stop`.
pub(super) async fn watch(
    areas: Vec<(Arc<Registry>, Waker)>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    leads: impl Fn() -> bool,
    stop: CancellationToken,
) {
    let mut before = clock.now();
    loop {
        metrics.leads(leads());
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.cancelled() => return,
        }
        let now = clock.now();
        let jump = now.wall.duration_since(before.wall) - (now.monotonic - before.monotonic);
        if jump.abs() >= DRIFT {
            tracing::warn!(seconds = jump.as_secs(), "the wall clock jumped");
            metrics.clock_jump();
        }
        before = now;
        for (registry, waker) in &areas {
            let late = registry.wake_ups.take_late(now.minus(PATIENCE));
            metrics.late_wakeups(late.len());
            waker::wake(waker, late);
        }
    }
}
