//! The lifetime of a token, from the issuer's response.

use jiff::{SignedDuration, Timestamp};

use super::token::{ASSUMED_LIFETIME, Claims, LifetimeSource};

/// A `Date` further from our own clock than this is invalid.
const NO_CLOCK: SignedDuration = SignedDuration::from_hours(366 * 24);

/// What time it was when a token was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// By the issuer's clock, cut to a second: the `Date` of the answer.
    pub issuer: Option<Timestamp>,
    /// By our own, just before the request was sent.
    pub own: Timestamp,
}

/// A token that is already expired according to the response that contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLifetime {
    /// `expires_in` is not positive, or `exp` not after `iat`.
    #[error("the token has no lifetime left")]
    Stated,
    /// `exp` has passed by the issuer's clock.
    #[error("the token has expired by the issuer's own clock")]
    Passed,
}

/// The lifetime of a fresh token, counted from just before its request was sent.
///
/// `expires_in` counts, and so do the token's own `exp` − `iat` and its `exp`; the shortest wins. Only `exp` helps for
/// a cached token, or one without `iat`. Without any of them, the documented hour is assumed, and status says so.
///
/// # Errors
/// [`NoLifetime`] when the lifetime so found is zero or negative.
pub fn lifetime(
    expires_in: Option<SignedDuration>,
    claims: Claims,
    clocks: Clocks,
) -> Result<(SignedDuration, LifetimeSource), NoLifetime> {
    let stated = expires_in.map(|lifetime| (lifetime, LifetimeSource::ExpiresIn));
    let claimed = claims.lifetime().map(|lifetime| (lifetime, LifetimeSource::Jwt));
    let shortest = |lifetimes: [Option<(SignedDuration, LifetimeSource)>; 2]| {
        lifetimes.into_iter().flatten().min_by_key(|(lifetime, _)| *lifetime)
    };
    let said = shortest([stated, claimed]);
    if said.is_some_and(|(lifetime, _)| lifetime <= SignedDuration::ZERO) {
        return Err(NoLifetime::Stated);
    }
    let left = claims.exp.and_then(|exp| left(exp, clocks)).map(|left| (left, LifetimeSource::Jwt));
    match shortest([said, left]) {
        Some((lifetime, _)) if lifetime <= SignedDuration::ZERO => Err(NoLifetime::Passed),
        found => Ok(found.unwrap_or((ASSUMED_LIFETIME, LifetimeSource::Assumed))),
    }
}

