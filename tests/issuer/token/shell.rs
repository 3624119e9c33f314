//! In a shell: the token in another command, what must not stand in a command line, and the completion.

use std::process::Command;

use idissuer_testbed::skip;

use super::{finished, started};
use crate::stage::{HOUR, NAME, SECRET, Stage};

#[tokio::test]
async fn curl_calls_the_api_with_the_token_that_the_command_prints() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("there is no curl");
    }
    let stage = Stage::prepare(HOUR).await;
    let script = r#"
        set -eu
        curl --silent --fail --oauth2-bearer "$("$PROGRAM" token)" "$IDISSUER_ISSUER_URL/v2/authorized"
        curl --silent --fail --header "$("$PROGRAM" token --output header)" "$IDISSUER_ISSUER_URL/v2/authorized"
    "#;
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).env("PROGRAM", env!("CARGO_BIN_EXE_idissuer"));
    shell.env("IDISSUER_ISSUER_URL", &stage.url).env("IDISSUER_LOGIN_DIR", stage.path("login"));
    shell.env("XDG_STATE_HOME", stage.path("state")).env_remove("KUBECONFIG");
    let run = finished(started(&mut shell, "")).await;
    assert_eq!((run.code, run.errors.as_str()), (0, ""), "{run:?}");
    assert_eq!(run.out, format!(r#"{{"user":"{NAME}"}}"#).repeat(2));
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn a_password_in_a_command_line_or_a_variable_is_not_taken() {
    let stage = Stage::prepare(HOUR).await;
    for arguments in [["--password", SECRET], ["--password-stdin", SECRET], ["--", SECRET]] {
        let mut command = stage.bare(&["--username", NAME]);
        let run = finished(started(command.args(arguments), "")).await;
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
    }
    let mut command = Command::new("setsid");
    let bare = stage.bare(&["--username", NAME]);
    command.arg("--wait").arg(bare.get_program()).args(bare.get_args());
    command.env("XDG_STATE_HOME", stage.path("state")).env("IDISSUER_PASSWORD", SECRET);
    finished(started(&mut command, "")).await.assert_failed(2, &["--password-stdin", "--login-dir"]);
    assert_eq!(stage.issuer.counts().total().logins_accepted, 0);
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
