//! Each check of the simulation is seen to fail once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use idissuer::core::lease::Timings;
use idissuer::issuer::{Answer, Request, Transport, TransportError};
use serde_json::{Value, json};
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::conditions::Source;
use crate::issuers::{HOUR, Issuers};
use crate::link::Carrier;
use crate::population::{labelled, login_secret};
use crate::process::Carry;
use crate::world::{Plan, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// They present each refresh token twice.
    RepeatRefreshes,
    /// They make each call twice at once.
    DoubleCalls,
    /// They present each password six times.
    Hammer,
    /// Their first refresh hangs for hours before it is sent, despite its time limit.
    HangOnce,
    /// A minute after a call they repeat it twice, even if another process leads by then.
    Linger,
}

impl Sabotage {
    pub(crate) fn carry(self) -> Carry {
        Arc::new(move |carrier| {
            Arc::new(Saboteur { sabotage: self, carrier, has_hung: AtomicBool::new(false) })
        })
    }
}

struct Saboteur {
    sabotage: Sabotage,
    carrier: Carrier,
    has_hung: AtomicBool,
}

impl Transport for Saboteur {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let is_refresh = !body["refresh_token"].is_null();
        Box::pin(async move {
            match self.sabotage {
                Sabotage::RepeatRefreshes if is_refresh => drop(self.carrier.send(copy(&request)).await),
                Sabotage::DoubleCalls => {
                    return futures::join!(self.carrier.send(copy(&request)), self.carrier.send(request)).1;
                }
                Sabotage::Hammer => {
                    for _ in 0..5 {
                        drop(self.carrier.send(copy(&request)).await);
                    }
                }
                Sabotage::HangOnce if is_refresh && !self.has_hung.swap(true, Ordering::Relaxed) => {
                    sleep(3 * HOUR).await;
                }
                Sabotage::Linger => {
                    let carrier = Carrier(Arc::clone(&self.carrier.0));
                    let again = [copy(&request), copy(&request)];
                    tokio::spawn(async move {
                        sleep(HOUR / 60).await;
                        for request in again {
                            drop(carrier.send(request).await);
                        }
                    });
                }
                Sabotage::RepeatRefreshes | Sabotage::HangOnce => {}
            }
            self.carrier.send(request).await
        })
    }
}

fn copy(request: &Request) -> Request {
    Request {
        url: request.url.clone(),
        body: Zeroizing::new(request.body.to_vec()),
        trust: request.trust.clone(),
        limit: request.limit,
        headers: request.headers.clone(),
    }
}

/// A world of one process that does this wrong.
async fn world(sabotage: Option<Sabotage>) -> World {
    world_of(sabotage, HOUR).await
}

async fn world_of(sabotage: Option<Sabotage>, lifetime: Duration) -> World {
    let plan = Plan { seed: 5, accounts: 2, credentials: 4, lease: None };
    let mut world = World::new(&plan, Issuers::plain(5, lifetime));
    world.environment.carry = sabotage.map(Sabotage::carry);
    world.start();
    world.pass(Duration::from_secs(60)).await;
    world
}

