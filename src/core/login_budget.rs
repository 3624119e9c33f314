//! The login budget: how often a rejected login may be attempted.
//!
//! Many issuers lock an account after five wrong passwords. So a rejected login is attempted three times within a
//! quarter of an hour, because issuers err too, and then held: forever if it was never accepted, and otherwise except
//! for one attempt an hour. A requested attempt is made at once, unless logins that were never accepted had four
//! rejections within the hour: new wrong passwords of one user name do not add up.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::SignedDuration;

use super::time::Moment;

/// When the second and third attempts of a rejected login follow, counted from the first rejection.
const ATTEMPT_OFFSETS: [SignedDuration; 2] = [SignedDuration::from_mins(5), SignedDuration::from_mins(15)];
/// The least time between two attempts with a rejected login that was never accepted.
const MIN_ATTEMPT_SPACING: SignedDuration = SignedDuration::from_mins(5);
/// The pause between attempts with a rejected login that was accepted before.
const HOURLY_ATTEMPT: SignedDuration = SignedDuration::from_hours(1);
/// More rejections than this are not kept: no rule looks further back.
const MAX_KEPT: usize = 8;

/// The rejections of one login since it was accepted last: its user name with its password.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoginBudget {
    rejections: Vec<Moment>,
}

impl LoginBudget {
    /// Takes over what status remembers: so many rejections, and when the last one was.
    #[must_use]
    pub fn remembered(count: u32, last: Moment) -> Self {
        let count = usize::try_from(count).unwrap_or(MAX_KEPT).min(MAX_KEPT);
        let mut rejections = vec![last; count];
        // The schedule continues: the second came five minutes after the first.
        if count == 2 {
            rejections[0] = last.minus(ATTEMPT_OFFSETS[0]);
        }
        Self { rejections }
    }

    /// The rejections in a row.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.rejections.len()).unwrap_or(u32::MAX)
    }

    /// The issuer rejected the login.
    pub fn reject(&mut self, now: Moment) {
        if self.rejections.len() == MAX_KEPT {
            self.rejections.remove(0);
        }
        self.rejections.push(now);
    }

    /// The last rejection turned out to be meaningless.
    pub fn forgive(&mut self) {
        self.rejections.pop();
    }

    /// When the login may be attempted again without a request; never while it is held.
    #[must_use]
    pub fn next_attempt(&self, is_proven: bool) -> Option<Moment> {
        let (first, last) = (self.rejections.first()?, self.rejections.last()?);
        match ATTEMPT_OFFSETS.get(self.rejections.len() - 1) {
            Some(pause) => Some(first.plus(*pause).not_before(last.plus(MIN_ATTEMPT_SPACING))),
            None => is_proven.then(|| last.plus(HOURLY_ATTEMPT)),
        }
    }
}

/// The limit on rejections of one user name at one issuer, over all passwords that were never accepted. Each namespace
/// has its own, so that none can use up another's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RejectionLimit {
    recent: Vec<Moment>,
    /// Logins in progress; each may be rejected.
    in_progress: usize,
}

impl RejectionLimit {
    /// The most rejected logins of one user name in an hour, whatever the password.
    pub const MAX_REJECTIONS: usize = 4;
    /// The time that the limit is for.
    pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);
    /// How soon logins retry that wait for logins in progress.
    pub const RECHECK_PAUSE: SignedDuration = SignedDuration::from_secs(2);

    /// Takes over what status remembers. Of several records, as of several credentials, the largest count holds.
    pub fn remember(&mut self, count: u32, last: Moment) {
        let count = usize::try_from(count).unwrap_or(Self::MAX_REJECTIONS).min(Self::MAX_REJECTIONS);
        while self.recent.len() < count {
            self.recent.push(last);
        }
    }

    /// Such a login begins.
    pub fn begin(&mut self) {
        self.in_progress += 1;
    }

    /// Such a login has ended.
    pub fn end(&mut self, is_rejected: bool, now: Moment) {
        self.in_progress = self.in_progress.saturating_sub(1);
        if !is_rejected {
            return;
        }
        if self.recent.len() == Self::MAX_REJECTIONS {
            self.recent.remove(0);
        }
        self.recent.push(now);
    }

    /// Until when the next attempt must wait; `None` if it may be made now.
    #[must_use]
    pub fn blocked_until(&self, now: Moment) -> Option<Moment> {
        let mut recent = self.recent(now);
        let oldest = recent.next();
        let count = oldest.iter().count() + recent.count();
        match oldest {
            Some(oldest) if count >= Self::MAX_REJECTIONS => Some(oldest.plus(Self::WINDOW)),
            _ => (count + self.in_progress >= Self::MAX_REJECTIONS).then(|| now.plus(Self::RECHECK_PAUSE)),
        }
    }

    /// Whether it limits nothing any more.
    #[must_use]
    pub fn is_idle(&self, now: Moment) -> bool {
        self.in_progress == 0 && self.count(now) == 0
    }

    /// How many rejections there were lately.
    #[must_use]
    pub fn count(&self, now: Moment) -> u32 {
        u32::try_from(self.recent(now).count()).unwrap_or(u32::MAX)
    }

    fn recent(&self, now: Moment) -> impl Iterator<Item = &Moment> {
        self.recent.iter().filter(move |rejection| !rejection.plus(Self::WINDOW).is_reached(now))
    }
}

