//! The seam between the issuer's client and whatever carries its requests.

use std::time::Duration;

use futures::future::BoxFuture;
use url::Url;
use zeroize::Zeroizing;

use super::trust::Trust;
use crate::core::obstacle::Obstacle;
use crate::core::retry::Sent;

/// The most of an answer that is read, in bytes. A real one holds about 2 KiB.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;

/// A JSON POST. Its body holds a password or a refresh token, so it has no Debug.
pub struct Request {
    /// Where to.
    pub url: Url,
    /// The JSON document.
    pub body: Zeroizing<Vec<u8>>,
    /// Whose certificate is accepted there.
    pub trust: Trust,
    /// How long the whole exchange may take.
    pub limit: Duration,
}

/// What came back. The body is read only from an answer of success; it holds tokens, so there is no Debug.
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
    /// Whether it is an HTML page, see [`is_page`].
    pub is_page: bool,
}

/// Whether an answer is an HTML page, by its `Content-Type` and by how its body begins: the issuer sends JSON or no body,
/// so something before it has answered.
#[must_use]
pub fn is_page(content_type: Option<&str>, beginning: &[u8]) -> bool {
    let kind = content_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
    kind.starts_with("text/html") || kind.starts_with("application/xhtml") || text.starts_with(b"<")
}

/// Why no answer came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .obstacle.phrase())]
pub struct TransportError {
    /// Whether the request may have been carried out.
    pub sent: Sent,
    /// What came between.
    pub obstacle: Obstacle,
}

impl TransportError {
    /// The request was certainly not sent.
    #[must_use]
    pub const fn not_sent(obstacle: Obstacle) -> Self {
        Self { sent: Sent::No, obstacle }
    }

    /// The request may have been carried out.
    #[must_use]
    pub const fn perhaps_sent(obstacle: Obstacle) -> Self {
        Self { sent: Sent::Maybe, obstacle }
    }

    /// As a metric's label: a closed set.
    pub(super) fn outcome(self) -> &'static str {
        match (self.sent, self.obstacle) {
            (_, Obstacle::TimedOut) => "timeout",
            (Sent::Maybe, _) => "broken",
            (Sent::No, obstacle) if obstacle.is_tls() => "tls",
            (Sent::No, _) => "unreachable",
        }
    }
}

/// Carries a request to an issuer. Every implementation keeps to the request's time limit and follows no redirect.
pub trait Transport: Send + Sync {
    /// Sends a request and waits for its answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_type_or_its_first_character() {
        let cases: [(Option<&str>, &[u8], bool); 9] = [
            (Some("text/html; charset=utf-8"), b"", true),
            (Some("Text/HTML"), b"denied", true),
            (Some("application/xhtml+xml"), b"", true),
            (None, b"<!doctype html>", true),
            (Some("text/plain"), b"\xef\xbb\xbf\r\n <html>", true),
            (Some("application/json"), b"{\"message\": \"<b>no</b>\"}", false),
            (Some("application/json"), b"", false),
            (None, b"", false),
            (None, b"denied", false),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(is_page(content_type, body), expected, "{content_type:?} {body:?}");
        }
    }
}
