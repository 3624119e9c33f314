//! A credential from a list or watch, or what could not be read as one: a malformed object must not stop the others.
//!
//! What decides nothing is not even parsed: of the metadata most, and above all who manages which field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::trim::{LEFT_OUT_STATUS_ANNOTATION, LEFT_OUT_TEMPLATE_ANNOTATION};
use crate::api::{IdIssuerCredential, IdIssuerCredentialStatus, RENEW_REQUESTED_AT_ANNOTATION};

/// A credential, or the metadata of an object that is malformed.
#[derive(Clone, Debug)]
pub(super) struct Guarded(pub(super) Result<IdIssuerCredential, Box<ObjectMeta>>);

#[derive(Deserialize)]
struct Parts {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "idissuer.pl/renew-requested-at")]
    renew_request: Option<String>,
    #[serde(rename = "idissuer.pl//template-left-out")]
    left_out_template: Option<String>,
    #[serde(rename = "idissuer.pl//status-left-out")]
    left_out_status: Option<String>,
}

impl From<Annotations> for BTreeMap<String, String> {
    fn from(annotations: Annotations) -> Self {
        let named = [
            (RENEW_REQUESTED_AT_ANNOTATION, annotations.renew_request),
            (LEFT_OUT_TEMPLATE_ANNOTATION, annotations.left_out_template),
            (LEFT_OUT_STATUS_ANNOTATION, annotations.left_out_status),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        let annotations = metadata.annotations.map(BTreeMap::from);
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            annotations: annotations.filter(|annotations| !annotations.is_empty()),
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status } = Parts::deserialize(deserializer)?;
        let metadata = ObjectMeta::from(metadata);
        let (Ok(spec), Ok(status)) = (
            serde_json::from_value(spec),
            serde_json::from_value::<Option<IdIssuerCredentialStatus>>(status),
        ) else {
            return Ok(Self(Err(Box::new(metadata))));
        };
        Ok(Self(Ok(IdIssuerCredential { metadata, spec, status })))
    }
}

/// As it is read: without a specification if it is malformed.
impl Serialize for Guarded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(credential) => credential.serialize(serializer),
            Err(metadata) => {
                let mut malformed = serializer.serialize_struct("Malformed", 1)?;
                malformed.serialize_field("metadata", metadata)?;
                malformed.end()
            }
        }
    }
}

impl Resource for Guarded {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        IdIssuerCredential::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        IdIssuerCredential::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        IdIssuerCredential::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        IdIssuerCredential::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|metadata| metadata, Resource::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|metadata| metadata, Resource::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(spec: &Value, status: &Value) -> Guarded {
        let object = json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {
                "name": "billing", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"},
                "annotations": {"idissuer.pl/renew-requested-at": "now", "other": "x"},
                "managedFields": [{"manager": "somebody", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": spec, "status": status,
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[test]
    fn of_the_metadata_what_decides_is_read() {
        let meta = parse(&json!({"loginSecretRef": {"name": "login"}}), &Value::Null).meta().clone();
        let known = (meta.name.as_deref(), meta.namespace.as_deref(), meta.uid.as_deref());
        assert_eq!(known, (Some("billing"), Some("shop"), Some("u")));
        assert_eq!((meta.resource_version.as_deref(), meta.generation), (Some("7"), Some(2)));
        assert!(meta.creation_timestamp.is_some() && meta.deletion_timestamp.is_none());
        let annotations = meta.annotations.unwrap();
        assert_eq!((annotations.len(), annotations[RENEW_REQUESTED_AT_ANNOTATION].as_str()), (1, "now"));
        assert!(meta.labels.is_none() && meta.managed_fields.is_none());
    }

    #[test]
    fn a_malformed_object_is_known_by_its_metadata() {
        let spec = json!({"loginSecretRef": {"name": "login"}});
        let whole = parse(&spec, &json!({"observedGeneration": 2})).0.unwrap();
        assert_eq!(whole.status.unwrap().observed_generation, Some(2));
        for (spec, status) in
            [(json!({"suspend": "often"}), Value::Null), (spec, json!({"observedGeneration": "x"}))]
        {
            let malformed = parse(&spec, &status);
            assert_eq!((malformed.0.is_err(), malformed.meta().name.as_deref()), (true, Some("billing")));
        }
    }
}
