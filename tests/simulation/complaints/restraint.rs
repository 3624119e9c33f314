//! The cost of faults at the issuer.

use super::*;
use idissuer_simulator::{Fault, FaultRule, Lockout, RefreshAccepted, RetryAfter};

const DAY: Duration = Duration::from_secs(86_400);

/// external-secrets #6728: three resources that failed, with an interval of a day, made 560 calls a day and used up the
/// quota of all.
#[tokio::test(start_paused = true)]
async fn three_logins_that_were_never_accepted_cost_nine_calls_a_day_and_affect_no_others() {
    let mut world = unstarted(Issuers::plain(1, HOUR), 5, 5);
    for account in 0..3 {
        set_password(&world, account, "wrong");
    }
    world.start();
    world.pass(DAY).await;
    assert_eq!(world.environment.ledger.calls().logins_rejected, 9);
    for credential in &world.population.credentials {
        assert_eq!(world.health(credential).is_ok(), credential.account >= 3);
    }
    assert!(world.findings.all().is_empty(), "{:?}", world.findings.all());
}

/// external-secrets #4925, #6344: one bad token used up the daily limit of its account in twenty minutes.
#[tokio::test(start_paused = true)]
async fn ten_credentials_of_one_login_that_stops_to_be_accepted_cost_one_call_an_hour() {
    let world = settled(Issuers::plain(2, HOUR), 1, 10).await;
    simulator(&world).configure(|personality| personality.refresh.accepted = RefreshAccepted::Never);
    set_issuers_password(&world, 0, "another");
    let before = world.environment.ledger.calls();
    world.pass(DAY).await;
    let after = world.environment.ledger.calls();
    let (rejected, refreshes) = (after.logins_rejected, after.refreshes - before.refreshes);
    assert!((20..=3 + 24).contains(&rejected), "{rejected} rejected logins in a day");
    assert!(refreshes <= 2, "{refreshes} refreshes in a day");
}

/// 1Password operator #255, #262: six or seven items that were missing used up a thousand calls an hour.
#[tokio::test(start_paused = true)]
async fn login_secrets_that_are_missing_cost_no_call_and_are_taken_as_soon_as_they_come() {
    let mut world = unstarted(Issuers::plain(3, HOUR), 7, 7);
    for account in &world.population.accounts {
        for namespace in world.population.namespaces_of(account.number) {
            world.environment.api.delete("owner", "secrets", &namespace, &account.login());
        }
    }
    world.start();
    world.pass(DAY).await;
    assert_eq!(calls(&world), 0);
    for account in &world.population.accounts {
        set_password(&world, account.number, &account.password);
    }
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    assert_eq!(calls(&world), 7);
}

/// 1Password operator #203: what was limited was asked again at once, until the pod ran out of memory.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_too_busy_is_waited_for_as_long_as_it_asks_and_no_token_pays_for_it() {
    for (asked, most) in [(None, 40), (Some(30), 40), (Some(86_400), 40)] {
        let world = settled(Issuers::plain(4, HOUR), 1, 3).await;
        let retry_after = asked.map(RetryAfter::Seconds);
        let fault = Fault::Status { status: 429, retry_after, body: None };
        world.start_fault(0, FaultRule::new(fault).before_work());
        world.pass(HOUR).await;
        let calls = world.calls_of(0);
        let apart =
            |pair: &[idissuer_simulator::CallRecord]| pair[1].at.duration_since(pair[0].at).as_secs_f64();
        let shortest = calls[1..].windows(2).map(apart).fold(f64::MAX, f64::min);
        assert!(calls.len() <= most, "{asked:?}: {} calls", calls.len());
        let honoured = if asked == Some(30) { 29.9 } else { 0.4 };
        assert!(shortest >= honoured, "{asked:?}: asked again after {shortest} s");
        world.end_faults(0);
        world.pass(MINUTE + 2 * SECOND).await;
        world.assert_healthy();
        assert_eq!(
            world.environment.ledger.calls().logins,
            1,
            "{asked:?}: no login, for the refresh token is not spent"
        );
    }
}

/// vSphere CSI driver #3787: a password that had been changed was presented over and over, after restarts too, and the
/// issuer locked the account for everyone.
#[tokio::test(start_paused = true)]
async fn a_changed_password_never_locks_the_account_and_an_edited_secret_is_used_at_once() {
    let mut world = settled(Issuers::plain(5, HOUR), 1, 3).await;
    simulator(&world).configure(|personality| {
        personality.refresh.accepted = RefreshAccepted::Never;
        personality.lockout = Some(Lockout { after: 5, ..Lockout::default() });
    });
    set_issuers_password(&world, 0, "another");
    for _ in 0..40 {
        world.pass(3 * MINUTE).await;
        restarts(&mut world).await;
    }
    let rejected = world.environment.ledger.calls().logins_rejected;
    assert!((3..=4).contains(&rejected), "{rejected} rejected logins in two hours and 40 restarts");
    assert_eq!(simulator(&world).counts().total().lockouts, 0);
    world.pass(MINUTE).await;
    set_password(&world, 0, "another");
    world.pass(5 * SECOND).await;
    world.assert_healthy();
}

/// Somebody tries passwords, and puts the right one back: the limit on rejections must not cost the token that it gave.
#[tokio::test(start_paused = true)]
async fn the_login_of_a_published_token_waits_for_no_wrong_ones_that_stood_in_its_place() {
    let world = settled(Issuers::plain(6, HOUR), 1, 1).await;
    world.pass(25 * MINUTE).await;
    for wrong in ["first", "second", "third", "fourth"] {
        set_password(&world, 0, wrong);
        world.pass(MINUTE).await;
    }
    assert_eq!(world.environment.ledger.calls().logins_rejected, 4, "as many as an hour allows");
    let right = world.population.accounts[0].password.clone();
    set_password(&world, 0, &right);
    world.pass(30 * MINUTE).await;
    world.assert_healthy();
    assert_eq!(obtained(&world, 0).len(), 2, "renewed in its time");
}

/// As long ago as its session was let go, and the token is dead by now.
#[tokio::test(start_paused = true)]
async fn the_login_of_a_token_that_expired_meanwhile_waits_for_no_wrong_ones_either() {
    let world = settled(Issuers::plain(6, HOUR), 1, 1).await;
    for wrong in ["first", "second", "third", "fourth"] {
        set_password(&world, 0, wrong);
        world.pass(40 * MINUTE).await;
    }
    for wrong in ["fifth", "sixth", "seventh"] {
        set_password(&world, 0, wrong);
        world.pass(MINUTE).await;
    }
    let stalled = world.condition(&world.population.credentials[0], "Stalled").unwrap().1;
    assert_eq!(stalled, "LoginRateLimited", "an hour allows no more");
    let right = world.population.accounts[0].password.clone();
    set_password(&world, 0, &right);
    world.pass(MINUTE).await;
    world.assert_healthy();
}

/// The issuer has another password for an account from now on.
fn set_issuers_password(world: &World, account: usize, password: &str) {
    let username = world.population.accounts[account].username();
    simulator(world).set_user(&idissuer_simulator::User::new(&username, password));
}
