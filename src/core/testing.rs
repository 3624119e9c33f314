//! A small world for tests: a credential, its Secrets, its issuer and its accounts, as values that a plan acts on.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::account::{Account, Call, Strategy, Throttle, TokenResponse};
use super::backoff::RandomFraction;
use super::call_failure::{CallFailure, UnclearAnswer};
use super::conditions::{Conditions, conditions};
use super::credential::{Credential, Inputs, LoginFound, ReportRequest, StatusTrigger, TokenOrigin};
use super::decide::{Plan, decide};
use super::endpoint::{DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use super::object_name::NamespacedName;
use super::observed::{
    AccountKey, AccountReference, AccountView, CredentialSpec, LastSeen, Login, Observed, OwnAccount,
    Published,
};
use super::reason::Reason;
use super::retry::{Failure, RetryClass, Sent};
use super::sharing::Followers;
use super::target::{Identity, ObjectVersion, TargetSnapshot};
use super::time::Moment;
use super::token::{AccessToken, Grant, IssuedToken, LifetimeSource, RefreshToken, Validity};
use super::username_password::LoginPair;

/// When the tests begin, in seconds since 1970.
const START: i64 = 1_800_000_000;
/// The account that the login Secret names at first.
pub(crate) const BILLING: AccountKey = AccountKey([1; 32]);
/// Another account.
pub(crate) const OTHER: AccountKey = AccountKey([2; 32]);

/// A moment, so many seconds after the start by both clocks.
pub(crate) fn at(seconds: i64) -> Moment {
    Moment {
        wall: Timestamp::from_second(START + seconds).unwrap(),
        monotonic: SignedDuration::from_secs(seconds),
    }
}

pub(crate) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// A token of this text.
pub(crate) fn token(text: &str, issued: Moment, lifetime: i64) -> IssuedToken {
    let access = AccessToken::parse(text).unwrap();
    let fingerprint = access.fingerprint();
    let validity = Validity { issued, lifetime: seconds(lifetime), source: LifetimeSource::ExpiresIn };
    IssuedToken { access, validity, grant: Grant::Login, fingerprint }
}

/// A good answer: a token of this text, with a refresh token of its own.
pub(crate) fn obtained(text: &str, issued: Moment, lifetime: i64) -> TokenResponse {
    let refresh = RefreshToken::parse(&format!("refresh-{text}"));
    TokenResponse { token: token(text, issued, lifetime), refresh }
}

/// A user name and a password.
pub(crate) fn pair() -> LoginPair {
    LoginPair::parse(("u", Some(b"billing@example.com")), ("p", Some(b"pass"))).unwrap()
}

fn failure(class: RetryClass, cause: CallFailure) -> Failure {
    Failure { class, cause, password_has_blank: false }
}

/// The public name of the reason for a failure.
pub(crate) fn reason_name(failure: &Failure) -> &'static str {
    Reason::of_call(failure, "billing-login", &own(&mut spec()).endpoint.origin).name()
}

pub(crate) fn rejected() -> Failure {
    failure(RetryClass::Rejected, CallFailure::LoginRejected { forbidden: false })
}

pub(crate) fn refused() -> Failure {
    failure(RetryClass::Refused, CallFailure::RefreshRejected)
}

pub(crate) fn transient(sent: Sent, retry_after: Option<i64>) -> Failure {
    let class = RetryClass::Transient { sent, retry_after: retry_after.map(seconds) };
    failure(class, CallFailure::IssuerUnavailable { status: 503 })
}

pub(crate) fn malformed() -> Failure {
    let defect = "it is empty";
    failure(RetryClass::Malformed, CallFailure::Unclear(UnclearAnswer::Invalid { defect }))
}

pub(crate) fn misconfigured() -> Failure {
    failure(RetryClass::Misconfigured, CallFailure::Unclear(UnclearAnswer::PathWrong))
}

pub(crate) fn inconclusive(sent: Sent) -> Failure {
    failure(RetryClass::Inconclusive { sent }, CallFailure::Unclear(UnclearAnswer::Incomplete))
}

pub(crate) fn blocked() -> Failure {
    failure(RetryClass::Blocked, CallFailure::Unclear(UnclearAnswer::Blocked))
}

