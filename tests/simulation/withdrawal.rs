//! An owner changes while a token is on its way to a follower in another namespace.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer_testbed::memory::Fault;
use serde_json::{Value, json};

use crate::issuers::{HOUR, Issuers};
use crate::population::{Credential, text};
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const TENANT: &str = "tenant";
const FOLLOWER: &str = "follower";

/// Two accounts, a credential of the first that permits nobody, and one of another namespace that names it. What it takes to
/// read the object of this resource and name is five seconds.
async fn world(slow: (&'static str, &'static str)) -> (World, Credential) {
    let plan = Plan { seed: 3, accounts: 2, credentials: 2, lease: None };
    let mut world = World::new(&plan, Issuers::plain(3, HOUR));
    let owner = world.population.credentials[0].clone();
    // So large that it is read again for each write.
    let template = json!({"data": {"token": "{{ token }}", "more": "x".repeat(8 * 1024)}});
    let reference = json!({"namespace": owner.namespace, "name": owner.name});
    world.write(&json!({
        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
        "metadata": {"name": FOLLOWER, "namespace": TENANT},
        "spec": {"credentialRef": reference, "target": {"template": template}},
    }));
    world.start();
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    assert_eq!(world.token_of_follower(), None);
    world.environment.api.set_fault(move |facts| {
        let is_slow = facts.verb == "get" && (facts.resource.as_str(), facts.name.as_str()) == slow;
        is_slow.then_some(Fault::Delay(5 * SECOND))
    });
    (world, owner)
}

impl World {
    /// The token of the follower.
    fn token_of_follower(&self) -> Option<String> {
        text(&*self.environment.api.get("secrets", TENANT, FOLLOWER)?, "token")
    }

    /// The account that the token of the follower is of.
    fn account_of_follower(&self) -> Option<usize> {
        Some(self.environment.ledger.given(&self.token_of_follower()?)?.account)
    }

    /// Somebody else's Secret has the name of a target.
    fn blocks_target(&self, Credential { namespace, name, .. }: &Credential) {
        self.environment.api.delete("somebody", "secrets", namespace, name);
        self.write(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "data": {"note": STANDARD.encode("of somebody else")},
        }));
    }

    /// The login Secret of the owner names the user of the other account.
    fn names_another_user(&self, owner: &Credential) {
        let other = &self.population.accounts[1];
        self.write(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login-0", "namespace": owner.namespace},
            "data": {"username": STANDARD.encode(other.username()), "password": STANDARD.encode(&other.password)},
        }));
    }

    fn permit(&self, owner: &Credential, names: &[&str], mut spec: Value) {
        spec["allowedNamespaces"] = json!({"names": names});
        self.apply(owner, &spec);
    }

    /// Waits until the follower has a token; it never has this one.
    async fn shares_another(&self, owner: &Credential, kept: &str) {
        for _ in 0..300 {
            self.pass(SECOND / 10).await;
            assert_ne!(
                self.token_of_follower().as_deref(),
                Some(kept),
                "the token of an account that nobody shared"
            );
        }
        assert!(self.token_of_follower().is_some() && self.token_of_follower() == self.token(owner));
    }
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_withdrawn_while_a_token_is_rendered_stops_it() {
    let (world, owner) = world(("idissuercredentials", FOLLOWER)).await;
    world.permit(&owner, &[TENANT], json!({}));
    world.pass(2 * SECOND).await;
    world.permit(&owner, &[], json!({}));
    world.pass(30 * SECOND).await;
    assert_eq!(world.token_of_follower(), None);
    world.permit(&owner, &[TENANT], json!({}));
    world.pass(30 * SECOND).await;
    assert_eq!(world.token_of_follower(), world.token(&owner));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_changes_its_login_and_permits_at_once_gives_no_token_of_the_login_before() {
    let (world, owner) = world(("secrets", "login-1")).await;
    let kept = world.token(&owner).unwrap();
    world.permit(&owner, &[TENANT], json!({"loginSecretRef": {"name": "login-1"}}));
    world.shares_another(&owner, &kept).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_login_secret_names_another_user_gives_no_token_of_the_user_before() {
    let (world, owner) = world(("secrets", "login-0")).await;
    let kept = world.token(&owner).unwrap();
    world.names_another_user(&owner);
    world.pass(SECOND).await;
    world.permit(&owner, &[TENANT], json!({}));
    world.shares_another(&owner, &kept).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_drops_the_account_of_an_owner_that_was_replaced_by_one_whose_own_target_is_blocked() {
    for restarts in [false, true] {
        let (mut world, owner) = world(("secrets", "none")).await;
        world.permit(&owner, &[TENANT], json!({}));
        world.pass(10 * SECOND).await;
        let kept = world.token_of_follower().unwrap();
        assert_eq!(Some(&kept), world.token(&owner).as_ref());
        let stopped = if restarts { world.replicas[0].stop() } else { None };
        if let Some(stopped) = stopped {
            stopped.await.unwrap();
        }
        let (namespace, name) = (owner.namespace.as_str(), owner.name.as_str());
        world.environment.api.delete("owner", "idissuercredentials", namespace, name);
        world.blocks_target(&owner);
        world.permit(&owner, &[TENANT], json!({"loginSecretRef": {"name": "login-1"}}));
        if restarts {
            world.start();
        }
        world.pass(30 * SECOND).await;
        let reason = world.condition(&owner, "Ready").map(|(_, reason)| reason);
        assert_eq!(reason.as_deref(), Some("TargetConflict"));
        assert_eq!(world.account_of_follower(), Some(1), "{restarts}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_gets_the_account_of_a_changed_login_secret_although_the_target_of_its_owner_is_blocked() {
    let (world, owner) = world(("secrets", "none")).await;
    world.permit(&owner, &[TENANT], json!({}));
    world.pass(10 * SECOND).await;
    world.blocks_target(&owner);
    world.pass(10 * SECOND).await;
    assert_eq!(world.account_of_follower(), Some(0));
    world.names_another_user(&owner);
    world.pass(30 * SECOND).await;
    let reason = world.condition(&owner, "Ready").map(|(_, reason)| reason);
    assert_eq!(reason.as_deref(), Some("TargetConflict"));
    assert_eq!(world.account_of_follower(), Some(1));
}
