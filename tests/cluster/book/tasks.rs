//! A reader follows the pages: installs the operator, and pastes every command and every manifest.
//!
//! No pod runs here, so a program outside of the cluster takes the operator's place, and the issuer is a simulated one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use idissuer_simulator::{Server, Simulator, Tls, User};
use idissuer_testbed::{ControlPlane, Kubectl, Options, Program, Shared, Tools, wait};
use tempfile::TempDir;

use super::install_programs;
use super::page::{Piece, pages, pieces};
use crate::operator::{HOUR, LIMIT, Operator, issuer};

/// A control plane without the CRD: the reader installs it.
static EMPTY: Shared = Shared::new(Options::new);

/// The beginnings of commands that cannot run here, each with the reason.
const NOT_RUN: [(&str, &str); 22] = [
    ("make ", "builds the project"),
    ("cargo ", "builds the project"),
    ("deploy/build.sh", "builds the project"),
    ("IDISSUER_DOCUMENTATION=", "builds the project"),
    ("kind ", "needs kind"),
    ("k3s ", "needs k3s"),
    ("podman ", "needs a container engine"),
    ("docker ", "needs a container engine"),
    ("skopeo ", "needs a registry"),
    ("sudo ", "changes the machine; a test runs the service"),
    ("idissuer sidecar ", "runs until it is stopped; tests of the sidecar run it"),
    ("curl ", "calls an issuer, or a service of this machine"),
    ("pass ", "needs the password store"),
    ("kubectl rollout status ", "needs pods"),
    ("kubectl wait --for=condition=Ready pod/", "needs pods"),
    ("kubectl apply -k ", "another way to install; a test of the manifests runs it"),
    ("kubectl apply -f deploy/samples/", SIMULATOR),
    ("kubectl wait --for=condition=Ready --timeout=2m iic/simple", SIMULATOR),
    ("kubectl get secret simple ", SIMULATOR),
    ("kubectl delete -f deploy/samples/", SIMULATOR),
    ("kubectl delete -k ", SIMULATOR),
    ("kubectl apply -f crds/", "another way to install; a test of the manifests runs it"),
];

const SIMULATOR: &str = "needs the simulated issuer in a pod; a test of the installation tries it";

/// A page, the namespace that its reader works in, and what stands there before.
struct Page(&'static str, &'static str, Before);

enum Before {
    Nothing,
    /// The operator is to be installed once more. The CRD stays.
    Uninstalled,
    /// The resources of the Prometheus operator.
    Monitors,
    /// The login Secret `billing-login`, and the credential `billing`.
    Billing,
    /// The same, and what the page moves away from.
    CronJob,
}

/// The pages with commands or manifests, in the order in which somebody may read them.
const PAGES: [Page; 20] = [
    Page("../../README.md", "readme", Before::Nothing),
    Page("start.md", "start", Before::Uninstalled),
    Page("reference/chart.md", "chart", Before::Uninstalled),
    Page("reference/flags.md", "flags", Before::Nothing),
    // While all credentials are ready: the exit code of `status` says so.
    Page("tasks/plugin.md", "plugin", Before::Billing),
    Page("tasks/pods.md", "pods", Before::Billing),
    Page("tasks/first-pod.md", "first-pod", Before::Billing),
    Page("tasks/token.md", "shop", Before::Billing),
    Page("tasks/sharing.md", "platform", Before::Billing),
    Page("tasks/sidecar.md", "sidecar", Before::Billing),
    Page("tasks/image.md", "image", Before::Nothing),
    Page("tasks/pull-secrets.md", "pull-secrets", Before::Billing),
    Page("tasks/private-ca.md", "private-ca", Before::Billing),
    Page("tasks/migrate.md", "migrate", Before::CronJob),
    Page("tasks/vm.md", "vm", Before::Nothing),
    Page("reference/resource.md", "resource", Before::Billing),
    Page("sizing.md", "sizing", Before::Nothing),
    Page("reference/alerts.md", "alerts", Before::Monitors),
    Page("tasks/upgrade.md", "upgrade", Before::Nothing),
    // Its policy counts for all namespaces from then on.
    Page("tasks/tenants.md", "tenants", Before::Billing),
];

