//! A small controller process, and the cluster that outlives it. It knows, decides and
//! reports with the real core.

use std::sync::{Arc, LazyLock};

use idissuer::core::account::{Account, Strategy, Throttle};
use idissuer::core::credential::{
    Credential, Inputs, LoginFound, ReportRequest, Status, StatusTrigger, TokenOrigin,
};
use idissuer::core::decide::{Plan, decide};
use idissuer::core::endpoint::{DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use idissuer::core::login_attempts::LoginAttempts;
use idissuer::core::object_name::NamespacedName;
use idissuer::core::observed::{
    AccountKey, AccountView, CredentialSpec, LastSeen, Login, Observed, Published,
};
use idissuer::core::retry::RetryClass;
use idissuer::core::target::{Identity, ObjectVersion, TargetSnapshot};
use idissuer::core::time::Moment;
use idissuer::core::token::{AccessToken, Fingerprint, IssuedToken};
use idissuer::core::username_password::LoginPair;
use jiff::SignedDuration;

use super::issuer::{PASSWORD, USER};

pub(super) const STRATEGY: Strategy = Strategy::Auto;
pub(super) const KEY: AccountKey = AccountKey([1; 32]);
pub(super) const GENERATION: i64 = 1;

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity { object: NamespacedName::new("shop", "billing"), uid: "u1".into() });
pub(super) static SPEC: LazyLock<CredentialSpec> = LazyLock::new(spec);
static LOGIN_SEEN: LazyLock<LastSeen> = LazyLock::new(|| LastSeen::Version(version("login", 1)));

fn spec() -> CredentialSpec {
    let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
    let endpoint = Endpoint::new(origin, None, None, RefreshShape::Flat).unwrap();
    CredentialSpec::minimal("billing-login", endpoint, "billing-token")
}

pub(super) fn pair() -> LoginPair {
    LoginPair::parse(("u", Some(USER.as_bytes())), ("p", Some(PASSWORD.as_bytes()))).unwrap()
}

pub(super) fn version(uid: &str, number: u32) -> ObjectVersion {
    ObjectVersion { uid: uid.into(), resource_version: number.to_string().into() }
}

#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) version: ObjectVersion,
    pub(super) token: AccessToken,
    pub(super) name: Fingerprint,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) status: Arc<Status>,
    pub(super) target: Option<Target>,
    pub(super) versions: u32,
}

/// What the login budget excuses a process from renewing for.
pub(super) enum Excuse {
    None,
    Until(Moment),
    /// It holds the login, and only a person can change that.
    ForGood,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    began: Moment,
    pub(super) account: Account,
    pub(super) is_login_known: bool,
    is_login_at_hand: bool,
    /// A follower needs another token than the account holds.
    pub(super) is_wanted: bool,
    known: Arc<Credential>,
}

impl Process {
    pub(super) fn start(cluster: &Cluster, now: Moment) -> Self {
        let mut known = Credential::default();
        known.load((*cluster.status).clone(), GENERATION, Some(&SPEC), SignedDuration::ZERO, now);
        Self {
            began: now,
            account: Account::default(),
            is_login_known: false,
            is_login_at_hand: false,
            is_wanted: false,
            known: Arc::new(known),
        }
    }

    /// Takes over what status remembers, and keeps the session that it had.
    pub(super) fn resumes(mut self, cluster: &Cluster, now: Moment) -> Self {
        let known = Arc::make_mut(&mut self.known);
        known.on_target_read(None);
        known.load((*cluster.status).clone(), GENERATION, Some(&SPEC), SignedDuration::ZERO, now);
        self
    }

    pub(super) fn published(&self) -> Option<&Published> {
        self.known.published()
    }

    pub(super) fn plan(&self, cluster: &Cluster, now: Moment) -> Plan {
        let seen = target_seen(cluster);
        decide(&self.observed(&seen, now), now).plan
    }

    fn observed<'a>(&'a self, target_seen: &'a LastSeen, now: Moment) -> Observed<'a> {
        let account = || Box::new(AccountView::of(KEY, &self.account, Throttle::default(), STRATEGY, now));
        let login = if self.is_login_known { Login::Account(account()) } else { Login::Unread };
        let inputs = Inputs {
            is_login_at_hand: self.is_login_at_hand,
            is_wanted_by_followers: self.is_wanted,
            ..inputs((&IDENTITY, &SPEC), self.began, (&LOGIN_SEEN, login), target_seen)
        };
        self.known.observe(inputs, now)
    }

    pub(super) fn read_target(&mut self, cluster: &Cluster) {
        let recorded = self.known.published().map(|published| &published.fingerprint);
        let read = cluster.target_read(&IDENTITY, recorded);
        Arc::make_mut(&mut self.known).on_target_read(read);
    }

    /// Reads the login Secret; the account learns what status remembers of it.
    pub(super) fn read_login(&mut self, now: Moment) {
        (self.is_login_known, self.is_login_at_hand) = (true, true);
        let found =
            LoginFound { key: KEY, seen: &LOGIN_SEEN, blank: false, spec: &SPEC, generation: GENERATION };
        Arc::make_mut(&mut self.known).restore_account(&mut self.account, found, now);
    }

    /// User name and password, which are gone with the call or with the next rest.
    pub(super) fn take_login(&mut self) -> Option<LoginPair> {
        std::mem::take(&mut self.is_login_at_hand).then(pair)
    }

