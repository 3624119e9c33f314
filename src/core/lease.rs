//! Leader election: the decisions of a replica about the lease that all replicas share.
//!
//! The times in the lease come from the clocks of other replicas, so they do not decide anything. What counts is how
//! long ago this replica first saw a version of the lease. The times only show the difference of the clocks.
//!
//! # Why no two act at once
//!
//! Every claim writes the duration of the lease, and is fenced by the version that it replaces. Another replica takes a
//! lease only after it has seen an unchanged version for its duration, and only if that version still exists. So the
//! last successful claim of a holder decides: sent at `s` with duration `d`, no replica saw it before `s`, and none
//! takes the lease before `s + d`. The holder acts until `s' + deadline` of the last claim that it knows to have
//! succeeded, and, once it has sent a later one, not past that one's `s + deadline` either ([`Tenure::narrowed`]),
//! because the result is unknown until the response arrives. The deadline is shorter than the duration, so the holder
//! has stopped by then, whichever of its claims was the last.
//!
//! # An API server that takes long
//!
//! A holder that sends its next claim after each response knows the result two responses after the last one was sent.
//! So the [`CallLatency`] of the responses extends duration and deadline, up to a minute: the deadline must exceed two
//! responses and more. Other replicas read the duration in the lease and wait accordingly; once responses are fast
//! again, the duration shrinks with them, by the rule above.

use jiff::{SignedDuration, Timestamp};

use super::time::Moment;

/// How long a call about the lease may take at first: several have to fit between two renewals and the deadline.
const CALL_LIMIT: SignedDuration = SignedDuration::from_secs(3);
/// The longest duration to which a slow API server extends the lease.
const LONGEST_DURATION: SignedDuration = SignedDuration::from_secs(60);
/// This many responses fit into the duration of a lease; with the default timings, more than three into its deadline.
const RESPONSES_PER_DURATION: i32 = 5;
/// A call is not aborted before this many times the duration of the slowest recent response.
const TIMEOUT_FACTOR: i32 = 3;
/// What remains of the slowest answer with each faster one.
const LATENCY_DECAY: f64 = 0.75;

/// The timings of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a lease that is not renewed belongs to its holder.
    pub duration: SignedDuration,
    /// How long after its last renewal the holder still starts work. Shorter than `duration`, so that nothing starts
    /// once another replica may lead. Started work may still be in progress then: writes are fenced, and one call per
    /// account to the issuer may be a stray.
    pub renew_deadline: SignedDuration,
    /// How often the holder renews the lease and the others check it.
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

impl Timings {
    /// The timings where answers take so long. Whole seconds, as a lease states them.
    #[must_use]
    pub fn extended(self, answer: SignedDuration) -> Self {
        let wanted = SignedDuration::from_secs((answer * RESPONSES_PER_DURATION).as_secs());
        let duration = wanted.min(LONGEST_DURATION).max(self.duration);
        let renew_deadline = self.renew_deadline.mul_f64(duration.div_duration_f64(self.duration));
        Self { duration, renew_deadline, ..self }
    }

    /// How long a call about the lease may take at most: half of the longest lease.
    fn longest_call(self) -> SignedDuration {
        self.duration.max(LONGEST_DURATION) / 2
    }
}

/// How fast calls about the lease are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallLatency {
    /// How long the slowest answer of late took; it fades.
    slowest: SignedDuration,
    /// How many calls in a row had no answer in time.
    unanswered: u32,
}

impl CallLatency {
    /// A call was answered, with any result.
    pub fn answered(&mut self, took: SignedDuration) {
        *self = Self { slowest: took.max(self.slowest.mul_f64(LATENCY_DECAY)), unanswered: 0 };
    }

    /// A call had no answer in time.
    pub fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// The timeout of the next call. A call without a response may have met a dead connection, and a timeout cures
    /// that; after it, the API server itself counts as slow.
    #[must_use]
    pub fn call_limit(self, timings: Timings) -> SignedDuration {
        let usual = (self.slowest * TIMEOUT_FACTOR).max(CALL_LIMIT);
        usual.mul_f64(2_f64.powi(self.unanswered.min(10).cast_signed())).min(timings.longest_call())
    }

    /// The timings of a claim that is sent now.
    #[must_use]
    pub fn timings(self, timings: Timings) -> Timings {
        timings.extended(self.slowest)
    }
}

/// A lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The resourceVersion of the lease.
    pub version: String,
    /// The holder; `None` after a release.
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
    /// The lease; `None` if it does not exist.
    pub record: Option<LeaseRecord>,
    /// When this version was first seen.
    pub since: Moment,
}

