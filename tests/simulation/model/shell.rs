//! The product in small: a process that observes, decides and acts as the controller does, and the cluster that outlives
//! it. What it decides with is the real core.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use idissuer::core::account::{Account, RefreshSupport, Strategy, Throttle};
use idissuer::core::decide::{Plan, decide};
use idissuer::core::endpoint::{DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use idissuer::core::observed::{
    AccountKey, AccountReference, AccountView, CredentialSpec, LastSeen, Login, LoginRecord, LoginReference,
    Observed, Published, Rejection,
};
use idissuer::core::reason::Reason;
use idissuer::core::retry::{Failure, RetryClass};
use idissuer::core::schedule::{Jitter, RenewBefore};
use idissuer::core::target::{Identity, ObjectVersion, TargetSnapshot, TargetSpec};
use idissuer::core::template::Template;
use idissuer::core::time::Moment;
use idissuer::core::token::{AccessToken, Fingerprint, Grant, IssuedToken, LifetimeSource, Validity};
use idissuer::core::username_password::LoginPair;
use jiff::Timestamp;

use super::issuer::{PASSWORD, USER};

pub(super) const STRATEGY: Strategy = Strategy::Auto;
const KEY: AccountKey = AccountKey([1; 32]);
const GENERATION: i64 = 1;
/// The version of the login Secret, which nobody touches.
const LOGIN_VERSION: &str = "1";

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity { namespace: "shop".into(), name: "billing".into(), uid: "u1".into() });
static INTENT: LazyLock<CredentialSpec> = LazyLock::new(spec);
static LOGIN_SEEN: LazyLock<LastSeen> = LazyLock::new(|| LastSeen::Version(version("login", 1)));

fn spec() -> CredentialSpec {
    let login = LoginReference {
        secret: "billing-login".into(),
        username_key: "username".into(),
        password_key: "password".into(),
    };
    let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
    CredentialSpec {
        suspended: false,
        account: AccountReference {
            login,
            endpoint: Endpoint::new(origin, None, None, RefreshShape::Flat).unwrap(),
            ca_bundle: None,
        },
        strategy: STRATEGY,
        renew_before: RenewBefore::default(),
        jitter: Jitter::NONE,
        target: TargetSpec {
            secret: "billing-token".into(),
            owned: true,
            secret_type: "Opaque".into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            template: Template::default(),
        },
    }
}

pub(super) fn pair() -> LoginPair {
    LoginPair::parse(("u", Some(USER.as_bytes())), ("p", Some(PASSWORD.as_bytes()))).unwrap()
}

fn version(uid: &str, number: u32) -> ObjectVersion {
    ObjectVersion { uid: uid.into(), resource_version: number.to_string() }
}

/// What status holds of the published token.
#[derive(Clone, Debug)]
struct TokenRecord {
    issued: Timestamp,
    expiration: Timestamp,
    fingerprint: String,
    is_refreshed: bool,
}

/// What status holds of the login.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoginStatus {
    pub(super) attempted: Option<Timestamp>,
    pub(super) accepted: Option<Timestamp>,
    pub(super) rejections: u32,
}

/// The resource's status, as far as anybody reads it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    is_written: bool,
    is_ready: bool,
    target: Option<ObjectVersion>,
    token: Option<TokenRecord>,
    pub(super) login: Option<LoginStatus>,
    support: RefreshSupport,
}

/// The Secret that the pods mount.
#[derive(Clone, Debug)]
pub(super) struct Target {
    version: ObjectVersion,
    token: AccessToken,
    pub(super) name: Fingerprint,
}

/// What outlives a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) status: Status,
    pub(super) target: Option<Target>,
    versions: u32,
}

/// What the login budget excuses a process from renewing for.
pub(super) enum Excuse {
    /// Nothing.
    None,
    /// It waits until then.
    Until(Moment),
    /// It holds the login, and only a person can change that.
    ForGood,
}

/// A process that leads.
#[derive(Clone, Debug)]
pub(super) struct Process {
    began: Moment,
    pub(super) account: Account,
    is_login_known: bool,
    is_login_at_hand: bool,
    is_login_remembered: bool,
    attempt_recorded: Option<u32>,
    pub(super) published: Option<Arc<Published>>,
    target_written: Option<ObjectVersion>,
    target_read: Option<TargetSnapshot>,
}

