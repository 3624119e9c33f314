//! The record of a soak: broken conditions of the promise, reads, and delays of renewals.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{CREDENTIALS, LIFETIME, account_of, owner_of};
use super::plan::Fault;

/// So long before a read the conditions must have held for it to count: the two minutes of the promise. For a lifetime
/// below five minutes, they shrink with the lifetime.
pub(super) fn window() -> Duration {
    Duration::from_secs(120) * u32::try_from(LIFETIME.as_secs()).unwrap() / 300
}

/// A token that was on its way to a follower when its permission was withdrawn is seen in its target within this time.
const ON_ITS_WAY: Duration = Duration::from_secs(4);

/// What a token has to have left at a read that counts: a tenth of its lifetime.
pub(super) fn margin() -> Duration {
    LIFETIME / 10
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scope {
    All,
    Account(usize),
    Credential(usize),
    /// Those who follow this credential.
    Followers(usize),
}

impl Scope {
    fn contains(self, credential: usize) -> bool {
        match self {
            Self::All => true,
            Self::Account(account) => account_of(credential) == account,
            Self::Followers(owner) => owner_of(credential) == Some(owner),
            Self::Credential(only) => only == credential,
        }
    }
}

/// A time in which a condition of the promise did not hold. Times count from the opening of the ledger.
#[derive(Clone, Copy, Debug)]
struct Broken {
    scope: Scope,
    from: Duration,
    until: Duration,
}

/// One use of what stands in a target.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) credential: usize,
    pub(super) at: Duration,
    pub(super) answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It is good, for longer than the margin.
    Accepted,
    /// It is good, but not for the margin any more.
    AboutToExpire,
    Refused(String),
}

/// A new token in a target that had one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    pub(super) credential: usize,
    pub(super) at: Duration,
    pub(super) lateness: Duration,
}

pub(super) struct Ledger {
    start: Instant,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    broken: Vec<Broken>,
    faults: BTreeMap<&'static str, usize>,
    reads: Vec<Read>,
    renewals: Vec<Renewal>,
    /// Where a target got another token.
    changes: Vec<(usize, Duration)>,
    /// When owners permitted nobody.
    denied: Vec<(usize, Duration, Duration)>,
    /// Where an older token followed a younger one.
    setbacks: Vec<(usize, Duration)>,
}

impl Ledger {
    pub(super) fn open() -> Self {
        Self { start: Instant::now(), entries: Mutex::default() }
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When this time after the opening has come.
    pub(super) async fn reaches(&self, time: Duration) {
        tokio::time::sleep_until(self.start + time).await;
    }

    pub(super) fn count(&self, fault: Fault) {
        *self.entries().faults.entry(fault.name()).or_default() += 1;
    }

    pub(super) fn broke(&self, scope: Scope, from: Duration, until: Duration) {
        self.entries().broken.push(Broken { scope, from, until });
    }

    pub(super) fn read(&self, read: Read) {
        self.entries().reads.push(read);
    }

    pub(super) fn renewed(&self, renewal: Renewal) {
        self.entries().renewals.push(renewal);
    }

    pub(super) fn changed(&self, credential: usize, at: Duration) {
        self.entries().changes.push((credential, at));
    }

    pub(super) fn denied(&self, owner: usize, from: Duration, until: Duration) {
        self.entries().denied.push((owner, from, until));
    }

    pub(super) fn went_back(&self, credential: usize, at: Duration) {
        self.entries().setbacks.push((credential, at));
    }

    /// Where a follower got a new token although its owner did not permit it, and the operator could know that.
    pub(super) fn unpermitted(&self) -> Vec<(usize, Duration)> {
        let entries = self.entries();
        let of_all = entries.of(Scope::All, window());
        let is_denied = |(credential, at): &(usize, Duration)| {
            let is_known = |(owner, from, until): &(usize, Duration, Duration)| {
                owner_of(*credential) == Some(*owner) && (*from + ON_ITS_WAY..=*until).contains(at)
            };
            entries.denied.iter().any(is_known) && !is_within(&of_all, *at)
        };
        entries.changes.iter().copied().filter(is_denied).collect()
    }

    /// Where an older token followed a younger one of the same login. While a password is changed in one namespace after
    /// the other, the old and the new one both bring tokens, and a target gets that of its own.
    pub(super) fn setbacks(&self) -> Vec<(usize, Duration)> {
        let entries = self.entries();
        let is_of_one_login = |(credential, at): &(usize, Duration)| {
            !is_within(&entries.of(Scope::Account(account_of(*credential)), window()), *at)
        };
        entries.setbacks.iter().copied().filter(is_of_one_login).collect()
    }

    pub(super) fn faults(&self) -> BTreeMap<&'static str, usize> {
        self.entries().faults.clone()
    }

