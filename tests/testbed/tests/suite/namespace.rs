use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use idissuer_testbed::{TestNamespace, shared, wait};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

async fn is_going(namespaces: &Api<Namespace>, name: &str) -> bool {
    let namespace = namespaces.get_opt(name).await.unwrap();
    namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some())
}

#[tokio::test]
async fn two_namespaces_of_one_prefix_differ() {
    let control_plane = shared().await.unwrap();
    let one = TestNamespace::create(control_plane, "same").await.unwrap();
    let other = TestNamespace::create(control_plane, "same").await.unwrap();
    assert_ne!(one.name(), other.name());
    assert!(one.name().starts_with("same-"));
}

#[tokio::test]
async fn a_namespace_is_deleted_when_its_test_ends_and_is_gone_soon_after() {
    let control_plane = shared().await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client().unwrap());
    let namespace = TestNamespace::create(control_plane, "ends").await.unwrap();
    let name = namespace.name().to_owned();
    assert!(!is_going(&namespaces, &name).await);
    drop(namespace);
    assert!(is_going(&namespaces, &name).await);
    wait::until("its end", Duration::from_secs(60), async || {
        namespaces.get_opt(&name).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
async fn a_namespace_is_deleted_when_its_test_panics() {
    let control_plane = shared().await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client().unwrap());
    let namespace = TestNamespace::create(control_plane, "panics").await.unwrap();
    let name = namespace.name().to_owned();
    let test = async move {
        let _namespace = namespace;
        panic!("as a failed assertion does");
    };
    assert!(AssertUnwindSafe(test).catch_unwind().await.is_err());
    assert!(is_going(&namespaces, &name).await);
}

#[tokio::test]
async fn the_inventory_names_what_lies_there_and_shows_no_secret() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "inventory").await.unwrap();
    let yaml = "
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hunter2}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
---
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: happening}
eventTime: 2026-01-02T03:04:05.000000Z
regarding: {kind: ConfigMap, name: settings, apiVersion: v1}
action: Painting
reason: Painted
note: it is green now
type: Normal
reportingController: example.com/painter
reportingInstance: one
";
    // An Event must name a namespace that is its own; kubectl fills in the one of `regarding` only for its own.
    let yaml = yaml.replace("apiVersion: v1}", &format!("apiVersion: v1, namespace: {}}}", namespace.name()));
    namespace.kubectl().apply(&yaml).await.unwrap();
    let inventory = namespace.inventory().await;
    for part in
        ["Secret login", "ConfigMap settings", "green", "Event ConfigMap settings Painted: it is green now"]
    {
        assert!(inventory.contains(part), "{part}: {inventory}");
    }
    assert!(!inventory.contains("hunter2") && !inventory.contains("aHVudGVyMg"), "{inventory}");
}
