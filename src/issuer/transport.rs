//! The seam between the issuer's client and whatever carries its requests.

use std::time::Duration;

use futures::future::BoxFuture;
use url::Url;
use zeroize::Zeroizing;

use super::encoding::decode;
use super::trust::Trust;
use super::wire::BYTE_ORDER_MARK;
use crate::core::connection_failure::ConnectionFailure;
use crate::core::retry::Sent;

/// The most of an answer that is read, in bytes. A real one holds about 2 KiB.
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
    /// Whether it is a web page, see [`is_page`].
    pub is_page: bool,
    /// What it came over, by the transport's own count; for [`Transport::retire`].
    pub connection: u64,
}

/// Whether a rejection is a web page or plain text: the issuer sends JSON or no body, so another server answered. The
/// beginning of the body decides, and the content type only if that is inconclusive.
#[must_use]
pub fn is_page(content_type: Option<&str>, content_encoding: Option<&str>, body: &[u8]) -> bool {
    let kind = content_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    let is_html = || kind.starts_with("text/html") || kind.starts_with("application/xhtml");
    if body.is_empty() {
        return is_html();
    }
    match decode(Zeroizing::new(body.to_vec()), content_encoding) {
        Ok(text) => first_byte(&text).map_or_else(is_html, |first| !matches!(first, b'{' | b'[' | b'"')),
        Err(_) => !kind.contains("json"),
    }
}

/// The first byte of a text that is not white space.
pub(super) fn first_byte(text: &[u8]) -> Option<u8> {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start().first().copied()
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

    /// An answer was none of the issuer's: the next call to this address does not go over what brought it.
    fn retire(&self, _url: &Url, _trust: &Trust, _connection: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, what compresses it, the first bytes, and whether it is a page.
    type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [u8], bool);

    #[test]
    fn a_page_is_known_by_its_first_character_and_without_one_by_its_type() {
        let gzip = [&b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x02\0\xfd\xff{}"[..], &[0; 8]].concat();
        let html = Some("text/html; charset=utf-8");
        let (json, plain) = (Some("application/json"), Some("text/plain"));
        let cases: [Case<'_>; 17] = [
            (html, None, b"", true),
            (Some("application/xhtml+xml"), None, b" \r\n", true),
            (Some("Text/HTML"), None, b"denied", true),
            (html, None, b"\xef\xbb\xbf {\"message\": \"no\"}", false),
            (None, None, b"<!doctype html>", true),
            (plain, None, b"\xef\xbb\xbf\r\n <html>", true),
            (plain, None, b"RBAC: access denied", true),
            (plain, None, b"[\"no\"]", false),
            (plain, None, b"\"no\"", false),
            (json, None, b"{\"message\": \"<b>no</b>\"}", false),
            (json, None, b"<html>", true),
            (json, None, b"", false),
            (plain, None, b"\r\n", false),
            (None, None, b"", false),
            (plain, Some("gzip"), &gzip, false),
            (json, Some("br"), b"\x0b\x02\x80", false),
            (html, Some("br"), b"\x0b\x02\x80", true),
        ];
        for (content_type, content_encoding, body, expected) in cases {
            assert_eq!(is_page(content_type, content_encoding, body), expected, "{content_type:?} {body:?}");
        }
    }
}
