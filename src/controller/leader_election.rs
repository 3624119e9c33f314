//! Holding the lease: the thin loop around [`crate::core::lease`].
//!
//! Every replica watches; only the one that holds the lease acts. As soon as the lease is not ours any more, all
//! sessions are forgotten, and a new term begins when it is gained again: another replica may have acted since. A status that was
//! remembered is used in that term only if nobody has written it since.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::lease_client::SharedLease;
use super::settings::LeaseSettings;
use crate::core::lease::{Claim, SeenLease, Tenure, Timings, evaluate};
use crate::core::time::Moment;
use crate::ops::clock::Clock;

/// From this difference on the clocks of two replicas are held to be apart.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(5);

/// Whether this process may act.
pub(super) struct LeaderElection {
    settings: Option<LeaseSettings>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Whether a claim was ever made, whatever came of it.
    has_claimed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Until when the lease is ours; none while another replica may act.
    tenure: Option<Tenure>,
    /// When it was renewed last.
    renewed: Option<Timestamp>,
    term: Term,
    /// How far our clock was behind that of the holder when the lease was last seen to belong to another replica.
    clock_behind: SignedDuration,
    /// Whether a caller was denied since the last claim, although we hold the lease.
    was_denied: bool,
    /// The holder that was last logged.
    logged_holder: Option<String>,
}

impl State {
    fn may_act(&self, now: Moment) -> bool {
        self.tenure.is_some_and(|tenure| tenure.may_act(now))
    }
}

/// The lease as this replica claims it.
struct LeaseHold {
    lease: SharedLease,
    seen: SeenLease,
    /// Whether the observed lease is the result of our last claim.
    is_known: bool,
}

/// A time of uninterrupted leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) number: u64,
    /// Another replica may have acted before, perhaps so shortly that the watches do not show it yet.
    pub(super) follows_another: bool,
    /// How far this machine's wall clock is behind that of the previous leader, as far as known.
    pub(super) clock_behind: SignedDuration,
}

impl LeaderElection {
    /// Without settings there is no lease, and this process always leads.
    pub(super) fn new(settings: Option<LeaseSettings>, clock: Arc<dyn Clock>) -> Self {
        let has_claimed = watch::Sender::new(settings.is_none());
        Self { settings, clock, state: Mutex::default(), has_claimed }
    }

    /// The present term, if this process may act now.
    pub(super) fn term(&self) -> Option<Term> {
        if self.settings.is_none() {
            return Some(Term::default());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let may_act = state.may_act(self.clock.now());
        state.was_denied |= !may_act && state.tenure.is_some();
        may_act.then_some(state.term)
    }

    /// Waits until the first claim has succeeded or failed.
    pub(super) async fn first_claimed(&self) {
        // Cannot fail: the sender lives as long as self.
        let _ = self.has_claimed.subscribe().wait_for(|has_claimed| *has_claimed).await;
    }

    /// For how long no other replica can lead; without a lease there is no limit. Unfenced work must end within it.
    pub(super) fn left(&self) -> Option<SignedDuration> {
        self.settings.as_ref()?;
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(state.tenure.map_or(SignedDuration::ZERO, |tenure| tenure.left(self.clock.now())))
    }

    /// When the lease that this process holds was renewed last.
    pub(super) fn renewed(&self) -> Option<Timestamp> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tenure.and(state.renewed)
    }

