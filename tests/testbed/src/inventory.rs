//! The objects of a namespace as text, for the message of a failed test. Never the content of a Secret.

use std::fmt::Write;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

/// Where `kubectl apply` keeps the whole object, a Secret's content included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The number of objects shown of each kind: hundreds would hide the test's own message.
const SHOWN: usize = 20;
/// How many kinds are listed at once.
const PARALLEL: usize = 16;

/// Every object and every Event in `namespace`.
pub(crate) async fn of_namespace(client: &Client, namespace: &str) -> String {
    let discovery = match Discovery::new(client.clone()).run().await {
        Ok(discovery) => discovery,
        Err(error) => return format!("cannot be shown: {error}\n"),
    };
    let kinds: Vec<ApiResource> = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(_, capabilities)| {
            capabilities.scope == Scope::Namespaced && capabilities.supports_operation(verbs::LIST)
        })
        // The core group has the same Events once more.
        .filter(|(kind, _)| !(kind.kind == "Event" && kind.group.is_empty()))
        .map(|(kind, _)| kind)
        .collect();
    futures::stream::iter(kinds)
        .map(|kind| of_kind(client, namespace, kind))
        .buffered(PARALLEL)
        .collect()
        .await
}

async fn of_kind(client: &Client, namespace: &str, kind: ApiResource) -> String {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let mut text = String::new();
    match api.list(&ListParams::default()).await {
        Ok(objects) => {
            let is_of_test =
                |object: &DynamicObject| kind.kind != "ConfigMap" || object.name_any() != "kube-root-ca.crt";
            let objects: Vec<DynamicObject> = objects.items.into_iter().filter(is_of_test).collect();
            for object in objects.iter().take(SHOWN) {
                let _ = writeln!(text, "{}", line(&kind.kind, object));
            }
            if let Some(more) = objects.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                let _ = writeln!(text, "{} and {more} more", kind.kind);
            }
        }
        // Some kinds can only be created, whatever discovery says.
        Err(kube::Error::Api(status)) if status.code == 405 => {}
        Err(error) => {
            let _ = writeln!(text, "{}: cannot be listed: {error}", kind.kind);
        }
    }
    text
}

fn line(kind: &str, object: &DynamicObject) -> String {
    if kind == "Event" {
        let text = |pointer: &str| {
            let value = object.data.pointer(pointer);
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        return format!(
            "Event {} {} {}: {}",
            text("/regarding/kind"),
            text("/regarding/name"),
            text("/reason"),
            text("/note")
        );
    }
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("kind".to_owned(), kind.into());
    }
    format!("{kind} {}: {}", object.name_any(), without_secrets(value))
}

/// The object without the content of a Secret, and without what only a machine reads. What names no kind may be a
/// Secret.
pub(crate) fn without_secrets(mut object: Value) -> Value {
    let kind = object.get("kind").and_then(Value::as_str);
    let secret = kind.is_none_or(|kind| kind == "Secret");
    if let Some(map) = object.as_object_mut() {
        if secret {
            map.remove("data");
            map.remove("stringData");
        }
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            let annotations = metadata.get_mut("annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
    }
    object
}
