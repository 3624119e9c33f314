//! `kubectl idissuer`, as people with all rights, few and none run it.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::operator::{HOUR, LIMIT, LOGIN, NAME, PASSWORD, Stage, USER, issuer, text, token_status};

/// Somebody who runs the plugin in the namespace of a stage.
pub(crate) struct Person {
    kubeconfig: PathBuf,
    namespace: String,
    pub(crate) name: String,
}

/// What the plugin did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            errors: text(output.stderr),
        }
    }

    /// Checks code and output, both kinds of it.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            let is_shown = self.out.contains(part) || self.errors.contains(part);
            assert!(is_shown, "{part:?} is not in\n{}\n{}", self.out, self.errors);
        }
        assert!(!self.out.contains('\x1b'), "colours go to terminals only: {}", self.out);
        assert!(!self.errors.contains("Status {"), "{}", self.errors);
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Person {
    /// With every right.
    pub(crate) fn administrator(stage: &Stage) -> Self {
        Self::administrator_named(stage, "administrator")
    }

    /// With every right, and a name of its own.
    pub(crate) fn administrator_named(stage: &Stage, name: &str) -> Self {
        Self::new(stage, name, Some("system:masters"))
    }

    /// With the rights that [`allow`](Self::allow) gives.
    pub(crate) fn nobody(stage: &Stage, name: &str) -> Self {
        Self::new(stage, name, None)
    }

    fn new(stage: &Stage, name: &str, group: Option<&str>) -> Self {
        let namespace = stage.namespace.name().to_owned();
        let name = format!("{name}-{namespace}");
        let kubeconfig = stage.control_plane.kubeconfig_as(&name, group).unwrap();
        Self { kubeconfig, namespace, name }
    }

    /// Gives the rights of these rules of a Role, and waits until they hold.
    pub(crate) async fn allow(&self, stage: &Stage, rules: &str, probe: &[&str]) {
        let (namespace, user) = (&self.namespace, &self.name);
        let mut yaml = String::new();
        write!(
            yaml,
            r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {user}, namespace: {namespace}}}
rules: {rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {user}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {user}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
        )
        .unwrap();
        stage.namespace.kubectl().apply(&yaml).await.unwrap();
        wait::until("the right", LIMIT, async || match self.run(probe).await {
            run if run.code == 4 => Err(format!("{run:?}")),
            _ => Ok(()),
        })
        .await;
    }

    /// Runs the plugin in the namespace of the stage.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        self.run_with_input(arguments, "").await
    }

    /// Runs it with something on standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Run {
        self.output(self.command(arguments).into(), input).await
    }

    /// The plugin in the namespace of the stage, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.arg("kubectl").args(arguments).args(["-n", &self.namespace]);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Completes a command line, as kubectl asks for it.
    pub(crate) async fn complete(&self, words: &[&str]) -> Run {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.args(["kubectl", "__complete", "--"]).args(words);
        self.output(command, "").await
    }

    async fn output(&self, mut command: tokio::process::Command, input: &str) -> Run {
        command.env("KUBECONFIG", &self.kubeconfig);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may have ended.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        Run::of(child.wait_with_output().await.unwrap())
    }
}

pub(crate) const CREDENTIALS: &str = "apiGroups: [idissuer.pl], resources: [idissuercredentials]";

