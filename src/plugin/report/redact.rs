//! What of an object may leave the cluster.

use serde_json::Value;

/// What stands in place of a value.
const REDACTED: &str = "redacted";
/// The annotations that are shown: ours, and those that ask for scrapes. Others may hold anything, as a copy of the whole
/// object that kubectl or another tool keeps there.
const SHOWN_ANNOTATIONS: [&str; 2] = ["idissuer.pl/", "prometheus.io/"];

/// Removes what may hold a secret or is of no use: annotations of others, and who wrote which field.
fn tidy(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| SHOWN_ANNOTATIONS.iter().any(|domain| name.starts_with(domain)));
    }
}

/// A credential without the text of its template, which may hold constants.
pub(super) fn credential(mut object: Value) -> Value {
    tidy(&mut object);
    for place in ["/spec/target/template/data", "/spec/target/template/metadata/annotations"] {
        redact_all(object.pointer_mut(place));
    }
    object
}

/// The metadata of a Secret, without values in any case.
pub(super) fn secret(mut object: Value) -> Value {
    tidy(&mut object);
    if let Some(object) = object.as_object_mut() {
        object.remove("data");
        object.remove("stringData");
    }
    object
}

/// A pod without the values of its environment.
pub(super) fn pod(mut object: Value) -> Value {
    tidy(&mut object);
    for place in ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"] {
        let containers = object.pointer_mut(place).and_then(Value::as_array_mut);
        let variables = containers.into_iter().flatten().filter_map(|container| container.get_mut("env"));
        for variable in variables.filter_map(Value::as_array_mut).flatten() {
            if let Some(value) = variable.get_mut("value") {
                *value = REDACTED.into();
            }
        }
    }
    object
}

fn redact_all(map: Option<&mut Value>) {
    for value in map.and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut()) {
        *value = REDACTED.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

    #[test]
    fn nothing_that_may_hold_a_secret_is_left() {
        let annotations =
            json!({LAST_APPLIED: "hush", "other.example/a": "hush", "idissuer.pl/credential": "billing"});
        let metadata = json!({"name": "billing", "managedFields": ["hush"], "annotations": annotations});
        let template = json!({"data": {"a": "hush"}, "metadata": {"annotations": {"b": "hush"}}});
        let of_secret =
            secret(json!({"metadata": metadata, "data": {"a": "hush"}, "stringData": {"a": "hush"}}));
        assert_eq!(
            of_secret,
            json!({"metadata": {"name": "billing", "annotations": {"idissuer.pl/credential": "billing"}}})
        );
        let named = json!({
            "name": "billing", "managedFields": ["hush"],
            "annotations": {LAST_APPLIED: "hush", "kapp.k14s.io/original": "hush", "prometheus.io/scrape": "true"},
        });
        let of_credential =
            credential(json!({"metadata": named, "spec": {"target": {"template": template}}}));
        let containers =
            json!([{"name": "controller", "env": [{"name": "A", "value": "hush"}, {"name": "B"}]}]);
        let of_pod = pod(
            json!({"metadata": named, "spec": {"containers": containers, "initContainers": containers, "ephemeralContainers": containers}}),
        );
        for object in [of_credential, of_pod] {
            assert!(
                !object.to_string().contains("hush") && object.to_string().contains(REDACTED),
                "{object}"
            );
        }
    }
}
