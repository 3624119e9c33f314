//! The bounds and patterns of the resource, and the rules (CEL) made of them that the API server enforces.
//!
//! Each rule says in its message what to do, because that sentence is all that the user of `kubectl apply` gets. This
//! is why names and paths are checked by rules and not by `pattern`, which could only answer with the pattern.
//! Every string, map and list has a bound: the API server estimates the cost of a rule from them and refuses a CRD
//! that it finds too dear.
//!
//! The patterns are in the syntax that RE2 (the API server) and the `regex` crate share.

mod sharing;

use kube::core::{Message, Rule};

use super::MANAGED_BY_LABEL;
pub(super) use sharing::{
    allowed_namespace_names, credential_name, expression_values, label_value_list, login_or_reference,
    namespace_name, qualified_name, reference_without_settings, selector_not_empty,
};

/// Longest name of a Secret or `ConfigMap`, and longest key within one.
pub const NAME_MAX_LENGTH: usize = 253;
/// Longest name of a namespace.
pub const NAMESPACE_MAX_LENGTH: usize = 63;
/// Most namespaces that a credential names to share its tokens.
pub const ALLOWED_NAMESPACES_MAX: usize = 256;
/// Most labels, and most expressions, of a selector of namespaces.
pub const SELECTOR_MAX_EXPRESSIONS: usize = 16;
/// Most values of an expression of a selector.
pub const SELECTOR_MAX_VALUES: usize = 16;
/// Longest path of the issuer's API.
pub const PATH_MAX_LENGTH: usize = 256;
/// Longest origin of an issuer: scheme, a DNS name, a port and a slash fit.
pub const URL_MAX_LENGTH: usize = 300;
/// Most keys of a template.
pub const TEMPLATE_MAX_KEYS: usize = 32;
/// Longest value of a template, in characters, before it is rendered.
pub const TEMPLATE_VALUE_MAX_LENGTH: usize = 16384;
/// Most text of all values of a template together, in characters; the controller counts bytes.
pub const TEMPLATE_TEXT_MAX_LENGTH: usize = 65536;
/// Most labels, and most annotations, that a template adds.
pub const TEMPLATE_METADATA_MAX_KEYS: usize = 32;
/// Longest key of a label or annotation: a domain, a slash, and a name of 63 characters.
pub const QUALIFIED_NAME_MAX_LENGTH: usize = NAME_MAX_LENGTH + 1 + 63;
/// Longest value of a label: the limit of Kubernetes.
pub const LABEL_VALUE_MAX_LENGTH: usize = 63;
/// Longest value of an annotation that a template adds.
pub const ANNOTATION_VALUE_MAX_LENGTH: usize = 4096;
/// Smallest `renewBeforePercent`: less would leave no time to repair anything.
pub const RENEW_BEFORE_PERCENT_MIN: i32 = 5;
/// Largest `renewBeforePercent`: more would ask for tokens without end.
pub const RENEW_BEFORE_PERCENT_MAX: i32 = 80;
/// Largest `renewBeforeSeconds`: a lifetime counts for at most a day.
pub const RENEW_BEFORE_SECONDS_MAX: i64 = 86_400;

