//! The policies by which the chart puts the sidecar into pods, on a real API server. No pod runs: what one becomes is seen
//! when it is admitted.

use std::fs;
use std::process::{Command, Output};

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{ControlPlane, TestNamespace, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::chart;
use crate::chart_objects::{UNDER_POLICIES, parts, samples};
use crate::operator::LIMIT;

/// The environment of each sidecar, with a value that is hard to quote.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector.monitoring.svc:4318"),
    ("OTEL_RESOURCE_ATTRIBUTES", r#"k8s.cluster.name=a'b"c\d&<e>"#),
];
/// The annotations of a pod that ask for the sidecar, and for its port.
const ASKS: &str = "idissuer.pl/inject-secret";
const PORT: &str = "idissuer.pl/inject-port";
const GROUP: i64 = 65532;
const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";
const LEFT_ALONE: &str = "injection=off";

struct Place {
    namespace: TestNamespace,
}

impl Place {
    /// With this label, and all policies at work.
    async fn with_label(label: &str) -> Self {
        let control_plane = UNDER_POLICIES.control_plane().await.unwrap();
        let namespace = TestNamespace::create(control_plane, "injection").await.unwrap();
        control_plane.kubectl().run(&["label", "namespace", namespace.name(), label]).await.unwrap();
        // No controller makes it here, and no pod is accepted without it.
        namespace.kubectl().run(&["create", "serviceaccount", "default"]).await.unwrap();
        install(control_plane).await;
        let place = Self { namespace };
        wait::until("the policies", LIMIT, async || place.is_under_policies(label).await).await;
        place
    }

    /// Policies, labels and accounts come to count a moment after they are written.
    async fn is_under_policies(&self, label: &str) -> Result<(), String> {
        let admitted = self.becomes(&asking_pod()).await?;
        if label == LEFT_ALONE {
            return Ok(());
        }
        if !has_sidecar(&admitted) {
            return Err("a pod got no sidecar".to_owned());
        }
        if self.becomes(&pod_with(ASKS, "")).await.is_ok() {
            return Err("a senseless annotation was accepted".to_owned());
        }
        let mut unrestricted = asking_pod();
        unrestricted["spec"]["hostNetwork"] = json!(true);
        if label == RESTRICTED && self.becomes(&unrestricted).await.is_ok() {
            return Err("the profile `restricted` was not enforced".to_owned());
        }
        Ok(())
    }

    /// What the API server makes of a pod, or why it refuses it.
    async fn becomes(&self, pod: &Value) -> Result<Value, String> {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let admitted = self.namespace.api::<Pod>().create(&dry_run, &pod).await;
        admitted.map(|pod| serde_json::to_value(pod).unwrap()).map_err(|error| error.to_string())
    }
}

async fn install(control_plane: &ControlPlane) {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let install = async || {
        let (key, value) = LEFT_ALONE.split_once('=').unwrap();
        let elsewhere = json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]});
        let values = json!({
            "issuer": {"url": "https://api.idissuer.pl"},
            "image": {"repository": "registry.example.com/idissuer", "pullPolicy": "Always"},
            "injection": {"enabled": true, "namespaceSelector": elsewhere, "extraEnv": environment()},
        });
        let objects = chart::render("injection", &values).await;
        let is_policy = |object: &&Value| object["apiVersion"] == "admissionregistration.k8s.io/v1";
        let policies: Vec<_> = objects.iter().filter(is_policy).collect();
        assert_eq!(policies.len(), 4, "{policies:?}");
        control_plane.kubectl().apply(&chart::manifest(policies)).await.unwrap();
    };
    INSTALLED.get_or_init(install).await;
}

fn environment() -> Value {
    ENVIRONMENT.map(|(name, value)| json!({"name": name, "value": value})).into()
}

fn container(name: &str) -> Value {
    json!({
        "name": name,
        "image": "example.com/program",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    })
}

/// A pod of the profile `restricted`, with an annotation.
fn pod_with(annotation: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "annotations": {annotation: value}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container("main")],
        },
    })
}

fn asking_pod() -> Value {
    pod_with(ASKS, "billing")
}

fn has_sidecar(pod: &Value) -> bool {
    pod["spec"]["initContainers"][0]["name"] == "idissuer"
}

/// The names in a list of containers, volumes or mounts, in their order.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap()).collect()
}

