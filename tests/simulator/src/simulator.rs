//! The handle of a simulator: shared by the server, the control address and the test.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    CallRecord, Config, Counts, FaultRule, Issuer, Personality, Request, Server, SimulatedAnswer, StartError,
    User, service::Service,
};

/// A simulated ID Issuer. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    service: Mutex<Service>,
    /// Sends the number of the newest call.
    newest: watch::Sender<u64>,
}

impl Simulator {
    /// One without sockets, to be asked by [`Simulator::call`]. Needs no runtime.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let seed = config.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let mut issuer = Issuer::new(config.personality, seed);
        if config.users.is_empty() {
            issuer.set_user(&User::new("demo@idissuer.pl", "demo"));
        }
        for user in &config.users {
            issuer.set_user(user);
        }
        let shared = Shared { service: Mutex::new(Service::new(issuer)), newest: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// One that serves HTTP until the answer is stopped or dropped.
    ///
    /// # Errors
    ///
    /// An address cannot be listened on, or the certificate is no good.
    pub async fn start(config: Config) -> Result<Server, StartError> {
        Server::start(config).await
    }

    /// One request, at the true time `now`, without a socket. The work is done at once; the caller is to wait for
    /// [`Exchange::delay`] before it looks at the answer.
    #[must_use]
    pub fn call(&self, request: &Request, now: Timestamp) -> Exchange {
        let mut service = self.service();
        let handled = service.handle(request, now);
        self.shared.newest.send_replace(service.log.sequence());
        drop(service);
        let flight = handled.user.map(|user| Flight { simulator: self.clone(), user });
        Exchange { answer: handled.answer, delay: handled.delay, _flight: flight }
    }

    /// The personality.
    #[must_use]
    pub fn personality(&self) -> Personality {
        self.service().issuer.personality().clone()
    }

    /// Changes the personality, from the next call on. `change` must not use this simulator: it is locked meanwhile.
    pub fn configure<T>(&self, change: impl FnOnce(&mut Personality) -> T) -> T {
        change(self.service().issuer.personality_mut())
    }

    /// Adds a rule behind those that there are.
    pub fn inject(&self, rule: FaultRule) {
        self.configure(|personality| personality.faults.push(rule));
    }

    /// Adds a user, or gives an existing one this password and authorization and lifts its lock.
    pub fn set_user(&self, user: &User) {
        self.service().issuer.set_user(user);
    }

    /// Removes a user; says whether there was one.
    #[expect(clippy::must_use_candidate, reason = "most callers know that there is such a user")]
    pub fn remove_user(&self, name: &str) -> bool {
        self.service().issuer.remove_user(name)
    }

    /// Invalidates every token of a user. Returns whether the user exists.
    #[expect(clippy::must_use_candidate, reason = "most callers know that there is such a user")]
    pub fn revoke(&self, name: &str) -> bool {
        self.service().issuer.revoke(name)
    }

    /// Looks at the model. `look` must not use this simulator: it is locked meanwhile.
    pub fn inspect<T>(&self, look: impl FnOnce(&Issuer) -> T) -> T {
        look(&self.service().issuer)
    }

    /// What the calls came to.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.service().counts().clone()
    }

    /// Counts from zero again. The log is kept.
    pub fn reset_counts(&self) {
        self.service().reset_counts();
    }

    /// The calls after this sequence number, oldest first; 0: all that are kept.
    #[must_use]
    pub fn calls_since(&self, sequence: u64) -> Vec<CallRecord> {
        self.service().log.since(sequence)
    }

    /// Waits until the counts are as wanted. Has no time limit of its own.
    pub async fn wait_for(&self, wanted: impl Fn(&Counts) -> bool) -> Counts {
        let mut newest = self.shared.newest.subscribe();
        loop {
            newest.mark_unchanged();
            let counts = self.counts();
            if wanted(&counts) || newest.changed().await.is_err() {
                return counts;
            }
        }
    }

    /// Waits for calls after this sequence number.
    pub async fn calls_after(&self, sequence: u64) -> Vec<CallRecord> {
        let mut newest = self.shared.newest.subscribe();
        // Fails only when the sender is gone, and `self` holds it.
        let _ = newest.wait_for(|newest| *newest > sequence).await;
        self.calls_since(sequence)
    }

    fn service(&self) -> MutexGuard<'_, Service> {
        self.shared.service.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer and when it comes. The call counts as in flight until this is dropped.
#[derive(Debug)]
pub struct Exchange {
    /// The answer.
    pub answer: SimulatedAnswer,
    /// How long it takes.
    pub delay: Duration,
    _flight: Option<Flight>,
}

#[derive(Debug)]
struct Flight {
    simulator: Simulator,
    user: String,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.simulator.service().landed(&self.user);
    }
}