/// A name that a Secret or `ConfigMap` can have (a DNS subdomain).
pub const NAME_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A name that a namespace can have (a DNS label).
pub const NAMESPACE_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
/// A key that a Secret or `ConfigMap` can have; see [`RESERVED_KEY_PATTERN`] for the exceptions.
pub const KEY_PATTERN: &str = r"^[-._a-zA-Z0-9]{1,253}$";
/// Keys that fit [`KEY_PATTERN`] but which Kubernetes keeps for itself.
pub const RESERVED_KEY_PATTERN: &str = r"^(\.$|\.\.)";
/// A path of the issuer's API; see [`UNSAFE_PATH_PATTERN`] for the exceptions.
pub const PATH_PATTERN: &str = r"^/[A-Za-z0-9._~/-]{0,255}$";
/// Paths that fit [`PATH_PATTERN`] but of which a URL type or a proxy would make another path.
pub const UNSAFE_PATH_PATTERN: &str = r"//|\.\.";
/// An origin: http or https, a host, perhaps a port, and no more than a slash behind it.
pub const URL_PATTERN: &str = r"^[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?/?$";
/// A type that a target Secret may be given; see [`RESERVED_TYPE_PATTERN`] for the exceptions.
pub const TYPE_PATTERN: &str = r"^[A-Za-z0-9]([-A-Za-z0-9._/]*[A-Za-z0-9])?$";
/// Types that mean something to Kubernetes itself. A Secret of type `kubernetes.io/service-account-token` would be
/// filled with a real token of the cluster, and `bootstrap.kubernetes.io/token` would let someone join it.
pub const RESERVED_TYPE_PATTERN: &str = r"^([^/]*\.)?(kubernetes|k8s)\.io(/|$)";
/// The type of a Secret that means nothing to anyone.
pub const OPAQUE_TYPE: &str = "Opaque";
/// The prefix of Helm release Secrets: their content decides what the next rollback of a release installs.
pub const RESERVED_NAME_PREFIX: &str = "sh.helm.release.";
/// The label and value by which Helm finds its releases, regardless of their names.
pub const HELM_LABEL: [&str; 2] = ["owner", "helm"];
/// The allowed types among those of [`RESERVED_TYPE_PATTERN`]: they only require certain keys.
pub const PERMITTED_TYPES: [&str; 2] = [DOCKER_CONFIG_TYPE, BASIC_AUTH_TYPE];
/// The Secret type for image pulls; it needs the key [`DOCKER_CONFIG_KEY`].
pub const DOCKER_CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";
/// The key that the API server requires in a Secret of [`DOCKER_CONFIG_TYPE`].
pub const DOCKER_CONFIG_KEY: &str = ".dockerconfigjson";
/// The Secret type for a user name and password; it needs one of [`BASIC_AUTH_KEYS`].
pub const BASIC_AUTH_TYPE: &str = "kubernetes.io/basic-auth";
/// The API server requires one of these keys in a Secret of [`BASIC_AUTH_TYPE`].
pub const BASIC_AUTH_KEYS: [&str; 2] = ["username", "password"];
/// A key that a label or annotation can have: an optional DNS prefix and a name of at most 63 characters.
pub const QUALIFIED_NAME_PATTERN: &str = concat!(
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
);
/// The value of a label.
pub const LABEL_VALUE_PATTERN: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";
/// Labels and annotations that mean something to Kubernetes or to this operator.
pub const RESERVED_METADATA_PATTERN: &str = r"^([^/]*\.)?(idissuer\.pl|kubernetes\.io|k8s\.io)/";
/// The domains of [`RESERVED_METADATA_PATTERN`].
pub const RESERVED_DOMAINS: [&str; 3] = ["idissuer.pl", "kubernetes.io", "k8s.io"];
/// The allowed prefix among those of [`RESERVED_METADATA_PATTERN`]: it only describes.
pub const PERMITTED_METADATA_PREFIX: &str = "app.kubernetes.io/";

fn rule(expression: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(expression).message(Message::Message(message.into()))
}

/// On the root: the target Secret of a credential is immutable.
///
/// The rule is on the root because a rule on the field itself is not evaluated when the field is added or removed, and
/// both can change the name.
pub(super) fn secret_name_never_changes() -> Rule {
    rule(
        format!("{} == {}", effective_secret_name("self"), effective_secret_name("oldSelf")),
        "the name of the target Secret is immutable (default: the name of the credential): restore the name, or create another \
         IdIssuerCredential for the other Secret",
    )
    .field_path(".spec.target.secretName")
}

/// On the root: the controller would otherwise write the token over the login.
pub(super) fn target_is_not_the_login_secret() -> Rule {
    rule(
        format!(
            "!has(self.spec.loginSecretRef) || {} != self.spec.loginSecretRef.name",
            effective_secret_name("self")
        ),
        "the target Secret must differ from the login Secret (default: the name of the credential): set secretName to \
         another name",
    )
    .field_path(".spec.target.secretName")
}

