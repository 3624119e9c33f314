//! How long before its expiry a token is to be renewed.

use jiff::SignedDuration;

/// How long before expiry a renewal is due at the latest: with the overdue margin and two minutes left, or two fifths
/// of a shorter lifetime.
#[must_use]
pub fn latest_renewal(lifetime: SignedDuration) -> SignedDuration {
    overdue_margin(lifetime) + SignedDuration::from_secs(120).min(fraction(lifetime, 0.4))
}

/// How long before expiry a renewal counts as overdue: five minutes, or a tenth of a shorter lifetime.
#[must_use]
pub fn overdue_margin(lifetime: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(300).min(lifetime / 10)
}

pub(super) fn fraction(duration: SignedDuration, share: f64) -> SignedDuration {
    duration.mul_f64(share)
}
