//! The state of one credential as a value: what a process remembers between two reconciliations.
//!
//! ```text
//! status ──► load ──► observe ──► decide ──► act ──► on_target_written, … ──► report ──► status, Events
//!                        ▲                                  │
//!                        └──────────────────────────────────┘
//! ```
//!
//! Status is authoritative: all of this can be rebuilt from it. It exists because a watch shows our own status writes
//! late, and because only here a token's expiry is on the monotonic clock.

mod inputs;
mod login;
mod repairs;
mod report;
mod restore;
mod status;
mod writes;

use jiff::SignedDuration;

use super::backoff::{self, RandomFraction};
use super::observed::{
    AccountKey, AccountReference, AccountView, CredentialSpec, Login, LoginRecord, Observed, Published,
    Rejection,
};
use super::reason::Reason;
use super::schedule::TimeScale;
use super::target::{Identity, ObjectVersion, TargetSnapshot, TargetSpec};
use super::time::Moment;
use super::token::IssuedToken;

pub use inputs::Inputs;
pub use login::LoginHistory;
pub use repairs::Repairs;
pub use report::{Report, ReportRequest, StatusEvent, StatusTrigger};
pub use restore::{LoginFound, RestoreStage};
pub use status::{FailureRecord, Status, TokenRecord};
pub use writes::{CredentialWrites, WriteRate};

/// After this many consecutive rounds with a failed API call, it is reported.
const FAILURES_TOLD: u32 = 3;
/// How long an attempt may wait for its turn before status says that the first token is being obtained.
pub const TURN_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// The state of one credential.
#[derive(Clone, Debug, Default)]
pub struct Credential {
    /// The status as it was written last, or found.
    status: Status,
    /// When it was written.
    status_written: Option<Moment>,
    /// The token that the target holds by our last write.
    published: Option<Published>,
    /// The account of its own from which this process obtained that token: its login is right.
    obtained_from: Option<AccountKey>,
    /// The version of the target that our last write left.
    target_written: Option<ObjectVersion>,
    /// The target as it was last read. Boxed, as are others that are seldom there: thousands of credentials are in memory.
    target_read: Option<Box<TargetSnapshot>>,
    /// The request for a renewal that stands on the credential, and since when it is known.
    renew_request: Option<(String, Moment)>,
    /// Why the target is not written at the moment.
    write_pause: Option<Box<WritePause>>,
    /// How many rounds in a row a call to the API server has failed, and which one failed last.
    failed_call: Option<Box<(u32, Reason)>>,
    /// How far what status remembers of the login was handed over.
    restore_stage: RestoreStage,
    /// Whether the login Secret may have been repaired since an earlier process saw its login rejected, and no attempt
    /// was recorded since.
    is_login_repaired: bool,
    /// At how many rejections an attempt was recorded in this term; each rejection needs a new record.
    attempt_recorded: Option<u32>,
    /// Since when an attempt waits for its turn, to be recorded then.
    queued: Option<Moment>,
    /// Repairs of the target.
    target_repairs: Repairs,
    /// Repairs of the status.
    status_repairs: Repairs,
    /// What was written lately.
    writes: CredentialWrites,
    /// Until when a delayed write of the status waits.
    status_pause: Option<Moment>,
}

/// A pause after a write of the target that was refused.
#[derive(Clone, Debug)]
struct WritePause {
    reason: Reason,
    generation: i64,
    /// Refusals in a row.
    count: u32,
    until: Moment,
}

/// Which account a token comes from, as far as that is certain. A token that is read back stays what it was, also
/// when the specification names another account by now.
#[derive(Clone, Debug)]
pub struct TokenOrigin {
    /// The account that the specification named.
    pub account: Option<AccountReference>,
    /// Its key.
    pub key: Option<AccountKey>,
    /// The uid of the credential that was followed.
    pub owner_uid: Option<String>,
}

impl Credential {
    /// The status as it was written last, or found.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The token that the target holds by our last write.
    #[must_use]
    pub fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    /// The pace that the published token sets.
    #[must_use]
    pub fn pace(&self) -> Option<TimeScale> {
        self.published.as_ref().map(|published| TimeScale::of(published.validity.lifetime))
    }

    /// Forgets everything but what was written lately.
    pub fn reset(&mut self) {
        *self = Self { writes: self.writes, ..Self::default() };
    }

    /// Takes over the status of an earlier process, or of none. `clock_behind` is how far that process's clock was behind
    /// ours.
    pub fn load(
        &mut self,
        status: Status,
        generation: i64,
        spec: Option<&CredentialSpec>,
        clock_behind: SignedDuration,
        now: Moment,
    ) {
        self.status = status;
        let is_ready = self.status.is_ready(generation);
        let account = spec.filter(|_| is_ready).map(|spec| spec.account.clone());
        let generation = is_ready.then_some(generation);
        let token = self.status.token.as_ref();
        self.published = token.map(|token| token.published(generation, account, clock_behind, now));
        self.target_written.clone_from(&self.status.target);
    }

