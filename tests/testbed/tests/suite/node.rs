//! Pods on a real node. Where there can be none, these tests say so and are skipped.

use std::collections::HashSet;
use std::process::{Command, Output};
use std::time::Duration;

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{
    Cluster, Error, Image, Node, NodeOptions, Options, SharedCluster, TestNamespace, shared, wait,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A pod takes two seconds; a machine that compiles meanwhile takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const IMAGE: &str = "localhost/test/pod:1";

static CLUSTER: SharedCluster = SharedCluster::new(|| {
    let node = NodeOptions::new().sync_frequency(Duration::from_secs(1));
    (Options::new(), node)
});

struct Place {
    cluster: &'static Cluster,
    namespace: TestNamespace,
}

impl Place {
    /// None where there can be no node.
    async fn create(purpose: &str) -> Option<Self> {
        if !Node::available_for_test() {
            return None;
        }
        let cluster = CLUSTER.cluster().await.unwrap();
        cluster.node().import_program(cluster.node().test_program(), IMAGE).await.unwrap();
        let namespace = TestNamespace::create(cluster.control_plane(), purpose).await.unwrap();
        Some(Self { cluster, namespace })
    }

    async fn apply(&self, yaml: &str) {
        self.namespace.kubectl().apply(yaml).await.unwrap();
    }

    fn pods(&self) -> Api<Pod> {
        self.namespace.api()
    }

    async fn ready(&self, name: &str) -> Pod {
        wait::object(&self.pods(), name, "a ready pod", LIMIT, is_ready).await
    }

    /// What a pod printed that is to end well.
    async fn printed_by(&self, name: &str) -> String {
        wait::object(&self.pods(), name, "the end of the pod", LIMIT, |pod| phase(pod) == "Succeeded").await;
        self.cluster.node().pod_logs(self.namespace.name(), name, None).await.unwrap()
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn address(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap()
}

/// The container of the pod: which one, and how often it was started anew.
fn container(pod: &Pod) -> (String, i32) {
    let status = &pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
    (status.container_id.clone().unwrap(), status.restart_count)
}

/// A pod of the test program under the `restricted` standard. `more` are further fields of its specification.
fn pod(name: &str, arguments: &str, more: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: main
    image: {IMAGE}
    imagePullPolicy: Never
    args: {arguments}
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
    resources: {{limits: {{memory: 64Mi, cpu: 500m}}}}
{more}
"
    )
}

/// A pod that serves, ready when it does.
pub(crate) fn server(name: &str, more: &str) -> String {
    let probe = "
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /, port: 8080}}";
    pod(name, "[serve, ':8080']", &format!("{probe}{more}"))
}

/// Asks a pod from this machine.
async fn get(address: &str, path: &str) -> Result<String, String> {
    let exchange = async {
        let mut stream = TcpStream::connect((address, 8080)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = exchange.await.map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(answer),
    }
}

/// Runs the test below as a user who is not root, of a namespace in which nobody is.
fn as_nobody(ci: &str) -> Output {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(&test);
    if Node::unavailable().is_none() {
        command = Command::new("unshare");
        command.arg("--user").arg(&test);
    }
    command
        .args(["--exact", "node::a_pod_of_an_image_without_a_registry_becomes_ready", "--nocapture"])
        .env("CI", ci)
        .output()
        .unwrap()
}

#[test]
fn where_there_can_be_no_node_its_tests_say_so_and_are_skipped_but_not_in_ci() {
    for (ci, success, word) in [("", true, "skipped"), ("true", false, "in CI there must be one")] {
        let output = as_nobody(ci);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), success, "{told}");
        assert!(told.contains("a node needs root") && told.contains(word), "{told}");
    }
}

#[tokio::test]
async fn a_pod_of_an_image_without_a_registry_becomes_ready() {
    let Some(place) = Place::create("ready").await else { return };
    place.apply(&server("web", "")).await;
    let pod = place.ready("web").await;
    assert_eq!(get(&address(&pod), "/").await.unwrap(), "web\n", "it is reached from this machine");
}

