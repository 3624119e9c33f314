//! The cases of the custom resource: its generation, and its status.

use serde_json::{Value, json};

use super::step::{Case, Step, apply, create, delete, get, merge, replace};

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

#[expect(clippy::needless_pass_by_value, reason = "a table reads better without &")]
fn status(uid: &str, status: Value) -> Value {
    json!({
        "apiVersion": "idissuer.pl/v1alpha1",
        "kind": "IdIssuerCredential",
        "metadata": {"name": "billing", "uid": uid},
        "status": status,
    })
}

fn condition(kind: &str, reason: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![generation(), two_halves(), applied_status(), status_and_uid(), replacement(), finalizers()]
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
            apply(CREDENTIALS, STATUS, status("$first.uid", json!({"observedGeneration": 1})))
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
            apply(CREDENTIALS, STATUS, status("$first.uid", json!({"secretName": "target"}))).gives(
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

fn applied_status() -> Case {
    Case {
        name: "the status that is applied replaces the status that was applied",
        steps: vec![
            created(),
            apply(
                CREDENTIALS,
                STATUS,
                status(
                    "$first.uid",
                    json!({
                        "observedGeneration": 1,
                        "conditions": [condition("Ready", "A"), condition("Reconciling", "B")],
                        "login": {"rejections": 1},
                    }),
                ),
            )
            .gives(200, json!({"status": {"conditions": [{"type": "Ready"}, {"type": "Reconciling"}]}})),
            apply(
                CREDENTIALS,
                STATUS,
                status("$first.uid", json!({"conditions": [condition("Theirs", "C")]})),
            )
            .by("other")
            .gives(
                200,
                json!({"status": {"conditions": [{"type": "Ready"}, {"type": "Reconciling"}, {"type": "Theirs"}]}}),
            )
            .keep("second"),
            apply(
                CREDENTIALS,
                STATUS,
                status("$first.uid", json!({"conditions": [condition("Ready", "D")]})),
            )
            .gives(
                200,
                json!({"status": {
                    "observedGeneration": null,
                    "login": null,
                    "conditions": [{"type": "Ready", "reason": "D"}, {"type": "Theirs", "reason": "C"}],
                }}),
            )
            .keep("third"),
            apply(
                CREDENTIALS,
                STATUS,
                status("$first.uid", json!({"conditions": [condition("Ready", "D")]})),
            )
            .gives(200, json!({"metadata": {"resourceVersion": "$third.version"}})),
            apply(
                CREDENTIALS,
                STATUS,
                status("$first.uid", json!({"conditions": [condition("Ready", "D")]})),
            )
            .for_metadata()
            .gives(200, json!({"kind": "PartialObjectMetadata", "status": null})),
        ],
    }
}

fn status_and_uid() -> Case {
    Case {
        // The uid is no fence here: the API server puts back all metadata, whatever was sent.
        name: "a status goes to whatever credential has the name",
        steps: vec![
            apply(CREDENTIALS, STATUS, status("1-1", json!({"observedGeneration": 1})))
                .gives(404, json!({"reason": "NotFound"})),
            created(),
            apply(CREDENTIALS, STATUS, status("1-1", json!({"observedGeneration": 1})))
                .gives(200, json!({"metadata": {"uid": "$first.uid"}, "status": {"observedGeneration": 1}})),
            apply(CREDENTIALS, STATUS, {
                let mut old = status("$first.uid", json!({"observedGeneration": 2}));
                old["metadata"]["resourceVersion"] = "$first.version".into();
                old
            })
            .gives(409, json!({"reason": "Conflict", "message": "~has been modified"})),
            delete(CREDENTIALS, "billing").gives(200, json!({"status": "Success"})),
            apply(CREDENTIALS, STATUS, status("$first.uid", json!({"observedGeneration": 1})))
                .gives(404, json!({"reason": "NotFound"})),
        ],
    }
}

fn replacement() -> Case {
    Case {
        name: "a credential is replaced at its version only, and created without one",
        steps: vec![
            created(),
            create(CREDENTIALS, credential("Auto")).gives(
                409,
                json!({
                    "reason": "AlreadyExists",
                    "message": "idissuercredentials.idissuer.pl \"billing\" already exists",
                }),
            ),
            replace(CREDENTIALS, "billing", credential("Login"))
                .gives(422, json!({"reason": "Invalid", "message": "~metadata.resourceVersion"})),
            replace(CREDENTIALS, "none", {
                let mut none = credential("Login");
                none["metadata"] = json!({"name": "none", "resourceVersion": "$first.version"});
                none
            })
            .gives(404, json!({"reason": "NotFound"})),
            replace(CREDENTIALS, "billing", {
                let mut changed = credential("Login");
                changed["metadata"]["resourceVersion"] = "$first.version".into();
                changed
            })
            .gives(200, json!({"metadata": {"generation": 2}})),
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
