//! The input of one decision, as values.

mod spec;
mod target_state;

use std::sync::Arc;

use jiff::Timestamp;

use super::account::{Account, LastFailure, Next, RefreshSupport, Strategy, Throttle};
use super::endpoint::Origin;
use super::reason::{LoginDelay, Reason};
use super::schedule::{
    Jitter, RenewBefore, SHORTEST_SERVED, SHORTEST_URGENT, Schedule, TimeScale, UNSERVED_PAUSE,
};
use super::sharing::Followers;
use super::target::{Identity, ObjectVersion, TargetSnapshot};
use super::time::{Moment, to_second};
use super::token::{AccessToken, Fingerprint, Grant, IssuedToken, Validity};
pub use spec::{
    AccountReference, CaBundleKind, CaBundleReference, CredentialSpec, LoginReference, OwnAccount,
};
pub use target_state::{TargetState, TokenSource};

/// The key under which credentials of one account share a session. A keyed digest; it reveals nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey(pub [u8; 32]);

/// The last version of an object that a watch or a read has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastSeen {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// It does not exist.
    Absent,
    /// The object exists.
    Version(ObjectVersion),
}

impl LastSeen {
    /// The version, if it exists.
    #[must_use]
    pub fn version(&self) -> Option<&ObjectVersion> {
        match self {
            Self::Version(version) => Some(version),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// The token that the target holds by our last write.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// The lifetime of the token.
    pub validity: Validity,
    /// How it was obtained.
    pub grant: Grant,
    /// The generation of the specification that the target was rendered for, if that is certain.
    pub generation: Option<i64>,
    /// The account that the specification named at that time, if that is certain.
    pub account: Option<AccountReference>,
    /// The key of that account; unknown after a restart until the login Secret is read.
    pub key: Option<AccountKey>,
    /// The uid of the credential whose account that is, if it was followed and its uid is known.
    pub owner_uid: Option<String>,
}

impl Published {
    /// The token, once its text was found.
    #[must_use]
    pub fn with_text(&self, access: AccessToken) -> IssuedToken {
        IssuedToken {
            access,
            validity: self.validity,
            grant: self.grant,
            fingerprint: self.fingerprint.clone(),
        }
    }
}

/// What the login Secret is known to hold.
#[derive(Clone, Debug)]
pub enum Login {
    /// It was not read in its present version, or not for the present specification.
    Unread,
    /// It, or the CA bundle, cannot be used.
    Defective(Reason),
    /// It names this account.
    Account(Box<AccountView>),
}

/// Why an account waits, if not for its own failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCause {
    /// The issuer fails for several accounts.
    IssuerCircuitOpen,
    /// The user name had too many rejections lately.
    LoginRateLimited {
        /// When the next attempt may be made.
        until: Timestamp,
    },
}

impl WaitCause {
    /// What people read of it. `secret` names the login, `origin` the issuer.
    #[must_use]
    pub fn reason(self, secret: &str, origin: &Origin) -> Reason {
        match self {
            Self::IssuerCircuitOpen => Reason::IssuerCircuitOpen { origin: Some(origin.to_string()) },
            Self::LoginRateLimited { until } => Reason::LoginRateLimited { secret: secret.to_owned(), until },
        }
    }
}

/// An account as one credential sees it.
#[derive(Clone, Debug)]
pub struct AccountView {
    /// Its key.
    pub key: AccountKey,
    /// The newest token.
    pub token: Option<Arc<IssuedToken>>,
    /// The last failure, if nothing succeeded since.
    pub last_failure: Option<LastFailure>,
    /// What would be done for a new token now.
    pub next: Next,
    /// Until when even a requested attempt must wait; if absent, it may be made at once.
    pub put_off: Option<Moment>,
    /// Why it waits, if not for its own failure.
    pub waits_for: Option<WaitCause>,
    /// What puts off a login of its user name that was never accepted, as a corrected one would be.
    pub login_delay: Option<LoginDelay>,
    /// The pace that its tokens set.
    pub pace: TimeScale,
    /// When the issuer last accepted this very login.
    pub accepted: Option<Moment>,
    /// When this process last sent a login.
    pub attempted: Option<Moment>,
    /// The rejections in a row, since the login was accepted last.
    pub rejections: u32,
    /// How often the user name was rejected lately, also with other passwords that were never accepted.
    pub rejections_of_user: u32,
    /// What this process has learned of the issuer.
    pub refresh_support: RefreshSupport,
}

impl AccountView {
    /// The view of an account under a throttle.
    #[must_use]
    pub fn of(
        key: AccountKey,
        account: &Account,
        throttle: Throttle,
        strategy: Strategy,
        now: Moment,
    ) -> Self {
        let next = account.next_under(throttle, strategy, now);
        let put_off = account.put_off(throttle, now);
        Self {
            key,
            token: account.token().cloned(),
            last_failure: account.last_failure().cloned(),
            next,
            put_off,
            waits_for: put_off.filter(|until| next == Next::Wait(*until)).map(|until| {
                if throttle.calls == Some(until) {
                    WaitCause::IssuerCircuitOpen
                } else {
                    WaitCause::LoginRateLimited { until: to_second(until.wall) }
                }
            }),
            login_delay: LoginDelay::of(throttle, now),
            pace: account.pace(),
            accepted: account.accepted(),
            attempted: account.attempted(),
            rejections: account.rejections(),
            rejections_of_user: 0,
            refresh_support: account.refresh_support(),
        }
    }

