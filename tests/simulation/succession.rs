//! A replica that led, lost its connection, and leads again keeps what its successor did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use idissuer::core::lease::Timings;
use idissuer_testbed::memory::Fault;

use crate::issuers::{HOUR, Issuers};
use crate::link::Wire;
use crate::population::Credential;
use crate::world::{Plan, World};

/// Longer than the lease of one that was cut off, and than a look at it.
const SUCCESSION: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// Replicas of which one leads, with one credential that is well. Returns the leader.
async fn with_a_leader() -> (World, usize) {
    let plan = Plan { seed: 5, accounts: 1, credentials: 1, lease: Some(Timings::default()) };
    let mut world = World::new(&plan, Issuers::plain(5, HOUR));
    world.start();
    world.pass(2 * MINUTE).await;
    world.assert_healthy();
    let first = world.leader().unwrap();
    (world, first)
}

/// The first leader is cut off and hears nothing; its successor publishes another token and stops. Returns the one that
/// was cut off, which does not know yet.
async fn with_a_successor_that_came_and_went() -> (World, usize) {
    let (mut world, first) = with_a_leader().await;
    let process = world.replicas[first].process.as_ref().unwrap();
    process.link.set(Wire::Cut);
    world.environment.api.silence_watches(&process.name, true);
    world.pass(SUCCESSION).await;

    let successor = world.leader().unwrap();
    assert_ne!(successor, first);
    let before = world.token(&world.population.credentials[0]);
    // It holds no token in memory, and has to log in.
    world.edit_target(&world.population.credentials[0], None);
    world.pass(SUCCESSION).await;
    assert_ne!(world.token(&world.population.credentials[0]), before);
    world.replicas[successor].stop().unwrap().await.unwrap();
    (world, first)
}

/// The cut is over. From then on it leads, and later hears what has happened.
async fn comes_back(world: &World, replica: usize) {
    let process = world.replicas[replica].process.as_ref().unwrap();
    process.link.set(Wire::Good);
    world.pass(SUCCESSION).await;
    assert_eq!(world.leader(), Some(replica));
    world.environment.api.silence_watches(&process.name, false);
    world.pass(SUCCESSION).await;
}

/// In which version a credential is.
fn version(world: &World, credential: &Credential) -> String {
    world.credential(credential)["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_comes_back_goes_on_from_what_its_successor_wrote() {
    let (world, replica) = with_a_successor_that_came_and_went().await;
    let (token, calls) = (world.token(&world.population.credentials[0]), world.environment.ledger.calls());
    comes_back(&world, replica).await;
    assert_eq!(world.token(&world.population.credentials[0]), token);
    assert_eq!(world.environment.ledger.calls(), calls);
    world.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_comes_back_and_never_hears_so_goes_on_from_what_its_successor_wrote() {
    let (world, replica) = with_a_successor_that_came_and_went().await;
    let (token, calls) = (world.token(&world.population.credentials[0]), world.environment.ledger.calls());
    let links = world.environment.links.clone();
    let is_lost = Arc::new(AtomicBool::new(false));
    let lost = Arc::clone(&is_lost);
    world.environment.api.set_fault(move |annotations| {
        let own = links.get(&annotations.user).and_then(|link| link.api_fault());
        let is_claim = own.is_none() && annotations.resource == "leases" && annotations.verb == "patch";
        own.or_else(|| (is_claim && !lost.swap(true, Ordering::Relaxed)).then_some(Fault::Lost))
    });
    comes_back(&world, replica).await;
    assert!(is_lost.load(Ordering::Relaxed));
    assert_eq!(world.token(&world.population.credentials[0]), token);
    assert_eq!(world.environment.ledger.calls(), calls);
    world.assert_healthy();
}

/// What it has written itself it remembers, and the list shows that nobody wrote since.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_successor_wrote_nothing_reads_no_status_and_calls_no_issuer() {
    let (mut world, first) = with_a_leader().await;
    let before = version(&world, &world.population.credentials[0]);
    let process = world.replicas[first].process.as_ref().unwrap();
    let (link, name) = (Arc::clone(&process.link), process.name.clone());
    link.set(Wire::Cut);
    world.pass(SUCCESSION).await;
    let successor = world.leader().unwrap();
    assert_ne!(successor, first);
    world.replicas[successor].stop().unwrap().await.unwrap();

    let credential = world.population.credentials[0].clone();
    assert_eq!(version(&world, &credential), before, "the successor has written nothing");
    let (token, calls) = (world.token(&credential), world.environment.ledger.calls());
    world.environment.api.reset_counts();
    link.set(Wire::Good);
    world.pass(SUCCESSION).await;
    assert_eq!(world.leader(), Some(first));
    let mut counts = world.environment.api.counts();
    counts.retain(|(user, verb, target), _| {
        *user == name && *verb != "watch" && target.starts_with("idissuercredentials")
    });
    let verbs: Vec<&str> = counts.keys().map(|(_, verb, _)| &**verb).collect();
    assert_eq!(verbs, ["list"]);
    assert_eq!(world.environment.ledger.calls(), calls);
    world.pass(HOUR).await;
    world.assert_healthy();
    assert_ne!(world.token(&credential), token, "renewed");
}

/// The status that it remembers is not the one that the watch has shown it meanwhile.
#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_of_its_successor_goes_on_from_what_that_wrote() {
    let (mut world, first) = with_a_leader().await;
    let credential = world.population.credentials[0].clone();
    let link = Arc::clone(&world.replicas[first].process.as_ref().unwrap().link);
    link.set(Wire::Cut);
    world.pass(SUCCESSION).await;
    let (successor, before) = (world.leader().unwrap(), world.token(&credential));
    world.edit_target(&credential, None);
    world.pass(SUCCESSION).await;
    assert_ne!(world.token(&credential), before);
    world.replicas[successor].stop().unwrap().await.unwrap();
    let (token, calls) = (world.token(&credential), world.environment.ledger.calls());
    link.set(Wire::Good);
    world.pass(SUCCESSION).await;
    assert_eq!(world.leader(), Some(first));
    assert_eq!((world.token(&credential), world.environment.ledger.calls()), (token, calls));
    world.assert_healthy();
}