    /// This controller keeps the credential from now on: its name stands in status.
    pub fn keep(&mut self, controller: &str) {
        self.status.controller = Some(controller.to_owned());
    }

    /// Takes in the request for a renewal that stands on the credential. One that was handled is none.
    pub fn update_renew_request(&mut self, request: Option<&str>, now: Moment) {
        let handled = self.status.last_handled_renew_request.as_deref();
        match (request.filter(|request| handled != Some(*request)), &self.renew_request) {
            (None, _) => self.renew_request = None,
            (Some(request), Some((known, _))) if known == request => {}
            (Some(request), _) => self.renew_request = Some((request.to_owned(), now)),
        }
    }

    /// Everything that a decision looks at.
    #[must_use]
    pub fn observe<'a>(&'a self, inputs: Inputs<'a>, now: Moment) -> Observed<'a> {
        let account = match &inputs.login {
            Login::Account(account) => Some(&**account),
            Login::Unread | Login::Defective(_) => None,
        };
        let login_record = self.login_record(account);
        let pause = self.write_pause.as_ref().filter(|pause| pause.generation == inputs.generation);
        Observed {
            identity: inputs.identity,
            generation: inputs.generation,
            generation_since: inputs.generation_since,
            observed_generation: self.status.observed_generation,
            spec: inputs.spec,
            renewal_requested: self.renew_request.as_ref().map(|(_, since)| *since),
            login_record,
            login_seen: inputs.login_seen,
            login: inputs.login,
            is_login_at_hand: inputs.is_login_at_hand,
            is_wanted_by_followers: inputs.is_wanted_by_followers,
            followers: inputs.followers,
            owner_uid: inputs.owner_uid,
            reads_namespace_labels: inputs.reads_namespace_labels,
            published: self.published.as_ref(),
            target_written: self.target_written.as_ref(),
            target_seen: inputs.target_seen,
            target_read: self.target_read.as_deref(),
            write_pause: pause.map(|pause| (&pause.reason, pause.until)),
            repair_pause: self.target_repairs.pause(),
            target_pause: self.writes.target.pause(now).filter(|_| !inputs.is_stopping),
            namespace_pause: inputs.namespace_pause.filter(|_| !inputs.is_stopping),
            failing_call: self.failing_call(),
        }
    }

    /// What status remembers of the login.
    #[must_use]
    pub fn login_record(&self, account: Option<&AccountView>) -> LoginRecord {
        self.status.login.as_ref().map_or_else(LoginRecord::default, |login| LoginRecord {
            resource_version: login.resource_version.clone(),
            // A record of an earlier process does not contain the result of the attempt.
            attempted: login.attempts.accepted.is_some()
                || account.is_some_and(|it| self.is_attempt_recorded(it)),
            accepted: login.attempts.accepted.is_some(),
            rejection: match login.attempts.rejections {
                _ if self.is_login_repaired => Rejection::PerhapsRepaired,
                0 => Rejection::None,
                _ => Rejection::Stands,
            },
        })
    }

    /// Whether status holds a record of the attempt that comes next, or is under way.
    #[must_use]
    pub fn is_attempt_recorded(&self, account: &AccountView) -> bool {
        // One that was taken back, because it never had its turn, needs another record.
        self.attempt_recorded == Some(account.rejections) && account.attempted.is_some()
    }

    /// An attempt waits for its turn, and is to be recorded then.
    pub fn on_attempt_queued(&mut self, now: Moment) {
        (self.attempt_recorded, self.queued) = (None, Some(now));
    }

    /// Whether an attempt has just started to wait for its turn: its record reports the rest.
    #[must_use]
    pub fn is_just_queued(&self, now: Moment) -> bool {
        self.queued.is_some_and(|since| !since.plus(TURN_PAUSE).is_reached(now))
    }

    /// Status holds the record of the attempt that follows after `rejections`.
    pub fn on_attempt_recorded(&mut self, rejections: u32) {
        (self.attempt_recorded, self.queued) = (Some(rejections), None);
        self.is_login_repaired = false;
    }

    /// The owner of this uid shares an account with this key and token. If the published token is of that account, whoever had
    /// the name of the owner before, it stays good: an owner that is deleted and made anew as it was costs no login.
    pub fn confirm_owner(&mut self, uid: &str, key: AccountKey, token: Option<&IssuedToken>) {
        let Some(published) = &mut self.published else { return };
        let is_held = token.is_some_and(|token| token.fingerprint == published.fingerprint);
        if published.key.map_or(is_held, |known| known == key) && published.owner_uid.as_deref() != Some(uid)
        {
            published.owner_uid = Some(uid.to_owned());
        }
    }

    /// The target was read.
    pub fn on_target_read(&mut self, target: Option<TargetSnapshot>) {
        self.target_read = target.map(Box::new);
    }

