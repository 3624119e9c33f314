//! Several replicas: one acts, and another takes over.

use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::Config;
use idissuer_testbed::process::Signal;
use idissuer_testbed::{Mark, wait};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use serde_json::json;

use crate::operator::{HOUR, LIMIT, NAME, Operator, Stage, issuer, stays, text, token_status};

/// The lease of these tests lies in the test's own namespace and is short.
const SHORT_LEASE: [&str; 7] = [
    "--leader-elect",
    "--lease-duration-seconds",
    "4",
    "--lease-renew-deadline-seconds",
    "3",
    "--lease-retry-period-seconds",
    "1",
];

/// Tokens that are renewed after about ten seconds.
const ROTATING: Duration = Duration::from_secs(20);

/// A stage with a leader and a standby.
pub(crate) async fn set_with_standby(name: &str, issuer: Config) -> (Stage, Operator) {
    let stage = Stage::start_with(name, issuer, |operator, _| {
        let namespace = operator.arguments[2].clone();
        operator.arguments.extend(SHORT_LEASE.map(str::to_owned));
        operator.arguments.extend(["--lease-namespace".into(), namespace]);
    })
    .await;
    until_leading(&stage.operator).await;
    let mut standby = stage.prepare_replica("standby");
    standby.start(stage.control_plane).await;
    standby.until_ready().await;
    (stage, standby)
}

/// The same, with a published token of this lifetime.
async fn set_with_token(name: &str, lifetime: Duration) -> (Stage, Operator) {
    let (stage, standby) = set_with_standby(name, issuer(lifetime)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    (stage, standby)
}

async fn holder(stage: &Stage) -> Option<String> {
    let leases = stage.namespace.api::<Lease>().list(&kube::api::ListParams::default()).await.unwrap();
    let lease = leases.items.into_iter().find(|lease| lease.name_any().starts_with("idissuer-operator-"))?;
    lease.spec?.holder_identity
}

async fn until_leading(operator: &Operator) {
    wait::until("leadership", LIMIT, async || operator.output().contains("leading")).await;
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_at_once_and_no_issuer_is_asked() {
    let (mut stage, standby) = set_with_token("lead-handover", HOUR).await;
    let token = text(&stage.target().await, "token");
    let first = holder(&stage).await;
    stage.operator.stop().await;
    let stopped = tokio::time::Instant::now();
    until_leading(&standby).await;
    assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
    assert_ne!(holder(&stage).await, first);

    // It works: an edit is repaired, with the token that stands there.
    stage.edit_target(json!({"metadata": {"labels": null}})).await;
    stage.target_until("its label", |target| target.metadata.labels.is_some()).await;
    stage.until_correct(NAME).await;
    assert_eq!(text(&stage.target().await, "token"), token);
    assert_eq!(stage.issuer_calls(), 1);
    // Its list has shown that the watch is not behind.
    let requests = standby.requests_since(stage.control_plane, Mark::START);
    assert_eq!(requests.get("list idissuercredentials"), Some(&3), "{requests:?}");
    assert_eq!(requests.get("get idissuercredentials"), None, "{requests:?}");
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_once_its_lease_has_run_out() {
    let (mut stage, standby) = set_with_token("lead-death", ROTATING).await;
    let issued = stage.ready().await;
    stage.operator.take_process().kill().await.unwrap();
    until_leading(&standby).await;
    let renewed = stage.renewed(token_status(&issued)).await;
    assert!(
        token_status(&renewed).issued_time.0 >= token_status(&issued).renewal_time.0,
        "a fresh token stays until its renewal is due"
    );
    stage.until_correct(NAME).await;
    assert_eq!(stage.counts().logins_accepted, 2);
}

#[tokio::test]
async fn a_standby_watches_and_writes_nothing() {
    let (stage, standby) = set_with_token("lead-standby", ROTATING).await;
    let issued = stage.ready().await;
    stage.renewed(token_status(&issued)).await;
    let requests = stage.control_plane.audit().of_user_since(&standby.user, Mark::START).unwrap();
    let written: Vec<_> = requests
        .iter()
        .filter(|request| !["get", "list", "watch"].contains(&request.verb.as_str()))
        .collect();
    assert!(written.is_empty(), "{written:#?}");
}

#[tokio::test]
async fn a_leader_that_was_paused_past_its_lease_writes_nothing_over_its_successor() {
    let (stage, standby) = set_with_token("lead-pause", ROTATING).await;
    let issued = stage.ready().await;
    let paused = stage.operator.process();
    paused.signal(Signal::Stop).unwrap();
    until_leading(&standby).await;
    let published = stage.renewed(token_status(&issued)).await;
    let calls = stage.issuer_calls();
    paused.signal(Signal::Continue).unwrap();
    let fingerprint = token_status(&published).fingerprint.clone();
    stays("the successor's token", Duration::from_secs(3), async || {
        let target = stage.target().await;
        target.annotations().get("idissuer.pl/fingerprint") == Some(&fingerprint)
    })
    .await;
    stage.until_correct(NAME).await;
    assert_eq!(stage.issuer_calls(), calls);
    assert_ne!(holder(&stage).await, None);
}

#[tokio::test]
async fn a_namespace_that_changes_hands_keeps_its_tokens() {
    let mut stage = Stage::start_with("lead-split", issuer(HOUR), |operator, _| {
        let namespace = operator.arguments[2].clone();
        operator.arguments.extend(["--leader-elect".into(), "--lease-namespace".into(), namespace]);
    })
    .await;
    stage.apply(json!({})).await;
    let controller = |credential: &IdIssuerCredential| credential.status.as_ref()?.controller.clone();
    let first = controller(&stage.ready().await);
    let token = text(&stage.target().await, "token");
    let one_set = stage.operator.page("/readyz").await.1;
    stage.operator.stop().await;

    // From now on another controller works there, for a larger set, under a lease of its own.
    let mut other = stage.prepare_replica("other");
    other.arguments.extend(["--namespace".into(), "default".into()]);
    other.start(stage.control_plane).await;
    other.until_ready().await;
    until_leading(&other).await;
    let larger_set = other.page("/readyz").await.1;
    assert!(larger_set.contains(&format!("namespaces: default,{}", stage.namespace.name())), "{larger_set}");
    let lease = |page: &str| page.lines().find(|line| line.starts_with("lease: ")).map(str::to_owned);
    assert_ne!(lease(&one_set), lease(&larger_set));
    // It asks whether the first one lives, which takes up to half a minute.
    let has_changed_hands = |credential: &IdIssuerCredential| controller(credential) != first;
    wait::object(&stage.credentials(), NAME, "another controller", 2 * LIMIT, has_changed_hands).await;
    stage.edit_target(json!({"metadata": {"labels": null}})).await;
    stage.target_until("its label", |target| target.metadata.labels.is_some()).await;
    assert_eq!(text(&stage.target().await, "token"), token);
    assert_eq!(stage.issuer_calls(), 1);
}
