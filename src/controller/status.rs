//! The status of a credential, and the Events for its changes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use super::state::CredentialState;
use crate::api::conditions::{ConditionStatus, ConditionType, Wanted, merge};
use crate::api::{
    self, FailuresStatus, IdIssuerCredentialStatus, LoginStatus, TargetStatus, TokenStatus, wire_time,
};
use crate::core::account::{Account, RefreshSupport};
use crate::core::conditions::{Conditions, LoginAnswer, conditions};
use crate::core::decide::{is_answered, owes_attempt};
use crate::core::observed::{Observed, Published};
use crate::core::reason::Reason;
use crate::core::retry::RetryClass;
use crate::core::time::Moment;
use crate::core::token::{Grant, LifetimeSource};

/// Failures that differ in nothing but their number are written at most this often.
const FAILURE_NOTES: SignedDuration = SignedDuration::from_mins(5);

/// Reasons that only say that work is in progress, or was suspended by the user: they cause no Event.
const PROGRESS: [&str; 3] = ["Issuing", "Updating", "Suspended"];

/// On which occasion a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusTrigger {
    /// A login is about to be sent.
    Attempt,
    /// Nothing is left to do for now.
    Rest,
    /// A call to the API server failed, over and over.
    Failure,
}

/// The status that a credential should have now.
#[must_use]
pub(super) fn status(
    observed: &Observed<'_>,
    memory: &CredentialState,
    occasion: StatusTrigger,
    renew_request: Option<&str>,
    now: Moment,
) -> IdIssuerCredentialStatus {
    let previous = &memory.status;
    let attempt = occasion == StatusTrigger::Attempt;
    let is_heard = attempt || occasion == StatusTrigger::Rest && !owes_attempt(observed);
    let wanted = wanted(&conditions(observed, now), &previous.conditions);
    let account = observed.account();
    // With a changed spec, it is requested again.
    let remembered = previous.refresh_support.filter(|_| observed.is_generation_observed());
    IdIssuerCredentialStatus {
        observed_generation: if is_heard { Some(observed.generation) } else { previous.observed_generation },
        conditions: merge(&previous.conditions, wanted, Some(observed.generation), now.wall),
        secret_name: observed
            .spec
            .map_or(previous.secret_name.clone(), |spec| Some(spec.target.secret.clone())),
        target: observed.target_written.map(|version| TargetStatus {
            uid: version.uid.clone(),
            resource_version: version.resource_version.clone(),
        }),
        token: observed.published.map(|published| token(published, observed)),
        refresh_support: match memory.session() {
            // Nothing was learned yet in this process; what an earlier one learned is still the best that is known.
            Some(session) => match session.with_account(Account::refresh_support) {
                RefreshSupport::Unknown => remembered.or(Some(api::RefreshSupport::Unknown)),
                learned => Some(support(learned)),
            },
            None => remembered,
        },
        login: login(observed, memory, attempt, now),
        failures: account.and_then(|account| account.last_failure.as_ref()).map(|last_failure| {
            FailuresStatus {
                consecutive_failures: i32::try_from(last_failure.count).unwrap_or(i32::MAX),
                last_failure_time: wire_time(last_failure.last.wall),
                reason: last_failure.failure.reason.name().to_owned(),
                message: Some(last_failure.failure.reason.message()),
                next_attempt_time: last_failure.next_attempt.map(|at| wire_time(at.wall)),
            }
        }),
        controller: previous.controller.clone(),
        claimed_by: None,
        last_handled_renew_request: handled(observed, memory, attempt, renew_request, now),
    }
}

/// A request counts as handled once a token answers it, or once an attempt that only it allowed is recorded.
fn handled(
    observed: &Observed<'_>,
    memory: &CredentialState,
    attempt: bool,
    renew_request: Option<&str>,
    now: Moment,
) -> Option<String> {
    let is_answered =
        observed.renewal_requested.is_none_or(|since| attempt || is_answered(observed, since, now));
    match renew_request {
        Some(request) if is_answered => Some(request.to_owned()),
        _ => memory.status.last_handled_renew_request.clone(),
    }
}

fn support(support: RefreshSupport) -> api::RefreshSupport {
    match support {
        RefreshSupport::Unknown => api::RefreshSupport::Unknown,
        RefreshSupport::Early => api::RefreshSupport::Early,
        RefreshSupport::Refused => api::RefreshSupport::Refused,
    }
}

