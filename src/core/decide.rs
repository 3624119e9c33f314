//! What to do next for one credential: one function of what is observed and the time.
//!
//! The shell carries out one step, observes again and decides again, until the decision is to rest. Deciding again
//! right after a step never asks for the same step: each one changes what is observed.

mod trigger;

use std::sync::Arc;

pub use trigger::{Trigger, trigger};

use super::account::Next;
use super::observed::{AccountView, Login, Observed, Rejection, TargetState, TokenSource};
use super::retry::RetryClass;
use super::schedule::{SHORTEST_SERVED, TimeScale};
use super::sharing::Wish;
use super::target::ObjectVersion;
use super::time::Moment;
use super::token::IssuedToken;

/// The next step for a credential.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Read the target Secret.
    ReadTarget,
    /// Read the login Secret and the CA bundle, and find the account that they name.
    ReadLogin,
    /// Request a new token from the account. Its end is reported; nothing waits for it.
    Obtain {
        /// Record the attempt in status when it is the call's turn, and do not log in if that fails: a process that
        /// cannot record it must not attempt a password that was never accepted.
        record_first: bool,
        /// Allow one attempt although the login is held.
        override_hold: bool,
    },
    /// Write the target with a token that the account holds.
    Publish {
        /// The token to publish.
        token: Arc<IssuedToken>,
        /// It restores what someone changed, instead of publishing a new token.
        repair: bool,
        /// The version of the target that it may replace; none where the target must not exist.
        fence: Option<ObjectVersion>,
    },
    /// Write the target with the token that was found in it by its fingerprint.
    PublishReadBack {
        /// The version of the target that it may replace; none where the target must not exist.
        fence: Option<ObjectVersion>,
    },
    /// Nothing to do before this moment, or before something changes.
    Rest {
        /// When to look again.
        until: Option<Moment>,
    },
}

/// A plan with the time at which it was decided. To carry it out is to act at that time: whatever the calls of the plan
/// take, nothing is observed for it again.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The next step.
    pub plan: Plan,
    /// The time for which the step was chosen.
    pub decided_at: Moment,
}

/// Decides the next action for one credential.
#[must_use]
pub fn decide(observed: &Observed<'_>, now: Moment) -> Decision {
    Decision { plan: plan(observed, now), decided_at: now }
}

fn plan(observed: &Observed<'_>, now: Moment) -> Plan {
    let rest = |is_wanted| Plan::Rest { until: wake_up(observed, is_wanted, now) };
    let Ok(spec) = observed.spec else { return rest(false) };
    let is_rejected = observed.login_record.rejection != Rejection::None && !observed.is_follower();
    // What status remembers of a rejected login has to find its account before anyone logs in there; also where this
    // credential itself does nothing.
    if is_rejected && matches!(observed.login, Login::Unread) {
        return Plan::ReadLogin;
    }
    if spec.suspended {
        return rest(false);
    }
    // Whatever keeps the own target from being written does not concern the followers. If the login may name another account
    // by now, it is read for them: they see whether it does.
    let is_shared = observed.is_wanted_by_followers;
    let is_followed = observed.followers.is_some_and(|followers| followers.count > 0);
    let for_followers = || if is_shared || is_followed { ask(observed, is_shared) } else { None };
    let is_paused = observed.write_pause.is_some_and(|(_, until)| !until.is_reached(now));
    if is_paused {
        return for_followers().unwrap_or_else(|| rest(is_shared));
    }
    let state = observed.target_state();
    match &state {
        TargetState::Blocked(_) => return for_followers().unwrap_or_else(|| rest(is_shared)),
        // Also before the first login: none is spent on a target that cannot be written.
        TargetState::Unverified => return Plan::ReadTarget,
        TargetState::Untouched | TargetState::Absent | TargetState::Ours(_) => {}
    }
    let is_paced = is_paced(observed, now);
    if let Some(token) = better_token(observed, now).filter(|_| !is_paced) {
        return Plan::Publish { token, repair: false, fence: observed.target_fence().cloned() };
    }
    let is_wanted = is_shared || wants_renewal(observed, &state, now);
    let rewrite = || rewrite(observed, &state, now).filter(|_| !is_paced);
    ask(observed, is_wanted).or_else(rewrite).unwrap_or_else(|| rest(is_wanted))
}

