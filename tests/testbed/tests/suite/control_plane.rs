use std::time::Duration;

use idissuer_testbed::{
    ControlPlane, Controllers, Error, Options, TestNamespace, install_crypto_provider, shared, wait,
};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};

const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.testbed.example}
spec:
  group: testbed.example
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: map}}";

#[tokio::test]
async fn parallel_tests_of_a_process_share_one_control_plane() {
    let (one, other) = tokio::join!(shared(), shared());
    assert!(std::ptr::eq(one.unwrap(), other.unwrap()));
}

#[tokio::test]
async fn a_new_namespace_gets_its_default_service_account() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "account").await.unwrap();
    let accounts = namespace.api::<ServiceAccount>();
    let limit = Duration::from_secs(30);
    wait::object(&accounts, "default", "the account", limit, |_| true).await;
}

#[tokio::test]
async fn what_kubectl_is_refused_is_told_with_the_reason_that_a_user_gets() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "refused").await.unwrap();
    let bad = "{apiVersion: v1, kind: ConfigMap, metadata: {name: Map}}";
    let error = namespace.kubectl().apply(bad).await.unwrap_err();
    assert!(matches!(&error, Error::Kubectl { stderr, .. } if stderr.contains("RFC 1123")), "{error}");
}

#[tokio::test]
async fn dependents_of_a_deleted_custom_resource_are_collected() {
    let options = Options::new().crd(WIDGETS);
    let control_plane = ControlPlane::start(options).await.unwrap();
    let namespace = TestNamespace::create(&control_plane, "collect").await.unwrap();
    let kubectl = namespace.kubectl();
    kubectl.apply("{apiVersion: testbed.example/v1, kind: Widget, metadata: {name: owner}}").await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("testbed.example", "v1", "Widget"));
    let widgets: Api<DynamicObject> =
        Api::namespaced_with(namespace.client().clone(), namespace.name(), &kind);
    let owner = widgets.get("owner").await.unwrap().uid().unwrap();
    kubectl
        .apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: dependent, ownerReferences: [{{apiVersion: \
             testbed.example/v1, kind: Widget, name: owner, uid: {owner}}}]}}}}"
        ))
        .await
        .unwrap();
    kubectl.run(&["delete", "widget", "owner"]).await.unwrap();
    let maps = namespace.api::<ConfigMap>();
    // Well below the 30 s in which the collector finds a kind that is installed later.
    let limit = Duration::from_secs(20);
    wait::gone(&maps, "dependent", limit).await;
}

#[tokio::test]
async fn the_api_server_goes_and_comes_back_with_what_it_had() {
    let options = Options::new().controllers(Controllers::None);
    let control_plane = ControlPlane::start(options).await.unwrap();
    assert!(control_plane.controller_manager().is_none());
    let namespace = TestNamespace::create(&control_plane, "restart").await.unwrap();
    namespace.kubectl().apply(MAP).await.unwrap();
    let maps = namespace.api::<ConfigMap>();
    let mark = control_plane.audit().mark().unwrap();

    control_plane.api_server().stop().await.unwrap();
    assert_eq!(control_plane.api_server().pid(), None);
    assert!(maps.get("map").await.is_err());
    control_plane.api_server().start().unwrap();
    control_plane.ready().await.unwrap();
    maps.get("map").await.unwrap();

    control_plane.api_server().kill().await.unwrap();
    assert!(maps.get("map").await.is_err());
    control_plane.etcd().kill().await.unwrap();
    control_plane.etcd().start().unwrap();
    control_plane.api_server().start().unwrap();
    control_plane.ready().await.unwrap();
    maps.get("map").await.unwrap();

    let requests = control_plane.audit().of_user_since("admin", mark).unwrap();
    let reads = requests.iter().filter(|request| request.name == "map").count();
    assert_eq!(reads, 2, "the log goes on over restarts");
}

#[tokio::test]
async fn a_paused_api_server_answers_only_when_it_goes_on() {
    let options = Options::new().controllers(Controllers::None);
    let control_plane = ControlPlane::start(options).await.unwrap();
    let client = control_plane.client().unwrap();
    control_plane.api_server().pause().unwrap();
    // The signal arrives a moment later.
    wait::until("silence", Duration::from_secs(20), async || {
        let answer = client.apiserver_version();
        tokio::time::timeout(Duration::from_millis(500), answer).await.is_err()
    })
    .await;
    control_plane.api_server().resume().unwrap();
    control_plane.ready().await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_cannot_start_says_why() {
    let options = Options::new().controllers(Controllers::None).api_server_argument("--no-such-flag");
    let error = ControlPlane::start(options).await.unwrap_err();
    assert!(error.to_string().contains("no-such-flag"), "{error}");
}

#[test]
fn the_crypto_provider_may_be_installed_twice() {
    install_crypto_provider();
    install_crypto_provider();
}
