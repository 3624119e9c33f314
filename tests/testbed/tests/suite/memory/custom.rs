//! The cases of the custom resource: its generation, and its status.

use serde_json::{Value, json};

use super::step::{Case, Step, apply, create, delete, get, json_patch, merge, replace};

const CREDENTIALS: &str = "idissuercredentials";
const STATUS: &str = "billing/status";

/// A credential whose renewal has this strategy, with all that the schema would add.
fn credential(strategy: &str) -> Value {
    json!({
        "apiVersion": "idissuer.pl/v1alpha1",
        "kind": "IdIssuerCredential",
        "metadata": {"name": "billing"},
        "spec": {
            "loginSecretRef": {"name": "login", "usernameKey": "username", "passwordKey": "password"},
            "renewal": {"strategy": strategy},
        },
    })
}

fn created() -> Step {
    create(CREDENTIALS, credential("Auto"))
        .by("user")
        .gives(201, json!({"metadata": {"generation": 1}, "status": null}))
        .keep("first")
}

/// As the operator writes a status of a version that it knows.
#[expect(clippy::needless_pass_by_value, reason = "a table reads better without &")]
fn replace_status(uid: &str, version: &str, status: Value) -> Step {
    let body = json!({
        "apiVersion": "idissuer.pl/v1alpha1",
        "kind": "IdIssuerCredential",
        "metadata": {"name": "billing", "namespace": "$namespace", "uid": uid, "resourceVersion": version},
        "status": status,
    });
    replace(CREDENTIALS, STATUS, body)
}

/// As the operator writes a status, whatever stands there.
#[expect(clippy::needless_pass_by_value, reason = "a table reads better without &")]
fn write_status(uid: &str, status: Value) -> Step {
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    json_patch(CREDENTIALS, STATUS, patch)
}

pub(super) fn cases() -> Vec<Case> {
    vec![generation(), two_halves(), status_and_uid(), replaced_status(), finalizers()]
}

fn generation() -> Case {
    Case {
        name: "the generation moves with the spec and with nothing else",
        steps: vec![
            created(),
            merge(CREDENTIALS, "billing", json!({"metadata": {"annotations": {"a": "1"}}}))
                .gives(200, json!({"metadata": {"generation": 1, "resourceVersion": "!$first.version"}}))
                .keep("second"),
            merge(CREDENTIALS, "billing", json!({"metadata": {"annotations": {"a": "1"}, "generation": 7}}))
                .gives(200, json!({"metadata": {"generation": 1, "resourceVersion": "$second.version"}})),
            merge(CREDENTIALS, STATUS, json!({"status": {"observedGeneration": 1}}))
                .gives(200, json!({"metadata": {"generation": 1, "resourceVersion": "!$second.version"}})),
            merge(CREDENTIALS, "billing", json!({"spec": {"renewal": {"strategy": "Login"}}}))
                .gives(200, json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}})),
            apply(CREDENTIALS, "billing", credential("Auto")).by("user").gives(
                200,
                json!({"metadata": {"generation": 3}, "spec": {"renewal": {"strategy": "Auto"}}}),
            ),
        ],
    }
}

fn two_halves() -> Case {
    Case {
        name: "a write to the resource leaves the status, and the other way round",
        steps: vec![
            created(),
            write_status("$first.uid", json!({"secretName": "target"})).gives(
                200,
                json!({
                    "spec": {"loginSecretRef": {"name": "login"}},
                    "status": {"secretName": "target"},
                    "metadata": {"uid": "$first.uid", "resourceVersion": "!$first.version"},
                }),
            ),
            merge(
                CREDENTIALS,
                "billing",
                json!({"status": {"secretName": "mine"}, "metadata": {"labels": {"a": "1"}}}),
            )
            .gives(200, json!({"status": {"secretName": "target"}, "metadata": {"labels": {"a": "1"}}})),
            merge(
                CREDENTIALS,
                STATUS,
                json!({
                    "status": {"observedGeneration": 4},
                    "spec": {"renewal": {"strategy": "Login"}},
                    "metadata": {"labels": {"a": "2"}},
                }),
            )
            .gives(
                200,
                json!({
                    "status": {"secretName": "target", "observedGeneration": 4},
                    "spec": {"renewal": {"strategy": "Auto"}},
                    "metadata": {"generation": 1, "labels": {"a": "1"}},
                }),
            ),
            get(CREDENTIALS, STATUS).gives(200, json!({"status": {"secretName": "target"}})),
        ],
    }
}

