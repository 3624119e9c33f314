//! Another writer that does not give up the target.

use std::time::Duration;

use idissuer_testbed::wait;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, NAME, Stage, issuer, text, token_status};

/// Rewrites the token key by forced server-side apply as another manager, over and over, until stopped.
struct PeerController(tokio::task::JoinHandle<usize>);

impl PeerController {
    fn start(stage: &Stage, pause: Duration) -> Self {
        let secrets = stage.secrets();
        Self(tokio::spawn(async move {
            let parameters = PatchParams::apply("rival").force();
            let mut writes = 0;
            loop {
                let value = format!("forged-{writes}");
                let forged = json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME},
                    "stringData": {"token": value},
                });
                secrets.patch(NAME, &parameters, &Patch::Apply(forged)).await.unwrap();
                writes += 1;
                tokio::time::sleep(pause).await;
            }
        }))
    }

    async fn stop(self) {
        assert!(!self.0.is_finished(), "it wrote all the time");
        self.0.abort();
        let _ = self.0.await;
    }
}

#[tokio::test]
async fn a_writer_that_keeps_rewriting_the_token_is_named_and_loses_without_a_call_to_the_issuer() {
    let stage = Stage::start("rival", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.until_correct(NAME).await;
    let token = text(&stage.target().await, "token");
    let mark = stage.mark().await;
    let rival = PeerController::start(&stage, Duration::from_millis(50));
    stage.until_condition("Stalled", "True", "TargetContested").await;
    // It does not take part in the race: some repairs at once, then with pauses of whole seconds.
    let repairs = || {
        let requests = stage.control_plane.audit().of_user_since(&stage.operator.user, mark).unwrap();
        requests
            .iter()
            .filter(|it| it.verb == "patch" && it.resource == "secrets" && it.code == 200)
            .map(|it| it.timestamp)
            .collect::<Vec<_>>()
    };
    wait::until("six repairs", LIMIT, async || repairs().len() >= 6).await;
    let last = &repairs()[3..6];
    let pauses: Vec<_> = last.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f32()).collect();
    assert!(pauses[0] > 1.5 && pauses[1] > 3.5, "{pauses:?}");
    stage.until_condition("Stalled", "True", "TargetContested").await;
    rival.stop().await;

    stage.target_until("the token back", |target| text(target, "token") == token).await;
    stage.until_correct(NAME).await;
    assert_eq!(stage.issuer_calls(), 1);
    assert!(stage.event_reasons(NAME).await.contains(&"TargetContested".to_owned()));
}

#[tokio::test]
async fn a_renewal_comes_through_against_another_writer_and_costs_one_call() {
    let stage = Stage::start("rival-renewal", issuer(Duration::from_secs(12))).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    let rival = PeerController::start(&stage, Duration::from_millis(50));
    let second = stage.renewed(token_status(&first)).await;
    rival.stop().await;
    let third = stage.renewed(token_status(&second)).await;
    stage.until_correct(NAME).await;
    assert_ne!(token_status(&third).fingerprint, token_status(&first).fingerprint);
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 2), "{counts:?}");
}
