//! Restarts: what the operator remembers, which calls it does not repeat, and the admin endpoints.

use std::time::Duration;

use futures::future::join_all;
use idissuer::api::{Grant, IdIssuerCredential};
use idissuer_simulator::{DurationRange, Fault, FaultRule};
use idissuer_testbed::process::Signal;
use idissuer_testbed::prometheus::{check_metrics, promtool};
use idissuer_testbed::{skip, wait};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, NAME, Stage, holds, issuer, keys, stays, text, token_status};

#[tokio::test]
async fn a_restart_with_a_fresh_token_asks_nothing_and_renews_when_the_status_says() {
    let mut stage = Stage::start("restart", issuer(Duration::from_secs(40))).await;
    stage.apply(json!({})).await;
    let before = stage.ready().await;
    let token = text(&stage.target().await, "token");
    let last_call = stage.issuer.calls_since(0).last().unwrap().sequence;
    stage.operator.stop().await;
    let mark = stage.mark().await;
    stage.operator.start(stage.control_plane).await;
    stage.operator.until_ready().await;

    let renewal = stage.issuer.calls_after(last_call).await.remove(0);
    let due = token_status(&before).renewal_time.0;
    assert!(renewal.at >= due, "called at {}, but the renewal was due at {due}", renewal.at);
    assert!(renewal.at.duration_since(due).as_secs() < 3, "called at {}, and due at {due}", renewal.at);
    let after = stage.renewed(token_status(&before)).await;
    assert_eq!(token_status(&after).grant, Grant::Login, "refresh tokens are not written down");
    assert_ne!(text(&stage.target().await, "token"), token);
    let mut requests = stage.control_plane.audit().of_user_since(&stage.operator.user, mark).unwrap();
    requests.retain(|request| request.resource != "leases");
    assert!(!requests.iter().any(|request| request.verb == "get" && request.name == NAME), "{requests:#?}");
    assert!(
        !requests.iter().any(|request| request.timestamp < due && request.verb == "patch"),
        "{requests:#?}"
    );
}

