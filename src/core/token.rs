//! Tokens: what may be one, how long it is valid, and how it is named without being shown.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::renewal_margin::latest_renewal;
use super::time::{Moment, to_second};

/// The longest token: it has to fit into an HTTP header.
pub const LONGEST_TOKEN: usize = 16 * 1024;

/// The assumed lifetime if none is stated, as in the issuer's documentation.
pub const ASSUMED_LIFETIME: SignedDuration = SignedDuration::from_secs(3600);

/// A bearer token. Its text is reached only through [`AccessToken::expose`]; Debug is masked and memory is wiped.
#[derive(Clone, Debug)]
pub struct AccessToken(SecretString);

/// Why a text cannot be used as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing in it.
    #[error("the token is empty")]
    Empty,
    /// More than [`LONGEST_TOKEN`] bytes.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Something that does not belong into an HTTP header.
    #[error("the token holds white space, control characters or non-ASCII characters")]
    NotVisibleAscii,
}

impl AccessToken {
    /// Accepts text that is allowed in an `Authorization` header (RFC 9110 §5.5, RFC 6750 §2.1).
    ///
    /// # Errors
    /// When the text is empty, too long or not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > LONGEST_TOKEN {
            return Err(TokenError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotVisibleAscii);
        }
        Ok(Self(text.into()))
    }

    /// The token itself. Every use is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Names the token without showing it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.expose().as_bytes())
    }
}

/// The refresh token that belongs to one access token. Held in memory only, and taken out of it before it is sent.
#[derive(Clone, Debug)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// Wraps a refresh token; `None` if it is empty or too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= LONGEST_TOKEN).then(|| Self(text.into()))
    }

    /// The refresh token itself. Every use is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The first 32 hexadecimal digits of a token's SHA-256: enough to match a pod's token to a record, useless to log in. Clones
/// share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// Of any bytes, so that a value found in a Secret can be compared.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let digits = digest.iter().take(16).flat_map(|byte| [byte >> 4, byte & 0xf]);
        let text: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        Self(text.into())
    }

    /// As it was recorded in status. It is only ever compared.
    #[must_use]
    pub fn recorded(text: &str) -> Self {
        Self(text.into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How far the clock of another machine that recorded a token may be ahead of ours.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);

/// Where the lifetime of a token is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// The answer's `expires_in`.
    ExpiresIn,
    /// The token's own times: `exp` − `iat`, or `exp` alone.
    Jwt,
    /// Unknown; see [`ASSUMED_LIFETIME`].
    Assumed,
}

/// How a token was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grant {
    /// With user name and password.
    Login,
    /// With a refresh token.
    Refresh,
}

/// From when and for how long a token is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Just before the request for the token was sent: network latency never lengthens its lifetime.
    pub issued: Moment,
    /// What the issuer gave from then on.
    pub lifetime: SignedDuration,
    /// The source of the lifetime.
    pub source: LifetimeSource,
}

impl Validity {
    /// As status recorded it by the wall clock.
    ///
    /// A record from the future comes from a wrong clock, so the age of the token is unknown. It counts as due for
    /// renewal.
    #[must_use]
    pub fn recorded(issued: Timestamp, expiration: Timestamp, source: LifetimeSource, now: Moment) -> Self {
        let lifetime = expiration.duration_since(issued);
        // Clocks of two machines differ a little.
        let is_believed = issued.duration_since(now.wall) <= CLOCKS_DIFFER.min(lifetime / 20);
        let issued = if is_believed {
            Moment::recorded(issued, now)
        } else {
            now.minus(lifetime.saturating_sub(latest_renewal(lifetime)))
        };
        Self { issued, lifetime, source }
    }

    /// When the token expires.
    #[must_use]
    pub fn expiry(&self) -> Moment {
        self.issued.plus(self.lifetime)
    }

    /// As in status: in whole seconds. Reports derive from this, so that they are the same after a restart, when only
    /// status is known.
    #[must_use]
    pub fn as_recorded(&self) -> Self {
        let issued = to_second(self.issued.wall);
        let lifetime = to_second(self.expiry().wall).duration_since(issued);
        Self { issued: Moment { wall: issued, ..self.issued }, lifetime, source: self.source }
    }
}

/// A token with all that is known of it.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token itself.
    pub access: AccessToken,
    /// The lifetime of the token.
    pub validity: Validity,
    /// How it was obtained.
    pub grant: Grant,
    /// Its name.
    pub fingerprint: Fingerprint,
}

/// The times that a JSON Web Token states of itself (RFC 7519 §4.1), unverified: only its issuer can verify them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize)]
pub struct Claims {
    /// When it expires.
    #[serde(default, deserialize_with = "numeric_date")]
    pub exp: Option<Timestamp>,
    /// When it was issued.
    #[serde(default, deserialize_with = "numeric_date")]
    pub iat: Option<Timestamp>,
}

impl Claims {
    /// Reads the claims; an opaque token, or an invalid JWT, has none.
    #[must_use]
    pub fn of(token: &AccessToken) -> Self {
        let mut parts = token.expose().split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Self::default();
        };
        URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    /// `exp` − `iat`: a lifetime that no clock difference can spoil.
    #[must_use]
    pub fn lifetime(&self) -> Option<SignedDuration> {
        Some(self.exp?.duration_since(self.iat?))
    }
}

