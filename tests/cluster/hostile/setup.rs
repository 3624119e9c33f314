//! The operator, its tenants and its issuers.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::{Config, Fault, FaultRule, Server, Simulator, User};
use idissuer_testbed::{TestNamespace, wait};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch};
use serde_json::json;

use crate::operator::{Operator, PASSWORD, Stage, credential, holds, now, parameters, write_secret};
use crate::soak::CLUSTER;

/// Honest credentials, each of an account of its own.
pub(super) const HONEST: usize = 100;
const NAMESPACES: usize = 4;
pub(super) const LIFETIME: Duration = Duration::from_secs(30);
/// Accounts of the tenant whose logins are never answered, and as many that are answered oddly.
pub(super) const TROUBLED: usize = 40;
/// The descriptors that the operator may have: the usual soft limit, which is below the number of attacking connections.
const DESCRIPTORS: usize = 1024;
const START_LIMIT: Duration = Duration::from_secs(120);

/// Fields are dropped in this order: the operator stops first.
pub(super) struct Setup {
    pub(super) operator: Operator,
    pub(super) issuer: Server,
    /// Another allowed issuer, whose tokens live one second.
    pub(super) brief: Server,
    pub(super) client: kube::Client,
    pub(super) tenant: String,
    pub(super) honest: Vec<String>,
    _namespaces: Vec<TestNamespace>,
}

pub(super) fn honest_user(number: usize) -> String {
    format!("honest-{number}@example.org")
}

/// Whether the tenant may follow this honest credential.
fn permits_tenant(number: usize) -> bool {
    number.is_multiple_of(10)
}

impl Setup {
    /// Everything is up, and the honest credentials are applied.
    pub(super) async fn start() -> Self {
        let control_plane = CLUSTER.control_plane().await.unwrap();
        let stage = Stage::prepare(control_plane, "tenant", issuer()).await;
        let Stage { mut operator, issuer, namespace, .. } = stage;
        let brief = Config::default()
            .user(User::new("brief", PASSWORD))
            .personality(|personality| personality.token.lifetime = Duration::from_secs(1));
        let brief = Simulator::start(brief).await.unwrap();
        let tenant = namespace.name().to_owned();
        let mut namespaces = vec![namespace];
        for _ in 0..NAMESPACES {
            namespaces.push(TestNamespace::create(control_plane, "honest").await.unwrap());
        }
        let honest: Vec<String> = namespaces[1..].iter().map(|it| it.name().to_owned()).collect();
        let others = honest.iter().flat_map(|name| ["--namespace".to_owned(), name.clone()]);
        operator.arguments.extend(others.chain(["--allow-issuer".to_owned(), brief.url()]));
        operator.start(control_plane).await;
        let (pid, limit) = (operator.process().pid(), format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}"));
        let limited = Command::new("prlimit").args([&limit, "--pid", &pid.to_string()]).status();
        assert!(limited.unwrap().success());
        operator.until_ready().await;
        let setup = Self {
            operator,
            issuer,
            brief,
            client: control_plane.client().unwrap(),
            tenant,
            honest,
            _namespaces: namespaces,
        };
        setup.apply_honest().await;
        setup
    }

    pub(super) fn namespace_of(&self, number: usize) -> &str {
        &self.honest[number % NAMESPACES]
    }

    async fn apply_honest(&self) {
        for number in 0..HONEST {
            let (namespace, name) = (self.namespace_of(number), format!("honest-{number}"));
            self.write_login(namespace, &name, honest_user(number).as_bytes(), PASSWORD.as_bytes()).await;
            let names = if permits_tenant(number) { vec![self.tenant.as_str()] } else { vec![] };
            let login = json!({"name": format!("{name}-login")});
            let object =
                credential(&name, json!({"loginSecretRef": login, "allowedNamespaces": {"names": names}}));
            let credentials: Api<IdIssuerCredential> = Api::namespaced(self.client.clone(), namespace);
            credentials.patch(&name, &parameters(), &Patch::Apply(object)).await.unwrap();
        }
    }