pub(crate) fn spec() -> CredentialSpec {
    let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
    let endpoint = Endpoint::new(origin, None, None, RefreshShape::Flat).unwrap();
    CredentialSpec::minimal("billing-login", endpoint, "billing-token")
}

/// The login and issuer of a specification that names its own.
pub(crate) fn own(spec: &mut CredentialSpec) -> &mut OwnAccount {
    match &mut spec.account {
        AccountReference::Own(account) => Arc::make_mut(account),
        AccountReference::Followed(owner) => panic!("it follows {owner}"),
    }
}

fn version(uid: &str, resource_version: u32) -> ObjectVersion {
    ObjectVersion { uid: uid.into(), resource_version: resource_version.to_string().into() }
}

/// What this process knows of the login.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Unread,
    Defective(Reason),
    Account(AccountKey),
}

/// Everything that is, and what is known of it.
#[derive(Debug)]
pub(crate) struct TestWorld {
    pub(crate) now: Moment,
    pub(crate) identity: Identity,
    pub(crate) generation: i64,
    pub(crate) generation_since: Moment,
    pub(crate) spec: Result<CredentialSpec, Reason>,
    /// The request for a renewal that stands on the credential.
    pub(crate) request: Option<String>,
    /// What is known of the credential.
    pub(crate) known: Credential,
    pub(crate) login_seen: LastSeen,
    pub(crate) login_known: Known,
    /// Whether it was read just now, and user name and password can be sent.
    pub(crate) login_at_hand: bool,
    /// Whether a follower needs another token.
    pub(crate) is_wanted_by_followers: bool,
    /// Who follows it.
    pub(crate) followers: Option<Followers>,
    /// The uid of the credential that it follows with its permission.
    pub(crate) owner_uid: Option<String>,
    /// Whether the labels of namespaces are read.
    pub(crate) reads_namespace_labels: bool,
    /// What a read of the login Secret finds.
    pub(crate) login_holds: Result<AccountKey, Reason>,
    pub(crate) accounts: HashMap<AccountKey, Account>,
    /// Calls that were begun and are not answered yet.
    pub(crate) calls: Vec<(AccountKey, Call)>,
    pub(crate) target_seen: LastSeen,
    /// What stands in the cluster; its token is whatever the Secret holds.
    pub(crate) target: Option<TargetSnapshot>,
    /// Until when a changed target is left alone, beside what is known of its repairs.
    pub(crate) repair_pause: Option<Moment>,
    /// Until when the target is not written, beside what is known of its writes.
    pub(crate) target_pause: Option<Moment>,
    pub(crate) namespace_pause: Option<Moment>,
    /// What keeps accounts from calling.
    pub(crate) throttle: Throttle,
    versions: u32,
}

impl TestWorld {
    /// A credential that was just created.
    pub(crate) fn new() -> Self {
        Self {
            now: at(0),
            identity: Identity { object: NamespacedName::new("shop", "billing"), uid: "u1".into() },
            generation: 1,
            generation_since: at(0),
            spec: Ok(spec()),
            request: None,
            known: Credential::default(),
            login_seen: LastSeen::Version(version("login", 1)),
            login_known: Known::Unread,
            login_at_hand: false,
            is_wanted_by_followers: false,
            followers: None,
            owner_uid: None,
            reads_namespace_labels: true,
            login_holds: Ok(BILLING),
            accounts: HashMap::new(),
            calls: Vec::new(),
            target_seen: LastSeen::Absent,
            target: None,
            repair_pause: None,
            target_pause: None,
            namespace_pause: None,
            throttle: Throttle::default(),
            versions: 1,
        }
    }

    /// A credential whose first token, `first`, lives for an hour and was published at the start.
    pub(crate) fn published() -> Self {
        let mut world = Self::new();
        world.settle();
        world.answer(Ok(obtained("first", world.now, 3600)));
        world.settle();
        assert_eq!(world.published_text(), "first");
        world
    }

