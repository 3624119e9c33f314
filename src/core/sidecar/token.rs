//! The token that a sidecar holds, from wherever it came.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::error::SourceError;
use crate::core::schedule::{Jitter, RenewBefore, Schedule};
use crate::core::time::Moment;
use crate::core::token::{
    AccessToken, Claims, Fingerprint, IssuedToken, LifetimeSource, TokenError, Validity,
};

/// So long before its end a token is handed out no more: the request that carries it has to arrive.
const LAST_USE: SignedDuration = SignedDuration::from_secs(2);

/// A token with its known times. Debug shows its fingerprint, never its text.
#[derive(Clone)]
pub struct HeldToken {
    /// The token itself.
    pub access: AccessToken,
    /// Its name.
    pub fingerprint: Fingerprint,
    /// When it was issued, if known.
    pub issued: Option<Moment>,
    /// When it expires, if known.
    pub expiry: Option<Moment>,
}

/// A token and its times, as found in files or in the keys of a Secret.
#[derive(Clone, Copy, Default)]
pub struct TokenFields<'a> {
    /// The bare token.
    pub token: Option<&'a [u8]>,
    /// Its expiry, RFC 3339.
    pub expires_at: Option<&'a [u8]>,
    /// A JSON object with the token, `expires_at` and `issued_at`.
    pub json: Option<&'a [u8]>,
}

/// What of the JSON object counts.
#[derive(Default, serde::Deserialize)]
struct Times {
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    issued_at: Option<String>,
}

impl HeldToken {
    /// The type of every token.
    pub const TYPE: &str = "Bearer";

    /// As the issuer gave it. Its times are those that files hold: whole seconds.
    #[must_use]
    pub fn issued(token: &IssuedToken) -> Self {
        let validity = token.validity.as_recorded();
        Self {
            access: token.access.clone(),
            fingerprint: token.fingerprint.clone(),
            issued: Some(validity.issued),
            expiry: Some(validity.expiry()),
        }
    }

    /// Parses a found token. Its expiry comes from its own key, else from the JSON, else from the token itself; else it
    /// is unknown.
    ///
    /// # Errors
    /// When there is no token, or it is none that could be sent.
    pub fn found(found: TokenFields<'_>, now: Moment) -> Result<Self, TokenError> {
        let text = found.token.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let access = match (text, found.token) {
            (None, Some(_)) => return Err(TokenError::NotVisibleAscii),
            (text, _) => AccessToken::parse(text.unwrap_or_default())?,
        };
        let times: Times = found.json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
        let claims = Claims::of(&access);
        let key = found.expires_at.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let expiry = time(key).or_else(|| time(times.expires_at.as_deref())).or(claims.exp);
        let issued = time(times.issued_at.as_deref()).or(claims.iat);
        Ok(Self {
            fingerprint: access.fingerprint(),
            access,
            issued: issued.map(|issued| Moment::at_wall(issued, now)),
            expiry: expiry.map(|expiry| Moment::at_wall(expiry, now)),
        })
    }

    /// Whether it has expired. A token with unknown expiry has not.
    #[must_use]
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expiry.is_some_and(|expiry| expiry.is_reached(now))
    }

    /// From when on it must not be sent: two seconds before its expiry, or a twentieth of a short lifetime.
    #[must_use]
    pub fn last_use(&self) -> Option<Moment> {
        let expiry = self.expiry?;
        let lifetime = self.issued.map(|issued| expiry.wall.duration_since(issued.wall));
        let margin = lifetime.map_or(LAST_USE, |lifetime| LAST_USE.min(lifetime / 20));
        Some(expiry.minus(margin.max(SignedDuration::ZERO)))
    }

    /// When the next one must be obtained; unknown if its times are.
    #[must_use]
    pub fn renewal(&self, jitter: Jitter, now: Moment) -> Option<Moment> {
        let validity = self.validity(now)?;
        Some(Schedule::of(&validity, RenewBefore::default(), jitter).renewal)
    }

    /// The lifetime, if known.
    #[must_use]
    pub fn validity(&self, now: Moment) -> Option<Validity> {
        let (issued, expiry) = (self.issued?, self.expiry?);
        let (lifetime, source) = (expiry.wall.duration_since(issued.wall), LifetimeSource::ExpiresIn);
        let is_future = issued.remaining(now).is_positive();
        let validity = if is_future {
            Validity::recorded(issued.wall, expiry.wall, source, now)
        } else {
            Validity { issued, lifetime, source }
        };
        lifetime.is_positive().then_some(validity)
    }

    /// Whether the other is the same token with the same times. After the wall clock was set, times read again differ
    /// on the monotonic clock; the first reading wins.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let wall = |moment: Option<Moment>| moment.map(|moment| moment.wall);
        self.fingerprint == other.fingerprint && wall(self.expiry) == wall(other.expiry)
    }
}

/// What to do with a token that another writer published: take it, unless it is the current one. The last token of that
/// writer wins, even if it expires sooner.
///
/// # Errors
/// When it is dead: then the one that is held may be better.
pub fn follow(
    held: Option<&HeldToken>,
    found: HeldToken,
    place: &str,
    now: Moment,
) -> Result<Option<HeldToken>, SourceError> {
    let is_same = held.is_some_and(|held| held.is_same(&found));
    let is_expired =
        if is_same { held.is_some_and(|held| held.is_expired(now)) } else { found.is_expired(now) };
    match (is_expired, is_same) {
        (true, _) => Err(SourceError::TokenExpired { place: place.to_owned() }),
        (false, true) => Ok(None),
        (false, false) => Ok(Some(found)),
    }
}