#[tokio::test]
async fn status_shows_all_that_may_be_read_and_names_the_right_that_is_missing() {
    let stage = Stage::start("plugin-status", issuer(HOUR)).await;
    let (admin, few, none) =
        (Person::administrator(&stage), Person::nobody(&stage, "few"), Person::nobody(&stage, "none"));
    admin.run(&["status"]).await.assert(0, &["No IdIssuerCredential found in namespace plugin-status-"]);
    admin.run(&["status", "missing"]).await.assert(5, &["it does not exist; check name and namespace"]);
    admin.run(&["status", "missing", "-A"]).await.assert(2, &[]);
    stage.apply(json!({})).await;
    let token = text(&stage.target_until("a token", |_| true).await, "token");
    let ready = stage.ready().await;
    stage.apply_as("follower", json!({"credentialRef": {"name": NAME}})).await;
    stage.ready_as("follower").await;

    let expiration = token_status(&ready).expiration_time.0.to_string();
    let list = admin.run(&["status"]).await;
    list.assert(0, &["billing    True", "TokenPublished", "follows plugin-status-", LOGIN]);
    admin.run(&["status", "-A"]).await.assert_has("NAMESPACE");
    admin.run(&["status", "-l", "app=none"]).await.assert(0, &["No IdIssuerCredential found"]);
    let followers = admin.run(&["status", "--followers-of", NAME]).await;
    followers.assert(0, &["NAMESPACE", "follower   True", "follows plugin-status-"]);
    assert_eq!(followers.out.lines().count(), 2, "the title and the follower: {followers:?}");
    let parts = ["No IdIssuerCredential follows plugin-status-", "/follower."];
    admin.run(&["status", "--followers-of", "follower"]).await.assert(0, &parts);
    let data = admin.run(&["status", "-o", "json"]).await.json();
    assert_eq!(data["credentials"][0]["expirationTime"], json!(expiration), "{data}");
    admin.run(&["status", "-o", "yaml"]).await.assert(0, &["credentials:\n- expirationTime: "]);

    apply_pod(&stage).await;
    let detail = admin.run(&["status", NAME]).await;
    let follower = format!("Followers   {}/follower", stage.namespace.name());
    let parts =
        ["as the operator wrote it", "TokenPublished", "reports   main        environment", "no", &follower];
    detail.assert(0, &parts);
    assert!(!detail.out.contains(&token), "no token is shown");
    let data = admin.run(&["status", NAME, "-o", "json"]).await.json();
    assert_eq!(data["consumers"][0]["seesNewTokens"], json!(false), "{data}");
    assert_eq!(data["target"], json!("Unchanged"), "{data}");

    let right = "a Role with the verb list on idissuercredentials.idissuer.pl; the chart adds it to the ClusterRole view";
    none.run(&["status"]).await.assert(4, &[right]);
    none.run(&["status", NAME]).await.assert(4, &["with the verb get on idissuercredentials.idissuer.pl"]);
    few.allow(&stage, &format!("[{{{CREDENTIALS}, verbs: [get]}}]"), &["status", NAME]).await;
    let parts = [
        "this user may not list pods in namespace",
        "a Role with the verb get on secrets, resourceNames [billing]",
        "a Role with the verb list on events.events.k8s.io",
        "TokenPublished",
    ];
    few.run(&["status", NAME]).await.assert(0, &parts);
    few.run(&["status"]).await.assert(4, &["list idissuercredentials.idissuer.pl in namespace"]);
    stage.write_login(USER, "mistyped").await;
    stage.apply_as("new", json!({})).await;
    wait::until("a rejected login", LIMIT, async || match admin.run(&["status", "new"]).await {
        run if run.code == 3 && run.out.contains("LoginRejected") => Ok(()),
        run => Err(format!("{run:?}")),
    })
    .await;
    admin.run(&["status"]).await.assert(3, &["LoginRejected"]);
}

impl Run {
    #[track_caller]
    pub(crate) fn assert_has(&self, part: &str) {
        assert!(self.out.contains(part), "{self:?}");
    }
}

