//! Accounts: one session for all users of the same login at the same issuer.
//!
//! Members of an account (credentials, or the sidecar) ask its session for a token and are notified when a call ends;
//! nobody blocks meanwhile. One call is in flight at a time, and one new token serves all members.
//! [`crate::core::account`] decides what a session does next; this module holds the state and makes the calls. It does
//! not depend on Kubernetes objects: a member is an opaque name.

pub(crate) mod call_limiters;
mod call_limits;
mod key;
mod members;
mod session;
mod shared;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use call_limits::Tenant;
pub use key::KeyMaker;
pub use members::{Member, Membership};
pub use session::{AttemptRecorder, Session};
pub use shared::STOP_GRACE;

use crate::core::call_limiter::Capacity;
use crate::core::observed::AccountKey;
use crate::core::time::Moment;
use crate::core::username_password::LoginPair;
use crate::issuer::{IssuerAddress, IssuerClient};
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;
use shared::Shared;

/// How long the session of an account outlives its last member, so that a credential that is deleted and created again,
/// or whose login Secret is edited back and forth, finds its token and its hold again.
const IDLE_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// The most sessions without a member that are kept.
const IDLE_LIMIT: usize = 10_000;

/// How often sessions without members are let go at least.
const SWEEP_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// How many more sessions there are before that is done earlier.
const SWEEP_GROWTH: usize = 1_000;

/// All sessions of the process.
pub struct Accounts {
    sessions: Mutex<Sessions>,
    keys: KeyMaker,
    shared: Arc<Shared>,
}

/// What runs and waits, of all accounts.
#[derive(Clone, Debug, Default)]
pub struct AccountsLoad {
    /// Accounts whose login is held.
    pub held: usize,
    /// Calls to issuers that run.
    pub in_flight: usize,
    /// Calls that wait for a permit, by tenant.
    pub waiting: Vec<(String, usize)>,
    /// Each issuer with a shared circuit breaker, and whether it is open.
    pub circuits: Vec<(String, bool)>,
}

/// What speaks for a login before the issuer is asked.
#[derive(Clone, Copy, Debug)]
pub struct LoginEvidence {
    /// The account from which this process obtained the published token. If that is this login's, its tenant learns
    /// nothing new.
    pub obtained_from: Option<AccountKey>,
    /// Whether status tells of an accepted login: that one has limits of its own, for a tenant may have written the status.
    pub is_claimed: bool,
}

