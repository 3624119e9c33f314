//! The chart's documents: what is written twice has one source.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer::core::endpoint::DEFAULT_ISSUER;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::objects::pod;
use super::{objects_of, read, read_of_chart, required, with, yaml};
use crate::source::files;

#[test]
fn the_crds_of_the_chart_and_of_the_manifests_are_that_of_the_project() {
    let file = "idissuer.pl_idissuercredentials.yaml";
    for folder in ["charts/idissuer-operator/files", "deploy/crds"] {
        assert!(
            read(&format!("{folder}/{file}")) == read(&format!("crds/{file}")),
            "{folder}/{file} is not that of crds/: run `make crds` and commit it"
        );
    }
}

#[test]
fn the_default_issuer_of_the_chart_is_that_of_the_program() {
    assert_eq!(yaml(&read_of_chart("values.yaml"))["issuer"]["url"], DEFAULT_ISSUER);
    assert!(read_of_chart("templates/_helpers.tpl").contains(&format!("default \"{DEFAULT_ISSUER}\" ")));
}

/// The address that a build without another one puts into Events and conditions.
#[test]
fn alerts_lead_to_the_documentation_that_events_lead_to() {
    let address = env!("CARGO_PKG_HOMEPAGE");
    assert_eq!(yaml(&read_of_chart("values.yaml"))["metrics"]["prometheusRule"]["runbookUrl"], address);
    let rules = yaml(&read("deploy/alerts.yaml"));
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 5);
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert_eq!(rule["annotations"]["runbook_url"], format!("{address}/runbooks/{name}.html"));
    }
}

#[tokio::test]
async fn the_crd_comes_out_as_it_is_with_labels_and_the_wish_to_be_kept() {
    let objects = objects_of(&required()).await;
    let rendered = objects.into_iter().find(|object| object["kind"] == "CustomResourceDefinition").unwrap();
    let mut rendered: CustomResourceDefinition = serde_json::from_value(rendered).unwrap();
    assert_eq!(rendered.metadata.annotations.take().unwrap()["helm.sh/resource-policy"], "keep");
    assert!(rendered.metadata.labels.take().is_some());
    let ours = yaml(&read("crds/idissuer.pl_idissuercredentials.yaml"));
    assert_eq!(rendered, serde_json::from_value(ours).unwrap());
}

#[test]
fn the_version_of_the_chart_is_that_of_the_program() {
    let chart = yaml(&read_of_chart("Chart.yaml"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// An annotation of the chart that holds YAML.
fn annotation(name: &str) -> Value {
    let chart = yaml(&read_of_chart("Chart.yaml"));
    yaml(chart["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap())
}

#[test]
fn the_resources_that_the_chart_announces_are_those_that_it_installs() {
    let ours = yaml(&read("crds/idissuer.pl_idissuercredentials.yaml"));
    let announced = annotation("crds");
    let (kind, version) = (&ours["spec"]["names"]["kind"], &ours["spec"]["versions"][0]["name"]);
    assert_eq!(announced.as_array().unwrap().len(), 1);
    assert_eq!(
        (&announced[0]["name"], &announced[0]["kind"], &announced[0]["version"]),
        (&ours["metadata"]["name"], kind, version)
    );
    let samples = files("deploy/samples", &["yaml"]).into_iter();
    let samples: Vec<Value> =
        samples.flat_map(|file| serde_saphyr::from_multiple::<Value>(&file.text).unwrap()).collect();
    let examples = annotation("crdsExamples");
    assert!(!examples.as_array().unwrap().is_empty());
    for example in examples.as_array().unwrap() {
        assert_eq!(&example["kind"], kind);
        assert!(samples.contains(example), "no sample of deploy/samples: {example}");
    }
}

#[tokio::test]
async fn the_images_that_the_chart_announces_are_those_that_it_runs() {
    let objects = objects_of(&with(required(), "test.simulator.enabled", json!(true))).await;
    let pods = objects.iter().filter_map(pod);
    let run: BTreeSet<_> = pods.map(|pod| pod["containers"][0]["image"].clone().to_string()).collect();
    let announced = annotation("images");
    let announced = announced.as_array().unwrap().iter().map(|image| image["image"].to_string()).collect();
    assert_eq!(run, announced);
}

#[test]
fn the_icon_of_the_chart_is_its_picture() {
    let icon = format!("data:image/svg+xml;base64,{}", STANDARD.encode(read_of_chart("icon.svg")));
    assert!(yaml(&read_of_chart("Chart.yaml"))["icon"] == icon, "make `icon` in Chart.yaml: {icon}");
}

/// What the table of the chart's values takes for the version of somebody else's image.
const ANOTHER: &str = "1.2.3";

#[test]
fn every_reference_to_an_image_of_ours_has_this_version() {
    let named = Regex::new(r"(?:idissuer|simulator):(\d+\.\d+\.\d+)|VERSION=(\d+\.\d+\.\d+)").unwrap();
    let mut texts = vec![("README.md".to_owned(), read("README.md"))];
    for folder in ["charts", "deploy", "docs", "examples", "tests/house"] {
        texts.extend(files(folder, &["md", "yaml", "txt"]).into_iter().map(|file| (file.path, file.text)));
    }
    let mut times = 0;
    for (path, text) in &texts {
        for found in named.captures_iter(text) {
            let version = found.get(1).or_else(|| found.get(2)).unwrap().as_str();
            assert!(version == env!("CARGO_PKG_VERSION") || version == ANOTHER, "{path}: {}", &found[0]);
            times += 1;
        }
    }
    assert!(times >= 10, "{times} times only");
}
