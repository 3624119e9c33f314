//! The chart, as Helm renders it.

use std::path::Path;

use idissuer_testbed::{Helm, Program};
use serde_json::Value;
use tokio::sync::OnceCell;

pub(crate) const RELEASE: &str = "release";
pub(crate) const FULL_NAME: &str = "release-idissuer-operator";

static HELM: OnceCell<Helm> = OnceCell::const_new();

pub(crate) fn path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/idissuer-operator"))
}

/// Its objects, for a namespace of the release and values.
pub(crate) async fn render(namespace: &str, values: &Value) -> Vec<Value> {
    let helm = HELM.get_or_init(async || Helm::provide(Program::Helm).await.unwrap()).await;
    helm.render(path(), RELEASE, namespace, &values.to_string()).await.unwrap()
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub(crate) fn manifest<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    objects.into_iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}
