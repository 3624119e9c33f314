//! Every value has its effect, and both Helms agree.

use std::collections::BTreeSet;

use idissuer_testbed::{Helm, Program};
use serde::Deserialize;
use serde_json::Value;

use super::{folder, read_of_chart, rendered, required, value_sets, with, yaml};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    value: String,
    #[serde(default)]
    with: Value,
    is: Value,
    shows: Option<String>,
    hides: Option<String>,
    at: Option<String>,
}

/// Whether a value stands at `Kind/path/in/it` in the first object of this kind: it, or all fields or items of it.
fn stands(text: &str, at: &str, value: &Value) -> bool {
    let (kind, _) = at.split_once('/').unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let object = objects.iter().find(|object| object["kind"] == kind);
    match (object.and_then(|object| object.pointer(&at[kind.len()..])), value) {
        (Some(Value::Object(found)), Value::Object(fields)) => {
            fields.iter().all(|(name, field)| found.get(name) == Some(field))
        }
        (Some(Value::Array(found)), Value::Array(items)) => items.iter().all(|item| found.contains(item)),
        (found, _) => found == Some(value),
    }
}

fn rows() -> Vec<Row> {
    serde_saphyr::from_str(include_str!("table.yaml")).unwrap()
}

/// The paths of the values that hold no more values.
fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                leaves(&format!("{path}{}{name}", if path.is_empty() { "" } else { "." }), field, found);
            }
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

#[tokio::test]
async fn every_value_has_the_effect_that_the_table_tells() {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    for row in rows() {
        let mut before = required();
        let mut needed = BTreeSet::new();
        leaves("", &row.with, &mut needed);
        for path in needed.iter().filter(|path| !path.is_empty()) {
            let value = row.with.pointer(&format!("/{}", path.replace('.', "/"))).unwrap();
            before = with(before, path, value.clone());
        }
        let after = rendered(&helm, &with(before.clone(), &row.value, row.is.clone())).await.unwrap();
        let before = rendered(&helm, &before).await.unwrap();
        let (new, old) = (row.shows.as_deref(), row.hides.as_deref());
        let is_told = new.is_some() || old.is_some() || row.at.is_some();
        assert!(is_told, "{}: the table tells no effect", row.value);
        if let Some(at) = &row.at {
            assert!(!stands(&before, at, &row.is), "{}: it was at {at} before", row.value);
            assert!(stands(&after, at, &row.is), "{}: it is not at {at}:\n{after}", row.value);
        }
        if let Some(text) = new {
            assert!(!before.contains(text), "{}: {text:?} was there before", row.value);
            assert!(after.contains(text), "{}: {text:?} is not there:\n{after}", row.value);
        }
        if let Some(text) = old {
            assert!(before.contains(text), "{}: {text:?} was not there before", row.value);
            assert!(!after.contains(text), "{}: {text:?} is still there", row.value);
        }
    }
}

#[test]
fn the_table_tells_of_every_value() {
    let mut known = BTreeSet::new();
    leaves("", &yaml(&read_of_chart("values.yaml")), &mut known);
    let told: BTreeSet<_> = rows().into_iter().map(|row| row.value).collect();
    let untold: Vec<_> = known
        .iter()
        .filter(|path| !told.iter().any(|row| *path == row || path.starts_with(&format!("{row}."))))
        .collect();
    assert_eq!(untold, Vec::<&String>::new());
}

#[tokio::test]
async fn both_helms_find_no_fault_and_render_the_same() {
    let helms = [Helm::provide(Program::Helm).await.unwrap(), Helm::provide(Program::Helm3).await.unwrap()];
    let chart = folder().display().to_string();
    for (name, values) in value_sets() {
        let mut objects = Vec::new();
        for helm in &helms {
            let arguments = ["lint", "--strict", &chart, "--values", "-"];
            helm.run(&arguments, &values.to_string()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            objects.push(helm.render(&folder(), "release", "home", &values.to_string()).await.unwrap());
        }
        assert_eq!(objects[0].len(), objects[1].len(), "{name}");
        for object in &objects[0] {
            assert!(objects[1].contains(object), "{name}: Helm 3 renders another {object}");
        }
    }
}

#[tokio::test]
async fn both_helms_find_no_fault_in_the_chart_as_it_is() {
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        helm.run(&["lint", "--strict", &folder().display().to_string()], "").await.unwrap();
    }
}
