//! `idissuer selftest`, with the rights that the chart gives it.

use std::process::Command;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Supervised};
use serde_json::json;

use crate::chart::{self, FULL_NAME};
use crate::operator::{HOUR, LOGIN, PASSWORD, Stage, USER, issuer};

/// How long the test may take, the three minutes for the garbage collection included.
const LIMIT: Duration = Duration::from_secs(240);

/// Binds the rights that the chart gives to its test, and runs the test with the arguments that the chart gives. A token is
/// waited for so many seconds.
async fn selftest(stage: &Stage, patience: u8) -> (i32, String) {
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
    let process =
        Supervised::spawn(&format!("selftest-{namespace}"), &command, Grace::SHORT, folder).unwrap();
    let code = process.wait_timeout(LIMIT).await.unwrap();
    (code, process.output())
}

#[tokio::test]
async fn a_selftest_of_an_operator_that_works_says_so_and_leaves_nothing() {
    let stage = Stage::set("selftest", issuer(HOUR)).await;
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
    let stage = Stage::set("selftest-wrong", issuer(HOUR)).await;
    stage.write_login(USER, "mistyped").await;
    let (code, said) = selftest(&stage, 15).await;
    assert_eq!(code, 1, "{said}");
    for sentence in ["LoginRejected", "is not ready after 15 s", "Nothing of it is left"] {
        assert!(said.contains(sentence), "{said}");
    }
    assert!(!said.contains("mistyped") && !said.contains(PASSWORD), "{said}");
    let left = stage.namespace.kubectl().run(&["get", "iic", "--output=name"]).await.unwrap();
    assert_eq!(left, "");
}

#[tokio::test]
async fn a_selftest_of_an_operator_that_does_not_run_says_what_to_look_at() {
    let mut stage = Stage::set("selftest-nobody", issuer(HOUR)).await;
    stage.operator.stop().await;
    let (code, said) = selftest(&stage, 5).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("see that the operator runs"), "{said}");
}
