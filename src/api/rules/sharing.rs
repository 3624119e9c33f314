//! The rules by which credentials share tokens.

use kube::core::Rule;

use super::{
    LABEL_VALUE_PATTERN, LABEL_VALUES, NAME_PATTERN, NAMESPACE_PATTERN, QUALIFIED_NAME_PATTERN,
    QUALIFIED_NAMES, matches, rule,
};

/// On the root: a credential logs in, or shares the tokens of another one.
pub(in crate::api) fn login_or_reference() -> Rule {
    rule(
        "has(self.spec.loginSecretRef) != has(self.spec.credentialRef)",
        "set exactly one of loginSecretRef (to log in) and credentialRef (to share the tokens of another credential)",
    )
    .field_path(".spec")
}

/// On the root: the credential that logs in has these settings.
pub(in crate::api) fn reference_without_settings() -> Rule {
    rule(
        "!has(self.spec.credentialRef) || !has(self.spec.issuer) && !has(self.spec.allowedNamespaces) && \
         (!has(self.spec.renewal) || !has(self.spec.renewal.strategy) || self.spec.renewal.strategy == 'Auto')",
        "a credential with credentialRef has no issuer, renewal.strategy or allowedNamespaces: set them in the credential \
         that it names, and remove them here",
    )
    .field_path(".spec.credentialRef")
}

/// On the name of a credential.
pub(in crate::api) fn credential_name() -> Rule {
    rule(
        matches("self", NAME_PATTERN),
        "use the name of an IdIssuerCredential: lower-case letters, digits, '-' and '.', beginning and ending with a \
         letter or digit",
    )
}

/// On the name of a namespace.
pub(in crate::api) fn namespace_name() -> Rule {
    rule(matches("self", NAMESPACE_PATTERN), format!("use the name of a namespace: {NAMESPACE_NAMES}"))
}

/// On the names of namespaces.
pub(in crate::api) fn allowed_namespace_names() -> Rule {
    rule(
        format!("self.all(name, name == '*' || {})", matches("name", NAMESPACE_PATTERN)),
        format!("use names of namespaces, or * for all: {NAMESPACE_NAMES}"),
    )
}

/// On a selector of namespaces: one without conditions would select all, or none, depending on who reads it.
pub(in crate::api) fn selector_not_empty() -> Rule {
    rule(
        "has(self.matchLabels) && self.matchLabels.size() > 0 || \
         has(self.matchExpressions) && self.matchExpressions.size() > 0",
        "set matchLabels or matchExpressions; for all namespaces, use names: [\"*\"]",
    )
}

/// On an expression of a selector.
pub(in crate::api) fn expression_values() -> Rule {
    rule(
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
        "set values for In and NotIn, and none for Exists and DoesNotExist",
    )
    .field_path(".values")
}

/// On the key of a label.
pub(in crate::api) fn qualified_name() -> Rule {
    rule(matches("self", QUALIFIED_NAME_PATTERN), QUALIFIED_NAMES)
}

/// On values of a label.
pub(in crate::api) fn label_value_list() -> Rule {
    rule(format!("self.all(value, {})", matches("value", LABEL_VALUE_PATTERN)), LABEL_VALUES)
}

const NAMESPACE_NAMES: &str =
    "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit";
