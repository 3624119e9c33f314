use idissuer_testbed::{TestNamespace, count, shared};
use k8s_openapi::api::core::v1::ConfigMap;
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
