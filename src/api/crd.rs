//! The `CustomResourceDefinition`, as an object and as the file that is installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::IdIssuerCredential;

/// The first line of the rendered file, for people who want to change it.
const HEADER: &str = "# Generated from src/api by `idissuer crd`. Do not edit; run `make crds`.\n";

/// The definition to install. It differs from [`CustomResourceExt::crd`] in two things.
///
/// Only objects are nullable, and of those only the ones without a default. A null in place of a value is dropped on
/// creation, but rejected by server-side apply. Rejecting it is better than storing it: rules would see `has(self.url)`
/// hold for it. Objects must accept null nevertheless: if a user empties one (`labels: {}`), server-side apply makes it
/// null, and would then reject its own null.
///
/// And descriptions have line breaks only between paragraphs: `kubectl explain` wraps them itself.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut definition = IdIssuerCredential::crd();
    for version in &mut definition.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
        }
    }
    definition
}

/// The definition as the text of `crds/`.
///
/// # Errors
///
/// When the definition cannot be written as YAML, which the tests rule out.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&crd()).map(|yaml| format!("{HEADER}{yaml}"))
}

fn tidy(schema: &mut JSONSchemaProps) {
    if schema.type_.as_deref() != Some("object") || schema.default.is_some() {
        schema.nullable = None;
    }
    schema.title = None;
    if let Some(description) = &mut schema.description {
        *description = description
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect::<Vec<_>>()
            .join("\n\n");
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/crds/idissuer.pl_idissuercredentials.yaml"));

    #[test]
    fn the_committed_crd_is_the_generated_one() {
        assert!(
            crd_yaml().unwrap() == COMMITTED,
            "crds/idissuer.pl_idissuercredentials.yaml is not what src/api generates: run `make crds` and commit it",
        );
    }

    #[test]
    fn every_field_is_described() {
        fn undescribed(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
            for (name, property) in schema.properties.iter().flatten() {
                let path = format!("{path}.{name}");
                if property.description.as_ref().is_none_or(|description| description.len() < 10) {
                    found.push(path.clone());
                }
                undescribed(&path, property, found);
            }
        }
        let definition = crd();
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        let mut found = Vec::new();
        undescribed("", schema.open_api_v3_schema.as_ref().unwrap(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn objects_without_a_default_and_nothing_else_may_be_null() {
        fn nullable(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
            for (name, property) in schema.properties.iter().flatten() {
                let path = format!("{path}.{name}");
                if property.nullable == Some(true) {
                    found.push(path.clone());
                }
                nullable(&path, property, found);
            }
        }
        let definition = crd();
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        let mut found = Vec::new();
        nullable("", schema.open_api_v3_schema.as_ref().unwrap(), &mut found);
        assert_eq!(
            found,
            [
                ".spec.allowedNamespaces",
                ".spec.allowedNamespaces.selector",
                ".spec.allowedNamespaces.selector.matchLabels",
                ".spec.credentialRef",
                ".spec.issuer",
                ".spec.issuer.caBundleRef",
                ".spec.loginSecretRef",
                ".spec.target.template",
                ".spec.target.template.data",
                ".spec.target.template.metadata",
                ".spec.target.template.metadata.annotations",
                ".spec.target.template.metadata.labels",
                ".status",
                ".status.failures",
                ".status.followers",
                ".status.login",
                ".status.target",
                ".status.token",
            ],
        );
    }

    #[test]
    fn the_schema_has_only_what_kubernetes_knows() {
        let yaml = crd_yaml().unwrap();
        for word in ["uint", "anyOf", "oneOf"] {
            assert!(!yaml.contains(word), "{word}");
        }
    }

    #[test]
    fn defaults_stand_only_where_they_can_never_change() {
        let mut defaults: Vec<_> = crd_yaml()
            .unwrap()
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("default:"))
            .map(str::to_owned)
            .collect();
        defaults.sort();
        assert_eq!(
            defaults,
            [
                "default:",
                "default:",
                "default: Auto",
                "default: Opaque",
                "default: Owner",
                "default: password",
                "default: username"
            ],
        );
    }

    #[test]
    fn the_rendered_yaml_is_the_definition() {
        let read: serde_json::Value = serde_saphyr::from_str(&crd_yaml().unwrap()).unwrap();
        assert_eq!(read, serde_json::to_value(crd()).unwrap());
    }
}