/// A pod that never starts, with the token in its environment.
pub(crate) async fn apply_pod(stage: &Stage) {
    let yaml = r"
apiVersion: v1
kind: Pod
metadata: {name: reports}
spec:
  automountServiceAccountToken: false
  containers: [{name: main, image: example.org/reports, envFrom: [{secretRef: {name: billing}}]}]
";
    wait::until("the namespace's service account", LIMIT, async || {
        stage.namespace.kubectl().apply(yaml).await.map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_watched_list_is_printed_again_when_something_changes() {
    let stage = Stage::start("plugin-watch", issuer(HOUR)).await;
    let admin = Person::administrator(&stage);
    stage.apply(json!({})).await;
    stage.ready().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_idissuer"));
    command
        .args(["kubectl", "status", "--watch", "-n", &admin.namespace])
        .env("KUBECONFIG", &admin.kubeconfig);
    let mut child = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = async |part: &str| {
        let find = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(part) {
                    return;
                }
            }
            panic!("it ended before {part}");
        };
        tokio::time::timeout(LIMIT, find).await.unwrap();
    };
    until("TokenPublished").await;
    admin.run(&["suspend", NAME]).await.assert(0, &[]);
    until("TokenPublished (suspended)").await;
}

#[tokio::test]
async fn renew_waits_for_the_outcome_and_tells_refusal_from_slowness() {
    let stage = Stage::start("plugin-renew", issuer(Duration::from_secs(15))).await;
    let (admin, few) = (Person::administrator(&stage), Person::nobody(&stage, "few"));
    admin.run(&["renew"]).await.assert(2, &[]);
    admin.run(&["renew", "-A"]).await.assert(2, &["add --all or -l LABELS to -A"]);
    admin.run(&["renew", "--all"]).await.assert(5, &["check -n and -l"]);
    admin.run(&["renew", "missing"]).await.assert(5, &["it does not exist"]);
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    few.allow(&stage, &format!("[{{{CREDENTIALS}, verbs: [get, list]}}]"), &["status"]).await;
    few.run(&["renew", NAME])
        .await
        .assert(4, &["with the verb patch", "the chart adds it to the ClusterRole edit"]);
    wait::until("a renewal", LIMIT, async || match admin.run(&["renew", "--all", "-o", "json"]).await {
        run if run.code == 0 && run.json()["outcomes"][0]["outcome"] == "Renewed" => Ok(()),
        run if run.code == 0 => Err(format!("{run:?}")),
        run => panic!("{run:?}"),
    })
    .await;
    assert_ne!(token_status(&stage.ready().await).fingerprint, token_status(&first).fingerprint);
    admin.run(&["renew", NAME, "--no-wait"]).await.assert(0, &["a renewal is requested"]);

    stage.issuer.inject(FaultRule::new(Fault::status(503)));
    wait::until("slowness", LIMIT, async || {
        match admin.run(&["renew", NAME, "--timeout-seconds", "2"]).await {
            run if run.code == 124 && run.out.contains("IssuerUnavailable: ") => Ok(()),
            run => Err(format!("{run:?}")),
        }
    })
    .await;
    stage.issuer.configure(|personality| personality.faults.clear());
    stage.write_login(USER, "mistyped").await;
    stage.until_condition("LoginAccepted", "False", "LoginRejected").await;
    let refused = admin.run(&["renew", NAME]).await;
    refused.assert(3, &["LoginRejected: "]);
    stage.write_login(USER, PASSWORD).await;
    stage.ready().await;

    admin.run(&["suspend", NAME]).await.assert(0, &["suspended; the published token stays"]);
    admin.run(&["suspend", NAME]).await.assert(0, &["already suspended"]);
    admin.run(&["renew", NAME]).await.assert(3, &["kubectl idissuer resume billing -n plugin-renew-"]);
    few.run(&["resume", NAME]).await.assert(4, &["with the verb patch"]);
    admin.run(&["resume", "--all"]).await.assert(0, &["resumed"]);
    admin.run(&["resume", "--all"]).await.assert(0, &["not suspended"]);
}

#[tokio::test]
async fn kubectl_finds_the_plugin_by_its_name_and_it_works_in_the_namespace_of_the_context() {
    let stage = Stage::start("plugin-name", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let folder = stage.control_plane.folder().path().join("plugin");
    std::fs::create_dir_all(&folder).unwrap();
    symlink(env!("CARGO_BIN_EXE_idissuer"), folder.join("kubectl-idissuer")).unwrap();
    let kubeconfig = stage.control_plane.kubeconfig_as("somebody", Some("system:masters")).unwrap();
    let kubectl = stage.namespace.kubectl().clone().with_kubeconfig(&kubeconfig);
    let line = format!(
        "kubectl config set-context --current --namespace={} >/dev/null
        export PATH=$PWD:$PATH
        kubectl idissuer status
        kubectl idissuer --help",
        stage.namespace.name()
    );
    let run = Run::of(kubectl.shell(&line, &folder).await.unwrap());
    run.assert(0, &["billing   True", "Usage: kubectl idissuer [OPTIONS] <COMMAND>"]);
    let mut command = Command::new(folder.join("kubectl-idissuer"));
    command.args(["status", "--context", "missing", "--kubeconfig"]).arg(&kubeconfig);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Run::of(output).assert(2, &["the kubeconfig has no context missing"]);
}
