//! Admission webhooks that hang: the API server waits for them, and who asked waits for the API server.

use std::time::Duration;

use idissuer_testbed::memory::Fault;

use crate::issuers::{HOUR, Issuers};
use crate::world::{Plan, World};

#[tokio::test(start_paused = true)]
async fn tokens_are_published_at_once_however_long_events_take() {
    let plan = Plan { seed: 8, accounts: 100, credentials: 500, lease: None };
    let mut world = World::new(&plan, Issuers::plain(8, HOUR));
    world.habitat.api.set_fault(|facts| (facts.resource == "events").then_some(Fault::Lost));
    world.start();
    world.pass(Duration::from_secs(10)).await;
    world.assert_well();
}
