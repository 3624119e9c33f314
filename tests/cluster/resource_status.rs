//! The status on the wire: it is read back as it was written, a second write of the same is none, and kubectl shows it.

use idissuer::api::{
    FailuresStatus, FollowersStatus, GROUP, Grant, IdIssuerCredential, IdIssuerCredentialStatus, KIND,
    LifetimeSource, LoginRejection, LoginStatus, RENEW_REQUEST_MAX_CHARACTERS, RefreshSupport, TargetStatus,
    TokenStatus, VERSION,
};
use idissuer::core::time::to_second;
use idissuer_testbed::TestNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::CLUSTER;

#[tokio::test]
async fn a_status_is_read_back_as_written_and_writing_it_again_changes_nothing() {
    let namespace = make_credential("status-whole").await;
    let credentials: Api<IdIssuerCredential> = namespace.api();
    let least =
        IdIssuerCredentialStatus { observed_generation: Some(2), ..IdIssuerCredentialStatus::default() };
    for status in [make_status(), least] {
        let first = write(&credentials, &status).await;
        assert_eq!(first.status.clone().unwrap_or_default(), status);
        let second = write(&credentials, &status).await;
        assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    }
}

#[tokio::test]
async fn kubectl_shows_the_state_on_one_line_and_waits_for_it() {
    let namespace = make_credential("status-shown").await;
    write(&namespace.api(), &make_status()).await;
    let kubectl = namespace.kubectl();
    let words = |table: String| -> Vec<Vec<String>> {
        let line = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        table.lines().map(line).collect()
    };
    let age = |row: &[String]| row.last().cloned().unwrap_or_default();

    let rows = words(kubectl.run(&["get", "iic"]).await.unwrap());
    assert_eq!(rows[0], ["NAME", "READY", "REASON", "SECRET", "EXPIRES", "AGE"]);
    assert_eq!(rows[1], ["billing", "True", "Issued", "billing", "2126-01-02T04:04:05Z", &age(&rows[1])]);
    let rows = words(kubectl.run(&["get", "idissuer", "-o", "wide"]).await.unwrap());
    assert_eq!(rows[0], ["NAME", "READY", "REASON", "SECRET", "EXPIRES", "RENEWAL", "GRANT", "AGE"]);
    assert_eq!(rows[1][5..7], ["2126-01-02T03:49:05Z", "Login"]);

    let wait = ["wait", "iic/billing", "--for=condition=Ready", "--timeout=10s"];
    kubectl.run(&wait).await.unwrap();
}

#[tokio::test]
async fn kubectl_explains_every_part_of_the_spec() {
    let namespace = make_credential("status-explained").await;
    for (field, words) in [
        ("spec", "The Secret in this namespace with the user name"),
        ("spec.renewal", "Default: 25, so a one-hour token is renewed after 45"),
        ("spec.target", "Owner (the default): it is deleted too"),
        ("spec.target.template", "Values are templates with the variables token"),
        ("spec.issuer", "Default: /v2/auth/token. "),
        ("status.token", "The source of the lifetime. ExpiresIn: the response"),
    ] {
        let resource = format!("iic.{field}");
        let text = namespace.kubectl().run(&["explain", &resource]).await.unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words.trim()), "{field}: {text}");
    }
}

async fn make_credential(prefix: &str) -> TestNamespace {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let namespace = TestNamespace::create(control_plane, prefix).await.unwrap();
    let manifest = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": {"name": "billing"},
        "spec": {"loginSecretRef": {"name": "billing-login"}},
    });
    namespace.kubectl().apply(&manifest.to_string()).await.unwrap();
    namespace
}

async fn write(
    credentials: &Api<IdIssuerCredential>,
    status: &IdIssuerCredentialStatus,
) -> IdIssuerCredential {
    let parameters = PatchParams::apply("idissuer-tests").force().validation_strict();
    let body = json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "status": status});
    credentials.patch_status("billing", &parameters, &Patch::Apply(body)).await.unwrap()
}

/// Every field, each at its longest where it has a bound that the controller may reach.
fn make_status() -> IdIssuerCredentialStatus {
    let at = |time: &str| Time(to_second(time.parse::<Timestamp>().unwrap()));
    let condition = |type_: &str, status: &str, reason: &str| Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: "A sentence that names the cure.".to_owned(),
        observed_generation: Some(1),
        last_transition_time: at("2026-01-02T03:04:05.678Z"),
    };
    let conditions = [
        condition("Ready", "True", "Issued"),
        condition("Reconciling", "True", "Issuing"),
        condition("Stalled", "True", "LoginRejected"),
        condition("LoginAccepted", "Unknown", "NotTried"),
        condition("RenewalOverdue", "True", "Overdue"),
    ];
    IdIssuerCredentialStatus {
        observed_generation: Some(1),
        conditions: conditions.into(),
        secret_name: Some("billing".to_owned()),
        target: Some(TargetStatus {
            uid: "0b0b4a0c-6a4e-4c3f-9a59-2f2f7f3b4a11".to_owned(),
            resource_version: "4711".to_owned(),
        }),
        token: Some(TokenStatus {
            issued_time: at("2126-01-02T03:04:05.9Z"),
            expiration_time: at("2126-01-02T04:04:05.9Z"),
            renewal_time: at("2126-01-02T03:49:05.9Z"),
            lifetime_source: LifetimeSource::ExpiresIn,
            fingerprint: "0123456789abcdef".repeat(2),
            grant: Grant::Login,
            owner_uid: Some("5c1f1d5e-2b5b-4f64-8d0e-6f0a3c0d9b22".to_owned()),
        }),
        refresh_support: Some(RefreshSupport::Early),
        login: Some(LoginStatus {
            secret_resource_version: Some("4242".to_owned()),
            attempt_time: Some(at("2026-01-02T03:04:05.9Z")),
            accepted_time: Some(at("2026-01-02T03:04:05.9Z")),
            rejections: 2,
            rejection: Some(LoginRejection::Forbidden),
        }),
        failures: Some(FailuresStatus {
            consecutive_failures: 3,
            last_failure_time: at("2026-01-02T03:04:05.9Z"),
            reason: "IssuerUnavailable".to_owned(),
            message: Some("some message".into()),
            next_attempt_time: Some(at("2026-01-02T03:05:05.9Z")),
        }),
        controller: Some(format!("{}/{}", "n".repeat(63), "l".repeat(253))),
        claimed_by: Some(format!("{}/{}", "n".repeat(63), "m".repeat(253))),
        followers: Some(FollowersStatus {
            count: 1000,
            names: vec![format!("{}/{}", "n".repeat(63), "c".repeat(253)); 20],
        }),
        last_handled_renew_request: Some("ż".repeat(RENEW_REQUEST_MAX_CHARACTERS)),
    }
}
