//! Everything that can go wrong in a call, and what each means for the next one.

use std::fmt;

use jiff::SignedDuration;

use super::transport::TransportError;
use crate::core::reason::Reason;
use crate::core::retry::{RetryClass, Sent};
use crate::core::token::Grant;

/// What is wrong with an answer of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerDefect {
    /// More than 64 KiB.
    TooLarge,
    /// Not the JSON document that the API describes.
    NotATokenAnswer,
    /// Empty, too long, or with characters that do not fit into an HTTP header.
    UnusableToken,
    /// A `token_type` other than bearer.
    NotBearer,
    /// No lifetime left.
    DeadOnArrival,
}

impl AnswerDefect {
    fn describe(self) -> &'static str {
        match self {
            Self::TooLarge => "it is larger than 64 KiB",
            Self::NotATokenAnswer => "it is not the JSON document of a token",
            Self::UnusableToken => "its token does not fit into an HTTP header",
            Self::NotBearer => "its token is not of type bearer",
            Self::DeadOnArrival => "its token has no lifetime left",
        }
    }
}

impl fmt::Display for AnswerDefect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.describe())
    }
}

impl std::error::Error for AnswerDefect {}

/// A status code by which the issuer says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403: perhaps the user lacks the "API Access" authorization.
    Forbidden,
    /// 400, 401, 423 and any other 4xx that has no meaning of its own.
    Other,
}

/// It never comes from the issuer.
const PROXY_WANTS_LOGIN: u16 = 407;

