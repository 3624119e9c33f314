//! Admission webhooks that hang: the API server waits for them, and the operator for the API server.

use std::time::Duration;

use idissuer_testbed::memory::Fault;
use tokio::time::Instant;

use crate::issuers::{HOUR, Issuers};
use crate::world::{Plan, World};

#[tokio::test(start_paused = true)]
async fn tokens_are_published_at_once_however_long_events_take() {
    let plan = Plan { seed: 8, accounts: 100, credentials: 500, lease: None };
    let mut world = World::new(&plan, Issuers::plain(8, HOUR));
    world.environment.api.set_fault(|annotations| (annotations.resource == "events").then_some(Fault::Lost));
    world.start();
    world.pass(Duration::from_secs(10)).await;
    world.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn a_process_ends_as_soon_as_its_last_events_are_published() {
    let plan = Plan { seed: 8, accounts: 1, credentials: 1, lease: None };
    let mut world = World::new(&plan, Issuers::plain(8, HOUR));
    let slow = Duration::from_secs(3);
    world
        .environment
        .api
        .set_fault(move |annotations| (annotations.resource == "events").then_some(Fault::Delay(slow)));
    world.start();
    world.pass(Duration::from_secs(1)).await;
    world.assert_healthy();
    let told = Instant::now();
    world.replicas[0].stop().unwrap().await.unwrap();
    assert!(told.elapsed() <= slow, "{:?}", told.elapsed());
    assert!(!world.environment.api.list("events", "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_target_is_written_also_where_the_api_server_takes_longer_than_it_usually_may() {
    let plan = Plan { seed: 8, accounts: 10, credentials: 50, lease: None };
    let mut world = World::new(&plan, Issuers::plain(8, HOUR));
    world.environment.api.set_fault(|annotations| {
        // As long as a webhook may take at most, and then its policy says that its silence means yes.
        let is_write = annotations.resource == "secrets" && annotations.verb == "patch";
        is_write.then_some(Fault::Delay(Duration::from_secs(30)))
    });
    world.start();
    world.pass(Duration::from_secs(40)).await;
    world.assert_healthy();
    assert_eq!(world.environment.ledger.calls().sent(), 10);
}
