//! Container images without a builder or a registry: one layer of a few files, written as an OCI archive.
//!
//! The same files give the same bytes: nothing in an archive tells when or where it was written.

mod materials;
mod recipe;
mod tar;
mod unpack;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base16ct::HexDisplay;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
pub use materials::bill_of_materials;
pub use recipe::Recipe;
use tar::Archive;
pub use unpack::unpack;

/// Neither root nor anyone of the node: pods under the `restricted` standard must run as such a user.
const NOBODY: &str = "65532:65532";

/// An image in the making.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// As annotations, one for containerd and Docker, one for all others.
    name: BTreeMap<&'static str, String>,
    files: Vec<(String, PathBuf)>,
    entrypoint: Vec<String>,
    variables: Vec<String>,
    labels: BTreeMap<String, String>,
    user: Option<String>,
    created: Option<Timestamp>,
    architecture: Option<String>,
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

    /// The name that it has wherever its archive is loaded, if nobody says otherwise. A name without a host gets what
    /// containerd, and so a pod, understands by it.
    #[must_use]
    pub fn named(mut self, name: &str, tag: &str) -> Self {
        let whole = if name.contains('/') { name.to_owned() } else { format!("docker.io/library/{name}") };
        self.name.insert("io.containerd.image.name", format!("{whole}:{tag}"));
        self.name.insert("org.opencontainers.image.ref.name", tag.to_owned());
        self
    }

    /// Puts a file of this machine into the image, at `place`. Everyone may read it, and run it if somebody may here.
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

    /// Says something about the image to those who inspect it.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Who runs in it, by number. Without this, neither root nor anyone of the node.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// When it was made, or what it was made of.
    #[must_use]
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = Some(created);
        self
    }

    /// The machines that it is for, as Go calls them. Without this, those like the one that makes it.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = Some(architecture.to_owned());
        self
    }

    /// Writes it as an OCI archive: what `docker load`, `skopeo` and [`Node::import_image`](crate::Node::import_image)
    /// read.
    ///
    /// # Errors
    /// When a file cannot be read, or the archive cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let layer = self.layer()?;
        let configuration = self.configuration(&digest(&layer)).to_string();
        let compressed = compressed(&layer).map_err(Error::file("compress", path))?;
        let archive = self.archive(&configuration, &compressed).map_err(Error::file("put together", path))?;
        fs::write(path, archive).map_err(Error::file("write", path))
    }

    /// All parts of the image, and the index that leads to them.
    fn archive(&self, configuration: &str, layer: &[u8]) -> io::Result<Vec<u8>> {
        let mut archive = Archive::new();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type("manifest.v1+json"),
            "layers": [archive.blob("layer.v1.tar+gzip", layer)?],
            "config": archive.blob("config.v1+json", configuration.as_bytes())?,
        });
        let mut described = archive.blob("manifest.v1+json", manifest.to_string().as_bytes())?;
        described["platform"] = json!({ "os": "linux", "architecture": self.target_architecture() });
        described["annotations"] = json!(self.name);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type("index.v1+json"),
            "manifests": [described],
        });
        archive.file("index.json", index.to_string().as_bytes(), false)?;
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, false)?;
        archive.finish()
    }

    fn target_architecture(&self) -> &str {
        self.architecture.as_deref().unwrap_or(architecture())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::new();
        for (place, source) in &self.files {
            let bytes = fs::read(source).map_err(Error::file("read", source))?;
            let mode = fs::metadata(source).map_err(Error::file("read", source))?.permissions().mode();
            let added = archive.file(place.trim_start_matches('/'), &bytes, mode & 0o111 != 0);
            added.map_err(Error::file("archive", source))?;
        }
        archive.finish().map_err(Error::file("archive the files of", Path::new("the image")))
    }

    fn configuration(&self, layer: &str) -> Value {
        let mut configuration = json!({
            "os": "linux",
            "architecture": self.target_architecture(),
            "config": {
                "User": self.user.as_deref().unwrap_or(NOBODY),
                "Entrypoint": self.entrypoint,
                "Env": self.variables,
                "Labels": self.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        });
        if let Some(created) = self.created {
            configuration["created"] = created.to_string().into();
        }
        configuration
    }
}

impl Archive {
    /// Adds a part of an image under its digest. Returns how others refer to it.
    fn blob(&mut self, kind: &str, bytes: &[u8]) -> io::Result<Value> {
        let digest = digest(bytes);
        self.file(&format!("blobs/{}", digest.replace(':', "/")), bytes, false)?;
        Ok(json!({ "mediaType": media_type(kind), "digest": digest, "size": bytes.len() }))
    }
}

fn media_type(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}")
}

/// By gzip, which all can read, and without a time.
fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// That of this machine, as Go, and so the image format, calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", HexDisplay(&Sha256::digest(bytes)))
}