    pub(super) fn record_attempt(&mut self, cluster: &mut Cluster, now: Moment) {
        self.report(cluster, StatusTrigger::Attempt, now);
        Arc::make_mut(&mut self.known).on_attempt_recorded(self.account.rejections());
    }

    fn report(&mut self, cluster: &mut Cluster, trigger: StatusTrigger, now: Moment) {
        let request = ReportRequest { trigger, renew_request: None, controller: "idissuer/operator" };
        let report = self.known.report(&self.observed(&target_seen(cluster), now), request, now);
        cluster.status = Arc::new(report.status.clone());
        Arc::make_mut(&mut self.known).on_status_written(report.status, false, now);
    }

    pub(super) fn publish(
        &mut self,
        cluster: &mut Cluster,
        token: &IssuedToken,
        fence: Option<&ObjectVersion>,
        now: Moment,
    ) {
        let origin = TokenOrigin { account: Some(SPEC.account.clone()), key: Some(KEY), owner_uid: None };
        self.write_target(cluster, token, origin, fence, now);
    }

    pub(super) fn publish_read_back(
        &mut self,
        cluster: &mut Cluster,
        fence: Option<&ObjectVersion>,
        now: Moment,
    ) {
        let (token, origin) = self.known.read_back().unwrap();
        self.write_target(cluster, &token, origin, fence, now);
    }

    fn write_target(
        &mut self,
        cluster: &mut Cluster,
        token: &IssuedToken,
        origin: TokenOrigin,
        fence: Option<&ObjectVersion>,
        now: Moment,
    ) {
        let version = cluster.write_target(token, fence);
        Arc::make_mut(&mut self.known).on_target_written(token, origin, GENERATION, version, now);
    }

    /// Before it rests, it forgets the login.
    pub(super) fn rest(&mut self, cluster: &mut Cluster, now: Moment) {
        self.report(cluster, StatusTrigger::Rest, now);
        self.is_login_at_hand = false;
    }

    /// The reason for not renewing, if there is one.
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
        let seen = LastSeen::Unknown;
        let observed = self.observed(&seen, self.began);
        let published =
            observed.published.map(|it| (it.validity, it.generation, it.account.is_some(), it.key));
        let login = (self.is_login_known, self.is_login_at_hand, self.known.restore_stage());
        let read = observed.target_read.map(|read| (&read.version, read.token.is_some()));
        write!(into, "{:?}{published:?}{login:?}{read:?}", self.account)?;
        write!(into, "{:?}{:?}", observed.login_record, observed.target_written)
    }
}

impl Cluster {
    /// What a read of the target shows to a credential that has recorded this token.
    pub(super) fn target_read(
        &self,
        identity: &Identity,
        recorded: Option<&Fingerprint>,
    ) -> Option<TargetSnapshot> {
        let snapshot = |target: &Target| TargetSnapshot {
            version: target.version.clone(),
            secret_type: SPEC.target.secret_type.clone(),
            immutable: false,
            deleting: false,
            names_credential: Some(identity.object.name.to_string()),
            controller: None,
            token: Some(target.token.clone()).filter(|_| Some(&target.name) == recorded),
            intact: false,
        };
        self.target.as_ref().map(snapshot)
    }

    /// Writes the target; its new version.
    pub(super) fn write_target(
        &mut self,
        token: &IssuedToken,
        fence: Option<&ObjectVersion>,
    ) -> ObjectVersion {
        assert_eq!(self.target.as_ref().map(|target| &target.version), fence, "it replaces what it knows");
        self.versions += 1;
        let version = version("target", self.versions);
        let (access, name) = (token.access.clone(), token.fingerprint.clone());
        self.target = Some(Target { version: version.clone(), token: access, name });
        version
    }

    pub(super) fn login(&self) -> Option<&LoginAttempts> {
        self.status.login.as_ref().map(|login| &login.attempts)
    }

    /// All of status that anybody reads again.
    pub(super) fn describe(&self, into: &mut impl std::fmt::Write) -> std::fmt::Result {
        let Status { observed_generation, target, token, login, refresh_support, .. } = &*self.status;
        write!(
            into,
            "{observed_generation:?}{target:?}{refresh_support:?}{}",
            self.status.is_ready(GENERATION)
        )?;
        let login =
            login.as_ref().map(|it| (it.attempts.attempted, it.attempts.accepted, it.attempts.rejections));
        let token = token.as_ref().map(|it| (it.issued, it.expiration, &it.fingerprint, it.grant));
        write!(into, "{token:?}{login:?}")
    }
}

/// What a credential with nothing special takes from outside of its state.
pub(super) fn inputs<'a>(
    (identity, spec): (&'a Identity, &'a CredentialSpec),
    began: Moment,
    (login_seen, login): (&'a LastSeen, Login),
    target_seen: &'a LastSeen,
) -> Inputs<'a> {
    Inputs {
        identity,
        generation: GENERATION,
        generation_since: began,
        spec: Ok(spec),
        login_seen,
        login,
        is_login_at_hand: false,
        is_wanted_by_followers: false,
        followers: None,
        owner_uid: None,
        reads_namespace_labels: false,
        target_seen,
        namespace_pause: None,
        is_stopping: false,
    }
}

pub(super) fn target_seen(cluster: &Cluster) -> LastSeen {
    cluster.target.as_ref().map_or(LastSeen::Absent, |target| LastSeen::Version(target.version.clone()))
}
