//! Days without faults: the operator makes no more calls and requests than lifetimes require.

use std::collections::BTreeMap;

use serde_json::json;

use crate::complaints::gaps;
use crate::issuers::{HOUR, Issuers};
use crate::process::stretched;
use crate::table::necessary_calls;
use crate::world::{Plan, World};

fn plan() -> Plan {
    Plan { seed: 1, accounts: 6, credentials: 18, lease: Some(stretched()) }
}

/// The requests of all processes, but for watches and those about the lease.
fn requests(world: &World) -> BTreeMap<String, u64> {
    let mut requests = BTreeMap::new();
    for ((_, verb, target), count) in world.environment.api.counts() {
        if verb != "watch" && target != "leases" {
            *requests.entry(format!("{verb} {target}")).or_default() += count;
        }
    }
    requests
}

#[tokio::test(start_paused = true)]
async fn without_trouble_no_call_and_no_request_is_made_that_a_lifetime_does_not_need() {
    needs_only_what_lifetimes_need(World::new(&plan(), Issuers::plain(1, HOUR))).await;
}

#[tokio::test(start_paused = true)]
async fn nor_where_credentials_follow_others() {
    let world = World::shared(&plan(), Issuers::plain(1, HOUR));
    let followers = world.population.credentials.iter().filter(|credential| credential.owner.is_some());
    assert_eq!(followers.count(), 6, "of 18, of 3 accounts");
    needs_only_what_lifetimes_need(world).await;
}

/// Of three credentials an account.
async fn needs_only_what_lifetimes_need(mut world: World) {
    world.start();
    world.pass(HOUR / 2).await;
    world.assert_healthy();
    world.environment.api.reset_counts();
    let before = world.environment.ledger.calls().sent();
    assert_eq!(before, 6, "one login an account");

    world.pass(48 * HOUR).await;
    world.assert_healthy();
    let necessary = necessary_calls(&world, world.environment.time.elapsed());
    let calls = world.environment.ledger.calls();
    assert_eq!(calls.sent(), necessary);
    assert_eq!((calls.logins, calls.logins_rejected, calls.unsent), (6, 0, 0), "renewals are refreshes");
    let rotations = 3 * (necessary - before);
    let expected = [("patch secrets", rotations), ("update idissuercredentials/status", rotations)];
    assert_eq!(requests(&world), expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test(start_paused = true)]
async fn restarts_and_leader_changes_cost_no_call() {
    let mut world = World::new(&plan(), Issuers::plain(2, 24 * HOUR));
    world.start();
    world.pass(HOUR).await;
    world.assert_healthy();
    let before = world.environment.ledger.calls();
    for round in 0..6 {
        let leader = world.leader().unwrap();
        if round % 2 == 0 {
            world.replicas[leader].stop().unwrap().await.unwrap();
        } else {
            let api = world.environment.api.clone();
            world.replicas[leader].crash(&api);
        }
        world.pass(HOUR / 6).await;
        assert!(world.leader().is_some_and(|now| now != leader), "another one leads");
        world.replicas[leader].start(&world.environment);
        world.pass(HOUR / 6).await;
        assert!(world.replicas.iter().all(|replica| replica.process.as_ref().unwrap().is_ready()));
    }
    world.assert_healthy();
    assert_eq!(world.environment.ledger.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn of_two_credentials_of_an_account_the_one_that_renews_first_drives_both() {
    let plan = Plan { seed: 1, accounts: 1, credentials: 2, lease: None };
    let mut world = World::new(&plan, Issuers::plain(3, HOUR));
    for (credential, percent) in world.population.credentials.iter().zip([5, 60]) {
        world.apply(credential, &json!({"renewal": {"renewBeforePercent": percent}}));
    }
    world.start();
    for _ in 0..24 * 60 {
        world.pass(HOUR / 60).await;
        let [first, second] = [0, 1].map(|number| world.token(&world.population.credentials[number]));
        assert!(first.is_some() && first == second, "both hold the token of the account");
    }
    world.assert_healthy();
    let gaps = gaps(&world, 0);
    // 40 % of the life of the one before, and jitter of 5 % at most; the other one alone would wait for 53 minutes.
    assert!(gaps.len() >= 24 * 60 / 25, "{gaps:?}");
    assert!(gaps.iter().all(|gap| (1259.0..1443.0).contains(gap)), "{gaps:?}");
}