/// On the root: authors of credentials must not write a Secret that Helm treats as a release.
pub(super) fn target_is_no_helm_release() -> Rule {
    rule(
        format!("!{}.startsWith('{RESERVED_NAME_PREFIX}')", effective_secret_name("self")),
        format!(
            "names that begin with {RESERVED_NAME_PREFIX} are reserved for Helm (default: the name of the credential): set \
             secretName to another name"
        ),
    )
    .field_path(".spec.target.secretName")
}

/// Without `orValue`: the API server cannot estimate its cost, and so rejects the rule.
fn effective_secret_name(object: &str) -> String {
    let name = format!("{object}.spec.target.secretName");
    format!("(has({object}.spec.target) && has({name}) ? {name} : {object}.metadata.name)")
}

/// On a name of a Secret or `ConfigMap`.
pub(super) fn object_name() -> Rule {
    rule(
        matches("self", NAME_PATTERN),
        "use the name of an object of this namespace: lower-case letters, digits, '-' and '.', beginning and ending with \
         a letter or digit",
    )
}

/// On a key within a Secret or `ConfigMap`.
pub(super) fn object_key() -> Rule {
    rule(
        format!("{} && !{}", matches("self", KEY_PATTERN), matches("self", RESERVED_KEY_PATTERN)),
        "use a key of the object's data: letters, digits, '-', '_' and '.', neither '.' alone nor beginning with '..'",
    )
}

/// On the origin of an issuer.
pub(super) fn url() -> Rule {
    rule(
        matches("self", URL_PATTERN),
        "use only scheme, host and optionally port, like https://api.idissuer.pl: no user, query or fragment; set paths in \
         tokenPath and refreshPath",
    )
}

/// On a path of the issuer's API.
pub(super) fn path() -> Rule {
    rule(
        format!("{} && !{}", matches("self", PATH_PATTERN), matches("self", UNSAFE_PATH_PATTERN)),
        "use an absolute path like /v2/auth/token: letters, digits, '.', '_', '~', '-' and '/', without '//' or '..'",
    )
}

/// On `renewal`.
pub(super) fn one_renew_before() -> Rule {
    rule(
        "!(has(self.renewBeforePercent) && has(self.renewBeforeSeconds))",
        "set renewBeforePercent or renewBeforeSeconds, not both",
    )
}

/// On the type of the target: one that the API server accepts.
pub(super) fn secret_type_shape() -> Rule {
    rule(
        matches("self", TYPE_PATTERN),
        "use a Secret type like Opaque or example.com/token: letters, digits, '-', '_', '.' and '/'",
    )
}

/// On the type of the target: none that Kubernetes acts on.
pub(super) fn secret_type_not_reserved() -> Rule {
    let permitted = PERMITTED_TYPES.map(|name| format!("'{name}'")).join(", ");
    rule(
        format!("self in [{permitted}] || !{}", matches("self", RESERVED_TYPE_PATTERN)),
        format!(
            "types of kubernetes.io and k8s.io are reserved: use Opaque, {} or a type with your own domain",
            PERMITTED_TYPES.join(", "),
        ),
    )
}

/// On `template`: the API server would reject a target without it, but only after the login.
pub(super) fn docker_config_key() -> Rule {
    rule(
        format!("self.?type.orValue('') != '{DOCKER_CONFIG_TYPE}' || '{DOCKER_CONFIG_KEY}' in self.?data.orValue({{}})"),
        format!("type {DOCKER_CONFIG_TYPE} needs the key {DOCKER_CONFIG_KEY}: add it to data"),
    )
    .field_path(".data")
}

/// On `template`: the API server would reject a target without one of them, but only after the login.
pub(super) fn basic_auth_keys() -> Rule {
    let [user, password] = BASIC_AUTH_KEYS;
    rule(
        format!(
            "self.?type.orValue('') != '{BASIC_AUTH_TYPE}' || \
             ['{user}', '{password}'].exists(key, key in self.?data.orValue({{}}))",
        ),
        format!("type {BASIC_AUTH_TYPE} needs the key {user} or {password}: add one of them to data"),
    )
    .field_path(".data")
}

