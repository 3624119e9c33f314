//! Helm installs, upgrades and removes the chart on a real API server. No pod runs.

use std::process::Command;

use idissuer_testbed::{ControlPlane, Controllers, Helm, Options, Program, Shared, TestNamespace};
use serde_json::json;

use crate::chart::{self, RELEASE};
use crate::operator::credential;

/// A control plane without the CRD, for each Helm: the chart brings it, and leaves it.
static WITH_HELM: Shared = Shared::new(|| Options::new().controllers(Controllers::None));
static WITH_HELM3: Shared = Shared::new(|| Options::new().controllers(Controllers::None));
static SEVERAL: Shared = Shared::new(|| Options::new().controllers(Controllers::None));

/// One release, in a namespace of its own.
struct Release {
    helm: Helm,
    control_plane: &'static ControlPlane,
    namespace: TestNamespace,
}

impl Release {
    async fn of(control_plane: &'static ControlPlane, program: Program, name: &str) -> Self {
        let helm = Helm::provide(program).await.unwrap().with_kubeconfig(control_plane.kubeconfig());
        Self { helm, control_plane, namespace: TestNamespace::create(control_plane, name).await.unwrap() }
    }

    async fn helm(&self, command: &str, arguments: &[&str]) -> Result<String, String> {
        let namespace = format!("--namespace={}", self.namespace.name());
        let all = [&[command, RELEASE, namespace.as_str()], arguments].concat();
        self.helm.run(&all, "").await.map_err(|error| error.to_string())
    }

    async fn install(&self) -> Result<String, String> {
        self.install_with(&[]).await
    }

    async fn install_with(&self, more: &[&str]) -> Result<String, String> {
        let chart = chart::path().display().to_string();
        let all = [&[chart.as_str()], more].concat();
        self.helm("install", &all).await
    }

    /// Runs the commands of the notes in a shell, except the wait: there is no operator here.
    fn follow(&self, notes: &str) {
        let commands: Vec<_> = notes.lines().filter(|line| line.starts_with("  ")).collect();
        let [create, apply, wait] = commands[..] else { panic!("not three commands: {notes}") };
        assert!(wait.contains("wait --for=condition=Ready iic/billing"), "{wait}");
        let kubectl = self.control_plane.kubectl();
        let output = Command::new("sh")
            .args(["-e", "-c", &format!("{create}\n{apply}")])
            .env("PATH", format!("{}:/usr/bin:/bin", kubectl.program().parent().unwrap().display()))
            .env("KUBECONFIG", self.control_plane.kubeconfig())
            .env("HOME", self.control_plane.folder().path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let is_done = ["secret/billing-login created", "idissuercredential.idissuer.pl/billing created"];
        assert!(is_done.iter().all(|done| said.contains(done)), "{output:?}");
    }

    /// A pod leads that loses its rights with the release, and a test is run that has no login: it says so, and is no
    /// success. No pod runs here, so what it says is not seen, and Helm is not patient.
    async fn is_led_and_tested_without_a_login(&self) {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": chart::FULL_NAME},
            "spec": {"holderIdentity": "a pod", "leaseDurationSeconds": 15},
        });
        self.namespace.kubectl().apply(&lease.to_string()).await.unwrap();
        self.namespace.kubectl().run(&["create", "serviceaccount", "default"]).await.unwrap();
        let told = self.helm("test", &["--timeout", "2s"]).await.unwrap_err();
        assert!(!told.contains("TEST SUITE:     None"), "{told}");
    }

    async fn replicas(&self) -> String {
        let arguments = ["get", "deployments", "--output=jsonpath={.items[*].spec.replicas}"];
        self.namespace.kubectl().run(&arguments).await.unwrap()
    }
}

