//! A cluster with a node and an issuer, in which tests install the operator.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_testbed::{Cluster, Helm, Kubectl, Node, Options, Program, Recipe, wait};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Resource, ResourceExt};

use crate::operator::{holds, token_status};
use crate::plugin::Run;

/// For pods to start, and for Helm to wait: a machine that does much else takes its time.
pub(super) const LIMIT: Duration = Duration::from_secs(120);
pub(super) const HOME: &str = "idissuer";
pub(super) const OPERATOR: &str = "app.kubernetes.io/name=idissuer-operator";
pub(super) const SHOP: &str = "shop";
/// The version of the chart, the program and its image.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(super) const LIFETIME: Duration = Duration::from_secs(60);
pub(super) const ISSUER: &str = "http://issuer.issuers:8480";
/// Another one, whose tokens live an hour.
pub(super) const CALM_ISSUER: &str = "http://calm.issuers:8480";

/// Where a test plays. What was installed goes with the cluster.
pub(super) struct Place {
    pub(super) cluster: Cluster,
    pub(super) helm: Helm,
}

pub(super) fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const CHART: &str = "charts/idissuer-operator";

/// The chart of the last release, unpacked into a folder. As long as there is none, the present one.
pub(super) fn released_chart(folder: &Path) -> PathBuf {
    let run = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).current_dir(of_project("")).output().unwrap()
    };
    let tag = run("git", &["describe", "--tags", "--abbrev=0", "--match=v*"]);
    if !tag.status.success() {
        return of_project(CHART);
    }
    let (tag, archive) =
        (String::from_utf8(tag.stdout).unwrap(), folder.join("chart.tar").display().to_string());
    let written = run("git", &["archive", "--output", &archive, tag.trim(), CHART]);
    let unpacked =
        run("tar", &["--extract", "--file", &archive, "--directory", &folder.display().to_string()]);
    assert!(unpacked.status.success(), "{written:?} {unpacked:?}");
    folder.join(CHART)
}

fn archive(image: &str) -> PathBuf {
    let archive = of_project(&format!("target/image/{image}.tar"));
    assert!(archive.exists(), "{} is missing: `make image` writes it", archive.display());
    archive
}

impl Place {
    /// With a namespace that enforces the profile `restricted`, one for a shop, and both issuers. None where there can be
    /// no node.
    pub(super) async fn start(helm: Program) -> Option<Self> {
        if !Node::available_for_test() {
            return None;
        }
        let cluster = Cluster::start(Options::new()).await.unwrap();
        let helm = Helm::provide(helm).await.unwrap().with_kubeconfig(cluster.control_plane().kubeconfig());
        let place = Self { cluster, helm };
        place.knows_images().await;
        for (name, profile) in [(HOME, "restricted"), (SHOP, "restricted"), ("issuers", "restricted")] {
            place.has_namespace(name, profile).await;
        }
        place.has_issuer("issuer", LIFETIME).await;
        place.has_issuer("calm", Duration::from_secs(3600)).await;
        Some(place)
    }

    /// The images of `make image`, by the name that their archives give them.
    async fn knows_images(&self) {
        for name in ["idissuer", "idissuer-simulator"] {
            let whole = format!("docker.io/library/{name}:{VERSION}");
            self.cluster.node().import_named_image(&archive(name), &whole).await.unwrap();
        }
    }

    /// The operator's image as that of another version: the same program in another image.
    pub(super) async fn knows_version(&self, version: &str) {
        let recipe = Recipe::read(&of_project("deploy/Containerfile")).unwrap();
        let arguments = [("VERSION", version), ("REVISION", "another")];
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let image = recipe.image("idissuer", &of_project(""), &arguments.into()).unwrap();
        let name = format!("docker.io/library/idissuer:{version}");
        self.cluster.node().import(&image, &name).await.unwrap();
    }

    pub(super) async fn has_namespace(&self, name: &str, profile: &str) {
        let namespace = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: {profile}}}}}}}"
        );
        self.kubectl().apply(&namespace).await.unwrap();
    }

    async fn has_issuer(&self, name: &str, lifetime: Duration) {
        let lifetime = lifetime.as_secs();
        let issuer = format!(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: issuers}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: simulator
        image: idissuer-simulator:{VERSION}
        args: ['--listen=[::]:8480', '--token-lifetime={lifetime}s', --print-calls]
        readinessProbe: {{tcpSocket: {{port: 8480}}, periodSeconds: 1}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: issuers}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 8480}}]}}
