//! What only the API server in memory can do: faults, counts, and time that is not waited for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use idissuer_testbed::memory::{Fault, MemoryApi};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::events::{Event as News, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::memory;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn secret(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"value": value},
    })
}

/// The value of a Secret at the API.
fn value(api: &MemoryApi, name: &str) -> Option<String> {
    Some(api.get("secrets", "shop", name)?["data"]["value"].as_str()?.to_owned())
}

async fn write(client: &Client, name: &str, value: &str) -> kube::Result<Secret> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "shop");
    let parameters = PatchParams::apply("operator").force();
    secrets.patch(name, &parameters, &Patch::Apply(secret(name, value))).await
}

type Watched = watcher::Result<Event<PartialObjectMeta<Secret>>>;

fn watch(api: &MemoryApi) -> impl Stream<Item = Watched> + Unpin + use<> {
    let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(api.client("operator"), "shop");
    Box::pin(watcher(secrets, watcher::Config::default()))
}

/// What a watcher says next, in a word.
async fn next(events: &mut (impl Stream<Item = Watched> + Unpin)) -> String {
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

async fn expect(events: &mut (impl Stream<Item = Watched> + Unpin), expected: &[&str]) {
    for expected in expected {
        assert_eq!(next(events).await, *expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_goes_on_through_time_limits_broken_connections_and_lost_history() {
    let api = memory();
    api.apply("test", &secret("one", "")).unwrap();
    let mut events = watch(&api);
    expect(&mut events, &["init", "found one", "found all"]).await;
    api.apply("test", &secret("two", "")).unwrap();
    expect(&mut events, &["applied two"]).await;

    // Nothing happens, and watch follows watch.
    assert!(timeout(DAY, events.next()).await.is_err());
    let watches = api.count("operator", "watch", "secrets");
    assert!((290..310).contains(&watches), "{watches}");
    api.delete("test", "secrets", "shop", "one");
    expect(&mut events, &["deleted one"]).await;

    api.break_watches("operator");
    expect(&mut events, &["broken"]).await;
    api.apply("test", &secret("three", "")).unwrap();
    expect(&mut events, &["applied three"]).await;

    api.break_watches("operator");
    expect(&mut events, &["broken"]).await;
    api.apply("test", &secret("four", "")).unwrap();
    api.compact();
    let relist = ["error 410", "init", "found four", "found three", "found two", "found all"];
    expect(&mut events, &relist).await;
    assert_eq!(api.count("operator", "list", "secrets"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_watch_gets_a_change_at_once() {
    let api = memory();
    let mut events = watch(&api);
    expect(&mut events, &["init", "found all"]).await;
    let start = Instant::now();
    for (seconds, expected) in [(10, "applied one"), (20, "broken")] {
        let api = api.clone();
        // A task of its own: only the watch itself can wake the one that waits here.
        tokio::spawn(async move {
            sleep(10 * SECOND).await;
            if expected == "broken" {
                api.break_watches("operator");
            } else {
                api.apply("test", &secret("one", "")).unwrap();
            }
        });
        let said = next(&mut events).await;
        assert_eq!((said.as_str(), start.elapsed()), (expected, seconds * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_news_keeps_up_with_the_versions_of_the_rest() {
    let api = memory();
    let mut events = watch(&api);
    expect(&mut events, &["init", "found all"]).await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader", "namespace": "shop"},
    });
    api.apply("test", &lease).unwrap();
    // The first watch ends, and says how far it came.
    assert!(timeout(300 * SECOND, events.next()).await.is_err());
    api.compact();
    api.break_watches("operator");
    expect(&mut events, &["broken"]).await;
    api.apply("test", &secret("one", "")).unwrap();
    expect(&mut events, &["applied one"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_tells_nothing_until_the_silence_ends() {
    let api = memory();
    let mut events = watch(&api);
    expect(&mut events, &["init", "found all"]).await;
    api.apply("test", &secret("one", "")).unwrap();
    expect(&mut events, &["applied one"]).await;

    api.silence_watches("operator", true);
    api.apply("test", &secret("two", "")).unwrap();
    let start = Instant::now();
    assert!(timeout(400 * SECOND, events.next()).await.is_err());
    assert_eq!(api.count("operator", "watch", "secrets"), 2, "the first ended by its time limit");
    api.silence_watches("operator", false);
    expect(&mut events, &["applied two"]).await;
    assert_eq!(start.elapsed(), 400 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_a_thousand_changes_behind_has_to_list_again() {
    for (behind, expected) in [(1000, "applied one"), (1001, "error 410")] {
        let api = memory();
        let mut events = watch(&api);
        api.apply("test", &secret("one", "")).unwrap();
        expect(&mut events, &["init", "found one", "found all"]).await;
        api.silence_watches("operator", true);
        assert!(timeout(SECOND, events.next()).await.is_err());
        for change in 0..behind {
            api.merge(
                "test",
                "secrets",
                ("shop", "one"),
                &json!({"metadata": {"labels": {"change": change.to_string()}}}),
            )
            .unwrap();
        }
        api.silence_watches("operator", false);
        assert_eq!(next(&mut events).await, expected, "{behind}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_strike_the_requests_of_their_user_only() {
    let api = memory();
    let (operator, other) = (api.client("operator"), api.client("other"));
    api.set_fault(|facts| (facts.user == "operator").then(|| Fault::refuse(503, "ServiceUnavailable")));
    let refused = write(&operator, "one", "MQ==").await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 503), "{refused}");
    assert_eq!(value(&api, "one"), None);
    write(&other, "one", "MQ==").await.unwrap();

    api.set_fault(|facts| {
        assert_eq!(facts.to_string(), "operator: patch secrets shop/one");
        Some(Fault::Unreachable)
    });
    let unreachable = write(&operator, "one", "Mg==").await.unwrap_err();
    assert!(matches!(unreachable, kube::Error::Service(_)), "{unreachable}");
    assert_eq!(value(&api, "one").unwrap(), "MQ==");
    api.clear_fault();
    write(&operator, "one", "Mg==").await.unwrap();
    assert_eq!(value(&api, "one").unwrap(), "Mg==");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_was_carried_out_and_a_late_request_will_be() {
    let api = memory();
    let client = api.client("operator");
    let given_up = async |value: &str| timeout(5 * SECOND, write(&client, "one", value)).await.is_err();

    api.set_fault(|_| Some(Fault::Lost));
    assert!(given_up("MQ==").await);
    assert_eq!(value(&api, "one").unwrap(), "MQ==");

    api.set_fault(|_| Some(Fault::Delay(7 * SECOND)));
    assert!(given_up("Mg==").await);
    sleep(DAY).await;
    assert_eq!(value(&api, "one").unwrap(), "MQ==", "the client hung up before it began");

    api.set_fault(|_| Some(Fault::Late(7 * SECOND)));
    assert!(given_up("Mw==").await);
    assert_eq!(value(&api, "one").unwrap(), "MQ==");
    sleep(3 * SECOND).await;
    assert_eq!(value(&api, "one").unwrap(), "Mw==");

    for fault in [Fault::Delay(4 * SECOND), Fault::Late(4 * SECOND)] {
        api.set_fault(move |_| Some(fault.clone()));
        let start = Instant::now();
        write(&client, "one", "NA==").await.unwrap();
        assert_eq!(start.elapsed(), 4 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_of_a_client_is_counted_and_no_direct_one() {
    let api = memory();
    let client = api.client("operator");
    api.apply("test", &secret("one", "")).unwrap();
    write(&client, "one", "MQ==").await.unwrap();
    api.set_fault(|_| Some(Fault::refuse(403, "Forbidden")));
    write(&client, "one", "Mg==").await.unwrap_err();
    let counts = api.counts();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(("operator".into(), "patch", "secrets".into()), 2)]);
    api.reset_counts();
    assert_eq!(api.count("operator", "patch", "secrets"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_each_change_before_its_writer_has_the_answer() {
    let api = memory();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, inner) = (Arc::clone(&seen), api.clone());
    api.observe(move |change| {
        let value =
            |object: &Option<Arc<Value>>| object.as_ref().map(|object| object["data"]["value"].clone());
        // It may look around: nothing is locked.
        assert_eq!(inner.version(), change.version);
        log.lock().unwrap().push((change.user.clone(), value(&change.before), value(&change.after)));
    });
    let client = api.client("operator");
    write(&client, "one", "MQ==").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    write(&client, "one", "MQ==").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1, "nothing changed");
    api.apply("test", &secret("one", "Mg==")).unwrap();
    api.delete("test", "secrets", "shop", "one");
    let user = |name: &str| name.to_owned();
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (user("operator"), None, Some("MQ==".into())),
            (user("test"), Some("MQ==".into()), Some("Mg==".into())),
            (user("test"), Some("Mg==".into()), None),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_recorder_of_kube_publishes_and_only_the_newest_events_are_kept() {
    let api = memory();
    let recorder = Recorder::new(api.client("operator"), Reporter::from("operator"));
    let publish = async |name: &str| {
        let news = News {
            type_: EventType::Normal,
            reason: "Renewed".to_owned(),
            note: None,
            action: "Renew".to_owned(),
            secondary: None,
        };
        let object = json!({"kind": "Secret", "name": name, "namespace": "shop"});
        recorder.publish(&news, &serde_json::from_value(object).unwrap()).await.unwrap();
    };
    publish("one").await;
    publish("one").await;
    assert_eq!(api.count("operator", "create", "events"), 1);
    let events = api.list("events", "shop");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["series"]["count"], 2);

    for number in 0..1000 {
        publish(&format!("more-{number}")).await;
    }
    let events = api.list("events", "");
    assert_eq!(events.len(), 1000);
    assert!(events.iter().all(|event| event["regarding"]["name"] != "one"));
}