#[tokio::test]
async fn after_a_restart_an_edited_target_is_repaired_from_itself_and_a_deleted_one_by_a_login() {
    let mut stage = Stage::start("restart-repair", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let original = stage.target().await;
    stage.operator.stop().await;
    stage.edit_target(json!({"metadata": {"labels": null, "annotations": null}})).await;
    stage.operator.start(stage.control_plane).await;
    let repaired = stage.target_until("its labels", |target| target.metadata.labels.is_some()).await;
    assert_eq!(
        (&repaired.data, &repaired.metadata.annotations),
        (&original.data, &original.metadata.annotations)
    );
    assert_eq!(stage.issuer_calls(), 1, "the token was found in the target");

    stage.ready().await;
    stage.operator.stop().await;
    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    stage.operator.start(stage.control_plane).await;
    let again =
        stage.target_until("another target", |target| target.metadata.uid != original.metadata.uid).await;
    assert_ne!(again.data, original.data);
    assert_eq!(stage.present(&text(&again, "token")).await, 200);
    assert_eq!(stage.issuer_calls(), 2);
}

#[tokio::test]
async fn a_specification_that_changed_while_no_operator_ran_is_carried_out_after_the_start() {
    let mut stage = Stage::start("restart-changed", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    stage.operator.stop().await;
    stage.apply(json!({"target": {"template": {"data": {"bearer": "{{ token }}"}}}})).await;
    stage.operator.start(stage.control_plane).await;
    stage.ready().await;
    let target = stage.target().await;
    assert_eq!(keys(&target), ["bearer"]);
    assert_eq!(stage.present(&text(&target, "bearer")).await, 200);
    // Whether the token is one of the account that the specification now names, no record says: a login makes sure.
    assert_eq!((stage.counts().logins_accepted, stage.counts().logins_rejected), (2, 0));
}

#[tokio::test]
async fn a_lost_status_costs_one_login_and_the_target_is_known_by_its_annotation() {
    let mut stage = Stage::start("lost-status", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let target = stage.target().await;
    stage.operator.stop().await;
    let nothing = Patch::Merge(json!({"status": null}));
    stage.credentials().patch_status(NAME, &PatchParams::default(), &nothing).await.unwrap();
    stage.operator.start(stage.control_plane).await;
    stage.ready().await;
    let again = stage.target().await;
    assert_eq!(again.metadata.uid, target.metadata.uid);
    assert_eq!(stage.present(&text(&again, "token")).await, 200);
    assert_eq!(stage.issuer_calls(), 2);
}

#[tokio::test]
async fn a_held_login_stays_held_after_a_restart() {
    let mut stage = Stage::start("restart-held", issuer(HOUR)).await;
    stage.write_login("shop@example.org", "wrong").await;
    stage.apply(json!({})).await;
    stage.until_condition("Ready", "False", "LoginRejected").await;
    stage.restart_operator().await;
    stays("one rejected attempt", Duration::from_secs(2), async || stage.counts().logins_rejected == 1).await;
    let status = stage.credentials().get(NAME).await.unwrap();
    assert!(holds(&status, "Ready", "False", "LoginRejected"), "{:#?}", status.status);
    assert_eq!(status.status.unwrap().login.unwrap().rejections, 1);
    stage.write_login(crate::operator::USER, crate::operator::PASSWORD).await;
    stage.ready().await;
}

#[tokio::test]
async fn a_call_that_hangs_does_not_keep_the_operator_from_ending_within_five_seconds() {
    let mut stage = Stage::start("hanging", issuer(HOUR)).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Hang));
    stage.apply(json!({})).await;
    stage.issuer.calls_after(0).await;
    stage.operator.stop().await;
}

#[tokio::test]
async fn a_token_that_comes_while_the_operator_stops_is_published_and_the_next_one_asks_nothing() {
    let mut stage = Stage::start("stopping", issuer(HOUR)).await;
    let slow = DurationRange::fixed(Duration::from_millis(1_500));
    stage.issuer.configure(|personality| personality.latency.login = slow);
    stage.apply(json!({})).await;
    stage.issuer.calls_after(0).await;
    stage.operator.stop().await;
    assert_eq!(stage.present(&text(&stage.target().await, "token")).await, 200);
    stage.operator.start(stage.control_plane).await;
    stage.operator.until_ready().await;
    let status = stage.ready().await.status.unwrap();
    assert_eq!(status.login.unwrap().rejections, 0);
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_login_that_had_no_turn_before_the_operator_stopped_waits_for_nothing_at_the_next_start() {
    let mut stage = Stage::start("no-turn", issuer(HOUR)).await;
    // Ten first issues of a namespace are let through at once; the others wait for their turn.
    stage.issuer.inject(FaultRule::on_login(Fault::Hang).times(10));
    let names: Vec<String> = (0..12).map(|number| format!("user-{number}")).collect();
    // All at once, so that no call is given up before the last is there.
    join_all(names.iter().map(|name| stage.add_account(name, json!({})))).await;
    wait::until("ten calls", LIMIT, async || stage.issuer.calls_since(0).len() == 10).await;
    let recorded = async || {
        let list = stage.credentials().list(&ListParams::default()).await.unwrap();
        list.items.iter().filter(|it| it.status.as_ref().is_some_and(|status| status.login.is_some())).count()
    };
    wait::until("the attempts of these recorded", LIMIT, async || recorded().await == 10).await;
    stage.operator.stop().await;
    stage.operator.start(stage.control_plane).await;
    let is_ready = |it: &IdIssuerCredential| holds(it, "Ready", "True", "TokenPublished");
    wait::until("two that are ready", LIMIT, async || {
        let list = stage.credentials().list(&ListParams::default()).await.unwrap();
        list.items.iter().filter(|it| is_ready(it)).count() == 2
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_ends_the_operator_at_once() {
    let mut stage = Stage::start("second-signal", issuer(HOUR)).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Hang));
    stage.apply(json!({})).await;
    stage.issuer.calls_after(0).await;
    let process = stage.operator.take_process();
    process.signal(Signal::Terminate).unwrap();
    wait::until("the first to be told", LIMIT, async || process.output().contains("a second signal")).await;
    process.signal(Signal::Interrupt).unwrap();
    assert_eq!(process.wait_timeout(Duration::from_secs(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn the_admin_pages_tell_that_it_lives_is_ready_and_what_it_did() {
    let stage = Stage::start("admin", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    let ready = stage.ready().await;
    stage.write_secret("other-login", &[("username", b"nobody"), ("password", b"nothing")]).await;
    stage.apply_as("held", json!({"loginSecretRef": {"name": "other-login"}})).await;
    stage.until("held", "its rejection", |held| holds(held, "Ready", "False", "LoginRejected")).await;

    assert_eq!(stage.operator.page("/livez").await, (200, "ok\n".to_owned()));
    let facts = format!("ok\nnamespaces: {}\nlease: none\n", stage.namespace.name());
    assert_eq!(stage.operator.page("/readyz").await, (200, facts));
    let (_, verbose) = stage.operator.page("/readyz?verbose").await;
    assert_eq!(verbose.lines().take(4).collect::<Vec<_>>(), ["ok", "crd: ok", "watches: ok", "rights: ok"]);
    assert_eq!(stage.operator.page("/elsewhere").await.0, 404);
    let (status, metrics) = stage.operator.page("/metrics").await;
    assert_eq!(status, 200);
    let labels = format!(r#"{{namespace="{}",name="{NAME}"}}"#, stage.namespace.name());
    let token = token_status(&ready);
    for line in [
        r#"idissuer_issuer_requests_total{operation="login",outcome="ok"} 1"#.to_owned(),
        r#"idissuer_issuer_requests_total{operation="login",outcome="rejected"} 1"#.to_owned(),
        r#"idissuer_issuer_request_duration_seconds_count{operation="login"} 2"#.to_owned(),
        r#"idissuer_renewals_total{grant="login",outcome="published"} 1"#.to_owned(),
        r#"idissuer_api_requests_total{verb="patch",resource="secrets",code="201"} 1"#.to_owned(),
        r#"idissuer_watch_events_total{resource="secrets",event="listed"} 1"#.to_owned(),
        "idissuer_token_publication_seconds_count 1".to_owned(),
        "idissuer_renewal_lateness_seconds_count 0".to_owned(),
        "idissuer_credentials_overdue 0".to_owned(),
        "idissuer_logins_held 0".to_owned(),
        r#"idissuer_credentials{condition="Ready",status="True"} 1"#.to_owned(),
        r#"idissuer_credentials{condition="Ready",status="False"} 1"#.to_owned(),
        r#"idissuer_credentials{condition="Stalled",status="True"} 1"#.to_owned(),
        format!(
            "idissuer_credential_expiration_timestamp_seconds{labels} {}",
            token.expiration_time.0.as_second()
        ),
        format!("idissuer_credential_renewal_timestamp_seconds{labels} {}", token.renewal_time.0.as_second()),
        format!(r#"idissuer_scope{{namespaces="{}",lease="none"}} 1"#, stage.namespace.name()),
        "idissuer_leading 1".to_owned(),
        "# TYPE idissuer_renewals_total counter".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
    }
    match promtool() {
        Some(promtool) => assert_eq!(check_metrics(&promtool, &metrics).unwrap(), ""),
        None => skip("there is no promtool: run `make tools`"),
    }
    stage.credentials().delete(NAME, &DeleteParams::default()).await.unwrap();
    wait::until("its metrics to go", LIMIT, async || !stage.operator.page("/metrics").await.1.contains(NAME))
        .await;
}
