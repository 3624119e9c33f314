//! The parts of the spec by which credentials share tokens.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The credential whose tokens are shared.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRef {
    /// The namespace of that credential. Default: the namespace of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = rules::NAMESPACE_MAX_LENGTH))]
    #[x_kube(validation = rules::namespace_name())]
    pub namespace: Option<String>,

    /// The name of that credential. It must log in itself: a credential that shares the tokens of another one cannot be
    /// named here.
    #[schemars(length(max = rules::NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::credential_name())]
    pub name: String,
}

/// The namespaces whose credentials may share the tokens.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Their names, at most 256; * stands for all namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespace_names")]
    #[x_kube(validation = rules::allowed_namespace_names(), merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
}

fn namespace_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": rules::ALLOWED_NAMESPACES_MAX,
        "items": {"type": "string", "maxLength": rules::NAMESPACE_MAX_LENGTH},
    })
}