#[tokio::test]
async fn an_image_has_its_files_and_variables_and_its_log_is_read() {
    let Some(place) = Place::create("image").await else { return };
    let node = place.cluster.node();
    let image = Image::of_program(node.test_program()).variable("GODEBUG", "inittrace=1");
    let name = "localhost/test/variable:1";
    node.import(&image, name).await.unwrap();
    place.apply(&pod("short", "[resolve, localhost]", "  restartPolicy: Never").replace(IMAGE, name)).await;
    let printed = place.printed_by("short").await;
    assert!(printed.contains("127.0.0.1") && printed.contains("init runtime"), "{printed}");
}

#[tokio::test]
async fn a_pod_has_an_image_by_the_name_that_its_archive_gives_it() {
    let Some(place) = Place::create("named").await else { return };
    let node = place.cluster.node();
    let folder = WorkFolder::create().unwrap();
    let archive = folder.path().join("image.tar");
    Image::of_program(node.test_program()).named("bare-name", "1").write(&archive).unwrap();
    node.import_named_image(&archive, "docker.io/library/bare-name:1").await.unwrap();
    place.apply(&server("web", "").replace(IMAGE, "bare-name:1")).await;
    place.ready("web").await;
}

#[tokio::test]
async fn a_pod_is_ready_when_its_secret_is_there_and_sees_its_update() {
    let Some(place) = Place::create("secret").await else { return };
    let secret = |token: &str| {
        format!("{{apiVersion: v1, kind: Secret, metadata: {{name: login}}, stringData: {{token: {token}}}}}")
    };
    let mount = "
    readinessProbe: {httpGet: {path: '/file?/secret/token', port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: secret, mountPath: /secret}]
  volumes: [{name: secret, secret: {secretName: login, optional: true}}]";
    place.apply(&pod("reader", "[serve, ':8080']", mount)).await;
    let running =
        wait::object(&place.pods(), "reader", "the pod", LIMIT, |pod| phase(pod) == "Running").await;
    assert!(!is_ready(&running), "its probe fails");

    place.apply(&secret("first")).await;
    let pod = place.ready("reader").await;
    assert_eq!(get(&address(&pod), "/file?/secret/token").await.unwrap(), "first");
    place.apply(&secret("second")).await;
    wait::until("the new token in the pod", LIMIT, async || {
        match get(&address(&pod), "/file?/secret/token").await {
            Ok(token) if token == "second" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let secrets = place.namespace.api::<Secret>();
    assert!(secrets.get("login").await.is_ok());
}

#[tokio::test]
async fn a_pod_asks_the_api_server_as_its_service_account() {
    let Some(place) = Place::create("account").await else { return };
    let namespace = place.namespace.name().to_owned();
    place
        .apply(&format!(
            "
apiVersion: v1
kind: ConfigMap
metadata: {{name: greeting}}
data: {{word: good morning}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader}}
rules: [{{apiGroups: [''], resources: [configmaps], resourceNames: [greeting], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: default, namespace: {namespace}}}]
"
        ))
        .await;
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    for (name, server) in [
        ("by-name", "kubernetes.default.svc"),
        ("by-address", "$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)"),
    ] {
        let arguments = format!("[get, 'https://{server}{path}/greeting']");
        place.apply(&pod(name, &arguments, "  restartPolicy: Never")).await;
        let printed = place.printed_by(name).await;
        assert!(printed.contains("good morning"), "{printed}");
    }

    let other = format!("[get, 'https://kubernetes.default.svc{path}/other']");
    place.apply(&pod("refused", &other, "  restartPolicy: Never")).await;
    wait::object(&place.pods(), "refused", "its end", LIMIT, |pod| phase(pod) == "Failed").await;
    let printed = place.cluster.node().pod_logs(&namespace, "refused", None).await.unwrap();
    assert!(printed.contains("403 Forbidden"), "{printed}");
}

#[tokio::test]
async fn a_service_leads_a_pod_to_each_of_its_endpoints_by_name() {
    let Some(place) = Place::create("service").await else { return };
    place.apply("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {role: web}, ports: [{port: 80, targetPort: 8080}]}}").await;
    for name in ["one", "two"] {
        place.apply(&server(name, "").replace("labels: {", "labels: {role: web, ")).await;
    }
    place.apply(&server("client", "")).await;
    for name in ["one", "two", "client"] {
        place.ready(name).await;
    }
    let namespace = place.namespace.name();
    let mut seen = HashSet::new();
    for url in ["http://web/".to_owned(), format!("http://web.{namespace}.svc.cluster.local/")] {
        seen.clear();
        wait::until("both endpoints", LIMIT, async || {
            let kubectl = place.namespace.kubectl();
            match kubectl.run(&["exec", "client", "--", "/testbed-pod", "get", &url]).await {
                Ok(answer) => seen.insert(answer.trim().to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            if seen.len() == 2 { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
        assert_eq!(seen, HashSet::from(["one".to_owned(), "two".to_owned()]));
    }

    let unknown = ["exec", "client", "--", "/testbed-pod", "resolve", "nowhere.example"];
    let output = place.namespace.kubectl().output(&unknown, "").await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("no such host"), "{told}");
}

#[tokio::test]
async fn a_service_leads_a_pod_to_what_listens_on_this_machine() {
    let Some(place) = Place::create("host").await else { return };
    let host = place.cluster.node().host_address();
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    });
    place
        .apply(&format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: simulator}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: simulator, labels: {{kubernetes.io/service-name: simulator}}}}
addressType: IPv4
endpoints: [{{addresses: ['{host}']}}]
ports: [{{port: {port}}}]
"
        ))
        .await;
    let url = format!("[get, 'http://simulator.{}.svc/']", place.namespace.name());
    place.apply(&pod("client", &url, "  restartPolicy: OnFailure")).await;
    assert!(place.printed_by("client").await.ends_with("hi"));
    answer.await.unwrap();
}

