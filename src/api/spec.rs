//! The spec, as users write it. `kubectl explain` shows the doc comments of the fields, so they address users: units,
//! defaults and consequences.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::sharing::{AllowedNamespaces, CredentialRef};
use super::status::IdIssuerCredentialStatus;
use super::{DEFAULT_PASSWORD_KEY, DEFAULT_USERNAME_KEY, rules};

/// The login to use, the Secret for the token, and when to renew it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "idissuer.pl",
    version = "v1alpha1",
    kind = "IdIssuerCredential",
    plural = "idissuercredentials",
    shortname = "iic",
    category = "idissuer",
    namespaced,
    status = "IdIssuerCredentialStatus",
    derive = "PartialEq",
    doc = "IdIssuerCredential keeps a valid token of an ID Issuer account in a Secret: the controller logs in with the \
           login Secret, writes the token into the target Secret, and renews it well before it expires.",
    printcolumn(
        name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True while the target Secret holds a valid token",
    ),
    printcolumn(
        name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "The reason of the condition Ready",
    ),
    printcolumn(
        name = "Secret", type_ = "string", json_path = ".status.secretName",
        description = "The Secret that holds the token",
    ),
    printcolumn(
        name = "Expires", type_ = "string", json_path = ".status.token.expirationTime",
        description = "When the token in the Secret expires",
    ),
    printcolumn(
        name = "Renewal", type_ = "string", json_path = ".status.token.renewalTime", priority = "1",
        description = "When the next renewal is due",
    ),
    printcolumn(
        name = "Grant", type_ = "string", json_path = ".status.token.grant", priority = "1",
        description = "How the token was obtained: Login or Refresh",
    ),
    printcolumn(
        name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp",
        description = "The age of the credential",
    ),
    validation = rules::login_or_reference(),
    validation = rules::reference_without_settings(),
    validation = rules::secret_name_never_changes(),
    validation = rules::target_is_not_the_login_secret(),
    validation = rules::target_is_no_helm_release(),
)]
#[serde(rename_all = "camelCase")]
pub struct IdIssuerCredentialSpec {
    /// The Secret in this namespace with the user name and password of the account. A change of its content causes a
    /// new login: at once, unless too many logins were rejected lately. Anyone who may create credentials in a namespace
    /// can send any key of its Secrets to an issuer that the controller allows. Either this or credentialRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_secret_ref: Option<LoginSecretRef>,

    /// Another credential whose tokens this one shares: that one logs in, and this one has neither a login nor an issuer,
    /// strategy or allowedNamespaces. It must permit this namespace in its allowedNamespaces; one of this namespace needs
    /// no permission. Either this or loginSecretRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_ref: Option<CredentialRef>,

    /// Where other credentials may share the tokens of this one (credentialRef). Default: in this namespace only. After
    /// a permission is withdrawn, credentials there get no new token, and keep the one that they have until it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,

    /// The Secret for the token. Default: a Secret with the name of the credential, with the token in the key `token`
    /// and its expiry in `expires_at`.
    #[serde(default)]
    pub target: Target,

    /// When and how to renew the token. Default: when a quarter of its lifetime is left.
    #[serde(default)]
    pub renewal: Renewal,

    /// The ID Issuer. Default: the controller's default issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,

    /// True suspends this credential: the controller makes no calls to the issuer and does not write the target. The
    /// existing token stays in the target until it expires. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// The Secret with the user name and the password.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginSecretRef {
    /// The name of the Secret, in the namespace of the credential.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,

    /// The key with the user name (an e-mail address), at most 1 KiB. Default: username. A value with a byte order
    /// mark, a NUL or control character, or with a line break or blank at the beginning or end is rejected, not sent.
    #[serde(default = "default_username_key")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_key())]
    pub username_key: String,

    /// The key with the password, at most 4 KiB. Default: password. A value with a byte order mark or NUL character, or
    /// with a line break or control character at the beginning or end is rejected, not sent. Blanks are sent.
    #[serde(default = "default_password_key")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_key())]
    pub password_key: String,
}

impl Default for LoginSecretRef {
    fn default() -> Self {
        Self {
            name: String::new(),
            username_key: default_username_key(),
            password_key: default_password_key(),
        }
    }
}

