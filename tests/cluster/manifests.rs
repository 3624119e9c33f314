//! `crds/` and `deploy/`, applied and deleted as people do it.

use idissuer::api::IdIssuerCredential;
use idissuer_testbed::{ControlPlane, Options, Shared, TestNamespace};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::operator::credential;

/// A control plane of its own, without the CRD.
static ALONE: Shared = Shared::new(Options::new);

fn path(folder: &str) -> String {
    format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))
}

async fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> String {
    control_plane.kubectl().run(arguments).await.unwrap()
}

/// A credential and the Secret that it owns, as they stand after a publication.
async fn published(namespace: &TestNamespace) -> Secret {
    namespace.kubectl().apply(&credential("billing", json!({})).to_string()).await.unwrap();
    let owner = namespace.api::<IdIssuerCredential>().get("billing").await.unwrap();
    let owner = json!({
        "apiVersion": "idissuer.pl/v1alpha1",
        "kind": "IdIssuerCredential",
        "name": "billing",
        "uid": owner.uid().unwrap(),
        "controller": true,
    });
    let target = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "billing", "ownerReferences": [owner]},
        "stringData": {"token": "a token"},
    });
    let parameters = PatchParams::apply("idissuer-tests");
    namespace.api::<Secret>().patch("billing", &parameters, &Patch::Apply(target)).await.unwrap()
}

#[tokio::test]
async fn deleting_the_operators_manifests_leaves_the_resource_the_credentials_and_their_tokens() {
    let control_plane = ALONE.control_plane().await.unwrap();
    // All of the folder can be applied as it stands; then as a kustomization.
    kubectl(control_plane, &["apply", "--filename", &path("crds/")]).await;
    kubectl(control_plane, &["apply", "--kustomize", &path("deploy/crds")]).await;
    control_plane.await_crds().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "tokens").await.unwrap();
    control_plane.kubectl().apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").await.unwrap();
    let target = published(&namespace).await;

    for folder in ["deploy/base", "deploy/overlays/one-namespace", "deploy/overlays/with-simulator"] {
        kubectl(control_plane, &["apply", "--kustomize", &path(folder)]).await;
        let deleted = kubectl(control_plane, &["delete", "--kustomize", &path(folder)]).await;
        assert!(deleted.contains("\"idissuer-operator\""), "{folder}: {deleted}");
        assert!(!deleted.contains("customresourcedefinition"), "{folder}: {deleted}");
        let credential = namespace.api::<IdIssuerCredential>().get("billing").await.unwrap();
        assert!(credential.metadata.deletion_timestamp.is_none(), "{folder}");
        let kept = namespace.api::<Secret>().get("billing").await.unwrap();
        assert_eq!(kept.metadata, target.metadata, "{folder}");
        assert_eq!(kept.data, target.data, "{folder}");
    }
}