/// What an earlier process learned.
pub(super) fn learned(support: Option<api::RefreshSupport>) -> RefreshSupport {
    match support {
        Some(api::RefreshSupport::Early) => RefreshSupport::Early,
        Some(api::RefreshSupport::Refused) => RefreshSupport::Refused,
        Some(api::RefreshSupport::Unknown) | None => RefreshSupport::Unknown,
    }
}

fn token(published: &Published, observed: &Observed<'_>) -> TokenStatus {
    let schedule = observed.schedule_of(&published.validity.as_recorded());
    TokenStatus {
        issued_time: wire_time(published.validity.issued.wall),
        expiration_time: wire_time(schedule.expiry.wall),
        renewal_time: wire_time(schedule.renewal.wall),
        lifetime_source: match published.validity.source {
            LifetimeSource::ExpiresIn => api::LifetimeSource::ExpiresIn,
            LifetimeSource::Jwt => api::LifetimeSource::Jwt,
            LifetimeSource::Assumed => api::LifetimeSource::Assumed,
        },
        fingerprint: published.fingerprint.to_string(),
        grant: match published.grant {
            Grant::Login => api::Grant::Login,
            Grant::Refresh => api::Grant::Refresh,
        },
    }
}

fn login(
    observed: &Observed<'_>,
    memory: &CredentialState,
    attempt: bool,
    now: Moment,
) -> Option<LoginStatus> {
    // A login that was accepted under another specification, perhaps at another issuer, was not accepted under this one.
    let is_same_account = observed.is_generation_observed() || observed.is_published_by_this_account();
    let previous = memory
        .status
        .login
        .clone()
        .map(|login| LoginStatus { accepted_time: login.accepted_time.filter(|_| is_same_account), ..login });
    let (Some(account), Some(session)) = (observed.account(), memory.session()) else { return previous };
    let (attempted, accepted) = session.with_account(|account| (account.attempted(), account.accepted()));
    let is_other = observed.is_login_changed() && !observed.is_published_by_this_account();
    let is_presented = attempt || attempted.is_some() || accepted.is_some() || memory.rejections() > 0;
    // A login that was not attempted yet keeps the record of the previous one.
    if is_other && !is_presented && previous.is_some() {
        return previous;
    }
    // The record of another login does not apply to this one.
    let inherited = previous.filter(|_| !is_other);
    let attempted = if attempt { Some(now) } else { attempted };
    // An attempt that was recorded and not answered counts: after a crash, it must not be repeated. Any response but a
    // rejection counts as an answer.
    let is_answered =
        account.last_failure.as_ref().is_some_and(|it| it.failure.class != RetryClass::Rejected);
    let is_pending = !account.proven && (attempt || memory.is_attempt_recorded() && !is_answered);
    let rejections = if account.proven { memory.rejections() } else { memory.rejections_of_user() };
    let rejections = rejections.saturating_add(u32::from(is_pending));
    let time = |moment: Option<Moment>, before: Option<_>| moment.map(|at| wire_time(at.wall)).or(before);
    Some(LoginStatus {
        secret_resource_version: observed
            .login_seen
            .version()
            .map(|version| version.resource_version.clone()),
        attempt_time: time(attempted, inherited.as_ref().and_then(|login| login.attempt_time.clone())),
        accepted_time: time(accepted, inherited.as_ref().and_then(|login| login.accepted_time.clone())),
        rejections: i32::try_from(rejections).unwrap_or(i32::MAX),
    })
}

