//! Both Helms render, and say what is wrong.

use std::fs;

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{Helm, Program};
use serde_json::json;

const TEMPLATE: &str =
    "kind: {{ .Values.kind | required \"say a kind\" }}\nmetadata: {name: {{ .Release.Name }}}\n";

fn chart() -> WorkFolder {
    let folder = WorkFolder::create().unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    fs::write(folder.path().join("Chart.yaml"), "{apiVersion: v2, name: small, version: 0.1.0}").unwrap();
    fs::write(folder.path().join("templates/object.yaml"), TEMPLATE).unwrap();
    folder
}

#[tokio::test]
async fn both_helms_render_a_chart_with_values_from_standard_input() {
    let chart = chart();
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        let objects = helm.render(chart.path(), "first", "here", "kind: ConfigMap").await.unwrap();
        assert_eq!(objects, [json!({"kind": "ConfigMap", "metadata": {"name": "first"}})]);
    }
}

#[tokio::test]
async fn a_helm_that_fails_says_why() {
    let chart = chart();
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        let error = helm.render(chart.path(), "first", "here", "").await.unwrap_err();
        assert!(error.to_string().contains("say a kind"), "{error}");
    }
}

#[tokio::test]
async fn each_helm_is_of_its_version() {
    for (program, version) in Program::HELM.into_iter().zip(["v4.", "v3."]) {
        let helm = Helm::provide(program).await.unwrap();
        let text = helm.run(&["version", "--short"], "").await.unwrap();
        assert!(text.starts_with(version), "{text}");
    }
}
