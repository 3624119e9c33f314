//! `idissuer token --credential`, with the rights of a person.

use std::process::{Command, Output};
use std::time::Duration;

use idissuer_testbed::{Mark, wait};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, LOGIN, NAME, Stage, USER, issuer};

/// Runs it as a user of the namespace. Returns the exit code, and what was printed.
async fn run(stage: &Stage, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
    command.args(["token", "--credential"]).args(arguments);
    command.env("KUBECONFIG", stage.control_plane.kubeconfig_as(&user(stage), None).unwrap());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

async fn assert_failed(stage: &Stage, arguments: &[&str], code: i32, part: &str) {
    let (found, out, errors) = run(stage, arguments).await;
    assert_eq!((found, out.as_str()), (code, ""), "{errors}");
    assert!(errors.contains(part) && !errors.contains("Status {"), "{part}: {errors}");
}

fn user(stage: &Stage) -> String {
    format!("person-{}", stage.namespace.name())
}

/// Lets the user get these, and nothing else.
async fn allow(stage: &Stage, rules: &str) {
    let (namespace, user) = (stage.namespace.name(), user(stage));
    let yaml = format!(
        r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: person, namespace: {namespace}}}
rules: {rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: person, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: person}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
    );
    stage.namespace.kubectl().apply(&yaml).await.unwrap();
}

const CREDENTIALS: &str = "{apiGroups: [idissuer.pl], resources: [idissuercredentials], verbs: [get]}";
const TARGETS: &str = "{apiGroups: [''], resources: [secrets], resourceNames: [billing], verbs: [get]}";

#[tokio::test]
async fn a_token_is_printed_with_the_rights_to_read_it_and_each_lack_has_its_code() {
    let stage = Stage::start("token", issuer(HOUR)).await;
    let name = format!("{}/{NAME}", stage.namespace.name());
    assert_failed(&stage, &[&name], 4, "ask for a Role with the verb get on idissuercredentials.idissuer.pl")
        .await;
    allow(&stage, &format!("[{CREDENTIALS}]")).await;
    wait::until("the right", LIMIT, async || run(&stage, &[&name]).await.0 != 4).await;
    assert_failed(&stage, &[&name], 5, "check name and namespace").await;

    let template = json!({"data": {"header": "Bearer {{ token }}"}});
    stage.apply(json!({"loginSecretRef": {"name": LOGIN}, "target": {"template": template}})).await;
    stage.ready().await;
    assert_failed(&stage, &[&name], 4, "get on secrets, resourceNames [billing]").await;
    allow(&stage, &format!("[{CREDENTIALS}, {TARGETS}]")).await;
    let token = wait::until("the right", LIMIT, async || match run(&stage, &[&name]).await {
        (0, token, _) => Ok(token),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(stage.present(token.trim_end()).await, 200, "found after `Bearer `");
    assert_failed(&stage, &[&name, "--min-ttl", "3601"], 3, "see --min-ttl").await;

    let encoded = json!({"data": {"token": "{{ token | b64encode }}"}});
    stage.apply(json!({"loginSecretRef": {"name": LOGIN}, "target": {"template": encoded}})).await;
    stage.ready().await;
    assert_failed(&stage, &[&name], 3, "token: \"{{ token }}\"").await;
}

#[tokio::test]
async fn a_credential_without_a_valid_token_says_what_its_operator_says() {
    let mut stage = Stage::start("token-not-ready", issuer(Duration::from_secs(4))).await;
    allow(&stage, &format!("[{CREDENTIALS}, {TARGETS}]")).await;
    let name = format!("{}/{NAME}", stage.namespace.name());
    stage.write_login(USER, "mistyped").await;
    stage.apply(json!({})).await;
    stage.until_condition("Ready", "False", "LoginRejected").await;
    assert_failed(&stage, &[&name], 3, "LoginRejected: ").await;
    stage.write_login(USER, crate::operator::PASSWORD).await;
    stage.ready().await;
    stage.operator.stop().await;
    wait::until("its end", LIMIT, async || match run(&stage, &[&name]).await {
        (3, out, errors) if errors.contains("expires too soon") && out.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    stage.apply_as("new", json!({})).await;
    let name = format!("{}/new", stage.namespace.name());
    assert_failed(&stage, &[&name], 3, "check that the operator runs").await;
}

#[tokio::test]
async fn a_rotation_between_two_readings_is_no_failure() {
    let mut stage = Stage::start("token-rotating", issuer(HOUR)).await;
    allow(&stage, &format!("[{CREDENTIALS}, {TARGETS}]")).await;
    let name = format!("{}/{NAME}", stage.namespace.name());
    stage.apply(json!({})).await;
    stage.ready().await;
    let token = wait::until("the right", LIMIT, async || match run(&stage, &[&name]).await {
        (0, token, _) => Ok(token),
        other => Err(format!("{other:?}")),
    })
    .await;
    // The Secret is written before the status: for a moment it holds a token that the status does not name.
    stage.operator.stop().await;
    let mark = stage.control_plane.audit().mark().unwrap();
    hold(&stage, "of-the-next-rotation").await;
    let restored = async {
        wait::until("the first reading", LIMIT, async || has_read_secret(&stage, mark).then_some(())).await;
        hold(&stage, token.trim_end()).await;
    };
    let arguments = [name.as_str()];
    let ((code, found, errors), ()) = tokio::join!(run(&stage, &arguments), restored);
    assert_eq!((code, found), (0, token), "{errors}");
}

/// Lets the target hold this token.
async fn hold(stage: &Stage, token: &str) {
    let patch = Patch::Merge(json!({"stringData": {"token": token}}));
    stage.secrets().patch(NAME, &PatchParams::default(), &patch).await.unwrap();
}

fn has_read_secret(stage: &Stage, mark: Mark) -> bool {
    let requests = stage.control_plane.audit().of_user_since(&user(stage), mark).unwrap();
    requests.iter().any(|request| request.verb == "get" && request.resource == "secrets")
}
