//! What the user writes. The doc comments of the fields are what `kubectl explain` shows, so they speak to that user:
//! units, the default, and what follows from the choice.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::rules;
use super::status::IdIssuerCredentialStatus;

/// What to log in with, where to put the token, and when to replace it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    doc = "IdIssuerCredential keeps a Secret filled with a valid token of an ID Issuer account: it logs in with the \
           login Secret, writes the token into the target Secret, and replaces it well before it expires.",
    printcolumn(
        name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True while the target Secret holds a valid token",
    ),
    printcolumn(
        name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not",
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
        description = "When the next token is due",
    ),
    printcolumn(
        name = "Grant", type_ = "string", json_path = ".status.token.grant", priority = "1",
        description = "How the token was obtained: Login or Refresh",
    ),
    printcolumn(
        name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp",
        description = "Since when the credential exists",
    ),
    validation = rules::secret_name_never_changes(),
    validation = rules::target_is_not_the_login_secret(),
    validation = rules::target_is_no_helm_release(),
)]
#[serde(rename_all = "camelCase")]
pub struct IdIssuerCredentialSpec {
    /// The Secret of this namespace that holds the user name and password of the account. A change of its content
    /// leads to a new login at once. Whoever may create credentials in a namespace can have any key of its Secrets
    /// sent to an issuer that the controller allows.
    pub login_secret_ref: LoginSecretRef,

    /// The Secret that the token is written to. Left out, it is a Secret named like the credential, with the token
    /// under the key `token` and its expiry under `expires_at`.
    #[serde(default)]
    pub target: Target,

    /// When and how the token is replaced. Left out, it is replaced when a quarter of its lifetime is left.
    #[serde(default)]
    pub renewal: Renewal,

    /// The ID Issuer to ask. Left out, it is the controller's default issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,

    /// True stops all work on this credential: no call to the issuer and no write of the target. The token that stands
    /// in the target stays there, and expires. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Where the user name and the password are.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginSecretRef {
    /// The name of the Secret, in the namespace of the credential.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,

    /// The key whose value is the user name (an e-mail address), at most 1 KiB. Default: username. A value with a byte order mark, a NUL or control character, or with a line break or blank at an end is refused, not sent.
    #[serde(default = "default_username_key")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_key())]
    pub username_key: String,

    /// The key whose value is the password, at most 4 KiB. Default: password. A value with a byte order mark or NUL character, or with a line break or control character at an end is refused, not sent. Blanks are sent.
    #[serde(default = "default_password_key")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_key())]
    pub password_key: String,
}

fn default_username_key() -> String {
    "username".to_owned()
}

fn default_password_key() -> String {
    "password".to_owned()
}

/// The Secret that the token is written to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The name of the Secret, in the namespace of the credential. Default: the name of the credential. It cannot be
    /// changed later. A Secret of that name which another made is never overwritten. Names that begin with
    /// sh.helm.release. are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_name())]
    pub secret_name: Option<String>,

    /// What becomes of the Secret when the credential is deleted. Owner (the default): it is deleted too, garbage
    /// collected by its owner reference. Orphan: it stays, with a token that nobody renews.
    #[serde(default)]
    pub creation_policy: CreationPolicy,

    /// What the Secret looks like. Left out, it is Opaque with two keys: `token`, the bare token, and `expires_at`, the
    /// time of its expiry (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// What becomes of the target when the credential is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CreationPolicy {
    /// It is garbage collected with the credential.
    #[default]
    Owner,
    /// It stays.
    Orphan,
}

/// What the target Secret looks like.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::docker_config_key(),
    validation = rules::basic_auth_keys(),
    validation = rules::template_literals(),
)]
pub struct Template {
    /// The type of the Secret: Opaque (the default), kubernetes.io/dockerconfigjson, kubernetes.io/basic-auth, or one
    /// that the controller allows (--allow-secret-type). Kubernetes never changes the type of an existing Secret: delete
    /// the Secret after a change here.
    #[serde(rename = "type", default = "default_type")]
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::secret_type_shape(), validation = rules::secret_type_not_reserved())]
    pub type_: String,

    /// Labels and annotations to put on the Secret. Nothing is copied from the credential's own.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "TemplateMetadata::is_empty"
    )]
    #[schemars(extend("nullable" = true))]
    pub metadata: TemplateMetadata,

    /// The keys of the Secret; they replace the two default keys. Values are templates with the variables token,
    /// token_type, expires_at, issued_at, expires_in (seconds), namespace and name, as in `Bearer {{ token }}`. Beside a
    /// variable, `{{ }}` takes strings ('…' or "…"), joins with ~, groups with parentheses, and filters with | tojson and
    /// | b64encode. `{% if token %}…{% elif name %}…{% else %}…{% endif %}` asks whether a variable has a value, and
    /// between `{% raw %}` and `{% endraw %}` all is text. An unknown variable is an error, and leaves the Secret as it
    /// is. A value without a variable is for type Opaque only. Empty or left out: the two default keys. At most 32 keys,
    /// 16384 characters a value, 64 KiB of text together, 1024 parts a value, 4 filters on one text, 8 levels of if or
    /// parentheses, 32 KiB a rendered value, 512 KiB together.
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

