//! The sidecar's source `secret`: one Secret, watched with rights on that one alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use idissuer_testbed::process::{Grace, Signal, Supervised, WorkFolder};
use idissuer_testbed::proxy::{Fault, Proxy, Rule};
use idissuer_testbed::wire::Wire;
use idissuer_testbed::{Mark, count, wait};
use kube::api::DeleteParams;

use crate::CLUSTER;
use crate::operator::{HOUR, LIMIT, NAME, Stage, issuer};
use crate::secrecy::forms;
use crate::wires::NOTICED;

/// A sidecar with a Kubernetes user of its own, which has no rights at first.
struct Sidecar {
    user: String,
    kubeconfig: PathBuf,
    output: PathBuf,
    process: Supervised,
    _folder: WorkFolder,
}

impl Sidecar {
    fn command(stage: &Stage, kubeconfig: &Path, output: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.args(["sidecar", "--admin-addr", "127.0.0.1:0", "--source", "secret", "--secret"]);
        command.arg(format!("{}/{NAME}", stage.namespace.name())).arg("--output-dir").arg(output);
        command.env("KUBECONFIG", kubeconfig).env("RUST_LOG", "trace");
        command
    }

    fn start(stage: &Stage) -> Self {
        let kubeconfig = stage.control_plane.kubeconfig_as(&user(stage), None).unwrap();
        Self::start_with(stage, kubeconfig)
    }

    /// With a proxy between it and the API server.
    fn start_through_proxy(stage: &Stage) -> (Self, Proxy) {
        let proxy = Proxy::start(stage.control_plane, &user(stage), None).unwrap();
        (Self::start_with(stage, proxy.kubeconfig().to_owned()), proxy)
    }

    fn start_with(stage: &Stage, kubeconfig: PathBuf) -> Self {
        let (folder, user) = (WorkFolder::create().unwrap(), user(stage));
        let output = folder.path().to_owned();
        let command = Self::command(stage, &kubeconfig, &output);
        let process = Supervised::spawn(&user, &command, Grace::SHORT, stage.control_plane.folder()).unwrap();
        Self { user, kubeconfig, output, process, _folder: folder }
    }

    async fn until_logged(&self, part: &str) {
        wait::until(part, LIMIT, async || self.process.output().contains(part)).await;
    }

    async fn until_published(&self, token: &str) {
        wait::until("the token's file", LIMIT, async || {
            let found = fs::read_to_string(self.output.join("token")).unwrap_or_default();
            if found == token { Ok(()) } else { Err(format!("{found}\n{}", self.process.output_tail())) }
        })
        .await;
    }

