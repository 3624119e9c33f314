//! The target Secret: repaired when it was changed, rendered again when the specification changes, and never written
//! when it is someone else's.

use std::time::Duration;

use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::operator::{HOUR, LIMIT, NAME, Stage, condition, holds, issuer, keys, stays, text, token_status};

#[tokio::test]
async fn a_deleted_edited_or_stripped_target_is_put_back_with_the_same_token_and_without_the_issuer() {
    let stage = Stage::start("repair", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let original = stage.target().await;
    let is_restored = |target: &Secret| {
        let (metadata, first) = (&target.metadata, &original.metadata);
        text(target, "token") == text(&original, "token")
            && text(target, "expires_at") == text(&original, "expires_at")
            && metadata.labels == first.labels
            && metadata.annotations == first.annotations
            && metadata.owner_references == first.owner_references
    };

    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    let again = stage.target_until("a new one", |target| target.metadata.uid != original.metadata.uid).await;
    assert!(is_restored(&again), "{:#?}", again.metadata);

    stage.edit_target(json!({"data": {"token": "Zm9yZ2Vk", "extra": "bWluZQ=="}})).await;
    let repaired = stage.target_until("the token back", is_restored).await;
    assert_eq!(text(&repaired, "extra"), "mine", "what another writer added beside it is left alone");

    let bare = json!({"metadata": {"labels": null, "annotations": null, "ownerReferences": null}});
    let bare = stage.edit_target(bare).await;
    assert_eq!(bare.metadata.labels, None);
    stage.target_until("its metadata back", is_restored).await;

    assert_eq!(stage.issuer_calls(), 1);
    let ready = stage.until(NAME, "Ready", |credential| holds(credential, "Ready", "True", "TokenPublished"));
    assert!(condition(&ready.await, "Stalled").is_none());
}

#[tokio::test]
async fn another_writer_that_keeps_changing_the_target_is_named_and_still_does_not_win() {
    let stage = Stage::start("contested", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let token = text(&stage.target().await, "token");
    for _ in 0..4 {
        stage.edit_target(json!({"data": {"token": "Zm9yZ2Vk"}})).await;
        stage.target_until("the token back", |target| text(target, "token") == token).await;
    }
    assert!(stage.event_reasons(NAME).await.contains(&"TargetContested".to_owned()));
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_removed_template_key_and_the_owner_of_an_orphan_are_removed_from_the_target() {
    let stage = Stage::start("relayout", issuer(HOUR)).await;
    let template = |data: Value| json!({"template": {"data": data}});
    stage
        .apply(json!({"target": template(json!({"token": "{{ token }}", "header": "Bearer {{ token }}"}))}))
        .await;
    stage.ready().await;
    let original = stage.target().await;
    assert_eq!(keys(&original), ["header", "token"]);
    assert_eq!(original.metadata.owner_references.as_ref().map(Vec::len), Some(1));

    let mut smaller = template(json!({"token": "{{ token }}"}));
    stage.apply(json!({"target": smaller})).await;
    stage.ready().await;
    let target = stage.target().await;
    assert_eq!(keys(&target), ["token"]);

    smaller["creationPolicy"] = json!("Orphan");
    stage.apply(json!({"target": smaller})).await;
    stage.ready().await;
    let target = stage.target().await;
    assert_eq!(target.metadata.owner_references, None);
    assert_eq!(target.metadata.uid, original.metadata.uid, "changed in place");
    assert_eq!(text(&target, "token"), text(&original, "token"));

    smaller["creationPolicy"] = json!("Owner");
    smaller["template"]["data"]["name"] = json!("{{ name }}");
    stage.apply(json!({"target": smaller})).await;
    stage.ready().await;
    let target = stage.target().await;
    assert_eq!(keys(&target), ["name", "token"]);
    assert_eq!(target.metadata.owner_references, original.metadata.owner_references);
    assert_eq!(stage.issuer_calls(), 1, "all of it with the one token");
}

#[tokio::test]
async fn a_foreign_secret_is_never_written_no_login_is_spent_on_it_and_its_deletion_is_noticed() {
    let stage = Stage::start("foreign", issuer(HOUR)).await;
    stage.write_secret(NAME, &[("token", b"somebody else's")]).await;
    let foreign = stage.target().await;
    stage.apply(json!({})).await;
    let message = stage.until_condition("Ready", "False", "TargetConflict").await;
    assert!(message.contains("delete it"), "{message}");
    stage.until_condition("Stalled", "True", "TargetConflict").await;
    assert_eq!(stage.event_reasons(NAME).await, ["TargetConflict"]);
    // Not even on request.
    stage.request_renewal("now").await;
    stays("untouched", Duration::from_secs(1), async || stage.target().await == foreign).await;
    assert_eq!(stage.issuer_calls(), 0);

    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    let ready = stage.ready().await;
    assert!(condition(&ready, "Stalled").is_none());
    assert_eq!(stage.present(&text(&stage.target().await, "token")).await, 200);
}

#[tokio::test]
async fn of_two_credentials_with_one_target_the_first_keeps_it() {
    let stage = Stage::start("two-for-one", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let target = stage.target().await;
    stage.apply_as("second", json!({"target": {"secretName": NAME}})).await;
    stage.until("second", "its refusal", |it| holds(it, "Ready", "False", "TargetConflict")).await;
    assert_eq!(stage.target().await, target);
    assert!(holds(&stage.ready().await, "Ready", "True", "TokenPublished"));
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_target_of_another_type_and_an_immutable_one_are_reported_with_a_cure_that_works() {
    let allow = ["--allow-secret-type=example.org/token"];
    let stage = Stage::start_with("untouchable", issuer(HOUR), |operator, _| {
        operator.arguments.extend(allow.map(str::to_owned));
    })
    .await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let original = stage.target().await;
    let typed =
        json!({"target": {"template": {"type": "example.org/token", "data": {"token": "{{ token }}"}}}});
    stage.apply(typed).await;
    let message = stage.until_condition("Ready", "False", "TargetTypeMismatch").await;
    assert!(message.contains("delete the Secret"), "{message}");
    stage.until_condition("Stalled", "True", "TargetTypeMismatch").await;
    assert_eq!(stage.target().await, original);
    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    stage.ready().await;
    let typed = stage.target().await;
    assert_eq!(typed.type_.as_deref(), Some("example.org/token"));
    assert_eq!(text(&typed, "token"), text(&original, "token"));

    stage.edit_target(json!({"immutable": true})).await;
    let message = stage.until_condition("Stalled", "True", "TargetImmutable").await;
    assert!(message.contains("delete it"), "{message}");
    let credential = stage.credentials().get(NAME).await.unwrap();
    assert!(
        holds(&credential, "Ready", "True", "TokenPublished"),
        "its token still stands there and is good"
    );
    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    let mutable = stage.target_until("a mutable one", |target| target.immutable.is_none()).await;
    assert_eq!(text(&mutable, "token"), text(&original, "token"));
    wait::until("no longer stalled", LIMIT, async || {
        condition(&stage.credentials().get(NAME).await.unwrap(), "Stalled").is_none()
    })
    .await;
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_template_error_names_key_and_line_before_any_login_and_its_correction_is_applied() {
    let stage = Stage::start("template-error", issuer(HOUR)).await;
    let template =
        |text: &str| json!({"target": {"template": {"data": {"good": "{{ token }}", "bad": text}}}});
    stage.apply(template("first line\nsecond {{ passwort }}")).await;
    let message = stage.until_condition("Ready", "False", "TemplateError").await;
    assert!(message.contains("[bad]") && message.contains("line 2"), "{message}");
    stage.until_condition("Stalled", "True", "TemplateError").await;
    assert_eq!(stage.issuer_calls(), 0);

    stage.apply(template("{{ name }}")).await;
    let first = stage.ready().await;
    let target = stage.target().await;
    assert_eq!(text(&target, "bad"), NAME);

    stage.apply(template("{% if %}")).await;
    let message = stage.until_condition("Ready", "False", "TemplateError").await;
    assert!(message.contains("[bad]") && message.contains("line 1"), "{message}");
    assert_eq!(stage.target().await, target, "what was published stays");

    stage.apply(template("{{ namespace }}")).await;
    let repaired = stage.ready().await;
    assert_eq!(token_status(&repaired).fingerprint, token_status(&first).fingerprint);
    assert_eq!(text(&stage.target().await, "bad"), stage.namespace.name());
    assert_eq!(stage.issuer_calls(), 1);
}
