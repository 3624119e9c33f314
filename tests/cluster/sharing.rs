//! Several credentials of one account, and several of several.

use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::User;
use idissuer_testbed::{TestNamespace, wait};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{
    HOUR, LIMIT, PASSWORD, Stage, USER, apply_in, credential, holds, issuer, parameters, stays, text,
    token_status,
};

#[tokio::test]
async fn one_account_in_two_namespaces_costs_one_login_and_one_refresh_for_all_its_credentials() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let neighbour = TestNamespace::create(control_plane, "neighbour").await.unwrap();
    let arguments = ["--namespace".to_owned(), neighbour.name().to_owned()];
    // The first refresh is counted before the second is due, on a busy machine too.
    let lifetime = Duration::from_secs(20);
    let stage =
        Stage::start_with("sharing", issuer(lifetime), |operator, _| operator.arguments.extend(arguments))
            .await;
    let there = apply_in(&neighbour, "third", USER, PASSWORD).await;
    for name in ["first", "second"] {
        stage.apply_as(name, json!({})).await;
    }
    let ready = |it: &IdIssuerCredential| holds(it, "Ready", "True", "TokenPublished");
    let first = stage.until("first", "Ready", ready).await;
    stage.until("second", "Ready", ready).await;
    wait::object(&there, "third", "Ready", LIMIT, ready).await;
    assert_eq!(stage.counts().logins_accepted, 1);

    stage.issuer.wait_for(|counts| counts.of(USER).refreshes_accepted == 1).await;
    let is_another =
        |it: &IdIssuerCredential| token_status(it).fingerprint != token_status(&first).fingerprint;
    let renewed = stage.until("first", "another token", is_another).await;
    let fingerprint = &token_status(&renewed).fingerprint;
    let is_same = |it: &IdIssuerCredential| token_status(it).fingerprint == *fingerprint;
    stage.until("second", "the same token", is_same).await;
    wait::object(&there, "third", "the same token", LIMIT, is_same).await;
    let token = text(&neighbour.api::<Secret>().get("third").await.unwrap(), "token");
    assert_eq!(stage.present(&token).await, 200);
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted, counts.in_flight_maximum), (1, 1, 1));
}

#[tokio::test]
async fn one_login_serves_a_new_credential_of_an_account_that_has_a_token_already() {
    let stage = Stage::start("joining", issuer(HOUR)).await;
    stage.apply_as("first", json!({})).await;
    let first = stage.ready_as("first").await;
    stage.apply_as("second", json!({"target": {"template": {"data": {"bearer": "{{ token }}"}}}})).await;
    let second = stage.ready_as("second").await;
    assert_eq!(token_status(&first).fingerprint, token_status(&second).fingerprint);
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn an_account_that_fails_holds_up_no_other() {
    let issuer = issuer(HOUR).user(User::new("good@example.org", "secret"));
    let stage = Stage::start("others", issuer).await;
    stage.write_login(USER, "wrong").await;
    stage.write_secret("good-login", &[("username", b"good@example.org"), ("password", b"secret")]).await;
    stage.apply_as("bad", json!({})).await;
    stage.apply_as("none", json!({"loginSecretRef": {"name": "nowhere"}})).await;
    stage.apply_as("good", json!({"loginSecretRef": {"name": "good-login"}})).await;
    stage.ready_as("good").await;
    stage.until("bad", "its rejection", |it| holds(it, "Ready", "False", "LoginRejected")).await;
    stage.until("none", "its defect", |it| holds(it, "Ready", "False", "LoginSecretMissing")).await;
}

#[tokio::test]
async fn credentials_in_other_namespaces_are_ignored() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let elsewhere = TestNamespace::create(control_plane, "elsewhere").await.unwrap();
    let stage = Stage::start("scope", issuer(HOUR)).await;
    let there: Api<IdIssuerCredential> = elsewhere.api();
    there.patch("stray", &parameters(), &Patch::Apply(credential("stray", json!({})))).await.unwrap();
    stage.apply(json!({})).await;
    stage.ready().await;
    stays("unseen", Duration::from_millis(500), async || there.get("stray").await.unwrap().status.is_none())
        .await;
}
