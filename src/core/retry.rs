//! What a failed call to the issuer means for the next one.

use jiff::SignedDuration;

use super::call_failure::CallFailure;
use super::circuit_breaker::CallOutcome;

/// Whether a request may have reached the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: name resolution, connection or TLS failed. It may be repeated.
    No,
    /// It may have been carried out, and its answer was lost. A refresh token in it counts as spent.
    Maybe,
}

/// The retry class of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// The issuer does not accept the user name and password. Trying again locks the account.
    Rejected,
    /// The issuer does not accept the refresh token. Log in.
    Refused,
    /// It may work later.
    Transient {
        /// Whether the request may have been carried out.
        sent: Sent,
        /// How long the issuer asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// An answer of success that cannot be used.
    Malformed,
    /// The address or its path is wrong.
    Misconfigured,
    /// Another server seems to have answered instead of the issuer: it may be how the issuer rejects. A retry may help.
    Blocked,
    /// A response without meaning: it broke off, or came from a server that never saw the login. A retry may help.
    Inconclusive {
        /// Whether the request may have been carried out.
        sent: Sent,
    },
}

impl RetryClass {
    /// Whether there was a response, other than "retry later". For a login that was never accepted, each such response
    /// counts as a rejection: some issuers reject a password with 200, 302 or 404.
    #[must_use]
    pub fn is_answer(self) -> bool {
        !matches!(self, Self::Transient { .. })
    }
}

/// A failed call, as the core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means for the next call.
    pub class: RetryClass,
    /// What happened.
    pub cause: CallFailure,
    /// Whether the call presented a password with a blank or an invisible character, which may be a slip.
    pub password_has_blank: bool,
}

impl Failure {
    /// What it says about the issuer. If new CAs of the account do not trust the server, these may be wrong.
    #[must_use]
    pub fn call_outcome(&self, is_proven: bool, has_own_trust: bool) -> CallOutcome {
        match self.class {
            _ if has_own_trust && !is_proven && self.cause.is_of_tls() => CallOutcome::Distrusted,
            RetryClass::Rejected if is_proven => CallOutcome::RejectsProven,
            RetryClass::Rejected | RetryClass::Refused => CallOutcome::Answers,
            RetryClass::Transient { retry_after, .. } => CallOutcome::Fails { retry_after },
            RetryClass::Malformed
            | RetryClass::Misconfigured
            | RetryClass::Blocked
            | RetryClass::Inconclusive { .. } => CallOutcome::Fails { retry_after: None },
        }
    }
}
