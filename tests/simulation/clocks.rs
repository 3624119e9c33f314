//! Clock jumps and sleeping machines: all overdue renewals happen within 15 seconds, within the call limits.

use std::time::Duration;

use idissuer::core::lease::Timings;
use idissuer_simulator::{DurationRange, Latency};
use jiff::SignedDuration;

use crate::issuers::{HOUR, Issuers};
use crate::world::{Plan, World};

const ACCOUNTS: usize = 100;
/// Enough for a look at the clocks, a renewal of the lease, and all calls, sixteen at a time.
const CATCH_UP: Duration = Duration::from_secs(15);

/// A world in which everything is well, with two replicas and their lease, or one without.
async fn world(lease: Option<Timings>) -> World {
    let plan = Plan { seed: 3, accounts: ACCOUNTS, credentials: ACCOUNTS, lease };
    let mut world = World::new(&plan, Issuers::plain(3, HOUR));
    let latency =
        Latency::of(DurationRange { from: Duration::from_millis(100), to: Duration::from_millis(900) });
    world.environment.issuers.get(0).simulator.configure(|personality| personality.latency = latency);
    world.start();
    world.pass(HOUR / 6).await;
    world.assert_healthy();
    assert_eq!(calls(&world), ACCOUNTS);
    world
}

fn calls(world: &World) -> usize {
    usize::try_from(world.environment.ledger.calls().sent()).unwrap()
}

fn leases() -> [Option<Timings>; 2] {
    [None, Some(Timings::default())]
}

fn set_walls(world: &World, ahead: SignedDuration) {
    for replica in &world.replicas {
        replica.machine.set_ahead(ahead);
    }
}

#[tokio::test(start_paused = true)]
async fn after_hours_of_sleep_every_token_is_renewed_once_and_at_once() {
    for lease in leases() {
        let world = world(lease).await;
        world.suspend(SignedDuration::from_hours(7));
        let ill = world.population.credentials.iter().filter(|credential| world.health(credential).is_err());
        assert_eq!(ill.count(), ACCOUNTS, "all tokens are dead");
        world.pass(CATCH_UP).await;
        world.assert_healthy();
        assert_eq!(calls(&world), 2 * ACCOUNTS);
        assert!(world.environment.ledger.most_at_issuer() <= 16);
        world.pass(HOUR).await;
        world.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_forwards_renews_every_token_once_and_back_again_none() {
    for lease in leases() {
        let world = world(lease).await;
        set_walls(&world, SignedDuration::from_hours(5));
        world.pass(CATCH_UP).await;
        world.assert_healthy();
        assert_eq!(calls(&world), 2 * ACCOUNTS);
        assert!(world.environment.ledger.most_at_issuer() <= 16);
        set_walls(&world, SignedDuration::ZERO);
        world.pass(CATCH_UP).await;
        world.assert_healthy();
        assert_eq!(calls(&world), 2 * ACCOUNTS);
        world.pass(HOUR).await;
        world.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_backwards_delays_no_renewal() {
    for lease in leases() {
        let world = world(lease).await;
        set_walls(&world, SignedDuration::from_hours(-5));
        world.pass(CATCH_UP).await;
        world.assert_healthy();
        assert_eq!(calls(&world), ACCOUNTS);
        world.pass(HOUR).await;
        world.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_process_with_a_fast_wall_clock_recorded_does_not_mislead_the_next_one() {
    let mut world = world(None).await;
    set_walls(&world, SignedDuration::from_hours(5));
    world.pass(CATCH_UP).await;
    world.pass(HOUR / 2).await;
    set_walls(&world, SignedDuration::ZERO);
    world.replicas[0].stop().unwrap().await.unwrap();
    world.replicas[0].start(&world.environment);
    world.pass(2 * HOUR).await;
    world.assert_healthy();
}

/// It knows their times by the clock of the replica that obtained them, and passes them on by its own.
#[tokio::test(start_paused = true)]
async fn a_replica_whose_wall_clock_is_behind_renews_in_time_what_its_predecessor_obtained() {
    for (minutes, is_stopped) in [(20, false), (20, true), (300, false)] {
        let mut world = world(Some(Timings::default())).await;
        let leader = world.leader().unwrap();
        world.replicas[1 - leader].machine.set_ahead(SignedDuration::from_mins(-minutes));
        world.pass(HOUR * 20 / 60).await;
        if is_stopped {
            world.replicas[leader].stop().unwrap().await.unwrap();
        } else {
            world.replicas[leader].crash(&world.environment.api);
        }
        world.pass(HOUR * 4 / 60).await;
        assert_eq!(calls(&world), ACCOUNTS, "{minutes} minutes behind: nothing was due");
        // The next process on that machine has the same clock.
        world.replicas[1 - leader].start(&world.environment);
        world.pass(HOUR * 36 / 60).await;
        world.assert_healthy();
        assert_eq!(calls(&world), 2 * ACCOUNTS, "{minutes} minutes behind");
    }
}