/// The step towards a new token, if one is wanted and the credential itself can take it: a follower cannot.
fn ask(observed: &Observed<'_>, is_wanted: bool) -> Option<Plan> {
    match &observed.login {
        _ if observed.is_follower() => None,
        Login::Unread if is_wanted || observed.is_login_changed() => Some(Plan::ReadLogin),
        Login::Account(account) if is_wanted => obtain(observed, account),
        Login::Unread | Login::Account(_) | Login::Defective(_) => None,
    }
}

/// What a follower wishes of its owner, if the owner has to do anything for it: another token than the published one; or, where
/// that is of another account, any that the owner's account holds.
#[must_use]
pub fn wish(observed: &Observed<'_>, now: Moment) -> Option<Wish> {
    let published = observed.published.filter(|_| observed.is_published_by_this_account());
    is_owner_needed(observed, now)
        .then(|| Wish { published: published.map(|published| published.fingerprint.clone()) })
}

fn is_owner_needed(observed: &Observed<'_>, now: Moment) -> bool {
    let Ok(spec) = observed.spec else { return false };
    let is_paused = observed.write_pause.is_some_and(|(_, until)| !until.is_reached(now));
    let is_permitted = !matches!(observed.login, Login::Defective(_));
    let state = observed.target_state();
    let is_writable = !matches!(state, TargetState::Blocked(_) | TargetState::Unverified);
    let can_use_one = !spec.suspended && !is_paused && is_permitted && is_writable;
    observed.is_follower()
        && can_use_one
        && better_token(observed, now).is_none()
        && wants_renewal(observed, &state, now)
}

/// Whether a newer token is wanted, and may be written.
fn wants_renewal(observed: &Observed<'_>, state: &TargetState<'_>, now: Moment) -> bool {
    !is_paced(observed, now) && !is_unserved(observed, now) && wants_token(observed, state, now)
}

fn is_paced(observed: &Observed<'_>, now: Moment) -> bool {
    observed.paced_until().is_some_and(|until| !until.is_reached(now))
}

/// The account's newest token, where that should replace what is published.
///
/// An older token never replaces a newer one of the same account.
fn better_token(observed: &Observed<'_>, now: Moment) -> Option<Arc<IssuedToken>> {
    let token = observed.account()?.token.as_ref()?;
    if token.validity.expiry().is_reached(now) {
        return None;
    }
    if is_unserved(observed, now) && token.validity.lifetime < SHORTEST_SERVED {
        return None;
    }
    let is_better = observed.published.is_none_or(|published| {
        let is_older = published.validity.issued.is_after(token.validity.issued);
        token.fingerprint != published.fingerprint && (!is_older || !observed.is_published_by_this_account())
    });
    is_better.then(|| Arc::clone(token))
}

/// Whether another very short-lived token would only cause another write.
fn is_unserved(observed: &Observed<'_>, now: Moment) -> bool {
    observed.unserved_until().is_some_and(|until| !until.is_reached(now))
}

/// Whether a token is wanted that is newer than the published one.
fn wants_token(observed: &Observed<'_>, state: &TargetState<'_>, now: Moment) -> bool {
    let Some(schedule) = observed.schedule() else { return true };
    let is_lost = observed.needs_write(state) && matches!(observed.token_source(state), TokenSource::Nowhere);
    is_lost
        || schedule.renewal.is_reached(now)
        || !observed.is_published_by_this_account()
        || observed.renewal_requested.is_some_and(|since| !is_answered(observed, since, now))
}

/// A request for a renewal is answered by any token that was obtained after it, or so shortly before that another
/// one would be waste.
#[must_use]
pub fn is_answered(observed: &Observed<'_>, requested: Moment, now: Moment) -> bool {
    observed.published.is_some_and(|published| {
        let issued = published.validity.issued;
        let spacing = TimeScale::of(published.validity.lifetime).token_spacing();
        issued.is_after(requested) || !issued.plus(spacing).is_reached(now)
    })
}