fn default_username_key() -> String {
    DEFAULT_USERNAME_KEY.to_owned()
}

fn default_password_key() -> String {
    DEFAULT_PASSWORD_KEY.to_owned()
}

/// The Secret for the token.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The name of the Secret, in the namespace of the credential. Default: the name of the credential. Immutable. An
    /// existing Secret that belongs to something else is never overwritten. Names that begin with sh.helm.release. are
    /// rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_name())]
    pub secret_name: Option<String>,

    /// What happens to the Secret when the credential is deleted. Owner (the default): it is deleted too, by garbage
    /// collection of its owner reference. Orphan: it stays, and its token is no longer renewed.
    #[serde(default)]
    pub creation_policy: CreationPolicy,

    /// The content of the Secret. Default: type Opaque with two keys, `token` with the bare token, and `expires_at`
    /// with its expiry (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// What happens to the target when the credential is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CreationPolicy {
    /// It is garbage collected.
    #[default]
    Owner,
    /// It stays.
    Orphan,
}

/// The content of the target Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::docker_config_key(),
    validation = rules::basic_auth_keys(),
    validation = rules::template_literals(),
)]
pub struct Template {
    /// The type of the Secret: Opaque (the default), kubernetes.io/dockerconfigjson, kubernetes.io/basic-auth, or a
    /// type that the controller allows (--allow-secret-type). Kubernetes never changes the type of an existing Secret:
    /// after a change here, delete the Secret.
    #[serde(rename = "type", default = "default_type")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::secret_type_shape(), validation = rules::secret_type_not_reserved())]
    pub type_: String,

    /// Labels and annotations for the Secret. The credential's own are not copied.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "TemplateMetadata::is_empty"
    )]
    #[schemars(extend("nullable" = true))]
    pub metadata: TemplateMetadata,

    /// The keys of the Secret; they replace the two default keys. Values are templates with the variables token,
    /// token_type, expires_at, issued_at, expires_in (seconds), namespace and name, for example `Bearer {{ token }}`.
    /// Besides variables, `{{ }}` accepts strings ('…' or "…"), concatenation with ~, parentheses, and the filters |
    /// tojson and | b64encode. `{% if token %}…{% elif name %}…{% else %}…{% endif %}` tests whether a variable has a
    /// value, and text between `{% raw %}` and `{% endraw %}` is literal. An unknown variable is an error, and the
    /// Secret stays unchanged. A value without a variable is allowed for type Opaque only. Default: the two default
    /// keys. Limits: 32 keys, 16384 characters per value, 64 KiB of text in total, 1024 parts per value, 4 filters on
    /// one value, 8 levels of if or parentheses, 32 KiB per rendered value, 512 KiB in total.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "template_data")]
    #[x_kube(validation = rules::template_keys(), validation = rules::template_text())]
    pub data: BTreeMap<String, String>,
}

impl Default for Template {
    fn default() -> Self {
        Self { type_: default_type(), metadata: TemplateMetadata::default(), data: BTreeMap::new() }
    }
}

fn default_type() -> String {
    "Opaque".to_owned()
}

/// Labels and annotations for the target.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels for the Secret, at most 32: without a domain, of app.kubernetes.io, or of a domain that the controller
    /// allows (--allow-metadata-domain). Labels of idissuer.pl, kubernetes.io, k8s.io and their other subdomains are
    /// rejected, and so are owner=helm and app.kubernetes.io/managed-by, which the operator itself sets.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "template_labels")]
    #[x_kube(
        validation = rules::qualified_names(),
        validation = rules::label_values(),
        validation = rules::no_reserved_metadata(),
        validation = rules::label_managed_by(),
        validation = rules::label_of_helm(),
    )]
    pub labels: BTreeMap<String, String>,

    /// Annotations for the Secret, at most 32, each at most 4096 characters: without a domain, of app.kubernetes.io, or
    /// of a domain that the controller allows (--allow-metadata-domain). Annotations of idissuer.pl, kubernetes.io,
    /// k8s.io and their other subdomains are rejected.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "template_annotations")]
    #[x_kube(validation = rules::qualified_names(), validation = rules::no_reserved_metadata())]
    pub annotations: BTreeMap<String, String>,
}

