//! Many credentials of fewer accounts, and two replicas that share them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use idissuer::api::IdIssuerCredential;
use idissuer_simulator::{Config, Fingerprint, Request, Server, User};
use idissuer_testbed::{ControlPlane, Controllers, Options, Shared, TestNamespace, wait};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::operator::{Operator, Stage, credential, holds, now, parameters, write_secret};

pub(super) const CREDENTIALS: usize = 200;
pub(super) const ACCOUNTS: usize = 60;
const NAMESPACES: usize = 4;
pub(super) const LIFETIME: Duration = Duration::from_secs(30);

/// With these, a lease goes over within [`TAKEOVER`].
const LEASE: [(&str, &str); 3] = [
    ("--lease-duration-seconds", "4"),
    ("--lease-renew-deadline-seconds", "3"),
    ("--lease-retry-period-seconds", "1"),
];
/// The lease's duration, a look of the standby, and a second for the claim itself.
pub(super) const TAKEOVER: Duration = Duration::from_secs(6);
/// Until the first tokens of all are there.
const START_LIMIT: Duration = Duration::from_secs(90);
const AT_ONCE: usize = 8;

pub(crate) static CLUSTER: Shared = Shared::new(|| {
    let crd = include_str!("../../../crds/idissuer.pl_idissuercredentials.yaml");
    Options::new().controllers(Controllers::None).crd(crd)
});

pub(super) fn account_of(credential: usize) -> usize {
    credential % ACCOUNTS
}

/// The credential that this one follows instead of logging in; none: it logs in. Every other account is used only so.
pub(super) fn owner_of(credential: usize) -> Option<usize> {
    let (account, turn) = (account_of(credential), credential / ACCOUNTS);
    (turn > 0 && account % 2 == 1 || turn > 2).then_some(account)
}

/// Credentials of one account lie in several namespaces.
pub(super) fn namespace_of(credential: usize) -> usize {
    (credential + credential / ACCOUNTS) % NAMESPACES
}

pub(super) fn name_of(credential: usize) -> String {
    format!("credential-{credential:03}")
}

pub(super) fn user_of(account: usize) -> String {
    format!("user-{account:02}@example.org")
}

fn login_of(account: usize) -> String {
    format!("login-{account:02}")
}

pub(super) fn number_of(credential: &IdIssuerCredential) -> usize {
    credential.name_any().trim_start_matches("credential-").parse().unwrap()
}

/// Fields are dropped in this order: the replicas stop first.
pub(super) struct Fleet {
    pub(super) replicas: [Operator; 2],
    pub(super) issuer: Server,
    pub(super) cluster: SoakCluster,
    _namespaces: Vec<TestNamespace>,
}

/// What faults and readers need, each in a task of its own.
#[derive(Clone)]
pub(super) struct SoakCluster {
    pub(super) control_plane: &'static ControlPlane,
    pub(super) client: kube::Client,
    pub(super) names: Vec<String>,
}

impl Fleet {
    /// Everything is up, and all credentials are applied.
    pub(super) async fn start() -> Self {
        let control_plane = CLUSTER.control_plane().await.unwrap();
        let users = (0..ACCOUNTS).map(|account| User::new(&user_of(account), &password_of(account, 0)));
        let issuer = users.fold(Config::default(), Config::user);
        let issuer = issuer.personality(|personality| personality.token.lifetime = LIFETIME);
        let mut stage = Stage::prepare(control_plane, "soak", issuer).await;
        let mut others = Vec::new();
        for _ in 1..NAMESPACES {
            others.push(TestNamespace::create(control_plane, "soak").await.unwrap());
        }
        let arguments = &mut stage.operator.arguments;
        for other in &others {
            arguments.extend(["--namespace".into(), other.name().into()]);
        }
        arguments.extend(LEASE.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]));
        arguments.extend([
            "--leader-elect".into(),
            "--lease-namespace".into(),
            stage.namespace.name().into(),
        ]);
        let standby = stage.prepare_replica("standby");
        let Stage { operator, issuer, namespace, control_plane } = stage;
        let namespaces: Vec<_> = [namespace].into_iter().chain(others).collect();
        let cluster = SoakCluster {
            control_plane,
            client: control_plane.client().unwrap(),
            names: namespaces.iter().map(|namespace| namespace.name().to_owned()).collect(),
        };
        cluster.apply_all().await;
        let mut fleet = Self { replicas: [operator, standby], issuer, cluster, _namespaces: namespaces };
        for replica in &mut fleet.replicas {
            replica.start(control_plane).await;
            replica.until_ready().await;
        }
        fleet
    }

    pub(super) async fn until_ready(&self) {
        wait::until("all credentials to be ready", START_LIMIT, async || {
            let credentials = self.cluster.all_credentials().await.map_err(|error| error.to_string())?;
            let ready = credentials.iter().filter(|it| holds(it, "Ready", "True", "TokenPublished")).count();
            if ready == CREDENTIALS { Ok(()) } else { Err(format!("{ready} of {CREDENTIALS}")) }
        })
        .await;
    }

    /// Waits until every target holds the token of its status, and the issuer accepts it, except for those that
    /// `may_wait`. Returns the correct ones.
    pub(super) async fn until_correct(
        &self,
        limit: Duration,
        may_wait: impl Fn(usize) -> bool,
    ) -> BTreeSet<usize> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let correct = self.correct().await.unwrap_or_default();
            let is_done = (0..CREDENTIALS).all(|number| correct.contains(&number) || may_wait(number));
            if is_done || tokio::time::Instant::now() > end {
                return correct;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn correct(&self) -> kube::Result<BTreeSet<usize>> {
        let credentials = self.cluster.all_credentials().await?;
        let mut correct = BTreeSet::new();
        for namespace in 0..NAMESPACES {
            for target in self.cluster.targets(namespace).await? {
                let token = target
                    .data
                    .as_ref()
                    .and_then(|data| String::from_utf8(data.get("token")?.0.clone()).ok());
                let Some(token) = token else { continue };
                let is_told = |it: &&IdIssuerCredential| {
                    let status = it.status.as_ref().and_then(|status| status.token.as_ref());
                    it.name_any() == target.name_any()
                        && status.is_some_and(|told| told.fingerprint == Fingerprint::of(&token).to_string())
                };
                let told = credentials.iter().find(is_told);
                correct.extend(told.filter(|_| self.issuer.accepts(&token)).map(number_of));
            }
        }
        Ok(correct)
    }

    pub(super) async fn leader(&self) -> usize {
        let leases: Api<Lease> = Api::namespaced(self.cluster.client.clone(), &self.cluster.names[0]);
        wait::until("a leader", TAKEOVER * 4, async || {
            let list = leases.list(&ListParams::default()).await.ok()?;
            let holder = list.items.into_iter().find_map(|lease| lease.spec?.holder_identity)?;
            let leads = |replica: &Operator| {
                replica.output().lines().any(|line| line.contains(" leading") && line.contains(&holder))
            };
            self.replicas.iter().position(leads)
        })
        .await
    }

    /// What the replicas have logged of these credentials, and all their warnings.
    pub(super) fn lines_about(&self, names: &[String]) -> String {
        let is_about = |line: &str| line.contains(" WARN ") || names.iter().any(|name| line.contains(name));
        let outputs = self.replicas.iter().map(Operator::output);
        let lines =
            outputs.map(|output| output.lines().filter(|line| is_about(line)).collect::<Vec<_>>().join("\n"));
        lines.collect::<Vec<_>>().join("\n---\n")
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.replicas.iter().any(|replica| replica.output().contains("panicked"))
    }
}