    /// Whether a condition of this credential's own account is broken now: it waits under the login budget.
    pub(super) fn is_account_broken(&self, credential: usize) -> bool {
        is_within(&self.entries().of(Scope::Account(account_of(credential)), Duration::ZERO), self.now())
    }

    /// The reads while the conditions held, and those while they did not.
    pub(super) fn reads(&self) -> (Vec<Read>, Vec<Read>) {
        let entries = self.entries();
        let disturbed = entries.disturbed(window());
        let held = |read: &Read| !is_within(&disturbed[read.credential], read.at);
        entries.reads.iter().cloned().partition(held)
    }

    /// The renewals that nothing disturbed, and the others.
    pub(super) fn renewals(&self) -> (Vec<Renewal>, Vec<Renewal>) {
        let entries = self.entries();
        let disturbed = entries.disturbed(window());
        let held = |renewal: &Renewal| !is_within(&disturbed[renewal.credential], renewal.at);
        entries.renewals.iter().copied().partition(held)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// The times in which a condition of this scope, and of nothing more or less, was broken.
    fn of(&self, scope: Scope, window: Duration) -> Vec<(Duration, Duration)> {
        let broken = self.broken.iter().filter(|broken| broken.scope == scope);
        broken.map(|broken| (broken.from, broken.until + window)).collect()
    }

    /// Of each credential, the times in which a read does not count.
    fn disturbed(&self, window: Duration) -> Vec<Vec<(Duration, Duration)>> {
        let of = |credential| {
            let broken = self.broken.iter().filter(|broken| broken.scope.contains(credential));
            broken.map(|broken| (broken.from, broken.until + window)).collect()
        };
        (0..CREDENTIALS).map(of).collect()
    }
}

fn is_within(times: &[(Duration, Duration)], at: Duration) -> bool {
    times.iter().any(|(from, until)| *from <= at && at <= *until)
}

#[test]
fn a_read_counts_unless_a_condition_of_its_own_was_broken_shortly_before() {
    let ledger = Ledger::open();
    let second = Duration::from_secs;
    assert_eq!((window(), margin()), (second(12), second(3)));
    ledger.broke(Scope::Account(account_of(1)), second(10), second(12));
    ledger.broke(Scope::Credential(2), second(50), second(50));
    for (credential, at) in [(1, 9), (1, 10), (1, 24), (1, 25), (2, 20), (2, 61), (3, 50)] {
        ledger.read(Read { credential, at: second(at), answer: Answer::Accepted });
    }
    let (held, disturbed) = ledger.reads();
    let pairs = |reads: Vec<Read>| -> Vec<_> {
        reads.iter().map(|read| (read.credential, read.at.as_secs())).collect()
    };
    assert_eq!(pairs(held), [(1, 9), (1, 25), (2, 20), (3, 50)]);
    assert_eq!(pairs(disturbed), [(1, 10), (1, 24), (2, 61)]);
    for (credential, at) in [(1, 9), (1, 10), (1, 24), (2, 50)] {
        ledger.went_back(credential, second(at));
    }
    assert_eq!(ledger.setbacks(), [(1, second(9)), (2, second(50))]);
}

#[test]
fn a_token_that_a_follower_gets_is_wrong_if_the_operator_could_know_that_it_is_not_permitted() {
    let (ledger, second) = (Ledger::open(), Duration::from_secs);
    let follower = (0..CREDENTIALS).find(|number| owner_of(*number).is_some()).unwrap();
    let owner = owner_of(follower).unwrap();
    ledger.denied(owner, second(10), second(60));
    ledger.broke(Scope::All, second(20), second(21));
    for at in [9, 13, 15, 30, 34, 60, 61] {
        ledger.changed(follower, second(at));
        ledger.changed(owner, second(at));
    }
    assert_eq!(ledger.unpermitted(), [15, 34, 60].map(|at| (follower, second(at))));
}
