//! The cases of get, list and watch.

use serde_json::{Value, json};

use super::step::{Case, apply, create, delete, get, list, watch};

fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"key": value}})
}

fn named(name: &str) -> Value {
    json!({"kind": "Secret", "metadata": {"name": name}})
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        metadata_answers(),
        lists(),
        watch_order(),
        everywhere(),
        watch_from_the_present(),
        watch_from_the_forgotten(),
    ]
}

fn metadata_answers() -> Case {
    Case {
        name: "an answer as metadata holds the metadata and nothing else",
        steps: vec![
            apply("secrets", "target", secret("target", "MQ=="))
                .for_metadata()
                .gives(
                    201,
                    json!({
                        "kind": "PartialObjectMetadata",
                        "apiVersion": "meta.k8s.io/v1",
                        "metadata": {
                            "name": "target", "namespace": "?", "uid": "?", "resourceVersion": "?",
                            "creationTimestamp": "?", "generation": null,
                        },
                        "data": null,
                        "type": null,
                    }),
                )
                .keep("first"),
            get("secrets", "target").for_metadata().gives(
                200,
                json!({
                    "kind": "PartialObjectMetadata",
                    "metadata": {"uid": "$first.uid", "resourceVersion": "$first.version"},
                    "data": null,
                }),
            ),
            list("secrets").for_metadata().gives(
                200,
                json!({
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": "?"},
                    "items": [{"metadata": {"uid": "$first.uid"}, "data": null}],
                }),
            ),
            get("secrets", "none").for_metadata().gives(404, json!({"kind": "Status", "reason": "NotFound"})),
        ],
    }
}

fn lists() -> Case {
    Case {
        name: "a list is in the order of names, and bound to its namespace",
        steps: vec![
            list("secrets").parameter("fieldSelector", "metadata.name=b").gives(200, json!({"items": []})),
            create("secrets", secret("b", "MQ==")).answers(201),
            create("secrets", secret("a", "MQ==")).answers(201),
            list("secrets").gives(
                200,
                json!({
                    "kind": "SecretList",
                    "apiVersion": "v1",
                    "items": [{"metadata": {"name": "a"}, "data": {"key": "MQ=="}}, {"metadata": {"name": "b"}}],
                }),
            ),
            list("secrets").parameter("limit", "500").gives(
                200,
                json!({
                    "metadata": {"continue": null},
                    "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}],
                }),
            ),
            list("secrets")
                .parameter("fieldSelector", "metadata.name=b")
                .gives(200, json!({"items": [{"metadata": {"name": "b"}}]})),
            list("secrets").parameter("resourceVersion", "0").gives(200, json!({"kind": "SecretList"})),
            list("nonsense").gives(404, json!("404 page not found\n")),
        ],
    }
}

fn watch_order() -> Case {
    Case {
        name: "a watch tells what came after its version, in order, and then ends",
        steps: vec![
            create("secrets", secret("before", "MQ==")).answers(201).keep("before"),
            apply("secrets", "a", secret("a", "MQ==")).answers(201).keep("first"),
            apply("secrets", "a", secret("a", "MQ==")).answers(200),
            apply("secrets", "a", secret("a", "Mg==")).answers(200).keep("second"),
            create("secrets", secret("b", "MQ==")).answers(201),
            delete("secrets", "a").answers(200),
            watch("secrets", "$before.version").tells(&[
                (
                    "ADDED",
                    json!({"data": {"key": "MQ=="}, "metadata": {"resourceVersion": "$first.version"}}),
                ),
                (
                    "MODIFIED",
                    json!({"data": {"key": "Mg=="}, "metadata": {"resourceVersion": "$second.version"}}),
                ),
                ("ADDED", named("b")),
                (
                    "DELETED",
                    json!({
                        "data": {"key": "Mg=="},
                        "metadata": {"name": "a", "uid": "$first.uid", "resourceVersion": "!$second.version"},
                    }),
                ),
            ]),
            watch("secrets", "$second.version")
                .parameter("fieldSelector", "metadata.name=b")
                .tells(&[("ADDED", named("b"))]),
            watch("secrets", "$before.version").for_metadata().tells(&[
                ("ADDED", json!({"kind": "PartialObjectMetadata", "metadata": {"name": "a"}, "data": null})),
                ("MODIFIED", json!({"kind": "PartialObjectMetadata", "data": null})),
                ("ADDED", json!({"kind": "PartialObjectMetadata", "data": null})),
                ("DELETED", json!({"kind": "PartialObjectMetadata", "metadata": {"name": "a"}})),
            ]),
        ],
    }
}

fn everywhere() -> Case {
    let name = "of-$namespace";
    Case {
        name: "a list and a watch over all namespaces say where an object lies",
        steps: vec![
            create("secrets", secret(name, "MQ==")).answers(201),
            list("secrets")
                .everywhere(name)
                .for_metadata()
                .gives(200, json!({"items": [{"metadata": {"name": name, "namespace": "$namespace"}}]})),
            watch("secrets", "0")
                .everywhere(name)
                .tells(&[("ADDED", json!({"metadata": {"name": name, "namespace": "$namespace"}}))]),
        ],
    }
}

fn watch_from_the_present() -> Case {
    Case {
        name: "a watch without a version begins with what is there",
        steps: vec![
            create("secrets", secret("a", "MQ==")).answers(201),
            watch("secrets", "").tells(&[("ADDED", named("a"))]),
            watch("secrets", "0").tells(&[("ADDED", named("a"))]),
        ],
    }
}

fn watch_from_the_forgotten() -> Case {
    Case {
        name: "a watch from a forgotten version is told so",
        steps: vec![watch("secrets", "1").tells(&[(
            "ERROR",
            json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "~too old resource version: 1"}),
        )])],
    }
}