fn status_and_uid() -> Case {
    Case {
        name: "a status is written whole, to the credential of that uid and version only",
        steps: vec![
            write_status("1-1", json!({})).gives(404, json!({"reason": "NotFound"})),
            created(),
            write_status("1-1", json!({"observedGeneration": 1})).gives(422, json!({"reason": "Invalid"})),
            write_status("$first.uid", json!({"observedGeneration": 1, "secretName": "target"}))
                .gives(200, json!({"metadata": {"uid": "$first.uid"}, "status": {"observedGeneration": 1}}))
                .keep("second"),
            write_status("$first.uid", json!({"observedGeneration": 1, "secretName": "target"}))
                .gives(200, json!({"metadata": {"resourceVersion": "$second.version"}})),
            json_patch(
                CREDENTIALS,
                STATUS,
                json!([
                    {"op": "test", "path": "/metadata/uid", "value": "$first.uid"},
                    {"op": "add", "path": "/status", "value": {"observedGeneration": 2}},
                    {"op": "add", "path": "/metadata/resourceVersion", "value": "$first.version"},
                ]),
            )
            .gives(409, json!({"reason": "Conflict", "message": "~has been modified"})),
            write_status("$first.uid", json!({"observedGeneration": 3}))
                .for_metadata()
                .gives(200, json!({"kind": "PartialObjectMetadata", "status": null})),
            get(CREDENTIALS, "billing")
                .gives(200, json!({"status": {"observedGeneration": 3, "secretName": null}})),
            delete(CREDENTIALS, "billing").gives(200, json!({"status": "Success"})),
            write_status("$first.uid", json!({})).gives(404, json!({"reason": "NotFound"})),
        ],
    }
}

fn replaced_status() -> Case {
    Case {
        name: "a status that is put is one of that uid and version, and leaves the rest",
        steps: vec![
            replace_status("1-1", "1", json!({})).gives(404, json!({"reason": "NotFound"})),
            created(),
            merge(CREDENTIALS, STATUS, json!({"status": {"lastHandledRenewRequest": "now"}}))
                .by("user")
                .answers(200)
                .keep("second"),
            replace_status("1-1", "$second.version", json!({})).gives(409, json!({"reason": "Conflict"})),
            replace_status("$first.uid", "$first.version", json!({"observedGeneration": 1}))
                .gives(409, json!({"reason": "Conflict", "message": "~has been modified"})),
            replace_status("$first.uid", "$second.version", json!({"observedGeneration": 1}))
                .for_metadata()
                .gives(
                    200,
                    json!({"kind": "PartialObjectMetadata", "metadata": {"generation": 1, "uid": "$first.uid"}}),
                )
                .keep("third"),
            get(CREDENTIALS, "billing").gives(
                200,
                json!({
                    "spec": {"loginSecretRef": {"name": "login"}},
                    "status": {"observedGeneration": 1, "lastHandledRenewRequest": null},
                    "metadata": {"resourceVersion": "$third.version"},
                }),
            ),
            replace_status("$first.uid", "$third.version", json!({"observedGeneration": 1}))
                .gives(200, json!({"metadata": {"resourceVersion": "$third.version"}})),
            replace_status("$first.uid", "", json!({})).gives(422, json!({"reason": "Invalid"})),
        ],
    }
}

fn finalizers() -> Case {
    Case {
        name: "a credential with finalizers goes when the last of them goes",
        steps: vec![
            create(CREDENTIALS, {
                let mut held = credential("Auto");
                held["metadata"]["finalizers"] = json!(["example.org/hold"]);
                held
            })
            .answers(201)
            .keep("first"),
            delete(CREDENTIALS, "billing")
                .gives(
                    200,
                    json!({
                        "kind": "IdIssuerCredential",
                        "metadata": {
                            "uid": "$first.uid", "resourceVersion": "!$first.version", "generation": 2,
                            "deletionTimestamp": "?", "deletionGracePeriodSeconds": 0,
                        },
                    }),
                )
                .keep("second"),
            delete(CREDENTIALS, "billing")
                .gives(200, json!({"metadata": {"resourceVersion": "$second.version"}})),
            merge(CREDENTIALS, "billing", json!({"metadata": {"labels": {"a": "1"}}}))
                .gives(200, json!({"metadata": {"generation": 2, "deletionTimestamp": "?"}})),
            merge(CREDENTIALS, "billing", json!({"metadata": {"finalizers": null}}))
                .gives(200, json!({"metadata": {"uid": "$first.uid", "finalizers": null}})),
            get(CREDENTIALS, "billing").gives(404, json!({"reason": "NotFound"})),
        ],
    }
}