/// The limits of all user names of one tenant at one issuer, and a limit over all of them together: trying one user
/// name after the other, or spellings that only the issuer considers equal, does not help.
#[derive(Clone, Debug)]
pub struct RejectionLimits<U> {
    users: HashMap<U, RejectionLimit>,
    /// Those of them that had rejections. There are few, however many logins are in progress.
    rejected: HashSet<U>,
    /// Login attempts in progress; each may be rejected.
    presented: usize,
}

impl<U> Default for RejectionLimits<U> {
    fn default() -> Self {
        Self { users: HashMap::new(), rejected: HashSet::new(), presented: 0 }
    }
}

impl<U: Clone + Eq + Hash> RejectionLimits<U> {
    /// The most rejected logins of a namespace at one issuer in an hour, over all user names: as many as six new accounts have
    /// whose password is wrong, each three times, and two more. Issuers that lock an address out allow more.
    pub const MAX_REJECTIONS: usize = 20;

    /// Until when a login of this user name has to wait, if it has to.
    #[must_use]
    pub fn blocked_until(&self, user: &U, now: Moment) -> Option<Moment> {
        let own = self.users.get(user).and_then(|limit| limit.blocked_until(now));
        let later = |one: Moment, other: Moment| if one.earlier(other, now) == one { other } else { one };
        own.into_iter().chain(self.all_blocked_until(now)).reduce(later)
    }

    fn all_blocked_until(&self, now: Moment) -> Option<Moment> {
        let rejected = self.rejected.iter().filter_map(|user| self.users.get(user));
        let mut recent: Vec<Moment> = rejected.flat_map(|limit| limit.recent(now)).copied().collect();
        if recent.len() < Self::MAX_REJECTIONS {
            return (recent.len() + self.presented >= Self::MAX_REJECTIONS)
                .then(|| now.plus(RejectionLimit::RECHECK_PAUSE));
        }
        recent.sort_by_key(|rejection| rejection.monotonic);
        Some(recent[recent.len() - Self::MAX_REJECTIONS].plus(RejectionLimit::WINDOW))
    }

    /// Whether a login may be attempted, or all of them together had too many rejections; if so, it counts as in
    /// progress. (Waiting logins do not count: a team may bring a thousand good logins at once.)
    pub fn begin_attempt(&mut self, now: Moment) -> bool {
        let is_free = self.all_blocked_until(now).is_none();
        self.presented += usize::from(is_free);
        is_free
    }

    /// A login attempt ended.
    pub fn end_attempt(&mut self) {
        self.presented = self.presented.saturating_sub(1);
    }

    /// Changes the limit of this user name. Drops limits that are idle.
    pub fn change(&mut self, user: U, now: Moment, change: impl FnOnce(&mut RejectionLimit)) {
        self.rejected.insert(user.clone());
        change(self.users.entry(user).or_default());
        let users = &mut self.users;
        // A limit without rejections becomes idle by a change only, and others after a time.
        self.rejected.retain(|user| {
            let limit = users.get(user).filter(|limit| !limit.is_idle(now));
            let had_rejections = limit.is_some_and(|limit| !limit.recent.is_empty());
            if limit.is_none() {
                users.remove(user);
            }
            had_rejections
        });
    }

    /// How many rejections this user name had lately.
    #[must_use]
    pub fn count(&self, user: &U, now: Moment) -> u32 {
        self.users.get(user).map_or(0, |limit| limit.count(now))
    }

