//! The seam between the issuer's client and whatever carries its requests.

use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderMap;
use url::Url;
use zeroize::Zeroizing;

use super::trust::Trust;
use crate::core::connection_failure::ConnectionFailure;
use crate::core::retry::Sent;

/// The most of an issuer's answer that is read. A real one holds about 2 KiB.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;

/// A JSON POST. Its body contains a password or a refresh token, so it has no Debug.
pub struct Request {
    /// The URL of the request.
    pub url: Url,
    /// The JSON document.
    pub body: Zeroizing<Vec<u8>>,
    /// Whose certificate is accepted there.
    pub trust: Trust,
    /// How long the whole exchange may take.
    pub limit: Duration,
    /// More headers. An issuer gets none.
    pub headers: HeaderMap,
}

/// The response. The body is read only on success; it contains tokens, so there is no Debug.
#[derive(Default)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The `Retry-After` header as it stood.
    pub retry_after: Option<String>,
    /// The `Date` header as it stood.
    pub date: Option<String>,
    /// The `Content-Encoding` header as it stood.
    pub content_encoding: Option<String>,
    /// The body of a 200, whole and as it was sent; `None` when it exceeded 64 KiB.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// Why the body of a 200 could not be read to its end, if it could not.
    pub broken: Option<ConnectionFailure>,
    /// Whether it is a web page, see [`is_page`](super::is_page).
    pub is_page: bool,
    /// What it came over, by the transport's own count; for [`Transport::retire`].
    pub connection: u64,
}

/// Why no answer came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .connection_failure.phrase())]
pub struct TransportError {
    /// Whether the request may have been carried out.
    pub sent: Sent,
    /// What came between.
    pub connection_failure: ConnectionFailure,
}

impl TransportError {
    /// The request was certainly not sent.
    #[must_use]
    pub const fn not_sent(connection_failure: ConnectionFailure) -> Self {
        Self { sent: Sent::No, connection_failure }
    }

    /// The request may have been carried out.
    #[must_use]
    pub const fn perhaps_sent(connection_failure: ConnectionFailure) -> Self {
        Self { sent: Sent::Maybe, connection_failure }
    }

    /// As a metric's label: a closed set.
    pub(super) fn outcome(self) -> &'static str {
        match (self.sent, self.connection_failure) {
            (_, ConnectionFailure::TimedOut) => "timeout",
            (Sent::Maybe, _) => "broken",
            (Sent::No, connection_failure) if connection_failure.is_tls() => "tls",
            (Sent::No, _) => "unreachable",
        }
    }
}

/// Carries a request to an issuer. Every implementation keeps to the request's time limit and follows no redirect.
pub trait Transport: Send + Sync {
    /// Sends a request and waits for its answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>>;

    /// The response did not come from the issuer: the next call to this address uses another connection.
    fn retire(&self, _url: &Url, _trust: &Trust, _connection: u64) {}
}
