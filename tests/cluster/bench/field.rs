//! The API server, an issuer and the operator, each a process of its own, and what they have used.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use idissuer::api::IdIssuerCredential;
use idissuer_testbed::{ControlPlane, Mark, TestNamespace, wait};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::issuer::IssuerProcess;
use super::tracker::Tracker;
use super::usage::{Memory, processor_seconds};
use crate::operator::{Operator, PASSWORD, credential};

/// How many requests the bench itself has in flight.
pub(super) const AT_ONCE: usize = 32;
/// The rate limits of namespaces for writes and Events are not what is measured.
pub(super) const PER_NAMESPACE: usize = 100;
/// How long anything may take.
pub(super) const LIMIT: Duration = Duration::from_secs(900);
/// The operator has settled when it asks nothing for so long.
const QUIET: Duration = Duration::from_millis(500);

/// Which credentials the operator manages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of the API server, as the chart's default is.
    Cluster,
    /// Those of the field only: others use the API server, too.
    Namespaces,
}

/// Fields are dropped in this order: the operator stops first.
pub(super) struct Field<'a> {
    pub(super) tracker: Tracker,
    pub(super) operator: Operator,
    pub(super) issuer: IssuerProcess,
    pub(super) client: Client,
    pub(super) namespaces: Vec<TestNamespace>,
    pub(super) control_plane: &'a ControlPlane,
}

/// What had been used at one time.
pub(super) struct Sample {
    at: Instant,
    mark: Mark,
    operator: f64,
    api_server: f64,
    etcd: f64,
    calls: u32,
}

/// What was used between two times; processor time in seconds.
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) operator: f64,
    pub(super) api_server: f64,
    pub(super) etcd: f64,
    /// Requests of the operator to the API server.
    pub(super) requests: BTreeMap<String, usize>,
    /// Requests of the operator to the issuer.
    pub(super) calls: u32,
}

/// How the names of credentials and targets begin.
pub(super) const TARGET: &str = "credential-";

/// The name of the credential with this number, and of its target.
pub(super) fn name_of(number: usize) -> String {
    format!("{TARGET}{number:06}")
}

/// The name of its login Secret, and of the account.
pub(super) fn login_of(number: usize) -> String {
    format!("login-{number:06}")
}

impl<'a> Field<'a> {
    /// Room for so many credentials, and an operator that is not started yet.
    pub(super) async fn prepare(
        control_plane: &'a ControlPlane,
        size: usize,
        scope: Scope,
        lifetime: Duration,
    ) -> Self {
        let mut namespaces = Vec::new();
        for _ in 0..size.div_ceil(PER_NAMESPACE) {
            namespaces.push(TestNamespace::create(control_plane, "bench").await.unwrap());
        }
        let (first, client) = (namespaces[0].name().to_owned(), control_plane.client().unwrap());
        let issuer = IssuerProcess::start(control_plane, &format!("issuer-{first}"), lifetime).await;
        let operator = Self::operator(control_plane, "operator", &namespaces, &issuer.url, scope);
        let apis = match scope {
            Scope::Cluster => vec![Api::all(client.clone())],
            Scope::Namespaces => namespaces.iter().map(TestNamespace::api).collect(),
        };
        Self { tracker: Tracker::start(apis), operator, issuer, client, namespaces, control_plane }
    }

    fn operator(
        control_plane: &ControlPlane,
        name: &str,
        namespaces: &[TestNamespace],
        issuer: &str,
        scope: Scope,
    ) -> Operator {
        let first = namespaces[0].name();
        let arguments = ["controller", "--issuer-url", issuer, "--admin-addr", "127.0.0.1:0"];
        let lease = ["--leader-elect", "--lease-namespace", first];
        let mut arguments: Vec<String> =
            arguments.iter().chain(&lease).map(|&argument| argument.to_owned()).collect();
        if scope == Scope::Namespaces {
            let names = namespaces.iter().map(|namespace| namespace.name().to_owned());
            arguments.extend(names.flat_map(|name| ["--namespace".to_owned(), name]));
        }
        let mut operator = Operator::new(control_plane, format!("{name}-{first}"), arguments);
        if let Some(program) = super::run::program() {
            operator.program = program;
        }
        // As in the image. Without it, memory depends on the number of threads.
        operator.environment.push(("MALLOC_ARENA_MAX", "1".into()));
        operator
    }

