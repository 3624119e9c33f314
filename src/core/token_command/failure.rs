//! Why a login brought no token: the class for programs, the message for people.

use jiff::Timestamp;

use crate::core::account::Next;
use crate::core::connection_failure::{ConnectionFailure, Wording};
use crate::core::endpoint::Origin;
use crate::core::observed::AccountView;
use crate::core::reason::Reason;
use crate::core::retry::Failure;
use crate::core::sidecar::error::SourceError;
use crate::core::time::to_second;
use crate::core::username_password::LoginError;

/// Where messages begin to speak of retries, which a process that ends does not make.
const RETRIES: &str = ". It is retried";

/// What a failure means for the program that called; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something else.
    Other,
    /// The issuer rejects the login, or there is no token yet.
    Refused,
    /// The user may not read what is needed.
    Forbidden,
    /// What was named does not exist.
    NotFound,
    /// The issuer or the API server cannot be reached, or does not work. A retry may help.
    Unreachable,
}

/// Where the login comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOrigin {
    /// Files in a login folder.
    Files,
    /// A terminal, or standard input.
    Typed,
}

/// What messages need to know of a login.
#[derive(Clone, Copy, Debug)]
pub struct LoginLabel<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its issuer.
    pub origin: &'a Origin,
    /// Whether the password holds a blank or an invisible character.
    pub password_has_blank: bool,
}

impl LoginLabel<'_> {
    /// The error that a failed call is; `proven` says whether the issuer accepted this login before.
    pub(super) fn error(&self, failure: &Failure, proven: bool) -> SourceError {
        SourceError::of_call(failure, self.name, self.origin, proven)
    }
}

/// Why a login brought no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFailure {
    /// Why.
    pub error: SourceError,
    /// When the next attempt is due, if time alone leads to one.
    pub next_attempt: Option<Timestamp>,
}

impl From<SourceError> for LoginFailure {
    fn from(error: SourceError) -> Self {
        Self { error, next_attempt: None }
    }
}

impl LoginFailure {
    /// Why the account brings no token.
    #[must_use]
    pub fn of_view(view: &AccountView, login: &LoginLabel<'_>) -> Self {
        let failed = view.last_failure.as_ref().map(|last| login.error(&last.failure, view.is_proven()));
        let waits =
            || view.waits_for.map(|cause| SourceError::Issuer(cause.reason(login.name, login.origin)));
        // A call that was given up before its answer came.
        let given_up = || {
            let connection_failure = ConnectionFailure::TimedOut;
            SourceError::Issuer(Reason::NoAnswer { origin: login.origin.to_string(), connection_failure })
        };
        let error = failed.or_else(waits).unwrap_or_else(given_up);
        let next_attempt = match view.next {
            Next::Wait(until) => Some(to_second(until.wall)),
            Next::Refresh | Next::Login | Next::InFlight | Next::Held => None,
        };
        Self { error, next_attempt }
    }

    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match &self.error {
            SourceError::LoginRejected { .. } => FailureKind::Refused,
            SourceError::Issuer(reason) => of_reason(reason),
            SourceError::LoginUnreadable { .. } => FailureKind::Forbidden,
            SourceError::LoginDefective { defect: LoginError::Missing, .. } => FailureKind::NotFound,
            _ => FailureKind::Other,
        }
    }

    /// What is wrong, and the cure.
    #[must_use]
    pub fn message(&self, origin: LoginOrigin) -> String {
        let text = of_error(&self.error, origin);
        if let (LoginOrigin::Typed, SourceError::LoginDefective { .. }) = (origin, &self.error) {
            // Its name speaks of a file.
            return text;
        }
        let name = self.error.name();
        match self.next_attempt.filter(|_| self.kind() == FailureKind::Refused) {
            Some(until) => format!("{name}: {text}. The next attempt is possible at {until}"),
            None => format!("{name}: {text}"),
        }
    }
}

fn of_reason(reason: &Reason) -> FailureKind {
    match reason {
        Reason::LoginRejected { .. }
        | Reason::LoginNotAccepted { .. }
        | Reason::LoginOutcomeUnknown { .. }
        | Reason::LoginRateLimited { .. } => FailureKind::Refused,
        Reason::NoAnswer { .. } | Reason::IssuerUnavailable { .. } | Reason::IssuerCircuitOpen { .. } => {
            FailureKind::Unreachable
        }
        Reason::Unclear { answer, .. } if !answer.needs_user_action() => FailureKind::Unreachable,
        _ => FailureKind::Other,
    }
}

