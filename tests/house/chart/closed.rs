//! What the chart refuses, and how it says so.

use idissuer_testbed::{Helm, Program};
use serde_json::{Value, json};

use super::{folder, read_of_chart, rendered, required, with};

/// The paths of all objects of the schema that have fields of their own; `[]` stands for the items of a list.
fn objects(schema: &Value, path: &str, found: &mut Vec<(String, bool)>, definitions: &Value) {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/definitions/")) {
        return objects(&definitions[name], path, found, definitions);
    }
    if let Some(properties) = schema["properties"].as_object() {
        found.push((path.to_owned(), schema["additionalProperties"] == false));
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            objects(property, &path, found, definitions);
        }
    }
    if schema["items"].is_object() {
        objects(&schema["items"], &format!("{path}[]"), found, definitions);
    }
}

fn schema_objects() -> Vec<(String, bool)> {
    let schema: Value = serde_json::from_str(&read_of_chart("values.schema.json")).unwrap();
    let mut found = Vec::new();
    objects(&schema, "", &mut found, &schema["definitions"]);
    found
}

/// Other charts of a release find values of their own there.
fn is_of_all_charts(path: &str) -> bool {
    path == "global" || path.starts_with("global.")
}

#[test]
fn every_object_of_the_schema_is_closed() {
    let open = schema_objects().into_iter().filter(|(_, is_closed)| !is_closed).map(|(path, _)| path);
    let open: Vec<_> = open.filter(|path| !is_of_all_charts(path)).collect();
    assert_eq!(open, Vec::<String>::new());
}

#[tokio::test]
async fn a_mistyped_value_is_refused_wherever_it_stands() {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    for (path, _) in schema_objects().into_iter().filter(|(path, _)| !is_of_all_charts(path)) {
        let mistyped = json!({"mistyped": true});
        let values = match path.strip_suffix("[]") {
            Some(list) => with(required(), list, json!([mistyped])),
            None if path.is_empty() => with(required(), "mistyped", json!(true)),
            None => with(required(), &format!("{path}.mistyped"), json!(true)),
        };
        let told = rendered(&helm, &values).await.expect_err(&path);
        assert!(told.contains("'mistyped' not allowed"), "{path}: {told}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_the_cure() {
    let needs_service = json!({"serviceMonitor": {"enabled": true}, "service": {"enabled": false}});
    let cases = [
        (
            with(required(), "issuer.caBundle", json!({"pem": "a", "secret": "b"})),
            "set only one of pem, configMap and secret",
        ),
        (with(required(), "metrics", needs_service), "metrics.serviceMonitor needs the Service"),
        (
            with(required(), "test", json!({"login": {"secretName": "a"}, "simulator": {"enabled": true}})),
            "not both",
        ),
        (with(required(), "issuer.url", json!("api.idissuer.pl")), "/issuer/url"),
        (with(required(), "issuer.allowed", json!(["https://a.example/?path"])), "/issuer/allowed/0"),
        (with(required(), "replicas", json!("two")), "/replicas"),
        (with(required(), "omitUserIds", json!(true)), "/omitUserIds"),
        (with(required(), "global.imagePullSecrets", json!([{"secret": "a"}])), "/global/imagePullSecrets/0"),
        (
            with(required(), "podDisruptionBudget.minAvailable", json!("half")),
            "/podDisruptionBudget/minAvailable",
        ),
        (with(required(), "revisionHistoryLimit", json!(-1)), "/revisionHistoryLimit"),
        (with(required(), "dnsPolicy", json!("Never")), "/dnsPolicy"),
        (with(required(), "metrics.service.ipFamilies", json!(["IPv5"])), "/metrics/service/ipFamilies/0"),
        (
            with(required(), "metrics.podMonitor.scrapeTimeout", json!("10")),
            "/metrics/podMonitor/scrapeTimeout",
        ),
        (with(required(), "livenessProbe.successThreshold", json!(2)), "/livenessProbe"),
        // The name of a Service has no dot.
        (with(required(), "fullnameOverride", json!("a.b")), "/fullnameOverride"),
        (with(required(), "nameOverride", json!("a.b")), "/nameOverride"),
        (with(required(), "commonLabels", json!({"app.kubernetes.io/name": "a"})), "/commonLabels"),
        (with(required(), "podLabels", json!({"app.kubernetes.io/instance": "a"})), "/podLabels"),
    ];
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        for (values, cure) in &cases {
            let told = rendered(&helm, values).await.expect_err(cure);
            assert!(told.contains(cure) || told.contains(&cure.replace('/', ".")), "{told}");
        }
    }
}

#[tokio::test]
async fn injection_is_refused_with_the_cure_where_the_cluster_is_too_old_or_was_not_asked() {
    let (chart, values) =
        (folder().display().to_string(), with(required(), "injection.enabled", json!(true)));
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        let arguments = ["template", "release", &chart, "--values", "-"];
        let told = helm.run(&arguments, &values.to_string()).await.unwrap_err().to_string();
        let known = Helm::KNOWN_KINDS.join(" ");
        for cure in ["(Kubernetes 1.36)", "deploy/samples/sidecar", &known] {
            assert!(told.contains(cure), "{told}");
        }
    }
}
