//! Writes kubeconfig files.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::certificates::Identity;
use crate::error::{Error, Result};

/// A kubeconfig that names no other file, so that it can be copied to wherever a client runs.
pub(crate) fn write(path: &Path, server: &str, authority: &str, identity: &Identity) -> Result<()> {
    let name = "testbed";
    // JSON is YAML.
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{
            "name": name,
            "cluster": {
                "server": server,
                "certificate-authority-data": STANDARD.encode(authority),
            },
        }],
        "users": [{
            "name": name,
            "user": {
                "client-certificate-data": STANDARD.encode(&identity.certificate),
                "client-key-data": STANDARD.encode(&identity.key),
            },
        }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
    });
    fs::write(path, text.to_string()).map_err(Error::file("write", path))
}
