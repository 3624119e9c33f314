//! Issuers that fail, are misconfigured, or are not allowed.

use std::time::Duration;

use idissuer::api::{Grant, IdIssuerCredential};
use idissuer_simulator::{Calls, Config, Fault, FaultRule, Server, Simulator, Tls, User};
use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Patch;
use serde_json::{Value, json};

use crate::operator::{
    HOUR, LIMIT, NAME, Stage, USER, condition, holds, issuer, parameters, text, token_status,
};

/// Long enough for failures to be seen before the first of these tokens dies.
const LIFETIME: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_issuer_that_is_down_is_asked_again_the_old_token_stays_and_all_is_well_once_it_is_back() {
    let stage = Stage::start("down", issuer(LIFETIME)).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    let target = stage.target().await;
    stage.issuer.inject(FaultRule::new(Fault::status(503)));
    let failing = stage.until(NAME, "failures", |credential| {
        let failures = credential.status.as_ref().and_then(|status| status.failures.as_ref());
        failures.is_some_and(|failures| failures.reason == "IssuerUnavailable")
    });
    let failing = failing.await;
    let failures = failing.status.as_ref().unwrap().failures.as_ref().unwrap();
    assert!(failures.next_attempt_time.is_some());
    assert!(holds(&failing, "Ready", "True", "TokenPublished"));
    assert!(condition(&failing, "Stalled").is_none(), "nobody can do anything about it here");
    // Each try is a call, and each pause longer than the last.
    stage.issuer.wait_for(|counts| counts.total().faults >= 3).await;
    assert_eq!(stage.target().await, target);

    stage.issuer.configure(|personality| personality.faults.clear());
    let second = stage.renewed(token_status(&first)).await;
    assert_eq!(second.status.as_ref().unwrap().failures, None);
    assert!(second.status.as_ref().unwrap().token.is_some());
    assert_eq!(stage.present(&text(&stage.target().await, "token")).await, 200);
    assert_eq!(stage.counts().refresh_tokens_reused, 0);
}

#[tokio::test]
async fn after_a_refresh_whose_answer_was_lost_the_refresh_token_is_never_presented_again() {
    let stage = Stage::start("lost", issuer(LIFETIME)).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    stage.issuer.inject(FaultRule::on_refresh(Fault::Lost).once());
    let second = stage.renewed(token_status(&first)).await;
    assert_eq!(token_status(&second).grant, Grant::Login);
    let third = stage.renewed(token_status(&second)).await;
    assert_eq!(token_status(&third).grant, Grant::Refresh);
    assert_eq!(stage.counts().refresh_tokens_reused, 0);
    assert_eq!(stage.counts().faults, 1);
}

#[tokio::test]
async fn a_first_login_whose_answer_is_lost_is_tried_again() {
    let stage = Stage::start("first-failures", issuer(HOUR)).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Lost).once());
    stage.apply(json!({})).await;
    let failing = stage
        .until(NAME, "the failure", |credential| holds(credential, "Ready", "False", "IssuerUnreachable"));
    let failing = failing.await;
    assert!(condition(&failing, "Reconciling").is_some());
    stage.ready().await;
    assert_eq!((stage.counts().faults, stage.counts().logins_accepted), (1, 2));
}

#[tokio::test]
async fn an_issuer_that_is_not_allowed_gets_no_call() {
    let stage = Stage::start("not-allowed", issuer(HOUR)).await;
    let other = Simulator::start(issuer(HOUR)).await.unwrap();
    stage.apply(json!({"issuer": {"url": other.url()}})).await;
    let message = stage.until_condition("Ready", "False", "IssuerNotAllowed").await;
    assert!(message.contains(&other.url()), "{message}");
    stage.until_condition("Stalled", "True", "IssuerNotAllowed").await;
    assert!(other.calls_since(0).is_empty() && stage.issuer.calls_since(0).is_empty());

    stage.apply(json!({})).await;
    stage.ready().await;
    assert!(other.calls_since(0).is_empty());
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_is_reported() {
    let elsewhere = Simulator::start(issuer(HOUR)).await.unwrap();
    let stage = Stage::start("redirect", issuer(HOUR)).await;
    let location = format!("{}/v2/auth/token", elsewhere.url());
    stage.issuer.inject(FaultRule::on_login(Fault::Redirect { status: 307, location }));
    stage.apply(json!({})).await;
    stage.until_condition("Ready", "False", "IssuerMisconfigured").await;
    stage.until_condition("Stalled", "True", "IssuerMisconfigured").await;
    assert!(elsewhere.calls_since(0).is_empty());

    // For a login that was never accepted this counts as a rejection, until a renewal is requested.
    stage.issuer.configure(|personality| personality.faults.clear());
    stage.request_renewal("corrected").await;
    let ready = stage.ready().await;
    assert!(condition(&ready, "Stalled").is_none());
}

#[tokio::test]
async fn a_wrong_path_and_an_unusable_answer_are_reported() {
    let stage = Stage::start("misconfigured", issuer(HOUR)).await;
    stage.apply(json!({"issuer": {"tokenPath": "/v1/login"}})).await;
    let message = stage.until_condition("Stalled", "True", "IssuerMisconfigured").await;
    assert!(message.contains("tokenPath"), "{message}");
    stage.apply(json!({})).await;
    stage.ready().await;

    let rule = FaultRule { on: Calls::Both, ..FaultRule::new(Fault::Garbage) };
    stage.issuer.inject(rule);
    stage.apply_as("other", json!({"issuer": {"refreshPath": "/v2/other"}})).await;
    stage
        .until("other", "its answer refused", |it| holds(it, "Stalled", "True", "IssuerResponseInvalid"))
        .await;
}

/// An https issuer beside the one that the operator has by default, which it may use too.
async fn https_stage(name: &str) -> (Stage, Server) {
    let config = || -> Config { issuer(HOUR).tls(Tls::localhost()) };
    let issuer_over_https = Simulator::start(config()).await.unwrap();
    let allowed = ["--allow-issuer".to_owned(), issuer_over_https.url()];
    let stage = Stage::start_with(name, issuer(HOUR), |operator, _| operator.arguments.extend(allowed)).await;
    (stage, issuer_over_https)
}

fn trusting(issuer: &Server, kind: &str) -> Value {
    let reference = json!({"kind": kind, "name": "issuer-ca", "key": "ca.crt"});
    json!({"issuer": {"url": issuer.url(), "caBundleRef": reference}})
}

async fn write_bundle(stage: &Stage, pem: &str) {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "issuer-ca"}, "data": {"ca.crt": pem},
    });
    let maps = stage.namespace.api::<ConfigMap>();
    maps.patch("issuer-ca", &parameters(), &Patch::Apply(map)).await.unwrap();
}

