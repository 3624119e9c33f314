//! `idissuer selftest`, with the rights that the chart gives it.

use std::process::Command;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Signal, Supervised};
use idissuer_testbed::wait;
use serde_json::json;

use crate::chart::{self, FULL_NAME};
use crate::operator::{HOUR, LOGIN, PASSWORD, Stage, USER, issuer};

/// How long the test may take, the three minutes for the garbage collection included.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs the test to its end. A token is waited for so many seconds.
async fn selftest(stage: &Stage, patience: u8) -> (i32, String) {
    let process = start(stage, patience).await;
    let code = process.wait_timeout(LIMIT).await.unwrap();
    (code, process.output())
}

/// Binds the rights that the chart gives to its test, and starts the test with the arguments that the chart gives.
async fn start(stage: &Stage, patience: u8) -> Supervised {
    let namespace = stage.namespace.name();
    let values = json!({
        "issuer": {"url": stage.issuer.url()},
        "test": {"login": {"secretName": LOGIN}, "timeoutSeconds": patience},
    });
    let objects = chart::render(namespace, &values).await;
    let name = format!("{FULL_NAME}-test");
    let rights = objects.iter().filter(|object| {
        matches!(object["kind"].as_str(), Some("Role" | "RoleBinding")) && object["metadata"]["name"] == name
    });
    stage.namespace.kubectl().apply(&chart::manifest(rights)).await.unwrap();
    let pod = chart::of_kind(&objects, "Pod")[0];
    let arguments = pod["spec"]["containers"][0]["args"].as_array().unwrap();

    let user = format!("system:serviceaccount:{namespace}:{name}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
    command
        .args(arguments.iter().map(|argument| argument.as_str().unwrap()))
        .env("KUBECONFIG", stage.control_plane.kubeconfig_as(&user, None).unwrap());
    let folder = stage.control_plane.folder();
    Supervised::spawn(&format!("selftest-{namespace}"), &command, Grace::SHORT, folder).unwrap()
}

#[tokio::test]
async fn a_selftest_of_an_operator_that_works_says_so_and_leaves_nothing() {
    let stage = Stage::start("selftest", issuer(HOUR)).await;
    let (code, said) = selftest(&stage, 60).await;
    assert_eq!(code, 0, "{said}");
    for sentence in ["Created IdIssuerCredential", "holds a token that is valid until", "The operator works."]
    {
        assert!(said.contains(sentence), "{said}");
    }
    let left = stage.namespace.kubectl().run(&["get", "iic,secrets", "--output=name"]).await.unwrap();
    assert_eq!(left.trim(), format!("secret/{LOGIN}"));
}

#[tokio::test]
async fn a_selftest_tells_what_the_operator_says_fails_and_leaves_nothing() {
    let stage = Stage::start("selftest-wrong", issuer(HOUR)).await;
    stage.write_login(USER, "mistyped").await;
    let (code, said) = selftest(&stage, 15).await;
    assert_eq!(code, 1, "{said}");
    for sentence in ["LoginRejected", "is not ready after 15 s", "Everything is deleted"] {
        assert!(said.contains(sentence), "{said}");
    }
    assert!(!said.contains("mistyped") && !said.contains(PASSWORD), "{said}");
    let left = stage.namespace.kubectl().run(&["get", "iic", "--output=name"]).await.unwrap();
    assert_eq!(left, "");
}

#[tokio::test]
async fn a_selftest_of_an_operator_that_does_not_run_says_what_to_look_at() {
    let mut stage = Stage::start("selftest-nobody", issuer(HOUR)).await;
    stage.operator.stop().await;
    let (code, said) = selftest(&stage, 5).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("check that the operator runs"), "{said}");
}

#[tokio::test]
async fn a_stopped_selftest_deletes_its_credential_and_the_next_one_removes_that_of_a_killed_one() {
    let mut stage = Stage::start("selftest-stopped", issuer(HOUR)).await;
    stage.operator.stop().await;
    // What is said goes into one file, after what was said before.
    let created = async |process: &Supervised, before: &str| {
        wait::until("the credential", LIMIT, async || {
            let said = process.output();
            let after =
                said.split_once(before).map(|(_, after)| after.contains("Created IdIssuerCredential"));
            if after == Some(true) { Ok(()) } else { Err(said) }
        })
        .await;
    };
    let list = async || stage.namespace.kubectl().run(&["get", "iic", "--output=name"]).await.unwrap();
    let killed = start(&stage, 200).await;
    created(&killed, "").await;
    killed.kill().await.unwrap();
    assert_ne!(list().await, "", "it was killed");

    let stopped = start(&stage, 200).await;
    created(&stopped, "of an earlier test").await;
    stopped.signal(Signal::Terminate).unwrap();
    let code = stopped.wait_timeout(LIMIT).await.unwrap();
    assert_eq!(code, 143, "{}", stopped.output());
    assert_eq!(list().await, "", "{}", stopped.output());
}
