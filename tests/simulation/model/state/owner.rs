//! The credential as an owner: the one that follows it, its permission, and another owner of the same name.

use std::ops::ControlFlow;
use std::sync::Arc;

use idissuer::core::decide::Plan;
use idissuer::core::time::Moment;
use idissuer::core::token::{Fingerprint, IssuedToken};
use jiff::SignedDuration;

use super::super::follower::{Follower, Offer, RENEW_BEFORE};
use super::super::issuer::Family;
use super::super::shell::{Cluster, GENERATION, Process, Target};
use super::promises::{grace, renewal_of};
use super::{Broken, Happened, State};

/// The follower rests after so many steps at the latest.
const STEPS: u32 = 6;

#[derive(Clone)]
pub(super) struct Followed {
    follower: Follower,
    is_permitted: bool,
    has_owner: bool,
    /// The uid of the owner, or of the last one.
    owner_uid: Arc<str>,
    /// Since when there is an owner that permits it.
    since: SignedDuration,
    /// It was permitted, or its target deleted, since it last got a token: it may need one that its owner does not.
    is_behind: bool,
}

impl Followed {
    fn offer<'a>(&self, owner: &'a Process) -> Offer<'a> {
        match (self.has_owner && self.is_permitted, owner.is_login_known) {
            (false, _) => Offer::Denied,
            (true, false) => Offer::Unread(Arc::clone(&self.owner_uid)),
            (true, true) => Offer::Account(Arc::clone(&self.owner_uid), &owner.account),
        }
    }
}

impl State {
    /// One in which another credential follows.
    pub(in super::super) fn followed(family: Family, free_calls: u32) -> Self {
        let mut state = Self::new(family, free_calls, u32::MAX);
        let follower = Follower::start(Cluster::default(), state.moment());
        let since = SignedDuration::ZERO;
        state.follower = Some(Followed {
            follower,
            is_permitted: true,
            has_owner: true,
            owner_uid: "owner".into(),
            since,
            is_behind: true,
        });
        state
    }

    pub(in super::super) fn has_owner(&self) -> bool {
        self.follower.as_ref().is_none_or(|it| it.has_owner)
    }

    pub(in super::super) fn is_permitted(&self) -> bool {
        self.follower.as_ref().is_some_and(|it| it.is_permitted && it.has_owner)
    }

    pub(in super::super) fn permit(&mut self, is_permitted: bool) {
        self.history.push(Happened::Permits(is_permitted));
        self.set_permission(is_permitted, true);
    }

    fn set_permission(&mut self, is_permitted: bool, has_owner: bool) {
        let now = self.now;
        if let Some(followed) = &mut self.follower {
            (followed.is_permitted, followed.has_owner, followed.since) = (is_permitted, has_owner, now);
            followed.is_behind = true;
        }
    }

    /// The owner is deleted, and its target with it.
    pub(in super::super) fn delete_owner(&mut self) {
        self.history.push(Happened::OwnerDeleted);
        self.set_permission(false, false);
        let versions = self.cluster.versions;
        self.cluster = Cluster { versions, ..Cluster::default() };
        self.process = Process::start(&self.cluster, self.moment());
        self.rejected.clear();
        (self.held, self.stray, self.is_retry) = (None, None, false);
    }

    /// Another owner of its name.
    pub(in super::super) fn make_owner(&mut self, is_permitted: bool) {
        self.history.push(Happened::OwnerMadeAnew(is_permitted));
        self.set_permission(is_permitted, true);
        if let Some(followed) = &mut self.follower {
            followed.owner_uid = format!("{} made anew", followed.owner_uid).into();
        }
        self.quiet_since = self.now;
        self.process = Process::start(&self.cluster, self.moment());
    }

    pub(in super::super) fn delete_target_of_follower(&mut self) {
        self.history.push(Happened::TargetDeleted);
        if let Some(followed) = &mut self.follower {
            followed.follower.cluster.target = None;
            followed.is_behind = true;
        }
        self.quiet_since = self.now;
    }

    pub(super) fn restart_follower(&mut self) {
        let now = self.moment();
        if let Some(followed) = &mut self.follower {
            followed.follower = Follower::start(followed.follower.cluster.clone(), now);
        }
    }

    /// Takes over what the follower last asked for.
    pub(super) fn ask_for_follower(&mut self) {
        let now = self.moment();
        let held = self.process.account.token().map(|token| &**token);
        self.process.is_wanted = self.follower.as_ref().is_some_and(|it| it.follower.needs_owner(held, now));
    }

