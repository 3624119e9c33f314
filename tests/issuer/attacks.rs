//! Attacks by the owner of a name, a Secret or a network on the way.

use std::sync::Arc;

use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::endpoint::{AllowList, Endpoint, Origin, RefreshShape};
use idissuer::core::retry::RetryClass;
use idissuer::issuer::{AnswerError, CaBundle, IssuerError, TransportError};
use jiff::SignedDuration;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Caller, GOOD_BODY, RawServer, USER, good_answer, http};

#[test]
fn a_text_that_hides_its_host_or_holds_more_than_an_origin_is_no_origin() {
    for text in [
        "https://api.idissuer.pl@evil.example",
        "https://api.idissuer.pl:443@evil.example",
        "https://evil.example#api.idissuer.pl",
        "https://evil.example?api.idissuer.pl",
        "https://evil.example\\@api.idissuer.pl",
        "https:\\\\api.idissuer.pl",
        "https:api.idissuer.pl",
        "https:/api.idissuer.pl",
        "https:///api.idissuer.pl",
        "https://api.idissuer.pl//",
        "https://api.idissuer.pl/.",
        "https://api.idissuer.pl/a/..",
        "https://api.idissuer.pl/%2e%2e",
        "https://api.idissuer.pl\\",
        " https://api.idissuer.pl",
        "https://api.idissuer.pl\n",
        "https://api.idis\tsuer.pl",
        "https://api.idissuer.pl\u{0}",
        "https://api%00.idissuer.pl",
        "https://api.idissuer.pl:99999",
        "https://",
        "https://:443",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "blob:https://api.idissuer.pl/x",
        "unix:/run/x",
    ] {
        assert!(Origin::parse(text).is_err(), "{text:?} is {}", Origin::parse(text).unwrap());
    }
}

#[test]
fn hosts_that_only_look_like_the_allowed_one_are_not_allowed() {
    let allowed = AllowList::new(Origin::parse("https://api.idissuer.pl").unwrap(), Vec::new());
    for text in [
        "https://api.idissuer.pl.",
        "https://api.idissuer.pl.evil.example",
        "https://xapi.idissuer.pl",
        "https://idissuer.pl",
        "https://api.idissuer.pl:444",
        "http://api.idissuer.pl",
        "http://api.idissuer.pl:443",
        "https://аpi.idissuer.pl",
        "https://127.0.0.1",
        "https://[::1]",
    ] {
        let Ok(origin) = Origin::parse(text) else { continue };
        let endpoint = Endpoint::new(origin, None, None, RefreshShape::Flat).unwrap();
        assert!(!allowed.permits(&endpoint.token), "{text}");
    }
    for text in ["https://api.idissuer.pl:443/", "HTTPS://API.IDISSUER.PL", "https://api.idissuer.pl:0443"] {
        let endpoint = Endpoint::new(Origin::parse(text).unwrap(), None, None, RefreshShape::Flat).unwrap();
        assert!(allowed.permits(&endpoint.token), "{text} is the same");
    }
}

#[test]
fn no_path_smuggles_a_host_a_query_or_a_line_break() {
    let origin = || Origin::parse("https://api.idissuer.pl").unwrap();
    for path in [
        "@evil.example",
        "//evil.example",
        "/\\evil.example",
        "/a/../../b",
        "/a/%2e%2e/b",
        "/a?b=c",
        "/a#b",
        "/a b",
        "/a\r\nX: y",
        "/a\u{0}",
        "/ą",
        "/a//b",
        "/.",
        "/..",
        "/a/.",
        "/%",
        "/a;b",
        "/a:b",
        "a",
        "",
        &format!("/{}", "a".repeat(256)),
    ] {
        assert!(Endpoint::new(origin(), Some(path), None, RefreshShape::Flat).is_err(), "login at {path:?}");
        assert!(
            Endpoint::new(origin(), None, Some(path), RefreshShape::Flat).is_err(),
            "refresh at {path:?}"
        );
    }
    let longest = format!("/{}", "a".repeat(255));
    assert!(Endpoint::new(origin(), Some(&longest), Some("/"), RefreshShape::Flat).is_ok());
}

#[tokio::test]
async fn line_breaks_in_a_password_stay_inside_the_json() {
    let server = RawServer::answering(good_answer()).await;
    let evil = "x\"}\r\n\r\nGET /evil HTTP/1.1\r\nX-Evil: 1\r\n\r\n{\"";
    Caller::of(&server.url()).pair(USER, evil).login().await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v2/auth/token HTTP/1.1\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("evil") && !body.contains('\n'), "{head}\n{body}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((json["username"].as_str(), json["password"].as_str()), (Some(USER), Some(evil)));
}

#[tokio::test]
async fn an_answer_without_a_request_is_never_used() {
    let planted = http("200 OK", "", &GOOD_BODY.replace("abc", "planted"));
    let server = RawServer::answering(format!("{}{planted}", good_answer())).await;
    let caller = Caller::of(&server.url());
    for _ in 0..5 {
        let token = caller.login().await.map(|pair| pair.token.access.expose().to_owned());
        assert_ne!(token.as_deref(), Ok("planted"));
    }
}