    pub(crate) fn observe(&self) -> Observed<'_> {
        let view = |key: AccountKey| {
            let strategy = self.spec.as_ref().map_or(Strategy::Auto, |spec| spec.strategy);
            Login::Account(Box::new(AccountView::of(
                key,
                &self.accounts[&key],
                self.throttle,
                strategy,
                self.now,
            )))
        };
        let inputs = Inputs {
            identity: &self.identity,
            generation: self.generation,
            generation_since: self.generation_since,
            spec: self.spec.as_ref(),
            login_seen: &self.login_seen,
            login: match &self.login_known {
                Known::Unread => Login::Unread,
                Known::Defective(reason) => Login::Defective(reason.clone()),
                Known::Account(key) => view(*key),
            },
            is_login_at_hand: self.login_at_hand,
            is_wanted_by_followers: self.is_wanted_by_followers,
            followers: self.followers.as_ref(),
            owner_uid: self.owner_uid.as_deref(),
            reads_namespace_labels: self.reads_namespace_labels,
            target_seen: &self.target_seen,
            namespace_pause: self.namespace_pause,
            is_stopping: false,
        };
        let (repair_pause, target_pause) = (self.repair_pause, self.target_pause);
        Observed { repair_pause, target_pause, ..self.known.observe(inputs, self.now) }
    }

    /// Somebody asks for a renewal, which is known since then.
    pub(crate) fn request_renewal(&mut self, since: Moment) {
        self.versions += 1;
        self.request = Some(format!("request {}", self.versions));
        self.known.update_renew_request(self.request.as_deref(), since);
    }

    /// The API server refuses to write the target, which is not tried again until then.
    pub(crate) fn refuse_writes(&mut self, until: Moment) {
        let reason = Reason::target_write_refused("billing-token".into(), "denied");
        self.known.pause_writes(reason, self.generation, until);
    }

    /// Nobody remembers anything of the credential.
    pub(crate) fn lose_status(&mut self) {
        self.known = Credential::default();
    }

    pub(crate) fn published_token(&self) -> &Published {
        self.known.published().unwrap()
    }

    pub(crate) fn decide(&self) -> Plan {
        decide(&self.observe(), self.now).plan
    }

    pub(crate) fn conditions(&self) -> Conditions {
        conditions(&self.observe(), self.now)
    }

    pub(crate) fn account(&mut self, key: AccountKey) -> &mut Account {
        self.accounts.entry(key).or_default()
    }

    /// Whether an issuer has said when it may be asked again.
    pub(crate) fn is_asked_to_wait(&self) -> bool {
        self.accounts.values().filter_map(Account::last_failure).any(|last_failure| {
            matches!(last_failure.failure.class, RetryClass::Transient { retry_after: Some(_), .. })
        })
    }

    /// The text of the token that stands in the target.
    pub(crate) fn published_text(&self) -> &str {
        let held = self.target.as_ref().and_then(|target| target.token.as_ref());
        held.map_or("", AccessToken::expose)
    }

    /// Carries out one plan as the controller does.
    pub(crate) fn act(&mut self, plan: Plan) {
        match plan {
            Plan::ReadTarget => self.read_target(),
            Plan::ReadLogin => self.read_login(),
            Plan::Obtain { record_first, override_hold } => self.begin(record_first, override_hold),
            Plan::Publish { token, repair: _, fence } => self.publish(&token, fence.as_ref()),
            Plan::PublishReadBack { fence } => {
                let (token, origin) = self.known.read_back().unwrap();
                self.write_target(&token, origin, fence.as_ref());
            }
            Plan::Rest { .. } => self.report(StatusTrigger::Rest),
        }
    }

    /// Acts until the decision is to rest, and reports. Returns the names of the steps.
    pub(crate) fn settle(&mut self) -> Vec<&'static str> {
        let mut steps = Vec::new();
        loop {
            self.confirm_owner();
            let plan = self.decide();
            if let Plan::Rest { until } = plan {
                if let Some(until) = until {
                    assert!(!until.is_reached(self.now), "a wake-up in the past: {self:?}");
                }
                self.report(StatusTrigger::Rest);
                return steps;
            }
            steps.push(name(&plan));
            assert!(steps.len() <= 8, "no rest after {steps:?} in {self:?}");
            self.act(plan);
        }
    }

    fn confirm_owner(&mut self) {
        if let (Known::Account(key), Some(uid)) = (&self.login_known, &self.owner_uid) {
            let token = self.accounts[key].token().map(|token| &**token);
            self.known.confirm_owner(uid, *key, token);
        }
    }

    fn read_target(&mut self) {
        let recorded = self.known.published().map(|published| published.fingerprint.clone());
        let mut read = self.target.clone();
        if let Some(read) = &mut read {
            read.token = read.token.take().filter(|token| Some(token.fingerprint()) == recorded);
        }
        self.known.on_target_read(read);
        self.target_seen = match &self.target {
            Some(target) => LastSeen::Version(target.version.clone()),
            None => LastSeen::Absent,
        };
    }

    fn read_login(&mut self) {
        self.login_known = match &self.login_holds {
            Ok(key) => Known::Account(*key),
            Err(reason) => Known::Defective(reason.clone()),
        };
        self.login_at_hand = matches!(self.login_known, Known::Account(_));
        if let (Known::Account(key), Ok(spec)) = (&self.login_known, &self.spec) {
            let account = self.accounts.entry(*key).or_default();
            let (seen, generation) = (&self.login_seen, self.generation);
            let found = LoginFound { key: *key, seen, blank: false, spec, generation };
            self.known.restore_account(account, found, self.now);
        }
    }

    fn begin(&mut self, record_first: bool, override_hold: bool) {
        let Known::Account(key) = self.login_known else { panic!("obtained without a login") };
        let now = self.now;
        let strategy = self.spec.as_ref().map_or(Strategy::Auto, |spec| spec.strategy);
        let pair = std::mem::take(&mut self.login_at_hand).then(pair);
        let account = self.account(key);
        if override_hold {
            account.override_hold(now);
        }
        let call = account.begin(strategy, pair, now).expect("a plan to obtain starts a call");
        self.calls.push((key, call));
        if record_first {
            self.known.on_attempt_queued(now);
            self.report(StatusTrigger::Attempt);
            let rejections = self.accounts[&key].rejections();
            self.known.on_attempt_recorded(rejections);
        }
    }

    /// The issuer answers the oldest call.
    pub(crate) fn answer(&mut self, outcome: Result<TokenResponse, Failure>) {
        let (key, call) = self.calls.remove(0);
        let now = self.now;
        self.account(key).finish(call, outcome, now, RandomFraction::new(0.5));
    }

    fn publish(&mut self, token: &Arc<IssuedToken>, fence: Option<&ObjectVersion>) {
        let Known::Account(key) = self.login_known else { panic!("published without a login") };
        assert!(!token.validity.expiry().is_reached(self.now), "a dead token was published");
        if let Some(before) = self.known.published().filter(|before| before.key == Some(key)) {
            assert!(!before.validity.issued.is_after(token.validity.issued), "an older one over a younger");
        }
        let account = Some(self.spec.as_ref().unwrap().account.clone());
        let origin = TokenOrigin { account, key: Some(key), owner_uid: self.owner_uid.clone() };
        self.write_target(token, origin, fence);
    }

    /// The API server refuses to replace another version than this, or to change a Secret's type: then the target is read.
    fn write_target(&mut self, token: &IssuedToken, origin: TokenOrigin, fence: Option<&ObjectVersion>) {
        let spec = self.spec.as_ref().unwrap();
        assert!(!spec.suspended, "a suspended credential was written");
        let secret_type = spec.target.secret_type.clone();
        let is_current = self.target.as_ref().map(|target| &target.version) == fence;
        if !is_current || self.target.as_ref().is_some_and(|target| target.secret_type != secret_type) {
            return self.read_target();
        }
        let uid = self.target.as_ref().map_or("target".into(), |target| Arc::clone(&target.version.uid));
        let written = self.next_version(&uid);
        self.target = Some(TargetSnapshot {
            version: written.clone(),
            secret_type,
            immutable: false,
            deleting: false,
            names_credential: Some(self.identity.object.name.to_string()),
            controller: None,
            token: Some(token.access.clone()),
            intact: false,
        });
        self.target_seen = LastSeen::Version(written.clone());
        self.known.on_target_written(token, origin, self.generation, written, self.now);
    }

    fn report(&mut self, trigger: StatusTrigger) {
        self.known.update_renew_request(self.request.as_deref(), self.now);
        let request = ReportRequest {
            trigger,
            renew_request: self.request.as_deref(),
            controller: "idissuer/operator",
        };
        let report = self.known.report(&self.observe(), request, self.now);
        if report.is_news {
            self.known.on_status_written(report.status, false, self.now);
        }
        self.known.update_renew_request(self.request.as_deref(), self.now);
    }

    fn next_version(&mut self, uid: &str) -> ObjectVersion {
        self.versions += 1;
        version(uid, self.versions)
    }

    // What happens in the world.

    pub(crate) fn pass(&mut self, duration: SignedDuration) {
        self.now = self.now.plus(duration);
    }

    /// Someone edits the target; the watch shows it.
    pub(crate) fn edit_target(&mut self, edit: impl FnOnce(&mut TargetSnapshot)) {
        if let Some(mut target) = self.target.take() {
            edit(&mut target);
            target.version = self.next_version(&target.version.uid);
            self.target_seen = LastSeen::Version(target.version.clone());
            self.target = Some(target);
        }
    }

    pub(crate) fn delete_target(&mut self) {
        self.target = None;
        self.target_seen = LastSeen::Absent;
    }

    /// Someone else creates a Secret of the target's name.
    pub(crate) fn put_stranger(&mut self) {
        let version = self.next_version("stranger");
        self.target_seen = LastSeen::Version(version.clone());
        self.target = Some(TargetSnapshot {
            version,
            secret_type: "Opaque".into(),
            immutable: false,
            deleting: false,
            names_credential: None,
            controller: None,
            token: None,
            intact: false,
        });
    }

    /// The login Secret gets a new version that holds this.
    pub(crate) fn edit_login(&mut self, holds: Result<AccountKey, Reason>) {
        self.login_seen = LastSeen::Version(self.next_version("login"));
        self.login_known = Known::Unread;
        self.login_holds = holds;
    }

    /// The specification changes. One that names another account has the login read again.
    pub(crate) fn edit_spec(&mut self, edit: impl FnOnce(&mut CredentialSpec)) {
        let mut changed = self.spec.clone().unwrap_or_else(|_| spec());
        edit(&mut changed);
        if self.spec.as_ref().map(|spec| &spec.account) != Ok(&changed.account) {
            self.login_known = Known::Unread;
        }
        self.spec = Ok(changed);
        self.generation += 1;
        self.generation_since = self.now;
    }

    /// Another credential of the same account was renewed.
    pub(crate) fn renew_by_another_member(&mut self, key: AccountKey, text: &str, lifetime: i64) {
        let now = self.now;
        let account = self.account(key);
        if let Some(call) = account.begin(Strategy::Login, Some(pair()), now) {
            account.finish(call, Ok(obtained(text, now, lifetime)), now, RandomFraction::new(0.5));
        }
    }

    /// The process ends and another one starts, with the status as it stood. Calls in flight are given up.
    pub(crate) fn restart(&mut self) {
        let restarted = Moment { monotonic: seconds(5), ..self.now };
        let status = self.known.status().clone();
        self.known = Credential::default();
        self.known.load(status, self.generation, self.spec.as_ref().ok(), SignedDuration::ZERO, restarted);
        self.known.update_renew_request(self.request.as_deref(), restarted);
        self.accounts.clear();
        self.calls.clear();
        self.login_known = Known::Unread;
        self.repair_pause = None;
        self.target_pause = None;
        self.namespace_pause = None;
        self.generation_since = restarted;
        self.now = restarted;
    }
}

/// The name of a plan, for tables.
pub(crate) fn name(plan: &Plan) -> &'static str {
    match plan {
        Plan::ReadTarget => "ReadTarget",
        Plan::ReadLogin => "ReadLogin",
        Plan::Obtain { record_first: true, override_hold: true, .. } => "Record, lift, Obtain",
        Plan::Obtain { record_first: false, override_hold: true, .. } => "Lift, Obtain",
        Plan::Obtain { record_first: true, .. } => "Record, Obtain",
        Plan::Obtain { .. } => "Obtain",
        Plan::Publish { repair: true, .. } => "Publish to repair",
        Plan::Publish { .. } => "Publish",
        Plan::PublishReadBack { .. } => "PublishReadBack",
        Plan::Rest { .. } => "Rest",
    }
}
