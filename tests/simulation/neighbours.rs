//! The effects of one namespace on its neighbour at the same issuer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::memory as api;
use serde_json::json;

use crate::issuers::{HOUR, Issuers};
use crate::population::{Credential, login_secret};
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOSTILE: &str = "hostile";

impl World {
    /// A credential of this account in this namespace that no process has checked.
    fn moves_in(&self, account: usize, namespace: &str, password: &str) -> Credential {
        let namespace = namespace.to_owned();
        let credential = Credential { namespace, ..self.population.credentials[account].clone() };
        self.write(&login_secret(&credential.namespace, &self.population.accounts[account], password));
        self.apply(&credential, &json!({}));
        credential
    }

    fn writes_of_status(&self) -> u64 {
        self.checker.writes().get("idissuercredentials/status").copied().unwrap_or_default()
    }
}

/// A world of so many accounts, of which only the first has a credential.
fn world_of_one(accounts: usize, lifetime: Duration) -> World {
    let plan = Plan { seed: 1, accounts, credentials: accounts, lease: None };
    let world = World::new(&plan, Issuers::plain(1, lifetime));
    for credential in &world.population.credentials[1..] {
        let (namespace, name) = (&credential.namespace, &credential.name);
        world.environment.api.delete("owner", "idissuercredentials", namespace, name);
    }
    world
}

/// Three hundred accounts of one namespace that the issuer does not answer, or answers oddly at once.
#[tokio::test(start_paused = true)]
async fn a_neighbour_of_three_hundred_failing_accounts_gets_its_tokens_in_time() {
    let page = Fault::Status { status: 200, retry_after: None, body: Some("<html>".into()) };
    for fault in [Fault::Hang, Fault::status(503), Fault::status(404), page] {
        let mut world = world_of_one(302, MINUTE);
        let [neighbour, newcomer] = [0, 1].map(|number| world.population.credentials[number].clone());
        let simulator = world.environment.issuers.get(0).simulator.clone();
        for account in &world.population.accounts[2..] {
            simulator.inject(FaultRule::on_login(fault.clone()).of_user(&account.username()));
        }
        world.start();
        world.pass(10 * SECOND).await;
        world.health(&neighbour).unwrap();
        for account in 2..302 {
            world.moves_in(account, HOSTILE, "whatever");
        }
        for second in 0..180 {
            world.pass(SECOND).await;
            world.health(&neighbour).unwrap_or_else(|wrong| panic!("{fault:?}, {second} s: {wrong}"));
        }
        let password = world.population.accounts[1].password.clone();
        let newcomer = world.moves_in(newcomer.account, "another", &password);
        world.pass(2 * SECOND).await;
        world.health(&newcomer).unwrap_or_else(|wrong| panic!("{fault:?}: {wrong}"));
        assert!(world.environment.ledger.most_at_issuer() <= 16);
    }
}

