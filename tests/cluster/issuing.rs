//! From an applied resource to a Secret that holds a token.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer_simulator::Fingerprint;
use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::operator::{
    HOUR, LIMIT, LOGIN, NAME, PASSWORD, Stage, USER, condition, credential, holds, issuer, keys, stays, text,
    token_status,
};

#[tokio::test]
async fn an_applied_resource_becomes_a_secret_with_a_token_that_the_issuer_accepts() {
    let stage = Stage::start("first-login", issuer(HOUR)).await;
    let kubectl = stage.namespace.kubectl();
    let mark = stage.mark().await;
    let start = tokio::time::Instant::now();
    kubectl.apply(&credential(NAME, json!({})).to_string()).await.unwrap();
    let applied = start.elapsed();
    let target = wait::object(&stage.secrets(), NAME, "the target", LIMIT, |_| true).await;
    let elapsed = start.elapsed();
    eprintln!("from `kubectl apply` to the Secret: {elapsed:?}, of which kubectl itself took {applied:?}");
    kubectl.run(&["wait", "iic/billing", "--for=condition=Ready", "--timeout=20s"]).await.unwrap();

    assert_eq!(keys(&target), ["expires_at", "token"]);
    let token = text(&target, "token");
    assert_eq!(stage.present(&token).await, 200);
    let ready = stage.ready().await;
    let status = token_status(&ready);
    assert_eq!(text(&target, "expires_at"), status.expiration_time.0.to_string());
    assert_eq!(status.fingerprint, Fingerprint::of(&token).to_string());
    assert_eq!(target.metadata.labels.unwrap()["app.kubernetes.io/managed-by"], "idissuer-operator");
    assert!(holds(&ready, "LoginAccepted", "True", "LoginAccepted"));
    for absent in ["Reconciling", "Stalled", "RenewalOverdue"] {
        assert!(condition(&ready, absent).is_none(), "{absent}");
    }

    let table = kubectl.run(&["get", "iic"]).await.unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    let expires = status.expiration_time.0.to_string();
    assert_eq!(row[..5], [NAME, "True", "TokenPublished", NAME, expires.as_str()]);

    let requests = wait::until("the Event", LIMIT, async || {
        let requests = stage.requests_since(mark);
        requests.contains_key("create events").then_some(requests)
    });
    let requests = requests.await;
    assert_eq!(stage.event_reasons(NAME).await, ["TokenPublished"]);
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.logins_rejected, counts.refreshes_accepted), (1, 0, 0));
    eprintln!("requests of a first issue: {requests:?}");
    // The login Secret is read; the watch has shown that there is no target. One status tells of the attempt before it
    // is made, one of its success.
    let expected = [
        ("create events", 1),
        ("get secrets", 1),
        ("patch secrets", 1),
        ("update idissuercredentials/status", 2),
    ];
    let expected = expected.map(|(request, number)| (request.to_owned(), number));
    assert_eq!(requests, expected.into());
}

#[tokio::test]
async fn a_template_lays_out_the_keys_the_type_and_the_metadata_of_the_target() {
    let allow = ["--allow-secret-type=example.org/token", "--allow-metadata-domain=example.org"];
    let stage = Stage::start_with("template", issuer(HOUR), |operator, _| {
        operator.arguments.extend(allow.map(str::to_owned));
    })
    .await;
    let template = json!({
        "type": "example.org/token",
        "metadata": {"labels": {"team": "shop"}, "annotations": {"example.org/contact": "shop@example.org"}},
        "data": {
            "authorization": "Bearer {{ token }}",
            "token.json": r#"{"token": {{ token | tojson }}, "expires": {{ expires_at | tojson }}, "in": {{ expires_in }}}"#,
            "encoded": "{{ token | b64encode }}",
            "origin": "{{ namespace }}/{{ name }}",
        },
    });
    stage.apply(json!({"target": {"secretName": "front", "template": template}})).await;
    let ready = stage.ready().await;
    let target = stage.secrets().get("front").await.unwrap();

    assert_eq!(keys(&target), ["authorization", "encoded", "origin", "token.json"]);
    let authorization = text(&target, "authorization");
    let token = authorization.strip_prefix("Bearer ").unwrap();
    assert_eq!(stage.present(token).await, 200);
    let document: Value = serde_json::from_str(&text(&target, "token.json")).unwrap();
    let expires = token_status(&ready).expiration_time.0.to_string();
    assert_eq!(document, json!({"token": token, "expires": expires, "in": 3600}));
    assert_eq!(text(&target, "encoded"), STANDARD.encode(token));
    assert_eq!(text(&target, "origin"), format!("{}/{NAME}", stage.namespace.name()));
    assert_eq!(target.type_.as_deref(), Some("example.org/token"));
    assert_eq!(target.metadata.labels.unwrap()["team"], "shop");
    assert_eq!(target.metadata.annotations.unwrap()["example.org/contact"], "shop@example.org");
}

#[tokio::test]
async fn the_keys_of_the_login_secret_can_have_other_names() {
    let stage = Stage::start("login-keys", issuer(HOUR)).await;
    stage.write_secret("account", &[("user", USER.as_bytes()), ("pass", PASSWORD.as_bytes())]).await;
    let login = json!({"name": "account", "usernameKey": "user", "passwordKey": "pass"});
    stage.apply(json!({"loginSecretRef": login})).await;
    stage.ready().await;
}

#[tokio::test]
async fn a_deleted_credential_takes_its_target_with_it_unless_that_is_orphaned() {
    let stage = Stage::start("deletion", issuer(HOUR)).await;
    stage.apply_as("owned", json!({})).await;
    stage.apply_as("orphaned", json!({"target": {"creationPolicy": "Orphan"}})).await;
    for name in ["owned", "orphaned"] {
        stage.ready_as(name).await;
        stage.credentials().delete(name, &DeleteParams::background()).await.unwrap();
    }
    wait::gone(&stage.secrets(), "owned", LIMIT).await;
    let orphaned: Secret = stage.secrets().get("orphaned").await.unwrap();
    assert_eq!(stage.present(&text(&orphaned, "token")).await, 200);
    assert!(stage.secrets().get_opt(LOGIN).await.unwrap().is_some());
}

#[tokio::test]
async fn a_credential_that_is_deleted_and_applied_again_gets_a_target_of_its_own() {
    let stage = Stage::start("again", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    stage.credentials().delete(NAME, &DeleteParams::background()).await.unwrap();
    wait::gone(&stage.credentials(), NAME, LIMIT).await;
    let second = stage.apply(json!({})).await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    let target =
        stage.target_until("that of the second", |target| owner(target) == second.metadata.uid).await;
    stage.ready().await;
    assert_eq!(stage.present(&text(&target, "token")).await, 200);
    stays("the second's target", Duration::from_secs(1), async || {
        stage.target().await.metadata.uid == target.metadata.uid
    })
    .await;
}

fn owner(target: &Secret) -> Option<String> {
    target.metadata.owner_references.iter().flatten().next().map(|owner| owner.uid.clone())
}

#[tokio::test]
async fn a_credential_with_the_longest_name_gets_its_token_and_its_events() {
    let stage = Stage::start("longest-name", issuer(HOUR)).await;
    let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(name.len(), 253);
    stage.apply_as(&name, json!({})).await;
    stage.ready_as(&name).await;
    wait::until("the Event", LIMIT, async || {
        let reasons = stage.event_reasons(&name).await;
        reasons.contains(&"TokenPublished".to_owned()).then_some(()).ok_or(reasons.join(", "))
    })
    .await;
}
