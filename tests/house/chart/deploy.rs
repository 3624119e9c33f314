//! `deploy/base`, `deploy/install.yaml` and `deploy/alerts.yaml` are what the chart comes to, without what is Helm's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use idissuer_testbed::{Helm, Program};
use serde_json::Value;

use super::{folder, read, root, yaml};

const HEADER: &str =
    "# Made from charts/idissuer-operator by `make chart`. Do not edit it: write an overlay.\n";
/// The values of the base. The CRD is a kustomization of its own: it stays when the operator goes.
const VALUES: &str = "{issuer: {url: https://api.idissuer.pl}, crds: {enabled: false}}";
/// What is true of a release only.
const OF_HELM: [&str; 2] = ["helm.sh/chart:", "app.kubernetes.io/managed-by:"];

/// The files of the base, by name: one for each template.
async fn made() -> BTreeMap<String, String> {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    let (chart, name) = (folder().display().to_string(), "idissuer-operator");
    let arguments = ["template", name, &chart, "--namespace", name, "--no-hooks", "--values", "-"];
    let text = helm.run(&arguments, VALUES).await.unwrap();
    let mut files = BTreeMap::new();
    for document in text.split("---\n").filter(|document| !document.trim().is_empty()) {
        let (source, object) = document.split_once('\n').unwrap();
        let (_, template) = source.rsplit_once('/').unwrap();
        let file = files.entry(template.to_owned()).or_insert_with(|| HEADER.to_owned());
        if file.len() > HEADER.len() {
            file.push_str("---\n");
        }
        let is_kept = |line: &&str| !OF_HELM.iter().any(|label| line.trim_start().starts_with(label));
        for line in object.trim_end().lines().filter(is_kept) {
            file.push_str(line.trim_end());
            file.push('\n');
        }
    }
    files
}

#[tokio::test]
async fn the_base_is_made_from_the_chart() {
    for (name, text) in made().await {
        let found = fs::read_to_string(root().join("deploy/base").join(&name)).unwrap_or_default();
        assert!(
            found == text,
            "deploy/base/{name} is not what the chart comes to: run `make chart` and commit it"
        );
    }
}

#[tokio::test]
async fn the_base_holds_what_is_made_and_no_more_and_applies_all_of_it() {
    let of_hand = ["kustomization.yaml", "namespace.yaml"].map(str::to_owned);
    let expected: BTreeSet<String> = made().await.into_keys().chain(of_hand).collect();
    let entries = fs::read_dir(root().join("deploy/base")).unwrap();
    let found: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(expected, found, "on the left what `make chart` makes or keeps, on the right what is there");

    let kustomization = yaml(&read("deploy/base/kustomization.yaml"));
    let mut applied: BTreeSet<String> = serde_json::from_value(kustomization["resources"].clone()).unwrap();
    applied.insert("kustomization.yaml".to_owned());
    assert_eq!(applied, found, "on the left what kustomization.yaml names, on the right what is there");
}

const INSTALL_HEADER: &str = "\
# The operator for the whole cluster and its CRD, in one file. Made from crds/ and deploy/base by `make chart`: do not edit it.
#
#   kubectl apply --server-side -f install.yaml
#
# Apply a newer file to upgrade. Make the image available to your nodes; if it is in a registry, name it:
#
#   sed 's|image: \"idissuer:|image: \"registry.example.com/idissuer:|' install.yaml | kubectl apply --server-side -f -
#
# `kubectl delete -f install.yaml` deletes the CRD too, and with it all credentials in all namespaces. To remove only the operator:
#
#   kubectl delete -f install.yaml --selector app.kubernetes.io/instance=idissuer-operator
";

/// The CRD and the base in one file, in the order in which they must be applied.
async fn in_one_file() -> String {
    let (made, kustomization) = (made().await, yaml(&read("deploy/base/kustomization.yaml")));
    let applied: Vec<String> = serde_json::from_value(kustomization["resources"].clone()).unwrap();
    let mut text = INSTALL_HEADER.to_owned();
    let base = applied.iter().map(|name| match made.get(name) {
        Some(text) => text.strip_prefix(HEADER).unwrap().to_owned(),
        None => read(&format!("deploy/base/{name}")),
    });
    for part in [read("crds/idissuer.pl_idissuercredentials.yaml")].into_iter().chain(base) {
        let part = part.strip_prefix("---\n").unwrap_or(&part).trim_end();
        text.push_str("---\n");
        text.push_str(part);
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn the_file_for_an_installation_is_made_from_the_base() {
    assert!(
        read("deploy/install.yaml") == in_one_file().await,
        "deploy/install.yaml is not what the CRD and deploy/base come to: run `make chart` and commit it"
    );
}

const ALERTS_HEADER: &str = "\
# Alerts for a Prometheus without the Prometheus operator: add this file to `rule_files`. Made from the chart by `make chart`; do
# not edit it. Scrape with `honor_labels: true`, so that the label `namespace` is that of the credential, and every 30 seconds
# or more often if tokens live for minutes. In IdIssuerOperatorAbsent, replace the lease if yours is not that of deploy/base.
";

/// The rules of the chart as a file of rules.
async fn alerts() -> String {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    let (chart, name) = (folder().display().to_string(), "idissuer-operator");
    let template = "templates/prometheusrule.yaml";
    let arguments = ["template", name, &chart, "--namespace", name, "--show-only", template, "--values", "-"];
    let values = "{metrics: {prometheusRule: {enabled: true}}}";
    let text = helm.run(&arguments, values).await.unwrap();
    let (_, rules) = text.split_once("\nspec:\n").unwrap();
    let mut text = ALERTS_HEADER.to_owned();
    for line in rules.trim_end().lines() {
        text.push_str(line.strip_prefix("  ").unwrap_or(line).trim_end());
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn the_file_of_alerts_is_made_from_the_chart() {
    assert!(
        read("deploy/alerts.yaml") == alerts().await,
        "deploy/alerts.yaml is not what the chart comes to: run `make chart` and commit it"
    );
}

#[tokio::test]
async fn the_file_for_an_installation_can_be_removed_without_the_credentials() {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&in_one_file().await).unwrap();
    let label = "app.kubernetes.io/instance";
    let (removed, kept): (Vec<_>, Vec<_>) =
        objects.iter().partition(|object| object["metadata"]["labels"][label] == "idissuer-operator");
    let kept: Vec<_> = kept.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kept, ["CustomResourceDefinition", "Namespace"]);
    assert!(removed.iter().any(|object| object["kind"] == "Deployment"));
}

#[tokio::test]
#[ignore = "writes deploy/base, install.yaml and alerts.yaml anew: `make chart`"]
async fn write_the_manifests() {
    for (name, text) in made().await {
        fs::write(root().join("deploy/base").join(name), text).unwrap();
    }
    fs::write(root().join("deploy/install.yaml"), in_one_file().await).unwrap();
    fs::write(root().join("deploy/alerts.yaml"), alerts().await).unwrap();
}
