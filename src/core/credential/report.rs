//! The report on one credential: status with its conditions, and Events for what changed, from one computation.

use jiff::SignedDuration;

use super::Credential;
use super::login::LoginHistory;
use super::status::{FailureRecord, Status, TokenRecord};
use crate::core::account::RefreshSupport;
use crate::core::conditions::{
    Condition, ConditionStatus, ConditionType, Conditions, conditions, find, merge,
};
use crate::core::decide::{is_answered, owes_attempt};
use crate::core::login_attempts::{LoginAttempts, RejectionKind};
use crate::core::observed::{AccountReference, AccountView, Observed, Published};
use crate::core::reason::Reason;
use crate::core::retry::RetryClass;
use crate::core::time::{Moment, to_second};

/// Failures that differ in nothing but their number are written at most this often.
const FAILURE_NOTES: SignedDuration = SignedDuration::from_mins(5);

/// On which occasion a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusTrigger {
    /// A login is about to be sent.
    Attempt,
    /// Nothing is left to do for now.
    Rest,
    /// A call to the API server failed, over and over.
    Failure,
}

/// What a report is made for.
#[derive(Clone, Copy, Debug)]
pub struct ReportRequest<'a> {
    /// The occasion.
    pub trigger: StatusTrigger,
    /// The request for a renewal that stands on the credential.
    pub renew_request: Option<&'a str>,
    /// This controller's name.
    pub controller: &'a str,
}

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    /// The status that the credential should have now.
    pub status: Status,
    /// Events for what changed since the last status, once that is written.
    pub events: Vec<StatusEvent>,
    /// Whether the status is worth a write.
    pub is_news: bool,
}

/// An Event about a credential.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusEvent {
    /// What it tells.
    pub reason: Reason,
    /// Whether that needs nobody's attention.
    pub is_normal: bool,
}

impl Credential {
    /// Reports what is observed.
    #[must_use]
    pub fn report(&self, observed: &Observed<'_>, request: ReportRequest<'_>, now: Moment) -> Report {
        let conditions = conditions(observed, now);
        let status = self.next_status(observed, &conditions, request, now);
        let mut events = events(&self.status.conditions, &conditions);
        let before = self.status.followers.as_ref();
        let added = status.followers.as_ref().and_then(|followers| followers.added_since(before));
        let attempt = request.trigger == StatusTrigger::Attempt;
        let is_handled = status.last_handled_renew_request != self.status.last_handled_renew_request;
        let handled = is_handled.then_some(Reason::RenewRequestHandled { answered: !attempt });
        events.extend(added.into_iter().chain(handled).map(|reason| StatusEvent { reason, is_normal: true }));
        Report {
            events,
            is_news: request.trigger == StatusTrigger::Attempt || self.is_worth_writing(&status, now),
            status,
        }
    }

    fn next_status(
        &self,
        observed: &Observed<'_>,
        conditions: &Conditions,
        request: ReportRequest<'_>,
        now: Moment,
    ) -> Status {
        let previous = &self.status;
        let attempt = request.trigger == StatusTrigger::Attempt;
        let is_heard = attempt || request.trigger == StatusTrigger::Rest && !owes_attempt(observed);
        let wanted = conditions.wanted(&previous.conditions);
        let account = observed.account();
        // Under a changed specification it is asked for anew.
        let remembered = previous.refresh_support.filter(|_| observed.is_generation_observed());
        let is_follower = observed.is_follower();
        Status {
            observed_generation: if is_heard {
                Some(observed.generation)
            } else {
                previous.observed_generation
            },
            conditions: merge(&previous.conditions, wanted, Some(observed.generation), now.wall),
            secret_name: observed
                .spec
                .map_or(previous.secret_name.clone(), |spec| Some(spec.target.secret.clone())),
            target: observed.target_written.cloned(),
            token: observed.published.map(|published| token(published, observed)),
            // What an earlier process learned is the best that is known until this one has learned it.
            refresh_support: match account.map(|account| account.refresh_support) {
                _ if is_follower => None,
                Some(RefreshSupport::Unknown) => remembered.or(Some(RefreshSupport::Unknown)),
                Some(learned) => Some(learned),
                None => remembered,
            },
            login: if is_follower { None } else { self.next_login(observed, attempt, now) },
            failures: account
                .zip(observed.spec.ok())
                .and_then(|(account, spec)| failures(account, &spec.account)),
            followers: match observed.followers {
                Some(followers) => Some(followers.clone()).filter(|followers| followers.count > 0),
                None => previous.followers.clone(),
            },
            controller: Some(request.controller.to_owned()),
            last_handled_renew_request: self.handled(observed, request, now),
        }
    }

    /// A request counts as handled once a token answers it, or once an attempt that only it allowed is recorded.
    fn handled(&self, observed: &Observed<'_>, request: ReportRequest<'_>, now: Moment) -> Option<String> {
        let attempt = request.trigger == StatusTrigger::Attempt;
        let is_answered =
            observed.renewal_requested.is_none_or(|since| attempt || is_answered(observed, since, now));
        match request.renew_request {
            Some(request) if is_answered => Some(request.to_owned()),
            _ => self.status.last_handled_renew_request.clone(),
        }
    }

