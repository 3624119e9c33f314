//! The definition of the resource: missing, or another than the operator was built with. Each test has a control plane
//! of its own.

use idissuer_testbed::{Controllers, Options, Shared, wait};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch};
use serde_json::{Value, json};

use crate::operator::{HOUR, LIMIT, PASSWORD, Stage, USER, holds, issuer, parameters};

const CRD: &str = include_str!("../../crds/idissuer.pl_idissuercredentials.yaml");

static WITHOUT_CRD: Shared = Shared::new(|| Options::new().controllers(Controllers::None));

static WITH_LOOSE_CRD: Shared =
    Shared::new(|| Options::new().controllers(Controllers::None).crd(loose_crd()));

/// The definition, but with a schema that takes anything: as an older or newer one might take what this operator
/// cannot read.
pub(crate) fn loose_crd() -> String {
    let mut crd: Value = serde_saphyr::from_str(CRD).unwrap();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything;
    crd.to_string()
}

#[tokio::test]
async fn an_operator_without_its_crd_says_what_it_waits_for_and_starts_when_the_crd_is_installed() {
    let control_plane = WITHOUT_CRD.control_plane().await.unwrap();
    let mut stage = Stage::prepare(control_plane, "no-crd", issuer(HOUR)).await;
    stage.operator.start(control_plane).await;
    let (status, text) = stage.operator.page("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("crd: waiting for") && text.contains("idissuercredentials.idissuer.pl"), "{text}");
    assert_eq!(stage.operator.page("/livez").await.0, 200);
    wait::until("a line in the log", LIMIT, async || {
        let output = stage.operator.output();
        output.contains("the CRD is not installed").then_some(()).ok_or(output)
    })
    .await;

    control_plane.install_crd(CRD).await.unwrap();
    stage.operator.until_ready().await;
    stage.write_login(USER, PASSWORD).await;
    stage.apply(json!({})).await;
    stage.ready().await;
}

#[tokio::test]
async fn a_malformed_resource_is_reported_stops_no_other_and_works_once_it_is_repaired() {
    let control_plane = WITH_LOOSE_CRD.control_plane().await.unwrap();
    let mut stage = Stage::prepare(control_plane, "malformed", issuer(HOUR)).await;
    stage.write_login(USER, PASSWORD).await;
    let malformed = [
        ("text", json!("all of it")),
        ("number", json!({"loginSecretRef": 5})),
        ("part", json!({"loginSecretRef": {"name": "billing-login"}, "renewal": 5})),
    ];
    for (name, spec) in &malformed {
        put(&stage, name, spec).await;
    }
    stage.operator.start(control_plane).await;
    stage.operator.until_ready().await;
    stage.apply_as("good", json!({})).await;
    stage.ready_as("good").await;

    let kubectl = stage.namespace.kubectl();
    for (name, spec) in &malformed {
        let told = wait::until("the condition", LIMIT, async || {
            let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].reason}"#;
            let reason = kubectl.run(&["get", "iic", name, "-o", path]).await.map_err(|e| e.to_string())?;
            if reason == "MalformedResource" { Ok(()) } else { Err(format!("{name} {spec}: {reason:?}")) }
        });
        told.await;
    }
    // And one that is malformed only after the start.
    put(&stage, "good", &json!({"loginSecretRef": []})).await;
    for (name, _) in &malformed {
        stage.apply_as(name, json!({})).await;
        stage.until(name, "Ready", |it| holds(it, "Ready", "True", "TokenPublished")).await;
    }
    stage.apply_as("good", json!({})).await;
    stage.ready_as("good").await;
    assert_eq!(stage.counts().logins_accepted, 1);
}

async fn put(stage: &Stage, name: &str, spec: &Value) {
    let kind = GroupVersionKind::gvk("idissuer.pl", "v1alpha1", "IdIssuerCredential");
    let resource = ApiResource::from_gvk_with_plural(&kind, "idissuercredentials");
    let api: Api<DynamicObject> =
        Api::namespaced_with(stage.namespace.client().clone(), stage.namespace.name(), &resource);
    let object = json!({
        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential", "metadata": {"name": name},
        "spec": spec,
    });
    api.patch(name, &parameters(), &Patch::Apply(object)).await.unwrap();
}
