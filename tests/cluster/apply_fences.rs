//! The guarantees of server-side apply that the operator's writes rely on. Not all of them are documented, so these
//! tests hold them: they fail before a new version of Kubernetes loses a token.

use idissuer_testbed::TestNamespace;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::CLUSTER;

async fn make_namespace(name: &str) -> TestNamespace {
    TestNamespace::create(CLUSTER.control_plane().await.unwrap(), name).await.unwrap()
}

async fn apply(secrets: &Api<Secret>, metadata: Value, data: Value) -> kube::Result<Secret> {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
    secret["metadata"]["name"] = "target".into();
    secrets.patch("target", &PatchParams::apply("fence").force(), &Patch::Apply(secret)).await
}

fn code(outcome: kube::Result<Secret>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

fn create_only() -> Value {
    json!({"resourceVersion": "1"})
}

fn fence(secret: &Secret) -> Value {
    json!({"uid": secret.uid(), "resourceVersion": secret.resource_version()})
}

#[tokio::test]
async fn an_apply_of_resource_version_1_creates_and_never_overwrites() {
    let namespace = make_namespace("fence-create").await;
    let secrets: Api<Secret> = namespace.api();
    let created = apply(&secrets, create_only(), json!({"a": "MQ=="})).await.unwrap();
    assert!(created.uid().is_some());
    assert_eq!(code(apply(&secrets, create_only(), json!({"a": "Mg=="})).await), 409);
    assert_eq!(secrets.get("target").await.unwrap().data, created.data);
}

#[tokio::test]
async fn an_apply_fails_on_an_object_that_was_edited_swapped_or_is_gone() {
    let namespace = make_namespace("fence-update").await;
    let secrets: Api<Secret> = namespace.api();
    let first = apply(&secrets, create_only(), json!({"a": "MQ=="})).await.unwrap();
    let second = apply(&secrets, fence(&first), json!({"a": "Mg=="})).await.unwrap();
    assert_eq!(code(apply(&secrets, fence(&first), json!({"a": "Mw=="})).await), 409, "edited");

    secrets.delete("target", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(apply(&secrets, fence(&second), json!({"a": "Mw=="})).await), 409, "gone");

    let metadata = ObjectMeta { name: Some("target".into()), ..ObjectMeta::default() };
    let stranger = Secret { metadata, ..Secret::default() };
    secrets.create(&PostParams::default(), &stranger).await.unwrap();
    assert_eq!(code(apply(&secrets, fence(&second), json!({"a": "Mw=="})).await), 409, "swapped");
}

#[tokio::test]
async fn an_apply_drops_what_it_named_before_and_leaves_what_others_own() {
    let namespace = make_namespace("fence-drop").await;
    let secrets: Api<Secret> = namespace.api();
    let first = apply(&secrets, create_only(), json!({"a": "MQ==", "b": "MQ=="})).await.unwrap();
    let others = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "target"}, "data": {"theirs": "MQ=="}});
    let edited = secrets.patch("target", &PatchParams::apply("other"), &Patch::Apply(others)).await.unwrap();
    assert_ne!(edited.resource_version(), first.resource_version());
    let last = apply(&secrets, fence(&edited), json!({"a": "Mg=="})).await.unwrap();
    let keys: Vec<String> = last.data.unwrap_or_default().into_keys().collect();
    assert_eq!(keys, ["a", "theirs"]);
}

#[tokio::test]
async fn an_apply_of_what_is_there_already_writes_nothing() {
    let namespace = make_namespace("fence-same").await;
    let secrets: Api<Secret> = namespace.api();
    let first = apply(&secrets, create_only(), json!({"a": "MQ=="})).await.unwrap();
    let again = apply(&secrets, fence(&first), json!({"a": "MQ=="})).await.unwrap();
    assert_eq!(again.resource_version(), first.resource_version());
}
