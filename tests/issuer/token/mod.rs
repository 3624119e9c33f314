//! `idissuer token` as people and pipelines meet it: the real program, its state folder, and a simulated issuer.

mod cached;
mod prompt;
mod rejected;
mod shell;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::stage::{SECRET, Stage};

/// What a run printed, and how it ended.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    errors: String,
}

/// With a state folder.
impl Stage {
    /// The program with the issuer and the state folder, without a login.
    fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.args(["token", "--issuer-url", &self.url]).args(arguments);
        command.env("XDG_STATE_HOME", self.path("state")).env_remove("KUBECONFIG");
        command
    }

    /// The same, with the login folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("--login-dir").arg(self.path("login"));
        command
    }

    async fn run(&self, arguments: &[&str]) -> Run {
        finished(started(&mut self.command(arguments), "")).await
    }

    /// With a user name, and its password on standard input.
    async fn typed(&self, username: &str, password: &str) -> Run {
        let mut command = self.bare(&["--username", username, "--password-stdin"]);
        finished(started(&mut command, password)).await
    }

    /// Runs it; it has to print a token that the issuer accepts.
    async fn token(&self, arguments: &[&str]) -> String {
        self.accepted(self.run(arguments).await).await
    }

    async fn accepted(&self, run: Run) -> String {
        assert_eq!((run.code, run.errors.as_str()), (0, ""), "{run:?}");
        let token = run.out.strip_suffix('\n').unwrap().to_owned();
        assert_eq!(self.present(&token).await, 200);
        token
    }

    /// The one entry of the state folder.
    fn entry(&self) -> PathBuf {
        let mut entries = fs::read_dir(self.path("state/idissuer")).unwrap();
        let entry = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none(), "one login");
        entry
    }
}

impl Run {
    /// It failed with this code, printed nothing but an error that says all of this, and no secret.
    fn assert_failed(&self, code: i32, parts: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        assert!(parts.iter().all(|part| self.errors.contains(part)), "{parts:?}: {}", self.errors);
        assert!(!self.errors.contains(SECRET) && !self.errors.contains("mistyped"), "{}", self.errors);
    }
}

#[expect(clippy::disallowed_methods, reason = "the program has the machine's clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn started(command: &mut Command, input: &str) -> Child {
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap();
    // A run that fails early does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child
}

async fn finished(child: Child) -> Run {
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: status.code().unwrap_or(-1), out: text(stdout), errors: text(stderr) }
}
