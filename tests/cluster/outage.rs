//! Outages of the API server lose no token and cause no call to the issuer.

use std::time::Duration;

use idissuer_simulator::{DurationRange, Latency};
use idissuer_testbed::{Component, ControlPlane, Controllers, Options, Shared, wait};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, NAME, PASSWORD, Stage, USER, issuer, text, token_status};
use crate::renewing::Reader;
use crate::strays::assert_each_was_due;

/// An answer takes so long, so that a kill meets a call under way.
const SLOW: DurationRange = DurationRange::fixed(Duration::from_secs(1));

/// Renewed after half of it, and the other half outlasts an outage.
const LIFETIME: Duration = Duration::from_secs(24);

/// Each test has a control plane of its own, for it takes that down.
fn options() -> Options {
    let crd = include_str!("../../crds/idissuer.pl_idissuercredentials.yaml");
    Options::new().controllers(Controllers::None).crd(crd)
}

static WHILE_DUE: Shared = Shared::new(options);
static AT_REST: Shared = Shared::new(options);
static FOR_A_MINUTE: Shared = Shared::new(options);

/// A published token whose issuer gives this lifetime.
async fn start(control_plane: &'static ControlPlane, name: &str, lifetime: Duration) -> Stage {
    let mut stage = Stage::prepare(control_plane, name, issuer(lifetime)).await;
    stage.write_login(USER, PASSWORD).await;
    stage.operator.start(control_plane).await;
    stage.operator.until_ready().await;
    stage.apply(json!({})).await;
    stage.ready().await;
    stage
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Met {
    BeforeTheCall,
    /// Its call is in flight as it begins.
    InMidCall,
}

#[tokio::test]
async fn a_token_obtained_while_the_api_server_or_etcd_is_down_is_published_afterwards() {
    let control_plane = WHILE_DUE.control_plane().await.unwrap();
    let stage = start(control_plane, "outage", LIFETIME).await;
    stage.issuer.configure(|personality| personality.latency = Latency::of(SLOW));
    let (etcd, api_server) = (control_plane.etcd(), control_plane.api_server());
    let outages: [(Met, &[&Component]); 4] = [
        (Met::BeforeTheCall, &[api_server]),
        (Met::InMidCall, &[api_server]),
        (Met::InMidCall, &[etcd]),
        (Met::InMidCall, &[etcd, api_server]),
    ];
    for (met, killed) in outages {
        let first = stage.ready().await;
        let renewals = stage.counts().refreshes_accepted + 1;
        if met == Met::BeforeTheCall {
            kill(killed).await;
        }
        wait::until("a renewal in flight", LIMIT, async || stage.counts().refreshes_accepted == renewals)
            .await;
        if met == Met::InMidCall {
            kill(killed).await;
        }
        until_obtained(&stage, renewals).await;
        for part in killed {
            part.start().unwrap();
        }
        control_plane.ready().await.unwrap();
        stage.renewed(token_status(&first)).await;
        stage.until_correct(NAME).await;
    }
    assert_eq!(stage.counts().logins_accepted, 1);
    assert_each_was_due(&stage.tokens(|_| true), LIFETIME / 2, &[]);
}

async fn kill(parts: &[&Component]) {
    for part in parts {
        part.kill().await.unwrap();
    }
}

/// Waits until the operator has the answers to so many refreshes.
async fn until_obtained(stage: &Stage, refreshes: u64) {
    let answered =
        format!(r#"idissuer_issuer_requests_total{{operation="refresh",outcome="ok"}} {refreshes}"#);
    wait::until("the answer of the issuer", LIMIT, async || {
        let (_, metrics) = stage.operator.page("/metrics").await;
        metrics.lines().any(|line| line == answered)
    })
    .await;
}

#[tokio::test]
async fn a_login_is_not_repeated_because_the_api_server_was_away_for_a_while() {
    let control_plane = AT_REST.control_plane().await.unwrap();
    let stage = start(control_plane, "outage-rest", HOUR).await;
    let token = text(&stage.target().await, "token");
    for _ in 0..2 {
        control_plane.api_server().kill().await.unwrap();
        control_plane.etcd().kill().await.unwrap();
        control_plane.etcd().start().unwrap();
        control_plane.api_server().start().unwrap();
        control_plane.ready().await.unwrap();
    }
    stage.edit_target(json!({"metadata": {"labels": null}})).await;
    stage.target_until("its repair", |target| target.metadata.labels.is_some()).await;
    stage.until_correct(NAME).await;
    assert_eq!(text(&stage.target().await, "token"), token);
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
#[ignore = "takes two minutes: make full runs it"]
async fn a_minute_without_an_api_server_costs_no_login_and_renewals_go_on_where_they_were() {
    let control_plane = FOR_A_MINUTE.control_plane().await.unwrap();
    let stage = start(control_plane, "outage-minute", Duration::from_secs(30)).await;
    control_plane.api_server().kill().await.unwrap();
    // Not to be awaited: it is the time itself that is tried.
    tokio::time::sleep(Duration::from_secs(60)).await;
    control_plane.api_server().start().unwrap();
    control_plane.ready().await.unwrap();
    let back = tokio::time::Instant::now();

    stage.until_correct(NAME).await;
    // Of 30 s, two minutes are twelve seconds: by then a valid token has to stand there.
    assert!(back.elapsed() < Duration::from_secs(12), "only after {:?}", back.elapsed());
    let reader = Reader::start(&stage);
    let first = stage.ready().await;
    let second = stage.renewed(token_status(&first)).await;
    stage.renewed(token_status(&second)).await;
    stage.until_correct(NAME).await;
    reader.stop().await;
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refresh_tokens_reused), (1, 0), "{counts:?}");
    // One token is held while it lives, and no other asked for.
    assert!(counts.refreshes_accepted <= 4 + 3, "{counts:?}");
}
