//! The prompt on a terminal, and the completion of a shell.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use idissuer_testbed::{skip, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::finished;
use crate::stage::{HOUR, NAME, SECRET, Stage};

const LIMIT: Duration = Duration::from_secs(15);

/// A terminal, seen from its other side.
struct Terminal {
    master: File,
    /// Open as long as the test, or the master reads an end between two programs.
    slave: File,
}

impl Terminal {
    fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        Self { master: File::from(master), slave }
    }

    /// Runs the program with this as its terminal. Its output is not the terminal, as in `$(…)`.
    fn run(&self, command: &Command) -> Child {
        let mut changed = Command::new("setsid");
        changed.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| changed.env(name, value));
        }
        changed.stdin(self.slave.try_clone().unwrap());
        changed.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What is shown, up to this text.
    async fn until_shown(&self, text: &'static str) -> String {
        let mut master = self.master.try_clone().unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let (mut shown, mut part) = (String::new(), [0; 256]);
            while !shown.contains(text) {
                let length = master.read(&mut part).unwrap();
                shown.push_str(&String::from_utf8_lossy(&part[..length]));
            }
            shown
        });
        tokio::time::timeout(LIMIT, reading).await.unwrap().unwrap()
    }

    fn type_in(&self, text: &str) {
        (&self.master).write_all(text.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO)
    }
}

#[tokio::test]
async fn a_password_is_asked_for_once_without_echo_and_a_cached_token_asks_for_none() {
    let stage = Stage::prepare(HOUR).await;
    let terminal = Terminal::open();
    let command = stage.bare(&["--username", NAME]);
    assert!(terminal.echoes());
    let child = terminal.run(&command);
    let shown = terminal.until_shown(": ").await;
    assert!(shown.contains(NAME) && shown.contains(&stage.url), "{shown}");
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{SECRET}\n"));
    let token = stage.accepted(finished(child).await).await;
    assert!(terminal.echoes());
    assert_eq!(terminal.until_shown("\n").await.trim(), "", "nothing of it is shown");
    assert_eq!(stage.accepted(finished(terminal.run(&command)).await).await, token);
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn control_c_at_the_prompt_restores_the_echo_and_tries_no_login() {
    let stage = Stage::prepare(HOUR).await;
    let terminal = Terminal::open();
    let child = terminal.run(&stage.bare(&["--username", NAME]));
    terminal.until_shown(": ").await;
    // These would leave the terminal without an echo.
    terminal.type_in("half\u{1c}\u{1a}");
    terminal.type_in("\u{3}");
    finished(child).await.assert_failed(130, &["interrupted"]);
    wait::until("the echo", LIMIT, async || terminal.echoes()).await;
    assert_eq!(stage.issuer.counts().total().logins_rejected, 0);
}

#[tokio::test]
async fn without_a_terminal_the_other_ways_are_named() {
    let stage = Stage::prepare(HOUR).await;
    let mut command = Command::new("setsid");
    let bare = stage.bare(&["--username", NAME]);
    command.arg("--wait").arg(bare.get_program()).args(bare.get_args());
    command.env("XDG_STATE_HOME", stage.path("state"));
    let run = finished(super::started(&mut command, "")).await;
    run.assert_failed(2, &["--password-stdin", "--login-dir"]);
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    let program = env!("CARGO_BIN_EXE_idissuer");
    let script = r#"
        set -eu
        source <("$PROGRAM" completion bash)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        "$(complete -p idissuer | sed 's/.*-F \([^ ]*\).*/\1/')" idissuer "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let complete = |words: &[&str]| {
        let output =
            Command::new("bash").args(["-c", script, "bash"]).args(words).env("PROGRAM", program).output();
        output.ok().map(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
    };
    for (words, expected) in [
        (["idissuer", "to"].as_slice(), "token\n"),
        (&["idissuer", "token", "--cred"], "--credential\n"),
        (&["idissuer", "token", "--output", "he"], "header\n"),
    ] {
        let Some(found) = complete(words) else { return skip("there is no bash") };
        assert_eq!(found, expected, "{words:?}");
    }
    for shell in ["zsh", "fish"] {
        let output = Command::new(program).args(["completion", shell]).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("credential"), "{shell}");
    }
}
