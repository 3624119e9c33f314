//! Who uses an account, and how each wants new tokens to be obtained.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::account::Strategy;
use crate::core::time::Moment;
use crate::ops::clock::Clock;

/// A member of an account; an opaque name.
pub type Member = Arc<str>;

/// The members of one account.
pub(super) struct Members {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Inner {
    /// In order, so that a run can be repeated. Mostly it is one, so this is no map.
    members: Vec<Entry>,
    /// How many of them want logins only. Every member asks when it is woken, so nobody counts them then.
    logins: usize,
    /// How many memberships there have been.
    memberships: u64,
    /// Since when there are no members.
    idle_since: Option<Moment>,
}

struct Entry {
    member: Member,
    strategy: Strategy,
    /// The membership that it is of.
    membership: u64,
}

/// A member's part in an account: it is woken at the end of every call. Dropping this ends it.
#[must_use]
pub struct Membership {
    members: Arc<Members>,
    member: Member,
    number: u64,
}

impl Membership {
    /// Changes how the member wants new tokens to be obtained.
    pub fn set_strategy(&self, strategy: Strategy) {
        let mut inner = self.members.lock();
        let Some(entry) = inner.find(&self.member).filter(|entry| entry.membership == self.number) else {
            return;
        };
        let before = std::mem::replace(&mut entry.strategy, strategy);
        inner.logins = inner.logins + logins(strategy) - logins(before);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let now = self.members.clock.now();
        let mut inner = self.members.lock();
        // A later membership of the same name stands.
        if inner.find(&self.member).is_none_or(|entry| entry.membership != self.number) {
            return;
        }
        inner.remove(&self.member);
        if inner.members.is_empty() {
            inner.idle_since = Some(now);
        }
    }
}

impl Members {
    /// Nobody uses the account yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { idle_since: Some(clock.now()), ..Inner::default() };
        Self { inner: Mutex::new(inner), clock }
    }

    /// A member takes part. Another membership of the same name counts no more.
    pub(super) fn join(self: &Arc<Self>, member: Member, strategy: Strategy) -> Membership {
        let mut inner = self.lock();
        inner.remove(&member);
        inner.idle_since = None;
        inner.memberships += 1;
        inner.logins += logins(strategy);
        let number = inner.memberships;
        let place = inner.place(&member).unwrap_or_else(|place| place);
        let entry = Entry { member: Arc::clone(&member), strategy, membership: number };
        inner.members.insert(place, entry);
        Membership { members: Arc::clone(self), member, number }
    }

    /// Login if any member says so: someone else uses the account, and refreshing would invalidate their tokens.
    pub(super) fn strategy(&self) -> Strategy {
        if self.lock().logins > 0 { Strategy::Login } else { Strategy::Auto }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().members.is_empty()
    }

    /// Whether there has been none since this moment, or longer.
    pub(super) fn is_idle_since(&self, moment: Moment) -> bool {
        self.lock().idle_since.is_some_and(|since| !since.is_after(moment))
    }

    /// Everyone who takes part, in order.
    pub(super) fn names(&self) -> Vec<Member> {
        self.lock().members.iter().map(|entry| Arc::clone(&entry.member)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, member: &str) {
        if let Ok(place) = self.place(member) {
            let entry = self.members.remove(place);
            self.logins -= logins(entry.strategy);
        }
    }

    fn find(&mut self, member: &str) -> Option<&mut Entry> {
        let place = self.place(member).ok()?;
        self.members.get_mut(place)
    }

    /// Where a member is, or else would be.
    fn place(&self, member: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|entry| (*entry.member).cmp(member))
    }
}

fn logins(strategy: Strategy) -> usize {
    usize::from(strategy == Strategy::Login)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backoff::RandomFraction;
    use jiff::{SignedDuration, Timestamp};
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Moment {
            at(self.0.load(Ordering::Relaxed))
        }

        fn random_fraction(&self) -> RandomFraction {
            RandomFraction::new(0.5)
        }
    }

    fn at(seconds: i64) -> Moment {
        let monotonic = SignedDuration::from_secs(seconds);
        Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
    }

    fn members() -> (Arc<Hand>, Arc<Members>) {
        let clock = Arc::new(Hand::default());
        (Arc::clone(&clock), Arc::new(Members::new(clock)))
    }

    #[test]
    fn a_membership_ends_when_it_is_dropped_and_the_last_one_leaves_the_account_idle() {
        let (clock, members) = members();
        assert!(members.is_empty() && members.is_idle_since(at(0)));
        let (one, other) =
            (members.join("b".into(), Strategy::Auto), members.join("a".into(), Strategy::Auto));
        assert_eq!(members.names(), ["a".into(), "b".into()]);
        clock.0.store(7, Ordering::Relaxed);
        drop(one);
        assert!(!members.is_empty() && !members.is_idle_since(at(100)));
        drop(other);
        assert!(members.is_empty() && members.is_idle_since(at(7)) && !members.is_idle_since(at(6)));
    }

    #[test]
    fn one_member_that_wants_logins_makes_all_log_in_until_it_leaves_or_changes_its_mind() {
        let (_, members) = members();
        let _calm = members.join("calm".into(), Strategy::Auto);
        assert_eq!(members.strategy(), Strategy::Auto);
        let strict = members.join("strict".into(), Strategy::Login);
        let other = members.join("other".into(), Strategy::Login);
        assert_eq!(members.strategy(), Strategy::Login);
        strict.set_strategy(Strategy::Auto);
        assert_eq!(members.strategy(), Strategy::Login);
        drop(other);
        assert_eq!(members.strategy(), Strategy::Auto);
        strict.set_strategy(Strategy::Login);
        strict.set_strategy(Strategy::Login);
        drop(strict);
        assert_eq!(members.strategy(), Strategy::Auto);
    }

    #[test]
    fn of_two_memberships_of_one_name_the_later_one_counts() {
        let (_, members) = members();
        let first = members.join("a".into(), Strategy::Login);
        let second = members.join("a".into(), Strategy::Auto);
        assert_eq!(members.strategy(), Strategy::Auto);
        first.set_strategy(Strategy::Login);
        drop(first);
        assert_eq!((members.names(), members.strategy()), (vec!["a".into()], Strategy::Auto));
        drop(second);
        assert!(members.is_empty());
    }
}
