//! The parts of the spec by which credentials share tokens.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::spec::{null_as_default, string_map};

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

    /// Namespaces with these labels. The controller must read labels of namespaces (--namespace-selectors); otherwise this
    /// permits none, and the condition Stalled says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Labels of namespaces: all of matchLabels and all of matchExpressions must hold.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::selector_not_empty())]
pub struct NamespaceSelector {
    /// Labels that the namespace has with these values, at most 16.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels")]
    #[x_kube(validation = rules::qualified_names(), validation = rules::label_values())]
    pub match_labels: BTreeMap<String, String>,

    /// Rules for labels of the namespace, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rules::SELECTOR_MAX_EXPRESSIONS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<LabelExpression>,
}

/// A rule for one label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::expression_values())]
pub struct LabelExpression {
    /// The key of the label.
    #[schemars(length(max = rules::QUALIFIED_NAME_MAX_LENGTH))]
    #[x_kube(validation = rules::qualified_name())]
    pub key: String,

    /// In: the label has one of the values. NotIn: it has none of them, or does not exist. Exists: it exists. DoesNotExist:
    /// it does not.
    pub operator: LabelOperator,

    /// The values for In and NotIn, at most 16. Not with Exists and DoesNotExist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "expression_value_list")]
    #[x_kube(validation = rules::label_value_list(), merge_strategy = ListMerge::Atomic)]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LabelOperator {
    /// It has one of the values.
    In,
    /// It has none of them.
    NotIn,
    /// It exists.
    Exists,
    /// It does not exist.
    DoesNotExist,
}

fn namespace_names(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": rules::ALLOWED_NAMESPACES_MAX,
        "items": {"type": "string", "maxLength": rules::NAMESPACE_MAX_LENGTH},
    })
}

fn match_labels(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    string_map(rules::SELECTOR_MAX_EXPRESSIONS, rules::LABEL_VALUE_MAX_LENGTH)
}

fn expression_value_list(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": rules::SELECTOR_MAX_VALUES,
        "items": {"type": "string", "maxLength": rules::LABEL_VALUE_MAX_LENGTH},
    })
}
