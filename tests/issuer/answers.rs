//! Every kind of answer, from the simulator over a real socket.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use idissuer::core::endpoint::RefreshShape;
use idissuer::core::retry::{RetryClass, Sent};
use idissuer::core::token::{Grant, LifetimeSource};
use idissuer::issuer::{AnswerError, IssuerError, Refusal};
use idissuer_simulator::{
    Compression, ExpiresIn, Fault, FaultRule, Lockout, Missing, RefreshAccepted, RefreshRequest,
    RefreshTokens, RetryAfter, TokenFormat, TrailingSlash, User,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{Caller, PASSWORD, RawServer, USER, http, start_simulator};

#[tokio::test]
async fn a_login_and_a_refresh_bring_tokens_that_the_issuer_accepts() {
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    let first = caller.login().await.unwrap();
    assert_eq!(first.token.grant, Grant::Login);
    assert_eq!(first.token.validity.lifetime, SignedDuration::from_hours(1));
    let second = caller.refresh(&first).await.unwrap();
    assert_eq!(second.token.grant, Grant::Refresh);
    assert_ne!(first.token.access.expose(), second.token.access.expose());
    assert_ne!(first.refresh.unwrap().expose(), second.refresh.as_ref().unwrap().expose());
    let use_of = idissuer_simulator::Request::authorized(second.token.access.expose());
    assert_eq!(server.call(&use_of, jiff_now()).answer.status(), Some(200));
    let counts = server.counts().of(USER);
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted, counts.misdirected), (1, 1, 0));
}

#[expect(clippy::disallowed_methods, reason = "the simulator on a socket runs on the machine's clock")]
fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[tokio::test]
async fn the_nested_request_is_the_documented_example() {
    let server = start_simulator(|personality| {
        personality.refresh.request = RefreshRequest::Nested;
        personality.refresh.path = Some("/somewhere/else".to_owned());
        personality.login.path = "/own/login".to_owned();
    })
    .await;
    let caller = Caller::of(&server.url()).paths("/own/login", "/somewhere/else", RefreshShape::Nested);
    let first = caller.login().await.unwrap();
    assert!(caller.refresh(&first).await.is_ok());
    let flat = Caller::of(&server.url()).paths("/own/login", "/somewhere/else", RefreshShape::Flat);
    let second = flat.login().await.unwrap();
    assert_eq!(flat.refresh(&second).await.err(), Some(IssuerError::RefreshRejected), "the shape matters");
}

#[tokio::test]
async fn a_wrong_path_is_a_wrong_path() {
    let server = start_simulator(|_| ()).await;
    let caller =
        Caller::of(&server.url()).paths("/v1/auth/token", "/v2/auth/refreshtoken", RefreshShape::Flat);
    let error = caller.login_error().await;
    assert_eq!((error, error.class()), (IssuerError::PathWrong, RetryClass::Misconfigured));
}

