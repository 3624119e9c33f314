//! A credential of another namespace that follows the one of the model: its part of the process, its status and target.

use std::sync::{Arc, LazyLock};

use idissuer::core::account::{Account, Throttle};
use idissuer::core::credential::{Credential, Inputs, ReportRequest, Status, StatusTrigger, TokenOrigin};
use idissuer::core::decide::{Plan, decide, wish};
use idissuer::core::object_name::NamespacedName;
use idissuer::core::observed::{
    AccountReference, AccountView, CredentialSpec, LastSeen, Login, Observed, Published,
};
use idissuer::core::reason::{Reason, ReferenceProblem};
use idissuer::core::schedule::RenewBefore;
use idissuer::core::sharing::Wish;
use idissuer::core::target::{Identity, ObjectVersion};
use idissuer::core::time::Moment;
use idissuer::core::token::IssuedToken;
use jiff::SignedDuration;

use super::shell::{Cluster, GENERATION, KEY, SPEC, STRATEGY, inputs, target_seen};

/// It wants renewals before its owner does.
pub(super) const RENEW_BEFORE: u8 = 40;

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity { object: NamespacedName::new("orders", "billing"), uid: "u2".into() });
static FOLLOWING: LazyLock<CredentialSpec> = LazyLock::new(|| CredentialSpec {
    account: AccountReference::Followed(OWNER.clone()),
    renew_before: RenewBefore::Percent(RENEW_BEFORE),
    ..SPEC.clone()
});
static OWNER: LazyLock<NamespacedName> = LazyLock::new(|| NamespacedName::new("shop", "billing"));

/// What its owner offers.
#[derive(Clone)]
pub(super) enum Offer<'a> {
    /// Nothing: it is not permitted, or there is no owner.
    Denied,
    /// The owner of this uid has not read its login yet.
    Unread(Arc<str>),
    Account(Arc<str>, &'a Account),
}

impl Offer<'_> {
    fn owner_uid(&self) -> Option<&str> {
        match self {
            Self::Denied => None,
            Self::Unread(uid) | Self::Account(uid, _) => Some(uid),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Follower {
    began: Moment,
    known: Arc<Credential>,
    pub(super) cluster: Cluster,
    /// What it last asked its owner for.
    wish: Option<Wish>,
}

impl Follower {
    /// In a new process, which knows what status says.
    pub(super) fn start(cluster: Cluster, now: Moment) -> Self {
        let mut known = Credential::default();
        known.load((*cluster.status).clone(), GENERATION, Some(&FOLLOWING), SignedDuration::ZERO, now);
        Self { began: now, known: Arc::new(known), cluster, wish: None }
    }

    pub(super) fn published(&self) -> Option<&Published> {
        self.known.published()
    }

    pub(super) fn plan(&mut self, offer: &Offer<'_>, now: Moment) -> Plan {
        if let Offer::Account(uid, account) = offer {
            let held = account.token().map(|token| &**token);
            Arc::make_mut(&mut self.known).confirm_owner(uid, KEY, held);
        }
        decide(&self.observed(offer, &target_seen(&self.cluster), now), now).plan
    }

    fn observed<'a>(&'a self, offer: &'a Offer<'_>, target_seen: &'a LastSeen, now: Moment) -> Observed<'a> {
        let login = match offer {
            Offer::Denied => {
                let (credential, namespace) = (OWNER.to_string(), IDENTITY.object.namespace.to_string());
                Login::Defective(Reason::Reference(ReferenceProblem::NotPermitted { credential, namespace }))
            }
            Offer::Unread(_) => Login::Unread,
            Offer::Account(_, account) => {
                let view = AccountView::of(KEY, account, Throttle::default(), STRATEGY, now);
                Login::Account(Box::new(view.of_owner()))
            }
        };
        let seen = (&LastSeen::Unknown, login);
        let inputs = Inputs {
            owner_uid: offer.owner_uid(),
            ..inputs((&IDENTITY, &FOLLOWING), self.began, seen, target_seen)
        };
        self.known.observe(inputs, now)
    }

    /// Whether its token is not of the account that is offered; after a restart, whether that was so before.
    pub(super) fn has_token_of_another_owner(&self, offer: &Offer<'_>) -> bool {
        let Some(published) = self.known.published() else { return false };
        let is_of_another =
            published.owner_uid.is_some() && published.owner_uid.as_deref() != offer.owner_uid();
        is_of_another && (matches!(offer, Offer::Account(..)) || published.account.is_none())
    }

    pub(super) fn read_target(&mut self) {
        let recorded = self.known.published().map(|published| &published.fingerprint);
        let read = self.cluster.target_read(&IDENTITY, recorded);
        Arc::make_mut(&mut self.known).on_target_read(read);
    }

    pub(super) fn publish(
        &mut self,
        token: &IssuedToken,
        offer: &Offer<'_>,
        fence: Option<&ObjectVersion>,
        now: Moment,
    ) {
        let owner_uid = offer.owner_uid().map(str::to_owned);
        let origin = TokenOrigin { account: Some(FOLLOWING.account.clone()), key: Some(KEY), owner_uid };
        self.write_target(token, origin, fence, now);
    }

    pub(super) fn publish_read_back(&mut self, fence: Option<&ObjectVersion>, now: Moment) {
        let (token, origin) = self.known.read_back().unwrap();
        self.write_target(&token, origin, fence, now);
    }

    fn write_target(
        &mut self,
        token: &IssuedToken,
        origin: TokenOrigin,
        fence: Option<&ObjectVersion>,
        now: Moment,
    ) {
        let version = self.cluster.write_target(token, fence);
        Arc::make_mut(&mut self.known).on_target_written(token, origin, GENERATION, version, now);
    }

    /// Nothing is left to do: it tells the owner what it needs, and writes its status.
    pub(super) fn rest(&mut self, offer: &Offer<'_>, now: Moment) -> &Status {
        let seen = target_seen(&self.cluster);
        let observed = self.observed(offer, &seen, now);
        let wish = wish(&observed, now);
        let trigger = StatusTrigger::Rest;
        let request = ReportRequest { trigger, renew_request: None, controller: "idissuer/operator" };
        let status = self.known.report(&observed, request, now).status;
        self.wish = wish;
        self.cluster.status = Arc::new(status.clone());
        Arc::make_mut(&mut self.known).on_status_written(status, false, now);
        &self.cluster.status
    }

    /// Whether the owner has to obtain a token for it, with what its account holds.
    pub(super) fn needs_owner(&self, held: Option<&IssuedToken>, now: Moment) -> bool {
        let left = Wish::left_by(held, now);
        self.wish.as_ref().is_some_and(|wish| left.is_none_or(|left| left == *wish))
    }
}
