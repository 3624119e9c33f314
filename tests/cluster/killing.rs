//! The operator is killed over and over, at moments of no one's choice.

use std::time::Duration;

use idissuer_simulator::{CallRecord, DurationRange, Latency};
use jiff::SignedDuration;
use serde_json::json;

use crate::operator::{NAME, Stage, issuer, now, token_status};
use crate::renewing::Reader;

/// How often it is killed, unless the variable `KILLS` says otherwise.
const KILLS: u64 = 15;
/// An answer of the issuer may have been on its way for so long when the kill came. More than it takes to write it.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);

/// An answer takes so long, so that some kills meet a call under way.
const SLOW: DurationRange =
    DurationRange { from: Duration::from_millis(200), to: Duration::from_millis(800) };

#[expect(clippy::disallowed_methods, reason = "it is no flag of the operator, but of its test")]
fn kills_wanted() -> u64 {
    std::env::var("KILLS").map_or(KILLS, |number| number.parse().unwrap())
}

#[tokio::test]
async fn an_operator_that_is_killed_over_and_over_never_leaves_a_dead_token_and_logs_in_no_more_than_it_must()
{
    let issuer = issuer(Duration::from_secs(20)).personality(|it| it.latency = Latency::of(SLOW));
    let mut stage = Stage::set("killed", issuer).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    let reader = Reader::start(&stage);
    // The moments come from the namespace's random name: another run, other moments, and a failure tells which.
    let seed: u64 = stage.namespace.name().bytes().map(u64::from).fold(7, |seed, byte| seed * 31 + byte);
    let mut kills = Vec::new();
    for kill in 0..kills_wanted() {
        let pause = (seed.wrapping_mul(2 * kill + 1) >> 7) % 1_500;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.operator.take_process().kill().await.unwrap();
        kills.push(now());
        stage.operator.start(stage.control_plane).await;
    }
    stage.operator.until_ready().await;
    let last = stage.renewed(token_status(&first)).await;
    stage.renewed(token_status(&last)).await;
    stage.until_correct(NAME).await;
    reader.stop().await;

    let counts = stage.counts();
    assert_eq!((counts.logins_rejected, counts.refresh_tokens_reused), (0, 0), "{counts:?}");
    // A kill costs at most the call that was under way.
    let mut unused = kills.clone();
    let wasted = stage.wasted();
    for call in &wasted {
        let cause = unused.iter().position(|kill| {
            let after = kill.duration_since(call.at);
            !after.is_negative() && after < IN_FLIGHT
        });
        let cause = cause.unwrap_or_else(|| panic!("no kill explains {call:#?} (kills: {kills:#?})"));
        unused.remove(cause);
    }
    // All others were due: after ten seconds, less a little jitter and what status rounds off.
    let is_useful = |call: &CallRecord| call.issued.is_some() && !wasted.contains(call);
    let useful: Vec<_> = stage.issuer.calls_since(0).into_iter().filter(is_useful).collect();
    for pair in useful.windows(2) {
        assert!(pair[1].at.duration_since(pair[0].at).as_secs() >= 7, "too soon: {pair:#?}");
    }
}