/// Runs the program with the arguments of a container, changed by `change`, and more.
fn run(container: &Value, change: impl Fn(&str) -> String, more: &str) -> Output {
    let arguments = container["args"].as_array().unwrap().iter().map(|it| change(it.as_str().unwrap()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_idissuer"));
    program.args(arguments).arg(more).output().unwrap()
}

#[tokio::test]
async fn a_pod_that_asks_gets_the_sidecar_before_all_else_and_the_profile_restricted_lets_it_pass() {
    let place = Place::with_label(RESTRICTED).await;
    for own in [json!([]), json!([container("first"), container("second")])] {
        let mut pod = asking_pod();
        pod["spec"]["initContainers"] = own.clone();
        let spec = place.becomes(&pod).await.unwrap()["spec"].take();
        assert_eq!(names(&spec["initContainers"]), [vec!["idissuer"], names(&own)].concat());
        assert_eq!(names(&spec["containers"]), ["main"]);
    }
    let spec = place.becomes(&asking_pod()).await.unwrap()["spec"].take();
    let sidecar = &spec["initContainers"][0];
    assert_eq!(sidecar["image"], format!("registry.example.com/idissuer:{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        (&sidecar["imagePullPolicy"], &sidecar["restartPolicy"]),
        (&json!("Always"), &json!("Always"))
    );
    for (probe, path) in [("startupProbe", "/startup"), ("livenessProbe", "/livez")] {
        assert_eq!(sidecar[probe]["httpGet"], json!({"path": path, "port": 9440, "scheme": "HTTP"}));
    }
    assert_eq!(sidecar["resources"]["requests"], sidecar["resources"]["limits"]);
    assert_eq!(sidecar["env"], environment());
    let expected = json!({
        "runAsNonRoot": true,
        "runAsGroup": GROUP,
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(sidecar["securityContext"], expected);
    let [target, output] = [&spec["volumes"][0], &spec["volumes"][1]];
    assert_eq!(target["secret"]["secretName"], "billing");
    assert_eq!(output["emptyDir"], json!({"medium": "Memory"}));
    let expected = json!([
        {"name": target["name"], "mountPath": "/run/idissuer-target", "readOnly": true},
        {"name": output["name"], "mountPath": "/run/idissuer"},
    ]);
    assert_eq!(sidecar["volumeMounts"], expected);
}

#[tokio::test]
async fn every_container_reads_the_files_but_one_that_mounts_something_of_its_own_there() {
    let place = Place::with_label(RESTRICTED).await;
    let mut pod = asking_pod();
    let mounting = |name: &str, path: &str| {
        let mut container = container(name);
        container["volumeMounts"] = json!([{"name": "own", "mountPath": path}]);
        container
    };
    let own = json!([container("bare"), mounting("other", "/data"), mounting("there", "/run/idissuer")]);
    pod["spec"]["volumes"] = json!([{"name": "own", "emptyDir": {}}]);
    let init = json!([
        container("begin"),
        mounting("begin-other", "/data"),
        mounting("begin-there", "/run/idissuer/")
    ]);
    pod["spec"]["containers"] = own;
    pod["spec"]["initContainers"] = init;
    let spec = place.becomes(&pod).await.unwrap()["spec"].take();
    assert_eq!(names(&spec["volumes"]), ["own", "idissuer-target", "idissuer-output"]);
    let own_containers = &spec["initContainers"].as_array().unwrap()[1..];
    for containers in [own_containers, spec["containers"].as_array().unwrap()] {
        let mounts: Vec<_> = containers.iter().map(|it| names(&it["volumeMounts"])).collect();
        assert_eq!(mounts, [vec!["idissuer-output"], vec!["own", "idissuer-output"], vec!["own"]]);
        let ours = json!({"name": "idissuer-output", "mountPath": "/run/idissuer", "readOnly": true});
        assert_eq!(containers[0]["volumeMounts"][0], ours);
        assert_eq!(containers[1]["volumeMounts"][1], ours);
    }
}

#[tokio::test]
async fn with_any_users_of_the_pod_the_files_can_be_read_and_other_volumes_stay_as_they_were() {
    let place = Place::with_label("injection=on").await;
    // What the pod says of itself, the groups that it then has, and the user of the sidecar.
    for (context, groups, user) in [
        (json!({}), json!([GROUP]), Value::Null),
        (json!({"supplementalGroups": [7]}), json!([7, GROUP]), Value::Null),
        (json!({"supplementalGroups": [GROUP, 7]}), json!([GROUP, 7]), Value::Null),
        (json!({"fsGroup": 7}), Value::Null, Value::Null),
        (json!({"runAsUser": 1000, "runAsGroup": 1000}), json!([GROUP]), Value::Null),
        (json!({"runAsUser": 0}), json!([GROUP]), json!(65532)),
    ] {
        let mut pod = asking_pod();
        pod["spec"]["securityContext"] = context.clone();
        let spec = place.becomes(&pod).await.unwrap()["spec"].take();
        let sidecar = &spec["initContainers"][0]["securityContext"];
        assert_eq!(spec["securityContext"]["supplementalGroups"], groups, "{context}");
        assert_eq!((&sidecar["runAsUser"], &sidecar["runAsGroup"]), (&user, &json!(GROUP)), "{context}");
        for field in ["fsGroup", "runAsUser", "runAsGroup"] {
            assert_eq!(spec["securityContext"][field], context[field], "{context}");
        }
    }
    let mut pod = asking_pod();
    pod["spec"].as_object_mut().unwrap().remove("securityContext");
    let spec = place.becomes(&pod).await.unwrap()["spec"].take();
    assert_eq!(spec["securityContext"], json!({"supplementalGroups": [GROUP]}));
}

#[tokio::test]
async fn a_pod_that_does_not_ask_or_has_the_sidecar_stays_as_it_is() {
    let place = Place::with_label(RESTRICTED).await;
    for pod in [pod_with("example.com/other", "billing"), pod_with("idissuer.pl/other", "billing")] {
        let spec = place.becomes(&pod).await.unwrap()["spec"].take();
        assert!(!spec.to_string().contains("idissuer"), "{spec}");
        assert_eq!(spec["securityContext"], pod["spec"]["securityContext"]);
    }
    // As a copy of a pod that runs, and written by hand.
    let admitted = place.becomes(&asking_pod()).await.unwrap();
    let mut copy = asking_pod();
    copy["spec"] = admitted["spec"].clone();
    assert_eq!(place.becomes(&copy).await.unwrap()["spec"], admitted["spec"]);
    let (as_init_container, beside) =
        (json!([container("idissuer")]), json!([container("main"), container("idissuer")]));
    for (list, containers) in [("initContainers", as_init_container), ("containers", beside)] {
        let mut by_hand = asking_pod();
        by_hand["spec"][list] = containers;
        let spec = place.becomes(&by_hand).await.unwrap()["spec"].take();
        assert!(!spec.to_string().contains("idissuer-output"), "{spec}");
    }
    let elsewhere = Place::with_label(LEFT_ALONE).await;
    let spec = elsewhere.becomes(&asking_pod()).await.unwrap()["spec"].take();
    assert!(!spec.to_string().contains("idissuer"), "{spec}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_the_cure() {
    let place = Place::with_label(RESTRICTED).await;
    for secret in ["", "Billing", "billing/token", "-billing", "billing token", &"a".repeat(254)] {
        let told = place.becomes(&pod_with(ASKS, secret)).await.unwrap_err();
        assert!(told.contains("inject-secret to the name of a target Secret"), "{secret:?}: {told}");
    }
    let with_port = |port: &str| {
        let mut pod = asking_pod();
        pod["metadata"]["annotations"][PORT] = json!(port);
        pod
    };
    for port in ["", "http", "0", "80", "65536", "99999999999999999999", "09441", "-9441", "9441 "] {
        let told = place.becomes(&with_port(port)).await.unwrap_err();
        assert!(told.contains("inject-port to a port from 1024 to 65535"), "{port:?}: {told}");
    }
    let sidecar = place.becomes(&with_port("9441")).await.unwrap()["spec"]["initContainers"][0].take();
    let arguments = sidecar["args"].as_array().unwrap();
    assert!(arguments.contains(&json!("--admin-addr=[::]:9441")), "{arguments:?}");
    for probe in ["startupProbe", "livenessProbe"] {
        assert_eq!(sidecar[probe]["httpGet"]["port"], 9441);
    }
    // Who does not ask is not looked at.
    place.becomes(&pod_with(PORT, "http")).await.unwrap();
}

#[tokio::test]
async fn the_program_does_what_its_arguments_in_the_pod_say() {
    let place = Place::with_label(RESTRICTED).await;
    let sidecar = place.becomes(&asking_pod()).await.unwrap()["spec"]["initContainers"][0].take();
    let folder = WorkFolder::create().unwrap();
    let inside = |path: &str| folder.path().join(path);
    for directory in ["idissuer-target", "idissuer"] {
        fs::create_dir(inside(directory)).unwrap();
    }
    fs::write(inside("idissuer-target/token"), "the-token").unwrap();
    fs::write(inside("idissuer-target/expires_at"), "2100-01-01T00:00:00Z").unwrap();
    let change = |argument: &str| {
        let argument = argument.replace("=/run/", &format!("={}/", folder.path().display()));
        argument.replace("[::]:9440", "127.0.0.1:0")
    };
    let output = run(&sidecar, change, "--once");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(inside("idissuer/token")).unwrap(), "the-token");
}

#[tokio::test]
async fn the_pods_of_the_samples_meet_the_profile_restricted_and_the_program_knows_their_arguments() {
    let place = Place::with_label(RESTRICTED).await;
    for (path, text) in samples("sidecar") {
        let objects = parts(&text);
        let template = objects.iter().map(|it| &it["spec"]["template"]).find(|it| it.is_object()).unwrap();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}});
        pod["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
        pod["spec"] = template["spec"].clone();
        if let Some(account) = pod["spec"]["serviceAccountName"].as_str() {
            place.namespace.kubectl().run(&["create", "serviceaccount", account]).await.unwrap();
        }
        let look = async || place.becomes(&pod).await;
        let spec = wait::until("a pod of the sample", LIMIT, look).await["spec"].take();
        let lists = ["initContainers", "containers"].map(|list| spec[list].as_array());
        let mut containers = lists.into_iter().flatten().flatten();
        let sidecar =
            containers.find(|it| it["name"] == "idissuer").unwrap_or_else(|| panic!("{path}: {spec}"));
        assert_eq!(sidecar["image"].as_str().unwrap().rsplit_once(':').unwrap().1, env!("CARGO_PKG_VERSION"));
        let output = run(sidecar, str::to_owned, "--help");
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
