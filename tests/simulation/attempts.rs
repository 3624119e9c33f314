//! How often a wrong password is presented, by any number of credentials: measured, printed and bounded.

use std::fmt::Write as _;

use idissuer_simulator::{Operation, RefreshAccepted, User};
use jiff::Timestamp;

use crate::issuers::{HOUR, Issuers};
use crate::population::login_secret;
use crate::world::{Plan, World};

/// The number of hours, each counted on its own.
const HOURS: u32 = 6;

/// The logins in each hour from the first that was rejected on, for so many credentials of one account.
async fn attempts(credentials: usize, is_proven: bool) -> Vec<usize> {
    let plan = Plan { seed: 1, accounts: 1, credentials, lease: None };
    let mut world = World::new(&plan, Issuers::plain(1, HOUR));
    let account = world.population.accounts[0].clone();
    let simulator = world.environment.issuers.get(0).simulator.clone();
    if is_proven {
        world.start();
        world.pass(HOUR / 60).await;
        world.assert_healthy();
        // From the next renewal on only a login would do.
        simulator.configure(|personality| personality.refresh.accepted = RefreshAccepted::Never);
        simulator.set_user(&User::new(&account.username(), "another"));
    } else {
        for namespace in world.population.namespaces_of(0) {
            world.write(&login_secret(&namespace, &account, "wrong"));
        }
        world.start();
    }
    let before = world.calls_of(0).len();
    world.pass(HOUR * (HOURS + 1)).await;
    assert_eq!(world.findings.all(), Vec::<String>::new());
    let calls = world.calls_of(0).into_iter().skip(before);
    let logins: Vec<Timestamp> =
        calls.filter(|call| call.operation == Operation::Login).map(|call| call.at).collect();
    let hour = |at: &Timestamp| at.duration_since(logins[0]).as_hours();
    (0..i64::from(HOURS)).map(|number| logins.iter().filter(|at| hour(at) == number).count()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_presented_three_times_and_then_hourly_if_it_was_right_before() {
    let mut table = String::from("\nlogins with a wrong password, in each hour from the first on:\n");
    for (is_proven, history, later) in [(false, "never accepted", 0), (true, "accepted before", 1)] {
        for credentials in [1, 10] {
            let hours = attempts(credentials, is_proven).await;
            writeln!(table, "  {history:<16} {credentials:>3} credentials  {hours:?}").unwrap();
            assert_eq!(hours[0], 3, "{table}");
            assert!(hours[1..].iter().all(|count| *count == later), "{table}");
        }
    }
    eprintln!("{table}");
}
