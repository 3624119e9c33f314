//! The Go modules that the programs are built from, carried in this crate.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::program;
use crate::error::{Error, Result};

/// A Go module: which versions, and the code that is our own.
#[derive(Debug)]
pub(super) struct Module {
    /// Its files; `go.mod` comes first.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Versions to stamp into its programs, as flags of the linker, beside those that all programs get.
    pub(super) stamps: &'static str,
}

/// Kubernetes and etcd.
pub(super) static KUBERNETES: Module = Module {
    files: &[("go.mod", include_str!("../../tools/go.mod")), ("go.sum", include_str!("../../tools/go.sum"))],
    stamps: "",
};

/// What a node has from elsewhere.
pub(super) static NODE: Module = Module {
    files: &[
        ("go.mod", include_str!("../../tools/node/go.mod")),
        ("go.sum", include_str!("../../tools/node/go.sum")),
        ("dns/main.go", include_str!("../../tools/node/dns/main.go")),
        ("pod/main.go", include_str!("../../tools/node/pod/main.go")),
    ],
    stamps: "",
};

/// Helm 4.
pub(super) static HELM: Module = Module {
    files: &[
        ("go.mod", include_str!("../../tools/helm/go.mod")),
        ("go.sum", include_str!("../../tools/helm/go.sum")),
    ],
    stamps: "",
};

/// Helm 3.
pub(super) static HELM3: Module = Module {
    files: &[
        ("go.mod", include_str!("../../tools/helm3/go.mod")),
        ("go.sum", include_str!("../../tools/helm3/go.sum")),
    ],
    // Unstamped, it renders for Kubernetes 1.20.
    stamps: "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37",
};

impl Module {
    /// Changes with the versions, our own code and the build flags.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let flags = program::build_flags(self).join("\n");
        let texts = self.files.iter().map(|(_, text)| *text);
        for part in texts.chain([flags.as_str()]) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        base16ct::lower::encode_string(&hash.finalize()[..8])
    }

    /// Writes its files, for Go to read.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        for (name, text) in self.files {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
            }
            fs::write(&path, text).map_err(Error::file("write", &path))?;
        }
        Ok(())
    }
}
