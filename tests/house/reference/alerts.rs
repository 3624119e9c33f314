//! The alerts of the chart, with the first sentence of their runbooks.

use serde_json::Value;

use super::markdown;
use super::runbooks::first_sentence;
use crate::source::root;

pub(super) fn table() -> String {
    let alerts = root().join("charts/idissuer-operator/files/alerts.yaml");
    let alerts: Value = serde_saphyr::from_str(&std::fs::read_to_string(alerts).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = alerts.as_array().unwrap().iter().map(|alert| {
        let name = text(&alert["alert"]);
        let link = format!("[`{name}`](../runbooks/{name}.md)");
        [link, text(&alert["severity"]), first_sentence(&name)]
    });
    markdown::table(["Alert", "Severity", "Meaning"], rows)
}
