//! When to renew, when a renewal is overdue, and the pace of everything that depends on a token's lifetime.

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::rate_limiter::Rate;
use super::renewal_margin::fraction;
use super::time::Moment;
use super::token::Validity;

pub use super::renewal_margin::{latest_renewal, overdue_margin};

/// The longest lifetime that is believed for the schedule: a token that lives longer is still renewed once a day.
pub const LONGEST_SCHEDULED: SignedDuration = SignedDuration::from_hours(24);

/// The lifetime from which on all time constants apply unchanged; below it they shrink proportionally.
const FULL_PACE: SignedDuration = SignedDuration::from_secs(300);

/// The shortest supported lifetime: most of a shorter one is over before anyone reads the token from a Secret.
pub const SHORTEST_SERVED: SignedDuration = SignedDuration::from_secs(3);

/// The pause between tokens of a shorter lifetime: they are still written, to notice when the lifetime becomes longer.
pub const UNSERVED_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// Writes of one credential's target, and as many of its status. Tokens of ten seconds or longer need no more.
pub const WRITES: Rate = Rate { burst: 20, per_minute: 15 };

/// Writes of all targets and statuses of a namespace: a burst for a thousand credentials that are created at once, then
/// enough for three hundred credentials with a lifetime of half a minute.
pub const NAMESPACE_WRITES: Rate = Rate { burst: 4_000, per_minute: 3_000 };

/// A token with a shorter lifetime is not written more often for being close to expiry.
pub const SHORTEST_URGENT: SignedDuration = SignedDuration::from_secs(10);

/// How much of the lifetime the jitter takes at most. It only ever makes a renewal earlier.
const JITTER: f64 = 0.05;

/// How long before expiry the user wants a renewal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RenewBefore {
    /// A share of the lifetime that the issuer gave, in percent.
    Percent(u8),
    /// A fixed time.
    Fixed(SignedDuration),
}

impl Default for RenewBefore {
    fn default() -> Self {
        Self::Percent(25)
    }
}

/// A number in [0, 1) that is always the same for one credential, so that renewals of many do not fall together
/// and a restart does not move them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// No jitter at all.
    pub const NONE: Self = Self(0.0);

    /// Derived from the UID of the credential.
    #[must_use]
    pub fn seeded_by(uid: &str) -> Self {
        let digest = Sha256::digest(uid.as_bytes());
        let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self(f64::from(number) / (f64::from(u32::MAX) + 1.0))
    }
}

/// The three times of a published token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// From here on a new token is wanted.
    pub renewal: Moment,
    /// From this time on the renewal is late, and is reported as overdue.
    pub overdue: Moment,
    /// From this time on the token has expired.
    pub expiry: Moment,
}

impl Schedule {
    /// Computes the schedule of a token.
    ///
    /// A renewal leaves at least the overdue margin and two minutes (40 % of a short lifetime) for retries, and at most
    /// 80 % of the lifetime.
    #[must_use]
    pub fn of(validity: &Validity, wanted: RenewBefore, jitter: Jitter) -> Self {
        let lifetime = validity.lifetime.clamp(SignedDuration::ZERO, LONGEST_SCHEDULED);
        let scheduled_expiry = validity.issued.plus(lifetime);
        let wanted = match wanted {
            RenewBefore::Percent(percent) => fraction(lifetime, f64::from(percent) / 100.0),
            RenewBefore::Fixed(duration) => duration,
        };
        let renew_before = wanted.max(latest_renewal(lifetime)).min(fraction(lifetime, 0.8));
        let expiry = validity.expiry();
        Self {
            renewal: scheduled_expiry.minus(renew_before + fraction(lifetime, JITTER * jitter.0)),
            overdue: expiry.minus(overdue_margin(validity.lifetime)),
            expiry,
        }
    }
}

/// The constants of time for tokens of one lifetime. Below five minutes they shrink with it, down to a floor each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeScale {
    scale: f64,
}

impl TimeScale {
    /// For a lifetime of five minutes or more, or an unknown one.
    pub const FULL: Self = Self { scale: 1.0 };

    /// For tokens of this lifetime.
    #[must_use]
    pub fn of(lifetime: SignedDuration) -> Self {
        Self { scale: (lifetime.as_secs_f64() / FULL_PACE.as_secs_f64()).clamp(0.0, 1.0) }
    }

    /// Pause before the first retry of a transient failure; later ones double it.
    #[must_use]
    pub fn first_retry(self) -> SignedDuration {
        self.scaled(5.0, 0.2)
    }

    /// The longest pause between two retries.
    #[must_use]
    pub fn longest_retry(self) -> SignedDuration {
        self.scaled(60.0, 1.0)
    }

