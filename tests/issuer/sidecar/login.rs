//! The source `login`.

use std::fs;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule, User};
use idissuer_testbed::wait;

use super::{HOUR, LIMIT, NAME, SECRET, Stage, mode};

#[tokio::test]
async fn a_login_brings_three_files_and_opens_startup_and_readiness() {
    let mut stage = Stage::prepare(HOUR).await;
    let templates = stage.path("templates");
    fs::create_dir(&templates).unwrap();
    fs::write(templates.join("netrc"), "machine api password {{ token }}\n").unwrap();
    stage.add(&["--template-dir", templates.to_str().unwrap()]);
    stage.start().await;
    let token = stage.token().await;
    assert_eq!(stage.present(&token).await, 200);
    assert_eq!(stage.file("authorization"), Some(format!("Bearer {token}")));
    assert_eq!(stage.file("netrc"), Some(format!("machine api password {token}\n")));
    let json: serde_json::Value = serde_json::from_str(&stage.file("token.json").unwrap()).unwrap();
    assert_eq!((&json["token"], &json["token_type"]), (&token.as_str().into(), &"Bearer".into()));
    for time in ["issued_at", "expires_at"] {
        json[time].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    assert_eq!(mode(&stage.path("output/token")), 0o440);
    for path in ["/startup", "/readyz", "/livez"] {
        let text = stage.until_answered(path, 200).await;
        assert!(!text.contains(&token), "{path}: {text}");
    }
    let (_, metrics) = stage.page("/metrics").await;
    for part in ["idissuer_publications_total{outcome=\"written\"} 1", "idissuer_issuer_requests_total"] {
        assert!(metrics.contains(part), "{metrics}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_by_login_unless_refreshes_are_asked_for() {
    for (strategy, refreshes) in [("login", false), ("auto", true)] {
        let mut stage = Stage::prepare(Duration::from_secs(3)).await;
        stage.add(&["--strategy", strategy]);
        stage.start().await;
        let mut token = stage.token().await;
        for _ in 0..2 {
            token = stage.token_after(&token).await;
            assert_eq!(stage.present(&token).await, 200);
        }
        assert_eq!(stage.counts().refreshes_accepted > 0, refreshes, "{strategy}");
    }
}

#[tokio::test]
async fn a_restart_reuses_the_token_on_the_volume_and_a_changed_login_replaces_it_at_once() {
    let mut stage = Stage::running(HOUR).await;
    let token = stage.token().await;
    stage.until_answered("/readyz", 200).await;
    for _ in 0..2 {
        stage.stop().await;
        stage.start().await;
        stage.until_answered("/readyz", 200).await;
    }
    stage.sidecar().kill().await.unwrap();
    stage.start().await;
    stage.until_answered("/startup", 200).await;
    assert_eq!((stage.file("token"), stage.counts().logins_accepted), (Some(token.clone()), 1));
    stage.issuer.set_user(&User::new("other@example.org", "another"));
    stage.stop().await;
    stage.write_login("other@example.org", "another");
    stage.start().await;
    let other = stage.token_after(&token).await;
    assert_eq!(stage.present(&other).await, 200);
    assert_eq!(stage.issuer.counts().of("other@example.org").logins_accepted, 1);
}

#[tokio::test]
async fn a_login_that_was_never_accepted_is_presented_once_also_across_restarts() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.write_login(NAME, "mistyped");
    stage.start().await;
    stage.until_logged("LoginRejected").await;
    for kill in [true, false, true] {
        if kill {
            stage.sidecar().kill().await.unwrap();
        } else {
            stage.stop().await;
        }
        stage.start().await;
        stage.until_logged("LoginRejected").await;
    }
    assert_eq!(stage.counts().logins_rejected, 1);
    let text = stage.until_answered("/startup", 503).await;
    assert!(text.contains("Correct the login files") && !text.contains("mistyped"), "{text}");
    assert_eq!(stage.page("/livez").await.0, 200);

    fs::write(stage.path("login/password"), "mistyped").unwrap();
    stage.issuer.wait_for(|counts| counts.of(NAME).logins_rejected == 2).await;
    fs::write(stage.path("login/password"), SECRET).unwrap();
    stage.token().await;
    stage.until_answered("/startup", 200).await;
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.logins_rejected), (1, 2), "other files are another attempt");
}

#[tokio::test]
async fn a_login_that_is_unheard_is_not_repeated_by_a_crash_loop() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Hang));
    for _ in 0..3 {
        stage.start().await;
        wait::until("an attempt on record", LIMIT, async || stage.path("output/..login.json").exists()).await;
        if stage.starts == 1 {
            stage.issuer.simulator().wait_for(|counts| counts.total().faults > 0).await;
        } else {
            stage.until_logged("LoginOutcomeUnknown").await;
        }
        stage.sidecar().kill().await.unwrap();
    }
    assert_eq!(stage.issuer.counts().total().faults, 1, "the next one waits for minutes");
}

