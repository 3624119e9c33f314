//! What the process remembers of one credential between two reconciliations.
//!
//! Status is authoritative: all of this can be rebuilt from it. It exists because a watch shows our own status writes
//! late, and because only here a token's expiry is on the monotonic clock.

use std::sync::Arc;

use jiff::SignedDuration;

use super::api_server::{ApiServerError, CallDeadline};
use super::leader_election::Term;
use super::repairs::Repairs;
use super::write_limits::CredentialWrites;
use crate::account::{Member, Session, Tenant};
use crate::api::{self, IdIssuerCredentialStatus, TokenStatus};
use crate::core::account::Account;
use crate::core::adaptive_timeout::AdaptiveTimeout;
use crate::core::backoff::{self, RandomFraction};
use crate::core::observed::{
    AccountReference, CredentialSpec, LastSeen, Login, LoginRecord, Published, Rejection,
};
use crate::core::reason::Reason;
use crate::core::schedule::TimeScale;
use crate::core::target::{ObjectVersion, TargetSnapshot};
use crate::core::time::Moment;
use crate::core::token::{Fingerprint, Grant, LifetimeSource, Validity};
use crate::core::username_password::LoginPair;
use crate::issuer::Trust;

/// How long a CA bundle that was not there or not usable is not looked for again: nothing watches `ConfigMap`s.
const CA_BUNDLE_RECHECK: SignedDuration = SignedDuration::from_secs(30);
/// After this many consecutive rounds with a failed API call, it is reported.
const FAILURES_TOLD: u32 = 3;

/// What a specification wants, or why that cannot be carried out.
pub(super) type ValidatedSpec = Result<Arc<CredentialSpec>, Reason>;

/// How long an attempt may wait for its turn before status says that the first token is being obtained.
pub(super) const TURN_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// What is remembered of one credential.
#[derive(Default)]
pub(super) struct CredentialState {
    /// The term of leadership that all of this belongs to; none while nothing was taken over.
    pub(super) term: Option<Term>,
    /// What became of the specification of a generation, which is parsed once.
    pub spec: Option<(Option<i64>, ValidatedSpec)>,
    /// The status as it was written last.
    pub status: IdIssuerCredentialStatus,
    /// When that was.
    pub status_written: Option<Moment>,
    /// The token that the target holds by our last write.
    pub published: Option<Published>,
    /// The version of the target that our last write left.
    pub target_written: Option<ObjectVersion>,
    /// The target as it was last read.
    pub target_read: Option<TargetSnapshot>,
    /// The login as it was last read.
    pub login: Option<LoginSnapshot>,
    /// The requested renewal, and since when it is known.
    pub renew_request: Option<(String, Moment)>,
    /// Why the target is not written at the moment.
    pub write_pause: Option<WritePause>,
    /// How many rounds in a row a call to the API server has failed, and which one failed last.
    pub failed_call: Option<(u32, Reason)>,
    /// How long calls to the API server may take.
    timeout: AdaptiveTimeout,
    /// Who was told what status remembers of the login.
    pub restore_stage: RestoreStage,
    /// Whether the login Secret may have been repaired since an earlier process saw its login rejected, and no attempt
    /// was recorded since.
    pub is_login_repaired: bool,
    /// Since when a first login waits until the rejections that status remembers of others have found their accounts.
    pub waits_for_others: Option<Moment>,
    /// At how many rejections an attempt was recorded in this term; each rejection needs a new record.
    pub attempt_recorded: Option<u32>,
    /// Since when an attempt waits for its turn, to be recorded then.
    pub queued: Option<Moment>,
    /// Why the last attempt could not be recorded, until this is handled.
    pub failed_record: Option<ApiServerError>,
    /// Repairs of the target.
    pub target_repairs: Repairs,
    /// What was written lately.
    pub writes: CredentialWrites,
    /// Until when a write of the status waits that is owed.
    pub status_pause: Option<Moment>,
    /// Repairs of the status.
    pub status_repairs: Repairs,
    /// The other controller that keeps the credential, once this was reported.
    pub reported_peer: Option<String>,
}

/// Who was told what status remembers of a login; one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RestoreStage {
    /// No account yet.
    #[default]
    None,
    /// The limit of its user name.
    Limit,
    /// The account of the login.
    Account,
}

/// A pause after a write of the target that was refused.
pub(super) struct WritePause {
    reason: Reason,
    generation: Option<i64>,
    /// Refusals in a row.
    count: u32,
    until: Moment,
}