/// Pages that cannot be followed here, each with the reason.
const NOT_FOLLOWED: [(&str, &str); 1] = [("reference/verify.md", "needs a published release")];

/// Pages whose commands and manifests other tests run.
const ELSEWHERE: [&str; 3] = ["tasks/flux.md", "tasks/programs.md", "runbooks.md"];

const BILLING: &str = "
apiVersion: v1
kind: Secret
metadata: {name: billing-login}
stringData: {username: me@example.com, password: change-me}
---
apiVersion: idissuer.pl/v1alpha1
kind: IdIssuerCredential
metadata: {name: billing}
spec: {loginSecretRef: {name: billing-login}}
";

const CRON_JOB: &str = "
apiVersion: v1
kind: Secret
metadata: {name: api-token}
stringData: {access-token: of the cron job}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: token-refresher}
spec:
  schedule: '0 * * * *'
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: refresh, image: curlimages/curl}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reports}
spec:
  selector: {matchLabels: {app: reports}}
  template:
    metadata: {labels: {app: reports}}
    spec:
      containers:
        - {name: reports, image: curlimages/curl, volumeMounts: [{name: token, mountPath: /run/idissuer}]}
      volumes: [{name: token, secret: {secretName: api-token}}]
";

/// Somebody with the repository, a cluster and the programs, who reads the book.
struct Reader {
    _operator: Operator,
    issuer: Server,
    issuer_over_https: Server,
    control_plane: &'static ControlPlane,
    kubectl: Kubectl,
    folder: TempDir,
    /// The beginning of each script.
    prepared: String,
    commands: usize,
    failed: Vec<String>,
}

impl Reader {
    async fn start() -> Self {
        let control_plane = EMPTY.control_plane().await.unwrap();
        let config = || issuer(HOUR).user(User::new("me@example.com", "change-me"));
        let issuer = Simulator::start(config()).await.unwrap();
        let issuer_over_https = Simulator::start(config().tls(Tls::localhost())).await.unwrap();
        let arguments =
            ["controller", "--issuer-url", &issuer.url(), "--allow-issuer", &issuer_over_https.url()];
        let arguments = [&arguments[..], &["--admin-addr", "127.0.0.1:0"]].concat();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let mut operator = Operator::new(control_plane, "operator-of-readers".to_owned(), arguments);
        operator.start(control_plane).await;

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["charts", "crds", "deploy", "examples"] {
            symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), path(name)).unwrap();
        }
        for name in [".local", ".local/bin", "login"] {
            fs::create_dir(path(name)).unwrap();
        }
        let prepared = install_programs(folder.path());
        let helm = tokio::task::spawn_blocking(|| Tools::locate()?.provide(Program::Helm)).await.unwrap();
        symlink(helm.unwrap(), path("bin/helm")).unwrap();
        fs::write(path("login/username"), "me@example.com").unwrap();
        fs::write(path("login/password"), "change-me").unwrap();
        let ca = issuer_over_https.ca_pem().unwrap();
        fs::write(path("ca.crt"), ca).unwrap();
        fs::write(path("new-ca.crt"), ca).unwrap();
        fs::copy(control_plane.kubeconfig(), path("kubeconfig")).unwrap();
        let kubectl = control_plane.kubectl().with_kubeconfig(&path("kubeconfig"));
        let (commands, failed) = (0, Vec::new());
        Self {
            _operator: operator,
            issuer,
            issuer_over_https,
            control_plane,
            kubectl,
            folder,
            prepared,
            commands,
            failed,
        }
    }

    async fn follow(&mut self, Page(page, namespace, before): &Page) {
        let _ = self.kubectl.run(&["create", "namespace", namespace]).await;
        let context = format!("--namespace={namespace}");
        self.kubectl.run(&["config", "set-context", "--current", &context]).await.unwrap();
        let before = match before {
            Before::Nothing => String::new(),
            Before::Uninstalled => {
                let uninstall = "helm uninstall idissuer-operator --namespace idissuer-operator";
                self.paste(page, uninstall).await;
                String::new()
            }
            Before::Monitors => include_str!("../monitors.yaml").to_owned(),
            Before::Billing => BILLING.to_owned(),
            Before::CronJob => format!("{BILLING}---{CRON_JOB}"),
        };
        if !before.is_empty() {
            self.kubectl.apply(&before).await.unwrap();
        }
        if before.contains(BILLING) {
            self.kubectl.run(&["wait", "--for=condition=Ready", "iic/billing"]).await.unwrap();
        }
        for piece in pieces(page) {
            match piece {
                Piece::Script(script) => self.paste(page, &script).await,
                Piece::Manifest(text) => {
                    let text = text.replace("https://issuer.example.internal", &self.issuer_over_https.url());
                    if let Err(error) = self.kubectl.apply(&text).await {
                        self.failed.push(format!("{page}: {error}\n{text}"));
                    }
                }
                Piece::File { name, text } => fs::write(self.folder.path().join(name), text).unwrap(),
            }
        }
    }

    /// Runs the commands of a block in one shell, but those that cannot run here.
    async fn paste(&mut self, page: &str, script: &str) {
        let mut pasted = String::new();
        for line in script.lines() {
            if let Some((_, reason)) = NOT_RUN.iter().find(|(start, _)| line.starts_with(start)) {
                eprintln!("not run: {line}: {reason}");
            } else {
                self.commands += 1;
                // It would wait for pods.
                pasted.push_str(&line.replace(" --create-namespace --wait", " --create-namespace"));
                pasted.push('\n');
            }
        }
        let whole_script =
            format!("{}export IDISSUER_ISSUER_URL={}\n{pasted}", self.prepared, self.issuer.url());
        let running = self.kubectl.shell(&whole_script, self.folder.path());
        let output = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            self.failed.push(format!("{page}:\n{pasted}{}", String::from_utf8_lossy(&said)));
        }
        if script.contains("helm install") {
            self.control_plane.await_crds().await.unwrap();
        }
    }
}