impl Process {
    /// Takes over what status remembers.
    pub(super) fn start(cluster: &Cluster, now: Moment) -> Self {
        let Status { is_ready, target, token, .. } = &cluster.status;
        let published = token.as_ref().map(|token| {
            Arc::new(Published {
                fingerprint: Fingerprint::recorded(&token.fingerprint),
                validity: Validity::recorded(token.issued, token.expiration, LifetimeSource::ExpiresIn, now),
                grant: if token.is_refreshed { Grant::Refresh } else { Grant::Login },
                generation: is_ready.then_some(GENERATION),
                account: is_ready.then(|| INTENT.account.clone()),
                key: None,
            })
        });
        Self {
            began: now,
            account: Account::default(),
            is_login_known: false,
            is_login_at_hand: false,
            is_login_remembered: false,
            attempt_recorded: None,
            published,
            target_written: target.clone(),
            target_read: None,
        }
    }

    /// Takes over what status remembers, and keeps the session that it had.
    pub(super) fn resumes(self, cluster: &Cluster, now: Moment) -> Self {
        let Self { published, target_written, .. } = Self::start(cluster, now);
        Self { published, target_written, target_read: None, ..self }
    }

    pub(super) fn plan(&self, cluster: &Cluster, now: Moment) -> Plan {
        let seen = target_seen(cluster);
        decide(&self.observed(cluster, &seen, now), now)
    }

    fn observed<'a>(&'a self, cluster: &Cluster, target_seen: &'a LastSeen, now: Moment) -> Observed<'a> {
        let account = || Box::new(AccountView::of(KEY, &self.account, Throttle::default(), STRATEGY, now));
        let record = cluster.status.login.as_ref().map(|login| LoginRecord {
            resource_version: Some(LOGIN_VERSION.into()),
            attempted: self.is_attempt_recorded() || login.accepted.is_some(),
            accepted: login.accepted.is_some(),
            rejection: if login.rejections > 0 { Rejection::Stands } else { Rejection::None },
        });
        Observed {
            identity: &IDENTITY,
            generation: GENERATION,
            generation_since: self.began,
            observed_generation: cluster.status.is_written.then_some(GENERATION),
            spec: Ok(&INTENT),
            renewal_requested: None,
            login_record: record.unwrap_or_default(),
            login_seen: &LOGIN_SEEN,
            login: if self.is_login_known { Login::Account(account()) } else { Login::Unread },
            is_login_at_hand: self.is_login_at_hand,
            published: self.published.as_deref(),
            target_written: self.target_written.as_ref(),
            target_seen,
            target_read: self.target_read.as_ref(),
            write_pause: None,
            failing_call: None,
            repair_pause: None,
            target_pause: None,
            namespace_pause: None,
        }
    }

    fn is_attempt_recorded(&self) -> bool {
        self.attempt_recorded == Some(self.account.rejections()) && self.account.attempted().is_some()
    }

    pub(super) fn read_target(&mut self, cluster: &Cluster) {
        let recorded = self.published.as_ref().map(|published| published.fingerprint.clone());
        self.target_read = cluster.target.as_ref().map(|target| TargetSnapshot {
            version: target.version.clone(),
            secret_type: INTENT.target.secret_type.clone(),
            immutable: false,
            deleting: false,
            names_credential: Some(IDENTITY.name.clone()),
            controller: None,
            token: Some(target.token.clone()).filter(|_| Some(&target.name) == recorded.as_ref()),
            intact: false,
        });
    }

    /// Reads the login Secret; the account learns what status remembers of it.
    pub(super) fn read_login(&mut self, cluster: &Cluster, now: Moment) {
        (self.is_login_known, self.is_login_at_hand) = (true, true);
        let Some(login) = &cluster.status.login else { return };
        if let Some(published) = &mut self.published
            && published.key.is_none()
            && login.accepted.is_some()
            && published.account.as_ref() == Some(&INTENT.account)
        {
            Arc::make_mut(published).key = Some(KEY);
        }
        if std::mem::replace(&mut self.is_login_remembered, true) {
            return;
        }
        if let Some(accepted) = login.accepted {
            self.account.remember_accepted(Moment::recorded(accepted, now));
            self.account.remember_support(cluster.status.support, now);
            if let Some(published) = &self.published {
                self.account.remember_published(published.validity, now);
            }
        }
        if login.rejections > 0 {
            let last = login.attempted.map_or(now, |time| Moment::recorded(time, now));
            let reason = Reason::LoginOutcomeUnknown { secret: "billing-login".into() };
            let failure = Failure { class: RetryClass::Rejected, reason };
            self.account.remember_rejections(failure, login.rejections, last);
        }
    }

    /// User name and password, which are gone with the call or with the next rest.
    pub(super) fn take_login(&mut self) -> Option<LoginPair> {
        std::mem::take(&mut self.is_login_at_hand).then(pair)
    }