    /// Waits for a token without a pause between two looks. Returns how long it took.
    async fn latency(&self, token: &str, start: Instant) -> Duration {
        while fs::read_to_string(self.output.join("token")).unwrap_or_default() != token {
            assert!(start.elapsed() < LIMIT, "{}", self.process.output_tail());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        start.elapsed()
    }

    async fn check(&self, stage: &Stage) -> (bool, String) {
        let mut command = Self::command(stage, &self.kubeconfig, &self.output);
        command.arg("check");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn user(stage: &Stage) -> String {
    format!("sidecar-{}", stage.namespace.name())
}

/// The rights of a sidecar: one Secret, and nothing beside it.
fn rights(namespace: &str, user: &str) -> String {
    format!(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: sidecar, namespace: {namespace}}}
rules:
  - {{apiGroups: [""], resources: [secrets], resourceNames: [{NAME}], verbs: [get, list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: sidecar, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: sidecar}}
subjects:
  - {{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}
"#
    )
}

#[tokio::test]
async fn a_rotation_arrives_at_once_with_rights_on_one_secret_and_is_not_reported() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let stage = Stage::prepare(control_plane, "sidecar", issuer(HOUR)).await;
    let sidecar = Sidecar::start(&stage);
    sidecar.until_logged("SecretForbidden").await;
    let yaml = rights(stage.namespace.name(), &sidecar.user);
    stage.namespace.kubectl().apply(&yaml).await.unwrap();
    sidecar.until_logged("SecretMissing").await;
    let token = |number: u32| format!("token-that-is-nobodys-business-{number}");
    let write = async |number: u32| {
        let (token, expiry) = (token(number), "2100-01-01T00:00:00Z");
        stage.write_secret(NAME, &[("token", token.as_bytes()), ("expires_at", expiry.as_bytes())]).await;
    };
    write(0).await;
    sidecar.until_published(&token(0)).await;
    let mut latencies = Vec::new();
    for number in 1..=20 {
        #[expect(clippy::disallowed_methods, reason = "it is the true time that counts")]
        let start = Instant::now();
        write(number).await;
        latencies.push(sidecar.latency(&token(number), start).await);
    }
    latencies.sort();
    eprintln!(
        "from the write of a Secret to its files: median {} ms, slowest {} ms",
        latencies[latencies.len() / 2].as_millis(),
        latencies[latencies.len() - 1].as_millis()
    );

    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    sidecar.until_logged("SecretMissing").await;
    assert!(!sidecar.check(&stage).await.0, "the Secret is gone");
    assert_eq!(fs::read_to_string(sidecar.output.join("token")).unwrap(), token(20), "the files stay");
    write(21).await;
    sidecar.until_published(&token(21)).await;
    let (is_good, findings) = sidecar.check(&stage).await;
    let parts = ["valid token", "this clock and that of the API server agree"];
    assert!(is_good && parts.iter().all(|part| findings.contains(part)), "{findings}");

    let requests = control_plane.audit().of_user_since(&sidecar.user, Mark::START).unwrap();
    let kinds: Vec<_> = count(&requests).into_keys().collect();
    let expected = ["get", "list", "watch"].map(|verb| (verb.to_owned(), "secrets".to_owned()));
    assert_eq!(kinds, expected, "each right is used, and no other");

    sidecar.process.signal(Signal::Terminate).unwrap();
    assert_eq!(sidecar.process.wait_timeout(Duration::from_secs(6)).await.unwrap(), 0);
    let log = sidecar.process.output();
    assert!(log.contains("TRACE") && log.contains("token published"), "the log is not what it should be");
    for number in 0..=21 {
        for form in forms(&token(number)) {
            assert!(!log.contains(&form) && !findings.contains(&form), "{form} was told");
        }
    }
}

#[tokio::test]
async fn trouble_of_a_watch_is_over_as_soon_as_it_works_again_although_the_secret_never_changes() {
    const TOLD: &str = "the source works again";
    let stage = Stage::prepare(CLUSTER.control_plane().await.unwrap(), "healing", issuer(HOUR)).await;
    let yaml = rights(stage.namespace.name(), &user(&stage));
    stage.namespace.kubectl().apply(&yaml).await.unwrap();
    stage.write_secret(NAME, &[("token", b"a-token")]).await;
    let (sidecar, proxy) = Sidecar::start_through_proxy(&stage);
    sidecar.until_published("a-token").await;

    proxy.inject(Rule::new(Fault::status(500), |_| true));
    proxy.cut();
    sidecar.until_logged("ApiServerUnreachable").await;
    assert!(!sidecar.process.output().contains(TOLD));
    proxy.heal();
    sidecar.until_logged(TOLD).await;

    let kubectl = stage.namespace.kubectl();
    kubectl.run(&["delete", "rolebinding", "sidecar"]).await.unwrap();
    // The permission of a watch is checked when it begins. It gets the time: a cut-off answer shows nothing.
    let mut looks = 0;
    wait::until("a refusal", 3 * LIMIT, async || {
        if looks % 60 == 0 {
            proxy.cut();
        }
        looks += 1;
        sidecar.process.output().contains("SecretForbidden")
    })
    .await;
    kubectl.apply(&yaml).await.unwrap();
    wait::until("the end of it", 3 * LIMIT, async || {
        let output = sidecar.process.output();
        output.rsplit("SecretForbidden").next().is_some_and(|since| since.contains(TOLD))
    })
    .await;
}

#[tokio::test]
async fn a_rotation_does_not_wait_for_a_connection_that_has_died_in_silence() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let stage = Stage::prepare(control_plane, "sidecar-wire", issuer(HOUR)).await;
    let wire = Wire::start(control_plane).unwrap();
    let kubeconfig = control_plane.kubeconfig_as(&user(&stage), Some("system:masters")).unwrap();
    let kubeconfig = wire.kubeconfig(&kubeconfig, &format!("https://{}", wire.address())).unwrap();
    let sidecar = Sidecar::start_with(&stage, kubeconfig);
    let write = async |token: &str| {
        stage
            .write_secret(NAME, &[("token", token.as_bytes()), ("expires_at", b"2100-01-01T00:00:00Z")])
            .await;
    };
    write("first").await;
    sidecar.until_published("first").await;
    wire.falls_silent();
    write("second").await;
    wait::until("the token's file", NOTICED, async || {
        let found = fs::read_to_string(sidecar.output.join("token")).unwrap_or_default();
        if found == "second" { Ok(()) } else { Err(sidecar.process.output_tail()) }
    })
    .await;
}
