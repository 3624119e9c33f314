use std::time::Duration;

use futures::{Stream, StreamExt};
use idissuer_testbed::proxy::{Fault, ProxiedRequest, Proxy, Rule};
use idissuer_testbed::{TestNamespace, shared};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(20);

/// A namespace, a proxy of a user of its own, and that user's `ConfigMaps` through it.
async fn set(user: &str) -> (TestNamespace, Proxy, Api<ConfigMap>) {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "proxy").await.unwrap();
    let proxy = Proxy::start(control_plane, user, Some("system:masters")).unwrap();
    let kubeconfig = Kubeconfig::read_from(proxy.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let maps = Api::namespaced(Client::try_from(config).unwrap(), namespace.name());
    (namespace, proxy, maps)
}

async fn write(maps: &Api<ConfigMap>, name: &str, value: &str) -> kube::Result<ConfigMap> {
    let patch = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"ours": "yes"}}, "data": {"key": value},
    });
    maps.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(patch)).await
}

fn code(result: kube::Result<ConfigMap>) -> u16 {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

async fn watch(maps: &Api<ConfigMap>) -> impl Stream<Item = WatchEvent<ConfigMap>> + Unpin {
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let events = maps.watch(&WatchParams::default().labels("ours"), &version).await.unwrap();
    Box::pin(events.filter_map(|event| std::future::ready(event.ok())))
}

/// The name of the next object that a watch shows, or the status that ended it.
async fn next(events: &mut (impl Stream<Item = WatchEvent<ConfigMap>> + Unpin)) -> Result<String, u16> {
    match tokio::time::timeout(LIMIT, events.next()).await.unwrap().unwrap() {
        WatchEvent::Added(map) | WatchEvent::Modified(map) => Ok(map.metadata.name.unwrap()),
        WatchEvent::Error(status) => Err(status.code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rule_answers_for_the_api_server_as_often_as_it_says() {
    let (_namespace, proxy, maps) = set("answered").await;
    proxy.inject(Rule::new(Fault::status(409), ProxiedRequest::is_write).times(2));
    assert_eq!(code(write(&maps, "map", "one").await), 409);
    assert_eq!(code(write(&maps, "map", "one").await), 409);
    assert!(maps.get_opt("map").await.unwrap().is_none(), "none of them came through");
    write(&maps, "map", "one").await.unwrap();

    // The client heeds it, and tries again by itself.
    let later = Fault::Answer { status: 429, retry_after: Some(1) };
    proxy.inject(Rule::new(later, ProxiedRequest::is_write).times(1));
    write(&maps, "map", "two").await.unwrap();
    let statuses: Vec<_> = proxy.requests().iter().filter_map(|request| request.status).collect();
    assert_eq!(statuses, [409, 409, 404, 201, 429, 200]);
}

#[tokio::test]
async fn a_lost_answer_is_one_to_a_request_that_was_carried_out() {
    let (_namespace, proxy, maps) = set("lost").await;
    proxy.inject(Rule::new(Fault::LoseAnswer, ProxiedRequest::is_write).times(1));
    let error = write(&maps, "map", "one").await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error}");
    maps.get("map").await.unwrap();
}

#[tokio::test]
async fn a_watch_can_be_silenced_ended_and_cut() {
    let (_namespace, proxy, maps) = set("watching").await;
    let mut events = watch(&maps).await;
    write(&maps, "heard", "one").await.unwrap();
    assert_eq!(next(&mut events).await, Ok("heard".to_owned()));

    proxy.inject(Rule::new(Fault::Silence, ProxiedRequest::is_watch));
    write(&maps, "unheard", "one").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    proxy.heal();
    assert_eq!(next(&mut events).await, Ok("unheard".to_owned()));

    proxy.cut();
    let end = tokio::time::timeout(LIMIT, events.next()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
    proxy.inject(Rule::new(Fault::EndWatch { status: 410 }, ProxiedRequest::is_watch));
    assert_eq!(next(&mut watch(&maps).await).await, Err(410));
}