    /// What people read of the last failure, for a credential that names the account so.
    #[must_use]
    pub fn failure_reason(&self, named: &AccountReference) -> Option<Reason> {
        let last_failure = self.last_failure.as_ref()?;
        Some(named.failure_reason(&last_failure.failure).delayed(self.login_delay))
    }

    /// The account as a follower sees it: without what is known of the login.
    #[must_use]
    pub fn of_owner(self) -> Self {
        Self { accepted: None, attempted: None, rejections: 0, rejections_of_user: 0, ..self }
    }

    /// Whether the issuer has accepted this very login before.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.accepted.is_some()
    }
}

/// What status remembers of the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginRecord {
    /// The resourceVersion of the login Secret at the last attempt or look.
    pub resource_version: Option<Arc<str>>,
    /// Whether an attempt with it was recorded.
    pub attempted: bool,
    /// Whether the issuer has accepted it.
    pub accepted: bool,
    /// Whether the issuer has rejected it since.
    pub rejection: Rejection,
}

/// Whether the issuer has rejected a login, as status remembers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rejection {
    /// It has not.
    #[default]
    None,
    /// It has, and nothing has changed since.
    Stands,
    /// It has, in an earlier process, and the login Secret is another version by now: it may have been repaired.
    PerhapsRepaired,
}

/// The input of a decision about one credential.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The credential.
    pub identity: &'a Identity,
    /// `metadata.generation`.
    pub generation: i64,
    /// Since when that is known.
    pub generation_since: Moment,
    /// The generation that status was last written for.
    pub observed_generation: Option<i64>,
    /// The specification, or why it cannot be carried out.
    pub spec: Result<&'a CredentialSpec, &'a Reason>,
    /// Since when a renewal is requested that was not carried out yet.
    pub renewal_requested: Option<Moment>,
    /// What status remembers of the login.
    pub login_record: LoginRecord,
    /// The login Secret's last known version.
    pub login_seen: &'a LastSeen,
    /// What it holds.
    pub login: Login,
    /// Whether user name and password were read just now and can be sent. They are not kept: each login reads them.
    pub is_login_at_hand: bool,
    /// Whether a credential that follows this one needs another token than the account holds.
    pub is_wanted_by_followers: bool,
    /// Who follows it; none if that is not known yet.
    pub followers: Option<&'a Followers>,
    /// The uid of the credential that this one follows with its permission.
    pub owner_uid: Option<&'a str>,
    /// Whether the labels of namespaces are read, for selectors.
    pub reads_namespace_labels: bool,
    /// The token that was published last.
    pub published: Option<&'a Published>,
    /// The version of the target that our last write left.
    pub target_written: Option<&'a ObjectVersion>,
    /// The target's last known version.
    pub target_seen: &'a LastSeen,
    /// The target as it was last read.
    pub target_read: Option<&'a TargetSnapshot>,
    /// Why the API server's refusal keeps the target from being written, and until when.
    pub write_pause: Option<(&'a Reason, Moment)>,
    /// Until when a changed target is left alone, because another writer keeps undoing its repair.
    pub repair_pause: Option<Moment>,
    /// Until when the target is not written, because it was so often lately.
    pub target_pause: Option<Moment>,
    /// Until when the target is not written, because of the namespace's rate limit.
    pub namespace_pause: Option<Moment>,
    /// The call to the API server that fails over and over.
    pub failing_call: Option<&'a Reason>,
}

