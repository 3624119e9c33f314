//! `kubectl idissuer login-secret create` at a keyboard.

use idissuer_testbed::{Terminal, wait};

use crate::operator::{HOUR, LIMIT, PASSWORD, Stage, USER, issuer, text};
use crate::plugin::{Person, Run};

/// What it printed, once it has ended.
async fn finished(child: std::process::Child) -> Run {
    Run::of(tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap())
}

#[tokio::test]
async fn a_password_is_typed_without_echo_and_stored_and_control_c_stores_nothing() {
    let stage = Stage::start("plugin-prompt", issuer(HOUR)).await;
    let admin = Person::administrator(&stage);
    let terminal = Terminal::open().unwrap();
    let create = |name| admin.command(&["login-secret", "create", name, "--username", USER]);
    let child = terminal.run(&create("typed")).unwrap();
    let shown = terminal.until_shown(": ", LIMIT).await.unwrap();
    assert!(shown.contains(&format!("Password of {USER}")), "{shown}");
    assert!(!terminal.echoes().unwrap());
    terminal.type_in(&format!("{PASSWORD}\n")).unwrap();
    finished(child).await.assert(0, &["/typed: created"]);
    assert!(terminal.echoes().unwrap());
    assert_eq!(terminal.until_shown("\n", LIMIT).await.unwrap().trim(), "", "nothing of it is shown");
    let secret = stage.secrets().get("typed").await.unwrap();
    assert_eq!((text(&secret, "username").as_str(), text(&secret, "password").as_str()), (USER, PASSWORD));

    let child = terminal.run(&create("interrupted")).unwrap();
    terminal.until_shown(": ", LIMIT).await.unwrap();
    terminal.type_in("half\u{3}").unwrap();
    finished(child).await.assert(130, &[]);
    wait::until("the echo", LIMIT, async || terminal.echoes().unwrap()).await;
    assert!(stage.secrets().get_opt("interrupted").await.unwrap().is_none());
}
