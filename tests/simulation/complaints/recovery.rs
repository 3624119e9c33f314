//! Faults that end by themselves, and what is reported meanwhile.

use super::*;
use crate::conditions::Source;
use crate::sabotage::Sabotage;
use idissuer_simulator::{Fault, FaultRule};

fn condition(world: &World, kind: &str) -> Option<(String, String)> {
    world.condition(&world.population.credentials[0], kind)
}

/// Follows a token of an hour, three minutes old at most, until it expires: both overdue and expiry are reported in time.
async fn assert_told(world: &World) {
    world.pass(53 * MINUTE).await;
    assert_eq!(condition(world, "RenewalOverdue"), None);
    world.pass(3 * MINUTE).await;
    let told = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(condition(world, "RenewalOverdue"), told("True", "RenewalOverdue"));
    assert_eq!(condition(world, "Ready").unwrap().0, "True");
    world.pass(5 * MINUTE).await;
    assert_eq!(condition(world, "Ready"), told("False", "Expired"));
}

/// vault-secrets-operator #610, #319: now and then a lease was not renewed, nothing said so, and only a restart helped.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_hangs_is_reported_as_overdue_and_expired_and_recovers_without_a_restart() {
    let world = settled(Issuers::plain(1, HOUR), 1, 2).await;
    world.start_fault(0, FaultRule::new(Fault::Hang));
    assert_told(&world).await;
    world.end_faults(0);
    world.pass(MINUTE + 10 * SECOND).await;
    world.assert_healthy();
    assert_eq!(condition(&world, "RenewalOverdue"), None);
}

/// The same, for a call that never returns: reports do not wait for it.
#[tokio::test(start_paused = true)]
async fn a_hanging_call_does_not_delay_the_reports_that_the_token_is_overdue_and_expired() {
    let mut world = unstarted(Issuers::plain(2, HOUR), 1, 2);
    world.environment.carry = Some(Sabotage::HangOnce.carry());
    world.start();
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    world.checker.breaks(Source::Issuer(0));
    assert_told(&world).await;
    world.pass(3 * HOUR).await;
    assert_eq!(condition(&world, "RenewalOverdue"), None);
    assert_eq!(condition(&world, "Ready").unwrap().0, "True");
}

/// origin-ca-issuer #115: one 5xx was recorded as a final failure, and a certificate ran out.
#[tokio::test(start_paused = true)]
async fn no_failure_of_the_issuer_that_passes_is_final() {
    for status in [408, 429, 500, 503, 404] {
        let mut world = unstarted(Issuers::plain(3, HOUR), 1, 2);
        // A login that was never accepted is held where the path is wrong.
        if status != 404 {
            world.start_fault(0, FaultRule::new(Fault::status(status)));
        }
        world.start();
        world.pass(HOUR / 2).await;
        let (ready, _) = condition(&world, "Ready").unwrap();
        assert_eq!(ready == "True", status == 404, "{status}");
        assert_eq!(condition(&world, "Stalled"), None, "{status}");
        if status != 404 {
            world.end_faults(0);
        }
        world.pass(MINUTE + SECOND).await;
        world.assert_healthy();
        world.start_fault(0, FaultRule::new(Fault::status(status)));
        world.pass(2 * HOUR).await;
        let is_stalled = condition(&world, "Stalled").is_some();
        assert_eq!(is_stalled, status == 404, "{status}: only a wrong path needs a person");
        world.end_faults(0);
        world.pass(MINUTE + SECOND).await;
        world.assert_healthy();
    }
}
