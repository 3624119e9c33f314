//! Defaults and checks of an object before it is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::resource::{Nature, Resource};
use super::status::{Outcome, bad_request, invalid};

/// Brings what a client sent into the form that is kept.
pub(super) fn normalize(resource: &Resource, object: &mut Value) -> Outcome<()> {
    if !resource.is_custom() {
        drop_nulls(object);
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        for field in ["labels", "annotations", "ownerReferences", "finalizers"] {
            drop_if_empty(metadata, field);
        }
    }
    let Some(fields) = object.as_object_mut() else { return Err(bad_request("an object is wanted")) };
    if resource.nature == Nature::Secret {
        normalize_secret(fields)?;
        drop_if_empty(fields, "data");
    }
    Ok(())
}

fn normalize_secret(secret: &mut Map<String, Value>) -> Outcome<()> {
    let mut values = secret.get("data").and_then(Value::as_object).into_iter().flatten();
    if values.any(|(_, value)| value.as_str().is_none_or(|value| STANDARD.decode(value).is_err())) {
        return Err(bad_request(
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data",
        ));
    }
    secret.entry("type").or_insert_with(|| "Opaque".into());
    Ok(())
}

/// A typed object has no field whose value is null.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

fn drop_if_empty(map: &mut Map<String, Value>, field: &str) {
    let is_empty = match map.get(field) {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        value => value.is_some_and(Value::is_null),
    };
    if is_empty {
        map.remove(field);
    }
}

/// Refuses a change of what may not change.
pub(super) fn check_update(resource: &Resource, name: &str, before: &Value, after: &Value) -> Outcome<()> {
    if resource.nature == Nature::Secret && before["type"] != after["type"] {
        let why = format!("type: Invalid value: {}: field is immutable", after["type"]);
        return Err(invalid(resource, name, &why));
    }
    Ok(())
}

/// Whether it is deleted as soon as it has no finalizers.
pub(super) fn is_held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

pub(super) fn count_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_u64() {
        object["metadata"]["generation"] = (generation + 1).into();
    }
}

/// Whether anything changed of what the generation counts.
pub(super) fn is_new_generation(before: &Value, after: &Value) -> bool {
    fn counted(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
        let fields = object.as_object().into_iter().flatten();
        fields.filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status"))
    }
    counted(before).ne(counted(after))
}