/// Six accounts that are answered oddly hold up a neighbour's first token no more than none.
#[tokio::test(start_paused = true)]
async fn odd_answers_to_a_few_accounts_open_no_breaker_for_a_neighbour() {
    for fault in [Fault::status(204), Fault::status(404), Fault::status(503), Fault::Lost] {
        let mut world = world_of_one(8, HOUR);
        let simulator = world.environment.issuers.get(0).simulator.clone();
        for account in &world.population.accounts[2..] {
            simulator.inject(FaultRule::on_login(fault.clone()).of_user(&account.username()));
        }
        world.start();
        for account in 2..8 {
            world.moves_in(account, HOSTILE, "whatever");
        }
        for second in 0..20 {
            world.pass(SECOND).await;
            let password = world.population.accounts[1].password.clone();
            if second == 5 {
                world.moves_in(1, "another", &password);
            }
        }
        let newcomer = Credential { namespace: "another".into(), ..world.population.credentials[1].clone() };
        world.health(&newcomer).unwrap();
        let first = world.calls_of(1)[0].at.duration_since(world.calls_of(0)[0].at).as_secs_f64();
        assert!(first < 7.5, "{fault:?}: the first call was made {first} s after the start");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_writes_no_attempts_of_calls_that_are_never_sent() {
    let mut world =
        World::new(&Plan { seed: 1, accounts: 100, credentials: 100, lease: None }, Issuers::plain(1, HOUR));
    world.environment.issuers.get(0).cut();
    world.start();
    world.pass(MINUTE).await;
    let (writes, calls) = (world.writes_of_status(), world.environment.ledger.calls().unsent);
    assert!(calls <= 20, "{calls} calls");
    // What keeps it waiting is told once of each, and each call that was made is recorded and told of.
    assert!(writes <= 100 + 3 * calls, "{writes} versions of status for {calls} calls");
    world.environment.issuers.get(0).restore();
    world.pass(MINUTE + 10 * SECOND).await;
    world.assert_healthy();
}

#[tokio::test(start_paused = true)]
async fn forty_spellings_of_one_user_name_are_presented_four_times_an_hour_together() {
    let mut world = world_of_one(2, HOUR);
    let user = world.population.accounts[1].username();
    for number in 0..40_u32 {
        let letter = |(place, letter): (usize, char)| {
            if number >> place & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
        };
        let spelling: String = user.chars().enumerate().map(letter).collect();
        let (name, login) = (format!("spelling-{number}"), format!("guess-{number}"));
        world.write(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": &login, "namespace": HOSTILE},
            "data": {"username": STANDARD.encode(spelling), "password": STANDARD.encode("guess")},
        }));
        let credential = &world.population.credentials[1];
        let credential = Credential { namespace: HOSTILE.into(), name, ..credential.clone() };
        world.apply(&credential, &json!({"loginSecretRef": {"name": login}}));
    }
    world.start();
    world.pass(59 * MINUTE).await;
    assert_eq!(world.environment.ledger.calls().logins_rejected, 4);
    for replica in &mut world.replicas {
        replica.stop().unwrap().await.unwrap();
        replica.start(&world.environment);
    }
    world.pass(MINUTE / 2).await;
    assert_eq!(world.environment.ledger.calls().logins_rejected, 4, "after a restart as well");
}

#[tokio::test(start_paused = true)]
async fn never_accepted_user_names_of_a_namespace_share_twenty_rejections_an_hour() {
    let mut world = world_of_one(62, HOUR);
    let hostile: Vec<_> = (2..62).map(|account| world.moves_in(account, HOSTILE, "guess")).collect();
    world.start();
    world.pass(30 * MINUTE).await;
    assert_eq!(world.environment.ledger.calls().logins_rejected, 20);
    for replica in &mut world.replicas {
        replica.stop().unwrap().await.unwrap();
        replica.start(&world.environment);
    }
    world.pass(20 * MINUTE).await;
    assert_eq!(world.environment.ledger.calls().logins_rejected, 20, "after a restart as well");
    let told = |credential: &Credential| world.condition(credential, "Stalled").unwrap().1;
    assert!(hostile.iter().filter(|credential| told(credential) == "LoginRateLimited").count() >= 40);
    let password = world.population.accounts[1].password.clone();
    let neighbour = world.moves_in(1, "another", &password);
    world.pass(2 * SECOND).await;
    world.health(&neighbour).unwrap();
}

/// Six hundred credentials of one namespace are edited all the time, and each call to the API server takes its while.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_edited_without_end_delays_no_renewal_of_a_neighbour() {
    let mut world = world_of_one(2, MINUTE);
    let neighbour = world.population.credentials[0].clone();
    let password = world.population.accounts[1].password.clone();
    let first = world.moves_in(1, HOSTILE, &password);
    let crowd: Vec<_> =
        (0..600).map(|number| Credential { name: format!("c-{number}"), ..first.clone() }).collect();
    world.start();
    world.pass(10 * SECOND).await;
    world.health(&neighbour).unwrap();
    world
        .environment
        .api
        .set_fault(|annotations| (annotations.verb != "watch").then_some(api::Fault::Delay(2 * SECOND)));
    for round in 0..18 {
        let data = json!({"token": "{{ token }}", "round": format!("{{{{ name }}}}-{round}")});
        for credential in &crowd {
            world.apply(credential, &json!({"target": {"template": {"data": data}}}));
        }
        for second in 0..10 {
            world.pass(SECOND).await;
            world.health(&neighbour).unwrap_or_else(|wrong| panic!("{round}, {second} s: {wrong}"));
        }
    }
}
