//! The operator is killed repeatedly: at random times, and while it waits for the issuer's answer.

use std::time::Duration;

use futures::future::join_all;
use idissuer_simulator::{CallRecord, DurationRange, Latency};
use idissuer_testbed::{variable, wait};
use serde_json::json;

use crate::operator::{LIMIT, Stage, issuer, now, token_status};
use crate::renewing::Reader;
use crate::strays::assert_each_was_due;

/// How often it is killed, unless the variable `KILLS` says otherwise.
const KILLS: u64 = 15;
/// So many of them at least have to meet a call in flight.
const MET: usize = 3;

/// An answer takes so long, so that kills meet a call under way. It is waited for 2 s, on a busy machine too.
const SLOW: DurationRange =
    DurationRange { from: Duration::from_millis(200), to: Duration::from_millis(600) };
/// Long enough for a token to outlast three kills in a row.
const LIFETIME: Duration = Duration::from_secs(24);

/// Credentials with an account each, and how much of the lifetime is left at a renewal, in percent: so calls come often, and
/// seldom together.
const ACCOUNTS: [(&str, u32); 3] = [("late", 50), ("early", 60), ("earliest", 70)];

fn kills_wanted() -> u64 {
    variable("KILLS").map_or(KILLS, |number| number.parse().unwrap())
}

#[tokio::test]
async fn a_repeatedly_killed_operator_leaves_no_expired_token_and_makes_no_unnecessary_login() {
    let issuer = issuer(LIFETIME).personality(|it| it.latency = Latency::of(SLOW));
    let mut stage = Stage::start("killed", issuer).await;
    for (account, percent) in ACCOUNTS {
        stage.add_account(account, json!({"renewal": {"renewBeforePercent": percent}})).await;
        stage.ready_as(account).await;
    }
    let readers = ACCOUNTS.map(|(account, _)| Reader::of(&stage, account));
    // The moments come from the namespace's random name: each run has other times, and a failure shows them.
    let seed: u64 = stage.namespace.name().bytes().map(u64::from).fold(7, |seed, byte| seed * 31 + byte);
    let mut kills = Vec::new();
    for kill in 0..kills_wanted() {
        if kill % 2 == 0 {
            until_in_flight(&stage).await;
        } else {
            let pause = (seed.wrapping_mul(2 * kill + 1) >> 7) % 1_500;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        stage.operator.take_process().kill().await.unwrap();
        kills.push(now());
        stage.operator.start(stage.control_plane).await;
    }
    stage.operator.until_ready().await;
    let last = join_all(ACCOUNTS.map(|(account, _)| stage.ready_as(account))).await;
    for ((account, _), last) in ACCOUNTS.iter().zip(&last) {
        stage.renewed_as(account, token_status(last)).await;
        stage.until_correct(account).await;
    }
    join_all(readers.map(Reader::stop)).await;
    let end = now();

    let counts = stage.issuer.counts().total();
    assert_eq!((counts.logins_rejected, counts.refresh_tokens_reused), (0, 0), "{counts:?}");
    let met = stage.assert_wasted_only_at(&kills, end);
    assert!(met >= MET, "only {met} of {kills:#?} met a call in flight");
    let wasted = stage.wasted();
    for (account, percent) in ACCOUNTS {
        let is_useful = |call: &CallRecord| call.user == account && !wasted.contains(call);
        assert_each_was_due(&stage.tokens(is_useful), LIFETIME * (100 - percent) / 100, &kills);
    }
}

/// Waits for a call, once every account has got over the kills before: too many of them in a row leave no working way to a
/// token.
async fn until_in_flight(stage: &Stage) {
    for (account, _) in ACCOUNTS {
        stage.until(account, "a token that is not due", |it| token_status(it).renewal_time.0 > now()).await;
    }
    let calls = stage.issuer_calls();
    wait::until("a call in flight", LIMIT, async || stage.issuer_calls() > calls).await;
}
