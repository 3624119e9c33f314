//! The fields of the resource, with the descriptions of its CRD.

use idissuer::api::crd::crd;
use serde_json::Value;

use super::markdown::{cell, table};

pub(super) fn spec() -> String {
    fields_of("spec")
}

pub(super) fn status() -> String {
    fields_of("status")
}

fn fields_of(part: &str) -> String {
    let crd = serde_json::to_value(crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part];
    let mut rows = Vec::new();
    add(schema, part, &mut rows);
    assert!(rows.len() > 20, "the fields of {part} are found");
    table(["Field", "Type", "Meaning"], rows)
}

/// Adds the fields of an object and of those inside of it.
fn add(schema: &Value, path: &str, rows: &mut Vec<[String; 3]>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let list = if field["type"] == "array" { "[]" } else { "" };
        let path = format!("{path}.{name}{list}");
        let must = if required.iter().any(|it| it == name) { ", required" } else { "" };
        let description = field["description"].as_str().unwrap_or_default();
        rows.push([format!("`{path}`"), format!("{}{must}", kind(field)), cell(description)]);
        add(field, &path, rows);
        add(&field["items"], &path, rows);
    }
}

/// The type of a field, and what the schema allows.
fn kind(field: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let choices = field["enum"].as_array().map(|choices| {
        let choices = choices.iter().filter_map(Value::as_str).map(|choice| format!("`{choice}`"));
        choices.collect::<Vec<_>>().join(" or ")
    });
    let of_parts = || {
        let list = text(&field["items"]["type"]).map(|part| format!("list of {part}s"));
        list.or_else(|| text(&field["additionalProperties"]["type"]).map(|part| format!("map of {part}s")))
    };
    let time = || text(&field["format"]).filter(|format| format == "date-time");
    let kind = choices.or_else(of_parts).or_else(time).or_else(|| text(&field["type"]));
    [kind, bounds(field), size(field), default(field)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn bounds(field: &Value) -> Option<String> {
    match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    }
}

fn size(field: &Value) -> Option<String> {
    let limits = [("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "entries")];
    limits.into_iter().find_map(|(limit, of)| Some(format!("at most {} {of}", field[limit].as_u64()?)))
}

fn default(field: &Value) -> Option<String> {
    match &field["default"] {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => Some(format!("default `{text}`")),
        other => Some(format!("default `{other}`")),
    }
}