#[tokio::test]
async fn an_answer_planted_on_a_kept_connection_is_never_used() {
    let (plant, planted) = tokio::sync::mpsc::unbounded_channel();
    let server = RawServer::start(move |mut stream, requests| {
        let plant = plant.clone();
        async move {
            requests.read(&mut stream).await;
            stream.write_all(good_answer().as_bytes()).await.unwrap();
            // Separately, once the first was read: on an idle connection.
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            let evil = http("200 OK", "", &GOOD_BODY.replace("abc", "planted"));
            let _ = stream.write_all(evil.as_bytes()).await;
            let _ = plant.send(());
            crate::support::drain(&mut stream).await;
        }
    })
    .await;
    let mut planted = planted;
    let caller = Caller::of(&server.url()).limit(crate::support::SHORT);
    assert!(caller.login().await.is_ok());
    planted.recv().await.unwrap();
    let token = caller.login().await.map(|pair| pair.token.access.expose().to_owned());
    assert_ne!(token.as_deref(), Ok("planted"));
}

#[tokio::test]
async fn an_answer_of_two_lengths_is_no_answer() {
    let long = GOOD_BODY.len();
    let broken = IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::NotHttp));
    for headers in [
        format!("content-length: {long}\r\ncontent-length: 5\r\n"),
        format!("content-length: {long}, 5\r\n"),
        "content-length: -1\r\n".to_owned(),
        "content-length: 0x10\r\n".to_owned(),
        "content-length: 99999999999999999999999\r\n".to_owned(),
    ] {
        let server = RawServer::answering(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{GOOD_BODY}")).await;
        assert_eq!(Caller::of(&server.url()).login_error().await, broken, "{headers}");
    }
}

#[tokio::test]
async fn json_that_is_twisted_is_refused_and_overflows_nothing() {
    let deep = "[".repeat(60_000);
    let nested = format!(r#"{{"access_token":{{"token_type":"bearer","token":"t","expires_in":{deep}"#);
    let objects = r#"{"access_token":"#.repeat(4_000);
    for body in [
        deep.as_str(),
        &nested,
        &objects,
        r#"{"access_token":{"token_type":"bearer","token":"a","token":"b"}}"#,
        r#"{"access_token":{"token_type":"bearer","token":"a"},"access_token":{"token_type":"bearer","token":"b"}}"#,
        r#"{"access_token":{"token_type":"bearer","token":"a"}} and more"#,
        r#"{"access_token":{"token_type":"bearer","token":"\ud800"}}"#,
        r#"{"access_token":{"token_type":"bearer","token":["a"]}}"#,
        r#"{"access_token":{"token_type":"bearer","token":"a"}"#,
    ] {
        let server = RawServer::answering(http("200 OK", "", body)).await;
        let error = Caller::of(&server.url()).login_error().await;
        assert_eq!(error.class(), RetryClass::Malformed, "{body:.80}");
    }
}

#[tokio::test]
async fn an_answer_that_claims_to_be_packed_and_is_not_is_refused_by_name() {
    for (coding, expected) in [
        ("gzip", AnswerError::NotJson),
        ("deflate", AnswerError::BadCompression),
        ("br", AnswerError::Brotli),
        ("zstd", AnswerError::Zstandard),
        ("gzip, br", AnswerError::UnknownEncoding),
    ] {
        let headers = format!("content-encoding: {coding}\r\n");
        let server = RawServer::answering(http("200 OK", &headers, "\u{1f}\u{8b}\u{8}")).await;
        let error = Caller::of(&server.url()).login_error().await;
        assert_eq!(error, IssuerError::Unusable(expected), "{coding}");
    }
}

#[tokio::test]
async fn a_strange_retry_after_or_date_is_no_harm() {
    let day = SignedDuration::from_hours(24);
    for (headers, longer_than_a_day) in [
        ("retry-after: 4294967295\r\n", true),
        ("retry-after: 99999999999999999999\r\n", true),
        ("retry-after: Tue, 31 Dec 2199 23:59:59 GMT\r\n", true),
        ("retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n", false),
        ("retry-after: Mon, 01 Jan 1900 00:00:00 GMT\r\n", false),
        ("retry-after: -1\r\n", false),
        ("retry-after: 1e9\r\n", false),
        ("retry-after: \u{ff}\r\n", false),
        ("retry-after: 1\r\nretry-after: 4294967295\r\n", false),
        ("date: Fri, 31 Dec 9999 23:59:59 GMT\r\nretry-after: Mon, 01 Jan 1900 00:00:00 GMT\r\n", false),
        ("date: 0\r\n", false),
    ] {
        let server = RawServer::answering(http("429 Too Many", headers, "")).await;
        let RetryClass::Transient { retry_after, .. } = Caller::of(&server.url()).login_error().await.class()
        else {
            panic!("{headers:?} is not transient");
        };
        assert_eq!(retry_after.unwrap_or_default() > day, longer_than_a_day, "{headers:?}: {retry_after:?}");
        assert!(!retry_after.unwrap_or_default().is_negative(), "{headers:?}");
    }
}

#[tokio::test]
async fn a_switch_of_protocols_without_a_request_is_a_failure() {
    let server =
        RawServer::answering("HTTP/1.1 101 Switching\r\nupgrade: evil\r\nconnection: upgrade\r\n\r\n").await;
    let error = Caller::of(&server.url()).limit(crate::support::SHORT).login_error().await;
    assert!(matches!(error.class(), RetryClass::Transient { .. } | RetryClass::Malformed), "{error:?}");
}

#[test]
fn a_private_key_or_anything_else_beside_certificates_is_not_kept_as_a_root() {
    let key = rcgen::KeyPair::generate().unwrap();
    assert!(CaBundle::parse(key.serialize_pem().as_bytes()).is_err());
    let identity = crate::certificates::Identity::make(&["127.0.0.1"], |_| ());
    let both = Arc::<str>::from(format!("{}{}", identity.ca_pem, key.serialize_pem()));
    let bundle = CaBundle::parse(both.as_bytes()).unwrap();
    assert!(!format!("{bundle:?}").contains("BEGIN"), "{bundle:?}");
}