impl Observed<'_> {
    /// The validity of the published token under the current spec.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        self.published.map(|published| self.schedule_of(&published.validity))
    }

    /// The validity of a token under the current spec.
    #[must_use]
    pub fn schedule_of(&self, validity: &Validity) -> Schedule {
        let (wanted, jitter) =
            self.spec.map_or((RenewBefore::default(), Jitter::NONE), |spec| (spec.renew_before, spec.jitter));
        Schedule::of(validity, wanted, jitter)
    }

    /// Until when no other token is written, because the lifetime of the published one is too short to be useful, and
    /// so would be that of the next: each would be a useless write of target and status. `None` if it is useful, or
    /// does not satisfy the spec.
    #[must_use]
    pub fn unserved_until(&self) -> Option<Moment> {
        let published = self.published.filter(|published| published.validity.lifetime < SHORTEST_SERVED)?;
        let is_wanted = self.spec.is_ok_and(|spec| !spec.suspended)
            && published.generation == Some(self.generation)
            && self.is_published_by_this_account();
        is_wanted.then(|| published.validity.issued.plus(UNSERVED_PAUSE))
    }

    /// Until when no token is written or obtained, because of the rate limit of writes. A published token close to
    /// expiry is replaced nevertheless; one that is always close to expiry cannot flood the API server.
    #[must_use]
    pub fn paced_until(&self) -> Option<Moment> {
        let Some((schedule, published)) = self.schedule().zip(self.published) else {
            return self.namespace_pause.or(self.target_pause);
        };
        let left = schedule.expiry.monotonic.saturating_sub(schedule.renewal.monotonic);
        let urgent = |until: Moment| until.not_after(schedule.expiry.minus(left / 2));
        let is_passable = published.validity.lifetime >= SHORTEST_URGENT;
        let of_namespace = self.namespace_pause.map(|until| if is_passable { urgent(until) } else { until });
        let of_target = self.target_pause.map(urgent);
        of_namespace.into_iter().chain(of_target).reduce(Moment::not_before)
    }

    /// The account, if it is known and can be used.
    #[must_use]
    pub fn account(&self) -> Option<&AccountView> {
        match &self.login {
            Login::Account(account) => Some(account),
            Login::Unread | Login::Defective(_) => None,
        }
    }

    /// Whether the published token is still valid.
    #[must_use]
    pub fn is_published_alive(&self, now: Moment) -> bool {
        self.published.is_some_and(|published| !published.validity.expiry().is_reached(now))
    }

    /// Whether the published token comes from the account that the specification names.
    ///
    /// Right after a restart that is certain only while the specification is the one that status was written for, and
    /// the login Secret the one that it remembers as accepted.
    #[must_use]
    pub fn is_published_by_this_account(&self) -> bool {
        let (Some(published), Ok(spec)) = (self.published, self.spec) else { return false };
        let is_named = published.account.as_ref() == Some(&spec.account);
        if self.is_follower() {
            // It has no login that could have changed meanwhile.
            let is_other = self.account().zip(published.key).is_some_and(|(account, key)| key != account.key);
            return is_named && !is_other && !self.is_published_by_another_owner();
        }
        let is_remembered = || !self.is_login_changed() && self.login_seen.version().is_some();
        match (self.account(), published.key) {
            (None, Some(_)) => is_named,
            (None, None) => is_named && self.login_record.accepted,
            (Some(_), None) => is_named && self.login_record.accepted && is_remembered(),
            (Some(account), Some(key)) => key == account.key,
        }
    }

    /// Whether the published token comes from a credential that had the name of the owner, and was replaced since: this one
    /// may be of another account. [`Credential::confirm_owner`](super::credential::Credential::confirm_owner) says if it is
    /// not.
    #[must_use]
    pub fn is_published_by_another_owner(&self) -> bool {
        let before = self.published.and_then(|published| published.owner_uid.as_deref());
        before.zip(self.owner_uid).is_some_and(|(before, present)| before != present)
    }

    /// Whether the specification names another credential, whose tokens this one shares.
    #[must_use]
    pub fn is_follower(&self) -> bool {
        self.spec.is_ok_and(|spec| spec.account.followed().is_some())
    }

    /// Whether the login Secret is not, or not certainly, the one that status remembers.
    #[must_use]
    pub fn is_login_changed(&self) -> bool {
        match self.login_seen {
            LastSeen::Unknown => false,
            LastSeen::Absent => true,
            LastSeen::Version(version) => {
                self.login_record.resource_version.as_ref() != Some(&version.resource_version)
            }
        }
    }

    /// Whether status was written for the present specification, be it by the record of an attempt.
    #[must_use]
    pub fn is_generation_observed(&self) -> bool {
        self.observed_generation == Some(self.generation)
    }
}