    /// Claims the lease over and over until `stop`, keeps it until `done`, and releases it. `forget` is called when
    /// another replica may have acted, and `gained` when this one may act again.
    pub(super) async fn hold(
        &self,
        client: Client,
        forget: impl Fn(),
        gained: impl Fn(),
        stop: CancellationToken,
        done: CancellationToken,
    ) {
        let Some(settings) = &self.settings else { return };
        let mut claiming = LeaseHold {
            lease: SharedLease::new(client, settings),
            seen: SeenLease { record: None, since: self.clock.now() },
            is_known: false,
        };
        let period = Duration::try_from(settings.timings.retry_period).unwrap_or(Duration::from_secs(2));
        while !stop.is_cancelled() {
            let begun = tokio::time::Instant::now();
            self.claim(settings, &mut claiming, &forget, &gained).await;
            self.has_claimed.send_replace(true);
            tokio::select! {
                // Claims follow each other without a pause if responses are slow.
                () = tokio::time::sleep_until(begun + period) => {}
                () = stop.cancelled() => {}
            }
        }
        // What was begun is finished under the lease, which outlasts it without another renewal.
        done.cancelled().await;
        let LeaseHold { mut lease, seen, .. } = claiming;
        let held = seen.record.filter(|record| record.holder.as_ref() == Some(&settings.identity));
        if let Some(record) = held
            && let Err(error) = lease.release(&record, self.clock.now().wall).await
        {
            tracing::warn!("release lease {}: {error}", settings.name);
        }
    }

    /// Releases the lease though what was begun under it has not ended, for the process ends now: nothing is begun any
    /// more, and what is on its way is what a killed process leaves behind.
    pub(super) async fn give_up(&self, client: Client) {
        let Some(settings) = &self.settings else { return };
        self.end_term();
        let mut lease = SharedLease::new(client, settings);
        let released = match lease.read().await {
            Ok(Some(record)) if record.holder.as_ref() == Some(&settings.identity) => {
                lease.release(&record, self.clock.now().wall).await.map(drop)
            }
            other => other.map(drop),
        };
        if let Err(error) = released {
            tracing::warn!("release lease {}: {error}", settings.name);
        }
    }

    async fn claim(
        &self,
        settings: &LeaseSettings,
        claiming: &mut LeaseHold,
        forget: &impl Fn(),
        gained: &impl Fn(),
    ) {
        let LeaseHold { lease, seen, is_known } = claiming;
        // The holder knows the lease from its last claim: a renewal is one call.
        if !std::mem::take(is_known) {
            match lease.read().await {
                Ok(record) => *seen = seen.clone().updated(record, self.clock.now()),
                Err(error) => return tracing::warn!("read lease {}: {error}", settings.name),
            }
        }
        let now = self.clock.now();
        let claim = evaluate(seen, &settings.identity, now);
        // Before the claim is sent: it may succeed although its answer is lost, and at the next look the lease is ours.
        if !matches!(claim, Claim::Renew(_)) {
            self.set_clock_behind(seen.clock_behind(now));
            if self.end_term() {
                forget();
            }
        }
        let timings = lease.timings();
        self.on_claim_sent(now, timings);
        let outcome = match claim {
            Claim::Create => lease.create(now.wall).await,
            Claim::Take(record) => lease.take(record, now.wall).await,
            Claim::Renew(record) => lease.renew(record, now.wall).await,
            Claim::Wait => return self.log_holder(settings, seen),
        };
        match outcome {
            Ok(record) => {
                if self.claimed(settings, now, timings) {
                    gained();
                }
                *seen = seen.clone().updated(Some(record), self.clock.now());
                *is_known = true;
            }
            Err(error) => tracing::warn!("claim lease {}: {error}", settings.name),
        }
    }