#[tokio::test]
async fn pods_stay_as_they_are_while_kubelet_containerd_and_the_api_server_start_anew() {
    if !Node::available_for_test() {
        return;
    }
    let cluster = Cluster::start(Options::new(), NodeOptions::new().name("worker")).await.unwrap();
    let node = cluster.node();
    node.import_program(node.test_program(), IMAGE).await.unwrap();
    let namespace = TestNamespace::create(cluster.control_plane(), "restart").await.unwrap();
    namespace.kubectl().apply(&server("web", "")).await.unwrap();
    let pods = namespace.api::<Pod>();
    let before = wait::object(&pods, "web", "a ready pod", LIMIT, is_ready).await;
    assert_eq!(before.spec.as_ref().unwrap().node_name.as_deref(), Some(node.name()));

    node.kubelet().kill().await.unwrap();
    assert_eq!(get(&address(&before), "/").await.unwrap(), "web\n");
    node.restart_containerd().await.unwrap();
    node.kubelet().start().unwrap();
    node.ready().await.unwrap();
    node.restart_kubelet().await.unwrap();

    // A new kubelet asks each pod anew before it calls it ready.
    let after = wait::object(&pods, "web", "a ready pod", LIMIT, is_ready).await;
    assert_eq!(container(&after), container(&before));
    assert_eq!(address(&after), address(&before));

    cluster.control_plane().api_server().kill().await.unwrap();
    cluster.control_plane().api_server().start().unwrap();
    cluster.control_plane().ready().await.unwrap();
    node.ready().await.unwrap();
    namespace.kubectl().apply(&server("another", "")).await.unwrap();
    wait::object(&pods, "another", "a ready pod", LIMIT, is_ready).await;
}

#[tokio::test]
async fn a_node_refuses_a_control_plane_that_would_leave_its_services_without_endpoints() {
    let control_plane = shared().await.unwrap();
    let error = Box::pin(Node::start(control_plane, NodeOptions::new())).await.unwrap_err();
    assert!(error.to_string().contains("Options::controllers"), "{error}");
}

#[tokio::test]
async fn a_node_that_cannot_start_says_why() {
    if !Node::available_for_test() {
        return;
    }
    let options = NodeOptions::new().kubelet_setting("maxPods", -1);
    let error = Cluster::start(Options::new(), options).await.unwrap_err();
    assert!(matches!(error, Error::ComponentEnded { component: "kubelet", .. }), "{error}");
    assert!(error.to_string().contains("maxPods"), "{error}");
}
