//! Random actions that a tenant may take in its own namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::setup::{Setup, TROUBLED, honest_user, odd_user, silent_user};
use crate::operator::{PASSWORD, credential, parameters};

const CREDENTIALS: usize = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attack {
    Template,
    ForbiddenSecret,
    SilentIssuer,
    OddAnswers,
    WrongPasswords,
    LargeLogin,
    LargeBundle,
    LargeSpecification,
    BriefTokens,
    EditedStatus,
    EditedTarget,
    DeletedTarget,
    RenewRequests,
    LongName,
    Reference,
    Deletion,
}

const ATTACKS: [Attack; 16] = [
    Attack::Template,
    Attack::ForbiddenSecret,
    Attack::SilentIssuer,
    Attack::OddAnswers,
    Attack::WrongPasswords,
    Attack::LargeLogin,
    Attack::LargeBundle,
    Attack::LargeSpecification,
    Attack::BriefTokens,
    Attack::EditedStatus,
    Attack::EditedTarget,
    Attack::DeletedTarget,
    Attack::RenewRequests,
    Attack::LongName,
    Attack::Reference,
    Attack::Deletion,
];

/// How often each attack was made, and how often the API server itself refused it.
pub(super) type Attacks = BTreeMap<Attack, (usize, usize)>;

pub(super) async fn attack(setup: &Setup, seed: u64, time: Duration) -> Attacks {
    let mut tenant = Tenant { setup, chance: fastrand::Rng::with_seed(seed) };
    let (mut attacks, end) = (Attacks::new(), Instant::now() + time);
    while Instant::now() < end {
        let attack = ATTACKS[tenant.chance.usize(..ATTACKS.len())];
        let is_refused = tenant.make(attack).await.is_err();
        let (made, refused) = attacks.entry(attack).or_default();
        *made += 1;
        *refused += usize::from(is_refused);
        tokio::time::sleep(Duration::from_millis(tenant.chance.u64(5..80))).await;
    }
    attacks
}

struct Tenant<'a> {
    setup: &'a Setup,
    chance: fastrand::Rng,
}

