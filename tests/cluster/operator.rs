//! The operator as users run it: the real program, the real API server and a simulated issuer.
//!
//! A test starts a [`Stage`], applies objects, and checks what a user can see: the Secret, the status, the Events, and
//! the requests to the issuer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use idissuer::api::{GROUP, IdIssuerCredential, KIND, TokenStatus, VERSION};
use idissuer_simulator::{Config, Fingerprint, Server, Simulator, User, UserCounts};
use idissuer_testbed::process::{Grace, Signal, Supervised};
use idissuer_testbed::proxy::Proxy;
use idissuer_testbed::wire::Wire;
use idissuer_testbed::{ControlPlane, Mark, TestNamespace, count, wait};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::CLUSTER;

pub(crate) const USER: &str = "shop@example.org";
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";
/// The credential of a test that has one only, and its target.
pub(crate) const NAME: &str = "billing";
pub(crate) const LOGIN: &str = "billing-login";
/// How long anything may take that is not bound to a time of its own; what it waits for comes far sooner.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
const ADMINISTRATORS: Option<&str> = Some("system:masters");
const MANAGER: &str = "idissuer-tests";

/// An issuer that knows [`USER`], with tokens that live this long.
pub(crate) fn issuer(lifetime: Duration) -> Config {
    Config::default()
        .user(User::new(USER, PASSWORD))
        .personality(|personality| personality.token.lifetime = lifetime)
}

/// Tokens that are not renewed while a test runs.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A namespace, an issuer, and an operator.
pub(crate) struct Stage {
    // Fields are dropped in this order: the operator stops before its namespace is deleted.
    pub(crate) operator: Operator,
    pub(crate) issuer: Server,
    pub(crate) namespace: TestNamespace,
    pub(crate) control_plane: &'static ControlPlane,
}

impl Stage {
    /// Starts all three, and writes the login Secret.
    pub(crate) async fn start(name: &str, issuer: Config) -> Self {
        Self::start_with(name, issuer, |_, _| ()).await
    }

    /// Like [`start`](Self::start), with changed settings of the operator.
    pub(crate) async fn start_with(
        name: &str,
        issuer: Config,
        prepare: impl FnOnce(&mut Operator, &Server),
    ) -> Self {
        let mut stage = Self::prepare(CLUSTER.control_plane().await.unwrap(), name, issuer).await;
        prepare(&mut stage.operator, &stage.issuer);
        stage.operator.start(stage.control_plane).await;
        stage.operator.until_ready().await;
        stage.write_login(USER, PASSWORD).await;
        stage
    }

    /// With a proxy between operator and API server.
    pub(crate) async fn start_through_proxy(name: &str, issuer: Config) -> (Self, Proxy) {
        Self::start_through_proxy_with(name, issuer, |_| ()).await
    }

    /// With a proxy between operator and API server, and changed settings of the operator.
    pub(crate) async fn start_through_proxy_with(
        name: &str,
        issuer: Config,
        prepare: impl FnOnce(&mut Operator),
    ) -> (Self, Proxy) {
        let control_plane = CLUSTER.control_plane().await.unwrap();
        let mut proxy = None;
        let stage = Self::start_with(name, issuer, |operator, _| {
            prepare(operator);
            proxy = Some(operator.go_through_proxy(control_plane, ADMINISTRATORS));
        })
        .await;
        (stage, proxy.unwrap())
    }

    /// On any control plane, with an operator that is not started yet, and without the login Secret.
    pub(crate) async fn prepare(control_plane: &'static ControlPlane, name: &str, issuer: Config) -> Self {
        let namespace = TestNamespace::create(control_plane, name).await.unwrap();
        let issuer = Simulator::start(issuer).await.unwrap();
        let operator = Operator::prepare(control_plane, &namespace, &issuer, "operator");
        Self { operator, issuer, namespace, control_plane }
    }

    pub(crate) fn credentials(&self) -> Api<IdIssuerCredential> {
        self.namespace.api()
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        self.namespace.api()
    }

    pub(crate) async fn write_login(&self, username: &str, password: &str) {
        self.write_secret(LOGIN, &[("username", username.as_bytes()), ("password", password.as_bytes())])
            .await;
    }

    /// Writes a Secret with these keys and no others.
    pub(crate) async fn write_secret(&self, name: &str, keys: &[(&str, &[u8])]) {
        write_secret(&self.secrets(), name, keys).await.unwrap();
    }

    /// Applies [`NAME`], with these fields beside the reference to the login Secret.
    pub(crate) async fn apply(&self, spec: Value) -> IdIssuerCredential {
        self.apply_as(NAME, spec).await
    }