#[tokio::test]
async fn the_lifetime_is_what_expires_in_says_then_what_the_jwt_says_then_an_hour() {
    use LifetimeSource::{Assumed, ExpiresIn as Stated, Jwt};
    use TokenFormat::{JwtOfAnHourAgo, JwtWithoutIat, JwtWithoutTimes, Opaque};
    let dead = Err(IssuerError::Unusable(AnswerError::DeadOnArrival));
    let ten_years = 315_360_000;
    let cases = [
        (ExpiresIn::Exact, TokenFormat::Jwt, Ok((1200, Stated))),
        (ExpiresIn::Exact, Opaque, Ok((1200, Stated))),
        (ExpiresIn::Text, Opaque, Ok((1200, Stated))),
        (ExpiresIn::Float, Opaque, Ok((1200, Stated))),
        (ExpiresIn::Huge, Opaque, Ok((ten_years, Stated))),
        (ExpiresIn::Huge, TokenFormat::Jwt, Ok((1200, Jwt))),
        (ExpiresIn::Json(json!(60)), TokenFormat::Jwt, Ok((60, Stated))),
        (ExpiresIn::Absent, TokenFormat::Jwt, Ok((1200, Jwt))),
        (ExpiresIn::Json(json!("soon")), TokenFormat::Jwt, Ok((1200, Jwt))),
        (ExpiresIn::Json(json!(null)), JwtWithoutTimes, Ok((3600, Assumed))),
        (ExpiresIn::Json(json!(3600)), JwtWithoutIat, Ok((1200, Jwt))),
        (ExpiresIn::Json(json!(3600)), JwtOfAnHourAgo, Ok((1200, Jwt))),
        (ExpiresIn::Absent, JwtWithoutIat, Ok((1200, Jwt))),
        (ExpiresIn::Absent, JwtOfAnHourAgo, Ok((1200, Jwt))),
        (ExpiresIn::Json(json!(60)), JwtOfAnHourAgo, Ok((60, Stated))),
        (ExpiresIn::Absent, Opaque, Ok((3600, Assumed))),
        (ExpiresIn::Absent, JwtWithoutTimes, Ok((3600, Assumed))),
        (ExpiresIn::Zero, TokenFormat::Jwt, dead),
        (ExpiresIn::Negative, TokenFormat::Jwt, dead),
        (ExpiresIn::Json(json!("0")), Opaque, dead),
        (ExpiresIn::Json(json!(-0.5)), Opaque, dead),
    ];
    let server =
        start_simulator(|personality| personality.token.lifetime = std::time::Duration::from_secs(1200))
            .await;
    let caller = Caller::of(&server.url());
    for (expires_in, format, expected) in cases {
        let name = format!("{expires_in:?} {format:?}");
        server.configure(|personality| {
            personality.token.expires_in = expires_in;
            personality.token.format = format;
        });
        let found = caller.login().await.map(|obtained| {
            let validity = obtained.token.validity;
            (validity.lifetime.as_secs(), validity.source)
        });
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_fits_no_header_or_is_no_bearer_is_refused() {
    use TokenFormat::{ControlCharacters, Empty, NonAscii, Oversize, Whitespace};
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    for format in [ControlCharacters, Whitespace, NonAscii, Oversize, Empty] {
        server.configure(|personality| personality.token.format = format);
        let error = caller.login_error().await;
        assert!(
            matches!(error, IssuerError::Unusable(AnswerError::UnusableToken(_))),
            "{format:?}: {error:?}"
        );
        assert_eq!(error.class(), RetryClass::Malformed, "{format:?}");
    }
    server.configure(|personality| personality.token.format = TokenFormat::Opaque);
    for (token_type, is_bearer) in
        [("Bearer", true), ("BEARER", true), ("mac", false), ("bearer ", false), ("", false)]
    {
        server.configure(|personality| personality.token.token_type = token_type.to_owned());
        let found = caller.login().await.err();
        let expected = (!is_bearer).then_some(IssuerError::Unusable(AnswerError::NotBearer));
        assert_eq!(found, expected, "{token_type:?}");
    }
}

#[tokio::test]
async fn a_refresh_is_refused_by_any_status_of_a_refusal() {
    let server = start_simulator(|personality| personality.refresh.accepted = RefreshAccepted::Never).await;
    let caller = Caller::of(&server.url());
    let pair = caller.login().await.unwrap();
    for status in [400, 401, 403, 404, 200] {
        server.configure(|personality| personality.refresh.refused_status = status);
        let error = caller.refresh(&pair).await.err().unwrap();
        assert_eq!((error, error.class()), (IssuerError::RefreshRejected, RetryClass::Refused), "{status}");
    }
}

#[tokio::test]
async fn a_refresh_may_bring_a_new_refresh_token_or_none() {
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    let first = caller.login().await.unwrap();
    assert!(caller.refresh(&first).await.unwrap().refresh.is_some());
    server.configure(|personality| personality.refresh.answers_new = false);
    for missing in [Missing::Omitted, Missing::Null, Missing::Empty] {
        server.configure(|personality| personality.refresh.missing = missing);
        let first = caller.login().await.unwrap();
        assert!(caller.refresh(&first).await.unwrap().refresh.is_none(), "{missing:?}");
    }
    server.configure(|personality| personality.refresh.tokens = RefreshTokens::Absent);
    assert!(caller.login().await.unwrap().refresh.is_none());
}

#[tokio::test]
async fn a_wrong_password_a_missing_authorization_and_a_locked_user_are_rejections() {
    let server = start_simulator(|personality| {
        personality.lockout = Some(Lockout { after: 2, ..Lockout::default() });
    })
    .await;
    server.set_user(&User::new("bare@example.org", "secret").without_api_access());
    let bare = Caller::of(&server.url()).pair("bare@example.org", "secret");
    assert_eq!(bare.login_error().await, IssuerError::LoginRejected(Refusal::Forbidden));
    let wrong = Caller::of(&server.url()).pair(USER, "wrong");
    for status in [400, 401] {
        server.configure(|personality| personality.login.rejected_status = status);
        assert_eq!(wrong.login_error().await, IssuerError::LoginRejected(Refusal::Other), "{status}");
    }
    assert_eq!(server.counts().of(USER).lockouts, 1);
    let error = Caller::of(&server.url()).login_error().await;
    assert_eq!((error, error.class()), (IssuerError::LoginRejected(Refusal::Other), RetryClass::Rejected));
    assert_eq!(
        server.calls_since(0).last().unwrap().status,
        Some(423),
        "the right password of a locked user"
    );
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date_by_the_issuers_own_clock() {
    // Far enough that a date read against our own clock would be plainly wrong.
    let server =
        start_simulator(|personality| personality.clock_offset = SignedDuration::from_hours(-5)).await;
    let caller = Caller::of(&server.url());
    let seconds = SignedDuration::from_secs;
    for (status, sent) in [(429, Sent::No), (503, Sent::Maybe)] {
        for (asked, expected) in [
            (RetryAfter::Seconds(7), Some(seconds(7))),
            (RetryAfter::Date(60), Some(seconds(60))),
            (RetryAfter::Text("soon".to_owned()), None),
            (RetryAfter::Text("-5".to_owned()), None),
        ] {
            let name = format!("{status} {asked:?}");
            server.inject(FaultRule::new(Fault::retry_after(status, asked)).once());
            let RetryClass::Transient { sent: found_sent, retry_after } = caller.login_error().await.class()
            else {
                panic!("{name} is not transient");
            };
            assert_eq!(found_sent, sent, "{name}");
            // A date is in whole seconds, and the answer may be made on their border.
            let difference = (retry_after.unwrap_or_default() - expected.unwrap_or_default()).abs();
            assert_eq!(retry_after.is_some(), expected.is_some(), "{name}");
            assert!(difference <= seconds(1), "{name}: {retry_after:?}");
        }
    }
}

#[tokio::test]
async fn other_statuses_of_failure_are_transient_and_may_have_been_carried_out() {
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    let pair = caller.login().await.unwrap();
    for status in [500, 502, 504] {
        server.inject(FaultRule::new(Fault::status(status)).once());
        let error = caller.login_error().await;
        assert_eq!(error, IssuerError::Unavailable { status, retry_after: None });
        assert_eq!(error.class(), crate::support::TRANSIENT_MAYBE_SENT, "{status}");
    }
    let elsewhere = RetryClass::Inconclusive { sent: Sent::No };
    let later = crate::support::TRANSIENT_NOT_SENT;
    for (statuses, class) in [([408, 425, 429], later), ([407, 421, 451], elsewhere)] {
        for status in statuses {
            server.inject(FaultRule::new(Fault::status(status)).times(2));
            assert_eq!(caller.login_error().await.class(), class, "{status}");
            let error = caller.refresh(&pair).await.err().unwrap();
            assert_eq!(error.class(), class, "{status}");
        }
    }
    for status in [201, 204] {
        server.inject(FaultRule::new(Fault::status(status)).once());
        let error = caller.login_error().await;
        assert_eq!(error, IssuerError::Unusable(AnswerError::WrongStatus), "{status}");
    }
}

#[tokio::test]
async fn a_page_in_place_of_a_refusal_differs_from_the_issuers_own() {
    let own = IssuerError::LoginRejected(Refusal::Forbidden);
    let page = "<!DOCTYPE html><title>Request blocked</title>";
    let cases = [
        ("content-type: text/html; charset=utf-8\r\n", "", IssuerError::Blocked { status: 403 }),
        ("content-type: text/html\r\n", page, IssuerError::Blocked { status: 403 }),
        ("", page, IssuerError::Blocked { status: 403 }),
        ("content-type: text/plain\r\n", "\u{feff}\r\n<html>", IssuerError::Blocked { status: 403 }),
        ("content-type: text/plain\r\n", "RBAC: access denied", IssuerError::Blocked { status: 403 }),
        ("", "error code: 1020", IssuerError::Blocked { status: 403 }),
        ("content-type: application/json\r\n", "<html>", IssuerError::Blocked { status: 403 }),
        ("", "", own),
        ("content-type: text/plain\r\n", "\r\n", own),
        ("content-type: application/json\r\n", "{\"message\": \"no\"}", own),
        ("content-type: text/html\r\n", "\u{feff}\r\n {\"message\": \"no\"}", own),
        ("content-type: text/plain\r\n", "[\"no\"]", own),
        ("content-type: text/plain\r\n", "\"no\"", own),
    ];
    for (headers, body, expected) in cases {
        let server = RawServer::answering(crate::support::http("403 Forbidden", headers, body)).await;
        assert_eq!(Caller::of(&server.url()).login_error().await, expected, "{headers:?} {body:?}");
    }
    let silent = "HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\n";
    let server = RawServer::answering(silent).await;
    let caller = Caller::of(&server.url()).limit(crate::support::SHORT);
    assert_eq!(caller.login_error().await, own, "a body that does not come changes nothing");
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_the_password_does_not_go_there() {
    let elsewhere = RawServer::answering(crate::support::good_answer()).await;
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    let pair = caller.login().await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        for location in [format!("{}/v2/auth/token", elsewhere.url()), "/v2/auth/token/".to_owned()] {
            server.inject(FaultRule::new(Fault::Redirect { status, location: location.clone() }).times(2));
            let error = caller.login_error().await;
            assert_eq!(
                (error, error.class()),
                (IssuerError::Redirected, RetryClass::Misconfigured),
                "{status}"
            );
            assert_eq!(caller.refresh(&pair).await.err(), Some(IssuerError::RefreshRejected), "{status}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(server.counts().of(USER).logins_accepted, 1, "not even to another path of the same origin");
}

#[tokio::test]
async fn a_trailing_slash_too_many_or_too_few_is_a_redirect_that_is_named() {
    let server = start_simulator(|_| ()).await;
    let with =
        Caller::of(&server.url()).paths("/v2/auth/token/", "/v2/auth/refreshtoken", RefreshShape::Flat);
    let without = Caller::of(&server.url());
    for (slash, with_works, without_works) in [
        (TrailingSlash::Ignored, true, true),
        (TrailingSlash::Removed, false, true),
        (TrailingSlash::Added, true, false),
    ] {
        server.configure(|personality| personality.trailing_slash = slash);
        for (caller, works) in [(&with, with_works), (&without, without_works)] {
            let expected = (!works).then_some(IssuerError::Redirected);
            assert_eq!(caller.login().await.err(), expected, "{slash:?}");
        }
    }
}

#[tokio::test]
async fn the_date_header_tells_the_clock_skew_which_does_not_touch_the_lifetime() {
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    let formats = [TokenFormat::Jwt, TokenFormat::JwtWithoutIat, TokenFormat::Opaque];
    for (minutes, format) in [0, 90, -90].into_iter().flat_map(|minutes| formats.map(|it| (minutes, it))) {
        let offset = SignedDuration::from_mins(minutes);
        server.configure(|personality| {
            personality.clock_offset = offset;
            personality.token.format = format;
        });
        let exchange = caller.login_exchange().await;
        let difference = (exchange.clock_skew.unwrap() - offset).abs();
        assert!(difference <= SignedDuration::from_secs(2), "{minutes}: {difference:?}");
        let validity = exchange.result.unwrap().token.validity;
        assert_eq!(validity.lifetime, SignedDuration::from_hours(1), "{minutes}");
    }
    let failed = Caller::of(&server.url()).pair(USER, "wrong");
    let exchange = failed.login_exchange().await;
    assert!(exchange.result.is_err() && exchange.clock_skew.is_some(), "a refusal has a Date as well");
}

#[tokio::test]
async fn a_token_that_has_expired_by_the_issuers_own_clock_is_refused_by_name() {
    let token = |exp: i64| {
        let payload = URL_SAFE_NO_PAD.encode(json!({"exp": exp}).to_string());
        let access =
            json!({"token_type": "bearer", "token": format!("e30.{payload}.c2ln"), "expires_in": 3600});
        json!({"access_token": access}).to_string()
    };
    let now = jiff_now();
    for (hours, dead) in [(0, true), (5, true), (-5, false)] {
        let date = httpdate::fmt_http_date((now + SignedDuration::from_hours(hours)).into());
        let body = token(now.as_second() - 60);
        let server = RawServer::answering(http("200 OK", &format!("date: {date}\r\n"), &body)).await;
        let error = Caller::of(&server.url()).login().await.err();
        let expected = dead.then_some(IssuerError::Unusable(AnswerError::ExpiredOnArrival));
        assert_eq!(error, expected, "{hours}");
    }
    let without_date = RawServer::answering(http("200 OK", "", &token(now.as_second() - 60))).await;
    let validity = Caller::of(&without_date.url()).login().await.unwrap().token.validity;
    assert_eq!(validity.lifetime.as_secs(), 3600, "our own clock alone kills no token");
}

#[tokio::test]
async fn an_answer_with_a_byte_order_mark_or_compressed_unasked_is_used() {
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    let compressed = [Compression::Gzip, Compression::Deflate, Compression::BareDeflate];
    for fault in compressed.map(|by| Fault::Compressed { by }).into_iter().chain([Fault::ByteOrderMark]) {
        server.configure(|personality| personality.faults = vec![FaultRule::new(fault.clone())]);
        let pair = caller.login().await.unwrap();
        assert!(caller.refresh(&pair).await.is_ok(), "{fault:?}");
        let use_of = idissuer_simulator::Request::authorized(pair.token.access.expose());
        assert_eq!(server.call(&use_of, jiff_now()).answer.status(), Some(200), "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_names_why() {
    for (body, why) in [
        ("", "it is empty"),
        ("<!DOCTYPE html><title>Maintenance</title>", "it is a web page (HTML), not JSON"),
        ("ok", "it is not JSON"),
        ("[]", "it is JSON, but not an object"),
        (r#"{"success": false}"#, "it has no access_token"),
        (r#"{"access_token": "eyJ"}"#, "its access_token is not an object with token_type and token"),
        (r#"{"access_token": {"token_type": "bearer"}}"#, "its access_token has no token"),
        (r#"{"access_token": {"token": "t"}}"#, "its access_token has no token_type"),
    ] {
        let server = RawServer::answering(http("200 OK", "", body)).await;
        let caller = Caller::of(&server.url());
        let reason = caller.login_reason().await;
        assert_eq!(reason.name(), "IssuerResponseInvalid");
        assert!(reason.message().contains(why), "{body}: {}", reason.message());
    }
}

#[tokio::test]
async fn odd_characters_in_a_password_arrive_as_they_are() {
    let server = start_simulator(|_| ()).await;
    for password in ["\"\\/", "zażółć gęślą", "a\nb\tc\u{1}d", " blanks ", "😀\u{2028}", "%0d%0a{{ token }}"]
    {
        server.set_user(&User::new("odd+tag@example.org", password));
        let caller = Caller::of(&server.url()).pair("odd+tag@example.org", password);
        assert!(caller.login().await.is_ok(), "{password:?}");
    }
    assert!(Caller::of(&server.url()).pair(USER, PASSWORD).login().await.is_ok());
}
