//! How often a wrong password is presented: by many credentials, across restarts, on request.

use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_testbed::{TestNamespace, wait};
use kube::api::ListParams;
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{HOUR, LIMIT, LOGIN, NAME, PASSWORD, Stage, USER, apply_in, holds, issuer, stays};

/// What does not happen within this time does not happen soon.
const SOON: Duration = Duration::from_secs(2);

fn is_rejected(credential: &IdIssuerCredential) -> bool {
    holds(credential, "Stalled", "True", "LoginRejected")
}

async fn until_rejected(stage: &Stage, count: usize) {
    wait::until("all to be told", LIMIT, async || {
        let list = stage.credentials().list(&ListParams::default()).await.unwrap();
        list.items.iter().filter(|it| is_rejected(it)).count() == count
    })
    .await;
}

#[tokio::test]
async fn ten_credentials_of_a_rejected_account_make_one_attempt_and_none_after_a_restart() {
    let mut stage = Stage::start("ten-bad", issuer(HOUR)).await;
    stage.write_login(USER, "wrong").await;
    for number in 0..10 {
        stage.apply_as(&format!("credential-{number}"), json!({})).await;
    }
    until_rejected(&stage, 10).await;
    stays("one attempt", SOON, async || stage.counts().logins_rejected == 1).await;

    stage.operator.stop().await;
    // Applied while no operator runs: it has no status, but those of the others record that the account is held.
    stage.apply_as("a-new-one", json!({})).await;
    stage.operator.start(stage.control_plane).await;
    stage.operator.until_ready().await;
    until_rejected(&stage, 11).await;
    stays("one attempt", SOON, async || stage.counts().logins_rejected == 1).await;
}

#[tokio::test]
async fn ever_new_wrong_passwords_are_presented_four_times_an_hour_also_across_restarts() {
    let mut stage = Stage::start("guesses", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    for (guess, rejected) in [1, 2, 3, 4].into_iter().zip(1_u64..) {
        stage.write_login(USER, &format!("guess {guess}")).await;
        wait::until("its rejection", LIMIT, async || stage.counts().logins_rejected == rejected).await;
    }
    stage.write_login(USER, "guess 5").await;
    let message = stage.until_condition("Stalled", "True", "LoginRateLimited").await;
    assert!(message.contains(LOGIN), "{message}");
    assert!(holds(&stage.credentials().get(NAME).await.unwrap(), "Ready", "True", "TokenPublished"));
    stays("four attempts", SOON, async || stage.counts().logins_rejected == 4).await;
    stage.restart_operator().await;
    stage.until_condition("Stalled", "True", "LoginRateLimited").await;
    stays("four attempts", SOON, async || stage.counts().logins_rejected == 4).await;

    assert!(holds(&stage.credentials().get(NAME).await.unwrap(), "Ready", "True", "TokenPublished"));
}

#[tokio::test]
async fn a_login_secret_that_was_edited_while_no_operator_ran_gets_one_attempt() {
    let mut stage = Stage::start("edited-bad", issuer(HOUR)).await;
    stage.write_login(USER, "wrong").await;
    stage.apply(json!({})).await;
    stage.until_condition("Stalled", "True", "LoginRejected").await;
    for rejections in 2..=3 {
        stage.operator.stop().await;
        stage.write_login(USER, &format!("wrong {rejections}")).await;
        stage.operator.start(stage.control_plane).await;
        let recorded = |it: &IdIssuerCredential| {
            let login = it.status.as_ref().and_then(|status| status.login.as_ref());
            is_rejected(it) && login.is_some_and(|login| login.rejections == rejections)
        };
        stage.until(NAME, "its rejection", recorded).await;
        let rejected = u64::try_from(rejections).unwrap();
        wait::until("the attempt", LIMIT, async || stage.counts().logins_rejected >= rejected).await;
        stays("one attempt each", SOON, async || stage.counts().logins_rejected == rejected).await;
    }
    stage.operator.stop().await;
    stage.write_login(USER, PASSWORD).await;
    stage.operator.start(stage.control_plane).await;
    stage.ready().await;
}

#[tokio::test]
async fn what_one_namespace_gets_rejected_holds_nothing_in_another() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let neighbour = TestNamespace::create(control_plane, "victim").await.unwrap();
    let arguments = ["--namespace".to_owned(), neighbour.name().to_owned()];
    let stage =
        Stage::start_with("attacker", issuer(HOUR), |operator, _| operator.arguments.extend(arguments)).await;
    for guess in 0..6 {
        stage
            .write_secret(
                &format!("guess-{guess}"),
                &[("username", USER.as_bytes()), ("password", format!("guess {guess}").as_bytes())],
            )
            .await;
        stage.apply_as(&format!("guess-{guess}"), json!({"loginSecretRef": {"name": format!("guess-{guess}")}, "target": {"secretName": format!("target-{guess}")}})).await;
    }
    wait::until("four rejections", LIMIT, async || stage.counts().logins_rejected == 4).await;
    let there = apply_in(&neighbour, "mine", USER, PASSWORD).await;
    let ready = |it: &IdIssuerCredential| holds(it, "Ready", "True", "TokenPublished");
    wait::object(&there, "mine", "Ready", LIMIT, ready).await;
    assert_eq!(stage.counts().logins_rejected, 4);
}
