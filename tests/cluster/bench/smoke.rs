//! The bench with 100 credentials on the control plane of the other tests: what does not depend on the machine.

use super::field::{Field, Scope};
use super::figures::Case;
use super::{first_issue, memory, restart};
use crate::CLUSTER;
use crate::operator::HOUR;

const SIZE: usize = 100;
/// As many more show what each of them takes of the heap.
const MORE: usize = 200;
/// By how much a figure may exceed what is expected.
const TOLERANCE: f64 = 1.2;

/// The requests that a first token costs: an improvement belongs into this table, too.
const FIRST_TOKEN: [(&str, f64); 4] = [
    ("create events", 1.0),
    // The login.
    ("get secrets", 1.0),
    ("patch secrets", 1.0),
    // Before the login is sent, and with the token.
    ("update idissuercredentials/status", 2.0),
];
/// Of how few credentials a request may come that is in no table, such as that after a conflict.
const SELDOM: f64 = 0.1;
/// The requests of a restart: the pages of lists.
const RESTART: f64 = 7.0;
/// The heap of a build without optimisation, in KiB.
const HEAP: f64 = 25.0;

fn check(case: &Case, name: &str, expected: f64) {
    let found = case.get(name).unwrap_or_default();
    assert!(found <= expected * TOLERANCE, "{name}: {found}, and {expected} were expected");
    if found * TOLERANCE < expected {
        eprintln!("{name}: {found}, and {expected} were expected: write the better figure into smoke.rs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_first_tokens_and_a_restart_cost_what_is_expected() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let mut field = Field::prepare(control_plane, SIZE + MORE, Scope::Namespaces, HOUR).await;
    field.start_operator().await;
    field.add_logins(0..SIZE + MORE).await;
    field.settle().await;

    let (mut issue, mut memory, mut restart) = (Case::default(), Case::default(), Case::default());
    first_issue::first_issue(&field, 0..SIZE, &mut issue).await;
    // The heap now has what is needed only once, such as connections.
    let before = field.memory();
    first_issue::first_issue(&field, SIZE..SIZE + MORE, &mut Case::default()).await;
    memory::by_credential(&mut memory, before, &field, MORE);
    restart::restart(&mut field, &mut restart).await;
    eprintln!("{issue:#?}\n{memory:#?}\n{restart:#?}");
    let requests: f64 = FIRST_TOKEN.iter().map(|(_, number)| number).sum();
    check(&issue, "requests a credential", requests);
    for (request, expected) in FIRST_TOKEN {
        check(&issue, &format!("requests a credential: {request}"), expected);
    }
    let known = |request: &str| FIRST_TOKEN.iter().any(|(name, _)| *name == request);
    let others: Vec<_> = issue.below("requests a credential: ").filter(|(name, _)| !known(name)).collect();
    assert!(others.iter().all(|(_, number)| *number <= SELDOM), "requests that are in no table: {others:?}");
    check(&issue, "issuer calls a credential", 1.0);
    check(&memory, "heap KiB a credential", HEAP);
    check(&restart, "restart: requests", RESTART);
    check(&restart, "restart: issuer calls", 0.0);
}