#[tokio::test]
async fn an_issuer_that_was_not_reached_costs_no_wait_after_a_restart() {
    let mut stage = Stage::prepare(HOUR).await;
    let position = stage.arguments.iter().position(|argument| argument == "--issuer-url").unwrap() + 1;
    let url = std::mem::replace(&mut stage.arguments[position], "http://127.0.0.1:1".to_owned());
    stage.start().await;
    stage.until_logged("IssuerUnreachable").await;
    wait::until("no attempt on record", LIMIT, async || !stage.path("output/..login.json").exists()).await;
    stage.stop().await;
    stage.arguments[position] = url;
    stage.start().await;
    stage.token().await;
}

#[tokio::test]
async fn what_an_editor_leaves_in_a_login_is_named_and_never_sent() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.write_login(NAME, &format!("{SECRET}\n"));
    stage.start().await;
    stage.until_logged("LoginFileLineBreak").await;
    let wide: String = SECRET.chars().flat_map(|character| [character, '\0']).collect();
    for (username, password, reason, words) in [
        (NAME, format!("\r\n{SECRET}"), "LoginFileLineBreak", "begins or ends with a line break"),
        (NAME, format!("\u{feff}{SECRET}"), "LoginFileByteOrderMark", "save it as UTF-8 without one"),
        (NAME, wide, "LoginFileNulCharacter", "as UTF-16 text does"),
        (NAME, format!("{SECRET}\u{1a}"), "LoginFileControlCharacter", "remove it"),
        (format!("{NAME} ").as_str(), SECRET.to_owned(), "LoginFileBlank", "remove it from the user name"),
        (
            format!("{NAME}\u{200b}").as_str(),
            SECRET.to_owned(),
            "LoginFileBlank",
            "remove it from the user name",
        ),
        (
            format!("\u{a0}{NAME}").as_str(),
            SECRET.to_owned(),
            "LoginFileBlank",
            "remove it from the user name",
        ),
    ] {
        stage.write_login(username, &password);
        let text = wait::until(reason, LIMIT, async || {
            let (_, text) = stage.page("/readyz").await;
            if text.contains(reason) && text.contains(words) { Ok(text) } else { Err(text) }
        })
        .await;
        assert!(!text.contains(SECRET) && !text.contains(NAME), "{text}");
        let check = stage.command().arg("check").output().unwrap();
        let check = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.contains(reason) && check.contains(words), "{check}");
    }
    assert_eq!(stage.issuer.counts().total().logins_rejected, 0);
    stage.write_login(NAME, SECRET);
    stage.token().await;
}

#[tokio::test]
async fn a_blank_in_a_password_is_sent_and_hinted_at_when_the_issuer_rejects_it() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.issuer.set_user(&User::new("spacious@example.org", "with a blank "));
    stage.write_login("spacious@example.org", "with a blank ");
    stage.start().await;
    stage.token().await;
    stage.stop().await;
    stage.write_login(NAME, &format!("{SECRET} "));
    stage.start().await;
    stage.until_logged("The password holds a blank or an invisible character").await;
    stage.issuer.wait_for(|counts| counts.of(NAME).logins_rejected == 1).await;
    let check = stage.command().arg("check").output().unwrap();
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.contains("holds a blank") && !check.contains(SECRET), "{check}");
    fs::write(stage.path("login/password"), "without-any").unwrap();
    stage.issuer.wait_for(|counts| counts.of(NAME).logins_rejected == 2).await;
    wait::until("no hint", LIMIT, async || {
        let (_, text) = stage.page("/readyz").await;
        if text.contains("LoginRejected") && !text.contains("blank") { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test]
async fn an_outage_past_expiry_leaves_the_files_fails_readiness_and_heals_by_itself() {
    let stage = Stage::running(Duration::from_secs(3)).await;
    stage.token().await;
    stage.until_answered("/readyz", 200).await;
    let down = Fault::Status { status: 503, retry_after: None, body: None };
    stage.issuer.inject(FaultRule::new(down));
    let text = stage.until_answered("/readyz", 503).await;
    assert!(text.contains("IssuerUnavailable"), "{text}");
    let dead = stage.file("token").unwrap();
    let is_dead = async || stage.present(&dead).await == 401;
    wait::until("its end, also by the issuer's clock", LIMIT, is_dead).await;
    assert_eq!(stage.file("token").as_deref(), Some(dead.as_str()), "it still stands there");
    assert_eq!((stage.page("/livez").await.0, stage.page("/startup").await.0), (200, 200));
    stage.issuer.configure(|personality| personality.faults.clear());
    let token = stage.token_after(&dead).await;
    stage.until_answered("/readyz", 200).await;
    assert_eq!(stage.present(&token).await, 200);
}
