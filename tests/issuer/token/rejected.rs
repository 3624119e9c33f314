//! What the account is spared, and the exit codes.

use std::fs;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::process::{Grace, Supervised, WorkFolder};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{finished, now, started};
use crate::stage::{HOUR, NAME, SECRET, Stage};

const DOWN: Fault = Fault::Status { status: 503, retry_after: None, body: None };

#[tokio::test]
async fn a_wrong_password_is_presented_once_until_it_changes_also_side_by_side() {
    let stage = Stage::prepare(HOUR).await;
    stage.write_login(NAME, "mistyped");
    let children: Vec<_> = (0..5).map(|_| started(&mut stage.command(&[]), "")).collect();
    for child in children {
        finished(child).await.assert_failed(3, &["LoginRejected", "Correct the login files"]);
    }
    assert_eq!(stage.counts().logins_rejected, 1);
    fs::write(stage.path("login/password"), SECRET).unwrap();
    stage.token(&[]).await;

    for _ in 0..2 {
        stage.typed(NAME, "mistyped").await.assert_failed(3, &["Enter the right user name and password"]);
    }
    assert_eq!(stage.counts().logins_rejected, 2);
    stage.accepted(stage.typed(NAME, SECRET).await).await;
}

#[tokio::test]
async fn four_wrong_passwords_within_an_hour_are_all() {
    let stage = Stage::prepare(HOUR).await;
    for number in 0..6 {
        let run = stage.typed(NAME, &format!("mistyped-{number}")).await;
        run.assert_failed(3, &[if number < 4 { "LoginRejected" } else { "LoginRateLimited" }]);
    }
    stage.typed(NAME, SECRET).await.assert_failed(3, &["LoginRateLimited", "next attempt"]);
    assert_eq!((stage.counts().logins_rejected, stage.counts().logins_accepted), (4, 0));
}

#[tokio::test]
async fn what_a_clock_recorded_that_was_three_hours_ahead_is_over_an_hour_after_it_was_set_right() {
    let stage = Stage::prepare(HOUR).await;
    stage.typed(NAME, "mistyped").await.assert_failed(3, &["LoginRejected"]);
    let (calls, record) = (stage.entry().join("..calls.json"), stage.entry().join("..login.json"));
    let read = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let ahead = |seconds: i64| json!(now() + SignedDuration::from_secs(3 * 3600 + seconds));
    let rejected = [0, 1, 2, 3].map(ahead);
    fs::write(&calls, json!({"rejected": rejected, "failed": ahead(3)}).to_string()).unwrap();
    let mut attempt = read(&record);
    attempt["attempted"] = ahead(3);
    fs::write(&record, attempt.to_string()).unwrap();
    stage.typed(NAME, SECRET).await.assert_failed(3, &["LoginRateLimited"]);
    // An hour passes.
    let mut history = read(&calls);
    for time in history["rejected"].as_array_mut().unwrap() {
        let recorded: Timestamp = time.as_str().unwrap().parse().unwrap();
        *time = json!(recorded - SignedDuration::from_secs(3601));
    }
    fs::write(&calls, history.to_string()).unwrap();
    stage.accepted(stage.typed(NAME, SECRET).await).await;
}

#[tokio::test]
async fn a_login_that_is_killed_counts_also_where_it_was_accepted_before() {
    for is_proven in [false, true] {
        let stage = Stage::prepare(HOUR).await;
        if is_proven {
            stage.token(&[]).await;
            fs::remove_file(stage.entry().join("..data")).unwrap();
        }
        stage.issuer.inject(FaultRule::on_login(Fault::Hang));
        let folder = std::sync::Arc::new(WorkFolder::create().unwrap());
        let killed = Supervised::spawn("token", &stage.command(&[]), Grace::NONE, &folder).unwrap();
        stage.issuer.simulator().wait_for(|counts| counts.total().faults == 1).await;
        killed.kill().await.unwrap();
        for _ in 0..2 {
            stage.run(&[]).await.assert_failed(3, &["LoginOutcomeUnknown", "next attempt is possible at 20"]);
        }
        assert_eq!(stage.issuer.counts().total().faults, 1, "proven: {is_proven}");
        stage.issuer.configure(|personality| personality.faults.clear());
        stage.write_login(NAME, SECRET);
        stage.token(&[]).await;
    }
}

#[tokio::test]
async fn a_login_that_hangs_ends_in_time_and_one_that_waits_for_it_too() {
    let stage = Stage::prepare(HOUR).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Hang));
    let first = started(&mut stage.command(&["--timeout-seconds", "3"]), "");
    stage.issuer.simulator().wait_for(|counts| counts.total().faults == 1).await;
    stage.run(&["--timeout-seconds", "1"]).await.assert_failed(124, &["another process"]);
    finished(first).await.assert_failed(124, &["within 3 s", "--timeout-seconds"]);
    stage.run(&[]).await.assert_failed(3, &["LoginOutcomeUnknown"]);
    assert_eq!(stage.issuer.counts().total().faults, 1);
}

#[tokio::test]
async fn an_issuer_that_fails_or_is_not_there_has_a_code_of_its_own_and_costs_no_attempt() {
    let mut stage = Stage::prepare(HOUR).await;
    let url = std::mem::replace(&mut stage.url, "http://127.0.0.1:1".to_owned());
    stage.run(&[]).await.assert_failed(6, &["IssuerUnreachable", "http://127.0.0.1:1"]);
    fs::remove_dir_all(stage.path("state")).unwrap();
    stage.url = url;
    stage.issuer.inject(FaultRule::new(DOWN));
    stage.run(&[]).await.assert_failed(6, &["IssuerUnavailable"]);
    assert!(!stage.entry().join("..login.json").exists());
    let second = started(&mut stage.command(&[]), "");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.issuer.counts().total().faults, 1, "a loop does not flood it");
    stage.issuer.configure(|personality| personality.faults.clear());
    stage.accepted(finished(second).await).await;
}

#[tokio::test]
async fn each_other_failure_has_its_code_and_its_cure() {
    let stage = Stage::prepare(HOUR).await;
    let bare = async |arguments: &[&str]| finished(started(&mut stage.bare(arguments), "")).await;
    bare(&[]).await.assert_failed(2, &["--login-dir, --username or --credential"]);
    bare(&["--username", NAME, "--credential", "a/b"]).await.assert_failed(2, &["cannot be used with"]);
    bare(&["--login-dir", "x", "--password-stdin"]).await.assert_failed(2, &["--password-stdin"]);
    bare(&["--login-dir", "/nowhere"]).await.assert_failed(5, &["LoginFileMissing", "/nowhere/username"]);
    bare(&["--credential", "shop/billing"]).await.assert_failed(1, &["no cluster: set KUBECONFIG"]);
    stage.write_login(NAME, "mistyped\n");
    stage.run(&[]).await.assert_failed(1, &["LoginFileLineBreak", "printf %s"]);
    assert_eq!(stage.issuer.counts().total().logins_rejected, 0);
    let mut chosen = stage.bare(&[]);
    chosen.env("IDISSUER_LOGIN_DIR", stage.path("login")).env("IDISSUER_USERNAME", NAME);
    finished(started(&mut chosen, "")).await.assert_failed(2, &["set only one of"]);
    stage.write_login(NAME, SECRET);
    chosen.env_remove("IDISSUER_USERNAME");
    stage.accepted(finished(started(&mut chosen, "")).await).await;
}
