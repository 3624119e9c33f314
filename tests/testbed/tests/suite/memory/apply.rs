//! The cases of server-side apply.

use serde_json::{Value, json};

use super::step::{Case, Step, apply, create, delete, get, merge};

const CONFLICT: &str = "Conflict";

fn apply_target(metadata: Value, data: Value) -> Step {
    apply("secrets", "target", secret(metadata, data))
}

#[expect(clippy::needless_pass_by_value, reason = "a table reads better without &")]
fn secret(metadata: Value, data: Value) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
    secret["metadata"]["name"] = "target".into();
    secret
}

fn one() -> Value {
    json!({"a": "MQ=="})
}

fn two() -> Value {
    json!({"a": "Mg=="})
}

fn create_only() -> Value {
    json!({"resourceVersion": "1"})
}

fn fence(name: &str) -> Value {
    json!({"uid": format!("${name}.uid"), "resourceVersion": format!("${name}.version")})
}

fn owner(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential", "name": name, "uid": uid,
        "controller": true,
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        version_1_creates(),
        no_version_overwrites(),
        fenced(),
        no_change(),
        misfits(),
        dropped_keys(),
        shared_keys(),
        edits(),
        labels(),
        owner_references(),
        edited_owner_reference(),
        nulls(),
    ]
}

fn version_1_creates() -> Case {
    Case {
        name: "an apply of resourceVersion 1 creates and never overwrites",
        steps: vec![
            apply_target(create_only(), one())
                .gives(201, json!({"kind": "Secret", "data": {"a": "MQ=="}, "type": "Opaque"}))
                .keep("first"),
            apply_target(create_only(), two())
                .gives(409, json!({"kind": "Status", "reason": CONFLICT, "message": "~has been modified"})),
            get("secrets", "target").gives(
                200,
                json!({
                    "data": {"a": "MQ=="},
                    "metadata": {"uid": "$first.uid", "resourceVersion": "$first.version"},
                }),
            ),
        ],
    }
}

fn no_version_overwrites() -> Case {
    Case {
        name: "an apply without a version creates, and writes over what is there",
        steps: vec![
            apply_target(json!({}), one()).answers(201).keep("first"),
            apply_target(json!({}), two()).gives(
                200,
                json!({
                    "data": {"a": "Mg=="},
                    "metadata": {"uid": "$first.uid", "resourceVersion": "!$first.version"},
                }),
            ),
        ],
    }
}

fn fenced() -> Case {
    Case {
        name: "an apply fails on an object that was edited, swapped or is gone",
        steps: vec![
            apply_target(create_only(), one())
                .answers(201)
                .keep("first"),
            apply_target(fence("first"), two())
                .answers(200)
                .keep("second"),
            apply_target(fence("first"), one()).gives(
                409,
                json!({"reason": CONFLICT, "details": {"name": "target", "kind": "secrets"}}),
            ),
            delete("secrets", "target").gives(200, json!({"status": "Success"})),
            apply_target(fence("second"), one())
                .gives(409, json!({"reason": CONFLICT, "message": "~uid mismatch"})),
            get("secrets", "target")
                .gives(404, json!({"reason": "NotFound", "message": "secrets \"target\" not found"})),
            create("secrets", secret(json!({}), json!({}))).answers(201).keep("stranger"),
            apply_target(fence("second"), one())
                .gives(409, json!({"reason": CONFLICT})),
            apply_target(json!({"uid": "$second.uid"}), one())
                .gives(422, json!({"reason": "Invalid", "message": "~metadata.uid: Invalid value: \"$second.uid\": field is immutable"})),
            get("secrets", "target").gives(
                200,
                json!({
                    "data": null,
                    "metadata": {"uid": "$stranger.uid", "resourceVersion": "$stranger.version"},
                }),
            ),
        ],
    }
}

fn no_change() -> Case {
    Case {
        name: "an apply of what is there already writes nothing",
        steps: vec![
            apply_target(create_only(), one()).answers(201).keep("first"),
            apply_target(fence("first"), one())
                .gives(200, json!({"metadata": {"resourceVersion": "$first.version"}})),
            apply_target(json!({}), one())
                .by("other")
                .gives(200, json!({"metadata": {"uid": "$first.uid", "resourceVersion": "!$first.version"}})),
        ],
    }
}

fn misfits() -> Case {
    Case {
        name: "an apply has to fit its address and to name its manager",
        steps: vec![
            apply("secrets", "other", secret(json!({}), one())).gives(
                400,
                json!({"reason": "BadRequest", "message": "~does not match the name on the URL"}),
            ),
            apply_target(json!({"namespace": "elsewhere"}), one())
                .gives(400, json!({"reason": "BadRequest", "message": "~does not match the namespace"})),
            apply("leases", "target", secret(json!({}), one())).gives(400, json!({"reason": "BadRequest"})),
            apply_target(json!({}), one())
                .by("")
                .gives(422, json!({"reason": "Invalid", "message": "~is required for apply patch"})),
        ],
    }
}

