//! Which tokens are obtained, how often, and by which call.

use super::*;
use crate::api_faults::ApiFault;
use crate::process::stretched;
use crate::table::necessary_calls;
use idissuer_simulator::{Fault, FaultRule, Operation, RefreshAccepted};
use serde_json::json;

/// external-secrets #6681: the controller read its own status back as it was before the renewal, and obtained a second
/// token for the same refresh.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_shown_late_or_not_at_all_costs_no_second_token() {
    let world = settled(Issuers::plain(1, HOUR), 2, 6).await;
    let process = world.replicas[0].process.as_ref().unwrap().name.clone();
    world.environment.api.silence_watches(&process, true);
    world.pass(3 * HOUR).await;
    world.environment.api.silence_watches(&process, false);
    world.pass(HOUR).await;
    assert_eq!(calls(&world), necessary_calls(&world, world.environment.time.elapsed()));
    for trouble in [ApiFault::LosesAnswers, ApiFault::Fails(500), ApiFault::Fails(409)] {
        let before = calls(&world);
        world.api_faults.begins(trouble, 1.0);
        while calls(&world) < before + 2 {
            world.pass(SECOND).await;
        }
        world.pass(MINUTE).await;
        world.api_faults.ends(trouble);
        world.pass(MINUTE).await;
        world.assert_healthy();
        assert_eq!(calls(&world), before + 2, "{trouble:?}: one call an account");
    }
    assert_steady(&world);
}

/// external-secrets #6681 once more: a replica that takes over has in its cache what stood there before the last renewal.
#[tokio::test(start_paused = true)]
async fn a_standby_whose_watches_lag_behind_takes_over_without_a_call() {
    let plan = Plan { seed: 2, accounts: 2, credentials: 6, lease: Some(stretched()) };
    let mut world = World::new(&plan, Issuers::plain(2, HOUR));
    world.start();
    world.pass(10 * MINUTE).await;
    let leader = world.leader().unwrap();
    let standby = world.replicas[1 - leader].process.as_ref().unwrap().name.clone();
    world.environment.api.silence_watches(&standby, true);
    world.pass(40 * MINUTE).await;
    assert_eq!(calls(&world), 4, "a login and a refresh of both accounts");
    let api = world.environment.api.clone();
    world.replicas[leader].crash(&api);
    world.pass(20 * MINUTE).await;
    assert_eq!(world.leader(), Some(1 - leader));
    assert_eq!(calls(&world), 4);
    world.environment.api.silence_watches(&standby, false);
    world.pass(HOUR).await;
    world.assert_healthy();
    assert_steady(&world);
}

/// infisical operator #113, infisical #7179: at the first renewal it presented an expired proof over and over, 1,300 times
/// a minute, and 25 resources were down for nine hours until somebody restarted it.
#[tokio::test(start_paused = true)]
async fn where_refreshes_fail_every_token_comes_from_a_fresh_login_past_any_number_of_lifetimes() {
    let faults = [Fault::status(500), Fault::Hang, Fault::Lost, Fault::Garbage].map(Some);
    for fault in faults.into_iter().chain([None]) {
        let world = settled(Issuers::plain(3, HOUR), 2, 2).await;
        match fault.clone() {
            Some(fault) => simulator(&world).inject(FaultRule::on_refresh(fault)),
            None => simulator(&world).configure(|it| it.refresh.accepted = RefreshAccepted::Never),
        }
        world.pass(5 * HOUR).await;
        world.assert_healthy();
        let logins = world.environment.ledger.calls().logins;
        assert!((12..=16).contains(&logins), "{fault:?}: {logins} logins");
    }
}

/// The other half of infisical #7179: what an outage of many lifetimes costs, and that it ends by itself.
#[tokio::test(start_paused = true)]
async fn an_outage_of_three_lifetimes_costs_a_few_calls_a_minute_and_is_over_a_minute_after_its_end() {
    let world = settled(Issuers::plain(4, HOUR), 12, 12).await;
    let before = calls(&world);
    world.start_fault(0, FaultRule::new(Fault::status(503)));
    world.pass(3 * HOUR).await;
    let meanwhile = calls(&world) - before;
    assert!(meanwhile <= 180 * 5, "{meanwhile} calls");
    world.end_faults(0);
    world.pass(MINUTE).await;
    world.assert_healthy();
}

/// infisical #7443: the server answered 403 rather than 401 to an expired token, and the client never logged in again.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_refused_by_any_status_is_followed_by_one_login_at_once() {
    for status in [400, 401, 403, 404, 410, 422] {
        let world = settled(Issuers::plain(5, HOUR), 1, 3).await;
        simulator(&world).configure(|personality| {
            personality.refresh.accepted = RefreshAccepted::Never;
            personality.refresh.refused_status = status;
        });
        world.pass(50 * MINUTE).await;
        world.assert_healthy();
        let calls = world.calls_of(0);
        let [first, refused, second] = &calls[..] else { unreachable!("{status}: {calls:?}") };
        let operations = [first, refused, second].map(|call| call.operation);
        assert_eq!(operations, [Operation::Login, Operation::Refresh, Operation::Login], "{status}");
        assert!(second.at.duration_since(refused.at).as_secs() < 1, "{status}: {calls:?}");
    }
}

/// cert-manager #7585, external-secrets #984, vault-config-operator #103: a login for every reconciliation; half a million
/// leases, and an audit log that filled its disk.
#[tokio::test(start_paused = true)]
async fn a_storm_of_edits_that_change_nothing_costs_no_call() {
    let world = settled(Issuers::plain(6, HOUR), 3, 9).await;
    for round in 0..100 {
        let note = json!({"metadata": {"annotations": {"example.org/note": round.to_string()}}});
        for credential in &world.population.credentials {
            let login = world.population.accounts[credential.account].login();
            let objects = [("idissuercredentials", &credential.name), ("secrets", &login)];
            for (resource, name) in objects {
                world.environment.api.merge("owner", resource, (&credential.namespace, name), &note).unwrap();
            }
            world.apply(credential, &json!({}));
            world.edit_target(credential, Some(&note));
        }
        world.pass(SECOND).await;
    }
    world.assert_healthy();
    assert_eq!(calls(&world), 3, "one login an account");
}

/// giantswarm/mcp-oauth #511, toolhive #4122: two pods presented the same single-use refresh token, and the issuer revoked
/// the session of both.
#[tokio::test(start_paused = true)]
async fn single_use_refresh_tokens_are_used_once_although_replicas_are_paused_meanwhile() {
    let plan = Plan { seed: 8, accounts: 3, credentials: 6, lease: Some(stretched()) };
    let mut world = World::new(&plan, Issuers::plain(8, HOUR));
    world.start();
    world.pass(5 * MINUTE).await;
    world.assert_healthy();
    for round in 0..24 {
        world.pass(Duration::from_secs(60 * (36 + round % 5))).await;
        if round % 2 == 1 {
            // Past its lease, and over the time of the next renewals or just before.
            let leader = world.leader().unwrap();
            world.replicas[leader].stall(7 * MINUTE);
        }
        world.pass(8 * MINUTE).await;
    }
    world.pass(5 * MINUTE).await;
    // Of spent refresh tokens that were presented, the verdict tells, by the ledger and by the issuer.
    world.assert_healthy();
    assert!(world.environment.ledger.calls().refreshes >= 12, "{:?}", world.environment.ledger.calls());
}