    /// Another replica, not started yet.
    pub(super) fn replica(&self, name: &str) -> Operator {
        let user = format!("{name}-{}", self.namespaces[0].name());
        let mut replica = Operator::new(self.control_plane, user, self.operator.arguments.clone());
        replica.program.clone_from(&self.operator.program);
        replica
    }

    pub(super) async fn start_operator(&mut self) {
        self.operator.start(self.control_plane).await;
        // The first lists of ten thousand take a while on a busy machine.
        self.operator.until_ready_within(LIMIT).await;
        until_leading(&self.operator).await;
    }

    /// The number of the namespace of a credential.
    pub(super) fn namespace_number(&self, number: usize) -> usize {
        number / PER_NAMESPACE % self.namespaces.len()
    }

    fn namespace_of(&self, number: usize) -> &str {
        self.namespaces[self.namespace_number(number)].name()
    }

    pub(super) fn credentials_of(&self, number: usize) -> Api<IdIssuerCredential> {
        Api::namespaced(self.client.clone(), self.namespace_of(number))
    }

    pub(super) fn secrets_of(&self, number: usize) -> Api<Secret> {
        Api::namespaced(self.client.clone(), self.namespace_of(number))
    }

    /// Does something for each number, with [`AT_ONCE`] in flight.
    pub(super) async fn for_each<F: Future<Output = ()>>(numbers: Range<usize>, act: impl Fn(usize) -> F) {
        stream::iter(numbers).map(act).buffer_unordered(AT_ONCE).for_each(async |()| ()).await;
    }

    /// Adds accounts and login Secrets of these credentials.
    pub(super) async fn add_logins(&self, numbers: Range<usize>) {
        let users: Vec<String> = numbers.clone().map(login_of).collect();
        self.issuer.add_users(&users).await;
        Self::for_each(numbers, async |number| self.add_login(number, &login_of(number)).await).await;
    }

    /// Adds the login Secret of this account to the namespace of a credential.
    pub(super) async fn add_login(&self, number: usize, login: &str) {
        let secret = json!({
            "metadata": {"name": login}, "stringData": {"username": login, "password": PASSWORD},
        });
        let secret = serde_json::from_value(secret).unwrap();
        self.secrets_of(number).create(&PostParams::default(), &secret).await.unwrap();
    }

    /// Creates one credential of an account of its own.
    pub(super) async fn create(&self, number: usize) {
        self.create_with(number, json!({"loginSecretRef": {"name": login_of(number)}})).await;
    }

    /// Creates one credential with this specification.
    pub(super) async fn create_with(&self, number: usize, spec: Value) {
        let name = name_of(number);
        let object = serde_json::from_value(credential(&name, spec)).unwrap();
        self.tracker.creating(&name);
        self.credentials_of(number).create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits until the operator asks the API server nothing any more.
    pub(super) async fn settle(&self) {
        let audit = self.control_plane.audit();
        wait::until("no further request", LIMIT, async || {
            let mark = audit.mark().unwrap();
            tokio::time::sleep(QUIET).await;
            self.operator.requests_since(self.control_plane, mark).is_empty()
        })
        .await;
    }

    pub(super) fn memory(&self) -> Memory {
        Memory::of(self.operator.process().pid())
    }

    pub(super) async fn sample(&self) -> Sample {
        Sample {
            at: Instant::now(),
            mark: self.control_plane.audit().mark().unwrap(),
            operator: processor_seconds(self.operator.process().pid()),
            api_server: processor_seconds(self.control_plane.api_server().pid().unwrap()),
            etcd: processor_seconds(self.control_plane.etcd().pid().unwrap()),
            calls: self.issuer.calls().await,
        }
    }

    pub(super) async fn spent_since(&self, start: &Sample) -> Spent {
        let end = self.sample().await;
        Spent {
            seconds: (end.at - start.at).as_secs_f64(),
            operator: end.operator - start.operator,
            api_server: end.api_server - start.api_server,
            etcd: end.etcd - start.etcd,
            requests: self.operator.requests_since(self.control_plane, start.mark),
            calls: end.calls - start.calls,
        }
    }
}

/// Waits until a replica leads.
pub(super) async fn until_leading(replica: &Operator) {
    wait::until("leadership", LIMIT, async || replica.output().contains(" leading ")).await;
}