#[tokio::test]
async fn every_command_and_manifest_of_the_tasks_works_as_it_is_pasted() {
    let mut reader = Reader::start().await;
    for page in &PAGES {
        reader.follow(page).await;
    }
    for (page, reason) in NOT_FOLLOWED {
        eprintln!("not followed: {page}: {reason}");
    }
    assert!(reader.failed.is_empty(), "{}", reader.failed.join("\n---\n"));
    assert!(reader.commands > 40, "{} commands only", reader.commands);
    // The last page shows this text.
    let kubectl = reader.kubectl.in_namespace("team-c");
    let rejected = wait::until("the policy of the tenants", LIMIT, async || {
        let output = kubectl.output(&["apply", "--dry-run=server", "--filename=-"], BILLING).await.unwrap();
        if output.status.success() { Err("allowed") } else { Ok(output.stderr) }
    })
    .await;
    let rejected = String::from_utf8(rejected).unwrap();
    let (_, reason) = rejected.split_once("denied request: ").expect(&rejected);
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/tasks/tenants.md")).unwrap();
    assert!(page.replace('\n', " ").contains(reason.trim()), "{reason}");
}

#[test]
fn every_page_with_commands_or_manifests_is_followed() {
    let is_known = |page: &String| {
        page.starts_with("runbooks/")
            || ELSEWHERE.contains(&page.as_str())
            || NOT_FOLLOWED.iter().any(|(known, _)| known == page)
            || PAGES.iter().any(|Page(known, ..)| known == page)
    };
    let forgotten: Vec<_> =
        pages().into_iter().filter(|page| !is_known(page) && !pieces(page).is_empty()).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    let known = PAGES.iter().map(|Page(page, ..)| *page).chain(NOT_FOLLOWED.map(|(page, _)| page));
    let stale: Vec<_> = known.chain(ELSEWHERE).filter(|page| pieces(page).is_empty()).collect();
    assert!(stale.is_empty(), "they have neither command nor manifest: {stale:?}");
}