/// Checks a token without a socket: hundreds a second cost little.
pub(crate) trait Accepts {
    fn accepts(&self, token: &str) -> bool;
}

impl Accepts for idissuer_simulator::Simulator {
    fn accepts(&self, token: &str) -> bool {
        let exchange = self.call(&Request::authorized(token), now());
        matches!(exchange.answer, idissuer_simulator::SimulatedAnswer::Complete(answer) if answer.status == 200)
    }
}

pub(super) fn password_of(account: usize, changes: u32) -> String {
    format!("password-{account}-{changes}")
}

impl SoakCluster {
    pub(super) fn secrets(&self, namespace: usize) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.names[namespace])
    }

    /// The Secrets in a namespace that the operator manages.
    pub(super) async fn targets(&self, namespace: usize) -> kube::Result<Vec<Secret>> {
        let managed = ListParams::default().labels("app.kubernetes.io/managed-by=idissuer-operator");
        Ok(self.secrets(namespace).list(&managed).await?.items)
    }

    pub(super) async fn all_credentials(&self) -> kube::Result<Vec<IdIssuerCredential>> {
        let mut all = Vec::new();
        for name in &self.names {
            let credentials: Api<IdIssuerCredential> = Api::namespaced(self.client.clone(), name);
            all.extend(credentials.list(&ListParams::default()).await?.items);
        }
        Ok(all)
    }

    async fn apply_all(&self) {
        let logins = stream::iter(0..ACCOUNTS).map(|account| self.write_login(account, 0));
        logins.buffer_unordered(AT_ONCE).for_each(|written| async { written.unwrap() }).await;
        let credentials = stream::iter(0..CREDENTIALS).map(|number| async move {
            let api: Api<IdIssuerCredential> =
                Api::namespaced(self.client.clone(), &self.names[namespace_of(number)]);
            let patch = Patch::Apply(credential(&name_of(number), self.spec_of(number)));
            api.patch(&name_of(number), &parameters(), &patch).await.unwrap();
        });
        credentials.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    fn spec_of(&self, number: usize) -> Value {
        match owner_of(number) {
            None => json!({
                "loginSecretRef": {"name": login_of(account_of(number))},
                "allowedNamespaces": {"names": self.followed_from(number)},
            }),
            Some(owner) => {
                let namespace = &self.names[namespace_of(owner)];
                json!({"credentialRef": {"namespace": namespace, "name": name_of(owner)}})
            }
        }
    }

    /// The namespaces of those who follow a credential.
    fn followed_from(&self, owner: usize) -> Vec<&str> {
        let followers = (0..CREDENTIALS).filter(|number| owner_of(*number) == Some(owner));
        followers.map(|number| self.names[namespace_of(number)].as_str()).collect()
    }

    /// The owner permits those who follow it, or nobody.
    pub(super) async fn permit(&self, owner: usize, is_permitted: bool) -> kube::Result<()> {
        let api: Api<IdIssuerCredential> =
            Api::namespaced(self.client.clone(), &self.names[namespace_of(owner)]);
        let names = if is_permitted { self.followed_from(owner) } else { Vec::new() };
        let patch = Patch::Merge(json!({"spec": {"allowedNamespaces": {"names": names}}}));
        api.patch(&name_of(owner), &PatchParams::default(), &patch).await.map(drop)
    }

    /// Writes an account's login Secret, wherever it has credentials that log in.
    pub(super) async fn write_login(&self, account: usize, changes: u32) -> kube::Result<()> {
        let (user, password) = (user_of(account), password_of(account, changes));
        let keys = [("username", user.as_bytes()), ("password", password.as_bytes())];
        let logs_in = |number: &usize| account_of(*number) == account && owner_of(*number).is_none();
        for number in (0..CREDENTIALS).filter(logs_in) {
            write_secret(&self.secrets(namespace_of(number)), &login_of(account), &keys).await?;
        }
        Ok(())
    }
}
