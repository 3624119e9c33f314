//! A namespace learns nothing about another's accounts.

use std::time::Duration;

use serde_json::json;

use crate::issuers::{HOUR, Issuers};
use crate::population::{Credential, login_secret};
use crate::world::{Plan, World};

#[tokio::test(start_paused = true)]
async fn a_password_of_another_namespace_is_guessed_no_quicker_than_the_issuer_would_let_it() {
    let plan = Plan { seed: 1, accounts: 1, credentials: 2, lease: None };
    let mut world = World::new(&plan, Issuers::plain(1, 24 * HOUR));
    let account = world.population.accounts[0].clone();
    let [owner, guesser] = [0, 1].map(|number| world.population.credentials[number].clone());
    assert_ne!(owner.namespace, guesser.namespace);
    let guess =
        |world: &World, password: &str| world.write(&login_secret(&guesser.namespace, &account, password));
    guess(&world, "guess 0");
    world.start();
    for number in 1..8 {
        world.pass(Duration::from_secs(10)).await;
        guess(&world, &format!("guess {number}"));
    }
    assert!(world.token(&owner).is_some());
    let rejected = || world.environment.ledger.calls().logins_rejected;
    assert_eq!(rejected(), 4);

    guess(&world, &account.password);
    world.pass(Duration::from_secs(600)).await;
    assert_eq!(world.token(&guesser), None, "nobody is told that this is the one");
    assert_eq!(world.condition(&guesser, "Stalled").unwrap().1, "LoginRateLimited");
    world.pass(HOUR).await;
    assert_eq!(
        (world.token(&guesser), rejected()),
        (world.token(&owner), 4),
        "it is the same account after all"
    );
}

#[tokio::test(start_paused = true)]
async fn a_password_that_was_never_tried_is_reported_as_delayed_also_after_a_restart() {
    let plan = Plan { seed: 1, accounts: 1, credentials: 1, lease: None };
    let mut world = World::new(&plan, Issuers::plain(1, 24 * HOUR));
    let account = world.population.accounts[0].clone();
    let credential = world.population.credentials[0].clone();
    world.start();
    for number in 0..5 {
        world.pass(Duration::from_secs(10)).await;
        world.write(&login_secret(&credential.namespace, &account, &format!("guess {number}")));
    }
    for restart in 0..3 {
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.condition(&credential, "Stalled").unwrap().1, "LoginRateLimited", "{restart}");
        assert_eq!(world.environment.ledger.calls().logins_rejected, 4, "{restart}");
        for replica in &mut world.replicas {
            replica.stop().unwrap().await.unwrap();
            replica.start(&world.environment);
        }
    }
}

/// It has the token of its owner, and that must not tell it the password.
#[tokio::test(start_paused = true)]
async fn a_follower_guesses_the_password_of_its_owner_no_quicker_than_another_namespace() {
    let plan = Plan { seed: 5, accounts: 2, credentials: 4, lease: None };
    let mut world = World::shared(&plan, Issuers::plain(5, 24 * HOUR));
    let [owner, follower] = [1, 3].map(|number| world.population.credentials[number].clone());
    let account = world.population.accounts[owner.account].clone();
    assert_ne!(owner.namespace, follower.namespace);
    world.start();
    world.pass(HOUR / 60).await;
    assert_eq!(world.token(&follower), world.token(&owner), "it follows");

    let guess =
        |world: &World, password: &str| world.write(&login_secret(&follower.namespace, &account, password));
    guess(&world, "guess 0");
    world.write(
        &Credential { owner: None, ..follower.clone() }.manifest(&world.environment.issuers, &json!({})),
    );
    for number in 1..8 {
        world.pass(Duration::from_secs(10)).await;
        guess(&world, &format!("guess {number}"));
    }
    assert_eq!(world.environment.ledger.calls().logins_rejected, 4);
    guess(&world, &account.password);
    world.pass(Duration::from_secs(600)).await;
    assert_eq!(
        world.condition(&follower, "Stalled").unwrap().1,
        "LoginRateLimited",
        "nobody is told that this is the one"
    );
}
