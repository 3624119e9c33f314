//! When tokens are renewed.

use super::*;
use idissuer_simulator::{Fault, FaultRule};
use serde_json::json;

/// external-secrets #6743, #6690: the interval of a refresh knows nothing of the token's life, and tokens of 15 minutes
/// stood expired until the next one.
#[tokio::test(start_paused = true)]
async fn tokens_of_a_minute_a_quarter_of_an_hour_and_a_day_are_each_renewed_by_their_own_expiry() {
    let lifetimes = [60, 900, 86_400].map(Duration::from_secs);
    let world = settled(Issuers::living(1, &lifetimes), 3, 3).await;
    world.pass(18 * HOUR + 5 * MINUTE).await;
    world.assert_healthy();
    for (account, after) in [27.0..31.0, 629.0..677.0, 60_479.0..64_802.0].into_iter().enumerate() {
        let gaps = gaps(&world, account);
        assert!(!gaps.is_empty());
        assert!(gaps.iter().all(|gap| after.contains(gap)), "not all within {after:?}: {gaps:?}");
    }
}

/// external-secrets #2184, #2812: two tokens were obtained in a row, and then a whole interval was left out.
#[tokio::test(start_paused = true)]
async fn no_token_is_obtained_twice_in_a_row_and_no_renewal_is_left_out_in_any_sequence_of_events() {
    let mut world = settled(Issuers::plain(2, HOUR), 3, 3).await;
    for round in 0..60 {
        world.pass(17 * MINUTE).await;
        let credential = world.population.credentials[round % 3].clone();
        let process = world.replicas[0].process.as_ref().unwrap().name.clone();
        match round % 4 {
            0 => restarts(&mut world).await,
            1 => {
                world.environment.api.compact();
                world.environment.api.break_watches(&process);
            }
            2 => world
                .edit_target(&credential, Some(&json!({"metadata": {"labels": null, "annotations": null}}))),
            _ => {
                let api = world.environment.api.clone();
                world.replicas[0].crash(&api);
                world.replicas[0].start(&world.environment);
            }
        }
    }
    world.pass(MINUTE).await;
    world.assert_healthy();
    assert!(obtained(&world, 0).len() > 17 * 60 / 45);
    assert_steady(&world);
}

/// vault-secrets-operator #99: the last lease had to fail before a new one was asked for, and then there was no time left
/// for another try.
#[tokio::test(start_paused = true)]
async fn at_the_first_attempt_a_quarter_of_the_life_is_left_and_four_failures_are_survived() {
    for seconds in [60, 900, 3600, 86_400] {
        let lifetime = Duration::from_secs(seconds);
        let world = settled(Issuers::plain(3, lifetime), 1, 1).await;
        let renewals = obtained(&world, 0).len();
        // The checker does not know of it: the promise holds nevertheless.
        simulator(&world).inject(FaultRule::new(Fault::status(503)).before_work().times(4));
        while obtained(&world, 0).len() == renewals {
            world.pass(lifetime / 60).await;
        }
        world.assert_healthy();
        let calls = world.calls_of(0);
        let [.., before, first, _, _, _, _] = &calls[..] else { unreachable!("{calls:?}") };
        let left = before.expires.unwrap().duration_since(first.at).as_secs_f64();
        assert!(
            left >= 0.25 * lifetime.as_secs_f64(),
            "{left} s of {seconds} s were left at the first attempt"
        );
    }
}

/// openfga/java-sdk #388: a token was renewed a fixed 300 s before its end, so that one that lives 300 s was fetched anew
/// for every call.
#[tokio::test(start_paused = true)]
async fn renewal_five_minutes_before_expiry_of_short_lifetimes_comes_after_a_fifth_and_not_sooner() {
    for seconds in [20, 60, 300, 375] {
        let lifetime = Duration::from_secs(seconds);
        let world = settled(Issuers::plain(4, lifetime), 1, 2).await;
        for credential in &world.population.credentials {
            world.edits(credential, &json!({"renewal": {"renewBeforeSeconds": 300}}));
        }
        world.pass(10 * lifetime).await;
        world.assert_healthy();
        let gaps = gaps(&world, 0);
        let bounds = 0.15 * lifetime.as_secs_f64()..0.2 * lifetime.as_secs_f64() + 2.0;
        assert!(gaps.len() >= 40, "{} renewals in ten lives of {seconds} s", gaps.len());
        // The first one was planned before.
        assert!(gaps[1..].iter().all(|gap| bounds.contains(gap)), "not all within {bounds:?}: {gaps:?}");
    }
}