/// The time until `exp` by the issuer's clock. If that is unknown, ours is used; but a wrong clock of ours never makes
/// a fresh token expired.
fn left(exp: Timestamp, clocks: Clocks) -> Option<SignedDuration> {
    let Clocks { issuer, own } = clocks;
    match issuer.filter(|date| date.duration_since(own).abs() <= NO_CLOCK) {
        Some(date) => Some(exp.duration_since(date)),
        None => Some(exp.duration_since(own)).filter(|left| *left > SignedDuration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(NOW + seconds).unwrap()
    }

    fn found(
        expires_in: Option<i64>,
        iat: Option<i64>,
        exp: Option<i64>,
        date: Option<i64>,
    ) -> Result<(i64, LifetimeSource), NoLifetime> {
        let claims = Claims { iat: iat.map(time), exp: exp.map(time) };
        let clocks = Clocks { issuer: date.map(time), own: time(0) };
        lifetime(expires_in.map(SignedDuration::from_secs), claims, clocks)
            .map(|(lifetime, source)| (lifetime.as_secs(), source))
    }

    #[test]
    fn the_earliest_of_all_that_is_known_counts_and_an_hour_is_assumed_otherwise() {
        use LifetimeSource::{Assumed, ExpiresIn, Jwt};
        use NoLifetime::{Passed, Stated};
        const HOUR: i64 = 3600;
        const YEARS: i64 = 50 * 366 * 86_400;
        let now = Some(0);
        let cases = [
            ("expires_in", (Some(HOUR), None, None, now), Ok((HOUR, ExpiresIn))),
            ("nothing", (None, None, None, now), Ok((HOUR, Assumed))),
            ("all the same", (Some(HOUR), now, Some(HOUR), now), Ok((HOUR, ExpiresIn))),
            ("exp - iat is shorter", (Some(HOUR), now, Some(600), now), Ok((600, Jwt))),
            ("expires_in is shorter", (Some(600), now, Some(HOUR), now), Ok((600, ExpiresIn))),
            ("exp without iat", (Some(HOUR), None, Some(60), now), Ok((60, Jwt))),
            ("exp alone", (None, None, Some(600), now), Ok((600, Jwt))),
            ("an old iat", (Some(HOUR), Some(60 - HOUR), Some(60), now), Ok((60, Jwt))),
            ("an iat of the future", (None, Some(HOUR), Some(2 * HOUR), now), Ok((HOUR, Jwt))),
            ("dead by expires_in", (Some(0), None, None, now), Err(Stated)),
            ("dead by expires_in, whatever exp", (Some(-5), now, Some(600), now), Err(Stated)),
            ("dead by exp - iat", (Some(HOUR), now, Some(0), now), Err(Stated)),
            ("dead by exp", (Some(HOUR), None, Some(0), now), Err(Passed)),
            ("dead by exp, alone", (None, None, Some(-1), now), Err(Passed)),
            (
                "both clocks differ by hours",
                (Some(HOUR), None, Some(60 + 5 * HOUR), Some(5 * HOUR)),
                Ok((60, Jwt)),
            ),
            ("and the other way", (Some(HOUR), None, Some(60 - 5 * HOUR), Some(-5 * HOUR)), Ok((60, Jwt))),
            (
                "both clocks differ by most of a year",
                (Some(HOUR), None, Some(60 + 300 * 24 * HOUR), Some(300 * 24 * HOUR)),
                Ok((60, Jwt)),
            ),
            ("a Date of 1970 is none", (Some(HOUR), None, Some(60), Some(-NOW)), Ok((60, Jwt))),
            (
                "one of decades ahead kills nothing",
                (Some(HOUR), now, Some(HOUR), Some(YEARS)),
                Ok((HOUR, ExpiresIn)),
            ),
            ("no Date: our own clock stands in", (Some(HOUR), None, Some(60), None), Ok((60, Jwt))),
            ("no Date, and our own is ahead", (Some(HOUR), None, Some(-60), None), Ok((HOUR, ExpiresIn))),
            ("no Date, and exp is now", (Some(HOUR), None, Some(0), None), Ok((HOUR, ExpiresIn))),
            (
                "no Date, our own is ahead, and nothing else is known",
                (None, None, Some(-60), None),
                Ok((HOUR, Assumed)),
            ),
            (
                "no Date, and our own is behind",
                (Some(HOUR), None, Some(9 * HOUR), None),
                Ok((HOUR, ExpiresIn)),
            ),
            ("an exp of the far future", (Some(HOUR), None, Some(YEARS), now), Ok((HOUR, ExpiresIn))),
        ];
        for (name, (expires_in, iat, exp, date), expected) in cases {
            assert_eq!(found(expires_in, iat, exp, date), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_token_never_outlives_anything_that_was_said_of_it(
            expires_in in proptest::option::of(-10_i64..10_000),
            iat in proptest::option::of(-10_000_i64..10_000),
            exp in proptest::option::of(-10_000_i64..10_000),
            date in proptest::option::of(-10_000_i64..10_000),
        ) {
            if let Ok((lifetime, _)) = found(expires_in, iat, exp, date) {
                prop_assert!(lifetime > 0);
                prop_assert!(expires_in.is_none_or(|stated| lifetime <= stated));
                prop_assert!(iat.zip(exp).is_none_or(|(iat, exp)| lifetime <= exp - iat));
                prop_assert!(exp.zip(date).is_none_or(|(exp, date)| lifetime <= exp - date));
            }
        }
    }
}
