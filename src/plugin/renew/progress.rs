//! How far a requested renewal is, decided from the status of the credential.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{IdIssuerCredential, IdIssuerCredentialStatus};
use crate::core::conditions::ConditionType;

/// How long a credential that waits for somebody may still be so, because the operator has not seen the request.
pub(super) const GRACE: Duration = Duration::from_secs(8);

/// A renewal that was requested.
#[derive(Clone, Debug)]
pub(super) struct RenewRequest {
    /// The value of the annotation.
    pub(super) value: String,
    /// When it was made, by the operator's clock, in whole seconds.
    pub(super) at: Timestamp,
    /// The token before it.
    pub(super) fingerprint: Option<String>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A new token is published.
    Renewed,
    /// The published token is so new that it answers the request.
    IsNew,
    /// Someone must act first.
    Refused(String),
    /// Not yet; with what it waits for.
    Waits(String),
}

/// How far the request is, so long after it was made.
pub(super) fn progress(
    credential: &IdIssuerCredential,
    request: &RenewRequest,
    waited: Duration,
) -> Progress {
    let Some(status) = &credential.status else {
        return Progress::Waits(super::super::row::NO_STATUS.to_owned());
    };
    let fingerprint = status.token.as_ref().map(|token| &token.fingerprint);
    if fingerprint.is_some() && fingerprint != request.fingerprint.as_ref() {
        return Progress::Renewed;
    }
    let is_handled = status.last_handled_renew_request.as_deref() == Some(request.value.as_str());
    let failure = status.failures.as_ref();
    let has_failed = failure.is_some_and(|it| it.last_failure_time.0 >= request.at);
    if let Some(said) = condition(status, ConditionType::Stalled, "True") {
        // An attempt in progress says nothing yet.
        let is_attempt_open = is_handled && !has_failed && is_attempted(status, request);
        if has_failed || waited >= GRACE && !is_attempt_open {
            return Progress::Refused(said);
        }
        return Progress::Waits(said);
    }
    if is_handled && failure.is_none() && condition(status, ConditionType::Ready, "True").is_some() {
        // An attempt that is recorded, and has not ended, is handled too.
        return if is_attempted(status, request) && waited < GRACE {
            Progress::Waits("the login is in progress".to_owned())
        } else {
            Progress::IsNew
        };
    }
    Progress::Waits(waits_for(status, is_handled))
}

/// Whether a login was attempted since the request.
fn is_attempted(status: &IdIssuerCredentialStatus, request: &RenewRequest) -> bool {
    let attempt = status.login.as_ref().and_then(|login| login.attempt_time.as_ref());
    attempt.is_some_and(|time| time.0 >= request.at)
}

fn waits_for(status: &IdIssuerCredentialStatus, is_handled: bool) -> String {
    if let Some(failure) = &status.failures {
        let message = failure.message.as_deref().unwrap_or("see the Events of the credential");
        return format!("{}: {message}", failure.reason);
    }
    condition(status, ConditionType::Ready, "False").unwrap_or_else(|| {
        if is_handled {
            "the login is in progress".to_owned()
        } else {
            "the operator has not answered yet; check that it runs, and that it has a leader (`kubectl idissuer check`)"
                .to_owned()
        }
    })
}

/// The reason and message of this condition, if it has this status.
fn condition(status: &IdIssuerCredentialStatus, type_: ConditionType, wanted: &str) -> Option<String> {
    let found = status.conditions.iter().find(|it| it.type_ == type_.as_str() && it.status == wanted)?;
    Some(format!("{}: {}", found.reason, found.message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::{condition, credential, time, token};

    const ASKED: &str = "2026-01-01T00:30:00Z";

    fn progress_of(status: Value, waited: u64) -> Progress {
        let request =
            RenewRequest { value: "ask".to_owned(), at: time(ASKED), fingerprint: Some("old".to_owned()) };
        let credential = credential(json!({"loginSecretRef": {"name": "login"}}), status);
        progress(&credential, &request, Duration::from_secs(waited))
    }

    fn failures(reason: &str, at: &str) -> Value {
        json!({"consecutiveFailures": 1, "lastFailureTime": at, "reason": reason, "message": "cure"})
    }

    #[test]
    fn a_new_token_ends_the_wait_whatever_else_is_said() {
        let stalled = condition("Stalled", "True", "LoginRejected");
        for status in [
            json!({"token": token("new")}),
            json!({"token": token("new"), "conditions": [stalled]}),
            json!({"token": token("new"), "lastHandledRenewRequest": "ask"}),
        ] {
            assert_eq!(progress_of(status.clone(), 0), Progress::Renewed, "{status}");
        }
    }

    #[test]
    fn a_request_that_the_last_token_answers_is_good() {
        let ready = condition("Ready", "True", "TokenPublished");
        let status = json!({"token": token("old"), "conditions": [ready], "lastHandledRenewRequest": "ask"});
        assert_eq!(progress_of(status, 0), Progress::IsNew);
    }

    #[test]
    fn a_login_in_progress_is_waited_for() {
        let ready = condition("Ready", "True", "TokenPublished");
        let stalled = condition("Stalled", "True", "LoginRejected");
        for conditions in [json!([ready]), json!([ready, stalled])] {
            let status = json!({
                "token": token("old"), "conditions": conditions, "lastHandledRenewRequest": "ask",
                "login": {"attemptTime": "2026-01-01T00:30:01Z"},
            });
            assert!(matches!(progress_of(status, 2), Progress::Waits(_)), "{conditions}");
        }
    }

    #[test]
    fn one_who_must_act_is_told_at_once_after_a_failure_and_otherwise_after_the_grace() {
        let stalled = condition("Stalled", "True", "LoginRejected");
        let old =
            json!({"conditions": [stalled], "failures": failures("LoginRejected", "2026-01-01T00:00:00Z")});
        assert!(
            matches!(progress_of(old.clone(), 1), Progress::Waits(said) if said.starts_with("LoginRejected: "))
        );
        assert!(matches!(progress_of(old, 8), Progress::Refused(_)));
        let new =
            json!({"conditions": [stalled], "failures": failures("LoginRejected", "2026-01-01T00:30:00Z")});
        let refused = Progress::Refused("LoginRejected: message of LoginRejected".to_owned());
        assert_eq!(progress_of(new, 1), refused);
    }

    #[test]
    fn slowness_names_what_it_waits_for() {
        let ready = condition("Ready", "True", "TokenPublished");
        for (status, part) in [
            (Value::Null, "check that the operator runs"),
            (json!({"conditions": [ready], "token": token("old")}), "the operator has not answered yet"),
            (
                json!({"token": token("old"), "failures": failures("IssuerUnreachable", "2026-01-01T00:31:00Z")}),
                "IssuerUnreachable: cure",
            ),
            (json!({"conditions": [condition("Ready", "False", "Issuing")]}), "Issuing: "),
        ] {
            let progress = progress_of(status.clone(), 60);
            assert!(
                matches!(&progress, Progress::Waits(said) if said.contains(part)),
                "{status}: {progress:?}"
            );
        }
    }
}
