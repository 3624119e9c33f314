use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::core::account::{Account, Next, Strategy};
use crate::core::credential::{Credential, LoginFound};
use crate::core::observed::{LastSeen, Rejection};
use crate::core::testing::{BILLING, at, reason_name, spec};
use crate::core::time::Moment;

/// A status as it stood in a cluster, written by the version before status said how a login was rejected.
fn recorded(login: &Value, login_accepted: &Value, ready: &Value) -> IdIssuerCredentialStatus {
    let condition = |type_: &str, it: &Value| {
        json!({
            "type": type_, "status": it["status"], "reason": it["reason"],
            "message": "as the version before worded it",
            "observedGeneration": 1, "lastTransitionTime": "2027-01-15T08:00:00Z",
        })
    };
    let stalled = json!({"status": "True", "reason": login_accepted["reason"]});
    serde_json::from_value(json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", ready),
            condition("Stalled", &stalled),
            condition("LoginAccepted", login_accepted),
        ],
        "secretName": "billing-token",
        "target": {"uid": "target", "resourceVersion": "7"},
        "token": {
            "issuedTime": "2027-01-15T08:00:00Z", "expirationTime": "2027-01-15T09:00:00Z",
            "renewalTime": "2027-01-15T08:45:00Z", "lifetimeSource": "ExpiresIn",
            "fingerprint": "0123456789abcdef0123456789abcdef", "grant": "Login",
        },
        "refreshSupport": "Early",
        "login": login,
        "failures": {
            "consecutiveFailures": 3, "lastFailureTime": "2027-01-15T08:00:00Z", "reason": "LoginRejected",
        },
        "controller": "idissuer/operator",
    }))
    .unwrap()
}

fn accepted() -> IdIssuerCredentialStatus {
    recorded(
        &json!({
            "secretResourceVersion": "1", "attemptTime": "2027-01-15T08:00:00Z",
            "acceptedTime": "2027-01-15T08:00:00Z",
        }),
        &json!({"status": "True", "reason": "LoginAccepted"}),
        &json!({"status": "True", "reason": "TokenPublished"}),
    )
}

fn rejected(reason: &str) -> IdIssuerCredentialStatus {
    let attempt = "2027-01-15T08:00:00Z";
    recorded(
        &json!({"secretResourceVersion": "1", "attemptTime": attempt, "rejections": 3}),
        &json!({"status": "False", "reason": reason}),
        &json!({"status": "False", "reason": reason}),
    )
}

/// A new process takes over the status, and reads the login Secret.
fn restored(status: IdIssuerCredentialStatus, now: Moment) -> (Credential, Account) {
    let (mut known, mut account, spec) = (Credential::default(), Account::default(), spec());
    known.load(read(status), 1, Some(&spec), SignedDuration::ZERO, now);
    let version = ObjectVersion { uid: "login".into(), resource_version: "1".into() };
    let seen = LastSeen::Version(version);
    let found = LoginFound { key: BILLING, seen: &seen, blank: false, spec: &spec, generation: 1 };
    known.restore_account(&mut account, found, now);
    (known, account)
}

fn without_addresses(mut status: IdIssuerCredentialStatus) -> IdIssuerCredentialStatus {
    for condition in &mut status.conditions {
        condition.message = without_address(&condition.message, &condition.reason).to_owned();
    }
    status
}

#[test]
fn a_status_is_the_same_after_it_was_read_and_written() {
    for status in [accepted(), rejected("LoginRejected"), IdIssuerCredentialStatus::default()] {
        let written = write(&read(status.clone()));
        assert_eq!(write(&read(written.clone())), written);
        assert_eq!(without_addresses(written), status);
    }
    for kind in RejectionKind::ALL {
        let attempts = LoginAttempts { rejection: Some(kind), ..LoginAttempts::default() };
        let login = LoginHistory { attempts, ..LoginHistory::default() };
        let status = Status { login: Some(login), ..Status::default() };
        assert_eq!(read(write(&status)), status);
    }
}