/// On `template`: a type gives data a meaning, which the author of a credential must not choose freely.
pub(super) fn template_literals() -> Rule {
    rule(
        format!(
            "!has(self.type) || self.type == '{OPAQUE_TYPE}' || !has(self.data) || \
             self.data.all(key, self.data[key].contains('{{{{'))",
        ),
        format!("a value without a variable needs type {OPAQUE_TYPE}: add a variable, or use {OPAQUE_TYPE}"),
    )
    .field_path(".data")
}

/// On the values of the target.
pub(super) fn template_text() -> Rule {
    rule(
        format!("self.map(key, self[key].size()).sum() <= {TEMPLATE_TEXT_MAX_LENGTH}"),
        format!(
            "the values have more than {} KiB of text in total: shorten them",
            TEMPLATE_TEXT_MAX_LENGTH / 1024
        ),
    )
}

/// On the keys of the target.
pub(super) fn template_keys() -> Rule {
    rule(
        format!(
            "self.all(key, {} && !{})",
            matches("key", KEY_PATTERN),
            matches("key", RESERVED_KEY_PATTERN),
        ),
        "use keys of letters, digits, '-', '_' and '.', at most 253 characters, neither '.' alone nor beginning with '..'",
    )
}

/// On the values of the labels of the target.
pub(super) fn label_values() -> Rule {
    rule(format!("self.all(key, {})", matches("self[key]", LABEL_VALUE_PATTERN)), LABEL_VALUES)
}

const LABEL_VALUES: &str = "use label values of at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

/// On the labels of the target: the operator sets the label by which it finds its targets.
pub(super) fn label_managed_by() -> Rule {
    rule(
        format!("!('{MANAGED_BY_LABEL}' in self)"),
        format!("the operator itself sets {MANAGED_BY_LABEL}: remove it from the template"),
    )
}

/// On the labels of the target: Helm treats every Secret with this label as a release.
pub(super) fn label_of_helm() -> Rule {
    let [key, value] = HELM_LABEL;
    rule(
        format!("!('{key}' in self && self['{key}'] == '{value}')"),
        format!("the label {key}={value} is reserved for Helm releases: remove it from the template"),
    )
}

/// On the keys of the labels and annotations of the target.
pub(super) fn qualified_names() -> Rule {
    rule(
        format!(
            "self.all(key, key.size() <= {QUALIFIED_NAME_MAX_LENGTH} && {})",
            matches("key", QUALIFIED_NAME_PATTERN),
        ),
        QUALIFIED_NAMES,
    )
}

const QUALIFIED_NAMES: &str = "use keys like team or example.com/team: an optional lower-case domain and '/', then at most 63 letters, digits, '-', \
     '_' and '.', beginning and ending with a letter or digit";

/// On the keys of the labels and annotations of the target.
pub(super) fn no_reserved_metadata() -> Rule {
    rule(
        format!(
            "self.all(key, key.startsWith('{PERMITTED_METADATA_PREFIX}') || !{})",
            matches("key", RESERVED_METADATA_PATTERN),
        ),
        format!(
            "keys of idissuer.pl, kubernetes.io, k8s.io and their subdomains are reserved, except \
             {PERMITTED_METADATA_PREFIX}*: use your own domain or none",
        ),
    )
}

/// A CEL raw string, so that patterns need no second escaping. A test ensures that they contain no single quote.
fn matches(operand: &str, pattern: &str) -> String {
    format!("{operand}.matches(r'{pattern}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_into_raw_strings_of_cel() {
        for pattern in [
            NAME_PATTERN,
            NAMESPACE_PATTERN,
            KEY_PATTERN,
            RESERVED_KEY_PATTERN,
            PATH_PATTERN,
            UNSAFE_PATH_PATTERN,
            URL_PATTERN,
            TYPE_PATTERN,
            RESERVED_TYPE_PATTERN,
            QUALIFIED_NAME_PATTERN,
            LABEL_VALUE_PATTERN,
            RESERVED_METADATA_PATTERN,
        ] {
            assert!(!pattern.contains('\''), "{pattern}");
        }
    }

    #[test]
    fn bounds_agree_with_the_patterns() {
        assert!(KEY_PATTERN.contains(&format!("{{1,{NAME_MAX_LENGTH}}}")));
        assert!(PATH_PATTERN.contains(&format!("{{0,{}}}", PATH_MAX_LENGTH - 1)));
    }
}