impl Accounts {
    /// Starts without sessions. No call is sent unless `may_call` allows it. Once `stop` is cancelled, no call starts,
    /// and a call in flight is aborted after [`STOP_GRACE`].
    #[must_use]
    pub fn new(
        issuer: IssuerClient,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        keys: KeyMaker,
        ended: UnboundedSender<Member>,
        may_call: impl Fn() -> bool + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> Self {
        let shared = Shared {
            issuer,
            clock,
            metrics,
            call_limiters: Arc::new(call_limiters::CallLimiters::new(Capacity::ISSUER)),
            call_limits: call_limits::CallLimits::default(),
            may_call: Box::new(may_call),
            ended,
            tasks: TaskTracker::new(),
            stop,
        };
        Self { sessions: Mutex::default(), keys, shared: Arc::new(shared) }
    }

    /// The session of this login's account at this issuer. Only a keyed digest of the login is kept; `source` names its
    /// origin for logs; another member of the account may have another source.
    pub fn open(&self, address: IssuerAddress, pair: &LoginPair, source: &str) -> Arc<Session> {
        let (key, user) = (self.keys.key(&address, pair), self.keys.user(pair));
        let now = self.shared.clock.now();
        let create =
            || Arc::new(Session::new(key, user, address, source.to_owned(), Arc::clone(&self.shared)));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = Arc::clone(sessions.by_key.entry(key).or_insert_with(create));
        sessions.sweep(now);
        session
    }

    /// Takes over rejections of this user name, with whatever password, that an earlier process had for this tenant.
    pub fn remember_rejections(
        &self,
        tenant: &Tenant,
        address: &IssuerAddress,
        pair: &LoginPair,
        count: u32,
        last: Moment,
    ) {
        let (call_site, user) = (call_site(tenant, address), self.keys.user(pair));
        self.shared.call_limits.remember(&call_site, user, count, last, self.shared.clock.now());
    }

    /// Until when this login is not even looked up for this tenant, because the user name, or all user names of the
    /// tenant, had too many rejections. A tenant that learned whether an account of others has this password could
    /// guess it, without a call to the issuer.
    #[must_use]
    pub fn blocked_until(
        &self,
        tenant: &Tenant,
        address: &IssuerAddress,
        pair: &LoginPair,
        evidence: LoginEvidence,
    ) -> Option<Moment> {
        let (call_site, user) = (call_site(tenant, address), self.keys.user(pair));
        let (limits, now) = (&self.shared.call_limits, self.shared.clock.now());
        if evidence.obtained_from == Some(self.keys.key(address, pair)) {
            None
        } else if evidence.is_claimed {
            limits.claimed_blocked_until(&call_site, user, now)
        } else {
            limits.blocked_until(&call_site, user, now)
        }
    }

    /// Forgets every session: another process may have used the accounts since.
    pub fn forget_all(&self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.by_key.drain().for_each(|(_, session)| session.retire());
    }

    /// What runs and waits at this moment.
    #[must_use]
    pub fn load(&self, now: Moment) -> AccountsLoad {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let held = sessions.by_key.values().filter(|session| session.is_held(now)).count();
        drop(sessions);
        let calls = self.shared.call_limiters.load();
        let (in_flight, waiting) =
            calls.into_iter().fold((0, BTreeMap::new()), |(sum, mut by_tenant), load| {
                for (tenant, waiting) in load.waiting {
                    *by_tenant.entry(tenant.to_string()).or_default() += waiting;
                }
                (sum + load.in_flight, by_tenant)
            });
        let waiting = waiting.into_iter().collect();
        AccountsLoad { held, in_flight, waiting, circuits: self.shared.call_limits.circuits() }
    }

    /// Waits until no call is in flight. Call it after `stop` was cancelled.
    pub async fn drain(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

#[derive(Default)]
struct Sessions {
    by_key: HashMap<AccountKey, Arc<Session>>,
    /// When those that nobody uses were let go last, and how many were left.
    swept: Option<(Moment, usize)>,
}

impl Sessions {
    /// Lets sessions go that nobody uses. Not every time: it looks at each session.
    fn sweep(&mut self, now: Moment) {
        let is_due = self.swept.is_none_or(|(last, left)| {
            // With more sessions, their number has to grow by more: then a session's share of this does not grow.
            let growth = SWEEP_GROWTH.max(left / 8);
            last.plus(SWEEP_PAUSE).is_reached(now) || self.by_key.len() >= left + growth
        });
        if !is_due {
            return;
        }
        self.by_key.retain(|_, session| !is_left_since(session, now.minus(IDLE_LIFE)));
        let left = || self.by_key.values().filter(|session| is_left_since(session, now)).count();
        if self.by_key.len() > IDLE_LIMIT && left() > IDLE_LIMIT {
            self.by_key.retain(|_, session| !is_left_since(session, now));
        }
        self.swept = Some((now, self.by_key.len()));
    }
}

fn call_site(tenant: &Tenant, address: &IssuerAddress) -> call_limits::CallSite {
    call_limits::CallSite { origin: address.endpoint.origin.clone(), tenant: Arc::clone(tenant) }
}

/// Whether a session has had no member since this time, and no suspended member that may join again: a second session
/// beside its own would share neither tokens nor limits.
fn is_left_since(session: &Arc<Session>, moment: Moment) -> bool {
    Arc::strong_count(session) == 1 && session.is_idle_since(moment)
}
