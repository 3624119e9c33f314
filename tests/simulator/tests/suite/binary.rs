//! The binary as a person or a script runs it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(flags: &[&str]) -> Self {
        let mut child = command().args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned();
        assert!(line.contains("(control on http://127.0.0.1:"), "{line}");
        Self { child, output, url }
    }

    fn signal(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer-simulator"));
    command.args(["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]);
    command
}

#[tokio::test]
async fn it_serves_the_user_it_was_given_and_prints_calls_without_secrets() {
    let mut running = Running::start(&["--user", "u@example.com:a-password", "--print-calls"]);
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{}/v2/auth/token", running.url))
        .header("content-type", "application/json")
        .body(json!({"username": "u@example.com", "password": "a-password"}).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let mut line = String::new();
    running.output.read_line(&mut line).unwrap();
    let call: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&call["user"], &call["outcome"]), (&json!("u@example.com"), &json!("accepted")));
    assert!(!line.contains("a-password"));
}

#[test]
fn it_ends_well_on_sigterm_and_sigint() {
    for signal in ["-TERM", "-INT"] {
        assert_eq!(Running::start(&[]).signal(signal), Some(0), "{signal}");
    }
}

#[test]
fn it_says_why_it_cannot_start() {
    let taken = Running::start(&[]);
    let address = taken.url.replace("http://", "");
    let output =
        Command::new(env!("CARGO_BIN_EXE_idissuer-simulator")).args(["--listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with(&format!("idissuer-simulator: cannot listen on {address}: ")), "{message}");
}

#[test]
fn its_help_names_every_group_and_gives_examples() {
    let output = command().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for part in ["https:", "Access tokens:", "Login:", "Refresh:", "Weather:", "Examples:", "after-expiry"] {
        assert!(help.contains(part), "{part}");
    }
}
