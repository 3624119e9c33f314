//! Thousands of credentials.

use super::*;
use crate::population::Credential;
use idissuer_simulator::{DurationRange, Latency, RefreshAccepted};
use jiff::SignedDuration;
use serde_json::json;

/// So many credentials, optimised; a debug build takes a tenth.
fn crowd(credentials: usize) -> usize {
    if crate::is_long() { credentials } else { credentials / 10 }
}

fn tokens(world: &World) -> Vec<Option<String>> {
    world.population.credentials.iter().map(|credential| world.token(credential)).collect()
}

/// How many targets still hold the token that they held before.
fn unchanged(world: &World, before: &[Option<String>]) -> usize {
    before.iter().zip(tokens(world)).filter(|(before, now)| *before == now).count()
}

fn slow_down(world: &World, latency: Duration) {
    let latency = Latency::of(DurationRange::fixed(latency));
    simulator(world).configure(|personality| personality.latency = latency);
}

/// external-secrets #6053: with 3,000 resources they stopped to be reconciled, one after the other, and nothing said so.
#[tokio::test(start_paused = true)]
async fn three_thousand_credentials_are_all_renewed_in_time_and_none_stops() {
    let credentials = crowd(3000);
    let mut world = unstarted(Issuers::plain(1, HOUR), credentials / 2, credentials);
    slow_down(&world, Duration::from_millis(100));
    world.start();
    world.pass(MINUTE).await;
    world.assert_healthy();
    for _ in 0..3 {
        let before = tokens(&world);
        world.pass(46 * MINUTE).await;
        world.assert_healthy();
        assert_eq!(unchanged(&world, &before), 0, "of {credentials}");
    }
    let latest = world.checker.lateness().pop().unwrap();
    assert!(latest < 15.0, "one was renewed {latest} s late");
}

/// external-secrets #3258, #2837, #4180: new resources waited up to fifteen minutes behind the refreshes of the others.
#[tokio::test(start_paused = true)]
async fn a_first_token_does_not_wait_behind_the_renewals_of_everyone_else() {
    let (renewed, new) = (400, 10);
    let mut world = unstarted(Issuers::plain(2, HOUR), renewed + new, renewed + new);
    let newcomers: Vec<_> = world.population.credentials[renewed..].to_vec();
    for credential in &newcomers {
        world.apply(credential, &json!({"suspend": true}));
    }
    world.start();
    world.pass(MINUTE).await;
    slow_down(&world, SECOND);
    // All renewals are due at once.
    world.suspend(SignedDuration::from_mins(47));
    world.pass(5 * SECOND).await;
    for credential in &newcomers {
        world.edits(credential, &json!({}));
    }
    world.pass(4 * SECOND).await;
    assert!(
        (renewed + 40..renewed + 200).contains(&usize::try_from(calls(&world)).unwrap()),
        "{}",
        calls(&world)
    );
    for credential in &newcomers {
        world.health(credential).unwrap();
    }
    world.pass(MINUTE).await;
    world.assert_healthy();
}

/// vault-secrets-operator #1000, #998: with 2,000 resources the client throttled itself to five requests a second, always.
#[tokio::test(start_paused = true)]
async fn two_thousand_renewals_that_are_due_at_once_wait_for_nothing_but_the_gate_of_their_issuer() {
    let credentials = crowd(2000);
    let mut world = unstarted(Issuers::plain(3, HOUR), credentials, credentials);
    slow_down(&world, Duration::from_millis(100));
    world.start();
    world.pass(MINUTE).await;
    world.assert_healthy();
    let before = tokens(&world);
    world.suspend(SignedDuration::from_mins(47));
    let gate = Duration::from_millis(100) * u32::try_from(credentials.div_ceil(14)).unwrap();
    // Two seconds until the sleep is noticed, one to look, and one for what a retry would take.
    world.pass(gate + 4 * SECOND).await;
    world.assert_healthy();
    assert_eq!(unchanged(&world, &before), 0, "of {credentials}");
    assert_eq!(usize::try_from(calls(&world)).unwrap(), 2 * credentials);
    assert_eq!(world.environment.ledger.most_at_issuer(), 14, "all are of one namespace");
}

/// vault-secrets-operator #949, #973: memory grew with every failed login, to two gigabytes.
#[tokio::test(start_paused = true)]
async fn what_is_shown_does_not_grow_with_failures_and_is_gone_with_the_credential() {
    let world = settled(Issuers::plain(4, HOUR), 10, 20).await;
    simulator(&world).configure(|personality| personality.refresh.accepted = RefreshAccepted::Never);
    let page = |world: &World| {
        world.replicas[0]
            .process
            .as_ref()
            .unwrap()
            .metrics
            .render(idissuer::ops::metrics::TextFormat::Prometheus)
            .unwrap()
    };
    let mut lines = Vec::new();
    for round in 0..8 {
        for account in 0..10 {
            set_password(&world, account, &format!("wrong-{round}"));
        }
        world.pass(HOUR).await;
        lines.push(page(&world).lines().count());
    }
    assert!(lines[2..].iter().all(|count| *count == lines[2]), "{lines:?}");
    for credential in &world.population.credentials {
        let name = format!("\"{}\"", credential.name);
        assert!(page(&world).contains(&name), "{name} is not in {}", page(&world));
    }
    for Credential { namespace, name, .. } in &world.population.credentials {
        world.environment.api.delete("owner", "idissuercredentials", namespace, name);
    }
    world.pass(MINUTE).await;
    assert!(!page(&world).contains("credential-"), "{}", page(&world));
}