/// A `NumericDate` of RFC 7519 §2, which may have a fraction, or a text that is one; anything else counts as absent.
///
/// So does 0, by which some mean never, and what lies beyond the year 9999: milliseconds, or never again.
fn numeric_date<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let seconds = match serde::Deserialize::deserialize(deserializer)? {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| *seconds > 0.0);
    let seconds = seconds.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
    Ok(seconds.and_then(|seconds| Timestamp::from_duration(seconds).ok()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A token that looks like a JWT with this payload.
    pub(crate) fn jwt(payload: &str) -> AccessToken {
        let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        AccessToken::parse(&text).unwrap()
    }

    #[test]
    fn only_what_fits_an_http_header_is_a_token() {
        let cases = [
            ("", Some(TokenError::Empty)),
            ("abc", None),
            ("a b", Some(TokenError::NotVisibleAscii)),
            ("abc\n", Some(TokenError::NotVisibleAscii)),
            ("a\u{0}", Some(TokenError::NotVisibleAscii)),
            ("zażółć", Some(TokenError::NotVisibleAscii)),
        ];
        for (text, defect) in cases {
            assert_eq!(AccessToken::parse(text).err(), defect, "{text:?}");
        }
        assert!(AccessToken::parse(&"x".repeat(16_384)).is_ok());
        assert_eq!(AccessToken::parse(&"x".repeat(16_385)).err(), Some(TokenError::TooLong));
    }

    #[test]
    fn a_refresh_token_that_is_empty_or_longer_than_16_kib_is_none() {
        for (length, is_kept) in [(0, false), (1, true), (16_384, true), (16_385, false)] {
            let text = "x".repeat(length);
            let kept = RefreshToken::parse(&text);
            assert_eq!(kept.as_ref().map(RefreshToken::expose), is_kept.then_some(&*text), "{length}");
        }
    }

    #[test]
    fn debug_output_shows_neither_token() {
        let access = AccessToken::parse("very-secret-access").unwrap();
        let refresh = RefreshToken::parse("very-secret-refresh").unwrap();
        assert!(!format!("{access:?} {refresh:?}").contains("very-secret"));
    }

    #[test]
    fn a_fingerprint_is_the_first_half_of_sha_256() {
        let token = AccessToken::parse("abc").unwrap();
        assert_eq!(token.fingerprint().as_str(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(token.fingerprint().to_string(), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_jwt_states_its_lifetime_and_anything_else_states_none() {
        let hour = SignedDuration::from_secs(3600);
        assert_eq!(jwt(r#"{"iat":1000,"exp":4600}"#).claims(), Some(hour));
        assert_eq!(jwt(r#"{"iat":1000.5,"exp":4600.5}"#).claims(), Some(hour));
        assert_eq!(jwt(r#"{"exp":4600}"#).claims(), None);
        assert_eq!(jwt(r#"{"iat":"soon","exp":4600}"#).claims(), None);
        assert_eq!(jwt("not json").claims(), None);
        assert_eq!(AccessToken::parse("opaque").unwrap().claims(), None);
        assert_eq!(AccessToken::parse("a.%%%.c").unwrap().claims(), None);
        assert_eq!(jwt(r#"{"iat":1e300,"exp":4600}"#).claims(), None);
        assert_eq!(jwt(r#"{"iat":"1000","exp":"4600"}"#).claims(), Some(hour));
        let exp = |payload| Claims::of(&jwt(payload)).exp.map(Timestamp::as_second);
        assert_eq!(exp(r#"{"exp":1800000000}"#), Some(1_800_000_000));
        for never in [r#"{"exp":0}"#, r#"{"exp":1800000000000}"#, r#"{"exp":-1}"#, r#"{"exp":"NaN"}"#, "{}"] {
            assert_eq!(exp(never), None, "{never}");
        }
    }

    #[test]
    fn a_record_from_the_future_is_due_for_renewal_because_its_age_is_unknown() {
        use super::super::schedule::{Jitter, RenewBefore, Schedule};
        use super::super::testing::{at, seconds};
        let now = at(0);
        let recorded = |lifetime: i64, ahead: i64| {
            let issued = at(ahead).wall;
            Validity::recorded(issued, issued + seconds(lifetime), LifetimeSource::ExpiresIn, now)
        };
        // Clocks may differ by a twentieth of the lifetime, and by a minute at most.
        let cases = [
            (3600, -10, false),
            (3600, 0, false),
            (3600, 60, false),
            (3600, 61, true),
            (3600, 1_000_000, true),
            (400, 20, false),
            (400, 21, true),
        ];
        for (lifetime, ahead, is_due) in cases {
            let validity = recorded(lifetime, ahead);
            let schedule = Schedule::of(&validity, RenewBefore::Percent(5), Jitter::NONE);
            assert_eq!(schedule.renewal.is_reached(now), is_due, "{lifetime} {ahead}");
            assert!(!schedule.overdue.is_reached(now), "{lifetime} {ahead}");
            assert!(!validity.issued.is_after(now), "{lifetime} {ahead}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_status_holds_of_a_token_is_the_same_when_it_is_read_back(
            issued_milliseconds in 0_i64..4_000_000_000_000, lifetime_milliseconds in 1_i64..100_000_000,
        ) {
            let validity = Validity {
                issued: Moment {
                    wall: Timestamp::from_millisecond(issued_milliseconds).unwrap(),
                    monotonic: SignedDuration::ZERO,
                },
                lifetime: SignedDuration::from_millis(lifetime_milliseconds),
                source: LifetimeSource::ExpiresIn,
            };
            let recorded = validity.as_recorded();
            proptest::prop_assert_eq!(recorded.as_recorded(), recorded);
            proptest::prop_assert!(recorded.expiry().wall <= validity.expiry().wall);
            proptest::prop_assert_eq!(recorded.expiry().wall.subsec_nanosecond(), 0);
        }
    }

    impl AccessToken {
        fn claims(&self) -> Option<SignedDuration> {
            Claims::of(self).lifetime()
        }
    }
}