impl fmt::Debug for HeldToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expiry = self.expiry.map(|expiry| expiry.wall.to_string());
        formatter
            .debug_struct("Held")
            .field("fingerprint", &self.fingerprint.as_str())
            .field("expiry", &expiry)
            .finish_non_exhaustive()
    }
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, seconds, token};
    use crate::core::token::tests::jwt;

    fn found(found: TokenFields<'_>) -> HeldToken {
        HeldToken::found(found, at(0)).unwrap()
    }

    #[test]
    fn the_expiry_is_what_stands_beside_the_token_then_what_it_says_itself_then_unknown() {
        let claims = jwt(&format!(r#"{{"exp":{}}}"#, at(300).wall.as_second()));
        let bare = TokenFields { token: Some(claims.expose().as_bytes()), ..TokenFields::default() };
        let (key, json) = (at(100).wall.to_string(), format!(r#"{{"expires_at":"{}"}}"#, at(200).wall));
        let json = TokenFields { json: Some(json.as_bytes()), ..bare };
        let key = TokenFields { expires_at: Some(key.as_bytes()), ..json };
        for (case, expiry) in [(key, 100), (json, 200), (bare, 300)] {
            assert_eq!(found(case).expiry, Some(at(expiry)));
        }
        let opaque = TokenFields { token: Some(b"opaque"), ..TokenFields::default() };
        assert_eq!(found(opaque).expiry, None);
        let odd = TokenFields { expires_at: Some(b"soon"), json: Some(b"[]"), ..opaque };
        assert_eq!(found(odd).expiry, None, "what cannot be read is not there");
        assert!(!found(opaque).is_expired(at(1_000_000)), "nobody knows");
    }

    #[test]
    fn what_cannot_be_sent_is_no_token() {
        for (bytes, defect) in [
            (None, TokenError::Empty),
            (Some(&b""[..]), TokenError::Empty),
            (Some(b"abc\n"), TokenError::NotVisibleAscii),
            (Some(b"\xff"), TokenError::NotVisibleAscii),
        ] {
            let outcome = HeldToken::found(TokenFields { token: bytes, ..TokenFields::default() }, at(0));
            assert_eq!(outcome.err(), Some(defect));
        }
    }

    #[test]
    fn the_last_use_is_two_seconds_before_the_end_or_a_twentieth_of_a_short_life() {
        for (lifetime, margin) in
            [(3600, seconds(2)), (40, seconds(2)), (20, seconds(1)), (2, seconds(2) / 20)]
        {
            let held = HeldToken::issued(&token("t", at(0), lifetime));
            assert_eq!(held.last_use(), Some(at(lifetime).minus(margin)), "{lifetime}");
        }
        let key = at(100).wall.to_string();
        let unknown = found(TokenFields {
            token: Some(b"t"),
            expires_at: Some(key.as_bytes()),
            ..TokenFields::default()
        });
        assert_eq!(unknown.last_use(), Some(at(98)), "of unknown lifetime");
    }

    #[test]
    fn what_is_read_back_from_files_renews_when_the_original_would() {
        let issued = HeldToken::issued(&token("t", at(0), 3600));
        let json = format!(r#"{{"issued_at":"{}","expires_at":"{}"}}"#, at(0).wall, at(3600).wall);
        let read = HeldToken::found(
            TokenFields { token: Some(b"t"), json: Some(json.as_bytes()), ..TokenFields::default() },
            at(1000),
        );
        let read = read.unwrap();
        assert!(read.is_same(&issued));
        assert_eq!(read.renewal(Jitter::NONE, at(1000)), Some(at(2700)));
        assert_eq!(issued.renewal(Jitter::NONE, at(0)), Some(at(2700)));
        let future = issued.renewal(Jitter::NONE, at(-1000)).unwrap();
        assert!(future.is_reached(at(-1000)), "of unknown age: renewed at once");
    }

    #[test]
    fn what_another_writer_put_there_is_followed_unless_it_is_dead() {
        let place = "/run/secret";
        let made = |text, lifetime| HeldToken::issued(&token(text, at(0), lifetime));
        let (first, sooner) = (made("first", 3600), made("second", 60));
        let taken = follow(Some(&first), sooner.clone(), place, at(10)).unwrap();
        assert!(taken.unwrap().is_same(&sooner), "also where it dies sooner");
        assert!(follow(Some(&first), first.clone(), place, at(10)).unwrap().is_none());
        assert!(!first.is_same(&made("first", 7200)), "with other times it is another one");
        let dead = SourceError::TokenExpired { place: place.into() };
        assert_eq!(follow(Some(&first), sooner, place, at(60)).err(), Some(dead.clone()));
        assert_eq!(follow(Some(&first), first.clone(), place, at(3600)).err(), Some(dead));
    }

    #[test]
    fn debug_output_shows_no_token() {
        let held = HeldToken::issued(&token("very-secret", at(0), 60));
        let shown = format!("{held:?}");
        assert!(shown.contains(held.fingerprint.as_str()) && !shown.contains("very-secret"), "{shown}");
    }
}
