//! User name and password: what is never sent, what is sent once, and what ends a hold.

use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule, User};
use idissuer_testbed::wait;
use kube::api::DeleteParams;
use serde_json::json;

use crate::operator::{
    HOUR, LIMIT, LOGIN, NAME, PASSWORD, Stage, USER, condition, holds, issuer, stays, text, token_status,
};

/// Time in which a retry of a first transient failure would have come.
const SOON: Duration = Duration::from_secs(6);

/// A key of a Secret, and what it holds.
type Key = (&'static str, &'static [u8]);

#[tokio::test]
async fn a_login_secret_that_cannot_be_used_is_named_never_sent_and_taken_as_soon_as_it_is_repaired() {
    let stage = Stage::start("login-defects", issuer(HOUR)).await;
    stage.secrets().delete(LOGIN, &DeleteParams::default()).await.unwrap();
    let mark = stage.mark().await;
    stage.apply(json!({})).await;
    stage.until_condition("Ready", "False", "LoginSecretMissing").await;
    let user = ("username", USER.as_bytes());
    let password = ("password", PASSWORD.as_bytes());
    let cases: [(&[Key], &str, &str); 13] = [
        (&[user], "LoginSecretKeyMissing", "password"),
        (&[password], "LoginSecretKeyMissing", "username"),
        (&[user, ("password", b"")], "LoginSecretKeyEmpty", "password"),
        (&[("username", b""), password], "LoginSecretKeyEmpty", "username"),
        (&[user, ("password", b"\xff\xfe")], "LoginSecretNotText", "password"),
        (&[("username", b"\xff\xfe"), password], "LoginSecretNotText", "username"),
        (&[user, ("password", b"correct-horse-battery-staple\n")], "LoginSecretLineBreak", "password"),
        (&[("username", b"shop@example.org\r\n"), password], "LoginSecretLineBreak", "username"),
        (&[user, ("password", b"\ncorrect-horse-battery-staple")], "LoginSecretLineBreak", "password"),
        (&[user, ("password", b"\xef\xbb\xbfcorrect-horse")], "LoginSecretByteOrderMark", "password"),
        (&[user, ("password", b"c\0o\0r\0")], "LoginSecretNulCharacter", "password"),
        (&[("username", b"shop@example.org "), password], "LoginSecretBlank", "username"),
        (&[("username", b"shop@example\t.org"), password], "LoginSecretControlCharacter", "username"),
    ];
    for (keys, reason, key) in cases {
        stage.write_secret(LOGIN, keys).await;
        let seen = stage.until(NAME, reason, |credential| {
            let ready = condition(credential, "Ready");
            ready.is_some_and(|ready| ready.reason == reason && ready.message.contains(key))
        });
        let seen = seen.await;
        assert!(holds(&seen, "Stalled", "True", reason), "{:#?}", seen.status);
        assert!(holds(&seen, "LoginAccepted", "Unknown", "LoginPending"), "{:#?}", seen.status);
    }
    assert_eq!(stage.issuer_calls(), 0);
    stage.write_login(USER, PASSWORD).await;
    stage.ready().await;
    assert_eq!(stage.issuer_calls(), 1);
    // One for each state of the Secret, and none in between: each was caused by the watch.
    let requests = stage.control_plane.audit().of_user_since(&stage.operator.user, mark).unwrap();
    let reads = requests.iter().filter(|read| read.verb == "get" && read.name == LOGIN).count();
    let states = cases.len() + 2;
    assert!((states..=states + 1).contains(&reads), "{reads} reads of the login Secret in {states} states");
}

#[tokio::test]
async fn a_rejected_login_is_not_tried_again_and_a_changed_secret_lifts_that_at_once() {
    let stage = Stage::start("rejected", issuer(HOUR)).await;
    stage.write_login(USER, "wrong").await;
    stage.apply(json!({})).await;
    let message = stage.until_condition("Ready", "False", "LoginRejected").await;
    assert!(message.contains(LOGIN), "{message}");
    let held = stage.credentials().get(NAME).await.unwrap();
    assert!(holds(&held, "Stalled", "True", "LoginRejected"));
    assert!(holds(&held, "LoginAccepted", "False", "LoginRejected"));
    assert!(condition(&held, "Reconciling").is_none(), "nothing goes on: kstatus calls it failed");
    let status = held.status.unwrap();
    let login = status.login.unwrap();
    assert_eq!(login.rejections, 1);
    let next = status.failures.unwrap().next_attempt_time.unwrap().0;
    let pause = next.duration_since(login.attempt_time.unwrap().0).as_secs();
    assert!((299..=301).contains(&pause), "the next one by itself after {pause} s");
    assert!(stage.secrets().get_opt(NAME).await.unwrap().is_none());
    stays("one attempt", SOON, async || stage.counts().logins_rejected == 1).await;
    assert_eq!(stage.event_reasons(NAME).await, ["LoginRejected"]);

    stage.write_login(USER, PASSWORD).await;
    let ready = stage.ready().await;
    assert!(holds(&ready, "LoginAccepted", "True", "LoginAccepted"));
    assert!(condition(&ready, "Stalled").is_none());
    let status = ready.status.unwrap();
    assert_eq!((status.failures, status.login.unwrap().rejections), (None, 0));
    assert_eq!((stage.counts().logins_rejected, stage.counts().logins_accepted), (1, 1));
}