/// Tokens of a minute need retries within seconds, also when neither the list nor a read succeeds at first.
#[tokio::test(start_paused = true)]
async fn a_leader_that_can_read_nothing_for_a_while_retries_at_the_pace_of_its_tokens() {
    let plan = Plan { seed: 5, accounts: 1, credentials: 1, lease: Some(Timings::default()) };
    let mut world = World::new(&plan, Issuers::plain(5, MINUTE));
    world.start();
    world.pass(2 * MINUTE).await;
    let first = world.leader().unwrap();
    let link = Arc::clone(&world.replicas[first].process.as_ref().unwrap().link);
    link.set(Wire::Cut);
    world.pass(SUCCESSION).await;
    let successor = world.leader().unwrap();
    world.replicas[successor].stop().unwrap().await.unwrap();
    let links = world.environment.links.clone();
    let reads = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&reads);
    world.environment.api.set_fault(move |annotations| {
        let own = links.get(&annotations.user).and_then(|link| link.api_fault());
        let is_read = annotations.resource == "idissuercredentials" && annotations.verb == "get";
        let is_list = annotations.resource == "idissuercredentials" && annotations.verb == "list";
        if own.is_none() && is_read {
            count.fetch_add(1, Ordering::Relaxed);
        }
        own.or_else(|| (is_read || is_list).then(|| Fault::refuse(500, "InternalError")))
    });
    link.set(Wire::Good);
    world.pass(2 * MINUTE).await;
    assert_eq!(world.leader(), Some(first));
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads >= 8, "{reads} reads in about 100 seconds: every 12 at most");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_list_reads_each_credential_and_goes_on_from_what_its_successor_wrote() {
    let (world, replica) = with_a_successor_that_came_and_went().await;
    let (token, calls) = (world.token(&world.population.credentials[0]), world.environment.ledger.calls());
    let links = world.environment.links.clone();
    world.environment.api.set_fault(move |annotations| {
        let own = links.get(&annotations.user).and_then(|link| link.api_fault());
        let is_list = annotations.resource == "idissuercredentials" && annotations.verb == "list";
        let (reason, message) = ("InternalError".to_owned(), "no list today".to_owned());
        own.or_else(|| is_list.then_some(Fault::Refuse { code: 500, reason, message }))
    });
    comes_back(&world, replica).await;
    assert_eq!(world.token(&world.population.credentials[0]), token);
    assert_eq!(world.environment.ledger.calls(), calls);
    world.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stopped_while_a_write_hangs_hands_over_all_the_same() {
    let (mut world, first) = with_a_leader().await;
    world.environment.api.set_fault(|annotations| {
        let is_write = annotations.resource == "secrets" && annotations.verb == "patch";
        is_write.then_some(Fault::Delay(HOUR))
    });
    world.edit_target(&world.population.credentials[0], None);
    world.pass(MINUTE / 300).await;
    world.replicas[first].stop().unwrap().await.unwrap();
    // A standby's look; the lease would run out later.
    world.pass(MINUTE / 20).await;
    assert!(world.leader().is_some_and(|leader| leader != first), "{:?} leads", world.leader());
}
