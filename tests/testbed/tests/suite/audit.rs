use std::time::Duration;

use idissuer_testbed::{Mark, TestNamespace, count, shared, wait};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};

#[tokio::test]
async fn each_request_of_a_user_is_counted_as_soon_as_it_is_answered() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "audit").await.unwrap();
    let client = control_plane.client_as("counted", Some("system:masters")).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace.name());
    let mut map = ConfigMap::default();
    map.metadata.name = Some("map".to_owned());
    maps.create(&PostParams::default(), &map).await.unwrap();

    let mark = control_plane.audit().mark().unwrap();
    for _ in 0..100 {
        maps.get("map").await.unwrap();
        // The test's own client: another user.
        namespace.api::<ConfigMap>().get("map").await.unwrap();
    }
    maps.list(&ListParams::default().labels("a=b")).await.unwrap();

    let requests = control_plane.audit().of_user_since("counted", mark).unwrap();
    let counts = count(&requests);
    assert_eq!(counts[&("get".to_owned(), "configmaps".to_owned())], 100);
    assert_eq!(counts[&("list".to_owned(), "configmaps".to_owned())], 1);
    assert_eq!(counts.len(), 2);
    let last = requests.last().unwrap();
    assert_eq!((last.code, last.namespace.as_str()), (200, namespace.name()));
    assert!(last.uri.contains("labelSelector=a%3Db"), "{}", last.uri);
}

#[tokio::test]
async fn a_watch_is_counted_when_it_starts() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "audit").await.unwrap();
    let client = control_plane.client_as("watcher", Some("system:masters")).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace.name());
    let watching = wait::object(&maps, "map", "its arrival", Duration::from_secs(30), |_| true);
    let acting = async {
        wait::until("the watch in the log", Duration::from_secs(20), async || {
            let requests = control_plane.audit().of_user_since("watcher", Mark::START).unwrap();
            count(&requests).get(&("watch".to_owned(), "configmaps".to_owned())) == Some(&1)
        })
        .await;
        let yaml = "{apiVersion: v1, kind: ConfigMap, metadata: {name: map}}";
        namespace.kubectl().apply(yaml).await.unwrap();
    };
    tokio::join!(watching, acting);
}

#[tokio::test]
async fn a_user_without_rights_is_refused_and_the_refusal_is_counted() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "audit").await.unwrap();
    let client = control_plane.client_as("nobody", None).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client, namespace.name());
    let error = secrets.get("login").await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.is_forbidden()), "{error}");
    let requests = control_plane.audit().of_user_since("nobody", Mark::START).unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].code, requests[0].name.as_str()), (403, "login"));
}
