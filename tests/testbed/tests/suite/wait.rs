use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use idissuer_testbed::{TestNamespace, shared, wait};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

async fn text_of_panic(work: impl Future) -> String {
    let panic = AssertUnwindSafe(work).catch_unwind().await.err().unwrap();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn what_comes_is_returned() {
    let mut looks = 0;
    let found = wait::until("the third look", Duration::from_secs(5), async || {
        looks += 1;
        (looks == 3).then_some(looks)
    })
    .await;
    assert_eq!(found, 3);
}

#[tokio::test]
async fn what_does_not_come_is_told_with_what_was_seen_last_and_where_it_was_waited_for() {
    let never = wait::until("a miracle", Duration::from_millis(120), async || Err::<(), _>("a stone"));
    let text = text_of_panic(never).await;
    for part in ["a miracle", "a stone", "suite/wait.rs"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_look_that_never_ends_is_cut_off() {
    let never = wait::until("an answer", Duration::from_millis(100), async || {
        std::future::pending::<Option<()>>().await
    });
    let text = text_of_panic(never).await;
    assert!(text.contains("not even the first look"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_shorten_the_limit() {
    let start = Instant::now();
    wait::until("200 ms", Duration::from_secs(60), async || start.elapsed() > Duration::from_millis(200))
        .await;
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn an_object_is_returned_as_it_was_when_the_condition_held() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "wait").await.unwrap();
    let maps = namespace.api::<ConfigMap>();
    let has_key = |map: &ConfigMap| {
        let data = map.data.as_ref();
        data.is_some_and(|data| data.contains_key("key"))
    };
    let limit = Duration::from_secs(20);
    let waiting = wait::object(&maps, "map", "the key", limit, has_key);
    let acting = async {
        for data in ["{}", "{key: value}"] {
            let yaml = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: map}}, data: {data}}}");
            namespace.kubectl().apply(&yaml).await.unwrap();
        }
    };
    let (map, ()) = tokio::join!(waiting, acting);
    assert_eq!(map.data.unwrap()["key"], "value");
}

#[tokio::test]
async fn the_text_of_a_failed_wait_shows_an_object_but_not_the_content_of_a_secret() {
    let control_plane = shared().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "wait").await.unwrap();
    let yaml = "{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {password: hunter2}}";
    namespace.kubectl().apply(yaml).await.unwrap();
    let secrets = namespace.api::<Secret>();
    let limit = Duration::from_secs(2);
    let waiting = wait::gone(&secrets, "login", limit);
    let text = text_of_panic(waiting).await;
    assert!(text.contains("its end (login)") && text.contains("Opaque"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
}
