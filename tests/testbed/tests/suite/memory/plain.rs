//! The cases of the kinds that Kubernetes brings, and of deletion.

use serde_json::{Value, json};

use super::step::{Case, apply, create, delete, get, merge};

#[expect(clippy::needless_pass_by_value, reason = "a table reads better without &")]
fn secret(fields: Value) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}});
    for (field, value) in fields.as_object().unwrap() {
        secret[field] = value.clone();
    }
    secret
}

fn lease(holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "leader"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-01T00:00:00.000000Z",
            "renewTime": "2026-01-01T00:00:00.000000Z",
            "leaseTransitions": 0,
        },
    })
}

fn renewed(version: &str) -> Value {
    json!({"metadata": {"resourceVersion": version}, "spec": {"renewTime": "2026-01-01T00:00:05.000000Z"}})
}

pub(super) fn cases() -> Vec<Case> {
    vec![leases(), events(), secret_type(), broken_secret(), deletion(), edits_of_another()]
}

fn leases() -> Case {
    Case {
        name: "a lease is created once, and taken by whoever read it last",
        steps: vec![
            merge("leases", "leader", renewed("1")).gives(404, json!({"reason": "NotFound"})),
            create("leases", lease("one"))
                .gives(201, json!({"spec": {"holderIdentity": "one"}, "metadata": {"generation": null}}))
                .keep("first"),
            create("leases", lease("two")).gives(
                409,
                json!({"reason": "AlreadyExists", "message": "leases.coordination.k8s.io \"leader\" already exists"}),
            ),
            merge("leases", "leader", renewed("$first.version"))
                .gives(
                    200,
                    json!({
                        "spec": {
                            "holderIdentity": "one", "leaseDurationSeconds": 15,
                            "renewTime": "2026-01-01T00:00:05.000000Z",
                        },
                        "metadata": {"resourceVersion": "!$first.version"},
                    }),
                )
                .keep("second"),
            merge("leases", "leader", renewed("$first.version"))
                .gives(409, json!({"reason": "Conflict", "message": "~has been modified"})),
            merge("leases", "leader", renewed("$second.version"))
                .gives(200, json!({"metadata": {"resourceVersion": "$second.version"}})),
            merge(
                "leases",
                "leader",
                json!({"metadata": {"resourceVersion": "$second.version"}, "spec": {"holderIdentity": null}}),
            )
            .gives(200, json!({"spec": {"holderIdentity": null, "leaseDurationSeconds": 15}})),
        ],
    }
}

fn events() -> Case {
    Case {
        name: "an event is created, and becomes a series",
        steps: vec![
            create(
                "events",
                json!({
                    "apiVersion": "events.k8s.io/v1",
                    "kind": "Event",
                    "metadata": {"name": "billing.1", "namespace": "$namespace"},
                    "eventTime": "2026-01-01T00:00:00.000000Z",
                    "regarding": {
                        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential", "name": "billing",
                        "namespace": "$namespace",
                    },
                    "action": "Renew",
                    "reason": "Renewed",
                    "note": "a new token",
                    "type": "Normal",
                    "reportingController": "idissuer.pl/operator",
                    "reportingInstance": "one",
                }),
            )
            .gives(201, json!({"reason": "Renewed", "note": "a new token"})),
            merge(
                "events",
                "billing.1",
                json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:10.000000Z"}}),
            )
            .gives(200, json!({"series": {"count": 2}, "note": "a new token"})),
            merge("events", "none", json!({"note": "x"})).gives(404, json!({"reason": "NotFound"})),
        ],
    }
}

fn secret_type() -> Case {
    Case {
        name: "the type of a Secret never changes",
        steps: vec![
            create("secrets", secret(json!({"data": {"a": "MQ=="}})))
                .gives(201, json!({"type": "Opaque", "data": {"a": "MQ=="}})),
            apply("secrets", "login", secret(json!({"type": "example.org/other"}))).gives(
                422,
                json!({
                    "reason": "Invalid",
                    "message": "~Secret \"login\" is invalid: type: Invalid value: \"example.org/other\": field is immutable",
                }),
            ),
            merge("secrets", "login", json!({"data": {"a": "Mg==", "b": "MQ=="}}))
                .gives(200, json!({"data": {"a": "Mg==", "b": "MQ=="}})),
            merge("secrets", "login", json!({"data": {"a": null}}))
                .gives(200, json!({"data": {"a": null, "b": "MQ=="}})),
        ],
    }
}

fn broken_secret() -> Case {
    Case {
        name: "a Secret whose data is not base64 is refused",
        steps: vec![
            create("secrets", secret(json!({"data": {"a": "?"}})))
                .gives(400, json!({"reason": "BadRequest"})),
            get("secrets", "login").gives(404, json!({"reason": "NotFound"})),
        ],
    }
}

fn deletion() -> Case {
    Case {
        name: "what is deleted is gone, and a new object has another uid",
        steps: vec![
            create("secrets", secret(json!({}))).answers(201).keep("first"),
            delete("secrets", "login").gives(
                200,
                json!({
                    "kind": "Status", "status": "Success",
                    "details": {"name": "login", "kind": "secrets", "uid": "$first.uid"},
                }),
            ),
            delete("secrets", "login")
                .gives(404, json!({"reason": "NotFound", "message": "secrets \"login\" not found"})),
            create("secrets", secret(json!({}))).gives(201, json!({"metadata": {"uid": "!$first.uid"}})),
        ],
    }
}

fn edits_of_another() -> Case {
    Case {
        name: "an edit of another version or uid is refused",
        steps: vec![
            create("secrets", secret(json!({"metadata": {"name": "login", "resourceVersion": "5"}})))
                .gives(500, json!({"message": "resourceVersion should not be set on objects to be created"})),
            create("secrets", secret(json!({"data": {"a": "MQ=="}}))).answers(201).keep("first"),
            merge("secrets", "login", json!({"metadata": {"resourceVersion": "1"}}))
                .gives(409, json!({"reason": "Conflict"})),
            merge("secrets", "login", json!({"metadata": {"uid": "1-1"}}))
                .gives(422, json!({"reason": "Invalid", "message": "~metadata.uid: Invalid value"})),
        ],
    }
}
