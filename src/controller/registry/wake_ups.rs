//! When the queue wakes each credential: at a moment, or after errors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;

use crate::core::object_name::NamespacedName;
use crate::core::schedule::TimeScale;
use crate::core::time::Moment;

/// The wake-ups of the credentials of one watched area, to compare them with both clocks.
#[derive(Default)]
pub(in crate::controller) struct WakeUpSchedule {
    // Boxed: half of the places in a tree are empty.
    entries: Mutex<BTreeMap<NamespacedName, Box<Entry>>>,
    /// How many reconciliations the queue ever began.
    begun: AtomicU64,
}

struct Entry {
    /// When the queue shall have woken it.
    at: Option<Moment>,
    /// When it was due, if the queue was late then and has not begun it since.
    late: Option<Moment>,
    /// How many reconciliations in a row have failed.
    errors: u32,
    /// How fast its tokens expire, which sets the pauses after errors.
    time_scale: TimeScale,
}

impl WakeUpSchedule {
    /// The credential exists.
    pub(super) fn add(&self, key: &NamespacedName) {
        let entry = || Box::new(Entry { at: None, late: None, errors: 0, time_scale: TimeScale::FULL });
        self.lock().entry(key.clone()).or_insert_with(entry);
    }

    /// The credential is gone.
    pub(super) fn remove(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    /// The queue begins a reconciliation.
    pub(in crate::controller) fn begin(&self, key: &NamespacedName) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if let Some(entry) = self.lock().get_mut(key) {
            entry.late = None;
        }
    }

    /// How many reconciliations the queue ever began, and whether late ones wait.
    pub(in crate::controller) fn progress(&self) -> (u64, bool) {
        let is_waiting = self.lock().values().any(|entry| entry.late.is_some());
        (self.begun.load(Ordering::Relaxed), is_waiting)
    }

    /// Notes when the queue will wake a credential.
    pub(in crate::controller) fn set(&self, key: &NamespacedName, at: Option<Moment>) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.at = at;
        }
    }

    /// For how long each wake-up has been due whose reconciliation has not begun.
    pub(in crate::controller) fn overdue(&self, now: Moment) -> Vec<SignedDuration> {
        let entries = self.lock();
        let due =
            entries.values().filter_map(|entry| entry.late.or(entry.at.filter(|at| at.is_reached(now))));
        due.map(|at| -at.remaining(now)).collect()
    }

    /// The credentials that should have been woken by then, and were not. Each is named once for a wake-up.
    pub(in crate::controller) fn take_late(&self, then: Moment) -> Vec<NamespacedName> {
        let mut entries = self.lock();
        let late = entries.iter_mut().filter_map(|(key, entry)| {
            entry.late = Some(entry.at.take_if(|moment| moment.is_reached(then))?);
            Some(key.clone())
        });
        late.collect()
    }

    /// Notes the time scale that a credential's tokens set.
    pub(in crate::controller) fn set_time_scale(&self, key: &NamespacedName, time_scale: TimeScale) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.time_scale = time_scale;
        }
    }

    /// Counts errors in a row; returns how many there were with this one, and the time scale of the pause.
    pub(in crate::controller) fn count_error(&self, key: &NamespacedName) -> (u32, TimeScale) {
        self.lock().get_mut(key).map_or((1, TimeScale::FULL), |entry| {
            entry.errors = entry.errors.saturating_add(1);
            (entry.errors, entry.time_scale)
        })
    }

    /// A reconciliation succeeded: the next error is the first of a row.
    pub(in crate::controller) fn clear_errors(&self, key: &NamespacedName) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.errors = 0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NamespacedName, Box<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::key;
    use super::*;

    fn at(wall: i64, monotonic: i64) -> Moment {
        Moment {
            wall: jiff::Timestamp::from_second(wall).unwrap(),
            monotonic: jiff::SignedDuration::from_secs(monotonic),
        }
    }

    fn schedule(names: &[&str]) -> WakeUpSchedule {
        let schedule = WakeUpSchedule::default();
        for name in names {
            schedule.add(&key(name));
        }
        schedule
    }

    #[test]
    fn what_the_queue_did_not_wake_by_either_clock_is_late_and_is_named_once() {
        let schedule = schedule(&["a"]);
        schedule.set(&key("a"), Some(at(1000, 100)));
        assert_eq!(schedule.take_late(at(999, 99)), []);
        assert_eq!(schedule.take_late(at(5000, 10)), [key("a")], "the machine was suspended");
        assert_eq!(schedule.take_late(at(5000, 10)), []);
        schedule.set(&key("a"), Some(at(9000, 900)));
        assert_eq!(schedule.take_late(at(10, 901)), [key("a")], "the wall clock was set back");
        schedule.set(&key("a"), None);
        assert_eq!(schedule.take_late(at(90_000, 9000)), []);
    }

    #[test]
    fn what_is_late_waits_until_the_queue_begins_it() {
        let schedule = schedule(&["a", "b"]);
        assert_eq!(schedule.progress(), (0, false));
        schedule.set(&key("a"), Some(at(10, 10)));
        schedule.take_late(at(20, 20));
        assert_eq!(schedule.progress(), (0, true));
        assert_eq!(schedule.overdue(at(310, 310)), [jiff::SignedDuration::from_secs(300)]);
        schedule.begin(&key("b"));
        assert_eq!(schedule.progress(), (1, true), "another one");
        schedule.begin(&key("a"));
        assert_eq!((schedule.progress(), schedule.overdue(at(310, 310))), ((2, false), Vec::new()));
        schedule.set(&key("b"), Some(at(30, 30)));
        assert_eq!(schedule.overdue(at(29, 29)), []);
        assert_eq!(schedule.overdue(at(32, 31)), [jiff::SignedDuration::from_secs(2)]);
    }

    #[test]
    fn a_credential_that_is_gone_is_never_late() {
        let schedule = schedule(&["a", "b"]);
        schedule.set(&key("a"), Some(at(10, 10)));
        schedule.remove(&key("a"));
        schedule.remove(&key("b"));
        schedule.set(&key("b"), Some(at(10, 10)));
        assert_eq!(schedule.take_late(at(100, 100)), []);
    }

    #[test]
    fn errors_count_in_a_row_for_each_credential() {
        let schedule = schedule(&["a", "b"]);
        let count = |name| schedule.count_error(&key(name)).0;
        assert_eq!((count("a"), count("a"), count("b"), count("unknown")), (1, 2, 1, 1));
        schedule.clear_errors(&key("a"));
        assert_eq!((count("a"), count("b")), (1, 2));
        schedule.add(&key("b"));
        assert_eq!(count("b"), 3, "the same again");
        schedule.remove(&key("b"));
        schedule.add(&key("b"));
        assert_eq!(count("b"), 1, "made anew");
    }
}
