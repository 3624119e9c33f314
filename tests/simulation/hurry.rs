//! Tokens of half a minute: every pause shrinks with their lifetime.

use std::time::Duration;

use idissuer::core::lease::Timings;
use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::memory;

use crate::issuers::Issuers;
use crate::population::login_secret;
use crate::world::{Plan, World};

const LIFETIME: Duration = Duration::from_secs(30);
/// The two minutes within which everything is in order after an outage, shrunk as for five minutes of life.
const RECOVERY: Duration = Duration::from_secs(12);

impl World {
    /// An account has another password from now on, and all its login Secrets have it too.
    fn changes_password(&mut self, account: usize) {
        let account = &mut self.population.accounts[account];
        account.password.push('!');
        let account = account.clone();
        self.environment.issuers.get(account.issuer).simulator.set_user(&account.user());
        for namespace in self.population.namespaces_of(account.number) {
            self.write(&login_secret(&namespace, &account, &account.password));
        }
    }

    fn dead_targets(&self) -> Vec<String> {
        self.population.credentials.iter().filter_map(|credential| self.health(credential).err()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_changed_while_the_issuer_fails_is_in_as_much_of_a_hurry_as_the_old_one() {
    let accounts = 24;
    let plan = Plan { seed: 1, accounts, credentials: accounts, lease: None };
    let mut world = World::new(&plan, Issuers::plain(1, LIFETIME));
    world.start();
    world.pass(LIFETIME * 4).await;
    world.assert_healthy();

    let failing = FaultRule::new(Fault::status(503));
    world.environment.issuers.get(0).simulator.inject(failing.clone());
    for account in 0..accounts {
        world.pass(LIFETIME / 30).await;
        world.changes_password(account);
    }
    world.environment.issuers.get(0).simulator.configure(|personality| {
        personality.faults.retain(|rule| *rule != failing);
    });
    assert!(!world.dead_targets().is_empty(), "the outage was too short to tell anything");
    world.pass(RECOVERY).await;
    assert_eq!(world.dead_targets(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_new_process_that_could_not_read_what_stands_is_in_as_much_of_a_hurry_as_the_one_before() {
    let credentials = 24;
    let plan = Plan { seed: 1, accounts: credentials, credentials, lease: Some(Timings::default()) };
    let mut world = World::new(&plan, Issuers::plain(1, LIFETIME));
    world.start();
    world.pass(LIFETIME * 4).await;
    world.assert_healthy();

    for replica in &mut world.replicas {
        replica.stop().unwrap().await.unwrap();
    }
    world.environment.api.set_fault(|annotations| {
        let is_read =
            matches!(annotations.verb, "get" | "list") && annotations.resource == "idissuercredentials";
        is_read.then(|| memory::Fault::refuse(500, "InternalError"))
    });
    world.start();
    world.pass(LIFETIME * 6).await;
    world.environment.api.clear_fault();
    assert_eq!(world.dead_targets().len(), credentials);
    world.pass(RECOVERY).await;
    assert_eq!(world.dead_targets(), Vec::<String>::new());
}