    pub(crate) async fn apply_as(&self, name: &str, spec: Value) -> IdIssuerCredential {
        let parameters = PatchParams::apply(MANAGER).force().validation_strict();
        let patch = Patch::Apply(credential(name, spec));
        self.credentials().patch(name, &parameters, &patch).await.unwrap()
    }

    /// Adds an account at the issuer, its login Secret and a credential of it, all by this name.
    pub(crate) async fn add_account(&self, name: &str, mut spec: Value) {
        let login = format!("{name}-login");
        self.issuer.set_user(&User::new(name, PASSWORD));
        self.write_secret(&login, &[("username", name.as_bytes()), ("password", PASSWORD.as_bytes())]).await;
        spec["loginSecretRef"] = json!({"name": login});
        self.apply_as(name, spec).await;
    }

    /// Sets the annotation that asks for a renewal.
    pub(crate) async fn request_renewal(&self, request: &str) {
        let patch = json!({"metadata": {"annotations": {"idissuer.pl/renew-requested-at": request}}});
        let parameters = PatchParams::default();
        self.credentials().patch(NAME, &parameters, &Patch::Merge(patch)).await.unwrap();
    }

    /// Changes the target by a merge patch, as another writer would.
    pub(crate) async fn edit_target(&self, patch: Value) -> Secret {
        let parameters = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
        self.secrets().patch(NAME, &parameters, &Patch::Merge(patch)).await.unwrap()
    }

    /// Waits until [`NAME`] is ready for the specification that stands now.
    pub(crate) async fn ready(&self) -> IdIssuerCredential {
        self.ready_as(NAME).await
    }

    /// Waits until a credential is ready for the specification that stands now.
    pub(crate) async fn ready_as(&self, name: &str) -> IdIssuerCredential {
        let generation = self.credentials().get(name).await.unwrap().metadata.generation;
        self.until(name, "Ready for its generation", |credential| {
            let status = credential.status.as_ref();
            holds(credential, "Ready", "True", "TokenPublished")
                && status.is_some_and(|status| status.observed_generation == generation)
        })
        .await
    }

    /// Waits until a condition of [`NAME`] has this status and reason. Returns its message.
    pub(crate) async fn until_condition(&self, type_: &str, status: &str, reason: &str) -> String {
        let what = format!("{type_}={status}/{reason}");
        let credential = self.until(NAME, &what, |credential| holds(credential, type_, status, reason)).await;
        condition(&credential, type_).map(|condition| condition.message.clone()).unwrap_or_default()
    }

    /// Waits until [`NAME`] has published another token than this one.
    pub(crate) async fn renewed(&self, old: &TokenStatus) -> IdIssuerCredential {
        self.renewed_as(NAME, old).await
    }

