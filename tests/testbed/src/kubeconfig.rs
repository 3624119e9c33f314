//! Writes kubeconfig files.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::certificates::Identity;
use crate::error::{Error, Result};

/// A kubeconfig for a server without authentication.
pub(crate) fn write_plain(path: &Path, server: &str) -> Result<()> {
    write_text(path, &json!({"server": server}), &json!({}))
}

/// A kubeconfig that names no other file, so that it can be copied to wherever a client runs.
pub(crate) fn write(path: &Path, server: &str, authority: &str, identity: &Identity) -> Result<()> {
    write_text(path, &cluster(server, authority), &user(identity))
}

/// The same, for a way to the server on which its address is not one of its certificate's.
pub(crate) fn write_with_server_name(
    path: &Path,
    server: &str,
    name: &str,
    authority: &str,
    identity: &Identity,
) -> Result<()> {
    let mut cluster = cluster(server, authority);
    cluster["tls-server-name"] = name.into();
    write_text(path, &cluster, &user(identity))
}

fn cluster(server: &str, authority: &str) -> Value {
    json!({
        "server": server,
        "certificate-authority-data": STANDARD.encode(authority),
    })
}

fn user(identity: &Identity) -> Value {
    json!({
        "client-certificate-data": STANDARD.encode(&identity.certificate),
        "client-key-data": STANDARD.encode(&identity.key),
    })
}

fn write_text(path: &Path, cluster: &Value, user: &Value) -> Result<()> {
    let name = "testbed";
    // JSON is YAML.
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": cluster }],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
    });
    fs::write(path, text.to_string()).map_err(Error::file("write", path))
}