async fn lives_and_leaves_the_credentials(release: Release) {
    let notes = release.install().await.unwrap();
    assert_eq!(release.replicas().await, "2");
    let kubectl = release.namespace.kubectl();
    release.control_plane.await_crds().await.unwrap();
    release.follow(&notes);
    kubectl.apply(&credential("kept", json!({})).to_string()).await.unwrap();

    let chart = chart::path().display().to_string();
    release.helm("upgrade", &[&chart, "--reuse-values", "--set", "replicas=3"]).await.unwrap();
    assert_eq!(release.replicas().await, "3");
    release.helm("rollback", &["1"]).await.unwrap();
    assert_eq!(release.replicas().await, "2");

    release.is_led_and_tested_without_a_login().await;
    release.helm("uninstall", &[]).await.unwrap();
    assert_eq!(release.replicas().await, "");
    let left = kubectl.run(&["get", "leases,pods", "--output=name"]).await.unwrap();
    assert_eq!(left, "", "neither the lease nor a pod of the test is left");
    assert_eq!(kubectl.run(&["get", "iic", "--output=name"]).await.unwrap().lines().count(), 1);
    let roles = kubectl.run(&["get", "clusterroles", "--output=name"]).await.unwrap();
    assert!(!roles.contains("idissuer"), "{roles}");
    release.install().await.unwrap();
    assert_eq!(release.replicas().await, "2");

    release.helm("uninstall", &[]).await.unwrap();
    moves_elsewhere(release).await;
}

/// Helm lets a release of another namespace, or of another name, take over the CRD on request.
async fn moves_elsewhere(release: Release) {
    let namespace = TestNamespace::create(release.control_plane, "elsewhere").await.unwrap();
    let elsewhere = Release { namespace, ..release };
    let told = elsewhere.install().await.unwrap_err();
    assert!(told.contains("invalid ownership metadata"), "{told}");
    elsewhere.install_with(&["--take-ownership"]).await.unwrap();
    assert_eq!(elsewhere.replicas().await, "2");
    let kept = elsewhere.namespace.kubectl().run(&["get", "iic", "--all-namespaces", "--output=name"]).await;
    assert_eq!(kept.unwrap().lines().count(), 2, "its own, and that of the notes");
}

#[tokio::test]
async fn a_release_is_upgraded_rolled_back_removed_and_made_anew_with_its_credentials_by_helm_4() {
    let control_plane = WITH_HELM.control_plane().await.unwrap();
    lives_and_leaves_the_credentials(Release::of(control_plane, Program::Helm, "helm").await).await;
}

#[tokio::test]
async fn a_release_is_upgraded_rolled_back_removed_and_made_anew_with_its_credentials_by_helm_3() {
    let control_plane = WITH_HELM3.control_plane().await.unwrap();
    lives_and_leaves_the_credentials(Release::of(control_plane, Program::Helm3, "helm3").await).await;
}

/// A second release over one namespace is refused, with the name of the first.
async fn no_two_work_in_one_namespace(control_plane: &'static ControlPlane, program: Program) {
    let first = Release::of(control_plane, program, "first").await;
    let second = Release::of(control_plane, program, "second").await;
    let scope = |names: &str| format!("scope.namespaces={{{names}}}");
    let [shop, both, bank] = ["shop", "bank,shop", "bank"].map(scope);
    for name in ["shop", "bank"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        control_plane.kubectl().apply(&namespace.to_string()).await.unwrap();
    }
    first.install_with(&["--set", &shop]).await.unwrap();
    let second_release = ["--set", "crds.enabled=false"];
    let told_of_first = format!("{}/{} (shop)", first.namespace.name(), chart::FULL_NAME);
    for scope in [&[][..], &["--set", &both]] {
        let told = second.install_with(&[&second_release[..], scope].concat()).await.unwrap_err();
        assert!(told.contains(&told_of_first) && told.contains("scope.namespaces"), "{told}");
    }
    second.install_with(&[&second_release[..], &["--set", &bank]].concat()).await.unwrap();

    // What stands may be upgraded, but not without a word.
    let chart = chart::path().display().to_string();
    let said = second.helm("upgrade", &[&chart, "--reuse-values", "--set", &both]).await.unwrap();
    assert!(said.contains("WARNING") && said.contains(&told_of_first), "{said}");
    // A release that manages nothing is allowed.
    first.helm("upgrade", &[&chart, "--reuse-values", "--set", "replicas=0"]).await.unwrap();
    let said = second.helm("upgrade", &[&chart, "--reuse-values"]).await.unwrap();
    assert!(!said.contains("WARNING"), "{said}");
    second.helm("uninstall", &[]).await.unwrap();
    first.helm("uninstall", &[]).await.unwrap();
}

#[tokio::test]
async fn a_second_release_over_the_same_namespaces_is_refused_with_the_name_of_the_first() {
    for program in Program::HELM {
        no_two_work_in_one_namespace(SEVERAL.control_plane().await.unwrap(), program).await;
        let crd = ["delete", "crd", "idissuercredentials.idissuer.pl"];
        SEVERAL.control_plane().await.unwrap().kubectl().run(&crd).await.unwrap();
    }
}