"
        );
        self.kubectl().apply(&issuer).await.unwrap();
        let deployment = format!("deployment/{name}");
        let wait = ["--namespace", "issuers", "rollout", "status", &deployment, "--timeout=120s"];
        self.kubectl().run(&wait).await.unwrap();
    }

    /// How often an issuer was asked for a token.
    pub(super) async fn calls_of(&self, issuer: &str) -> usize {
        let pods = self.pods("issuers", &format!("app={issuer}")).await;
        let log = self.cluster.node().pod_logs("issuers", &pods[0].name_any(), None).await.unwrap();
        let is_for_token = |line: &&str| {
            ["login", "refresh"].iter().any(|it| line.contains(&format!("\"operation\":\"{it}\"")))
        };
        log.lines().filter(is_for_token).count()
    }

    pub(super) fn kubectl(&self) -> Kubectl {
        self.cluster.control_plane().kubectl()
    }

    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.control_plane().client().unwrap(), namespace)
    }

    pub(super) async fn pods(&self, namespace: &str, labels: &str) -> Vec<Pod> {
        self.api::<Pod>(namespace).list(&ListParams::default().labels(labels)).await.unwrap().items
    }

    /// `helm <command> idissuer <chart> --wait`, with these values.
    pub(super) async fn release(&self, command: &str, values: &[&str]) {
        self.release_of(&of_project(CHART), command, values).await;
    }

    pub(super) async fn release_of(&self, chart: &Path, command: &str, values: &[&str]) {
        let chart = chart.display().to_string();
        let mut arguments = vec![command, HOME, &chart, "--namespace", HOME, "--wait", "--timeout", "120s"];
        arguments.extend(values.iter().flat_map(|value| ["--set", *value]));
        self.helm(&arguments).await;
    }

    /// Helm, in the operator's namespace. A failure shows the logs of the pods.
    pub(super) async fn helm(&self, arguments: &[&str]) -> String {
        match self.helm.run(arguments, "").await {
            Ok(said) => said,
            Err(error) => panic!("{error}\n{}", self.told_by_pods(HOME).await),
        }
    }

    /// What the pods of a namespace are in, and what they have logged.
    pub(super) async fn told_by_pods(&self, namespace: &str) -> String {
        let mut told = Vec::new();
        for pod in self.pods(namespace, "").await {
            let log = self.cluster.node().pod_logs(namespace, &pod.name_any(), None).await;
            let log = log.unwrap_or_else(|error| error.to_string());
            let end: Vec<&str> = log.lines().rev().take(20).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            told.push(format!("--- {}\n{:?}\n{}\n", pod.name_any(), pod.status, end.join("\n")));
        }
        told.concat()
    }

    /// An account at an issuer, and a credential for it, of the same name, with these further fields.
    pub(super) async fn has_credential(&self, namespace: &str, name: &str, more: &str) {
        let manifests = format!(
            "
apiVersion: v1
kind: Secret
metadata: {{name: {name}-login, namespace: {namespace}}}
stringData: {{username: demo@idissuer.pl, password: demo}}
---
apiVersion: idissuer.pl/v1alpha1
kind: IdIssuerCredential
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{loginSecretRef: {{name: {name}-login}}{more}}}
"
        );
        self.kubectl().apply(&manifests).await.unwrap();
    }

    /// A credential in the shop that follows one of another namespace.
    pub(super) async fn has_follower(&self, name: &str, (namespace, owner): (&str, &str)) {
        let manifest = format!(
            "
apiVersion: idissuer.pl/v1alpha1
kind: IdIssuerCredential
metadata: {{name: {name}, namespace: {SHOP}}}
spec: {{credentialRef: {{namespace: {namespace}, name: {owner}}}}}
"
        );
        self.kubectl().apply(&manifest).await.unwrap();
    }

    pub(super) async fn ready(&self, namespace: &str, name: &str) -> IdIssuerCredential {
        let is_ready = |it: &IdIssuerCredential| holds(it, "Ready", "True", "TokenPublished");
        wait::object(&self.api(namespace), name, "a ready credential", LIMIT, is_ready).await
    }

    /// Waits until a credential has another token than now.
    pub(super) async fn renewed(&self, namespace: &str, name: &str) {
        let credentials = self.api::<IdIssuerCredential>(namespace);
        let fingerprint = |it: &IdIssuerCredential| token_status(it).fingerprint.clone();
        let now = fingerprint(&credentials.get(name).await.unwrap());
        wait::object(&credentials, name, "another token", LIMIT, |it| fingerprint(it) != now).await;
    }

    pub(super) async fn token(&self, namespace: &str, name: &str) -> String {
        let target = self.api::<Secret>(namespace).get(name).await.unwrap();
        String::from_utf8(target.data.unwrap()["token"].0.clone()).unwrap()
    }

    pub(super) async fn leader(&self) -> String {
        let lease =
            ["--namespace", HOME, "get", "leases", "--output=jsonpath={.items[*].spec.holderIdentity}"];
        let holder = self.kubectl().run(&lease).await.unwrap();
        let pods = self.pods(HOME, OPERATOR).await;
        let leads = |pod: &&Pod| holder.starts_with(&pod.name_any());
        pods.iter().find(leads).map_or_else(|| panic!("{holder} is no pod"), ResourceExt::name_any)
    }

    /// `kubectl idissuer`, as an administrator in the shop.
    pub(super) async fn plugin(&self, arguments: &[&str]) -> Run {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.arg("kubectl").args(arguments).args(["--namespace", SHOP]);
        command.env("KUBECONFIG", self.cluster.control_plane().kubeconfig());
        Run::of(command.output().await.unwrap())
    }

    /// Deletes a namespace, and waits until it is gone: nothing may hold it up.
    pub(super) async fn deletes_namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.cluster.control_plane().client().unwrap());
        namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        wait::gone(&namespaces, name, LIMIT).await;
    }
}
