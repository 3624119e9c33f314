//! The responses for requests that are rejected, or not answered by the upstream.

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use jiff::SignedDuration;

use super::Body;
use crate::core::connection_failure::{ConnectionFailure, Wording};
use crate::core::time::Moment;
use crate::sidecar::source::TokenState;

/// When to retry, if it is unknown when there will be a token.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// Why the proxy answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request asks for a tunnel, or for the token.
    Method,
    /// Not the path of a request to this proxy.
    Target,
    /// A host name that could be an attacker's (DNS rebinding).
    Host,
    /// A page in a browser that comes from elsewhere.
    Page,
    /// The body is encoded for its way in more than chunks.
    Encoding,
    /// The body ended early, or stood still.
    Body,
    /// A GET or HEAD with a body of unknown length over 64 KiB.
    Length,
    /// The body of a GET or HEAD, of unknown length, did not arrive in time.
    SlowBody,
    /// Too many GET and HEAD bodies of unknown length are in progress.
    KeptBodies,
    /// There is no token to send.
    NoToken {
        /// Its name, for programs.
        reason: &'static str,
        /// For people.
        message: String,
        /// When to ask again.
        seconds: i64,
    },
    /// The token died before there was a connection to the upstream.
    ConnectedTooLate,
    /// The upstream cannot be reached.
    UpstreamUnreachable(ConnectionFailure),
    /// TLS with the upstream failed, for example because of an untrusted certificate.
    UpstreamTls(ConnectionFailure),
    /// The upstream ended the connection without an answer.
    UpstreamBroken,
    /// The upstream's answer cannot be passed on.
    UpstreamMalformed,
    /// There are too many concurrent requests.
    Busy,
    /// There was no file descriptor for a connection to the upstream.
    Descriptors,
}

impl Refusal {
    /// The rejection for a source without a usable token.
    pub(super) fn no_token(state: &TokenState, now: Moment) -> Self {
        let (reason, message) = match (&state.error, &state.token) {
            (Some(error), _) => (error.name(), error.message()),
            (None, None) => ("NoTokenYet", "There is no token yet; retry".into()),
            (None, Some(_)) => {
                ("TokenExpired", "The token has expired and there is no new one yet; retry".into())
            }
        };
        let pause = state.next_attempt.map_or(ASK_AGAIN, |next| next.remaining(now));
        Self::NoToken { reason, message, seconds: pause.as_secs().max(1) }
    }

    /// When it is worth asking again, in seconds, if that is known.
    fn retry_after(&self) -> Option<i64> {
        match self {
            Self::NoToken { seconds, .. } => Some(*seconds),
            // There may be a newer token already.
            Self::ConnectedTooLate | Self::KeptBodies | Self::Busy | Self::Descriptors => Some(1),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target => StatusCode::BAD_REQUEST,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Page => StatusCode::FORBIDDEN,
            Self::Encoding => StatusCode::NOT_IMPLEMENTED,
            Self::Body | Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Length => StatusCode::LENGTH_REQUIRED,
            Self::NoToken { .. }
            | Self::ConnectedTooLate
            | Self::KeptBodies
            | Self::Busy
            | Self::Descriptors => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamUnreachable(_)
            | Self::UpstreamTls(_)
            | Self::UpstreamBroken
            | Self::UpstreamMalformed => StatusCode::BAD_GATEWAY,
        }
    }

