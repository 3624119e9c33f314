//! The sidecar as users run it: the real program, its files, its endpoints and a simulated issuer.

mod causes;
mod check;
mod directory;
mod hammer;
mod hooks;
mod life;
mod login;
mod proxy;
mod secrecy;
mod service;
mod traces;
mod trouble;

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Signal, Supervised, WorkFolder};
use idissuer_testbed::{skip, wait};

use crate::stage::{HOUR, NAME, SECRET, Stage};

/// How long anything may take; what it waits for comes far sooner.
const LIMIT: Duration = Duration::from_secs(15);

/// What makes `setpriv` run a program as a user without rights.
const AS_NOBODY: [&str; 6] = [
    "--reuid=65532",
    "--regid=65532",
    "--groups=4711",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--no-new-privs",
];

/// The program where a user without rights finds it: the target folder may be private, as in a clone below `mktemp -d`. `cp`
/// writes it, since a program that this process still has open for writing cannot be run.
static PROGRAM_FOR_ALL: LazyLock<(WorkFolder, PathBuf)> = LazyLock::new(|| {
    let folder = WorkFolder::create().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("idissuer");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_idissuer")).arg(&program).status().unwrap();
    assert!(copied.success());
    (folder, program)
});

/// Whether tests can run the sidecar as a user without rights; says so if not.
fn can_be_nobody() -> bool {
    let program = &PROGRAM_FOR_ALL.1;
    let tried = Command::new("setpriv").args(AS_NOBODY).args(["test", "-x"]).arg(program).status();
    let is_possible = tried.is_ok_and(|status| status.success());
    if !is_possible {
        skip("only root can be somebody else");
    }
    is_possible
}

/// The same command, run by a user without rights.
fn as_nobody(command: &Command) -> Command {
    let mut changed = Command::new("setpriv");
    changed.args(AS_NOBODY).arg(&PROGRAM_FOR_ALL.1).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| changed.env(name, value));
    }
    changed
}

/// An issuer, a folder with login files and an output directory, and a sidecar.
struct Sidecar {
    // Dropped in this order.
    process: Option<Supervised>,
    stage: Stage,
    arguments: Vec<String>,
    log_filter: &'static str,
    starts: u32,
    admin: Option<SocketAddr>,
}

impl Sidecar {
    /// With the source `login`, and tokens of this lifetime. Nothing runs yet.
    async fn prepare(lifetime: Duration) -> Self {
        let mut sidecar = Self {
            process: None,
            stage: Stage::prepare(lifetime).await,
            arguments: Vec::new(),
            log_filter: "info",
            starts: 0,
            admin: None,
        };
        fs::create_dir(sidecar.path("output")).unwrap();
        let (login, output) = (sidecar.path("login"), sidecar.path("output"));
        sidecar.arguments = ["sidecar", "--admin-addr", "127.0.0.1:0"].map(str::to_owned).to_vec();
        sidecar.add(&["--source", "login", "--issuer-url", &sidecar.issuer.url()]);
        sidecar.add(&["--login-dir", login.to_str().unwrap(), "--output-dir", output.to_str().unwrap()]);
        sidecar
    }

    async fn running(lifetime: Duration) -> Self {
        let mut sidecar = Self::prepare(lifetime).await;
        sidecar.start().await;
        sidecar
    }

    fn add(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    fn fifo(&self, name: &str) -> PathBuf {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = self.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        command.args(&self.arguments).env("RUST_LOG", self.log_filter);
        command
    }

    /// Starts the sidecar, and waits for its first line, which says where its endpoints are.
    async fn start(&mut self) {
        let command = self.command();
        self.start_as(&command).await;
    }

    async fn start_as(&mut self, command: &Command) {
        self.spawn(command);
        self.admin = Some(self.logged_address("admin").await);
    }

    fn spawn(&mut self, command: &Command) {
        self.starts += 1;
        let name = format!("sidecar-{}", self.starts);
        self.process = Some(Supervised::spawn(&name, command, Grace::SHORT, &self.stage.folder).unwrap());
    }

    async fn logged_address(&self, name: &str) -> SocketAddr {
        self.process().logged_address(name).await
    }

    fn process(&self) -> &Supervised {
        self.process.as_ref().unwrap()
    }

    /// What the sidecar has printed since it was started.
    fn output(&self) -> String {
        self.process().output()
    }

    /// Stops it by SIGTERM; it has to end with code 0.
    async fn stop(&mut self) {
        self.stop_within(Duration::from_secs(6)).await;
    }

    /// The same, where it has more to do than to end.
    async fn stop_within(&mut self, limit: Duration) {
        let process = self.process.take().unwrap();
        process.signal(Signal::Terminate).unwrap();
        let code = process.wait_timeout(limit).await.unwrap();
        assert_eq!(code, 0, "{}", process.output_tail());
    }

    async fn page(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.admin.unwrap())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn until_answered(&self, path: &str, status: u16) -> String {
        wait::until(&format!("{status} of {path}"), LIMIT, async || match self.page(path).await {
            (found, text) if found == status => Ok(text),
            (found, text) => Err(format!("{found}: {text}\n{}", self.process().output_tail())),
        })
        .await
    }

    /// Waits until `/readyz` names this reason, and returns what it says. By then it is recorded; the log names the failure of a
    /// call before that.
    async fn until_told(&self, reason: &str) -> String {
        wait::until(&format!("{reason} of /readyz"), LIMIT, async || match self.page("/readyz").await {
            (503, text) if text.contains(reason) => Ok(text),
            (found, text) => Err(format!("{found}: {text}\n{}", self.process().output_tail())),
        })
        .await
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("output").join(name)).ok()
    }

    /// Waits for a published token that is another one than this.
    async fn token_after(&self, before: &str) -> String {
        wait::until("another token", LIMIT, async || {
            self.file("token").filter(|token| token != before).ok_or_else(|| self.process().output_tail())
        })
        .await
    }

    async fn token(&self) -> String {
        self.token_after("").await
    }

    async fn until_logged(&self, part: &str) {
        wait::until(part, LIMIT, async || {
            if self.output().contains(part) { Ok(()) } else { Err(self.process().output_tail()) }
        })
        .await;
    }
}

impl Deref for Sidecar {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("--- sidecar ---\n{}\n---", process.output_tail());
        }
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
