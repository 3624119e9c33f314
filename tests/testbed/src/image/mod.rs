//! Container images without a builder or a registry: one layer of a few files, written as an OCI archive.

mod tar;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use tar::Archive;

/// Neither root nor anyone of the node: pods under the `restricted` standard must run as such a user.
const NOBODY: &str = "65532:65532";

/// An image in the making.
#[derive(Clone, Debug, Default)]
pub struct Image {
    files: Vec<(String, PathBuf)>,
    entrypoint: Vec<String>,
    variables: Vec<String>,
}

impl Image {
    /// An image of `program` alone, which is also what a container of it runs. It must be linked statically: there is
    /// nothing else in the image.
    #[must_use]
    pub fn of_program(program: &Path) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let place = format!("/{name}");
        Self::default().file(&place, program).entrypoint([place])
    }

    /// Puts a file of this machine into the image, at `place`. Everyone may read and run it.
    #[must_use]
    pub fn file(mut self, place: &str, source: &Path) -> Self {
        self.files.push((place.to_owned(), source.to_owned()));
        self
    }

    /// What a container runs, unless its pod says otherwise.
    #[must_use]
    pub fn entrypoint<T: Into<String>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.entrypoint = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// Writes it as an OCI archive: what `docker load`, `skopeo` and [`Node::import_image`](crate::Node::import_image)
    /// read.
    ///
    /// # Errors
    /// When a file cannot be read, or the archive cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |source| Error::File { operation: "write", path: path.to_owned(), source };
        let layer = self.layer()?;
        let layer_digest = digest(&layer);
        let configuration = self.configuration(&layer_digest).to_string();
        let blob = |kind: &str, digest: &str, size: usize| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size });
        let configuration_digest = digest(configuration.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob("config.v1+json", &configuration_digest, configuration.len()),
            "layers": [blob("layer.v1.tar", &layer_digest, layer.len())],
        })
        .to_string();
        let manifest_digest = digest(manifest.as_bytes());
        let mut described = blob("manifest.v1+json", &manifest_digest, manifest.len());
        described["platform"] = json!({ "os": "linux", "architecture": architecture() });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [described],
        });

        let mut archive = Archive::default();
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        archive.file("index.json", index.to_string().as_bytes());
        for (digest, bytes) in [
            (&layer_digest, layer.as_slice()),
            (&configuration_digest, configuration.as_bytes()),
            (&manifest_digest, manifest.as_bytes()),
        ] {
            archive.file(&format!("blobs/{}", digest.replace(':', "/")), bytes);
        }
        let mut file = File::create(path).map_err(failed)?;
        file.write_all(&archive.finish()).map_err(failed)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for (place, source) in &self.files {
            let bytes = fs::read(source).map_err(Error::file("read", source))?;
            archive.file(place.trim_start_matches('/'), &bytes);
        }
        Ok(archive.finish())
    }

    fn configuration(&self, layer: &str) -> Value {
        json!({
            "os": "linux",
            "architecture": architecture(),
            "config": { "User": NOBODY, "Entrypoint": self.entrypoint, "Env": self.variables },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        })
    }
}

/// As Go, and so the image format, calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
