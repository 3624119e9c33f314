//! The failures of `idissuer token`, with their exit codes.

use std::time::Duration;

use super::prompt::PromptError;
use crate::cli::Failure;
use crate::cli::exit_code::{
    FAILED, FORBIDDEN, INTERRUPTED, NOT_FOUND, NOT_READY, TIMED_OUT, UNREACHABLE, USAGE,
};
use crate::core::sidecar::token::HeldToken;
use crate::core::token_command::{FailureKind, LoginFailure, LoginOrigin};
use crate::sidecar::token_command::StateDirError;

pub(super) fn usage(message: &str) -> Failure {
    Failure { message: format!("{message}; see `idissuer token --help`"), code: USAGE }
}

pub(super) fn interrupted() -> Failure {
    Failure { message: "interrupted before there was a token".to_owned(), code: INTERRUPTED }
}

pub(super) fn timed_out(server: &str, limit: Duration) -> Failure {
    let message =
        format!("no token within {} s; check {server}, or raise --timeout-seconds", limit.as_secs());
    Failure { message, code: TIMED_OUT }
}

pub(super) fn short_lived(token: &HeldToken) -> Failure {
    let lifetime =
        token.expiry.zip(token.issued).map(|(expiry, issued)| expiry.wall.duration_since(issued.wall));
    let seconds =
        lifetime.map_or_else(|| "unknown".to_owned(), |lifetime| format!("{} s", lifetime.as_secs()));
    Failure {
        message: format!(
            "no token lives as long as --min-ttl; lower it (the lifetime of the issuer's tokens is {seconds})"
        ),
        code: NOT_READY,
    }
}

pub(super) fn of_login_failure(failure: &LoginFailure, origin: LoginOrigin) -> Failure {
    let code = match failure.kind() {
        FailureKind::Other => FAILED,
        FailureKind::Refused => NOT_READY,
        FailureKind::Forbidden => FORBIDDEN,
        FailureKind::NotFound => NOT_FOUND,
        FailureKind::Unreachable => UNREACHABLE,
    };
    Failure { message: failure.message(origin), code }
}

pub(super) fn of_state_dir(error: &StateDirError) -> Failure {
    let code = if matches!(error, StateDirError::Locked(_)) { TIMED_OUT } else { FAILED };
    Failure { message: error.to_string(), code }
}

pub(super) fn of_prompt(error: PromptError, place: &str) -> Failure {
    match error {
        PromptError::NoTerminal => {
            usage("no terminal to ask for the password; use --password-stdin or --login-dir")
        }
        PromptError::Stopped => interrupted(),
        PromptError::Failed(error) => format!("read the password from {place}: {error}").into(),
    }
}
