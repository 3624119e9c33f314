//! The documents of the API: what is sent, and how much of what comes back is believed.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::defect::AnswerError;
use super::encoding::decode;
use crate::core::account::TokenResponse;
use crate::core::endpoint::RefreshShape;
use crate::core::lifetime::{Clocks, NoLifetime, lifetime};
use crate::core::time::Moment;
use crate::core::token::{AccessToken, Claims, Grant, IssuedToken, RefreshToken, Validity};
use crate::core::username_password::LoginPair;

/// The maximum lifetime; ten years. Longer ones are cut to this.
const LONGEST_STATED: f64 = 10.0 * 365.0 * 86_400.0;

/// What some editors and frameworks put before UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Serialize)]
struct LoginRequest<'a> {
    username: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct FlatRefresh<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
}

#[derive(Serialize)]
struct NestedRefresh<'a> {
    access_token: NestedToken<'a>,
    refresh_token: &'a str,
}

#[derive(Serialize)]
struct NestedToken<'a> {
    token_type: &'a str,
    token: &'a str,
    expires_in: i64,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: TokenInAnswer,
    #[serde(default)]
    refresh_token: serde_json::Value,
}

#[derive(Deserialize)]
struct TokenInAnswer {
    token_type: String,
    token: Zeroizing<String>,
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// The refresh token in an answer; none where it is absent or empty.
///
/// An unusable refresh token is ignored after a login. After a refresh it is a defect, because the previous one is
/// spent.
fn refresh_token(value: serde_json::Value, grant: Grant) -> Result<Option<RefreshToken>, AnswerError> {
    let text = match value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(text) => Zeroizing::new(text),
        _ => return unusable_refresh_token(grant),
    };
    match RefreshToken::parse(&text) {
        None if !text.is_empty() => unusable_refresh_token(grant),
        found => Ok(found),
    }
}

fn unusable_refresh_token(grant: Grant) -> Result<Option<RefreshToken>, AnswerError> {
    match grant {
        Grant::Login => Ok(None),
        Grant::Refresh => Err(AnswerError::UnusableRefreshToken),
    }
}

/// The body of a login.
pub(super) fn login_body(pair: &LoginPair) -> Zeroizing<Vec<u8>> {
    to_json(&LoginRequest { username: pair.username(), password: pair.password() })
}

/// The body of a refresh, in the shape that the issuer wants.
pub(super) fn refresh_body(
    token: &IssuedToken,
    refresh: &RefreshToken,
    shape: RefreshShape,
) -> Zeroizing<Vec<u8>> {
    match shape {
        RefreshShape::Flat => {
            to_json(&FlatRefresh { access_token: token.access.expose(), refresh_token: refresh.expose() })
        }
        RefreshShape::Nested => to_json(&NestedRefresh {
            access_token: NestedToken {
                token_type: "bearer",
                token: token.access.expose(),
                expires_in: token.validity.lifetime.as_secs(),
            },
            refresh_token: refresh.expose(),
        }),
    }
}

fn to_json(document: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Large enough for nearly every token, so that growing leaves no copy behind.
    let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
    // Strings and a number into a Vec: neither side of this can fail. An empty body would be refused, not misread.
    if serde_json::to_writer(&mut *body, document).is_err() {
        body.clear();
    }
    body
}

/// The metadata of a successful response.
#[derive(Clone, Copy)]
pub(super) struct ResponseContext<'a> {
    /// The `Content-Encoding` header.
    pub(super) encoding: Option<&'a str>,
    /// The grant that was used.
    pub(super) grant: Grant,
    /// The moment just before the request went out.
    pub(super) sent: Moment,
    /// The `Date` header.
    pub(super) date: Option<Timestamp>,
}

/// Reads an answer of success.
pub(super) fn parse_answer(
    body: Zeroizing<Vec<u8>>,
    context: ResponseContext<'_>,
) -> Result<TokenResponse, AnswerError> {
    let ResponseContext { encoding, grant, sent, date } = context;
    let body = decode(body, encoding)?;
    // RFC 8259 §8.1 lets a parser ignore it.
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body);
    let answer: TokenAnswer = serde_json::from_slice(text).map_err(|_| AnswerError::of_body(text))?;
    if !answer.access_token.token_type.eq_ignore_ascii_case("bearer") {
        return Err(AnswerError::NotBearer);
    }
    let access = AccessToken::parse(&answer.access_token.token).map_err(AnswerError::UnusableToken)?;
    let stated = stated_lifetime(&answer.access_token.expires_in);
    let clocks = Clocks { issuer: date, own: sent.wall };
    let (lifetime, source) =
        lifetime(stated, Claims::of(&access), clocks).map_err(|defect| match defect {
            NoLifetime::Stated => AnswerError::DeadOnArrival,
            NoLifetime::Passed => AnswerError::ExpiredOnArrival,
        })?;
    let fingerprint = access.fingerprint();
    let validity = Validity { issued: sent, lifetime, source };
    Ok(TokenResponse {
        token: IssuedToken { access, validity, grant, fingerprint },
        refresh: refresh_token(answer.refresh_token, grant)?,
    })
}