    /// The longest pause between two probes of a failing issuer, and the time over which all calls resume.
    #[must_use]
    pub fn longest_probe_pause(self) -> SignedDuration {
        self.scaled(30.0, 1.0)
    }

    /// How soon waiting calls check again while a probe is in progress.
    #[must_use]
    pub fn probe_look(self) -> SignedDuration {
        self.scaled(2.0, 0.2)
    }

    /// The time limit of one call to the issuer.
    #[must_use]
    pub fn call_limit(self) -> SignedDuration {
        self.scaled(10.0, 2.0)
    }

    /// The time limit of a call to the API server where it takes long: enough for one that needs twelve seconds for each
    /// answer, and for an admission webhook that never answers, which is waited for 30 s at most.
    #[must_use]
    pub fn slow_call_limit(self) -> SignedDuration {
        self.scaled(60.0, 5.0)
    }

    /// The least time between two tokens of one account.
    #[must_use]
    pub fn token_spacing(self) -> SignedDuration {
        self.scaled(60.0, 1.0)
    }

    /// The least time between two tokens of one account once the issuer itself has called the present one expired.
    #[must_use]
    pub fn shortest_token_spacing(self) -> SignedDuration {
        self.scaled(5.0, 1.0)
    }

    /// Whether the lifetime is so short that a mount, which the kubelet updates about once a minute, lags behind.
    #[must_use]
    pub fn outruns_kubelet(self) -> bool {
        self.scale < 1.0
    }

