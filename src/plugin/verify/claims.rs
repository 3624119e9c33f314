//! What a token says of itself. Nothing of it is verified, and the signature is never shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::core::token::AccessToken;
use crate::plugin::lifetime::relative;

/// Claims that are times (RFC 7519).
const TIMES: [&str; 4] = ["exp", "iat", "nbf", "auth_time"];

/// The payload of a JWT; an opaque token has none.
pub(super) fn claims(token: &AccessToken) -> Option<Map<String, Value>> {
    let mut parts = token.expose().split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

/// A claim for people: times as times, and texts without quotes.
pub(super) fn show(name: &str, value: &Value, now: Timestamp) -> String {
    let time =
        value.as_i64().filter(|_| TIMES.contains(&name)).and_then(|time| Timestamp::from_second(time).ok());
    match (time, value) {
        (Some(time), _) => format!("{time} ({})", relative(time, now)),
        // The maker of the token must not command this terminal.
        (None, Value::String(text)) => text.chars().filter(|letter| !letter.is_control()).collect(),
        (None, value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::token::tests::jwt;
    use crate::plugin::row::tests::time;

    #[test]
    fn only_a_jwt_has_claims() {
        let found = claims(&jwt(r#"{"sub": "shop"}"#)).unwrap();
        assert_eq!(Value::Object(found), json!({"sub": "shop"}));
        for opaque in ["opaque", "a.b", "a.b.c", "a.e30.c.d"] {
            assert_eq!(claims(&AccessToken::parse(opaque).unwrap()), None, "{opaque}");
        }
    }

    #[test]
    fn claims_are_shown_as_people_read_them() {
        let now = time("2026-01-01T00:00:00Z");
        for (name, value, expected) in [
            ("exp", json!(1_767_229_200), "2026-01-01T01:00:00Z (in 1h)"),
            ("count", json!(1_767_229_200), "1767229200"),
            ("sub", json!("sh\u{1b}[31mop"), "sh[31mop"),
            ("aud", json!(["a", "b"]), r#"["a","b"]"#),
        ] {
            assert_eq!(show(name, &value, now), expected, "{name}");
        }
    }
}
