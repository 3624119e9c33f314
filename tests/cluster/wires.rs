//! Connections to the API server: silent ones, and proxies.

use std::time::Duration;

use idissuer_testbed::wait;
use idissuer_testbed::wire::Wire;
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{HOUR, LIMIT, NAME, Stage, holds, issuer};

/// A dead connection is noticed within 45 seconds; the rest is for a busy machine.
pub(crate) const NOTICED: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_new_credential_does_not_wait_for_a_connection_that_has_died_in_silence() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let wire = Wire::start(control_plane).unwrap();
    let stage = Stage::start_with("wire", issuer(HOUR), |operator, _| {
        operator.go_through(&wire, &format!("https://{}", wire.address()));
    })
    .await;
    wire.falls_silent();
    stage.apply(json!({})).await;
    wait::object(&stage.credentials(), NAME, "readiness", NOTICED, |credential| {
        holds(credential, "Ready", "True", "TokenPublished")
    })
    .await;
    stage.until_correct(NAME).await;
}

#[tokio::test]
async fn the_api_server_is_called_through_the_proxy_of_the_environment_but_for_what_no_proxy_names() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let (proxy, wire) = (Wire::start_proxy(control_plane).unwrap(), Wire::start(control_plane).unwrap());
    let address = proxy.address();
    let mut stage = Stage::start_with("proxy", issuer(HOUR), |operator, _| {
        // A name that nothing but the proxy knows.
        operator.go_through(&proxy, "https://kube.example.test:6443");
        operator.environment.push(("HTTPS_PROXY", format!("http://somebody:pass@{address}").into()));
        operator.environment.push(("NO_PROXY", "10.0.0.0/8,.svc,example.com".into()));
    })
    .await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let asked = proxy.asked();
    assert!(
        asked.iter().all(|head| head.starts_with("CONNECT kube.example.test:6443 HTTP/1.1\r\n")),
        "{asked:?}"
    );
    assert!(
        asked.iter().any(|head| head.contains("Proxy-Authorization: Basic c29tZWJvZHk6cGFzcw==")),
        "{asked:?}"
    );
    assert!(!stage.operator.output().contains("pass"), "{}", stage.operator.output());

    // None of these is used, and none keeps the program from starting.
    for (name, value) in [
        ("HTTPS_PROXY", "socks5://somebody:pass@127.0.0.1:9"),
        ("HTTPS_PROXY", "not a proxy"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("NO_PROXY", ",,no/host,*"),
    ] {
        stage.operator.stop().await;
        stage.operator.go_through(&wire, &format!("https://{}", wire.address()));
        stage.operator.environment.retain(|(known, _)| *known != name);
        stage.operator.environment.push((name, value.into()));
        stage.operator.start(control_plane).await;
        stage.operator.until_ready().await;
    }
    assert_eq!(proxy.asked().len(), asked.len());
    Box::pin(wait::until("a correct target", LIMIT, async || stage.ready().await.status.is_some())).await;
}
