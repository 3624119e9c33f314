//! Two controllers for the same namespaces, each with its own lease: one manages a credential, the other stands by and says
//! so, until the first one is gone.

use std::time::Duration;

use idissuer::core::lease::Timings;
use serde_json::json;

use crate::issuers::{HOUR, Issuers};
use crate::population::{Credential, login_secret};
use crate::process::Replica;
use crate::world::{Plan, World};

const MINUTE: Duration = Duration::from_secs(60);
/// How long after the end of one controller another has gone on.
const HANDOVER: Duration = Duration::from_secs(30);
/// Where the lease of the other controller lies.
const ELSEWHERE: &str = "elsewhere";

const CONTROLLER: &str = "operator/idissuer-operator";
const RIVAL: &str = "elsewhere/idissuer-operator";

fn world(credentials: usize) -> World {
    let plan = Plan { seed: 8, accounts: credentials, credentials, lease: Some(Timings::default()) };
    World::new(&plan, Issuers::plain(8, HOUR))
}

/// The controller that status names for each credential.
fn controllers(world: &World) -> Vec<String> {
    let of = |credential| world.credential(credential)["status"]["controller"].as_str().unwrap().to_owned();
    world.population.credentials.iter().map(of).collect()
}

/// The messages of the Events with a reason.
fn told(world: &World, reason: &str) -> Vec<String> {
    let namespaces = world.population.credentials.iter().map(|credential| credential.namespace.clone());
    let namespaces: std::collections::BTreeSet<String> = namespaces.collect();
    let events = namespaces.iter().flat_map(|namespace| world.environment.api.list("events", namespace));
    let is_of = |event: &std::sync::Arc<serde_json::Value>| event["reason"] == reason;
    events.filter(is_of).map(|event| event.to_string()).collect()
}

