//! Releases as tools and clusters see them: rendered again and again, side by side, and as a part of another chart.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{Helm, Program};
use serde_json::{Value, json};

use super::objects::pod;
use super::{folder, rendered, required, value_sets, with};

/// A tool that renders and applies in a loop would never come to rest.
#[tokio::test]
async fn rendered_again_the_chart_is_the_same() {
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        for (name, values) in value_sets() {
            let first = rendered(&helm, &values).await.unwrap();
            assert!(first == rendered(&helm, &values).await.unwrap(), "{name}");
        }
    }
}

/// Values that the first charts did not have.
const NEWER: [&str; 26] = [
    "deploymentAnnotations",
    "dnsConfig",
    "dnsPolicy",
    "extraContainers",
    "extraInitContainers",
    "hostAliases",
    "hostUsers",
    "image.registry",
    "metrics.podMonitor.annotations",
    "metrics.podMonitor.honorLabels",
    "metrics.podMonitor.metricRelabelings",
    "metrics.podMonitor.namespace",
    "metrics.podMonitor.relabelings",
    "metrics.podMonitor.scrapeTimeout",
    "metrics.service.ipFamilies",
    "metrics.service.ipFamilyPolicy",
    "namespaceOverride",
    "podDisruptionBudget.maxUnavailable",
    "podDisruptionBudget.minAvailable",
    "revisionHistoryLimit",
    "runtimeClassName",
    "serviceAccount.automount",
    "serviceAccount.labels",
    "startupProbe",
    "strategy",
    "test.simulator.image.registry",
];

/// `helm upgrade --reuse-values` gives a new chart the values of the old one, without the defaults of what is new.
#[tokio::test]
async fn without_the_values_that_an_older_chart_lacks_the_chart_is_the_same() {
    let values = with(required(), "test.simulator.enabled", json!(true));
    let values = with(values, "metrics.podMonitor.enabled", json!(true));
    let older = NEWER.into_iter().fold(values.clone(), |values, newer| with(values, newer, Value::Null));
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        assert_eq!(rendered(&helm, &older).await.unwrap(), rendered(&helm, &values).await.unwrap());
    }
}

/// The identity of an object in a cluster.
fn identity(object: &Value) -> String {
    let (kind, metadata) = (&object["kind"], &object["metadata"]);
    format!("{kind} {} {}", metadata["namespace"], metadata["name"])
}

#[tokio::test]
async fn two_releases_side_by_side_share_no_object() {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    let (_, everything) = value_sets().into_iter().find(|(name, _)| *name == "everything").unwrap();
    let everything = with(everything, "crds.enabled", json!(false));
    let of = async |release: &str, namespace: &str, scope: &str, more: &[&str]| {
        let mut values = with(everything.clone(), "scope.namespaces", json!([scope]));
        for name in more {
            values = with(values, "namespaceOverride", json!(name));
        }
        // Those have the names that the values give them.
        values = with(values, "extraObjects", json!([]));
        let objects = helm.render(&folder(), release, namespace, &values.to_string()).await.unwrap();
        objects.iter().map(identity).collect::<BTreeSet<_>>()
    };
    let one = of("tokens", "home", "shop", &[]).await;
    for (other, what) in [
        (of("more-tokens", "home", "bank", &[]).await, "another name in the same namespace"),
        (of("tokens", "office", "bank", &[]).await, "the same name in another namespace"),
        (of("tokens", "home", "bank", &["office"]).await, "the same name, sent to another namespace"),
    ] {
        let shared: Vec<_> = one.intersection(&other).collect();
        assert_eq!(shared, Vec::<&String>::new(), "{what}");
        assert_eq!(one.len(), other.len(), "{what}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A chart that this one is a part of, if `idissuer-operator.enabled` says so.
fn parent() -> WorkFolder {
    let parent = WorkFolder::create().unwrap();
    copy(&folder(), &parent.path().join("charts/idissuer-operator"));
    let dependency = format!(
        "{{name: idissuer-operator, version: {}, condition: idissuer-operator.enabled}}",
        env!("CARGO_PKG_VERSION")
    );
    let chart = format!("{{apiVersion: v2, name: parent, version: 0.1.0, dependencies: [{dependency}]}}");
    fs::write(parent.path().join("Chart.yaml"), chart).unwrap();
    parent
}

#[tokio::test]
async fn it_can_be_part_of_another_chart_with_global_values() {
    let parent = parent();
    let global =
        json!({"imageRegistry": "mirror.example.com", "imagePullSecrets": ["mirror"], "of": {"others": 1}});
    let own = with(with(required(), "injection.enabled", json!(true)), "test.simulator.enabled", json!(true));
    let own = with(own, "image.pullSecrets", json!([{"name": "own"}, {"name": "mirror"}]));
    let values = json!({"global": global, "idissuer-operator": own});
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        let objects = helm.render(parent.path(), "release", "home", &values.to_string()).await.unwrap();
        let pods: Vec<_> = objects.iter().filter_map(pod).collect();
        assert_eq!(pods.len(), 3, "operator, simulator and test");
        for pod in pods {
            let image = pod["containers"][0]["image"].as_str().unwrap();
            assert!(image.starts_with("mirror.example.com/idissuer"), "{image}");
            assert_eq!(pod["imagePullSecrets"], json!([{"name": "mirror"}, {"name": "own"}]));
        }
        let policy = objects.iter().find(|object| object["kind"] == "MutatingAdmissionPolicy").unwrap();
        assert!(policy.to_string().contains("mirror.example.com/idissuer:"), "{policy}");
    }
}

#[tokio::test]
async fn another_chart_can_switch_it_on_and_off() {
    let parent = parent();
    for program in Program::HELM {
        let helm = Helm::provide(program).await.unwrap();
        for is_enabled in [true, false] {
            let values = json!({"idissuer-operator": with(required(), "enabled", json!(is_enabled))});
            let objects = helm.render(parent.path(), "release", "home", &values.to_string()).await.unwrap();
            assert_eq!(objects.iter().any(|object| object["kind"] == "Deployment"), is_enabled);
        }
    }
}

#[tokio::test]
async fn every_image_can_come_from_one_registry() {
    let helm = Helm::provide(Program::Helm).await.unwrap();
    let values = with(required(), "test.simulator.enabled", json!(true));
    for (registry, repository, expected) in [
        ("", "team/idissuer", "mirror.example.com/team/idissuer:"),
        ("registry.example.com:5000", "idissuer", "mirror.example.com/idissuer:"),
        ("registry.example.com/team", "idissuer", "mirror.example.com/team/idissuer:"),
        ("", "registry.example.com/team/idissuer", "mirror.example.com/team/idissuer:"),
    ] {
        let mut values = with(values.clone(), "global.imageRegistry", json!("mirror.example.com"));
        for image in ["image", "test.simulator.image"] {
            values = with(values, &format!("{image}.registry"), json!(registry));
            values = with(values, &format!("{image}.repository"), json!(repository));
        }
        let objects = helm.render(&folder(), "release", "home", &values.to_string()).await.unwrap();
        for pod in objects.iter().filter_map(pod) {
            let image = pod["containers"][0]["image"].as_str().unwrap();
            assert!(image.starts_with(expected), "{registry} {repository}: {image}");
        }
    }
}