fn obtain(observed: &Observed<'_>, account: &AccountView) -> Option<Plan> {
    let is_recorded =
        observed.login_record.attempted && !observed.is_login_changed() && observed.is_generation_observed();
    let (record_first, override_hold) = match account.next {
        Next::Refresh => return Some(Plan::Obtain { record_first: false, override_hold: false }),
        Next::Login => (!account.is_proven() && !is_recorded, false),
        Next::Held | Next::Wait(_) if is_hold_overridden(observed, account) && account.put_off.is_none() => {
            (true, true)
        }
        Next::Held | Next::Wait(_) | Next::InFlight => return None,
    };
    Some(if observed.is_login_at_hand {
        Plan::Obtain { record_first, override_hold }
    } else {
        Plan::ReadLogin
    })
}

/// Whether the attempt that a changed spec or a requested renewal allows is still waiting; until it is made, the generation
/// is not observed.
#[must_use]
pub fn owes_attempt(observed: &Observed<'_>) -> bool {
    let waits = |account: &AccountView| account.put_off.is_some() || account.next == Next::InFlight;
    observed.account().is_some_and(|account| waits(account) && is_hold_overridden(observed, account))
}

/// Whether another attempt of a rejected login was requested since the last one: by a changed spec, by a requested
/// renewal, or perhaps by a corrected login Secret while no controller ran. (A new login in this process is another
/// account, which was not rejected; a new credential of a known account requests nothing.)
fn is_hold_overridden(observed: &Observed<'_>, account: &AccountView) -> bool {
    account
        .last_failure
        .as_ref()
        .filter(|last_failure| last_failure.failure.class == RetryClass::Rejected)
        .is_some_and(|last_failure| {
            let is_new = |since: Moment| since.is_after(last_failure.last);
            let is_changed = observed.observed_generation.is_some() && !observed.is_generation_observed();
            is_changed && is_new(observed.generation_since)
                || observed.renewal_requested.is_some_and(is_new)
                || observed.login_record.rejection == Rejection::PerhapsRepaired
                    && account.attempted.is_none()
        })
}

/// Restores what someone changed, or renders a changed template, with the existing token.
fn rewrite(observed: &Observed<'_>, state: &TargetState<'_>, now: Moment) -> Option<Plan> {
    if !observed.is_published_alive(now) || !observed.needs_write(state) {
        return None;
    }
    let repair = !matches!(state, TargetState::Untouched);
    if repair && observed.repair_pause.is_some_and(|until| !until.is_reached(now)) {
        return None;
    }
    let fence = observed.target_fence().cloned();
    match observed.token_source(state) {
        TokenSource::Memory(token) => Some(Plan::Publish { token: Arc::clone(token), repair, fence }),
        TokenSource::Target => Some(Plan::PublishReadBack { fence }),
        TokenSource::Unread => Some(Plan::ReadTarget),
        TokenSource::Nowhere => None,
    }
}

/// The next moment at which the decision or the conditions can change by time alone.
fn wake_up(observed: &Observed<'_>, is_wanted: bool, now: Moment) -> Option<Moment> {
    let schedule = observed.schedule();
    let renews = observed.spec.is_ok_and(|spec| !spec.suspended);
    // A follower is woken once its owner has obtained a token.
    let account = observed.account().filter(|_| is_wanted && !observed.is_follower());
    let next_attempt = account.and_then(|account| match account.next {
        Next::Wait(at) => Some(at),
        Next::Refresh | Next::Login | Next::InFlight | Next::Held => None,
    });
    let lifted =
        account.filter(|account| is_hold_overridden(observed, account)).and_then(|account| account.put_off);
    [
        schedule.filter(|_| renews).map(|schedule| schedule.renewal),
        schedule.map(|schedule| schedule.overdue),
        schedule.map(|schedule| schedule.expiry),
        observed.write_pause.map(|(_, until)| until),
        observed.repair_pause,
        observed.unserved_until(),
        observed.paced_until().filter(|_| renews),
        next_attempt,
        lifted,
    ]
    .into_iter()
    .flatten()
    .filter(|moment| !moment.is_reached(now))
    .reduce(|sooner, other| sooner.earlier(other, now))
}

#[cfg(test)]
mod followers;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
