//! The operator is killed over and over, at moments of no one's choice.

use std::time::Duration;

use crate::operator::{Stage, issuer, token_status};
use crate::renewing::Reader;
use serde_json::json;

/// How often it is killed.
const KILLS: u64 = 15;

#[tokio::test]
async fn an_operator_that_is_killed_over_and_over_never_leaves_a_dead_token_and_logs_in_no_more_than_it_must()
{
    let mut stage = Stage::set("killed", issuer(Duration::from_secs(20))).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    let reader = Reader::start(&stage);
    // The moments come from the namespace's random name: another run, other moments, and a failure tells which.
    let seed: u64 = stage.namespace.name().bytes().map(u64::from).fold(7, |seed, byte| seed * 31 + byte);
    for kill in 0..KILLS {
        let pause = (seed.wrapping_mul(2 * kill + 1) >> 7) % 1_500;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.operator.take_process().kill().await.unwrap();
        stage.operator.start(stage.control_plane).await;
    }
    stage.operator.until_ready().await;
    let last = stage.renewed(token_status(&first)).await;
    stage.renewed(token_status(&last)).await;
    reader.stop().await;

    let counts = stage.counts();
    // Every renewal is due after ten seconds; each kill may cost the one that was under way.
    assert!(counts.logins_accepted <= 1 + KILLS, "{counts:?}");
    assert_eq!((counts.logins_rejected, counts.refresh_tokens_reused), (0, 0), "{counts:?}");
}