    /// Waits until a credential has published another token than this one.
    pub(crate) async fn renewed_as(&self, name: &str, old: &TokenStatus) -> IdIssuerCredential {
        self.until(name, "another token", |credential| {
            credential
                .status
                .as_ref()
                .and_then(|status| status.token.as_ref())
                .is_some_and(|token| token.fingerprint != old.fingerprint)
        })
        .await
    }

    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&IdIssuerCredential) -> bool,
    ) -> IdIssuerCredential {
        wait::object(&self.credentials(), name, what, LIMIT, wanted).await
    }

    pub(crate) async fn target(&self) -> Secret {
        self.secrets().get(NAME).await.unwrap()
    }

    pub(crate) async fn target_until(&self, what: &str, wanted: impl Fn(&Secret) -> bool) -> Secret {
        wait::object(&self.secrets(), NAME, what, LIMIT, wanted).await
    }

    /// The issuer's status for a request with this token.
    pub(crate) async fn present(&self, token: &str) -> u16 {
        present(&self.issuer.url(), token).await
    }

    /// Waits until the target of a credential is as it should be: it holds the token of the status, the issuer
    /// accepts that, and nothing is left to be written.
    pub(crate) async fn until_correct(&self, name: &str) {
        let url = self.issuer.url();
        wait::until("a correct target", LIMIT, async || {
            let credential = self.credentials().get(name).await.map_err(|error| error.to_string())?;
            let target = self.secrets().get(name).await.map_err(|error| error.to_string())?;
            let (token, status) = (text(&target, "token"), credential.status.unwrap_or_default());
            let fingerprint = Fingerprint::of(&token).to_string();
            let recorded = status.token.map(|token| token.fingerprint);
            let version = status.target.map(|target| target.resource_version);
            let is_recorded = recorded.as_ref() == Some(&fingerprint) && version == target.resource_version();
            let answer = present(&url, &token).await;
            if is_recorded && answer == 200 {
                return Ok(());
            }
            Err(format!(
                "status: {recorded:?}, target: {fingerprint}, recorded: {is_recorded}, issuer: {answer}"
            ))
        })
        .await;
    }

    /// What the issuer was asked in the name of [`USER`].
    pub(crate) fn counts(&self) -> UserCounts {
        self.issuer.counts().of(USER)
    }

    /// How often the operator called the issuer to get a token.
    pub(crate) fn issuer_calls(&self) -> u64 {
        let counts = self.issuer.counts().total();
        counts.logins_accepted
            + counts.logins_rejected
            + counts.refreshes_accepted
            + counts.refreshes_refused
            + counts.misdirected
    }

    /// A point in the API server's audit log, once all that the operator has asked so far is in it.
    pub(crate) async fn mark(&self) -> Mark {
        self.settle().await;
        self.control_plane.audit().mark().unwrap()
    }

    /// Waits until the operator asks nothing any more. A watch may show a write before the audit log does.
    pub(crate) async fn settle(&self) {
        let audit = self.control_plane.audit();
        wait::until("no further request", LIMIT, async || {
            let mark = audit.mark().unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
            self.requests_since(mark).is_empty()
        })
        .await;
    }

    /// The operator's requests to the API server since then: see [`Operator::requests_since`].
    pub(crate) fn requests_since(&self, mark: Mark) -> BTreeMap<String, usize> {
        self.operator.requests_since(self.control_plane, mark)
    }

    /// The reasons of the Events about a credential, in no order.
    pub(crate) async fn event_reasons(&self, name: &str) -> Vec<String> {
        let events: Api<Event> = self.namespace.api();
        let about =
            |event: &Event| event.regarding.as_ref().is_some_and(|about| about.name.as_deref() == Some(name));
        let list = events.list(&ListParams::default()).await.unwrap();
        list.items.into_iter().filter(about).filter_map(|event| event.reason).collect()
    }

    /// Another replica of the operator, not started yet.
    pub(crate) fn prepare_replica(&self, name: &str) -> Operator {
        let mut replica = Operator::prepare(self.control_plane, &self.namespace, &self.issuer, name);
        replica.arguments.clone_from(&self.operator.arguments);
        replica
    }

    /// Stops the operator as a pod is stopped, and starts it again.
    pub(crate) async fn restart_operator(&mut self) {
        self.operator.stop().await;
        self.operator.start(self.control_plane).await;
        self.operator.until_ready().await;
    }
}

/// The program under test. Its own Kubernetes user distinguishes its requests from others.
pub(crate) struct Operator {
    pub(crate) user: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) log_filter: &'static str,
    /// Variables that it is started with beside those that it always needs.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// The program itself: that of this build, unless a test sets another one.
    pub(crate) program: PathBuf,
    kubeconfig: PathBuf,
    starts: usize,
    process: Option<Supervised>,
    admin: Option<SocketAddr>,
}

impl Operator {
    /// One that works in `namespace`, not started yet.
    fn prepare(control_plane: &ControlPlane, namespace: &TestNamespace, issuer: &Server, name: &str) -> Self {
        let user = format!("{name}-{}", namespace.name());
        let arguments = [
            "controller",
            "--namespace",
            namespace.name(),
            "--issuer-url",
            &issuer.url(),
            "--admin-addr",
            "127.0.0.1:0",
        ];
        Self::new(control_plane, user, arguments.map(str::to_owned).to_vec())
    }

    /// One with these arguments, not started yet.
    pub(crate) fn new(control_plane: &ControlPlane, user: String, arguments: Vec<String>) -> Self {
        Self {
            kubeconfig: control_plane.kubeconfig_as(&user, ADMINISTRATORS).unwrap(),
            program: env!("CARGO_BIN_EXE_idissuer").into(),
            user,
            arguments,
            log_filter: "info",
            environment: Vec::new(),
            starts: 0,
            process: None,
            admin: None,
        }
    }

    /// Puts a proxy between it and the API server, to which it is of this group from now on.
    pub(crate) fn go_through_proxy(&mut self, control_plane: &ControlPlane, group: Option<&str>) -> Proxy {
        let proxy = Proxy::start(control_plane, &self.user, group).unwrap();
        proxy.kubeconfig().clone_into(&mut self.kubeconfig);
        proxy
    }

    /// Has it call the API server at this address, which leads there by a wire.
    pub(crate) fn go_through(&mut self, wire: &Wire, server: &str) {
        self.kubeconfig = wire.kubeconfig(&self.kubeconfig, server).unwrap();
    }