impl Tenant<'_> {
    async fn make(&mut self, attack: Attack) -> kube::Result<()> {
        let number = self.chance.usize(..CREDENTIALS);
        let name = format!("tenant-{number}");
        match attack {
            Attack::Template => {
                let texts = templates();
                let text = &texts[self.chance.usize(..texts.len())];
                self.apply(&name, "tenant", json!({"target": {"template": {"data": {"x": text}}}})).await
            }
            Attack::ForbiddenSecret => {
                let targets = forbidden_targets();
                let target = &targets[self.chance.usize(..targets.len())];
                self.apply(&name, "tenant", json!({"target": target})).await
            }
            Attack::SilentIssuer => self.apply(&name, &silent_user(number % TROUBLED), json!({})).await,
            Attack::OddAnswers => self.apply(&name, &odd_user(number % TROUBLED), json!({})).await,
            Attack::WrongPasswords => {
                // A neighbour's account, in any spelling, with a guess.
                let user: String = honest_user(number % 3)
                    .chars()
                    .map(|letter| if self.chance.bool() { letter.to_ascii_uppercase() } else { letter })
                    .collect();
                self.apply_with(&name, user.as_bytes(), format!("guess-{number}").as_bytes(), json!({})).await
            }
            Attack::LargeLogin => {
                let large = vec![b'x'; 450 * 1024];
                self.apply_with(&name, &large, &large, json!({})).await
            }
            Attack::LargeBundle => self.large_bundle(&name, number).await,
            Attack::LargeSpecification => {
                let data: BTreeMap<String, String> =
                    (0..32).map(|key| (format!("k{key}"), "y".repeat(16_000))).collect();
                let spec = json!({"suspend": self.chance.bool(), "target": {"template": {"data": data}}});
                self.apply(&name, "tenant", spec).await
            }
            Attack::BriefTokens => {
                self.apply(&name, "brief", json!({"issuer": {"url": self.setup.brief.url()}})).await
            }
            Attack::EditedStatus => self.edit_status(&name).await,
            Attack::EditedTarget => {
                let patch = json!({"metadata": {"annotations": {"other.example/seen": number.to_string()}},
                    "data": {"token": "eA=="}});
                self.secrets().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
            }
            Attack::DeletedTarget => self.secrets().delete(&name, &DeleteParams::default()).await.map(drop),
            Attack::RenewRequests => {
                let request = self.chance.u64(..).to_string();
                let patch = json!({"metadata": {"annotations": {"idissuer.pl/renew-requested-at": request}}});
                self.credentials().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
            }
            Attack::LongName => self.apply(&"n".repeat(253 - number), "tenant", json!({})).await,
            Attack::Reference => {
                // One of ten permits it.
                let owner =
                    json!({"namespace": self.setup.namespace_of(number), "name": format!("honest-{number}")});
                let percent = self.chance.u8(5..=80);
                let spec = json!({"credentialRef": owner, "renewal": {"renewBeforePercent": percent}});
                let patch = Patch::Apply(credential(&name, spec));
                self.credentials().patch(&name, &parameters(), &patch).await.map(drop)
            }
            Attack::Deletion => self.credentials().delete(&name, &DeleteParams::default()).await.map(drop),
        }
    }

    async fn large_bundle(&mut self, name: &str, number: usize) -> kube::Result<()> {
        let authority =
            self.setup.issuer.ca_pem().unwrap_or("-----BEGIN CERTIFICATE-----\nAAAA\n").to_owned();
        let text = authority + &"# filling\n".repeat(90 * 1024);
        let maps: Api<ConfigMap> = Api::namespaced(self.setup.client.clone(), &self.setup.tenant);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bundle"},
            "data": {"ca.crt": text}});
        maps.patch("bundle", &parameters(), &Patch::Apply(map)).await?;
        let bundle = json!({"kind": "ConfigMap", "name": "bundle", "key": "ca.crt"});
        let issuer = json!({"caBundleRef": bundle, "tokenPath": format!("/v2/path-{number}")});
        self.apply(name, "tenant", json!({"issuer": issuer})).await
    }

    async fn edit_status(&mut self, name: &str) -> kube::Result<()> {
        let time = "2020-01-01T00:00:00Z";
        let status = match self.chance.u8(..3) {
            0 => json!({"status": null}),
            1 => json!({"status": {"login": {"rejections": 0, "acceptedTime": time}}}),
            _ => {
                json!({"status": {"token": {"issuedTime": time, "expirationTime": time, "renewalTime": time}}})
            }
        };
        let parameters = PatchParams::default();
        self.credentials().patch_status(name, &parameters, &Patch::Merge(status)).await.map(drop)
    }

    async fn apply(&self, name: &str, user: &str, spec: Value) -> kube::Result<()> {
        self.apply_with(name, user.as_bytes(), PASSWORD.as_bytes(), spec).await
    }

    async fn apply_with(
        &self,
        name: &str,
        user: &[u8],
        password: &[u8],
        mut spec: Value,
    ) -> kube::Result<()> {
        let short = &name[..name.len().min(200)];
        self.setup.write_login(&self.setup.tenant, short, user, password).await;
        spec["loginSecretRef"] = json!({"name": format!("{short}-login")});
        let patch = Patch::Apply(credential(name, spec));
        self.credentials().patch(name, &parameters(), &patch).await.map(drop)
    }

    fn credentials(&self) -> Api<IdIssuerCredential> {
        Api::namespaced(self.setup.client.clone(), &self.setup.tenant)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.setup.client.clone(), &self.setup.tenant)
    }
}

/// Texts that overflow a stack, fill the memory or never end in an engine that takes them for a program.
fn templates() -> Vec<String> {
    vec![
        format!("{{{{ {}1 }}}}", "-".repeat(5_300)),
        format!("{{{{ {}token{} }}}}", "(".repeat(5_000), ")".repeat(5_000)),
        "{{ ([0]*100000000)|tojson }}".into(),
        "{{ token * 100000000 }}".into(),
        format!("{{{{ token{} }}}}", "|b64encode".repeat(1_000)),
        format!("{}{}", "{% if token %}".repeat(1_000), "{% endif %}".repeat(1_000)),
        "{% for a in range(1000000000) %}{{ a }}{% endfor %}".into(),
        "{{ token ~ token }}".repeat(800),
    ]
}

fn forbidden_targets() -> Vec<Value> {
    vec![
        json!({"template": {"type": "helm.sh/release.v1", "data": {"release": "H4sIAAAAAAAA"}}}),
        json!({"template": {"type": "kubernetes.io/service-account-token", "data": {"token": "{{ token }}"}}}),
        json!({"template": {"metadata": {"labels": {"argocd.argoproj.io/secret-type": "cluster"}},
            "data": {"server": "https://example.org"}}}),
        json!({"template": {"metadata": {"labels": {"cluster.x-k8s.io/cluster-name": "prod"}},
            "data": {"value": "{{ token }}"}}}),
        json!({"template": {"metadata": {"annotations": {"reflector.v1.k8s.emberstack.com/reflection-auto-enabled":
            "true"}}, "data": {"token": "{{ token }}"}}}),
    ]
}