/// The login Secret and the CA bundle as they were read. While it is kept, the credential is a member of the account.
pub(super) struct LoginSnapshot {
    /// The version of the Secret, or that there was none.
    pub seen: LastSeen,
    /// What was read.
    pub reference: AccountReference,
    /// The version of the Secret with the CA bundle that was known then; unknown of a bundle in a `ConfigMap`.
    pub bundle_seen: LastSeen,
    /// When it happened.
    pub at: Moment,
    /// The account, or the reason why there is none.
    pub outcome: Result<Arc<Session>, Reason>,
    /// User name and password, until they are sent or the credential rests, and no longer.
    pub pair: Option<LoginPair>,
    /// As whom the credential takes part.
    pub member: Member,
    /// On whose behalf: its namespace.
    pub tenant: Tenant,
    /// The generation of the specification under which it takes part.
    pub generation: Option<i64>,
}

impl Drop for LoginSnapshot {
    fn drop(&mut self) {
        if let Ok(session) = &self.outcome {
            session.leave(&self.member);
        }
    }
}

impl LoginSnapshot {
    /// Whom this reading found the issuer's certificate to be trusted by, if that still holds for the reference.
    pub(super) fn trust(&self, reference: &AccountReference, now: Moment) -> Option<Trust> {
        let is_same = self.reference.ca_bundle == reference.ca_bundle && !self.is_stale(now);
        let session = self.outcome.as_ref().ok().filter(|_| is_same)?;
        Some(session.site().trust.clone())
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
                self.reference.ca_bundle.is_some()
                    && session.with_account(|account| {
                        account.last_failure().is_some_and(|last_failure| {
                            last_failure.failure.reason.is_of_tls() && last_failure.last.is_after(self.at)
                        })
                    })
            }
        }
    }
}

impl CredentialState {
    /// Nothing is remembered yet in this term, but for what was known of the API server before, and what follows from the
    /// specification alone.
    pub(super) fn begin_term(&mut self, term: Term) {
        self.reset();
        self.term = Some(term);
    }

    /// Nothing is remembered any more, but for what is known of the API server, what was written there lately, and what
    /// follows from the specification alone.
    pub(super) fn reset(&mut self) {
        let (timeout, spec) = (std::mem::take(&mut self.timeout), self.spec.take());
        let writes = std::mem::take(&mut self.writes);
        *self = Self { spec, timeout, writes, ..Self::default() };
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

    /// Takes over the status of an earlier process, or of none. If that process had another clock, the times of its
    /// token are converted to ours: the token would look younger than it is, and be renewed too late.
    pub(super) fn load(
        &mut self,
        status: IdIssuerCredentialStatus,
        generation: i64,
        spec: Option<&CredentialSpec>,
        now: Moment,
    ) {
        // A claim is between controllers, and no part of what is written here.
        self.status = IdIssuerCredentialStatus { claimed_by: None, ..status };
        // Only a status that calls this generation ready proves that the target was rendered for it.
        let is_ready = self.status.observed_generation == Some(generation)
            && self.status.conditions.iter().any(|condition| {
                condition.type_ == "Ready"
                    && condition.status == "True"
                    && condition.observed_generation == Some(generation)
            });
        let account = spec.filter(|_| is_ready).map(|spec| spec.account.clone());
        let generation = is_ready.then_some(generation);
        let behind = self.term.map_or(SignedDuration::ZERO, |term| term.clock_behind);
        self.published =
            self.status.token.as_ref().map(|token| published(token, generation, account, behind, now));
        self.target_written = self.status.target.as_ref().map(|target| ObjectVersion {
            uid: target.uid.clone(),
            resource_version: target.resource_version.clone(),
        });
    }

    /// What the login Secret is known to hold, given its last known version and the present specification.
    #[must_use]
    pub(super) fn login(&self, seen: &LastSeen, spec: &CredentialSpec, now: Moment) -> Login {
        let current = self.login.as_ref().filter(|reading| {
            (*seen == LastSeen::Unknown || reading.seen == *seen)
                && reading.reference == spec.account
                && !reading.is_stale(now)
        });
        let Some(reading) = current else { return Login::Unread };
        match &reading.outcome {
            Err(reason) => Login::Defective(reason.clone()),
            Ok(session) => {
                let view = session.view(&reading.tenant).of_secret(&spec.account.login.secret);
                Login::Account(Box::new(view))
            }
        }
    }

    /// The account's session, if the login was read and is good.
    #[must_use]
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.login.as_ref()?.outcome.as_ref().ok()
    }

    /// When a login that could not be used is looked at again, if time alone leads to that.
    #[must_use]
    pub(super) fn recheck(&self) -> Option<Moment> {
        self.login.as_ref()?.recheck()
    }

    /// What status remembers of the login.
    #[must_use]
    pub(super) fn login_record(&self) -> LoginRecord {
        self.status.login.as_ref().map_or_else(LoginRecord::default, |login| LoginRecord {
            resource_version: login.secret_resource_version.clone(),
            // A record of an earlier process does not contain the result of the attempt.
            attempted: self.is_attempt_recorded() || login.accepted_time.is_some(),
            accepted: login.accepted_time.is_some(),
            rejection: match login.rejections {
                _ if self.is_login_repaired => Rejection::PerhapsRepaired,
                0 => Rejection::None,
                _ => Rejection::Stands,
            },
        })
    }