#[tokio::test]
async fn a_renew_request_and_a_changed_specification_each_buy_a_held_login_one_attempt() {
    let stage = Stage::start("lifts", issuer(HOUR)).await;
    stage.write_login(USER, "wrong").await;
    stage.apply(json!({})).await;
    let attempts = async |number| {
        let what = format!("attempt {number} recorded");
        let recorded = stage.until(NAME, &what, |credential| {
            let login = credential.status.as_ref().and_then(|status| status.login.as_ref());
            holds(credential, "Ready", "False", "LoginRejected")
                && login.is_some_and(|login| login.rejections >= number)
        });
        recorded.await;
        let rejected = u64::try_from(number).unwrap();
        wait::until("the attempt", LIMIT, async || stage.counts().logins_rejected >= rejected).await;
        stays(&what, Duration::from_secs(1), async || {
            stage.counts().logins_rejected == u64::try_from(number).unwrap()
        })
        .await;
    };
    attempts(1).await;
    stage.request_renewal("now").await;
    attempts(2).await;
    stage.apply(json!({"renewal": {"renewBeforePercent": 30}})).await;
    attempts(3).await;
    // The account may have been repaired at the issuer.
    stage.issuer.set_user(&User::new(USER, "wrong"));
    stage.request_renewal("again").await;
    stage.ready().await;
}

#[tokio::test]
async fn a_process_that_dies_while_it_logs_in_is_followed_by_one_that_waits() {
    let mut stage = Stage::start("crash-loop", issuer(HOUR)).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Hang));
    stage.apply(json!({})).await;
    wait::until("a login under way", LIMIT, async || !stage.issuer.calls_since(0).is_empty()).await;
    for _ in 0..2 {
        stage.operator.take_process().kill().await.unwrap();
        stage.operator.start(stage.control_plane).await;
        stage.operator.until_ready().await;
        stage.until_condition("Ready", "False", "LoginOutcomeUnknown").await;
    }
    stays("one attempt", SOON, async || stage.issuer.calls_since(0).len() == 1).await;
    // A requested renewal happens at once.
    stage.issuer.configure(|personality| personality.faults.clear());
    stage.request_renewal("now").await;
    stage.ready().await;
}

#[tokio::test]
async fn a_user_without_api_access_gets_that_answer() {
    let issuer = issuer(HOUR).user(User::new(USER, PASSWORD).without_api_access());
    let stage = Stage::start("no-access", issuer).await;
    stage.apply(json!({})).await;
    let message = stage.until_condition("Ready", "False", "LoginRejected").await;
    assert!(message.contains("API Access"), "{message}");
}

#[tokio::test]
async fn a_rejected_login_leaves_the_published_token_alone_until_a_good_one_replaces_it() {
    let stage = Stage::start("rejected-later", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    let target = stage.target().await;
    stage.write_login(USER, "mistyped").await;
    stage.until_condition("Stalled", "True", "LoginRejected").await;
    assert_eq!(stage.target().await, target);
    assert_eq!(stage.counts().logins_rejected, 1);

    stage.write_login(USER, PASSWORD).await;
    wait::until("no hold", LIMIT, async || {
        condition(&stage.credentials().get(NAME).await.unwrap(), "Stalled").is_none()
    })
    .await;
    assert_eq!(token_status(&stage.ready().await).fingerprint, token_status(&first).fingerprint);
    assert_eq!(stage.counts().logins_accepted, 1, "it is the account of the published token");
}

#[tokio::test]
async fn another_account_in_the_login_secret_is_logged_in_to_at_once() {
    let issuer = issuer(HOUR).user(User::new("second@example.org", "secret"));
    let stage = Stage::start("other-account", issuer).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    stage.write_login("second@example.org", "secret").await;
    stage.renewed(token_status(&first)).await;
    assert_eq!(stage.issuer.counts().of("second@example.org").logins_accepted, 1);
    assert_eq!(stage.present(&text(&stage.target().await, "token")).await, 200);
}

#[tokio::test]
async fn a_spec_with_a_rejected_account_is_not_ready_and_the_old_token_stays() {
    let stage = Stage::start("rejected-spec", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let token = text(&stage.target().await, "token");
    stage.write_secret("other-login", &[("username", b"nobody"), ("password", b"nothing")]).await;
    stage.apply(json!({"loginSecretRef": {"name": "other-login"}})).await;
    let message = stage.until_condition("Ready", "False", "LoginRejected").await;
    assert!(message.contains("other-login"), "{message}");
    stays("not ready, the old token in place, one attempt", Duration::from_secs(1), async || {
        let credential = stage.credentials().get(NAME).await.unwrap();
        holds(&credential, "Ready", "False", "LoginRejected")
            && text(&stage.target().await, "token") == token
            && stage.issuer.counts().total().logins_rejected == 1
    })
    .await;

    stage.apply(json!({})).await;
    stage.ready().await;
    assert_eq!(text(&stage.target().await, "token"), token);
    assert_eq!(stage.counts().logins_accepted, 1);
}
