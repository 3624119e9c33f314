//! The cases of get, list and watch.

use serde_json::{Value, json};

use super::step::{Case, apply, create, delete, get, list, watch};

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"key": value}})
}

pub(super) fn metadata() -> Vec<Case> {
    vec![
        Case {
            name: "an answer as metadata holds the metadata and nothing else",
            steps: vec![
                apply("secrets", "target", secret("target", "MQ=="))
                    .as_metadata()
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
                get("secrets", "target").as_metadata().gives(
                    200,
                    json!({
                        "kind": "PartialObjectMetadata",
                        "metadata": {"uid": "$first.uid", "resourceVersion": "$first.version"},
                        "data": null,
                    }),
                ),
                list("secrets").as_metadata().gives(
                    200,
                    json!({
                        "kind": "PartialObjectMetadataList",
                        "apiVersion": "meta.k8s.io/v1",
                        "metadata": {"resourceVersion": "?"},
                        "items": [{"metadata": {"uid": "$first.uid"}, "data": null}],
                    }),
                ),
                get("secrets", "none").as_metadata().gives(404, json!({"kind": "Status", "reason": "NotFound"})),
            ],
        },
        Case {
            name: "a list is in the order of names, and bound to its namespace",
            steps: vec![
                list("configmaps").parameter("fieldSelector", "metadata.name=b").gives(200, json!({"items": []})),
                create("configmaps", map("b", "1")).gives(201, json!({})),
                create("configmaps", map("a", "1")).gives(201, json!({})),
                list("configmaps").gives(
                    200,
                    json!({
                        "kind": "ConfigMapList",
                        "apiVersion": "v1",
                        "items": [{"metadata": {"name": "a"}, "data": {"key": "1"}}, {"metadata": {"name": "b"}}],
                    }),
                ),
                list("configmaps").parameter("limit", "500").gives(
                    200,
                    json!({
                        "metadata": {"continue": null},
                        "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}],
                    }),
                ),
                list("configmaps")
                    .parameter("fieldSelector", "metadata.name=b")
                    .gives(200, json!({"items": [{"metadata": {"name": "b"}}]})),
                list("configmaps")
                    .parameter("resourceVersion", "0")
                    .gives(200, json!({"kind": "ConfigMapList"})),
                list("nonsense").gives(404, json!("404 page not found\n")),
            ],
        },
    ]
}

pub(super) fn watches() -> Vec<Case> {
    let named = |name: &str| json!({"kind": "ConfigMap", "metadata": {"name": name}});
    vec![
        Case {
            name: "a watch tells what came after its version, in order, and then ends",
            steps: vec![
                create("configmaps", map("before", "1")).gives(201, json!({})).keep("before"),
                apply("configmaps", "a", map("a", "1")).gives(201, json!({})).keep("first"),
                apply("configmaps", "a", map("a", "1")).gives(200, json!({})),
                apply("configmaps", "a", map("a", "2")).gives(200, json!({})).keep("second"),
                create("configmaps", map("b", "1")).gives(201, json!({})),
                delete("configmaps", "a").gives(200, json!({})),
                watch("configmaps", "$before.version").tells(&[
                    ("ADDED", json!({"data": {"key": "1"}, "metadata": {"resourceVersion": "$first.version"}})),
                    ("MODIFIED", json!({"data": {"key": "2"}, "metadata": {"resourceVersion": "$second.version"}})),
                    ("ADDED", named("b")),
                    (
                        "DELETED",
                        json!({
                            "data": {"key": "2"},
                            "metadata": {"name": "a", "uid": "$first.uid", "resourceVersion": "!$second.version"},
                        }),
                    ),
                ]),
                watch("configmaps", "$second.version")
                    .parameter("fieldSelector", "metadata.name=b")
                    .tells(&[("ADDED", named("b"))]),
                watch("configmaps", "$before.version").as_metadata().tells(&[
                    ("ADDED", json!({"kind": "PartialObjectMetadata", "metadata": {"name": "a"}, "data": null})),
                    ("MODIFIED", json!({"kind": "PartialObjectMetadata", "data": null})),
                    ("ADDED", json!({"kind": "PartialObjectMetadata", "data": null})),
                    ("DELETED", json!({"kind": "PartialObjectMetadata", "metadata": {"name": "a"}})),
                ]),
            ],
        },
        Case {
            name: "a watch without a version begins with what is there",
            steps: vec![
                create("configmaps", map("a", "1")).gives(201, json!({})),
                watch("configmaps", "").tells(&[("ADDED", named("a"))]),
                watch("configmaps", "0").tells(&[("ADDED", named("a"))]),
            ],
        },
        Case {
            name: "a watch from a forgotten version is told so",
            steps: vec![watch("configmaps", "1").tells(&[(
                "ERROR",
                json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "~too old resource version: 1"}),
            )])],
        },
    ]
}
