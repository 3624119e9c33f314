//! A slow API server: renewals are late, and no token expires.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idissuer::core::lease::Timings;
use idissuer_testbed::memory::Fault;
use jiff::Timestamp;
use serde_json::json;

use crate::issuers::Issuers;
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(600);
const ANSWERS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(12)];

/// Two replicas under an ordinary lease, of which nothing runs yet. What the API server takes for each call can be set.
fn world() -> (World, Arc<AtomicU64>) {
    let plan = Plan { seed: 12, accounts: 5, credentials: 10, lease: Some(Timings::default()) };
    let world = World::new(&plan, Issuers::plain(12, LIFETIME));
    let (links, takes) = (world.environment.links.clone(), Arc::new(AtomicU64::new(0)));
    let duration = Arc::clone(&takes);
    world.environment.api.set_fault(move |annotations| {
        let own = links.get(&annotations.user).and_then(|link| link.api_fault());
        let seconds = duration.load(Ordering::Relaxed);
        own.or_else(|| (seconds > 0).then(|| Fault::Delay(Duration::from_secs(seconds))))
    });
    (world, takes)
}

/// Lets time pass; meanwhile every token that stands in a target has to be alive.
async fn stays_alive(world: &World, duration: Duration, what: &str) {
    let end = world.now() + duration;
    while world.now() < end {
        world.pass(5 * SECOND).await;
        let sick =
            world.population.credentials.iter().filter_map(|credential| world.health(credential).err());
        let sick: Vec<_> = sick.collect();
        assert!(sick.is_empty(), "{what}, {} s left: {}", left(world.now(), end), sick.join("\n"));
    }
}

fn left(now: Timestamp, end: Timestamp) -> i64 {
    end.duration_since(now).as_secs()
}

#[tokio::test(start_paused = true)]
async fn no_token_dies_and_a_replica_follows_another_however_long_the_api_server_takes() {
    for answer in ANSWERS {
        let (mut world, takes) = world();
        takes.store(answer.as_secs(), Ordering::Relaxed);
        world.start();
        world.pass(5 * MINUTE).await;
        world.assert_healthy();
        stays_alive(&world, 20 * MINUTE, &format!("{answer:?} for each call")).await;

        let first = world.leader().unwrap();
        world.replicas[first].crash(&world.environment.api);
        stays_alive(&world, 15 * MINUTE, &format!("{answer:?}, another replica")).await;
        assert!(world.leader().is_some_and(|leader| leader != first), "{:?} leads", world.leader());
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_dies_when_the_api_server_begins_to_take_long_and_when_it_stops() {
    for answer in ANSWERS {
        let (mut world, takes) = world();
        world.start();
        world.pass(MINUTE).await;
        world.assert_healthy();
        for seconds in [answer.as_secs(), 0, answer.as_secs(), 0] {
            takes.store(seconds, Ordering::Relaxed);
            stays_alive(&world, 12 * MINUTE, &format!("{seconds} s for each call")).await;
        }
        world.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_and_answered_late_counts_as_written() {
    for resource in ["secrets", "idissuercredentials"] {
        let plan = Plan { seed: 12, accounts: 1, credentials: 1, lease: None };
        let mut world = World::new(&plan, Issuers::plain(12, LIFETIME));
        world.environment.api.set_fault(move |annotations| {
            let is_write = annotations.resource == resource && matches!(annotations.verb, "patch" | "update");
            is_write.then_some(Fault::Late(Duration::from_secs(8)))
        });
        world.start();
        world.pass(2 * MINUTE).await;
        world.assert_healthy();
        let (token, calls) =
            (world.token(&world.population.credentials[0]), world.environment.ledger.calls().sent());
        assert_eq!(calls, 1, "{resource}");
        world.pass(2 * MINUTE).await;
        assert_eq!(world.token(&world.population.credentials[0]), token);
        assert_eq!(world.environment.ledger.calls().sent(), 1, "{resource}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_over_an_edit_that_the_watch_has_not_shown() {
    let plan = Plan { seed: 12, accounts: 1, credentials: 1, lease: None };
    let mut world = World::new(&plan, Issuers::plain(12, LIFETIME));
    world.start();
    world.pass(2 * MINUTE).await;
    let process = world.replicas[0].process.as_ref().unwrap().name.clone();
    world.environment.api.silence_watches(&process, true);
    let credential = &world.population.credentials[0];
    let mut manifest = credential.manifest(&world.environment.issuers, &json!({}));
    manifest["metadata"]["labels"] = json!({"team": "shop"});
    world.write(&manifest);
    let recorded = || world.credential(credential)["status"]["token"]["fingerprint"].clone();
    for overwrites in [1, 1] {
        let before = recorded();
        world.pass(LIFETIME).await;
        assert_ne!(recorded(), before);
        let patches = world.environment.api.count(&process, "patch", "idissuercredentials/status");
        assert_eq!(patches, overwrites, "the answer to the first write names the version for the next");
    }
    assert_eq!(world.credential(credential)["metadata"]["labels"]["team"], "shop");
    world.assert_healthy();
}
