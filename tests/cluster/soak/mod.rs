//! The soak: many credentials, two replicas, and faults at random, while every token is used all the time.
//!
//! It holds the sentence that the operator promises: while a controller could hold the lease, the issuer would have
//! accepted the login and the API server the write, no published token dies, nor comes near to it.
//!
//! ```text
//! plan      what goes wrong, and when: drawn from a seed before anything begins
//! fleet     the API server, the issuer, two replicas, credentials and their accounts
//! faults    what the plan says, done to the fleet                              ─┐
//! readers   what stands in the targets, presented to the issuer all the time   ─┴→ ledger → table
//! ```
//!
//! `make soak` runs it: `MINUTES=30` for so long, `SEED=7` with the faults of that seed.

mod faults;
mod fleet;
mod ledger;
mod plan;
mod readers;
mod table;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use idissuer_testbed::variable;

use fleet::Fleet;
pub(crate) use fleet::{Accepts, CLUSTER};
use ledger::Ledger;
use plan::Plan;
use table::Table;

/// How long faults are made, unless the variable `MINUTES` says otherwise.
const MINUTES: u64 = 10;
/// After the last fault, everything has to be in order within this time.
const CALM: Duration = Duration::from_secs(40);

pub(crate) fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak runs it"]
async fn no_token_dies_in_a_target_while_there_is_a_working_way_to_get_a_new_one() {
    let time = Duration::from_secs(60 * number("MINUTES").unwrap_or(MINUTES));
    let seed = number("SEED").unwrap_or_else(|| fastrand::Rng::default().u64(..1_000_000));
    let plan = Plan::draw(seed, time);
    eprintln!("seed {seed}: SEED={seed} brings the same faults again");
    let mut fleet = Fleet::start().await;
    fleet.until_ready().await;

    let ledger = Arc::new(Ledger::open());
    let readers = readers::start(&fleet, &ledger);
    fleet.suffer(&plan, time, &ledger).await;
    let correct = fleet.until_correct(CALM, |credential| ledger.is_account_broken(credential)).await;
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    for ended in join_all(readers).await {
        assert!(ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled), "{ended:?}");
    }

    let table = Table::of(&ledger, fleet.issuer.counts().total(), &correct, seed, time);
    eprintln!("{table}");
    assert!(!fleet.has_panicked(), "a replica panicked");
    let complaint = table.complaint();
    if complaint.is_some() {
        eprintln!("what the replicas said of it:\n{}", fleet.lines_about(&table.names_of_broken()));
    }
    // What lies in the namespaces would bury it.
    drop(fleet);
    assert_eq!(complaint, None, "see the table");
}
