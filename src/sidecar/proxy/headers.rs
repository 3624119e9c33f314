//! What becomes of the head of a request and of an answer on the way through: plain functions of values.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};

use super::refusal::Refusal;
use crate::core::token::AccessToken;
use crate::sidecar::callers::Callers;

/// Headers that concern one connection only (RFC 9110 §7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// End-to-end headers, whatever `Connection` names (RFC 9110 §7.6.1): without them a body would be lost or misread.
const END_TO_END: [HeaderName; 5] = [HOST, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING];
/// Methods that open a tunnel, or whose response repeats the request with the token, which the program must not see.
const REFUSED_METHODS: [&str; 4] = ["CONNECT", "TRACE", "TRACK", "DEBUG"];
/// How the issuer's APIs mark the answer to a token that has expired.
const TOKEN_EXPIRED: HeaderName = HeaderName::from_static("token-expired");

/// The head of a request to the upstream, without its token. It can be sent twice.
pub(super) struct RequestHead {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl RequestHead {
    /// The headers to forward: without hop-by-hop headers, authorization and host of the program.
    pub(super) fn of(parts: &Parts, scheme: &Scheme, authority: &Authority) -> Result<Self, Refusal> {
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query(path);
        let uri = uri.build().map_err(|_| Refusal::Target)?;
        let mut headers = parts.headers.clone();
        let takes_trailers = headers.get_all(TE).iter().any(|value| names(value, "trailers"));
        strip_hop_by_hop(&mut headers);
        join_cookies(&mut headers);
        // The body is already being sent: the listener answered `Expect: 100-continue`.
        for name in [AUTHORIZATION, HOST, EXPECT] {
            headers.remove(name);
        }
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if wants_upgrade(parts) {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        Ok(Self { method: parts.method.clone(), uri, headers })
    }

    /// Whether the request changes nothing, so that it may be carried out twice.
    pub(super) fn is_safe(&self) -> bool {
        [Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method)
    }

    /// The request with this token.
    pub(super) fn request<B>(&self, token: &AccessToken, body: B) -> Result<Request<B>, Refusal> {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| Refusal::Target)?;
        bearer.set_sensitive(true);
        let mut request = Request::new(body);
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        Ok(request)
    }
}

/// Whether the proxy may carry this request at all.
pub(super) fn admit(parts: &Parts, callers: &Callers) -> Result<(), Refusal> {
    if REFUSED_METHODS.iter().any(|it| it.eq_ignore_ascii_case(parts.method.as_str())) {
        return Err(Refusal::Method);
    }
    // With HTTP/2 every request names a host; with HTTP/1 only those do that are meant for a forward proxy.
    if parts.version < Version::HTTP_2 && parts.uri.authority().is_some() {
        return Err(Refusal::Target);
    }
    if !callers.is_known_host(parts) {
        return Err(Refusal::Host);
    }
    if callers.are_foreign_pages(parts) {
        return Err(Refusal::Page);
    }
    // Of an encoding that ends here, the upstream would get the bytes and not the name.
    if is_encoded(&parts.headers) {
        return Err(Refusal::Encoding);
    }
    Ok(())
}

/// Whether a body is encoded for its way (RFC 9112 §7) in more than chunks.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let is_plain = |name: &[u8]| {
        let name = name.trim_ascii();
        name.is_empty() || ["chunked", "identity"].iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
    };
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    values.any(|value| !value.as_bytes().split(|byte| *byte == b',').all(is_plain))
}

/// Whether the program asks to go on with WebSocket, for which it has to speak HTTP/1.1. Nothing else goes on: with h2c,
/// more requests would pass unseen.
pub(super) fn wants_upgrade(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts.headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && parts.headers.get_all(CONNECTION).iter().any(|value| names(value, "upgrade"))
}

