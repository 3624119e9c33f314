//! The files that the parts of a control plane are given.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use super::components::{ADDRESS, SERVICE_ADDRESS};
use crate::certificates::Authority;
use crate::error::{Error, Result};

/// Every request is logged once, when it ends; a watch also when it starts, which is counted (see
/// `audit.rs`). Metadata: no bodies, so no Secret's content.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

#[derive(Debug)]
pub(super) struct Files {
    pub(super) authority: PathBuf,
    pub(super) server_certificate: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) service_account_key: PathBuf,
    pub(super) service_account_public_key: PathBuf,
    /// By which kubelet knows the API server.
    pub(super) kubelet_client_certificate: PathBuf,
    pub(super) kubelet_client_key: PathBuf,
    pub(super) audit_policy: PathBuf,
    pub(super) audit_log: PathBuf,
    /// Of the controller manager.
    pub(super) kubeconfig: PathBuf,
}

impl Files {
    pub(super) fn write(folder: &Path, authority: &Authority) -> Result<Self> {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::file("write", &path))?;
            Ok::<_, Error>(path)
        };
        let server = authority.server(ADDRESS, SERVICE_ADDRESS)?;
        let kubelet_client = authority.client("kube-apiserver", Some("system:masters"))?;
        let service_account = KeyPair::generate().map_err(Error::Certificate)?;
        Ok(Self {
            authority: write("ca.crt", &authority.certificate())?,
            server_certificate: write("server.crt", &server.certificate)?,
            server_key: write("server.key", &server.key)?,
            service_account_key: write("service-account.key", &service_account.serialize_pem())?,
            service_account_public_key: write("service-account.pub", &service_account.public_key_pem())?,
            kubelet_client_certificate: write("kubelet-client.crt", &kubelet_client.certificate)?,
            kubelet_client_key: write("kubelet-client.key", &kubelet_client.key)?,
            audit_policy: write("audit-policy.yaml", AUDIT_POLICY)?,
            audit_log: write("audit.log", "")?,
            kubeconfig: folder.join("controller-manager.kubeconfig"),
        })
    }
}
