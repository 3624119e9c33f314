//! `kubectl idissuer` and its way to the API server: whatever is wrong with it, a sentence says so, with the cure, and the exit code
//! is the documented one.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{RawServer, http};

/// What no output may contain.
const HIDDEN: &str = "hidden-token";

/// A kubeconfig for this server.
fn kubeconfig(server: &str, user: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": user}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    })
}

/// The same with another part.
fn with(mut kubeconfig: Value, pointer: &str, value: Value) -> String {
    *kubeconfig.pointer_mut(pointer).unwrap() = value;
    kubeconfig.to_string()
}

/// A person with an empty home directory and perhaps a kubeconfig.
struct Person {
    home: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// The plugin, in the environment of this person only.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.arg("kubectl").args(arguments).env_remove("KUBECONFIG").env("HOME", self.home.path());
        command.env_remove("KUBERNETES_SERVICE_HOST");
        command
    }

    /// With this kubeconfig.
    fn having(&self, kubeconfig: &str, arguments: &[&str]) -> Command {
        let file = self.home.path().join("kubeconfig");
        fs::write(&file, kubeconfig).unwrap();
        let mut command = self.command(arguments);
        command.env("KUBECONFIG", file);
        command
    }
}

/// It prints one sentence, and ends with this code.
async fn assert_fails(mut command: Command, code: i32, parts: &[&str]) {
    let told = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), out.as_str()), (Some(code), ""), "{told}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{told}: {errors}");
    for part in parts {
        assert!(errors.contains(part), "{told}: {part:?} is not in {errors}");
    }
    for part in [HIDDEN, "Os {", "Status {", "Error", "failed to"] {
        assert!(!errors.contains(part), "{told}: {errors}");
    }
}

#[tokio::test]
async fn without_a_kubeconfig_every_command_says_where_one_belongs() {
    let person = Person::new();
    let place = person.home.path().join(".kube/config").display().to_string();
    let cure = format!("no cluster: set KUBECONFIG to a kubeconfig, or create {place}, which does not exist");
    for command in [
        &["status"][..],
        &["explain", "billing"],
        &["renew", "billing"],
        &["verify", "billing"],
        &["token", "billing", "--reveal"],
        &["check"],
        &["logs"],
        &["version"],
    ] {
        assert_fails(person.command(command), 1, &[&cure]).await;
    }
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_told_with_its_cure() {
    let person = Person::new();
    let token = json!({"token": HIDDEN});
    let good = || kubeconfig("http://127.0.0.1:1", &token);
    let mut lost = person.command(&["status"]);
    lost.env("KUBECONFIG", "/nowhere/config");
    assert_fails(lost, 1, &["/nowhere/config does not exist; correct KUBECONFIG"]).await;
    let named = person.command(&["status", "--kubeconfig", "/nowhere/config"]);
    assert_fails(named, 2, &["/nowhere/config does not exist; correct --kubeconfig"]).await;
    let folder = person.home.path().display().to_string();
    let folder = person.command(&["status", "--kubeconfig", &folder]);
    assert_fails(folder, 1, &["cannot be read: Is a directory"]).await;
    for (text, arguments, code, part) in [
        (
            format!("users: {HIDDEN}"),
            &["status"][..],
            1,
            "cannot be parsed; `kubectl config view` says where",
        ),
        (
            good().to_string(),
            &["status", "--context", "other"],
            2,
            "has no context other; `kubectl config get-contexts`",
        ),
        (with(good(), "/current-context", json!("other")), &["status"], 1, "has no context other; "),
        (
            with(good(), "/current-context", json!("")),
            &["status"],
            1,
            "has no current context; choose one with",
        ),
        (
            with(good(), "/current-context", Value::Null),
            &["status"],
            1,
            "has no current context; choose one with",
        ),
        (
            with(good(), "/contexts/0/context/cluster", json!("other")),
            &["status"],
            1,
            "has no cluster other, ",
        ),
        (with(good(), "/clusters/0/cluster", json!({})), &["status"], 1, "names no server"),
    ] {
        assert_fails(person.having(&text, arguments), code, &[part]).await;
    }
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_and_one_that_refuses_the_user_have_their_codes() {
    let person = Person::new();
    let token = json!({"token": HIDDEN});
    let unreachable = kubeconfig("http://127.0.0.1:1", &token).to_string();
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "Unauthorized", "code": 401});
    let json = "content-type: application/json\r\n";
    let refusing = RawServer::answering(http("401 Unauthorized", json, &status.to_string())).await;
    let refusing = kubeconfig(&refusing.url(), &token).to_string();
    for arguments in [&["status"][..], &["explain", "billing"], &["renew", "billing"], &["status", "--watch"]]
    {
        let parts = ["the API server cannot be reached; check the kubeconfig's server"];
        assert_fails(person.having(&unreachable, arguments), 6, &parts).await;
        let parts = ["the API server does not accept the kubeconfig's user; log in to the cluster again"];
        assert_fails(person.having(&refusing, arguments), 4, &parts).await;
    }
    let exec = |script: &str| {
        let run = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "interactiveMode": "Never",
        });
        kubeconfig("http://127.0.0.1:1", &json!({"exec": run})).to_string()
    };
    for script in [format!("echo {HIDDEN}; exit 1"), format!("echo {HIDDEN}")] {
        let parts = ["the kubeconfig's user cannot log in", "`kubectl auth whoami`"];
        assert_fails(person.having(&exec(&script), &["status"]), 4, &parts).await;
    }
}