/// `expires_in` as a number, or as a text that is one; anything else counts as absent.
fn stated_lifetime(value: &serde_json::Value) -> Option<SignedDuration> {
    let seconds = match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }?;
    if seconds.is_nan() {
        return None;
    }
    SignedDuration::try_from_secs_f64(seconds.clamp(-LONGEST_STATED, LONGEST_STATED)).ok()
}

/// `Retry-After`: seconds, or an HTTP date (RFC 9110 §10.2.3), which is read against the answer's own `Date`.
pub(super) fn retry_after(
    header: Option<&str>,
    date: Option<&str>,
    now: Timestamp,
) -> Option<SignedDuration> {
    let header = header?.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // An overflow means forever, and callers cut it.
        return Some(SignedDuration::from_secs(header.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    let until = http_date(header)?.duration_since(date.and_then(http_date).unwrap_or(now));
    Some(until.max(SignedDuration::ZERO))
}

/// An HTTP date, as in `Date` and `Retry-After`.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    Timestamp::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::{LifetimeSource, TokenError};
    use proptest::prelude::*;

    fn sent() -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, monotonic: SignedDuration::ZERO }
    }

    fn parsed(body: &[u8], grant: Grant) -> Result<TokenResponse, AnswerError> {
        let context = ResponseContext { encoding: None, grant, sent: sent(), date: None };
        parse_answer(body.to_vec().into(), context)
    }

    fn parse(expires_in: &str) -> Result<(i64, LifetimeSource), AnswerError> {
        let body = format!(
            r#"{{"access_token":{{"token_type":"Bearer","token":"opaque"{expires_in}}},"refresh_token":"r"}}"#
        );
        parsed(body.as_bytes(), Grant::Login)
            .map(|obtained| (obtained.token.validity.lifetime.as_secs(), obtained.token.validity.source))
    }

    #[test]
    fn expires_in_may_be_a_number_or_a_text_and_is_believed_within_reason() {
        use LifetimeSource::{Assumed, ExpiresIn};
        let cases = [
            (r#","expires_in":3600"#, Ok((3600, ExpiresIn))),
            (r#","expires_in":"3600""#, Ok((3600, ExpiresIn))),
            (r#","expires_in":" 60 ""#, Ok((60, ExpiresIn))),
            (r#","expires_in":59.9"#, Ok((59, ExpiresIn))),
            (r#","expires_in":1e300"#, Ok((315_360_000, ExpiresIn))),
            (r#","expires_in":"inf""#, Ok((315_360_000, ExpiresIn))),
            ("", Ok((3600, Assumed))),
            (r#","expires_in":null"#, Ok((3600, Assumed))),
            (r#","expires_in":"soon""#, Ok((3600, Assumed))),
            (r#","expires_in":"NaN""#, Ok((3600, Assumed))),
            (r#","expires_in":{}"#, Ok((3600, Assumed))),
            (r#","expires_in":0"#, Err(AnswerError::DeadOnArrival)),
            (r#","expires_in":-1"#, Err(AnswerError::DeadOnArrival)),
            (r#","expires_in":"0""#, Err(AnswerError::DeadOnArrival)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unusable_answer_is_named() {
        let token = |kind: &str, token: &str| {
            serde_json::json!({"access_token": {"token_type": kind, "token": token, "expires_in": 60}})
                .to_string()
        };
        let cases = [
            (String::new(), AnswerError::Empty),
            ("\u{feff}".into(), AnswerError::Empty),
            (r#"{"success":false}"#.into(), AnswerError::NoAccessToken),
            (token("mac", "x"), AnswerError::NotBearer),
            (token("bearer", ""), AnswerError::UnusableToken(TokenError::Empty)),
            (token("bearer", "a\r\nX: y"), AnswerError::UnusableToken(TokenError::NotVisibleAscii)),
            (token("bearer", &"x".repeat(16 * 1024 + 1)), AnswerError::UnusableToken(TokenError::TooLong)),
        ];
        for (body, expected) in cases {
            let found = parsed(body.as_bytes(), Grant::Login).err();
            assert_eq!(found, Some(expected), "{body:.60}");
        }
    }

    #[test]
    fn a_byte_order_mark_in_front_is_ignored_and_one_elsewhere_is_not() {
        let body = r#"{"access_token":{"token_type":"bearer","token":"t","expires_in":60}}"#;
        assert!(parsed(format!("\u{feff}{body}").as_bytes(), Grant::Login).is_ok());
        for odd in [format!("\u{feff}\u{feff}{body}"), format!("{body}\u{feff}")] {
            assert_eq!(parsed(odd.as_bytes(), Grant::Login).err(), Some(AnswerError::NotJson));
        }
    }

    #[test]
    fn a_refresh_token_that_cannot_be_used_is_none_after_a_login_and_a_defect_after_a_refresh() {
        let with = |grant, refresh: &str| {
            let body = format!(
                r#"{{"access_token":{{"token_type":"bearer","token":"t","expires_in":60}}{refresh}}}"#
            );
            parsed(body.as_bytes(), grant).map(|obtained| obtained.refresh.is_some())
        };
        for none in ["", r#","refresh_token":"""#, r#","refresh_token":null"#] {
            assert_eq!(
                (with(Grant::Login, none), with(Grant::Refresh, none)),
                (Ok(false), Ok(false)),
                "{none}"
            );
        }
        let long = format!(r#","refresh_token":"{}""#, "r".repeat(100_000));
        for unusable in [r#","refresh_token":5"#, r#","refresh_token":{"token":"r"}"#, &long] {
            assert_eq!(with(Grant::Login, unusable), Ok(false), "{unusable:.40}");
            assert_eq!(
                with(Grant::Refresh, unusable),
                Err(AnswerError::UnusableRefreshToken),
                "{unusable:.40}"
            );
        }
    }

    #[test]
    fn bodies_are_the_documented_ones() {
        let pair = LoginPair::parse(("u", Some(b"me@example.org")), ("p", Some("p\"ą".as_bytes()))).unwrap();
        let text = |body: Zeroizing<Vec<u8>>| String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(text(login_body(&pair)), r#"{"username":"me@example.org","password":"p\"ą"}"#);
        let access = AccessToken::parse("abc").unwrap();
        let token = IssuedToken {
            fingerprint: access.fingerprint(),
            access,
            validity: Validity {
                issued: sent(),
                lifetime: SignedDuration::from_secs(3600),
                source: LifetimeSource::ExpiresIn,
            },
            grant: Grant::Login,
        };
        let refresh = RefreshToken::parse("def").unwrap();
        assert_eq!(
            text(refresh_body(&token, &refresh, RefreshShape::Flat)),
            r#"{"access_token":"abc","refresh_token":"def"}"#
        );
        assert_eq!(
            text(refresh_body(&token, &refresh, RefreshShape::Nested)),
            r#"{"access_token":{"token_type":"bearer","token":"abc","expires_in":3600},"refresh_token":"def"}"#
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_read_against_the_answers_own() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let seconds = |header, date| retry_after(header, date, now).map(|wait| wait.as_secs());
        assert_eq!(seconds(Some("7"), None), Some(7));
        assert_eq!(seconds(Some("-7"), None), None);
        assert_eq!(seconds(Some("soon"), None), None);
        assert_eq!(seconds(None, None), None);
        let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(seconds(Some(later), Some(date)), Some(30));
        assert_eq!(seconds(Some(date), Some(later)), Some(0));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic_and_what_it_accepts_is_usable(
            body in prop_oneof![
                any::<Vec<u8>>(),
                "[\\[\\]{}:,\"a-z_0-9. e+-]{0,120}".prop_map(String::into_bytes),
                (any::<String>(), any::<f64>(), any::<String>()).prop_map(|(token, expires_in, refresh)| serde_json::json!({
                    "access_token": {"token_type": "bearer", "token": token, "expires_in": expires_in},
                    "refresh_token": refresh,
                }).to_string().into_bytes()),
            ],
        ) {
            if let Ok(obtained) = parsed(&body, Grant::Login) {
                prop_assert!(obtained.token.access.expose().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(obtained.token.validity.lifetime > SignedDuration::ZERO);
            }
        }
    }
}
