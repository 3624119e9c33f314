//! Which credentials wait for their turn, are worked on, or are woken later.
//!
//! Each is worked on by one reconciliation at a time; one that is woken meanwhile is looked at once more. Every step takes
//! the same time, however many credentials wait.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use futures::StreamExt as _;
use tokio_util::time::{DelayQueue, delay_queue};

use crate::core::object_name::NamespacedName;

/// The longest pause: timers cannot be set years ahead.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// When a credential is looked at again, unless something wakes it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action(Option<Duration>);

impl Action {
    /// After this pause.
    pub(super) const fn requeue(pause: Duration) -> Self {
        Self(Some(pause))
    }

    /// Only when something wakes it.
    pub(super) const fn await_change() -> Self {
        Self(None)
    }
}

/// The credentials of one watched area that have something to do, now or later.
#[derive(Default)]
pub(super) struct WorkQueue {
    phases: HashMap<NamespacedName, Phase>,
    timers: DelayQueue<NamespacedName>,
}

enum Phase {
    /// It has nothing to do until this timer ends.
    Rests(delay_queue::Key),
    /// It waits for its turn.
    Waits,
    /// It is worked on; whether it was woken since.
    Works { is_woken: bool },
}

impl WorkQueue {
    /// Something wakes a credential. Returns whether it begins to wait for its turn.
    pub(super) fn wake(&mut self, key: &NamespacedName) -> bool {
        match self.phases.get_mut(key) {
            Some(Phase::Waits) => return false,
            Some(Phase::Works { is_woken }) => {
                *is_woken = true;
                return false;
            }
            Some(Phase::Rests(_)) | None => {}
        }
        self.forget(key);
        self.phases.insert(key.clone(), Phase::Waits);
        true
    }

    /// The next credential whose timer ends. It begins to wait for its turn.
    pub(super) async fn due(&mut self) -> NamespacedName {
        let Some(expired) = self.timers.next().await else { return pending().await };
        let key = expired.into_inner();
        self.phases.insert(key.clone(), Phase::Waits);
        key
    }

    /// It is a credential's turn.
    pub(super) fn begin(&mut self, key: &NamespacedName) {
        self.phases.insert(key.clone(), Phase::Works { is_woken: false });
    }

    /// The work on a credential ends for now. Returns whether it begins to wait for its turn again.
    pub(super) fn end(&mut self, key: &NamespacedName, action: Action) -> bool {
        let is_woken = matches!(self.phases.remove(key), Some(Phase::Works { is_woken: true }));
        if is_woken {
            self.phases.insert(key.clone(), Phase::Waits);
        } else if let Action(Some(pause)) = action {
            let timer = self.timers.insert(key.clone(), pause.min(LONGEST_PAUSE));
            self.phases.insert(key.clone(), Phase::Rests(timer));
        }
        is_woken
    }

    /// A credential is gone: nothing wakes it later.
    pub(super) fn forget(&mut self, key: &NamespacedName) {
        if let Some(Phase::Rests(timer)) = self.phases.get(key) {
            self.timers.try_remove(timer);
            self.phases.remove(key);
        }
    }

    /// A credential that waited for its turn is gone.
    pub(super) fn skip(&mut self, key: &NamespacedName) {
        self.phases.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn key(name: &str) -> NamespacedName {
        NamespacedName::new("shop", name)
    }

    fn due(queue: &mut WorkQueue) -> Option<NamespacedName> {
        queue.due().now_or_never()
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_for_nothing_and_who_works_looks_once_more() {
        let mut queue = WorkQueue::default();
        assert!(queue.wake(&key("a")) && !queue.wake(&key("a")));
        queue.begin(&key("a"));
        assert!(!queue.wake(&key("a")) && !queue.wake(&key("a")), "it is worked on");
        assert!(queue.end(&key("a"), Action::requeue(Duration::from_secs(5))), "once more");
        queue.begin(&key("a"));
        assert!(!queue.end(&key("a"), Action::await_change()));
        assert!(queue.wake(&key("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_time_or_when_something_wakes_it_and_then_it_was_the_last() {
        let mut queue = WorkQueue::default();
        for name in ["a", "b"] {
            queue.wake(&key(name));
            queue.begin(&key(name));
            queue.end(&key(name), Action::requeue(Duration::from_secs(5)));
        }
        assert!(queue.wake(&key("b")));
        pass(4).await;
        assert_eq!(due(&mut queue), None);
        pass(2).await;
        assert_eq!((due(&mut queue), due(&mut queue)), (Some(key("a")), None));
        assert!(!queue.wake(&key("a")), "it waits for its turn");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_credential_that_is_gone_nothing_is_left() {
        let mut queue = WorkQueue::default();
        for name in ["rests", "works"] {
            queue.wake(&key(name));
            queue.begin(&key(name));
        }
        queue.end(&key("rests"), Action::requeue(Duration::MAX));
        queue.wake(&key("waits"));
        for name in ["rests", "works", "waits", "unknown"] {
            queue.forget(&key(name));
        }
        queue.end(&key("works"), Action::await_change());
        queue.skip(&key("waits"));
        assert!(queue.phases.is_empty() && queue.timers.is_empty());
    }
}
