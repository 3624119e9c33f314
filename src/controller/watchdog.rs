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
use crate::ops::liveness::Liveness;
use crate::ops::metrics::Metrics;

/// How often it looks. Cheap: it compares two numbers a credential.
const PERIOD: Duration = Duration::from_secs(1);
/// What the queue is given before it counts as late.
const PATIENCE: SignedDuration = SignedDuration::from_secs(2);
/// How far the clocks may drift apart between two checks before it is reported.
const DRIFT: SignedDuration = SignedDuration::from_secs(5);

/// How long the queue may leave credentials waiting without beginning a single reconciliation, before the process counts as
/// stuck. Calls to the API server end sooner, so an outage of it, or of an issuer, is never taken for that.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Since when the queue has begun no reconciliation although credentials wait, by the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct QueueProgress {
    begun: u64,
    idle_since: Option<SignedDuration>,
}

impl QueueProgress {
    /// After another look: how many reconciliations were ever begun, and whether credentials wait now.
    fn updated(self, begun: u64, is_waiting: bool, now: SignedDuration) -> Self {
        let is_stuck = begun == self.begun && is_waiting;
        Self { begun, idle_since: is_stuck.then(|| self.idle_since.unwrap_or(now)) }
    }

    fn is_stuck(&self, now: SignedDuration) -> bool {
        self.idle_since.is_some_and(|since| now - since >= STUCK_AFTER)
    }
}

/// The watchdog, with the clock that it compares and what it reports to.
pub(super) struct Watchdog {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) liveness: Liveness,
}

impl Watchdog {
    /// Watches these areas until `stop`.
    pub(super) async fn watch(
        self,
        areas: Vec<(Arc<Registry>, Waker)>,
        leads: impl Fn() -> bool,
        stop: CancellationToken,
    ) {
        let mut before = self.clock.now();
        let mut progress = QueueProgress::default();
        loop {
            self.metrics.leads(leads());
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = stop.cancelled() => return,
            }
            let now = self.clock.now();
            let jump = now.wall.duration_since(before.wall) - (now.monotonic - before.monotonic);
            if jump.abs() >= DRIFT {
                tracing::warn!(seconds = jump.as_secs(), "the wall clock jumped");
                self.metrics.clock_jump();
            }
            before = now;
            for (registry, waker) in &areas {
                let late = registry.wake_ups.take_late(now.minus(PATIENCE));
                self.metrics.late_wakeups(late.len());
                waker::wake(waker, late);
            }
            let (begun, waiting): (Vec<u64>, Vec<bool>) =
                areas.iter().map(|(registry, _)| registry.wake_ups.progress()).unzip();
            progress = progress.updated(begun.iter().sum(), waiting.contains(&true), now.monotonic);
            self.liveness.set_stuck(progress.is_stuck(now.monotonic));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_queue_is_stuck_when_credentials_wait_for_ten_minutes_and_nothing_is_begun() {
        let idle = QueueProgress::default().updated(5, false, at(0));
        assert!(!idle.updated(5, false, at(9000)).is_stuck(at(9000)), "nothing waits");
        let waiting = idle.updated(5, true, at(100)).updated(5, true, at(400));
        assert!(!waiting.is_stuck(at(699)) && waiting.is_stuck(at(700)), "since the first look");
        assert!(!waiting.updated(6, true, at(700)).is_stuck(at(700)), "one was begun");
        assert!(!waiting.updated(5, false, at(700)).is_stuck(at(9000)), "none waits any more");
        let again = waiting.updated(6, true, at(700)).updated(6, true, at(701));
        assert!(!again.is_stuck(at(1300)) && again.is_stuck(at(1301)), "counted anew");
    }
}