    /// The target was written with this token, and left in this version.
    pub fn on_target_written(
        &mut self,
        token: &IssuedToken,
        origin: TokenOrigin,
        generation: i64,
        version: ObjectVersion,
        now: Moment,
    ) {
        if self.published.as_ref().is_none_or(|before| before.fingerprint != token.fingerprint) {
            let is_own = origin.account.as_ref().is_some_and(|account| account.own().is_some());
            self.obtained_from = origin.key.filter(|_| is_own);
        }
        self.published = Some(Published {
            fingerprint: token.fingerprint.clone(),
            validity: token.validity,
            grant: token.grant,
            generation: Some(generation),
            account: origin.account,
            key: origin.key,
            owner_uid: origin.owner_uid,
        });
        self.target_written = Some(version);
        self.target_read = None;
        self.write_pause = None;
        self.writes.target.made(now);
    }

    /// The last write of the target put back what somebody had changed.
    pub fn on_target_repaired(&mut self, now: Moment) {
        self.target_repairs.made(now);
    }

    /// Whether the target, as it was read after a write that was refused, says why: a Secret's type never changes, nor
    /// anything in an immutable one.
    #[must_use]
    pub fn explains_refusal(&self, identity: &Identity, spec: &TargetSpec) -> bool {
        let written = self.target_written.as_ref();
        self.target_read.as_ref().is_some_and(|read| read.judge(identity, spec, written).is_err())
    }

    /// The target could not be written under this generation: the next try has to wait, longer each time.
    pub fn on_write_refused(
        &mut self,
        reason: Reason,
        generation: i64,
        pace: TimeScale,
        now: Moment,
        random_fraction: RandomFraction,
    ) {
        let before = self.write_pause.as_ref().filter(|pause| pause.generation == generation);
        let count = before.map_or(0, |pause| pause.count).saturating_add(1);
        let until = now.plus(backoff::retry_pause(count, pace, random_fraction));
        self.write_pause = Some(Box::new(WritePause { reason, generation, count, until }));
    }

    /// The API server refuses to write the target until then.
    #[cfg(test)]
    pub(crate) fn pause_writes(&mut self, reason: Reason, generation: i64, until: Moment) {
        self.write_pause = Some(Box::new(WritePause { reason, generation, count: 1, until }));
    }

    /// The published token.
    #[cfg(test)]
    pub(crate) fn published_mut(&mut self) -> &mut Published {
        self.published.as_mut().unwrap()
    }

    /// The token that was found in the target, with where it came from; none if it was not found.
    #[must_use]
    pub fn read_back(&self) -> Option<(IssuedToken, TokenOrigin)> {
        let access = self.target_read.as_ref()?.token.clone()?;
        let published = self.published.as_ref()?;
        let origin = TokenOrigin {
            account: published.account.clone(),
            key: published.key,
            owner_uid: published.owner_uid.clone(),
        };
        Some((published.with_text(access), origin))
    }

    /// A round ended with this call to the API server, which failed with this answer.
    pub fn on_call_failed(&mut self, call: String, answer: &str) {
        let count = self.failed_call.as_deref().map_or(1, |(count, _)| count.saturating_add(1));
        self.failed_call = Some(Box::new((count, Reason::api_server_call_failed(call, answer))));
    }

    /// Every call of a round has done what it should.
    pub fn on_calls_succeeded(&mut self) {
        self.failed_call = None;
    }

    /// The call to the API server that fails over and over, and not just now.
    #[must_use]
    pub fn failing_call(&self) -> Option<&Reason> {
        self.failed_call.as_deref().filter(|(count, _)| *count >= FAILURES_TOLD).map(|(_, reason)| reason)
    }

    /// Until when a delayed write of the status waits.
    #[must_use]
    pub fn status_pause(&self) -> Option<Moment> {
        self.status_pause
    }

    /// No write of the status is delayed any more.
    pub fn end_status_pause(&mut self) {
        self.status_pause = None;
    }

    /// Puts a write of the status off where there were many lately; whether it did. `of_namespace` is the pause of the
    /// namespace.
    pub fn puts_status_off(&mut self, of_namespace: Option<Moment>, now: Moment) -> bool {
        self.status_pause = self.status_write_pause(of_namespace, now);
        self.status_pause.is_some()
    }

    /// Until when a write of the status has to wait, if it has to.
    #[must_use]
    pub fn status_write_pause(&self, of_namespace: Option<Moment>, now: Moment) -> Option<Moment> {
        self.writes.status.pause(now).or(of_namespace)
    }

    /// Until when a changed status is left alone, because another writer keeps undoing its repair.
    #[must_use]
    pub fn status_repair_pause(&self) -> Option<Moment> {
        self.status_repairs.pause()
    }

    /// The status was written.
    pub fn on_status_written(&mut self, status: Status, is_repair: bool, now: Moment) {
        if is_repair {
            self.status_repairs.made(now);
        }
        self.status = status;
        self.status_written = Some(now);
        self.writes.status.made(now);
    }
}

#[cfg(test)]
mod tests;