    /// Starts it, and waits for its first line, which says where its admin endpoints are.
    pub(crate) async fn start(&mut self, control_plane: &ControlPlane) {
        self.starts += 1;
        let name = format!("{}-{}", self.user, self.starts);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env("KUBECONFIG", &self.kubeconfig).env("RUST_LOG", self.log_filter);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Supervised::spawn(&name, &command, Grace::SHORT, control_plane.folder()).unwrap();
        let process = self.process.insert(process);
        self.admin = Some(process.logged_address("admin").await);
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn until_ready(&self) {
        self.until_ready_within(LIMIT).await;
    }

    /// Waits so long at most until it says that it is ready.
    pub(crate) async fn until_ready_within(&self, limit: Duration) {
        wait::until("the operator's readiness", limit, async || match self.page("/readyz").await {
            (200, _) => Ok(()),
            (_, text) => Err(text),
        })
        .await;
    }

    /// Hands over the process, to be ended in another way.
    pub(crate) fn take_process(&mut self) -> Supervised {
        self.process.take().unwrap()
    }

    /// Stops it by SIGTERM; it has to end with code 0 within five seconds.
    pub(crate) async fn stop(&mut self) {
        let process = self.take_process();
        process.signal(Signal::Terminate).unwrap();
        let code = process.wait_timeout(Duration::from_secs(5)).await.unwrap();
        assert_eq!(code, 0, "{}", process.output_tail());
    }

    pub(crate) fn process(&self) -> &Supervised {
        self.process.as_ref().unwrap()
    }

    /// Its requests to the API server since then, without watches and lease: the number of each verb of each resource.
    pub(crate) fn requests_since(&self, control_plane: &ControlPlane, mark: Mark) -> BTreeMap<String, usize> {
        let requests = control_plane.audit().of_user_since(&self.user, mark).unwrap();
        let counts = count(&requests).into_iter();
        counts
            .filter(|((verb, resource), _)| verb != "watch" && resource != "leases")
            .map(|((verb, resource), number)| (format!("{verb} {resource}"), number))
            .collect()
    }

    /// What it has printed since it was last started.
    pub(crate) fn output(&self) -> String {
        self.process.as_ref().map(Supervised::output).unwrap_or_default()
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.unwrap()
    }

    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.admin_address())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("--- {} ---\n{}\n---", self.user, process.output_tail());
        }
    }
}

/// A credential as a user would write it.
pub(crate) fn credential(name: &str, mut spec: Value) -> Value {
    let fields = spec.as_object_mut().unwrap();
    if !fields.contains_key("credentialRef") {
        fields.entry("loginSecretRef").or_insert(json!({"name": LOGIN}));
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": {"name": name}, "spec": spec,
    })
}

pub(crate) fn condition<'a>(credential: &'a IdIssuerCredential, type_: &str) -> Option<&'a Condition> {
    credential.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition stands with this status and reason.
pub(crate) fn holds(credential: &IdIssuerCredential, type_: &str, status: &str, reason: &str) -> bool {
    condition(credential, type_)
        .is_some_and(|condition| condition.status == status && condition.reason == reason)
}

pub(crate) fn token_status(credential: &IdIssuerCredential) -> &TokenStatus {
    credential.status.as_ref().unwrap().token.as_ref().unwrap()
}

pub(crate) fn parameters() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

/// Writes a Secret with these keys and no others.
pub(crate) async fn write_secret(
    secrets: &Api<Secret>,
    name: &str,
    keys: &[(&str, &[u8])],
) -> kube::Result<()> {
    let data = keys.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())));
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(data.collect()),
        ..Secret::default()
    };
    secrets.patch(name, &parameters(), &Patch::Apply(secret)).await.map(drop)
}

/// Applies a login Secret [`LOGIN`] and a credential of it in another namespace than the stage's. Returns the namespace's
/// credentials.
pub(crate) async fn apply_in(
    namespace: &TestNamespace,
    name: &str,
    user: &str,
    password: &str,
) -> Api<IdIssuerCredential> {
    let keys = [("username", user.as_bytes()), ("password", password.as_bytes())];
    write_secret(&namespace.api(), LOGIN, &keys).await.unwrap();
    let credentials: Api<IdIssuerCredential> = namespace.api();
    credentials.patch(name, &parameters(), &Patch::Apply(credential(name, json!({})))).await.unwrap();
    credentials
}

/// The text of one key of a Secret.
pub(crate) fn text(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.unwrap_or_else(|| panic!("{} has no key {key}", secret.name_any()));
    String::from_utf8(value.0.clone()).unwrap()
}

/// The names of the keys of a Secret.
pub(crate) fn keys(secret: &Secret) -> Vec<&str> {
    secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// What an issuer answers to someone who presents this token.
pub(crate) async fn present(issuer: &str, token: &str) -> u16 {
    let request = reqwest::Client::new().get(format!("{issuer}/v2/authorized")).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

/// Checks repeatedly for a while that something stays true.
pub(crate) async fn stays(what: &str, time: Duration, mut look: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        assert!(look().await, "no longer: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "tests go by the true clock, as people do")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
