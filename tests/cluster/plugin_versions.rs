//! `kubectl idissuer` with an operator that is older or newer. The control plane is its own, because the CRD changes.

use idissuer_testbed::{Controllers, Options, Shared, wait};
use kube::api::{Api, DynamicObject, Patch};
use serde_json::{Value, json};

use crate::operator::{HOUR, LIMIT, Stage, issuer, parameters};
use crate::plugin::Person;
use crate::schema::loose_crd;

static OTHER_VERSION: Shared = Shared::new(|| Options::new().controllers(Controllers::None).crd(loose_crd()));

/// The definition of a version that serves another one of the resource.
fn crd_of_the_future() -> String {
    let mut crd: Value = serde_json::from_str(&loose_crd()).unwrap();
    let versions = &mut crd["spec"]["versions"];
    let mut newer = versions[0].clone();
    newer["name"] = json!("v2");
    versions[0]["served"] = json!(false);
    versions[0]["storage"] = json!(false);
    versions.as_array_mut().unwrap().push(newer);
    crd.to_string()
}

/// A credential with the status that an operator of another version left.
async fn put(stage: &Stage, name: &str, status: Value) {
    let resource = kube::api::ApiResource::erase::<idissuer::api::IdIssuerCredential>(&());
    let namespace = stage.namespace.name();
    let api: Api<DynamicObject> =
        Api::namespaced_with(stage.control_plane.client().unwrap(), namespace, &resource);
    let mut object = json!({
        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential", "metadata": {"name": name},
        "spec": {"loginSecretRef": {"name": "login"}, "invented": {"later": true}},
    });
    api.patch(name, &parameters(), &Patch::Apply(&object)).await.unwrap();
    object["spec"] = json!({});
    object["status"] = status;
    api.patch_status(name, &parameters(), &Patch::Apply(&object)).await.unwrap();
}

/// A pod of an operator of this version.
async fn apply_operator(stage: &Stage, version: &str) {
    let yaml = format!(
        r"
{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: default}}}}
---
apiVersion: v1
kind: Pod
metadata:
  name: operator
  labels: {{app.kubernetes.io/name: idissuer-operator, app.kubernetes.io/version: {version}}}
spec:
  automountServiceAccountToken: false
  serviceAccountName: default
  containers: [{{name: controller, image: 'example.org/idissuer:{version}', args: [controller]}}]
"
    );
    stage.namespace.kubectl().apply(&yaml).await.unwrap();
}

#[tokio::test]
async fn an_older_or_newer_operator_is_named_and_what_is_understood_is_shown() {
    let control_plane = OTHER_VERSION.control_plane().await.unwrap();
    let stage = Stage::prepare(control_plane, "plugin-versions", issuer(HOUR)).await;
    let admin = Person::administrator(&stage);
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "ReasonOfTheFuture", "message": "said by another version",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    put(&stage, "older", json!({"observedGeneration": 1})).await;
    put(&stage, "newer", json!({"conditions": [ready], "invented": {"later": true}})).await;
    put(&stage, "strange", json!({"conditions": [ready], "token": {"grant": "Device"}})).await;

    let parts = [
        "older   Unknown",
        "newer   False",
        "ReasonOfTheFuture",
        "Not shown: IdIssuerCredential plugin-versions-",
        "/strange is not understood: another version wrote it",
    ];
    admin.run(&["status"]).await.assert(3, &parts);
    let data = admin.run(&["status", "-o", "json"]).await.json();
    assert_eq!(data["credentials"].as_array().unwrap().len(), 2, "{data}");
    admin.run(&["status", "newer"]).await.assert(3, &["said by another version"]);
    admin.run(&["explain", "newer"]).await.assert(3, &["ReasonOfTheFuture: said by another version"]);
    admin.run(&["status", "strange"]).await.assert(1, &["compare `kubectl idissuer version`"]);
    admin.run(&["suspend", "--all"]).await.assert(1, &["/strange is not understood"]);

    for version in ["0.0.1", "99.0.0"] {
        apply_operator(&stage, version).await;
        let told = format!("warning  Version: the operator is {version}, this plugin");
        let parts =
            [told.as_str(), "warning  CRD: another one than", "warning  Credentials: 1 are not understood"];
        admin.run(&["check", "--operator-namespace", stage.namespace.name()]).await.assert(3, &parts);
        let version = admin.run(&["version", "--operator-namespace", stage.namespace.name()]).await;
        version.assert(0, &["Use the plugin of the operator's version.", "CRD        another one than"]);
    }

    control_plane.install_crd(&crd_of_the_future()).await.unwrap();
    wait::until("the old version not being served", LIMIT, async || match admin.run(&["status"]).await {
        run if run.code == 5 && run.errors.contains("install the CRD") => Ok(()),
        run => Err(format!("{run:?}")),
    })
    .await;
    let parts = ["FAIL     CRD: does not serve the version that this program uses", "versions.html"];
    admin.run(&["check", "--operator-namespace", stage.namespace.name()]).await.assert(3, &parts);
}
