//! What the API server accepts and refuses, and the sentence that the user gets: the rules of `src/api` where they run.
//! The table is `resource_rules.yaml`.

use std::collections::BTreeMap;

use idissuer::api::{GROUP, IdIssuerCredential, KIND, PLURAL, VERSION, rules};
use idissuer_testbed::TestNamespace;
use idissuer_testbed::memory::merge_patch;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::CLUSTER;

const MANAGER: &str = "idissuer-tests";
const NAME: &str = "billing";

/// What is refused: the field, and the end of the message.
type Refusals = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Table {
    creations: Vec<Creation>,
    updates: Vec<Update>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    what: String,
    spec: Value,
    #[serde(default)]
    refused: Refusals,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    what: String,
    before: Value,
    after: Value,
    #[serde(default)]
    refused: Refusals,
}

fn table() -> Table {
    serde_saphyr::from_str(include_str!("resource_rules.yaml")).unwrap()
}

#[tokio::test]
async fn a_resource_is_accepted_or_refused_with_a_sentence_that_says_what_to_do() {
    let namespace = make_namespace("resource-rules").await;
    let credentials = untyped(&namespace);
    let mut wrong = Vec::new();
    for Creation { what, spec, refused } in table().creations {
        let answer = apply(&credentials, &spec, true).await;
        wrong.extend(difference(&what, answer, &refused));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_update_never_changes_the_effective_name_of_the_target() {
    let namespace = make_namespace("resource-updates").await;
    let credentials = untyped(&namespace);
    let mut wrong = Vec::new();
    for Update { what, before, after, refused } in table().updates {
        let created = apply(&credentials, &before, false).await;
        wrong.extend(difference(&what, created, &Refusals::new()));
        let updated = apply(&credentials, &after, true).await;
        wrong.extend(difference(&what, updated, &refused));
        credentials.delete(NAME, &DeleteParams::default()).await.unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_is_too_long_or_too_much_is_refused_and_the_limit_is_named() {
    let namespace = make_namespace("resource-bounds").await;
    let credentials = untyped(&namespace);
    let keys = |count| -> Value {
        (0..count).map(|key| (format!("key-{key}"), json!(""))).collect::<serde_json::Map<_, _>>().into()
    };
    let template = |template: Value| json!({"target": {"template": template}});
    let long = |length| "x".repeat(length);
    let texts = |count, length| -> Value {
        (0..count)
            .map(|key| (format!("key-{key}"), json!(long(length))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let label = |length| json!({"metadata": {"labels": {format!("{}/team", "x".repeat(length - 5)): ""}}});
    let path = |length| format!("/{}", "x".repeat(length - 1));

    let namespaces = |count| (0..count).map(|number| format!("namespace-{number}")).collect::<Vec<_>>();
    let bytes = |limit| format!("may not be more than {limit} bytes");
    let items = |limit| format!("must have at most {limit} items");
    let cases = [
        (
            "spec.loginSecretRef.name",
            json!({"loginSecretRef": {"name": long(rules::NAME_MAX_LENGTH)}}),
            json!({"loginSecretRef": {"name": long(rules::NAME_MAX_LENGTH + 1)}}),
            bytes(rules::NAME_MAX_LENGTH),
        ),
        (
            "spec.allowedNamespaces.names",
            json!({"allowedNamespaces": {"names": namespaces(rules::ALLOWED_NAMESPACES_MAX)}}),
            json!({"allowedNamespaces": {"names": namespaces(rules::ALLOWED_NAMESPACES_MAX + 1)}}),
            items(rules::ALLOWED_NAMESPACES_MAX),
        ),
        (
            "spec.credentialRef.namespace",
            json!({"loginSecretRef": null, "credentialRef": {"namespace": long(63), "name": "other"}}),
            json!({"loginSecretRef": null, "credentialRef": {"namespace": long(64), "name": "other"}}),
            bytes(rules::NAMESPACE_MAX_LENGTH),
        ),
        (
            "spec.issuer.tokenPath",
            json!({"issuer": {"tokenPath": path(rules::PATH_MAX_LENGTH)}}),
            json!({"issuer": {"tokenPath": path(rules::PATH_MAX_LENGTH + 1)}}),
            bytes(rules::PATH_MAX_LENGTH),
        ),
        (
            "spec.target.template.data",
            template(json!({"data": keys(rules::TEMPLATE_MAX_KEYS)})),
            template(json!({"data": keys(rules::TEMPLATE_MAX_KEYS + 1)})),
            items(rules::TEMPLATE_MAX_KEYS),
        ),
        (
            "spec.target.template.data.token",
            template(json!({"data": {"token": long(rules::TEMPLATE_VALUE_MAX_LENGTH)}})),
            template(json!({"data": {"token": long(rules::TEMPLATE_VALUE_MAX_LENGTH + 1)}})),
            bytes(rules::TEMPLATE_VALUE_MAX_LENGTH),
        ),
        (
            "spec.target.template.data",
            template(json!({"data": texts(4, rules::TEMPLATE_TEXT_MAX_LENGTH / 4)})),
            template(json!({"data": texts(5, rules::TEMPLATE_TEXT_MAX_LENGTH / 5 + 1)})),
            "the values have more than 64 KiB of text in total: shorten them".to_owned(),
        ),
        (
            "spec.target.template.data",
            template(json!({"data": {long(rules::NAME_MAX_LENGTH): ""}})),
            template(json!({"data": {long(rules::NAME_MAX_LENGTH + 1): ""}})),
            "at most 253 characters, neither '.' alone nor beginning with '..'".to_owned(),
        ),
        (
            "spec.target.template.metadata.labels.team",
            template(json!({"metadata": {"labels": {"team": long(rules::LABEL_VALUE_MAX_LENGTH)}}})),
            template(json!({"metadata": {"labels": {"team": long(rules::LABEL_VALUE_MAX_LENGTH + 1)}}})),
            bytes(rules::LABEL_VALUE_MAX_LENGTH),
        ),
        (
            "spec.target.template.metadata.labels",
            template(label(rules::QUALIFIED_NAME_MAX_LENGTH)),
            template(label(rules::QUALIFIED_NAME_MAX_LENGTH + 1)),
            "'-', '_' and '.', beginning and ending with a letter or digit".to_owned(),
        ),
        (
            "spec.target.template.metadata.annotations",
            template(json!({"metadata": {"annotations": keys(rules::TEMPLATE_METADATA_MAX_KEYS)}})),
            template(json!({"metadata": {"annotations": keys(rules::TEMPLATE_METADATA_MAX_KEYS + 1)}})),
            items(rules::TEMPLATE_METADATA_MAX_KEYS),
        ),
    ];
    let mut wrong = Vec::new();
    for (field, most, more, sentence) in cases {
        wrong.extend(difference(field, apply(&credentials, &most, true).await, &Refusals::new()));
        let refused = Refusals::from([(field.to_owned(), sentence)]);
        wrong.extend(difference(field, apply(&credentials, &more, true).await, &refused));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_server_fills_in_the_defaults_and_a_null_is_an_absent_part() {
    let namespace = make_namespace("resource-defaults").await;
    let credentials = untyped(&namespace);
    let cases = [
        (
            "nothing but the reference",
            json!({"loginSecretRef": {"name": "login"}}),
            json!({
                "loginSecretRef": {"name": "login", "usernameKey": "username", "passwordKey": "password"},
                "target": {"creationPolicy": "Owner"},
                "renewal": {"strategy": "Auto"},
            }),
        ),
        (
            "parents without content",
            json!({
                "loginSecretRef": {"name": "login"},
                "target": {"template": {}}, "renewal": {}, "issuer": {},
            }),
            json!({
                "loginSecretRef": {"name": "login", "usernameKey": "username", "passwordKey": "password"},
                "target": {"creationPolicy": "Owner", "template": {"type": "Opaque"}},
                "renewal": {"strategy": "Auto"},
                "issuer": {},
            }),
        ),
        (
            "nulls",
            json!({
                "loginSecretRef": {"name": "login", "usernameKey": null},
                "target": {"secretName": null, "creationPolicy": null, "template": null},
                "renewal": {"strategy": "Login", "renewBeforePercent": null, "renewBeforeSeconds": null},
                "issuer": null,
                "credentialRef": null,
                "allowedNamespaces": null,
                "suspend": null,
            }),
            json!({
                "loginSecretRef": {"name": "login", "usernameKey": "username", "passwordKey": "password"},
                "target": {"creationPolicy": "Owner"},
                "renewal": {"strategy": "Login"},
            }),
        ),
    ];
    // Created, as kubectl does, not applied: server-side apply refuses a null where there is no default.
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    for (what, given, stored) in cases {
        let credential = credentials.create(&parameters, &make_credential(&given)).await.unwrap();
        let mut without_nulls = json!({});
        merge_patch(&mut without_nulls, &credential.data["spec"]);
        assert_eq!(without_nulls, stored, "{what}");
        let object = serde_json::to_value(credential).unwrap();
        let typed: IdIssuerCredential = serde_json::from_value(object).unwrap();
        assert_eq!(typed.secret_name(), NAME, "{what}");
        assert_eq!(serde_json::to_value(typed.spec).unwrap(), stored, "{what}");
    }
}

async fn make_namespace(prefix: &str) -> TestNamespace {
    TestNamespace::create(CLUSTER.control_plane().await.unwrap(), prefix).await.unwrap()
}

/// The credentials of the namespace, untyped: a bad resource cannot be written in types.
fn untyped(namespace: &TestNamespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GROUP, VERSION, KIND);
    let resource = ApiResource::from_gvk_with_plural(&kind, PLURAL);
    Api::namespaced_with(namespace.client().clone(), namespace.name(), &resource)
}

/// Applies a credential that has a login Secret unless `spec`, a merge patch, says otherwise.
async fn apply(
    credentials: &Api<DynamicObject>,
    spec: &Value,
    dry_run: bool,
) -> Result<DynamicObject, Error> {
    let mut whole = json!({"loginSecretRef": {"name": "billing-login"}});
    merge_patch(&mut whole, spec);
    let parameters = PatchParams { dry_run, ..PatchParams::apply(MANAGER).validation_strict() };
    credentials.patch(NAME, &parameters, &Patch::Apply(make_credential(&whole))).await
}

fn make_credential(spec: &Value) -> DynamicObject {
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": {"name": NAME}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// In words, where the answer is not the expected one.
fn difference(what: &str, answer: Result<DynamicObject, Error>, expected: &Refusals) -> Option<String> {
    let status = match answer {
        Ok(_) if expected.is_empty() => return None,
        Ok(_) => return Some(format!("{what}: accepted, expected {expected:?}")),
        Err(Error::Api(status)) => status,
        Err(error) => return Some(format!("{what}: {error}")),
    };
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    let mut refused: Vec<(String, String)> = causes
        .into_iter()
        // After an error of structure the API server adds that it did not look at the rules.
        .filter(|cause| cause.field != "<nil>")
        .map(|cause| (cause.field, cause.message))
        .collect();
    if refused.is_empty() {
        refused.push((String::new(), status.message));
    }
    refused.sort();
    let agrees = refused.len() == expected.len()
        && refused.iter().zip(expected).all(|((field, message), (expected_field, sentence))| {
            field == expected_field && message.ends_with(sentence.as_str())
        });
    (!agrees).then(|| format!("{what}:\n  got      {refused:?}\n  expected {expected:?}"))
}