fn wanted(conditions: &Conditions, previous: &[Condition]) -> Vec<Wanted> {
    use ConditionStatus::{False, True, Unknown};
    let wanted = |type_, status, reason: &Reason| Wanted {
        type_,
        status,
        reason: reason.name().to_owned(),
        message: reason.message(),
    };
    let mut list = vec![match &conditions.ready {
        Ok(reason) => wanted(ConditionType::Ready, True, reason),
        Err(reason) => wanted(ConditionType::Ready, False, reason),
    }];
    let optional = [
        (ConditionType::Reconciling, &conditions.reconciling),
        (ConditionType::Stalled, &conditions.stalled),
        (ConditionType::RenewalOverdue, &conditions.renewal_overdue),
    ];
    list.extend(
        optional.into_iter().filter_map(|(type_, reason)| Some(wanted(type_, True, reason.as_ref()?))),
    );
    let type_ = ConditionType::LoginAccepted;
    list.push(match &conditions.login_accepted {
        Some(LoginAnswer::Accepted) => wanted(type_, True, &Reason::LoginAccepted),
        Some(LoginAnswer::Rejected(reason)) => wanted(type_, False, reason),
        Some(LoginAnswer::NotTried) => wanted(type_, Unknown, &Reason::LoginPending),
        None => kept(type_, previous).unwrap_or_else(|| wanted(type_, Unknown, &Reason::LoginPending)),
    });
    list
}

/// A condition as it stood before.
fn kept(type_: ConditionType, previous: &[Condition]) -> Option<Wanted> {
    let before = previous.iter().find(|condition| condition.type_ == type_.as_str())?;
    Some(Wanted {
        type_,
        status: match before.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        },
        reason: before.reason.clone(),
        message: before.message.clone(),
    })
}

/// The status of a resource that cannot be read at all: what stood there stays, but for the conditions.
#[must_use]
pub(super) fn malformed(
    previous: IdIssuerCredentialStatus,
    generation: i64,
    now: Timestamp,
) -> IdIssuerCredentialStatus {
    let reason = Reason::MalformedResource;
    let wanted =
        |type_, status| Wanted { type_, status, reason: reason.name().to_owned(), message: reason.message() };
    let type_ = ConditionType::LoginAccepted;
    let conditions = [
        Some(wanted(ConditionType::Ready, ConditionStatus::False)),
        Some(wanted(ConditionType::Stalled, ConditionStatus::True)),
        kept(type_, &previous.conditions),
    ];
    IdIssuerCredentialStatus {
        observed_generation: Some(generation),
        conditions: merge(&previous.conditions, conditions.into_iter().flatten(), Some(generation), now),
        claimed_by: None,
        ..previous
    }
}

/// Whether a status must be written: it differs in more than the time of a login attempt and the count of the same
/// failure.
#[must_use]
pub(super) fn is_worth_writing(
    status: &IdIssuerCredentialStatus,
    memory: &CredentialState,
    now: Moment,
) -> bool {
    let previous = &memory.status;
    let mut leveled = status.clone();
    if let (Some(login), Some(before)) = (&mut leveled.login, &previous.login)
        && before.attempt_time.is_some()
    {
        login.attempt_time.clone_from(&before.attempt_time);
    }
    let is_fresh = memory.status_written.is_some_and(|at| !at.plus(FAILURE_NOTES).is_reached(now));
    if let (Some(failures), Some(before)) = (&mut leveled.failures, &previous.failures)
        && is_fresh
        && failures.reason == before.reason
    {
        failures.clone_from(before);
    }
    leveled != *previous
}

/// Events for what flipped since `previous`: on transitions only, with constant text, so that they do not pile up.
#[must_use]
pub(super) fn events(previous: &[Condition], current: &Conditions) -> Vec<Event> {
    let (is_ready, ready) = match &current.ready {
        Ok(reason) => (true, reason),
        Err(reason) => (false, reason),
    };
    let rows = [
        (ConditionType::Ready, is_ready, Some(ready)),
        (ConditionType::Stalled, true, current.stalled.as_ref()),
        (ConditionType::RenewalOverdue, true, current.renewal_overdue.as_ref()),
    ];
    let mut events: Vec<Event> = Vec::new();
    for (type_, status, reason) in rows {
        let Some(reason) = reason else { continue };
        let before = previous.iter().find(|condition| condition.type_ == type_.as_str());
        let is_old = before
            .is_some_and(|before| (before.status == "True") == status && before.reason == reason.name());
        let was_told = events.iter().any(|event| event.reason == reason.name());
        if is_old || was_told || PROGRESS.contains(&reason.name()) {
            continue;
        }
        let is_good = type_ == ConditionType::Ready && status;
        events.push(Event {
            type_: if is_good { EventType::Normal } else { EventType::Warning },
            reason: reason.name().to_owned(),
            note: Some(reason.note()),
            action: "Reconcile".into(),
            secondary: None,
        });
    }
    events
}
