//! One process that manages several namespaces: each has its own watches, and they share accounts.

use std::time::Duration;

use idissuer_testbed::memory::Fault;
use serde_json::json;

use crate::issuers::{HOUR, Issuers};
use crate::population::login_secret;
use crate::world::{Plan, World};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_first_login_waits_for_what_is_remembered_in_another_namespace() {
    let plan = Plan { seed: 6, accounts: 1, credentials: 2, lease: None };
    let mut world = World::new(&plan, Issuers::plain(6, HOUR));
    let [new, held] = world.population.credentials.clone().try_into().unwrap();
    let namespaces = [&new, &held].map(|credential| credential.namespace.clone());
    for namespace in &namespaces {
        world.write(&login_secret(namespace, &world.population.accounts[0], "wrong"));
    }
    world.environment.namespaces = namespaces.into();
    world.start();
    world.pass(HOUR / 2).await;
    let calls = world.environment.ledger.calls();
    assert_eq!(calls.logins_rejected, 3, "held from now on");

    world.replicas[0].stop().unwrap().await.unwrap();
    world.environment.api.delete("owner", "idissuercredentials", &new.namespace, &new.name);
    world.apply(&new, &json!({}));
    // The credential whose status remembers the rejections is seen after the one that would log in.
    world.environment.api.set_fault(move |annotations| {
        let is_late = annotations.verb == "list" && annotations.namespace == held.namespace;
        is_late.then_some(Fault::Delay(Duration::from_secs(2)))
    });
    world.start();
    world.pass(MINUTE).await;
    assert_eq!(world.environment.ledger.calls(), calls);
}
