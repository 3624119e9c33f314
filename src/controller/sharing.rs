//! Sharing between credentials ([`crate::core::sharing`]): a follower takes part in the session of its owner, whose login
//! obtains the tokens.

pub(super) mod index;
pub(super) mod namespaces;
pub(super) mod offer;
pub(super) mod spec;

use std::sync::Arc;

use super::context::Context;
use super::leader_election::Term;
use super::reconciliation::Reconciliation;
use crate::account::{Member, Membership, Session};
use crate::core::account::Strategy;
use crate::core::decide::wish;
use crate::core::object_name::NamespacedName;
use crate::core::observed::{CredentialSpec, Login, Observed};
use crate::core::reason::{Reason, ReferenceProblem};
use crate::core::sharing::{Followers, Wish};
use crate::core::time::Moment;
use offer::{Offer, OfferedSession};

/// The session of the credential that is followed. While it is kept, the follower is a member of the account.
pub(super) struct FollowedSession {
    session: Arc<Session>,
    /// Its part in the account; none while suspended.
    membership: Option<Membership>,
}

impl FollowedSession {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

/// What a follower gets from its owner.
#[derive(Default)]
pub(super) enum Followed {
    /// It was not looked at yet, or nobody leads.
    #[default]
    Unknown,
    /// Nothing, and why.
    Nothing(ReferenceProblem),
    /// What the owner of this uid offers.
    Offered(Member, Offer),
}

impl Reconciliation<'_> {
    /// Looks at the credential that this one follows, and takes part in its session. The account learns nothing from the status
    /// of a follower: it is of another namespace, and a short life of its token would have the issuer called more often.
    pub(super) fn look_at_owner(&mut self, spec: &CredentialSpec, owner: &NamespacedName) -> Followed {
        let followed = self.followed(owner);
        let Followed::Offered(uid, Offer::Session(OfferedSession { session, .. })) = &followed else {
            self.state.followed = None;
            return followed;
        };
        let kept = self.state.followed.take().filter(|kept| Arc::ptr_eq(&kept.session, session));
        let mut kept =
            kept.unwrap_or_else(|| FollowedSession { session: Arc::clone(session), membership: None });
        if spec.suspended {
            kept.membership = None;
        } else if kept.membership.is_none() {
            kept.membership = Some(session.join(self.identity.uid.as_str().into(), Strategy::Auto));
        }
        self.state.known.confirm_owner(uid, session.key(), session.token().as_deref());
        self.state.followed = Some(kept);
        followed
    }

    fn followed(&self, owner: &NamespacedName) -> Followed {
        let namespace = &self.identity.object.namespace;
        let Some(area) = self.context.area_of(&owner.namespace) else {
            return Followed::Nothing(ReferenceProblem::OutOfScope {
                namespace: owner.namespace.to_string(),
            });
        };
        let Some(term) = self.state.term else { return Followed::Unknown };
        self.context.sharing().offer(owner, namespace, term).map_or_else(
            || {
                let (credential, namespace) = (owner.to_string(), namespace.to_string());
                Followed::Nothing(ReferenceProblem::NotPermitted { credential, namespace })
            },
            |(uid, offer)| Followed::Offered(uid, offer.unless_login_changed(area)),
        )
    }

    /// Whether a token of the account may still be written: since this was decided, the owner of a follower may have withdrawn
    /// the permission, or changed its account.
    pub(super) fn is_still_offered(&self) -> bool {
        let Some(owner) = self.spec.as_ref().ok().and_then(|spec| spec.account.followed()) else {
            return true;
        };
        let Followed::Offered(_, Offer::Session(offered)) = self.followed(owner) else { return false };
        self.state.followed.as_ref().is_some_and(|kept| Arc::ptr_eq(&kept.session, &offered.session))
    }

    /// Who follows this credential; none while that is not known, because a list is not complete.
    pub(super) fn followers(&self) -> Option<Followers> {
        let are_listed = self.context.registries.iter().all(|registry| registry.credentials.is_synced());
        let is_known = are_listed && self.context.sharing().are_labels_known();
        is_known.then(|| self.context.sharing().followers(&self.key()))
    }

    /// Whether followers of this credential need another token than its account holds.
    pub(super) fn is_wanted_by_followers(&self, now: Moment) -> bool {
        let Some(term) = self.state.term else { return false };
        let token = self.state.session().and_then(|session| session.token());
        self.context.sharing().is_wanted(&self.key(), term, Wish::left_by(token.as_deref(), now).as_ref())
    }

    /// Once nothing is left to do: tells followers what they get, and the owner what this follower needs.
    pub(super) fn share(&self, now: Moment) {
        let (Some(term), observed) = (self.state.term, self.observed(now)) else { return };
        let (sharing, key) = (self.context.sharing(), self.key());
        sharing.set_wish(&key, term, wish(&observed, now));
        if !observed.is_follower() {
            sharing.set_offer(&key, term, self.generation(), self.offer(&observed));
        }
    }

    fn offer(&self, observed: &Observed<'_>) -> Offer {
        let not_ready = |needs_user_action| Offer::NotReady { needs_user_action };
        match (observed.spec, &observed.login, self.state.session()) {
            (Err(reason), ..) | (Ok(_), Login::Defective(reason), _) => not_ready(reason.needs_user_action()),
            (Ok(CredentialSpec { suspended: true, .. }), ..) => not_ready(true),
            (Ok(spec), Login::Account(_), Some(session)) => {
                let Some(account) = spec.account.own() else { return Offer::Unread };
                let (login, seen) = (self.sibling(&account.login.secret), observed.login_seen.clone());
                Offer::Session(OfferedSession { session: Arc::clone(session), login, seen })
            }
            (Ok(_), Login::Unread | Login::Account(_), _) => Offer::Unread,
        }
    }
}

impl Followed {
    /// The uid of the owner, if it permits the follower.
    pub(super) fn owner_uid(&self) -> Option<&str> {
        match self {
            Self::Offered(uid, _) => Some(uid),
            Self::Unknown | Self::Nothing(_) => None,
        }
    }

    /// What the follower knows of the login.
    pub(super) fn login(&self, owner: &NamespacedName) -> Login {
        match self {
            Self::Nothing(problem) => Login::Defective(Reason::Reference(problem.clone())),
            Self::Unknown | Self::Offered(_, Offer::Unread) => Login::Unread,
            Self::Offered(_, Offer::NotReady { needs_user_action }) => {
                Login::Defective(ReferenceProblem::not_ready(owner, *needs_user_action).into())
            }
            Self::Offered(_, Offer::Session(OfferedSession { session, .. })) => {
                let tenant = Arc::clone(&owner.namespace);
                Login::Account(Box::new(session.view(&tenant).of_owner()))
            }
        }
    }
}

/// Another controller keeps the credential: it neither offers nor needs anything here.
pub(super) fn stand_by(context: &Context, key: &NamespacedName, term: Term, generation: i64) {
    context.sharing().set_wish(key, term, None);
    context.sharing().set_offer(key, term, generation, Offer::NotReady { needs_user_action: false });
}