    /// The rejections in a row of the login as it was read.
    pub(super) fn rejections(&self) -> u32 {
        self.session().map_or(0, |session| session.with_account(Account::rejections))
    }

    /// The rejections that status has to remember of a login that was never accepted: also those of other passwords.
    pub(super) fn rejections_of_user(&self) -> u32 {
        let Some(reading) = &self.login else { return 0 };
        let lately =
            reading.outcome.as_ref().map_or(0, |session| session.rejections_of_user(&reading.tenant));
        self.rejections().max(lately)
    }

    /// Whether an attempt has just started to wait for its turn: its record reports the rest.
    pub(super) fn is_just_queued(&self, now: Moment) -> bool {
        self.queued.is_some_and(|since| !since.plus(TURN_PAUSE).is_reached(now))
    }

    /// Whether status contains a record of the next attempt, or of the one in progress.
    pub(super) fn is_attempt_recorded(&self) -> bool {
        // One that was taken back, because it never had its turn, needs another record.
        let is_begun = |session: &Arc<Session>| session.with_account(|account| account.attempted().is_some());
        self.attempt_recorded == Some(self.rejections()) && self.session().is_some_and(is_begun)
    }

    /// Since when a renewal is requested that was not carried out yet.
    pub(super) fn renewal_requested(&mut self, request: Option<&str>, now: Moment) -> Option<Moment> {
        let request =
            request.filter(|request| self.status.last_handled_renew_request.as_deref() != Some(*request));
        match (request, &self.renew_request) {
            (None, _) => self.renew_request = None,
            (Some(request), Some((known, _))) if known == request => {}
            (Some(request), _) => self.renew_request = Some((request.to_owned(), now)),
        }
        self.renew_request.as_ref().map(|(_, since)| *since)
    }

    /// Why the target is not written at the moment, and until when. What was refused of another generation says nothing
    /// about this one.
    pub(super) fn write_pause(&self, generation: Option<i64>) -> Option<(&Reason, Moment)> {
        let pause = self.write_pause.as_ref().filter(|pause| pause.generation == generation)?;
        Some((&pause.reason, pause.until))
    }

    /// A round ended with a call to the API server that failed.
    pub(super) fn call_failed(&mut self, error: &ApiServerError) {
        let count = self.failed_call.as_ref().map_or(1, |(count, _)| count.saturating_add(1));
        self.failed_call = Some((count, Reason::ApiServerCallFailed { call: error.call() }));
    }

    /// The call to the API server that fails over and over, and not just now.
    pub(super) fn failing_call(&self) -> Option<&Reason> {
        self.failed_call.as_ref().filter(|(count, _)| *count >= FAILURES_TOLD).map(|(_, reason)| reason)
    }

    /// The pace that the tokens set.
    pub(super) fn pace(&self) -> TimeScale {
        let published = self.published.as_ref().map(|published| TimeScale::of(published.validity.lifetime));
        published
            .or_else(|| self.session().map(|session| session.with_account(Account::pace)))
            .unwrap_or(TimeScale::FULL)
    }

    /// How long the next call to the API server may take.
    pub(super) fn allowance(&mut self) -> CallDeadline<'_> {
        let slow = self.pace().slow_call_limit();
        CallDeadline::new(&mut self.timeout, slow)
    }

    /// The target could not be written: the next try has to wait, longer each time.
    pub(super) fn refused(
        &mut self,
        reason: Reason,
        generation: Option<i64>,
        now: Moment,
        random_fraction: RandomFraction,
    ) {
        let before = self.write_pause.as_ref().filter(|pause| pause.generation == generation);
        let count = before.map_or(0, |pause| pause.count).saturating_add(1);
        let until = now.plus(backoff::retry_pause(count, self.pace(), random_fraction));
        self.write_pause = Some(WritePause { reason, generation, count, until });
    }
}

fn published(
    token: &TokenStatus,
    generation: Option<i64>,
    account: Option<AccountReference>,
    clock_behind: SignedDuration,
    now: Moment,
) -> Published {
    let ours = |time: jiff::Timestamp| time.saturating_sub(clock_behind).unwrap_or(time);
    let source = match token.lifetime_source {
        api::LifetimeSource::ExpiresIn => LifetimeSource::ExpiresIn,
        api::LifetimeSource::Jwt => LifetimeSource::Jwt,
        api::LifetimeSource::Assumed => LifetimeSource::Assumed,
    };
    Published {
        fingerprint: Fingerprint::recorded(&token.fingerprint),
        validity: Validity::recorded(ours(token.issued_time.0), ours(token.expiration_time.0), source, now),
        grant: match token.grant {
            api::Grant::Login => Grant::Login,
            api::Grant::Refresh => Grant::Refresh,
        },
        generation,
        account,
        key: None,
    }
}
