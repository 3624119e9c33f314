//! The chart's documents: one source for each thing that is told twice.

use idissuer::core::endpoint::DEFAULT_ISSUER;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use regex_lite::Regex;

use super::{objects_of, read, read_of_chart, required, yaml};
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

/// What the table of the chart's values takes for the version of somebody else's image.
const ANOTHER: &str = "1.2.3";

#[test]
fn whoever_names_an_image_of_ours_names_this_version() {
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