#[test]
fn failures_end_with_the_address_of_their_page_and_nothing_else_does() {
    use ConditionStatus::{False, True};
    let condition = |type_: ConditionType, status: ConditionStatus, reason: &str| Condition {
        type_: type_.as_str().into(),
        status: status.as_str().into(),
        reason: reason.to_owned().into(),
        message: "Correct it".to_owned(),
        observed_generation: None,
        since: Timestamp::UNIX_EPOCH,
    };
    for (type_, status, reason, is_failure) in [
        (ConditionType::Ready, False, "IssuerUnreachable", true),
        (ConditionType::Stalled, True, "LoginRejected", true),
        (ConditionType::RenewalOverdue, True, "RenewalOverdue", true),
        (ConditionType::Ready, True, "TokenPublished", false),
        (ConditionType::Ready, False, "Issuing", false),
        (ConditionType::Reconciling, True, "IssuerUnreachable", false),
        (ConditionType::LoginAccepted, False, "LoginRejected", false),
    ] {
        let known = condition(type_, status, reason);
        let written = write_condition(&known);
        let expected =
            if is_failure { "Correct it".to_owned() + &see(reason) } else { "Correct it".to_owned() };
        assert_eq!(written.message, expected);
        assert_eq!(read_condition(written), known, "what is read is compared with what is known");
    }
}

#[test]
fn a_warning_ends_with_the_address_of_its_page_if_there_is_room() {
    let note = |reason: Reason, is_normal| event(&StatusEvent { reason, is_normal }).note.unwrap();
    let missing = Reason::LoginSecretMissing { secret: "billing-login".to_owned() };
    assert!(note(missing, false).ends_with("/runbooks/LoginSecretMissing.html"));
    let published = Reason::RenewRequestHandled { answered: true };
    assert_eq!(note(published.clone(), true), published.note());
    let long = Reason::LoginSecretMissing { secret: "s".repeat(900) };
    assert_eq!(note(long.clone(), false), long.note());
}

#[test]
fn a_login_that_the_version_before_found_rejected_is_not_presented_after_a_rolling_upgrade() {
    for (reason, now) in [
        ("LoginRejected", "LoginRejected"),
        ("IssuerMisconfigured", "IssuerMisconfigured"),
        ("IssuerBlocked", "IssuerBlocked"),
        ("IssuerMisdirected", "IssuerMisdirected"),
        ("IssuerAnswerBroken", "IssuerResponseIncomplete"),
        ("IssuerAnswerUnusable", "IssuerResponseInvalid"),
    ] {
        let (known, account) = restored(rejected(reason), at(100_000));
        assert_eq!(account.next(Strategy::Auto, at(100_000)), Next::Held, "{reason}");
        let told = account.last_failure().map(|it| reason_name(&it.failure));
        assert_eq!((told, account.rejections()), (Some(now), 3));
        assert_eq!(known.login_record(None).rejection, Rejection::Stands);
    }
}

#[test]
fn an_attempt_that_the_version_before_recorded_and_heard_no_answer_to_counts_after_a_rolling_upgrade() {
    let status = recorded(
        &json!({"secretResourceVersion": "1", "attemptTime": "2027-01-15T08:00:00Z", "rejections": 1}),
        &json!({"status": "Unknown", "reason": "LoginNotTried"}),
        &json!({"status": "False", "reason": "Issuing"}),
    );
    let (_, account) = restored(status, at(60));
    assert!(matches!(account.next(Strategy::Auto, at(60)), Next::Wait(_)));
    assert_eq!(account.last_failure().map(|it| reason_name(&it.failure)), Some("LoginOutcomeUnknown"));
}

#[test]
fn a_login_that_the_version_before_found_accepted_needs_no_record_after_a_rolling_upgrade() {
    let (known, account) = restored(accepted(), at(60));
    assert!(account.accepted().is_some() && account.last_failure().is_none());
    assert!(known.login_record(None).attempted);
    let published = known.published().unwrap();
    assert_eq!((published.key, published.generation), (Some(BILLING), Some(1)));
}

#[test]
fn a_wire_time_equals_what_is_read_back() {
    for written in ["2026-01-02T03:04:05.999999999Z", "1969-12-31T23:59:58.5Z", "2026-01-02T03:04:05Z"] {
        let timestamp: Timestamp = written.parse().unwrap();
        let time = wire_time(timestamp);
        let read: Time = serde_json::from_value(serde_json::to_value(&time).unwrap()).unwrap();
        assert_eq!(time, read, "{written}");
        assert!(time.0 <= timestamp, "{written}");
    }
}