/// Rewords messages of the sidecar that speak of its pod or of its retries.
fn of_error(error: &SourceError, origin: LoginOrigin) -> String {
    let (correct, another) = match origin {
        LoginOrigin::Files => ("Correct the login files", "Changed files are"),
        LoginOrigin::Typed => ("Enter the right user name and password", "Another password is"),
    };
    match error {
        SourceError::LoginUnreadable { file } => {
            format!("{file} cannot be read; let this user read it (`ls -l`)")
        }
        SourceError::LoginDefective { file, defect: LoginError::Missing } => {
            format!("{file} does not exist; write it there (`printf %s …`), or name another --login-dir")
        }
        SourceError::LoginNotRecorded { file } => format!(
            "No login was attempted, because {file} cannot be written to record the attempt; make it writable, or name another --state-dir"
        ),
        SourceError::LoginRejected { forbidden, proven, .. } => {
            let access = if *forbidden { ", or give the user the \"API Access\" authorization" } else { "" };
            let again = if *proven {
                "The same login is attempted three times within 15 minutes, then once an hour"
            } else {
                "The same login is not tried again"
            };
            format!(
                "{correct}{access}; the issuer rejected them. {another} tried at once. {again}, so that the account is not locked"
            )
        }
        SourceError::Issuer(Reason::LoginOutcomeUnknown { .. }) => format!(
            "An earlier login was stopped before its answer came, and may have been rejected; wait, or change the login. {another} tried at once"
        ),
        SourceError::Issuer(Reason::NoAnswer { origin, connection_failure }) => {
            connection_failure.problem(origin, Wording { caller: "this machine", ..Wording::SIDECAR })
        }
        other => {
            let message = other.message();
            message.split(RETRIES).next().unwrap_or(&message).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::call_failure::UnclearAnswer;

    fn failure(error: SourceError) -> LoginFailure {
        LoginFailure { error, next_attempt: Some(Timestamp::UNIX_EPOCH) }
    }

    fn rejected(forbidden: bool, proven: bool) -> SourceError {
        SourceError::LoginRejected { forbidden, proven, blank: false, delay: None }
    }

    #[test]
    fn each_failure_has_its_class_and_its_message_the_cure_and_nothing_of_a_pod_or_of_retries() {
        let file = || "/login/password".to_owned();
        let no_answer = Reason::NoAnswer {
            origin: "https://issuer.example".into(),
            connection_failure: ConnectionFailure::NameUnresolved,
        };
        let issuer = || "https://issuer.example".to_owned();
        let unclear = |answer| Reason::Unclear { origin: issuer(), answer };
        let answer = UnclearAnswer::Blocked;
        let not_accepted = Reason::LoginNotAccepted { origin: issuer(), answer, blank: false, delay: None };
        let cases = [
            (rejected(false, false), FailureKind::Refused, "not tried again"),
            (rejected(true, true), FailureKind::Refused, "\"API Access\""),
            (SourceError::Issuer(not_accepted), FailureKind::Refused, "check what blocks"),
            (
                SourceError::Issuer(Reason::LoginOutcomeUnknown { secret: String::new(), delay: None }),
                FailureKind::Refused,
                "stopped before its answer",
            ),
            (SourceError::Issuer(no_answer), FailureKind::Unreachable, "or allow DNS for this machine"),
            (
                SourceError::Issuer(unclear(UnclearAnswer::Blocked)),
                FailureKind::Unreachable,
                "check what blocks",
            ),
            (SourceError::Issuer(unclear(UnclearAnswer::Redirect)), FailureKind::Other, "--issuer-url"),
            (SourceError::LoginUnreadable { file: file() }, FailureKind::Forbidden, "let this user read it"),
            (
                SourceError::LoginDefective { file: file(), defect: LoginError::Missing },
                FailureKind::NotFound,
                "--login-dir",
            ),
            (
                SourceError::LoginDefective { file: file(), defect: LoginError::Empty },
                FailureKind::Other,
                "fill it in",
            ),
            (SourceError::LoginNotRecorded { file: file() }, FailureKind::Other, "--state-dir"),
        ];
        for (error, kind, cure) in cases {
            for origin in [LoginOrigin::Files, LoginOrigin::Typed] {
                let failure = failure(error.clone());
                let message = failure.message(origin);
                assert_eq!(failure.kind(), kind, "{message}");
                let is_typed =
                    matches!(error, SourceError::LoginDefective { .. }) && origin == LoginOrigin::Typed;
                assert_eq!(message.starts_with(error.name()), !is_typed, "{message}");
                assert!(message.contains(cure), "{message}");
                assert!(!message.contains("It is retried") && !message.contains("fsGroup"), "{message}");
                assert_eq!(message.contains("1970"), kind == FailureKind::Refused, "{message}");
            }
        }
        assert!(failure(rejected(false, false)).message(LoginOrigin::Files).contains("the login files"));
    }
}
