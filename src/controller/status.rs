//! Status on the wire: the one mapping between the resource and what the core knows of a credential, and Events.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as meta, Time};
use kube::runtime::events::{Event, EventType};

use crate::api::{
    self, FailuresStatus, FollowersStatus, IdIssuerCredentialStatus, LoginRejection, LoginStatus,
    TargetStatus, TokenStatus,
};
use crate::core::account::RefreshSupport;
use crate::core::conditions::{Condition, ConditionStatus, ConditionType, Word};
use crate::core::credential::{FailureRecord, LoginHistory, Status, StatusEvent, TokenRecord};
use crate::core::login_attempts::{LoginAttempts, RejectionKind};
use crate::core::reason::Reason;
use crate::core::sharing::Followers;
use crate::core::target::ObjectVersion;
use crate::core::time::to_second;
use crate::core::token::{Fingerprint, Grant, LifetimeSource};
use crate::ops::documentation::{see, without_address};

/// The longest note that an Event may have, in bytes.
const NOTE_MAX_LENGTH: usize = 1024;

/// From the wire. A claim is between controllers, and no part of what is known.
#[must_use]
pub(super) fn read(status: IdIssuerCredentialStatus) -> Status {
    Status {
        observed_generation: status.observed_generation,
        conditions: status.conditions.into_iter().map(read_condition).collect(),
        secret_name: status.secret_name,
        target: status.target.map(|target| ObjectVersion {
            uid: target.uid.into(),
            resource_version: target.resource_version.into(),
        }),
        token: status.token.map(|token| read_token(&token)),
        refresh_support: status.refresh_support.map(read_support),
        login: status.login.map(read_login),
        failures: status.failures.map(read_failures),
        followers: status.followers.map(|followers| Followers {
            count: u32::try_from(followers.count).unwrap_or_default(),
            names: followers.names,
        }),
        controller: status.controller,
        last_handled_renew_request: status.last_handled_renew_request,
    }
}

/// To the wire.
#[must_use]
pub(super) fn write(status: &Status) -> IdIssuerCredentialStatus {
    IdIssuerCredentialStatus {
        observed_generation: status.observed_generation,
        conditions: status.conditions.iter().map(write_condition).collect(),
        secret_name: status.secret_name.clone(),
        target: status.target.as_ref().map(|target| TargetStatus {
            uid: target.uid.to_string(),
            resource_version: target.resource_version.to_string(),
        }),
        token: status.token.as_ref().map(write_token),
        refresh_support: status.refresh_support.map(write_support),
        login: status.login.as_ref().map(write_login),
        failures: status.failures.as_ref().map(write_failures),
        followers: status.followers.as_ref().map(|followers| FollowersStatus {
            count: count(followers.count),
            names: followers.names.clone(),
        }),
        controller: status.controller.clone(),
        claimed_by: None,
        last_handled_renew_request: status.last_handled_renew_request.clone(),
    }
}

/// An Event as it is published.
#[must_use]
pub(super) fn event(StatusEvent { reason, is_normal }: &StatusEvent) -> Event {
    if *is_normal {
        let (type_, action) = (EventType::Normal, "Reconcile".to_owned());
        return Event {
            type_,
            reason: reason.name().to_owned(),
            note: Some(reason.note()),
            action,
            secondary: None,
        };
    }
    warning(reason, "Reconcile")
}

/// A warning, which ends with the address of the reason's page if there is room for it.
#[must_use]
pub(super) fn warning(reason: &Reason, action: &str) -> Event {
    let (note, see) = (reason.note(), see(reason.name()));
    let note = if note.len() + see.len() <= NOTE_MAX_LENGTH { note + &see } else { note };
    Event {
        type_: EventType::Warning,
        reason: reason.name().to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    }
}

/// A time as the wire keeps it, in whole seconds.
///
/// [`Time`] drops the fraction only when it is serialized. A status built with fractions would therefore never equal
/// the one read back, and every comparison of the two would end in a write.
fn wire_time(timestamp: Timestamp) -> Time {
    Time(to_second(timestamp))
}