    /// Whether they limit nothing any more.
    #[must_use]
    pub fn are_idle(&self, now: Moment) -> bool {
        self.presented == 0 && self.users.values().all(|limit| limit.is_idle(now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, seconds};
    use super::*;
    use proptest::prelude::*;

    fn rejected(times: &[i64]) -> LoginBudget {
        let mut budget = LoginBudget::default();
        for time in times {
            budget.reject(at(*time));
        }
        budget
    }

    fn limited(times: &[i64]) -> RejectionLimit {
        let mut limit = RejectionLimit::default();
        for time in times {
            limit.begin();
            limit.end(true, at(*time));
        }
        limit
    }

    #[test]
    fn a_rejected_login_is_presented_at_0_5_and_15_minutes_and_then_held_but_for_an_hourly_probe() {
        let cases: [(&[i64], Option<i64>, Option<i64>); 5] = [
            (&[0], Some(300), Some(300)),
            (&[0, 300], Some(900), Some(900)),
            (&[0, 880], Some(1180), Some(1180)),
            (&[0, 300, 900], None, Some(900 + 3600)),
            (&[0, 300, 900, 4500], None, Some(4500 + 3600)),
        ];
        for (times, unproven, proven) in cases {
            let budget = rejected(times);
            assert_eq!(budget.next_attempt(false), unproven.map(at), "{times:?}");
            assert_eq!(budget.next_attempt(true), proven.map(at), "{times:?}, accepted before");
        }
        assert_eq!(LoginBudget::default().next_attempt(true), None);
    }

    #[test]
    fn after_a_restart_the_pace_goes_on() {
        let remembered = |count, last| LoginBudget::remembered(count, at(last)).next_attempt(false);
        assert_eq!(remembered(1, 0), Some(at(300)));
        assert_eq!(remembered(2, 300), Some(at(900)));
        assert_eq!(remembered(3, 900), None);
        assert_eq!(LoginBudget::remembered(1000, at(0)).count(), 8);
    }

    #[test]
    fn a_user_name_has_four_rejections_within_an_hour_at_most() {
        let limit = limited(&[0, 60, 120, 180]);
        assert_eq!(limit.blocked_until(at(200)), Some(at(3600)), "the first leaves the window");
        assert_eq!(limit.blocked_until(at(3600)), None);
        assert_eq!(limited(&[0, 60, 120]).blocked_until(at(130)), None);
        assert_eq!(limited(&[0, 60, 120, 180, 3600]).blocked_until(at(3601)), Some(at(3660)));
        assert_eq!([0, 3_599, 3_600, 3_779, 3_780].map(|now| limit.count(at(now))), [4, 4, 3, 1, 0]);
    }

    #[test]
    fn logins_under_way_count_until_they_end_otherwise() {
        let mut limit = limited(&[0, 1]);
        limit.begin();
        assert_eq!(limit.blocked_until(at(2)), None, "the fourth");
        limit.begin();
        assert_eq!(limit.blocked_until(at(2)), Some(at(4)), "two of them may be rejected");
        limit.end(false, at(3));
        assert_eq!(limit.blocked_until(at(3)), None);
        limit.end(true, at(3));
        assert_eq!(limit.blocked_until(at(3)), None, "three");
        limit.begin();
        limit.end(true, at(4));
        assert_eq!(limit.blocked_until(at(4)), Some(at(3600)));
    }

    #[test]
    fn rejections_and_logins_under_way_are_four_together_in_any_proportion() {
        for rejections in 0_u8..4 {
            let mut limit = limited(&vec![0; rejections.into()]);
            for _ in rejections..4 {
                assert_eq!(limit.blocked_until(at(1)), None, "{rejections} rejections");
                limit.begin();
            }
            assert_eq!(limit.blocked_until(at(1)), Some(at(3)), "{rejections} rejections");
        }
    }

    #[test]
    fn a_limit_is_over_once_no_login_is_under_way_and_its_rejections_have_left_the_window() {
        let mut limit = RejectionLimit::default();
        assert!(limit.is_idle(at(0)));
        limit.begin();
        assert!(!limit.is_idle(at(0)), "one is under way");
        limit.end(true, at(1));
        assert!(!limit.is_idle(at(3_600)), "it was rejected");
        assert!(limit.is_idle(at(3_601)));
        limit.begin();
        assert!(!limit.is_idle(at(3_601)), "another one is under way");
    }

    #[test]
    fn the_logins_under_way_of_one_user_name_are_not_forgotten_when_another_one_comes() {
        let mut limits = RejectionLimits::default();
        for now in 0..4 {
            limits.change("billing", at(now), RejectionLimit::begin);
            limits.change("shop", at(now), |_| ());
        }
        assert_eq!(limits.blocked_until(&"billing", at(4)), Some(at(6)), "each of the four may be rejected");
        assert!(!limits.are_idle(at(4)));
        for now in 4..8 {
            limits.change("billing", at(now), |limit| limit.end(false, at(now)));
        }
        assert!(limits.are_idle(at(8)));
    }

    #[test]
    fn of_what_several_credentials_remember_the_largest_count_holds() {
        let mut limit = RejectionLimit::default();
        limit.remember(2, at(0));
        limit.remember(3, at(10));
        limit.remember(1, at(20));
        assert_eq!(limit.blocked_until(at(30)), None, "three");
        limit.remember(1_000, at(30));
        assert_eq!(limit.blocked_until(at(30)), Some(at(3600)));
    }

    #[test]
    fn all_user_names_of_a_tenant_together_have_twenty_rejections_within_an_hour_at_most() {
        let mut limits = RejectionLimits::default();
        let mut presented = 0;
        for now in 0..100 {
            let user = now % 30;
            if limits.blocked_until(&user, at(now)).is_none() && limits.begin_attempt(at(now)) {
                limits.end_attempt();
                limits.change(user, at(now), RejectionLimit::begin);
                limits.change(user, at(now), |limit| limit.end(true, at(now)));
                presented += 1;
            }
        }
        assert_eq!(presented, 20);
        assert_eq!(limits.blocked_until(&99, at(200)), Some(at(3600)), "the first leaves the window");
        assert_eq!(limits.blocked_until(&99, at(3600)), None);
        assert!(limits.begin_attempt(at(3600)) && !limits.begin_attempt(at(3600)));
        assert_eq!(limits.blocked_until(&98, at(3600)), Some(at(3602)), "it may be rejected");
        limits.end_attempt();
        assert_eq!(limits.blocked_until(&98, at(3600)), None);
        assert!(!limits.are_idle(at(3600)) && limits.are_idle(at(4_000)));
    }

    #[test]
    fn twenty_logins_are_presented_at_once_while_none_is_rejected() {
        let mut limits = RejectionLimits::<u8>::default();
        for number in 0..20 {
            assert!(limits.begin_attempt(at(0)), "{number}");
        }
        assert!(!limits.begin_attempt(at(0)), "each of the twenty may be rejected");
        limits.end_attempt();
        assert!(limits.begin_attempt(at(0)), "one of them was not");
    }

    #[test]
    fn of_both_limits_the_later_end_holds() {
        // (four rejections of the user name, twenty of others, how long the user name has to wait)
        for (own, others, until) in [(100, 0, 3_700), (0, 100, 3_700), (50, 50, 3_650)] {
            let mut limits = RejectionLimits::default();
            limits.change(0, at(200), |limit| limit.remember(4, at(own)));
            for user in 1..6 {
                limits.change(user, at(200), |limit| limit.remember(4, at(others)));
            }
            assert_eq!(limits.blocked_until(&0, at(200)), Some(at(until)), "{own} {others}");
        }
    }

    #[test]
    fn what_is_remembered_of_many_user_names_adds_up() {
        let mut limits = RejectionLimits::default();
        for user in 0..6 {
            limits.change(user, at(10), |limit| limit.remember(4, at(0)));
        }
        assert_eq!(limits.blocked_until(&99, at(10)), Some(at(3600)));
        assert_eq!(limits.count(&3, at(10)), 4);
    }

    #[test]
    fn a_rejection_that_is_forgiven_never_was() {
        let mut budget = rejected(&[0, 300]);
        budget.forgive();
        assert_eq!(budget, rejected(&[0]));
    }

    proptest! {
        #[test]
        fn any_number_of_requests_gets_no_more_than_four_in_any_hour(
            pauses in proptest::collection::vec(0_i64..2_000, 1..60),
        ) {
            let mut limit = RejectionLimit::default();
            let (mut now, mut presented) = (at(0), Vec::new());
            for pause in pauses {
                now = now.plus(seconds(pause));
                if limit.blocked_until(now).is_none() {
                    limit.begin();
                    limit.end(true, now);
                    presented.push(now);
                }
            }
            for window in presented.windows(RejectionLimit::MAX_REJECTIONS + 1) {
                prop_assert!(window[4].monotonic - window[0].monotonic >= RejectionLimit::WINDOW);
            }
        }
    }
}
