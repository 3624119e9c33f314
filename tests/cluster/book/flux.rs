//! The health check for Flux, evaluated by the API server, whose policies have the same language.

use idissuer_testbed::wait;
use serde_json::{Value, json};

use super::page::manifest;
use crate::operator::{HOUR, LIMIT, NAME, PASSWORD, Stage, USER, issuer};

/// A policy that rejects every change of a credential in a namespace, with the values of the expressions as its message.
fn policy(namespace: &str) -> String {
    let kustomization: Value = serde_saphyr::from_str(&manifest("tasks/flux.md", 0)).unwrap();
    let checks = &kustomization["spec"]["healthCheckExprs"][0];
    // Flux names the fields of the object directly. (`it.status` of a condition is followed by no dot.)
    let expression = |name: &str| {
        let text = checks[name].as_str().unwrap().trim();
        text.replace("status.", "object.status.").replace("metadata.", "object.metadata.")
    };
    let message = format!(
        "'current: ' + string({}) + ', failed: ' + string({})",
        expression("current"),
        expression("failed")
    );
    let (group, version) = checks["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    let rule = json!({
        "apiGroups": [group], "apiVersions": [version], "operations": ["UPDATE"], "resources": ["idissuercredentials"],
    });
    let name = format!("flux-{namespace}");
    let metadata = json!({"name": name});
    let api = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [rule],
            },
            "validations": [{"expression": "false", "messageExpression": message}],
        },
    });
    let binding = json!({
        "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    format!("{policy}\n---\n{binding}")
}

/// What Flux makes of a credential as it stands.
async fn verdict(stage: &Stage, name: &str) -> String {
    wait::until("the policy's answer", LIMIT, async || {
        let arguments = ["annotate", "iic", name, "looked-at=now", "--dry-run=server"];
        let output = stage.namespace.kubectl().output(&arguments, "").await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.split_once("denied request: ").map(|(_, verdict)| verdict.trim().to_owned()).ok_or(said)
    })
    .await
}

#[tokio::test]
async fn flux_waits_for_a_token_and_fails_only_without_one() {
    let stage = Stage::start("flux", issuer(HOUR)).await;
    stage.namespace.kubectl().apply(&policy(stage.namespace.name())).await.unwrap();
    stage.apply(json!({"renewal": {"strategy": "Login"}})).await;
    stage.ready().await;
    assert_eq!(verdict(&stage, NAME).await, "current: true, failed: false");

    stage.write_login(USER, "mistyped").await;
    stage.until_condition("Stalled", "True", "LoginRejected").await;
    assert_eq!(verdict(&stage, NAME).await, "current: true, failed: false", "its token is valid");

    stage.apply_as("without", json!({})).await;
    stage
        .until("without", "Stalled", |it| crate::operator::holds(it, "Stalled", "True", "LoginRejected"))
        .await;
    assert_eq!(verdict(&stage, "without").await, "current: false, failed: true");

    stage.write_login(USER, PASSWORD).await;
    stage.ready_as("without").await;
    assert_eq!(verdict(&stage, "without").await, "current: true, failed: false");
    stage
        .namespace
        .kubectl()
        .run(&["delete", "validatingadmissionpolicybinding", &format!("flux-{}", stage.namespace.name())])
        .await
        .unwrap();
}