/// A failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// No answer came.
    #[error("call the issuer: {0}")]
    Transport(#[source] TransportError),
    /// The issuer does not accept user name and password.
    #[error("log in: the issuer rejected the user name and password")]
    LoginRejected(Refusal),
    /// The issuer does not accept the refresh token, or answered it with what cannot be used.
    #[error("refresh: the issuer refused the refresh token")]
    RefreshRefused,
    /// 408, 425 or 429: not now. Nothing was carried out.
    #[error("call the issuer: it asks to come back later")]
    NotNow {
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// 5xx, or a status that has no place here. Perhaps something was carried out.
    #[error("call the issuer: it failed with status {status}")]
    Unavailable {
        /// The status code.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// A redirect: the address is wrong, and credentials are not carried elsewhere.
    #[error("log in: the issuer answers with a redirect")]
    Redirected,
    /// 404, 405 or 415: the path is wrong.
    #[error("log in: the issuer does not know the path or method")]
    PathWrong,
    /// A 200 that cannot be used.
    #[error("log in: the issuer's answer cannot be used: {0}")]
    Unusable(#[source] AnswerDefect),
}

impl IssuerError {
    /// What a status code other than 200 means for a call.
    #[must_use]
    pub fn of_status(status: u16, grant: Grant, retry_after: Option<SignedDuration>) -> Self {
        match (grant, status) {
            (_, 408 | 425 | 429) => Self::NotNow { retry_after },
            (Grant::Login, 300..=399) => Self::Redirected,
            (Grant::Login, 404 | 405 | 415) => Self::PathWrong,
            (Grant::Login, 403) => Self::LoginRejected(Refusal::Forbidden),
            // Some issuers say 422 or 410 to a wrong password. Presented again and again it would lock the account.
            (Grant::Login, 400..=499) if status != PROXY_WANTS_LOGIN => Self::LoginRejected(Refusal::Other),
            (Grant::Refresh, 300..=499) => Self::RefreshRefused,
            _ => Self::Unavailable { status, retry_after },
        }
    }

    /// What it means for the next call.
    #[must_use]
    pub fn class(&self) -> RetryClass {
        let transient = |sent, retry_after| RetryClass::Transient { sent, retry_after };
        match *self {
            Self::Transport(TransportError::Unreachable | TransportError::Tls) => transient(Sent::No, None),
            Self::Transport(TransportError::TimedOut | TransportError::Broken) => {
                transient(Sent::Maybe, None)
            }
            Self::NotNow { retry_after } => transient(Sent::No, retry_after),
            Self::Unavailable { retry_after, .. } => transient(Sent::Maybe, retry_after),
            Self::LoginRejected(_) => RetryClass::Rejected,
            Self::RefreshRefused => RetryClass::Refused,
            Self::Redirected | Self::PathWrong => RetryClass::Misconfigured,
            Self::Unusable(_) => RetryClass::Malformed,
        }
    }

    /// What people are told; `secret` is where the login came from.
    #[must_use]
    pub fn reason(&self, secret: &str) -> Reason {
        match *self {
            Self::Transport(TransportError::Tls) => Reason::IssuerTlsFailed,
            Self::Transport(
                TransportError::Unreachable | TransportError::TimedOut | TransportError::Broken,
            ) => Reason::IssuerUnreachable,
            Self::LoginRejected(refusal) => {
                let forbidden = refusal == Refusal::Forbidden;
                Reason::LoginRejected { secret: secret.to_owned(), forbidden, blank: false }
            }
            Self::RefreshRefused => Reason::RefreshRefused,
            Self::NotNow { .. } | Self::Unavailable { .. } => Reason::IssuerUnavailable,
            Self::Redirected => Reason::IssuerRedirects,
            Self::PathWrong => Reason::IssuerPathWrong,
            Self::Unusable(defect) => Reason::IssuerAnswerUnusable { defect: defect.describe() },
        }
    }

    /// The outcome as a metric's label: a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Transport(TransportError::Unreachable) => "unreachable",
            Self::Transport(TransportError::Tls) => "tls",
            Self::Transport(TransportError::TimedOut) => "timeout",
            Self::Transport(TransportError::Broken) => "broken",
            Self::LoginRejected(_) => "rejected",
            Self::RefreshRefused => "refused",
            Self::NotNow { .. } => "not_now",
            Self::Unavailable { .. } => "unavailable",
            Self::Redirected | Self::PathWrong => "misconfigured",
            Self::Unusable(_) => "malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_a_login_has_its_class() {
        let no = RetryClass::Transient { sent: Sent::No, retry_after: None };
        let maybe = RetryClass::Transient { sent: Sent::Maybe, retry_after: None };
        let cases = [
            (vec![400, 401, 402, 403, 409, 410, 413, 418, 422, 423, 451, 499], RetryClass::Rejected),
            (vec![301, 302, 307, 308, 404, 405, 415], RetryClass::Misconfigured),
            (vec![408, 425, 429], no),
            (vec![500, 502, 503, 504, 599, 407, 204, 201, 199], maybe),
        ];
        for (statuses, class) in cases {
            for status in statuses {
                let error = IssuerError::of_status(status, Grant::Login, None);
                assert_eq!(error.class(), class, "{status}");
            }
        }
    }

    #[test]
    fn every_status_of_a_refresh_has_its_class() {
        for status in [400, 401, 403, 404, 405, 410, 415, 423, 302] {
            assert_eq!(
                IssuerError::of_status(status, Grant::Refresh, None).class(),
                RetryClass::Refused,
                "{status}"
            );
        }
        let limited = IssuerError::of_status(429, Grant::Refresh, Some(SignedDuration::from_secs(7)));
        let asked = Some(SignedDuration::from_secs(7));
        assert_eq!(limited.class(), RetryClass::Transient { sent: Sent::No, retry_after: asked });
        let failed = IssuerError::of_status(503, Grant::Refresh, None);
        assert_eq!(failed.class(), RetryClass::Transient { sent: Sent::Maybe, retry_after: None });
    }

    #[test]
    fn a_403_names_the_missing_authorization() {
        let reason = IssuerError::of_status(403, Grant::Login, None).reason("billing-login");
        assert!(reason.message().contains("API Access"), "{}", reason.message());
        let reason = IssuerError::of_status(401, Grant::Login, None).reason("billing-login");
        assert!(!reason.message().contains("API Access"), "{}", reason.message());
    }
}