impl SeenLease {
    /// Takes in what was read now. A version that is known already keeps its time.
    #[must_use]
    pub fn updated(self, record: Option<LeaseRecord>, now: Moment) -> Self {
        let is_same = self.record == record;
        Self { record, since: if is_same { self.since } else { now } }
    }

    /// How far this machine's wall clock is at least behind that of the last holder: a renewal cannot be seen before it
    /// is made. Never negative, because a renewal may be seen long after it.
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
    /// There is no lease: create it.
    Create,
    /// It is free, or its holder let it run out: take it.
    Take(&'a LeaseRecord),
    /// It is ours: renew it.
    Renew(&'a LeaseRecord),
    /// Another replica holds it.
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

/// Until when a holder may act, and until when no other replica can hold the lease: by both clocks, because the
/// monotonic clock of a suspended machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    acts_until: Moment,
    ours_until: Moment,
}

impl Tenure {
    /// By a claim with these timings that was sent then, and is known to have succeeded.
    #[must_use]
    pub fn granted(sent: Moment, timings: Timings) -> Self {
        Self { acts_until: sent.plus(timings.renew_deadline), ours_until: sent.plus(timings.duration) }
    }

    /// Once another claim is sent: if it succeeds and its response is lost, other replicas count from it, and by its
    /// duration.
    #[must_use]
    pub fn narrowed(self, sent: Moment, timings: Timings) -> Self {
        let further = Self::granted(sent, timings);
        Self {
            acts_until: self.acts_until.not_after(further.acts_until),
            ours_until: self.ours_until.not_after(further.ours_until),
        }
    }

    /// Whether the holder may begin anything now.
    #[must_use]
    pub fn may_act(self, now: Moment) -> bool {
        !self.acts_until.is_reached(now)
    }

    /// For how long no other replica can hold the lease: unfenced work must end within it.
    #[must_use]
    pub fn left(self, now: Moment) -> SignedDuration {
        self.ours_until.remaining(now).max(SignedDuration::ZERO)
    }
}

#[cfg(test)]
mod play;
#[cfg(test)]
mod tests {
    use super::super::testing::at;
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
        let tenure = Tenure::granted(at(0), timings);
        assert!(tenure.may_act(at(9)) && !tenure.may_act(at(10)));
        assert_eq!(tenure.left(at(9)), SignedDuration::from_secs(6));
        let slept = Moment { wall: at(60).wall, ..at(1) };
        assert!(!tenure.may_act(slept), "suspended: the monotonic clock stood still");
        assert_eq!(tenure.left(slept), SignedDuration::ZERO);
        assert!(timings.renew_deadline < timings.duration);
    }

    #[test]
    fn a_claim_whose_answer_is_awaited_gives_nothing_and_may_take() {
        let (short, long) = (Timings::default(), Timings::default().extended(SignedDuration::from_secs(12)));
        let tenure = Tenure::granted(at(0), short).narrowed(at(4), long);
        assert!(tenure.may_act(at(9)) && !tenure.may_act(at(10)), "a longer one counts once it is confirmed");
        let tenure = Tenure::granted(at(0), long).narrowed(at(4), short);
        assert!(
            tenure.may_act(at(13)) && !tenure.may_act(at(14)),
            "others may count by the shorter one already"
        );
    }

    #[test]
    fn a_lease_is_stretched_by_slow_answers_and_shrinks_with_fast_ones() {
        let seconds = SignedDuration::from_secs;
        let mut call_latency = CallLatency::default();
        let told = |call_latency: CallLatency| {
            let timings = call_latency.timings(Timings::default());
            let limit = call_latency.call_limit(Timings::default());
            [timings.duration, timings.renew_deadline, limit].map(|it| it.as_secs())
        };
        assert_eq!(told(call_latency), [15, 10, 3]);
        call_latency.unanswered();
        assert_eq!(told(call_latency), [15, 10, 6]);
        call_latency.unanswered();
        assert_eq!(told(call_latency), [15, 10, 12]);
        for (answer, expected) in
            [(3, [15, 10, 9]), (6, [30, 20, 18]), (12, [60, 40, 30]), (40, [60, 40, 30])]
        {
            call_latency.answered(seconds(answer));
            assert_eq!(told(call_latency), expected, "{answer} s");
            assert!(expected[1] >= 2 * answer || answer == 40, "two answers fit into the deadline");
        }
        for _ in 0..10 {
            call_latency.answered(seconds(0));
        }
        assert_eq!(told(call_latency)[..2], [15, 10]);
        let own = Timings { duration: seconds(150), renew_deadline: seconds(100), ..Timings::default() };
        assert_eq!(own.extended(seconds(12)), own, "never less than what was asked for");
    }
}
