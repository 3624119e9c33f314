//! The prompt on a terminal.

use std::process::Command;
use std::time::Duration;

use idissuer_testbed::{Terminal, wait};

use super::finished;
use crate::stage::{HOUR, NAME, SECRET, Stage};

const LIMIT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_password_is_asked_for_once_without_echo_and_a_cached_token_asks_for_none() {
    let stage = Stage::prepare(HOUR).await;
    let terminal = Terminal::open().unwrap();
    let command = stage.bare(&["--username", NAME]);
    assert!(terminal.echoes().unwrap());
    let child = terminal.run(&command).unwrap();
    let shown = terminal.until_shown(": ", LIMIT).await.unwrap();
    assert!(shown.contains(NAME) && shown.contains(&stage.url), "{shown}");
    assert!(!terminal.echoes().unwrap());
    terminal.type_in(&format!("{SECRET}\n")).unwrap();
    let token = stage.accepted(finished(child).await).await;
    assert!(terminal.echoes().unwrap());
    assert_eq!(terminal.until_shown("\n", LIMIT).await.unwrap().trim(), "", "nothing of it is shown");
    assert_eq!(stage.accepted(finished(terminal.run(&command).unwrap()).await).await, token);
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn control_c_at_the_prompt_restores_the_echo_and_tries_no_login() {
    let stage = Stage::prepare(HOUR).await;
    let terminal = Terminal::open().unwrap();
    let child = terminal.run(&stage.bare(&["--username", NAME])).unwrap();
    terminal.until_shown(": ", LIMIT).await.unwrap();
    // These would leave the terminal without an echo.
    terminal.type_in("half\u{1c}\u{1a}").unwrap();
    terminal.type_in("\u{3}").unwrap();
    finished(child).await.assert_failed(130, &["interrupted"]);
    wait::until("the echo", LIMIT, async || terminal.echoes().unwrap()).await;
    assert_eq!(stage.issuer.counts().total().logins_rejected, 0);
}

#[tokio::test]
async fn a_terminal_that_closes_ends_the_program() {
    let stage = Stage::prepare(HOUR).await;
    let terminal = Terminal::open().unwrap();
    let child = terminal.run(&stage.bare(&["--username", NAME])).unwrap();
    terminal.until_shown(": ", LIMIT).await.unwrap();
    drop(terminal);
    let run = tokio::time::timeout(LIMIT, finished(child)).await.unwrap();
    assert_ne!(run.code, 0, "{run:?}");
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
