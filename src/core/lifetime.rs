//! How long a token lives, from what the issuer said of it.

use jiff::SignedDuration;

use super::token::{ASSUMED_LIFETIME, Claims, LifetimeSource};

/// A token that the issuer calls dead in the very answer that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer gave a token without any lifetime left")]
pub struct DeadOnArrival;

/// The lifetime of a fresh token.
///
/// `expires_in` counts, and so does the token's own `exp` − `iat`; where both speak, the shorter holds. Where neither
/// does, the documented hour is assumed, and status says so.
///
/// # Errors
/// [`DeadOnArrival`] when the lifetime so found is zero or negative.
pub fn lifetime(
    expires_in: Option<SignedDuration>,
    claims: Claims,
) -> Result<(SignedDuration, LifetimeSource), DeadOnArrival> {
    let (lifetime, source) = match (expires_in, claims.lifetime()) {
        (Some(stated), Some(claimed)) if claimed < stated => (claimed, LifetimeSource::Jwt),
        (Some(stated), _) => (stated, LifetimeSource::ExpiresIn),
        (None, Some(claimed)) => (claimed, LifetimeSource::Jwt),
        (None, None) => (ASSUMED_LIFETIME, LifetimeSource::Assumed),
    };
    if lifetime <= SignedDuration::ZERO { Err(DeadOnArrival) } else { Ok((lifetime, source)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn the_shorter_of_what_is_stated_counts_and_an_hour_is_assumed_otherwise() {
        use LifetimeSource::{Assumed, ExpiresIn, Jwt};
        let cases = [
            (Some(3600), None, Ok((3600, ExpiresIn))),
            (Some(3600), Some(600), Ok((600, Jwt))),
            (Some(600), Some(3600), Ok((600, ExpiresIn))),
            (None, Some(600), Ok((600, Jwt))),
            (None, None, Ok((3600, Assumed))),
            (Some(0), None, Err(DeadOnArrival)),
            (Some(-5), Some(600), Err(DeadOnArrival)),
            (Some(3600), Some(0), Err(DeadOnArrival)),
            (None, Some(-1), Err(DeadOnArrival)),
        ];
        for (stated, claimed, expected) in cases {
            let claims = Claims {
                iat: Some(Timestamp::UNIX_EPOCH),
                exp: claimed.map(|seconds| Timestamp::from_second(seconds).unwrap()),
            };
            let found = lifetime(stated.map(SignedDuration::from_secs), claims);
            let expected = expected.map(|(seconds, source)| (SignedDuration::from_secs(seconds), source));
            assert_eq!(found, expected, "expires_in {stated:?}, claims {claimed:?}");
        }
    }
}
