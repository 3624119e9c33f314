//! A tenant that attacks others through the credentials that it may create in one namespace.

use std::time::Duration;

use idissuer::controller::{MetadataDomain, SecretType, TargetPolicy};
use serde_json::{Value, json};

use crate::bad_input::hostile;
use crate::issuers::{HOUR, Issuers};
use crate::population::Credential;
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);

/// Two credentials: the first is the tenant's, the second his neighbour's in another namespace.
fn two_tenants() -> World {
    World::new(&Plan { seed: 11, accounts: 1, credentials: 2, lease: None }, Issuers::plain(1, HOUR))
}

fn credential(world: &World, number: usize) -> Credential {
    world.population.credentials[number].clone()
}

/// What the credential's first condition of this kind says.
fn message(world: &World, credential: &Credential, kind: &str) -> String {
    let object = world.credential(credential);
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let condition = conditions.into_iter().find(|condition| condition["type"] == kind);
    condition.map(|it| it["message"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn template(text: &str) -> Value {
    json!({"target": {"template": {"data": {"x": text}}}})
}

#[tokio::test(start_paused = true)]
async fn a_hostile_template_is_refused_with_its_cure_and_the_neighbour_is_served() {
    let mut world = two_tenants();
    let (tenant, neighbour) = (credential(&world, 0), credential(&world, 1));
    assert_ne!(tenant.namespace, neighbour.namespace);
    world.start();
    for text in hostile() {
        world.apply(&tenant, &template(&text));
        world.pass(5 * SECOND).await;
        let stalled = world.condition(&tenant, "Stalled");
        assert_eq!(stalled, Some(("True".into(), "TemplateError".into())), "{text:.60}");
        assert!(message(&world, &tenant, "Stalled").contains("; "), "{text:.60}");
        world.health(&neighbour).unwrap();
    }
    world.apply(&tenant, &template("{{ token }}"));
    world.pass(5 * SECOND).await;
    assert_eq!(world.condition(&tenant, "Ready").unwrap().0, "True", "what is repaired is served");
}

/// What the tenant wants of his Secret, why he does not get it, and the flag that would let him.
fn wishes() -> Vec<(Value, &'static str, &'static str)> {
    let data = json!({"release": "H4sIAAAA"});
    let template = |template: Value| json!({"target": {"template": template}});
    let label = |key: &str, value: &str| template(json!({"metadata": {"labels": {key: value}}}));
    let annotation = |key: &str| template(json!({"metadata": {"annotations": {key: "true"}}}));
    vec![
        (
            template(json!({"type": "helm.sh/release.v1", "data": data})),
            "SecretTypeNotAllowed",
            "--allow-secret-type=helm.sh/release.v1",
        ),
        (
            json!({"target": {"secretName": "sh.helm.release.v1.shop.v1"}}),
            "TargetNameReserved",
            "another spec.target.secretName",
        ),
        (label("owner", "helm"), "InvalidSpec", "kubectl explain"),
        (
            label("argocd.argoproj.io/secret-type", "cluster"),
            "MetadataDomainNotAllowed",
            "--allow-metadata-domain=argocd.argoproj.io",
        ),
        (
            label("cluster.x-k8s.io/cluster-name", "bank"),
            "MetadataDomainNotAllowed",
            "--allow-metadata-domain=cluster.x-k8s.io",
        ),
        (
            annotation("reflector.v1.k8s.emberstack.com/reflection-allowed"),
            "MetadataDomainNotAllowed",
            "--allow-metadata-domain=reflector.v1.k8s.emberstack.com",
        ),
        (
            template(
                json!({"type": "kubernetes.io/basic-auth", "data": {"username": "admin", "password": "{{ token }}"}}),
            ),
            "TemplateLiteralNotAllowed",
            "the type Opaque",
        ),
        (template(json!({"type": "kubernetes.io/service-account-token"})), "InvalidSpec", "kubectl explain"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_secret_to_which_others_give_power_is_never_written_and_the_reason_names_the_cure() {
    let mut world = two_tenants();
    let tenant = credential(&world, 0);
    world.start();
    for (spec, reason, cure) in wishes() {
        world.apply(&tenant, &json!({"target": {"template": {"type": "kubernetes.io/tls"}}}));
        world.environment.api.delete("owner", "secrets", &tenant.namespace, &tenant.name);
        world.apply(&tenant, &spec);
        world.pass(5 * SECOND).await;
        assert_eq!(world.condition(&tenant, "Stalled"), Some(("True".into(), reason.into())), "{spec}");
        let message = message(&world, &tenant, "Stalled");
        assert!(message.contains(cure), "{message}");
        let secrets = world.environment.api.list("secrets", &tenant.namespace);
        assert_eq!(secrets.len(), 1, "only the login: {spec}");
    }
    world.apply(&tenant, &json!({"target": {"template": {"metadata": {"labels": {"team": "shop", "app.kubernetes.io/part-of": "x"}}}}}));
    world.pass(5 * SECOND).await;
    world.health(&tenant).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_flags_allow_is_written() {
    let mut world = two_tenants();
    let tenant = credential(&world, 0);
    let types = vec![SecretType::parse("helm.sh/release.v1").unwrap()];
    let domains = ["argoproj.io", "cluster.x-k8s.io"].map(|domain| MetadataDomain::parse(domain).unwrap());
    world.environment.target_policy = TargetPolicy::new(types, domains.into());
    world.start();
    let metadata = json!({
        "labels": {"argocd.argoproj.io/secret-type": "cluster"},
        "annotations": {"cluster.x-k8s.io/cluster-name": "bank"},
    });
    let template =
        json!({"type": "helm.sh/release.v1", "metadata": metadata, "data": {"token": "{{ token }}"}});
    world.apply(&tenant, &json!({"target": {"template": template}}));
    world.pass(5 * SECOND).await;
    world.health(&tenant).unwrap();
    let secret = world.environment.api.get("secrets", &tenant.namespace, &tenant.name).unwrap();
    assert_eq!(secret["type"], "helm.sh/release.v1");
    assert_eq!(secret["metadata"]["labels"]["argocd.argoproj.io/secret-type"], "cluster");
    assert_eq!(secret["metadata"]["annotations"]["cluster.x-k8s.io/cluster-name"], "bank");
}