fn time(time: Option<Timestamp>) -> Option<Time> {
    time.map(wire_time)
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Whether a condition says that something is wrong, and not only that work is going on. `LoginAccepted` is left out: what
/// is wrong with a login stands in `Stalled`, too.
fn is_failure(condition: &Condition) -> bool {
    let is_progress = [Reason::Issuing, Reason::Updating, Reason::Suspended]
        .iter()
        .any(|reason| reason.name() == condition.reason);
    condition.is(ConditionType::Ready, ConditionStatus::False) && !is_progress
        || condition.is(ConditionType::Stalled, ConditionStatus::True)
        || condition.is(ConditionType::RenewalOverdue, ConditionStatus::True)
}

fn read_condition(condition: meta::Condition) -> Condition {
    Condition {
        message: without_address(&condition.message, &condition.reason).to_owned(),
        type_: word(condition.type_, ConditionType::ALL.map(ConditionType::as_str)),
        status: word(condition.status, ConditionStatus::ALL.map(ConditionStatus::as_str)),
        reason: condition.reason.into(),
        observed_generation: condition.observed_generation,
        since: condition.last_transition_time.0,
    }
}

/// A word that is one of ours takes no room.
fn word<const COUNT: usize>(text: String, ours: [&'static str; COUNT]) -> Word {
    ours.into_iter().find(|word| *word == text).map_or(Word::Owned(text), Word::Borrowed)
}

/// The message of a failure ends with the address of the reason's page.
fn write_condition(condition: &Condition) -> meta::Condition {
    let see = if is_failure(condition) { see(&condition.reason) } else { String::new() };
    meta::Condition {
        type_: condition.type_.to_string(),
        status: condition.status.to_string(),
        reason: condition.reason.to_string(),
        message: condition.message.clone() + &see,
        observed_generation: condition.observed_generation,
        last_transition_time: wire_time(condition.since),
    }
}

fn read_token(token: &TokenStatus) -> TokenRecord {
    TokenRecord {
        issued: token.issued_time.0,
        expiration: token.expiration_time.0,
        renewal: token.renewal_time.0,
        source: match token.lifetime_source {
            api::LifetimeSource::ExpiresIn => LifetimeSource::ExpiresIn,
            api::LifetimeSource::Jwt => LifetimeSource::Jwt,
            api::LifetimeSource::Assumed => LifetimeSource::Assumed,
        },
        fingerprint: Fingerprint::recorded(&token.fingerprint),
        grant: match token.grant {
            api::Grant::Login => Grant::Login,
            api::Grant::Refresh => Grant::Refresh,
        },
        owner_uid: token.owner_uid.clone(),
    }
}

fn write_token(token: &TokenRecord) -> TokenStatus {
    TokenStatus {
        issued_time: wire_time(token.issued),
        expiration_time: wire_time(token.expiration),
        renewal_time: wire_time(token.renewal),
        lifetime_source: match token.source {
            LifetimeSource::ExpiresIn => api::LifetimeSource::ExpiresIn,
            LifetimeSource::Jwt => api::LifetimeSource::Jwt,
            LifetimeSource::Assumed => api::LifetimeSource::Assumed,
        },
        fingerprint: token.fingerprint.to_string(),
        grant: match token.grant {
            Grant::Login => api::Grant::Login,
            Grant::Refresh => api::Grant::Refresh,
        },
        owner_uid: token.owner_uid.clone(),
    }
}

fn read_support(support: api::RefreshSupport) -> RefreshSupport {
    match support {
        api::RefreshSupport::Unknown => RefreshSupport::Unknown,
        api::RefreshSupport::Early => RefreshSupport::Early,
        api::RefreshSupport::Refused => RefreshSupport::Refused,
    }
}

fn write_support(support: RefreshSupport) -> api::RefreshSupport {
    match support {
        RefreshSupport::Unknown => api::RefreshSupport::Unknown,
        RefreshSupport::Early => api::RefreshSupport::Early,
        RefreshSupport::Refused => api::RefreshSupport::Refused,
    }
}

fn read_login(login: LoginStatus) -> LoginHistory {
    LoginHistory {
        resource_version: login.secret_resource_version.map(Into::into),
        attempts: LoginAttempts {
            attempted: login.attempt_time.map(|time| time.0),
            accepted: login.accepted_time.map(|time| time.0),
            rejections: u32::try_from(login.rejections).unwrap_or_default(),
            rejection: login.rejection.map(|rejection| match rejection {
                LoginRejection::Rejected => RejectionKind::Rejected,
                LoginRejection::Forbidden => RejectionKind::Forbidden,
                LoginRejection::Redirected => RejectionKind::Redirected,
                LoginRejection::PathWrong => RejectionKind::PathWrong,
                LoginRejection::Blocked => RejectionKind::Blocked,
                LoginRejection::Misdirected => RejectionKind::Misdirected,
                LoginRejection::Incomplete => RejectionKind::Incomplete,
                LoginRejection::Unusable => RejectionKind::Unusable,
            }),
        },
    }
}

fn write_login(login: &LoginHistory) -> LoginStatus {
    let LoginAttempts { attempted, accepted, rejections, rejection } = &login.attempts;
    LoginStatus {
        secret_resource_version: login.resource_version.as_deref().map(str::to_owned),
        attempt_time: time(*attempted),
        accepted_time: time(*accepted),
        rejections: count(*rejections),
        rejection: rejection.map(|kind| match kind {
            RejectionKind::Rejected => LoginRejection::Rejected,
            RejectionKind::Forbidden => LoginRejection::Forbidden,
            RejectionKind::Redirected => LoginRejection::Redirected,
            RejectionKind::PathWrong => LoginRejection::PathWrong,
            RejectionKind::Blocked => LoginRejection::Blocked,
            RejectionKind::Misdirected => LoginRejection::Misdirected,
            RejectionKind::Incomplete => LoginRejection::Incomplete,
            RejectionKind::Unusable => LoginRejection::Unusable,
        }),
    }
}

fn read_failures(failures: FailuresStatus) -> FailureRecord {
    FailureRecord {
        count: u32::try_from(failures.consecutive_failures).unwrap_or_default(),
        last: failures.last_failure_time.0,
        reason: failures.reason,
        message: failures.message,
        next_attempt: failures.next_attempt_time.map(|time| time.0),
    }
}

fn write_failures(failures: &FailureRecord) -> FailuresStatus {
    FailuresStatus {
        consecutive_failures: count(failures.count),
        last_failure_time: wire_time(failures.last),
        reason: failures.reason.clone(),
        message: failures.message.clone(),
        next_attempt_time: time(failures.next_attempt),
    }
}

#[cfg(test)]
mod tests;
