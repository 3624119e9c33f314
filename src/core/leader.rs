//! Who may act: the decision of a replica about the lease that all of them share.
//!
//! By the times in the lease nobody is judged: another replica wrote them by its own clock. What counts is how long ago a
//! version of the lease was first seen here. They only show how far the two clocks are apart.

use jiff::{SignedDuration, Timestamp};

use super::moment::Moment;

/// The timings of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a lease that is not renewed belongs to its holder.
    pub duration: SignedDuration,
    /// How long after its last renewal the holder still begins anything. Shorter than `duration`, so that nothing is begun
    /// once somebody else may lead. What was begun may still be on its way then: writes are fenced, and of each account
    /// one call to the issuer may be a stray.
    pub renew_deadline: SignedDuration,
    /// How often the holder renews it and the others look at it.
    pub retry_period: SignedDuration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            duration: SignedDuration::from_secs(15),
            renew_deadline: SignedDuration::from_secs(10),
            retry_period: SignedDuration::from_secs(2),
        }
    }
}

/// A lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its resourceVersion.
    pub version: String,
    /// Who holds it; nobody after a release.
    pub holder: Option<String>,
    /// How long it belongs to its holder from its last renewal on.
    pub duration: SignedDuration,
    /// How often it changed hands.
    pub transitions: i32,
    /// When it was last renewed, by the clock of its last holder.
    pub renewed: Option<Timestamp>,
}

/// A lease, and since when this very version of it is known here.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenLease {
    /// The lease; `None` when there is none.
    pub record: Option<LeaseRecord>,
    /// When it was first seen like this.
    pub since: Moment,
}

impl SeenLease {
    /// Takes in what was read now. A version that is known already keeps its time.
    #[must_use]
    pub fn updated(self, record: Option<LeaseRecord>, now: Moment) -> Self {
        let is_same = self.record == record;
        Self { record, since: if is_same { self.since } else { now } }
    }

    /// How far this machine's wall clock is behind that of the last holder, at least: a renewal cannot have been seen
    /// before it was made. Never less than nothing, for a renewal may be seen long after.
    #[must_use]
    pub fn clock_behind(&self, now: Moment) -> SignedDuration {
        let Some(renewed) = self.record.as_ref().and_then(|record| record.renewed) else {
            return SignedDuration::ZERO;
        };
        // The wall clock as it goes now; it may have been set since.
        let age = now.monotonic - self.since.monotonic;
        (renewed.duration_since(now.wall) + age).max(SignedDuration::ZERO)
    }
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// There is none: create it.
    Create,
    /// It is free, or its holder let it run out: take it.
    Take(&'a LeaseRecord),
    /// It is ours: renew it.
    Renew(&'a LeaseRecord),
    /// It is somebody else's.
    Wait,
}

/// Decides what to do about the lease.
#[must_use]
pub fn evaluate<'a>(seen: &'a SeenLease, me: &str, now: Moment) -> Claim<'a> {
    let Some(record) = &seen.record else { return Claim::Create };
    match record.holder.as_deref() {
        None => Claim::Take(record),
        Some(holder) if holder == me => Claim::Renew(record),
        // By the monotonic clock alone: a wall clock that was set forward does not make another replica slower.
        Some(_) if (now.monotonic - seen.since.monotonic) >= record.duration => Claim::Take(record),
        Some(_) => Claim::Wait,
    }
}

/// Whether the holder may still act, given the moment just before its last successful claim was sent: before the renew
/// deadline by both clocks, for a suspended machine's monotonic clock stood still.
#[must_use]
pub fn may_act(claimed: Option<Moment>, timings: Timings, now: Moment) -> bool {
    claimed.is_some_and(|claimed| !claimed.plus(timings.renew_deadline).has_come(now))
}

#[cfg(test)]
mod tests {
    use super::super::world::at;
    use super::*;

    fn seen(holder: Option<&str>, since: i64) -> SeenLease {
        let record = LeaseRecord {
            version: "1".into(),
            holder: holder.map(str::to_owned),
            duration: SignedDuration::from_secs(15),
            transitions: 0,
            renewed: None,
        };
        SeenLease { record: Some(record), since: at(since) }
    }

    fn claim(seen: &SeenLease, now: Moment) -> &'static str {
        match evaluate(seen, "me", now) {
            Claim::Create => "create",
            Claim::Take(_) => "take",
            Claim::Renew(_) => "renew",
            Claim::Wait => "wait",
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_it_is_free_or_was_seen_unchanged_for_its_duration() {
        let none = SeenLease { record: None, since: at(0) };
        let cases = [
            ("there is none", none, 0, "create"),
            ("released", seen(None, 0), 0, "take"),
            ("ours", seen(Some("me"), 0), 100, "renew"),
            ("another's, fresh", seen(Some("you"), 0), 14, "wait"),
            ("another's, run out", seen(Some("you"), 0), 15, "take"),
        ];
        for (case, seen, now, expected) in cases {
            assert_eq!(claim(&seen, at(now)), expected, "{case}");
        }
    }

    #[test]
    fn a_wall_clock_that_jumps_forward_takes_no_lease() {
        let jumped = Moment { wall: at(1000).wall, ..at(5) };
        assert_eq!(claim(&seen(Some("you"), 0), jumped), "wait");
    }

    #[test]
    fn a_renewal_by_the_holder_starts_its_time_anew() {
        let renewed = LeaseRecord { version: "2".into(), ..seen(Some("you"), 0).record.unwrap() };
        let seen = seen(Some("you"), 0).updated(Some(renewed.clone()), at(10));
        assert_eq!(claim(&seen, at(20)), "wait");
        let seen = seen.updated(Some(renewed), at(20));
        assert_eq!(claim(&seen, at(25)), "take", "seen again is not renewed");
    }

    #[test]
    fn a_clock_is_known_to_be_behind_by_a_renewal_that_was_seen_before_it_was_made() {
        let renewed = |moment: Moment| {
            let record = LeaseRecord { renewed: Some(moment.wall), ..seen(Some("you"), 0).record.unwrap() };
            SeenLease { record: Some(record), since: at(10) }
        };
        let seconds = SignedDuration::from_secs;
        assert_eq!(renewed(at(9)).clock_behind(at(30)), seconds(0), "seen a second after it was made");
        assert_eq!(renewed(at(70)).clock_behind(at(10)), seconds(60));
        assert_eq!(renewed(at(70)).clock_behind(at(25)), seconds(60), "however long ago that was");
        let set_back = Moment { wall: at(-3575).wall, ..at(25) };
        assert_eq!(renewed(at(10)).clock_behind(set_back), seconds(3600), "set since it was seen");
        let slept = Moment { wall: at(7000).wall, ..at(25) };
        assert_eq!(renewed(at(70)).clock_behind(slept), seconds(0), "suspended since it was seen");
        assert_eq!(seen(None, 0).clock_behind(at(5)), seconds(0), "nobody said when");
    }

    #[test]
    fn the_holder_stops_before_its_lease_can_be_taken_by_either_clock() {
        let timings = Timings::default();
        assert!(!may_act(None, timings, at(0)));
        assert!(may_act(Some(at(0)), timings, at(9)));
        assert!(!may_act(Some(at(0)), timings, at(10)));
        let slept = Moment { wall: at(60).wall, ..at(1) };
        assert!(!may_act(Some(at(0)), timings, slept), "suspended: the monotonic clock stood still");
        assert!(timings.renew_deadline < timings.duration);
    }
}
