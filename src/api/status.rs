//! The status, which is also the controller's persistent state: after a restart, it alone says what was written last,
//! when the next renewal is due and how many logins were rejected. It contains no secrets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller observed and did. Written by the controller only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdIssuerCredentialStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Ready: the target holds a valid token. Reconciling: there is none yet, or the spec changed. Stalled: someone
    /// must act; the message says what to do. LoginAccepted: the result of the last login. RenewalOverdue: a new token
    /// should already exist. All except Ready and LoginAccepted are absent when false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The name of the target Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,

    /// The target Secret after the last write. If both values still match, it is unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,

    /// The token in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,

    /// The type has the description: kube takes that of an optional enum from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_support: Option<RefreshSupport>,

    /// The last login with the password.
    #[serde(default, skip_serializing_if = "nothing_recorded")]
    pub login: Option<LoginStatus>,

    /// The failures since the last success. Absent when the last attempt succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<FailuresStatus>,

    /// The credentials that share the tokens of this one (spec.credentialRef), as spec.allowedNamespaces permits. Absent:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followers: Option<FollowersStatus>,

    /// The controller that manages this credential: the namespace and name of its lease, or `none/HOST/ADDRESS` (its
    /// machine or pod, and its admin address) without a lease. Other controllers stand by while it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub controller: Option<String>,

    /// Another controller that checks whether the one that manages this credential is alive. That one removes this
    /// value; otherwise the other takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub claimed_by: Option<String>,

    /// The last handled value of the annotation idissuer.pl/renew-requested-at, its first 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = super::RENEW_REQUEST_MAX_CHARACTERS))]
    pub last_handled_renew_request: Option<String>,
}

impl IdIssuerCredentialStatus {
    /// The condition of this type, if it was ever set.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

/// The target Secret after the last write.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its uid: a different one means that the Secret was deleted and created again.
    #[schemars(length(max = 253))]
    pub uid: String,

    /// Its resourceVersion after the write: a different one means that someone changed the Secret.
    #[schemars(length(max = 253))]
    pub resource_version: String,
}

/// The token in the Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// When the token was requested; its lifetime starts here.
    pub issued_time: Time,

    /// When the token expires.
    pub expiration_time: Time,

    /// When the next renewal is due.
    pub renewal_time: Time,

    /// The source of the lifetime. ExpiresIn: the response. Jwt: the token itself. Assumed: neither, so one hour is
    /// assumed.
    pub lifetime_source: LifetimeSource,

    /// The first 32 hex digits of the SHA-256 of the token: identifies a token without revealing it.
    #[schemars(length(max = 64))]
    pub fingerprint: String,

    /// How the token was obtained: Login or Refresh.
    pub grant: Grant,

    /// The uid of the credential that obtained the token (spec.credentialRef). If that is deleted and created again, a token of
    /// its account replaces this one. Absent: this credential obtained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub owner_uid: Option<String>,
}

/// The source of the lifetime of a token.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LifetimeSource {
    /// The `expires_in` of the response.
    ExpiresIn,
    /// The token's own `exp` and `iat`.
    Jwt,
    /// One hour, because neither is usable.
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

/// Whether the issuer accepts a refresh token while the token is still valid. Unknown: not learned yet. Early: yes.
/// Refused: no, or only after expiry, so new tokens come from a login.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefreshSupport {
    /// Not learned yet.
    #[default]
    Unknown,
    /// It accepts it.
    Early,
    /// It does not accept it, or only after expiry.
    Refused,
}

/// The last login with the password.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginStatus {
    /// The resourceVersion of the login Secret that was used. After a restart, a different one allows one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_resource_version: Option<String>,

    /// When the last login was attempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_time: Option<Time>,

    /// When the issuer last accepted a login. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_time: Option<Time>,

    /// How many logins in a row were rejected, including one in progress if none was accepted before. A rejected login
    /// is attempted again after 5 and after 15 minutes, then once an hour if one was accepted before, and otherwise
    /// only after a change of the login Secret or the spec or a requested renewal, to avoid locking the account.
    /// Absent: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub rejections: i32,

    /// Described by its type: kube takes the description of an optional enum from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<LoginRejection>,
}

/// How the last login was rejected. Rejected: the issuer rejected user name and password. Forbidden: it answered with 403.
/// The others are answers without a token, which count as rejections of a login that was never accepted. Redirected: a
/// redirect. PathWrong: the path is unknown. Blocked: something in front of the issuer answered. Misdirected: another
/// server answered. Incomplete: the answer broke off. Unusable: the answer holds no usable token. Absent: none was rejected,
/// or nobody heard the answer.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoginRejection {
    /// The issuer rejected user name and password.
    Rejected,
    /// It answered with 403.
    Forbidden,
    /// It answered with a redirect.
    Redirected,
    /// It does not know the path.
    PathWrong,
    /// Something in front of the issuer answered.
    Blocked,
    /// A server answered that is not the issuer.
    Misdirected,
    /// The answer broke off.
    Incomplete,
    /// The answer holds no usable token.
    Unusable,
}

/// The credentials that share the tokens.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowersStatus {
    /// How many there are.
    #[schemars(range(min = 0))]
    pub count: i32,

    /// The first 20 of them in alphabetical order, as NAMESPACE/NAME.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "follower_names")]
    pub names: Vec<String>,
}

/// The failures since the last success.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailuresStatus {
    /// How many there were when this was written: at least so many by now. Repetitions of the same failure are written every
    /// five minutes.
    #[schemars(range(min = 0))]
    pub consecutive_failures: i32,

    /// When the last of them happened.
    pub last_failure_time: Time,

    /// The reason of the last failure, in one word.
    #[schemars(length(max = 1024))]
    pub reason: String,

    /// The message of the last failure, with its cure. Absent if an earlier version of the controller wrote the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub message: Option<String>,

    /// When the next attempt after those follows. In the past: attempts go on, and this is written again within five minutes.
    /// Absent: only after a change; the conditions say which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
}

/// An empty object would come back as null after server-side apply, and so never equal what was written.
#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn nothing_recorded(login: &Option<LoginStatus>) -> bool {
    login.as_ref().is_none_or(|login| *login == LoginStatus::default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &i32) -> bool {
    *count == 0
}

fn follower_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 20,
        "items": {"type": "string", "maxLength": 320},
    })
}

/// The limits of Kubernetes for its own conditions, which the type of `k8s-openapi` lacks.
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
