//! What the process keeps of one credential between two reconciliations: its state ([`crate::core::credential`]), and the
//! login that was read, with the account's session.

use std::sync::Arc;

use jiff::SignedDuration;

use super::api_server::{ApiServerError, CallDeadline};
use super::leader_election::Term;
use super::sharing::FollowedSession;
use crate::account::{Membership, Session, Tenant};
use crate::core::account::LastFailure;
use crate::core::adaptive_timeout::AdaptiveTimeout;
use crate::core::credential::{Credential, Status};
use crate::core::observed::{CredentialSpec, LastSeen, Login, OwnAccount};
use crate::core::reason::Reason;
use crate::core::schedule::TimeScale;
use crate::core::time::Moment;
use crate::core::username_password::LoginPair;
use crate::issuer::Trust;

/// How soon a CA bundle is looked for again that was missing or not usable: nothing watches `ConfigMap`s.
const CA_BUNDLE_RECHECK: SignedDuration = SignedDuration::from_secs(30);

/// What a specification wants, or why that cannot be carried out.
pub(super) type ValidatedSpec = Result<Arc<CredentialSpec>, Reason>;

/// What the process keeps of one credential: its state, and what only the controller can hold.
#[derive(Default)]
pub(super) struct CredentialState {
    /// The term of leadership that all of this belongs to; none while nothing was taken over.
    pub(super) term: Option<Term>,
    /// What became of the specification of a generation, which is parsed once.
    pub spec: Option<(Option<i64>, ValidatedSpec)>,
    /// Its state.
    pub known: Credential,
    /// The login as it was last read.
    pub login: Option<LoginSnapshot>,
    /// The session of the credential that it follows.
    pub followed: Option<FollowedSession>,
    /// How long calls to the API server may take.
    timeout: AdaptiveTimeout,
    /// Since when a first login waits until the rejections that status remembers of others have found their accounts.
    pub waits_for_others: Option<Moment>,
    /// Why the last attempt could not be recorded, until this is handled.
    pub failed_record: Option<ApiServerError>,
    /// The other controller that keeps the credential, once this was reported.
    pub reported_peer: Option<String>,
}

/// The login Secret and the CA bundle as they were read. While it is kept, the credential is a member of the account.
pub(super) struct LoginSnapshot {
    /// The version of the Secret, or that there was none.
    pub seen: LastSeen,
    /// What was read.
    pub reference: Arc<OwnAccount>,
    /// The version of the Secret with the CA bundle that was known then; unknown of a bundle in a `ConfigMap`.
    pub bundle_seen: LastSeen,
    /// When it happened.
    pub at: Moment,
    /// The account, or the reason why there is none.
    pub outcome: Result<Arc<Session>, Reason>,
    /// User name and password, until they are sent or the credential rests, and no longer.
    pub pair: Option<LoginPair>,
    /// The credential's part in the account; none while suspended.
    pub membership: Option<Membership>,
    /// On whose behalf: its namespace.
    pub tenant: Tenant,
    /// The generation of the specification under which it takes part.
    pub generation: Option<i64>,
}

impl LoginSnapshot {
    /// Whom this snapshot found the issuer's certificate to be trusted by, if that still holds for the reference.
    pub(super) fn trust(&self, reference: &OwnAccount, now: Moment) -> Option<Trust> {
        let is_same = self.reference.ca_bundle == reference.ca_bundle && !self.is_stale(now);
        let session = self.outcome.as_ref().ok().filter(|_| is_same)?;
        Some(session.address().trust.clone())
    }

    /// Whether the CA bundle could not be used, and its Secret is another one by now.
    pub(super) fn is_bundle_replaced(&self, bundle_seen: &LastSeen) -> bool {
        let is_bad = self.outcome.as_ref().is_err_and(Reason::is_of_ca_bundle);
        is_bad && self.bundle_seen != *bundle_seen
    }

    /// When a login that could not be used is looked at again, if time alone leads to that.
    fn recheck(&self) -> Option<Moment> {
        match &self.outcome {
            Err(reason) if reason.is_of_ca_bundle() => Some(self.at.plus(CA_BUNDLE_RECHECK)),
            // The reported time is cut to the second.
            Err(Reason::LoginRateLimited { until, .. }) => {
                Some(self.at.plus(until.duration_since(self.at.wall) + SignedDuration::from_secs(1)))
            }
            Err(_) | Ok(_) => None,
        }
    }

