//! What only the API server in memory can do: faults, counts, and time that is not waited for.

use std::time::Duration;

use futures::{Stream, StreamExt};
use idissuer_testbed::memory::MemoryApi;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::memory;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn secret(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data,
    })
}

/// What a watcher says next, in a word.
async fn next(
    events: &mut (impl Stream<Item = watcher::Result<Event<PartialObjectMeta<Secret>>>> + Unpin),
) -> String {
    match timeout(DAY, events.next()).await.expect("news within a day").unwrap() {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitApply(object)) => format!("found {}", object.name_any()),
        Ok(Event::InitDone) => "found all".to_owned(),
        Ok(Event::Apply(object)) => format!("applied {}", object.name_any()),
        Ok(Event::Delete(object)) => format!("deleted {}", object.name_any()),
        Err(watcher::Error::WatchFailed(_)) => "broken".to_owned(),
        Err(watcher::Error::WatchError(status)) => format!("error {}", status.code),
        Err(error) => panic!("{error}"),
    }
}

fn watch(
    api: &MemoryApi,
) -> impl Stream<Item = watcher::Result<Event<PartialObjectMeta<Secret>>>> + Unpin + use<> {
    let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(api.client("operator"), "shop");
    Box::pin(watcher(secrets, watcher::Config::default()))
}

#[tokio::test(start_paused = true)]
async fn a_watcher_goes_on_through_time_limits_broken_connections_and_lost_history() {
    let api = memory();
    api.apply("test", &secret("one", &json!({}))).unwrap();
    let mut events = watch(&api);
    for expected in ["init", "found one", "found all"] {
        assert_eq!(next(&mut events).await, expected);
    }
    api.apply("test", &secret("two", &json!({}))).unwrap();
    assert_eq!(next(&mut events).await, "applied two");

    // Nothing happens, and watch follows watch.
    let quiet = timeout(DAY, events.next()).await;
    assert!(quiet.is_err());
    let watches = api.count("operator", "watch", "secrets");
    assert!((290..310).contains(&watches), "{watches}");
    api.delete("test", "secrets", "shop", "one");
    assert_eq!(next(&mut events).await, "deleted one");

    api.break_watches("operator");
    assert_eq!(next(&mut events).await, "broken");
    api.apply("test", &secret("three", &json!({}))).unwrap();
    assert_eq!(next(&mut events).await, "applied three");

    api.break_watches("operator");
    assert_eq!(next(&mut events).await, "broken");
    api.apply("test", &secret("four", &json!({}))).unwrap();
    api.compact();
    for expected in ["error 410", "init", "found four", "found three", "found two", "found all"] {
        assert_eq!(next(&mut events).await, expected);
    }
}