    fn scaled(self, seconds: f64, floor: f64) -> SignedDuration {
        SignedDuration::from_secs_f64((seconds * self.scale).max(floor))
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::LifetimeSource;
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn validity(seconds: i64) -> Validity {
        Validity {
            issued: Moment { wall: Timestamp::UNIX_EPOCH, monotonic: SignedDuration::ZERO },
            lifetime: SignedDuration::from_secs(seconds),
            source: LifetimeSource::ExpiresIn,
        }
    }

    fn renewal_after(lifetime: i64, wanted: RenewBefore) -> i64 {
        Schedule::of(&validity(lifetime), wanted, Jitter::NONE).renewal.monotonic.as_secs()
    }

    #[test]
    fn an_hour_renews_at_45_minutes_and_short_lives_at_half() {
        let wanted = RenewBefore::default();
        assert_eq!(renewal_after(3600, wanted), 2700);
        assert_eq!(renewal_after(60, wanted), 30);
        assert_eq!(renewal_after(20, wanted), 10);
    }

    #[test]
    fn a_wish_is_kept_within_what_leaves_time_to_retry_and_what_leaves_time_to_use() {
        let fixed = |seconds| RenewBefore::Fixed(SignedDuration::from_secs(seconds));
        assert_eq!(renewal_after(3600, fixed(600)), 3000, "kept as it is");
        assert_eq!(renewal_after(3600, fixed(1)), 3600 - 420, "raised to margin and retries");
        assert_eq!(renewal_after(3600, fixed(7200)), 720, "never more than 80 %");
        assert_eq!(renewal_after(3600, RenewBefore::Percent(80)), 720);
    }

    #[test]
    fn a_token_of_a_year_is_renewed_within_a_day_but_expires_when_it_says() {
        let schedule = Schedule::of(&validity(31_536_000), RenewBefore::default(), Jitter::NONE);
        assert_eq!(schedule.renewal.monotonic, SignedDuration::from_hours(18));
        assert_eq!(schedule.expiry.monotonic.as_secs(), 31_536_000);
    }

    #[test]
    fn constants_shrink_with_short_lives_down_to_their_floors() {
        let minute = TimeScale::of(SignedDuration::from_secs(60));
        assert_eq!(minute.first_retry(), SignedDuration::from_secs(1));
        assert_eq!(minute.longest_retry(), SignedDuration::from_secs(12));
        assert_eq!(minute.call_limit(), SignedDuration::from_secs(2));
        assert_eq!(minute.slow_call_limit(), SignedDuration::from_secs(12));
        let second = TimeScale::of(SignedDuration::from_secs(1));
        assert_eq!(second.first_retry(), SignedDuration::from_millis(200));
        assert_eq!(second.longest_retry(), SignedDuration::from_secs(1));
        assert_eq!(second.slow_call_limit(), SignedDuration::from_secs(5));
        assert_eq!(TimeScale::of(SignedDuration::from_secs(301)), TimeScale::FULL);
    }

    #[test]
    fn the_jitter_of_a_credential_is_the_same_in_every_version() {
        // SHA-256 of nothing begins with e3b0c442.
        assert_eq!(Jitter::seeded_by(""), Jitter(f64::from(0xe3b0_c442_u32) / 4_294_967_296.0));
        let renewal = Schedule::of(&validity(3600), RenewBefore::default(), Jitter(0.5)).renewal;
        assert_eq!(renewal.monotonic, SignedDuration::from_secs(2700 - 90), "half of a twentieth earlier");
    }

    fn wishes() -> impl Strategy<Value = RenewBefore> {
        prop_oneof![
            any::<u8>().prop_map(RenewBefore::Percent),
            any::<i64>().prop_map(|seconds| RenewBefore::Fixed(SignedDuration::from_secs(seconds))),
            (0_i64..200_000).prop_map(|seconds| RenewBefore::Fixed(SignedDuration::from_secs(seconds))),
        ]
    }

    proptest! {
        #[test]
        fn renewal_comes_before_overdue_and_overdue_before_expiry(
            lifetime in 1_i64..100_000_000,
            wanted in wishes(),
            uid in "[a-f0-9-]{0,36}",
        ) {
            let validity = validity(lifetime);
            let schedule = Schedule::of(&validity, wanted, Jitter::seeded_by(&uid));
            prop_assert!(schedule.renewal.is_after(validity.issued));
            prop_assert!(schedule.overdue.is_after(schedule.renewal));
            prop_assert!(schedule.expiry.is_after(schedule.overdue));
        }

        #[test]
        fn a_renewal_leaves_margin_and_retries_and_takes_at_most_four_fifths_and_the_jitter(
            lifetime in 1_i64..200_000, wanted in wishes(), uid in "[a-f0-9-]{0,36}",
        ) {
            let schedule = Schedule::of(&validity(lifetime), wanted, Jitter::seeded_by(&uid));
            let lifetime = SignedDuration::from_secs(lifetime);
            let scheduled = lifetime.min(LONGEST_SCHEDULED);
            let until_margin = schedule.overdue.monotonic - schedule.renewal.monotonic;
            let rounding = SignedDuration::from_micros(1);
            prop_assert!(until_margin + rounding >= SignedDuration::from_secs(120).min(fraction(scheduled, 0.4)));
            prop_assert!(schedule.renewal.monotonic + rounding >= fraction(scheduled, 0.15));
            prop_assert!(schedule.renewal.monotonic < LONGEST_SCHEDULED, "at least once a day");
            let margin = schedule.expiry.monotonic - schedule.overdue.monotonic;
            prop_assert_eq!(margin, SignedDuration::from_secs(300).min(lifetime / 10));
        }

        #[test]
        fn no_record_and_no_wish_is_too_odd_to_lay_out(
            issued in any::<i64>(), lifetime in any::<i64>(), wanted in wishes(), now in any::<i64>(),
        ) {
            let moment = |seconds: i64| Moment {
                wall: Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX),
                monotonic: SignedDuration::from_secs(seconds),
            };
            let validity = Validity { issued: moment(issued), ..validity(lifetime) };
            let schedule = Schedule::of(&validity, wanted, Jitter::seeded_by("uid"));
            let now = moment(now);
            prop_assert!(!schedule.expiry.is_reached(now) || schedule.overdue.is_reached(now) || lifetime < 0);
            prop_assert!(!schedule.overdue.is_reached(now) || schedule.renewal.is_reached(now) || lifetime < 0);
            let pace = TimeScale::of(validity.lifetime);
            prop_assert!(pace.first_retry() <= pace.longest_retry());
        }

        #[test]
        fn a_longer_life_never_makes_the_pace_faster(one in 0_i64..1_000_000, more in 0_i64..1_000_000) {
            let pace = |lifetime| TimeScale::of(SignedDuration::from_millis(lifetime));
            let (short, long) = (pace(one), pace(one + more));
            let constants: [fn(TimeScale) -> SignedDuration; 7] = [
                TimeScale::first_retry,
                TimeScale::longest_retry,
                TimeScale::call_limit,
                TimeScale::token_spacing,
                TimeScale::shortest_token_spacing,
                TimeScale::longest_probe_pause,
                TimeScale::probe_look,
            ];
            for constant in constants {
                prop_assert!(constant(short) <= constant(long));
                prop_assert!(constant(long) <= constant(TimeScale::FULL));
            }
            prop_assert_eq!(pace(one).outruns_kubelet(), one < 300_000);
        }

        #[test]
        fn jitter_only_makes_a_renewal_earlier_and_by_at_most_a_twentieth(uid in "[a-f0-9-]{1,36}") {
            let without = Schedule::of(&validity(3600), RenewBefore::default(), Jitter::NONE).renewal;
            let with = Schedule::of(&validity(3600), RenewBefore::default(), Jitter::seeded_by(&uid)).renewal;
            let earlier = without.monotonic - with.monotonic;
            prop_assert!(earlier >= SignedDuration::ZERO && earlier <= SignedDuration::from_secs(180));
        }
    }
}