    /// Whether it must be read again, although neither the Secret nor the spec changed.
    fn is_stale(&self, now: Moment) -> bool {
        match &self.outcome {
            Err(_) => self.recheck().is_some_and(|at| at.is_reached(now)),
            Ok(session) => {
                let is_newer_and_of_tls = |last_failure: LastFailure| {
                    last_failure.failure.cause.is_of_tls() && last_failure.last.is_after(self.at)
                };
                self.reference.ca_bundle.is_some() && session.last_failure().is_some_and(is_newer_and_of_tls)
            }
        }
    }
}

impl CredentialState {
    /// Joins the account, or leaves it while suspended: a suspended credential drives nothing. Under a new specification the
    /// account asks the issuer for refreshes again, whatever it has learned.
    pub(super) fn join_account(&mut self, uid: &str, spec: &CredentialSpec, generation: Option<i64>) {
        let Some(snapshot) = &mut self.login else { return };
        let Ok(session) = &snapshot.outcome else { return };
        if std::mem::replace(&mut snapshot.generation, generation) != generation {
            session.retry_refreshes();
        }
        match &snapshot.membership {
            _ if spec.suspended => snapshot.membership = None,
            Some(membership) => membership.set_strategy(spec.strategy),
            None => snapshot.membership = Some(session.join(uid.into(), spec.strategy)),
        }
    }

    /// Nothing is remembered yet in this term, but for what was known of the API server before, and what follows from the
    /// specification alone. Returns the status that it was left with in the term before, if there was one.
    pub(super) fn begin_term(&mut self, term: Term) -> Option<Status> {
        let status = self.term.is_some().then(|| self.known.status().clone());
        self.reset();
        self.term = Some(term);
        status
    }

    /// Nothing is remembered any more, but for what is known of the API server, what was written there lately, and what
    /// follows from the specification alone.
    pub(super) fn reset(&mut self) {
        let (timeout, spec) = (std::mem::take(&mut self.timeout), self.spec.take());
        let mut known = std::mem::take(&mut self.known);
        known.reset();
        *self = Self { spec, known, timeout, ..Self::default() };
    }

    /// Whether it is known what the specification of this generation wants.
    pub(super) fn is_spec_known(&self, generation: Option<i64>) -> bool {
        self.spec.as_ref().is_some_and(|(known, _)| *known == generation)
    }

    /// What the specification of this generation wants. Only the first call parses it.
    pub(super) fn spec(
        &mut self,
        generation: Option<i64>,
        parse: impl FnOnce() -> Result<CredentialSpec, Reason>,
    ) -> ValidatedSpec {
        match &self.spec {
            Some((known, spec)) if *known == generation => spec.clone(),
            _ => {
                let spec = parse().map(Arc::new);
                self.spec = Some((generation, spec.clone()));
                spec
            }
        }
    }

    /// What the login Secret is known to hold, given its last known version and the present specification.
    #[must_use]
    pub(super) fn login(&self, seen: &LastSeen, spec: &CredentialSpec, now: Moment) -> Login {
        let Some(account) = spec.account.own() else { return Login::Unread };
        let current = self.login.as_ref().filter(|snapshot| {
            (*seen == LastSeen::Unknown || snapshot.seen == *seen)
                && snapshot.reference == *account
                && !snapshot.is_stale(now)
        });
        let Some(snapshot) = current else { return Login::Unread };
        match &snapshot.outcome {
            Err(reason) => Login::Defective(reason.clone()),
            Ok(session) => Login::Account(Box::new(session.view(&snapshot.tenant))),
        }
    }

    /// The account's session, if the login was read and is good, or if that of the followed credential was.
    #[must_use]
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        let own = self.login.as_ref().and_then(|snapshot| snapshot.outcome.as_ref().ok());
        own.or_else(|| self.followed.as_ref().map(FollowedSession::session))
    }

    /// When a login that could not be used is looked at again, if time alone leads to that.
    #[must_use]
    pub(super) fn recheck(&self) -> Option<Moment> {
        self.login.as_ref()?.recheck()
    }

    /// The pace that the tokens set.
    pub(super) fn pace(&self) -> TimeScale {
        self.known.pace().or_else(|| self.session().map(|session| session.pace())).unwrap_or(TimeScale::FULL)
    }

    /// How long the next call to the API server may take.
    pub(super) fn call_deadline(&mut self) -> CallDeadline<'_> {
        let slow = self.pace().slow_call_limit();
        CallDeadline::new(&mut self.timeout, slow)
    }
}
