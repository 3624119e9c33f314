//! The source `login`.

use std::fs;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule, User};
use idissuer_testbed::wait;

use super::{HOUR, LIMIT, NAME, SECRET, Sidecar, mode};

#[tokio::test]
async fn a_login_brings_three_files_and_opens_startup_and_readiness() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let templates = sidecar.path("templates");
    fs::create_dir(&templates).unwrap();
    fs::write(templates.join("netrc"), "machine api password {{ token }}\n").unwrap();
    sidecar.add(&["--template-dir", templates.to_str().unwrap()]);
    sidecar.start().await;
    let token = sidecar.token().await;
    assert_eq!(sidecar.present(&token).await, 200);
    assert_eq!(sidecar.file("authorization"), Some(format!("Bearer {token}")));
    assert_eq!(sidecar.file("netrc"), Some(format!("machine api password {token}\n")));
    let json: serde_json::Value = serde_json::from_str(&sidecar.file("token.json").unwrap()).unwrap();
    assert_eq!((&json["token"], &json["token_type"]), (&token.as_str().into(), &"Bearer".into()));
    for time in ["issued_at", "expires_at"] {
        json[time].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    assert_eq!(mode(&sidecar.path("output/token")), 0o440);
    for path in ["/startup", "/readyz", "/livez"] {
        let text = sidecar.until_answered(path, 200).await;
        assert!(!text.contains(&token), "{path}: {text}");
    }
    let (_, metrics) = sidecar.page("/metrics").await;
    for part in ["idissuer_publications_total{outcome=\"written\"} 1", "idissuer_issuer_requests_total"] {
        assert!(metrics.contains(part), "{metrics}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_by_login_unless_refreshes_are_asked_for() {
    for (strategy, refreshes) in [("login", false), ("auto", true)] {
        let mut sidecar = Sidecar::prepare(Duration::from_secs(3)).await;
        sidecar.add(&["--strategy", strategy]);
        sidecar.start().await;
        let mut token = sidecar.token().await;
        for _ in 0..2 {
            token = sidecar.token_after(&token).await;
            assert_eq!(sidecar.present(&token).await, 200);
        }
        assert_eq!(sidecar.counts().refreshes_accepted > 0, refreshes, "{strategy}");
    }
}

#[tokio::test]
async fn a_restart_reuses_the_token_on_the_volume_and_a_changed_login_replaces_it_at_once() {
    let mut sidecar = Sidecar::running(HOUR).await;
    let token = sidecar.token().await;
    sidecar.until_answered("/readyz", 200).await;
    for _ in 0..2 {
        sidecar.stop().await;
        sidecar.start().await;
        sidecar.until_answered("/readyz", 200).await;
    }
    sidecar.process().kill().await.unwrap();
    sidecar.start().await;
    sidecar.until_answered("/startup", 200).await;
    assert_eq!((sidecar.file("token"), sidecar.counts().logins_accepted), (Some(token.clone()), 1));
    sidecar.issuer.set_user(&User::new("other@example.org", "another"));
    sidecar.stop().await;
    sidecar.write_login("other@example.org", "another");
    sidecar.start().await;
    let other = sidecar.token_after(&token).await;
    assert_eq!(sidecar.present(&other).await, 200);
    assert_eq!(sidecar.issuer.counts().of("other@example.org").logins_accepted, 1);
}

#[tokio::test]
async fn a_login_that_was_never_accepted_is_presented_once_also_across_restarts() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.write_login(NAME, "mistyped");
    sidecar.start().await;
    sidecar.until_told("LoginRejected").await;
    for kill in [true, false, true] {
        if kill {
            sidecar.process().kill().await.unwrap();
        } else {
            sidecar.stop().await;
        }
        sidecar.start().await;
        sidecar.until_told("LoginRejected").await;
    }
    assert_eq!(sidecar.counts().logins_rejected, 1);
    let text = sidecar.until_answered("/startup", 503).await;
    assert!(text.contains("Correct the login files") && !text.contains("mistyped"), "{text}");
    assert_eq!(sidecar.page("/livez").await.0, 200);

    fs::write(sidecar.path("login/password"), "mistyped").unwrap();
    sidecar.issuer.wait_for(|counts| counts.of(NAME).logins_rejected == 2).await;
    fs::write(sidecar.path("login/password"), SECRET).unwrap();
    sidecar.token().await;
    sidecar.until_answered("/startup", 200).await;
    let counts = sidecar.counts();
    assert_eq!((counts.logins_accepted, counts.logins_rejected), (1, 2), "other files are another attempt");
}

#[tokio::test]
async fn a_login_that_is_unheard_is_not_repeated_by_a_crash_loop() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.issuer.inject(FaultRule::on_login(Fault::Hang));
    for _ in 0..3 {
        sidecar.start().await;
        wait::until("an attempt on record", LIMIT, async || sidecar.path("output/..login.json").exists())
            .await;
        if sidecar.starts == 1 {
            sidecar.issuer.simulator().wait_for(|counts| counts.total().faults > 0).await;
        } else {
            sidecar.until_logged("LoginOutcomeUnknown").await;
        }
        sidecar.process().kill().await.unwrap();
    }
    assert_eq!(sidecar.issuer.counts().total().faults, 1, "the next one waits for minutes");
}

