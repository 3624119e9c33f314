//! The conditions of a credential, as a function of what is observed and the time.

mod list;

use super::account::LastFailure;
use super::observed::{CredentialSpec, Login, Observed, TargetState, WaitCause};
use super::reason::{LoginDelay, Reason, ReferenceProblem};
use super::schedule::TimeScale;
use super::time::{Moment, to_second};
pub use list::{Condition, ConditionStatus, ConditionType, Wanted, Word, find, merge};

/// The conditions of a credential. `Ready` is always present, and `LoginAccepted` of one that logs in; the others only while
/// they are true.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// The target holds a valid token, written for this generation: true with the first, false with the second.
    pub ready: Result<Reason, Reason>,
    /// There is no valid token yet, or the spec is not applied yet.
    pub reconciling: Option<Reason>,
    /// A person is needed.
    pub stalled: Option<Reason>,
    /// The result of the last login; `None` if this process does not know it and the previous condition stays.
    pub login_accepted: Option<LoginAnswer>,
    /// The renewal is late.
    pub renewal_overdue: Option<Reason>,
}

/// The issuer's answer to user name and password.
#[derive(Clone, Debug, PartialEq)]
pub enum LoginAnswer {
    /// It was not asked yet.
    NotTried,
    /// The issuer accepted the login.
    Accepted,
    /// Rejected, and how.
    Rejected(Reason),
    /// The credential has no login: it follows another one.
    Unneeded,
}

impl Conditions {
    /// The list in which they are written, over the one that stands there.
    #[must_use]
    pub fn wanted(&self, previous: &[Condition]) -> Vec<Wanted> {
        use ConditionStatus::{False, True, Unknown};
        let ready = match &self.ready {
            Ok(reason) => Wanted::new(ConditionType::Ready, True, reason),
            Err(reason) => Wanted::new(ConditionType::Ready, False, reason),
        };
        let optional = [
            (ConditionType::Reconciling, &self.reconciling),
            (ConditionType::Stalled, &self.stalled),
            (ConditionType::RenewalOverdue, &self.renewal_overdue),
        ];
        let present =
            |(type_, reason): (_, &Option<Reason>)| Some(Wanted::new(type_, True, reason.as_ref()?));
        let type_ = ConditionType::LoginAccepted;
        let pending = || Wanted::new(type_, Unknown, &Reason::LoginPending);
        let login = match &self.login_accepted {
            Some(LoginAnswer::Accepted) => Some(Wanted::new(type_, True, &Reason::LoginAccepted)),
            Some(LoginAnswer::Rejected(reason)) => Some(Wanted::new(type_, False, reason)),
            Some(LoginAnswer::NotTried) => Some(pending()),
            Some(LoginAnswer::Unneeded) => None,
            None => Some(Wanted::kept(type_, previous).unwrap_or_else(pending)),
        };
        [ready].into_iter().chain(optional.into_iter().filter_map(present)).chain(login).collect()
    }
}

/// Derives the conditions.
#[must_use]
pub fn conditions(observed: &Observed<'_>, now: Moment) -> Conditions {
    let state = observed.target_state();
    let blocker = blocker(observed, &state, now);
    let ready = ready(observed, &state, blocker.as_ref(), now);
    let is_suspended = observed.spec.is_ok_and(|spec| spec.suspended);
    let renewal_overdue = observed
        .schedule()
        .filter(|schedule| !is_suspended && schedule.overdue.is_reached(now))
        .filter(|_| observed.unserved_until().is_none())
        .map(|schedule| Reason::RenewalOverdue {
            expiry: to_second(schedule.expiry.wall),
            cause: blocker.clone().map(Box::new),
        });
    // A selector that permits nobody keeps no token of its own from coming.
    let is_selector_ignored =
        observed.spec.is_ok_and(|spec| spec.has_namespace_selector) && !observed.reads_namespace_labels;
    let selector = is_selector_ignored.then_some(Reason::Reference(ReferenceProblem::SelectorIgnored));
    let stalled = blocker.filter(Reason::needs_user_action).or(selector);
    let reconciling = match &ready {
        Err(reason) if stalled.is_none() && !is_suspended => Some(reason.clone()),
        _ => None,
    };
    Conditions { ready, reconciling, stalled, login_accepted: login_answer(observed, now), renewal_overdue }
}

