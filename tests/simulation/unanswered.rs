//! An API server that takes a list or a watch and never answers it.

use std::time::Duration;

use crate::issuers::{HOUR, Issuers};
use crate::weather::ApiTrouble;
use crate::world::{Plan, World};

#[tokio::test(start_paused = true)]
#[ignore = "a list or a watch that is never answered is waited for without end"]
async fn after_a_watch_that_was_never_answered_a_target_is_repaired_as_before() {
    let plan = Plan { seed: 1, accounts: 2, credentials: 4, lease: None };
    let mut world = World::new(&plan, Issuers::plain(1, HOUR));
    world.start();
    world.pass(Duration::from_secs(60)).await;
    world.weather.begins(ApiTrouble::LosesWatches, 1.0);
    world.habitat.api.break_watches(&world.replicas[0].process.as_ref().unwrap().name);
    world.pass(Duration::from_secs(60)).await;
    world.weather.ends(ApiTrouble::LosesWatches);
    // Longer than any watch lasts.
    world.pass(HOUR / 6).await;
    world.vandalise(&world.population.credentials[0], None);
    world.pass(HOUR / 6).await;
    world.assert_well();
}