fn dropped_keys() -> Case {
    Case {
        name: "an apply drops what it named before and leaves what others own",
        steps: vec![
            apply_target(create_only(), json!({"a": "MQ==", "b": "MQ=="})).answers(201),
            apply_target(json!({}), json!({"theirs": "MQ=="}))
                .by("other")
                .gives(200, json!({"data": {"a": "MQ==", "b": "MQ==", "theirs": "MQ=="}}))
                .keep("edited"),
            apply_target(fence("edited"), json!({"a": "Mg=="}))
                .gives(200, json!({"data": {"a": "Mg==", "b": null, "theirs": "MQ=="}})),
            apply_target(json!({}), json!({}))
                .by("other")
                .gives(200, json!({"data": {"a": "Mg==", "theirs": null}})),
            apply_target(json!({}), json!({})).gives(200, json!({"data": null})),
        ],
    }
}

fn shared_keys() -> Case {
    Case {
        name: "a field that two managers applied stays until neither names it",
        steps: vec![
            apply_target(json!({}), json!({"a": "MQ=="})).answers(201),
            apply_target(json!({}), json!({"a": "MQ=="})).by("other").answers(200),
            apply_target(json!({}), json!({})).gives(200, json!({"data": {"a": "MQ=="}})),
            apply_target(json!({}), json!({})).by("other").gives(200, json!({"data": null})),
        ],
    }
}

fn edits() -> Case {
    Case {
        name: "what an edit changed is its editor's, and what it left is not",
        steps: vec![
            apply_target(json!({}), json!({"a": "MQ==", "b": "MQ=="})).answers(201),
            merge("secrets", "target", json!({"data": {"a": "Mg=="}})).by("editor").answers(200),
            apply_target(json!({}), json!({})).gives(200, json!({"data": {"a": "Mg==", "b": null}})),
        ],
    }
}

fn labels() -> Case {
    Case {
        name: "labels, annotations and the type are owned one by one",
        steps: vec![
            apply(
                "secrets",
                "target",
                json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "example.org/token",
                    "metadata": {
                        "name": "target", "labels": {"a": "1", "b": "1"}, "annotations": {"c": "1"},
                    },
                    "data": {"token": "eA=="},
                }),
            )
            .gives(201, json!({"type": "example.org/token", "data": {"token": "eA=="}})),
            merge("secrets", "target", json!({"metadata": {"labels": {"theirs": "1"}}}))
                .by("editor")
                .answers(200),
            apply(
                "secrets",
                "target",
                json!({
                    "apiVersion": "v1", "kind": "Secret", "type": "example.org/token",
                    "metadata": {"name": "target", "labels": {"b": "2"}},
                }),
            )
            .gives(
                200,
                json!({
                    "data": null,
                    "metadata": {"annotations": null, "labels": {"a": null, "b": "2", "theirs": "1"}},
                }),
            ),
        ],
    }
}

fn owner_references() -> Case {
    Case {
        name: "an owner reference is owned as a whole, and another takes its place",
        steps: vec![
            apply_target(json!({"ownerReferences": [owner("one", "1-1")]}), json!({}))
                .gives(201, json!({"metadata": {"ownerReferences": [{"uid": "1-1"}]}})),
            merge(
                "secrets",
                "target",
                json!({"metadata": {"ownerReferences": [
                    owner("one", "1-1"),
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "9-9"},
                ]}}),
            )
            .by("editor")
            .answers(200),
            apply_target(json!({"ownerReferences": [owner("two", "2-2")]}), json!({})).gives(
                200,
                json!({"metadata": {"ownerReferences": [
                    {"uid": "9-9", "controller": null}, {"uid": "2-2", "name": "two", "controller": true},
                ]}}),
            ),
            apply_target(json!({}), json!({}))
                .gives(200, json!({"metadata": {"ownerReferences": [{"uid": "9-9"}]}})),
        ],
    }
}

fn edited_owner_reference() -> Case {
    let mut edited = owner("one", "1-1");
    edited["blockOwnerDeletion"] = true.into();
    Case {
        name: "an owner reference of which a part was edited is its editor's",
        steps: vec![
            apply_target(json!({"ownerReferences": [owner("one", "1-1")]}), json!({})).answers(201),
            merge("secrets", "target", json!({"metadata": {"ownerReferences": [edited]}}))
                .by("editor")
                .answers(200),
            apply_target(json!({}), json!({})).gives(
                200,
                json!({"metadata": {"ownerReferences": [{"uid": "1-1", "name": "one", "blockOwnerDeletion": true}]}}),
            ),
        ],
    }
}

fn nulls() -> Case {
    Case {
        name: "a null that is applied is owned, and takes nothing away",
        steps: vec![
            apply_target(json!({}), one()).answers(201).keep("first"),
            apply_target(json!({"labels": null}), one())
                .gives(200, json!({"metadata": {"labels": null, "resourceVersion": "!$first.version"}})),
            apply_target(json!({"labels": {"theirs": "1"}}), Value::Null)
                .by("other")
                .gives(200, json!({"data": {"a": "MQ=="}, "metadata": {"labels": {"theirs": "1"}}})),
            apply_target(json!({"labels": null}), one())
                .gives(200, json!({"metadata": {"labels": {"theirs": "1"}}})),
        ],
    }
}