impl TemplateMetadata {
    /// Whether there are no labels and no annotations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// When and how to renew the token.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_renew_before())]
pub struct Renewal {
    /// Auto (the default): refresh if the issuer accepts that before expiry, which the controller learns, and otherwise
    /// log in. Login: always log in; use it for an account that other programs also use, because a login elsewhere may
    /// invalidate refresh tokens.
    #[serde(default)]
    pub strategy: Strategy,

    /// How much of the actual lifetime must be left when the token is renewed, in percent (5 to 80). Default: 25, so a
    /// one-hour token is renewed after 45 minutes. If too little time would be left for retries, the value is raised,
    /// up to 80 percent. Not together with renewBeforeSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = rules::RENEW_BEFORE_PERCENT_MIN, max = rules::RENEW_BEFORE_PERCENT_MAX))]
    pub renew_before_percent: Option<i32>,

    /// How many seconds before expiry the token is renewed (1 to 86400). If too little time would be left for retries,
    /// the value is raised; it is lowered to 80 percent of the lifetime. Not together with renewBeforePercent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = rules::RENEW_BEFORE_SECONDS_MAX))]
    pub renew_before_seconds: Option<i64>,
}

/// How to renew a valid token.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// Refresh if the issuer accepts it, otherwise log in.
    #[default]
    Auto,
    /// Always log in.
    Login,
}

/// The issuer and its API.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// The origin of the issuer, for example `https://api.idissuer.pl`: scheme, host and optionally a port. The
    /// controller must allow it (--issuer-url or --allow-issuer). Default: the controller's default issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::URL_MAX_LENGTH))]
    #[x_kube(validation = rules::url())]
    pub url: Option<String>,

    /// CA certificates (PEM) to trust for this issuer, instead of the public CAs. Default: the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,

    /// The path of the login call. Default: /v2/auth/token. If the issuer answers with a redirect or 404, it may need
    /// /v2/auth/token/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::PATH_MAX_LENGTH))]
    #[x_kube(validation = rules::path())]
    pub token_path: Option<String>,

    /// The path of the refresh call. Default: /v2/auth/refreshtoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::PATH_MAX_LENGTH))]
    #[x_kube(validation = rules::path())]
    pub refresh_path: Option<String>,

    /// The type has the description: kube takes that of an optional enum from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_request: Option<RefreshRequest>,
}

/// The object with CA certificates, in the namespace of the credential.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// The kind of the object: ConfigMap or Secret.
    pub kind: CaBundleKind,

    /// The name of the ConfigMap or Secret, in the namespace of the credential.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,

    /// The key with one or more PEM certificates, for example ca.crt: at most 256 KiB, and all different bundles of a
    /// namespace at most 8 MiB in total.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_key())]
    pub key: String,
}

/// The kind of the object with CA certificates.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CaBundleKind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// The body of the refresh request. Flat (the default): two strings, access_token and refresh_token. Nested: the login
/// response unchanged.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefreshRequest {
    /// `{"access_token": "…", "refresh_token": "…"}`, as in the table of the issuer's documentation.
    #[default]
    Flat,
    /// `{"access_token": {"token": "…", …}, "refresh_token": "…"}`, as in the example of the issuer's documentation.
    Nested,
}

fn template_data(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    string_map(rules::TEMPLATE_MAX_KEYS, rules::TEMPLATE_VALUE_MAX_LENGTH)
}

fn template_labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    string_map(rules::TEMPLATE_METADATA_MAX_KEYS, rules::LABEL_VALUE_MAX_LENGTH)
}

fn template_annotations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    string_map(rules::TEMPLATE_METADATA_MAX_KEYS, rules::ANNOTATION_VALUE_MAX_LENGTH)
}

/// Schemars has no attribute for the bounds of a map.
pub(super) fn string_map(max_keys: usize, value_max_length: usize) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": max_keys,
        "additionalProperties": {"type": "string", "maxLength": value_max_length},
    })
}

/// The API server stores a null where a user empties a map by server-side apply.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
