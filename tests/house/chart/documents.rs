//! The chart's documents: one source for each thing that is told twice.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{objects_of, read, read_of_chart, required, yaml};

#[test]
fn the_charts_crd_is_that_of_the_project() {
    let file = "idissuer.pl_idissuercredentials.yaml";
    assert!(
        read_of_chart(&format!("files/{file}")) == read(&format!("crds/{file}")),
        "the chart's {file} is not that of crds/: run `make crds` and commit it"
    );
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
