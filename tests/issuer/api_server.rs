//! The operator and an API server that refuses its requests.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idissuer_testbed::process::{Grace, Signal, Supervised, WorkFolder};
use idissuer_testbed::wait;

use crate::support::{RawServer, http};
use std::net::SocketAddr;

/// The configuration is looked at every ten seconds.
const LIMIT: Duration = Duration::from_secs(40);

const NO_CREDENTIALS: &str = r#"{"kind": "IdIssuerCredentialList", "apiVersion": "idissuer.pl/v1alpha1",
    "metadata": {"resourceVersion": "1"}, "items": []}"#;

/// The real operator, and where its pages are.
struct Operator {
    process: Supervised,
    admin: SocketAddr,
    folder: Arc<WorkFolder>,
}

impl Operator {
    async fn start(server: &RawServer) -> Self {
        let folder = Arc::new(WorkFolder::create().unwrap());
        write_kubeconfig(&folder, server, "first");
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.args(["controller", "--admin-addr", "127.0.0.1:0"]).env("RUST_LOG", "info");
        command.env("KUBECONFIG", folder.path().join("kubeconfig"));
        let process = Supervised::spawn("operator", &command, Grace::SHORT, &folder).unwrap();
        let admin = process.logged_address("admin").await;
        Self { process, admin, folder }
    }

    async fn until_told(&self, words: &str) {
        wait::until(words, LIMIT, async || {
            let answer = reqwest::get(format!("http://{}/readyz", self.admin)).await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            if status == 503 && text.contains(words) { Ok(()) } else { Err(format!("{status}: {text}")) }
        })
        .await;
        let output = self.process.output();
        assert!(output.contains(words), "{words} in the log: {output}");
    }
}

fn write_kubeconfig(folder: &WorkFolder, server: &RawServer, token: &str) {
    let text = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{{"name": "it", "cluster": {{"server": "{}"}}}}],
            "users": [{{"name": "it", "user": {{"token": "{token}"}}}}],
            "contexts": [{{"name": "it", "context": {{"cluster": "it", "user": "it"}}}}]}}"#,
        server.url()
    );
    fs::write(folder.path().join("kubeconfig"), text).unwrap();
}

fn status(code: &str, message: &str) -> String {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Forbidden",
        "code": code[..3].parse::<u16>().unwrap(),
    });
    http(code, "content-type: application/json\r\n", &body.to_string())
}

fn refused(resource: &str, group: &str) -> String {
    status(
        "403 Forbidden",
        &format!(
            r#"{resource} is forbidden: User "it" cannot list resource "{resource}" in API group "{group}" at the cluster scope"#
        ),
    )
}

#[tokio::test]
async fn rights_that_are_missing_are_named_by_readiness_and_in_the_log() {
    let may_list_credentials = Arc::new(AtomicBool::new(false));
    let allowed = Arc::clone(&may_list_credentials);
    let server = RawServer::answering_each(move |request| {
        let answer = match request.split(' ').nth(1).unwrap_or_default() {
            path if path.contains("/secrets") => refused("secrets", ""),
            _ if !allowed.load(Ordering::SeqCst) => refused("idissuercredentials", "idissuer.pl"),
            path if path.contains("watch=true") => status("410 Gone", "Expired"),
            _ => http("200 OK", "content-type: application/json\r\n", NO_CREDENTIALS),
        };
        answer.into_bytes()
    })
    .await;
    let operator = Operator::start(&server).await;
    operator
        .until_told("forbidden: permission to list idissuercredentials.idissuer.pl in all namespaces")
        .await;
    // Secrets are listed once the credentials are known.
    may_list_credentials.store(true, Ordering::SeqCst);
    operator.until_told("forbidden: permission to list secrets in all namespaces is missing").await;
}

#[tokio::test]
async fn a_token_of_the_kubeconfig_that_is_replaced_is_read_again() {
    let server = RawServer::answering(status("401 Unauthorized", "Unauthorized")).await;
    let operator = Operator::start(&server).await;
    operator.until_told("unauthorized: the API server does not accept").await;
    write_kubeconfig(&operator.folder, &server, "second");
    wait::until("a call with the new token", LIMIT, async || {
        server.requests().iter().any(|request| request.to_ascii_lowercase().contains("bearer second"))
    })
    .await;
    operator.process.signal(Signal::Terminate).unwrap();
    assert_eq!(operator.process.wait_timeout(LIMIT).await.unwrap(), 0, "{}", operator.process.output_tail());
}
