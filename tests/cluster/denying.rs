//! The API server refuses writes that it accepted before: quota, admission policy, revoked permissions.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::proxy::ProxiedRequest;
use idissuer_testbed::{ControlPlane, wait};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::CLUSTER;
use crate::operator::{HOUR, LIMIT, NAME, PASSWORD, Stage, USER, issuer, token_status};
use crate::renewing::Reader;

/// Renewed when half of it is over. A refused write is tried again after at most five seconds, then ten.
const LIFETIME: Duration = Duration::from_secs(32);

#[tokio::test]
async fn a_quota_that_refuses_the_first_write_is_named_and_the_token_written_once_there_is_room() {
    let stage = Stage::start("quota", issuer(HOUR)).await;
    let quotas = stage.namespace.api::<ResourceQuota>();
    let quota = json!({"metadata": {"name": "full"}, "spec": {"hard": {"secrets": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // It takes effect once a controller has processed it.
    wait::object(&quotas, "full", "its count", LIMIT, |quota| {
        quota.status.as_ref().is_some_and(|status| status.used.is_some())
    })
    .await;
    stage.apply(json!({})).await;
    let message = stage.until_condition("Ready", "False", "TargetWriteRefused").await;
    assert!(message.contains("exceeded quota: full"), "{message}");
    stage.until_condition("Stalled", "True", "TargetWriteRefused").await;
    assert!(stage.secrets().get_opt(NAME).await.unwrap().is_none());

    quotas.delete("full", &DeleteParams::default()).await.unwrap();
    stage.ready().await;
    stage.until_correct(NAME).await;
    assert_eq!(stage.issuer_calls(), 1, "the token was kept in memory");
}

/// A policy that refuses every write of the stage's operator to its target. It is removed with this value.
struct Policy {
    name: String,
    control_plane: &'static ControlPlane,
}

impl Policy {
    async fn impose(stage: &Stage) -> Self {
        let namespace = stage.namespace.name();
        let name = format!("deny-{namespace}");
        let yaml = format!(
            r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules:
      - {{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}}
  validations:
    - {{expression: "object.metadata.name != '{NAME}'", message: "nobody writes this"}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
"#
        );
        stage.control_plane.kubectl().apply(&yaml).await.unwrap();
        Self { name, control_plane: stage.control_plane }
    }

    async fn lift(self) {
        let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
        self.control_plane.kubectl().run(&["delete", kinds, &self.name]).await.unwrap();
    }
}

#[tokio::test]
async fn a_policy_that_refuses_a_renewals_write_is_named_and_the_token_written_when_it_is_gone() {
    let stage = Stage::start("policy", issuer(LIFETIME)).await;
    stage.apply(json!({})).await;
    stage.until_correct(NAME).await;
    let before = stage.ready().await;
    let reader = Reader::start(&stage);
    let policy = Policy::impose(&stage).await;
    stage.until_condition("Stalled", "True", "TargetWriteRefused").await;
    let refused = stage.ready().await;
    assert_eq!(
        token_status(&refused).fingerprint,
        token_status(&before).fingerprint,
        "still valid, and told"
    );
    assert_eq!(stage.issuer_calls(), 2);

    policy.lift().await;
    let after = stage.renewed(token_status(&before)).await;
    stage.until_correct(NAME).await;
    reader.stop().await;
    stage.assert_nothing_wasted();
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 1), "{counts:?}");
    assert!(!crate::operator::holds(&after, "Stalled", "True", "TargetWriteRefused"));
}

/// The one role of the cluster, for whichever test is first: of two that create it at once one would fail.
static THE_ROLE: OnceCell<String> = OnceCell::const_new();

/// The rights of `deploy/base/rbac.yaml` in the stage's namespace, for the stage's operator.
fn binding(user: &str) -> String {
    format!(
        r"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: idissuer-operator}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: idissuer-operator}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
    )
}

/// Waits until the operator has found out that it may do everything again.
async fn until_ready(stage: &Stage) {
    wait::until("readiness", 6 * LIMIT, async || match stage.operator.page("/readyz").await {
        (200, _) => Ok(()),
        (_, text) => Err(text),
    })
    .await;
}

/// Takes the rights away, so that a renewal's write is refused, and gives them back.
async fn renews_after_its_rights_were_gone(name: &str, are_watches_cut: bool) {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let base =
        [include_str!("../../deploy/base/namespace.yaml"), include_str!("../../deploy/base/rbac.yaml")];
    THE_ROLE.get_or_init(async || control_plane.kubectl().apply(&base.join("---\n")).await.unwrap()).await;
    let mut stage = Stage::prepare(control_plane, name, issuer(LIFETIME)).await;
    let proxy = stage.operator.go_through_proxy(control_plane, None);
    let binding = binding(&stage.operator.user);
    stage.namespace.kubectl().apply(&binding).await.unwrap();
    stage.write_login(USER, PASSWORD).await;
    stage.operator.start(control_plane).await;
    stage.operator.until_ready().await;
    stage.apply(json!({})).await;
    stage.until_correct(NAME).await;
    let before = stage.ready().await;
    let reader = Reader::start(&stage);

    stage.namespace.kubectl().run(&["delete", "rolebinding", "idissuer-operator"]).await.unwrap();
    if are_watches_cut {
        proxy.cut();
    }
    wait::until("a refused write", LIMIT, async || {
        let is_refused =
            |it: &ProxiedRequest| it.is_write() && it.is_for("secrets/billing") && it.status == Some(403);
        proxy.requests().iter().any(is_refused)
    })
    .await;
    let namespace = stage.namespace.name();
    let missing = format!("forbidden: permission to patch secrets in namespace {namespace} is missing");
    let text =
        wait::until("readiness to say so", LIMIT, async || match stage.operator.page("/readyz").await {
            (503, text) if text.contains(&missing) => Ok(text),
            (status, text) => Err(format!("{status}: {text}")),
        })
        .await;
    assert!(stage.operator.output().contains(&missing), "{text}");
    stage.namespace.kubectl().apply(&binding).await.unwrap();

    stage.renewed(token_status(&before)).await;
    stage.until_correct(NAME).await;
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 1), "{counts:?}");
    // A right that is not needed again is forgotten only after a while, in which tokens are renewed once more and again.
    until_ready(&stage).await;
    reader.stop().await;
    stage.assert_nothing_wasted();
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn an_operator_whose_rights_are_taken_away_and_given_back_loses_no_token_and_logs_in_once() {
    // A watch that runs is not asked again for its rights.
    renews_after_its_rights_were_gone("rights", false).await;
}

#[tokio::test]
async fn an_operator_whose_watches_are_refused_too_loses_no_token_and_logs_in_once() {
    renews_after_its_rights_were_gone("rights-watches", true).await;
}

/// Writes certificate and key of a kubeconfig into files, and a kubeconfig that names these if there is none yet.
fn write_identity(folder: &Path, kubeconfig: &Path) {
    let mut text: Value = serde_json::from_str(&fs::read_to_string(kubeconfig).unwrap()).unwrap();
    let user = text["users"][0]["user"].as_object_mut().unwrap();
    for name in ["client-certificate", "client-key"] {
        let data = user.remove(&format!("{name}-data")).unwrap();
        fs::write(folder.join(name), STANDARD.decode(data.as_str().unwrap()).unwrap()).unwrap();
        user.insert(name.to_owned(), name.into());
    }
    let path = folder.join("kubeconfig");
    if !path.exists() {
        fs::write(path, text.to_string()).unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_replaced_in_its_file_is_read_again() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let mut stage = Stage::prepare(control_plane, "certificate", issuer(HOUR)).await;
    let folder = WorkFolder::create().unwrap();
    write_identity(folder.path(), &control_plane.kubeconfig_as("stranger", None).unwrap());
    stage.operator.environment.push(("KUBECONFIG", folder.path().join("kubeconfig").into()));
    stage.write_login(USER, PASSWORD).await;
    stage.operator.start(control_plane).await;
    wait::until("readiness to say what a stranger lacks", LIMIT, async || {
        match stage.operator.page("/readyz").await {
            (503, text) if text.contains("forbidden: permission to list idissuercredentials") => Ok(()),
            (status, text) => Err(format!("{status}: {text}")),
        }
    })
    .await;
    let administrator = control_plane.kubeconfig_as(&stage.operator.user, Some("system:masters")).unwrap();
    write_identity(folder.path(), &administrator);
    until_ready(&stage).await;
    stage.apply(json!({})).await;
    stage.until_correct(NAME).await;
}