#[tokio::test]
async fn an_issuer_that_was_not_reached_costs_no_wait_after_a_restart() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let position = sidecar.arguments.iter().position(|argument| argument == "--issuer-url").unwrap() + 1;
    let url = std::mem::replace(&mut sidecar.arguments[position], "http://127.0.0.1:1".to_owned());
    sidecar.start().await;
    sidecar.until_logged("IssuerUnreachable").await;
    wait::until("no attempt on record", LIMIT, async || !sidecar.path("output/..login.json").exists()).await;
    sidecar.stop().await;
    sidecar.arguments[position] = url;
    sidecar.start().await;
    sidecar.token().await;
}

#[tokio::test]
async fn what_an_editor_leaves_in_a_login_is_named_and_never_sent() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.write_login(NAME, &format!("{SECRET}\n"));
    sidecar.start().await;
    sidecar.until_logged("LoginFileLineBreak").await;
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
        sidecar.write_login(username, &password);
        let text = wait::until(reason, LIMIT, async || {
            let (_, text) = sidecar.page("/readyz").await;
            if text.contains(reason) && text.contains(words) { Ok(text) } else { Err(text) }
        })
        .await;
        assert!(!text.contains(SECRET) && !text.contains(NAME), "{text}");
        let check = sidecar.command().arg("check").output().unwrap();
        let check = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.contains(reason) && check.contains(words), "{check}");
    }
    assert_eq!(sidecar.issuer.counts().total().logins_rejected, 0);
    sidecar.write_login(NAME, SECRET);
    sidecar.token().await;
}

#[tokio::test]
async fn a_blank_in_a_password_is_sent_and_hinted_at_when_the_issuer_rejects_it() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.issuer.set_user(&User::new("spacious@example.org", "with a blank "));
    sidecar.write_login("spacious@example.org", "with a blank ");
    sidecar.start().await;
    sidecar.token().await;
    sidecar.stop().await;
    sidecar.write_login(NAME, &format!("{SECRET} "));
    sidecar.start().await;
    sidecar.until_logged("The password holds a blank or an invisible character").await;
    sidecar.issuer.wait_for(|counts| counts.of(NAME).logins_rejected == 1).await;
    let check = sidecar.command().arg("check").output().unwrap();
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.contains("holds a blank") && !check.contains(SECRET), "{check}");
    fs::write(sidecar.path("login/password"), "without-any").unwrap();
    sidecar.issuer.wait_for(|counts| counts.of(NAME).logins_rejected == 2).await;
    wait::until("no hint", LIMIT, async || {
        let (_, text) = sidecar.page("/readyz").await;
        if text.contains("LoginRejected") && !text.contains("blank") { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test]
async fn an_outage_past_expiry_leaves_the_files_fails_readiness_and_heals_by_itself() {
    let sidecar = Sidecar::running(Duration::from_secs(3)).await;
    sidecar.token().await;
    sidecar.until_answered("/readyz", 200).await;
    let down = Fault::Status { status: 503, retry_after: None, body: None };
    sidecar.issuer.inject(FaultRule::new(down));
    let text = sidecar.until_answered("/readyz", 503).await;
    assert!(text.contains("IssuerUnavailable"), "{text}");
    let dead = sidecar.file("token").unwrap();
    let is_dead = async || sidecar.present(&dead).await == 401;
    wait::until("its end, also by the issuer's clock", LIMIT, is_dead).await;
    assert_eq!(sidecar.file("token").as_deref(), Some(dead.as_str()), "it still stands there");
    assert_eq!((sidecar.page("/livez").await.0, sidecar.page("/startup").await.0), (200, 200));
    sidecar.issuer.configure(|personality| personality.faults.clear());
    let token = sidecar.token_after(&dead).await;
    sidecar.until_answered("/readyz", 200).await;
    assert_eq!(sidecar.present(&token).await, 200);
}
