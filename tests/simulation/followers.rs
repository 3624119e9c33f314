//! What the followers of a credential make of its account's calls: nothing that the account would not do by itself.

use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule, RetryAfter};
use serde_json::{Value, json};

use crate::issuers::{HOUR, Issuers};
use crate::population::{Credential, text};
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const TENANT: &str = "tenant";
const FOLLOWER: &str = "follower";

/// A credential that logs in, and one of another namespace that names it. Nothing runs yet.
fn world() -> (World, Credential) {
    let plan = Plan { seed: 4, accounts: 1, credentials: 1, lease: None };
    let world = World::new(&plan, Issuers::plain(4, HOUR));
    let owner = world.population.credentials[0].clone();
    world.write(&json!({
        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
        "metadata": {"name": FOLLOWER, "namespace": TENANT},
        "spec": {"credentialRef": {"namespace": owner.namespace, "name": owner.name}},
    }));
    (world, owner)
}

fn permit(world: &World, owner: &Credential) {
    world.apply(owner, &json!({"allowedNamespaces": {"names": [TENANT]}}));
}

fn token_of_follower(world: &World) -> Option<String> {
    text(&*world.environment.api.get("secrets", TENANT, FOLLOWER)?, "token")
}

/// A status that tells of a token which lives so long and is about to expire.
fn status(world: &World, lifetime: Duration) -> Value {
    let (issued, expires) = (world.now(), world.now() + jiff::SignedDuration::try_from(lifetime).unwrap());
    json!({"status": {"observedGeneration": 1, "token": {
        "issuedTime": issued.to_string(), "expirationTime": expires.to_string(),
        "renewalTime": issued.to_string(), "lifetimeSource": "ExpiresIn",
        "fingerprint": "0123456789abcdef0123456789abcdef", "grant": "Login",
    }}})
}

/// How often an issuer that fails is called within ten minutes, after a follower's status was forged.
async fn calls(is_published: bool, lifetime: Option<Duration>) -> usize {
    let (mut world, owner) = world();
    permit(&world, &owner);
    if is_published {
        world.start();
        world.pass(MINUTE).await;
        world.replicas[0].stop().unwrap().await.unwrap();
    }
    if let Some(lifetime) = lifetime {
        let forged = status(&world, lifetime);
        world
            .environment
            .api
            .merge_status("tenant", "idissuercredentials", (TENANT, FOLLOWER), &forged)
            .unwrap();
    }
    world.start_fault(0, FaultRule::new(Fault::status(503)));
    let before = world.calls_of(0).len();
    world.start();
    world.pass(10 * MINUTE).await;
    world.calls_of(0).len() - before
}

#[tokio::test(start_paused = true)]
async fn no_status_of_a_follower_has_the_issuer_called_more_often() {
    for is_published in [false, true] {
        let by_itself = calls(is_published, None).await;
        for lifetime in [SECOND, 20 * SECOND, HOUR] {
            let forged = calls(is_published, Some(lifetime)).await;
            // By itself, an owner that needs no token calls nobody; a follower may need one.
            let allowed = if is_published { calls(false, None).await } else { by_itself };
            assert!(forged <= allowed + allowed / 2, "{is_published} {lifetime:?}: {forged}, not {allowed}");
        }
    }
}

/// The owner's renewal was due a minute ago, and its account waits as the busy issuer has asked it to.
async fn waiting_world() -> (World, Credential) {
    let (mut world, owner) = world();
    world.start();
    world.pass(MINUTE).await;
    world.assert_healthy();
    let busy = Fault::retry_after(429, RetryAfter::Seconds(1800));
    world.start_fault(0, FaultRule::new(busy).before_work());
    world.pass(46 * MINUTE).await;
    assert!(world.calls_of(0).len() > 1, "the renewal was not tried");
    (world, owner)
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_permitted_while_the_issuer_asks_to_wait_gets_the_token_that_the_account_holds() {
    let (world, owner) = waiting_world().await;
    let calls = world.calls_of(0).len();
    permit(&world, &owner);
    world.pass(5 * SECOND).await;
    assert_eq!(token_of_follower(&world), world.token(&owner));
    assert_eq!(world.calls_of(0).len(), calls);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_new_follower_waits_with_the_account_and_gets_nothing_that_was_read_from_a_target()
{
    let (mut world, owner) = waiting_world().await;
    world.replicas[0].stop().unwrap().await.unwrap();
    world.start();
    permit(&world, &owner);
    world.pass(5 * SECOND).await;
    assert!(world.token(&owner).is_some() && token_of_follower(&world).is_none());
    world.end_faults(0);
    // Half of what the owner's token has left before it is late.
    world.pass(4 * MINUTE).await;
    assert!(token_of_follower(&world).is_some() && token_of_follower(&world) == world.token(&owner));
}