    pub(super) fn record_attempt(&mut self, cluster: &mut Cluster, now: Moment) {
        self.report(cluster, true, now);
        self.attempt_recorded = Some(self.account.rejections());
    }

    /// Writes status. `attempt`: a login is about to be sent.
    pub(super) fn report(&mut self, cluster: &mut Cluster, attempt: bool, now: Moment) {
        let is_ready = self.published.as_ref().is_some_and(|published| {
            published.generation == Some(GENERATION) && !published.validity.expiry().is_reached(now)
        });
        let token = self.published.as_ref().map(|published| TokenRecord {
            issued: published.validity.as_recorded().issued.wall,
            expiration: published.validity.as_recorded().expiry().wall,
            fingerprint: published.fingerprint.to_string(),
            is_refreshed: published.grant == Grant::Refresh,
        });
        let login = if self.is_login_known {
            Some(self.login_status(cluster.status.login.unwrap_or_default(), attempt, now))
        } else {
            cluster.status.login
        };
        let target = self.target_written.clone();
        let support = match self.account.refresh_support() {
            RefreshSupport::Unknown => cluster.status.support,
            learned => learned,
        };
        cluster.status = Status { is_written: true, is_ready, target, token, login, support };
    }

    fn login_status(&self, before: LoginStatus, attempt: bool, now: Moment) -> LoginStatus {
        let account = &self.account;
        let is_proven = account.accepted().is_some();
        let is_answered = account
            .last_failure()
            .is_some_and(|last_failure| last_failure.failure.class != RetryClass::Rejected);
        let is_pending = !is_proven && (attempt || self.is_attempt_recorded() && !is_answered);
        let attempted = if attempt { Some(now) } else { account.attempted() };
        LoginStatus {
            attempted: attempted.map(|at| at.wall).or(before.attempted),
            accepted: account.accepted().map(|at| at.wall).or(before.accepted),
            rejections: account.rejections() + u32::from(is_pending),
        }
    }

    pub(super) fn publish(&mut self, cluster: &mut Cluster, token: &IssuedToken) {
        self.write_target(cluster, token.access.clone());
        self.published = Some(Arc::new(Published {
            fingerprint: token.fingerprint.clone(),
            validity: token.validity,
            grant: token.grant,
            generation: Some(GENERATION),
            account: Some(INTENT.account.clone()),
            key: Some(KEY),
        }));
    }

    pub(super) fn publish_read_back(&mut self, cluster: &mut Cluster) {
        let token = self.target_read.as_ref().and_then(|read| read.token.clone()).unwrap();
        self.write_target(cluster, token);
        if let Some(published) = &mut self.published {
            Arc::make_mut(published).generation = Some(GENERATION);
        }
    }

    fn write_target(&mut self, cluster: &mut Cluster, token: AccessToken) {
        cluster.versions += 1;
        let version = version("target", cluster.versions);
        let name = token.fingerprint();
        cluster.target = Some(Target { version: version.clone(), token, name });
        self.target_written = Some(version);
        self.target_read = None;
    }

    /// Before it rests, it forgets the login.
    pub(super) fn rest(&mut self, cluster: &mut Cluster, now: Moment) {
        self.report(cluster, false, now);
        self.is_login_at_hand = false;
    }

    /// What excuses it from renewing.
    pub(super) fn excuse(&self) -> Excuse {
        let last_failure = self.account.last_failure();
        let rejected = last_failure.filter(|last_failure| last_failure.failure.class == RetryClass::Rejected);
        match rejected.map(|last_failure| last_failure.next_attempt) {
            None => Excuse::None,
            Some(None) => Excuse::ForGood,
            Some(Some(next)) => Excuse::Until(next),
        }
    }

    /// Everything that decides what it will do.
    pub(super) fn describe(&self, into: &mut impl std::fmt::Write) -> std::fmt::Result {
        let published =
            self.published.as_ref().map(|it| (it.validity, it.generation, it.account.is_some(), it.key));
        let login = (self.is_login_known, self.is_login_at_hand, self.is_login_remembered);
        let read = self.target_read.as_ref().map(|read| (&read.version, read.token.is_some()));
        write!(into, "{:?}{published:?}{login:?}{read:?}", self.account)?;
        write!(into, "{:?}{:?}", self.attempt_recorded, self.target_written)
    }
}

fn target_seen(cluster: &Cluster) -> LastSeen {
    cluster.target.as_ref().map_or(LastSeen::Absent, |target| LastSeen::Version(target.version.clone()))
}
