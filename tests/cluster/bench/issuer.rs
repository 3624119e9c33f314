//! The simulated issuer as a process of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{ControlPlane, wait};
use reqwest::Method;
use serde_json::{Value, json};

use super::field::AT_ONCE;
use crate::operator::{LIMIT, PASSWORD};

/// `cargo build --workspace --bins` puts it beside the operator: that of another build, if that one is measured.
const PROGRAM: &str = "idissuer-simulator";

pub(super) struct IssuerProcess {
    _process: Supervised,
    control: String,
    client: reqwest::Client,
    pub(super) url: String,
}

impl IssuerProcess {
    /// Starts it with tokens that live this long.
    pub(super) async fn start(control_plane: &ControlPlane, name: &str, lifetime: Duration) -> Self {
        let beside = super::run::program().map(|operator| operator.with_file_name(PROGRAM));
        let own = Path::new(env!("CARGO_BIN_EXE_idissuer")).with_file_name(PROGRAM);
        let mut command = Command::new(beside.filter(|program| program.exists()).unwrap_or(own));
        command.args(["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--token-lifetime"]);
        command.arg(format!("{}s", lifetime.as_secs()));
        let process = Supervised::spawn(name, &command, Grace::NONE, control_plane.folder()).unwrap();
        let (url, control) = wait::until("the issuer's addresses", LIMIT, async || {
            let output = process.output();
            let (_, rest) = output.split_once("listens on ")?;
            let (url, rest) = rest.split_once(" (control on ")?;
            let (control, _) = rest.split_once(')')?;
            Some((url.to_owned(), control.to_owned()))
        })
        .await;
        Self { _process: process, control, client: reqwest::Client::new(), url }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.control));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default()
    }

    /// Adds accounts with the usual password.
    pub(super) async fn add_users(&self, names: &[String]) {
        let put = |name: &String| {
            let path = format!("/users/{name}");
            async move { self.send(Method::PUT, &path, json!({"password": PASSWORD})).await }
        };
        stream::iter(names).map(put).buffer_unordered(AT_ONCE).for_each(async |_| ()).await;
    }

    pub(super) async fn set_lifetime(&self, lifetime: Duration) {
        let patch = json!({"token": {"lifetime": format!("{}s", lifetime.as_secs())}});
        self.send(Method::PATCH, "/personality", patch).await;
    }

    /// From now on every call is answered with 503.
    pub(super) async fn fail(&self) {
        let rule = json!({"fault": {"kind": "status", "status": 503}});
        self.send(Method::POST, "/faults", rule).await;
    }

    pub(super) async fn recover(&self) {
        self.send(Method::DELETE, "/faults", Value::Null).await;
    }

    /// How often it was asked for a token, whatever the answer.
    pub(super) async fn calls(&self) -> u32 {
        let counts = self.send(Method::GET, "/counts", Value::Null).await;
        let kinds =
            ["loginsAccepted", "loginsRejected", "refreshesAccepted", "refreshesRefused", "misdirected"];
        let of_user = |counts: &Value| kinds.iter().filter_map(|kind| counts[kind].as_u64()).sum::<u64>();
        let sum: u64 = counts.as_object().unwrap().values().map(of_user).sum();
        u32::try_from(sum).unwrap()
    }

    /// The calls that it keeps, after this number.
    pub(super) async fn calls_since(&self, sequence: u64) -> Vec<Value> {
        let calls = self.send(Method::GET, &format!("/calls?since={sequence}"), Value::Null).await;
        calls.as_array().unwrap().clone()
    }
}
