//! What the manifests of the book write is what others read.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use idissuer_simulator::Server;
use serde_json::Value;

use super::page::manifest;
use crate::operator::{HOUR, Stage, issuer, present, text};

async fn is_accepted(issuer: &Server, token: &str) -> bool {
    present(&issuer.url(), token).await == 200
}

#[tokio::test]
async fn the_pull_secret_is_one_that_a_kubelet_reads() {
    let stage = Stage::start("pull-secret", issuer(HOUR)).await;
    stage.namespace.kubectl().apply(&manifest("tasks/pull-secrets.md", 0)).await.unwrap();
    stage.ready_as("registry").await;
    let secret = stage.secrets().get("registry-pull").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    let config: Value = serde_json::from_str(&text(&secret, ".dockerconfigjson")).unwrap();
    let login = config["auths"]["registry.example.com"]["auth"].as_str().unwrap();
    let login = String::from_utf8(BASE64_STANDARD.decode(login).unwrap()).unwrap();
    let token = login.strip_prefix("oauth2:").expect("a user name before the token");
    assert!(is_accepted(&stage.issuer, token).await);
}

#[tokio::test]
async fn the_resource_for_envoy_holds_the_header() {
    let stage = Stage::start("envoy", issuer(HOUR)).await;
    stage.namespace.kubectl().apply(&manifest("tasks/programs.md", 0)).await.unwrap();
    stage.ready().await;
    let resource: Value = serde_saphyr::from_str(&text(&stage.target().await, "sds.yaml")).unwrap();
    let secret = &resource["resources"][0];
    assert_eq!(secret["@type"], "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret");
    let header = secret["generic_secret"]["secret"]["inline_string"].as_str().unwrap();
    assert!(is_accepted(&stage.issuer, header.strip_prefix("Bearer ").unwrap()).await);
}
