//! What the controller answers. It is also its memory: after a restart the status, and nothing else, says what was
//! written last, when the next token is due and how many logins were rejected. Nothing in it is secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller found and did. Written by the controller only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdIssuerCredentialStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// The state in short. Ready: the target holds a valid token. Reconciling: there is none yet, or the spec changed.
    /// Stalled: a person is needed; the message says what to do. LoginAccepted: what the issuer said to the last login.
    /// RenewalOverdue: a new token should have been there by now. All but Ready and LoginAccepted are absent when false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The name of the Secret that the token is written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,

    /// Which Secret was written last. While both values hold, it was not touched since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,

    /// The token in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,

    /// Described by its type: kube takes the description of an optional enum from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_support: Option<RefreshSupport>,

    /// The last login with the password.
    #[serde(default, skip_serializing_if = "nothing_recorded")]
    pub login: Option<LoginStatus>,

    /// The failures since the last success. Absent when the last attempt succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<FailuresStatus>,

    /// The controller that keeps this credential: the namespace and name of its lease, or `none/HOST/ADDRESS` (of the
    /// machine or pod, and its admin address) where it has no lease. Others stand by as long as it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub controller: Option<String>,

    /// Another controller that asks whether the one that keeps this credential lives. That one takes it away; if it does
    /// not, the other goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub claimed_by: Option<String>,

    /// The value of the annotation idissuer.pl/renew-requested-at that was acted on last, its first 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = super::RENEW_REQUEST_MAX_CHARACTERS))]
    pub last_handled_renew_request: Option<String>,
}

/// Which Secret was written last.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its uid: another one means that it was deleted and made anew.
    #[schemars(length(max = 253))]
    pub uid: String,

    /// Its resourceVersion after the write: another one means that somebody changed it.
    #[schemars(length(max = 253))]
    pub resource_version: String,
}

/// The token in the Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// When it was asked for; its lifetime counts from here.
    pub issued_time: Time,

    /// When it expires.
    pub expiration_time: Time,

    /// When the next one is due.
    pub renewal_time: Time,

    /// How its lifetime is known. ExpiresIn: the issuer said it. Jwt: from the token itself. Assumed: neither said it,
    /// and an hour is assumed.
    pub lifetime_source: LifetimeSource,

    /// The first 32 hex digits of the SHA-256 of the token: tells tokens apart without showing any.
    #[schemars(length(max = 64))]
    pub fingerprint: String,

    /// How it was obtained: Login or Refresh.
    pub grant: Grant,
}

/// How the lifetime of a token is known.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LifetimeSource {
    /// The answer's `expires_in`.
    ExpiresIn,
    /// The token's own `exp` and `iat`.
    Jwt,
    /// Neither was usable.
    Assumed,
}

/// How a token was obtained.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Grant {
    /// With user name and password.
    Login,
    /// With a refresh token.
    Refresh,
}

/// Whether the issuer exchanges a refresh token while the token is still valid. Unknown: not learned yet. Early: it
/// does. Refused: it does not, or only after expiry, so new tokens come by login.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefreshSupport {
    /// Not learned yet.
    #[default]
    Unknown,
    /// It does.
    Early,
    /// It does not, or only after expiry.
    Refused,
}

/// The last login with the password.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginStatus {
    /// The resourceVersion of the login Secret that was used. Another one after a restart buys one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_resource_version: Option<String>,

    /// When it was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_time: Option<Time>,

    /// When the issuer last accepted one. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_time: Option<Time>,

    /// How many in a row were rejected, with one that is under way and has not been accepted before. A rejected login
    /// is tried again after 5 and after 15 minutes, then once an hour if one was accepted before, and otherwise not
    /// before the login Secret or the spec changes or a renewal is requested: more could lock the account. Absent: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub rejections: i32,
}

/// The failures since the last success.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailuresStatus {
    /// How many there were.
    #[schemars(range(min = 0))]
    pub consecutive_failures: i32,

    /// When the last one was.
    pub last_failure_time: Time,

    /// What the last one was, in one word.
    #[schemars(length(max = 1024))]
    pub reason: String,

    /// The last one in a sentence, and its cure. The controller of an earlier version wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub message: Option<String>,

    /// When it is tried again. Absent: not before something changes; the conditions say what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
}

/// An empty object would come back as null once server-side apply has emptied it, and so never equal what was written.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn nothing_recorded(login: &Option<LoginStatus>) -> bool {
    login.as_ref().is_none_or(|login| *login == LoginStatus::default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &i32) -> bool {
    *count == 0
}

/// The bounds that Kubernetes gives its own conditions; the type of `k8s-openapi` carries none of them.
fn conditions(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut condition = Condition::json_schema(generator);
    let bounds = [
        ("message", serde_json::json!({"maxLength": 32768})),
        ("observedGeneration", serde_json::json!({"minimum": 0})),
        (
            "reason",
            serde_json::json!({
                "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            }),
        ),
        ("status", serde_json::json!({"enum": ["True", "False", "Unknown"]})),
        ("type", serde_json::json!({"maxLength": 316})),
    ];
    let properties = condition.get_mut("properties").and_then(serde_json::Value::as_object_mut);
    if let Some(properties) = properties {
        for (name, bound) in bounds {
            if let (Some(property), serde_json::Value::Object(bound)) =
                (properties.get_mut(name).and_then(serde_json::Value::as_object_mut), bound)
            {
                property.extend(bound);
            }
        }
    }
    schemars::json_schema!({"type": "array", "maxItems": 16, "items": condition})
}
