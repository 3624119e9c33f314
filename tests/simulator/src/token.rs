//! The formats of tokens.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{ExpiresIn, TokenFormat, generator::Generator};

/// What the vendor's page shows for an expired token.
pub(crate) const EXPIRED_CHALLENGE: &str =
    "Bearer error=\"invalid_token\", error_description=\"The token is expired\"";

/// Random text, safe in a header and unique.
pub(crate) fn opaque(generator: &mut Generator) -> String {
    URL_SAFE_NO_PAD.encode(generator.bytes())
}

impl TokenFormat {
    pub(crate) fn make(
        self,
        user: &str,
        issued: Timestamp,
        expires: Timestamp,
        generator: &mut Generator,
    ) -> String {
        match self {
            Self::Jwt | Self::JwtOfAnHourAgo => {
                let age = if self == Self::JwtOfAnHourAgo { 3600 } else { 0 };
                let (iat, exp) = (issued.as_second() - age, expires.as_second());
                jwt(&json!({"sub": user, "jti": opaque(generator), "iat": iat, "exp": exp}), generator)
            }
            Self::JwtWithoutIat => {
                jwt(&json!({"sub": user, "jti": opaque(generator), "exp": expires.as_second()}), generator)
            }
            Self::JwtWithoutTimes => jwt(&json!({"sub": user, "jti": opaque(generator)}), generator),
            Self::Opaque => opaque(generator),
            Self::ControlCharacters => {
                format!("{}\r\n\u{7}{}", opaque(generator), opaque(generator))
            }
            Self::Whitespace => format!("{} {}", opaque(generator), opaque(generator)),
            Self::NonAscii => format!("żółć{}", opaque(generator)),
            Self::Oversize => format!("{}{}", opaque(generator), "x".repeat(16 * 1024)),
            Self::Empty => String::new(),
        }
    }
}

/// Three parts in base64, the last one of 32 bytes: what a client can check of HS256 without the key.
fn jwt(claims: &Value, generator: &mut Generator) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signature = Sha256::new().chain_update(generator.bytes()).chain_update(&claims).finalize();
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl ExpiresIn {
    /// What is said of a token that lives for `lifetime`; none: nothing is.
    pub(crate) fn say(&self, lifetime: Duration) -> Option<Value> {
        let seconds = lifetime.as_secs();
        match self {
            Self::Exact => Some(json!(seconds)),
            Self::Absent => None,
            Self::Zero => Some(json!(0)),
            Self::Negative => Some(json!(-3600)),
            Self::Text => Some(json!(seconds.to_string())),
            Self::Float => Some(json!(lifetime.as_secs_f64() + 0.5)),
            Self::Huge => Some(json!(u64::MAX)),
            Self::Json(value) => Some(value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(format: TokenFormat) -> String {
        let issued = Timestamp::from_second(1000).unwrap();
        format.make("u@example.com", issued, Timestamp::from_second(1020).unwrap(), &mut Generator::new(1))
    }

    fn claims(token: &str) -> Value {
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 32);
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap()
    }

    #[test]
    fn a_jwt_says_whose_it_is_and_when_it_was_issued_and_expires() {
        let token = make(TokenFormat::Jwt);
        assert!(token.starts_with("eyJ"));
        let claims = claims(&token);
        assert_eq!(
            (&claims["sub"], &claims["iat"], &claims["exp"]),
            (&json!("u@example.com"), &json!(1000), &json!(1020))
        );
    }

    #[test]
    fn a_jwt_without_times_has_none() {
        let claims = claims(&make(TokenFormat::JwtWithoutTimes));
        assert_eq!((claims.get("iat"), claims.get("exp")), (None, None));
    }

    #[test]
    fn a_jwt_may_have_no_iat_or_an_old_one() {
        let times = |format| {
            let claims = claims(&make(format));
            (claims.get("iat").cloned(), claims["exp"].clone())
        };
        assert_eq!(times(TokenFormat::JwtWithoutIat), (None, json!(1020)));
        assert_eq!(times(TokenFormat::JwtOfAnHourAgo), (Some(json!(-2600)), json!(1020)));
    }

    #[test]
    fn ugly_tokens_are_ugly_in_the_way_they_are_named() {
        assert!(!make(TokenFormat::Opaque).contains('.'));
        assert!(make(TokenFormat::ControlCharacters).chars().any(char::is_control));
        assert!(make(TokenFormat::Whitespace).contains(' '));
        assert!(!make(TokenFormat::NonAscii).is_ascii());
        assert!(make(TokenFormat::Oversize).len() > 16 * 1024);
        assert!(make(TokenFormat::Empty).is_empty());
    }
}