/// Labels and annotations of the target.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels of the Secret, at most 32: without a domain, of app.kubernetes.io, or of a domain that the controller allows
    /// (--allow-metadata-domain). Those of idissuer.pl, kubernetes.io, k8s.io and their other subdomains are refused, and
    /// so are owner=helm and app.kubernetes.io/managed-by, which the operator itself sets.
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

    /// Annotations of the Secret, at most 32, each of at most 4096 characters: without a domain, of app.kubernetes.io, or of
    /// a domain that the controller allows (--allow-metadata-domain). Those of idissuer.pl, kubernetes.io, k8s.io and
    /// their other subdomains are refused.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "template_annotations")]
    #[x_kube(validation = rules::qualified_names(), validation = rules::no_reserved_metadata())]
    pub annotations: BTreeMap<String, String>,
}

impl TemplateMetadata {
    /// Whether it adds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}

/// When and how the token is replaced.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::one_renew_before())]
pub struct Renewal {
    /// Auto (the default): with the refresh token where the issuer accepts that before expiry, which is learned, and by login
    /// otherwise. Login: by login each time; choose it for an account that other programs use too, for a login
    /// elsewhere may end the refresh chain.
    #[serde(default)]
    pub strategy: Strategy,

    /// How much of the lifetime that the issuer really gave must be left when the next token is fetched, in percent
    /// (5 to 80). Default: 25, so a token of one hour is replaced after 45 minutes. It is raised where too little time
    /// would be left for retries, up to 80 percent. Not together with renewBeforeSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = rules::RENEW_BEFORE_PERCENT_MIN, max = rules::RENEW_BEFORE_PERCENT_MAX))]
    pub renew_before_percent: Option<i32>,

    /// How many seconds before expiry the next token is fetched (1 to 86400). It is raised where too little time would
    /// be left for retries, and lowered to 80 percent of the lifetime. Not together with renewBeforePercent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = rules::RENEW_BEFORE_SECONDS_MAX))]
    pub renew_before_seconds: Option<i64>,
}

/// How a new token is obtained while the old one is valid.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// By refresh where the issuer accepts it, else by login.
    #[default]
    Auto,
    /// By login only.
    Login,
}

/// Which issuer is asked, and how.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// The origin of the issuer, like `https://api.idissuer.pl`: scheme, host and perhaps a port. The controller must
    /// allow it (--issuer-url or --allow-issuer). Default: the controller's default issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::URL_MAX_LENGTH))]
    #[x_kube(validation = rules::url())]
    pub url: Option<String>,

    /// Certificates (PEM) to trust for this issuer instead of the public ones. Left out: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,

    /// The path of the login call. Default: /v2/auth/token. An issuer that answers it with a redirect or 404 may want
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

    /// Described by its type: kube takes the description of an optional enum from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_request: Option<RefreshRequest>,
}

/// Where certificates are, in the namespace of the credential.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// What holds the certificates: ConfigMap or Secret.
    pub kind: CaBundleKind,

    /// The name of the ConfigMap or Secret, in the namespace of the credential.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,

    /// The key whose value is one or more PEM certificates, like ca.crt: at most 256 KiB, and the different ones of a
    /// namespace at most 8 MiB together.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::object_key())]
    pub key: String,
}

/// What holds the certificates.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CaBundleKind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// The body of the refresh call. Flat (the default): two strings, access_token and refresh_token. Nested: the login
/// answer as it came.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefreshRequest {
    /// `{"access_token": "…", "refresh_token": "…"}`, as the issuer's table says.
    #[default]
    Flat,
    /// `{"access_token": {"token": "…", …}, "refresh_token": "…"}`, as the issuer's example says.
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
fn string_map(max_keys: usize, value_max_length: usize) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": max_keys,
        "additionalProperties": {"type": "string", "maxLength": value_max_length},
    })
}

/// The API server stores a null where a user empties a map by server-side apply.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