    /// Its name, for programs.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Method => "MethodRefused",
            Self::Target => "TargetRefused",
            Self::Host => "HostRefused",
            Self::Page => "PageRefused",
            Self::Encoding => "TransferEncodingRefused",
            Self::Body => "BodyIncomplete",
            Self::Length => "LengthRequired",
            Self::SlowBody => "BodyTooSlow",
            Self::KeptBodies => "TooManyBodies",
            Self::NoToken { reason, .. } => reason,
            Self::ConnectedTooLate => "TokenExpired",
            Self::UpstreamUnreachable(_) => "UpstreamUnreachable",
            Self::UpstreamTls(_) => "UpstreamTlsFailed",
            Self::UpstreamBroken => "UpstreamBroken",
            Self::UpstreamMalformed => "UpstreamMalformed",
            Self::Busy => "TooManyRequests",
            Self::Descriptors => "TooManyOpenFiles",
        }
    }

    /// For people: what is wrong, and the cure.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Method => "Send other methods; this proxy does not support tunnels (CONNECT), and never shows the token (TRACE, TRACK, DEBUG)".into(),
            Self::Target => "Call this proxy with paths, like a server, and do not set it as HTTP_PROXY; it forwards to one upstream".into(),
            Self::Host => "Call this proxy by its address or as localhost, with one Host header, or allow the name with --proxy-allow-host; it does not accept this host name".into(),
            Self::Page => "This proxy serves programs, not web pages; a server that forwards browser requests must drop Origin and Sec-Fetch-Site, or allow the page's host with --proxy-allow-host".into(),
            Self::Encoding => "Send the body without a Transfer-Encoding, or chunked; this proxy accepts no other".into(),
            Self::Body => "The body was incomplete; send it again".into(),
            Self::Length => "Add Content-Length; a GET or HEAD with a body over 64 KiB must state its length".into(),
            Self::SlowBody => "Add Content-Length, or send the body faster; without a length, the body of a GET or HEAD must arrive within 30 seconds".into(),
            Self::KeptBodies => "Add Content-Length, or retry; too many GET and HEAD bodies of unknown length are in progress".into(),
            Self::NoToken { message, .. } => message.clone(),
            Self::ConnectedTooLate => "The token expired before the upstream was connected, and nothing was sent; retry".into(),
            Self::UpstreamUnreachable(connection_failure) | Self::UpstreamTls(connection_failure) => connection_failure.problem("the upstream", Wording::UPSTREAM),
            Self::UpstreamBroken => "The upstream closed the connection without a response; it may have processed the request".into(),
            Self::UpstreamMalformed => "The upstream's response cannot be forwarded: it is not HTTP, has more than 1,000 header fields or 64 KiB of them, or a Transfer-Encoding other than chunked".into(),
            Self::Busy => "Retry; this proxy has reached its limit of concurrent requests, 256 or a third of its file descriptors".into(),
            Self::Descriptors => "Raise the sidecar's limit of open files; there is no file descriptor left for a connection to the upstream, and nothing was sent".into(),
        }
    }

    /// What the program gets.
    pub(super) fn answer(&self) -> Response<Body> {
        let text = serde_json::json!({"reason": self.reason(), "message": self.message()});
        let body = Full::from(format!("{text}\n")).map_err(|never| match never {});
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::sidecar::error::SourceError;
    use crate::core::sidecar::token::HeldToken;
    use crate::core::testing::{at, token};

    #[test]
    fn a_program_learns_why_there_is_no_token_and_when_to_ask_again() {
        let nothing = TokenState::default();
        let dead = TokenState {
            token: Some(Arc::new(HeldToken::issued(&token("t", at(0), 60)))),
            ..TokenState::default()
        };
        let error =
            Some(SourceError::LoginRejected { forbidden: false, proven: true, blank: false, delay: None });
        let rejected = TokenState { error, next_attempt: Some(at(100)), ..dead.clone() };
        for (state, reason, seconds) in
            [(nothing, "NoTokenYet", "5"), (dead, "TokenExpired", "5"), (rejected, "LoginRejected", "40")]
        {
            let refusal = Refusal::no_token(&state, at(60));
            let answer = refusal.answer();
            assert_eq!((refusal.reason(), answer.status()), (reason, StatusCode::SERVICE_UNAVAILABLE));
            assert_eq!(answer.headers()[RETRY_AFTER], seconds, "{reason}");
        }
    }
}
