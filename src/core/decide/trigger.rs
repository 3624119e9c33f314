//! What leads to a call for a token.

use super::{is_answered, wants_token};
use crate::core::observed::Observed;
use crate::core::time::Moment;

/// What leads to a call for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing is published yet.
    FirstToken,
    /// Somebody asked for a renewal.
    Requested,
    /// The login is another one.
    LoginChanged,
    /// It is time.
    Due,
    /// The published token is lost, or of another account.
    Replacement,
    /// Followers need another token.
    Followers,
}

impl Trigger {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstToken => "first_token",
            Self::Requested => "requested",
            Self::LoginChanged => "login_changed",
            Self::Due => "due",
            Self::Replacement => "replacement",
            Self::Followers => "followers",
        }
    }
}

/// What leads to the call that a credential needs now; none if it needs no token.
#[must_use]
pub fn trigger(observed: &Observed<'_>, now: Moment) -> Option<Trigger> {
    if !wants_token(observed, &observed.target_state(), now) {
        return observed.is_wanted_by_followers.then_some(Trigger::Followers);
    }
    let is_open = |since| !is_answered(observed, since, now);
    Some(match observed.schedule() {
        None => Trigger::FirstToken,
        Some(_) if observed.renewal_requested.is_some_and(is_open) => Trigger::Requested,
        Some(schedule) if schedule.renewal.is_reached(now) => Trigger::Due,
        Some(_) if !observed.is_published_by_this_account() => Trigger::LoginChanged,
        Some(_) => Trigger::Replacement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{OTHER, TestWorld, at};

    fn of(mut world: TestWorld, change: impl FnOnce(&mut TestWorld)) -> Option<Trigger> {
        change(&mut world);
        world.settle();
        trigger(&world.observe(), world.now)
    }

    #[test]
    fn a_call_has_the_trigger_that_led_to_it() {
        assert_eq!(of(TestWorld::new(), |_| ()), Some(Trigger::FirstToken));
        let published = |change: fn(&mut TestWorld)| of(TestWorld::published(), change);
        assert_eq!(published(|_| ()), None);
        assert_eq!(published(|world| world.is_wanted_by_followers = true), Some(Trigger::Followers));
        assert_eq!(published(|world| world.now = at(3500)), Some(Trigger::Due));
        assert_eq!(published(|world| world.edit_login(Ok(OTHER))), Some(Trigger::LoginChanged));
        let requested = published(|world| {
            world.now = at(1800);
            world.request_renewal(at(1800));
        });
        assert_eq!(requested, Some(Trigger::Requested));
        let lost = published(|world| {
            world.restart();
            world.delete_target();
        });
        assert_eq!(lost, Some(Trigger::Replacement));
        let names = [Trigger::FirstToken, Trigger::Requested, Trigger::LoginChanged, Trigger::Due]
            .into_iter()
            .chain([Trigger::Replacement, Trigger::Followers])
            .map(Trigger::name)
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names.len(), 6);
    }
}
