//! The chart: what Helm makes of it, for every value that it knows, and that its documents fit together.

mod alerts;
mod changes;
mod closed;
mod deploy;
mod documents;
mod objects;
mod readme;
mod releases;
mod table;

use std::path::{Path, PathBuf};

use idissuer_testbed::{Helm, Program};
use serde_json::{Map, Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("charts/idissuer-operator")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_of_chart(path: &str) -> String {
    read(&format!("charts/idissuer-operator/{path}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn required() -> Value {
    json!({"issuer": {"url": "https://api.idissuer.pl"}})
}

/// Values with one more, at a path like `image.tag`.
fn with(mut values: Value, path: &str, value: Value) -> Value {
    let mut place = &mut values;
    for step in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[step];
    }
    *place = value;
    values
}

/// What the chart comes to with these values, as text; or what Helm says is wrong.
async fn rendered(helm: &Helm, values: &Value) -> Result<String, String> {
    let chart = folder().display().to_string();
    let arguments = ["template", "release", &chart, "--namespace", "home", "--values", "-"];
    helm.run(&[&arguments[..], &Helm::KNOWN_KINDS].concat(), &values.to_string())
        .await
        .map_err(|error| error.to_string())
}

/// The objects that the chart comes to with these values.
async fn objects_of(values: &Value) -> Vec<Value> {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    helm.render(&folder(), "release", "home", &values.to_string()).await.unwrap()
}

/// The same, for a cluster with these APIs.
async fn objects_where(arguments: &[&str], values: &Value) -> Vec<Value> {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    let chart = folder().display().to_string();
    let template = ["template", "release", &chart, "--namespace", "home", "--values", "-"];
    let text = helm.run(&[&template[..], &Helm::KNOWN_KINDS, arguments].concat(), &values.to_string()).await;
    serde_saphyr::from_multiple(&text.unwrap()).unwrap()
}

/// Values that lead through every template: none switched off, and all switched on.
fn value_sets() -> Vec<(&'static str, Value)> {
    let everything = yaml(include_str!("everything.yaml"));
    let one_namespace = with(required(), "scope.namespaces", json!(["shop"]));
    let two_namespaces = with(everything.clone(), "scope.namespaces", json!(["shop", "bank"]));
    let nothing = yaml(include_str!("nothing.yaml"));
    let login = with(required(), "test.login.secretName", json!("test-login"));
    vec![
        ("the defaults", required()),
        ("everything", everything),
        ("one namespace", one_namespace),
        ("everything in two namespaces", two_namespaces),
        ("as little as can be", nothing),
        ("a test with a login", login),
    ]
}