/// What keeps the specification from being carried out, if anything.
#[must_use]
pub fn blocker(observed: &Observed<'_>, state: &TargetState<'_>, now: Moment) -> Option<Reason> {
    let spec = match observed.spec {
        Ok(spec) => spec,
        Err(reason) => return Some(reason.clone()),
    };
    if spec.suspended {
        return None;
    }
    if let TargetState::Blocked(reason) = state {
        return Some(reason.clone());
    }
    if let Some((reason, _)) = observed.write_pause {
        return Some(reason.clone());
    }
    if let Some(reason) = observed.failing_call {
        return Some(reason.clone());
    }
    if observed.repair_pause.is_some_and(|until| !until.is_reached(now)) && observed.needs_write(state) {
        return Some(Reason::TargetContested { secret: spec.target.secret.clone() });
    }
    let of_login = match &observed.login {
        Login::Unread => None,
        Login::Defective(reason) => Some(reason.clone()),
        Login::Account(account) => {
            let waits_for = account.waits_for.map(|cause| spec.account.wait_reason(cause));
            match account.waits_for {
                Some(WaitCause::LoginRateLimited { .. }) => waits_for,
                _ => account.failure_reason(&spec.account).or(waits_for),
            }
        }
    };
    of_login.or_else(|| observed.unserved_until().map(|_| Reason::TokenLifetimeTooShort))
}

fn ready(
    observed: &Observed<'_>,
    state: &TargetState<'_>,
    blocker: Option<&Reason>,
    now: Moment,
) -> Result<Reason, Reason> {
    let spec = observed.spec.map_err(Clone::clone)?;
    let otherwise = |progress: Reason| Err(blocker.cloned().unwrap_or(progress));
    let Some(published) = observed.published else {
        return if spec.suspended { Err(Reason::Suspended) } else { otherwise(Reason::Issuing) };
    };
    if observed.unserved_until().is_some() {
        // The same message before and after expiry: each change would be another write.
        return otherwise(Reason::TokenLifetimeTooShort);
    }
    let expiry = to_second(published.validity.expiry().wall);
    if !observed.is_published_alive(now) {
        let cause = if spec.suspended { Some(Reason::Suspended) } else { blocker.cloned() };
        return Err(Reason::Expired { expiry, cause: cause.map(Box::new) });
    }
    if !holds_token(observed, state) {
        return if spec.suspended { Err(Reason::Suspended) } else { otherwise(Reason::Issuing) };
    }
    // A login Secret with another content is a renewal that is due; the token stays good for this specification.
    let is_fulfilled = published.generation == Some(observed.generation)
        && published.account.as_ref() == Some(&spec.account)
        && !is_of_replaced_owner(observed);
    if !is_fulfilled && !spec.suspended {
        return otherwise(Reason::Updating);
    }
    Ok(Reason::TokenPublished {
        secret: spec.target.secret.clone(),
        expiry,
        outruns_kubelet: TimeScale::of(published.validity.lifetime).outruns_kubelet(),
    })
}

/// Whether the published token comes from an owner that was replaced by one that shares another account, or none. That is not
/// known until the present one has read its login.
fn is_of_replaced_owner(observed: &Observed<'_>) -> bool {
    observed.is_published_by_another_owner() && !matches!(observed.login, Login::Unread)
}

/// Whether the target still holds the published token, as far as is known.
fn holds_token(observed: &Observed<'_>, state: &TargetState<'_>) -> bool {
    match state {
        TargetState::Untouched | TargetState::Unverified => true,
        // A conflict: the Secret is not ours, whatever it contains.
        TargetState::Absent | TargetState::Blocked(Reason::TargetConflict { .. }) => false,
        TargetState::Ours(read) => read.token.is_some(),
        TargetState::Blocked(_) => observed.target_read.is_some_and(|read| read.token.is_some()),
    }
}

fn login_answer(observed: &Observed<'_>, now: Moment) -> Option<LoginAnswer> {
    if observed.is_follower() {
        return Some(LoginAnswer::Unneeded);
    }
    let account = observed.account()?;
    let is_rejection = |it: &LastFailure| it.failure.cause.is_rejection();
    if account.last_failure.as_ref().is_some_and(is_rejection) {
        let spec = observed.spec.ok()?;
        let delay = own_delay(observed, spec, now).or(account.login_delay);
        return account.failure_reason(&spec.account).map(|it| LoginAnswer::Rejected(it.delayed(delay)));
    }
    if account.is_proven() {
        return Some(LoginAnswer::Accepted);
    }
    (!observed.is_published_by_this_account()).then_some(LoginAnswer::NotTried)
}

/// What of the credential itself puts its next login off.
fn own_delay(observed: &Observed<'_>, spec: &CredentialSpec, now: Moment) -> Option<LoginDelay> {
    if spec.suspended {
        return Some(LoginDelay::Suspended);
    }
    let is_paused = observed.write_pause.is_some_and(|(_, until)| !until.is_reached(now));
    let is_blocked = matches!(observed.target_state(), TargetState::Blocked(_)) || is_paused;
    (is_blocked && !observed.is_wanted_by_followers).then_some(LoginDelay::TargetNotWritable)
}

#[cfg(test)]
mod tests;
