//! Every failure of a call, and its consequence for the next call.

use jiff::SignedDuration;

use super::defect::AnswerError;
use super::transport::TransportError;
use crate::core::call_failure::{CallFailure, UnclearAnswer};
use crate::core::connection_failure::ConnectionFailure;
use crate::core::retry::{Failure, RetryClass, Sent};
use crate::core::token::Grant;

/// The kind of status code with which the issuer rejects a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403: the user may lack the "API Access" authorization.
    Forbidden,
    /// 400, 401, 423 and any other 4xx without another meaning.
    Other,
}

/// 421: the connection reached a server that does not serve the issuer.
const MISDIRECTED: u16 = 421;

/// A failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// No response.
    #[error("call the issuer: {0}")]
    Transport(#[source] TransportError),
    /// The issuer rejected the user name and password.
    #[error("log in: the issuer rejected the user name and password")]
    LoginRejected(Refusal),
    /// The issuer rejected the refresh token, or its response cannot be used.
    #[error("refresh: the issuer rejected the refresh token")]
    RefreshRejected,
    /// 408, 425 or 429: retry later. The request was not processed.
    #[error("call the issuer: it asks to retry later with status {status}")]
    NotNow {
        /// The status code.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// 5xx, or an unexpected status for a refresh. The request may have been processed.
    #[error("call the issuer: it failed with status {status}")]
    Unavailable {
        /// The status code.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<SignedDuration>,
    },
    /// A redirect: the address is wrong, and credentials are never sent elsewhere.
    #[error("log in: the issuer redirects")]
    Redirected,
    /// 404, 405 or 415: the path is wrong.
    #[error("log in: the issuer does not know the path or method")]
    PathWrong,
    /// 407, 421 or 451: another server answered, and the issuer never received the call.
    #[error("call the issuer: a proxy or another server answered with status {status}")]
    NotTheIssuer {
        /// The status code.
        status: u16,
    },
    /// An HTML page or plain text, where the issuer rejects with JSON or without a body.
    #[error("call the issuer: status {status} with a web page or plain text, not with the issuer's JSON")]
    Blocked {
        /// The status code.
        status: u16,
    },
    /// A 200 whose body broke off, or did not end in time.
    #[error("call the issuer: the response body could not be read: {}", .0.phrase())]
    Broken(ConnectionFailure),
    /// An unusable 200, or an unexpected status.
    #[error("log in: the response contains no usable token: {0}")]
    Unusable(#[source] AnswerError),
}

impl IssuerError {
    /// What a status code other than 200 means for a call.
    #[must_use]
    pub fn of_status(status: u16, grant: Grant, retry_after: Option<SignedDuration>) -> Self {
        match (grant, status) {
            (_, 408 | 425 | 429) => Self::NotNow { status, retry_after },
            (_, 407 | MISDIRECTED | 451) => Self::NotTheIssuer { status },
            (Grant::Login, 300..=399) => Self::Redirected,
            (Grant::Login, 404 | 405 | 415) => Self::PathWrong,
            (Grant::Login, 403) => Self::LoginRejected(Refusal::Forbidden),
            // Some issuers answer a wrong password with 422 or 410. Repeated attempts would lock the account.
            (Grant::Login, 400..=499) => Self::LoginRejected(Refusal::Other),
            (Grant::Refresh, 300..=499) => Self::RefreshRejected,
            (_, 500..=599) | (Grant::Refresh, _) => Self::Unavailable { status, retry_after },
            (Grant::Login, _) => Self::Unusable(AnswerError::WrongStatus),
        }
    }

    /// What a status code other than 200 means if it comes with a web page: instead of an issuer that rejects, a firewall or
    /// portal answered. For a refresh, the usual rejections are accepted nevertheless: the login that follows clarifies it.
    #[must_use]
    pub fn of_page(status: u16, grant: Grant, retry_after: Option<SignedDuration>) -> Self {
        match Self::of_status(status, grant, retry_after) {
            Self::LoginRejected(_) => Self::Blocked { status },
            Self::RefreshRejected if !matches!(status, 300..=401 | 404 | 405 | 410 | 415) => {
                Self::Blocked { status }
            }
            other => other,
        }
    }

    /// The consequence for the next call.
    #[must_use]
    pub fn class(&self) -> RetryClass {
        let transient = |sent, retry_after| RetryClass::Transient { sent, retry_after };
        match *self {
            Self::Transport(error) => transient(error.sent, None),
            Self::NotNow { retry_after, .. } => transient(Sent::No, retry_after),
            Self::NotTheIssuer { .. } => RetryClass::Inconclusive { sent: Sent::No },
            Self::Broken(_) => RetryClass::Inconclusive { sent: Sent::Maybe },
            Self::Blocked { .. } => RetryClass::Blocked,
            Self::Unavailable { retry_after, .. } => transient(Sent::Maybe, retry_after),
            Self::LoginRejected(_) => RetryClass::Rejected,
            Self::RefreshRejected => RetryClass::Refused,
            Self::Redirected | Self::PathWrong => RetryClass::Misconfigured,
            Self::Unusable(_) => RetryClass::Malformed,
        }
    }

    /// What happened, as the core sees it.
    #[must_use]
    pub fn cause(&self) -> CallFailure {
        CallFailure::Unclear(match *self {
            Self::Transport(error) => return CallFailure::NoAnswer(error.connection_failure),
            Self::LoginRejected(refusal) => {
                return CallFailure::LoginRejected { forbidden: refusal == Refusal::Forbidden };
            }
            Self::RefreshRejected => return CallFailure::RefreshRejected,
            Self::NotNow { status, .. } | Self::Unavailable { status, .. } => {
                return CallFailure::IssuerUnavailable { status };
            }
            Self::NotTheIssuer { status: MISDIRECTED } => UnclearAnswer::Misdirected,
            Self::NotTheIssuer { .. } | Self::Blocked { .. } => UnclearAnswer::Blocked,
            Self::Broken(_) => UnclearAnswer::Incomplete,
            Self::Redirected => UnclearAnswer::Redirect,
            Self::PathWrong => UnclearAnswer::PathWrong,
            Self::Unusable(defect) => UnclearAnswer::Invalid { defect: defect.describe() },
        })
    }

    /// The failure of a call; `password_has_blank` says what the password that it presented holds.
    #[must_use]
    pub fn failure(&self, password_has_blank: bool) -> Failure {
        Failure { class: self.class(), cause: self.cause(), password_has_blank }
    }

    /// The outcome as a metric's label: a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Transport(error) => error.outcome(),
            Self::Broken(connection_failure) => TransportError::perhaps_sent(*connection_failure).outcome(),
            Self::LoginRejected(_) => "rejected",
            Self::RefreshRejected => "refused",
            Self::NotNow { .. } => "not_now",
            Self::Unavailable { .. } => "unavailable",
            Self::NotTheIssuer { .. } | Self::Blocked { .. } => "blocked",
            Self::Redirected | Self::PathWrong => "misconfigured",
            Self::Unusable(_) => "malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::endpoint::Origin;
    use crate::core::reason::Reason;

    fn message(error: IssuerError, url: &str) -> String {
        Reason::of_call(&error.failure(false), "billing-login", &Origin::parse(url).unwrap()).message()
    }

    /// Every failure that is an answer to a login, and no plain rejection.
    fn unclear_answers() -> impl Iterator<Item = IssuerError> {
        let elsewhere = IssuerError::NotTheIssuer { status: MISDIRECTED };
        let blocked = IssuerError::Blocked { status: 403 };
        let broken = IssuerError::Broken(ConnectionFailure::Lost);
        [IssuerError::Redirected, IssuerError::PathWrong, blocked, elsewhere, broken]
            .into_iter()
            .chain(AnswerError::ALL.map(IssuerError::Unusable))
    }

    #[test]
    fn every_status_of_a_login_has_its_class() {
        let no = RetryClass::Transient { sent: Sent::No, retry_after: None };
        let maybe = RetryClass::Transient { sent: Sent::Maybe, retry_after: None };
        let cases = [
            (vec![400, 401, 402, 403, 409, 410, 413, 418, 422, 423, 499], RetryClass::Rejected),
            (vec![301, 302, 307, 308, 404, 405, 415], RetryClass::Misconfigured),
            (vec![408, 425, 429], no),
            (vec![407, 421, 451], RetryClass::Inconclusive { sent: Sent::No }),
            (vec![500, 502, 503, 504, 599], maybe),
            (vec![100, 101, 199, 201, 204, 206, 600, 999], RetryClass::Malformed),
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
        for status in [400, 401, 402, 403, 404, 405, 410, 415, 423, 302] {
            assert_eq!(
                IssuerError::of_status(status, Grant::Refresh, None).class(),
                RetryClass::Refused,
                "{status}"
            );
        }
        let limited = IssuerError::of_status(429, Grant::Refresh, Some(SignedDuration::from_secs(7)));
        let asked = Some(SignedDuration::from_secs(7));
        assert_eq!(limited.class(), RetryClass::Transient { sent: Sent::No, retry_after: asked });
        for status in [407, 421, 451] {
            let elsewhere = IssuerError::of_status(status, Grant::Refresh, None);
            assert_eq!(elsewhere.class(), RetryClass::Inconclusive { sent: Sent::No }, "{status}");
        }
        let failed = IssuerError::of_status(503, Grant::Refresh, None);
        assert_eq!(failed.class(), RetryClass::Transient { sent: Sent::Maybe, retry_after: None });
    }

    #[test]
    fn a_page_where_the_issuer_would_say_no_is_none_of_its_answers() {
        use RetryClass::{Blocked, Misconfigured, Refused};
        let no = RetryClass::Transient { sent: Sent::No, retry_after: None };
        let maybe = RetryClass::Transient { sent: Sent::Maybe, retry_after: None };
        let elsewhere = RetryClass::Inconclusive { sent: Sent::No };
        let cases = [
            (vec![400, 401, 403, 406, 418, 422], Blocked, None),
            (vec![403, 406, 418, 422], Blocked, Some(Blocked)),
            (vec![400, 401, 410], Blocked, Some(Refused)),
            (vec![302, 404, 405, 415], Misconfigured, Some(Refused)),
            (vec![429], no, Some(no)),
            (vec![407, 421, 451], elsewhere, Some(elsewhere)),
            (vec![503], maybe, Some(maybe)),
        ];
        for (statuses, login, refresh) in cases {
            for status in statuses {
                assert_eq!(IssuerError::of_page(status, Grant::Login, None).class(), login, "{status}");
                let found = IssuerError::of_page(status, Grant::Refresh, None).class();
                assert!(refresh.is_none_or(|refresh| found == refresh), "{status}: {found:?}");
            }
        }
    }

    #[test]
    fn every_unclear_answer_is_one_that_a_login_pays_for_and_has_a_message_of_its_own() {
        let mut messages: Vec<_> =
            unclear_answers().map(|error| message(error, "https://issuer.example")).collect();
        messages.sort();
        let count = messages.len();
        messages.dedup();
        assert_eq!(messages.len(), count);
        assert!(unclear_answers().all(|error| error.class().is_answer()));
    }

    #[test]
    fn a_page_at_a_plain_address_may_be_that_of_a_port_of_tls() {
        for (url, is_plain) in [("http://issuer.example", true), ("https://issuer.example", false)] {
            let message = message(IssuerError::Blocked { status: 403 }, url);
            assert_eq!(message.contains("use https"), is_plain, "{message}");
        }
    }

    #[test]
    fn a_403_names_the_missing_authorization() {
        for (status, is_named) in [(403, true), (401, false)] {
            let error = IssuerError::of_status(status, Grant::Login, None);
            let message = message(error, "https://issuer.example");
            assert_eq!(message.contains("API Access"), is_named, "{message}");
        }
    }
}