    /// Writes the login Secret of a credential. Ignores refusals.
    pub(super) async fn write_login(&self, namespace: &str, name: &str, username: &[u8], password: &[u8]) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let keys = [("username", username), ("password", password)];
        drop(write_secret(&secrets, &format!("{name}-login"), &keys).await);
    }

    /// The credentials of the honest namespaces that are ready now.
    pub(super) async fn ready(&self) -> kube::Result<usize> {
        let mut ready = 0;
        for namespace in &self.honest {
            let credentials: Api<IdIssuerCredential> = Api::namespaced(self.client.clone(), namespace);
            let list = credentials.list(&ListParams::default()).await?;
            ready += list.iter().filter(|it| holds(it, "Ready", "True", "TokenPublished")).count();
        }
        Ok(ready)
    }

    /// How many tokens of honest credentials are in the Secrets of the tenant: with their permission, and without.
    pub(super) async fn followed(&self) -> kube::Result<(usize, usize)> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.tenant);
        let honest: BTreeMap<_, _> = (0..HONEST).map(|number| (honest_user(number), number)).collect();
        let (mut permitted, mut stolen) = (0, 0);
        for secret in secrets.list(&ListParams::default()).await?.items {
            for value in secret.data.into_iter().flatten().map(|(_, value)| value) {
                let token = String::from_utf8(value.0).unwrap_or_default();
                let user_of =
                    |issuer: &idissuer_simulator::Issuer| issuer.check(&token, now()).ok().map(str::to_owned);
                let user = self.issuer.simulator().inspect(user_of);
                match user.and_then(|user| honest.get(&user).copied()) {
                    Some(number) if permits_tenant(number) => permitted += 1,
                    Some(_) => stolen += 1,
                    None => {}
                }
            }
        }
        Ok((permitted, stolen))
    }

    pub(super) async fn until_honest_are_ready(&self) {
        wait::until("the honest credentials to be ready", START_LIMIT, async || {
            let ready = self.ready().await.map_err(|error| error.to_string())?;
            if ready == HONEST { Ok(()) } else { Err(format!("{ready} of {HONEST}")) }
        })
        .await;
    }

    /// What the operator has warned of in the honest namespaces, the first lines.
    pub(super) fn warnings_of_honest(&self) -> String {
        let output = self.operator.output();
        let is_about = |line: &&str| {
            line.contains(" WARN ") && self.honest.iter().any(|name| line.contains(name.as_str()))
        };
        output.lines().filter(is_about).take(40).collect::<Vec<_>>().join("\n")
    }
}

/// The issuer that all share. It locks a user out after five rejections in a row.
fn issuer() -> Config {
    let honest = (0..HONEST).map(|number| User::new(&honest_user(number), PASSWORD));
    let troubled = (0..TROUBLED).flat_map(|number| {
        [User::new(&silent_user(number), PASSWORD), User::new(&odd_user(number), PASSWORD)]
    });
    let config = honest.chain(troubled).chain([User::new("tenant", PASSWORD)]);
    let config = config.fold(Config::default(), Config::user);
    config.personality(|personality| {
        personality.token.lifetime = LIFETIME;
        for number in 0..TROUBLED {
            personality.faults.push(FaultRule::new(Fault::Hang).of_user(&silent_user(number)));
            let fault = odd_answer(number);
            personality.faults.push(FaultRule::new(fault).of_user(&odd_user(number)));
        }
    })
}

pub(super) fn silent_user(number: usize) -> String {
    format!("silent-{number}@example.org")
}

pub(super) fn odd_user(number: usize) -> String {
    format!("odd-{number}@example.org")
}

fn odd_answer(number: usize) -> Fault {
    match number % 8 {
        0 => Fault::status(404),
        1 => Fault::Status { status: 200, retry_after: None, body: Some(r#"{"success":false}"#.into()) },
        2 => Fault::Redirect { status: 302, location: "/login".into() },
        3 => Fault::Garbage,
        4 => Fault::Truncated,
        5 => Fault::Oversize { bytes: 1024 * 1024 },
        6 => Fault::status(500),
        _ => Fault::NotHttp,
    }
}