fn assert_found(world: &World, what: &str) {
    let verdict = world.verdict();
    assert!(verdict.iter().any(|finding| finding.contains(what)), "{what:?} was not found: {verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_presented_twice_is_found_by_the_ledger_and_by_the_issuer() {
    let world = world(Some(Sabotage::RepeatRefreshes)).await;
    world.assert_healthy();
    world.pass(HOUR).await;
    assert_found(&world, "presents a refresh token twice");
    assert_found(&world, "spent refresh tokens were presented");
}

#[tokio::test(start_paused = true)]
async fn two_calls_of_an_account_at_once_are_found() {
    let world = world(Some(Sabotage::DoubleCalls)).await;
    assert_found(&world, "has two calls of account 0 in flight");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_process_that_leads_no_more_are_found() {
    let plan = Plan { seed: 5, accounts: 2, credentials: 4, lease: Some(Timings::default()) };
    let mut world = World::new(&plan, Issuers::plain(5, HOUR));
    world.environment.carry = Some(Sabotage::Linger.carry());
    world.start();
    world.pass(HOUR / 120).await;
    world.assert_healthy();
    let leader = world.leader().unwrap();
    world.replicas[leader].stop().unwrap().await.unwrap();
    world.pass(HOUR / 60).await;
    assert_found(&world, "does not lead, and calls again for account 0");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_presented_over_and_over_is_found() {
    let world = world(Some(Sabotage::Hammer)).await;
    let account = &world.population.accounts[0];
    world.write(&login_secret("team-0", account, "wrong"));
    world.pass(Duration::from_secs(60)).await;
    assert_found(&world, "was rejected 5 times in 15 minutes");
    assert_found(&world, "never accepted, was rejected 5 times in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_renewed_is_found_when_it_is_late_and_no_sooner() {
    let world = world(None).await; // its tokens are a minute old
    world.assert_healthy();
    // The checker does not know of it.
    world.environment.issuers.get(0).cut();
    world.pass(53 * HOUR / 60).await;
    world.assert_healthy();
    world.pass(HOUR / 60).await;
    assert_found(&world, "s left of 3600 s");
    world.pass(HOUR / 10).await;
    assert_found(&world, "is not ready");
}

#[tokio::test(start_paused = true)]
async fn a_late_token_is_found_when_it_is_replaced_without_a_check_meanwhile() {
    let world = world(None).await;
    world.environment.issuers.get(0).cut();
    world.pass(Duration::from_secs(54 * 60 - 10)).await;
    sleep(Duration::from_secs(20)).await;
    world.assert_healthy();
    world.edit_target(&world.population.credentials[0], None);
    assert_found(&world, "s left of 3600 s");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lives_a_minute_is_waited_for_a_fifth_as_long_as_one_of_five() {
    let world = world_of(None, Duration::from_secs(60)).await;
    world.environment.issuers.get(0).cut();
    world.checker.breaks(Source::Issuer(0));
    world.pass(HOUR / 30).await;
    // So says the checker, and it is not so.
    world.checker.mends(Source::Issuer(0));
    world.pass(Duration::from_secs(23)).await;
    assert_eq!(world.findings.all(), Vec::<String>::new());
    world.pass(Duration::from_secs(2)).await;
    assert_found(&world, "s left of 60 s");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_repaired_is_found() {
    let world = world(None).await;
    let process = &world.replicas[0].process.as_ref().unwrap().name;
    world.environment.api.silence_watches(process, true);
    world.edit_target(&world.population.credentials[0], None);
    world.pass(Duration::from_secs(115)).await;
    assert!(world.findings.all().is_empty());
    world.pass(Duration::from_secs(10)).await;
    assert_found(&world, "its target is damaged since");
    assert_found(&world, "has no token");
}

#[tokio::test(start_paused = true)]
async fn a_dead_an_older_and_a_made_up_token_are_found_when_they_are_written() {
    let world = world(None).await;
    let credential = &world.population.credentials[0];
    let process = world.replicas[0].process.as_ref().unwrap().name.clone();
    let old = world.environment.api.get("secrets", &credential.namespace, &credential.name).unwrap();
    let data = old["data"].clone();
    let write = |data: &Value| {
        let place = (credential.namespace.as_str(), credential.name.as_str());
        world.environment.api.merge(&process, "secrets", place, &json!({"data": data})).unwrap();
    };
    world.pass(50 * HOUR / 60).await;
    world.assert_healthy();
    write(&data);
    assert_found(&world, "of 2027-01-15T08:00:00Z after token");
    world.pass(HOUR / 2).await;
    write(&data);
    assert_found(&world, "credential 0 gets a token that is dead since");
    write(&json!({"token": "bWFkZSB1cA=="}));
    assert_found(&world, "credential 0 gets what no issuer gave");
}

/// A world in which credential 3 follows credential 1.
async fn shared_world() -> World {
    let plan = Plan { seed: 5, accounts: 2, credentials: 4, lease: None };
    let mut world = World::shared(&plan, Issuers::plain(5, HOUR));
    world.start();
    world.pass(HOUR / 60).await;
    world.assert_healthy();
    world
}

fn withdraws_permission(world: &World) {
    world.edits(&world.population.credentials[1], &json!({"allowedNamespaces": {"names": ["other"]}}));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_a_follower_gets_without_permission_is_found() {
    let relabels_namespace =
        |world: &World| world.write(&labelled(&world.population.credentials[3].namespace, "another"));
    for withdraws in [withdraws_permission, relabels_namespace] {
        let world = shared_world().await;
        let [owner, follower] = [1, 3].map(|number| &world.population.credentials[number]);
        assert_eq!(owner.selected, std::slice::from_ref(&follower.namespace), "it is permitted by a label");
        withdraws(&world);
        world.pass(53 * HOUR / 60).await;
        assert_eq!(world.findings.all(), Vec::<String>::new());
        assert_ne!(world.token(owner), world.token(follower), "it gets no new one");
        let process = world.replicas[0].process.as_ref().unwrap().name.clone();
        let data =
            world.environment.api.get("secrets", &owner.namespace, &owner.name).unwrap()["data"].clone();
        let place = (follower.namespace.as_str(), follower.name.as_str());
        world.environment.api.merge(&process, "secrets", place, &json!({"data": data})).unwrap();
        assert_found(&world, "credential 3 gets a token, and may not follow since");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_follower_that_is_not_renewed_is_found_if_it_may_follow_and_not_otherwise() {
    for is_permitted in [false, true] {
        let world = shared_world().await;
        withdraws_permission(&world);
        if is_permitted {
            // So says the checker, and it is not so.
            world.checker.mends(Source::Permission(3));
        }
        world.pass(HOUR).await;
        let late: Vec<_> = world.findings.all();
        assert_eq!(late.len(), usize::from(is_permitted), "{late:?}");
        assert!(late.iter().all(|finding| finding.contains("credential 3 of account 1")), "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_asks_to_wait_excuses_no_follower_whose_owner_has_obtained_a_newer_token() {
    for has_restarted in [false, true] {
        let mut world = shared_world().await;
        withdraws_permission(&world);
        world.pass(53 * HOUR / 60).await;
        assert_eq!(world.findings.all(), Vec::<String>::new());
        world.checker.breaks(Source::Patience(0));
        if has_restarted {
            world.replicas[0].stop().unwrap().await.unwrap();
            world.start();
        }
        // The token is late, and the follower may follow; so says the checker, and it is not so.
        world.pass(2 * HOUR / 60).await;
        world.checker.mends(Source::Permission(3));
        world.pass(3 * HOUR / 60).await;
        let late: Vec<_> = world.findings.all();
        assert_eq!(late.len(), usize::from(!has_restarted), "{late:?}");
    }
}