    fn next_login(&self, observed: &Observed<'_>, attempt: bool, now: Moment) -> Option<LoginHistory> {
        // A login that was accepted under another specification, perhaps at another issuer, was not accepted under this one.
        let is_same_account = observed.is_generation_observed() || observed.is_published_by_this_account();
        let mut previous = self.status.login.clone();
        if let Some(login) = previous.as_mut().filter(|_| !is_same_account) {
            login.attempts.accepted = None;
        }
        let Some(account) = observed.account() else { return previous };
        let is_other = observed.is_login_changed() && !observed.is_published_by_this_account();
        let is_presented =
            attempt || account.attempted.is_some() || account.accepted.is_some() || account.rejections > 0;
        // A login that was not presented yet leaves the record of the one that was: the rejections of its account may be
        // those of the login before it, and the next process must still see that it was repaired.
        let is_untried = !is_presented || self.is_login_repaired && !attempt;
        if is_other && is_untried && previous.is_some() {
            return previous;
        }
        // What was recorded of another login says nothing about this one.
        let inherited = previous.filter(|_| !is_other).unwrap_or_default().attempts;
        let attempted = if attempt { Some(now) } else { account.attempted };
        let told = |moment: Option<Moment>| moment.map(|moment| to_second(moment.wall));
        Some(LoginHistory {
            resource_version: observed.login_seen.version().map(|version| version.resource_version.clone()),
            attempts: LoginAttempts {
                attempted: told(attempted).or(inherited.attempted),
                accepted: told(account.accepted).or(inherited.accepted),
                rejections: self.next_rejections(account, attempt),
                rejection: account.last_failure.as_ref().and_then(|it| RejectionKind::of(it.failure.cause)),
            },
        })
    }

    fn next_rejections(&self, account: &AccountView, attempt: bool) -> u32 {
        // An attempt that was recorded and not answered counts: whoever comes after a crash must not present it anew. Any
        // answer but a rejection is one.
        let is_answered =
            account.last_failure.as_ref().is_some_and(|it| it.failure.class != RetryClass::Rejected);
        let is_pending =
            !account.is_proven() && (attempt || self.is_attempt_recorded(account) && !is_answered);
        let rejections = if account.is_proven() {
            account.rejections
        } else {
            account.rejections.max(account.rejections_of_user)
        };
        rejections.saturating_add(u32::from(is_pending))
    }

    /// Whether a status is worth a write. A new time of the last attempt alone is not, and neither is a higher count of the
    /// same failure within five minutes, or another text of it.
    fn is_worth_writing(&self, status: &Status, now: Moment) -> bool {
        let previous = &self.status;
        let mut leveled = status.clone();
        if let (Some(login), Some(before)) = (&mut leveled.login, &previous.login)
            && before.attempts.attempted.is_some()
        {
            login.attempts.attempted = before.attempts.attempted;
        }
        let is_fresh = self.status_written.is_some_and(|at| !at.plus(FAILURE_NOTES).is_reached(now));
        if let (Some(failures), Some(before)) = (&mut leveled.failures, &previous.failures)
            && is_fresh
            && failures.reason == before.reason
        {
            failures.clone_from(before);
        }
        for condition in
            leveled.conditions.iter_mut().filter(|it| is_fresh && Reason::quotes_answer(&it.reason))
        {
            let is_same = |it: &&Condition| (&it.type_, &it.reason) == (&condition.type_, &condition.reason);
            if let Some(before) = previous.conditions.iter().find(is_same) {
                condition.message.clone_from(&before.message);
            }
        }
        leveled != *previous
    }
}

fn failures(account: &AccountView, named: &AccountReference) -> Option<FailureRecord> {
    let (last_failure, reason) = (account.last_failure.as_ref()?, account.failure_reason(named)?);
    Some(FailureRecord {
        count: last_failure.count,
        last: to_second(last_failure.last.wall),
        reason: reason.name().to_owned(),
        message: Some(reason.message()),
        next_attempt: last_failure.next_attempt.map(|at| to_second(at.wall)),
    })
}

fn token(published: &Published, observed: &Observed<'_>) -> TokenRecord {
    let schedule = observed.schedule_of(&published.validity.as_recorded());
    TokenRecord {
        issued: to_second(published.validity.issued.wall),
        expiration: to_second(schedule.expiry.wall),
        renewal: to_second(schedule.renewal.wall),
        source: published.validity.source,
        fingerprint: published.fingerprint.clone(),
        grant: published.grant,
        owner_uid: published.owner_uid.clone(),
    }
}

/// Events for what flipped since `previous`: on transitions only, with constant text, so that they do not pile up.
fn events(previous: &[Condition], current: &Conditions) -> Vec<StatusEvent> {
    use ConditionStatus::{False, True};
    let (is_ready, ready) = match &current.ready {
        Ok(reason) => (True, reason),
        Err(reason) => (False, reason),
    };
    let rows = [
        (ConditionType::Ready, is_ready, Some(ready)),
        (ConditionType::Stalled, True, current.stalled.as_ref()),
        (ConditionType::RenewalOverdue, True, current.renewal_overdue.as_ref()),
    ];
    let mut events: Vec<StatusEvent> = Vec::new();
    for (type_, status, reason) in rows {
        let Some(reason) = reason else { continue };
        let is_old = find(previous, type_).is_some_and(|before| {
            let is_same_text = !reason.is_of_edited_objects() || before.message == reason.message();
            (before.status == True.as_str()) == (status == True)
                && before.reason == reason.name()
                && is_same_text
        });
        let was_told = events.iter().any(|event| event.reason.name() == reason.name());
        if !is_old && !was_told && !reason.is_progress() {
            let is_normal = type_ == ConditionType::Ready && status == True;
            events.push(StatusEvent { reason: reason.clone(), is_normal });
        }
    }
    events
}