    /// A claim is sent now. If it succeeds and the response is lost, other replicas count from it.
    fn on_claim_sent(&self, now: Moment, timings: Timings) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tenure = state.tenure.map(|tenure| tenure.narrowed(now, timings));
    }

    /// The lease is ours from `sent` on. Returns whether all credentials must be reconciled: a new term starts, or a
    /// caller was denied meanwhile, perhaps only because of a wrong wall clock.
    ///
    /// A successful renewal, however late, proves that no other replica held the lease in between: the term continues,
    /// and so do all tokens that wait to be written.
    fn claimed(&self, settings: &LeaseSettings, sent: Moment, timings: Timings) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let has_lapsed = !state.may_act(self.clock.now());
        let is_new_term = state.tenure.is_none();
        if is_new_term {
            let clock_behind = state.clock_behind;
            state.term = Term { number: state.term.number + 1, follows_another: true, clock_behind };
            tracing::info!(lease = settings.name, identity = settings.identity, "leading");
            if !clock_behind.is_zero() {
                tracing::warn!(
                    seconds = clock_behind.as_secs(),
                    "correct the clocks: this machine's clock is behind that of the previous leader"
                );
            }
        } else if has_lapsed {
            tracing::info!(lease = settings.name, "leading again: the lease could be renewed");
        }
        state.tenure = Some(Tenure::granted(sent, timings));
        state.renewed = Some(sent.wall);
        let was_denied = std::mem::take(&mut state.was_denied);
        is_new_term || was_denied
    }

    /// Another replica holds or held the lease. Small clock differences are ignored.
    fn set_clock_behind(&self, behind: SignedDuration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock_behind = if behind < CLOCKS_DIFFER { SignedDuration::ZERO } else { behind };
    }

    /// The lease is not ours. Whether it was until now.
    fn end_term(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_held = state.tenure.take().is_some();
        if was_held {
            state.logged_holder = None;
        }
        was_held
    }

    /// Another replica holds the lease.
    fn log_holder(&self, settings: &LeaseSettings, seen: &SeenLease) {
        let holder = seen.record.as_ref().and_then(|record| record.holder.clone());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.logged_holder != holder {
            tracing::info!(lease = settings.name, holder, "standing by: another replica is the leader");
            state.logged_holder = holder;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::backoff::RandomFraction;
    use crate::core::testing::at;

    /// A clock that a test sets.
    struct SetClock(Mutex<Moment>);

    impl Clock for SetClock {
        fn now(&self) -> Moment {
            *self.0.lock().unwrap()
        }

        fn random_fraction(&self) -> RandomFraction {
            RandomFraction::new(0.5)
        }
    }

    fn settings() -> LeaseSettings {
        LeaseSettings {
            namespace: String::new(),
            name: String::new(),
            identity: "me".into(),
            timings: Timings::default(),
        }
    }

    #[test]
    fn a_peer_that_was_refused_because_of_a_wrong_clock_is_checked_with_the_next_claim() {
        let settings = settings();
        let clock = Arc::new(SetClock(Mutex::new(at(0))));
        let leader_election = LeaderElection::new(Some(settings.clone()), clock.clone());
        assert!(leader_election.claimed(&settings, at(0), settings.timings), "a new term");
        assert!(leader_election.term().is_some());
        assert!(!leader_election.claimed(&settings, at(0), settings.timings), "nobody was refused");
        *clock.0.lock().unwrap() = Moment { wall: at(3600).wall, ..at(1) };
        assert!(leader_election.term().is_none(), "by the wall clock the lease is over");
        *clock.0.lock().unwrap() = at(2);
        assert!(leader_election.claimed(&settings, at(2), settings.timings));
        assert!(!leader_election.claimed(&settings, at(4), settings.timings), "once");
    }

    #[test]
    fn a_term_knows_how_far_the_clock_is_behind_also_if_the_claim_had_no_answer() {
        let seconds = SignedDuration::from_secs;
        let settings = settings();
        let leader_election =
            LeaderElection::new(Some(settings.clone()), Arc::new(SetClock(Mutex::new(at(0)))));
        leader_election.set_clock_behind(seconds(90));
        // The claim succeeded, but its response was lost; now the lease is ours.
        leader_election.claimed(&settings, at(0), settings.timings);
        assert_eq!(leader_election.term().unwrap().clock_behind, seconds(90));
        leader_election.end_term();
        leader_election.set_clock_behind(seconds(4));
        leader_election.claimed(&settings, at(0), settings.timings);
        assert_eq!(leader_election.term().unwrap().clock_behind, seconds(0), "as clocks are");
    }
}
