//! The operator as its pods show it.

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::cluster::{Cluster, Scope};
use super::failure::Failure;

/// The label of the operator's pods, as the chart and the manifests set it.
const SELECTOR: &str = "app.kubernetes.io/name=idissuer-operator";
/// The container with the operator.
pub(super) const CONTAINER: &str = "controller";

/// A pod of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperatorPod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) image: String,
    pub(super) is_ready: bool,
    pub(super) service_account: String,
    /// The namespaces that it manages; empty: all.
    pub(super) scope: Vec<String>,
    /// The namespace and name of its lease; none without leader election.
    #[serde(skip)]
    pub(super) lease: Option<(String, String)>,
    /// Whether it reads the labels of namespaces.
    #[serde(skip)]
    pub(super) reads_namespaces: bool,
    /// Whether annotations ask to scrape it.
    #[serde(skip)]
    pub(super) asks_for_scrapes: bool,
}

/// The pods of all operators, or of those in one namespace.
pub(super) async fn pods(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<OperatorPod>, Failure> {
    let scope = namespace.map_or(Scope::All, Scope::Namespace);
    let pods = cluster.pods_with(scope, SELECTOR).await?;
    Ok(pods.iter().filter_map(OperatorPod::new).collect())
}

impl OperatorPod {
    /// None for pods of tests, which have other containers.
    pub(super) fn new(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let container = spec.containers.iter().find(|container| container.name == CONTAINER)?;
        let label = |name: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        let image = container.image.clone().unwrap_or_default();
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let annotation = |name: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(name));
        let arguments = container.args.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.clone()?;
        Some(Self {
            lease: lease(arguments, &namespace),
            reads_namespaces: is_set(arguments, "--namespace-selectors"),
            namespace,
            name: pod.metadata.name.clone()?,
            version: label("app.kubernetes.io/version").cloned().unwrap_or_else(|| tag(&image).to_owned()),
            is_ready: conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True"),
            service_account: spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            scope: scope(arguments),
            asks_for_scrapes: annotation("prometheus.io/scrape").is_some_and(|value| value == "true"),
            image,
        })
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The tag of an image; a digest or nothing is `unknown`.
fn tag(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split_once(':').map_or("unknown", |(_, tag)| tag)
}

/// The values of a flag.
fn values<'a>(arguments: &'a [String], flag: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    let mut previous = "";
    for argument in arguments {
        let joined = argument.strip_prefix(flag).and_then(|rest| rest.strip_prefix('='));
        values.extend(if previous == flag { Some(argument.as_str()) } else { joined });
        previous = argument;
    }
    values
}

/// The values of `--namespace`.
fn scope(arguments: &[String]) -> Vec<String> {
    let values = values(arguments, "--namespace");
    values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
}

fn is_set(arguments: &[String], flag: &str) -> bool {
    arguments.iter().any(|argument| argument == flag) || values(arguments, flag).contains(&"true")
}

/// The lease, if the arguments name one.
fn lease(arguments: &[String], namespace: &str) -> Option<(String, String)> {
    let name = values(arguments, "--lease-name").pop()?;
    let place = values(arguments, "--lease-namespace").pop().unwrap_or(namespace);
    is_set(arguments, "--leader-elect").then(|| (place.to_owned(), name.to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod of an operator.
    pub(in crate::plugin) fn pod(change: impl FnOnce(&mut Value)) -> Pod {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "idissuer-1", "namespace": "idissuer-system",
                "labels": {"app.kubernetes.io/version": "0.1.0"},
            },
            "spec": {
                "serviceAccountName": "idissuer",
                "containers": [{"name": "controller", "image": "example.org/idissuer:0.1.0", "args": ["controller"]}],
            },
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_shows_version_readiness_and_scope() {
        let found = OperatorPod::new(&pod(|_| ())).unwrap();
        assert_eq!((found.version.as_str(), found.is_ready), ("0.1.0", true));
        assert_eq!((found.path().as_str(), found.scope.len()), ("idissuer-system/idissuer-1", 0));
        let other = OperatorPod::new(&pod(|pod| {
            pod["metadata"]["labels"] = json!({});
            pod["status"] = json!({});
            pod["spec"]["containers"][0]["args"] =
                json!(["controller", "--namespace", "a,b", "--namespace=c"]);
        }));
        let other = other.unwrap();
        assert_eq!((other.version.as_str(), other.is_ready), ("0.1.0", false));
        assert_eq!(other.scope, ["a", "b", "c"]);
        assert_eq!((other.lease, other.reads_namespaces), (None, false));
        let of_chart = OperatorPod::new(&pod(|pod| {
            pod["spec"]["containers"][0]["args"] =
                json!(["controller", "--leader-elect", "--lease-name=operator", "--namespace-selectors"]);
        }));
        let of_chart = of_chart.unwrap();
        assert_eq!(of_chart.lease, Some(("idissuer-system".to_owned(), "operator".to_owned())));
        assert!(of_chart.reads_namespaces);
        assert_eq!(OperatorPod::new(&pod(|pod| pod["spec"]["containers"][0]["name"] = json!("test"))), None);
    }

    #[test]
    fn the_version_of_an_image_is_its_tag() {
        for (image, expected) in [
            ("example.org:5000/idissuer:0.1.0", "0.1.0"),
            ("example.org:5000/idissuer", "unknown"),
            ("idissuer:0.1.0@sha256:abc", "0.1.0"),
            ("idissuer@sha256:abc", "unknown"),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
    }
}