#[tokio::test]
async fn a_config_map_makes_a_private_ca_trusted_and_correcting_a_wrong_bundle_works() {
    let (stage, issuer_over_https) = https_stage("ca-config-map").await;
    let stranger = Simulator::start(Config::default().tls(Tls::localhost())).await.unwrap();
    write_bundle(&stage, stranger.ca_pem().unwrap()).await;
    stage.apply(trusting(&issuer_over_https, "ConfigMap")).await;
    let message = stage.until_condition("Ready", "False", "IssuerCertificateUntrusted").await;
    assert!(message.contains("caBundleRef"), "{message}");
    assert!(issuer_over_https.calls_since(0).is_empty());

    write_bundle(&stage, issuer_over_https.ca_pem().unwrap()).await;
    stage.ready().await;
    assert_eq!(issuer_over_https.counts().total().logins_accepted, 1);
    assert!(stage.issuer.calls_since(0).is_empty());
}

#[tokio::test]
async fn a_bundle_in_a_secret_is_taken_as_soon_as_it_is_there() {
    let (stage, issuer_over_https) = https_stage("ca-secret").await;
    stage.apply(trusting(&issuer_over_https, "Secret")).await;
    let message = stage.until_condition("Ready", "False", "CaBundleMissing").await;
    assert!(message.contains("issuer-ca"), "{message}");
    stage.until_condition("Stalled", "True", "CaBundleMissing").await;
    stage.write_secret("issuer-ca", &[("tls.crt", b"elsewhere")]).await;
    let message = stage.until_condition("Ready", "False", "CaBundleKeyMissing").await;
    assert!(message.contains("has no key ca.crt"), "{message}");
    let pem = issuer_over_https.ca_pem().unwrap().as_bytes().to_vec();
    stage.write_secret("issuer-ca", &[("ca.crt", b"not a certificate")]).await;
    stage.until_condition("Ready", "False", "CaBundleInvalid").await;
    stage.write_secret("issuer-ca", &[("ca.crt", &pem)]).await;
    stage.ready().await;
}

#[tokio::test]
async fn a_login_that_one_issuer_accepted_was_never_accepted_by_another() {
    let (stage, other) = https_stage("other-issuer").await;
    other.set_user(&User::new(USER, "another-password"));
    let login = |credential: &IdIssuerCredential| credential.status.as_ref()?.login.clone();
    stage.apply(json!({})).await;
    assert!(login(&stage.ready().await).unwrap().accepted_time.is_some());
    stage.apply(trusting(&other, "Secret")).await;
    stage.until_condition("Stalled", "True", "CaBundleMissing").await;
    let waiting =
        stage.until(NAME, "no accepted login", |it| login(it).is_some_and(|it| it.accepted_time.is_none()));
    assert_eq!(login(&waiting.await).unwrap().rejections, 0);

    let pem = other.ca_pem().unwrap().as_bytes().to_vec();
    stage.write_secret("issuer-ca", &[("ca.crt", &pem)]).await;
    let rejected =
        stage.until(NAME, "its rejection", |it| holds(it, "LoginAccepted", "False", "LoginRejected"));
    let login = login(&rejected.await).unwrap();
    assert_eq!((login.accepted_time, login.rejections), (None, 1));
}

#[tokio::test]
async fn without_a_bundle_a_private_authority_is_not_trusted() {
    let (stage, issuer_over_https) = https_stage("no-ca").await;
    stage.apply(json!({"issuer": {"url": issuer_over_https.url()}})).await;
    stage.until_condition("Ready", "False", "IssuerCertificateUntrusted").await;
    assert!(issuer_over_https.calls_since(0).is_empty());
    wait::until("a second try", LIMIT, async || {
        let (_, metrics) = stage.operator.page("/metrics").await;
        let line = metrics.lines().find(|line| line.starts_with("idissuer_issuer_requests_total"));
        line.is_some_and(|line| !line.ends_with(" 1")).then_some(()).ok_or(metrics)
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_the_operator_is_started_with_is_trusted_where_no_bundle_is_named() {
    let issuer_over_https = Simulator::start(issuer(HOUR).tls(Tls::localhost())).await.unwrap();
    let folder = idissuer_testbed::process::WorkFolder::create().unwrap();
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, issuer_over_https.ca_pem().unwrap()).unwrap();
    let stage = Stage::start_with("ca-file", issuer(HOUR), |operator, _| {
        operator.arguments.extend(["--allow-issuer".to_owned(), issuer_over_https.url()]);
        operator.environment.push(("SSL_CERT_FILE", file.into()));
    })
    .await;
    stage.apply(json!({"issuer": {"url": issuer_over_https.url()}})).await;
    stage.ready().await;
    assert_eq!(issuer_over_https.counts().total().logins_accepted, 1);
}
