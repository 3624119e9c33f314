//! Complaints of users of other operators: one test for each complaint about renewal, named after
//! what this operator does instead. The comment on each names the complaint and what went wrong there.
//!
//! Some of it is also held elsewhere, against a real API server or issuer:
//!
//! | Complaint | Held by |
//! |---|---|
//! | external-secrets #2184, #2812: renewals twice or never | `calm`: no call that a lifetime does not need |
//! | infisical #7443: a refused refresh | `tests/issuer/accounts.rs`, with every status |
//! | vSphere CSI driver #3787: a changed password | `tests/cluster/login_budget.rs`, over restarts of the binary |
//! | vault-secrets-operator #949: memory that grows | `tests/issuer/accounts.rs`: sessions without a member end |
//! | vault-secrets-operator #228: a deleted target | `tests/cluster/repairing.rs` |
//! | external-secrets #5426: namespaces that never go | `tests/cluster/vanishing.rs`, with a garbage collector |
//! | giantswarm/mcp-oauth #511: two replicas | `tests/cluster/leading.rs`, with a stopped process, and `model` |

mod crowds;
mod recovery;
mod restraint;
mod rhythm;
mod sessions;
mod targets;

use std::time::Duration;

use idissuer_simulator::{Outcome, Simulator};
use jiff::Timestamp;

use crate::issuers::{HOUR, Issuers};
use crate::population::login_secret;
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A world of one replica in which nothing runs yet.
fn unstarted(issuers: Issuers, accounts: usize, credentials: usize) -> World {
    World::new(&Plan { seed: 7, accounts, credentials, lease: None }, issuers)
}

/// A world of one replica in which every credential has its first token.
async fn settled(issuers: Issuers, accounts: usize, credentials: usize) -> World {
    let mut world = unstarted(issuers, accounts, credentials);
    world.start();
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    world
}

fn simulator(world: &World) -> &Simulator {
    &world.environment.issuers.get(0).simulator
}

fn calls(world: &World) -> u64 {
    world.environment.ledger.calls().sent()
}

/// When each token of an account was obtained.
fn obtained(world: &World, account: usize) -> Vec<Timestamp> {
    let accepted = world.calls_of(account).into_iter().filter(|call| call.outcome == Outcome::Accepted);
    accepted.map(|call| call.at).collect()
}

/// The seconds between one token of an account and the next.
pub(crate) fn gaps(world: &World, account: usize) -> Vec<f64> {
    let obtained = obtained(world, account);
    obtained.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64()).collect()
}

/// Fails unless tokens that live an hour came neither twice in a row nor late: each after 70 to 75 % of the life of the
/// one before.
fn assert_steady(world: &World) {
    for account in &world.population.accounts {
        let gaps = gaps(world, account.number);
        assert!(gaps.iter().all(|gap| (2519.0..2703.0).contains(gap)), "{}: {gaps:?}", account.username());
    }
}

/// The process ends as it should, and another one begins.
async fn restarts(world: &mut World) {
    world.replicas[0].stop().unwrap().await.unwrap();
    world.replicas[0].start(&world.environment);
}

/// The login Secrets of an account get this password.
fn set_password(world: &World, account: usize, password: &str) {
    for namespace in world.population.namespaces_of(account) {
        world.write(&login_secret(&namespace, &world.population.accounts[account], password));
    }
}
