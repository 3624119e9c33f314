//! When a node, and what belongs to it, can be used.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as ApiNode;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::Node;
use crate::control_plane::{self, Component};
use crate::error::{Error, Result};

/// A node is ready in about 10 s; a machine that compiles meanwhile takes longer.
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Lets the `kubernetes` Service lead to `address`. The API server itself would only know the loopback one.
pub(super) async fn publish_api_server(client: &Client, address: SocketAddr) -> Result<()> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address.ip()], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": address.port(), "protocol": "TCP" }],
    });
    slices
        .patch("kubernetes", &PatchParams::apply("idissuer-testbed"), &Patch::Apply(&slice))
        .await
        .map_err(Error::api("publish the address of the API server"))?;
    Ok(())
}

pub(super) async fn containerd(node: &Node) -> Result<()> {
    until(node, "containerd", &[node.containerd()], async || match node.ctr(&["version"]).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.chain()),
    })
    .await
}

/// kubelet finds the image: the part of containerd that kubelet asks notices new ones a little later.
pub(super) async fn image(node: &Node, name: &str) -> Result<()> {
    let filter = format!("name=={name}");
    until(node, "an image", &[node.containerd()], async || {
        match node.ctr(&["images", "list", &filter]).await {
            Ok(list) if list.contains("io.cri-containerd.image=managed") => Ok(()),
            Ok(list) => Err(list),
            Err(error) => Err(error.chain()),
        }
    })
    .await
}

/// kubelet answers the API server, and has said that the node is ready. What it said may be from before a restart.
pub(super) async fn node(node: &Node) -> Result<()> {
    let mut config = node.client.clone();
    // Each look is one look: an answer of 503 says that kubelet is not there.
    config.default_retry = false;
    let client = control_plane::client(config)?;
    let nodes: Api<ApiNode> = Api::all(client.clone());
    let health = format!("/api/v1/nodes/{}/proxy/healthz", Node::NAME);
    until(node, "the node", &node.components.all(), async || {
        let found = nodes.get(Node::NAME).await.map_err(|error| error.to_string())?;
        is_ready(&found)?;
        let request = http::Request::get(&health).body(Vec::new()).map_err(|error| error.to_string())?;
        client.request_text(request).await.map(drop).map_err(|error| error.to_string())
    })
    .await
}

fn is_ready(node: &ApiNode) -> Result<(), String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(condition) if condition.status == "True" => Ok(()),
        Some(condition) => Err(condition.message.clone().unwrap_or_default()),
        None => Err("no word of kubelet".to_owned()),
    }
}

/// Looks until it finds, or one of `parts` has ended.
async fn until(
    node: &Node,
    what: &'static str,
    parts: &[&Component],
    mut look: impl AsyncFnMut() -> Result<(), String>,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let last = match look().await {
            Ok(()) => return Ok(()),
            Err(seen) => seen,
        };
        for part in parts {
            part.check_running()?;
        }
        if start.elapsed() > LIMIT {
            let output = node.components.output_tails();
            return Err(Error::NodeNotReady { what, limit: LIMIT, last, output });
        }
        tokio::time::sleep(POLL).await;
    }
}