/// Deletes all targets, and asserts that they are there again after this time, good for the issuer.
async fn puts_targets_back(world: &World, after: Duration) {
    for credential in &world.population.credentials {
        world.edit_target(credential, None);
    }
    world.pass(after).await;
    for credential in &world.population.credentials {
        world.health(credential).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_controller_stands_by_names_the_first_and_goes_on_within_half_a_minute_of_its_end() {
    let mut world = world(4);
    world.replicas[0].start(&world.environment);
    world.pass(2 * MINUTE).await;
    world.assert_healthy();
    let calls = world.environment.ledger.calls();

    let mut rival = Replica::of_another("rival", ELSEWHERE);
    rival.start(&world.environment);
    world.pass(10 * MINUTE).await;
    puts_targets_back(&world, MINUTE / 6).await;
    assert_eq!(world.environment.api.count("rival-1", "patch", "secrets"), 0, "it does not write");
    assert_eq!(world.environment.ledger.calls(), calls, "nor log in");
    assert!(
        controllers(&world).iter().all(|controller| controller == CONTROLLER),
        "{:?}",
        controllers(&world)
    );
    let told = told(&world, "ManagedByAnotherController");
    assert_eq!(told.len(), 4, "once for each credential: {told:?}");
    assert!(told.iter().all(|event| event.contains(CONTROLLER)), "{told:?}");
    world.assert_healthy();

    world.replicas[0].stop().unwrap().await.unwrap();
    world.pass(HANDOVER).await;
    assert!(controllers(&world).iter().all(|controller| controller == RIVAL), "{:?}", controllers(&world));
    puts_targets_back(&world, MINUTE / 6).await;

    // Who comes back finds another one, and stands by in turn.
    world.replicas[0].start(&world.environment);
    world.pass(10 * MINUTE).await;
    assert!(controllers(&world).iter().all(|controller| controller == RIVAL), "{:?}", controllers(&world));
    assert_eq!(world.environment.api.count("north-2", "patch", "secrets"), 0);
    puts_targets_back(&world, MINUTE / 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_without_a_word_is_followed_as_well() {
    let mut world = world(1);
    world.replicas[0].start(&world.environment);
    world.pass(2 * MINUTE).await;
    let mut rival = Replica::of_another("rival", ELSEWHERE);
    rival.start(&world.environment);
    world.pass(2 * MINUTE).await;
    world.replicas[0].crash(&world.environment.api);
    world.pass(HANDOVER).await;
    assert_eq!(controllers(&world), [RIVAL]);
    puts_targets_back(&world, MINUTE / 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_failover_within_one_controller_changes_nothing_for_another() {
    let mut world = world(1);
    world.start();
    world.pass(2 * MINUTE).await;
    let mut rival = Replica::of_another("rival", ELSEWHERE);
    rival.start(&world.environment);
    world.pass(2 * MINUTE).await;
    let leader = world.leader().unwrap();
    world.replicas[leader].stop().unwrap().await.unwrap();
    world.pass(10 * MINUTE).await;
    assert_eq!(controllers(&world), [CONTROLLER]);
    assert_eq!(world.environment.api.count("rival-1", "patch", "secrets"), 0);
    puts_targets_back(&world, MINUTE / 6).await;
}

#[tokio::test(start_paused = true)]
async fn two_that_come_at_once_share_what_there_is_and_leave_each_other_alone() {
    come_at_once(6).await;
}

/// Then a login of one waits for its turn while the other claims the credential.
#[tokio::test(start_paused = true)]
async fn nor_does_one_log_in_for_another_if_there_are_so_many_that_logins_wait() {
    come_at_once(300).await;
}

async fn come_at_once(credentials: usize) {
    let mut world = world(credentials);
    let mut rival = Replica::of_another("rival", ELSEWHERE);
    world.replicas[0].start(&world.environment);
    rival.start(&world.environment);
    world.pass(5 * MINUTE).await;
    let shared = controllers(&world);
    let written = |world: &World| {
        ["north-1", "rival-1"].map(|process| world.environment.api.count(process, "patch", "secrets"))
    };
    let (writes, calls) = (written(&world), world.environment.ledger.calls());
    assert_eq!(calls.sent(), credentials as u64, "one login each: {calls:?}");
    assert_eq!(writes.iter().sum::<u64>(), credentials as u64, "each target once: {writes:?}");
    world.pass(20 * MINUTE).await;
    assert_eq!(
        (written(&world), world.environment.ledger.calls(), controllers(&world)),
        (writes, calls, shared)
    );
}

/// The third one overwrote the second one's claim, which took that for a sign of the first one's life: no claim ever stood long
/// enough, and the token died.
#[tokio::test(start_paused = true)]
async fn two_standbys_leave_each_others_claims_alone_and_one_takes_over_within_half_a_minute() {
    let mut world = world(1);
    world.replicas[0].start(&world.environment);
    world.pass(2 * MINUTE).await;
    let mut others =
        [("rival", ELSEWHERE), ("third", "third")].map(|(name, at)| Replica::of_another(name, at));
    for other in &mut others {
        other.start(&world.environment);
        world.pass(MINUTE).await;
    }
    world.pass(10 * MINUTE).await;
    assert_eq!(controllers(&world), [CONTROLLER]);
    world.replicas[0].crash(&world.environment.api);
    world.pass(HANDOVER).await;
    let successor = controllers(&world);
    assert_ne!(successor, [CONTROLLER]);
    world.pass(10 * MINUTE).await;
    assert_eq!(controllers(&world), successor, "the other one leaves it alone");
    puts_targets_back(&world, MINUTE / 6).await;
}

/// Each namespace was asked about every six seconds: ninety writes a second for three hundred of them.
#[tokio::test(start_paused = true)]
async fn a_controller_of_many_namespaces_is_checked_in_three_and_replaced_wherever_it_is_gone() {
    let mut world = world(1);
    let (account, first) = (world.population.accounts[0].clone(), world.population.credentials[0].clone());
    let of = |number: usize| Credential { namespace: format!("quarter-{number}"), ..first.clone() };
    let credentials: Vec<Credential> = (0..60).map(of).collect();
    for credential in &credentials {
        world.write(&login_secret(&credential.namespace, &account, &account.password));
        world.apply(credential, &json!({}));
    }
    let kept_by = |world: &World, controller: &str| {
        let is_kept = |it: &&Credential| world.credential(it)["status"]["controller"] == controller;
        credentials.iter().filter(is_kept).count()
    };
    world.replicas[0].start(&world.environment);
    world.pass(2 * MINUTE).await;
    let mut rival = Replica::of_another("rival", ELSEWHERE);
    rival.start(&world.environment);
    world.pass(2 * MINUTE).await;
    world.environment.api.reset_counts();
    world.pass(10 * MINUTE).await;
    for process in ["north-1", "rival-1"] {
        let count = |verb| world.environment.api.count(process, verb, "idissuercredentials/status");
        let writes = count("patch") + count("update");
        assert!(writes < 600, "{process}: {writes} in ten minutes");
    }
    assert_eq!(kept_by(&world, CONTROLLER), 60);

    // It comes back for all of them but one.
    world.replicas[0].stop().unwrap().await.unwrap();
    world.environment.namespaces = credentials[1..].iter().map(|it| it.namespace.clone()).collect();
    world.replicas[0].start(&world.environment);
    world.pass(7 * MINUTE).await;
    assert_eq!(kept_by(&world, CONTROLLER), 59);
    assert_eq!(kept_by(&world, RIVAL), 1);

    world.replicas[0].crash(&world.environment.api);
    world.pass(HANDOVER).await;
    assert_eq!(kept_by(&world, RIVAL), 60);
}

/// Both were called `none`, and each took the other for itself.
#[tokio::test(start_paused = true)]
async fn two_controllers_without_a_lease_know_each_other_apart_and_a_restarted_one_is_the_same() {
    let plan = Plan { seed: 8, accounts: 2, credentials: 2, lease: None };
    let mut world = World::new(&plan, Issuers::plain(8, HOUR));
    world.start();
    world.pass(2 * MINUTE).await;
    let first = controllers(&world);
    assert!(first.iter().all(|controller| controller.starts_with("none/")), "{first:?}");
    let mut rival = Replica::of_another("rival", ELSEWHERE);
    rival.start(&world.environment);
    world.pass(10 * MINUTE).await;
    puts_targets_back(&world, MINUTE / 6).await;
    assert_eq!(world.environment.api.count("rival-1", "patch", "secrets"), 0);
    world.start();
    world.pass(2 * MINUTE).await;
    assert_eq!(controllers(&world), first);
    assert_eq!(world.environment.api.count("rival-1", "patch", "secrets"), 0);
    world.replicas[0].stop().unwrap().await.unwrap();
    world.pass(HANDOVER).await;
    assert!(
        controllers(&world).iter().all(|controller| !first.contains(controller)),
        "{:?}",
        controllers(&world)
    );
    puts_targets_back(&world, MINUTE / 6).await;
}