/// Whether the upstream calls the token expired.
pub(super) fn says_token_expired(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::UNAUTHORIZED
        && headers.get(TOKEN_EXPIRED).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Takes away what concerns one connection only.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Of the two, only the encoding counts (RFC 9112 §6.3), and that ends here.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// HTTP/2 may part cookies, HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Whether a list contains a word.
fn names(value: &HeaderValue, word: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, token};

    fn parts(version: Version, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let builder = Request::builder().version(version).uri(uri);
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap().into_parts().0
    }

    /// What the upstream gets of these headers, one line each, in order.
    fn sent(version: Version, headers: &[(&str, &str)]) -> Vec<String> {
        let head = RequestHead::of(
            &parts(version, "/a?b=%2F", headers),
            &Scheme::HTTPS,
            &Authority::from_static("up.example:8443"),
        );
        let request = head.unwrap().request(&token("secret", at(0), 60).access, ()).unwrap();
        assert_eq!(request.uri(), "https://up.example:8443/a?b=%2F");
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let mut lines: Vec<String> = request.headers().iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn the_upstream_gets_our_token_and_nothing_that_concerns_the_programs_connection() {
        let lines = sent(
            Version::HTTP_11,
            &[
                ("authorization", "Bearer forged"),
                ("authorization", "Basic forged"),
                ("host", "127.0.0.1:9441"),
                ("connection", "close, X-Inner , authorization"),
                ("x-inner", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic abc"),
                ("proxy-connection", "keep-alive"),
                ("te", "gzip"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAAQAAP__"),
                ("expect", "100-continue"),
                ("x-outer", "2"),
            ],
        );
        assert_eq!(lines, ["authorization: Bearer secret", "x-outer: 2"]);
    }

    #[test]
    fn the_type_of_a_body_is_forwarded_even_if_connection_names_it() {
        let lines = sent(
            Version::HTTP_11,
            &[
                ("connection", "Content-Length, content-type,content-encoding, x-inner"),
                ("content-length", "5"),
                ("content-type", "text/plain"),
                ("content-encoding", "gzip"),
                ("x-inner", "1"),
            ],
        );
        let body = ["content-encoding: gzip", "content-length: 5", "content-type: text/plain"];
        assert_eq!(lines, [&["authorization: Bearer secret"], &body[..]].concat());
    }

    #[test]
    fn websocket_goes_on_where_the_program_asks_for_it_with_http_1_1_and_nothing_else_does() {
        let second = [
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQ"),
        ];
        assert_eq!(sent(Version::HTTP_11, &second), ["authorization: Bearer secret"]);
        let asked = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        let lines = sent(Version::HTTP_11, &asked);
        assert_eq!(lines, ["authorization: Bearer secret", "connection: upgrade", "upgrade: websocket"]);
        for version in [Version::HTTP_10, Version::HTTP_2] {
            assert_eq!(sent(version, &asked), ["authorization: Bearer secret"], "{version:?}");
        }
    }

    #[test]
    fn trailers_stay_possible_and_cookies_become_one_header() {
        let lines = sent(Version::HTTP_2, &[("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2")]);
        assert_eq!(lines, ["authorization: Bearer secret", "cookie: a=1; b=2", "te: trailers"]);
    }

    #[test]
    fn a_request_for_another_host_or_a_tunnel_is_not_carried() {
        let (local, callers) = ([("host", "localhost:9441")], Callers::of_this_machine());
        let admitted = |uri, headers: &[_]| admit(&parts(Version::HTTP_11, uri, headers), &callers);
        assert_eq!(admitted("/", &local), Ok(()));
        assert_eq!(admitted("/", &[("host", "evil.example")]), Err(Refusal::Host));
        assert_eq!(admitted("/", &[local[0], ("origin", "http://203.0.113.5")]), Err(Refusal::Page));
        assert_eq!(admitted("http://127.0.0.1:9441/", &local), Err(Refusal::Target));
        for method in ["CONNECT", "TRACE", "trace", "TRACK", "Debug"] {
            let mut parts = parts(Version::HTTP_11, "/", &local);
            parts.method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(admit(&parts, &callers), Err(Refusal::Method), "{method}");
        }
        let second = parts(Version::HTTP_2, "http://127.0.0.1:9441/", &[]);
        assert_eq!(admit(&second, &callers), Ok(()), "HTTP/2 names the host there");
    }

    #[test]
    fn a_body_that_is_encoded_for_its_way_in_more_than_chunks_is_not_carried() {
        for (encoding, is_refused) in [
            ("chunked", false),
            ("Chunked", false),
            ("identity, chunked", false),
            ("gzip, chunked", true),
            ("gzip", true),
            ("chunked;q=1", true),
            ("chunked, deflate", true),
        ] {
            let parts =
                parts(Version::HTTP_11, "/", &[("host", "localhost"), ("transfer-encoding", encoding)]);
            let outcome = admit(&parts, &Callers::of_this_machine());
            assert_eq!(outcome.is_err(), is_refused, "{encoding}: {outcome:?}");
        }
    }

    #[test]
    fn of_an_answer_with_two_framings_the_length_is_not_passed_on() {
        let mut headers = HeaderMap::from_iter([
            (TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
            (CONTENT_LENGTH, HeaderValue::from_static("5")),
        ]);
        strip_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_token_is_expired_when_a_401_says_so() {
        let headers =
            |value: &'static str| HeaderMap::from_iter([(TOKEN_EXPIRED, HeaderValue::from_static(value))]);
        assert!(says_token_expired(StatusCode::UNAUTHORIZED, &headers("true")));
        assert!(says_token_expired(StatusCode::UNAUTHORIZED, &headers("True")));
        assert!(!says_token_expired(StatusCode::UNAUTHORIZED, &headers("false")));
        assert!(!says_token_expired(StatusCode::UNAUTHORIZED, &HeaderMap::new()));
        assert!(!says_token_expired(StatusCode::FORBIDDEN, &headers("true")));
    }
}