    /// Lets the follower do all that it can, and rest; until when.
    pub(in super::super) fn follow(&mut self) -> Result<Option<Moment>, Broken> {
        let now = self.moment();
        for _ in 0..STEPS {
            let Some(mut followed) = self.follower.take() else { return Ok(None) };
            let offer = followed.offer(&self.process);
            let plan = followed.follower.plan(&offer, now);
            let rests = self.act_as_follower(&mut followed, plan, now);
            self.follower = Some(followed);
            if let ControlFlow::Break(until) = rests? {
                return Ok(until);
            }
        }
        Err(Broken("a follower does not rest"))
    }

    fn act_as_follower(
        &mut self,
        part: &mut Followed,
        plan: Plan,
        now: Moment,
    ) -> Result<ControlFlow<Option<Moment>>, Broken> {
        let offer = part.offer(&self.process);
        let follower = &mut part.follower;
        match plan {
            Plan::ReadTarget => follower.read_target(),
            Plan::PublishReadBack { fence } => follower.publish_read_back(fence.as_ref(), now),
            Plan::Publish { token, repair, fence } => {
                if matches!(&offer, Offer::Denied) && !repair {
                    return Err(Broken("a follower gets a token without permission"));
                }
                self.check_token_of_follower(follower, &token, now)?;
                follower.publish(&token, &offer, fence.as_ref(), now);
                part.is_behind = false;
                self.history.push(Happened::PublishedForFollower);
            }
            Plan::ReadLogin | Plan::Obtain { .. } => return Err(Broken("a follower logs in")),
            Plan::Rest { until } => {
                if until.is_some_and(|until| until.is_reached(now)) {
                    return Err(Broken("a follower's wake-up lies in the past"));
                }
                let status = follower.rest(&offer, now);
                if status.login.is_some() || status.refresh_support.is_some() {
                    return Err(Broken("the status of a follower tells of the login"));
                }
                let is_alive = follower.published().is_some_and(|it| !it.validity.expiry().is_reached(now));
                let is_current = is_alive && !follower.has_token_of_another_owner(&offer);
                let status = &follower.cluster.status;
                if status.is_ready(GENERATION) != (is_current && follower.cluster.target.is_some()) {
                    return Err(Broken(
                        "a follower is not ready while its token is alive, or is ready without one",
                    ));
                }
                return Ok(ControlFlow::Break(until));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn check_token_of_follower(
        &self,
        follower: &Follower,
        token: &IssuedToken,
        now: Moment,
    ) -> Result<(), Broken> {
        if token.validity.expiry().is_reached(now) {
            return Err(Broken("a dead token is published for a follower"));
        }
        let place = |name: &Fingerprint| self.minted.iter().position(|minted| minted.name == *name);
        let before = follower.cluster.target.as_ref().and_then(|target| place(&target.name));
        if before > place(&token.fingerprint) {
            return Err(Broken("a follower gets an older token over a younger one"));
        }
        Ok(())
    }

    /// Whether the follower is permitted, and lacks a token whose renewal is not due yet.
    pub(super) fn is_needed_by_follower(&self) -> bool {
        let Some(followed) = self.follower.as_ref().filter(|_| self.is_permitted()) else { return false };
        let Some(published) = followed.follower.published() else { return true };
        let holds = |target: &Target| target.name == published.fingerprint;
        let renewal = renewal_of(published.validity.lifetime, RENEW_BEFORE);
        !followed.follower.cluster.target.as_ref().is_some_and(holds)
            || published.validity.issued.plus(renewal).is_reached(self.moment())
    }

    /// No token of a follower comes into its margin after everything has worked, and it was permitted, for two minutes.
    pub(super) fn assert_no_gap_of_follower(&self, until: SignedDuration) -> Result<(), Broken> {
        let Some(followed) = self.follower.as_ref().filter(|_| self.is_permitted()) else { return Ok(()) };
        // If the issuer has asked for it, the account waits for as long as its own token allows.
        if followed.is_behind && self.process.account.last_failure().is_some() {
            return Ok(());
        }
        let target = followed.follower.cluster.target.as_ref();
        let margin_begins = self.margin_begins(target);
        let works_since = self.quiet_since.max(followed.since) + grace(self.known_lifetime());
        if !self.is_held_for_good() && margin_begins.max(works_since) < until {
            return Err(Broken("the token of a follower came into its margin although everything worked"));
        }
        Ok(())
    }

    /// Nothing happens until then, if there is no owner.
    pub(in super::super) fn rest_without_owner(&mut self, until: SignedDuration) -> Result<(), Broken> {
        self.pass(until)
    }
}

/// The time of a wake-up, by the state's clock.
pub(in super::super) fn sooner(one: Option<Moment>, other: Option<Moment>, now: Moment) -> Option<Moment> {
    [one, other].into_iter().flatten().reduce(|one, other| one.earlier(other, now))
}
